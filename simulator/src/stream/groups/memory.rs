//! Instructions over memory alone.

use super::group::Group;
use super::members::Members;
use super::vector::Silence;
use super::{Groups, Stop};
use crate::machine::decode::Vector;
use crate::machine::operand::Port;
use crate::machine::pe::VectorWork;
use crate::machine::{bulk, steps, unknown};

impl Groups<'_> {
    /// Runs an instruction over memory in all members of a group, in whose registers `varying` PEs may differ.
    pub(super) fn in_memory(&mut self, group: &mut Group, vector: &Vector, varying: u128) -> Result<(), Stop> {
        if varying != 0 {
            self.settle(group);
            if !self.shared.without_numbers && !group.is_claimed {
                return group.members.pes().try_for_each(|pe| self.in_memory_alone(group, pe, vector));
            }
            let mut alike = group.with(Members::default());
            for (first, count) in group.members.in_rows(self.lanes.width) {
                let mut done = 0;
                while done < count {
                    let (pe, mut n) = (first + done, count - done);
                    self.registers.alike(varying, pe, &mut n);
                    self.in_memory_of((group, &mut alike), (pe, n), vector)?;
                    done += n;
                }
            }
            return Ok(());
        }
        let Some(first) = group.members.first() else { return Ok(()) };
        let template = self.prepare(group, first, vector)?;
        self.tables.overwrite_by(group.class, &template.dst);
        if template.remaining == 0 {
            group.worked += u64::from(self.shared.machine.scalar_cycles);
            return Ok(());
        }
        let silence = self.silence(group.class, &template);
        self.touch(group.class, &template, silence);
        let (busy, stall) = match self.nested((group, first), vector, &template, silence) {
            Some(cycles) => cycles,
            None => self.one_after_another(group, &template)?,
        };
        self.unused.push(template);
        group.worked += u64::from(self.shared.machine.vector_startup_cycles) + busy;
        group.waited += stall;
        Ok(())
    }

    /// As a nest of loops, whose time is worked out once; `None`, with nothing done, where it is none, or some PE may know
    /// numbers that it would have to compute.
    pub(super) fn nested(
        &mut self,
        (group, first): (&Group, u32),
        vector: &Vector,
        work: &VectorWork,
        silence: Silence,
    ) -> Option<(u64, u64)> {
        if self.shared.without_numbers && silence != Silence::Always {
            return None;
        }
        let bytes = self.band.pes[first as usize].bytes();
        let mut shape = None;
        let placed = vector.nest.as_ref().and_then(|nest| nest.place(&group.slots, bytes, u64::MAX, &mut shape));
        let Some(placed) = placed else {
            if silence != Silence::Always {
                return None;
            }
            return self.pass(first, &mut work.clone());
        };
        if silence != Silence::Always {
            for pe in group.members.pes() {
                let state = &mut self.band.pes[pe as usize];
                state.lay_out();
                placed.compute(state.memory);
            }
        }
        Some(placed.cycles(&mut self.conflicts))
    }

    fn one_after_another(&mut self, group: &Group, template: &VectorWork) -> Result<(u64, u64), Stop> {
        self.repeats.written += 1;
        if self.shared.without_numbers && self.is_unknown(group.class, template) {
            for pe in group.members.pes() {
                unknown::mark(&mut self.band.pes[pe as usize], &template.dst, template.remaining, true);
            }
            let all = group.members.count() == self.class_sizes[usize::from(group.class)];
            self.marks[usize::from(group.class)].forget(&template.dst, template.remaining, all);
            return group.members.first().and_then(|pe| self.pass(pe, &mut template.clone())).ok_or(Stop::Unfit);
        }
        let mut cycles = (0, 0);
        for pe in group.members.pes() {
            cycles = self.compute(pe, &mut template.clone())?;
        }
        Ok(cycles)
    }

    /// The numbers of an instruction in one PE, its cycles and its waits for memory.
    fn compute(&mut self, pe: u32, work: &mut VectorWork) -> Result<(u64, u64), Stop> {
        self.repeats.written += 1;
        let class = self.band.pes[pe as usize].class.map_or(0, usize::from);
        if self.shared.without_numbers && self.is_unknown(class as u16, work) {
            unknown::mark(&mut self.band.pes[pe as usize], &work.dst, work.remaining, true);
            self.marks[class].forget(&work.dst, work.remaining, false);
            return self.pass(pe, work).ok_or(Stop::Unfit);
        }
        let state = &mut self.band.pes[pe as usize];
        let done = if self.shared.without_numbers {
            let (target, count) = (work.dst.clone(), work.remaining);
            let done = unknown::in_memory(state, work, &self.conflicts);
            if let Some(marks) = self.marks.get_mut(class) {
                marks.doubt(&target, count);
                marks.touch_if_unknown(&target, &state.unknown);
            }
            done
        } else {
            state.lay_out();
            bulk::run(state.memory, work, &self.conflicts)
        };
        done.ok_or(Stop::Unfit)
    }

    /// The same in PEs side by side that have the same operands: once for all of them, if nothing of it need be computed.
    /// `alike` becomes the group with their operands.
    fn in_memory_of(
        &mut self,
        (group, alike): (&Group, &mut Group),
        (pe, n): (u32, u32),
        vector: &Vector,
    ) -> Result<(), Stop> {
        let work = self.prepare(group, pe, vector)?;
        let silence = self.silence(group.class, &work);
        if silence != Silence::Always {
            self.unused.push(work);
            return (pe..pe + n).try_for_each(|pe| self.in_memory_alone(group, pe, vector));
        }
        self.tables.overwrite_by(group.class, &work.dst);
        self.issue(pe, n, work.remaining);
        if work.remaining > 0 {
            self.touch(group.class, &work, silence);
            alike.slots.clear();
            alike.slots.extend_from_slice(self.band.pes[pe as usize].slots);
            let (busy, stall) = self.nested((alike, pe), vector, &work, silence).ok_or(Stop::Unfit)?;
            self.clocks.work(pe, n, busy, stall);
        }
        self.unused.push(work);
        Ok(())
    }

    /// The same in one PE, whose numbers are computed.
    fn in_memory_alone(&mut self, group: &Group, pe: u32, vector: &Vector) -> Result<(), Stop> {
        let mut work = self.prepare(group, pe, vector)?;
        self.tables.overwrite_by(group.class, &work.dst);
        self.issue(pe, 1, work.remaining);
        if work.remaining == 0 {
            return Ok(());
        }
        let state = &mut self.band.pes[pe as usize];
        let nested = match &vector.nest {
            Some(nest) if !self.shared.without_numbers && !work.unknown => {
                state.lay_out();
                steps::nest(state, nest, &mut self.conflicts, u64::MAX)
            }
            _ => None,
        };
        let (busy, stall) = match nested {
            Some((_, cycles)) => cycles,
            None => self.compute(pe, &mut work)?,
        };
        self.unused.push(work);
        self.clocks.work(pe, 1, busy, stall);
        Ok(())
    }

    /// The time of an instruction of which nothing is computed.
    fn pass(&self, pe: u32, work: &mut VectorWork) -> Option<(u64, u64)> {
        let bytes = self.band.pes[pe as usize].bytes();
        let cursor = |port: &Port| if let Port::Memory(cursor) = port { Some(cursor.fits(bytes)) } else { None };
        let reads = work.srcs[..work.arity].iter().filter_map(cursor);
        // One read a cycle never waits.
        if reads.clone().count() < 2 && reads.chain(cursor(&work.dst)).all(|fits| fits) {
            return Some((work.remaining.div_ceil(u64::from(work.lanes).max(1)), 0));
        }
        bulk::pass(bytes, work, &self.conflicts)
    }

    /// In a run for the time alone: an instruction may write what nobody computes.
    pub(super) fn touch(&mut self, class: u16, work: &VectorWork, silence: Silence) {
        if silence == Silence::Always
            && let Some(marks) = self.marks.get_mut(usize::from(class))
        {
            marks.touch(&work.dst);
        }
    }

    /// Whether it is known beforehand that nothing of an instruction need be computed: it is in a claim, or, in a run for the time alone,
    /// its results are not known and it overwrites nothing that is.
    pub(super) fn silence(&self, class: u16, work: &VectorWork) -> Silence {
        let sources = &work.srcs[..work.arity];
        let reads = sources.iter().filter(|port| matches!(port, Port::Memory(_))).count();
        let received = sources.iter().any(|port| matches!(port, Port::FabIn { .. }));
        // Where wavelets meet two operands in memory, waits are counted element by element.
        if reads > 1 && (received || matches!(work.dst, Port::FabOut { .. })) {
            return Silence::Never;
        }
        if !self.shared.without_numbers {
            // In a claim the host works out the result.
            return if work.unknown { Silence::Always } else { Silence::Never };
        }
        let Some(marks) = self.marks.get(usize::from(class)) else { return Silence::Never };
        let (overwrites, is_float) = match &work.dst {
            Port::Memory(cursor) => (!marks.none_knows(cursor, work.remaining), cursor.dtype.is_float()),
            Port::FabOut { dtype, .. } => (false, dtype.is_float()),
            _ => (true, false),
        };
        if overwrites {
            return Silence::Never;
        }
        if is_float || self.is_unknown(class, work) {
            Silence::Always
        } else if received {
            Silence::AsReceived
        } else {
            Silence::Never
        }
    }

    /// Whether it is known beforehand that the results of an instruction are not known in any PE.
    fn is_unknown(&self, class: u16, work: &VectorWork) -> bool {
        let Some(marks) = self.marks.get(usize::from(class)) else { return false };
        let nobody_knows = |port: &Port| {
            if let Port::Memory(cursor) = port { marks.none_knows(cursor, work.remaining) } else { false }
        };
        let is_float = if let Port::Memory(cursor) = &work.dst { cursor.dtype.is_float() } else { false };
        is_float || work.srcs[..work.arity].iter().any(nobody_knows)
    }
}
