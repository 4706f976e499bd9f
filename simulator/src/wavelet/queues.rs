//! Queues of wavelets: rings in one allocation.

/// A wavelet in a queue: two words, which are moved as they are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wavelet {
    /// First cycle in which it may move on.
    pub(super) ready: u64,
    /// From the lowest bit: 32 bits of data or the payload of a control wavelet; 16 bits that are 0 for data, else 1 + index
    /// into the controls of the run; 8 bits that count the routers that have obeyed it.
    bits: u64,
}

impl Wavelet {
    /// A data wavelet.
    #[inline]
    pub(super) fn data(ready: u64, data: u32) -> Self {
        Self { ready, bits: data.into() }
    }

    /// A control wavelet: `control` is 1 + its index.
    pub(super) fn control(ready: u64, control: u16, payload: u32) -> Self {
        Self { ready, bits: u64::from(payload) | u64::from(control) << 32 }
    }

    /// The same, to move on in another cycle.
    #[inline]
    pub(super) fn at(self, ready: u64) -> Self {
        Self { ready, ..self }
    }

    /// Its data or payload.
    #[inline]
    pub(super) fn word(self) -> u32 {
        self.bits as u32
    }

    /// The index of a control wavelet among the controls.
    #[inline]
    pub(super) fn control_index(self) -> Option<usize> {
        usize::from((self.bits >> 32) as u16).checked_sub(1)
    }

    /// Routers that have obeyed it.
    pub(super) fn hops(self) -> usize {
        (self.bits >> 48) as usize
    }

    /// The same after another router.
    pub(super) fn after_hop(self) -> Self {
        let hops = (self.hops() + 1).min(usize::from(u8::MAX)) as u64;
        Self { bits: self.bits & 0xFFFF_FFFF_FFFF | hops << 48, ..self }
    }
}

/// Slots of a ring when it gets its first wavelet; how full it may get is up to who puts wavelets in.
const FIRST_SLOTS: u32 = 4;

#[derive(Clone, Copy, Debug, Default)]
struct Ring {
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
        Self { rings: vec![Ring::default(); count], slots: Vec::new() }
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

    /// Adds a wavelet.
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

    /// Takes the head away; says whether another one follows.
    #[inline]
    pub(super) fn advance(&mut self, queue: usize) -> bool {
        let ring = &mut self.rings[queue];
        ring.head = ring.head.wrapping_add(1);
        ring.len -= 1;
        ring.len > 0
    }

    /// Takes the head.
    #[inline]
    pub(super) fn pop(&mut self, queue: usize) -> Option<Wavelet> {
        let wavelet = *self.front(queue)?;
        self.advance(queue);
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
        self.rings[queue] = Ring { start, slots, head: 0, len: ring.len };
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
                    queues.push(queue, Wavelet::data(0, number as u32));
                    expected[queue].push_back(number as u32);
                } else {
                    prop_assert_eq!(queues.pop(queue).map(Wavelet::word), expected[queue].pop_front());
                }
                prop_assert_eq!(queues.len(queue), expected[queue].len());
                for place in 0..=expected[queue].len() {
                    prop_assert_eq!(queues.get(queue, place).map(|w| w.word()), expected[queue].get(place).copied());
                }
            }
        }
    }
}
