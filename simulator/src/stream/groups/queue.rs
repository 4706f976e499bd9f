//! The input queues of PEs, in little memory: a step may touch those of all PEs of a mesh.

use super::super::nodes::NONE;
use super::super::payload::Payload;
use super::super::run::{Run, Sender};
use super::Stop;
use super::flight::LANDED;
use crate::machine::pe::Pe;
use std::collections::VecDeque;

/// A run in an input queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming {
    pub(super) payload: Payload,
    /// Its first word in the payload.
    start: u32,
    /// Wavelets.
    pub(super) count: u32,
    /// The flight that it belongs to, which may end later than the run says.
    pub(super) flight: u32,
    /// Cycle in which the first one can be taken.
    pub(super) first: u64,
    /// Cycles from the first one to the last one; those between lie on a line.
    span: u32,
    /// Cycles by which the last one is later than if nothing but its sender held it up, and the sender nothing.
    hindered: u32,
}

impl Incoming {
    /// A run that has come, `unhindered` being when its last wavelet would be there if nothing but the sender held it up.
    pub(super) fn new(run: &Run, flight: u32, unhindered: u64) -> Result<Self, Stop> {
        let narrow = |cycles: u64| u32::try_from(cycles).map_err(|_| Stop::Unfit);
        Ok(Self {
            payload: run.payload,
            start: run.start,
            count: narrow(run.count)?,
            flight,
            first: run.first,
            span: narrow(run.last - run.first)?,
            hindered: narrow(run.last - unhindered)?,
        })
    }

    /// Cycle in which the last one can be taken.
    pub(super) fn last(&self) -> u64 {
        self.first + u64::from(self.span)
    }

    /// Its flight has landed so many cycles late.
    pub(super) fn land(&mut self, delay: u64) -> Result<(), Stop> {
        let late = delay.saturating_sub(self.hindered.into());
        self.span = u32::try_from(u64::from(self.span) + late).map_err(|_| Stop::Unfit)?;
        self.flight = LANDED;
        Ok(())
    }

    pub(super) fn is_unknown(&self) -> bool {
        self.payload == Payload::UNKNOWN
    }

    /// As it would be if it came from a queue of the other kind.
    pub(super) fn run(&self) -> Run {
        let run = Run::new(self.payload, self.count as usize, (self.first, self.last()), 0, Sender::Pe(0));
        Run { start: self.start, ..run }
    }

    /// Takes off the first `count` wavelets, which are fewer than all.
    fn split(&mut self, count: u32) -> Self {
        let after = |wavelets: u32| (u64::from(self.span) * u64::from(wavelets) / u64::from(self.count - 1)) as u32;
        let part = Self { count, span: after(count - 1), ..*self };
        let skipped = after(count);
        self.first += u64::from(skipped);
        self.span -= skipped;
        self.start += count;
        self.count -= count;
        part
    }
}

/// Somebody can send some hops after a wavelet has been taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Wavelets that have to be taken from the queue, from the start of the program on.
    pub(super) taken: u64,
    pub(super) hops: u64,
    pub(super) sends: Sends,
}

/// What can be sent when there is room.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sends {
    /// The last wavelet of a flight.
    LastOf(u32),
    /// The first wavelet of an item by a source of the host.
    Item { source: u32, item: u32 },
}

/// An input queue of a PE: a cache line. What few queues have lies elsewhere.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Queue {
    /// The run at its head; without wavelets when there is none.
    head: Incoming,
    /// Wavelets that have been taken from it.
    taken: u64,
    /// When the first of those was taken that were taken last.
    last_at: u64,
    /// How many were taken last.
    last_count: u32,
    /// Wavelets in it.
    wavelets: u32,
    /// What it has in [`Queues::rest`], or [`NONE`].
    rest: u32,
    /// Wavelets that it has room for.
    capacity: u16,
    /// Whether its PE waits for something to come.
    is_awaited: bool,
    /// Whether somebody waits for room in it.
    is_scarce: bool,
}

const _: () = assert!(size_of::<Queue>() == 64, "a cache line");

/// What few queues have.
#[derive(Debug, Default)]
struct Rest {
    /// Runs behind the head.
    runs: VecDeque<Incoming>,
    /// Who waits for room, the first one first.
    rooms: VecDeque<Room>,
}

/// The input queues of all PEs: those of a number together, whether a PE has it or not, since PEs that do the same take from
/// queues of the same number.
#[derive(Debug)]
pub(super) struct Queues {
    list: Vec<Queue>,
    /// By number: where the queues begin; `None` when no PE has it.
    first: Vec<Option<u32>>,
    rest: Vec<Rest>,
}

