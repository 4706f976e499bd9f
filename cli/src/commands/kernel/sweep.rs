//! A table of many runs: every combination of the swept values.

use super::one;
use crate::args::{KernelArgs, Sweep};
use crate::errors::{Error, Exit};
use crate::progress::Progress;
use crate::{summary, write};
use waferloom_driver::Measurement;
use waferloom_fabric::Machine;
use waferloom_kernels::catalog::Kernel;

/// Points that one sweep may have.
const MOST_POINTS: usize = 100_000;

/// A point of the sweep: what was set, and what came out or why nothing did.
pub(crate) struct Point {
    /// The swept parameters' values, in the order of the sweeps.
    pub(crate) values: Vec<String>,
    /// The run, or the reason why there is none.
    pub(crate) result: Result<Measurement, Error>,
}

pub(super) fn run(
    args: &KernelArgs,
    kernel: &'static Kernel,
    machine: &Machine,
    progress: &Progress,
) -> Result<Exit, Error> {
    if let Some(path) = &args.csv {
        write::check_targets(&[("--csv", Some(path))], &[])?;
    }
    if let Some(sweep) = args.sweep.iter().find(|s| kernel.parameters.iter().all(|p| p.name != s.name)) {
        let known: Vec<&str> = kernel.parameters.iter().map(|p| p.name).collect();
        return Err(Error::new(
            format!("the kernel `{}` has no parameter `{}`", kernel.name, sweep.name),
            format!("sweep one of {}", known.join(", ")),
        ));
    }
    let mut points = Vec::new();
    for values in combinations(&args.sweep)? {
        let mut settings = args.settings.clone();
        settings.extend(args.sweep.iter().zip(&values).map(|(sweep, value)| (sweep.name.clone(), value.clone())));
        let result = one(args, kernel, &settings, machine, progress);
        points.push(Point { values, result });
    }
    let names: Vec<&str> = args.sweep.iter().map(|s| s.name.as_str()).collect();
    if let Some(path) = &args.csv {
        write::text(path, &csv(&names, &points))?;
    }
    if args.json {
        let runs: Vec<&Measurement> = points.iter().filter_map(|p| p.result.as_ref().ok()).collect();
        write::stdout(&(serde_json::to_string_pretty(&runs).unwrap_or_default() + "\n"))?;
    } else {
        write::stdout(&summary::kernel::sweep(&names, &points))?;
    }
    Ok(Exit::Done)
}

/// All combinations, the last sweep running fastest.
fn combinations(sweeps: &[Sweep]) -> Result<Vec<Vec<String>>, Error> {
    let count = sweeps.iter().try_fold(1usize, |n, s| n.checked_mul(s.values.len()));
    if count.is_none_or(|n| n > MOST_POINTS) {
        return Err(Error::new(format!("the sweep has more than {MOST_POINTS} points"), "sweep fewer values"));
    }
    Ok(sweeps.iter().fold(vec![Vec::new()], |rows, sweep| {
        rows.iter()
            .flat_map(|row| {
                sweep.values.iter().map(move |value| [row.as_slice(), std::slice::from_ref(value)].concat())
            })
            .collect()
    }))
}

/// The points as comma-separated values; a point without a run has its reason in the last column.
fn csv(names: &[&str], points: &[Point]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let fixed = ["algorithm", "cycles", "estimate_cycles", "flops", "busy", "peak_link", "sram_bytes"];
    let header = names.iter().copied().chain(fixed).chain(["max_abs_error", "error"]);
    // Writing into memory cannot fail.
    let _ = writer.write_record(header);
    for point in points {
        let mut row = point.values.clone();
        match &point.result {
            Ok(m) => row.extend([
                m.algorithm.clone(),
                m.cycles.to_string(),
                m.estimate_cycles.to_string(),
                m.report.flops.total.to_string(),
                m.report.utilisation.busy.to_string(),
                m.report.links.peak_load.to_string(),
                m.report.sram.peak_bytes.to_string(),
                m.max_abs_error.map(|error| error.to_string()).unwrap_or_default(),
                String::new(),
            ]),
            Err(error) => {
                row.extend(std::iter::repeat_n(String::new(), fixed.len() + 1));
                row.push(error.to_string());
            }
        }
        let _ = writer.write_record(&row);
    }
    writer.into_inner().ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}
