//! The `wavelet` engine: every wavelet at every router, cycle by cycle.
//!
//! A cycle has two halves. First every PE that is due uses its datapath and every router moves what it can, judged by the
//! state at the end of the cycle before; then what crossed a link arrives. The grid is cut into bands of rows, one a host
//! thread; they meet once a cycle to exchange what crossed between them.
//!
//! - [`setup`]: from a program to the state of the fabric
//! - [`band`]: one cycle of a band: PEs, routers, host
//! - [`execute`], [`element`], [`bulk`], [`floats`], [`numerics`]: the compute element
//! - [`router`]: switches, queues, filters
//! - [`host`]: streams over the edge
//! - [`lockstep`]: the bands in step
//! - [`stall`]: who waits for what when nothing moves any more

pub(crate) mod band;
pub(crate) mod bulk;
pub(crate) mod decode;
pub(crate) mod element;
pub(crate) mod execute;
mod floats;
pub(crate) mod host;
mod lockstep;
pub(crate) mod numerics;
pub(crate) mod operand;
pub(crate) mod pe;
pub(crate) mod router;
pub(crate) mod setup;
pub(crate) mod stall;

use crate::{ItemTime, OperatorTime, Options, Run, SimulateError};
use band::{Band, Span};
use std::collections::{BTreeMap, VecDeque};
use waferloom_fabric::{Coord, HostTensor, PortKind, Program};

/// Runs a program.
pub(crate) fn run(
    program: &Program,
    inputs: &BTreeMap<String, HostTensor>,
    options: &Options<'_>,
) -> Result<Run, SimulateError> {
    let fabric = setup::Fabric::new(program, inputs, options)?;
    let (mut bands, end) = lockstep::run(&fabric, options)?;
    let complete = bands.iter().flat_map(|b| &b.sinks).all(|s| s.data.len() >= s.expected);
    if !complete || bands.iter().any(stall::has_unfinished_work) {
        return Err(stall::deadlock(program, &fabric, &bands, end));
    }
    let last = |b: &Band| b.pes.iter().map(|pe| pe.last).chain(b.sinks.iter().map(|s| s.last)).max();
    let cycles = bands.iter().filter_map(last).max().unwrap_or(0);
    for band in &mut bands {
        band.finish(cycles);
    }
    let leftover_wavelets = leftover(&bands);
    Ok(collect(program, &fabric, bands, cycles, leftover_wavelets))
}

/// Wavelets that nobody has taken.
fn leftover(bands: &[Band]) -> u64 {
    bands
        .iter()
        .map(|b| {
            let routers =
                b.routers.iter().flat_map(|r| &r.lanes).flat_map(|l| &l.queues).map(VecDeque::len).sum::<usize>();
            let queues = b.pes.iter().flat_map(|p| p.inputs.iter().flatten()).map(|q| q.wavelets.len()).sum::<usize>();
            let host = b.sources.iter().map(|s| s.data.len() - s.next).sum::<usize>();
            (routers + queues + host) as u64
        })
        .sum()
}

/// What a run gave, from the state at its end.
pub(crate) fn collect(
    program: &Program,
    fabric: &setup::Fabric<'_>,
    mut bands: Vec<Band>,
    cycles: u64,
    leftover_wavelets: u64,
) -> Run {
    let mut spans = vec![Span::default(); program.operators.len()];
    for band in &bands {
        for (total, part) in spans.iter_mut().zip(&band.spans) {
            total.join(part);
        }
    }
    let outputs = outputs(program, fabric, &mut bands);
    Run {
        outputs,
        cycles,
        items: item_times(program.items, &bands, cycles),
        pes: bands.iter().flat_map(|b| b.pes.iter().map(|pe| pe.counters)).collect(),
        links: bands.iter().flat_map(|b| b.routers.iter().map(|r| r.sent)).collect(),
        operators: operator_times(&spans, cycles),
        leftover_wavelets,
    }
}

/// The time of each operator: what it adds to the time at which all operators that started before it were done, so that the
/// times add up to the whole.
fn operator_times(spans: &[Span], cycles: u64) -> Vec<OperatorTime> {
    let mut order: Vec<usize> = (0..spans.len()).filter(|&i| spans[i].start != u64::MAX).collect();
    order.sort_by_key(|&i| (spans[i].start, i));
    let mut times = vec![OperatorTime::default(); spans.len()];
    let mut frontier = 0;
    for (place, &i) in order.iter().enumerate() {
        let end = if place + 1 == order.len() { cycles } else { spans[i].end.max(frontier) };
        times[i] = OperatorTime {
            start_cycle: spans[i].start,
            end_cycle: spans[i].end,
            cycles: end.saturating_sub(frontier),
            busy_cycles: spans[i].busy,
            pe_cycles: spans[i].resident,
        };
        frontier = end.max(frontier);
    }
    times
}