/// What becomes of the wish to send the last wavelet of a run.
pub(super) enum Fits {
    /// There is room for it.
    Now,
    /// There will be room from a cycle on.
    From(u64),
    /// When so many wavelets have been taken.
    Later(u64),
}

impl Queues {
    /// Empty queues; `None` if one has more room than can be counted here.
    pub(super) fn new(pes: &[Pe]) -> Option<Self> {
        let head =
            Incoming { payload: Payload::UNKNOWN, start: 0, count: 0, flight: LANDED, first: 0, span: 0, hindered: 0 };
        let (taken, last_at, last_count, wavelets, rest) = (0, 0, 0, 0, NONE);
        let (is_awaited, is_scarce) = (false, false);
        let queue =
            |capacity| Queue { head, taken, last_at, last_count, wavelets, rest, capacity, is_awaited, is_scarce };
        let mut queues = Self { list: Vec::new(), first: Vec::new(), rest: Vec::new() };
        for number in 0..pes.iter().map(|pe| pe.inputs.len()).max().unwrap_or(0) {
            let room = |pe: &Pe| pe.inputs.get(number).and_then(Option::as_ref).map_or(0, |queue| queue.capacity);
            let is_there = pes.iter().any(|pe| room(pe) > 0);
            queues.first.push(is_there.then_some(queues.list.len() as u32));
            if is_there {
                for pe in pes {
                    queues.list.push(queue(u16::try_from(room(pe)).ok()?));
                }
            }
        }
        Some(queues)
    }

    /// Where a PE's queue is.
    pub(super) fn at(&self, pe: u32, queue: u8) -> Option<usize> {
        let first = self.first.get(usize::from(queue)).copied().flatten()?;
        Some((first + pe) as usize)
    }

    /// The run at the head of a queue.
    pub(super) fn head(&mut self, input: usize) -> Option<&mut Incoming> {
        let head = &mut self.list[input].head;
        (head.count > 0).then_some(head)
    }

    /// Wavelets that a queue has room for.
    pub(super) fn capacity(&self, input: usize) -> u64 {
        self.list[input].capacity.into()
    }

    /// Whether the last of `count` more wavelets can be sent on a way that holds `way` wavelets itself.
    pub(super) fn fits(&self, input: usize, count: u64, way: u64) -> Fits {
        let queue = &self.list[input];
        // Of all wavelets so far, those beyond what the way holds have to be taken before the last can be sent.
        let sent = queue.taken + u64::from(queue.wavelets) + count;
        let needed = sent.saturating_sub(way + u64::from(queue.capacity));
        let before = queue.taken - u64::from(queue.last_count);
        if needed > queue.taken {
            Fits::Later(needed)
        } else if needed > before {
            Fits::From(queue.last_at + (needed - before))
        } else {
            Fits::Now
        }
    }

    /// Puts a run into a queue; says whether its PE waits for it.
    pub(super) fn push(&mut self, input: usize, run: Incoming) -> Result<bool, Stop> {
        let queue = &mut self.list[input];
        queue.wavelets = queue.wavelets.checked_add(run.count).ok_or(Stop::Unfit)?;
        let is_awaited = std::mem::take(&mut queue.is_awaited);
        if queue.head.count == 0 {
            queue.head = run;
        } else {
            self.rest_of(input).runs.push_back(run);
        }
        Ok(is_awaited)
    }

    /// A PE waits for something to come.
    pub(super) fn wait(&mut self, input: usize) {
        self.list[input].is_awaited = true;
    }

    /// Takes the first `count` wavelets of the head, or all that it has. Says whether some are left of it.
    pub(super) fn take(&mut self, input: usize, count: u64) -> Option<(Incoming, bool)> {
        let queue = &mut self.list[input];
        let head = &mut queue.head;
        if head.count == 0 {
            return None;
        }
        let is_part = count < head.count.into();
        let taken = if is_part { head.split(count as u32) } else { *head };
        queue.wavelets -= taken.count;
        if !is_part {
            let next = self.rest.get_mut(queue.rest as usize).and_then(|rest| rest.runs.pop_front());
            match next {
                Some(next) => queue.head = next,
                None => queue.head.count = 0,
            }
        }
        Some((taken, is_part))
    }

    /// Books that wavelets are taken from a queue, one a cycle from `cycle` on; gives how many had been taken before.
    pub(super) fn book(&mut self, input: usize, count: u64, cycle: u64) -> Result<u64, Stop> {
        let queue = &mut self.list[input];
        let before = queue.taken;
        queue.taken += count;
        (queue.last_at, queue.last_count) = (cycle, u32::try_from(count).map_err(|_| Stop::Unfit)?);
        Ok(before)
    }

    /// Somebody waits for room in a queue.
    pub(super) fn expect(&mut self, input: usize, room: Room) {
        self.rest_of(input).rooms.push_back(room);
        self.list[input].is_scarce = true;
    }

