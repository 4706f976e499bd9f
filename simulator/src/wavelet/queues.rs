//! Queues of wavelets: rings in one allocation, each with what the router has to know of its wavelets' way.

use waferloom_fabric::Direction;

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

    /// Whether it is a data wavelet.
    #[inline]
    pub(super) fn is_data(self) -> bool {
        self.bits >> 32 == 0
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

/// No such queue or node.
pub(super) const NONE: u32 = u32::MAX;

/// Slots of a queue when it gets its first wavelet.
const FIRST_SLOTS: u32 = 4;

/// What a router does with the wavelets of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The switch does not take them, or a teardown has closed the route.
    Closed,
    /// Data go to `to` and `below`, where they exist, and nowhere else.
    Plain,
    /// What comes and goes otherwise: outside of the band, over several links, through a filter.
    Special,
}

/// A queue at a router's port, or of a PE. A cache line.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Queue {
    /// The ring: its first slot and how many it has, a power of two or 0 before the first wavelet.
    start: u32,
    slots: u32,
    head: u32,
    pub(super) len: u32,
    /// Wavelets that may be in it.
    pub(super) limit: u32,
    /// The node whose router or PE fills it; `NONE` when that is outside of the band.
    pub(super) filler: u32,
    /// The cycle in which a router took the head last: whoever fills the queue sees the room from the next cycle on.
    pub(super) taken: u64,
    /// Wavelets that a router has taken since the way changed.
    pub(super) moved: u64,
    /// The queue at the other end of the way's only link, and its node.
    pub(super) to: u32,
    pub(super) to_node: u32,
    /// The queue of the PE below.
    pub(super) below: u32,
    /// The way's outputs, as the bits of a set of ports.
    pub(super) outputs: u8,
    pub(super) way: Way,
    /// Its port, as a number of `Direction::ALL`.
    pub(super) port: u8,
    /// Place of the first queue of the lane after this one's: there the next arbitration starts when this is the first to move.
    pub(super) next_turn: u8,
    /// Whether the node that fills it and the one that takes from it are in flow, and do so in each cycle.
    pub(super) in_flow: [bool; 2],
    /// Whether it is on the list of those between a node in flow and one that is not.
    pub(super) at_border: bool,
}

const _: () = assert!(size_of::<Queue>() == 64, "a cache line");

impl Queue {
    /// An empty queue whose way is closed, for at most `limit` wavelets of a node through a port.
    pub(super) fn new(limit: u32, filler: u32, port: Direction) -> Self {
        Self {
            start: 0,
            slots: 0,
            head: 0,
            len: 0,
            limit,
            filler,
            taken: u64::MAX,
            moved: 0,
            to: NONE,
            to_node: NONE,
            below: NONE,
            outputs: 0,
            way: Way::Closed,
            port: port as u8,
            next_turn: 0,
            in_flow: [false; 2],
            at_border: false,
        }
    }

    /// Whether a router may put in a wavelet in cycle `now`.
    #[inline]
    pub(super) fn has_room(&self, now: u64) -> bool {
        self.len + u32::from(self.taken == now) < self.limit
    }

    /// Takes the head away.
    #[inline]
    pub(super) fn advance(&mut self) {
        self.head = self.head.wrapping_add(1);
        self.len -= 1;
    }

    /// Takes the head away in a router's cycle.
    #[inline]
    pub(super) fn advance_at(&mut self, now: u64) {
        self.advance();
        self.taken = now;
        self.moved += 1;
    }

    /// Takes away as many heads as came in meanwhile, one a cycle until cycle `last`.
    pub(super) fn pass(&mut self, cycles: u64, last: u64) {
        self.head = self.head.wrapping_add(cycles as u32);
        self.taken = last;
        self.moved += cycles;
    }

    /// The slot of the wavelet with so many before it.
    #[inline]
    fn slot(&self, place: u32) -> usize {
        (self.start + (self.head.wrapping_add(place) & self.slots.wrapping_sub(1))) as usize
    }
}

/// A place in a queue's ring that goes on by a slot a cycle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moving {
    start: u32,
    /// The number of slots, less one.
    mask: u8,
    /// The slot in cycle 0, modulo the number of slots.
    phase: u8,
}

impl Moving {
    /// No place.
    pub(super) const NONE: Self = Self { start: NONE, mask: 0, phase: 0 };

    /// Whether there is one.
    #[inline]
    pub(super) fn exists(self) -> bool {
        self.start != NONE
    }

    #[inline]
    fn slot(self, now: u64) -> usize {
        self.start as usize + usize::from((now as u8).wrapping_add(self.phase) & self.mask)
    }
}

/// Many queues, known by their number.
#[derive(Debug, Default)]
pub(super) struct Queues {
    pub(super) queues: Vec<Queue>,
    slots: Vec<Wavelet>,
}

impl Queues {
    /// Makes room for the first slots of all queues, so that they need not be moved when there are more of them. Memory is taken
    /// as it is used.
    pub(super) fn reserve(&mut self) {
        self.slots.reserve(self.queues.len() * FIRST_SLOTS as usize);
    }

