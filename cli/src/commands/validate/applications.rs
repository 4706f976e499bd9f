//! Whole applications: what the machine's parameters say of them, with the assumptions. Nothing is fitted; where the
//! publication does not say what an estimate needs, that is said instead.

use super::{Published, Row, Verdict};
use waferloom_fabric::Machine;

/// An application's estimate.
struct Estimate {
    value: f64,
    note: &'static str,
}

/// A row for an application.
pub(super) fn estimate(row: &Published, machine: &Machine) -> Row {
    let unit = row.unit.as_deref().unwrap_or_default();
    let published = format!("{} {unit} ({})", row.value.unwrap_or_default(), row.params.as_deref().unwrap_or_default());
    let estimate = match row.id.as_str() {
        "fft3d-512" => Some(fft3d(machine)),
        "tlr-mvm" => Some(matrix_vector(machine)),
        _ => None,
    };
    let error = estimate.as_ref().and_then(|e| Some(100.0 * (e.value / row.value? - 1.0)));
    let (found, note) = match &estimate {
        Some(e) => (format!("{:.0} {unit}", e.value), e.note),
        None => ("no estimate".to_string(), open(&row.id)),
    };
    Row {
        id: row.id.clone(),
        published,
        found,
        off: error.map_or(String::new(), |e| format!("{e:+.1} %")),
        verdict: Verdict::Shown,
        note: note.into(),
        source: row.source.clone(),
        confidence: row.confidence.clone(),
        points: Vec::new(),
    }
}

/// What an estimate would need and the publication does not say.
fn open(id: &str) -> &'static str {
    match id {
        "stencil-bicgstab" => {
            "the machine is the CS-1, whose ports and clock are not among the machine files; the schedule of the solver's \
             steps is not public in full"
        }
        "llama3-8b-decode" | "qwen2-72b-decode" => {
            "the grid that gave the figure and how layers share the wafer are not stated: any estimate would be a fit"
        }
        _ => "the set of stencils and their sizes that gave the figure are not stated in the abstract",
    }
}

/// 512^3 points on 512 x 512 PEs: a pencil of 512 points a PE, three transforms, two transposes in between.
///
/// A transform is 5 n log2 n operations at one f32 a cycle. In a transpose along a line half of the PEs send half of their
/// points over the middle link, two wavelets a point, one a cycle. Nothing overlaps.
fn fft3d(machine: &Machine) -> Estimate {
    let n = 512.0f64;
    let transforms = 3.0 * 5.0 * n * n.log2() / f64::from(machine.lanes_32);
    let transposes = 2.0 * (n / 2.0) * (n / 2.0) * 2.0;
    Estimate {
        value: (transforms + transposes) / machine.clock_hz * 1e6,
        note: "a lower bound: one f32 operation a cycle, transposes bound by the middle link of each line, no start-ups, \
               the machine file's clock",
    }
}

/// Independent products of an N by N tile and a vector on each PE, counted as 4 N^2 + 8 N bytes.
///
/// A column costs its N multiply-adds and the start-up of a vector instruction: N (N + start-up) cycles.
fn matrix_vector(machine: &Machine) -> Estimate {
    let (n, pes) = (64.0f64, 35_784_000.0);
    let cycles = n * (n / f64::from(machine.lanes_32) + f64::from(machine.vector_startup_cycles));
    Estimate {
        value: (4.0 * n * n + 8.0 * n) / cycles * machine.clock_hz * pes / 1e15,
        note: "one f32 multiply-add a cycle and a start-up a column; tiles of 64 x 64 (the publication has a range of \
               ranks; other sizes change this by a few percent), bytes counted as in the vendor's example",
    }
}
