//! Vector instructions, for all members of a group.

use super::super::chunk::MOST_AT_ONCE;
use super::super::run::{Run, Sender};
use super::super::values::{Sent, values, values_left_out, values_timed};
use super::flight::LANDED;
use super::group::{Group, in_order, write_back};
use super::liveness::accessed;
use super::way::Incoming;
use super::{Groups, Stop};
use crate::machine::decode::Vector;
use crate::machine::operand::{Access, Number, Port};
use crate::machine::pe::{Running, VectorWork};
use crate::machine::steps;
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

/// How far a PE is with an instruction over the fabric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    #[default]
    Fresh,
    /// It has been paid for.
    Issued,
    /// All is sent; it ends when its flight lands.
    Sent,
}

/// An instruction at work: as it is in all members of a group, or a PE's own.
enum Work<'a> {
    Shared(&'a VectorWork),
    Own(Box<VectorWork>),
}

impl Work<'_> {
    fn get(&self) -> &VectorWork {
        match self {
            Work::Shared(work) => work,
            Work::Own(work) => work,
        }
    }

    /// The PE's own, from now on.
    fn own(&mut self) -> Result<&mut VectorWork, Stop> {
        if let Work::Shared(work) = self {
            *self = Work::Own(Box::new(work.clone()));
        }
        match self {
            Work::Own(work) => Ok(work),
            Work::Shared(_) => Err(Stop::Unfit),
        }
    }
}

/// In a claim, or a run for the time alone: whether nothing but the time of an instruction needs to be worked out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    Never,
    /// If what it receives is not known.
    AsReceived,
    Always,
}

