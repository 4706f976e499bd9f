//! Tasks of waferloom's developers that cargo does not know: `cargo xtask bench`.

mod bench;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Tasks of waferloom's developers.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Measure everything that docs/performance.md speaks of, and print one table
    Bench(bench::BenchArgs),
}

fn main() -> ExitCode {
    let Task::Bench(args) = Cli::parse().task;
    match bench::run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