    /// Wavelets in a queue.
    #[inline]
    pub(super) fn len(&self, queue: u32) -> u32 {
        self.queues[queue as usize].len
    }

    /// The wavelet with so many before it.
    #[inline]
    pub(super) fn get(&self, queue: u32, place: usize) -> Option<&Wavelet> {
        let queue = &self.queues[queue as usize];
        if place < queue.len as usize { self.slots.get(queue.slot(place as u32)) } else { None }
    }

    /// The wavelet at the head.
    #[inline]
    pub(super) fn front(&self, queue: u32) -> Option<&Wavelet> {
        self.get(queue, 0)
    }

    /// The wavelet at the head of a queue that is not empty.
    #[inline]
    pub(super) fn head(&self, queue: &Queue) -> Wavelet {
        self.slots.get(queue.slot(0)).copied().unwrap_or_default()
    }

    /// Adds a wavelet.
    #[inline]
    pub(super) fn push(&mut self, queue: u32, wavelet: Wavelet) {
        let ring = &mut self.queues[queue as usize];
        if ring.len == ring.slots {
            self.grow(queue);
        }
        let ring = &mut self.queues[queue as usize];
        let slot = ring.slot(ring.len);
        ring.len += 1;
        self.slots[slot] = wavelet;
    }

    /// Takes the head.
    #[inline]
    pub(super) fn pop(&mut self, queue: u32) -> Option<Wavelet> {
        let wavelet = *self.front(queue)?;
        self.queues[queue as usize].advance();
        Some(wavelet)
    }

    /// Moves a queue to the end of the slots, with twice as many; those that it leaves stay unused.
    #[cold]
    fn grow(&mut self, queue: u32) {
        let start = self.slots.len();
        let (old, len) = (self.queues[queue as usize].slots, self.queues[queue as usize].len);
        for place in 0..len as usize {
            let wavelet = self.get(queue, place).copied().unwrap_or_default();
            self.slots.push(wavelet);
        }
        let ring = &mut self.queues[queue as usize];
        (ring.start, ring.slots, ring.head) = (start as u32, (old * 2).max(FIRST_SLOTS), 0);
        self.slots.resize(start + ring.slots as usize, Wavelet::default());
    }

    /// Whether a queue from which a wavelet was taken in cycle `now` is such that one can be taken and one put in in every cycle
    /// from now on: the last one was put in in cycle `now`, to move on in cycle `ready`, and all can be taken when it is their turn.
    pub(super) fn is_steady(&self, queue: u32, ready: u64, now: u64) -> bool {
        let len = self.len(queue) as usize;
        let in_time = |(turn, wavelet): (u64, &Wavelet)| wavelet.is_data() && wavelet.ready <= turn;
        self.last(queue).is_some_and(|last| last.ready == ready)
            && (now + 1..).zip((0..len).filter_map(|place| self.get(queue, place))).all(in_time)
    }

    /// The wavelet that was put in last.
    #[inline]
    pub(super) fn last(&self, queue: u32) -> Option<&Wavelet> {
        self.get(queue, (self.len(queue) as usize).checked_sub(1)?)
    }

    /// Where wavelets of a queue are taken and put in, one of each a cycle after `now`; `None` when it has more slots than that
    /// is for.
    pub(super) fn moving(&mut self, queue: u32, now: u64) -> Option<[Moving; 2]> {
        if self.queues[queue as usize].len == self.queues[queue as usize].slots {
            self.grow(queue);
        }
        let Queue { start, slots, head, len, .. } = self.queues[queue as usize];
        let mask = u8::try_from(slots - 1).ok()?;
        let place = |slot: u32| Moving { start, mask, phase: (slot as u8).wrapping_sub((now + 1) as u8) };
        Some([place(head), place(head.wrapping_add(len))])
    }

    /// The wavelet at a moving place in cycle `now`.
    #[inline]
    pub(super) fn at(&self, place: Moving, now: u64) -> Wavelet {
        self.slots[place.slot(now)]
    }

    /// Puts a wavelet to a moving place in cycle `now`.
    #[inline]
    pub(super) fn put(&mut self, place: Moving, now: u64, wavelet: Wavelet) {
        self.slots[place.slot(now)] = wavelet;
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
        fn they_give_what_was_put_in_in_its_order(steps in prop::collection::vec((0..2u32, any::<bool>()), 0..200)) {
            let mut queues = Queues { queues: vec![Queue::new(9, NONE, Direction::Ramp); 2], ..Queues::default() };
            let mut expected = [VecDeque::new(), VecDeque::new()];
            for (number, (queue, push)) in steps.into_iter().enumerate() {
                if push {
                    queues.push(queue, Wavelet::data(0, number as u32));
                    expected[queue as usize].push_back(number as u32);
                } else {
                    prop_assert_eq!(queues.pop(queue).map(Wavelet::word), expected[queue as usize].pop_front());
                }
                prop_assert_eq!(queues.len(queue) as usize, expected[queue as usize].len());
                for place in 0..=expected[queue as usize].len() {
                    prop_assert_eq!(queues.get(queue, place).map(|w| w.word()), expected[queue as usize].get(place).copied());
                }
            }
        }
    }
}
