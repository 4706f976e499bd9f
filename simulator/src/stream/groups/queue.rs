//! The input queues of PEs: those of PEs side by side as one, as long as the same is in them.

use super::Stop;
use super::flight::Origin;
use super::incoming::{Ahead, Incoming};
use super::line::Line;
use super::repeat::Turn;
use super::strip::{Along, Strip};
use crate::machine::pe::Pe;
use std::collections::VecDeque;

/// Somebody can send some hops after a wavelet has been taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Wavelets that have to be taken from the queue, in its own count.
    pub(super) taken: Line,
    pub(super) hops: Line,
    pub(super) sends: Sends,
}

/// What can be sent when there is room.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sends {
    /// The last wavelet of a flight.
    LastOf(u32, Origin),
    /// The first wavelet of an item by a source of the host.
    Item { source: u32, item: u32 },
}

impl Room {
    fn along(&self, i: u32) -> Self {
        let sends = match self.sends {
            Sends::LastOf(flight, origin) => Sends::LastOf(flight, origin.from(i)),
            item @ Sends::Item { .. } => item,
        };
        Self { taken: self.taken.from(i), hops: self.hops.from(i), sends }
    }
}

/// No [`Rest`].
const NONE: u32 = u32::MAX;

/// An input queue of a PE, or those of PEs side by side. What few queues have lies elsewhere.
#[derive(Clone, Copy, Debug)]
struct Queue {
    /// The run at its head; without wavelets when there is none.
    head: Incoming,
    /// Wavelets that have been taken from it since somebody began to wait for room, or since before they were taken last.
    taken: i64,
    /// When the first of those was taken that were taken last.
    last_at: Line,
    /// How many were taken last.
    last_count: u32,
    /// Wavelets in it of which it is not booked that they are taken.
    wavelets: u32,
    /// What it has in [`Queues::rest`], or [`NONE`].
    rest: u32,
    /// Wavelets that it has room for.
    capacity: u16,
    /// Whether its PE waits for something to come.
    is_awaited: bool,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.head.count == 0 && self.wavelets == 0 && self.rest == NONE && !self.is_awaited
    }

    /// Whether nothing has ever been taken from it, so that nobody asks when that was.
    fn is_unused(&self) -> bool {
        self.last_count == 0
    }
}

impl Along for Queue {
    fn along(&self, i: u32) -> Self {
        Self { head: self.head.along(i), last_at: self.last_at.from(i), ..*self }
    }

    fn back(&self) -> Self {
        Self { head: self.head.back(), last_at: self.last_at.back(), ..*self }
    }

    fn joined(&self, n: u32, next: &Self, m: u32) -> Option<Self> {
        let counts = |queue: &Self| (queue.taken, queue.last_count, queue.wavelets, queue.capacity, queue.is_awaited);
        if self.rest != NONE || next.rest != NONE || counts(self) != counts(next) {
            return None;
        }
        let head = if self.head.count == 0 && next.head.count == 0 {
            self.head
        } else {
            self.head.joined(n, &next.head, m)?
        };
        Some(Self { head, last_at: self.last_at.joined(n, next.last_at, m)?, ..*self })
    }
}

/// What few queues have.
#[derive(Clone, Debug, Default)]
struct Rest {
    /// Runs behind the head.
    runs: VecDeque<Incoming>,
    /// Who waits for room, the first one first.
    rooms: VecDeque<Room>,
}

impl Rest {
    fn along(&self, i: u32) -> Self {
        Self {
            runs: self.runs.iter().map(|run| run.along(i)).collect(),
            rooms: self.rooms.iter().map(|room| room.along(i)).collect(),
        }
    }
}

/// The input queues of all PEs: those of a number together, whether a PE has it or not, since PEs that do the same take from
/// queues of the same number.
#[derive(Clone, Debug)]
pub(super) struct Queues {
    list: Strip<Queue>,
    /// By number: where the queues begin; `None` when no PE has it.
    first: Vec<Option<u32>>,
    rest: Vec<Rest>,
    unused: Vec<u32>,
}

/// What becomes of the wish to send the last wavelet of a run.
pub(super) enum Fits {
    /// There is room for it.
    Now,
    /// There will be room from a cycle on.
    From(Line),
    /// When so many wavelets have been taken.
    Later(Line),
}

