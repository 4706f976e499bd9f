//! The PEs' clocks, and where their cycles went.

use super::line::Line;
use super::members::Members;
use super::repeat::Turn;
use super::strip::Strip;
use crate::machine::band::Span;
use crate::machine::pe::{InOperator, PeCounters};

const ZERO: Line = Line { at: 0, slope: 0 };

/// The time of each PE. Each part is a list of its own, since most steps touch few of them, in many PEs.
#[derive(Clone, Debug)]
pub(super) struct Clocks {
    /// By PE: the cycle in which it does its next step.
    time: Strip<Line>,
    busy: Sums,
    fabric_in: Sums,
    fabric_out: Sums,
    memory: Sums,
    /// By PE: the operator that it is in.
    operator: Vec<Option<InOperator>>,
    width: u32,
}

/// What has been counted in a row: the steps and slopes of each sum.
pub(super) type Counted = [Vec<i64>; 8];

/// Where lists have changed, and by how much.
pub(super) type Changes<const LISTS: usize> = [Vec<(u32, i64)>; LISTS];

/// Where a list has changed, and by how much.
pub(super) fn changes(before: &[i64], now: &[i64]) -> Vec<(u32, i64)> {
    let more = (0..).zip(before.iter().zip(now)).map(|(i, (before, now))| (i, now - before));
    more.filter(|&(_, more)| more != 0).collect()
}

/// A part of an instruction over the fabric, in PEs side by side.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Part {
    /// Cycle of its first element.
    pub(super) began: Line,
    pub(super) elements: i64,
    /// Cycles that it waits for memory.
    pub(super) stall: i64,
    /// Cycles that it takes when nobody holds it up.
    pub(super) cycles: Line,
    /// Cycles for the start-up of the instruction before it, if they have still to be spent.
    pub(super) startup: i64,
    /// Whether it takes wavelets.
    pub(super) receives: bool,
}

impl Part {
    /// The first cycle behind it when nobody holds it up.
    pub(super) fn end(&self) -> Line {
        self.began + self.cycles
    }

    /// What it is from a PE on.
    pub(super) fn from(&self, i: u32) -> Self {
        Self { began: self.began.from(i), cycles: self.cycles.from(i), ..*self }
    }
}

impl Clocks {
    /// Those of PEs in rows of `width`, all at 0.
    pub(super) fn new(pes: usize, width: u32) -> Self {
        let sums = || Sums::new(pes, width);
        let (busy, fabric_in, fabric_out, memory) = (sums(), sums(), sums(), sums());
        let time = Strip::uniform(Line::flat(0), pes, width);
        Self { time, busy, fabric_in, fabric_out, memory, operator: vec![None; pes], width }
    }

    /// The cycle in which a PE does its next step.
    pub(super) fn time(&self, pe: u32) -> i64 {
        self.time.get(pe).at
    }

    /// The same of PEs side by side.
    pub(super) fn times(&mut self, pe: u32, n: &mut u32) -> Line {
        self.time.piece(pe, n)
    }

    /// The last of all clocks.
    pub(super) fn last(&self) -> i64 {
        self.time.pieces().map(|(time, n)| time.at.max(time.get(n - 1))).max().unwrap_or(0)
    }

    /// All clocks, in the order of the PEs.
    pub(super) fn all(&self) -> impl Iterator<Item = u64> {
        self.time.values().map(|time| time.at as u64)
    }

    /// PEs side by side work, and wait for memory.
    pub(super) fn work(&mut self, pe: u32, n: u32, worked: u64, waited: u64) {
        let (worked, waited) = (worked as i64, waited as i64);
        self.time.for_each(pe, n, |time| time.at += worked + waited);
        self.busy.add(pe, n, Line::flat(worked));
        self.memory.add(pe, n, Line::flat(waited));
    }

    /// PEs side by side wait for room up to some cycles.
    pub(super) fn wait_for_room(&mut self, pe: u32, n: u32, until: Line) {
        let mut done = 0;
        while done < n {
            let mut here = n - done;
            let time = self.time.piece(pe + done, &mut here);
            let waited = (until.from(done) - time).max(ZERO, &mut here);
            self.time.set(pe + done, here, time + waited);
            self.fabric_out.add(pe + done, here, waited);
            done += here;
        }
    }

