//! The host's side of the edge, a wavelet a cycle.

use super::queues::Wavelet;
use crate::machine::host::{Sink, Source};
use waferloom_fabric::Direction;

impl Source {
    /// The wavelet of this cycle, if any: (router, lane, port, wavelet).
    pub(super) fn inject(&mut self, now: u64) -> Option<(usize, usize, Direction, Wavelet)> {
        if now < self.earliest || self.credits == 0 {
            return None;
        }
        let data = *self.data.get(self.next)?;
        if self.next.is_multiple_of(self.item_wavelets) {
            self.item_starts.push(now);
        }
        self.next += 1;
        self.credits -= 1;
        self.earliest = now + self.interval;
        Some((self.local, self.lane, self.direction, Wavelet::data(now + 1, data)))
    }

    /// When it can send next by itself.
    pub(super) fn next(&self, now: u64) -> u64 {
        if self.next < self.data.len() && self.credits > 0 && self.earliest > now { self.earliest } else { u64::MAX }
    }
}

impl Sink {
    /// Takes a wavelet from the link; a control wavelet ends here without a trace.
    pub(super) fn receive(&mut self, wavelet: Wavelet) {
        let ready = wavelet.ready;
        if wavelet.control_index().is_none() {
            self.data.push(wavelet.word());
            if self.data.len().is_multiple_of(self.item_wavelets) {
                self.item_ends.push(ready);
            }
        }
        self.last = ready;
        self.restore_at = Some(ready - 1 + self.interval);
    }

    /// Whether the link is free again.
    pub(super) fn restore(&mut self, now: u64) -> bool {
        let free = self.restore_at.is_some_and(|at| at <= now + 1);
        if free {
            self.restore_at = None;
        }
        free
    }

    pub(super) fn next(&self, now: u64) -> u64 {
        self.restore_at.map_or(u64::MAX, |at| at.saturating_sub(1).max(now + 1))
    }
}
