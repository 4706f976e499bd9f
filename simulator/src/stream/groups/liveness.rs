//! Which registers are still read behind each step of a task, and at which steps ways through the code meet.

use crate::machine::decode::Step;
use waferloom_fabric::{Operand, Value};

/// What is known about a task's steps.
#[derive(Debug)]
pub(super) struct Flow {
    /// By step: a bit for each register that is read before it is written again.
    pub(super) live: Vec<u64>,
    /// By step: whether a jump leads there.
    pub(super) joins: Vec<bool>,
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
        let mut live = vec![0u64; steps.len()];
        let mut changed = true;
        while changed {
            changed = false;
            for at in (0..steps.len()).rev() {
                let follows = falls_through(&steps[at]).then_some(at as u32 + 1);
                let behind = jumps(&steps[at]).into_iter().chain(follows);
                let after = behind.fold(0, |set, next| set | live.get(next as usize).copied().unwrap_or(0));
                let (reads, writes) = registers(&steps[at]);
                let set = after & !writes | reads;
                changed |= set != live[at];
                live[at] = set;
            }
        }
        Self { live, joins }
    }
}

fn jumps(step: &Step) -> Vec<u32> {
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

/// Registers that a step reads, and one that it writes in any case, as bits.
fn registers(step: &Step) -> (u64, u64) {
    let bit = |register: u8| 1u64.checked_shl(register.into()).unwrap_or(0);
    let value = |value: Value| if let Value::Reg(register) = value { bit(register) } else { 0 };
    match step {
        Step::Vector { dst, srcs, .. } => (srcs.iter().chain([dst]).fold(0, |set, o| set | operand(o, &value)), 0),
        Step::Scalar { dst, a, b, .. } => (value(*a) | value(*b), bit(*dst)),
        Step::Load { dst, base, .. } => (value(*base), bit(*dst)),
        Step::Store { src, base, .. } => (value(*src) | value(*base), 0),
        Step::ReadClock { dst } => (0, bit(*dst)),
        // A loop without turns leaves its counter as it was.
        Step::LoopEnter { count, .. } => (value(*count), 0),
        Step::Branch { a, b, .. } => (value(*a) | value(*b), 0),
        Step::SendControl { payload, .. } => (value(*payload), 0),
        Step::Mark { plus, .. } => (value(*plus), 0),
        Step::LoopNext { .. }
        | Step::Jump(_)
        | Step::Activate(_)
        | Step::Block(_)
        | Step::Unblock(_)
        | Step::SetPosition { .. }
        | Step::End => (0, 0),
    }
}

fn operand(operand: &Operand, value: &impl Fn(Value) -> u64) -> u64 {
    match operand {
        Operand::Mem(dsd) => dsd.dims.iter().fold(value(dsd.base), |set, dim| set | value(dim.len) | value(dim.stride)),
        Operand::FabIn { len, .. } | Operand::FabOut { len, .. } | Operand::Fifo { len, .. } => value(*len),
        Operand::Scalar { value: number, .. } => value(*number),
        Operand::Null => 0,
    }
}