    /// PEs side by side have run a part of an instruction, whose last wavelet was sent some cycles late.
    pub(super) fn complete(&mut self, mut pe: u32, mut n: u32, mut part: Part, mut delay: Line) {
        loop {
            let mut here = n;
            let ready = self.time.piece(pe, &mut here).plus(part.startup);
            let waited = (part.began - ready).max(ZERO, &mut here);
            let rest = part.cycles.plus(-part.elements - part.stall);
            let (worked, waited) = if part.receives { (ZERO, waited + rest) } else { (rest, waited) };
            self.busy.add(pe, here, worked.plus(part.startup + part.elements));
            self.fabric_in.add(pe, here, waited);
            self.memory.add(pe, here, Line::flat(part.stall));
            self.fabric_out.add(pe, here, delay);
            self.time.set(pe, here, part.end() + delay);
            if here == n {
                return;
            }
            (pe, n, part, delay) = (pe + here, n - here, part.from(here), delay.from(here));
        }
    }

    /// PEs side by side end the operator that they are in, and may begin another one; gives what they ended and their time in it.
    pub(super) fn change(
        &mut self,
        pe: u32,
        n: u32,
        next: impl Fn(u32) -> Option<u32>,
        mut ended: impl FnMut(u32, Span),
    ) {
        let mut busy = self.busy.along(pe);
        for pe in pe..pe + n {
            let (now, busy) = (self.time(pe) as u64, busy.next().unwrap_or(0));
            let next = next(pe).map(|operator| InOperator { operator, since: now, busy });
            if let Some(before) = std::mem::replace(&mut self.operator[pe as usize], next) {
                let resident = now - before.since;
                ended(before.operator, Span { start: before.since, end: now, busy: busy - before.busy, resident });
            }
        }
    }

    /// Whether PEs are at the end of a turn where they were at its beginning, in operators so much further, entered a turn later.
    pub(super) fn repeat(&self, before: &Self, turn: Turn, members: &Members, operators: i32) -> bool {
        let cycles = turn.cycles;
        members.in_rows(self.width).all(|(first, n)| {
            let mut busy = self.busy.along(first).zip(before.busy.along(first)).map(|(now, before)| now - before);
            (first..first + n).all(|pe| {
                let busy = busy.next().unwrap_or(0);
                let further = before.operator[pe as usize].map(|entry| later(entry, cycles, operators, busy));
                self.time(pe) == before.time(pe) + cycles && self.operator[pe as usize] == further
            })
        })
    }

    /// What they are so many turns later.
    pub(super) fn pass_over(&mut self, before: &Self, turn: Turn, turns: u32, members: &Members, operators: i32) {
        let cycles = turn.cycles * i64::from(turns);
        for (first, n) in members.in_rows(self.width) {
            self.time.for_each(first, n, |time| time.at += cycles);
            let busy = self.busy.along(first).zip(before.busy.along(first)).map(|(now, before)| now - before);
            for (operator, busy) in self.operator[first as usize..(first + n) as usize].iter_mut().zip(busy) {
                *operator =
                    operator.map(|entry| later(entry, cycles, operators * turns as i32, busy * u64::from(turns)));
            }
        }
        self.busy.pass_over(&before.busy, turns);
        self.fabric_in.pass_over(&before.fabric_in, turns);
        self.fabric_out.pass_over(&before.fabric_out, turns);
        self.memory.pass_over(&before.memory, turns);
    }

