//! Logged figures of the vendor's simulator that a kernel of ours can be held against.

use super::{Row, Verdict, cycles};
use crate::args::ValidateArgs;
use crate::errors::Error;
use crate::progress::Progress;
use rayon::prelude::*;
use serde::Deserialize;
use waferloom_fabric::Machine;

/// Measured rows, with their sources.
const MEASURED: &str = include_str!("../../../data/measured.json");

/// How far a reduction may be from its log. Our start and end are those of the program, theirs lie between two time stamps; two
/// runs of the same program differ by 0.3 % in the logs.
const SLACK: f64 = 0.05;

#[derive(Clone, Debug, Deserialize)]
struct Measured {
    id: String,
    kernel: String,
    algorithm: String,
    params: serde_json::Value,
    value: f64,
    unit: String,
    source: String,
    confidence: String,
}

/// The rows that a kernel can be held against, and one that counts the others.
pub(super) fn rows(machine: &Machine, args: &ValidateArgs, progress: &Progress) -> Result<Vec<Row>, Error> {
    let all: Vec<Measured> =
        serde_json::from_str(MEASURED).map_err(|e| Error::bug(format!("the measured rows cannot be read: {e}")))?;
    progress.say("validating logged reductions");
    let runs: Vec<Option<Row>> =
        all.par_iter().map(|row| reduction(row, machine, args)).collect::<Result<_, Error>>()?;
    let mut rows: Vec<Row> = runs.into_iter().flatten().collect();
    let others = all.len() - rows.len();
    rows.push(Row {
        id: "measured, others".into(),
        published: format!("{others} more figures"),
        found: "not run".into(),
        off: String::new(),
        verdict: Verdict::Shown,
        note: "kernels of other projects (sparse products, stencils, whole language models) that are not in the catalogue, or \
               sizes outside of --most-pes and --most-elements"
            .into(),
        source: "cli/data/measured.json names the source of each".into(),
        confidence: String::new(),
        points: Vec::new(),
    });
    Ok(rows)
}

/// A reduction over a row: chain, or two-phase with groups of `step`.
fn reduction(row: &Measured, machine: &Machine, args: &ValidateArgs) -> Result<Option<Row>, Error> {
    let number = |name: &str| row.params[name].as_u64().and_then(|n| u32::try_from(n).ok());
    let pes = row.params["PEs"].as_str().and_then(|pes| pes.strip_suffix("x1")).and_then(|p| p.parse::<u32>().ok());
    let (Some(pes), Some(elements), Some(step)) = (pes, number("vector_len"), number("step")) else { return Ok(None) };
    if !row.kernel.starts_with("reduce") || pes > args.most_pes || elements > args.most_elements {
        return Ok(None);
    }
    if !pes.is_multiple_of(step) {
        return Ok(Some(told(
            row,
            "not run".into(),
            None,
            Verdict::Shown,
            format!("groups of {step} do not divide {pes} PEs; how the original deals with the rest is not known"),
        )));
    }
    let algorithm = if step == pes { "chain" } else { "two-phase" };
    let settings = [
        ("p", pes.to_string()),
        ("elements", elements.to_string()),
        ("algorithm", algorithm.into()),
        ("group", step.to_string()),
    ];
    let found = cycles(machine, "reduce", &settings)?.cycles;
    let error = found as f64 / row.value - 1.0;
    let verdict = if error.abs() <= SLACK { Verdict::Holds } else { Verdict::Fails };
    Ok(Some(told(row, format!("{found} cycles"), Some(100.0 * error), verdict, String::new())))
}

fn told(row: &Measured, found: String, error_percent: Option<f64>, verdict: Verdict, note: String) -> Row {
    Row {
        id: row.id.clone(),
        published: format!("{}: {} {}", row.algorithm, row.value, row.unit),
        found,
        off: error_percent.map_or(String::new(), |e| format!("{e:+.1} %")),
        verdict,
        note,
        source: row.source.clone(),
        confidence: row.confidence.clone(),
        points: Vec::new(),
    }
}
