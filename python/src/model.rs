//! Models: imported, compiled.

use crate::errors::{InputError, raise};
use crate::interrupt;
use crate::machine::from_fields;
use crate::program::{Origin, Program};
use petgraph::graph::NodeIndex;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use waferloom_compiler::plan::Tunable;
use waferloom_compiler::{Objective, Overrides, Plan};
use waferloom_driver::{Error, Target, load, panics};
use waferloom_fabric::{Dtype, Extent};
use waferloom_models::graph::TensorType;
use waferloom_models::{Graph, ImportOptions};

/// A node as a tuple; `model.py` names its parts.
type Node = (&'static str, String, Vec<usize>, &'static str, Vec<usize>);

/// An imported model.
#[pyclass(frozen, module = "waferloom._waferloom")]
pub(crate) struct Model {
    graph: Arc<Graph>,
    import_seconds: f64,
}

#[pymethods]
impl Model {
    /// Imports an ONNX file.
    #[new]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        shapes: BTreeMap<String, Vec<usize>>,
        dims: BTreeMap<String, usize>,
    ) -> PyResult<Self> {
        let options = ImportOptions { input_shapes: shapes, dims };
        let start = Instant::now();
        let model = py.detach(|| panics::guarded(|| load::model(&path, &options))).map_err(raise)?;
        Ok(Self { graph: Arc::new(model.graph), import_seconds: start.elapsed().as_secs_f64() })
    }

    /// Its name: that of the file, or of its folder.
    #[getter]
    fn name(&self) -> &str {
        &self.graph.name
    }

    /// Name, shape and element type of the tensors that it takes.
    #[getter]
    fn inputs(&self) -> Vec<(String, Vec<usize>, &'static str)> {
        self.graph.inputs.iter().map(|&id| described(&self.graph.node(id).name, &self.graph.node(id).output)).collect()
    }

    /// Name, shape and element type of the tensors that it gives.
    #[getter]
    fn outputs(&self) -> Vec<(String, Vec<usize>, &'static str)> {
        self.graph.outputs.iter().map(|(name, id)| described(name, &self.graph.node(*id).output)).collect()
    }

    /// Word, name, shape, element type and operands (indices into this list) of each operator, input and constant, operands
    /// first.
    #[getter]
    fn nodes(&self) -> Vec<Node> {
        let graph = &self.graph;
        let node = |id| {
            let (name, shape, dtype) = described(&graph.node(id).name, &graph.node(id).output);
            let operands = graph.operands(id).into_iter().map(NodeIndex::index).collect();
            (graph.node(id).op.word(), name, shape, dtype, operands)
        };
        graph.nodes().map(node).collect()
    }

    /// The operators that the compiler sees, as text.
    #[getter]
    fn text(&self) -> String {
        waferloom_models::text::summary(&self.graph)
    }

    /// Compiles it.
    #[expect(clippy::too_many_arguments, reason = "as many as a target has")]
    fn compile(
        &self,
        py: Python<'_>,
        machine: &Bound<'_, PyDict>,
        grid: Option<(u16, u16)>,
        dtype: &str,
        items: u32,
        optimize: Option<&str>,
        stages: Option<u16>,
        plan: Option<&str>,
        whole_grid: bool,
    ) -> PyResult<Program> {
        let dtype = float_dtype(dtype)?;
        let target = Target {
            machine: from_fields(machine)?,
            grid: grid.map(|(width, height)| Extent { width, height }),
            whole_grid,
            dtype,
            items,
            objective: optimize.map(objective).transpose()?,
            stages,
            overrides: plan.map(overrides).transpose().map_err(raise)?.unwrap_or_default(),
        };
        if stages.is_some() && !target.overrides.stages.is_empty() {
            let help = "give one of them: the plan says where stages end";
            return Err(InputError::new_err(("stages and a plan with stages were given", help)));
        }
        let options = target.options("the grid").map_err(raise)?;
        let graph = self.graph.clone();
        let compiled = interrupt::wait(py, move || waferloom_driver::compile(&graph, &options))?;
        let graph = &self.graph;
        let origin = Origin {
            model: graph.name.clone(),
            dtype: dtype.name().into(),
            import_seconds: self.import_seconds,
            compile_seconds: compiled.seconds,
            unused_inputs: self.unused_inputs(&compiled.program),
            explanation: Some(compiled.plan.to_string()),
            choices: Some(compiled.plan.choices().to_ron()),
            tunables: tunables(&compiled.plan),
            folder: None,
        };
        Ok(Program::new(compiled.program, origin))
    }
}

impl Model {
    /// Inputs that nothing in the program uses: the compiler gives them no port.
    fn unused_inputs(&self, program: &waferloom_fabric::Program) -> Vec<String> {
        let used = program.inputs();
        let names = self.graph.inputs.iter().map(|&id| &self.graph.node(id).name);
        names.filter(|name| used.iter().all(|spec| spec.name != **name)).cloned().collect()
    }
}

/// The numbers of stages, and for each product the kernels by their names in a plan file.
fn tunables(plan: &Plan) -> (Vec<u16>, Vec<(String, Vec<String>)>) {
    let (mut stages, mut products) = (Vec::new(), Vec::new());
    for tunable in plan.tunables() {
        match tunable {
            Tunable::Stages(counts) => stages = counts,
            Tunable::Product { node, algorithms } => {
                products.push((node, algorithms.iter().map(|algorithm| format!("{algorithm:?}")).collect()));
            }
        }
    }
    (stages, products)
}

fn described(name: &str, of: &TensorType) -> (String, Vec<usize>, &'static str) {
    (name.into(), of.shape.clone(), of.element.name())
}

fn float_dtype(name: &str) -> PyResult<Dtype> {
    let floats = || Dtype::ALL.into_iter().filter(|dtype| dtype.is_float());
    floats().find(|dtype| dtype.name() == name).ok_or_else(|| {
        let known: Vec<&str> = floats().map(Dtype::name).collect();
        InputError::new_err((format!("there is no precision `{name}`"), format!("give one of {}", known.join(", "))))
    })
}

fn objective(name: &str) -> PyResult<Objective> {
    match name {
        "throughput" => Ok(Objective::Throughput),
        "latency" => Ok(Objective::Latency),
        _ => Err(InputError::new_err((
            format!("the planner cannot optimize `{name}`"),
            "give throughput or latency".to_string(),
        ))),
    }
}

/// A plan file, or the text of one.
fn overrides(plan: &str) -> Result<Overrides, Error> {
    if !plan.trim_start().starts_with('(') {
        return load::overrides(plan.as_ref());
    }
    Overrides::from_ron(plan).map_err(|e| {
        Error::input(
            format!("the plan: {e}"),
            "write it as program.choices shows it, and leave out what the planner may choose",
        )
    })
}
