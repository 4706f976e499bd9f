//! `waferloom compile`: a model into a program file.

use super::run::explain;
use crate::args::CompileArgs;
use crate::errors::{Error, Exit};
use crate::progress::Progress;
use crate::{inputs, load, summary, write};
use std::path::Path;
use std::time::Instant;
use waferloom_fabric::write_program;
use waferloom_simulator::report::HostSeconds;
use waferloom_simulator::{Facts, Report, Totals};

/// Runs the command.
pub(crate) fn run(args: &CompileArgs, quiet: bool) -> Result<Exit, Error> {
    let progress = Progress::new(quiet);
    let options = load::target(&args.target)?;
    let sources = [Some(args.model.model.as_path()), args.model.inputs.as_deref(), args.model.fasta.as_deref()];
    write::check_targets(&[("--output", Some(&args.output))], &sources)?;
    progress.say(format!("reading {}", args.model.model.display()));
    let (start, mut clock) = (Instant::now(), HostSeconds::default());
    // Only the shapes matter here, but a file that does not fit the model is better refused now than by `simulate`.
    let model = if args.model.inputs.is_some() || args.model.fasta.is_some() {
        inputs::model_and_work(&args.model)?.0
    } else {
        load::model(&args.model.model, &args.model.sizes, None)?
    };
    clock.import = start.elapsed().as_secs_f64();
    progress.say(format!("planning {}", model.graph.name));
    let compiled = waferloom_driver::compile(&model.graph, &options)?;
    clock.compile = compiled.seconds;
    let program = compiled.program;
    progress.say(format!("writing {}", args.output.display()));
    write_program(&args.output, &program)?;
    drop(progress);
    if args.explain {
        explain(&compiled.plan, args.json)?;
    }
    // A report of no run holds what is known before one: memory, operators.
    let facts = Facts {
        model: model.graph.name.clone(),
        dtype: options.dtype.name().into(),
        host_seconds: clock,
        ..Facts::default()
    };
    let report = Report::new(&program, &Totals::default(), facts);
    if args.json {
        write::stdout(&(serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"))?;
        return Ok(Exit::Done);
    }
    let bytes = std::fs::metadata(&args.output).map_or(0, |m| m.len());
    write::stdout(&summary::compiled(&program, &report, Path::new(&args.output), bytes))?;
    Ok(Exit::Done)
}
