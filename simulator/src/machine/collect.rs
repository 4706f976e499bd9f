//! What a run gave, from the state at its end.

use super::band::{self, Band, Span};
use super::pe::PeCounters;
use super::{host, setup};
use crate::{ItemTime, OperatorTime, Run};
use std::collections::BTreeMap;
use waferloom_fabric::{Coord, HostTensor, PortKind, Program};

/// What has been counted, in the order of the grid.
pub(crate) struct Counted {
    pub(crate) pes: Vec<PeCounters>,
    /// By router: wavelets sent, by direction.
    pub(crate) links: Vec<[u64; 5]>,
}

impl Counted {
    /// What PEs and routers have counted themselves.
    pub(crate) fn by(bands: &[Band<'_>]) -> Self {
        Self {
            pes: bands.iter().flat_map(|b| b.pes.iter().map(|pe| pe.counters)).collect(),
            links: bands.iter().flat_map(|b| b.routers.iter().map(|r| r.sent)).collect(),
        }
    }
}

/// Puts together what a run gave.
pub(crate) fn collect(
    program: &Program,
    fabric: &setup::Fabric<'_>,
    mut bands: Vec<Band<'_>>,
    counted: Counted,
    cycles: u64,
    leftover_wavelets: u64,
) -> Run {
    let mut spans = vec![Span::default(); program.operators.len()];
    for band in &bands {
        for (total, part) in spans.iter_mut().zip(&band.spans) {
            total.join(part);
        }
    }
    let outputs = if fabric.gives_outputs { outputs(program, fabric, &mut bands) } else { BTreeMap::new() };
    Run {
        outputs,
        cycles,
        items: item_times(program.items, &bands, cycles),
        pes: counted.pes,
        links: counted.links,
        operators: operator_times(&spans, cycles),
        claimed: vec![false; program.operators.len()],
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
        let streams: Vec<&[u32]> = (0..port.streams())
            .map(|stream| {
                let link = fabric.link(port, stream);
                let words =
                    bands.iter().find_map(|b| b.sink_at.get(&link).map(|&s| b.sinks[s].data.as_slice())).unwrap_or(&[]);
                let start = taken.entry(link).or_insert(0);
                let end = (*start + port.stream_wavelets()).min(words.len());
                let part = &words[(*start).min(end)..end];
                *start = end;
                part
            })
            .collect();
        host::decode(elements.entry(&port.name).or_default(), port, &streams);
    }
    for port in ports() {
        let shape = host::host_shape(program.items, &port.distribution.shape);
        let bits = elements.remove(port.name.as_str()).unwrap_or_default();
        tensors.insert(port.name.clone(), host::host_tensor(port.dtype, shape, bits));
    }
    for readback in &program.readbacks {
        let (from, grid) = (readback.origin, readback.distribution.grid);
        let holders = (0..grid.height).flat_map(|y| (0..grid.width).map(move |x| (x, y)));
        for (x, y) in holders {
            let index = program.grid.index(Coord { x: from.x + x, y: from.y + y });
            if let Some(band) = bands.iter_mut().find(|b| (b.first..b.first + b.pes.len()).contains(&index)) {
                band.pes[index - band.first].lay_out();
            }
        }
        let memory = |pe: Coord| {
            let index = program.grid.index(pe);
            let band = bands.iter().find(|b| (b.first..b.first + b.pes.len()).contains(&index))?;
            Some(&*band.pes[index - band.first].memory)
        };
        tensors.insert(readback.name.clone(), host::read_back(readback, memory));
    }
    tensors
}
