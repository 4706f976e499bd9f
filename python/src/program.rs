//! Programs: read, written, described, run.

use crate::errors::{ProgramError, raise};
use crate::run::{Run, Settings, json};
use crate::tensors::Array;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use pythonize::{depythonize, pythonize};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use waferloom_driver::{Error, facts, load};
use waferloom_fabric::{Dtype, FileError, TensorSpec, from_bytes, text, to_bytes, verify, write_program};
use waferloom_simulator::report::HostSeconds;
use waferloom_simulator::{Facts, Report, Totals};

/// Where a program comes from, as far as it does not know itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// What reports call it.
    pub(crate) model: String,
    /// Precision of floating-point numbers on the mesh.
    pub(crate) dtype: String,
    /// Seconds that it took to read the model or the program.
    pub(crate) import_seconds: f64,
    /// Seconds that it took to compile.
    pub(crate) compile_seconds: f64,
    /// Inputs of the model that the program does not need.
    pub(crate) unused_inputs: Vec<String>,
    /// The compiler's decisions, in words.
    pub(crate) explanation: Option<String>,
    /// The planner's choices, as a plan file.
    pub(crate) choices: Option<String>,
    /// What it has chosen by estimates: numbers of stages, and for each product the names of the kernels.
    pub(crate) tunables: (Vec<u16>, Vec<(String, Vec<String>)>),
    /// Folder to which the paths of constants in files are relative.
    pub(crate) folder: Option<PathBuf>,
}

impl Origin {
    /// Of a program that nobody has compiled here.
    fn of(program: &waferloom_fabric::Program) -> Self {
        Self {
            model: program.name.clone(),
            dtype: facts::precision(program),
            import_seconds: 0.0,
            compile_seconds: 0.0,
            unused_inputs: Vec::new(),
            explanation: None,
            choices: None,
            tunables: Default::default(),
            folder: None,
        }
    }
}

/// A program that the verifier has found no error in.
#[pyclass(frozen, module = "waferloom._waferloom")]
pub(crate) struct Program {
    program: Arc<waferloom_fabric::Program>,
    origin: Origin,
}

impl Program {
    /// A program from anywhere but the compiler's is checked first: see [`Program::checked`].
    pub(crate) fn new(program: waferloom_fabric::Program, origin: Origin) -> Self {
        Self { program: Arc::new(program), origin }
    }

    fn checked(program: waferloom_fabric::Program, origin: Option<Origin>, what: &str) -> Result<Self, Error> {
        load::check_grid(program.grid, &program.machine, &format!("{what}: the grid of"))?;
        load::check_program(&program, what)?;
        let origin = origin.unwrap_or_else(|| Origin::of(&program));
        Ok(Self::new(program, origin))
    }

    fn facts(&self) -> Facts {
        Facts {
            model: self.origin.model.clone(),
            dtype: self.origin.dtype.clone(),
            host_seconds: HostSeconds {
                import: self.origin.import_seconds,
                compile: self.origin.compile_seconds,
                simulate: 0.0,
            },
            ..Facts::default()
        }
    }
}