impl Groups<'_> {
    /// Runs an instruction; gives the group of those that are done with it, if any are at once.
    pub(super) fn vector(&mut self, mut group: Group, vector: &Vector) -> Result<Option<Group>, Stop> {
        let operands = || vector.srcs.iter().chain([&vector.dst]);
        let alike = operands().all(|access| accessed(access) & group.varies == 0);
        if !operands().any(|access| matches!(access, Access::FabIn { .. } | Access::FabOut { .. })) {
            self.in_memory(&mut group, vector, alike)?;
            group.step += 1;
            return Ok(Some(group));
        }
        let template = match group.members.first() {
            Some(&pe) if alike => Some(self.prepare(&group, pe, vector)?),
            _ => None,
        };
        let silence = template.as_ref().map_or(Silence::Never, |work| self.silence(group.class, work));
        self.each_member(group, |groups, group, pe| {
            let index = pe as usize;
            if groups.progress[index] == Stage::Sent {
                groups.progress[index] = Stage::Fresh;
                groups.band.pes[index].main = None;
                return Ok(true);
            }
            let mut work = match (groups.band.pes[index].main.take(), &template) {
                (Some(work), _) => Work::Own(work),
                (None, Some(work)) => Work::Shared(work),
                (None, None) => Work::Own(groups.prepare(group, pe, vector)?),
            };
            let is_done = groups.attempt(pe, &mut work, silence)?;
            if let (false, Work::Own(work)) = (is_done, work) {
                groups.band.pes[index].main = Some(work);
            }
            Ok(is_done)
        })
    }

    /// Goes on with an instruction of a PE; says whether it is done with it.
    fn attempt(&mut self, pe: u32, work: &mut Work<'_>, silence: Silence) -> Result<bool, Stop> {
        let index = pe as usize;
        if self.progress[index] == Stage::Fresh {
            self.issue(pe, work.get().remaining);
        }
        self.progress[index] = Stage::Issued;
        let mut left = work.get().remaining;
        while left > 0 {
            let Some(count) = self.part(pe, work, silence)? else {
                return Ok(false);
            };
            left -= count;
        }
        self.progress[index] = Stage::Fresh;
        Ok(true)
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
            in_order(&mut todo);
        }
        if let Some(waits) = waits {
            self.schedule.close_if_empty(waits);
            in_order(&mut done);
        }
        group.step += 1;
        Ok((!done.is_empty()).then_some(Group { members: done, ..group }))
    }

    /// An instruction with the operands of a member.
    pub(super) fn prepare(&mut self, group: &Group, pe: u32, vector: &Vector) -> Result<Box<VectorWork>, Stop> {
        let state = &mut self.band.pes[pe as usize];
        let needed = self.flows[usize::from(group.class)].reads[group.step as usize];
        write_back(state, &group.slots, needed & !group.varies);
        steps::prepare(state, vector, Running { task: 0, step: group.step }, Box::default()).map_err(|_| Stop::Unfit)
    }

    /// The start-up of an instruction; one without elements is over at once.
    pub(super) fn issue(&mut self, pe: u32, elements: u64) {
        let machine = self.shared.machine;
        let cycles = if elements == 0 { machine.scalar_cycles } else { machine.vector_startup_cycles };
        let clock = &mut self.clocks[pe as usize];
        clock.time += u64::from(cycles);
        clock.busy += u64::from(cycles);
    }

    /// Runs as much of an instruction over the fabric as can be run at a stretch; gives its elements, or nothing when the PE
    /// has to wait.
    fn part(&mut self, pe: u32, work: &mut Work<'_>, silence: Silence) -> Result<Option<u64>, Stop> {
        let ports = work.get();
        let mut now = self.clocks[pe as usize].time;
        let mut count = ports.remaining.min(MOST_AT_ONCE);
        for port in &ports.srcs[..ports.arity] {
            let Port::FabIn { queue, .. } = port else { continue };
            let Some(input) = self.places.input(pe as usize, *queue) else { return Err(Stop::Unfit) };
            self.update_head(input);
            let queue = &mut self.queues[input];
            let Some(head) = queue.runs.front() else {
                queue.is_awaited = true;
                return Ok(None);
            };
            now = now.max(head.run.first);
            count = count.min(head.run.count);
        }
        let out = match ports.dst {
            Port::FabOut { queue, .. } => Some(self.places.out(pe as usize, queue).ok_or(Stop::Unfit)?),
            _ => None,
        };
        if let Some(node) = out
            && let Err(closed) = self.find_way(node, Direction::Ramp, false)
        {
            self.wait_for_switch.entry(closed).or_default().push(pe);
            return Ok(None);
        }
        if !self.book(pe, ports, count, now) {
            return Ok(None);
        }
        let is_sent = self.transfer(pe, work, count, now, silence)?;
        Ok(is_sent.then_some(count))
    }

    /// Books that an instruction takes wavelets, and waits until it is known when the last of them come.
    fn book(&mut self, pe: u32, work: &VectorWork, count: u64, now: u64) -> bool {
        let first_time = self.begun[pe as usize].replace(now).is_none();
        for port in &work.srcs[..work.arity] {
            let Port::FabIn { queue, .. } = port else { continue };
            let Some(input) = self.places.input(pe as usize, *queue) else { continue };
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

    /// Elements whose wavelets have come: their numbers, what they send, and when they are done. Says whether the PE can go
    /// on.
    fn transfer(&mut self, pe: u32, work: &mut Work<'_>, count: u64, now: u64, silence: Silence) -> Result<bool, Stop> {
        let index = pe as usize;
        let ports = work.get();
        let mut taken: [Option<Run>; 3] = [None, None, None];
        let mut last_arrival = now;
        for (slot, port) in taken.iter_mut().zip(&ports.srcs[..ports.arity]) {
            if let Port::FabIn { queue, .. } = port
                && let Some(input) = self.places.input(pe as usize, *queue)
                && let Some(Incoming { run, flight, .. }) = self.take(input, count)
            {
                last_arrival = last_arrival.max(run.last);
                *slot = Some(run);
                self.flights.release(flight);
            }
        }
        let sends = matches!(ports.dst, Port::FabOut { .. });
        let is_silent = match silence {
            Silence::Never => false,
            Silence::Always => true,
            Silence::AsReceived => taken.iter().flatten().any(Run::is_unknown),
        };
        let is_whole = matches!(work, Work::Shared(_)) && count == ports.remaining;
        let (data, stall) = if is_silent && is_whole {
            (if sends { Sent::Unknown(count as usize) } else { Sent::Nothing }, 0)
        } else {
            self.numbers(pe, work.own()?, &taken, count)?
        };
        let cycles = (count + stall).max(last_arrival - now + 1);
        let receives = taken.iter().any(Option::is_some);
        let flying = Flying { began: now, elements: count, stall, cycles, receives };
        let delay = 1 + u64::from(self.shared.machine.ramp_cycles);
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
            if is_whole || work.get().remaining == 0 {
                self.progress[index] = Stage::Sent;
            }
            return Ok(false);
        }
        self.land(flight);
        Ok(true)
    }

    /// The numbers of elements: what is sent, and the waits for memory.
    fn numbers(
        &mut self,
        pe: u32,
        work: &mut VectorWork,
        taken: &[Option<Run>; 3],
        count: u64,
    ) -> Result<(Sent, u64), Stop> {
        let state = &mut self.band.pes[pe as usize];
        let machine = self.shared.machine;
        let done = if self.shared.without_numbers {
            let is_unknown = taken.iter().flatten().any(Run::is_unknown);
            if let Some(marks) = state.class.and_then(|class| self.marks.get_mut(usize::from(class))) {
                if is_unknown { marks.forget(&work.dst, count, false) } else { marks.doubt(&work.dst, count) }
            }
            values_timed(state, work, machine, taken, count, &mut self.payloads)
        } else if work.unknown {
            values_left_out(state, work, machine, taken, count, &mut self.payloads)
        } else if taken.iter().flatten().any(Run::is_unknown) {
            return Err(Stop::Unfit);
        } else {
            values(state, work, machine, taken, count, &mut self.payloads)
        };
        done.map_err(|_| Stop::Unfit)
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
            let node = groups.places.out(pe as usize, queue).ok_or(Stop::Unfit)?;
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
