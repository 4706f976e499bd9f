//! Instructions over the fabric: what PEs side by side take and send, and when.

use super::clocks::Part;
use super::flight::LANDED;
use super::incoming::{Ahead, Incoming};
use super::line::Line;
use super::send::Outcome;
use super::strip::Along;
use super::vector::{Known, Silence, Stage, Work};
use super::{Groups, Stop};
use crate::machine::operand::Port;
use crate::machine::pe::VectorWork;
use crate::machine::unknown;
use crate::stream::chunk::MOST_AT_ONCE;
use crate::stream::run::Run;
use crate::stream::values::{Sent, in_rows, values, values_left_out, values_timed};

impl Groups<'_> {
    /// Runs as much of an instruction over the fabric as can be run at a stretch; gives its elements.
    pub(super) fn part(
        &mut self,
        (pe, n): (u32, &mut u32),
        stage: Stage,
        work: &mut Work<'_>,
        known: Known,
    ) -> Result<(u64, Outcome), Stop> {
        let ports = work.get();
        let startup = self.shared.machine.vector_startup_cycles;
        let startup = if stage == Stage::Fresh { i64::from(startup) } else { 0 };
        let mut now = self.clocks.times(pe, n).plus(startup);
        let mut count = ports.remaining.min(MOST_AT_ONCE);
        let mut is_there = true;
        let mut heads = [None; 3];
        for (slot, port) in heads.iter_mut().zip(&ports.srcs[..ports.arity]) {
            let Port::FabIn { queue, .. } = port else { continue };
            let input = self.queues.at(pe, *queue).ok_or(Stop::Unfit)?;
            let Some(head) = self.head(input, n) else {
                self.queues.wait(input, *n);
                is_there = false;
                break;
            };
            now = now.max(head.first, n);
            count = count.min(head.count.into());
            self.queues.alike(input, n, count as i64);
            *slot = Some((input, head));
        }
        let mut way = None;
        if let Port::FabOut { queue, .. } = ports.dst
            && is_there
        {
            let lane = self.lanes.out(pe, queue, n).ok_or(Stop::Unfit)?;
            // Words of their own go ways of their own.
            *n = if known.silence == Silence::Always { *n } else { 1 };
            is_there = self.can_send(pe, lane, false, n);
            way = Some(lane);
        }
        if !is_there {
            // What has been booked stays so.
            let waits = if stage == Stage::Booked { stage } else { Stage::Issued };
            self.stop((pe, *n), stage, waits, ports.remaining);
            return Ok((0, Outcome::Waits));
        }
        if count < ports.remaining {
            // From now on the instruction is the PE's own.
            *n = 1;
        }
        let booked = *n;
        let cycles = self.book((pe, n), stage, &heads, (count, now));
        if stage != Stage::Booked && *n < booked {
            // Of the others something else is known: it has been booked for them as well.
            self.stop((pe + *n, booked - *n), stage, Stage::Booked, ports.remaining);
        }
        let Some(cycles) = cycles else {
            self.stop((pe, *n), stage, Stage::Booked, ports.remaining);
            return Ok((0, Outcome::Waits));
        };
        let part = Part { began: now, elements: count as i64, cycles, startup, ..Part::default() };
        Ok((count, self.transfer((pe, *n), work, part, known, way)?))
    }

    /// PEs side by side have come to a stage in which they wait; until then they may not have paid for the start-up.
    fn stop(&mut self, (pe, n): (u32, u32), before: Stage, stage: Stage, elements: u64) {
        if before == Stage::Fresh {
            self.issue(pe, n, elements);
        }
        self.progress.set(pe, n, stage);
    }

    /// Books that an instruction takes wavelets from queues, at whose heads some runs are. Gives the cycles that taking them takes, or the
    /// elements when there are more; `None` when it has to wait until it is known when the last of them come.
    fn book(
        &mut self,
        (pe, n): (u32, &mut u32),
        stage: Stage,
        heads: &[Option<(u32, Ahead)>; 3],
        (count, now): (u64, Line),
    ) -> Option<Line> {
        let heads = heads.iter().flatten();
        if stage != Stage::Booked {
            heads.clone().for_each(|&(input, _)| self.book_taking((pe, input, *n), count as i64, now));
        }
        let mut last = now;
        for &(input, head) in heads {
            // Others may have become known by what has just been booked.
            let head = if head.flight == LANDED { head } else { self.head(input, n).unwrap_or(head) };
            let is_all = count == u64::from(head.count);
            if is_all && self.flights.is_open(head.flight, self.awaited, head.origin, n) {
                self.flights.wait(head.flight, pe, *n);
                return None;
            }
            let comes = if is_all { head.last } else { self.queues.last_of_first(input, count as u32) };
            last = last.max(comes, n);
        }
        Some((last - now).plus(1).max(Line::flat(count as i64), n))
    }

    /// Elements whose wavelets have come: their numbers, what they send, and when they are done. `part` is what they are without waits for
    /// memory, `way` the lane that they leave by.
    fn transfer(
        &mut self,
        (pe, n): (u32, u32),
        work: &mut Work<'_>,
        mut part: Part,
        known: Known,
        way: Option<u32>,
    ) -> Result<Outcome, Stop> {
        let (ports, count) = (work.get(), part.elements as u64);
        let mut taken: [Option<Incoming>; 3] = [None, None, None];
        for (slot, port) in taken.iter_mut().zip(&ports.srcs[..ports.arity]) {
            if let Port::FabIn { queue, .. } = port
                && let Some(input) = self.queues.at(pe, *queue)
            {
                *slot = self.take(input, n, count);
            }
        }
        let is_silent = match known.silence {
            Silence::Never => false,
            Silence::Always => true,
            Silence::AsReceived => taken.iter().flatten().any(Incoming::is_unknown),
        };
        // What is always silent has been seen to when it was prepared.
        if is_silent && known.silence == Silence::AsReceived {
            self.touch(known.class, work.get(), Silence::Always);
        }
        let is_whole = count == ports.remaining;
        let (data, stall) = match (is_silent && is_whole, way) {
            (true, None) => (Sent::Nothing, 0),
            (true, Some(_)) => (Sent::Unknown(count as usize), 0),
            (false, _) => self.numbers_of((pe, n), work, known.class, &taken, count)?,
        };
        part.receives = taken.iter().any(Option::is_some);
        part.stall = stall as i64;
        let ends = is_whole || work.get().remaining == 0;
        let longer = |part: Part, n: &mut u32| {
            let cycles = part.cycles.max(Line::flat(part.elements + part.stall), n);
            Part { cycles, ..part }
        };
        let outcome = if let Some(lane) = way {
            if !ends {
                self.progress.set(pe, 1, Stage::Issued);
            }
            // Nothing that PEs send together waits for memory: it is the same in all of them.
            self.send((pe, n), &longer(part, &mut { n }), data, lane, ends)?
        } else {
            let mut done = 0;
            while done < n {
                let mut here = n - done;
                let part = longer(part.from(done), &mut here);
                self.clocks.complete(pe + done, here, part, Line::flat(0));
                done += here;
            }
            Outcome::Done
        };
        for run in taken.iter().flatten() {
            self.payloads.release_from(run.words.payload, n);
        }
        Ok(outcome)
    }

    /// The numbers of elements in PEs side by side: what is sent, and the waits for memory.
    fn numbers_of(
        &mut self,
        (pe, n): (u32, u32),
        work: &mut Work<'_>,
        class: u16,
        taken: &[Option<Incoming>; 3],
        count: u64,
    ) -> Result<(Sent, u64), Stop> {
        if n == 1 {
            if count == work.get().remaining
                && let Work::Shared(whole) = work
                && let Some(sent) = self.whole_rows(pe, whole, taken)
            {
                return Ok((sent, 0));
            }
            let own = work.own(|| self.unused.pop().unwrap_or_default())?;
            return self.numbers(pe, own, taken, count);
        }
        if let Some(waits) = self.forget((pe, n), work.get(), class, taken, count) {
            return Ok((Sent::Nothing, waits));
        }
        let mut own = self.unused.pop().unwrap_or_default();
        let mut waits = None;
        for i in 0..n {
            own.as_mut().clone_from(work.get());
            let taken = taken.map(|run| run.map(|run| run.along(i)));
            // The same operands wait for memory as long in all of them.
            let (_, stall) = self.numbers(pe + i, &mut own, &taken, count)?;
            if *waits.get_or_insert(stall) != stall {
                return Err(Stop::Unfit);
            }
        }
        self.unused.push(own);
        Ok((Sent::Nothing, waits.unwrap_or(0)))
    }

    /// In a run for the time alone: PEs side by side put what they do not know into memory; gives the waits for memory of each. `None`, with
    /// nothing done, where it may be something else.
    fn forget(
        &mut self,
        (pe, n): (u32, u32),
        work: &VectorWork,
        class: u16,
        taken: &[Option<Incoming>; 3],
        count: u64,
    ) -> Option<u64> {
        if self.marks.len() <= usize::from(class)
            || !matches!(work.dst, Port::Memory(_))
            || !taken.iter().flatten().any(Incoming::is_unknown)
        {
            return None;
        }
        let mut own = self.unused.pop().unwrap_or_default();
        own.as_mut().clone_from(work);
        let waits = unknown::pass(&self.band.pes[pe as usize], &mut own, self.shared.machine, count);
        self.unused.push(own);
        let waits = waits?;
        self.forget_in(class, &work.dst, count, (pe, n));
        self.alike.note_forgotten(&work.dst, count, (pe, n));
        Some(waits)
    }

    /// In a run for the time alone: PEs side by side have put what they do not know into memory.
    pub(super) fn forget_in(&mut self, class: u16, dst: &Port, count: u64, (pe, n): (u32, u32)) {
        self.repeats.written += 1;
        let had = self.marks.get_mut(usize::from(class)).is_some_and(|marks| marks.forget_in(dst, count, (pe, n)));
        if !had {
            for pe in &mut self.band.pes[pe as usize..(pe + n) as usize] {
                unknown::mark(pe, dst, count, true);
            }
        }
    }

    /// The numbers of a whole instruction in a PE, if they can be had without one of the PE's own.
    fn whole_rows(&mut self, pe: u32, work: &VectorWork, taken: &[Option<Incoming>; 3]) -> Option<Sent> {
        if self.shared.without_numbers || work.unknown || taken.iter().flatten().any(Incoming::is_unknown) {
            return None;
        }
        let runs = taken.each_ref().map(|run| run.as_ref().map(Incoming::run));
        let sent = in_rows(&mut self.band.pes[pe as usize], work, &runs, work.remaining, &mut self.payloads)?;
        self.repeats.written += 1;
        Some(sent)
    }

    /// The numbers of elements in a PE.
    fn numbers(
        &mut self,
        pe: u32,
        work: &mut VectorWork,
        taken: &[Option<Incoming>; 3],
        count: u64,
    ) -> Result<(Sent, u64), Stop> {
        self.repeats.written += 1;
        let taken = &taken.each_ref().map(|run| run.as_ref().map(Incoming::run));
        let state = &mut self.band.pes[pe as usize];
        let machine = self.shared.machine;
        let done = if self.shared.without_numbers {
            let is_unknown = taken.iter().flatten().any(Run::is_unknown);
            if let Some(marks) = state.class.and_then(|class| self.marks.get_mut(usize::from(class))) {
                if is_unknown {
                    marks.forget_in(&work.dst, count, (pe, 1));
                } else {
                    marks.doubt(&work.dst, count);
                }
            }
            let target = work.dst.clone();
            let done = values_timed(state, work, machine, taken, count, &mut self.payloads);
            if let Some(marks) = state.class.and_then(|class| self.marks.get_mut(usize::from(class))) {
                marks.touch_if_unknown(&target, &state.unknown);
            }
            done
        } else if work.unknown {
            values_left_out(state, work, machine, taken, count, &mut self.payloads)
        } else if taken.iter().flatten().any(Run::is_unknown) {
            return Err(Stop::Unfit);
        } else {
            values(state, work, machine, taken, count, &mut self.payloads)
        };
        done.map_err(|_| Stop::Unfit)
    }

    /// The heads of queues side by side, as many as are alike. When they belong to flights that have landed, they get their times.
    fn head(&mut self, input: u32, n: &mut u32) -> Option<Ahead> {
        let wanted = *n;
        loop {
            *n = wanted;
            let head = self.queues.head(input, n)?;
            if head.flight != LANDED {
                if !self.land_head(input, n, &head) {
                    return Some(head);
                }
                continue;
            }
            // Those beside may only wait for their flights to be asked.
            let (beside, mut others) = (input + *n, wanted - *n);
            let next = if others > 0 { self.queues.head(beside, &mut others) } else { None };
            if !next.is_some_and(|next| next.flight != LANDED && self.land_head(beside, &mut others, &next)) {
                return Some(head);
            }
        }
    }

    /// Gives the heads of queues side by side the time of their flight, if it has landed.
    fn land_head(&mut self, input: u32, n: &mut u32, head: &Ahead) -> bool {
        let (flight, origin) = (head.flight, head.origin);
        if self.flights.is_open(flight, self.awaited, origin, n) {
            return false;
        }
        let delay = self.flights.delay(flight, origin, n);
        self.queues.land(input, n, delay);
        self.flights.release(flight, *n);
        true
    }

    /// Takes wavelets from the heads of queues side by side; the payload that comes with them is to be released.
    fn take(&mut self, input: u32, n: u32, count: u64) -> Option<Incoming> {
        let (taken, is_part) = self.queues.take(input, n, count as i64)?;
        if is_part {
            self.payloads.share_among(taken.words.payload, n);
        } else {
            self.flights.release(taken.flight, n);
        }
        Some(taken)
    }
}
