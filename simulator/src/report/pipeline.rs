//! How items flow through a program that works on several in one run.

use super::build::utilisation_of;
use super::totals::Totals;
use super::{Pipeline, StageReport, per_second};
use waferloom_fabric::{Placement, Program};

/// The flow of items; none for a program that works on one.
pub(super) fn pipeline(program: &Program, totals: &Totals) -> Option<Pipeline> {
    let flow = &totals.flow;
    if program.items < 2 || totals.runs == 0 {
        return None;
    }
    let mean = |sum: u64, count: u64| sum as f64 / count.max(1) as f64;
    let interval = mean(flow.between_first_and_last, totals.runs * u64::from(program.items - 1));
    let stage = |placement| stage(program, placement, totals, interval);
    Some(Pipeline {
        items_per_run: program.items.into(),
        fill_cycles: mean(flow.first_item, totals.runs),
        interval_cycles: interval,
        drain_cycles: mean(flow.last_item, totals.runs),
        steady_items_per_second: per_second(1, interval / program.machine.clock_hz),
        stages: program.placements.iter().filter_map(stage).collect(),
    })
}

fn stage(program: &Program, placement: &Placement, totals: &Totals, interval_cycles: f64) -> Option<StageReport> {
    let class = program.classes.get(placement.class as usize)?;
    if class.tasks.is_empty() || !placement.region.fits(program.grid) {
        return None;
    }
    let pes = || placement.region.coords().filter_map(|at| totals.pes.get(program.grid.index(at)));
    let items = totals.runs * u64::from(program.items);
    let steady = pes().count() as f64 * items as f64 * interval_cycles;
    Some(StageReport {
        name: class.name.clone(),
        region: placement.region,
        utilisation: utilisation_of(pes()),
        steady_busy: if steady > 0.0 { pes().map(|pe| pe.busy).sum::<u64>() as f64 / steady } else { 0.0 },
    })
}