#[pymethods]
impl Program {
    /// Reads a file in either form.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let start = std::time::Instant::now();
        let read = || {
            let program = load::program(&path)?;
            let origin = Origin { folder: path.parent().map(Path::to_path_buf), ..Origin::of(&program) };
            Self::checked(program, Some(origin), &path.display().to_string())
        };
        let mut program = py.detach(read).map_err(raise)?;
        program.origin.import_seconds = start.elapsed().as_secs_f64();
        Ok(program)
    }

    /// Reads the text form.
    #[staticmethod]
    fn from_text(py: Python<'_>, text: &str) -> PyResult<Self> {
        let read = || Self::checked(text::parse(text).map_err(FileError::from)?, None, "the text");
        py.detach(read).map_err(raise)
    }

    /// Reads the compact form, with the origin that [`Program::origin`] gave.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, bytes: &[u8], origin: &Bound<'_, PyAny>) -> PyResult<Self> {
        let origin: Option<Origin> = depythonize(origin)?;
        py.detach(|| Self::checked(from_bytes(bytes)?, origin, "the bytes")).map_err(raise)
    }

    /// A program from its parts, as the fields of the fabric crate's types.
    #[staticmethod]
    fn from_fields(fields: &Bound<'_, PyDict>) -> PyResult<Self> {
        let program: waferloom_fabric::Program = depythonize(fields)
            .map_err(|e| ProgramError::new_err(format!("the program's parts are no program: {e}")))?;
        let name = program.name.clone();
        Self::checked(program, None, &name).map_err(raise)
    }

    /// Writes it: as text when the path ends in `.wlt`, else in the compact form.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| write_program(&path, &self.program)).map_err(|e| raise(e.into()))
    }

    /// The compact form.
    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| to_bytes(&self.program)))
    }

    /// Where it comes from.
    #[getter]
    fn origin<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(pythonize(py, &self.origin)?)
    }

    /// The text form.
    #[getter]
    fn text(&self, py: Python<'_>) -> String {
        py.detach(|| text::print(&self.program))
    }

    /// Its name.
    #[getter]
    fn name(&self) -> &str {
        &self.program.name
    }

    /// Columns and rows.
    #[getter]
    fn grid(&self) -> (u16, u16) {
        (self.program.grid.width, self.program.grid.height)
    }

    /// Inputs that one run works on.
    #[getter]
    fn items(&self) -> u32 {
        self.program.items
    }

    /// The fields of its machine.
    #[getter]
    fn machine<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(pythonize(py, &self.program.machine)?)
    }

    /// Name, shape, type on the host and type on the mesh of the tensors that it takes.
    #[getter]
    fn inputs(&self) -> Vec<(String, Vec<usize>, &'static str, &'static str)> {
        self.program.inputs().into_iter().map(described).collect()
    }

    /// Name, shape, type on the host and type on the mesh of the tensors that it gives.
    #[getter]
    fn outputs(&self) -> Vec<(String, Vec<usize>, &'static str, &'static str)> {
        self.program.outputs().into_iter().map(described).collect()
    }

    /// What the verifier cannot prove, a sentence each.
    #[getter]
    fn warnings(&self, py: Python<'_>) -> Vec<String> {
        py.detach(|| verify(&self.program).warnings.iter().map(ToString::to_string).collect())
    }

    /// Names of the classes of PEs, and the class of each PE row by row: an index, or -1 where there is none.
    #[getter]
    fn class_map(&self) -> (Vec<String>, Vec<i32>) {
        let program = &self.program;
        let mut map = vec![-1; program.grid.pes()];
        for placement in &program.placements {
            for at in placement.region.coords() {
                if let Some(entry) = map.get_mut(program.grid.index(at)) {
                    *entry = placement.class as i32;
                }
            }
        }
        (program.classes.iter().map(|class| class.name.clone()).collect(), map)
    }

    /// The report of no run as JSON: memory and operators.
    fn report(&self, py: Python<'_>) -> PyResult<String> {
        py.detach(|| json(&Report::new(&self.program, &Totals::default(), self.facts())))
    }

    /// Runs it.
    #[expect(clippy::too_many_arguments, reason = "as many as a run has")]
    fn run<'py>(
        &self,
        py: Python<'py>,
        inputs: Vec<(String, Array<'py>)>,
        engine: &str,
        threads: usize,
        timing_only: bool,
        max_cycles: Option<u64>,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Run> {
        let settings = Settings::new(engine, threads, timing_only, max_cycles)?;
        let views = inputs.iter().map(|(name, array)| Ok((name.as_str(), array.view()?))).collect::<PyResult<_>>()?;
        Run::new(
            py,
            &self.program,
            views,
            &settings,
            self.origin.folder.as_deref(),
            &self.origin.unused_inputs,
            self.facts(),
            progress,
        )
    }
}

fn described(spec: TensorSpec) -> (String, Vec<usize>, &'static str, &'static str) {
    let host = spec.host_dtype();
    (spec.name, spec.shape, host, Dtype::name(spec.dtype))
}
