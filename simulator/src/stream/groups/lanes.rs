//! The switches of all routers as ways need them, in little memory: a step may touch those of a whole mesh.

use super::super::nodes::{NONE, outputs, shared_outputs};
use super::clocks::{Changes, changes};
use super::flight::LANDED;
use super::line::Line;
use super::repeat::Turn;
use super::strip::{Along, Strip, along_if_equal};
use crate::machine::band::Band;
use crate::machine::pe::Pe;
use crate::machine::steps::Shared;
use waferloom_fabric::{Direction, PortSet};

/// The ports of a colour at a router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ports {
    /// The position in force: where wavelets are taken from, and where they go.
    rx: PortSet,
    pub(super) tx: PortSet,
    /// Outputs behind which there is a lane; the ramp, if there is an input queue below it.
    linked: PortSet,
    /// Outputs that are booked: those that other colours use as well, and those to the host.
    booked: PortSet,
    /// The number of the input queue below the ramp, if it is linked.
    pub(super) input: u8,
}

along_if_equal!(Ports);

impl Ports {
    /// Outputs in force that lead to other routers.
    pub(super) fn onward(self) -> u8 {
        self.tx.0 & self.linked.0 & !RAMP
    }

    /// Whether wavelets go down the ramp into a queue.
    pub(super) fn goes_down(self) -> bool {
        self.tx.0 & self.linked.0 & RAMP != 0
    }

    /// Outputs in force that are booked.
    pub(super) fn books(self) -> PortSet {
        PortSet(self.tx.0 & self.booked.0)
    }

    /// Outputs in force that lead to the host.
    pub(super) fn to_host(self) -> PortSet {
        PortSet(self.tx.0 & self.booked.0 & !self.linked.0)
    }

    /// Whether they are the same for a colour along rows, wherever links to other rows lead.
    fn is_like(self, other: Self) -> bool {
        let same = |a: PortSet, b: PortSet| (a.0 ^ b.0) & (ALONG_ROWS | RAMP) == 0;
        (self.rx, self.tx, self.input) == (other.rx, other.tx, other.input)
            && same(self.linked, other.linked)
            && same(self.booked, other.booked)
    }

    /// Whether a run that comes in at a port can go on to where it has to. Only control wavelets may go down a ramp without a queue:
    /// nobody would take data there.
    fn takes(self, port: u8, is_control: bool) -> bool {
        let known = self.linked.0 | self.booked.0 | if is_control { RAMP } else { 0 };
        self.rx.0 >> port & 1 == 1 && !self.tx.is_empty() && self.tx.0 & !known == 0
    }
}

/// What has been sent into a lane last, for a control wavelet that follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Followed {
    /// The flight of which it is not known yet when it is gone, or [`LANDED`].
    pub(super) flight: u32,
    /// The first cycle in which there is room behind it at the ramp.
    pub(super) room_from: Line,
}

impl Followed {
    /// Nothing that is held up.
    pub(super) const NOTHING: Self = Self { flight: LANDED, room_from: Line { at: 0, slope: 0 } };
}

impl Along for Followed {
    fn along(&self, i: u32) -> Self {
        Self { room_from: self.room_from.from(i), ..*self }
    }

    fn back(&self) -> Self {
        Self { room_from: self.room_from.back(), ..*self }
    }

    fn joined(&self, n: u32, next: &Self, m: u32) -> Option<Self> {
        let room_from = self.room_from.joined(n, next.room_from, m)?;
        (self.flight == next.flight).then_some(Self { room_from, ..*self })
    }
}

const RAMP: u8 = 1 << Direction::Ramp as u8;

pub(super) const ALONG_ROWS: u8 = 1 << Direction::West as u8 | 1 << Direction::East as u8;

/// The lanes (colours at routers) of all routers: those of a colour together, whether a router has it or not, so that neighbours
/// are found by counting. Each part is a list of its own, since the search for a way needs the ports alone.
#[derive(Clone, Debug)]
pub(super) struct Lanes {
    pub(super) ports: Strip<Ports>,
    /// By lane: the first cycle in which the next wavelet may leave.
    pub(super) free: Strip<Line>,
    /// By lane: what has been sent into it last, if that matters ([`Lanes::follow`]).
    pub(super) followed: Strip<Followed>,
    /// By output and router: wavelets that have left through it, as the difference to the router before in its row.
    passed: [Vec<i64>; 5],
    /// By lane: room in the output queue above the ramp.
    ramp_room: Vec<u32>,
    /// By lane: its number at its router.
    numbers: Vec<u8>,
    /// By output queue and PE: the lane that it leads into, or [`NONE`].
    outputs: Vec<u32>,
    /// The colours.
    colors: Vec<u8>,
    routers: usize,
    /// Routers in a row.
    pub(super) width: u32,
    /// From a lane to its neighbours.
    steps: [i32; 4],
    /// How often switches have moved.
    pub(super) moves: u64,
    /// Where a way parts, in a search: lanes and ports that remain.
    parts: Vec<(u32, u8)>,
}

