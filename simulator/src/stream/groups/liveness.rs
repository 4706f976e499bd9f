//! Which registers (slots of a PE) are still read behind each step of a task, and at which steps ways through the code meet.

use super::blocks;
use crate::machine::decode::Step;
use crate::machine::operand::{Access, Number};
use std::collections::BTreeMap;

/// What is known about a task's steps.
#[derive(Debug)]
pub(super) struct Flow {
    /// By step: a bit for each slot that is read before it is written again.
    pub(super) live: Vec<u128>,
    /// By step: a bit for each slot that it reads.
    pub(super) reads: Vec<u128>,
    /// By step: whether a jump leads there.
    pub(super) joins: Vec<bool>,
    /// By step at which a claim begins: the one at which it ends, if its code may be passed over.
    pub(super) passes: BTreeMap<u32, u32>,
    /// By step: whether some PEs at a time should go on from there, see [`blocks`].
    pub(super) worth: Vec<bool>,
}

impl Flow {
    pub(super) fn new(steps: &[Step]) -> Self {
        let mut joins = vec![false; steps.len()];
        for (at, step) in steps.iter().enumerate() {
            if !matches!(step, Step::Jump(_)) {
                continue;
            }
            // What stands behind a jump is the other arm of a branch.
            joins.iter_mut().skip(at + 1).take(1).for_each(|join| *join = true);
        }
        for step in steps {
            for target in jumps(step) {
                joins.iter_mut().skip(target as usize).take(1).for_each(|join| *join = true);
            }
        }
        let mut live = vec![0u128; steps.len()];
        let mut changed = true;
        while changed {
            changed = false;
            for at in (0..steps.len()).rev() {
                let behind = |next: u32| live.get(next as usize).copied().unwrap_or(0);
                let next = at as u32 + 1;
                let after = match steps[at] {
                    // Whoever goes into a turn has the counter set.
                    Step::LoopEnter { counter, exit, .. } => behind(next) & !bit(counter) | behind(exit),
                    Step::LoopNext { counter, body } => behind(body) & !bit(counter) | behind(next),
                    ref step => {
                        let follows = falls_through(step).then_some(next);
                        jumps(step).into_iter().chain(follows).fold(0, |set, next| set | behind(next))
                    }
                };
                let (reads, writes) = slots(&steps[at]);
                let set = after & !writes | reads;
                changed |= set != live[at];
                live[at] = set;
            }
        }
        let passes = passes(steps, &live);
        for &end in passes.values() {
            joins[end as usize] = true;
        }
        Self {
            passes,
            live,
            reads: steps.iter().map(|step| slots(step).0).collect(),
            joins,
            worth: blocks::worth(steps),
        }
    }
}

/// Where a step may lead to but the next one.
pub(super) fn jumps(step: &Step) -> Vec<u32> {
    match step {
        Step::Jump(to) => vec![*to],
        Step::Branch { otherwise, .. } => vec![*otherwise],
        Step::LoopEnter { exit, .. } => vec![*exit],
        Step::LoopNext { body, .. } => vec![*body],
        _ => Vec::new(),
    }
}

fn falls_through(step: &Step) -> bool {
    !matches!(step, Step::Jump(_) | Step::End)
}

/// Slots that a step reads, and one that it writes in any case, as bits.
fn slots(step: &Step) -> (u128, u128) {
    let number = |number: &Number| bit(number.slot);
    match step {
        Step::Vector(vector) => (vector.srcs.iter().chain([&vector.dst]).fold(0, |set, a| set | accessed(a)), 0),
        Step::Scalar { dst, a, b, .. } => (number(a) | number(b), bit(*dst)),
        Step::Load { dst, base, .. } => (number(base), bit(*dst)),
        Step::Store { src, base, .. } => (number(src) | number(base), 0),
        Step::ReadClock { dst } => (0, bit(*dst)),
        // A loop without turns leaves its counter as it was.
        Step::LoopEnter { count, .. } => (number(count), 0),
        Step::Branch { a, b, .. } => (number(a) | number(b), 0),
        Step::SendControl { payload, .. } => (number(payload), 0),
        Step::Mark { plus, .. } => (number(plus), 0),
        Step::ClaimBegin { tiles, .. } => (tiles.iter().fold(0, |set, (base, _)| set | number(base)), 0),
        Step::LoopNext { .. }
        | Step::ClaimEnd
        | Step::Jump(_)
        | Step::Activate(_)
        | Step::Block(_)
        | Step::Unblock(_)
        | Step::SetPosition { .. }
        | Step::End => (0, 0),
    }
}

/// By step at which a claim begins, the one at which it ends: if no operator is named between them, and no slot set that is read behind it.
fn passes(steps: &[Step], live: &[u128]) -> BTreeMap<u32, u32> {
    let begins = steps.iter().enumerate().filter(|(_, step)| matches!(step, Step::ClaimBegin { .. }));
    let end = |begin: usize| {
        let body = steps.get(begin + 1..)?;
        let body = &body[..body.iter().position(|step| matches!(step, Step::ClaimEnd))?];
        let end = begin + 1 + body.len();
        let sets = body.iter().fold(0, |set, step| set | written(step));
        let may = sets & live[end] == 0 && !body.iter().any(|step| matches!(step, Step::Mark { .. }));
        may.then_some((begin as u32, end as u32))
    };
    begins.filter_map(|(begin, _)| end(begin)).collect()
}

/// Slots that a step reads or may write, as bits.
pub(super) fn touched(step: &Step) -> u128 {
    slots(step).0 | written(step)
}

/// Slots that a step may write, as bits.
fn written(step: &Step) -> u128 {
    match step {
        Step::Scalar { dst, .. } | Step::Load { dst, .. } | Step::ReadClock { dst } => bit(*dst),
        Step::LoopEnter { counter, .. } | Step::LoopNext { counter, .. } => bit(*counter),
        _ => 0,
    }
}

/// The bit of a slot.
pub(super) fn bit(slot: u32) -> u128 {
    1u128.checked_shl(slot).unwrap_or(0)
}

/// Slots that an operand reads, as bits.
pub(super) fn accessed(access: &Access) -> u128 {
    match access {
        Access::Memory(vector) => {
            vector.dims.iter().fold(bit(vector.base.slot), |set, (len, stride)| set | bit(len.slot) | bit(stride.slot))
        }
        Access::FabIn { len, .. } | Access::FabOut { len, .. } | Access::Fifo { len, .. } => bit(len.slot),
        Access::Scalar { value, .. } => bit(value.slot),
        Access::Null => 0,
    }
}
