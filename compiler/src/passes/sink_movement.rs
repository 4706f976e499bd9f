//! An operation of each element alone runs before a reshape, permutation or broadcast instead of behind it: there the
//! tensor lies as it was computed, and what is moved afterwards is moved once.

use super::rewrite::{Rewrite, rewrite};
use petgraph::graph::NodeIndex;
use waferloom_models::Graph;
use waferloom_models::graph::{Node, Op, TensorType};

pub(super) fn run(graph: &Graph) -> Graph {
    rewrite(graph, |new, node, operands| match (&node.op, operands) {
        (Op::Unary(_), [a]) => sink(new, node, *a, &[], 0),
        (Op::Binary(_), [a, b]) if number(new, *b) => sink(new, node, *a, &[*b], 0),
        (Op::Binary(_), [a, b]) if number(new, *a) => sink(new, node, *b, &[*a], 1),
        _ => None,
    })
}

/// Whether a node is a constant of one element.
fn number(new: &Rewrite, id: NodeIndex) -> bool {
    matches!(new.graph.node(id).op, Op::Constant(_)) && new.graph.shape(id).iter().product::<usize>() == 1
}

/// Emits the operation on what `a` moves, and the movement behind it; `numbers` are the other operands and `place` is that
/// of `a` among them.
fn sink(new: &mut Rewrite, node: &Node, a: NodeIndex, numbers: &[NodeIndex], place: usize) -> Option<NodeIndex> {
    let movement = new.graph.node(a).clone();
    if !matches!(movement.op, Op::Reshape | Op::Permute { .. } | Op::Broadcast)
        || node.output.shape != movement.output.shape
    {
        return None;
    }
    let below = new.graph.operands(a)[0];
    if matches!(new.graph.node(below).op, Op::Constant(_)) {
        return None;
    }
    let shape = new.shape(below);
    let inner = Node {
        output: TensorType { shape: shape.clone(), element: node.output.element },
        name: node.name.clone(),
        op: node.op.clone(),
    };
    let numbers: Vec<NodeIndex> = numbers
        .iter()
        .map(|&id| {
            let constant = new.graph.node(id).clone();
            let output = TensorType { shape: vec![1; shape.len()], ..constant.output };
            new.emit(&constant.name, constant.op, output, &[])
        })
        .collect();
    let computed = sink(new, &inner, below, &numbers, place).unwrap_or_else(|| {
        let mut operands = numbers.clone();
        operands.insert(place, below);
        new.emit(&inner.name, inner.op, inner.output, &operands)
    });
    let output = TensorType { shape: movement.output.shape, element: node.output.element };
    Some(new.emit(&movement.name, movement.op, output, &[computed]))
}
