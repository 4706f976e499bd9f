//! The host's side of the edge.

use super::Stream;
use super::calendar::Event;
use super::payload::Payloads;
use super::run::{Run, Sender};
use crate::machine::host::Sink;

impl Stream<'_> {
    pub(super) fn wake_source(&mut self, source: usize, cycle: u64) {
        if cycle < self.source_wakes[source] {
            self.source_wakes[source] = cycle;
            self.calendar.push(cycle, Event::Source(source as u32));
        }
    }

    /// Sends as many wavelets of a source as there is room for.
    pub(super) fn run_source(&mut self, index: usize) {
        let source = &self.band.sources[index];
        let (node, port) = (self.nodes.at(source.local, source.lane), source.direction);
        let left = (source.data.len() - source.next) as u64;
        let earliest = source.earliest;
        if left == 0 {
            return;
        }
        if self.now < earliest {
            self.wake_source(index, earliest);
            return;
        }
        let count = self.room(node, port as usize, left).min(left);
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
        let mut words = self.payloads.empty();
        words.extend_from_slice(&source.data[source.next..source.next + count as usize]);
        source.next += count as usize;
        source.earliest = now + count * source.interval;
        let (earliest, more) = (source.earliest, count < left);
        let times = (now + 1, earliest - source.interval + 1);
        let payload = self.payloads.keep(words);
        self.send(node, port, Run::new(payload, count as usize, times, 0, Sender::Host(index as u32)));
        if more {
            self.wake_source(index, earliest);
        }
    }
}

/// Takes a run that leaves the fabric; a control wavelet ends here without a trace.
pub(super) fn receive(sink: &mut Sink, run: &Run, payloads: &Payloads) {
    if run.control == 0 {
        let before = sink.data.len();
        sink.data.extend_from_slice(run.words(payloads));
        // What is unknown counts all the same.
        sink.left_out |= run.is_unknown();
        sink.data.resize(before + run.count as usize, 0);
        for end in before + 1..=sink.data.len() {
            if end.is_multiple_of(sink.item_wavelets) {
                sink.item_ends.push(run.time((end - before - 1) as u64));
            }
        }
    }
    sink.last = sink.last.max(run.last);
}
