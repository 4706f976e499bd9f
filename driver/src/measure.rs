//! A kernel on its own: built, run, held against its reference.

use crate::Error;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Instant;
use waferloom_fabric::{HostData, HostTensor, Machine};
use waferloom_kernels::catalog::{Instance, Kernel};
use waferloom_simulator::report::HostSeconds;
use waferloom_simulator::{Facts, Options, Report, Totals, simulate};

/// What a run of a kernel gave.
#[derive(Clone, Debug, Serialize)]
pub struct Measurement {
    /// The kernel.
    pub kernel: &'static str,
    /// All its parameters, those that were not set with their defaults.
    pub settings: BTreeMap<String, String>,
    /// The algorithm that ran.
    pub algorithm: String,
    /// Cycles from the start of the program to the last PE's end.
    pub cycles: u64,
    /// Cycles by the kernel's closed form.
    pub estimate_cycles: u64,
    /// Largest difference from the reference in double precision; none without numerics.
    pub max_abs_error: Option<f64>,
    /// The same over the largest element of the result.
    pub max_rel_error: Option<f64>,
    /// Everything else.
    pub report: Report,
}

/// Builds a kernel and runs it so many times, once at least: the host's seconds are those of the fastest run, all else is the same in all.
///
/// # Errors
/// Settings that the kernel refuses, and programs that do not come to their end.
pub fn measure(
    kernel: &'static Kernel,
    settings: &[(String, String)],
    machine: &Machine,
    options: &Options<'_>,
    runs: u32,
) -> Result<Measurement, Error> {
    let start = Instant::now();
    let instance =
        if options.timing_only { kernel.timed_instance(settings, machine) } else { kernel.instance(settings, machine) };
    let instance = instance?;
    let compile = start.elapsed().as_secs_f64();
    let timed = || {
        let start = Instant::now();
        simulate(&instance.program, &instance.inputs, options).map(|run| (run, start.elapsed().as_secs_f64()))
    };
    let (run, mut simulate) = timed()?;
    for _ in 1..runs {
        simulate = timed()?.1.min(simulate);
    }
    let clock = HostSeconds { compile, simulate, ..HostSeconds::default() };
    let errors = if options.timing_only { None } else { Some(errors(&instance, &run.outputs)?) };
    let mut totals = Totals::default();
    totals.add(&run);
    let facts = Facts {
        model: kernel.name.into(),
        engine: options.engine.name().into(),
        dtype: "f32".into(),
        host_seconds: clock,
        items: 1,
        unit: "runs".into(),
        ..Facts::default()
    };
    let mut all: BTreeMap<String, String> =
        kernel.parameters.iter().map(|p| (p.name.to_string(), p.default.to_string())).collect();
    all.extend(settings.iter().cloned());
    let mut report = Report::new(&instance.program, &totals, facts);
    if let Some(dtype) = all.get("dtype") {
        report.dtype.clone_from(dtype);
    }
    // A kernel on its own marks no operators: its operations are known from its sizes.
    report.flops.total = instance.flops;
    report.flops.per_second = if report.seconds > 0.0 { instance.flops as f64 / report.seconds } else { 0.0 };
    Ok(Measurement {
        kernel: kernel.name,
        settings: all,
        algorithm: instance.algorithm,
        cycles: run.cycles,
        estimate_cycles: instance.estimate_cycles,
        max_abs_error: errors.map(|(absolute, _)| absolute),
        max_rel_error: errors.map(|(_, relative)| relative),
        report,
    })
}

/// Largest difference from the reference: absolute, and over the largest element of its result.
fn errors(instance: &Instance, outputs: &BTreeMap<String, HostTensor>) -> Result<(f64, f64), Error> {
    let (mut absolute, mut relative) = (0f64, 0f64);
    for (name, expected) in &instance.expected {
        let Some(found) = outputs.get(name) else {
            return Err(Error::bug(format!("the kernel gave no result `{name}`")));
        };
        let found: Vec<f64> = match &found.data {
            HostData::F32(values) => values.iter().map(|&v| f64::from(v)).collect(),
            HostData::I64(values) => values.iter().map(|&v| v as f64).collect(),
        };
        let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let largest = expected.iter().map(|v| v.abs()).fold(0.0, f64::max);
        absolute = absolute.max(worst);
        relative = relative.max(if largest > 0.0 { worst / largest } else { worst });
    }
    Ok((absolute, relative))
}

impl Measurement {
    /// How far the estimate is from the simulated cycles, as a share of these.
    pub fn estimate_error(&self) -> f64 {
        self.estimate_cycles as f64 / self.cycles.max(1) as f64 - 1.0
    }
}
