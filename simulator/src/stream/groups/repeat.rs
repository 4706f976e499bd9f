//! Turns of a loop that take as long as the one before them, as layers of a model do: in a run for the time alone they are passed over.
//!
//! A turn ends where all PEs stand at the end of the loop's body and nothing is under way. If what can be told there is the same as
//! at the end of the turn before, only so many cycles later, then the next turn takes what this one took, as long as the code
//! does the same in it. That it does is seen while a turn is watched: registers that hold other numbers from turn to turn
//! ([`drift`](super::drift)) must lead to nothing but operators of other names and addresses from which unknown numbers are read, without
//! other waits. Then clocks go on by as many turns as are left, and counters by what the turn added to them.

use super::Groups;
use super::clocks::Clocks;
use super::code::same;
use super::drift;
use super::group::Group;
use super::lanes::Lanes;
use super::line::Line;
use super::link::Links;
use super::liveness::{accessed, bit};
use super::marks::Marks;
use super::members::Members;
use super::queue::Queues;
use super::tables::Places;
use super::vector::{Silence, Stage};
use crate::machine::band::Span;
use crate::machine::decode::{ClassCode, Step, Vector};
use crate::machine::operand::{Access, Number};

/// A turn that is like the one before it, as far as the clocks of its first PE say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// Cycles from its beginning to its end.
    pub(super) cycles: i64,
    /// The first of all clocks when it began: what happens in it happens later.
    pub(super) began: i64,
}

impl Turn {
    /// Whether times at its beginning and at its end are the same to whatever comes: a turn apart, or past.
    pub(super) fn is_same(&self, before: Line, behind: Line) -> bool {
        before.at + self.cycles == behind.at || before.at <= self.began && behind.at <= self.began + self.cycles
    }

    /// What times at its end are so many turns later: those that are past stay.
    pub(super) fn later(&self, time: Line, turns: u32, n: &mut u32) -> Line {
        let is_past = time.is_below(Line::flat(self.began + self.cycles + 1), n);
        if is_past { time } else { time.plus(self.cycles * i64::from(turns)) }
    }
}

/// What can be told when a turn ends.
pub(super) struct State {
    groups: Vec<Group>,
    clocks: Clocks,
    lanes: Lanes,
    links: Links,
    queues: Queues,
    /// Positions of all switches.
    switches: Vec<(u8, bool)>,
    marks: Vec<Marks>,
    tables: Places,
    /// How often PEs' memory or what is known of it may have been changed.
    written: u64,
    /// What has come from the host and gone there.
    exchanged: usize,
}

/// A turn that is watched.
pub(super) struct Watch {
    /// The state when it began.
    before: State,
    /// The class and the step at which its loop's turns end.
    end: (u16, u32),
    /// Turns behind it.
    left: u32,
    /// Times in operators up to its beginning.
    spans: Vec<Span>,
    /// How much further operators are in the next turn, once one has been met.
    operators: Option<i32>,
    /// The code may do something else in another turn.
    differs: bool,
}

/// Turns of loops.
#[derive(Default)]
pub(super) struct Repeats {
    /// By class and step: how many more turns that end there are worth a look.
    ends: Vec<Vec<u8>>,
    watch: Option<Box<Watch>>,
    /// How often PEs' memory or what is known of it may have been changed.
    pub(super) written: u64,
    /// Turns that have been passed over.
    pub(super) passed_over: u32,
}

/// Turns of a loop that are watched in vain.
const MOST_WATCHED: u8 = 6;

impl Repeats {
    /// Loops around whole operators are looked at.
    pub(super) fn new(classes: &[ClassCode]) -> Self {
        let is_mark = |step: &Step| matches!(step, Step::Mark { .. });
        let ends = |steps: &[Step]| {
            let looks = |(at, step): (usize, &Step)| match step {
                Step::LoopNext { body, .. } if steps[*body as usize..at].iter().any(is_mark) => MOST_WATCHED,
                _ => 0,
            };
            steps.iter().enumerate().map(looks).collect()
        };
        Self { ends: classes.iter().map(|class| ends(&class.tasks[0].steps)).collect(), ..Self::default() }
    }

