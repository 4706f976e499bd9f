//! Turns of a loop that take as long as the one before them, as layers of a model do: in a run for the time alone they are passed over.
//!
//! In each turn there are places where PEs wait for each other: its end, and in a loop over several operators one of the first of these. If all
//! PEs stand there, nothing is under way, and what can be told is the same as in the turn before, only so many cycles later, then what
//! follows takes what it took in that turn, as long as the code does the same. That it does is seen while a turn is watched: registers that
//! hold other numbers from turn to turn ([`drift`](super::drift)) must lead to nothing but operators of other names and addresses from which
//! unknown numbers are read, without other waits.
//!
//! From the end of a turn on clocks go on by as many turns as are left, and counters by what the turn added to them. From a place within a turn
//! all becomes what it was at the end of the turn before, so much later: how a loop is entered is forgotten after its first operators, so that
//! little more than one turn is simulated.

mod state;
mod watch;

use super::Groups;
use super::clocks::Clocks;
use super::group::Group;
use super::line::Line;
use super::liveness::bit;
use super::members::Members;
use super::vector::Stage;
use crate::machine::decode::{ClassCode, Step};
use state::State;
use watch::Watch;

/// A turn that is like the one before it, as far as the clocks of its first PE say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// Cycles from its beginning to its end.
    pub(super) cycles: i64,
    /// The first of all clocks when it began: what happens in it happens later.
    pub(super) began: i64,
}

impl Turn {
    /// Whether times of `n` places are the same so much later.
    pub(super) fn are_later(&self, before: Line, behind: Line, n: u32) -> bool {
        before.at + self.cycles == behind.at && (n == 1 || before.slope == behind.slope)
    }

    /// The same, or all past.
    pub(super) fn are_same(&self, before: Line, behind: Line, n: u32) -> bool {
        self.are_later(before, behind, n) || self.are_past(before, behind, n)
    }

    /// Whether times of `n` places lie before all clocks.
    pub(super) fn are_past(&self, before: Line, behind: Line, n: u32) -> bool {
        let last = |line: Line| line.at.max(line.get(n - 1));
        last(before) <= self.began && last(behind) <= self.began + self.cycles
    }

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

/// Where all PEs have stood in a turn.
struct Post {
    state: State,
    /// Turns of the loop before it.
    done: u32,
    /// Its place among the times in operators ([`Watch::spans`]).
    spans: usize,
    /// How often the code had done what may be something else in another turn.
    differing: u32,
}

/// Turns of loops.
#[derive(Default)]
pub(super) struct Repeats {
    /// By class and step: how many more times it is worth a look whether all PEs stand there as in the turn before.
    looks: Vec<Vec<u8>>,
    /// By class: steps that enter a loop with a place within its turns.
    enters: Vec<Vec<u32>>,
    watch: Option<Box<Watch>>,
    /// How often PEs' memory or what is known of it may have been changed.
    pub(super) written: u64,
    /// Turns that have been passed over, the last one in parts as well.
    pub(super) passed_over: u32,
}

/// Turns of a loop that are watched in vain.
const MOST_WATCHED: u8 = 6;

/// The place within a turn lies behind 1 part of so many of its operators. By then models have come to a product behind which nothing tells
/// how the turn began.
const EARLY: usize = 4;

impl Repeats {
    /// Loops around whole operators are looked at.
    pub(super) fn new(classes: &[ClassCode]) -> Self {
        let mut repeats = Self::default();
        for class in classes {
            let steps = &class.tasks[0].steps;
            let (mut looks, mut enters) = (vec![0; steps.len()], Vec::new());
            for (at, step) in steps.iter().enumerate() {
                let Step::LoopNext { body, .. } = step else { continue };
                let marks = marks_of(steps, *body as usize, at);
                if marks.is_empty() {
                    continue;
                }
                looks[at] = MOST_WATCHED;
                if let Some(&place) = marks.get(marks.len() / EARLY).filter(|_| marks.len() >= EARLY) {
                    looks[place] = MOST_WATCHED;
                    enters.push(body.saturating_sub(1));
                }
            }
            repeats.looks.push(looks);
            repeats.enters.push(enters);
        }
        repeats
    }

    /// Whether groups are to wait for each other at a step.
    pub(super) fn gathers_at(&self, class: u16, step: u32) -> bool {
        self.looks.get(usize::from(class)).and_then(|looks| looks.get(step as usize)).is_some_and(|&looks| looks > 0)
    }

    pub(super) fn is_watching(&self) -> bool {
        self.watch.is_some()
    }
}

/// The steps at which operators begin in the turns of a loop, those of loops within it left out unless there are no others.
fn marks_of(steps: &[Step], body: usize, end: usize) -> Vec<usize> {
    let marks = || (body..end).filter(|&at| matches!(steps[at], Step::Mark { .. }));
    let inner: Vec<(usize, usize)> = (body..end)
        .filter_map(|at| if let Step::LoopNext { body, .. } = steps[at] { Some((body as usize, at)) } else { None })
        .collect();
    let direct: Vec<usize> = marks().filter(|at| !inner.iter().any(|&(body, end)| (body..end).contains(at))).collect();
    if direct.is_empty() { marks().take(1).collect() } else { direct }
}

impl Groups<'_> {
    /// When a group is about to go on that is with all others at a place where turns are held against each other: passes over those that are
    /// like the one before.
    pub(super) fn end_turn(&mut self, group: &mut Group) {
        if !self.repeats.gathers_at(group.class, group.step) || !self.schedule.is_only_at(&group.place()) {
            return;
        }
        let mut others = self.schedule.take_at(&group.place());
        let mut groups: Vec<&mut Group> = others.iter_mut().chain([&mut *group]).collect();
        let members: usize = groups.iter().map(|group| group.members.count()).sum();
        if members == self.class_sizes.iter().sum() && self.is_at_rest() {
            let mut last = self.look_at_turn(&mut groups);
            if let Some(first) = last.pop() {
                (*group, others) = (first, last);
            }
        }
        self.schedule.put_back(others);
    }

