//! Threads and tasks of a PE.

use super::Stream;
use super::calendar::Event;
use super::chunk::{MOST_AT_ONCE, Outcome};
use super::run::{Run, Sender};
use super::straight::{book, mark};
use super::values::Numbers;
use crate::machine::decode::{Step, TaskCode, Vector};
use crate::machine::element::{self, Fault, Wait};
use crate::machine::operand::Port;
use crate::machine::pe::{Activity, Pe, Running};
use crate::machine::{bulk, steps as execute, unknown};
use waferloom_fabric::{Direction, Dtype, Machine};

/// Steps that are done at one go; then it is seen whether the run is to be stopped.
const MOST_STEPS: u32 = 4096;

impl Stream<'_> {
    pub(super) fn wake_pe(&mut self, pe: usize, cycle: u64) {
        if cycle < self.pe_wakes[pe] {
            self.pe_wakes[pe] = cycle;
            self.calendar.push(cycle, Event::Pe(pe as u32));
        }
    }

    /// Lets the threads of a PE do what they can now, and sets when it is to be looked at again.
    pub(super) fn run_pe(&mut self, pe: usize, limit: u64) -> Result<(), Fault> {
        let Some(class) = self.band.pes[pe].class else { return Ok(()) };
        let now = self.now;
        if self.band.pes[pe].free > now {
            self.wake_pe(pe, self.band.pes[pe].free);
            return Ok(());
        }
        self.lacks_room[pe] = false;
        if self.has_control_tasks {
            self.take_controls(pe);
        }
        if !self.alone(pe) {
            self.end_threads(pe);
        }
        let tasks = &self.shared.classes[class as usize].tasks;
        let wait = if self.alone(pe) { self.main_thread(pe, tasks, limit)? } else { self.threads(pe, tasks)? };
        self.listens[pe] = self.news(pe, wait);
        let mut until = wait.map_or(u64::MAX, |w| w.until);
        if self.listens[pe] == u32::MAX {
            let heads = self.inputs[self.queues.inputs(pe)].iter().filter_map(|q| q.head()).map(|run| run.first);
            until = until.min(heads.filter(|&first| first > now).min().unwrap_or(u64::MAX));
        }
        let state = &mut self.band.pes[pe];
        if state.free > now {
            until = state.free;
            state.activity = Activity::Idle;
        } else {
            state.account(now);
            state.activity = wait.map_or(Activity::Idle, |w| w.activity);
        }
        self.lacks_room[pe] = wait.is_some_and(|w| w.activity == Activity::FabricOut);
        if until != u64::MAX {
            self.wake_pe(pe, until.max(now + 1));
        }
        Ok(())
    }

    /// Whether no asynchronous instruction is at work on a PE.
    pub(super) fn alone(&self, pe: usize) -> bool {
        self.threads_at_work[pe] == 0
    }

    /// Bits of the input queues in which a wavelet would be news to a PE that has done what it can.
    fn news(&self, pe: usize, wait: Option<Wait>) -> u32 {
        let state = &self.band.pes[pe];
        if self.has_control_tasks || !self.alone(pe) {
            return u32::MAX;
        }
        match (&state.main, wait) {
            _ if state.free > self.now => 0,
            (Some(work), Some(Wait { activity: Activity::FabricIn, .. })) => {
                let queues = work.srcs[..work.arity].iter().filter_map(|port| match port {
                    Port::FabIn { queue, .. } => Some(1 << queue),
                    _ => None,
                });
                queues.fold(0, |set, bit: u32| set | bit)
            }
            (Some(_), Some(_)) => 0,
            _ => u32::MAX,
        }
    }

    /// Takes control wavelets from the heads of the input queues.
    fn take_controls(&mut self, pe: usize) {
        for queue in self.queues.inputs(pe) {
            while let Some(head) = self.inputs[queue].head()
                && head.control != 0
                && head.first <= self.now
                && let Some(run) = self.inputs[queue].take(1, &mut self.payloads)
            {
                self.wake_occupied(pe, self.now);
                self.tell(run.sender, self.now + u64::from(run.hops));
                let task = self.shared.controls[run.control as usize - 1].task;
                let payload = run.words(&self.payloads).first().copied().unwrap_or(0);
                self.payloads.release(run.payload);
                self.band.pes[pe].controls.extend(task.map(|task| (task, payload)));
            }
        }
    }

    /// Ends the asynchronous instructions whose last element has run.
    fn end_threads(&mut self, pe: usize) {
        let state = &mut self.band.pes[pe];
        for thread in 0..state.microthreads.len() {
            if let Some(work) = state.microthreads[thread].take_if(|work| work.remaining == 0) {
                self.threads_at_work[pe] -= 1;
                if let Some(then) = work.then {
                    execute::complete(state, then);
                }
                self.spare.push(work);
            }
        }
    }

    /// The main thread, when there is no other: runs ahead of the clock, for nobody can notice.
    fn main_thread(&mut self, pe: usize, tasks: &[TaskCode], limit: u64) -> Result<Option<Wait>, Fault> {
        let (mut time, mut left) = (self.now, MOST_STEPS);
        while left > 0 && (time == self.now || self.alone(pe)) {
            time = self.straight(pe, tasks, time, limit, &mut left)?;
            if left == 0 || time > limit.max(self.now) {
                break;
            }
            left -= 1;
            match self.main_step(pe, tasks, time)? {
                Main::Took(cycles) => time += cycles,
                Main::Later => break,
                Main::Ends => return Ok(None),
                Main::Waits(wait) => return Ok(Some(wait)),
            }
        }
        self.band.pes[pe].free = time;
        Ok(None)
    }

    /// A step of the main thread at a time that may lie ahead of the clock.
    pub(super) fn main_step(&mut self, pe: usize, tasks: &[TaskCode], time: u64) -> Result<Main, Fault> {
        let machine = self.shared.machine;
        if let Some(mut work) = self.band.pes[pe].main.take() {
            if time > self.now {
                self.band.pes[pe].main = Some(work);
                return Ok(Main::Later);
            }
            let outcome = self.chunk(pe, &mut work);
            let done = work.remaining == 0;
            if done {
                self.spare.push(work);
            } else {
                self.band.pes[pe].main = Some(work);
            }
            return Ok(match outcome? {
                Outcome::Ran if done => Main::Took(self.band.pes[pe].free - self.now),
                Outcome::Ran => Main::Ends,
                Outcome::Waits(wait) => Main::Waits(wait),
            });
        }
        let Some(mut running) = self.band.pes[pe].running else {
            if time > self.now {
                return Ok(Main::Later);
            }
            if !self.start_task(pe, tasks)? {
                return Ok(Main::Ends);
            }
            return Ok(self.book(pe, time, u64::from(machine.task_switch_cycles)));
        };
        let step = &tasks[running.task as usize].steps[running.step as usize];
        if self.shared.without_numbers {
            unknown::step(&mut self.band.pes[pe], step)?;
        }
        match step {
            Step::Mark { operator, plus } => {
                let operator = i64::from(*operator) + i64::from(execute::value(&self.band.pes[pe], *plus));
                mark(&mut self.band.pes[pe], &mut self.band.spans, operator, time)?;
                running.step += 1;
            }
            Step::ClaimBegin { claim, tiles } => {
                if let Some(twins) = &mut self.twins {
                    let pe = &mut self.band.pes[pe];
                    let address = |(base, offset)| i64::from(execute::value(pe, base)) + i64::from(offset);
                    let tiles = tiles.map(address);
                    twins.begin(pe, *claim, tiles)?;
                }
                running.step += 1;
            }
            Step::ClaimEnd => {
                if let Some(twins) = &mut self.twins {
                    twins.end(&mut self.band.pes[pe])?;
                }
                running.step += 1;
            }
            Step::Jump(to) => running.step = *to,
            Step::End => {
                let state = &mut self.band.pes[pe];
                state.running = None;
                state.last = state.last.max(time);
                return Ok(Main::Took(0));
            }
            Step::Vector(vector) => return self.vector(pe, vector, running, time),
            Step::SendControl { .. } | Step::SetPosition { .. } if time > self.now => return Ok(Main::Later),
            Step::SendControl { queue, control, payload } => {
                let payload = execute::value(&self.band.pes[pe], *payload) as u32 & 0xFFFF;
                if !self.send_control(pe, *queue, payload, control + 1) {
                    return Ok(Main::Waits(Wait { activity: Activity::FabricOut, until: u64::MAX }));
                }
                running.step += 1;
                self.band.pes[pe].running = Some(running);
                return Ok(self.book(pe, time, u64::from(machine.scalar_cycles)));
            }
            Step::SetPosition { color, position } => {
                let router = &mut self.band.routers[pe];
                if let Some(lane) = router.lane_of(*color) {
                    router.lanes[lane].set_position(*position, self.shared.routes);
                    router.lanes[lane].closed = false;
                    let ports = router.lanes[lane].ports();
                    let node = self.nodes.at(pe, lane);
                    (self.nodes.list[node].rx, self.nodes.list[node].tx) = ports;
                    self.wake_router(pe, self.now);
                }
                running.step += 1;
                self.band.pes[pe].running = Some(running);
                return Ok(self.book(pe, time, u64::from(machine.scalar_cycles)));
            }
            step => {
                let local = execute::local_step(machine, &mut self.band.pes[pe], step, running.step, time)?;
                let (cycles, next) = local.unwrap_or((0, running.step + 1));
                running.step = next;
                self.band.pes[pe].running = Some(running);
                return Ok(self.book(pe, time, u64::from(cycles)));
            }
        }
        self.band.pes[pe].running = Some(running);
        Ok(Main::Took(0))
    }

    /// Books work of the main thread.
    fn book(&mut self, pe: usize, time: u64, cycles: u64) -> Main {
        book(&mut self.band.pes[pe], time, cycles, 0);
        Main::Took(cycles)
    }

    fn start_task(&mut self, pe: usize, tasks: &[TaskCode]) -> Result<bool, Fault> {
        let (now, queues) = (self.now, self.queues.inputs(pe));
        let (inputs, payloads) = (&mut self.inputs[queues], &mut self.payloads);
        let mut taken = None;
        let started = execute::start_task(tasks, &mut self.band.pes[pe], |_, queue| {
            let queue = inputs.get_mut(queue as usize)?;
            queue.head().filter(|run| run.control == 0 && run.first <= now)?;
            taken = queue.take(1, payloads);
            Some(taken.as_ref()?.words(payloads).first().copied().unwrap_or(0))
        });
        if let Some(run) = taken {
            if run.is_unknown() {
                return Err(self.not_known("a word that starts a task"));
            }
            unknown::word_has_come(&mut self.band.pes[pe]);
            self.payloads.release(run.payload);
            self.wake_occupied(pe, now);
            self.tell(run.sender, now + u64::from(run.hops));
        }
        Ok(started)
    }

    /// Puts a control wavelet into an output queue, if it has room.
    fn send_control(&mut self, pe: usize, queue: u8, payload: u32, control: u16) -> bool {
        let port = Port::FabOut { queue, dtype: Dtype::I32 };
        let Some(node) = self.queues.out(pe, queue) else { return false };
        if execute::taken(&self.band.pes[pe], &port, true) || self.room(node, Direction::Ramp as usize, 1) == 0 {
            return false;
        }
        let ready = self.now + 1 + u64::from(self.shared.machine.ramp_cycles);
        let mut words = self.payloads.empty();
        words.push(payload);
        let payload = self.payloads.keep(words);
        self.send(node, Direction::Ramp, Run::new(payload, 1, (ready, ready), control, Sender::Pe(pe as u32)));
        true
    }

    /// Issues a vector instruction.
    fn vector(&mut self, pe: usize, vector: &Vector, running: Running, time: u64) -> Result<Main, Fault> {
        let machine: &Machine = self.shared.machine;
        let alone = self.alone(pe);
        let state = &mut self.band.pes[pe];
        let (startup, scalar) = (u64::from(machine.vector_startup_cycles), u64::from(machine.scalar_cycles));
        let issued = Some(Running { step: running.step + 1, ..running });
        let work = self.spare.pop().unwrap_or_default();
        let mut work = execute::prepare((state.slots, state.unknown.operand), vector, running, work)?;
        let taken = |port: &Port, as_destination| execute::taken(state, port, as_destination);
        if !alone && (work.srcs[..work.arity].iter().any(|port| taken(port, false)) || taken(&work.dst, true)) {
            let out = matches!(work.dst, Port::FabOut { .. });
            let activity = if out { Activity::FabricOut } else { Activity::FabricIn };
            return Ok(Main::Waits(Wait { activity, until: u64::MAX }));
        }
        if work.remaining == 0 {
            if let Some(then) = vector.run_async.and_then(|a| a.then) {
                execute::complete(state, then);
            }
            state.running = issued;
            self.spare.push(work);
            return Ok(self.book(pe, time, scalar));
        }
        if let Some(run_async) = vector.run_async {
            let thread = run_async.microthread as usize;
            let Some(slot) = state.microthreads.get_mut(thread) else {
                return Err(Fault(format!("no microthread {thread}")));
            };
            if slot.is_some() {
                return Ok(Main::Waits(Wait { activity: Activity::FabricIn, until: u64::MAX }));
            }
            work.ready = time + scalar + startup;
            work.then = run_async.then;
            *slot = Some(work);
            self.threads_at_work[pe] += 1;
            state.running = issued;
            return Ok(self.book(pe, time, scalar));
        }
        state.running = issued;
        if element::in_memory(&work)
            && work.remaining <= MOST_AT_ONCE
            && alone
            && let Some((busy, stall)) = match Numbers::of(&self.shared, &work) {
                Numbers::All => bulk::run(state.memory, &mut work, &self.conflicts),
                Numbers::Known => unknown::in_memory(state, &mut work, &self.conflicts),
                Numbers::None => bulk::pass(state.memory.len(), &mut work, &self.conflicts),
            }
        {
            let cycles = startup + busy + stall;
            book(state, time, startup + busy, stall);
            self.spare.push(work);
            return Ok(Main::Took(cycles));
        }
        work.ready = time + startup;
        state.main = Some(work);
        // Other threads may run in the meantime.
        Ok(if alone { self.book(pe, time, startup) } else { Main::Took(0) })
    }
}

/// What became of a step of the main thread.
pub(super) enum Main {
    /// It took so many cycles.
    Took(u64),
    /// It has to wait for the clock.
    Later,
    /// There is nothing to do until the thread is free or something arrives.
    Ends,
    Waits(Wait),
}

/// Books cycles of a PE from one to another: so many of work, so many of waits for memory, and waits of a kind. What another
/// thread has been booked for already does not count again, so that the counters add up to the cycles.
pub(super) fn account(pe: &mut Pe, (from, to): (u64, u64), busy: u64, memory: u64, wait: Activity) {
    pe.account(from);
    let cycles = to.saturating_sub(pe.accounted.max(from));
    let busy = busy.min(cycles);
    let memory = memory.min(cycles - busy);
    pe.counters.busy += busy;
    pe.counters.memory += memory;
    pe.activity = wait;
    pe.account(to);
    if cycles > 0 {
        let waited = match wait {
            Activity::Busy => &mut pe.counters.busy,
            Activity::FabricOut => &mut pe.counters.fabric_out,
            Activity::FabricIn => &mut pe.counters.fabric_in,
            Activity::Idle => &mut pe.counters.idle,
        };
        *waited -= busy + memory;
    }
    pe.last = pe.last.max(to);
}
