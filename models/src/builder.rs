//! Adds checked nodes to a graph, and computes what is constant on the spot.

use std::collections::BTreeMap;

use petgraph::graph::NodeIndex;

use crate::evaluate::evaluate_node;
use crate::graph::{BinaryOp, ConstantData, ElementType, Graph, Node, Op, TensorType, UnaryOp};
use crate::infer::infer;
use crate::tensor::{Tensor, count};

/// A constant result of more elements than its operands have together is only computed up to this size: a broadcast
/// costs less in the machine than its result costs in the program.
const FOLD_ELEMENTS: usize = 1 << 16;

/// Builds a graph node by node.
pub(crate) struct Builder {
    /// The graph so far.
    pub graph: Graph,
    /// How often each name was asked for.
    names: BTreeMap<String, usize>,
}

impl Builder {
    pub(crate) fn new(name: &str) -> Self {
        Self { graph: Graph::new(name), names: BTreeMap::new() }
    }

    /// A name that no other node has.
    fn unique(&mut self, name: &str) -> String {
        let mut candidate = name.to_string();
        loop {
            let uses = self.names.entry(candidate.clone()).or_insert(0);
            *uses += 1;
            if *uses == 1 {
                return candidate;
            }
            candidate = format!("{name}~{uses}");
        }
    }

    pub(crate) fn shape(&self, id: NodeIndex) -> Vec<usize> {
        self.graph.shape(id).to_vec()
    }

    pub(crate) fn element(&self, id: NodeIndex) -> ElementType {
        self.graph.node(id).output.element
    }

    pub(crate) fn input(&mut self, name: &str, output: TensorType) -> NodeIndex {
        let name = self.unique(name);
        self.graph.add(Node { name, op: Op::Input, output }, &[])
    }

    pub(crate) fn constant(&mut self, name: &str, output: TensorType, data: ConstantData) -> NodeIndex {
        let name = self.unique(name);
        self.graph.add(Node { name, op: Op::Constant(data), output }, &[])
    }

    /// A float constant of one element and of the given rank.
    pub(crate) fn scalar(&mut self, name: &str, value: f32, rank: usize) -> NodeIndex {
        let output = TensorType { element: ElementType::Float, shape: vec![1; rank] };
        self.constant(name, output, ConstantData::Float([value].into()))
    }

    pub(crate) fn is_constant(&self, id: NodeIndex) -> bool {
        matches!(self.graph.node(id).op, Op::Constant(_))
    }

    /// The integers of a constant.
    pub(crate) fn integers(&self, id: NodeIndex) -> Option<&[i64]> {
        match &self.graph.node(id).op {
            Op::Constant(ConstantData::Int(values)) => Some(values),
            _ => None,
        }
    }

    /// Adds an operator whose result is not fully determined by its operands; see [`infer`].
    pub(crate) fn emit_as(
        &mut self,
        name: &str,
        op: Op,
        operands: &[NodeIndex],
        wanted: &TensorType,
    ) -> Result<NodeIndex, String> {
        let types: Vec<_> = operands.iter().map(|&o| &self.graph.node(o).output).collect();
        let output = infer(&op, &types, wanted)?;
        if is_identity(&op, &types, &output) {
            return Ok(operands[0]);
        }
        let node = Node { name: name.to_string(), op, output };
        if let Some(value) = self.fold(&node, operands)? {
            return Ok(self.constant(name, node.output, value.data.into()));
        }
        let name = self.unique(name);
        Ok(self.graph.add(Node { name, ..node }, operands))
    }

    fn fold(&self, node: &Node, operands: &[NodeIndex]) -> Result<Option<Tensor>, String> {
        if operands.is_empty() || operands.iter().any(|&o| !self.is_constant(o)) {
            return Ok(None);
        }
        let given: usize = operands.iter().map(|&o| count(self.graph.shape(o))).sum();
        let made = count(&node.output.shape);
        if made > given.max(FOLD_ELEMENTS) {
            return Ok(None);
        }
        let types: Vec<_> = operands.iter().map(|&o| &self.graph.node(o).output).collect();
        let values: Vec<_> = operands
            .iter()
            .filter_map(|&o| match &self.graph.node(o).op {
                Op::Constant(data) => Some(Tensor { shape: self.shape(o), data: data.clone().into() }),
                _ => None,
            })
            .collect();
        let pairs: Vec<_> = values.iter().zip(types).collect();
        evaluate_node(node, &pairs).map(Some)
    }

    /// Adds an operator whose result follows from its operands.
    pub(crate) fn emit(&mut self, name: &str, op: Op, operands: &[NodeIndex]) -> Result<NodeIndex, String> {
        let open = TensorType { element: ElementType::Float, shape: Vec::new() };
        self.emit_as(name, op, operands, &open)
    }

    pub(crate) fn unary(&mut self, name: &str, op: UnaryOp, a: NodeIndex) -> Result<NodeIndex, String> {
        self.emit(name, Op::Unary(op), &[a])
    }

    pub(crate) fn binary(&mut self, name: &str, op: BinaryOp, a: NodeIndex, b: NodeIndex) -> Result<NodeIndex, String> {
        self.emit(name, Op::Binary(op), &[a, b])
    }

    pub(crate) fn cast(&mut self, name: &str, a: NodeIndex, element: ElementType) -> Result<NodeIndex, String> {
        let wanted = TensorType { element, shape: self.shape(a) };
        self.emit_as(name, Op::Unary(UnaryOp::Cast), &[a], &wanted)
    }

    pub(crate) fn reshape(&mut self, name: &str, a: NodeIndex, shape: Vec<usize>) -> Result<NodeIndex, String> {
        let wanted = TensorType { element: self.element(a), shape };
        self.emit_as(name, Op::Reshape, &[a], &wanted)
    }

    pub(crate) fn broadcast(&mut self, name: &str, a: NodeIndex, shape: Vec<usize>) -> Result<NodeIndex, String> {
        let wanted = TensorType { element: self.element(a), shape };
        self.emit_as(name, Op::Broadcast, &[a], &wanted)
    }

    pub(crate) fn permute(&mut self, name: &str, a: NodeIndex, axes: Vec<usize>) -> Result<NodeIndex, String> {
        self.emit(name, Op::Permute { axes }, &[a])
    }

    /// `length` indices of an axis, from `start`, `step` apart.
    pub(crate) fn slice(
        &mut self,
        name: &str,
        a: NodeIndex,
        axis: usize,
        (start, length, step): (usize, usize, usize),
    ) -> Result<NodeIndex, String> {
        let mut wanted = self.graph.node(a).output.clone();
        *wanted.shape.get_mut(axis).ok_or_else(|| format!("there is no axis {axis}"))? = length;
        self.emit_as(name, Op::Slice { axis, start, step }, &[a], &wanted)
    }
}

/// Whether an operator gives its operand back.
pub(crate) fn is_identity(op: &Op, operands: &[&TensorType], output: &TensorType) -> bool {
    let [only] = operands else { return false };
    if *only != output {
        return false;
    }
    match op {
        Op::Reshape | Op::Broadcast | Op::Slice { .. } | Op::Concat { .. } | Op::Unary(UnaryOp::Cast) => true,
        Op::Permute { axes } => axes.is_sorted(),
        Op::Reduce { axes, .. } => axes.iter().all(|&axis| only.shape[axis] == 1),
        _ => false,
    }
}
