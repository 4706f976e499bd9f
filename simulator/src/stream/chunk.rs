//! Some elements of a vector instruction at once.

use super::Stream;
use super::pe::account;
use super::run::{Run, Sender};
use super::values::{Numbers, Sent, in_memory_part, in_memory_part_timed, values, values_left_out, values_timed};
use crate::machine::element::{self, Fault, Wait};
use crate::machine::operand::Port;
use crate::machine::pe::{Activity, VectorWork};
use crate::machine::unknown;
use crate::twins;
use waferloom_fabric::Direction;

/// Elements that are run in one go. Longer instructions are cut, so that a run can be stopped within them and what is under
/// way needs little memory.
pub(super) const MOST_AT_ONCE: u64 = 1 << 16;

/// What an instruction can do now.
#[derive(Clone, Copy)]
pub(super) struct Possible {
    /// Elements that have what they need.
    pub(super) count: u64,
    /// Their results can go to all their ends at once, along [`Stream::legs`]: the earliest cycle in which the last one can.
    sent_at: Option<u64>,
}

/// What a thread did.
pub(super) enum Outcome {
    /// It ran some elements; the PE's `free` says until when.
    Ran,
    Waits(Wait),
}

impl Stream<'_> {
    /// Runs as many elements of an instruction as have come and have room, with the datapath for itself alone.
    pub(super) fn chunk(&mut self, pe: usize, work: &mut VectorWork) -> Result<Outcome, Fault> {
        match self.possible(pe, work) {
            Ok(possible) => self.elements(pe, work, possible).map(|()| Outcome::Ran),
            Err(wait) => Ok(Outcome::Waits(wait)),
        }
    }

    /// How many elements of an instruction have what they need, at least the first of them now; or what it waits for.
    pub(super) fn possible(&mut self, pe: usize, work: &VectorWork) -> Result<Possible, Wait> {
        let wait = |activity, until| Err(Wait { activity, until });
        if self.now < work.ready {
            return wait(Activity::Busy, work.ready);
        }
        let mut count = match self.arrived(pe, work) {
            Ok(arrived) => arrived.min(work.remaining).min(MOST_AT_ONCE),
            Err(until) => return wait(Activity::FabricIn, until),
        };
        if let Port::Fifo { fifo, .. } = work.dst {
            count = count.min(1);
            if self.band.pes[pe].fifos.get(fifo as usize).is_none_or(|f| f.filled >= f.words) {
                return wait(Activity::FabricOut, u64::MAX);
            }
        }
        let mut sent_at = None;
        if let Port::FabOut { queue, .. } = work.dst {
            let ramp = Direction::Ramp as usize;
            let Some(node) = self.queues.out(pe, queue) else { return wait(Activity::FabricOut, u64::MAX) };
            sent_at = if self.waits_at(node, ramp) { None } else { self.express(node, ramp, count, 0) };
            if sent_at.is_none() {
                count = count.min(self.room(node, ramp, count));
            }
        }
        if count == 0 { wait(Activity::FabricOut, u64::MAX) } else { Ok(Possible { count, sent_at }) }
    }

    /// How many elements the sources have wavelets or words for; or when, if that is known, the next one has come.
    fn arrived(&self, pe: usize, work: &VectorWork) -> Result<u64, u64> {
        let mut count = u64::MAX;
        for (i, port) in work.srcs[..work.arity].iter().enumerate() {
            match port {
                Port::FabIn { queue, .. } => {
                    let same = |p: &&Port| matches!(p, Port::FabIn { queue: q, .. } if q == queue);
                    let earlier = work.srcs[..i].iter().filter(same).count() as u64;
                    let input = self.input(pe, *queue);
                    let head = input.and_then(|q| q.head()).filter(|run| run.control == 0).ok_or(u64::MAX)?;
                    let first = if earlier < head.count {
                        head.time(earlier)
                    } else {
                        let second = input.and_then(|q| q.second()).filter(|run| run.control == 0).ok_or(u64::MAX)?;
                        second.first
                    };
                    if first > self.now {
                        return Err(first);
                    }
                    count = count.min(if earlier > 0 { 1 } else { head.count });
                }
                Port::Fifo { fifo, .. } => {
                    let same = |p: &&Port| matches!(p, Port::Fifo { fifo: f, .. } if f == fifo);
                    let earlier = work.srcs[..i].iter().filter(same).count();
                    let filled = self.band.pes[pe].fifos.get(*fifo as usize).map_or(0, |f| f.filled as usize);
                    if filled <= earlier {
                        return Err(u64::MAX);
                    }
                    count = 1;
                }
                _ => {}
            }
        }
        Ok(count)
    }

    /// A filter by value would have to look at words that nobody computed.
    pub(super) fn refuse_filter_by_value(&self, pe: usize, queue: u8, unknown: bool) -> Result<(), Fault> {
        let output = self.band.pes[pe].outputs.get(usize::from(queue)).copied().flatten();
        let filtered = output.is_some_and(|out| self.shared.by_value >> out.color & 1 == 1);
        if unknown && filtered { Err(self.not_known("what a filter lets through")) } else { Ok(()) }
    }

    /// The fault of a run that needs a number that it does not have.
    pub(super) fn not_known(&self, what: &str) -> Fault {
        if self.shared.without_numbers { unknown::needed(what) } else { twins::left_out(what) }
    }

    /// Runs elements whose wavelets are known and for whose results there is room.
    pub(super) fn elements(&mut self, pe: usize, work: &mut VectorWork, possible: Possible) -> Result<(), Fault> {
        let now = self.now;
        let Possible { count, sent_at } = possible;
        let machine = self.shared.machine;
        let in_memory = element::in_memory(work);
        let mut taken: [Option<Run>; 3] = [None, None, None];
        let mut last_arrival = now;
        let mut senders = [None; 3];
        for i in 0..work.arity {
            if let Port::FabIn { queue, .. } = work.srcs[i] {
                let queue = self.queues.first_input(pe) as usize + usize::from(queue);
                self.inputs[queue].take_into(&mut taken[i], count, &mut self.payloads);
            }
            if let Some(run) = &taken[i] {
                last_arrival = last_arrival.max(run.last);
                senders[i] = Some((run.sender, now + u64::from(run.hops)));
            }
        }
        let state = &mut self.band.pes[pe];
        let numbers = Numbers::of(&self.shared, work);
        if numbers == Numbers::All && taken.iter().flatten().any(Run::is_unknown) {
            return Err(twins::left_out("a number that was received"));
        }
        let (data, busy, stall) = if in_memory {
            let part = if numbers == Numbers::Known { in_memory_part_timed } else { in_memory_part };
            let (busy, stall) = part(state, work, (machine, &self.conflicts), count)?;
            (Sent::Nothing, busy, stall)
        } else {
            let values = match numbers {
                Numbers::All => values,
                Numbers::Known => values_timed,
                Numbers::None => values_left_out,
            };
            let (data, stall) = values(state, work, machine, &taken, count, &mut self.payloads)?;
            (data, count, stall)
        };
        let arrived = (busy + stall).max(last_arrival - now + 1);
        let cycles = arrived.max((sent_at.unwrap_or(0) + 1).saturating_sub(now));
        let waits = if cycles > arrived {
            Activity::FabricOut
        } else if taken.iter().any(Option::is_some) {
            Activity::FabricIn
        } else {
            Activity::Busy
        };
        account(&mut self.band.pes[pe], (now, now + cycles), busy, stall, waits);
        self.band.pes[pe].free = now + cycles;
        let delay = 1 + u64::from(machine.ramp_cycles);
        let times = (now + delay, now + cycles - 1 + delay);
        if let Port::FabOut { queue, .. } = work.dst
            && let Some(node) = self.queues.out(pe, queue)
            && let Some(run) = data.into_run(times, Sender::Pe(pe as u32), &mut self.payloads)
        {
            self.refuse_filter_by_value(pe, queue, run.is_unknown())?;
            if sent_at.is_some() {
                self.bring(&run);
            } else {
                self.push(node, Direction::Ramp, run);
            }
        }
        for run in taken.iter().flatten() {
            self.payloads.release(run.payload);
        }
        self.wake_occupied(pe, now);
        for (sender, cycle) in senders.into_iter().flatten() {
            self.tell(sender, cycle);
        }
        Ok(())
    }
}
