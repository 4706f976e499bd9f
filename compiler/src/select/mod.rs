//! From a prepared graph to the steps of a stage: for each computed node the kernel and the layouts of its operands. Addresses
//! come later, in [`crate::allocate`].
//!
//! - [`movement`]: a consumer asks for a value in a layout; constants, aliases and relayouts give it
//! - [`matmul`], [`gather`], [`rows`], [`elementwise`]: one file a family of kernels

mod elementwise;
mod gather;
pub(crate) mod matmul;
mod movement;
mod rows;

use crate::error::{CompileError, UnsupportedOperator};
use crate::plan::{Area, Stage, Step, StepKind, Storage, TensorId, TensorPlan};
use crate::relayouts::Relayouts;
use crate::{Options, layout, view};
use petgraph::graph::NodeIndex;
use std::collections::{BTreeMap, BTreeSet};
use waferloom_fabric::{Coord, Distribution, Dtype};
use waferloom_models::Graph;
use waferloom_models::graph::{ElementType, Op};

/// A stage under construction.
struct Selection<'a> {
    graph: &'a Graph,
    /// Type of floating-point tensors.
    float: Dtype,
    stage: Stage,
    /// The tensors that hold a node's value, the first as it was computed.
    holders: BTreeMap<NodeIndex, Vec<TensorId>>,
    names: BTreeSet<String>,
    relayouts: Relayouts,
}

/// Chooses kernels and layouts for all nodes that an output needs.
pub(crate) fn run(graph: &Graph, options: &Options) -> Result<Stage, CompileError> {
    let stage = Stage { origin: Coord { x: 0, y: 0 }, grid: options.grid, tensors: Vec::new(), steps: Vec::new() };
    let mut selection = Selection {
        graph,
        float: options.dtype,
        stage,
        holders: BTreeMap::new(),
        names: BTreeSet::new(),
        relayouts: Relayouts::default(),
    };
    for &id in &graph.inputs {
        selection.receive(id);
    }
    for id in needed(graph) {
        selection.compute(id)?;
    }
    for (name, id) in &graph.outputs {
        let source = selection.demand_default(*id)?;
        selection.step(name, StepKind::Send { output: name.clone(), source }, 0);
    }
    Ok(selection.stage)
}

/// The nodes that must be computed, operands first: those from which an output follows, without inputs and constants.
fn needed(graph: &Graph) -> Vec<NodeIndex> {
    let mut wanted: BTreeSet<NodeIndex> = graph.outputs.iter().map(|&(_, id)| id).collect();
    let mut computed = Vec::new();
    for id in graph.nodes().collect::<Vec<_>>().into_iter().rev() {
        if wanted.contains(&id) {
            wanted.extend(graph.operands(id));
            if !matches!(graph.node(id).op, Op::Input | Op::Constant(_)) && !view::moves(graph, id) {
                computed.push(id);
            }
        }
    }
    computed.reverse();
    computed
}

impl Selection<'_> {
    fn receive(&mut self, id: NodeIndex) {
        let node = self.graph.node(id);
        let result = self.compute_tensor(id, self.default_layout(id));
        self.step(&node.name, StepKind::Receive { input: node.name.clone(), result }, 0);
    }

    fn compute(&mut self, id: NodeIndex) -> Result<(), CompileError> {
        match &self.graph.node(id).op {
            Op::MatMul => self.matmul(id),
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
        layout::default(self.graph.shape(id), self.stage.grid, self.float)
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
        let step = Step { name: name.into(), kind, flops, scratch: Vec::new(), tables: Vec::new() };
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
