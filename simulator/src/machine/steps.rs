//! Steps of the code that are done the same way whatever moves the wavelets: the choice of a task, scalars, and the operands of
//! a vector instruction.

use super::conflicts::Conflicts;
use super::decode::{ClassCode, Step, TaskCode, Vector};
use super::element::{self, Fault};
use super::nest::Nest;
use super::operand::{Number, Port};
use super::pe::{Pe, Running, VectorWork};
use waferloom_fabric::code::ScalarOp;
use waferloom_fabric::{ColorRoute, Completion, Machine, TaskKind};

/// What all PEs share.
pub(crate) struct Shared<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) classes: &'a [ClassCode],
    pub(crate) routes: &'a [ColorRoute],
    pub(crate) controls: &'a [waferloom_fabric::Control],
    /// How many operators the program lists.
    pub(crate) operators: usize,
    /// Whether the run is for the time alone: see [`unknown`].
    pub(crate) without_numbers: bool,
    /// Colours that some router filters by value, a bit each.
    pub(crate) by_value: u64,
}

/// Picks the next task: control tasks in the order of arrival, then teardowns, then the lowest id that can run.
///
/// `take_word` gives the data wavelet at the head of an input queue, if it can be taken now.
pub(crate) fn start_task(
    tasks: &[TaskCode],
    pe: &mut Pe,
    mut take_word: impl FnMut(&mut Pe, u8) -> Option<u32>,
) -> bool {
    let blocked = pe.blocked;
    let open = |id: u8| blocked >> id & 1 == 0;
    if let Some(place) = pe.controls.iter().position(|&(id, _)| open(id))
        && let Some((id, payload)) = pe.controls.remove(place)
        && let Some(task) = tasks.iter().position(|t| t.id == id && t.kind == TaskKind::Control)
    {
        set_slot(pe, FIRST, payload as i32);
        pe.running = Some(Running { task: task as u16, step: 0 });
        return true;
    }
    for (index, task) in tasks.iter().enumerate() {
        let TaskKind::Teardown { color } = task.kind else { continue };
        if pe.teardowns >> color & 1 == 1 && open(task.id) {
            pe.teardowns &= !(1 << color);
            pe.running = Some(Running { task: index as u16, step: 0 });
            return true;
        }
    }
    for (index, task) in tasks.iter().enumerate().filter(|(_, t)| open(t.id)) {
        match task.kind {
            TaskKind::Local if pe.activated >> task.id & 1 == 1 => pe.activated &= !(1 << task.id),
            TaskKind::Data { queue }
                if !taken(pe, &Port::FabIn { queue, dtype: waferloom_fabric::Dtype::I32 }, false) =>
            {
                let Some(word) = take_word(pe, queue) else { continue };
                set_slot(pe, FIRST, word as i32);
            }
            _ => continue,
        }
        pe.running = Some(Running { task: index as u16, step: 0 });
        return true;
    }
    false
}

/// The slot of register 0, in which tasks find the word that started them.
const FIRST: u32 = 1;

pub(crate) fn set_slot(pe: &mut Pe, slot: u32, value: i32) {
    if let Some(slot) = pe.slots.get_mut(slot as usize) {
        *slot = value;
    }
}

pub(crate) fn value(pe: &Pe, number: Number) -> i32 {
    number.get(pe.slots)
}

/// Whether a microthread holds the queue, or the same side of a FIFO: one may push while another pops.
pub(crate) fn taken(pe: &Pe, port: &Port, as_destination: bool) -> bool {
    let same = |other: &Port| match (port, other) {
        (Port::FabIn { queue: a, .. }, Port::FabIn { queue: b, .. })
        | (Port::FabOut { queue: a, .. }, Port::FabOut { queue: b, .. })
        | (Port::Fifo { fifo: a, .. }, Port::Fifo { fifo: b, .. }) => a == b,
        _ => false,
    };
    let holds = |work: &VectorWork| {
        if as_destination { same(&work.dst) } else { work.srcs[..work.arity].iter().any(same) }
    };
    pe.microthreads.iter().flatten().any(|work| holds(work))
}

/// What the end of an asynchronous instruction does.
pub(crate) fn complete(pe: &mut Pe, then: Completion) {
    match then {
        Completion::Activate(id) => pe.activated |= 1u64.checked_shl(id.into()).unwrap_or(0),
        Completion::Unblock(id) => pe.blocked &= !1u64.checked_shl(id.into()).unwrap_or(0),
    }
}

