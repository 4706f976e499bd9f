//! `waferloom verify`: a model's outputs against expected ones.

use crate::args::VerifyArgs;
use crate::errors::{Error, Exit};
use crate::job::Job;
use crate::progress::Progress;
use crate::{execute, inputs, load, summary, write};
use waferloom_simulator::report::HostSeconds;

/// Runs the command.
pub(crate) fn run(args: &VerifyArgs, quiet: bool) -> Result<Exit, Error> {
    let progress = Progress::new(quiet);
    let options = load::target(&args.target)?;
    waferloom_driver::load::check_file(&args.expect)?;
    progress.say(format!("reading {}", args.model.model.display()));
    let (model, mut work) = inputs::model_and_work(&args.model)?;
    let mut clock = HostSeconds::default();
    progress.say(format!("planning {}", model.graph.name));
    let compiled = waferloom_driver::compile(&model.graph, &options)?;
    clock.compile = compiled.seconds;
    let program = compiled.program;
    execute::keep_used_inputs(&program, &mut work);
    let job = Job {
        program: &program,
        name: model.graph.name.clone(),
        dtype: options.dtype.name().into(),
        base_dir: None,
        engine: &args.engine,
        expect: Some(&args.expect),
        tolerance: &args.tolerance,
        per_pe: false,
    };
    let finished = job.run(&work, clock, &progress)?;
    drop(progress);
    write::stdout(&summary::verdict(&finished, &args.tolerance))?;
    Ok(finished.exit())
}
