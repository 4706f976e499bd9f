//! Kernels on their own, for people.

use super::numbers::{duration, percent, short};
use super::table::{Align, table};
use super::{grouped, line, resources, times, wrapped};
use crate::commands::kernel::sweep::Point;
use std::fmt::Write as _;
use waferloom_driver::Measurement;
use waferloom_fabric::Machine;
use waferloom_kernels::catalog::{Kernel, Kind};

/// All kernels with their parameters.
pub(crate) fn list(kernels: &[Kernel]) -> String {
    let mut out = String::new();
    for kernel in kernels {
        let _ = writeln!(out, "{}", kernel.name);
        out.push_str(&wrapped(kernel.summary, "  "));
        let rows = kernel.parameters.iter().map(|p| {
            let values = match p.kind {
                Kind::Integer { low, high } => format!("{low}..{high}"),
                Kind::Choice(words) => words.join("|"),
            };
            vec![format!("    {}={}", p.name, p.default), values, p.what.to_string()]
        });
        let _ = writeln!(out, "{}", table(rows.collect(), &[Align::Left; 3]));
    }
    out
}

/// One run.
pub(crate) fn one(m: &Measurement, machine: &Machine) -> String {
    let grid = m.report.grid;
    let mut out = format!(
        "{} ({}) on {}x{} PEs of {}, {} engine\n\n",
        m.kernel, m.algorithm, grid.width, grid.height, m.report.machine, m.report.engine
    );
    let settings: Vec<String> = m.settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
    line(&mut out, "settings", &settings.join(" "));
    times(&mut out, &m.report, machine);
    let off = format!("{:+.1} %", 100.0 * m.estimate_error());
    line(&mut out, "estimate", &format!("{} cycles ({off})", grouped(m.estimate_cycles)));
    resources(&mut out, &m.report);
    let error = match (m.max_abs_error, m.max_rel_error) {
        (Some(absolute), Some(relative)) => {
            format!("max {absolute:.1e} absolute, {relative:.1e} of the largest element")
        }
        _ => "unknown: --no-numerics computes the time alone".into(),
    };
    line(&mut out, "error", &error);
    line(&mut out, "host time", &duration(m.report.host_seconds.compile + m.report.host_seconds.simulate));
    out
}

/// A sweep.
pub(crate) fn sweep(names: &[&str], points: &[Point]) -> String {
    let shows_algorithm = !names.contains(&"algorithm");
    let fixed = ["algorithm", "cycles", "estimate", "off", "busy", "peak link", "error"];
    let fixed = &fixed[usize::from(!shows_algorithm)..];
    let mut rows = vec![names.iter().chain(fixed).map(ToString::to_string).collect::<Vec<_>>()];
    let mut refused = String::new();
    for point in points {
        let mut row = point.values.clone();
        match &point.result {
            Ok(m) => {
                row.extend(shows_algorithm.then(|| m.algorithm.clone()));
                row.extend([
                    grouped(m.cycles),
                    grouped(m.estimate_cycles),
                    format!("{:+.1} %", 100.0 * m.estimate_error()),
                    percent(m.report.utilisation.busy),
                    format!("{:.3}", m.report.links.peak_load),
                    m.max_rel_error.map_or("-".into(), |error| format!("{error:.1e}")),
                ]);
            }
            Err(error) => {
                let _ = writeln!(refused, "{}: {}", point.values.join(" "), short(&error.to_string(), 90));
                row.extend(std::iter::repeat_n("-".to_string(), fixed.len()));
            }
        }
        rows.push(row);
    }
    let mut align = vec![Align::Right; names.len() + fixed.len()];
    // Words to the left.
    for (column, name) in names.iter().chain(fixed).enumerate() {
        if ["algorithm", "dtype", "transpose"].contains(name) {
            align[column] = Align::Left;
        }
    }
    let mut out = table(rows, &align);
    if !refused.is_empty() {
        let _ = write!(out, "\nwithout a run:\n{refused}");
    }
    out
}