    /// Whether nothing is under way between PEs.
    fn is_at_rest(&self) -> bool {
        self.queues.are_empty()
            && self.flights.are_over()
            && self.wait_for_switch.is_empty()
            && self.progress.pieces().all(|(stage, _)| *stage == Stage::Fresh)
    }

    /// Looks whether all is as it was in the turn before; gives the groups at the end of the last turn, if all stand there now instead.
    fn look_at_turn(&mut self, groups: &mut [&mut Group]) -> Vec<Group> {
        let Some(first) = groups.first() else { return Vec::new() };
        let (class, step, Some(&[enter, done, turns])) = (first.class, first.step, first.loops.last()) else {
            return Vec::new();
        };
        let is_end = matches!(self.step_at(class, step), Some(Step::LoopNext { .. }));
        if self.repeats.watch.as_ref().is_none_or(|watch| watch.enter != (class, enter)) {
            self.end_watch();
            // Within a turn it is not known what grows from turn to turn.
            if is_end {
                self.begin_watch((class, enter), groups.iter_mut().map(|group| &mut **group));
            }
        }
        let Some(watch) = &self.repeats.watch else { return Vec::new() };
        if let Some(post) = watch.posts.get(&step).filter(|post| post.done + 1 == done) {
            let (turn, left) = (self.repeated(watch, post, groups), turns - done - 1);
            let is_end_of_it = |end: &Post| {
                end.done == post.done && end.spans > post.spans && end.state.groups.iter().all(|g| self.are_alike(g))
            };
            let end = watch.posts.iter().find(|(_, end)| is_end_of_it(end));
            match (turn, end.map(|(&step, _)| step)) {
                (Some(turn), _) if is_end => {
                    if let Some(watch) = self.end_watch().filter(|_| left > 0) {
                        self.pass_over(&watch, step, turn, left, groups);
                    }
                    return Vec::new();
                }
                (Some(turn), Some(end)) => {
                    let watch = self.end_watch();
                    return watch.map_or_else(Vec::new, |watch| self.go_to_end(&watch, [step, end], turn, left));
                }
                _ => {
                    if let Some(looks) = self.repeats.looks[usize::from(class)].get_mut(step as usize) {
                        *looks = looks.saturating_sub(1);
                    }
                }
            }
        }
        if done + 1 < turns && self.repeats.gathers_at(class, step) {
            self.keep_post(step, done, groups);
        } else if is_end {
            self.end_watch();
        }
        Vec::new()
    }

    fn step_at(&self, class: u16, step: u32) -> Option<&Step> {
        self.shared.classes[usize::from(class)].tasks[0].steps.get(step as usize)
    }

    /// The turn since a post, if all that are left are like it.
    fn repeated(&self, watch: &Watch, post: &Post, groups: &[&mut Group]) -> Option<Turn> {
        let (before, members) = (&post.state, all(groups.iter().map(|group| &**group)));
        if post.differing != watch.differing || !self.are_repeated(&before.groups, groups) {
            return None;
        }
        let began = first_clock(&before.clocks, &members)?;
        let turn = Turn { cycles: first_clock(&self.clocks, &members)? - began, began };
        (turn.cycles > 0 && self.is_as_before(watch, before, turn, &members)).then_some(turn)
    }

    /// Whether groups are those of a turn before, and hold the same in what is still read but for what grows from turn to turn.
    fn are_repeated(&self, before: &[Group], groups: &[&mut Group]) -> bool {
        before.len() == groups.len() && before.iter().zip(groups).all(|(before, group)| self.is_repeated(before, group))
    }

    fn is_repeated(&self, before: &Group, group: &Group) -> bool {
        let live = self.live(group);
        let mut next = before.loops.clone();
        next.last_mut().into_iter().for_each(|[_, done, _]| *done += 1);
        let mut slots = before.slots.clone();
        let [mut drift, mut grown] = [before, group].map(|group| group.drift.clone());
        if let Some(Step::LoopNext { counter, .. }) = self.step_at(group.class, group.step) {
            // A watch that has begun there knows it only from here on.
            drift.set(*counter, 1);
        }
        drift.keep(live);
        grown.keep(live);
        drift.grow(&mut slots, 1);
        let is_other = |i: usize| live & bit(i as u32) != 0 && slots.get(i) != group.slots.get(i);
        (before.class, before.step, &before.members) == (group.class, group.step, &group.members)
            && next == group.loops
            && before.varies & live == group.varies & live
            && self.are_alike(group)
            && before.unknown & live == group.unknown & live
            && grown == drift
            && !(0..slots.len()).any(is_other)
    }

    /// Slots of a group that are still read.
    fn live(&self, group: &Group) -> u128 {
        let flow = &self.flows[usize::from(group.class)];
        flow.live.get(group.step as usize).copied().unwrap_or(0) | self.registers.params
    }

    /// Whether no register that is still read differs from member to member: parameters never change, registers may.
    fn are_alike(&self, group: &Group) -> bool {
        group.varies & self.live(group) & !self.registers.params == 0
    }
}

/// The first of the clocks of PEs.
fn first_clock(clocks: &Clocks, members: &Members) -> Option<i64> {
    members.pes().map(|pe| clocks.time(pe)).min()
}

/// The members of all groups.
fn all<'a>(groups: impl Iterator<Item = &'a Group>) -> Members {
    let mut members = Members::default();
    for group in groups {
        members.append(&group.members);
    }
    members.sort();
    members
}

#[cfg(test)]
mod tests;
