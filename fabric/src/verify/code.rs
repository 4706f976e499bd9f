//! The instructions of a class: ids, operands, lengths and addresses that can be known.

use super::claims;
use super::registers::Registers;
use super::{Findings, Place};
use crate::claim::Address;
use crate::code::{
    Async, Control, Instruction, MAX_NESTING, MemDsd, Operand, SwitchCommand, TaskKind, Value, VectorOp,
};
use crate::program::{Class, Program};
use crate::tensor::Dtype;

/// Commands of a control wavelet.
const MOST_COMMANDS: usize = 8;
/// Refuses code that lies too deep for others to walk over; nothing else may look at it then.
pub(super) fn too_deep(class: &Class, found: &mut Findings) -> bool {
    for task in &class.tasks {
        if deeper_than(&task.body, MAX_NESTING) {
            let message = format!("more than {MAX_NESTING} loops and conditions inside each other");
            found.error(Place::class(&class.name).task(&task.name), message, "put inner ones into tasks of their own");
            return true;
        }
    }
    false
}

fn deeper_than(body: &[Instruction], levels: usize) -> bool {
    body.iter().any(|instruction| match instruction {
        Instruction::Loop { body, .. } | Instruction::Claim { body, .. } => {
            levels == 0 || deeper_than(body, levels - 1)
        }
        Instruction::If { then, otherwise, .. } => {
            levels == 0 || deeper_than(then, levels - 1) || deeper_than(otherwise, levels - 1)
        }
        _ => false,
    })
}

pub(super) fn check(program: &Program, class: &Class, found: &mut Findings) {
    let fifo_end = class.fifos.iter().map(|f| u64::from(f.address) + u64::from(f.words) * 4).max();
    let data = u64::from(class.data_bytes()).max(fifo_end.unwrap_or(0));
    for task in &class.tasks {
        let place = Place::class(&class.name).task(&task.name);
        let mut walk = Walk { program, class, data, place, number: 0, registers: Registers::default(), found };
        walk.start(task.kind);
        walk.body(&task.body);
    }
}

struct Walk<'a> {
    program: &'a Program,
    class: &'a Class,
    /// Bytes of data, buffers and FIFOs.
    data: u64,
    place: Place,
    /// The current instruction, counted from 1.
    number: usize,
    registers: Registers,
    found: &'a mut Findings,
}

