//! Whole models: compile times, time against ONNX Runtime, and what must fit.

use super::python::{self, Inference};
use super::row::Target;
use super::waferloom::{Arguments, number};
use super::{Bench, Row, root};
use std::path::PathBuf;
use tempfile::TempDir;

/// Name of a program's file.
const PROGRAM: &str = "model.wlp";

/// Runs of which the fastest counts: a host that others use takes twice as long from one minute to the next.
const RUNS: usize = 3;

/// A model, where it runs, and how fast it must be.
struct Case {
    /// What the table calls it.
    what: &'static str,
    /// Name of the model.
    name: &'static str,
    /// Whether it is generated, not a reference model of the repository.
    generated: bool,
    /// The PEs.
    grid: &'static str,
    /// Whether the targets are those of this size.
    has_targets: bool,
}

/// Each architecture at its real size, and at sizes that are quick.
const CASES: &[Case] = &[
    case("Nucleotide Transformer v2, width 64, 2 layers, 64 tokens", "nucleotide_v2", "16x16").fixture(),
    case("Nucleotide Transformer v2, width 512, 2 layers, 128 tokens", "nucleotide_v2_2_layers", "80x80"),
    case("Nucleotide Transformer v2 50M, 512 tokens", "nucleotide_v2_50m", "104x104").target(),
    case("DNABERT-2, width 64, 2 layers, batch of 2, 48 tokens", "dnabert2", "16x16").fixture(),
    case("DNABERT-2, width 768, 2 layers, 128 tokens", "dnabert2_2_layers", "96x96"),
    case("DNABERT-2 117M, 512 tokens", "dnabert2_117m", "128x128").target(),
    case("ViT, width 64, 2 layers, 17 tokens", "vit", "16x16").fixture(),
    case("ViT-B/16 with 2 layers", "vit_b16_2_layers", "96x96"),
    case("ViT-B/16", "vit_b16", "128x128").target(),
];

const fn case(what: &'static str, name: &'static str, grid: &'static str) -> Case {
    Case { what, name, generated: true, grid, has_targets: false }
}

impl Case {
    const fn fixture(self) -> Self {
        Self { generated: false, ..self }
    }

    const fn target(self) -> Self {
        Self { has_targets: true, ..self }
    }

    fn folder(&self, bench: &Bench) -> Result<PathBuf, String> {
        if self.generated {
            return python::generated(bench, self.name);
        }
        Ok(root().join("tests/fixtures/models").join(self.name))
    }

    /// The command that compiles it into a folder.
    fn compile(&self, bench: &Bench, dtype: &str, into: &TempDir) -> Result<Arguments, String> {
        let folder = self.folder(bench)?;
        Ok(Arguments::new("compile")
            .file(&folder.join("model.onnx"))
            .with("--inputs")
            .file(&folder.join("inputs.npz"))
            .with(&format!("--grid {} --dtype {dtype} -o", self.grid))
            .file(&into.path().join(PROGRAM)))
    }

    /// A folder with its program in f32.
    fn compiled(&self, bench: &Bench) -> Result<TempDir, String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        bench.waferloom.run(&self.compile(bench, "f32", &folder)?)?;
        Ok(folder)
    }
}

/// How long compilation takes after the file is read.
pub(crate) fn compile(bench: &Bench, rows: &mut Vec<Row>) {
    for case in CASES {
        for dtype in ["f32", "f16"] {
            bench.row(rows, "compile", format!("{}, {dtype} on {}", case.what, case.grid), |row| {
                let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
                let mut seconds = f64::INFINITY;
                for _ in 0..RUNS {
                    let said = bench.waferloom.json(row, case.compile(bench, dtype, &folder)?)?;
                    seconds = seconds.min(number(&said, "/host_seconds/compile")?);
                }
                row.seconds = Some(seconds);
                let target = (case.name == "nucleotide_v2_50m").then_some(Target::AtMost(2.0));
                row.figure(seconds, "s after the file is read", target);
                Ok(())
            });
        }
    }
}