    /// Where all stand as they did at a place in the turn before: what they are at the end of the last turn, with so many whole ones between
    /// this one and the last one; given what they were at that place and at the end of that turn.
    pub(super) fn go_to(
        &mut self,
        [start, end]: [&Self; 2],
        turn: Turn,
        turns: u32,
        members: &Members,
        operators: i32,
    ) {
        let later_by = turns + 1;
        let cycles = turn.cycles * i64::from(later_by);
        let sums = [&mut self.busy, &mut self.fabric_in, &mut self.fabric_out, &mut self.memory];
        let starts = [&start.busy, &start.fabric_in, &start.fabric_out, &start.memory];
        let ends = [&end.busy, &end.fabric_in, &end.fabric_out, &end.memory];
        for ((sums, start), end) in sums.into_iter().zip(starts).zip(ends) {
            sums.pass_over(start, turns);
            sums.add_between(start, end);
        }
        self.time = end.time.clone();
        for (first, n) in members.in_rows(self.width) {
            self.time.for_each(first, n, |time| time.at += cycles);
            let busy = self.busy.along(first).zip(end.busy.along(first)).map(|(now, end)| now - end);
            let entries = end.operator[first as usize..(first + n) as usize].iter().zip(busy);
            for (operator, (entry, busy)) in self.operator[first as usize..].iter_mut().zip(entries) {
                *operator = entry.map(|entry| later(entry, cycles, operators * later_by as i32, busy));
            }
        }
    }

    /// By how many cycles PEs are later than others, if it is the same for all of them.
    pub(super) fn later_by(&mut self, [before, behind]: [u32; 2], n: u32) -> Option<i64> {
        let cycles = self.time(behind) - self.time(before);
        let is_later = |a: &Line, b: &Line, n: u32| a.at + cycles == b.at && (n == 1 || a.slope == b.slope);
        self.time.agree([before, behind], n, is_later).then_some(cycles)
    }

    /// The first of the clocks of PEs side by side.
    pub(super) fn first(&mut self, pe: u32, n: u32) -> i64 {
        let mut first = i64::MAX;
        self.time.agree([pe, pe], n, |time, _, n| {
            first = first.min(time.at).min(time.get(n - 1));
            true
        });
        first
    }

    /// What has been counted in the row that begins with a PE.
    pub(super) fn counted(&self, row: u32) -> Counted {
        let sums = [&self.busy, &self.fabric_in, &self.fabric_out, &self.memory];
        let lists = sums.map(|sums| [&sums.steps, &sums.slopes]);
        std::array::from_fn(|i| lists[i / 2][i % 2][row as usize..(row + self.width) as usize].to_vec())
    }

    /// What has been counted there since.
    pub(super) fn counted_since(&self, row: u32, before: &Counted) -> Changes<8> {
        let now = self.counted(row);
        std::array::from_fn(|i| changes(&before[i], &now[i]))
    }

    /// PEs are so many cycles later what others are, and have counted what the row of these has.
    pub(super) fn follow(&mut self, pes: [u32; 2], n: u32, cycles: i64, counted: &Changes<8>) {
        self.time.copy(pes, n, |time| time.plus(cycles));
        let row = pes[1] - pes[1] % self.width;
        let sums = [&mut self.busy, &mut self.fabric_in, &mut self.fabric_out, &mut self.memory];
        for (sums, counted) in sums.into_iter().zip(counted.chunks(2)) {
            for (list, changes) in [&mut sums.steps, &mut sums.slopes].into_iter().zip(counted) {
                for &(i, more) in changes {
                    list[(row + i) as usize] += more;
                }
            }
        }
    }

    /// The operator that a PE is in.
    pub(super) fn operator(&self, pe: u32) -> Option<InOperator> {
        self.operator[pe as usize]
    }

    /// What the PEs' cycles went into, the idle ones left out; in the order of the PEs.
    pub(super) fn counters(&self) -> impl Iterator<Item = PeCounters> {
        let rows = (0..self.time.len() as u32).step_by(self.width.max(1) as usize);
        rows.flat_map(|row| {
            let parts = self.busy.row(row).zip(self.fabric_in.row(row));
            let others = self.fabric_out.row(row).zip(self.memory.row(row));
            parts.zip(others).map(|((busy, fabric_in), (fabric_out, memory))| PeCounters {
                busy,
                fabric_in,
                fabric_out,
                memory,
                idle: 0,
            })
        })
    }
}

/// An entry into an operator that is further by some, so many cycles later, of which the PE was busy in some.
fn later(entry: InOperator, cycles: i64, operators: i32, busy: u64) -> InOperator {
    InOperator {
        operator: entry.operator.wrapping_add_signed(operators),
        since: entry.since.wrapping_add_signed(cycles),
        busy: entry.busy + busy,
    }
}