    /// The first who waits for room in a queue, if there is some now.
    pub(super) fn next_room(&mut self, input: usize) -> Option<Room> {
        let queue = &mut self.list[input];
        if !queue.is_scarce {
            return None;
        }
        let rooms = &mut self.rest.get_mut(queue.rest as usize)?.rooms;
        let room = rooms.pop_front_if(|room| room.taken <= queue.taken);
        queue.is_scarce = !rooms.is_empty();
        room
    }

    /// Wavelets in all queues.
    pub(super) fn wavelets(&self) -> u64 {
        self.list.iter().map(|queue| u64::from(queue.wavelets)).sum()
    }

    fn rest_of(&mut self, input: usize) -> &mut Rest {
        let queue = &mut self.list[input];
        if queue.rest == NONE {
            queue.rest = self.rest.len() as u32;
            self.rest.push(Rest::default());
        }
        &mut self.rest[queue.rest as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::pe::InputQueue;

    /// Two PEs whose queue 1 has room for 4 wavelets.
    fn queues() -> Queues {
        let queue = Some(InputQueue { color: 0, capacity: 4, held: 0 });
        let mut inputs = [[None, queue.clone()], [None, queue]];
        let pes = inputs.each_mut().map(|inputs| Pe { inputs, ..Pe::default() });
        Queues::new(&pes).expect("room for 4 can be counted")
    }

    /// A run that nothing but its sender has held up.
    fn run(count: usize, first: u64, last: u64) -> Incoming {
        let run = Run::new(Payload::UNKNOWN, count, (first, last), 0, Sender::Pe(0));
        Incoming::new(&run, LANDED, last).ok().expect("few wavelets in few cycles")
    }

    #[test]
    fn runs_are_taken_in_their_order_and_in_parts() {
        let mut queues = queues();
        assert_eq!((queues.at(1, 0), queues.at(1, 1)), (None, Some(1)));
        queues.wait(1);
        // Five wavelets in cycles 10, 12, 14, 16, 18, and two behind them.
        let is_awaited = [run(5, 10, 18), run(2, 20, 21)].map(|run| queues.push(1, run).ok());
        assert_eq!(is_awaited, [Some(true), Some(false)]);
        let mut take = |count| {
            let (run, is_part) = queues.take(1, count)?;
            Some((run.count, run.first, run.last(), is_part))
        };
        assert_eq!(take(2), Some((2, 10, 12, true)));
        assert_eq!(take(9), Some((3, 14, 18, false)));
        assert_eq!(take(2), Some((2, 20, 21, false)));
        assert_eq!(take(1), None);
        assert_eq!(queues.wavelets(), 0);
    }

    #[test]
    fn the_last_wavelet_finds_room_when_those_before_it_are_taken() {
        let mut queues = queues();
        // The way holds 2 and the queue 4: of 6 wavelets all have room, the 7th when one has been taken.
        assert!(matches!(queues.fits(0, 6, 2), Fits::Now));
        assert!(matches!(queues.fits(0, 7, 2), Fits::Later(1)));
        queues.expect(0, Room { taken: 1, hops: 3, sends: Sends::LastOf(7) });
        assert!(queues.next_room(0).is_none());
        queues.push(0, run(7, 1, 7)).ok().expect("few wavelets");
        // Three are taken in cycles 20, 21 and 22.
        assert_eq!((queues.book(0, 3, 20).ok(), queues.take(0, 3).is_some()), (Some(0), true));
        assert!(matches!(queues.next_room(0), Some(Room { taken: 1, hops: 3, .. })));
        assert!(queues.next_room(0).is_none());
        // 4 are left, 3 more have been taken: of 4 more the last is the 11th, for which 5 have to be taken; of 2 more the
        // last is the 9th, for which the third had to be, in the third cycle from 20 on.
        assert!(matches!(queues.fits(0, 4, 2), Fits::Later(5)));
        assert!(matches!(queues.fits(0, 2, 2), Fits::From(23)));
    }

    #[test]
    fn a_flight_that_lands_late_delays_what_nothing_else_has_delayed() {
        // The last wavelet comes in cycle 30, 4 cycles later than if nothing but its sender had held it up.
        let sent = Run::new(Payload::UNKNOWN, 3, (20, 30), 0, Sender::Pe(0));
        let mut incoming = Incoming::new(&sent, 0, 26).ok().expect("few wavelets in few cycles");
        // The sender was 3 cycles late: it would have come in cycle 29.
        incoming.land(3).ok().expect("few cycles");
        assert_eq!((incoming.last(), incoming.flight), (30, LANDED));
        // 6 cycles late: in cycle 32.
        incoming.land(6).ok().expect("few cycles");
        assert_eq!(incoming.last(), 32);
    }
}
