//! A compute element's cycle: which thread runs, and what its next step does.

use super::bulk;
use super::decode::{ClassCode, Step, TaskCode};
use super::element::{self, Fault, Wait};
use super::operand::{Port, Values};
use super::pe::{Activity, Pe, Running, VectorWork};
use super::router::Router;
use waferloom_fabric::code::{Operand, ScalarOp};
use waferloom_fabric::{ColorRoute, Compare, Completion, Machine, TaskKind, Value, VectorOp};

/// What all PEs share.
pub(crate) struct Shared<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) classes: &'a [ClassCode],
    pub(crate) routes: &'a [ColorRoute],
    pub(crate) controls: &'a [waferloom_fabric::Control],
    /// How many operators the program lists.
    pub(crate) operators: usize,
}

/// Elements that are run in one go. Longer instructions go cycle by cycle, so that a run can be stopped within them.
const MOST_AT_ONCE: u64 = 1 << 20;

/// A thread's turn.
enum Turn {
    /// It used the datapath.
    Ran,
    /// It has something to do, but not now.
    Waits(Wait),
    /// It has nothing to do.
    Nothing,
}

/// Reports a change of operator: (operator, cycle).
pub(crate) type OnMark<'a> = &'a mut dyn FnMut(&mut Pe, u32, u64);

/// Lets a PE use its datapath in cycle `now`, and sets when it is to be looked at again.
pub(crate) fn cycle(
    shared: &Shared<'_>,
    pe: &mut Pe,
    router: &mut Router,
    now: u64,
    on_mark: OnMark<'_>,
) -> Result<(), Fault> {
    let Some(class) = pe.class else { return Ok(()) };
    if now < pe.free {
        pe.wake = pe.free;
        return Ok(());
    }
    pe.account(now);
    take_controls(shared, pe, now);
    let tasks = &shared.classes[class as usize].tasks;
    if pe.running.is_none() && start_task(tasks, pe, |pe, queue| take_word(pe, queue, now)) {
        pe.work(now, u64::from(shared.machine.task_switch_cycles), 0);
        if pe.free > now {
            pe.wake = pe.free;
            return Ok(());
        }
    }
    let threads = 1 + pe.microthreads.len();
    let mut waiting: Option<Wait> = None;
    // Most of the time there is none but the main thread.
    let (first, asked) = if pe.microthreads.iter().all(Option::is_none) { (0, 1) } else { (pe.turn, threads) };
    for offset in 0..asked {
        let thread = if first + offset < threads { first + offset } else { first + offset - threads };
        if thread > 0 && pe.microthreads[thread - 1].is_none() {
            continue;
        }
        let turn = match thread {
            0 => main_thread(shared, tasks, pe, router, now, on_mark)?,
            _ => microthread(shared, pe, router, thread - 1, now)?,
        };
        match turn {
            Turn::Ran => {
                pe.turn = (thread + 1) % threads;
                pe.activity = Activity::Idle;
                pe.wake = pe.free.max(now + 1);
                return Ok(());
            }
            Turn::Waits(wait) => {
                let first = waiting.get_or_insert(wait);
                // What the PE is said to wait for: room before wavelets, work under way before both.
                let rank = |a: Activity| {
                    [Activity::Busy, Activity::FabricOut, Activity::FabricIn].iter().position(|&x| x == a)
                };
                if rank(wait.activity) < rank(first.activity) {
                    first.activity = wait.activity;
                }
                first.until = first.until.min(wait.until);
            }
            Turn::Nothing => {}
        }
    }
    let heads = pe.inputs.iter().flatten().filter_map(|q| q.wavelets.front()).map(|&(ready, ..)| ready);
    let arrival = heads.filter(|&ready| ready > now).min().unwrap_or(u64::MAX);
    pe.activity = waiting.map_or(Activity::Idle, |w| w.activity);
    pe.wake = waiting.map_or(u64::MAX, |w| w.until).min(arrival);
    Ok(())
}

