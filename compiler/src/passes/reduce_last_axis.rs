//! Reductions over other axes than the last one: the axes are moved behind all others and joined.

use super::rewrite::{Rewrite, rewrite};
use petgraph::graph::NodeIndex;
use waferloom_models::Graph;
use waferloom_models::graph::{Node, Op, ReduceOp, TensorType};

pub(super) fn run(graph: &Graph) -> Graph {
    rewrite(graph, |new, id, operands| match &graph.node(id).op {
        Op::Reduce { op, axes } => reduce(new, graph.node(id), operands[0], *op, axes),
        _ => None,
    })
}

fn reduce(new: &mut Rewrite, node: &Node, a: NodeIndex, op: ReduceOp, axes: &[usize]) -> Option<NodeIndex> {
    let shape = new.shape(a);
    if axes.iter().copied().eq(shape.len().checked_sub(1)) {
        return None;
    }
    let name = &node.name;
    let kept = (0..shape.len()).filter(|axis| !axes.contains(axis));
    let order: Vec<usize> = kept.clone().chain(axes.iter().copied()).collect();
    let moved = new.permute(&format!("{name}.order"), a, &order);
    let mut joined: Vec<usize> = kept.map(|axis| shape[axis]).collect();
    joined.push(axes.iter().map(|&axis| shape[axis]).product());
    let moved = new.reshape(&format!("{name}.join"), moved, &joined);
    let last = joined.len() - 1;
    let mut output = TensorType { shape: joined, ..node.output.clone() };
    output.shape[last] = 1;
    let result = new.emit(name, Op::Reduce { op, axes: vec![last] }, output, &[moved]);
    Some(new.reshape(&format!("{name}.shape"), result, &node.output.shape))
}
