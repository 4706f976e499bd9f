//! What can be told of a row, and what it becomes when another one has gone through a segment for it.

use super::super::Groups;
use super::super::clocks::Changes;
use super::super::group::Group;
use super::super::members::Members;
use super::super::repeat::Turn;
use super::super::tables::{self, Entry};
use super::{Begun, Course, Follower, Leader};
use std::ops::Range;
use std::rc::Rc;

/// PEs side by side in a row that are of one class: this, how far the first one is from the row's, and how many they are.
pub(super) type Piece = (u16, u32, u32);

/// What PEs go through, by class, and the colours that they use.
type Through<'a> = (&'a [Course], &'a [u8]);

/// The position of a switch, and whether it is closed.
pub(super) type Switch = (u8, bool);

/// Rows with which others are compared: who is like none of so many goes by itself.
const MOST_KINDS: usize = 8;

/// What a leader has done that others are told to have done.
struct Changed {
    counted: Changes<8>,
    passed: Changes<5>,
    /// Its switches that stand otherwise: how far each is from its first router, its colour, and how it stands.
    switches: Vec<(u32, u8, Switch)>,
}

/// Rows by what never changes in them.
#[derive(Debug)]
pub(super) struct Rows {
    firsts: Vec<u32>,
    /// PEs of a row.
    pub(super) n: u32,
    /// By row: the classes of its PEs, and the number of the first row that is like it.
    pieces: Vec<Rc<[Piece]>>,
    like: Vec<usize>,
}

/// The first PEs of rows, and how many PEs each has, if the members of groups are rows that stand below each other.
pub(super) fn of(groups: &[&mut Group], width: u32) -> Option<(Vec<u32>, u32)> {
    let mut members = Members::default();
    for group in groups {
        members.append(&group.members);
    }
    members.sort();
    let rows: Vec<(u32, u32)> = members.in_rows(width).collect();
    let &(start, n) = rows.first()?;
    let is_below = |&(first, count): &(u32, u32)| (first % width, count) == (start % width, n);
    rows.iter().all(is_below).then(|| (rows.iter().map(|&(first, _)| first).collect(), n))
}

/// The PEs of a class in rows, of which the first PE and the pieces are given.
pub(super) fn members_of<'a>(class: u16, rows: impl Iterator<Item = (u32, &'a [Piece])>) -> Members {
    let mut members = Members::default();
    for (first, pieces) in rows {
        for &(_, at, n) in pieces.iter().filter(|piece| piece.0 == class) {
            members.push(first + at, n);
        }
    }
    members
}

/// The pieces of a row with what they go through.
fn parts<'a>(pieces: &'a [Piece], courses: &'a [Course]) -> impl Iterator<Item = (&'a Course, u32, u32)> {
    pieces.iter().filter_map(|&(class, at, n)| Some((courses.iter().find(|course| course.class() == class)?, at, n)))
}

