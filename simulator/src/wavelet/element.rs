//! One element of a vector instruction in one cycle: what it waits for, and what it does.

use super::ports::Ports;
use super::queues::Wavelet;
use crate::machine::element::{Fault, Wait, outside, read, read_sources, write_result};
use crate::machine::numerics;
use crate::machine::operand::Port;
use crate::machine::pe::{Activity, Pe, VectorWork};
use waferloom_fabric::{Dtype, Machine, VectorOp};

/// What the next element waits for; `None` when it can run.
pub(super) fn waits(pe: &Pe, ports: &Ports<'_>, work: &VectorWork, now: u64) -> Option<Wait> {
    if now < work.ready {
        return Some(Wait { activity: Activity::Busy, until: work.ready });
    }
    for (i, port) in work.srcs[..work.arity].iter().enumerate() {
        match port {
            Port::FabIn { queue, .. } => {
                // Two sources may read the same queue: each takes a wavelet.
                let same = |p: &&Port| matches!(p, Port::FabIn { queue: q, .. } if q == queue);
                let earlier = if i == 0 { 0 } else { work.srcs[..i].iter().filter(same).count() };
                let wavelet = ports.get(*queue, earlier).filter(|wavelet| wavelet.control_index().is_none());
                let until = wavelet.map_or(u64::MAX, |wavelet| wavelet.ready);
                if until > now {
                    return Some(Wait { activity: Activity::FabricIn, until });
                }
            }
            Port::Fifo { fifo, .. } => {
                // Likewise: each of them takes a word.
                let earlier = work.srcs[..i].iter().filter(|p| matches!(p, Port::Fifo { fifo: f, .. } if f == fifo));
                let filled = pe.fifos.get(*fifo as usize).map_or(0, |f| f.filled as usize);
                if filled <= earlier.count() {
                    return Some(Wait { activity: Activity::FabricIn, until: u64::MAX });
                }
            }
            _ => {}
        }
    }
    let full = match &work.dst {
        Port::FabOut { queue, .. } => !ports.has_room(pe, *queue),
        Port::Fifo { fifo, .. } => pe.fifos.get(*fifo as usize).is_none_or(|f| f.filled >= f.words),
        _ => false,
    };
    full.then_some(Wait { activity: Activity::FabricOut, until: u64::MAX })
}

/// Runs one element; gives the cycles that it takes beyond its own because of memory.
pub(super) fn run(pe: &mut Pe, ports: &mut Ports<'_>, work: &mut VectorWork, machine: &Machine) -> Result<u32, Fault> {
    if work.op == VectorOp::Mov && move_word(pe, ports, work)? {
        work.remaining -= 1;
        return Ok(0);
    }
    run_any(pe, ports, work, machine)
}

/// Moves a 32-bit word from or to the fabric, which is what most elements there are; says whether the element was one.
fn move_word(pe: &mut Pe, ports: &mut Ports<'_>, work: &mut VectorWork) -> Result<bool, Fault> {
    let word = |dtype: Dtype| dtype.bytes() == 4;
    match (&mut work.srcs[0], &mut work.dst) {
        (Port::FabIn { queue: from, dtype: a }, Port::FabOut { queue: to, dtype: b }) if word(*a) && a == b => {
            let bits = take(ports, *from);
            ports.send(pe, *to, bits);
        }
        (Port::FabIn { queue, dtype }, Port::Memory(cursor)) if word(*dtype) && *dtype == cursor.dtype => {
            let (bits, address) = (take(ports, *queue), cursor.address());
            pe.write(address, 4, bits).ok_or_else(|| outside(pe, address, 4, "write"))?;
            cursor.advance();
        }
        (Port::Memory(cursor), Port::FabOut { queue, dtype }) if word(*dtype) && *dtype == cursor.dtype => {
            let bits = read(pe, cursor.address(), 4)?;
            cursor.advance();
            ports.send(pe, *queue, bits);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// The next wavelet of an input queue that has one.
fn take(ports: &mut Ports<'_>, queue: u8) -> u32 {
    ports.pop(queue).map_or(0, Wavelet::word)
}

fn run_any(pe: &mut Pe, ports: &mut Ports<'_>, work: &mut VectorWork, machine: &Machine) -> Result<u32, Fault> {
    let (values, stall) = read_sources(pe, work, machine, |_, _, queue| take(ports, queue))?;
    let result = numerics::apply(work.op, values);
    if let Port::FabOut { queue, dtype } = &work.dst {
        ports.send(pe, *queue, result.to_bits(*dtype));
    } else {
        write_result(pe, work, result)?;
    }
    work.remaining -= 1;
    Ok(stall)
}
