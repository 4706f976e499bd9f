//! Reductions over other axes than the last one: the axes are moved behind all others and joined. Integers and truth values
//! are reduced as floats, exact up to 2^24.

use super::rewrite::{Rewrite, rewrite};
use petgraph::graph::NodeIndex;
use waferloom_models::Graph;
use waferloom_models::graph::{ElementType, Node, Op, ReduceOp, TensorType, UnaryOp};

pub(super) fn run(graph: &Graph) -> Graph {
    rewrite(graph, |new, node, operands| match &node.op {
        Op::Reduce { op, axes } => reduce(new, node, operands[0], *op, axes),
        _ => None,
    })
}

fn reduce(new: &mut Rewrite, node: &Node, a: NodeIndex, op: ReduceOp, axes: &[usize]) -> Option<NodeIndex> {
    let shape = new.shape(a);
    let integers = node.output.element != ElementType::Float;
    if axes == [shape.len() - 1] && !integers {
        return None;
    }
    let name = &node.name;
    let cast = |new: &mut Rewrite, a: NodeIndex, element: ElementType| {
        let output = TensorType { element, ..new.output(a) };
        new.emit(&format!("{name}.cast"), Op::Unary(UnaryOp::Cast), output, &[a])
    };
    let a = if integers { cast(new, a, ElementType::Float) } else { a };
    let kept = (0..shape.len()).filter(|axis| !axes.contains(axis));
    let order: Vec<usize> = kept.clone().chain(axes.iter().copied()).collect();
    let moved = new.permute(&format!("{name}.order"), a, &order);
    let mut joined: Vec<usize> = kept.map(|axis| shape[axis]).collect();
    joined.push(axes.iter().map(|&axis| shape[axis]).product());
    let moved = new.reshape(&format!("{name}.join"), moved, &joined);
    let last = joined.len() - 1;
    let mut output = TensorType { element: ElementType::Float, shape: joined };
    output.shape[last] = 1;
    let result = new.emit(name, Op::Reduce { op, axes: vec![last] }, output, &[moved]);
    let result = new.reshape(&format!("{name}.shape"), result, &node.output.shape);
    Some(if integers { cast(new, result, node.output.element) } else { result })
}
