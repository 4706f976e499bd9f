//! Structured code flattened into a list with jumps, once per class of PEs.

use super::nest::Nest;
use super::operand::{Access, Number, Slots};
use waferloom_fabric::code::{Async, Control, Instruction, Operand, ScalarOp};
use waferloom_fabric::{Address, Class, Compare, Dtype, Machine, Program, TaskKind, VectorOp};

/// A vector instruction.
#[derive(Clone, Debug)]
pub(crate) struct Vector {
    pub(crate) op: VectorOp,
    pub(crate) dst: Access,
    pub(crate) srcs: [Access; 3],
    /// How many sources it has been given.
    pub(crate) given: usize,
    /// Elements that may run in one cycle.
    pub(crate) lanes: u32,
    pub(crate) run_async: Option<Async>,
    /// The same as a nest of loops over memory, if it is one.
    pub(crate) nest: Option<Nest>,
}

impl Vector {
    /// Whether it sends or receives.
    pub(crate) fn uses_fabric(&self) -> bool {
        let is_fabric = |access: &Access| matches!(access, Access::FabIn { .. } | Access::FabOut { .. });
        self.srcs.iter().chain([&self.dst]).any(is_fabric)
    }
}

/// An instruction with resolved jumps. Where a result or a counter goes is a slot of the PE.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Vector(Box<Vector>),
    Scalar {
        op: ScalarOp,
        dst: u32,
        a: Number,
        b: Number,
    },
    Load {
        dst: u32,
        dtype: Dtype,
        base: Number,
        offset: i32,
    },
    Store {
        src: Number,
        dtype: Dtype,
        base: Number,
        offset: i32,
    },
    ReadClock {
        dst: u32,
    },
    /// Takes the count; goes to `exit` when there is no turn.
    LoopEnter {
        counter: u32,
        count: Number,
        exit: u32,
    },
    /// Ends a turn; goes back to `body` when there is another.
    LoopNext {
        counter: u32,
        body: u32,
    },
    /// Goes to `otherwise` when the comparison does not hold.
    Branch {
        compare: Compare,
        a: Number,
        b: Number,
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
        payload: Number,
    },
    SetPosition {
        color: u8,
        position: u8,
    },
    /// Takes no time.
    Mark {
        operator: u32,
        plus: Number,
    },
    /// Takes no time: begins a claim with the addresses of its tiles, each the sum of both numbers.
    ClaimBegin {
        claim: u32,
        tiles: [(Number, i32); 3],
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

/// Decodes the classes of a program.
pub(crate) struct Decoder<'a> {
    machine: &'a Machine,
    slots: Slots,
    /// Whether there are steps of claims.
    claims: bool,
    /// Nests so far.
    nests: u32,
    /// The control wavelets that the code sends.
    pub(crate) controls: Vec<Control>,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(program: &'a Program, claims: bool) -> Self {
        Self { machine: &program.machine, slots: Slots::of(program), claims, nests: 0, controls: Vec::new() }
    }

    /// Flattens a class.
    pub(crate) fn class(&mut self, class: &Class) -> ClassCode {
        let mut code = ClassCode { tasks: Vec::new(), activated: 0, blocked: 0 };
        for task in &class.tasks {
            let mut steps = Vec::new();
            self.flatten(&task.body, &mut steps);
            steps.push(Step::End);
            let bit = 1u64.checked_shl(task.id.into()).unwrap_or(0);
            code.activated |= if task.activated { bit } else { 0 };
            code.blocked |= if task.blocked { bit } else { 0 };
            code.tasks.push(TaskCode { id: task.id, name: task.name.clone(), kind: task.kind, steps });
        }
        code.tasks.sort_by_key(|t| t.id);
        code
    }

    fn flatten(&mut self, body: &[Instruction], steps: &mut Vec<Step>) {
        for instruction in body {
            match instruction {
                Instruction::Loop { counter, count, body } => {
                    let (counter, count) = (self.slots.register(*counter), self.slots.number(*count));
                    let enter = steps.len();
                    steps.push(Step::End);
                    self.flatten(body, steps);
                    steps.push(Step::LoopNext { counter, body: enter as u32 + 1 });
                    steps[enter] = Step::LoopEnter { counter, count, exit: steps.len() as u32 };
                }
                Instruction::If { compare, a, b, then, otherwise } => {
                    let (a, b) = (self.slots.number(*a), self.slots.number(*b));
                    let branch = steps.len();
                    steps.push(Step::End);
                    self.flatten(then, steps);
                    let jump = steps.len();
                    steps.push(Step::End);
                    steps[branch] = Step::Branch { compare: *compare, a, b, otherwise: steps.len() as u32 };
                    self.flatten(otherwise, steps);
                    steps[jump] = Step::Jump(steps.len() as u32);
                }
                Instruction::Claim { body, .. } if !self.claims => self.flatten(body, steps),
                Instruction::Claim { claim, left, right, result, body } => {
                    let address = |at: &Address| (self.slots.number(at.base), at.offset);
                    steps.push(Step::ClaimBegin { claim: *claim, tiles: [left, right, result].map(address) });
                    self.flatten(body, steps);
                    steps.push(Step::ClaimEnd);
                }
                simple => {
                    let step = self.simple(simple);
                    steps.push(step);
                }
            }
        }
    }

    /// An instruction that holds no others.
    fn simple(&mut self, instruction: &Instruction) -> Step {
        let slots = self.slots;
        match instruction {
            Instruction::Vector { op, dst, srcs, run_async } => self.vector(*op, dst, srcs, *run_async),
            Instruction::Scalar { op, dst, a, b } => {
                Step::Scalar { op: *op, dst: slots.register(*dst), a: slots.number(*a), b: slots.number(*b) }
            }
            Instruction::Load { dst, dtype, base, offset } => {
                Step::Load { dst: slots.register(*dst), dtype: *dtype, base: slots.number(*base), offset: *offset }
            }
            Instruction::Store { src, dtype, base, offset } => {
                Step::Store { src: slots.number(*src), dtype: *dtype, base: slots.number(*base), offset: *offset }
            }
            Instruction::ReadClock { dst } => Step::ReadClock { dst: slots.register(*dst) },
            Instruction::Activate(id) => Step::Activate(*id),
            Instruction::Block(id) => Step::Block(*id),
            Instruction::Unblock(id) => Step::Unblock(*id),
            Instruction::SendControl { queue, control } => {
                let known = self.controls.iter().position(|c| c == control);
                let index = known.unwrap_or_else(|| {
                    self.controls.push(control.clone());
                    self.controls.len() - 1
                });
                let payload = slots.number(control.payload);
                Step::SendControl { queue: *queue, control: index as u16, payload }
            }
            Instruction::SetPosition { color, position } => Step::SetPosition { color: *color, position: *position },
            Instruction::Mark { operator, plus } => Step::Mark { operator: *operator, plus: slots.number(*plus) },
            // Those that hold others, which `flatten` takes apart.
            Instruction::Loop { .. } | Instruction::If { .. } | Instruction::Claim { .. } => Step::End,
        }
    }

    fn vector(&mut self, op: VectorOp, dst: &Operand, srcs: &[Operand], run_async: Option<Async>) -> Step {
        let dst = self.slots.access(dst);
        let mut sources = [Access::Null; 3];
        for (slot, operand) in sources.iter_mut().zip(srcs) {
            *slot = self.slots.access(operand);
        }
        let has = |bytes: u32| sources.iter().chain([&dst]).any(|access| access.bytes() == Some(bytes));
        let lanes = match (has(2), has(4)) {
            (true, false) => self.machine.lanes_16,
            (true, true) => self.machine.lanes_mixed,
            _ => self.machine.lanes_32,
        };
        let complete = srcs.len() == op.arity() && run_async.is_none();
        let nest = complete.then(|| Nest::new(op, &dst, &sources[..op.arity()], lanes, self.nests + 1)).flatten();
        self.nests += u32::from(nest.is_some());
        Step::Vector(Box::new(Vector { op, dst, srcs: sources, given: srcs.len(), lanes, run_async, nest }))
    }
}
