//! The host's side of the edge.

use super::Stream;
use super::run::{Run, Sender};
use crate::machine::host::Sink;

impl Stream<'_> {
    /// Sends as many wavelets of a source as there is room for.
    pub(super) fn run_source(&mut self, index: usize) {
        let source = &self.band.sources[index];
        let (router, lane, port) = (source.local, source.lane, source.direction);
        let left = (source.data.len() - source.next) as u64;
        let earliest = source.earliest;
        if left == 0 {
            return;
        }
        if self.now < earliest {
            self.wake_source(index, earliest);
            return;
        }
        let count = self.room(router, lane, port as usize, left).min(left);
        if count == 0 {
            return;
        }
        let now = self.now;
        let source = &mut self.band.sources[index];
        for i in 0..count as usize {
            if (source.next + i).is_multiple_of(source.item_wavelets) {
                source.item_starts.push(now + i as u64 * source.interval);
            }
        }
        let words = source.data[source.next..source.next + count as usize].to_vec();
        source.next += count as usize;
        source.earliest = now + count * source.interval;
        let (earliest, more) = (source.earliest, count < left);
        let times = (now + 1, earliest - source.interval + 1);
        self.push(router, lane, port, Run::new(words, times, 0, Sender::Host(index as u32)));
        if more {
            self.wake_source(index, earliest);
        }
    }
}

/// Takes a run that leaves the fabric; a control wavelet ends here without a trace.
pub(super) fn receive(sink: &mut Sink, run: &Run) {
    if run.control == 0 {
        let before = sink.data.len();
        sink.data.extend_from_slice(run.words());
        for end in before + 1..=sink.data.len() {
            if end.is_multiple_of(sink.item_wavelets) {
                sink.item_ends.push(run.time((end - before - 1) as u64));
            }
        }
    }
    sink.last = sink.last.max(run.last);
}
