//! What a class's code does with its queues, as far as that can be known without running it.

use crate::code::{Instruction, Operand, TaskKind, Value};
use crate::program::Class;
use std::collections::BTreeSet;

/// What stands at the start of a PE's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// It waits for so many wavelets of each of these input queues, before it has sent anything.
    Receive(Vec<u8>, Value),
    /// It sends so many wavelets into an output queue, before it has received anything.
    Send(u8, Value),
    /// Nothing runs before a wavelet arrives.
    Sleep,
    /// Something else, or it cannot be told.
    Unknown,
}

/// The traffic of a class.
#[derive(Clone, Debug)]
pub(super) struct Traffic {
    /// Output queues that some instruction sends into, as bits.
    may_send: u32,
    /// Output queues that wavelets are sure to go into, once the tasks before have ended, and how many.
    pub(super) sure_sends: BTreeSet<(u8, Value)>,
    /// What a PE does first.
    pub(super) first: First,
}

impl Traffic {
    /// Reads it off the code.
    pub(super) fn of(class: &Class) -> Self {
        let mut may_send = 0;
        let mut sure_sends = BTreeSet::new();
        let runs_at_start = |t: &&crate::Task| t.activated && !t.blocked && t.kind == TaskKind::Local;
        for task in &class.tasks {
            all(&task.body, &mut |instruction| may_send |= sent_into(instruction).map_or(0, |(queue, _)| bit(queue)));
        }
        let starters: Vec<_> = class.tasks.iter().filter(runs_at_start).collect();
        for task in &starters {
            surely(&task.body, &mut sure_sends);
        }
        let first = match starters.as_slice() {
            [] => First::Sleep,
            [only] => first(&only.body).unwrap_or(First::Unknown),
            _ => First::Unknown,
        };
        Self { may_send, sure_sends, first }
    }

    /// Whether some instruction sends into an output queue.
    pub(super) fn may_send(&self, queue: u8) -> bool {
        self.may_send & bit(queue) != 0
    }
}

/// A machine has at most 32 queues of a kind.
fn bit(queue: u8) -> u32 {
    1u32.checked_shl(queue.into()).unwrap_or(0)
}

fn all(body: &[Instruction], visit: &mut impl FnMut(&Instruction)) {
    for instruction in body {
        visit(instruction);
        match instruction {
            Instruction::Loop { body, .. } => all(body, visit),
            Instruction::If { then, otherwise, .. } => {
                all(then, visit);
                all(otherwise, visit);
            }
            _ => {}
        }
    }
}

/// The output queue that an instruction sends into, and how many wavelets.
fn sent_into(instruction: &Instruction) -> Option<(u8, Value)> {
    match instruction {
        Instruction::Vector { dst: Operand::FabOut { queue, len, .. }, .. } => Some((*queue, *len)),
        Instruction::SendControl { queue, .. } => Some((*queue, Value::Imm(1))),
        _ => None,
    }
}

/// Collects sends that no condition guards and whose number does not depend on registers.
fn surely(body: &[Instruction], sends: &mut BTreeSet<(u8, Value)>) {
    for instruction in body {
        if let Instruction::Loop { count: Value::Imm(1..), body, .. } = instruction {
            surely(body, sends);
        }
        if let Some((queue, len @ (Value::Imm(1..) | Value::Param(_)))) = sent_into(instruction) {
            sends.insert((queue, len));
        }
    }
}

/// The first thing that a body does with a queue; `None` when it does nothing with any.
fn first(body: &[Instruction]) -> Option<First> {
    body.iter().find_map(|instruction| match instruction {
        Instruction::Vector { dst, srcs, run_async, .. } => first_of_vector(dst, srcs, run_async.is_some()),
        Instruction::SendControl { .. } => Some(First::Unknown),
        Instruction::Loop { count: Value::Imm(..=0), .. } => None,
        Instruction::Loop { count: Value::Imm(_), body, .. } => first(body),
        Instruction::Loop { body, .. } => first(body).map(|_| First::Unknown),
        Instruction::If { then, otherwise, .. } => first(then).or_else(|| first(otherwise)).map(|_| First::Unknown),
        _ => None,
    })
}

fn first_of_vector(dst: &Operand, srcs: &[Operand], asynchronous: bool) -> Option<First> {
    let mut queues = Vec::new();
    let mut len = None;
    for src in srcs {
        if let Operand::FabIn { queue, len: n, .. } = src {
            queues.push(*queue);
            len = Some(*n);
        }
    }
    let fifo = srcs.iter().chain([dst]).any(|o| matches!(o, Operand::Fifo { .. }));
    let (len, what) = match (len, dst) {
        _ if fifo || asynchronous => return Some(First::Unknown),
        (Some(len), _) => (len, First::Receive(queues, len)),
        (None, Operand::FabOut { queue, len, .. }) => (*len, First::Send(*queue, *len)),
        (None, _) => return None,
    };
    match len {
        Value::Imm(..=0) => None,
        Value::Imm(_) | Value::Param(_) => Some(what),
        Value::Reg(_) => Some(First::Unknown),
    }
}