impl Queues {
    /// Empty queues of PEs in rows of `width`; `None` if one has more room than can be counted here.
    pub(super) fn new(pes: &[Pe], width: u32) -> Option<Self> {
        let queue = |capacity| Queue {
            head: Incoming::NONE,
            taken: 0,
            last_at: Line::flat(0),
            last_count: 0,
            wavelets: 0,
            rest: NONE,
            capacity,
            is_awaited: false,
        };
        let (mut list, mut first) = (Vec::new(), Vec::new());
        for number in 0..pes.iter().map(|pe| pe.inputs.len()).max().unwrap_or(0) {
            let room = |pe: &Pe| pe.inputs.get(number).and_then(Option::as_ref).map_or(0, |queue| queue.capacity);
            let is_there = pes.iter().any(|pe| room(pe) > 0);
            first.push(is_there.then_some(list.len() as u32));
            if is_there {
                list.reserve(pes.len());
                for pe in pes {
                    list.push(queue(u16::try_from(room(pe)).ok()?));
                }
            }
        }
        Some(Self { list: Strip::new(list, width), first, rest: Vec::new(), unused: Vec::new() })
    }

    /// Where a PE's queue is; that of the PE beside is beside it.
    pub(super) fn at(&self, pe: u32, queue: u8) -> Option<u32> {
        let first = self.first.get(usize::from(queue)).copied().flatten()?;
        Some(first + pe)
    }

    /// Queues side by side that share one state, to be changed.
    #[inline]
    fn edit(&mut self, input: u32, n: u32) -> &mut Queue {
        if !self.list.is_piece(input, n) {
            self.split(input);
            self.split(input + n);
        }
        self.list.value(input)
    }

    /// Lets what is known of queues begin at one of them.
    fn split(&mut self, input: u32) {
        let Some(before) = self.list.split(input) else { return };
        let rest = self.list.value(input).rest;
        if rest != NONE {
            let own = self.rest[rest as usize].along(input - before);
            self.list.value(input).rest = self.keep(own);
        }
    }

    fn keep(&mut self, rest: Rest) -> u32 {
        let index = self.unused.pop().unwrap_or(self.rest.len() as u32);
        match self.rest.get_mut(index as usize) {
            Some(place) => *place = rest,
            None => self.rest.push(rest),
        }
        index
    }

    /// What queues side by side have beside their heads.
    fn rest_of(&mut self, input: u32) -> &mut Rest {
        let mut index = self.list.value(input).rest;
        if index == NONE {
            // What nobody uses is empty, and has its memory still.
            index = self.unused.pop().unwrap_or_else(|| {
                self.rest.push(Rest::default());
                self.rest.len() as u32 - 1
            });
            self.list.value(input).rest = index;
        }
        &mut self.rest[index as usize]
    }

    /// As long as nobody waits for room, what has been taken is counted from before it was taken last: so queues become alike again.
    fn count_anew(&mut self, input: u32) {
        let queue = self.list.value(input);
        if self.rest.get(queue.rest as usize).is_none_or(|rest| rest.rooms.is_empty()) {
            queue.taken = queue.last_count.into();
        }
    }

    /// Queues side by side may have nothing beside their heads any more.
    fn leave(&mut self, input: u32) {
        let queue = self.list.value(input);
        let Some(rest) = self.rest.get(queue.rest as usize) else { return };
        if rest.runs.is_empty() && rest.rooms.is_empty() {
            self.unused.push(std::mem::replace(&mut queue.rest, NONE));
        }
    }

    /// Wavelets that have come to a queue, and to those beside that are alike, and have not been taken.
    pub(super) fn available(&mut self, input: u32, n: &mut u32) -> u64 {
        self.list.shared(input, n).wavelets.into()
    }

    /// The run at the head of a queue, and of those beside that have one as well.
    #[inline]
    pub(super) fn head(&mut self, input: u32, n: &mut u32) -> Option<Ahead> {
        let (queue, i) = self.list.look(input, n);
        (queue.head.count > 0).then(|| queue.head.ahead(i))
    }

    /// The runs at the heads of queues side by side have landed so many cycles late; `n` becomes for how many it is done.
    pub(super) fn land(&mut self, input: u32, n: &mut u32, delay: Line) {
        let (queue, i) = self.list.look(input, n);
        let late = queue.head.lateness(i, delay, n);
        self.edit(input, *n).head.land(late);
    }

    /// Wavelets that a queue has room for.
    pub(super) fn capacity(&self, input: u32) -> i64 {
        self.list.get(input).capacity.into()
    }

    /// Whether the last of `count` more wavelets can be sent on a way that holds `way` wavelets itself.
    pub(super) fn fits(&mut self, input: u32, n: &mut u32, count: i64, way: Line) -> Fits {
        let (queue, i) = self.list.look(input, n);
        // Of all wavelets so far, those beyond what the way holds have to be taken before the last can be sent.
        let sent = queue.taken + i64::from(queue.wavelets) + count - i64::from(queue.capacity);
        let needed = (Line::flat(sent) - way).max(Line::flat(0), n);
        let before = queue.taken - i64::from(queue.last_count);
        if Line::flat(queue.taken).is_below(needed, n) {
            Fits::Later(needed)
        } else if Line::flat(before).is_below(needed, n) {
            Fits::From(queue.last_at.from(i) + needed.plus(-before))
        } else {
            Fits::Now
        }
    }

