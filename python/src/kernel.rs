//! Kernels on their own.

use crate::errors::KernelError;
use crate::interrupt;
use crate::machine::from_fields;
use crate::run::{Settings, json};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use waferloom_driver::measure;
use waferloom_kernels::catalog::{Kind, all, find};

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
    let Some(kernel) = find(name) else {
        let known: Vec<&str> = all().iter().map(|kernel| kernel.name).collect();
        let message = format!("there is no kernel `{name}`");
        return Err(KernelError::new_err((message, format!("give one of {}", known.join(", ")))));
    };
    let machine = from_fields(machine)?;
    let run = Settings::new(engine, threads, timing_only, max_cycles)?;
    let measured =
        interrupt::run(py, progress, |ties| measure(kernel, &settings, &machine, &run.options(None, &ties)))?;
    json(&measured)
}