impl Walk<'_> {
    fn error(&mut self, message: impl Into<String>, remedy: impl Into<String>) {
        let instruction = (self.number > 0).then_some(self.number);
        self.found.error(Place { instruction, ..self.place.clone() }, message, remedy);
    }

    fn start(&mut self, kind: TaskKind) {
        match kind {
            TaskKind::Data { queue } => self.input_queue(queue),
            TaskKind::Teardown { color } if color >= self.program.machine.colors => {
                self.error(format!("the machine has no colour c{color}"), "use one that has a route here");
            }
            _ => {}
        }
    }

    fn body(&mut self, body: &[Instruction]) {
        for instruction in body {
            self.number += 1;
            self.instruction(instruction);
            self.registers.run(instruction);
        }
    }

    fn instruction(&mut self, instruction: &Instruction) {
        match instruction {
            Instruction::Vector { op, dst, srcs, run_async } => self.vector(*op, dst, srcs, *run_async),
            Instruction::Scalar { dst, a, b, .. } => {
                self.register(*dst);
                self.values(&[*a, *b]);
            }
            Instruction::Load { dst, dtype, base, offset } => {
                self.register(*dst);
                self.values(&[*base]);
                self.access(*dtype, *base, *offset);
            }
            Instruction::Store { src, dtype, base, offset } => {
                self.values(&[*src, *base]);
                self.access(*dtype, *base, *offset);
            }
            Instruction::ReadClock { dst } => self.register(*dst),
            Instruction::Loop { counter, count, body } => {
                self.register(*counter);
                self.values(&[*count]);
                self.registers.enter(*counter, *count, body);
                self.body(body);
                self.registers.leave(*counter, body);
            }
            Instruction::If { a, b, then, otherwise, .. } => {
                self.values(&[*a, *b]);
                for body in [then, otherwise] {
                    let inside = self.registers.branch(*a, *b);
                    let outside = std::mem::replace(&mut self.registers, inside);
                    self.body(body);
                    self.registers = outside;
                }
                self.registers.join([then, otherwise]);
            }
            Instruction::Activate(id) => self.activate(*id),
            Instruction::Block(id) | Instruction::Unblock(id) => {
                self.task(*id);
            }
            Instruction::SendControl { queue, control } => {
                self.output_queue(*queue);
                self.control(control);
            }
            Instruction::SetPosition { color, .. } => {
                if *color >= self.program.machine.colors {
                    self.error(format!("the machine has no colour c{color}"), "use one that has a route here");
                }
            }
            Instruction::Claim { claim, left, right, result, body } => {
                self.claim(*claim, [left, right, result]);
                if let Some(what) = claims::foreign(body, self.program.claims.get(*claim as usize)) {
                    self.error(
                        format!("{what} in the body of a claim"),
                        "move it out of the claim, or remove the claim",
                    );
                }
                self.body(body);
            }
            Instruction::Mark { operator, plus } => {
                self.values(&[*plus]);
                let operators = self.program.operators.len() as i64;
                let marked = self.registers.ends(*plus).unwrap_or([0; 2]).map(|plus| i64::from(*operator) + plus);
                if let Some(wrong) = marked.into_iter().find(|marked| !(0..operators).contains(marked)) {
                    self.error(format!("it marks operator #{wrong} of {operators}"), "list the operator");
                }
            }
        }
    }

    fn claim(&mut self, index: u32, tiles: [&Address; 3]) {
        let Some(claim) = self.program.claims.get(index as usize) else {
            let claims = self.program.claims.len();
            return self.error(format!("there is no claim #{index}, there are {claims}"), "list the claim");
        };
        for (tile, (bytes, align)) in tiles.into_iter().zip(claim.tiles()) {
            self.values(&[tile.base]);
            if let Some(bases) = self.registers.ends(tile.base) {
                let starts = bases.map(|base| base + i64::from(tile.offset));
                self.range(starts, 0, i64::try_from(bytes).unwrap_or(i64::MAX), align.into());
            }
        }
    }

    fn register(&mut self, register: u8) {
        let registers = self.program.machine.registers;
        if register >= registers {
            self.error(format!("a PE has no register r{register}"), format!("use fewer than {registers} registers"));
        }
    }

    fn values(&mut self, values: &[Value]) {
        for value in values {
            match *value {
                Value::Imm(_) => {}
                Value::Reg(register) => self.register(register),
                Value::Param(param) => {
                    let params = self.program.params.len();
                    if param as usize >= params {
                        self.error(format!("there is no parameter #{param}, there are {params}"), "list the parameter");
                    }
                }
            }
        }
    }

    fn task(&mut self, id: u8) -> Option<TaskKind> {
        let kind = self.class.tasks.iter().find(|t| t.id == id).map(|t| t.kind);
        if kind.is_none() {
            self.error(format!("the class has no task {id}"), "name one of its tasks by its id");
        }
        kind
    }

    fn activate(&mut self, id: u8) {
        if self.task(id).is_some_and(|kind| kind != TaskKind::Local) {
            self.error(format!("task {id} is activated, but it is no local task"), "only local tasks can be activated");
        }
    }

    fn control(&mut self, control: &Control) {
        let count = control.commands.len();
        if !(1..=MOST_COMMANDS).contains(&count) {
            self.error(format!("a control wavelet with {count} commands"), "give it 1 to 8");
        }
        self.values(&[control.payload]);
        if let Some(id) = control.task {
            let mut tasks = self.program.classes.iter().flat_map(|c| &c.tasks);
            if !tasks.any(|t| t.id == id && t.kind == TaskKind::Control) {
                self.error(format!("no class has a control task {id}"), "give the receiver's class one");
            }
        }
    }

    fn input_queue(&mut self, queue: u8) {
        if !self.class.input_queues.iter().any(|b| b.queue == queue) {
            self.error(format!("input queue q{queue} has no colour"), format!("bind it: `in q{queue} = c0`"));
        }
    }

    fn output_queue(&mut self, queue: u8) {
        if !self.class.output_queues.iter().any(|b| b.queue == queue) {
            self.error(format!("output queue q{queue} has no colour"), format!("bind it: `out q{queue} = c0`"));
        }
    }

    fn vector(&mut self, op: VectorOp, dst: &Operand, srcs: &[Operand], run_async: Option<Async>) {
        if srcs.len() != op.arity() {
            self.error(format!("it has {} sources", srcs.len()), format!("the operation takes {}", op.arity()));
        }
        if matches!(dst, Operand::FabIn { .. } | Operand::Scalar { .. }) {
            self.error("its destination can only be a source", "write to memory, an output queue, a FIFO or null");
        }
        if srcs.iter().any(|src| matches!(src, Operand::FabOut { .. } | Operand::Null)) {
            self.error(
                "one of its sources can only be a destination",
                "read memory, an input queue, a FIFO or a number",
            );
        }
        for operand in srcs.iter().chain([dst]) {
            self.operand(operand);
        }
        if op.integer_only() && srcs.iter().chain([dst]).filter_map(dtype).any(Dtype::is_float) {
            self.error("the operation takes integers only", "give its operands the type i32 or u16");
        }
        self.lengths(dst, srcs);
        if let Some(run) = run_async {
            if run.microthread >= self.program.machine.microthreads {
                let remedy = format!("a PE has {} of them", self.program.machine.microthreads);
                self.error(format!("there is no microthread u{}", run.microthread), remedy);
            }
            match run.then {
                Some(crate::Completion::Activate(id)) => self.activate(id),
                Some(crate::Completion::Unblock(id)) => {
                    self.task(id);
                }
                None => {}
            }
        }
    }

    fn operand(&mut self, operand: &Operand) {
        match operand {
            Operand::Mem(dsd) => self.memory(dsd),
            Operand::FabIn { queue, len, .. } => {
                self.values(&[*len]);
                self.input_queue(*queue);
            }
            Operand::FabOut { queue, len, .. } => {
                self.values(&[*len]);
                self.output_queue(*queue);
            }
            Operand::Fifo { fifo, len, .. } => {
                self.values(&[*len]);
                let fifos = self.class.fifos.len();
                if usize::from(*fifo) >= fifos {
                    self.error(format!("there is no FIFO f{fifo}, there are {fifos}"), "give the class the FIFO");
                }
            }
            Operand::Scalar { value, .. } => self.values(&[*value]),
            Operand::Null => {}
        }
    }

    /// Lengths that are known here must agree, and there must be one.
    fn lengths(&mut self, dst: &Operand, srcs: &[Operand]) {
        let lengths: Vec<Length> = srcs.iter().chain([dst]).map(length).collect();
        if lengths.iter().all(|length| matches!(length, Length::Any)) {
            self.error("no operand gives the instruction a length", "use memory, a queue or a FIFO as an operand");
        }
        let mut known = lengths.iter().filter_map(|length| if let Length::Known(n) = length { Some(*n) } else { None });
        if let Some(first) = known.next()
            && let Some(other) = known.find(|&n| n != first)
        {
            self.error(format!("operands of {first} and {other} elements"), "give all operands the same length");
        }
    }

    fn memory(&mut self, dsd: &MemDsd) {
        let dims = dsd.dims.len();
        if !(1..=MemDsd::MOST_DIMS).contains(&dims) {
            self.error(format!("a memory operand of {dims} dimensions"), "give it 1 to 4");
        }
        self.values(&[dsd.base]);
        for dim in &dsd.dims {
            self.values(&[dim.len, dim.stride]);
        }
        let Some(bases) = self.registers.ends(dsd.base) else { return };
        let bytes = i64::from(dsd.dtype.bytes());
        let starts = bases.map(|base| base + i64::from(dsd.offset));
        // How far the dimensions reach to both sides.
        let (mut low, mut high) = (0i64, 0i64);
        for dim in &dsd.dims {
            match (dim.len, dim.stride) {
                // No element, or a number of them that is only known when it runs and may be 0.
                (Value::Imm(..=0) | Value::Reg(_) | Value::Param(_), _) => return,
                (Value::Imm(len), Value::Imm(stride)) => {
                    let reach = i64::from(len - 1) * i64::from(stride);
                    let side = if reach < 0 { &mut low } else { &mut high };
                    *side = side.saturating_add(reach);
                }
                // A stride that is only known when it runs: the first turn is certain.
                (Value::Imm(_), _) => {}
            }
        }
        let (low, high) = (low.saturating_mul(bytes), high.saturating_mul(bytes));
        self.range(starts, low, high.saturating_add(bytes), bytes);
    }

    fn access(&mut self, dtype: Dtype, base: Value, offset: i32) {
        if let Some(bases) = self.registers.ends(base) {
            let bytes = i64::from(dtype.bytes());
            self.range(bases.map(|base| base + i64::from(offset)), 0, bytes, bytes);
        }
    }

    /// Checks an access from `low` up to `high` around its start, of which the first and the last turn's are given.
    fn range(&mut self, starts: [i64; 2], low: i64, high: i64, align: i64) {
        if let Some(start) = starts.into_iter().find(|start| start.rem_euclid(align) != 0) {
            self.error(format!("the address {start} is not a multiple of {align}"), "align it to the element's size");
        }
        let low = starts[0].min(starts[1]).saturating_add(low);
        let high = starts[0].max(starts[1]).saturating_add(high);
        if low < 0 || high > self.data as i64 {
            let message = format!("it reaches the bytes {low} to {high} of {} bytes of buffers", self.data);
            self.error(message, "make the vector shorter, or give the class a buffer there");
        }
    }
}

