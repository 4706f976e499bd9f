//! From a program, its counters and the caller's facts to the report.

use super::bound::bound;
use super::totals::Totals;
use super::{Facts, Flops, OperatorReport, PeReport, Report, SCHEMA, Sram, SramByKind, Throughput, Utilisation, links};
use std::cmp::Reverse;
use waferloom_fabric::{Class, Program};

/// PEs that a report names as the heaviest.
const HEAVIEST: usize = 8;

impl Report {
    /// The report of all runs in `totals`.
    pub fn new(program: &Program, totals: &Totals, facts: Facts) -> Self {
        let classes = Placed::new(program);
        let seconds = totals.cycles as f64 / program.machine.clock_hz;
        let utilisation = utilisation(totals);
        let loads = links::links(program.grid, totals);
        let host_link = links::host_link(program, totals);
        let flops = program.operators.iter().map(|o| o.flops).fold(0, u64::saturating_add);
        let flops = flops.saturating_mul(totals.runs);
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

/// A rate that a run of no cycles does not have.
fn per_second(amount: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { amount as f64 / seconds } else { 0.0 }
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
            per_pe: per_pe.then(rows),
        }
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

/// Shares of all cycles of all PEs. A run without cycles is all idle, so that the shares always add up to 1.
fn utilisation(totals: &Totals) -> Utilisation {
    let sum = |of: fn(&crate::PeCounters) -> u64| totals.pes.iter().map(of).sum::<u64>();
    let (busy, memory) = (sum(|pe| pe.busy), sum(|pe| pe.memory));
    let (fabric_in, fabric_out) = (sum(|pe| pe.fabric_in), sum(|pe| pe.fabric_out));
    let all = busy + memory + fabric_in + fabric_out + sum(|pe| pe.idle);
    let share = |cycles: u64| cycles as f64 / all.max(1) as f64;
    let work = Utilisation {
        busy: share(busy),
        fabric_in: share(fabric_in),
        fabric_out: share(fabric_out),
        memory: share(memory),
        idle: 0.0,
    };
    let idle = if all == 0 { 1.0 } else { share(sum(|pe| pe.idle)) };
    Utilisation { idle, ..work }
}

fn operators(program: &Program, totals: &Totals) -> Vec<OperatorReport> {
    let report = |(index, operator): (usize, &waferloom_fabric::Operator)| {
        let time = totals.operators.get(index).copied().unwrap_or_default();
        // Counted, not enumerated: nobody has checked that the region lies inside the grid.
        let r = operator.region;
        let pes = u64::from(r.width.div_ceil(r.step_x.max(1))) * u64::from(r.height.div_ceil(r.step_y.max(1)));
        let room = pes as f64 * time.span_cycles as f64;
        OperatorReport {
            name: operator.name.clone(),
            kind: operator.kind.clone(),
            region: operator.region,
            cycles: time.cycles,
            span_cycles: time.span_cycles,
            flops: operator.flops.saturating_mul(totals.runs),
            bytes: operator.bytes.saturating_mul(totals.runs),
            utilisation: if room > 0.0 { time.busy_cycles as f64 / room } else { 0.0 },
        }
    };
    program.operators.iter().enumerate().map(report).collect()
}
