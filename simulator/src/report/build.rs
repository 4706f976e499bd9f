//! From a program, its counters and the caller's facts to the report.

use super::bound::bound;
use super::pipeline::pipeline;
use super::totals::Totals;
use super::{
    ClassMemory, Facts, Flops, OperatorReport, PeReport, Report, SCHEMA, Sram, SramByKind, Throughput, Utilisation,
    links, per_second, placement,
};
use crate::PeCounters;
use std::cmp::Reverse;
use waferloom_fabric::{Class, Program};

/// PEs that a report names as the heaviest.
const HEAVIEST: usize = 8;

impl Report {
    /// The report of all runs in `totals`.
    pub fn new(program: &Program, totals: &Totals, facts: Facts) -> Self {
        let classes = Placed::new(program);
        let seconds = totals.cycles as f64 / program.machine.clock_hz;
        let utilisation = utilisation_of(totals.pes.iter());
        let loads = links::links(program.grid, totals);
        let host_link = links::host_link(program, totals);
        let items = u64::from(program.items);
        let flops = program.operators.iter().map(|o| o.flops).fold(0, u64::saturating_add);
        let flops = flops.saturating_mul(totals.runs * items);
        Report {
            schema: SCHEMA,
            model: facts.model,
            machine: program.machine.name.clone(),
            engine: facts.engine,
            dtype: facts.dtype,
            grid: program.grid,
            runs: totals.runs,
            cycles: totals.cycles,
            seconds,
            host_seconds: facts.host_seconds,
            throughput: Throughput {
                items: facts.items,
                items_per_second: per_second(facts.items, seconds),
                unit: facts.unit,
            },
            pipeline: pipeline(program, totals),
            bound_by: bound(&utilisation, &loads, &host_link),
            pes_used: classes.running().count() as u64,
            sram: classes.sram(facts.per_pe),
            utilisation,
            links: loads,
            host_link,
            flops: Flops { total: flops, per_second: per_second(flops, seconds) },
            operators: operators(program, totals),
            heaviest_pes: classes.heaviest(totals),
            per_pe: facts.per_pe.then(|| (0..program.grid.pes()).map(|index| classes.pe(index, totals)).collect()),
            sequence: facts.sequence,
            outputs: facts.outputs,
            leftover_wavelets: totals.leftover_wavelets,
        }
    }
}

/// The program's PEs with their classes.
struct Placed<'a> {
    program: &'a Program,
    /// Memory of each class's PEs.
    memory: Vec<SramByKind>,
    /// The class of each PE, row by row.
    class: Vec<Option<u32>>,
}

impl<'a> Placed<'a> {
    fn new(program: &'a Program) -> Self {
        let mut class = vec![None; program.grid.pes()];
        let known = program.placements.iter().filter(|p| program.classes.get(p.class as usize).is_some());
        for placement in known.filter(|p| p.region.fits(program.grid)) {
            for at in placement.region.coords() {
                class[program.grid.index(at)] = Some(placement.class);
            }
        }
        let memory = program.classes.iter().map(|c| SramByKind::of(c, &program.machine)).collect();
        Self { program, memory, class }
    }

    fn class(&self, index: usize) -> Option<(&'a Class, &SramByKind)> {
        let class = self.class.get(index).copied().flatten()? as usize;
        Some((&self.program.classes[class], &self.memory[class]))
    }

    /// The PEs that have code.
    fn running(&self) -> impl Iterator<Item = (usize, &'a Class, &SramByKind)> {
        (0..self.class.len())
            .filter_map(|index| self.class(index).map(|(class, memory)| (index, class, memory)))
            .filter(|(_, class, _)| !class.tasks.is_empty())
    }

    fn sram(&self, per_pe: bool) -> Sram {
        let (mut total, mut fullest, mut count) = (SramByKind::default(), None::<(usize, SramByKind)>, 0u64);
        for (index, _, memory) in self.running() {
            total.add(memory, 1);
            count += 1;
            if fullest.is_none_or(|(_, most)| memory.used() > most.used()) {
                fullest = Some((index, *memory));
            }
        }
        let at = fullest.map(|(index, _)| self.program.grid.coord(index));
        let fullest = fullest.map(|(_, memory)| memory).unwrap_or_default();
        let width = usize::from(self.program.grid.width).max(1);
        let used = |index| self.class(index).map_or(0, |(_, memory)| memory.used());
        let rows = || (0..self.class.len()).step_by(width).map(|row| (row..row + width).map(used).collect()).collect();
        Sram {
            capacity_bytes: self.program.machine.sram_bytes.into(),
            peak_bytes: fullest.used(),
            mean_bytes: total.used() as f64 / count.max(1) as f64,
            fullest_pe: at.map(|at| [at.x, at.y]),
            fullest,
            total,
            classes: self.class_memory(),
            per_pe: per_pe.then(rows),
        }
    }