impl Lanes {
    pub(super) fn new(shared: &Shared<'_>, band: &Band) -> Self {
        let routers = band.routers.len();
        let mut is_used = [false; 256];
        for lane in band.routers.iter().flat_map(|router| router.lanes.iter()) {
            is_used[usize::from(lane.color)] = true;
        }
        let colors: Vec<u8> = (0..=u8::MAX).filter(|&color| is_used[usize::from(color)]).collect();
        let width = i32::from(band.grid.width);
        let count = colors.len() * routers;
        let row = u32::from(band.grid.width);
        let mut lanes = Self {
            ports: Strip::new(Vec::new(), row),
            free: Strip::uniform(Line::flat(0), count, row),
            followed: Strip::uniform(Followed::NOTHING, 0, row),
            passed: std::array::from_fn(|_| vec![0; routers]),
            ramp_room: vec![0; count],
            numbers: vec![0; count],
            outputs: Vec::new(),
            colors,
            routers,
            width: row,
            steps: [-1, 1, -width, width],
            moves: 0,
            parts: Vec::new(),
        };
        let ports = lanes.ports_of(shared, band);
        lanes.ports = Strip::new(ports, row);
        lanes.connect(&band.pes);
        lanes
    }

    /// The ports of all lanes in the first cycle; numbers the lanes.
    fn ports_of(&mut self, shared: &Shared<'_>, band: &Band) -> Vec<Ports> {
        let outputs: Vec<u8> = shared.routes.iter().map(outputs).collect();
        let mut ports = vec![Ports::default(); self.ramp_room.len()];
        for (router, state) in band.routers.iter().enumerate() {
            let at = band.grid.coord(band.first + router);
            let is_inside = |out: &Direction| out.neighbour(at, band.grid).is_some();
            let inside =
                Direction::ALL[..4].iter().filter(|out| is_inside(out)).fold(0, |set, out| set | 1 << *out as u8);
            let several = shared_outputs(state.lanes.iter().map(|lane| outputs[lane.route as usize]));
            for (number, lane) in state.lanes.iter().enumerate() {
                let Some(place) = self.at(router, lane.color).map(|place| place as usize) else { continue };
                // A lane has credits for what lies behind a link: another lane, or a sink of the host.
                let beyond = (0..4).filter(|&out| lane.credits[out] > 0).fold(0, |set, out| set | 1 << out);
                let linked = beyond & inside | if lane.input.is_some() { RAMP } else { 0 };
                let booked = (several | beyond & !inside) & !RAMP;
                let ((rx, tx), input) = (lane.ports(), lane.input.unwrap_or_default());
                ports[place] = Ports { rx, tx, linked: PortSet(linked), booked: PortSet(booked), input };
                self.numbers[place] = number as u8;
            }
        }
        ports
    }

