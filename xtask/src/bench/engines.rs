//! The engines on kernels: speed, growth with the PEs, cycles against each other.

use super::row::Target;
use super::waferloom::{Arguments, number};
use super::{Bench, Row, root};
use serde_json::Value;

const ENGINES: [&str; 2] = ["wavelet", "stream"];

/// Runs in one process: the first ones get their memory from the system, page by page.
const RUNS: usize = 201;

/// The same where time is compared by the number of PEs: as many on all grids, or the best one of more would favour small ones.
const GROWTH_RUNS: usize = 5;

/// How often a grid and the smallest one take turns, whose times are compared: a host that others use takes twice as long from one minute to
/// the next.
const GROWTH_TURNS: usize = 3;

/// Rows of PEs, of as many each, of the grids that are compared.
const SIDES: [u32; 5] = [32, 64, 128, 256, 512];

/// Wavelets over links and ramps in a second of the host's time, in one chain of PEs that add vectors.
pub(crate) fn speeds(bench: &Bench, rows: &mut Vec<Row>) {
    for (engine, least) in ENGINES.into_iter().zip([100e6, 10e9]) {
        let what = format!("chain reduce, 256 PEs, 4096 elements, {engine}");
        bench.row(rows, "engines", what, |row| {
            let speed = speed(bench, row, engine)?;
            row.figure(speed / 1e6, "million wavelet-hops/s", Some(Target::AtLeast(least / 1e6)));
            Ok(())
        });
    }
    // What a tuner that asks for cycles waits for; no target speaks of it.
    bench.row(rows, "engines", "the same, stream, timing only: no sums are worked out", |row| {
        speed(bench, row, "stream --no-numerics").map(|speed| row.figure(speed / 1e6, "million wavelet-hops/s", None))
    });
}

/// Wavelets over links and ramps in a second of the host's time, with an engine and other arguments.
fn speed(bench: &Bench, row: &mut Row, engine: &str) -> Result<f64, String> {
    let arguments = Arguments::new("kernel reduce --set p=256 --set elements=4096 --set algorithm=chain --threads 1")
        .with(&format!("--engine {engine} --runs {RUNS}"));
    let run = bench.waferloom.json(row, arguments)?;
    note(&run, row)?;
    let (links, ramps) = ("/report/links/wavelet_hops", "/report/links/ramp_wavelets");
    let hops = number(&run, links)? + number(&run, ramps)?;
    Ok(hops / row.seconds.unwrap_or(f64::INFINITY))
}

/// Time at the same work in each PE, on more and more PEs, on one thread of the host and on two.
pub(crate) fn growth(bench: &Bench, rows: &mut Vec<Row>) {
    let gemv = |side: u32| {
        let size = 16 * side;
        format!("gemv --set p={side} --set q={side} --set m={size} --set k={size} --set algorithm=chain")
    };
    let gelu = |side: u32| {
        let size = 8 * side;
        format!("gelu --set p={side} --set rows={side} --set m={size} --set n={size}")
    };
    for threads in [1, 2] {
        for engine in ENGINES {
            grows(bench, rows, "gemv, a tile of 16x16", (engine, threads), gemv);
        }
        // More work in as much memory, and nothing that PEs tell each other.
        grows(bench, rows, "gelu, a tile of 8x8", ("stream", threads), gelu);
    }
}

/// Time a PE of a kernel: `of` gives it with its settings on a square of PEs.
fn grows(bench: &Bench, rows: &mut Vec<Row>, what: &str, (engine, threads): (&str, u32), of: impl Fn(u32) -> String) {
    for side in SIDES {
        let what = format!("{what} in each of {side}x{side} PEs, {engine}, threads: {threads}");
        bench.row(rows, "growth", what, |row| {
            let smallest = SIDES[0];
            // This one last: the row has CPU time and memory of the last run. Nothing takes turns with itself.
            let grids = if side == smallest { vec![side] } else { vec![smallest, side] };
            let mut best = vec![f64::INFINITY; grids.len()];
            for _ in 0..GROWTH_TURNS {
                for (best, &side) in best.iter_mut().zip(&grids) {
                    let kernel = of(side);
                    let command = format!("kernel {kernel} --threads {threads} --engine {engine} --runs {GROWTH_RUNS}");
                    note(&bench.waferloom.json(row, Arguments::new(&command))?, row)?;
                    *best = best.min(row.seconds.unwrap_or_default() / f64::from(side * side));
                }
            }
            let (first, own) = (best[0], best[best.len() - 1]);
            row.seconds = Some(own * f64::from(side * side));
            row.figure(own * 1e6, "µs/PE", None);
            if side != smallest {
                row.figure(own / first, "times that of the smallest grid", Some(Target::AtMost(1.2)));
            }
            Ok(())
        });
    }
}

/// Cycles and outputs of `stream` against those of `wavelet`.
pub(crate) fn cycles(bench: &Bench, rows: &mut Vec<Row>) {
    let list = match bench.waferloom.run(&Arguments::new("kernel --list")) {
        Ok(done) => done.stdout,
        Err(reason) => return bench.row(rows, "cycles", "all kernels", |_| Err(reason)),
    };
    // Names begin lines, all else is indented.
    for kernel in list.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase())) {
        bench.row(rows, "cycles", format!("{kernel}, stream against wavelet"), |row| {
            let arguments = Arguments::new(&format!("kernel {kernel}"));
            let of = |said: &Value| number(said, "/cycles");
            let wavelet = of(&bench.waferloom.json(row, arguments.clone().with("--engine wavelet"))?)?;
            let stream = of(&bench.waferloom.json(row, arguments.with("--engine stream"))?)?;
            compared(row, wavelet, stream, 5.0);
            Ok(())
        });
    }
    for model in fixtures() {
        bench.row(rows, "cycles", format!("{model} on 16x16, stream against wavelet"), |row| {
            let folder = root().join("tests/fixtures/models").join(&model);
            let scratch = tempfile::tempdir().map_err(|e| e.to_string())?;
            let outputs = scratch.path().join("outputs.npz");
            let run = Arguments::new("run").file(&folder.join("model.onnx"));
            let run = run.with("--inputs").file(&folder.join("inputs.npz"));
            let first = run.clone().with("--engine wavelet --out").file(&outputs);
            let wavelet = number(&bench.waferloom.json(row, first)?, "/cycles")?;
            // Outputs that differ in a bit are an error here.
            let second = run.with("--engine stream --rtol 0 --atol 0 --expect").file(&outputs);
            let said = bench.waferloom.json(row, second)?;
            row.seconds = Some(number(&said, "/host_seconds/simulate")?);
            compared(row, wavelet, number(&said, "/cycles")?, 10.0);
            Ok(())
        });
    }
}

fn compared(row: &mut Row, wavelet: f64, stream: f64, most_percent: f64) {
    row.cycles = Some(stream as u64);
    row.figure(100.0 * (stream / wavelet - 1.0).abs(), "% of wavelet's cycles off", Some(Target::AtMost(most_percent)));
}

/// The reference models, by name.
fn fixtures() -> Vec<String> {
    let folder = std::fs::read_dir(root().join("tests/fixtures/models"));
    let entries = folder.into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Notes the host's seconds and the cycles of a kernel.
fn note(said: &Value, row: &mut Row) -> Result<(), String> {
    row.seconds = Some(number(said, "/report/host_seconds/simulate")?);
    row.cycles = Some(number(said, "/cycles")? as u64);
    Ok(())
}
