//! What receivers hold up that take a run late: its other receivers, and what follows it on its way.
//!
//! A router passes a wavelet on when there is room behind all its outputs. So where a receiver has not taken enough yet, what is sent
//! to it stays in its router, then on the link before that, and so on towards the sender; and what has not left a router does not come
//! to those behind it either. A receiver that takes the last wavelets of a run but `d` lets the last one leave its own router; the
//! one before that may have passed it on earlier, by what the link between the two holds.

use super::Groups;
use super::flight::{Goal, LANDED, Landing, Origin};
use super::lanes::Followed;
use super::line::Line;
use super::way::{Passage, Sending};
use std::ops::Range;

/// Lanes side by side that runs of a flight pass: a lane each, or those in a row that one run passes, one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Station {
    pub(super) lane: u32,
    pub(super) router: u32,
    pub(super) n: u32,
    /// Whose runs they are.
    pub(super) origin: Origin,
    /// In a row: whether the last lane is passed first.
    pub(super) is_back: bool,
    /// The station that they come from, or [`START`].
    pub(super) before: u32,
    /// The input queue below the first lane, if they go down the ramps.
    pub(super) input: Option<u32>,
}

/// No station: the senders are there.
pub(super) const START: u32 = u32::MAX;

/// Receivers side by side that take runs late.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    pub(super) pe: u32,
    pub(super) n: u32,
    pub(super) origin: Origin,
    /// They take wavelets from then on, one a cycle.
    pub(super) cycle: Line,
    /// So many have to be taken before the last one of their run can leave the routers above them.
    pub(super) excess: i64,
}

impl Hold {
    /// When the last wavelets can leave the routers above.
    fn last(&self) -> Line {
        self.cycle.plus(self.excess - 1)
    }
}

/// What the queues on a way hold, and how long wavelets take from one to the next.
#[derive(Clone, Copy, Debug)]
struct Rooms {
    ramp: i64,
    link: i64,
    hop_cycles: i64,
}

/// When the last wavelets of runs leave the lanes that they pass, as far as late receivers decide.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// By station and lane: a cycle, or [`NEVER`] where nobody holds it up.
    leaves: Vec<i64>,
    /// By station: where its lanes begin.
    starts: Vec<usize>,
    /// Stations by their routers.
    by_router: Vec<(u32, u32)>,
    /// By sender: the first cycle in which there is room behind the last wavelet at the ramp.
    room_from: Vec<i64>,
}

/// Before all cycles.
const NEVER: i64 = i64::MIN;

impl Held {
    /// Works out what receivers do to the runs of some senders.
    fn work_out(&mut self, stations: &[Station], holds: &[Hold], senders: &Range<u32>, rooms: Rooms) {
        self.clear(stations, senders.end);
        for hold in holds {
            for i in (0..hold.n).filter(|&i| senders.contains(&hold.origin.from(i).sender)) {
                if let Some(place) = self.place(stations, hold.pe + i) {
                    self.hold_back(stations, place, (hold.last().get(i), hold.excess), rooms);
                }
            }
        }
        self.hold_onward(stations, senders, rooms.hop_cycles);
    }

    /// The station that has a PE's router, and which of its lanes is there.
    fn place(&self, stations: &[Station], pe: u32) -> Option<(usize, u32)> {
        let at = self.by_router.partition_point(|&(router, _)| router <= pe).checked_sub(1)?;
        let (router, index) = self.by_router[at];
        let lane = pe - router;
        (lane < stations[index as usize].n).then_some((index as usize, lane))
    }

    fn clear(&mut self, stations: &[Station], senders: u32) {
        self.starts.clear();
        self.by_router.clear();
        let mut lanes = 0;
        for (index, station) in (0..).zip(stations) {
            self.starts.push(lanes);
            self.by_router.push((station.router, index));
            lanes += station.n as usize;
        }
        self.by_router.sort_unstable();
        self.leaves.clear();
        self.leaves.resize(lanes, NEVER);
        self.room_from.clear();
        self.room_from.resize(senders as usize, NEVER);
    }