    /// Notes into which lanes output queues lead.
    fn connect(&mut self, pes: &[Pe<'_>]) {
        let queues = pes.iter().map(|pe| pe.outputs.len()).max().unwrap_or(0);
        self.outputs = vec![NONE; queues * pes.len()];
        for (router, pe) in pes.iter().enumerate() {
            // Of several queues that lead into one lane the first one's room counts.
            for (number, queue) in pe.outputs.iter().enumerate().rev() {
                let Some(queue) = queue.as_ref().filter(|queue| queue.lane.is_some()) else { continue };
                let Some(lane) = self.at(router, queue.color) else { continue };
                self.outputs[number * pes.len() + router] = lane;
                self.ramp_room[lane as usize] = queue.capacity;
            }
        }
    }

    /// The lane into which an output queue of a PE leads, and how many PEs side by side have theirs beside it.
    pub(super) fn out(&self, pe: u32, queue: u8, n: &mut u32) -> Option<u32> {
        let outputs = self.outputs.get(usize::from(queue) * self.routers + pe as usize..)?;
        let &lane = outputs.first()?;
        let room = |lane: u32| self.ramp_room.get(lane as usize);
        let is_beside = |&(i, &other): &(u32, &u32)| other == lane + i && room(other) == room(lane);
        *n = (0..*n).zip(outputs).take_while(is_beside).count() as u32;
        (lane != NONE).then_some(lane)
    }

    /// Wavelets leave lanes side by side at routers side by side, the last ones in some cycles.
    pub(super) fn pass(&mut self, (lane, router, n): (u32, u32, u32), outs: PortSet, count: i64, last: Line) {
        self.free.set(lane, n, last.plus(1));
        for out in outs.iter() {
            let passed = &mut self.passed[out as usize];
            passed[router as usize] += count;
            if !(router + n).is_multiple_of(self.width) {
                passed[(router + n) as usize] -= count;
            }
        }
    }

    /// From now on it is kept what has been sent into lanes.
    pub(super) fn follow(&mut self) {
        self.followed = Strip::uniform(Followed::NOTHING, self.free.len(), self.width);
    }

    /// Whether wavelets leave some lane through several outputs.
    pub(super) fn have_parting_ways(&self) -> bool {
        self.ports.pieces().any(|(ports, _)| ports.tx.0.count_ones() > 1)
    }

    /// No wavelet leaves lanes side by side before some cycles.
    pub(super) fn keep_busy(&mut self, lane: u32, n: u32, until: Line) {
        let mut done = 0;
        while done < n {
            let mut here = n - done;
            let free = self.free.piece(lane + done, &mut here).max(until.from(done), &mut here);
            self.free.set(lane + done, here, free);
            done += here;
        }
    }

    /// The lane of a colour at a router.
    pub(super) fn at(&self, router: usize, color: u8) -> Option<u32> {
        let place = self.colors.binary_search(&color).ok()?;
        Some((place * self.routers + router) as u32)
    }

    /// The router and the colour of a lane.
    pub(super) fn place(&self, lane: u32) -> (usize, u8) {
        (lane as usize % self.routers, self.colors[lane as usize / self.routers])
    }

    /// Its number at its router.
    pub(super) fn number(&self, lane: u32) -> usize {
        self.numbers[lane as usize].into()
    }

    /// Room in the output queue above the ramp of a lane.
    pub(super) fn ramp_room(&self, lane: u32) -> i64 {
        self.ramp_room[lane as usize].into()
    }

    /// The lane or router behind an output.
    pub(super) fn behind(&self, lane: u32, out: u8) -> u32 {
        lane.wrapping_add_signed(self.steps[usize::from(out)])
    }

    /// Whether a run that comes in at a port of a lane can go to all ends of its way at once; gives how many of the lanes side by
    /// side from there on, `most` of them, have the same way along their columns. The error is a lane whose switch does not
    /// stand so.
    ///
    /// No way comes to a lane twice: it would do so by two ports, of which one that is determinate never takes from both.
    pub(super) fn find_ways(&mut self, lane: u32, port: Direction, is_control: bool, most: u32) -> Result<u32, u32> {
        self.parts.clear();
        let (mut lane, mut port, mut alike) = (lane, port as u8, most);
        loop {
            if lane as usize >= self.ports.len() {
                return Err(lane);
            }
            let here = self.ports.piece(lane, &mut alike);
            if !here.takes(port, is_control) {
                return Err(lane);
            }
            let mut outs = here.onward();
            if outs == 0 {
                match self.parts.pop() {
                    Some(part) => (lane, port) = part,
                    None => return Ok(alike),
                }
                continue;
            }
            if outs & ALONG_ROWS != 0 {
                alike = 1;
            }
            let out = first_of(&mut outs);
            let mut straight = 1;
            if outs == 0 && port == opposite(out) && 1 << out & ALONG_ROWS != 0 {
                // Lanes like this one, where a way goes straight on, need no second look.
                straight = self.width;
                let is_back = self.steps[usize::from(out)] < 0;
                self.ports_on(lane, is_back, &mut straight);
            }
            while outs != 0 {
                let other = first_of(&mut outs);
                self.parts.push((self.behind(lane, other), opposite(other)));
            }
            lane = lane.wrapping_add_signed(self.steps[usize::from(out)] * straight as i32);
            port = opposite(out);
        }
    }

    /// The ports of a lane, and of those beside it in its row that have the same; `is_back` counts them from the last one on.
    pub(super) fn ports_on(&mut self, lane: u32, is_back: bool, n: &mut u32) -> Ports {
        if is_back { self.ports.piece_back(lane, n) } else { self.ports.piece(lane, n) }
    }

    /// A switch has moved.
    pub(super) fn switch(&mut self, lane: u32, (rx, tx): (PortSet, PortSet)) {
        self.moves += 1;
        let ports = self.ports.edit(lane, 1);
        (ports.rx, ports.tx) = (rx, tx);
    }

    /// Whether lanes are at the end of a turn as they were at its beginning.
    pub(super) fn repeat(&self, before: &Self, turn: Turn) -> bool {
        self.ports.all_with(&before.ports, |ports, before| ports == before)
            && self.free.all_with(&before.free, |&free, &before| turn.is_same(before, free))
            && self.followed.all_with(&before.followed, |followed, before| {
                followed.flight == before.flight && turn.is_same(before.room_from, followed.room_from)
            })
    }

    /// What they are so many turns later.
    pub(super) fn pass_over(&mut self, before: &Self, turn: Turn, turns: u32) {
        self.set_later(turn, turns);
        for (passed, before) in self.passed.iter_mut().flatten().zip(before.passed.iter().flatten()) {
            *passed += (*passed - before) * i64::from(turns);
        }
    }

    /// Where all are as they were at a place in the turn before: what they are at the end of the last turn, with so many whole ones between
    /// this one and the last one; given what they were at that place and at the end of that turn.
    pub(super) fn go_to(&mut self, [start, end]: [&Self; 2], turn: Turn, turns: u32) {
        (self.ports, self.free, self.followed) = (end.ports.clone(), end.free.clone(), end.followed.clone());
        self.moves += 1;
        for ((passed, start), end) in
            self.passed.iter_mut().flatten().zip(start.passed.iter().flatten()).zip(end.passed.iter().flatten())
        {
            *passed += (*passed - start) * i64::from(turns) + end - start;
        }
        self.set_later(turn, turns + 1);
    }

    /// Times are so many turns later.
    fn set_later(&mut self, turn: Turn, turns: u32) {
        self.free.change_all(|free, n| turn.later(free, turns, n));
        self.followed
            .change_all(|followed, n| Followed { room_from: turn.later(followed.room_from, turns, n), ..followed });
    }

    /// Whether lanes of a colour along rows are like others, but for the time, in which nothing holds up what comes to them.
    pub(super) fn are_alike(&mut self, [a, b]: [u32; 2], n: u32, turn: Turn) -> bool {
        let rooms = |lane: u32| &self.ramp_room[lane as usize..(lane + n) as usize];
        rooms(a) == rooms(b)
            && self.ports.agree([a, b], n, |a, b, _| a.is_like(*b))
            && self.free.agree([a, b], n, |a, b, n| turn.are_same(*a, *b, n))
            && (self.followed.len() == 0
                || self.followed.agree([a, b], n, |a, b, n| {
                    (a.flight, b.flight) == (LANDED, LANDED) && turn.are_same(a.room_from, b.room_from, n)
                }))
    }

    /// Whether output queues of PEs lead into lanes like those of others.
    pub(super) fn lead_alike(&self, queue: u8, [a, b]: [u32; 2], n: u32) -> bool {
        let outputs = |pe: u32| {
            let first = usize::from(queue) * self.routers + pe as usize;
            self.outputs.get(first..first + n as usize)
        };
        let (Some(one), Some(other)) = (outputs(a), outputs(b)) else { return false };
        let is_below = |(&lane, &other): (&u32, &u32)| match lane {
            NONE => other == NONE,
            _ => lane.wrapping_add(b.wrapping_sub(a)) == other,
        };
        one.iter().zip(other).all(is_below)
    }

    /// What has been sent in the row that begins with a router.
    pub(super) fn passed(&self, row: u32) -> [Vec<i64>; 5] {
        self.passed.each_ref().map(|passed| passed[row as usize..(row + self.width) as usize].to_vec())
    }

    /// What has been sent there since.
    pub(super) fn passed_since(&self, row: u32, before: &[Vec<i64>; 5]) -> Changes<5> {
        let now = self.passed(row);
        std::array::from_fn(|i| changes(&before[i], &now[i]))
    }

    /// The routers of the row that begins with one have sent more.
    pub(super) fn pass_more(&mut self, row: u32, changes: &Changes<5>) {
        for (passed, changes) in self.passed.iter_mut().zip(changes) {
            for &(i, more) in changes {
                passed[(row + i) as usize] += more;
            }
        }
    }

    /// Lanes of a colour are free so many cycles later than others.
    pub(super) fn become_like(&mut self, lanes: [u32; 2], n: u32, cycles: i64) {
        self.free.copy(lanes, n, |free| free.plus(cycles));
        if self.followed.len() > 0 {
            let later = |followed: Followed| Followed { room_from: followed.room_from.plus(cycles), ..followed };
            self.followed.copy(lanes, n, later);
        }
    }

    /// By router: wavelets that it has sent, by direction.
    pub(super) fn sent(&self) -> Vec<[u64; 5]> {
        let mut sums = [0; 5];
        let sent = |router: usize| {
            if router.is_multiple_of(self.width as usize) {
                sums = [0; 5];
            }
            sums.iter_mut().zip(&self.passed).for_each(|(sum, passed)| *sum += passed[router]);
            sums.map(|sum| sum as u64)
        };
        (0..self.routers).map(sent).collect()
    }
}

/// Takes the first output out of a set that has one.
pub(super) fn first_of(outs: &mut u8) -> u8 {
    let first = outs.trailing_zeros() as u8;
    *outs &= *outs - 1;
    first
}

/// The port at the other end of a link: directions stand in pairs.
pub(super) fn opposite(out: u8) -> u8 {
    out ^ 1
}
