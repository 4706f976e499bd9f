//! From a program to what its runs gave.

use crate::args::EngineArgs;
use crate::errors::{Error, Exit};
use crate::inputs::{Tensors, Work};
use crate::progress::Progress;
use crate::tensors::concatenate;
use std::path::Path;
use std::time::Instant;
use waferloom_fabric::{HostTensor, PortKind, Program};
use waferloom_models::Tensor;
use waferloom_simulator::report::HostSeconds;
use waferloom_simulator::{Claims, Method, SimulateError, Totals, simulate};

/// What all runs of a program gave.
#[derive(Debug)]
pub(crate) struct Results {
    /// The outputs, side by side on axis 0.
    pub(crate) outputs: Tensors<Tensor>,
    /// The counters.
    pub(crate) totals: Totals,
}

/// How the simulator is to run.
pub(crate) fn options<'a>(
    engine: &EngineArgs,
    base_dir: Option<&'a Path>,
    progress: &'a (dyn Fn(waferloom_simulator::Progress) + Sync),
) -> Result<waferloom_simulator::Options<'a>, Error> {
    if engine.check_twins && engine.engine != crate::args::Engine::Stream {
        let message = "--check-twins with the wavelet engine, whose PEs compute everything";
        return Err(Error::new(message, "add --engine stream"));
    }
    Ok(waferloom_simulator::Options {
        engine: engine.engine.simulated(),
        threads: engine.threads,
        timing_only: engine.no_numerics,
        method: Method::Choose,
        claims: match (engine.check_twins, engine.no_twins) {
            (true, _) => Claims::Check,
            (false, true) => Claims::Ignore,
            (false, false) => Claims::Use,
        },
        base_dir,
        max_cycles: engine.max_cycles,
        progress: Some(progress),
        cancel: None,
    })
}

/// Runs a program once a batch.
pub(crate) fn run(
    program: &Program,
    work: &Work,
    engine: &EngineArgs,
    base_dir: Option<&Path>,
    clock: &mut HostSeconds,
    progress: &Progress,
) -> Result<Results, Error> {
    let start = Instant::now();
    let items = program.items as usize;
    let count = work.batches.len().div_ceil(items);
    let (mut totals, mut outputs) = (Totals::default(), Vec::with_capacity(work.batches.len()));
    for (index, batches) in work.batches.chunks(items).enumerate() {
        let inputs = side_by_side(batches, items);
        let before = totals.cycles();
        let of = if count > 1 { format!(" batch {} of {count},", index + 1) } else { String::new() };
        let say = |p: waferloom_simulator::Progress| {
            progress.say(format!("simulating{of} cycle {}", crate::summary::grouped(before + p.cycle)));
        };
        progress.say(format!("simulating{of}"));
        let options = options(engine, base_dir, &say)?;
        let run = simulate(program, &inputs, &options).map_err(|e| failed(e, index, count))?;
        tracing::info!("run {} of {count}: {} cycles", index + 1, run.cycles);
        totals.add(&run);
        outputs.extend(one_by_one(run.outputs, items).into_iter().take(batches.len()));
    }
    clock.simulate = start.elapsed().as_secs_f64();
    Ok(Results { outputs: concatenate(outputs, work.batch, work.items), totals })
}

/// The batches of one run as the program takes them; the last one is repeated when there are too few.
fn side_by_side(batches: &[Tensors<HostTensor>], items: usize) -> Tensors<HostTensor> {
    let Some(last) = batches.last().filter(|_| items > 1) else {
        return batches.first().cloned().unwrap_or_default();
    };
    let stack = |name: &String| {
        let tensors: Vec<&HostTensor> = (0..items).filter_map(|i| batches.get(i).unwrap_or(last).get(name)).collect();
        HostTensor::stack(&tensors).map(|tensor| (name.clone(), tensor))
    };
    last.keys().filter_map(stack).collect()
}

/// What a run gave for each of its batches.
fn one_by_one(outputs: Tensors<HostTensor>, items: usize) -> Vec<Tensors<HostTensor>> {
    if items == 1 {
        return vec![outputs];
    }
    let mut batches = vec![Tensors::new(); items];
    for (name, tensor) in outputs {
        for (batch, part) in batches.iter_mut().zip(tensor.unstack()) {
            batch.insert(name.clone(), part);
        }
    }
    batches
}

/// Drops inputs of the model that nothing in the program uses: the compiler gives them no port.
pub(crate) fn keep_used_inputs(program: &Program, work: &mut Work) {
    let used = |name: &String| program.ports.iter().any(|p| p.kind == PortKind::Input && p.name == *name);
    for inputs in &mut work.batches {
        inputs.retain(|name, _| used(name));
    }
}

fn failed(error: SimulateError, index: usize, count: usize) -> Error {
    let error = Error::from(error);
    if count == 1 || error.exit != Exit::Failed {
        return error;
    }
    Error { message: format!("batch {} of {count}: {}", index + 1, error.message), ..error }
}