    /// The last wavelet leaves a lane in some cycle, before which `excess` have to be taken: what is before that lane as well.
    fn hold_back(
        &mut self,
        stations: &[Station],
        mut place: (usize, u32),
        (mut last, mut excess): (i64, i64),
        rooms: Rooms,
    ) {
        loop {
            let leaves = &mut self.leaves[self.starts[place.0] + place.1 as usize];
            *leaves = last.max(*leaves);
            let Some(before) = lane_before(stations, place) else { break };
            // So many more may have been passed on, and that there is room again is known a cycle later.
            excess -= rooms.link;
            if excess < 1 {
                return;
            }
            (place, last) = (before, last - rooms.link + 1);
        }
        // What would be sent behind it is one more, and has to be at the ramp only.
        if excess + 1 > rooms.ramp {
            let room_from = &mut self.room_from[stations[place.0].origin.from(place.1).sender as usize];
            *room_from = (last - rooms.ramp + 2).max(*room_from);
        }
    }

    /// What leaves a lane late comes late to those behind.
    fn hold_onward(&mut self, stations: &[Station], senders: &Range<u32>, hop_cycles: i64) {
        for (index, station) in stations.iter().enumerate() {
            let is_row = station.origin.step == 0;
            for j in 0..station.n {
                let i = if is_row && station.is_back { station.n - 1 - j } else { j };
                if senders.contains(&station.origin.from(i).sender)
                    && let Some((before, lane)) = lane_before(stations, (index, i))
                {
                    let came = self.leaves[self.starts[before] + lane as usize].saturating_add(hop_cycles);
                    let leaves = &mut self.leaves[self.starts[index] + i as usize];
                    *leaves = if came > NEVER + hop_cycles { came.max(*leaves) } else { *leaves };
                }
            }
        }
    }

    /// The lanes of a station that are held up, those side by side whose cycles lie on a line together: the first one, how many, and when
    /// the last wavelets leave them.
    fn lines(&self, station: usize, n: u32) -> impl Iterator<Item = (u32, u32, Line)> {
        let start = self.starts[station];
        lines(&self.leaves[start..start + n as usize])
    }
}

/// The stretches of numbers that are some and lie on a line: the first place, how many, and the line.
fn lines(numbers: &[i64]) -> impl Iterator<Item = (u32, u32, Line)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        at += numbers.get(at..)?.iter().position(|&number| number != NEVER)?;
        let first = Line::flat(numbers[at]);
        let slope = match numbers.get(at + 1) {
            Some(&next) if next != NEVER => next - first.at,
            _ => 0,
        };
        let line = Line { slope, ..first };
        let on_line = |&(i, &number): &(u32, &i64)| number != NEVER && number == line.get(i);
        let n = (0..).zip(&numbers[at..]).take_while(on_line).count();
        at += n;
        Some(((at - n) as u32, n as u32, line))
    })
}

/// The lane that a run leaves before another one, and its station.
fn lane_before(stations: &[Station], (index, lane): (usize, u32)) -> Option<(usize, u32)> {
    let station = &stations[index];
    let is_row = station.origin.step == 0;
    let is_first = lane == if station.is_back { station.n - 1 } else { 0 };
    if is_row && !is_first {
        return Some((index, if station.is_back { lane + 1 } else { lane - 1 }));
    }
    let before = stations.get(station.before as usize)?;
    let from = match before.origin.step {
        0 if before.is_back => 0,
        0 => before.n - 1,
        _ => station.origin.from(lane).sender - before.origin.sender,
    };
    Some((station.before as usize, from))
}

