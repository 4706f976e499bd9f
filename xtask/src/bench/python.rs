//! ONNX Runtime, and the models that are too large for the repository.

use super::process::{self, Finished, Limits};
use super::{Bench, root};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Seconds that an installation or the export of a model may take.
const INSTALL_SECONDS: u64 = 3600;

/// What timing ONNX Runtime needs.
const RUNTIME_PACKAGES: &[&str] = &["onnxruntime", "numpy"];

/// What generating models needs besides.
const GENERATOR_PACKAGES: &[&str] = &["torch", "transformers", "onnx", "onnxscript", "onnxruntime", "numpy"];

/// How long ONNX Runtime takes for a model.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Inference {
    /// Seconds of the fastest run.
    pub(crate) seconds: f64,
}

/// Times ONNX Runtime on a model with its inputs.
///
/// # Errors
/// The reason why there is no result.
pub(crate) fn onnxruntime(bench: &Bench, model: &Path, inputs: &Path, threads: u32) -> Result<Inference, String> {
    let python = environment(&bench.folder.join("python"), RUNTIME_PACKAGES)?;
    let arguments = [text(&script("time_onnxruntime.py")), text(model), text(inputs), threads.to_string()];
    let done = succeeded(process::run(&python, &arguments, Limits { seconds: bench.seconds, memory_bytes: None })?)?;
    serde_json::from_str(&done.stdout).map_err(|e| format!("ONNX Runtime's time: {e}"))
}

/// The folder of a model of real size, which is generated when it is not there yet.
///
/// # Errors
/// The reason why it cannot be generated.
pub(crate) fn generated(bench: &Bench, name: &str) -> Result<PathBuf, String> {
    let models = bench.folder.join("models");
    let folder = models.join(name);
    // The last file that is written.
    if folder.join("meta.json").exists() {
        return Ok(folder);
    }
    let python = match &bench.generator {
        Some(python) => text(python),
        None => environment(&bench.folder.join("generator"), GENERATOR_PACKAGES)?,
    };
    eprintln!("  generating {name}");
    let big = root().join("tests/fixtures/generate/big.py");
    // -B: no bytecode in the work tree.
    let arguments = ["-B".into(), text(&big), text(&models), name.into()];
    succeeded(process::run(&python, &arguments, Limits { seconds: INSTALL_SECONDS, memory_bytes: None })?)?;
    Ok(folder)
}

/// The Python of a virtual environment with packages, which is made when it is not there yet.
fn environment(folder: &Path, packages: &[&str]) -> Result<String, String> {
    let python = text(&folder.join("bin/python"));
    let complete = folder.join("complete");
    if complete.exists() {
        return Ok(python);
    }
    eprintln!("  making a Python environment with {}", packages.join(", "));
    let limits = Limits { seconds: INSTALL_SECONDS, memory_bytes: None };
    succeeded(process::run("python3", &["-m".into(), "venv".into(), text(folder)], limits)?)?;
    let install = ["-m", "pip", "install", "--quiet"].iter().chain(packages).map(ToString::to_string);
    succeeded(process::run(&python, &install.collect::<Vec<_>>(), limits)?)?;
    std::fs::write(&complete, packages.join("\n")).map_err(|e| format!("{}: {e}", complete.display()))?;
    Ok(python)
}

fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/bench").join(name)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn succeeded(done: Finished) -> Result<Finished, String> {
    if done.success {
        return Ok(done);
    }
    let last = done.stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("Python failed");
    Err(last.trim().chars().take(160).collect())
}
