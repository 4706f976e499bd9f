//! A compute element's cycle: which thread runs, and what its next step does.

use super::element;
use super::ports::Ports;
use super::queues::Wavelet;
use crate::machine::bulk;
use crate::machine::decode::{Step, TaskCode, Vector};
use crate::machine::element::{Fault, Wait, in_memory};
use crate::machine::operand::Port;
use crate::machine::pe::{Activity, Pe, Running, VectorWork};
use crate::machine::steps::{Shared, complete, local_step, nest, prepare, start_task, taken, value};
use waferloom_fabric::Machine;
use waferloom_fabric::code::Async;

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
pub(super) type OnMark<'a> = &'a mut dyn FnMut(&mut Pe, u32, u64);

/// Lets a PE use its datapath in cycle `now`; gives the cycle in which it is to be looked at again, `u64::MAX` for never.
pub(super) fn cycle(
    shared: &Shared<'_>,
    pe: &mut Pe,
    ports: &mut Ports<'_>,
    now: u64,
    on_mark: OnMark<'_>,
) -> Result<u64, Fault> {
    let Some(class) = pe.class else { return Ok(u64::MAX) };
    if now < pe.free {
        return Ok(pe.free);
    }
    pe.account(now);
    take_controls(shared, pe, ports, now);
    let tasks = &shared.classes[class as usize].tasks;
    if pe.running.is_none() && start_task(tasks, pe, |_, queue| take_word(ports, queue, now)) {
        pe.work(now, u64::from(shared.machine.task_switch_cycles), 0);
        if pe.free > now {
            return Ok(pe.free);
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
            0 => main_thread(shared, tasks, pe, ports, now, on_mark)?,
            _ => microthread(shared, pe, ports, thread - 1, now)?,
        };
        match turn {
            Turn::Ran => {
                pe.turn = (thread + 1) % threads;
                pe.activity = Activity::Idle;
                return Ok(pe.free.max(now + 1));
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
    pe.activity = waiting.map_or(Activity::Idle, |w| w.activity);
    Ok(waiting.map_or(u64::MAX, |w| w.until).min(ports.next_arrival(now)))
}

/// Takes control wavelets from the heads of the input queues.
fn take_controls(shared: &Shared<'_>, pe: &mut Pe, ports: &mut Ports<'_>, now: u64) {
    if shared.controls.iter().all(|c| c.task.is_none()) {
        return;
    }
    for queue in 0..pe.inputs.len() as u8 {
        while let Some(&head) = ports.front(queue)
            && let Some(control) = head.control_index()
            && head.ready <= now
        {
            ports.pop(queue);
            if let Some(task) = shared.controls[control].task {
                pe.controls.push_back((task, head.word()));
            }
        }
    }
}

/// The data wavelet at the head of an input queue, if it is there now.
fn take_word(ports: &mut Ports<'_>, queue: u8, now: u64) -> Option<u32> {
    let arrived = ports.front(queue).is_some_and(|head| head.control_index().is_none() && head.ready <= now);
    if arrived { ports.pop(queue).map(Wavelet::word) } else { None }
}

fn microthread(
    shared: &Shared<'_>,
    pe: &mut Pe,
    ports: &mut Ports<'_>,
    thread: usize,
    now: u64,
) -> Result<Turn, Fault> {
    let Some(mut work) = pe.microthreads[thread].take() else { return Ok(Turn::Nothing) };
    if let Some(wait) = element::waits(pe, ports, &work, now) {
        pe.microthreads[thread] = Some(work);
        return Ok(Turn::Waits(wait));
    }
    elements(shared, pe, ports, &mut work, now)?;
    if work.remaining > 0 {
        pe.microthreads[thread] = Some(work);
    } else if let Some(then) = work.then {
        complete(pe, then);
    }
    Ok(Turn::Ran)
}

/// Runs what fits into one cycle: one element, or as many as there are lanes when all operands are in memory.
fn elements(
    shared: &Shared<'_>,
    pe: &mut Pe,
    ports: &mut Ports<'_>,
    work: &mut VectorWork,
    now: u64,
) -> Result<(), Fault> {
    let count = if in_memory(work) { u64::from(work.lanes).min(work.remaining) } else { 1 };
    let mut stall = 0;
    for _ in 0..count {
        stall = stall.max(element::run(pe, ports, work, shared.machine)?);
    }
    pe.work(now, 1, u64::from(stall));
    Ok(())
}

fn main_thread(
    shared: &Shared<'_>,
    tasks: &[TaskCode],
    pe: &mut Pe,
    ports: &mut Ports<'_>,
    now: u64,
    on_mark: OnMark<'_>,
) -> Result<Turn, Fault> {
    if let Some(mut work) = pe.main.take() {
        if let Some(wait) = element::waits(pe, ports, &work, now) {
            pe.main = Some(work);
            return Ok(Turn::Waits(wait));
        }
        elements(shared, pe, ports, &mut work, now)?;
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
                return Ok(if start_task(tasks, pe, |_, queue| take_word(ports, queue, now)) {
                    pe.work(now, u64::from(shared.machine.task_switch_cycles), 0);
                    Turn::Ran
                } else {
                    Turn::Nothing
                });
            }
            step => {
                pe.running = Some(running);
                return timed_step(shared, pe, ports, step, running, now);
            }
        }
    }
}

/// A step that takes time.
fn timed_step(
    shared: &Shared<'_>,
    pe: &mut Pe,
    ports: &mut Ports<'_>,
    step: &Step,
    mut running: Running,
    now: u64,
) -> Result<Turn, Fault> {
    let machine = shared.machine;
    if let Step::Vector(instruction) = step {
        return vector(shared, pe, ports, instruction, running, now);
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
            if taken(pe, &port, true) || !ports.has_room(pe, *queue) {
                return Ok(Turn::Waits(Wait { activity: Activity::FabricOut, until: u64::MAX }));
            }
            let payload = value(pe, *payload) as u32 & 0xFFFF;
            ports.send_control(pe, *queue, control + 1, payload);
        }
        Step::SetPosition { color, position } => {
            ports.set_position(*color, *position, shared.routes);
        }
        _ => {}
    }
    pe.work(now, u64::from(machine.scalar_cycles), 0);
    running.step += 1;
    pe.running = Some(running);
    Ok(Turn::Ran)
}