impl Groups<'_> {
    /// Runs come to queues side by side that are alike, `done` lanes into a passage: when they are gone may depend on who takes them.
    pub(super) fn expect_gone(
        &mut self,
        flight: u32,
        (passage, done): (&Passage, u32),
        (input, mut n): (u32, u32),
        count: i64,
    ) {
        let origin = passage.origin.from(done);
        let (beyond, excess, cycle) = self.queues.beyond(input, &mut n, count);
        if beyond > 0 {
            self.flights.expect(flight, Goal::Gone, origin, n);
        } else if excess > 0 {
            let hold = Hold { pe: passage.router + done, n, origin, cycle, excess };
            self.take_late(flight, hold, passage.last.from(done));
        }
    }

    /// Runs of a flight have passed lanes, behind those of a station; gives the number of the new one.
    #[inline(never)]
    pub(super) fn pass_station(&mut self, passage: &Passage, (before, is_back): (u32, bool), sending: &Sending) -> u32 {
        let &Passage { lane, router, n, ports, origin, .. } = passage;
        if sending.flight == LANDED {
            return START;
        }
        let input = if ports.goes_down() { self.queues.at(router, ports.input) } else { None };
        self.flights.pass(sending.flight, Station { lane, router, n, origin, is_back, before, input })
    }

    /// Receivers side by side take wavelets from queues, one a cycle from `cycle` on, so that the last wavelets of some runs can leave all
    /// routers above.
    pub(super) fn let_go(&mut self, (pe, input, n): (u32, u32, u32), count: i64, cycle: Line) {
        let ramp = i64::from(self.shared.machine.ramp_cycles);
        let mut excess = -self.queues.capacity(input);
        for index in 0.. {
            let Some(run) = self.queues.run(input, index) else { break };
            excess += i64::from(run.count);
            if excess > count {
                break;
            }
            if excess > 0 && run.flight != LANDED {
                let origin = run.origin;
                self.take_late(run.flight, Hold { pe, n, origin, cycle, excess }, run.last.plus(-ramp));
                let mut gone = std::mem::take(&mut self.landings);
                self.flights.known(run.flight, Goal::Gone, origin, n, &mut gone);
                gone.drain(..).for_each(|gone| self.leave_all(gone));
                self.landings = gone;
            }
        }
    }

    /// Receivers may hold runs up whose last wavelets leave the routers above by themselves in some cycles.
    pub(super) fn take_late(&mut self, flight: u32, hold: Hold, leave: Line) {
        let late = hold.last() - leave;
        if late.at > 0 || late.get(hold.n - 1) > 0 {
            self.flights.hold(flight, hold);
        }
    }

    /// Runs have been brought into lanes side by side: what follows them has to know when they are gone.
    pub(super) fn follow(&mut self, lane: u32, n: u32, flight: u32) {
        let is_held = self.flights.is_held(flight);
        let mut from = 0;
        while from < n {
            let mut count = n - from;
            let before = self.lanes.followed.piece(lane + from, &mut count);
            let is_open = self.flights.is_open(flight, Goal::Gone, Origin { sender: from, step: 1 }, &mut count);
            if is_open || is_held {
                self.lanes.followed.set(lane + from, count, Followed { flight, ..Followed::NOTHING });
            } else if before != Followed::NOTHING {
                self.lanes.followed.set(lane + from, count, Followed::NOTHING);
            }
            if !is_open && is_held {
                self.leave_all(Landing { flight, from, count });
            }
            from += count;
        }
    }

    /// It is known when the last wavelets of some senders leave all lanes on their ways.
    fn leave_all(&mut self, Landing { flight, from, count }: Landing) {
        let (stations, holds) = self.flights.held(flight);
        let Some(lane) = stations.first().map(|station| station.lane) else { return };
        let mut held = Held::default();
        if !holds.is_empty() {
            std::mem::swap(&mut self.held, &mut held);
            let rooms = Rooms {
                ramp: self.lanes.ramp_room(lane),
                link: self.link_room as i64,
                hop_cycles: self.shared.machine.hop_cycles.into(),
            };
            held.work_out(stations, holds, &(from..from + count), rooms);
            (0..stations.len()).for_each(|index| self.leave_station(flight, index, &held));
        }
        self.end_following(flight, (lane, from, count), &held.room_from);
        if !held.leaves.is_empty() {
            self.held = held;
        }
        self.let_receivers_go_on(flight);
    }

    /// The last wavelets leave the lanes of a station late, and come to the queues below them late.
    fn leave_station(&mut self, flight: u32, index: usize, held: &Held) {
        let ramp = i64::from(self.shared.machine.ramp_cycles);
        let Some(&station) = self.flights.held(flight).0.get(index) else { return };
        for (first, n, last) in held.lines(index, station.n) {
            self.lanes.keep_busy(station.lane + first, n, last.plus(1));
            if let Some(input) = station.input {
                self.queues.hold(input + first, n, flight, last.plus(ramp));
            }
        }
    }

    /// What follows the runs of some senders knows when there is room for it.
    fn end_following(&mut self, flight: u32, (lane, from, count): (u32, u32, u32), room_from: &[i64]) {
        let (mut sender, end) = (from, from + count);
        while sender < end {
            let mut n = end - sender;
            let followed = self.lanes.followed.piece(lane + sender, &mut n);
            if followed.flight == flight {
                self.lanes.followed.set(lane + sender, n, Followed::NOTHING);
                let room = room_from.get(sender as usize..(sender + n) as usize).unwrap_or_default();
                for (first, n, room_from) in lines(room) {
                    self.lanes.followed.set(lane + sender + first, n, Followed { flight: LANDED, room_from });
                }
            }
            sender += n;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOMS: Rooms = Rooms { ramp: 9, link: 4, hop_cycles: 1 };

    /// A station of lanes 100 more than their routers.
    fn station(router: u32, n: u32, step: u32, before: u32) -> Station {
        let origin = Origin { sender: 0, step };
        Station { lane: router + 100, router, n, origin, is_back: false, before, input: None }
    }

    fn hold(pe: u32, cycle: i64, excess: i64) -> Hold {
        Hold { pe, n: 1, origin: Origin::default(), cycle: Line::flat(cycle), excess }
    }

    fn leaves(stations: &[Station], holds: &[Hold]) -> (Vec<Option<i64>>, Option<i64>) {
        let mut held = Held::default();
        held.work_out(stations, holds, &(0..1), ROOMS);
        let known = |&cycle: &i64| (cycle != NEVER).then_some(cycle);
        (held.leaves.iter().map(known).collect(), known(&held.room_from[0]))
    }

    #[test]
    fn a_late_receiver_holds_up_those_around_it() {
        // PE 1 sends 21 words to the east, to PEs 2 to 5. PE 4 takes from cycle 100 on, and its queue holds 8: 13 have to be taken before the
        // last one leaves router 4, the 13th in cycle 112. Router 3 may be 4 words ahead and knows of room a cycle later: the 9th is taken in 108,
        // so 109; router 2 needs the fifth, in 104, two cycles later; router 1 the first, in 100, three later. Behind it comes it a cycle later.
        let stations = [station(1, 1, 1, START), station(2, 4, 0, 0)];
        let (cycles, room_from) = leaves(&stations, &[hold(4, 100, 13)]);
        assert_eq!(cycles, [Some(103), Some(106), Some(109), Some(112), Some(113)]);
        // At the ramp 9 have room: the last one is the first one there that waits, and 8 more can be sent.
        assert_eq!(room_from, None);
        // With a word less the senders's router is not held up.
        assert_eq!(leaves(&stations, &[hold(4, 100, 12)]).0[..2], [None, Some(105)]);
    }

    #[test]
    fn what_comes_behind_waits_for_room_at_the_ramp() {
        // The neighbour takes 21 words from cycle 307 on: the first one of 9 that wait at the ramp leaves it a cycle later, and what comes behind
        // them can be sent in 309 (`a_full_queue_holds_the_sender_back` counts that cycle by cycle). The last one leaves in 316.
        let stations = [station(0, 1, 1, START), station(1, 1, 0, 0)];
        assert_eq!(leaves(&stations, &[hold(1, 307, 13)]), (vec![Some(316), Some(319)], Some(309)));
        // With 20 words there is room.
        assert_eq!(leaves(&stations, &[hold(1, 307, 12)]), (vec![Some(315), Some(318)], None));
    }

    #[test]
    fn the_latest_receiver_counts_on_each_branch() {
        // PE 3 sends to the west, to PEs 2, 1 and 0, and to the east, to PE 4. PE 1 lets the last one go in 59, PE 4 in 80: router 3 passes the
        // last one on in 80 - 3, as it has to go both ways, and the west gets it a cycle later at each router.
        let west = Station { is_back: true, ..station(0, 3, 0, 0) };
        let stations = [station(3, 1, 1, START), west, station(4, 1, 0, 0)];
        let (cycles, _) = leaves(&stations, &[hold(1, 50, 10), hold(4, 71, 10)]);
        assert_eq!(cycles, [Some(77), Some(80), Some(79), Some(78), Some(80)]);
    }

    #[test]
    fn senders_side_by_side_are_held_up_by_their_own_receivers() {
        // PEs 0 to 2 send down their columns of a mesh that is 3 wide; in the first row the last ones leave in 30, 32 and 34, in the second one
        // the third is the only one that is late.
        let stations = [station(0, 3, 1, START), station(3, 3, 1, 0), station(6, 3, 1, 1)];
        let origin = Origin { sender: 0, step: 1 };
        let row = Hold { pe: 3, n: 3, origin, cycle: Line { at: 28, slope: 2 }, excess: 3 };
        let last = Hold { pe: 8, origin: origin.from(2), cycle: Line::flat(50), n: 1, excess: 5 };
        let mut held = Held::default();
        // Only of the second and the third one all receivers are known.
        held.work_out(&stations, &[row, last], &(1..3), ROOMS);
        let lines: Vec<_> = (0..3).map(|index| held.lines(index, 3).collect::<Vec<_>>()).collect();
        let line = |at, slope| Line { at, slope };
        assert_eq!(lines, [vec![], vec![(1, 2, line(32, 19))], vec![(1, 2, line(33, 21))]]);
    }
}
