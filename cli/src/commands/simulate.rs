//! `waferloom simulate`: a program file to its report.

use crate::args::SimulateArgs;
use crate::errors::{Error, Exit};
use crate::inputs::{self, Work};
use crate::job::{self, Job};
use crate::progress::Progress;
use crate::tensors::to_host;
use crate::write;
use std::time::Instant;
use waferloom_driver::{facts, load};
use waferloom_fabric::{HostTensor, Program, TensorSpec};
use waferloom_simulator::report::HostSeconds;

/// Runs the command.
pub(crate) fn run(args: &SimulateArgs, quiet: bool) -> Result<Exit, Error> {
    let progress = Progress::new(quiet);
    let targets = [("--out", args.output.out.as_deref()), ("--report", args.output.report.as_deref())];
    write::check_targets(&targets, &[Some(&args.program), args.inputs.as_deref(), args.expect.as_deref()])?;
    progress.say(format!("reading {}", args.program.display()));
    let (start, mut clock) = (Instant::now(), HostSeconds::default());
    let program = load::program(&args.program)?;
    load::check_program(&program, &args.program.display().to_string())?;
    let work = work(args, &program)?;
    clock.import = start.elapsed().as_secs_f64();
    let job = Job {
        program: &program,
        name: program.name.clone(),
        dtype: facts::precision(&program),
        base_dir: args.program.parent(),
        engine: &args.engine,
        expect: args.expect.as_deref(),
        tolerance: &args.tolerance,
        per_pe: args.output.per_pe,
    };
    let finished = job.run(&work, clock, &progress)?;
    drop(progress);
    job::publish(&finished, &program, &args.output)
}

fn work(args: &SimulateArgs, program: &Program) -> Result<Work, Error> {
    let takes = program.inputs();
    let Some(path) = &args.inputs else {
        if takes.is_empty() {
            return Ok(Work::single(inputs::Tensors::new()));
        }
        let lines: Vec<String> =
            takes.iter().map(|t| format!("  {}: {} {:?}", t.name, t.host_dtype(), t.shape)).collect();
        return Err(Error::new(
            format!("{}: no inputs were given; the program takes\n{}", args.program.display(), lines.join("\n")),
            "give --inputs F.npz, written by numpy.savez(\"F.npz\", NAME=ARRAY, ...)",
        ));
    };
    let tensors = inputs::read(path)?.into_iter().map(|(name, tensor)| (name, to_host(tensor))).collect();
    Ok(one_by_one(tensors, &takes, program.items))
}

/// The items of a program with several: those along the leading dimension of the tensors, or a single one that is repeated.
fn one_by_one(tensors: inputs::Tensors<HostTensor>, takes: &[TensorSpec], items: u32) -> Work {
    let stacked = |spec: &TensorSpec| {
        let shape = [&[items as usize], spec.shape.as_slice()].concat();
        tensors.get(&spec.name).is_some_and(|tensor| tensor.shape == shape)
    };
    if items == 1 || !takes.iter().all(stacked) {
        return Work::single(tensors);
    }
    let mut batches = vec![inputs::Tensors::new(); items as usize];
    for (name, tensor) in &tensors {
        for (batch, part) in batches.iter_mut().zip(tensor.unstack()) {
            batch.insert(name.clone(), part);
        }
    }
    let one = Work::single(batches[0].clone());
    Work { items: one.items * batches.len(), batches, ..one }
}