/// Type of an operand; a destination that throws away has none.
fn dtype(operand: &Operand) -> Option<Dtype> {
    match operand {
        Operand::Mem(dsd) => Some(dsd.dtype),
        Operand::FabIn { dtype, .. }
        | Operand::FabOut { dtype, .. }
        | Operand::Fifo { dtype, .. }
        | Operand::Scalar { dtype, .. } => Some(*dtype),
        Operand::Null => None,
    }
}

/// How many elements an operand has.
enum Length {
    /// As many as the others.
    Any,
    /// It is only known at a PE, or when the code runs.
    Unknown,
    /// So many.
    Known(u64),
}

fn length(operand: &Operand) -> Length {
    let known = |value: &Value| match value {
        Value::Imm(n) => Some((*n).max(0) as u64),
        _ => None,
    };
    let total = match operand {
        Operand::Mem(dsd) => dsd.dims.iter().try_fold(1u64, |total, dim| Some(total.saturating_mul(known(&dim.len)?))),
        Operand::FabIn { len, .. } | Operand::FabOut { len, .. } | Operand::Fifo { len, .. } => known(len),
        Operand::Scalar { .. } | Operand::Null => return Length::Any,
    };
    total.map_or(Length::Unknown, Length::Known)
}

/// Whether a command closes routes.
pub(super) fn tears_down(control: &Control) -> bool {
    control.commands.contains(&SwitchCommand::Teardown)
}