    /// Whether groups are to wait for each other at a step.
    pub(super) fn gathers_at(&self, class: u16, step: u32) -> bool {
        self.ends.get(usize::from(class)).and_then(|ends| ends.get(step as usize)).is_some_and(|&looks| looks > 0)
    }

    pub(super) fn is_watching(&self) -> bool {
        self.watch.is_some()
    }
}

impl Groups<'_> {
    /// When a group is about to go on that is with all others at the end of a turn: passes over the turns that are like it.
    pub(super) fn end_turn(&mut self, group: &mut Group) {
        if !self.repeats.gathers_at(group.class, group.step) || !self.schedule.is_only_at(&group.place()) {
            return;
        }
        let mut others = self.schedule.take_at(&group.place());
        let mut groups: Vec<&mut Group> = others.iter_mut().chain([group]).collect();
        let members: usize = groups.iter().map(|group| group.members.count()).sum();
        if members == self.class_sizes.iter().sum() && self.is_at_rest() {
            self.look_at_turn(&mut groups);
        }
        self.schedule.put_back(others);
    }

    /// Whether nothing is under way between PEs.
    fn is_at_rest(&self) -> bool {
        self.queues.are_empty()
            && self.flights.are_over()
            && self.wait_for_switch.is_empty()
            && self.progress.all_with(&self.progress, |stage, _| *stage == Stage::Fresh)
    }

    fn look_at_turn(&mut self, groups: &mut [&mut Group]) {
        let Some(first) = groups.first() else { return };
        let (end, Some(&[_, done, turns])) = ((first.class, first.step), first.loops.last()) else { return };
        if let Some(watch) = self.end_watch() {
            let turn = self.repeated(&watch, groups);
            for group in groups.iter_mut() {
                group.drift = drift::Drift::default();
            }
            if let Some(turn) = turn {
                return self.pass_over(&watch, turn, groups);
            }
            if let Some(looks) = self.repeats.ends[usize::from(end.0)].get_mut(end.1 as usize) {
                *looks = looks.saturating_sub(1);
            }
        }
        if done + 2 < turns && self.repeats.gathers_at(end.0, end.1) {
            let none = vec![Span::default(); self.band.spans.len()];
            let spans = std::mem::replace(&mut self.band.spans, none);
            let (before, left) = (self.state(groups), turns - done - 2);
            self.repeats.watch = Some(Box::new(Watch { before, end, left, spans, operators: None, differs: false }));
        }
    }

    /// Ends a watch: `spans` of it become those of the turn alone.
    pub(super) fn end_watch(&mut self) -> Option<Box<Watch>> {
        let mut watch = self.repeats.watch.take()?;
        let turn = self.band.spans.clone();
        self.band.spans.iter_mut().zip(&watch.spans).for_each(|(all, before)| all.join(before));
        watch.spans = turn;
        Some(watch)
    }

    fn state(&self, groups: &[&mut Group]) -> State {
        let lanes = self.band.routers.iter().flat_map(|router| router.lanes.iter());
        State {
            groups: groups.iter().map(|group| Group::clone(group)).collect(),
            clocks: self.clocks.clone(),
            lanes: self.lanes.clone(),
            links: self.links.clone(),
            queues: self.queues.clone(),
            switches: lanes.map(|lane| (lane.position(), lane.closed)).collect(),
            marks: self.marks.clone(),
            tables: self.tables.places.clone(),
            written: self.repeats.written,
            exchanged: self.exchanged(),
        }
    }

    fn exchanged(&self) -> usize {
        let sent = self.band.sources.iter().map(|source| source.item_starts.len());
        sent.chain(self.band.sinks.iter().map(|sink| sink.data.len())).sum()
    }

    /// The turn that has been watched, if all that are left are like it.
    fn repeated(&self, watch: &Watch, groups: &[&mut Group]) -> Option<Turn> {
        let (before, members) = (&watch.before, all(groups));
        if watch.differs || !self.are_repeated(&before.groups, groups) {
            return None;
        }
        let clock = |clocks: &Clocks| members.pes().map(|pe| clocks.time(pe)).min();
        let began = clock(&before.clocks)?;
        let turn = Turn { cycles: clock(&self.clocks)? - began, began };
        let mut switches = self.band.routers.iter().flat_map(|router| router.lanes.iter()).zip(&before.switches);
        let operators = watch.operators.unwrap_or(0);
        let checks = [
            turn.cycles > 0,
            before.written == self.repeats.written && before.exchanged == self.exchanged(),
            before.marks == self.marks && before.tables == self.tables.places,
            switches.all(|(lane, &before)| (lane.position(), lane.closed) == before),
            self.clocks.repeat(&before.clocks, turn, &members, operators),
            self.lanes.repeat(&before.lanes, turn),
            self.links.repeat(&before.links, turn),
            self.queues.repeat(&before.queues, turn),
        ];
        checks.iter().all(|&holds| holds).then_some(turn)
    }

    /// Whether groups are those of a turn before, and hold the same in what is still read but the number of the turn.
    fn are_repeated(&self, before: &[Group], groups: &[&mut Group]) -> bool {
        before.len() == groups.len() && before.iter().zip(groups).all(|(before, group)| self.is_repeated(before, group))
    }

    fn is_repeated(&self, before: &Group, group: &Group) -> bool {
        let flow = &self.flows[usize::from(group.class)];
        let live = flow.live.get(group.step as usize).copied().unwrap_or(0) | self.registers.params;
        let Some(Step::LoopNext { counter, .. }) =
            self.shared.classes[usize::from(group.class)].tasks[0].steps.get(group.step as usize)
        else {
            return false;
        };
        let mut next = before.loops.clone();
        next.last_mut().into_iter().for_each(|[_, done, _]| *done += 1);
        let mut slots = before.slots.clone();
        let mut drift = drift::Drift::default();
        drift.set(*counter, 1);
        drift.grow(&mut slots, 1);
        drift.keep(live);
        let mut grown = group.drift.clone();
        grown.keep(live);
        let is_other = |i: usize| live & bit(i as u32) != 0 && slots.get(i) != group.slots.get(i);
        (before.class, before.step, &before.members) == (group.class, group.step, &group.members)
            && next == group.loops
            && before.varies & live == group.varies & live
            // Parameters never change, registers that vary may.
            && group.varies & live & !self.registers.params == 0
            && before.unknown & live == group.unknown & live
            && grown == drift
            && !(0..slots.len()).any(is_other)
    }

    /// Passes over the turns that are left behind one that was watched.
    fn pass_over(&mut self, watch: &Watch, turn: Turn, groups: &mut [&mut Group]) {
        let (before, turns, members) = (&watch.before, watch.left, all(groups));
        tracing::info!("{turns} turns of a loop take {} cycles each, as the one before them", turn.cycles);
        self.repeats.passed_over += turns;
        let operators = watch.operators.unwrap_or(0);
        self.clocks.pass_over(&before.clocks, turn, turns, &members, operators);
        self.lanes.pass_over(&before.lanes, turn, turns);
        self.links.pass_over(turn, turns);
        self.queues.pass_over(turn, turns);
        for (index, span) in watch.spans.iter().enumerate().filter(|(_, span)| span.start != u64::MAX) {
            for later in 1..=turns {
                let (operator, by) =
                    (index as i64 + i64::from(operators) * i64::from(later), turn.cycles as u64 * u64::from(later));
                let span = Span { start: span.start + by, end: span.end + by, ..*span };
                if let Some(all) = usize::try_from(operator).ok().and_then(|operator| self.band.spans.get_mut(operator))
                {
                    all.join(&span);
                }
            }
        }
        for group in groups {
            let step = &self.shared.classes[usize::from(group.class)].tasks[0].steps[group.step as usize];
            group.loops.last_mut().into_iter().for_each(|[_, done, _]| *done += turns);
            if let Step::LoopNext { counter, .. } = step
                && let Some(number) = group.slots.get_mut(*counter as usize)
            {
                *number += turns as i32;
            }
        }
    }

    /// Before a step of a turn that is watched: what it makes of registers that hold other numbers from turn to turn.
    pub(super) fn watch_step(&mut self, group: &mut Group, step: &Step) {
        let Some(watch) = &mut self.repeats.watch else { return };
        let grows = |number: &Number| group.drift.of(number.slot);
        let (mut differs, mut result) = (false, None);
        match step {
            Step::LoopNext { counter, .. } => {
                result = Some((*counter, i32::from(watch.end == (group.class, group.step))));
            }
            Step::LoopEnter { counter, count, .. } => {
                // One without turns leaves its counter as it was.
                let enters = same(group, [*count; 2]).map(|[turns, _]| turns > 0);
                differs = grows(count) != 0 || enters.is_none() && group.drift.of(*counter) != 0;
                result = (enters == Some(true)).then_some((*counter, 0));
            }
            Step::Scalar { op, dst, a, b } => {
                let growth = match ([grows(a), grows(b)], same(group, [*a, *b])) {
                    ([0, 0], _) => Some(0),
                    (grows, Some(values)) => drift::growth(*op, values, grows),
                    (_, None) => None,
                };
                (differs, result) = (growth.is_none(), Some((*dst, growth.unwrap_or(0))));
            }
            Step::Load { dst, base, .. } => (differs, result) = (grows(base) != 0, Some((*dst, 0))),
            Step::Branch { a, b, .. } | Step::Store { src: a, base: b, .. } => differs = grows(a) != 0 || grows(b) != 0,
            Step::ClaimBegin { tiles, .. } => differs = tiles.iter().any(|(base, _)| grows(base) != 0),
            Step::Mark { operator, plus } => {
                let further = grows(plus);
                let last = same(group, [*plus; 2]).map_or(0, |[plus, _]| i64::from(plus))
                    + i64::from(further) * i64::from(watch.left);
                let is_there = i32::try_from(last).is_ok()
                    && usize::try_from(i64::from(*operator) + last).is_ok_and(|last| last < self.shared.operators);
                let is_varying = group.is_varying(plus.slot) && further != 0;
                differs = is_varying || !is_there || *watch.operators.get_or_insert(further) != further;
            }
            Step::Vector(vector) => differs = !self.is_alike_in_later_turns(group, vector),
            _ => {}
        }
        if let Some((slot, growth)) = result {
            group.drift.set(slot, growth);
        }
        if let Some(watch) = &mut self.repeats.watch {
            watch.differs |= differs;
        }
    }

    /// Whether a vector instruction takes as long, and leaves as little, in all turns that are left.
    fn is_alike_in_later_turns(&mut self, group: &Group, vector: &Vector) -> bool {
        let grows = group.drift.slots();
        let used = vector.srcs.iter().chain([&vector.dst]).fold(0, |set, access| set | accessed(access));
        let (Some(watch), Some(pe), true) = (&self.repeats.watch, group.members.first(), used & grows != 0) else {
            return true;
        };
        // Only where sources begin may differ.
        let shape = |access: &Access| match access {
            Access::Memory(vector) => {
                vector.dims.iter().fold(0, |set, (len, stride)| set | bit(len.slot) | bit(stride.slot))
            }
            other => accessed(other),
        };
        let fixed = vector.srcs.iter().fold(accessed(&vector.dst), |set, access| set | shape(access));
        if fixed & grows != 0 || used & group.varies != 0 {
            return false;
        }
        let left = watch.left;
        let mut first = None;
        (0..=left).all(|turns| {
            let mut later = group.clone();
            later.drift.grow(&mut later.slots, turns);
            let Ok(work) = self.prepare(&later, pe, vector) else { return false };
            let silence = self.silence(group.class, &work);
            // Over the fabric, what is not computed does not wait.
            let in_memory = vector.nest.is_some();
            let cycles = if in_memory { self.nested((&later, pe), vector, &work, silence) } else { Some((0, 0)) };
            self.unused.push(work);
            silence == Silence::Always && cycles.is_some() && *first.get_or_insert(cycles) == cycles
        })
    }
}

/// The members of all groups.
fn all(groups: &[&mut Group]) -> Members {
    let mut members = Members::default();
    for group in groups {
        members.append(&group.members);
    }
    members.sort();
    members
}

#[cfg(test)]
mod tests;
