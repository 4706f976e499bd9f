//! What the code does in a turn that is watched, and what of it may be something else in another one.

use super::super::Groups;
use super::super::code::same;
use super::super::drift::{self, Drift};
use super::super::group::Group;
use super::super::liveness::{accessed, bit};
use super::super::vector::Silence;
use super::Post;
use crate::machine::band::Span;
use crate::machine::decode::{Step, Vector};
use crate::machine::operand::{Access, Number};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// A loop whose turns are watched.
pub(in super::super) struct Watch {
    /// The class, and the step that enters the loop.
    pub(super) enter: (u16, u32),
    /// By step: where all PEs have stood last.
    pub(super) posts: BTreeMap<u32, Post>,
    /// Times in operators: before the first post, then behind each one, in the order in which they came.
    pub(super) spans: Vec<Vec<Span>>,
    /// How much further operators are in the next turn, once one has been met.
    pub(super) operators: Option<i32>,
    /// How often the code did what may be something else in another turn.
    pub(super) differing: u32,
    /// By class, address and number of bytes of what was loaded: whether nobody had written there what is not known, when it was loaded last.
    pub(super) loads: BTreeMap<(u16, usize, usize), bool>,
}

impl Watch {
    /// Turns of the loop behind the one that a group is in, if it is in one.
    fn turns_left(&self, group: &Group) -> Option<u32> {
        let loops = group.loops.iter().filter(|_| group.class == self.enter.0);
        loops.rev().find(|[enter, ..]| *enter == self.enter.1).map(|[_, done, turns]| turns - 1 - done)
    }
}

/// Adds times in operators in each of some turns later, from one of which to the next operators are so much further.
pub(super) fn join_later(
    all: &mut [Span],
    spans: &[Vec<Span>],
    (operators, cycles): (i32, i64),
    turns: RangeInclusive<u32>,
) {
    for turns in turns {
        let (by, further) = (cycles as u64 * u64::from(turns), i64::from(operators) * i64::from(turns));
        let met = spans.iter().flat_map(|spans| (0i64..).zip(spans)).filter(|(_, span)| span.start != u64::MAX);
        for (index, span) in met {
            let span = Span { start: span.start + by, end: span.end + by, ..*span };
            let operator = usize::try_from(index + further).ok();
            operator.and_then(|operator| all.get_mut(operator)).into_iter().for_each(|all| all.join(&span));
        }
    }
}

impl Groups<'_> {
    /// A group is about to enter a loop: if there is a place within its turns, they are watched from there on.
    pub(in super::super) fn enter_watch(&mut self, group: &mut Group) {
        let enter = (group.class, group.step);
        if !self.repeats.enters.get(usize::from(enter.0)).is_some_and(|enters| enters.contains(&enter.1)) {
            return;
        }
        // All have entered it before they stand somewhere in it: who comes later enters it once more.
        let is_known = |watch: &Watch| watch.enter == enter && watch.posts.is_empty();
        if self.repeats.watch.as_deref().is_some_and(is_known) {
            group.drift = Drift::default();
        } else {
            self.end_watch();
            self.begin_watch(enter, [group].into_iter());
        }
    }

    pub(super) fn begin_watch<'g>(&mut self, enter: (u16, u32), groups: impl Iterator<Item = &'g mut Group>) {
        groups.for_each(|group| group.drift = Drift::default());
        let (spans, posts, loads) = (vec![self.take_spans()], BTreeMap::new(), BTreeMap::new());
        let watch = Watch { enter, posts, spans, operators: None, differing: 0, loads };
        self.repeats.watch = Some(Box::new(watch));
    }

    /// PEs of a class load something.
    pub(in super::super) fn watch_load(&mut self, class: u16, address: i64, bytes: u32) {
        if let Some(watch) = &mut self.repeats.watch
            && let (Ok(start), bytes) = (usize::try_from(address), bytes as usize)
        {
            let untouched = self.marks.get(usize::from(class)).is_some_and(|marks| marks.is_untouched(start, bytes));
            watch.loads.insert((class, start, bytes), untouched);
        }
    }

    /// Times in operators since they were taken last.
    fn take_spans(&mut self) -> Vec<Span> {
        let none = vec![Span::default(); self.band.spans.len()];
        std::mem::replace(&mut self.band.spans, none)
    }

    /// All PEs stand at a step, in a turn behind so many.
    pub(super) fn keep_post(&mut self, step: u32, done: u32, groups: &[&mut Group]) {
        let (spans, state) = (self.take_spans(), self.state(groups));
        if let Some(watch) = &mut self.repeats.watch {
            watch.spans.push(spans);
            let post = Post { state, done, spans: watch.spans.len(), differing: watch.differing };
            watch.posts.insert(step, post);
        }
    }

    /// Ends a watch: times in operators are what they are in all.
    pub(in super::super) fn end_watch(&mut self) -> Option<Box<Watch>> {
        let mut watch = self.repeats.watch.take()?;
        let last = self.take_spans();
        watch.spans.push(last);
        for spans in &watch.spans {
            self.band.spans.iter_mut().zip(spans).for_each(|(all, span)| all.join(span));
        }
        Some(watch)
    }

    /// Before a step of a turn that is watched: what it makes of registers that hold other numbers from turn to turn.
    pub(in super::super) fn watch_step(&mut self, group: &mut Group, step: &Step) {
        let Some(watch) = &mut self.repeats.watch else { return };
        let enters = watch.enter == (group.class, group.step);
        let Some(left) = watch.turns_left(group).or(enters.then_some(0)) else { return };
        let grows = |number: &Number| group.drift.of(number.slot);
        let (mut differs, mut result) = (false, None);
        match step {
            Step::LoopNext { counter, body } => {
                result = Some((*counter, i32::from(watch.enter == (group.class, body.wrapping_sub(1)))));
            }
            Step::LoopEnter { counter, .. } if enters => result = Some((*counter, 1)),
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
                    + i64::from(further) * i64::from(left);
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
            watch.differing += u32::from(differs);
        }
    }

    /// Whether a vector instruction takes as long, and leaves as little, in all turns that are left.
    fn is_alike_in_later_turns(&mut self, group: &Group, vector: &Vector) -> bool {
        let grows = group.drift.slots();
        let used = vector.srcs.iter().chain([&vector.dst]).fold(0, |set, access| set | accessed(access));
        let left = self.repeats.watch.as_ref().and_then(|watch| watch.turns_left(group));
        let (Some(left), Some(pe), true) = (left, group.members.first(), used & grows != 0) else {
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
