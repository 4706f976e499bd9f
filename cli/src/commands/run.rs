//! `waferloom run`: a model from its file to its report.

use crate::args::RunArgs;
use crate::errors::{Error, Exit};
use crate::job::{self, Job};
use crate::progress::Progress;
use crate::{execute, inputs, load, write};
use std::time::Instant;
use waferloom_simulator::report::HostSeconds;

/// Runs the command.
pub(crate) fn run(args: &RunArgs, quiet: bool) -> Result<Exit, Error> {
    let progress = Progress::new(quiet);
    let options = load::target(&args.target)?;
    let targets = [("--out", args.output.out.as_deref()), ("--report", args.output.report.as_deref())];
    let model = &args.model;
    let sources =
        [Some(model.model.as_path()), model.inputs.as_deref(), model.fasta.as_deref(), args.expect.as_deref()];
    write::check_targets(&targets, &sources)?;
    progress.say(format!("reading {}", args.model.model.display()));
    let (start, mut clock) = (Instant::now(), HostSeconds::default());
    let (model, mut work) = inputs::model_and_work(&args.model)?;
    clock.import = start.elapsed().as_secs_f64();
    progress.say(format!("planning {}", model.graph.name));
    let compiled = waferloom_driver::compile(&model.graph, &options)?;
    clock.compile = compiled.seconds;
    let program = compiled.program;
    execute::keep_used_inputs(&program, &mut work);
    if args.explain {
        explain(&compiled.plan, args.output.json)?;
    }
    let job = Job {
        program: &program,
        name: model.graph.name.clone(),
        dtype: options.dtype.name().into(),
        base_dir: None,
        engine: &args.engine,
        expect: args.expect.as_deref(),
        tolerance: &args.tolerance,
        per_pe: args.output.per_pe,
    };
    let finished = job.run(&work, clock, &progress)?;
    drop(progress);
    job::publish(&finished, &program, &args.output)
}

/// Prints the compiler's decisions: to stderr when stdout belongs to the report.
pub(crate) fn explain(plan: &waferloom_compiler::Plan, json: bool) -> Result<(), Error> {
    use std::io::Write as _;
    let text =
        format!("{plan}\nto choose otherwise, edit this and give it with --plan:\n{}\n", plan.choices().to_ron());
    if json {
        // Nobody can be told when stderr is gone.
        let _ = writeln!(std::io::stderr(), "{text}");
        return Ok(());
    }
    write::stdout(&format!("{text}\n"))
}