/// Time to simulate, with numbers and cycles, over ONNX Runtime's time on as many threads.
pub(crate) fn against_onnxruntime(bench: &Bench, rows: &mut Vec<Row>) {
    for case in CASES {
        let mut compiled = None;
        for threads in [1, 2] {
            let what = format!("{}, f32 on {}, stream, threads: {threads}", case.what, case.grid);
            bench.row(rows, "models", what, |row| {
                let folder = case.folder(bench)?;
                let (model, inputs) = (folder.join("model.onnx"), folder.join("inputs.npz"));
                // First, so that the row shows it in any case.
                let Inference { seconds: reference } = python::onnxruntime(bench, &model, &inputs, threads)?;
                row.figure(1e3 * reference, "ms in ONNX Runtime", None);
                let program = compiled.get_or_insert_with(|| case.compiled(bench)).as_ref().map_err(String::clone)?;
                let simulate = Arguments::new("simulate").file(&program.path().join(PROGRAM));
                let simulate = simulate.with("--inputs").file(&inputs);
                let simulate = simulate.with(&format!("--engine stream --threads {threads}"));
                // One is enough when it is slow.
                let mut best = f64::INFINITY;
                for _ in 0..RUNS {
                    let said = bench.waferloom.json(row, simulate.clone())?;
                    best = best.min(number(&said, "/host_seconds/simulate")?);
                    row.cycles = Some(number(&said, "/cycles")? as u64);
                    if best > 5.0 {
                        break;
                    }
                }
                row.seconds = Some(best);
                let target = case.has_targets.then_some(Target::AtMost(2.0));
                row.figure(best / reference, "times ONNX Runtime", target);
                Ok(())
            });
        }
    }
}

/// A large product without numbers, and a model on a whole wafer, with smaller ones beside them.
pub(crate) fn scale(bench: &Bench, rows: &mut Vec<Row>) {
    for (side, size) in [(64, 512), (180, 1024), (360, 2048), (720, 4096)] {
        let what = format!("product {size}^3, f16 on {side}x{side} PEs, stream, timing only");
        bench.row(rows, "scale", what, |row| {
            let arguments = Arguments::new(&format!(
                "kernel gemm --set p={side} --set m={size} --set n={size} --set k={size} --set dtype=f16"
            ));
            let said = bench.waferloom.json(row, arguments.with("--engine stream --no-numerics"))?;
            row.cycles = Some(number(&said, "/cycles")? as u64);
            let (made, run) = ("/report/host_seconds/compile", "/report/host_seconds/simulate");
            held(row, number(&said, made)? + number(&said, run)?, (side == 720).then_some((20.0, 6.0)));
            Ok(())
        });
    }
    let transformers = CASES.iter().filter(|c| c.name.starts_with("nucleotide_v2_"));
    for (case, dtype) in transformers.flat_map(|case| ["f32", "f16"].map(|dtype| (case, dtype))) {
        bench.row(rows, "scale", format!("{}, {dtype} on a whole wse2, stream", case.what), |row| {
            let folder = case.folder(bench)?;
            let arguments = Arguments::new("run").file(&folder.join("model.onnx")).with("--inputs");
            let arguments = arguments.file(&folder.join("inputs.npz")).with(&format!("--grid 750x994 --dtype {dtype}"));
            let said = bench.waferloom.json(row, arguments.with("--engine stream"))?;
            row.cycles = Some(number(&said, "/cycles")? as u64);
            held(row, number(&said, "/host_seconds/simulate")?, case.has_targets.then_some((60.0, 12.0)));
            Ok(())
        });
    }
}

/// Seconds and peak memory against targets in seconds and GiB.
fn held(row: &mut Row, seconds: f64, targets: Option<(f64, f64)>) {
    row.seconds = Some(seconds);
    let gib = row.peak_bytes.unwrap_or_default() as f64 / f64::from(1 << 30);
    row.figure(seconds, "s", targets.map(|(seconds, _)| Target::AtMost(seconds)));
    row.figure(gib, "GiB", targets.map(|(_, gib)| Target::AtMost(gib)));
}
