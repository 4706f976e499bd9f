//! Vector instructions, for all members of a group.

use super::super::chunk::MOST_AT_ONCE;
use super::super::run::Run;
use super::super::values::{Sent, values, values_left_out, values_timed};
use super::clocks::Part;
use super::flight::LANDED;
use super::group::Group;
use super::liveness::accessed;
use super::queue::Incoming;
use super::registers::each;
use super::send::Outcome;
use super::{Groups, Stop};
use crate::machine::decode::Vector;
use crate::machine::operand::{Access, Port};
use crate::machine::pe::{Running, VectorWork};
use crate::machine::steps;

/// How far a PE is with an instruction over the fabric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    #[default]
    Fresh,
    /// It has been paid for.
    Issued,
    /// It takes wavelets whose last one's time is not known yet.
    Booked,
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

    /// The PE's own, from now on; `unused` gives an instruction to be filled.
    fn own(&mut self, unused: impl FnOnce() -> Box<VectorWork>) -> Result<&mut VectorWork, Stop> {
        if let Work::Shared(work) = self {
            let mut own = unused();
            own.as_mut().clone_from(work);
            *self = Work::Own(own);
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
        let shared = template.as_ref().map(|work| self.silence(group.class, work));
        let rest = self.each_member(group, |groups, group, pe| {
            let index = pe as usize;
            let stage = groups.progress[index];
            // Only who has begun may have come so far that the instruction is its own.
            let own = if stage == Stage::Fresh { None } else { groups.band.pes[index].main.take() };
            if stage == Stage::Sent {
                groups.progress[index] = Stage::Fresh;
                groups.unused.extend(own);
                return Ok(Outcome::Done);
            }
            let mut work = match (own, &template) {
                (Some(work), _) => Work::Own(work),
                (None, Some(work)) => Work::Shared(work),
                (None, None) => Work::Own(groups.prepare(group, pe, vector)?),
            };
            let silence = match (&work, shared) {
                (Work::Shared(_), Some(silence)) => silence,
                _ => groups.silence(group.class, work.get()),
            };
            let outcome = groups.attempt(pe, &mut work, silence)?;
            match (outcome, work) {
                (Outcome::Waits, Work::Own(work)) => groups.band.pes[index].main = Some(work),
                (_, Work::Own(work)) => groups.unused.push(work),
                (_, Work::Shared(_)) => {}
            }
            Ok(outcome)
        });
        self.unused.extend(template);
        rest
    }

    /// An instruction that only receives, if all that it takes is there and nobody has to know it: most are like that, and this
    /// is a short way to what [`Groups::part`] would do. Says whether it is done; else nothing is.
    fn receive(&mut self, pe: u32, work: &VectorWork, silence: Silence) -> Result<bool, Stop> {
        let elements = work.remaining;
        let mut queues = work.srcs[..work.arity].iter().filter_map(|port| match port {
            Port::FabIn { queue, .. } => Some(*queue),
            _ => None,
        });
        let (Some(queue), None) = (queues.next(), queues.next()) else { return Ok(false) };
        if silence == Silence::Never || matches!(work.dst, Port::FabOut { .. }) || elements > MOST_AT_ONCE {
            return Ok(false);
        }
        let input = self.queues.at(pe, queue).ok_or(Stop::Unfit)?;
        let Some(head) = self.head(input)? else { return Ok(false) };
        let is_silent = silence == Silence::Always || head.is_unknown();
        if elements != u64::from(head.count) || head.flight != LANDED || !is_silent {
            return Ok(false);
        }
        let startup = u64::from(self.shared.machine.vector_startup_cycles);
        let began = head.first.max(self.clocks.time(pe) + startup);
        let cycles = elements.max((head.last() + 1).saturating_sub(began));
        self.book_taking(input, elements, began)?;
        self.take(input, elements);
        self.payloads.release(head.payload);
        self.clocks.work(pe, startup, 0);
        self.clocks.complete(pe, &Part { began, elements, stall: 0, cycles, receives: true }, 0);
        Ok(true)
    }

    /// Goes on with an instruction of a PE.
    fn attempt(&mut self, pe: u32, work: &mut Work<'_>, silence: Silence) -> Result<Outcome, Stop> {
        let index = pe as usize;
        if self.progress[index] == Stage::Fresh {
            if self.receive(pe, work.get(), silence)? {
                return Ok(Outcome::Done);
            }
            self.issue(pe, work.get().remaining);
            self.progress[index] = Stage::Issued;
        }
        let mut left = work.get().remaining;
        while left > 0 {
            match self.part(pe, work, silence)? {
                (count, Outcome::Done) => left -= count,
                (_, outcome) => return Ok(outcome),
            }
        }
        self.progress[index] = Stage::Fresh;
        Ok(Outcome::Done)
    }

    /// An instruction with the operands of a member.
    pub(super) fn prepare(&mut self, group: &Group, pe: u32, vector: &Vector) -> Result<Box<VectorWork>, Stop> {
        let state = &mut self.band.pes[pe as usize];
        for slot in each(self.flows[usize::from(group.class)].reads[group.step as usize]) {
            let number = if group.is_varying(slot) {
                self.registers.get(slot, pe)
            } else {
                group.slots.get(slot as usize).copied().unwrap_or(0)
            };
            steps::set_slot(state, slot, number);
        }
        let work = self.unused.pop().unwrap_or_default();
        steps::prepare(state, vector, Running { task: 0, step: group.step }, work).map_err(|_| Stop::Unfit)
    }

    /// The start-up of an instruction; one without elements is over at once.
    pub(super) fn issue(&mut self, pe: u32, elements: u64) {
        let machine = self.shared.machine;
        let cycles = if elements == 0 { machine.scalar_cycles } else { machine.vector_startup_cycles };
        self.clocks.work(pe, cycles.into(), 0);
    }

    /// Runs as much of an instruction over the fabric as can be run at a stretch; gives its elements.
    fn part(&mut self, pe: u32, work: &mut Work<'_>, silence: Silence) -> Result<(u64, Outcome), Stop> {
        let ports = work.get();
        let mut now = self.clocks.time(pe);
        let mut count = ports.remaining.min(MOST_AT_ONCE);
        for port in &ports.srcs[..ports.arity] {
            let Port::FabIn { queue, .. } = port else { continue };
            let Some(input) = self.queues.at(pe, *queue) else { return Err(Stop::Unfit) };
            let Some(head) = self.head(input)? else {
                self.queues.wait(input);
                return Ok((0, Outcome::Waits));
            };
            now = now.max(head.first);
            count = count.min(head.count.into());
        }
        let mut way = None;
        if let Port::FabOut { queue, .. } = ports.dst {
            let lane = self.lanes.out(pe, queue).ok_or(Stop::Unfit)?;
            if !self.can_send(pe, lane, false) {
                return Ok((0, Outcome::Waits));
            }
            way = Some(lane);
        }
        if !self.book(pe, ports, count, now)? {
            return Ok((0, Outcome::Waits));
        }
        Ok((count, self.transfer(pe, work, (count, now), silence, way)?))
    }

    /// Books that an instruction takes wavelets, and waits until it is known when the last of them come.
    fn book(&mut self, pe: u32, work: &VectorWork, count: u64, now: u64) -> Result<bool, Stop> {
        let first_time = self.progress[pe as usize] != Stage::Booked;
        for port in &work.srcs[..work.arity] {
            let Port::FabIn { queue, .. } = port else { continue };
            let Some(input) = self.queues.at(pe, *queue) else { continue };
            if first_time {
                self.book_taking(input, count, now)?;
            }
            let Some(head) = self.head(input)? else { continue };
            let (flight, is_all) = (head.flight, count == u64::from(head.count));
            if is_all && self.flights.is_open(flight) {
                self.flights.wait(flight, pe);
                self.progress[pe as usize] = Stage::Booked;
                return Ok(false);
            }
        }
        self.progress[pe as usize] = Stage::Issued;
        Ok(true)
    }

    /// Elements whose wavelets have come: their numbers, what they send, and when they are done. `way` is the lane that they leave by.
    fn transfer(
        &mut self,
        pe: u32,
        work: &mut Work<'_>,
        (count, now): (u64, u64),
        silence: Silence,
        way: Option<u32>,
    ) -> Result<Outcome, Stop> {
        let ports = work.get();
        let mut taken: [Option<Incoming>; 3] = [None, None, None];
        let mut last_arrival = now;
        for (slot, port) in taken.iter_mut().zip(&ports.srcs[..ports.arity]) {
            if let Port::FabIn { queue, .. } = port
                && let Some(input) = self.queues.at(pe, *queue)
                && let Some(run) = self.take(input, count)
            {
                last_arrival = last_arrival.max(run.last());
                *slot = Some(run);
            }
        }
        let is_silent = match silence {
            Silence::Never => false,
            Silence::Always => true,
            Silence::AsReceived => taken.iter().flatten().any(Incoming::is_unknown),
        };
        let is_whole = count == ports.remaining;
        let (data, stall) = match (is_silent && is_whole, way) {
            (true, None) => (Sent::Nothing, 0),
            (true, Some(_)) => (Sent::Unknown(count as usize), 0),
            (false, _) => {
                let own = work.own(|| self.unused.pop().unwrap_or_default())?;
                self.numbers(pe, own, &taken, count)?
            }
        };
        let cycles = (count + stall).max(last_arrival - now + 1);
        let receives = taken.iter().any(Option::is_some);
        let part = Part { began: now, elements: count, stall, cycles, receives };
        let ends = is_whole || work.get().remaining == 0;
        let outcome = if let Some(lane) = way {
            self.send(pe, &part, data, lane, ends)?
        } else {
            self.clocks.complete(pe, &part, 0);
            Outcome::Done
        };
        for run in taken.iter().flatten() {
            self.payloads.release(run.payload);
        }
        Ok(outcome)
    }

    /// The numbers of elements: what is sent, and the waits for memory.
    fn numbers(
        &mut self,
        pe: u32,
        work: &mut VectorWork,
        taken: &[Option<Incoming>; 3],
        count: u64,
    ) -> Result<(Sent, u64), Stop> {
        let taken = &taken.each_ref().map(|run| run.as_ref().map(Incoming::run));
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

    /// The head of a queue. When it belongs to a flight that has landed, it gets its time.
    fn head(&mut self, input: usize) -> Result<Option<Incoming>, Stop> {
        let Some(head) = self.queues.head(input) else { return Ok(None) };
        let flight = head.flight;
        if flight != LANDED && !self.flights.is_open(flight) {
            head.land(self.flights.delay(flight))?;
            self.flights.release(flight);
        }
        Ok(Some(*head))
    }

    /// Takes wavelets from the head of a queue; the payload that comes with them is to be released.
    fn take(&mut self, input: usize, count: u64) -> Option<Incoming> {
        let (taken, is_part) = self.queues.take(input, count)?;
        if is_part {
            self.payloads.share(taken.payload);
        } else {
            self.flights.release(taken.flight);
        }
        Some(taken)
    }
}
