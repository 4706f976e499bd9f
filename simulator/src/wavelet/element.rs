//! One element of a vector instruction in one cycle: what it waits for, and what it does.

use crate::machine::element::{Fault, Wait, outside, read, read_sources, write_result};
use crate::machine::numerics;
use crate::machine::operand::Port;
use crate::machine::pe::{Activity, Pe, VectorWork};
use crate::machine::router::{Router, Wavelet};
use waferloom_fabric::{Direction, Dtype, Machine, VectorOp};

/// What the next element waits for; `None` when it can run.
pub(crate) fn waits(pe: &Pe, router: &Router, work: &VectorWork, now: u64) -> Option<Wait> {
    if now < work.ready {
        return Some(Wait { activity: Activity::Busy, until: work.ready });
    }
    for (i, port) in work.srcs[..work.arity].iter().enumerate() {
        match port {
            Port::FabIn { queue, .. } => {
                // Two sources may read the same queue: each takes a wavelet.
                let same = |p: &&Port| matches!(p, Port::FabIn { queue: q, .. } if q == queue);
                let earlier = if i == 0 { 0 } else { work.srcs[..i].iter().filter(same).count() };
                let wavelets = pe.inputs.get(*queue as usize).and_then(Option::as_ref).map(|q| &q.wavelets);
                match wavelets.and_then(|w| w.get(earlier)) {
                    Some(&(ready, _, 0)) if ready <= now => {}
                    Some(&(ready, _, 0)) => return Some(Wait { activity: Activity::FabricIn, until: ready }),
                    _ => return Some(Wait { activity: Activity::FabricIn, until: u64::MAX }),
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
        Port::FabOut { queue, .. } => !has_room(pe, router, *queue),
        Port::Fifo { fifo, .. } => pe.fifos.get(*fifo as usize).is_none_or(|f| f.filled >= f.words),
        _ => false,
    };
    full.then_some(Wait { activity: Activity::FabricOut, until: u64::MAX })
}

/// Whether an output queue takes another wavelet.
pub(crate) fn has_room(pe: &Pe, router: &Router, queue: u8) -> bool {
    pe.outputs.get(queue as usize).and_then(Option::as_ref).is_some_and(|out| {
        out.lane.is_some_and(|lane| router.lanes[lane as usize].queues[Direction::Ramp as usize].len() < out.capacity)
    })
}

/// Puts a wavelet into an output queue that has room. An element of cycle `now` can leave the router `1 + ramp` later.
pub(crate) fn send(pe: &Pe, router: &mut Router, queue: u8, machine: &Machine, now: u64, data: u32, control: u16) {
    if let Some(Some(out)) = pe.outputs.get(queue as usize)
        && let Some(lane) = out.lane
    {
        let ready = now + 1 + u64::from(machine.ramp_cycles);
        router.push(lane as usize, Direction::Ramp, Wavelet { ready, data, control, hop: 0 });
    }
}

/// Runs one element; gives the cycles that it takes beyond its own because of memory.
pub(crate) fn run(
    pe: &mut Pe,
    router: &mut Router,
    work: &mut VectorWork,
    machine: &Machine,
    now: u64,
) -> Result<u32, Fault> {
    if work.op == VectorOp::Mov && move_word(pe, router, work, machine, now)? {
        work.remaining -= 1;
        return Ok(0);
    }
    run_any(pe, router, work, machine, now)
}

/// Moves a 32-bit word from or to the fabric, which is what most elements there are; says whether the element was one.
fn move_word(
    pe: &mut Pe,
    router: &mut Router,
    work: &mut VectorWork,
    machine: &Machine,
    now: u64,
) -> Result<bool, Fault> {
    let word = |dtype: Dtype| dtype.bytes() == 4;
    match (&mut work.srcs[0], &mut work.dst) {
        (Port::FabIn { queue: from, dtype: a }, Port::FabOut { queue: to, dtype: b }) if word(*a) && a == b => {
            let bits = take(pe, *from);
            send(pe, router, *to, machine, now, bits, 0);
        }
        (Port::FabIn { queue, dtype }, Port::Memory(cursor)) if word(*dtype) && *dtype == cursor.dtype => {
            let (bits, address) = (take(pe, *queue), cursor.address());
            pe.write(address, 4, bits).ok_or_else(|| outside(pe, address, 4, "write"))?;
            cursor.advance();
        }
        (Port::Memory(cursor), Port::FabOut { queue, dtype }) if word(*dtype) && *dtype == cursor.dtype => {
            let bits = read(pe, cursor.address(), 4)?;
            cursor.advance();
            send(pe, router, *queue, machine, now, bits, 0);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// The next wavelet of an input queue that has one.
fn take(pe: &mut Pe, queue: u8) -> u32 {
    let taken = pe.inputs.get_mut(queue as usize).and_then(Option::as_mut).and_then(|q| q.wavelets.pop_front());
    taken.map_or(0, |(_, data, _)| data)
}

fn run_any(pe: &mut Pe, router: &mut Router, work: &mut VectorWork, machine: &Machine, now: u64) -> Result<u32, Fault> {
    let (values, stall) = read_sources(pe, work, machine, |pe, _, queue| take(pe, queue))?;
    let result = numerics::apply(work.op, values);
    if let Port::FabOut { queue, dtype } = &work.dst {
        send(pe, router, *queue, machine, now, result.to_bits(*dtype), 0);
    } else {
        write_result(pe, work, result)?;
    }
    work.remaining -= 1;
    Ok(stall)
}