impl Groups<'_> {
    /// Rows by what never changes in them, as far as segments ask.
    pub(super) fn built_alike(&mut self, (courses, colors): Through<'_>, firsts: Vec<u32>, n: u32) -> Rc<Rows> {
        let outputs = courses.iter().map(|course| course.segment.outputs.clone()).collect();
        let key = (colors.to_vec(), outputs);
        if let Some(rows) = self.alike.fixed.get(&key).filter(|rows| rows.firsts == firsts && rows.n == n) {
            return rows.clone();
        }
        let (mut kinds, mut like): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::with_capacity(firsts.len()));
        let mut pieces: Vec<Rc<[Piece]>> = Vec::with_capacity(firsts.len());
        for (row, &first) in firsts.iter().enumerate() {
            let own = self.pieces(first, n);
            let is_same = |&&kind: &&usize| {
                pieces[kind][..] == own[..] && self.are_built_alike((courses, colors), [firsts[kind], first], &own)
            };
            let same = kinds.iter().find(is_same).copied();
            pieces.push(same.map_or_else(|| own.into(), |same| pieces[same].clone()));
            like.push(same.unwrap_or(row));
            if same.is_none() && kinds.len() < MOST_KINDS {
                kinds.push(row);
            }
        }
        let rows = Rc::new(Rows { firsts, n, pieces, like });
        self.alike.fixed.insert(key, rows.clone());
        rows
    }

    /// Of PEs side by side those that are of one class.
    fn pieces(&self, first: u32, n: u32) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = Vec::new();
        for (at, pe) in (0..).zip(&self.band.pes[first as usize..(first + n) as usize]) {
            let Some(class) = pe.class else { continue };
            match pieces.last_mut() {
                Some((last, start, count)) if *last == class && *start + *count == at => *count += 1,
                _ => pieces.push((class, at, 1)),
            }
        }
        pieces
    }

    /// Whether two rows of the same pieces have the same routers and queues, as far as segments use them.
    fn are_built_alike(&self, (courses, colors): Through<'_>, [a, b]: [u32; 2], pieces: &[Piece]) -> bool {
        let is_same = |color: u8, i: u32| {
            let route = |pe: u32| {
                let lanes = &self.band.routers[(pe + i) as usize].lanes;
                lanes.iter().find(|lane| lane.color == color).map(|lane| lane.route as usize)
            };
            match (route(a), route(b)) {
                (None, None) => true,
                (Some(one), Some(other)) => {
                    let [one, other] = [&self.shared.routes[one], &self.shared.routes[other]];
                    (&one.positions, one.start, one.ring) == (&other.positions, other.start, other.ring)
                }
                _ => false,
            }
        };
        parts(pieces, courses).all(|(course, at, n)| {
            colors.iter().all(|&color| (at..at + n).all(|i| is_same(color, i)))
                && course.segment.outputs.iter().all(|&queue| self.lanes.lead_alike(queue, [a + at, b + at], n))
        })
    }

    /// Which rows lead, by number, and which follow.
    pub(super) fn lead(&mut self, through: Through<'_>, rows: &Rows) -> (Vec<usize>, Vec<Follower>) {
        let (mut leaders, mut followers): (Vec<usize>, Vec<Follower>) = (Vec::new(), Vec::new());
        for (row, &first) in rows.firsts.iter().enumerate() {
            let mut kinds = leaders.iter().enumerate().take(MOST_KINDS);
            let leads = |(leader, &other): (usize, &usize)| {
                let pes = [rows.firsts[other], first];
                let is_built_so = rows.like[other] == rows.like[row];
                let cycles = is_built_so.then(|| self.later_by(through, &rows.pieces[row], pes, rows.n)).flatten()?;
                Some(Follower { first, leader, cycles })
            };
            match kinds.find_map(leads) {
                Some(follower) => followers.push(follower),
                None => leaders.push(row),
            }
        }
        (leaders, followers)
    }

    /// By how many cycles a row is later than another one of the same pieces, if all else is the same that segments ask for.
    fn later_by(&mut self, (courses, colors): Through<'_>, pieces: &[Piece], pes: [u32; 2], n: u32) -> Option<i64> {
        let cycles = self.clocks.later_by(pes, n)?;
        let turn = Turn { cycles, began: self.clocks.first(pes[0], n) };
        let long = self.longest_way();
        let mut are_same = |course: &Course, at: u32, n: u32| {
            let pes = pes.map(|pe| pe + at);
            self.registers.are_alike(course.segment.slots & course.group.varies, pes, n)
                && course.segment.inputs.iter().all(|&queue| {
                    let inputs = self.inputs_of(pes, queue);
                    inputs.is_none_or(|inputs| self.queues.are_alike(inputs, n, turn, long))
                })
        };
        let is_same = parts(pieces, courses).all(|(course, at, n)| are_same(course, at, n))
            && colors.iter().all(|&color| {
                let lanes = self.lanes_of(pes, color);
                lanes.is_none_or(|lanes| self.lanes.are_alike(lanes, n, turn))
            })
            && self.links.are_alike(pes, n, turn);
        is_same.then_some(cycles)
    }

    /// What a leader is at the beginning of a segment, by the number of its row.
    pub(super) fn leader(&self, colors: &[u8], rows: &Rows, row: usize) -> Leader {
        let first = rows.firsts[row];
        let start = first - first % self.lanes.width;
        Leader {
            first,
            pieces: rows.pieces[row].clone(),
            counted: self.clocks.counted(start),
            passed: self.lanes.passed(start),
            switches: self.switches(colors, first, rows.n).map(|(.., switch)| switch).collect(),
        }
    }

    /// The switches of a row: how far each is from its first router, its colour, and how it stands.
    fn switches(&self, colors: &[u8], first: u32, n: u32) -> impl Iterator<Item = (u32, u8, Switch)> {
        let of_color = move |color: u8| {
            (0..n).filter_map(move |i| {
                let router = (first + i) as usize;
                let lane = self.lanes.at(router, color)?;
                let lane = self.band.routers[router].lanes.get(self.lanes.number(lane))?;
                (lane.color == color).then(|| (i, color, (lane.position(), lane.closed)))
            })
        };
        colors.iter().flat_map(move |&color| of_color(color))
    }

    /// Leaders have come to the ends of segments: gives the rows that have become like them, and those that have not.
    pub(super) fn become_like(&mut self, begun: &Begun, groups: &[&mut Group]) -> (Vec<Follower>, Vec<Follower>) {
        let loads = merged(&begun.loads);
        let knows = |follower: &&Follower| self.has_loaded_alike(begun, &loads, follower);
        let (following, left): (Vec<_>, Vec<_>) = begun.followers.iter().partition(knows);
        let varies =
            |class: u16| groups.iter().filter(|group| group.class == class).fold(0, |set, group| set | group.varies);
        let slots = |course: &Course| course.segment.slots & varies(course.class()) & !self.registers.params;
        let slots: Vec<u128> = begun.courses.iter().map(slots).collect();
        let changed: Vec<Changed> = begun.leaders.iter().map(|leader| self.changed(begun, leader)).collect();
        for &Follower { first, leader, cycles } in &following {
            let (changed, leader, n) = (&changed[leader], &begun.leaders[leader], begun.n);
            let pes = [leader.first, first];
            self.clocks.follow(pes, n, cycles, &changed.counted);
            self.links.follow(pes, n, cycles);
            self.lanes.pass_more(first - first % self.lanes.width, &changed.passed);
            for &color in &begun.colors {
                let Some(lanes) = self.lanes_of(pes, color) else { continue };
                self.lanes.become_like(lanes, n, cycles);
            }
            for (course, &slots) in begun.courses.iter().zip(&slots) {
                for &(_, at, n) in leader.pieces.iter().filter(|piece| piece.0 == course.class()) {
                    let pes = pes.map(|pe| pe + at);
                    self.registers.follow(slots, pes, n);
                    for &queue in &course.segment.inputs {
                        if let Some(inputs) = self.inputs_of(pes, queue) {
                            self.queues.follow(inputs, n, cycles);
                        }
                    }
                }
            }
            for &(i, color, switch) in &changed.switches {
                self.set_switch((first + i) as usize, color, switch);
            }
        }
        self.forget_alike(begun, &following);
        (following, left)
    }

    /// Rows have put into memory what their leaders have, without knowing it.
    fn forget_alike(&mut self, begun: &Begun, following: &[Follower]) {
        for (dst, count, (pe, n)) in &begun.forgotten {
            let Some(class) = self.band.pes[*pe as usize].class else { continue };
            for follower in following {
                let lead = begun.leaders[follower.leader].first;
                if (lead..lead + begun.n).contains(pe) {
                    self.forget_in(class, dst, *count, (follower.first + (pe - lead), *n));
                }
            }
        }
    }

    /// The lanes of a colour at two routers.
    fn lanes_of(&self, routers: [u32; 2], color: u8) -> Option<[u32; 2]> {
        Some([self.lanes.at(routers[0] as usize, color)?, self.lanes.at(routers[1] as usize, color)?])
    }

    /// The input queues of a number of two PEs.
    fn inputs_of(&self, pes: [u32; 2], queue: u8) -> Option<[u32; 2]> {
        Some([self.queues.at(pes[0], queue)?, self.queues.at(pes[1], queue)?])
    }

    /// Whether nobody waits for room, or for a switch.
    pub(super) fn is_still(&self) -> bool {
        self.flights.are_over() && self.wait_for_switch.is_empty()
    }

    /// Whether nothing is in the queues that leaders have received from.
    pub(super) fn have_taken_all(&mut self, begun: &Begun) -> bool {
        let queues = &mut self.queues;
        begun.leaders.iter().all(|leader| {
            parts(&leader.pieces, &begun.courses).all(|(course, at, n)| {
                course.segment.inputs.iter().all(|&queue| {
                    let input = queues.at(leader.first + at, queue);
                    input.is_none_or(|input| queues.are_empty_from(input, n))
                })
            })
        })
    }

    /// What has become of a leader since the beginning.
    fn changed(&self, begun: &Begun, leader: &Leader) -> Changed {
        let row = leader.first - leader.first % self.lanes.width;
        let now = self.switches(&begun.colors, leader.first, begun.n).zip(&leader.switches);
        Changed {
            counted: self.clocks.counted_since(row, &leader.counted),
            passed: self.lanes.passed_since(row, &leader.passed),
            switches: now.filter(|((.., now), before)| now != *before).map(|(switch, _)| switch).collect(),
        }
    }

    fn set_switch(&mut self, router: usize, color: u8, (position, closed): Switch) {
        let Some(lane) = self.lanes.at(router, color) else { return };
        if let Some(switch) = self.band.routers[router].lanes.get_mut(self.lanes.number(lane)) {
            switch.set_position(position, self.shared.routes);
            switch.closed = closed;
            self.lanes.switch(lane, switch.ports());
        }
    }

    /// Whether a row would have loaded what its leader has.
    fn has_loaded_alike(&self, begun: &Begun, loads: &[(u32, Range<usize>)], follower: &Follower) -> bool {
        let (leader, n) = (&begun.leaders[follower.leader], begun.n);
        let lead = leader.first;
        let own = loads.partition_point(|(pe, _)| *pe < lead)..loads.partition_point(|(pe, _)| *pe < lead + n);
        let is_in_table = |(&(class, ..), entry): (&(u16, i64, u32), &Entry)| {
            let mut pieces = leader.pieces.iter().filter(|piece| piece.0 == class);
            pieces.all(|&(_, at, n)| tables::agree(entry, [lead + at, follower.first + at], n))
        };
        begun.tables.iter().all(is_in_table)
            && loads[own].iter().all(|(pe, bytes)| {
                let (one, other) =
                    (&self.band.pes[*pe as usize], &self.band.pes[(follower.first + (pe - lead)) as usize]);
                let marks = one.class.and_then(|class| self.marks.get(usize::from(class)));
                let knows = marks.is_some_and(|marks| marks.all_know(bytes.start, bytes.len()));
                let memory = one.memory.get(bytes.clone());
                memory.is_some()
                    && memory == other.memory.get(bytes.clone())
                    && (knows || !other.unknown.any(bytes.start, bytes.len()))
            })
    }
}

/// What each PE has loaded, in pieces that do not touch each other.
fn merged(loads: &[(u32, usize, usize)]) -> Vec<(u32, Range<usize>)> {
    let mut sorted = loads.to_vec();
    sorted.sort_unstable();
    let mut merged: Vec<(u32, Range<usize>)> = Vec::new();
    for (pe, start, bytes) in sorted {
        match merged.last_mut() {
            Some((last, range)) if *last == pe && start <= range.end => range.end = range.end.max(start + bytes),
            _ => merged.push((pe, start..start + bytes)),
        }
    }
    merged
}
