//! `waferloom kernel`: one distributed kernel alone, or a sweep over its parameters.

pub(crate) mod sweep;

use crate::args::KernelArgs;
use crate::errors::{Error, Exit};
use crate::progress::Progress;
use crate::{summary, write};
use waferloom_driver::{Measurement, measure};
use waferloom_fabric::Machine;
use waferloom_kernels::catalog::{Kernel, all, find};

/// Runs the command.
pub(crate) fn run(args: &KernelArgs, quiet: bool) -> Result<Exit, Error> {
    if args.list {
        write::stdout(&summary::kernel::list(all()))?;
        return Ok(Exit::Done);
    }
    let Some(name) = &args.name else {
        return Err(Error::new("no kernel was named", "give a name, or --list to see them all"));
    };
    let Some(kernel) = find(name) else {
        let known: Vec<&str> = all().iter().map(|k| k.name).collect();
        return Err(Error::new(format!("there is no kernel `{name}`"), format!("give one of {}", known.join(", "))));
    };
    let machine = waferloom_driver::load::machine(&args.machine)?;
    let progress = Progress::new(quiet);
    if !args.sweep.is_empty() {
        return sweep::run(args, kernel, &machine, &progress);
    }
    if args.csv.is_some() {
        return Err(Error::new("--csv without --sweep", "a table needs a --sweep; one run has --json"));
    }
    let measurement = one(args, kernel, &args.settings, &machine, &progress)?;
    drop(progress);
    if args.json {
        write::stdout(&(serde_json::to_string_pretty(&measurement).unwrap_or_default() + "\n"))?;
    } else {
        write::stdout(&summary::kernel::one(&measurement, &machine))?;
    }
    Ok(Exit::Done)
}

fn one(
    args: &KernelArgs,
    kernel: &'static Kernel,
    settings: &[(String, String)],
    machine: &Machine,
    progress: &Progress,
) -> Result<Measurement, Error> {
    progress.say(format!("simulating {}", kernel.name));
    let say = |p: waferloom_simulator::Progress| {
        progress.say(format!("simulating {}, cycle {}", kernel.name, summary::grouped(p.cycle)));
    };
    let options = crate::execute::options(&args.engine, None, &say)?;
    Ok(measure(kernel, settings, machine, &options, args.runs)?)
}
