//! Kernels on their own.

use crate::errors::{KernelError, raise};
use crate::interrupt;
use crate::machine::from_fields;
use crate::run::{Settings, json};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use waferloom_driver::measure;
use waferloom_driver::panics;
use waferloom_kernels::catalog::{Kernel, Kind, all, find};

/// A parameter as a tuple; `catalog.py` names its parts.
type Parameter = (&'static str, &'static str, &'static str, Option<(u32, u32)>, Option<Vec<&'static str>>, bool);

/// Name and summary of every kernel with its parameters: name, meaning, default, a range or a list of words, and whether it
/// is tunable.
#[pyfunction]
pub(crate) fn kernels() -> Vec<(&'static str, &'static str, Vec<Parameter>)> {
    let parameters = |of: &'static [waferloom_kernels::catalog::Parameter]| {
        let parts = of.iter().map(|p| {
            let (range, words) = match p.kind {
                Kind::Integer { low, high } => (Some((low, high)), None),
                Kind::Choice(words) => (None, Some(words.to_vec())),
            };
            (p.name, p.what, p.default, range, words, p.tunable)
        });
        parts.collect()
    };
    all().iter().map(|kernel| (kernel.name, kernel.summary, parameters(kernel.parameters))).collect()
}

/// Builds and runs a kernel; what came out as JSON.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "as many as a run has")]
pub(crate) fn kernel<'py>(
    py: Python<'py>,
    name: &str,
    settings: Vec<(String, String)>,
    machine: &Bound<'py, PyDict>,
    engine: &str,
    threads: usize,
    timing_only: bool,
    max_cycles: Option<u64>,
    progress: Option<&Bound<'py, PyAny>>,
) -> PyResult<String> {
    let kernel = known(name)?;
    let machine = from_fields(machine)?;
    let run = Settings::new(engine, threads, timing_only, max_cycles)?;
    let measured =
        interrupt::run(py, progress, |ties| measure(kernel, &settings, &machine, &run.options(None, &ties), 1))?;
    json(&measured)
}

/// Builds a kernel without its numbers: the algorithm that would run, and its cycles by the closed form.
#[pyfunction]
pub(crate) fn estimate(
    py: Python<'_>,
    name: &str,
    settings: Vec<(String, String)>,
    machine: &Bound<'_, PyDict>,
) -> PyResult<(String, u64)> {
    let (kernel, machine) = (known(name)?, from_fields(machine)?);
    let built = py.detach(|| panics::guarded(|| Ok(kernel.timed_instance(&settings, &machine)?)));
    built.map(|instance| (instance.algorithm, instance.estimate_cycles)).map_err(raise)
}

/// The kernel of a name.
fn known(name: &str) -> PyResult<&'static Kernel> {
    find(name).ok_or_else(|| {
        let known: Vec<&str> = all().iter().map(|kernel| kernel.name).collect();
        KernelError::new_err((format!("there is no kernel `{name}`"), format!("give one of {}", known.join(", "))))
    })
}
