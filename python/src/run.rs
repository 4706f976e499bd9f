//! Runs of programs.

use crate::errors::{InputError, raise};
use crate::interrupt::{self, Ties};
use crate::tensors::to_array;
use numpy::{PyArray1, PyArrayMethods as _};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use waferloom_driver::{Error, facts};
use waferloom_fabric::{HostTensor, HostView, Program};
use waferloom_simulator::report::OutputReport;
use waferloom_simulator::{Engine, Facts, Inputs, Method, Options, PeCounters, Report, Totals, simulate};

/// How a program is run.
pub(crate) struct Settings {
    engine: Engine,
    threads: usize,
    timing_only: bool,
    max_cycles: Option<u64>,
}

impl Settings {
    /// From what users give.
    pub(crate) fn new(engine: &str, threads: usize, timing_only: bool, max_cycles: Option<u64>) -> PyResult<Self> {
        const ENGINES: [Engine; 2] = [Engine::Wavelet, Engine::Stream];
        let Some(engine) = ENGINES.into_iter().find(|known| known.name() == engine) else {
            let message = format!("there is no engine `{engine}`");
            return Err(InputError::new_err((message, "give one of wavelet, stream")));
        };
        Ok(Self { engine, threads, timing_only, max_cycles })
    }

    /// The simulator's options.
    pub(crate) fn options<'a>(&self, base_dir: Option<&'a Path>, ties: &Ties<'a>) -> Options<'a> {
        Options {
            engine: self.engine,
            threads: self.threads,
            timing_only: self.timing_only,
            method: Method::Choose,
            base_dir,
            max_cycles: self.max_cycles,
            progress: Some(ties.progress),
            cancel: Some(ties.cancel),
            ..Options::default()
        }
    }
}

/// What a run gave.
#[pyclass(frozen, module = "waferloom._waferloom")]
pub(crate) struct Run {
    program: Arc<Program>,
    counted: waferloom_simulator::Run,
    facts: Facts,
    outputs: Py<PyDict>,
}

impl Run {
    /// Runs a program. Inputs of a program with several items are stacked, or a single item, which is repeated.
    #[expect(clippy::too_many_arguments, reason = "the program's own fields, and what the call adds")]
    pub(crate) fn new(
        py: Python<'_>,
        program: &Arc<Program>,
        mut views: BTreeMap<&str, HostView<'_>>,
        settings: &Settings,
        base_dir: Option<&Path>,
        unused: &[String],
        mut facts: Facts,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let items = program.items as usize;
        let stacked = items > 1 && is_stacked(program, &views);
        let first = views.values().next().map(|view| HostView { shape: &view.shape[usize::from(stacked)..], ..*view });
        facts.items = (facts::items(first) * items) as u64;
        facts.unit = facts::unit(first).into();
        facts.engine = settings.engine.name().into();
        views.retain(|name, _| unused.iter().all(|unused| unused != name));
        let start = Instant::now();
        let mut run = interrupt::run(py, progress, |ties| {
            let options = settings.options(base_dir, &ties);
            if items == 1 || stacked {
                return Ok(simulate(program, Inputs(views), &options)?);
            }
            let repeated: BTreeMap<String, HostTensor> =
                views.iter().map(|(name, view)| ((*name).into(), view.repeated(items))).collect();
            Ok(simulate(program, &repeated, &options)?)
        })?;
        facts.host_seconds.simulate = start.elapsed().as_secs_f64();
        let outputs = PyDict::new(py);
        for (name, tensor) in std::mem::take(&mut run.outputs) {
            let tensor = if items > 1 && !stacked { tensor.unstack().swap_remove(0) } else { tensor };
            facts.outputs.push(OutputReport {
                name: name.clone(),
                shape: joined(&tensor.shape, stacked),
                ..OutputReport::default()
            });
            outputs.set_item(name, to_array(py, tensor)?)?;
        }
        Ok(Self { program: program.clone(), counted: run, facts, outputs: outputs.unbind() })
    }
}

/// What the command line prints, so that both give the same to tools.
pub(crate) fn json(value: &impl serde::Serialize) -> PyResult<String> {
    serde_json::to_string(value).map_err(|e| raise(Error::bug(format!("no JSON form: {e}"))))
}

/// Whether the tensors have a leading dimension for the items.
fn is_stacked(program: &Program, views: &BTreeMap<&str, HostView<'_>>) -> bool {
    program.inputs().iter().all(|spec| {
        let shape = [&[program.items as usize], spec.shape.as_slice()].concat();
        views.get(spec.name.as_str()).is_some_and(|view| view.shape == shape)
    })
}

/// A shape as reports give it: items side by side on axis 0.
fn joined(shape: &[usize], stacked: bool) -> Vec<usize> {
    match shape {
        [items, rows, rest @ ..] if stacked => [&[items * rows], rest].concat(),
        _ => shape.to_vec(),
    }
}

#[pymethods]
impl Run {
    /// The tensors that it gave.
    #[getter]
    fn outputs<'py>(&self, py: Python<'py>) -> Bound<'py, PyDict> {
        self.outputs.bind(py).clone()
    }

    /// Cycles until everything was done.
    #[getter]
    fn cycles(&self) -> u64 {
        self.counted.cycles
    }

    /// Wavelets that nobody took.
    #[getter]
    fn leftover_wavelets(&self) -> u64 {
        self.counted.leftover_wavelets
    }

    /// The report, as `waferloom run --json` prints it.
    fn report(&self, py: Python<'_>, per_pe: bool) -> PyResult<String> {
        py.detach(|| {
            let mut totals = Totals::default();
            totals.add(&self.counted);
            json(&Report::new(&self.program, &totals, Facts { per_pe, ..self.facts.clone() }))
        })
    }

    /// Where each PE's cycles went, an array of rows and columns for each counter.
    #[getter]
    fn counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        type Counter = fn(&PeCounters) -> u64;
        const COUNTERS: [(&str, Counter); 5] = [
            ("busy", |pe| pe.busy),
            ("fabric_in", |pe| pe.fabric_in),
            ("fabric_out", |pe| pe.fabric_out),
            ("memory", |pe| pe.memory),
            ("idle", |pe| pe.idle),
        ];
        let grid = self.program.grid;
        let counters = PyDict::new(py);
        for (name, counter) in COUNTERS {
            let values: Vec<u64> = self.counted.pes.iter().map(counter).collect();
            let shape = [usize::from(grid.height), usize::from(grid.width)];
            counters.set_item(name, PyArray1::from_vec(py, values).reshape(shape)?)?;
        }
        Ok(counters)
    }

    /// Name, kind, first and last cycle of each operator.
    #[getter]
    fn timeline(&self) -> Vec<(String, String, u64, u64)> {
        let operators = self.program.operators.iter().zip(&self.counted.operators);
        operators.map(|(o, time)| (o.name.clone(), o.kind.clone(), time.start_cycle, time.end_cycle)).collect()
    }
}