/// Takes control wavelets from the heads of the input queues.
fn take_controls(shared: &Shared<'_>, pe: &mut Pe, now: u64) {
    if shared.controls.iter().all(|c| c.task.is_none()) {
        return;
    }
    for queue in pe.inputs.iter_mut().flatten() {
        while let Some(&(ready, payload, control @ 1..)) = queue.wavelets.front() {
            if ready > now {
                break;
            }
            queue.wavelets.pop_front();
            if let Some(task) = shared.controls[control as usize - 1].task {
                pe.controls.push_back((task, payload));
            }
        }
    }
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
        set_register(pe, 0, payload as i32);
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
                set_register(pe, 0, word as i32);
            }
            _ => continue,
        }
        pe.running = Some(Running { task: index as u16, step: 0 });
        return true;
    }
    false
}

/// The data wavelet at the head of an input queue, if it is there now.
fn take_word(pe: &mut Pe, queue: u8, now: u64) -> Option<u32> {
    let input = pe.inputs.get_mut(queue as usize)?.as_mut()?;
    match input.wavelets.front() {
        Some(&(ready, data, 0)) if ready <= now => {
            input.wavelets.pop_front();
            Some(data)
        }
        _ => None,
    }
}

pub(crate) fn set_register(pe: &mut Pe, register: u8, value: i32) {
    if let Some(slot) = pe.registers.get_mut(register as usize) {
        *slot = value;
    }
}