/// When each item began to come in and had gone out on all links; an item without input starts with the run, one without
/// output ends with it.
fn item_times(items: u32, bands: &[Band], cycles: u64) -> Vec<ItemTime> {
    let time = |item: usize| {
        let starts = bands.iter().flat_map(|b| &b.sources).filter_map(|s| s.item_starts.get(item));
        let ends = bands.iter().flat_map(|b| &b.sinks).filter_map(|s| s.item_ends.get(item));
        ItemTime { start_cycle: starts.min().copied().unwrap_or(0), end_cycle: ends.max().copied().unwrap_or(cycles) }
    };
    (0..items as usize).map(time).collect()
}

/// Cuts what each link received into the tensors of its ports, in the order of the ports; reads the others from SRAM.
fn outputs(program: &Program, fabric: &setup::Fabric<'_>, bands: &mut [Band]) -> BTreeMap<String, HostTensor> {
    let mut taken: BTreeMap<band::Link, usize> = BTreeMap::new();
    let mut tensors = BTreeMap::new();
    let mut elements: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    let ports = || program.ports.iter().filter(|p| p.kind == PortKind::Output);
    for port in (0..program.items).flat_map(|_| ports()) {
        let streams: Vec<Vec<u32>> = (0..port.streams())
            .map(|stream| {
                let link = fabric.link(port, stream);
                let words =
                    bands.iter().find_map(|b| b.sink_at.get(&link).map(|&s| b.sinks[s].data.as_slice())).unwrap_or(&[]);
                let start = taken.entry(link).or_insert(0);
                let end = (*start + port.stream_wavelets()).min(words.len());
                let part = words[(*start).min(end)..end].to_vec();
                *start = end;
                part
            })
            .collect();
        elements.entry(&port.name).or_default().extend(host::decode(port, &streams));
    }
    for port in ports() {
        let shape = host::host_shape(program.items, &port.distribution.shape);
        let bits = elements.remove(port.name.as_str()).unwrap_or_default();
        tensors.insert(port.name.clone(), host::host_tensor(port.dtype, shape, bits));
    }
    for readback in &program.readbacks {
        let word = |pe: Coord, address: i64| {
            let index = program.grid.index(pe);
            let band = bands.iter().find(|b| (b.first..b.first + b.pes.len()).contains(&index));
            band.and_then(|b| b.pes[index - b.first].read(address, readback.dtype.bytes())).unwrap_or(0)
        };
        tensors.insert(readback.name.clone(), host::read_back(readback, word));
    }
    tensors
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two PEs with a colour each way that both run `body`, past the verifier.
    fn unverified(body: &str) -> Result<Run, SimulateError> {
        let text = format!(
            "program p machine bench16 grid 2x1
param into = columns [1, 0] param from = columns [0, 1]
route c0 at 0,0 {{ pos RAMP -> EAST }} route c0 at 1,0 {{ pos WEST -> RAMP }}
route c1 at 1,0 {{ pos RAMP -> WEST }} route c1 at 0,0 {{ pos EAST -> RAMP }}
class w {{ in q0 = $into out q2 = $from task 8 main local activated {{ {body} }} }}
place w at 0,0 size 2x1"
        );
        let program = waferloom_fabric::text::parse(&text).expect("valid");
        assert!(waferloom_fabric::verify(&program).has_errors(), "the verifier has to find it");
        run(&program, &BTreeMap::new(), &Options::default())
    }

    #[test]
    fn what_the_verifier_calls_a_certain_deadlock_is_one() {
        let send_first = "mov out q2 f32[22] <- f32 1.0 mov null <- in q0 f32[22]";
        let wait_first = "mov null <- in q0 f32[1] mov out q2 f32[1] <- f32 1.0";
        for body in [send_first, wait_first] {
            let end = unverified(body);
            assert!(matches!(end, Err(SimulateError::Deadlock { .. })), "{body}: {end:?}");
        }
    }
}
