//! A run of wavelets, and the queue in which runs wait.

use std::collections::VecDeque;
use std::sync::Arc;

/// Who sent a run: the index of a PE, or of a source of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    Pe(u32),
    Host(u32),
}

/// Wavelets of one colour that follow each other at a steady pace; or a single control wavelet.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) data: Arc<Vec<u32>>,
    pub(super) start: usize,
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
    /// A run of all the words.
    pub(super) fn new(data: Vec<u32>, (first, last): (u64, u64), control: u16, sender: Sender) -> Self {
        let count = data.len() as u64;
        Self { data: Arc::new(data), start: 0, count, first, last, control, hops: 0, sender }
    }

    /// Its words.
    pub(super) fn words(&self) -> &[u32] {
        &self.data[self.start..self.start + self.count as usize]
    }

    /// When a wavelet may move on.
    pub(super) fn time(&self, index: u64) -> u64 {
        if self.count <= 1 { self.first } else { self.first + (self.last - self.first) * index / (self.count - 1) }
    }

    /// The same wavelets at another time.
    pub(super) fn at(&self, first: u64, last: u64) -> Self {
        Self { first, last: last.max(first), ..self.clone() }
    }

    /// The first `count` of them.
    pub(super) fn head(&self, count: u64) -> Self {
        let count = count.min(self.count);
        Self { count, last: self.time(count - 1), ..self.clone() }
    }

    /// Drops the first `count` of them, which are fewer than all.
    fn skip(&mut self, count: u64) {
        self.first = self.time(count);
        self.start += count as usize;
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
}

impl Queue {
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

    /// Takes the first `count` wavelets of the head, or all that it has.
    pub(super) fn take(&mut self, count: u64) -> Option<Run> {
        let head = self.runs.front_mut()?;
        let taken = if count < head.count {
            let taken = head.head(count);
            head.skip(count);
            taken
        } else {
            self.runs.pop_front()?
        };
        self.wavelets -= taken.count;
        self.controls -= u32::from(taken.control != 0);
        Some(taken)
    }

    /// As [`Queue::take`], by a thread that takes the last of them in a later cycle.
    pub(super) fn take_until(&mut self, count: u64, cycle: u64) -> Option<Run> {
        self.taking = (count, cycle);
        self.take(count)
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
        let mut queue = Queue::default();
        queue.push(Run::new(vec![1, 2, 3, 4, 5], (10, 18), 0, Sender::Pe(0)));
        let taken = queue.take(2).expect("five are there");
        assert_eq!((taken.words(), taken.first, taken.last), (&[1, 2][..], 10, 12));
        let rest = queue.head().expect("three are left");
        assert_eq!((rest.words(), rest.first, rest.time(1), rest.last), (&[3, 4, 5][..], 14, 16, 18));
        assert_eq!(queue.wavelets, 3);
        assert_eq!(queue.take(9).map(|run| run.count), Some(3));
        assert_eq!((queue.wavelets, queue.due()), (0, None));
    }
}
