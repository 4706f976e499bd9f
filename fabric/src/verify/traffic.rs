//! What a class's code does with its queues, as far as that can be known without running it.

use super::map::value_at;
use crate::code::{Compare, Instruction, Operand, TaskKind, Value};
use crate::geometry::Coord;
use crate::program::{Class, Program};
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

/// A comparison that must have held where an instruction runs, of values that do not depend on what the code does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Guard {
    compare: Compare,
    a: Value,
    b: Value,
    holds: bool,
}

/// Instructions that send into an output queue, as one for all that are alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Send {
    queue: u8,
    /// Wavelets; a register's contents are not known.
    len: Value,
    guards: Vec<Guard>,
    /// Whether it runs as soon as the tasks before have ended, provided that the guards hold.
    certain: bool,
}

/// The traffic of a class.
#[derive(Clone, Debug)]
pub(super) struct Traffic {
    sends: Vec<Send>,
    /// What a PE does first.
    pub(super) first: First,
}

impl Traffic {
    /// Reads it off the code.
    pub(super) fn of(class: &Class) -> Self {
        let mut sends = BTreeSet::new();
        let runs_at_start = |t: &&crate::Task| t.activated && !t.blocked && t.kind == TaskKind::Local;
        for task in &class.tasks {
            collect(&task.body, &mut Vec::new(), runs_at_start(&task), &mut sends);
        }
        let starters: Vec<_> = class.tasks.iter().filter(runs_at_start).collect();
        // A teardown on its way to somebody else starts a task too.
        let torn = class.tasks.iter().any(|t| matches!(t.kind, TaskKind::Teardown { .. }));
        let first = match starters.as_slice() {
            [] if !torn => First::Sleep,
            [only] => first(&only.body).unwrap_or(First::Unknown),
            _ => First::Unknown,
        };
        Self { sends: sends.into_iter().collect(), first }
    }

    /// Output queues that a PE may send into.
    pub(super) fn possible(&self, program: &Program, at: Coord) -> impl Iterator<Item = u8> {
        let able = move |send: &&Send| send.is_possible(program, at);
        self.sends.iter().filter(able).map(|send| send.queue)
    }

    /// Output queues that a PE is sure to send into.
    pub(super) fn certain(&self, program: &Program, at: Coord) -> impl Iterator<Item = u8> {
        let sure =
            move |send: &&Send| send.certain && !matches!(send.len, Value::Reg(_)) && send.is_possible(program, at);
        self.sends.iter().filter(sure).map(|send| send.queue)
    }
}

impl Send {
    fn is_possible(&self, program: &Program, at: Coord) -> bool {
        value_at(program, self.len, at).is_none_or(|n| n > 0)
            && self.guards.iter().all(|guard| {
                let (a, b) = (value_at(program, guard.a, at), value_at(program, guard.b, at));
                let result = a.zip(b).map(|(a, b)| guard.compare.holds(a, b));
                result.is_none_or(|result| result == guard.holds)
            })
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

/// Collects the sends of a body that runs under `guards`.
fn collect(body: &[Instruction], guards: &mut Vec<Guard>, certain: bool, sends: &mut BTreeSet<Send>) {
    for instruction in body {
        match instruction {
            Instruction::Loop { count, body, .. } => {
                guarded(
                    Guard { compare: Compare::Lt, a: Value::Imm(0), b: *count, holds: true },
                    body,
                    guards,
                    certain,
                    sends,
                );
            }
            Instruction::Claim { body, .. } => collect(body, guards, certain, sends),
            Instruction::If { compare, a, b, then, otherwise } => {
                for (holds, body) in [(true, then), (false, otherwise)] {
                    guarded(Guard { compare: *compare, a: *a, b: *b, holds }, body, guards, certain, sends);
                }
            }
            _ => {
                if let Some((queue, len)) = sent_into(instruction) {
                    let mut guards = guards.clone();
                    guards.sort_unstable();
                    guards.dedup();
                    sends.insert(Send { queue, len, guards, certain });
                }
            }
        }
    }
}

/// The same under one more guard. One that depends on registers says nothing, but takes the certainty away.
fn guarded(guard: Guard, body: &[Instruction], guards: &mut Vec<Guard>, certain: bool, sends: &mut BTreeSet<Send>) {
    let unknown = matches!(guard.a, Value::Reg(_)) || matches!(guard.b, Value::Reg(_));
    if unknown {
        return collect(body, guards, false, sends);
    }
    guards.push(guard);
    collect(body, guards, certain, sends);
    guards.pop();
}

/// The first thing that a body does with a queue; `None` when it does nothing with any.
fn first(body: &[Instruction]) -> Option<First> {
    body.iter().find_map(|instruction| match instruction {
        Instruction::Vector { dst, srcs, run_async, .. } => first_of_vector(dst, srcs, run_async.is_some()),
        Instruction::SendControl { .. } => Some(First::Unknown),
        Instruction::Loop { count: Value::Imm(..=0), .. } => None,
        Instruction::Loop { count: Value::Imm(_), body, .. } | Instruction::Claim { body, .. } => first(body),
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
