//! Structured code flattened into a list with jumps, once per class of PEs.

use waferloom_fabric::code::{Async, Control, Instruction, Operand, ScalarOp};
use waferloom_fabric::{Address, Class, Compare, Dtype, TaskKind, Value, VectorOp};

/// An instruction with resolved jumps.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Vector {
        op: VectorOp,
        dst: Operand,
        srcs: Vec<Operand>,
        run_async: Option<Async>,
    },
    Scalar {
        op: ScalarOp,
        dst: u8,
        a: Value,
        b: Value,
    },
    Load {
        dst: u8,
        dtype: Dtype,
        base: Value,
        offset: i32,
    },
    Store {
        src: Value,
        dtype: Dtype,
        base: Value,
        offset: i32,
    },
    ReadClock {
        dst: u8,
    },
    /// Takes the count; goes to `exit` when there is no turn.
    LoopEnter {
        counter: u8,
        count: Value,
        exit: u32,
    },
    /// Ends a turn; goes back to `body` when there is another.
    LoopNext {
        counter: u8,
        body: u32,
    },
    /// Goes to `otherwise` when the comparison does not hold.
    Branch {
        compare: Compare,
        a: Value,
        b: Value,
        otherwise: u32,
    },
    /// The end of a `then` body. Takes no time: the branch was paid for.
    Jump(u32),
    Activate(u8),
    Block(u8),
    Unblock(u8),
    /// Index into the controls of the run.
    SendControl {
        queue: u8,
        control: u16,
        payload: Value,
    },
    SetPosition {
        color: u8,
        position: u8,
    },
    /// Takes no time.
    Mark {
        operator: u32,
        plus: Value,
    },
    /// Takes no time: begins a claim with the addresses of its tiles.
    ClaimBegin {
        claim: u32,
        tiles: [Address; 3],
    },
    /// Takes no time.
    ClaimEnd,
    End,
}

/// A task's code.
#[derive(Clone, Debug)]
pub(crate) struct TaskCode {
    pub(crate) id: u8,
    pub(crate) name: String,
    pub(crate) kind: TaskKind,
    pub(crate) steps: Vec<Step>,
}

/// A class's code.
#[derive(Clone, Debug)]
pub(crate) struct ClassCode {
    pub(crate) tasks: Vec<TaskCode>,
    pub(crate) activated: u64,
    pub(crate) blocked: u64,
}

/// Flattens a class; control wavelets are collected in `controls`. Without `claims` there are no steps of them.
pub(crate) fn class(class: &Class, controls: &mut Vec<Control>, claims: bool) -> ClassCode {
    let mut code = ClassCode { tasks: Vec::new(), activated: 0, blocked: 0 };
    for task in &class.tasks {
        let mut steps = Vec::new();
        flatten(&task.body, &mut steps, controls, claims);
        steps.push(Step::End);
        let bit = 1u64.checked_shl(task.id.into()).unwrap_or(0);
        code.activated |= if task.activated { bit } else { 0 };
        code.blocked |= if task.blocked { bit } else { 0 };
        code.tasks.push(TaskCode { id: task.id, name: task.name.clone(), kind: task.kind, steps });
    }
    code.tasks.sort_by_key(|t| t.id);
    code
}

fn flatten(body: &[Instruction], steps: &mut Vec<Step>, controls: &mut Vec<Control>, claims: bool) {
    for instruction in body {
        match instruction {
            Instruction::Vector { op, dst, srcs, run_async } => {
                steps.push(Step::Vector { op: *op, dst: dst.clone(), srcs: srcs.clone(), run_async: *run_async });
            }
            Instruction::Scalar { op, dst, a, b } => steps.push(Step::Scalar { op: *op, dst: *dst, a: *a, b: *b }),
            Instruction::Load { dst, dtype, base, offset } => {
                steps.push(Step::Load { dst: *dst, dtype: *dtype, base: *base, offset: *offset });
            }
            Instruction::Store { src, dtype, base, offset } => {
                steps.push(Step::Store { src: *src, dtype: *dtype, base: *base, offset: *offset });
            }
            Instruction::ReadClock { dst } => steps.push(Step::ReadClock { dst: *dst }),
            Instruction::Loop { counter, count, body } => {
                let enter = steps.len();
                steps.push(Step::End);
                flatten(body, steps, controls, claims);
                steps.push(Step::LoopNext { counter: *counter, body: enter as u32 + 1 });
                steps[enter] = Step::LoopEnter { counter: *counter, count: *count, exit: steps.len() as u32 };
            }
            Instruction::If { compare, a, b, then, otherwise } => {
                let branch = steps.len();
                steps.push(Step::End);
                flatten(then, steps, controls, claims);
                let jump = steps.len();
                steps.push(Step::End);
                steps[branch] = Step::Branch { compare: *compare, a: *a, b: *b, otherwise: steps.len() as u32 };
                flatten(otherwise, steps, controls, claims);
                steps[jump] = Step::Jump(steps.len() as u32);
            }
            Instruction::Activate(id) => steps.push(Step::Activate(*id)),
            Instruction::Block(id) => steps.push(Step::Block(*id)),
            Instruction::Unblock(id) => steps.push(Step::Unblock(*id)),
            Instruction::SendControl { queue, control } => {
                let index = controls.iter().position(|c| c == control).unwrap_or_else(|| {
                    controls.push(control.clone());
                    controls.len() - 1
                });
                steps.push(Step::SendControl { queue: *queue, control: index as u16, payload: control.payload });
            }
            Instruction::SetPosition { color, position } => {
                steps.push(Step::SetPosition { color: *color, position: *position });
            }
            Instruction::Claim { body, .. } if !claims => flatten(body, steps, controls, claims),
            Instruction::Claim { claim, left, right, result, body } => {
                steps.push(Step::ClaimBegin { claim: *claim, tiles: [*left, *right, *result] });
                flatten(body, steps, controls, claims);
                steps.push(Step::ClaimEnd);
            }
            Instruction::Mark { operator, plus } => steps.push(Step::Mark { operator: *operator, plus: *plus }),
        }
    }
}
