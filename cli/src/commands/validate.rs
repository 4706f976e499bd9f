//! `waferloom validate`: published measurements and models against the simulator.
//!
//! - [`model`]: formulas of the published model, over a sweep of sizes
//! - [`measured`]: single logged figures
//! - [`applications`]: whole applications, as estimates with their assumptions

mod applications;
mod measured;
mod model;

use crate::args::ValidateArgs;
use crate::errors::{Error, Exit};
use crate::progress::Progress;
use crate::{summary, write};
use serde::{Deserialize, Serialize};
use waferloom_driver::{Measurement, measure};
use waferloom_fabric::Machine;
use waferloom_kernels::catalog::find;
use waferloom_simulator::Options;

/// The published rows, with their sources.
const PUBLISHED: &str = include_str!("../../data/published.json");

/// The machine that the published rows are about.
const MACHINE: &str = "wse2";

/// A row of the published file.
#[derive(Clone, Debug, Deserialize)]
struct Published {
    id: String,
    kernel: String,
    algorithm: Option<String>,
    low: Option<String>,
    high: Option<String>,
    slack: Option<f64>,
    #[serde(rename = "where")]
    sizes: Option<String>,
    statement: Option<String>,
    params: Option<String>,
    value: Option<f64>,
    unit: Option<String>,
    source: String,
    confidence: String,
}

impl Point {
    /// Cycles outside of the bounds; below 0 when there are too few.
    fn outside(&self) -> f64 {
        (self.cycles as f64 - self.high).max(0.0) + (self.cycles as f64 - self.low).min(0.0)
    }
}

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// It must hold, and does.
    Holds,
    /// It must hold, and does not.
    Fails,
    /// An estimate or a figure that is shown, not held.
    Shown,
}

/// A row as it is told.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// Its name in the file.
    pub(crate) id: String,
    /// What is published.
    pub(crate) published: String,
    /// What we get.
    pub(crate) found: String,
    /// How far that is from the published; for a range from its nearer end.
    pub(crate) off: String,
    /// Whether it holds.
    pub(crate) verdict: Verdict,
    /// Assumptions, or what the row leaves open.
    pub(crate) note: String,
    /// Where it was published.
    pub(crate) source: String,
    /// How far the publication itself can be trusted.
    pub(crate) confidence: String,
    /// The points of a sweep.
    pub(crate) points: Vec<Point>,
}

/// A point of a sweep.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Point {
    /// PEs.
    pub(crate) pes: u32,
    /// Elements of a vector.
    pub(crate) elements: u32,
    /// The published bounds, in cycles.
    pub(crate) low: f64,
    /// The upper one.
    pub(crate) high: f64,
    /// The simulated cycles.
    pub(crate) cycles: u64,
    /// How far these are from the nearer bound, in percent; 0 inside.
    pub(crate) error_percent: f64,
    /// Whether that is within the tolerance.
    pub(crate) holds: bool,
}

/// Runs the command.
pub(crate) fn run(args: &ValidateArgs, quiet: bool) -> Result<Exit, Error> {
    let bug = |e: &dyn std::fmt::Display| Error::bug(format!("the published rows cannot be read: {e}"));
    let published: Vec<Published> = serde_json::from_str(PUBLISHED).map_err(|e| bug(&e))?;
    let machine = Machine::builtin(MACHINE).ok_or_else(|| Error::bug("the machine is not built in"))?;
    let progress = Progress::new(quiet);
    let mut rows = Vec::new();
    for row in &published {
        progress.say(format!("validating {}", row.id));
        rows.push(match (&row.low, &row.high, &row.statement) {
            (Some(low), Some(high), _) => model::formula(row, low, high, &machine, args)?,
            (.., Some(statement)) => model::ranking(row, statement, &machine, args)?,
            _ => applications::estimate(row, &machine),
        });
    }
    rows.extend(measured::rows(&machine, args, &progress)?);
    drop(progress);
    if args.json {
        write::stdout(&(serde_json::to_string_pretty(&rows).unwrap_or_default() + "\n"))?;
    } else {
        write::stdout(&summary::validation::table(&rows, args.points))?;
    }
    Ok(if rows.iter().any(|row| row.verdict == Verdict::Fails) { Exit::Differs } else { Exit::Done })
}

/// Runs a kernel with `name=value` settings.
fn cycles(machine: &Machine, kernel: &str, settings: &[(&str, String)]) -> Result<Measurement, Error> {
    let kernel = find(kernel).ok_or_else(|| Error::bug(format!("there is no kernel `{kernel}`")))?;
    let settings: Vec<(String, String)> =
        settings.iter().map(|(name, value)| ((*name).to_string(), value.clone())).collect();
    Ok(measure(kernel, &settings, machine, &Options::default(), 1)?)
}
