//! The numbers of some elements of an instruction at once.

use super::payload::{Payload, Payloads};
use super::rows;
use super::run::{Run, Sender};
use crate::machine::bulk;
use crate::machine::conflicts::Conflicts;
use crate::machine::element::{self, Fault};
use crate::machine::numerics;
use crate::machine::operand::Port;
use crate::machine::pe::{Pe, VectorWork};
use crate::machine::steps::Shared;
use crate::machine::unknown;
use waferloom_fabric::{Machine, VectorOp};

/// What of an instruction's numbers is computed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbers {
    All,
    /// What does not depend on something unknown.
    Known,
    /// The instruction is in a claim, which gives the result.
    None,
}

impl Numbers {
    pub(super) fn of(shared: &Shared<'_>, work: &VectorWork) -> Self {
        match (shared.without_numbers, work.unknown) {
            (true, _) => Numbers::Known,
            (false, true) => Numbers::None,
            (false, false) => Numbers::All,
        }
    }
}

/// What a chunk sends.
pub(super) enum Sent {
    Nothing,
    New(Vec<u32>),
    /// So many words that nobody computed.
    Unknown(usize),
    /// The wavelets of a run as they came.
    Same(Run),
}

impl Sent {
    /// The run that it becomes.
    pub(super) fn into_run(self, times: (u64, u64), sender: Sender, payloads: &mut Payloads) -> Option<Run> {
        match self {
            Sent::Nothing => None,
            Sent::New(words) => {
                let count = words.len();
                Some(Run::new(payloads.keep(words), count, times, 0, sender))
            }
            Sent::Unknown(count) => Some(Run::new(Payload::UNKNOWN, count, times, 0, sender)),
            Sent::Same(run) => {
                payloads.share(run.payload);
                Some(Run { hops: 0, sender, ..run.at(times.0, times.1) })
            }
        }
    }
}

/// A part of an instruction over memory; gives busy cycles and waits for memory. In a claim it computes nothing.
pub(super) fn in_memory_part(
    pe: &mut Pe,
    work: &mut VectorWork,
    (machine, conflicts): (&Machine, &Conflicts),
    count: u64,
) -> Result<(u64, u64), Fault> {
    let rest = work.remaining - count;
    work.remaining = count;
    let done =
        if work.unknown { bulk::pass(pe.memory.len(), work, conflicts) } else { bulk::run(pe.memory, work, conflicts) };
    let done = match done {
        Some(done) => Ok(done),
        None => one_by_one(pe, work, machine),
    };
    work.remaining = rest;
    done
}

/// The same in a run for the time alone.
pub(super) fn in_memory_part_timed(
    pe: &mut Pe,
    work: &mut VectorWork,
    (machine, conflicts): (&Machine, &Conflicts),
    count: u64,
) -> Result<(u64, u64), Fault> {
    let rest = work.remaining - count;
    work.remaining = count;
    let unknown = unknown::is_unknown(pe, work, count, [false; 3]);
    let target = work.dst.clone();
    let done = match unknown::in_memory(pe, work, conflicts) {
        Some(done) => Ok(done),
        None => one_by_one(pe, work, machine),
    };
    unknown::mark(pe, &target, count, unknown);
    work.remaining = rest;
    done
}

/// As [`values`] of an instruction in a claim: only its time counts.
pub(super) fn values_left_out(
    pe: &mut Pe,
    work: &mut VectorWork,
    machine: &Machine,
    taken: &[Option<Run>; 3],
    count: u64,
    payloads: &mut Payloads,
) -> Result<(Sent, u64), Fault> {
    let sends = matches!(work.dst, Port::FabOut { .. });
    let stall = match unknown::pass(pe, work, machine, count) {
        Some(stall) => stall,
        None => values(pe, work, machine, taken, count, payloads)?.1,
    };
    Ok((if sends { Sent::Unknown(count as usize) } else { Sent::Nothing }, stall))
}

/// As [`values`] in a run for the time alone.
pub(super) fn values_timed(
    pe: &mut Pe,
    work: &mut VectorWork,
    machine: &Machine,
    taken: &[Option<Run>; 3],
    count: u64,
    payloads: &mut Payloads,
) -> Result<(Sent, u64), Fault> {
    let runs = [&taken[0], &taken[1], &taken[2]].map(|run| run.as_ref().is_some_and(Run::is_unknown));
    let unknown = unknown::is_unknown(pe, work, count, runs);
    let target = work.dst.clone();
    let passed = if unknown { unknown::pass(pe, work, machine, count) } else { None };
    unknown::mark(pe, &target, count, unknown);
    let (sent, stall) = match passed {
        Some(stall) => (Sent::Unknown(count as usize), stall),
        None => values(pe, work, machine, taken, count, payloads)?,
    };
    let sends = matches!(target, Port::FabOut { .. });
    Ok((
        if unknown && sends {
            Sent::Unknown(count as usize)
        } else if sends {
            sent
        } else {
            Sent::Nothing
        },
        stall,
    ))
}