pub(crate) fn value(pe: &Pe, value: Value) -> i32 {
    Values { registers: &pe.registers, params: &pe.params }.get(value)
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

fn microthread(shared: &Shared<'_>, pe: &mut Pe, router: &mut Router, thread: usize, now: u64) -> Result<Turn, Fault> {
    let Some(mut work) = pe.microthreads[thread].take() else { return Ok(Turn::Nothing) };
    if let Some(wait) = element::waits(pe, router, &work, now) {
        pe.microthreads[thread] = Some(work);
        return Ok(Turn::Waits(wait));
    }
    elements(shared, pe, router, &mut work, now)?;
    if work.remaining > 0 {
        pe.microthreads[thread] = Some(work);
    } else if let Some(then) = work.then {
        complete(pe, then);
    }
    Ok(Turn::Ran)
}

/// What the end of an asynchronous instruction does.
pub(crate) fn complete(pe: &mut Pe, then: Completion) {
    match then {
        Completion::Activate(id) => pe.activated |= 1u64.checked_shl(id.into()).unwrap_or(0),
        Completion::Unblock(id) => pe.blocked &= !1u64.checked_shl(id.into()).unwrap_or(0),
    }
}

/// Runs what fits into one cycle: one element, or as many as there are lanes when all operands are in memory.
fn elements(
    shared: &Shared<'_>,
    pe: &mut Pe,
    router: &mut Router,
    work: &mut VectorWork,
    now: u64,
) -> Result<(), Fault> {
    let count = if element::in_memory(work) { u64::from(work.lanes).min(work.remaining) } else { 1 };
    let mut stall = 0;
    for _ in 0..count {
        stall = stall.max(element::run(pe, router, work, shared.machine, now)?);
    }
    pe.work(now, 1, u64::from(stall));
    Ok(())
}

fn main_thread(
    shared: &Shared<'_>,
    tasks: &[TaskCode],
    pe: &mut Pe,
    router: &mut Router,
    now: u64,
    on_mark: OnMark<'_>,
) -> Result<Turn, Fault> {
    if let Some(mut work) = pe.main.take() {
        if let Some(wait) = element::waits(pe, router, &work, now) {
            pe.main = Some(work);
            return Ok(Turn::Waits(wait));
        }
        elements(shared, pe, router, &mut work, now)?;
        if work.remaining > 0 {
            pe.main = Some(work);
        }
        return Ok(Turn::Ran);
    }
    let Some(mut running) = pe.running else { return Ok(Turn::Nothing) };
    let steps = &tasks[running.task as usize].steps;
    // Marks, jumps and the end of a task take no time.
    loop {
        match &steps[running.step as usize] {
            Step::Mark { operator, plus } => {
                let operator = i64::from(*operator) + i64::from(value(pe, *plus));
                let known = u32::try_from(operator).ok().filter(|&index| (index as usize) < shared.operators);
                let index = known.ok_or_else(|| {
                    Fault(format!("mark of operator {operator}, the program has {}", shared.operators))
                })?;
                on_mark(pe, index, now);
                running.step += 1;
            }
            Step::Jump(to) => running.step = *to,
            Step::End => {
                pe.running = None;
                pe.last = pe.last.max(now);
                // Another task may be ready: look again at once.
                return Ok(if start_task(tasks, pe, |pe, queue| take_word(pe, queue, now)) {
                    pe.work(now, u64::from(shared.machine.task_switch_cycles), 0);
                    Turn::Ran
                } else {
                    Turn::Nothing
                });
            }
            step => {
                pe.running = Some(running);
                return timed_step(shared, pe, router, step, running, now);
            }
        }
    }
}

/// A step that takes time.
fn timed_step(
    shared: &Shared<'_>,
    pe: &mut Pe,
    router: &mut Router,
    step: &Step,
    mut running: Running,
    now: u64,
) -> Result<Turn, Fault> {
    let machine = shared.machine;
    if let Step::Vector { .. } = step {
        return vector(shared, pe, router, step, running, now);
    }
    if let Some((cycles, next)) = local_step(machine, pe, step, running.step, now)? {
        pe.work(now, u64::from(cycles), 0);
        running.step = next;
        pe.running = Some(running);
        return Ok(Turn::Ran);
    }
    match step {
        Step::SendControl { queue, control, payload } => {
            let port = Port::FabOut { queue: *queue, dtype: waferloom_fabric::Dtype::I32 };
            if taken(pe, &port, true) || !element::has_room(pe, router, *queue) {
                return Ok(Turn::Waits(Wait { activity: Activity::FabricOut, until: u64::MAX }));
            }
            let payload = value(pe, *payload) as u32 & 0xFFFF;
            element::send(pe, router, *queue, machine, now, payload, control + 1);
        }
        Step::SetPosition { color, position } => {
            if let Some(lane) = router.lane_of(*color) {
                router.lanes[lane].set_position(*position, shared.routes);
                router.lanes[lane].closed = false;
            }
        }
        _ => {}
    }
    pe.work(now, u64::from(machine.scalar_cycles), 0);
    running.step += 1;
    pe.running = Some(running);
    Ok(Turn::Ran)
}

/// A step that touches nothing but the PE itself: gives its cycles and the step after it. `None` for any other step.
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
            set_register(pe, *dst, result);
        }
        Step::Load { dst, dtype, base, offset } => {
            let address = i64::from(value(pe, *base)) + i64::from(*offset);
            let bits =
                pe.read(address, dtype.bytes()).ok_or_else(|| element::outside(pe, address, dtype.bytes(), "load"))?;
            set_register(pe, *dst, bits as i32);
        }
        Step::Store { src, dtype, base, offset } => {
            let address = i64::from(value(pe, *base)) + i64::from(*offset);
            let bits = value(pe, *src) as u32;
            pe.write(address, dtype.bytes(), bits)
                .ok_or_else(|| element::outside(pe, address, dtype.bytes(), "store"))?;
        }
        Step::ReadClock { dst } => set_register(pe, *dst, now as i32),
        Step::LoopEnter { counter, count, exit } => {
            cycles = machine.branch_cycles;
            let turns = value(pe, *count);
            if turns > 0 {
                pe.loops.push((0, turns));
                set_register(pe, *counter, 0);
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
                    set_register(pe, *counter, done);
                    next = *body;
                } else {
                    pe.loops.pop();
                }
            }
        }
        Step::Branch { compare, a, b, otherwise } => {
            cycles = machine.branch_cycles;
            let (a, b) = (value(pe, *a), value(pe, *b));
            let holds = match compare {
                Compare::Eq => a == b,
                Compare::Ne => a != b,
                Compare::Lt => a < b,
                Compare::Le => a <= b,
            };
            if !holds {
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

fn scalar(op: ScalarOp, a: i32, b: i32) -> i32 {
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

/// Issues a vector instruction.
fn vector(
    shared: &Shared<'_>,
    pe: &mut Pe,
    router: &mut Router,
    step: &Step,
    mut running: Running,
    now: u64,
) -> Result<Turn, Fault> {
    let Step::Vector { op, dst, srcs, run_async } = step else { return Ok(Turn::Nothing) };
    let machine = shared.machine;
    let mut work = prepare(pe, machine, *op, dst, srcs, running)?;
    if work.srcs[..work.arity].iter().any(|port| taken(pe, port, false)) || taken(pe, &work.dst, true) {
        let activity = if matches!(work.dst, Port::FabOut { .. }) { Activity::FabricOut } else { Activity::FabricIn };
        return Ok(Turn::Waits(Wait { activity, until: u64::MAX }));
    }
    let startup = u64::from(machine.vector_startup_cycles);
    let scalar = u64::from(machine.scalar_cycles);
    let issued = Running { step: running.step + 1, ..running };
    if work.remaining == 0 {
        pe.work(now, scalar, 0);
        if let Some(Some(then)) = run_async.map(|a| a.then) {
            complete(pe, then);
        }
    } else if let Some(run_async) = run_async {
        let Some(slot) = pe.microthreads.get_mut(run_async.microthread as usize) else {
            return Err(Fault(format!("no microthread {}", run_async.microthread)));
        };
        if slot.is_some() {
            return Ok(Turn::Waits(Wait { activity: Activity::FabricIn, until: u64::MAX }));
        }
        work.ready = now + scalar + startup;
        work.then = run_async.then;
        *slot = Some(Box::new(work));
        pe.work(now, scalar, 0);
    } else if element::in_memory(&work) && work.remaining <= MOST_AT_ONCE && pe.microthreads.iter().all(Option::is_none)
    {
        // Nothing can come between: all elements at once.
        let (busy, stall) = match bulk::run(&mut pe.memory, &mut work, machine) {
            Some(cycles) => cycles,
            None => one_by_one(pe, router, &mut work, machine, now)?,
        };
        pe.work(now, startup + busy, stall);
    } else {
        work.ready = now + startup;
        running = issued;
        pe.running = Some(running);
        let wait = element::waits(pe, router, &work, now);
        pe.main = Some(Box::new(work));
        return match wait {
            Some(wait) => Ok(Turn::Waits(wait)),
            None => Ok(Turn::Waits(Wait { activity: Activity::Busy, until: now })),
        };
    }
    pe.running = Some(issued);
    Ok(Turn::Ran)
}

/// Runs the elements of an instruction over memory; gives busy cycles and waits for memory.
fn one_by_one(
    pe: &mut Pe,
    router: &mut Router,
    work: &mut VectorWork,
    machine: &Machine,
    now: u64,
) -> Result<(u64, u64), Fault> {
    let (mut busy, mut stall) = (0, 0);
    while work.remaining > 0 {
        let mut worst = 0;
        for _ in 0..u64::from(work.lanes).min(work.remaining) {
            worst = worst.max(element::run(pe, router, work, machine, now)?);
        }
        busy += 1;
        stall += u64::from(worst);
    }
    Ok((busy, stall))
}

/// Resolves the operands with the PE's values.
pub(crate) fn prepare(
    pe: &Pe,
    machine: &Machine,
    op: VectorOp,
    dst: &Operand,
    srcs: &[Operand],
    running: Running,
) -> Result<VectorWork, Fault> {
    let values = Values { registers: &pe.registers, params: &pe.params };
    let arity = op.arity();
    if srcs.len() != arity {
        return Err(Fault(format!("{} sources where {arity} are needed", srcs.len())));
    }
    let (dst, mut length) = Port::resolve(dst, &values);
    let mut ports = [Port::Null, Port::Null, Port::Null];
    let mut widths = vec![dst.bytes()];
    for (slot, operand) in ports.iter_mut().zip(srcs) {
        let (port, len) = Port::resolve(operand, &values);
        if let (Some(a), Some(b)) = (length, len)
            && a != b
        {
            return Err(Fault(format!("operands of {a} and {b} elements in one instruction")));
        }
        length = length.or(len);
        widths.push(port.bytes());
        *slot = port;
    }
    let has = |bytes: u32| widths.iter().flatten().any(|&w| w == bytes);
    let lanes = match (has(2), has(4)) {
        (true, false) => machine.lanes_16,
        (true, true) => machine.lanes_mixed,
        _ => machine.lanes_32,
    };
    let remaining = length.ok_or_else(|| Fault("no operand gives the instruction a length".into()))?;
    Ok(VectorWork {
        op,
        dst,
        srcs: ports,
        arity,
        remaining,
        ready: 0,
        then: None,
        at: (running.task, running.step),
        lanes,
    })
}
