//! Queues of wavelets: rings in one allocation.

/// A wavelet in a queue.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wavelet {
    /// First cycle in which it may move on.
    pub(super) ready: u64,
    /// 32 bits of data, or the payload of a control wavelet.
    pub(super) data: u32,
    /// 0 for data, else 1 + index into the controls of the run.
    pub(super) control: u16,
    /// Routers that have obeyed it.
    pub(super) hop: u8,
}

/// Slots of a ring when it gets its first wavelet; how full it may get is up to who puts wavelets in.
const FIRST_SLOTS: u32 = 4;

#[derive(Clone, Copy, Debug)]
struct Ring {
    /// See [`Queues::filler`].
    filler: u32,
    start: u32,
    /// A power of two, or 0 before the first wavelet.
    slots: u32,
    head: u32,
    len: u32,
}

/// Many queues, known by their number.
#[derive(Debug, Default)]
pub(super) struct Queues {
    rings: Vec<Ring>,
    slots: Vec<Wavelet>,
}

impl Queues {
    /// Empty queues.
    pub(super) fn new(count: usize) -> Self {
        Self { rings: vec![Ring { filler: u32::MAX, start: 0, slots: 0, head: 0, len: 0 }; count], slots: Vec::new() }
    }

    /// How many queues there are.
    pub(super) fn count(&self) -> usize {
        self.rings.len()
    }

    /// Wavelets in a queue.
    #[inline]
    pub(super) fn len(&self, queue: usize) -> usize {
        self.rings[queue].len as usize
    }

    /// The wavelet with so many before it.
    #[inline]
    pub(super) fn get(&self, queue: usize, place: usize) -> Option<&Wavelet> {
        let ring = &self.rings[queue];
        if place >= ring.len as usize {
            return None;
        }
        self.slots.get((ring.start + (ring.head.wrapping_add(place as u32) & (ring.slots - 1))) as usize)
    }

    /// The wavelet at the head.
    #[inline]
    pub(super) fn front(&self, queue: usize) -> Option<&Wavelet> {
        self.get(queue, 0)
    }

    /// Who fills a queue: a number of the caller's.
    #[inline]
    pub(super) fn filler(&self, queue: usize) -> u32 {
        self.rings[queue].filler
    }

    pub(super) fn set_filler(&mut self, queue: usize, filler: u32) {
        self.rings[queue].filler = filler;
    }

    #[inline]
    pub(super) fn push(&mut self, queue: usize, wavelet: Wavelet) {
        if self.rings[queue].len == self.rings[queue].slots {
            self.grow(queue);
        }
        let ring = &mut self.rings[queue];
        let slot = ring.start + (ring.head.wrapping_add(ring.len) & (ring.slots - 1));
        ring.len += 1;
        self.slots[slot as usize] = wavelet;
    }

    #[inline]
    pub(super) fn pop(&mut self, queue: usize) -> Option<Wavelet> {
        let wavelet = *self.front(queue)?;
        let ring = &mut self.rings[queue];
        ring.head = ring.head.wrapping_add(1);
        ring.len -= 1;
        Some(wavelet)
    }

    /// Moves a queue to the end of the slots, with twice as many; those that it leaves stay unused.
    #[cold]
    fn grow(&mut self, queue: usize) {
        let ring = self.rings[queue];
        let start = self.slots.len() as u32;
        let slots = (ring.slots * 2).max(FIRST_SLOTS);
        for place in 0..ring.len as usize {
            let wavelet = self.get(queue, place).copied().unwrap_or_default();
            self.slots.push(wavelet);
        }
        self.slots.resize((start + slots) as usize, Wavelet::default());
        self.rings[queue] = Ring { start, slots, head: 0, ..ring };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        /// Two queues, so that one grows past the other.
        #[test]
        fn they_give_what_was_put_in_in_its_order(steps in prop::collection::vec((0..2usize, any::<bool>()), 0..200)) {
            let mut queues = Queues::new(2);
            let mut expected = [VecDeque::new(), VecDeque::new()];
            for (number, (queue, push)) in steps.into_iter().enumerate() {
                if push {
                    queues.push(queue, Wavelet { data: number as u32, ..Wavelet::default() });
                    expected[queue].push_back(number as u32);
                } else {
                    prop_assert_eq!(queues.pop(queue).map(|w| w.data), expected[queue].pop_front());
                }
                prop_assert_eq!(queues.len(queue), expected[queue].len());
                for place in 0..=expected[queue].len() {
                    prop_assert_eq!(queues.get(queue, place).map(|w| w.data), expected[queue].get(place).copied());
                }
            }
        }
    }
}