    /// Wavelets in queues side by side that are alike, `count` more among them, for which they have no room themselves: of those of
    /// which it is not booked that they are taken; and with those that were taken last, from which cycle on.
    pub(super) fn beyond(&mut self, input: u32, n: &mut u32, count: i64) -> (i64, i64, Line) {
        let (queue, i) = self.list.look(input, n);
        let beyond = i64::from(queue.wavelets) + count - i64::from(queue.capacity);
        (beyond, beyond + i64::from(queue.last_count), queue.last_at.from(i))
    }

    /// A run in a queue that is the first of queues that are alike: the one at the head, or one behind it.
    pub(super) fn run(&self, input: u32, index: usize) -> Option<Incoming> {
        let queue = self.list.get(input);
        match index.checked_sub(1) {
            None => (queue.head.count > 0).then_some(queue.head),
            Some(behind) => self.rest.get(queue.rest as usize)?.runs.get(behind).copied(),
        }
    }

    /// The last wavelets of a flight's runs in queues side by side come no sooner than in some cycles.
    pub(super) fn hold(&mut self, input: u32, n: u32, flight: u32, last: Line) {
        let mut done = 0;
        while done < n {
            let (at, mut here) = (input + done, n - done);
            self.split(at);
            self.list.look(at, &mut here);
            let mut runs = (0..).map_while(|index| Some((index, self.run(at, index)?)));
            if let Some((index, mut run)) = runs.find(|(_, run)| run.flight == flight) {
                run.hold(last.from(done), &mut here);
                self.edit(at, here);
                self.set_run(at, index, run);
            }
            done += here;
        }
    }

    fn set_run(&mut self, input: u32, index: usize, run: Incoming) {
        let queue = self.list.value(input);
        match index.checked_sub(1) {
            None => queue.head = run,
            Some(behind) => {
                let runs = self.rest.get_mut(queue.rest as usize).map(|rest| &mut rest.runs);
                runs.and_then(|runs| runs.get_mut(behind)).into_iter().for_each(|place| *place = run);
            }
        }
    }

    /// Puts runs into queues side by side, for as many as are alike; says whether their PEs wait for them.
    pub(super) fn push(&mut self, input: u32, n: &mut u32, run: &Incoming) -> Result<bool, Stop> {
        self.list.look(input, n);
        let queue = self.edit(input, *n);
        queue.wavelets = queue.wavelets.checked_add(run.count).ok_or(Stop::Unfit)?;
        let is_awaited = std::mem::take(&mut queue.is_awaited);
        if queue.head.count == 0 {
            queue.head = *run;
        } else {
            self.rest_of(input).runs.push_back(*run);
        }
        Ok(is_awaited)
    }

    /// PEs side by side wait for something to come.
    pub(super) fn wait(&mut self, input: u32, n: u32) {
        self.edit(input, n).is_awaited = true;
    }

    /// When the first `count` wavelets of a head that has more have come.
    pub(super) fn last_of_first(&self, input: u32, count: u32) -> Line {
        self.list.get(input).head.split(count).0.last
    }

    /// Takes the first `count` wavelets of the heads, or all that they have; says whether some are left of them.
    pub(super) fn take(&mut self, input: u32, n: u32, count: i64) -> Option<(Incoming, bool)> {
        let queue = self.edit(input, n);
        let head = &mut queue.head;
        if head.count == 0 {
            return None;
        }
        let is_part = count < head.count.into();
        if is_part {
            let (taken, left) = head.split(count as u32);
            *head = left;
            return Some((taken, true));
        }
        let taken = *head;
        head.count = 0;
        let rest = queue.rest;
        if let Some(next) = self.rest.get_mut(rest as usize).and_then(|rest| rest.runs.pop_front()) {
            self.list.value(input).head = next;
            self.leave(input);
        }
        Some((taken, false))
    }

    /// Wavelets of the run at the head of a queue.
    pub(super) fn head_count(&mut self, input: u32) -> u64 {
        self.list.shared(input, &mut 1).head.count.into()
    }

    /// Takes wavelets as [`Queues::take`] does where there is no time.
    pub(super) fn take_untimed(&mut self, input: u32, n: u32, count: u64) -> Option<(Incoming, bool)> {
        self.edit(input, n).wavelets -= count as u32;
        self.take(input, n, count as i64)
    }

    /// How many of queues side by side let the same go on when `count` wavelets are taken from each, and leave runs that lie on lines.
    pub(super) fn alike(&mut self, input: u32, n: &mut u32, count: i64) {
        let (queue, _) = self.list.look(input, n);
        if count < queue.head.count.into() && !queue.head.is_even() {
            *n = 1;
        }
        if queue.rest == NONE {
            return;
        }
        let taken = Line::flat(queue.taken + count);
        self.split(input);
        if let Some(rest) = self.rest.get(self.list.value(input).rest as usize) {
            for room in &rest.rooms {
                if taken.is_below(room.taken, n) {
                    break;
                }
            }
        }
    }

