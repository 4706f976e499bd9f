//! When what is to be looked at again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Cycles ahead of the clock that have a list of their own; what lies further ahead waits in a heap.
const NEAR: u64 = 1024;

/// What is looked at; within a cycle in this order, and within a kind in the order of the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    Pe(u32),
    Router(u32),
    Source(u32),
}

/// Kinds of events.
const KINDS: usize = 3;

/// The events to come.
pub(super) struct Calendar {
    now: u64,
    /// The events of a cycle by kind, at its number modulo [`NEAR`].
    cycles: Vec<[Vec<u32>; KINDS]>,
    /// A bit for each list of [`Calendar::cycles`] that is not empty.
    occupied: [u64; NEAR as usize / 64],
    /// Events of the current cycle that have been handed out, by kind.
    done: [usize; KINDS],
    later: BinaryHeap<Reverse<(u64, Event)>>,
}

impl Calendar {
    pub(super) fn new() -> Self {
        Self {
            now: 0,
            cycles: (0..NEAR).map(|_| Default::default()).collect(),
            occupied: [0; NEAR as usize / 64],
            done: [0; KINDS],
            later: BinaryHeap::new(),
        }
    }

    /// Enters an event; one for a cycle that has gone by is due at once.
    pub(super) fn push(&mut self, cycle: u64, event: Event) {
        let cycle = cycle.max(self.now);
        if cycle - self.now >= NEAR {
            self.later.push(Reverse((cycle, event)));
            return;
        }
        let (kind, index) = match event {
            Event::Pe(index) => (0, index),
            Event::Router(index) => (1, index),
            Event::Source(index) => (2, index),
        };
        let slot = (cycle % NEAR) as usize;
        self.cycles[slot][kind].push(index);
        self.occupied[slot / 64] |= 1 << (slot % 64);
    }

    /// The next event and its cycle.
    pub(super) fn pop(&mut self) -> Option<(u64, Event)> {
        loop {
            let lists = &mut self.cycles[(self.now % NEAR) as usize];
            for (kind, (list, done)) in lists.iter_mut().zip(&mut self.done).enumerate() {
                if let Some(&index) = list.get(*done) {
                    *done += 1;
                    let event = [Event::Pe(index), Event::Router(index), Event::Source(index)][kind];
                    return Some((self.now, event));
                }
            }
            for list in lists {
                list.clear();
            }
            self.done = [0; KINDS];
            self.advance()?;
        }
    }

    /// Sets the clock to the next cycle in which something happens.
    fn advance(&mut self) -> Option<()> {
        let slot = (self.now % NEAR) as usize;
        self.occupied[slot / 64] &= !(1 << (slot % 64));
        self.now = match self.next_near() {
            Some(cycle) => cycle,
            None => self.later.peek()?.0.0,
        };
        while let Some(&Reverse((cycle, event))) = self.later.peek()
            && cycle - self.now < NEAR
        {
            self.later.pop();
            self.push(cycle, event);
        }
        Some(())
    }

    fn next_near(&self) -> Option<u64> {
        let words = self.occupied.len();
        let start = (self.now % NEAR) as usize;
        // The word of the current slot is looked at twice: its part from there on, and at the end the part before.
        for step in 0..=words {
            let place = (start / 64 + step) % words;
            let mask = match step {
                0 => u64::MAX << (start % 64),
                _ if step == words => !(u64::MAX << (start % 64)),
                _ => u64::MAX,
            };
            let found = self.occupied[place] & mask;
            if found != 0 {
                let slot = (place * 64 + found.trailing_zeros() as usize) as u64;
                return Some(self.now + (slot + NEAR - self.now % NEAR) % NEAR);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn events_come_by_cycle_then_kind_then_entry() {
        let mut calendar = Calendar::new();
        for (cycle, event) in [(5, Event::Router(1)), (5, Event::Pe(9)), (3, Event::Source(0)), (5, Event::Pe(2))] {
            calendar.push(cycle, event);
        }
        // Far beyond the lists, and exactly one round of them ahead.
        calendar.push(100_000, Event::Pe(7));
        calendar.push(5 + NEAR, Event::Pe(8));
        let expected = [
            (3, Event::Source(0)),
            (5, Event::Pe(9)),
            (5, Event::Pe(2)),
            (5, Event::Router(1)),
            (5 + NEAR, Event::Pe(8)),
            (100_000, Event::Pe(7)),
        ];
        for event in expected {
            assert_eq!(calendar.pop(), Some(event));
        }
        assert_eq!(calendar.pop(), None);
    }

    proptest! {
        #[test]
        fn no_event_is_lost_or_early(steps in prop::collection::vec((0..3000u64, any::<bool>()), 1..200)) {
            let (mut calendar, mut expected, mut now) = (Calendar::new(), BinaryHeap::new(), 0);
            for (index, &(ahead, pop)) in steps.iter().enumerate() {
                calendar.push(now + ahead, Event::Pe(index as u32));
                expected.push(Reverse(now + ahead));
                if pop {
                    now = calendar.pop().expect("one has been entered").0;
                    prop_assert_eq!(Some(Reverse(now)), expected.pop());
                }
            }
            while let Some((cycle, _)) = calendar.pop() {
                prop_assert_eq!(Some(Reverse(cycle)), expected.pop());
            }
            prop_assert!(expected.is_empty());
        }
    }
}