/// Issues a vector instruction.
fn vector(
    shared: &Shared<'_>,
    pe: &mut Pe,
    ports: &mut Ports<'_>,
    vector: &Vector,
    mut running: Running,
    now: u64,
) -> Result<Turn, Fault> {
    let run_async = vector.run_async;
    let machine = shared.machine;
    let startup = u64::from(machine.vector_startup_cycles);
    let scalar = u64::from(machine.scalar_cycles);
    let issued = Running { step: running.step + 1, ..running };
    let alone = pe.microthreads.iter().all(Option::is_none);
    if alone
        && let Some(instruction) = &vector.nest
        && let Some((elements, (busy, stall))) = nest(pe, instruction, ports.conflicts, MOST_AT_ONCE)
    {
        // Nothing can come between: all elements at once.
        let busy = if elements == 0 { scalar } else { startup + busy };
        pe.work(now, busy, stall);
        pe.running = Some(issued);
        return Ok(Turn::Ran);
    }
    if let Some(activity) = pe.pending.as_ref().and_then(|pending| waits_for_others(pe, pending, run_async)) {
        return Ok(Turn::Waits(Wait { activity, until: u64::MAX }));
    }
    let mut work = match pe.pending.take() {
        Some(pending) => pending,
        None => prepare((pe.slots, pe.unknown.operand), vector, running, Box::default())?,
    };
    if let Some(activity) = waits_for_others(pe, &work, run_async) {
        pe.pending = Some(work);
        return Ok(Turn::Waits(Wait { activity, until: u64::MAX }));
    }
    if work.remaining == 0 {
        pe.work(now, scalar, 0);
        if let Some(Some(then)) = run_async.map(|a| a.then) {
            complete(pe, then);
        }
    } else if let Some(run_async) = run_async {
        let Some(slot) = pe.microthreads.get_mut(run_async.microthread as usize) else {
            return Err(Fault(format!("no microthread {}", run_async.microthread)));
        };
        work.ready = now + scalar + startup;
        work.then = run_async.then;
        *slot = Some(work);
        pe.work(now, scalar, 0);
    } else if in_memory(&work) && work.remaining <= MOST_AT_ONCE && alone {
        let (busy, stall) = match bulk::run(pe.memory, &mut work, ports.conflicts) {
            Some(cycles) => cycles,
            None => one_by_one(pe, ports, &mut work, machine)?,
        };
        pe.work(now, startup + busy, stall);
    } else {
        work.ready = now + startup;
        running = issued;
        pe.running = Some(running);
        let wait = element::waits(pe, ports, &work, now);
        pe.main = Some(work);
        return match wait {
            Some(wait) => Ok(Turn::Waits(wait)),
            None => Ok(Turn::Waits(Wait { activity: Activity::Busy, until: now })),
        };
    }
    pe.running = Some(issued);
    Ok(Turn::Ran)
}

/// What an instruction waits for while others hold its queues or its microthread; `None` when it can be issued.
fn waits_for_others(pe: &Pe, work: &VectorWork, run_async: Option<Async>) -> Option<Activity> {
    if work.srcs[..work.arity].iter().any(|port| taken(pe, port, false)) || taken(pe, &work.dst, true) {
        return Some(if matches!(work.dst, Port::FabOut { .. }) { Activity::FabricOut } else { Activity::FabricIn });
    }
    let microthread = run_async.and_then(|run_async| pe.microthreads.get(usize::from(run_async.microthread)));
    (work.remaining > 0 && microthread.is_some_and(Option::is_some)).then_some(Activity::FabricIn)
}

/// Runs the elements of an instruction over memory; gives busy cycles and waits for memory.
fn one_by_one(
    pe: &mut Pe,
    ports: &mut Ports<'_>,
    work: &mut VectorWork,
    machine: &Machine,
) -> Result<(u64, u64), Fault> {
    let (mut busy, mut stall) = (0, 0);
    while work.remaining > 0 {
        let mut worst = 0;
        for _ in 0..u64::from(work.lanes).min(work.remaining) {
            worst = worst.max(element::run(pe, ports, work, machine)?);
        }
        busy += 1;
        stall += u64::from(worst);
    }
    Ok((busy, stall))
}