    /// Books that wavelets are taken from queues side by side, one a cycle from `cycle` on; gives how many had been taken before.
    pub(super) fn book(&mut self, input: u32, n: u32, count: i64, cycle: Line) -> i64 {
        let queue = self.edit(input, n);
        let before = queue.taken;
        queue.taken = before + count;
        // What is booked may stay for a while, but holds nobody up any more.
        queue.wavelets -= count as u32;
        (queue.last_at, queue.last_count) = (cycle, count as u32);
        self.count_anew(input);
        before
    }

    /// Somebody waits for room in queues side by side.
    pub(super) fn expect(&mut self, input: u32, n: u32, room: Room) {
        self.edit(input, n);
        self.rest_of(input).rooms.push_back(room);
    }

    /// The first who waits for room in queues side by side, if there is some now.
    pub(super) fn next_room(&mut self, input: u32) -> Option<Room> {
        let queue = self.list.value(input);
        let taken = queue.taken;
        let rest = self.rest.get_mut(queue.rest as usize)?;
        let room = rest.rooms.pop_front_if(|room| room.taken.at <= taken);
        if room.is_some() {
            self.count_anew(input);
            self.leave(input);
        }
        room
    }

    /// Whether nothing is in any queue, and nobody waits for something to come or to go.
    pub(super) fn are_empty(&self) -> bool {
        self.list.pieces().all(|(queue, _)| queue.is_empty())
    }

    /// Whether queues are empty, and like others but for the time; `long` is as for [`Queues::repeat`].
    pub(super) fn are_alike(&mut self, inputs: [u32; 2], n: u32, turn: Turn, long: i64) -> bool {
        self.list.agree(inputs, n, |a, b, n| {
            let counts = |queue: &Queue| (queue.taken, queue.last_count);
            let behind = |queue: &Queue| queue.last_at.plus(i64::from(queue.last_count) + long);
            let is_same = || turn.are_later(a.last_at, b.last_at, n) || a.is_unused() && b.is_unused();
            a.is_empty()
                && b.is_empty()
                && a.capacity == b.capacity
                && (counts(a) == counts(b) && is_same() || turn.are_past(behind(a), behind(b), n))
        })
    }

    /// Whether nothing is in queues side by side, and nobody waits for something to come or to go.
    pub(super) fn are_empty_from(&mut self, input: u32, n: u32) -> bool {
        self.list.agree([input; 2], n, |queue, _, _| queue.is_empty())
    }

    /// Empty queues are so many cycles later what others are.
    pub(super) fn follow(&mut self, inputs: [u32; 2], n: u32, cycles: i64) {
        let later = |queue: Queue| Queue { last_at: queue.last_at.plus(cycles), ..queue };
        self.list.copy(inputs, n, |queue| if queue.is_unused() { queue } else { later(queue) });
    }

    /// Whether empty queues are at the end of a turn as they were at its beginning: they were used a turn apart, or not at all, or so long before
    /// that nothing tells it any more.
    pub(super) fn repeat(&self, before: &Self, turn: Turn, long: i64) -> bool {
        self.list.all_with(&before.list, |queue, before| {
            let is_used = queue.last_at.at > turn.began;
            let time = before.last_at.at + if is_used { turn.cycles } else { 0 };
            let is_past = |queue: &Queue, cycle: i64| queue.last_at.at + i64::from(queue.last_count) + long <= cycle;
            (queue.taken, queue.last_count, queue.last_at.at) == (before.taken, before.last_count, time)
                || is_past(before, turn.began) && is_past(queue, turn.began + turn.cycles)
        })
    }

    /// All was so much later.
    pub(super) fn put_off(&mut self, cycles: i64) {
        self.list.change_all(|queue, _| Queue { last_at: queue.last_at.plus(cycles), ..queue });
    }

    /// So many turns later those that are used were used so much later.
    pub(super) fn pass_over(&mut self, turn: Turn, turns: u32) {
        self.list.change_all(|queue, n| {
            let is_used = !queue.last_at.is_below(Line::flat(turn.began + 1), n);
            Queue { last_at: queue.last_at.plus(if is_used { turn.cycles * i64::from(turns) } else { 0 }), ..queue }
        });
    }

    /// Wavelets in all queues.
    pub(super) fn wavelets(&self) -> u64 {
        self.list.pieces().map(|(queue, n)| u64::from(queue.wavelets) * u64::from(n)).sum()
    }
}

#[cfg(test)]
mod tests;
