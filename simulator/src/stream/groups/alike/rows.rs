//! What can be told of a row, and what it becomes when another one has gone through a segment for it.

use super::super::Groups;
use super::super::clocks::Changes;
use super::super::group::Group;
use super::super::members::Members;
use super::super::repeat::Turn;
use super::super::tables;
use super::{Begun, Follower, Known, Leader};
use std::ops::Range;
use std::rc::Rc;

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
    n: u32,
    /// By row: the number of the first one that is like it.
    like: Rc<[usize]>,
}

/// The first PEs of rows, and how many PEs each has, if all of them stand below each other.
pub(super) fn of(members: &Members, width: u32) -> Option<(Vec<u32>, u32)> {
    let rows: Vec<(u32, u32)> = members.in_rows(width).collect();
    let &(start, n) = rows.first()?;
    let is_below = |&(first, count): &(u32, u32)| (first % width, count) == (start % width, n);
    rows.iter().all(is_below).then(|| (rows.iter().map(|&(first, _)| first).collect(), n))
}

impl Groups<'_> {
    /// By row: the number of the first one in which what never changes is the same, as far as a segment asks.
    pub(super) fn built_alike(&mut self, known: &Known, firsts: &[u32], n: u32) -> Rc<[usize]> {
        let key = (known.colors.clone(), known.segment.outputs.clone());
        if let Some(rows) = self.alike.fixed.get(&key).filter(|rows| rows.firsts == firsts && rows.n == n) {
            return rows.like.clone();
        }
        let mut kinds: Vec<usize> = Vec::new();
        let mut like = Vec::with_capacity(firsts.len());
        for (row, &first) in firsts.iter().enumerate() {
            let same = kinds.iter().find(|&&kind| self.are_built_alike(known, [firsts[kind], first], n));
            like.push(same.copied().unwrap_or(row));
            if same.is_none() && kinds.len() < MOST_KINDS {
                kinds.push(row);
            }
        }
        let like: Rc<[usize]> = like.into();
        self.alike.fixed.insert(key, Rows { firsts: firsts.to_vec(), n, like: like.clone() });
        like
    }

    /// Whether two rows have the same routers and queues, as far as a segment uses them.
    fn are_built_alike(&self, known: &Known, [a, b]: [u32; 2], n: u32) -> bool {
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
        known.colors.iter().all(|&color| (0..n).all(|i| is_same(color, i)))
            && known.segment.outputs.iter().all(|&queue| self.lanes.lead_alike(queue, [a, b], n))
    }

    /// Which rows lead, by their first PEs, and which follow; `like` says which ones are built alike.
    pub(super) fn lead(
        &mut self,
        group: &Group,
        known: &Known,
        (firsts, like): (&[u32], &[usize]),
        n: u32,
    ) -> (Vec<u32>, Vec<Follower>) {
        let (mut leaders, mut followers): (Vec<usize>, Vec<Follower>) = (Vec::new(), Vec::new());
        for (row, &first) in firsts.iter().enumerate() {
            let mut kinds = leaders.iter().enumerate().take(MOST_KINDS);
            let leads = |(leader, &other): (usize, &usize)| {
                let cycles = (like[other] == like[row])
                    .then(|| self.later_by(group, known, [firsts[other], first], n))
                    .flatten()?;
                Some(Follower { first, leader, cycles })
            };
            match kinds.find_map(leads) {
                Some(follower) => followers.push(follower),
                None => leaders.push(row),
            }
        }
        (leaders.into_iter().map(|row| firsts[row]).collect(), followers)
    }

    /// By how many cycles a row is later than another one, if all else is the same that a segment asks for.
    fn later_by(&mut self, group: &Group, known: &Known, pes: [u32; 2], n: u32) -> Option<i64> {
        let cycles = self.clocks.later_by(pes, n)?;
        let turn = Turn { cycles, began: self.clocks.first(pes[0], n) };
        let long = self.longest_way();
        let are_same = |lanes: Option<[u32; 2]>, groups: &mut Self| {
            lanes.is_none_or(|lanes| groups.lanes.are_alike(lanes, n, turn))
        };
        let is_same = self.registers.are_alike(known.segment.slots & group.varies, pes, n)
            && known.colors.iter().all(|&color| are_same(self.lanes_of(pes, color), self))
            && self.links.are_alike(pes, n, turn)
            && known.segment.inputs.iter().all(|&queue| {
                let inputs = self.inputs_of(pes, queue);
                inputs.is_none_or(|inputs| self.queues.are_alike(inputs, n, turn, long))
            });
        is_same.then_some(cycles)
    }

    /// What leaders are at the beginning of a segment.
    pub(super) fn leaders(&self, (class, index): (u16, usize), firsts: &[u32], n: u32) -> Vec<Leader> {
        let known = &self.alike.segments[usize::from(class)][index];
        let leader = |&first: &u32| {
            let start = first - first % self.lanes.width;
            let switches = self.switches(known, first, n).map(|(.., switch)| switch).collect();
            Leader { first, counted: self.clocks.counted(start), passed: self.lanes.passed(start), switches }
        };
        firsts.iter().map(leader).collect()
    }

    /// The switches of a row: how far each is from its first router, its colour, and how it stands.
    fn switches(&self, known: &Known, first: u32, n: u32) -> impl Iterator<Item = (u32, u8, Switch)> {
        let of_color = move |color: u8| {
            (0..n).filter_map(move |i| {
                let router = (first + i) as usize;
                let lane = self.lanes.at(router, color)?;
                let lane = self.band.routers[router].lanes.get(self.lanes.number(lane))?;
                (lane.color == color).then(|| (i, color, (lane.position(), lane.closed)))
            })
        };
        known.colors.iter().flat_map(move |&color| of_color(color))
    }

    /// Leaders have come to the end of a segment: gives the rows that have become like them, and those that have not.
    pub(super) fn become_like(&mut self, begun: &Begun, groups: &[&mut Group]) -> (Vec<Follower>, Vec<Follower>) {
        let class = begun.group.class;
        let loads = merged(&begun.loads);
        let knows = |follower: &&Follower| self.has_loaded_alike(begun, &loads, follower);
        let (following, left): (Vec<_>, Vec<_>) = begun.followers.iter().partition(knows);
        let known = &self.alike.segments[usize::from(class)][begun.index];
        let varies = groups.iter().fold(0, |set, group| set | group.varies);
        let slots = known.segment.slots & varies & !self.registers.params;
        let changed: Vec<Changed> = begun.leaders.iter().map(|leader| self.changed(known, leader, begun.n)).collect();
        let (colors, inputs) = (known.colors.clone(), known.segment.inputs.clone());
        for &Follower { first, leader, cycles } in &following {
            let (changed, pes, n) = (&changed[leader], [begun.leaders[leader].first, first], begun.n);
            self.clocks.follow(pes, n, cycles, &changed.counted);
            self.registers.follow(slots, pes, n);
            self.links.follow(pes, n, cycles);
            self.lanes.pass_more(first - first % self.lanes.width, &changed.passed);
            for &color in &colors {
                let Some(lanes) = self.lanes_of(pes, color) else { continue };
                self.lanes.become_like(lanes, n, cycles);
            }
            for &queue in &inputs {
                if let Some(inputs) = self.inputs_of(pes, queue) {
                    self.queues.follow(inputs, n, cycles);
                }
            }
            for &(i, color, switch) in &changed.switches {
                self.set_switch((first + i) as usize, color, switch);
            }
        }
        for (dst, count, (pe, n)) in &begun.forgotten {
            for follower in &following {
                let lead = begun.leaders[follower.leader].first;
                if (lead..lead + begun.n).contains(pe) {
                    self.forget_in(class, dst, *count, (follower.first + (pe - lead), *n));
                }
            }
        }
        (following, left)
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
        let inputs = &self.alike.segments[usize::from(begun.group.class)][begun.index].segment.inputs;
        let (queues, leaders) = (&mut self.queues, &begun.leaders);
        inputs.iter().all(|&queue| {
            leaders.iter().all(|leader| {
                let input = queues.at(leader.first, queue);
                input.is_none_or(|input| queues.are_empty_from(input, begun.n))
            })
        })
    }

    /// What has become of a leader since the beginning.
    fn changed(&self, known: &Known, leader: &Leader, n: u32) -> Changed {
        let row = leader.first - leader.first % self.lanes.width;
        let now = self.switches(known, leader.first, n).zip(&leader.switches);
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
        let (lead, n) = (begun.leaders[follower.leader].first, begun.n);
        let own = loads.partition_point(|(pe, _)| *pe < lead)..loads.partition_point(|(pe, _)| *pe < lead + n);
        begun.tables.values().all(|entry| tables::agree(entry, [lead, follower.first], n))
            && loads[own].iter().all(|(pe, bytes)| {
                let (one, other) =
                    (&self.band.pes[*pe as usize], &self.band.pes[(follower.first + (pe - lead)) as usize]);
                let knows = self
                    .marks
                    .get(usize::from(begun.group.class))
                    .is_some_and(|marks| marks.all_know(bytes.start, bytes.len()));
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
