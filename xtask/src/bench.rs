//! `cargo xtask bench`: how fast the engines and the compiler are, on this machine, as one table.
//!
//! Everything is measured from outside: the `waferloom` binary and ONNX Runtime run as processes, whose seconds, processor
//! time and peak memory are taken. A row that cannot be run says why and stops nothing else.

mod engines;
mod models;
mod process;
mod python;
mod row;
mod table;
mod waferloom;

use clap::{Args, ValueEnum};
use process::Limits;
use row::{Host, Row};
use std::path::PathBuf;

/// Options of `bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Groups of rows to measure, in the order below whatever is given first [default: all]
    #[arg(long, value_name = "GROUP", value_enum, value_delimiter = ',')]
    only: Vec<Group>,
    /// Only rows whose text holds this
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// Write host and rows as JSON
    #[arg(long, value_name = "F.json")]
    json: Option<PathBuf>,
    /// A process that takes longer is ended, and its row says so
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    limit: u64,
    /// A process of waferloom that wants more memory is ended, and its row says so
    #[arg(long, value_name = "GIB", default_value_t = 12)]
    memory: u64,
    /// A Python with torch, transformers, onnx, onnxscript and onnxruntime to generate the real-size models with, instead of
    /// an environment of its own under target/ (several GB); needed once
    #[arg(long, value_name = "PYTHON")]
    generator: Option<PathBuf>,
}

/// Groups of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Group {
    /// Wavelet-hops a second of both engines
    Engines,
    /// Time against PEs at fixed work per PE
    Growth,
    /// What must fit: a product on 720x720 PEs, a model on a whole wafer
    Scale,
    /// Cycles of stream against wavelet: kernels and reference models
    Cycles,
    /// Compile times
    Compile,
    /// Whole models against ONNX Runtime, in the same run
    Models,
}

/// Why nothing was measured at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// A step before the first row failed.
    #[error("{0}")]
    Setup(String),
    /// A file cannot be written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Runs the benchmarks and prints the table.
///
/// # Errors
/// When the binary cannot be built or a file cannot be written; a row that cannot be run is no error.
pub(crate) fn run(args: &BenchArgs) -> Result<(), BenchError> {
    let limits = Limits { seconds: args.limit, memory_bytes: Some(args.memory << 30) };
    let bench = Bench {
        waferloom: waferloom::Waferloom::build(limits)?,
        folder: target_folder()?.join("bench"),
        filter: args.filter.clone(),
        generator: args.generator.clone(),
        seconds: args.limit,
    };
    std::fs::create_dir_all(&bench.folder).map_err(|source| BenchError::File { path: bench.folder.clone(), source })?;
    let wanted = |group: Group| args.only.is_empty() || args.only.contains(&group);
    let mut rows = Vec::new();
    for group in Group::value_variants().iter().copied().filter(|g| wanted(*g)) {
        match group {
            Group::Engines => engines::speeds(&bench, &mut rows),
            Group::Growth => engines::growth(&bench, &mut rows),
            Group::Scale => models::scale(&bench, &mut rows),
            Group::Cycles => engines::cycles(&bench, &mut rows),
            Group::Compile => models::compile(&bench, &mut rows),
            Group::Models => models::against_onnxruntime(&bench, &mut rows),
        }
    }
    let host = Host::here();
    println!("{host}\n\n{}", table::markdown(&rows));
    if let Some(path) = &args.json {
        let text = serde_json::json!({ "host": host, "rows": rows });
        std::fs::write(path, format!("{text:#}\n"))
            .map_err(|source| BenchError::File { path: path.clone(), source })?;
    }
    Ok(())
}

/// What all groups share.
#[derive(Debug)]
struct Bench {
    /// The binary.
    waferloom: waferloom::Waferloom,
    /// Where models and environments lie between runs.
    folder: PathBuf,
    /// Only rows whose text holds this are measured.
    filter: String,
    /// The Python that generates models, when one is given.
    generator: Option<PathBuf>,
    /// A process that takes longer is ended.
    seconds: u64,
}

impl Bench {
    /// Measures a row, unless it is filtered out: `measure` fills it in or gives the reason why it cannot be run.
    fn row(
        &self,
        rows: &mut Vec<Row>,
        group: &'static str,
        what: impl Into<String>,
        measure: impl FnOnce(&mut Row) -> Result<(), String>,
    ) {
        let mut row = Row::new(group, what.into());
        if !row.what.contains(&self.filter) {
            return;
        }
        eprintln!("{group}: {}", row.what);
        if let Err(reason) = measure(&mut row) {
            eprintln!("  {reason}");
            row.reason = Some(reason);
        }
        rows.push(row);
    }
}

/// The root of the workspace.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().map(Into::into).unwrap_or_default()
}

/// Cargo's target folder: where this program itself lies.
fn target_folder() -> Result<PathBuf, BenchError> {
    let here = std::env::current_exe().map_err(|e| BenchError::Setup(format!("this program's own path: {e}")))?;
    // target/PROFILE/xtask
    let target = here.ancestors().nth(2).map(Into::into);
    target.ok_or_else(|| BenchError::Setup(format!("{} is not in a target folder", here.display())))
}
