//! Threads that share a datapath: an element each in turn, as in the `wavelet` engine, for some cycles at a go.

use super::Stream;
use super::chunk::MOST_AT_ONCE;
use super::payload::Payload;
use super::pe::{Main, account};
use super::run::{Queue, Run, Sender};
use super::values::Numbers;
use crate::machine::decode::TaskCode;
use crate::machine::element::{self, Fault, Wait};
use crate::machine::numerics;
use crate::machine::operand::Port;
use crate::machine::pe::{Activity, Pe, VectorWork};
use crate::machine::unknown;
use crate::twins;
use waferloom_fabric::Direction;

/// Cycles after which a PE looks at what has come in the meantime.
const MOST_CYCLES: u64 = 2;

/// An instruction in its turns.
struct Turn {
    thread: usize,
    work: Box<VectorWork>,
    /// Elements for which wavelets have come, or will come at known times, and for which there is room.
    possible: u64,
    done: u64,
    /// Cycles of the first and of the last element that it has run.
    first: u64,
    last: u64,
    /// What it sends.
    words: Vec<u32>,
    /// Whether any of that is unknown.
    unknown: bool,
}

impl Stream<'_> {
    /// Lets the threads of a PE that has asynchronous instructions at work take turns.
    pub(super) fn threads(&mut self, pe: usize, tasks: &[TaskCode]) -> Result<Option<Wait>, Fault> {
        let threads = 1 + self.band.pes[pe].microthreads.len();
        let mut waiting = None;
        let mut main_waits = self.band.pes[pe].main.is_some() || self.band.pes[pe].running.is_none();
        let first = self.band.pes[pe].turn;
        for offset in 0..threads {
            let thread = (first + offset) % threads;
            if thread == 0 && self.band.pes[pe].main.is_none() {
                match self.main_at_once(pe, tasks)? {
                    Some(Ok(cycles)) => {
                        let state = &mut self.band.pes[pe];
                        state.free = self.now + cycles;
                        state.turn = 1;
                        return Ok(None);
                    }
                    Some(Err(wait)) => {
                        main_waits = true;
                        join(&mut waiting, wait);
                    }
                    None => main_waits = true,
                }
                if self.band.pes[pe].main.is_none() {
                    continue;
                }
            }
            let work = self.take_work(pe, thread);
            let Some(work) = work else { continue };
            let possible = self.possible(pe, &work);
            self.put_work(pe, thread, work);
            match possible {
                Ok(_) => {
                    self.turns(pe, thread, main_waits)?;
                    return Ok(None);
                }
                Err(wait) => join(&mut waiting, wait),
            }
        }
        Ok(waiting)
    }

    /// The main thread's next step that takes time: its cycles, or what it waits for, or nothing.
    fn main_at_once(&mut self, pe: usize, tasks: &[TaskCode]) -> Result<Option<Result<u64, Wait>>, Fault> {
        loop {
            match self.main_step(pe, tasks, self.now)? {
                Main::Took(0) if self.band.pes[pe].main.is_some() => return Ok(None),
                Main::Took(0) => {}
                Main::Took(cycles) => return Ok(Some(Ok(cycles))),
                Main::Waits(wait) => return Ok(Some(Err(wait))),
                Main::Later | Main::Ends => return Ok(None),
            }
        }
    }

    fn take_work(&mut self, pe: usize, thread: usize) -> Option<Box<VectorWork>> {
        let state = &mut self.band.pes[pe];
        if thread == 0 { state.main.take() } else { state.microthreads[thread - 1].take() }
    }

    fn put_work(&mut self, pe: usize, thread: usize, work: Box<VectorWork>) {
        let state = &mut self.band.pes[pe];
        if thread > 0 {
            state.microthreads[thread - 1] = Some(work);
        } else if work.remaining > 0 {
            state.main = Some(work);
        }
    }

    /// Runs elements of the vector instructions at work, that of `first` first. `main_waits`: the main thread has nothing else
    /// to do when its turn comes.
    fn turns(&mut self, pe: usize, first: usize, main_waits: bool) -> Result<(), Fault> {
        let threads = 1 + self.band.pes[pe].microthreads.len();
        let mut list = Vec::new();
        for offset in 0..threads {
            let thread = (first + offset) % threads;
            if thread == 0 && !main_waits {
                break;
            }
            if let Some(work) = self.take_work(pe, thread) {
                let possible = self.possible_soon(pe, &work);
                list.push(Turn {
                    thread,
                    work,
                    possible,
                    done: 0,
                    first: 0,
                    last: 0,
                    words: Vec::new(),
                    unknown: false,
                });
            }
        }
        if let [only] = list.as_slice()
            && main_waits
            && let Ok(possible) = self.possible(pe, &only.work)
        {
            let Some(mut only) = list.pop() else { return Ok(()) };
            let result = self.elements(pe, &mut only.work, possible);
            self.put_work(pe, first, only.work);
            return result;
        }
        let result = self.rounds(pe, &mut list, main_waits);
        for turn in list {
            self.settle(pe, &turn);
            self.put_work(pe, turn.thread, turn.work);
        }
        result
    }

    /// As [`Stream::possible`], with what comes later as well.
    fn possible_soon(&mut self, pe: usize, work: &VectorWork) -> u64 {
        let is_fifo = |port: &Port| matches!(port, Port::Fifo { .. });
        if work.srcs[..work.arity].iter().chain([&work.dst]).any(is_fifo) {
            return self.possible(pe, work).map_or(0, |possible| possible.count.min(1));
        }
        let mut count = work.remaining.min(MOST_AT_ONCE);
        for port in &work.srcs[..work.arity] {
            let Port::FabIn { queue, .. } = port else { continue };
            count = count.min(self.input(pe, *queue).map_or(0, Queue::data));
        }
        let readers = readers(work);
        if readers > 1 {
            count = u64::from(count >= readers);
        }
        if let Port::FabOut { queue, .. } = work.dst {
            let room = self.queues.out(pe, queue).map_or(0, |node| self.room(node, Direction::Ramp as usize, count));
            count = count.min(room);
        }
        count
    }

    /// Takes turns until the main thread's comes, an instruction ends, or enough cycles have passed.
    fn rounds(&mut self, pe: usize, list: &mut [Turn], main_waits: bool) -> Result<(), Fault> {
        let now = self.now;
        let threads = 1 + self.band.pes[pe].microthreads.len();
        let (mut time, mut busy, mut stall) = (now, 0, 0);
        let mut at = 0;
        let mut idle_from = now;
        while time < now + MOST_CYCLES && !list.is_empty() {
            // What comes down the ramp, and room, may be known no longer than the ramp takes.
            let starves = |turn: &Turn| turn.done >= turn.possible && turn.work.remaining > 0;
            if time >= now + u64::from(self.shared.machine.ramp_cycles).max(1) && list.iter().any(starves) {
                break;
            }
            let runnable = (0..list.len()).map(|i| (at + i) % list.len()).find(|&i| self.runs_at(pe, &list[i], time));
            let Some(index) = runnable else {
                if !main_waits {
                    break;
                }
                time += 1;
                continue;
            };
            if index < at && !main_waits {
                break;
            }
            let cycles = self.one(pe, &mut list[index], time)?;
            busy += 1;
            stall += cycles - 1;
            time += cycles;
            idle_from = time;
            self.band.pes[pe].turn = (list[index].thread + 1) % threads;
            at = index + 1;
            if list[index].work.remaining == 0 || at == list.len() && !main_waits {
                break;
            }
            at %= list.len();
        }
        // Cycles at the end in which nobody could run are left to what may come.
        let end = idle_from.max(now + 1);
        account(&mut self.band.pes[pe], (now, end), busy, stall, Activity::FabricIn);
        self.band.pes[pe].free = end;
        Ok(())
    }

    /// Whether the next element of an instruction can run in a cycle.
    fn runs_at(&self, pe: usize, turn: &Turn, time: u64) -> bool {
        if turn.work.remaining == 0 || time < turn.work.ready {
            return false;
        }
        let fifos = &self.band.pes[pe].fifos;
        let mut has_fifo = false;
        for (i, port) in turn.work.srcs[..turn.work.arity].iter().enumerate() {
            match port {
                Port::FabIn { queue, .. } => {
                    let next = self.input(pe, *queue).and_then(|q| q.nth(turn.done));
                    if turn.done < turn.possible && next.is_none_or(|(run, place)| run.time(place) > time) {
                        return false;
                    }
                }
                Port::Fifo { fifo, .. } => {
                    has_fifo = true;
                    let same = |p: &&Port| matches!(p, Port::Fifo { fifo: f, .. } if f == fifo);
                    let earlier = turn.work.srcs[..i].iter().filter(same).count();
                    if fifos.get(*fifo as usize).is_none_or(|f| f.filled as usize <= earlier) {
                        return false;
                    }
                }
                _ => {}
            }
        }
        if let Port::Fifo { fifo, .. } = turn.work.dst {
            has_fifo = true;
            if fifos.get(fifo as usize).is_none_or(|f| f.filled >= f.words) {
                return false;
            }
        }
        let fabric = turn.work.srcs.iter().chain([&turn.work.dst]);
        let fabric = fabric.into_iter().any(|p| matches!(p, Port::FabIn { .. } | Port::FabOut { .. }));
        turn.done < turn.possible || has_fifo && !fabric
    }

    /// Runs what a thread does in a cycle; gives its cycles.
    fn one(&mut self, pe: usize, turn: &mut Turn, time: u64) -> Result<u64, Fault> {
        let machine = self.shared.machine;
        let (first, inputs, payloads) = (self.queues.first_input(pe) as usize, &self.inputs, &self.payloads);
        let Turn { work, words, done, unknown, .. } = turn;
        let (numbers, heeds_claims) = (Numbers::of(&self.shared, work), self.twins.is_some());
        let lanes = if element::in_memory(work) { u64::from(work.lanes).max(1).min(work.remaining) } else { 1 };
        let shared_queue = readers(work) > 1;
        let mut worst = 0;
        for _ in 0..lanes {
            let index = *done;
            if numbers == Numbers::None {
                *unknown = true;
            } else if numbers == Numbers::Known || heeds_claims {
                let run = |source: usize| match work.srcs[source] {
                    Port::FabIn { queue, .. } => {
                        let index = index + if shared_queue { source as u64 } else { 0 };
                        inputs[first + queue as usize].nth(index).is_some_and(|(run, _)| run.is_unknown())
                    }
                    _ => false,
                };
                let runs = [0, 1, 2].map(run);
                let state = &mut self.band.pes[pe];
                if numbers == Numbers::Known {
                    let result = unknown::is_unknown(state, work, 1, runs);
                    unknown::mark(state, &work.dst, 1, result);
                    *unknown |= result;
                } else if runs.contains(&true) {
                    return Err(twins::left_out("a number that was received"));
                }
            }
            let take = |_: &mut Pe, source: usize, queue: u8| {
                let index = index + if shared_queue { source as u64 } else { 0 };
                let found = inputs[first + queue as usize].nth(index);
                found.and_then(|(run, place)| run.words(payloads).get(place as usize)).copied().unwrap_or(0)
            };
            let (operands, stall) = element::read_sources(&mut self.band.pes[pe], work, machine, take)?;
            let result = numerics::apply(work.op, operands);
            if let Port::FabOut { dtype, .. } = work.dst {
                words.push(result.to_bits(dtype));
            } else {
                element::write_result(&mut self.band.pes[pe], work, result)?;
            }
            worst = worst.max(stall);
            work.remaining -= 1;
            *done += 1;
        }
        if *done == lanes {
            turn.first = time;
        }
        turn.last = time;
        Ok(1 + u64::from(worst))
    }

    /// Takes the wavelets that an instruction has received, and sends what it has to send.
    fn settle(&mut self, pe: usize, turn: &Turn) {
        if turn.done == 0 {
            return;
        }
        for port in &turn.work.srcs[..turn.work.arity] {
            let Port::FabIn { queue, .. } = port else { continue };
            let queue = self.queues.first_input(pe) as usize + usize::from(*queue);
            self.inputs[queue].until(turn.done, turn.last);
            let mut left = turn.done;
            while left > 0
                && let Some(run) = self.inputs[queue].take(left, &mut self.payloads)
            {
                left -= run.count;
                self.payloads.release(run.payload);
                self.tell(run.sender, turn.last + u64::from(run.hops));
            }
            self.wake_occupied(pe, turn.last);
        }
        if let Port::FabOut { queue, .. } = turn.work.dst
            && let Some(node) = self.queues.out(pe, queue)
        {
            let delay = 1 + u64::from(self.shared.machine.ramp_cycles);
            let times = (turn.first + delay, turn.last + delay);
            let payload = if turn.unknown { Payload::UNKNOWN } else { self.payloads.keep(turn.words.clone()) };
            self.send(node, Direction::Ramp, Run::new(payload, turn.words.len(), times, 0, Sender::Pe(pe as u32)));
        }
    }
}

/// How many sources read the same queue, at the most.
fn readers(work: &VectorWork) -> u64 {
    let same =
        |a: &Port, b: &Port| matches!((a, b), (Port::FabIn { queue: a, .. }, Port::FabIn { queue: b, .. }) if a == b);
    let sources = &work.srcs[..work.arity];
    sources.iter().map(|a| sources.iter().filter(|b| same(a, b)).count() as u64).max().unwrap_or(0)
}

/// Adds what another thread waits for: the soonest end counts, and work under way before room before wavelets.
fn join(waiting: &mut Option<Wait>, wait: Wait) {
    let first = waiting.get_or_insert(wait);
    let rank = |a| [Activity::Busy, Activity::FabricOut, Activity::FabricIn].iter().position(|&x| x == a);
    if rank(wait.activity) < rank(first.activity) {
        first.activity = wait.activity;
    }
    first.until = first.until.min(wait.until);
}
