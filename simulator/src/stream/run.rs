//! A run of wavelets, and the queue in which runs wait.

use super::payload::{Payload, Payloads};
use std::collections::VecDeque;

/// Who sent a run: the index of a PE, or of a source of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    Pe(u32),
    Host(u32),
}

/// Wavelets of one colour that follow each other at a steady pace; or a single control wavelet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) payload: Payload,
    /// Its first word in the payload.
    pub(super) start: u32,
    /// Wavelets, at least 1.
    pub(super) count: u64,
    /// Cycle in which the first one may move on.
    pub(super) first: u64,
    /// Cycle in which the last one may; those between lie on a line.
    pub(super) last: u64,
    /// 0 for data, else 1 + index into the controls of the program.
    pub(super) control: u16,
    /// Routers that have passed it on.
    pub(super) hops: u16,
    pub(super) sender: Sender,
}

impl Run {
    /// A run of `count` words, all that the payload has.
    pub(super) fn new(payload: Payload, count: usize, (first, last): (u64, u64), control: u16, sender: Sender) -> Self {
        Self { payload, start: 0, count: count as u64, first, last, control, hops: 0, sender }
    }

    /// Its words; none when they are unknown.
    pub(super) fn words<'p>(&self, payloads: &'p Payloads) -> &'p [u32] {
        payloads.words(self.payload).get(self.start as usize..self.start as usize + self.count as usize).unwrap_or(&[])
    }

    /// Whether nobody computed its words.
    pub(super) fn is_unknown(&self) -> bool {
        self.payload == Payload::UNKNOWN
    }

    /// When a wavelet may move on.
    pub(super) fn time(&self, index: u64) -> u64 {
        if self.count <= 1 { self.first } else { self.first + (self.last - self.first) * index / (self.count - 1) }
    }

    /// The same wavelets at another time.
    pub(super) fn at(&self, first: u64, last: u64) -> Self {
        Self { first, last: last.max(first), ..*self }
    }

    /// The first `count` of them.
    pub(super) fn head(&self, count: u64) -> Self {
        let count = count.min(self.count);
        Self { count, last: self.time(count - 1), ..*self }
    }

    /// Drops the first `count` of them, which are fewer than all.
    pub(super) fn skip(&mut self, count: u64) {
        self.first = self.time(count);
        self.start += count as u32;
        self.count -= count;
    }
}

/// Runs of one colour in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    runs: VecDeque<Run>,
    /// Wavelets in it.
    pub(super) wavelets: u64,
    /// Control wavelets in it.
    pub(super) controls: u32,
    /// The first cycle in which its next wavelet may leave: one after the last one has.
    pub(super) free: u64,
    /// Wavelets that a thread is still at taking, and the cycle in which it will have.
    taking: (u64, u64),
    /// Wavelets that it has room for.
    pub(super) capacity: u64,
    /// Wavelets that have been taken from it.
    pub(super) taken: u64,
    /// Wavelets that will have been taken from it without anything else happening, as far as that has been worked out.
    pub(super) promised: u64,
}

impl Queue {
    /// An empty queue with room for so many wavelets.
    pub(super) fn with_capacity(capacity: u64) -> Self {
        Self { capacity, ..Self::default() }
    }

    pub(super) fn push(&mut self, run: Run) {
        self.wavelets += run.count;
        self.controls += u32::from(run.control != 0);
        self.runs.push_back(run);
    }

    pub(super) fn head(&self) -> Option<&Run> {
        self.runs.front()
    }

    /// The run behind the head.
    pub(super) fn second(&self) -> Option<&Run> {
        self.runs.get(1)
    }

    /// Data wavelets that stand before any control wavelet.
    pub(super) fn data(&self) -> u64 {
        if self.controls == 0 {
            return self.wavelets;
        }
        self.runs.iter().take_while(|run| run.control == 0).map(|run| run.count).sum()
    }

    /// The run in which a wavelet is, and its place there.
    pub(super) fn nth(&self, mut index: u64) -> Option<(&Run, u64)> {
        for run in &self.runs {
            if index < run.count {
                return Some((run, index));
            }
            index -= run.count;
        }
        None
    }

    /// Takes the first `count` wavelets of the head, or all that it has. Its payload is to be released.
    pub(super) fn take(&mut self, count: u64, payloads: &mut Payloads) -> Option<Run> {
        let mut taken = None;
        self.take_into(&mut taken, count, payloads);
        taken
    }

    /// The same into a place of the caller's: a run is long enough for its copy to cost something.
    pub(super) fn take_into(&mut self, taken: &mut Option<Run>, count: u64, payloads: &mut Payloads) {
        let Some(head) = self.runs.front_mut() else { return };
        let run = if count < head.count {
            let run = head.head(count);
            head.skip(count);
            payloads.share(run.payload);
            *taken = Some(run);
            run
        } else {
            let run = *head;
            *taken = Some(run);
            self.runs.pop_front();
            run
        };
        self.wavelets -= run.count;
        self.taken += run.count;
        self.controls -= u32::from(run.control != 0);
    }

    /// A thread is at taking so many of its wavelets until a cycle.
    pub(super) fn until(&mut self, count: u64, cycle: u64) {
        self.taking = (count, cycle);
    }

    /// Wavelets that it holds in a cycle.
    pub(super) fn held(&self, cycle: u64) -> u64 {
        self.wavelets + if cycle < self.taking.1 { self.taking.0 } else { 0 }
    }

    /// When the head may leave; `None` when the queue is empty.
    pub(super) fn due(&self) -> Option<u64> {
        Some(self.head()?.first.max(self.free))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_cut_where_its_wavelets_are() {
        // Five wavelets in cycles 10, 12, 14, 16, 18.
        let mut payloads = Payloads::default();
        let mut queue = Queue::default();
        let payload = payloads.keep(vec![1, 2, 3, 4, 5]);
        queue.push(Run::new(payload, 5, (10, 18), 0, Sender::Pe(0)));
        let taken = queue.take(2, &mut payloads).expect("five are there");
        assert_eq!((taken.words(&payloads), taken.first, taken.last), (&[1, 2][..], 10, 12));
        payloads.release(taken.payload);
        let rest = queue.head().expect("three are left");
        assert_eq!((rest.words(&payloads), rest.first, rest.time(1), rest.last), (&[3, 4, 5][..], 14, 16, 18));
        assert_eq!(queue.wavelets, 3);
        let rest = queue.take(9, &mut payloads).expect("three are left");
        assert_eq!((queue.wavelets, queue.due(), rest.count), (0, None, 3));
        assert_eq!(payloads.words(rest.payload), [1, 2, 3, 4, 5]);
    }
}
