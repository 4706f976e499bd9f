//! From a prepared graph to the steps of a stage: for each computed node the kernel and the layouts of its operands. Addresses
//! come later, in [`crate::allocate`].
//!
//! - [`movement`]: a consumer asks for a value in a layout; constants, aliases and relayouts give it
//! - [`sketch`]: one node with estimated relayouts, for the cost model
//! - [`matmul`], [`gather`], [`rows`], [`elementwise`]: one file a family of kernels
//! - [`sums`]: what is computed as a part of a product

mod elementwise;
pub(crate) mod gather;
pub(crate) mod matmul;
mod movement;
mod rows;
mod sketch;
mod sums;

pub(crate) use sketch::sketch;
pub(crate) use sums::addend;

use crate::cut::Part;
use crate::error::{CompileError, UnsupportedOperator};
use crate::plan::{Area, Stage, Step, StepKind, Storage, TensorId, TensorPlan};
use crate::relayouts::Relayouts;
use crate::{Options, Overrides, layout};
use petgraph::graph::NodeIndex;
use std::collections::{BTreeMap, BTreeSet};
use waferloom_fabric::{Coord, Distribution, Dtype, Extent, Machine};
use waferloom_models::Graph;
use waferloom_models::graph::{ElementType, Op};

/// Where a stage stands in the row of stages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// The model's inputs come in here.
    pub(crate) first: bool,
    /// The model's outputs leave from here.
    pub(crate) last: bool,
}

/// A stage under construction.
struct Selection<'a> {
    graph: &'a Graph,
    machine: &'a Machine,
    /// What the user has chosen.
    overrides: &'a Overrides,
    /// Whether relayouts are only estimated: then a node's operands lie where selection would have put them.
    estimate_only: bool,
    /// Type of floating-point tensors.
    float: Dtype,
    stage: Stage,
    /// The tensors that hold a node's value, the first as it was computed.
    holders: BTreeMap<NodeIndex, Vec<TensorId>>,
    names: BTreeSet<String>,
    relayouts: Relayouts,
}

/// Chooses kernels and layouts for a part of the graph on a rectangle of PEs.
pub(crate) fn run(
    graph: &Graph,
    part: &Part,
    place: Place,
    origin: Coord,
    grid: Extent,
    options: &Options,
    relayouts: &mut Relayouts,
) -> Result<Stage, CompileError> {
    let known = std::mem::take(relayouts);
    let mut selection = Selection { relayouts: known, ..Selection::new(graph, origin, grid, options) };
    if place.first {
        for &id in &graph.inputs {
            selection.receive(id);
        }
    }
    for &id in &part.arrive {
        selection.arrive(id);
    }
    let sums = sums::find(graph, &part.compute);
    for &id in part.compute.iter().filter(|&&id| !sums.iter().any(|sums| sums.absorbs(id))) {
        match sums.iter().find(|sums| sums.last == id) {
            Some(sums) => selection.matmul(sums.product, Some(sums))?,
            None => selection.compute(id)?,
        }
    }
    for &id in &part.leave {
        selection.leave(id)?;
    }
    if place.last {
        for (name, id) in &graph.outputs {
            let source = selection.demand_default(*id)?;
            selection.step(name, StepKind::Send { output: name.clone(), source }, 0);
        }
    }
    *relayouts = selection.relayouts;
    let last = part.compute.last().map(|&id| graph.node(id).name.clone()).unwrap_or_default();
    Ok(Stage { last, ..selection.stage })
}

impl<'a> Selection<'a> {
    /// A stage without steps on a rectangle of its own, for a machine and a type of floats.
    fn new(graph: &'a Graph, origin: Coord, grid: Extent, options: &'a Options) -> Self {
        let stage =
            Stage { origin, grid, last: String::new(), tensors: Vec::new(), steps: Vec::new(), repeats: Vec::new() };
        Self {
            graph,
            machine: &options.machine,
            overrides: &options.overrides,
            estimate_only: false,
            float: options.dtype,
            stage,
            holders: BTreeMap::new(),
            names: BTreeSet::new(),
            relayouts: Relayouts::default(),
        }
    }
}

