//! A new graph from an old one, node by node.

use petgraph::graph::NodeIndex;
use std::collections::BTreeSet;
use waferloom_models::Graph;
use waferloom_models::graph::{ConstantData, ElementType, Node, Op, TensorType};

/// A graph under construction.
pub(super) struct Rewrite {
    /// The new graph.
    pub(super) graph: Graph,
    /// For each old node the new one that gives its value.
    made: Vec<NodeIndex>,
    names: BTreeSet<String>,
}

/// Builds a new graph: `replace` is given each old node with its new operands and may emit something else for it.
pub(super) fn rewrite(
    old: &Graph,
    mut replace: impl FnMut(&mut Rewrite, &Node, &[NodeIndex]) -> Option<NodeIndex>,
) -> Graph {
    let mut new = Rewrite { graph: Graph::new(old.name.clone()), made: Vec::new(), names: BTreeSet::new() };
    for id in old.nodes() {
        let operands: Vec<NodeIndex> = old.operands(id).iter().map(|o| new.made[o.index()]).collect();
        let node = old.node(id);
        let made = match replace(&mut new, node, &operands) {
            Some(made) => made,
            None => new.emit(&node.name, node.op.clone(), node.output.clone(), &operands),
        };
        new.made.push(made);
    }
    new.graph.outputs = old.outputs.iter().map(|(name, id)| (name.clone(), new.made[id.index()])).collect();
    new.graph
}

impl Rewrite {
    /// Adds a node; its name gets a number behind it when another has it already.
    pub(super) fn emit(&mut self, name: &str, op: Op, output: TensorType, operands: &[NodeIndex]) -> NodeIndex {
        let mut unique = name.to_string();
        let mut number = 2;
        while !self.names.insert(unique.clone()) {
            unique = format!("{name}~{number}");
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

    pub(super) fn reshape(&mut self, name: &str, a: NodeIndex, shape: &[usize]) -> NodeIndex {
        if self.graph.shape(a) == shape {
            return a;
        }
        let output = TensorType { shape: shape.to_vec(), ..self.output(a) };
        self.emit(name, Op::Reshape, output, &[a])
    }

    pub(super) fn permute(&mut self, name: &str, a: NodeIndex, axes: &[usize]) -> NodeIndex {
        if axes.is_sorted() {
            return a;
        }
        let from = self.output(a);
        let output = TensorType { shape: axes.iter().map(|&axis| from.shape[axis]).collect(), ..from };
        self.emit(name, Op::Permute { axes: axes.to_vec() }, output, &[a])
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
