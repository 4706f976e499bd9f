//! A new graph from an old one, node by node.

use petgraph::graph::NodeIndex;
use std::collections::{BTreeMap, BTreeSet};
use waferloom_models::graph::{ConstantData, ElementType, Node, Op, TensorType};
use waferloom_models::{Graph, evaluate};

/// A graph under construction.
pub(super) struct Rewrite {
    /// The new graph.
    pub(super) graph: Graph,
    /// For each old node the new one that gives its value.
    made: Vec<NodeIndex>,
    names: BTreeSet<String>,
}

/// Builds a new graph: `replace` is given each old node with its new operands and may emit something else for it. What no
/// output needs afterwards is left out, but for the inputs.
pub(super) fn rewrite(
    old: &Graph,
    mut replace: impl FnMut(&mut Rewrite, NodeIndex, &[NodeIndex]) -> Option<NodeIndex>,
) -> Graph {
    let mut new = Rewrite { graph: Graph::new(old.name.clone()), made: Vec::new(), names: BTreeSet::new() };
    for id in old.nodes() {
        let operands: Vec<NodeIndex> = old.operands(id).iter().map(|o| new.made[o.index()]).collect();
        let made = replace(&mut new, id, &operands).unwrap_or_else(|| {
            let node = old.node(id);
            new.emit(&node.name, node.op.clone(), node.output.clone(), &operands)
        });
        new.made.push(made);
    }
    new.graph.inputs = old.inputs.iter().map(|id| new.made[id.index()]).collect();
    new.graph.outputs = old.outputs.iter().map(|(name, id)| (name.clone(), new.made[id.index()])).collect();
    without_dead(&new.graph)
}

/// A graph without the nodes that no output needs; inputs stay: they are the model's interface.
fn without_dead(graph: &Graph) -> Graph {
    let mut live: BTreeSet<NodeIndex> = graph.outputs.iter().map(|&(_, id)| id).collect();
    for id in graph.nodes().collect::<Vec<_>>().into_iter().rev() {
        if live.contains(&id) {
            live.extend(graph.operands(id));
        }
    }
    live.extend(&graph.inputs);
    let mut kept = Graph::new(graph.name.clone());
    let mut made = BTreeMap::new();
    for id in live {
        let operands: Vec<NodeIndex> = graph.operands(id).iter().map(|operand| made[operand]).collect();
        made.insert(id, kept.add(graph.node(id).clone(), &operands));
    }
    kept.inputs = graph.inputs.iter().map(|id| made[id]).collect();
    kept.outputs = graph.outputs.iter().map(|(name, id)| (name.clone(), made[id])).collect();
    kept
}

impl Rewrite {
    /// Adds a node; its name gets a number behind it, or another number, when a node has it already.
    pub(super) fn emit(&mut self, name: &str, op: Op, output: TensorType, operands: &[NodeIndex]) -> NodeIndex {
        let mut unique = name.to_string();
        let stem = name.rsplit_once('~').filter(|(_, n)| n.parse::<u32>().is_ok()).map_or(name, |(stem, _)| stem);
        let mut number = 2;
        while !self.names.insert(unique.clone()) {
            unique = format!("{stem}~{number}");
            number += 1;
        }
        self.graph.add(Node { name: unique, op, output }, operands)
    }

    pub(super) fn output(&self, id: NodeIndex) -> TensorType {
        self.graph.node(id).output.clone()
    }

    pub(super) fn shape(&self, id: NodeIndex) -> Vec<usize> {
        self.graph.shape(id).to_vec()
    }

    /// Whether a node is a constant.
    pub(super) fn is_constant(&self, id: NodeIndex) -> bool {
        matches!(self.graph.node(id).op, Op::Constant(_))
    }

    /// The same elements in another shape; of a reshape or a constant it is one again.
    pub(super) fn reshape(&mut self, name: &str, a: NodeIndex, shape: &[usize]) -> NodeIndex {
        let a = if self.graph.node(a).op == Op::Reshape { self.graph.operands(a)[0] } else { a };
        if self.graph.shape(a) == shape {
            return a;
        }
        let output = TensorType { shape: shape.to_vec(), ..self.output(a) };
        self.fold(name, Op::Reshape, output, &[a])
    }

    /// Axes in another order; of a permutation or a constant it is one again.
    pub(super) fn permute(&mut self, name: &str, a: NodeIndex, axes: &[usize]) -> NodeIndex {
        let (a, axes) = match &self.graph.node(a).op {
            Op::Permute { axes: inner } => (self.graph.operands(a)[0], axes.iter().map(|&axis| inner[axis]).collect()),
            _ => (a, axes.to_vec()),
        };
        if axes.is_sorted() {
            return a;
        }
        let from = self.output(a);
        let output = TensorType { shape: axes.iter().map(|&axis| from.shape[axis]).collect(), ..from };
        self.fold(name, Op::Permute { axes }, output, &[a])
    }

    /// The value of an operator when all operands are constants.
    pub(super) fn value(&self, op: &Op, output: &TensorType, operands: &[NodeIndex]) -> Option<ConstantData> {
        let mut alone = Graph::new("");
        let constants: Vec<NodeIndex> = operands
            .iter()
            .filter(|&&id| self.is_constant(id))
            .map(|&id| alone.add(Node { name: format!("{}", id.index()), ..self.graph.node(id).clone() }, &[]))
            .collect();
        if constants.len() != operands.len() {
            return None;
        }
        let id = alone.add(Node { name: "value".into(), op: op.clone(), output: output.clone() }, &constants);
        alone.outputs.push(("value".into(), id));
        Some(evaluate(&alone, &BTreeMap::new()).ok()?.remove("value")?.data.into())
    }

    /// The value of an operator of constants, computed here and now; the operator where an operand is none.
    pub(super) fn fold(&mut self, name: &str, op: Op, output: TensorType, operands: &[NodeIndex]) -> NodeIndex {
        match self.value(&op, &output, operands) {
            Some(data) => self.emit(name, Op::Constant(data), output, &[]),
            None => self.emit(name, op, output, operands),
        }
    }

    /// Indices of an axis at constant places.
    pub(super) fn pick(&mut self, name: &str, a: NodeIndex, axis: usize, places: Vec<i64>) -> NodeIndex {
        let mut output = self.output(a);
        output.shape[axis] = places.len();
        let list = TensorType { element: ElementType::Int, shape: vec![places.len()] };
        let list = self.emit(&format!("{name}.places"), Op::Constant(ConstantData::Int(places.into())), list, &[]);
        self.emit(name, Op::Gather { axis }, output, &[a, list])
    }
}

/// The order that puts each axis back to where `axes` took it from.
pub(super) fn inverse(axes: &[usize]) -> Vec<usize> {
    let mut back = vec![0; axes.len()];
    for (to, &from) in axes.iter().enumerate() {
        back[from] = to;
    }
    back
}
