//! Vector instructions, for all members of a group.

use super::super::chunk::MOST_AT_ONCE;
use super::super::run::{Run, Sender};
use super::super::values::{values, values_timed};
use super::flight::LANDED;
use super::group::{Group, write_back};
use super::liveness::accessed;
use super::way::Incoming;
use super::{Groups, Stop};
use crate::machine::decode::Vector;
use crate::machine::operand::{Access, Number, Port};
use crate::machine::pe::{Running, VectorWork};
use crate::machine::{bulk, steps, unknown};
use waferloom_fabric::Direction;

/// A part of an instruction that has been sent, until it is known when its last wavelet could be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flying {
    began: u64,
    elements: u64,
    stall: u64,
    /// Cycles that it takes when nobody holds it up.
    cycles: u64,
    /// Whether it takes wavelets itself.
    receives: bool,
}

impl Groups<'_> {
    /// Runs an instruction; gives the group of those that are done with it, if any are at once.
    pub(super) fn vector(&mut self, mut group: Group, vector: &Vector) -> Result<Option<Group>, Stop> {
        let operands = || vector.srcs.iter().chain([&vector.dst]);
        let alike = operands().all(|access| accessed(access) & group.varies == 0);
        if !operands().any(|access| matches!(access, Access::FabIn { .. } | Access::FabOut { .. })) {
            if alike {
                self.in_memory_alike(&mut group, vector)?;
            } else {
                self.settle(&mut group);
                for i in 0..group.members.len() {
                    self.in_memory_alone(&group, group.members[i], vector)?;
                }
            }
            group.step += 1;
            return Ok(Some(group));
        }
        let template = match group.members.first() {
            Some(&pe) if alike => Some(self.prepare(&group, pe, vector)?),
            _ => None,
        };
        self.each_member(group, |groups, group, pe| {
            let kept = groups.band.pes[pe as usize].main.take();
            let mut work = match (kept, &template) {
                (Some(work), _) => *work,
                (None, Some(work)) => groups.issue(pe, work.clone()),
                (None, None) => {
                    let work = groups.prepare(group, pe, vector)?;
                    groups.issue(pe, work)
                }
            };
            while work.remaining > 0 {
                if !groups.part(pe, &mut work)? {
                    groups.band.pes[pe as usize].main = Some(Box::new(work));
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }

    /// Does something for each member of a group, in ascending order, and again for those that had to wait once they are
    /// woken. Gives those that are done with the step; others wait.
    fn each_member(
        &mut self,
        mut group: Group,
        mut attempt: impl FnMut(&mut Self, &Group, u32) -> Result<bool, Stop>,
    ) -> Result<Option<Group>, Stop> {
        self.settle(&mut group);
        let members = std::mem::take(&mut group.members);
        let (mut done, mut todo, mut waits) = (Vec::with_capacity(members.len()), members, None);
        while !todo.is_empty() {
            for &pe in &todo {
                if attempt(self, &group, pe)? {
                    done.push(pe);
                } else {
                    let waits = *waits.get_or_insert_with(|| self.schedule.open(&group));
                    self.schedule.wait(waits, pe);
                }
            }
            todo = waits.map_or_else(Vec::new, |waits| self.schedule.take_woken(waits));
            todo.sort_unstable();
        }
        if let Some(waits) = waits {
            self.schedule.close_if_empty(waits);
            done.sort();
        }
        group.step += 1;
        Ok((!done.is_empty()).then_some(Group { members: done, ..group }))
    }

    /// An instruction with the operands of a member.
    fn prepare(&mut self, group: &Group, pe: u32, vector: &Vector) -> Result<VectorWork, Stop> {
        let state = &mut self.band.pes[pe as usize];
        write_back(state, &group.slots, !group.varies);
        steps::prepare(state, vector, Running { task: 0, step: group.step }).map_err(|_| Stop::Unfit)
    }

    /// The start-up of an instruction; one without elements is over at once.
    fn issue(&mut self, pe: u32, work: VectorWork) -> VectorWork {
        let machine = self.shared.machine;
        let cycles = if work.remaining == 0 { machine.scalar_cycles } else { machine.vector_startup_cycles };
        let clock = &mut self.clocks[pe as usize];
        clock.time += u64::from(cycles);
        clock.busy += u64::from(cycles);
        work
    }

    /// An instruction over memory with the same operands in all members.
    fn in_memory_alike(&mut self, group: &mut Group, vector: &Vector) -> Result<(), Stop> {
        let Some(&first) = group.members.first() else { return Ok(()) };
        let machine = self.shared.machine;
        let bytes = self.band.pes[first as usize].memory.len();
        let mut shape = None;
        if !self.shared.without_numbers
            && let Some(nest) = &vector.nest
            && let Some(placed) = nest.place(&group.slots, bytes, u64::MAX, &mut shape)
            && placed.elements() > 0
        {
            let (busy, stall) = placed.cycles(&mut self.conflicts);
            for &pe in &group.members {
                placed.compute(&mut self.band.pes[pe as usize].memory);
            }
            group.worked += u64::from(machine.vector_startup_cycles) + busy;
            group.waited += stall;
            return Ok(());
        }
        let template = self.prepare(group, first, vector)?;
        if template.remaining == 0 {
            group.worked += u64::from(machine.scalar_cycles);
            return Ok(());
        }
        let mut cycles = (0, 0);
        for &pe in &group.members {
            cycles = self.compute(pe, template.clone())?;
        }
        group.worked += u64::from(machine.vector_startup_cycles) + cycles.0;
        group.waited += cycles.1;
        Ok(())
    }

    /// The numbers of an instruction over memory, its cycles and its waits for memory.
    fn compute(&mut self, pe: u32, mut work: VectorWork) -> Result<(u64, u64), Stop> {
        let state = &mut self.band.pes[pe as usize];
        let done = if self.shared.without_numbers {
            unknown::in_memory(state, &mut work, &self.conflicts)
        } else {
            bulk::run(&mut state.memory, &mut work, &self.conflicts)
        };
        done.ok_or(Stop::Unfit)
    }

    /// An instruction over memory in one PE.
    fn in_memory_alone(&mut self, group: &Group, pe: u32, vector: &Vector) -> Result<(), Stop> {
        let work = self.prepare(group, pe, vector)?;
        let work = self.issue(pe, work);
        if work.remaining == 0 {
            return Ok(());
        }
        let state = &mut self.band.pes[pe as usize];
        let nested = match &vector.nest {
            Some(nest) if !self.shared.without_numbers => steps::nest(state, nest, &mut self.conflicts, u64::MAX),
            _ => None,
        };
        let (busy, stall) = match nested {
            Some((_, cycles)) => cycles,
            None => self.compute(pe, work)?,
        };
        let clock = &mut self.clocks[pe as usize];
        clock.time += busy + stall;
        clock.busy += busy;
        clock.memory += stall;
        Ok(())
    }

    /// Runs as much of an instruction over the fabric as can be run at a stretch; says whether the PE can go on.
    fn part(&mut self, pe: u32, work: &mut VectorWork) -> Result<bool, Stop> {
        let index = pe as usize;
        let mut now = self.clocks[index].time;
        let mut count = work.remaining.min(MOST_AT_ONCE);
        for port in &work.srcs[..work.arity] {
            let Port::FabIn { queue, .. } = port else { continue };
            let Some(input) = self.input(pe, *queue) else { return Err(Stop::Unfit) };
            self.update_head(input);
            let queue = &mut self.queues[input];
            let Some(head) = queue.runs.front() else {
                queue.is_awaited = true;
                return Ok(false);
            };
            now = now.max(head.run.first);
            count = count.min(head.run.count);
        }
        let out = match work.dst {
            Port::FabOut { queue, .. } => Some(self.out(pe, queue).ok_or(Stop::Unfit)?),
            _ => None,
        };
        if let Some(node) = out
            && let Err(closed) = self.find_way(node, Direction::Ramp, false)
        {
            self.wait_for_switch.entry(closed).or_default().push(pe);
            return Ok(false);
        }
        if !self.book(pe, work, count, now) {
            return Ok(false);
        }
        self.transfer(pe, work, count, now, out.is_some())
    }

    /// Books that an instruction takes wavelets, and waits until it is known when the last of them come.
    fn book(&mut self, pe: u32, work: &VectorWork, count: u64, now: u64) -> bool {
        let first_time = self.begun[pe as usize].replace(now).is_none();
        let queues = work.srcs[..work.arity].iter();
        let queues = queues.filter_map(|port| if let Port::FabIn { queue, .. } = port { Some(*queue) } else { None });
        for input in queues.filter_map(|queue| self.input(pe, queue)).collect::<Vec<_>>() {
            if first_time {
                self.book_taking(input, count, now);
            }
            let Some(&Incoming { run, flight, .. }) = self.queues[input].runs.front() else { continue };
            if count == run.count && self.flights.is_open(flight) {
                self.flights.wait(flight, pe);
                return false;
            }
            self.update_head(input);
        }
        self.begun[pe as usize] = None;
        true
    }

    /// Elements whose wavelets have come: their numbers, what they send, and when they are done.
    fn transfer(&mut self, pe: u32, work: &mut VectorWork, count: u64, now: u64, sends: bool) -> Result<bool, Stop> {
        let index = pe as usize;
        let machine = self.shared.machine;
        let mut taken: [Option<Run>; 3] = [None, None, None];
        let mut last_arrival = now;
        for (slot, port) in taken.iter_mut().zip(&work.srcs[..work.arity]) {
            if let Port::FabIn { queue, .. } = port
                && let Some(input) = self.input(pe, *queue)
                && let Some(Incoming { run, flight, .. }) = self.take(input, count)
            {
                last_arrival = last_arrival.max(run.last);
                *slot = Some(run);
                self.flights.release(flight);
            }
        }
        let values = if self.shared.without_numbers { values_timed } else { values };
        let state = &mut self.band.pes[index];
        let (data, stall) = values(state, work, machine, &taken, count, &mut self.payloads).map_err(|_| Stop::Unfit)?;
        let cycles = (count + stall).max(last_arrival - now + 1);
        let receives = taken.iter().any(Option::is_some);
        let flying = Flying { began: now, elements: count, stall, cycles, receives };
        let delay = 1 + u64::from(machine.ramp_cycles);
        let run = data.into_run((now + delay, now + cycles - 1 + delay), Sender::Pe(pe), &mut self.payloads);
        for run in taken.iter().flatten() {
            self.payloads.release(run.payload);
        }
        let Some(run) = run.filter(|_| sends) else {
            self.complete(pe, &flying, 0);
            return Ok(true);
        };
        let flight = self.flights.begin(pe);
        self.bring(&run, flight);
        self.flying[index] = Some(flying);
        if self.flights.is_open(flight) {
            return Ok(false);
        }
        self.land(flight);
        Ok(true)
    }

    /// All receivers of a flight are known: its sender ends, and whoever waits for its last wavelet goes on.
    pub(super) fn land(&mut self, flight: u32) {
        let sender = self.flights.sender(flight);
        if let Some(flying) = self.flying[sender as usize].take() {
            let end = (flying.began + flying.cycles).max(self.flights.bound(flight) + 1);
            let delay = end - (flying.began + flying.cycles);
            self.flights.set_delay(flight, delay);
            self.complete(sender, &flying, delay);
        }
        self.schedule.wake(sender);
        for pe in self.flights.take_waiting(flight) {
            self.schedule.wake(pe);
        }
        self.flights.end(flight);
    }

    /// Sets a PE's clock behind elements that it has run; their last one was sent some cycles late.
    fn complete(&mut self, pe: u32, flying: &Flying, delay: u64) {
        let clock = &mut self.clocks[pe as usize];
        clock.fabric_in += flying.began.saturating_sub(clock.time);
        clock.busy += flying.elements;
        clock.memory += flying.stall;
        let rest = flying.cycles - flying.elements - flying.stall;
        *if flying.receives { &mut clock.fabric_in } else { &mut clock.busy } += rest;
        clock.fabric_out += delay;
        clock.time = flying.began + flying.cycles + delay;
    }

    /// Sends a control wavelet from each member of a group.
    pub(super) fn send_control(
        &mut self,
        group: Group,
        queue: u8,
        control: u16,
        payload: Number,
    ) -> Result<Option<Group>, Stop> {
        let machine = self.shared.machine;
        self.each_member(group, |groups, group, pe| {
            let node = groups.out(pe, queue).ok_or(Stop::Unfit)?;
            if let Err(closed) = groups.find_way(node, Direction::Ramp, true) {
                groups.wait_for_switch.entry(closed).or_default().push(pe);
                return Ok(false);
            }
            let mut words = groups.payloads.empty();
            words.push(groups.value(group, pe, payload) as u32 & 0xFFFF);
            let payload = groups.payloads.keep(words);
            let clock = &mut groups.clocks[pe as usize];
            let ready = clock.time + 1 + u64::from(machine.ramp_cycles);
            clock.time += u64::from(machine.scalar_cycles);
            clock.busy += u64::from(machine.scalar_cycles);
            groups.bring(&Run::new(payload, 1, (ready, ready), control + 1, Sender::Pe(pe)), LANDED);
            Ok(true)
        })
    }

    /// An input queue of a PE.
    fn input(&self, pe: u32, queue: u8) -> Option<usize> {
        let index = self.first_input[pe as usize] + u32::from(queue);
        (index < self.first_input[pe as usize + 1]).then_some(index as usize)
    }

    /// The node into which an output queue of a PE leads.
    fn out(&self, pe: u32, queue: u8) -> Option<usize> {
        let queues = self.shared.machine.output_queue_depths.len();
        let node = self.outputs[pe as usize * queues..][..queues].get(usize::from(queue));
        node.filter(|&&node| node != super::NONE).map(|&node| node as usize)
    }

    /// When the head of a queue belongs to a flight that has landed, it gets its time.
    fn update_head(&mut self, input: usize) {
        if let Some(head) = self.queues[input].runs.front_mut()
            && head.flight != LANDED
            && !self.flights.is_open(head.flight)
        {
            head.run.last = head.run.last.max(head.unhindered + self.flights.delay(head.flight));
            self.flights.release(std::mem::replace(&mut head.flight, LANDED));
        }
    }

    /// Takes wavelets from the head of a queue; the payload and the flight that come with them are to be released.
    fn take(&mut self, input: usize, count: u64) -> Option<Incoming> {
        let head = *self.queues[input].runs.front()?;
        if count < head.run.count {
            self.payloads.share(head.run.payload);
            self.flights.share(head.flight);
        }
        self.queues[input].take(count)
    }
}