impl Selection<'_> {
    fn receive(&mut self, id: NodeIndex) {
        let node = self.graph.node(id);
        let result = self.compute_tensor(id, self.default_layout(id));
        self.step(&node.name, StepKind::Receive { input: node.name.clone(), result }, 0);
    }

    fn arrive(&mut self, id: NodeIndex) {
        let result = self.compute_tensor(id, self.default_layout(id));
        let name = &self.graph.node(id).name;
        self.step(name, StepKind::Arrive { node: id.index(), result }, 0);
    }

    fn leave(&mut self, id: NodeIndex) -> Result<(), CompileError> {
        let source = self.demand_default(id)?;
        let name = &self.graph.node(id).name;
        self.step(name, StepKind::Leave { node: id.index(), source }, 0);
        Ok(())
    }

    fn compute(&mut self, id: NodeIndex) -> Result<(), CompileError> {
        match &self.graph.node(id).op {
            Op::MatMul => self.matmul(id, None),
            Op::Gather { axis: 0 } => self.gather(id),
            Op::Softmax { .. } | Op::Normalize { .. } | Op::Reduce { .. } => self.rows(id),
            Op::Unary(_) | Op::Binary(_) | Op::Select => self.elementwise(id),
            _ => Err(self.unsupported(id, "no kernel computes it; replace it in the model by elementary operators")),
        }
    }

    fn unsupported(&self, id: NodeIndex, problem: impl Into<String>) -> CompileError {
        let node = self.graph.node(id);
        let words = |id: NodeIndex| {
            let output = &self.graph.node(id).output;
            format!("{:?}{:?}", output.element, output.shape)
        };
        let operands: Vec<String> = self.graph.operands(id).into_iter().map(words).collect();
        CompileError::Unsupported(Box::new(UnsupportedOperator {
            index: id.index(),
            node: node.name.clone(),
            operator: format!("{:?}", node.op),
            operands: operands.join(", "),
            result: words(id),
            problem: problem.into(),
        }))
    }

    /// The type on the mesh of a tensor of the graph.
    fn dtype(&self, element: ElementType) -> Dtype {
        match element {
            ElementType::Float => self.float,
            ElementType::Int | ElementType::Bool => Dtype::I32,
        }
    }

    fn node_dtype(&self, id: NodeIndex) -> Dtype {
        self.dtype(self.graph.node(id).output.element)
    }

    /// The layout of a value unless its user asks for another. Integers lie as floats do, so that masks meet scores.
    fn default_layout(&self, id: NodeIndex) -> Distribution {
        layout::of(self.graph, id, self.stage.grid, self.float)
    }

    fn tensor(&mut self, name: &str, dtype: Dtype, distribution: Distribution, storage: Storage) -> TensorId {
        let mut unique = name.to_string();
        let mut number = 2;
        while !self.names.insert(unique.clone()) {
            unique = format!("{name}~{number}");
            number += 1;
        }
        self.stage.tensors.push(TensorPlan { name: unique, dtype, distribution, storage });
        self.stage.tensors.len() - 1
    }

    /// The tensor that a step will write as a node's value.
    fn compute_tensor(&mut self, id: NodeIndex, distribution: Distribution) -> TensorId {
        let (graph, dtype) = (self.graph, self.node_dtype(id));
        let tensor = self.tensor(&graph.node(id).name, dtype, distribution, Storage::Computed { address: 0 });
        self.holders.entry(id).or_default().push(tensor);
        tensor
    }

    fn step(&mut self, name: &str, kind: StepKind, flops: u64) -> &mut Step {
        let name = name.into();
        let step = Step { name, kind, flops, estimate_cycles: 0, scratch: Vec::new(), tables: Vec::new() };
        self.stage.steps.push(step);
        self.stage.steps.last_mut().expect("a step was just added")
    }

    /// Adds the step that computes a node with working memory of the given sizes in bytes.
    fn compute_step(&mut self, id: NodeIndex, kind: StepKind, flops: usize, scratch: &[u32]) {
        let name = &self.graph.node(id).name;
        self.step(name, kind, flops as u64).scratch = scratch.iter().map(|&bytes| Area::of(bytes)).collect();
    }

    fn distribution(&self, tensor: TensorId) -> &Distribution {
        &self.stage.tensors[tensor].distribution
    }
}