/// Sums of lines over stretches of rows, in the time of their two ends: what changes at a place.
#[derive(Clone, Debug)]
pub(super) struct Sums {
    /// By place: what the sum is more there than the slope says.
    steps: Vec<i64>,
    /// By place: what is added to the slope there.
    slopes: Vec<i64>,
    width: u32,
}

impl Sums {
    /// All 0, of places in rows of `width`.
    pub(super) fn new(places: usize, width: u32) -> Self {
        Self { steps: vec![0; places], slopes: vec![0; places], width }
    }

    /// Adds a line to places side by side.
    #[inline]
    pub(super) fn add(&mut self, at: u32, n: u32, line: Line) {
        let line = if n == 1 { Line::flat(line.at) } else { line };
        if line == ZERO {
            return;
        }
        let behind = at + n;
        let is_inside = !behind.is_multiple_of(self.width);
        self.steps[at as usize] += line.at;
        if is_inside {
            self.steps[behind as usize] -= line.get(n);
        }
        if line.slope != 0 {
            // The slope is felt from the next place on.
            self.slopes[at as usize] += line.slope;
            if is_inside {
                self.slopes[behind as usize] -= line.slope;
            }
        }
    }

    /// Adds what has been added since some time so many times more.
    fn pass_over(&mut self, before: &Self, times: u32) {
        let (now, before) = (self.steps.iter_mut().chain(&mut self.slopes), before.steps.iter().chain(&before.slopes));
        now.zip(before).for_each(|(now, before)| *now += (*now - before) * i64::from(times));
    }

    /// Adds what was added between two times.
    fn add_between(&mut self, start: &Self, end: &Self) {
        let (now, start) = (self.steps.iter_mut().chain(&mut self.slopes), start.steps.iter().chain(&start.slopes));
        let end = end.steps.iter().chain(&end.slopes);
        now.zip(start.zip(end)).for_each(|(now, (start, end))| *now += end - start);
    }

    /// The sums from a place on to the end of its row.
    pub(super) fn along(&self, at: u32) -> impl Iterator<Item = u64> {
        let row = at - at % self.width;
        self.row(row).skip((at - row) as usize)
    }

    /// The sums of the row that begins at a place.
    fn row(&self, row: u32) -> impl Iterator<Item = u64> {
        let (mut sum, mut slope) = (0, 0);
        let places = row as usize..(row + self.width) as usize;
        self.steps[places.clone()].iter().zip(&self.slopes[places]).map(move |(step, more)| {
            sum += slope + step;
            slope += more;
            sum as u64
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_add_up_lines_over_stretches() {
        let mut sums = Sums::new(10, 5);
        // In the second row: 3, 5, 7 from its second place on, and 1 at all places from its third on.
        sums.add(6, 3, Line { at: 3, slope: 2 });
        sums.add(7, 3, Line::flat(1));
        sums.add(9, 1, Line { at: 4, slope: 99 });
        assert_eq!(sums.along(5).collect::<Vec<_>>(), [0, 3, 6, 8, 5]);
        assert_eq!(sums.along(8).collect::<Vec<_>>(), [8, 5]);
        assert_eq!(sums.along(0).collect::<Vec<_>>(), [0; 5]);
    }

    #[test]
    fn a_part_takes_what_it_waits_for_and_works() {
        let mut clocks = Clocks::new(4, 4);
        clocks.work(0, 4, 2, 1);
        // Clocks stand at 3. The first wavelets come in cycles 2, 4, 6 and 8, the last ones 9 cycles later: of 5 elements.
        let (began, cycles) = (Line { at: 2, slope: 2 }, Line::flat(10));
        clocks.complete(0, 4, Part { began, elements: 5, cycles, receives: true, ..Part::default() }, ZERO);
        let mut n = 4;
        assert_eq!((clocks.times(0, &mut n), n), (Line { at: 12, slope: 2 }, 4));
        let counters: Vec<_> = clocks.counters().map(|c| (c.busy, c.fabric_in, c.memory)).collect();
        assert_eq!(counters, [(7, 5, 1), (7, 6, 1), (7, 8, 1), (7, 10, 1)]);
    }
}
