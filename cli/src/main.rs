//! The `waferloom` binary: compiles models onto a wafer-scale mesh, runs them in the simulator, and says how it went.
//!
//! One file a command in [`commands`]. What they share: [`load`], [`inputs`] and [`fasta`] read, [`execute`] simulates,
//! [`compare`] holds outputs against expected ones, [`job`] does all of it from a program on, [`summary`] and [`mod@write`] say
//! and store what came out.

mod args;
mod commands;
mod compare;
mod errors;
mod execute;
mod fasta;
mod inputs;
mod job;
mod load;
mod progress;
mod summary;
mod tensors;
mod write;

use args::{Cli, Command};
use clap::Parser as _;
use errors::{Error, Exit};
use std::io::IsTerminal as _;
use std::process::ExitCode;
use waferloom_driver::panics;

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(&cli);
    match panics::guarded(|| run(&cli)) {
        Ok(exit) => exit.into(),
        Err(error) => {
            let exit = error.exit;
            errors::show(error);
            exit.into()
        }
    }
}

fn run(cli: &Cli) -> Result<Exit, Error> {
    let quiet = cli.quiet;
    match &cli.command {
        Command::Run(args) => commands::run::run(args, quiet),
        Command::Compile(args) => commands::compile::run(args, quiet),
        Command::Simulate(args) => commands::simulate::run(args, quiet),
        Command::Verify(args) => commands::verify::run(args, quiet),
        Command::Kernel(args) => commands::kernel::run(args, quiet),
        Command::Tune(args) => commands::tune::run(args),
        Command::Validate(args) => commands::validate::run(args, quiet),
        Command::Inspect(args) => commands::inspect::run(args),
    }
}

/// Messages go to stderr; stdout is for results. Only our own crates speak: the others' details help nobody here.
fn start_log(cli: &Cli) {
    let level = match (cli.quiet, cli.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, _) => "debug",
    };
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(format!("waferloom={level}")))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .init();
}