/// A step that touches nothing but the PE itself: gives its cycles and the step after it. `None` for any other step.
#[expect(clippy::inline_always, reason = "most steps are such, and one of a few kinds")]
#[inline(always)]
pub(crate) fn local_step(
    machine: &Machine,
    pe: &mut Pe,
    step: &Step,
    at: u32,
    now: u64,
) -> Result<Option<(u32, u32)>, Fault> {
    let mut cycles = machine.scalar_cycles;
    let mut next = at + 1;
    match step {
        Step::Scalar { op, dst, a, b } => {
            let result = scalar(*op, value(pe, *a), value(pe, *b));
            set_slot(pe, *dst, result);
        }
        Step::Load { dst, dtype, base, offset } => {
            let address = i64::from(value(pe, *base)) + i64::from(*offset);
            let bits =
                pe.read(address, dtype.bytes()).ok_or_else(|| element::outside(pe, address, dtype.bytes(), "load"))?;
            set_slot(pe, *dst, bits as i32);
        }
        Step::Store { src, dtype, base, offset } => {
            let address = i64::from(value(pe, *base)) + i64::from(*offset);
            let bits = value(pe, *src) as u32;
            pe.write(address, dtype.bytes(), bits)
                .ok_or_else(|| element::outside(pe, address, dtype.bytes(), "store"))?;
        }
        Step::ReadClock { dst } => set_slot(pe, *dst, now as i32),
        Step::LoopEnter { counter, count, exit } => {
            cycles = machine.branch_cycles;
            let turns = value(pe, *count);
            if turns > 0 {
                pe.loops.push((0, turns));
                set_slot(pe, *counter, 0);
            } else {
                next = *exit;
            }
        }
        Step::LoopNext { counter, body } => {
            cycles = machine.branch_cycles;
            if let Some((done, turns)) = pe.loops.last_mut() {
                *done += 1;
                if *done < *turns {
                    let done = *done;
                    set_slot(pe, *counter, done);
                    next = *body;
                } else {
                    pe.loops.pop();
                }
            }
        }
        Step::Branch { compare, a, b, otherwise } => {
            cycles = machine.branch_cycles;
            let (a, b) = (value(pe, *a), value(pe, *b));
            if !compare.holds(a, b) {
                next = *otherwise;
            }
        }
        Step::Activate(id) => pe.activated |= 1u64.checked_shl((*id).into()).unwrap_or(0),
        Step::Block(id) => pe.blocked |= 1u64.checked_shl((*id).into()).unwrap_or(0),
        Step::Unblock(id) => pe.blocked &= !1u64.checked_shl((*id).into()).unwrap_or(0),
        _ => return Ok(None),
    }
    Ok(Some((cycles, next)))
}

/// The result of a scalar instruction.
pub(crate) fn scalar(op: ScalarOp, a: i32, b: i32) -> i32 {
    let shift = u32::try_from(b).ok().filter(|&s| s < 32);
    match op {
        ScalarOp::Add => a.wrapping_add(b),
        ScalarOp::Sub => a.wrapping_sub(b),
        ScalarOp::Mul => a.wrapping_mul(b),
        ScalarOp::Div | ScalarOp::Rem if b == 0 => 0,
        ScalarOp::Div => a.wrapping_div(b),
        ScalarOp::Rem => a.wrapping_rem(b),
        ScalarOp::Min => a.min(b),
        ScalarOp::Max => a.max(b),
        ScalarOp::And => a & b,
        ScalarOp::Or => a | b,
        ScalarOp::Xor => a ^ b,
        ScalarOp::Shl => shift.map_or(0, |s| a << s),
        ScalarOp::Shr => a >> shift.unwrap_or(31),
    }
}

/// Resolves the operands with the values of a PE's slots, into `work`; `is_unknown` says that nobody is to compute the results.
pub(crate) fn prepare(
    (slots, is_unknown): (&[i32], bool),
    vector: &Vector,
    running: Running,
    mut work: Box<VectorWork>,
) -> Result<Box<VectorWork>, Fault> {
    let arity = vector.op.arity();
    if vector.given != arity {
        return Err(Fault(format!("{} sources where {arity} are needed", vector.given)));
    }
    let mut length = work.dst.resolve(&vector.dst, slots);
    for (slot, source) in work.srcs.iter_mut().zip(&vector.srcs) {
        let len = slot.resolve(source, slots);
        if let (Some(a), Some(b)) = (length, len)
            && a != b
        {
            return Err(Fault(format!("operands of {a} and {b} elements in one instruction")));
        }
        length = length.or(len);
    }
    work.remaining = length.ok_or_else(|| Fault("no operand gives the instruction a length".into()))?;
    (work.op, work.arity, work.lanes) = (vector.op, arity, vector.lanes);
    (work.ready, work.then) = (0, None);
    work.at = (running.task, running.step);
    work.unknown = is_unknown;
    Ok(work)
}

/// Runs an instruction that is a nest, of at most so many elements: its elements, busy cycles and waits for memory. `None`,
/// with nothing done, when it has to be run in another way.
#[inline]
pub(crate) fn nest(pe: &mut Pe, nest: &Nest, conflicts: &mut Conflicts, most: u64) -> Option<(u64, (u64, u64))> {
    let mut room = None;
    let placed = nest.place(pe.slots, pe.memory.len(), most, &mut room)?;
    let cycles = placed.cycles(conflicts);
    // In a claim somebody else does.
    if !pe.unknown.operand {
        placed.compute(pe.memory);
    }
    Some((placed.elements(), cycles))
}
