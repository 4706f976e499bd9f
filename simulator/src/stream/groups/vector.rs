//! Vector instructions, for all members of a group.

use super::group::Group;
use super::liveness::accessed;
use super::registers::each;
use super::send::Outcome;
use super::strip::along_if_equal;
use super::{Groups, Stop};
use crate::machine::bulk;
use crate::machine::decode::Vector;
use crate::machine::pe::{Pe, Running, VectorWork};
use crate::machine::steps;
use std::ops::Range;

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

along_if_equal!(Stage);

/// An instruction at work: as it is in all members of a group, or a PE's own.
pub(super) enum Work<'a> {
    Shared(&'a VectorWork),
    Own(Box<VectorWork>),
}

impl Work<'_> {
    pub(super) fn get(&self) -> &VectorWork {
        match self {
            Work::Shared(work) => work,
            Work::Own(work) => work,
        }
    }

    /// The PE's own, from now on; `unused` gives an instruction to be filled.
    pub(super) fn own(&mut self, unused: impl FnOnce() -> Box<VectorWork>) -> Result<&mut VectorWork, Stop> {
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

/// An instruction as it is in some members of a group.
pub(super) struct Template {
    pub(super) members: Range<u32>,
    pub(super) work: Box<VectorWork>,
    known: Known,
}

/// What is known of an instruction before it is run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// The class of the PEs that run it.
    pub(super) class: u16,
    pub(super) silence: Silence,
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
        let operands = vector.srcs.iter().chain([&vector.dst]);
        let varying = operands.fold(0, |set, access| set | accessed(access)) & group.varies;
        if self.planes.is_some() {
            return self.compute_vector(group, vector, varying);
        }
        if !vector.uses_fabric() {
            self.in_memory(&mut group, vector, varying)?;
            group.step += 1;
            return Ok(Some(group));
        }
        let mut template: Option<Template> = None;
        let rest = self.each_member(group, |groups, group, pe, mut n| {
            let members = pe as usize..(pe + n) as usize;
            let stage = groups.progress.piece(pe, &mut n);
            if stage == Stage::Sent {
                groups.finish_sending(pe, n);
                return Ok((n, Outcome::Done));
            }
            // Only who has begun may have come so far that the instruction is its own.
            if stage != Stage::Fresh && groups.owners > 0 {
                if let Some(work) = groups.take_own(pe) {
                    return Ok((1, groups.attempt_own(group, pe, stage, work)?));
                }
                let is_shared = |pe: &&Pe<'_>| pe.main.is_none();
                n = groups.band.pes[members][..n as usize].iter().take_while(is_shared).count() as u32;
            }
            let known = groups.template_for(template.take(), group, vector, varying, (pe, n))?;
            n = n.min(known.members.end - pe);
            let mut work = Work::Shared(&known.work);
            let outcome = groups.attempt((pe, &mut n), stage, &mut work, known.known)?;
            groups.put_back(pe, outcome, work);
            template = Some(known);
            Ok((n, outcome))
        });
        self.unused.extend(template.map(|template| template.work));
        rest
    }

    /// The instruction as it is in some members: as it is known already, if they are among those for whom it is.
    pub(super) fn template_for(
        &mut self,
        known: Option<Template>,
        group: &Group,
        vector: &Vector,
        varying: u128,
        (pe, n): (u32, u32),
    ) -> Result<Template, Stop> {
        match known {
            Some(known) if known.members.contains(&pe) => Ok(known),
            other => {
                self.unused.extend(other.map(|template| template.work));
                self.template(group, vector, varying, (pe, n))
            }
        }
    }

    /// The instruction as it is in some members, from a PE on, in whose registers `varying` PEs may differ.
    fn template(
        &mut self,
        group: &Group,
        vector: &Vector,
        varying: u128,
        (pe, mut n): (u32, u32),
    ) -> Result<Template, Stop> {
        let members = if varying == 0 {
            0..u32::MAX
        } else {
            self.registers.alike(varying, pe, &mut n);
            pe..pe + n
        };
        let mut slots = std::mem::take(&mut self.slots);
        slots.clone_from(&group.slots);
        for slot in each(self.flows[usize::from(group.class)].reads[group.step as usize] & group.varies) {
            if let Some(number) = slots.get_mut(slot as usize) {
                *number = self.registers.get(slot, pe);
            }
        }
        let (work, running) = (self.unused.pop().unwrap_or_default(), Running { task: 0, step: group.step });
        let work = steps::prepare((&slots, group.is_claimed), vector, running, work).map_err(|_| Stop::Unfit)?;
        self.slots = slots;
        self.tables.overwrite_by(group.class, &work.dst);
        if let Some(planes) = &mut self.planes {
            let cursors = work.srcs[..work.arity].iter().chain([&work.dst]).filter_map(bulk::cursor);
            for cursor in cursors {
                planes.ask_for(cursor.bounds());
            }
        }
        let silence = self.silence(group.class, &work);
        self.touch(group.class, &work, silence);
        Ok(Template { members, work, known: Known { class: group.class, silence } })
    }

    /// Goes on with an instruction that is a PE's own.
    fn attempt_own(&mut self, group: &Group, pe: u32, stage: Stage, work: Box<VectorWork>) -> Result<Outcome, Stop> {
        let known = Known { class: group.class, silence: self.silence(group.class, &work) };
        let mut work = Work::Own(work);
        let outcome = self.attempt((pe, &mut 1), stage, &mut work, known)?;
        self.put_back(pe, outcome, work);
        Ok(outcome)
    }

    /// The instruction that is a PE's own, if it has one.
    pub(super) fn take_own(&mut self, pe: u32) -> Option<Box<VectorWork>> {
        let own = self.band.pes[pe as usize].main.take();
        self.owners -= u32::from(own.is_some());
        own
    }

    /// Keeps an instruction that is a PE's own until that is done.
    fn put_back(&mut self, pe: u32, outcome: Outcome, work: Work<'_>) {
        match (outcome, work) {
            (Outcome::Waits, Work::Own(work)) => {
                self.band.pes[pe as usize].main = Some(work);
                self.owners += 1;
            }
            (_, Work::Own(work)) => self.unused.push(work),
            (_, Work::Shared(_)) => {}
        }
    }

    /// Goes on with an instruction of PEs side by side; `n` becomes how many of them do the same.
    fn attempt(
        &mut self,
        (pe, n): (u32, &mut u32),
        before: Stage,
        work: &mut Work<'_>,
        known: Known,
    ) -> Result<Outcome, Stop> {
        let (mut stage, mut left) = (before, work.get().remaining);
        if left == 0 && stage == Stage::Fresh {
            self.issue(pe, *n, 0);
        }
        while left > 0 {
            match self.part((pe, n), stage, work, known)? {
                (count, Outcome::Done) => left -= count,
                (_, outcome) => return Ok(outcome),
            }
            stage = Stage::Issued;
        }
        if before != Stage::Fresh {
            self.progress.set(pe, *n, Stage::Fresh);
        }
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
        let given = (&*state.slots, group.is_claimed);
        steps::prepare(given, vector, Running { task: 0, step: group.step }, work).map_err(|_| Stop::Unfit)
    }

    /// The start-up of an instruction; one without elements is over at once.
    pub(super) fn issue(&mut self, pe: u32, n: u32, elements: u64) {
        let machine = self.shared.machine;
        let cycles = if elements == 0 { machine.scalar_cycles } else { machine.vector_startup_cycles };
        self.clocks.work(pe, n, cycles.into(), 0);
    }
}