/// The same element by element, which finds out what access fails.
fn one_by_one(pe: &mut Pe, work: &mut VectorWork, machine: &Machine) -> Result<(u64, u64), Fault> {
    let (mut busy, mut stall) = (0, 0);
    while work.remaining > 0 {
        let mut worst = 0;
        for _ in 0..u64::from(work.lanes).max(1).min(work.remaining) {
            let (operands, wait) = element::read_sources(pe, work, machine, |_, _, _| 0)?;
            element::write_result(pe, work, numerics::apply(work.op, operands))?;
            worst = worst.max(wait);
            work.remaining -= 1;
        }
        busy += 1;
        stall += u64::from(worst);
    }
    Ok((busy, stall))
}

/// The numbers of a chunk: what it sends, if it does, and its waits for memory.
pub(super) fn values(
    pe: &mut Pe,
    work: &mut VectorWork,
    machine: &Machine,
    taken: &[Option<Run>; 3],
    count: u64,
    payloads: &mut Payloads,
) -> Result<(Sent, u64), Fault> {
    if let Some(sent) = in_rows(pe, work, taken, count, payloads) {
        for port in work.srcs[..work.arity].iter_mut().chain([&mut work.dst]) {
            if let Port::Memory(cursor) = port {
                cursor.advance_in_row(count);
            }
        }
        work.remaining -= count;
        return Ok((sent, 0));
    }
    pe.lay_out();
    let mut sent = payloads.empty();
    let mut stall = 0;
    for element in 0..count as usize {
        let take = |_: &mut Pe, source: usize, _: u8| {
            taken[source].as_ref().and_then(|run| run.words(payloads).get(element)).copied().unwrap_or(0)
        };
        let (operands, wait) = element::read_sources(pe, work, machine, take)?;
        let result = numerics::apply(work.op, operands);
        if let Port::FabOut { dtype, .. } = work.dst {
            sent.push(result.to_bits(dtype));
        } else {
            element::write_result(pe, work, result)?;
        }
        stall += u64::from(wait);
    }
    work.remaining -= count;
    let sends = matches!(work.dst, Port::FabOut { .. });
    if !sends {
        payloads.put_back(sent);
        return Ok((Sent::Nothing, stall));
    }
    Ok((Sent::New(sent), stall))
}

/// The numbers of a chunk that is a move of words or a sum of floats in whole rows, which wait for no memory; `None`, with nothing done,
/// for everything else. The instruction is left where it stands.
pub(super) fn in_rows(
    pe: &mut Pe,
    work: &VectorWork,
    taken: &[Option<Run>; 3],
    count: u64,
    payloads: &mut Payloads,
) -> Option<Sent> {
    let word = |port: &Port| port.bytes() == Some(4) || matches!(port, Port::Null | Port::Scalar(_));
    if !work.srcs[..work.arity].iter().chain([&work.dst]).all(word) {
        return None;
    }
    match work.op {
        VectorOp::Mov => move_row(pe, work, taken, count, payloads),
        VectorOp::Add => rows::floats(pe, work, taken, count, payloads, numerics::sum),
        VectorOp::Sub => rows::floats(pe, work, taken, count, payloads, numerics::difference),
        VectorOp::Mul => rows::floats(pe, work, taken, count, payloads, numerics::product),
        VectorOp::Max => rows::floats(pe, work, taken, count, payloads, numerics::largest),
        VectorOp::Min => rows::floats(pe, work, taken, count, payloads, numerics::smallest),
        _ => None,
    }
}

fn move_row(
    pe: &mut Pe,
    work: &VectorWork,
    taken: &[Option<Run>; 3],
    count: u64,
    payloads: &mut Payloads,
) -> Option<Sent> {
    let bytes = count as usize * 4;
    match (&work.srcs[0], &work.dst, &taken[0]) {
        (Port::FabIn { dtype: a, .. }, Port::FabOut { dtype: b, .. }, Some(run)) if a == b => Some(Sent::Same(*run)),
        (Port::FabIn { dtype, .. }, Port::Memory(cursor), Some(run))
            if *dtype == cursor.dtype && cursor.row_step() == 4 && cursor.row_rest() >= count =>
        {
            let start = usize::try_from(cursor.address()).ok().filter(|at| at.is_multiple_of(4))?;
            pe.lay_out();
            let slots = pe.memory.get_mut(start..start.checked_add(bytes)?)?;
            for (slot, word) in slots.as_chunks_mut().0.iter_mut().zip(run.words(payloads)) {
                *slot = word.to_le_bytes();
            }
            Some(Sent::Nothing)
        }
        (Port::Memory(cursor), Port::FabOut { dtype, .. }, _)
            if *dtype == cursor.dtype && cursor.row_step() == 4 && cursor.row_rest() >= count =>
        {
            let start = usize::try_from(cursor.address()).ok().filter(|at| at.is_multiple_of(4))?;
            let range = start..start.checked_add(bytes)?;
            if pe.row(range.clone()).is_none() {
                pe.lay_out();
            }
            let slots = pe.row(range)?;
            let mut words = payloads.empty();
            words.extend(slots.as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes)));
            Some(Sent::New(words))
        }
        _ => None,
    }
}