    /// Memory of the classes that run code, the fullest first.
    fn class_memory(&self) -> Vec<ClassMemory> {
        let mut classes: Vec<Option<ClassMemory>> = vec![None; self.memory.len()];
        for (index, class, memory) in self.running() {
            let at = self.program.grid.coord(index);
            let number = self.class[index].unwrap_or_default() as usize;
            let entry = classes[number].get_or_insert_with(|| ClassMemory {
                name: class.name.clone(),
                pes: 0,
                first_pe: [at.x, at.y],
                used_bytes: memory.used(),
                holds: *memory,
            });
            entry.pes += 1;
        }
        let mut classes: Vec<ClassMemory> = classes.into_iter().flatten().collect();
        classes.sort_by_key(|class| Reverse(class.used_bytes));
        classes
    }

    fn pe(&self, index: usize, totals: &Totals) -> PeReport {
        let at = self.program.grid.coord(index);
        let counters = totals.pes.get(index).copied().unwrap_or_default();
        let placed = self.class(index);
        PeReport {
            x: at.x,
            y: at.y,
            class: placed.map(|(class, _)| class.name.clone()),
            busy: counters.busy,
            fabric_in: counters.fabric_in,
            fabric_out: counters.fabric_out,
            memory: counters.memory,
            idle: counters.idle,
            sram_bytes: placed.map_or(0, |(_, memory)| memory.used()),
        }
    }

    /// The busiest PEs that run code; of equally busy ones the first, row by row.
    fn heaviest(&self, totals: &Totals) -> Vec<PeReport> {
        let mut order: Vec<usize> = self.running().map(|(index, ..)| index).collect();
        order.sort_by_key(|&index| (Reverse(totals.pes.get(index).map_or(0, |pe| pe.busy)), index));
        order.truncate(HEAVIEST);
        order.into_iter().map(|index| self.pe(index, totals)).collect()
    }
}

/// Shares of all cycles of some PEs. PEs without cycles are all idle, so that the shares always add up to 1.
pub(super) fn utilisation_of<'a>(pes: impl Iterator<Item = &'a PeCounters>) -> Utilisation {
    let mut sum = PeCounters::default();
    for pe in pes {
        sum.busy += pe.busy;
        sum.memory += pe.memory;
        sum.fabric_in += pe.fabric_in;
        sum.fabric_out += pe.fabric_out;
        sum.idle += pe.idle;
    }
    let all = sum.busy + sum.memory + sum.fabric_in + sum.fabric_out + sum.idle;
    let share = |cycles: u64| cycles as f64 / all.max(1) as f64;
    Utilisation {
        busy: share(sum.busy),
        fabric_in: share(sum.fabric_in),
        fabric_out: share(sum.fabric_out),
        memory: share(sum.memory),
        idle: if all == 0 { 1.0 } else { share(sum.idle) },
    }
}

fn operators(program: &Program, totals: &Totals) -> Vec<OperatorReport> {
    let memory = placement::of_operators(program);
    let report = |(index, operator): (usize, &waferloom_fabric::Operator)| {
        let time = totals.operators.get(index).copied().unwrap_or_default();
        // Counted, not enumerated: nobody has checked that the region lies inside the grid.
        let r = operator.region;
        let pes = u64::from(r.width.div_ceil(r.step_x.max(1))) * u64::from(r.height.div_ceil(r.step_y.max(1)));
        let times = totals.runs * u64::from(program.items);
        // What PEs spent in it; with one item waits for those that are late count as well.
        let room = if program.items == 1 { pes as f64 * time.span_cycles as f64 } else { time.pe_cycles as f64 };
        OperatorReport {
            name: operator.name.clone(),
            kind: operator.kind.clone(),
            region: operator.region,
            cycles: if program.items == 1 { time.cycles } else { time.pe_cycles / pes.max(1) },
            span_cycles: time.span_cycles,
            flops: operator.flops.saturating_mul(times),
            bytes: operator.bytes.saturating_mul(times),
            utilisation: if room > 0.0 { time.busy_cycles as f64 / room } else { 0.0 },
            from_claims: time.from_claims,
            memory: memory[index],
        }
    };
    program.operators.iter().enumerate().map(report).collect()
}
