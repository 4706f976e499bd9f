//! Removes what changes nothing and merges what follows itself: two casts, two permutations, `a + 0`, `not not a`.

use petgraph::graph::NodeIndex;

use super::look::{integer_splat, pair, splat, unary};
use super::rewrite::{Rewriter, Rewritten, rewrite};
use crate::builder::Builder;
use crate::graph::{BinaryOp, ElementType, Graph, Op, UnaryOp};

pub(super) fn run(graph: &Graph) -> Result<Graph, String> {
    rewrite(graph, |rewriter, id, operands| match &rewriter.old.node(id).op {
        Op::Unary(op) => unary_rule(rewriter, id, *op, operands),
        Op::Binary(op) => binary_rule(rewriter, id, *op, operands),
        Op::Select => select_rule(rewriter, id, operands),
        Op::Reshape | Op::Permute { .. } | Op::Slice { .. } | Op::Reduce { .. } => chain_rule(rewriter, id, operands),
        Op::Concat { axis } => concat_rule(rewriter, id, *axis, operands),
        _ => Ok(None),
    })
}

fn unary_rule(rewriter: &mut Rewriter, id: NodeIndex, op: UnaryOp, operands: &[NodeIndex]) -> Rewritten {
    let graph = &rewriter.builder.graph;
    let inner = operands.first().and_then(|&a| unary(graph, a, op));
    let Some(inner) = inner else { return Ok(None) };
    match op {
        UnaryOp::Neg | UnaryOp::Not => Ok(Some(inner)),
        UnaryOp::Abs | UnaryOp::Relu | UnaryOp::Floor | UnaryOp::Round => Ok(operands.first().copied()),
        // Truth values are 0 and 1 in every type; other numbers may lose something on the way.
        UnaryOp::Cast if graph.node(inner).output.element == ElementType::Bool => {
            let node = rewriter.old.node(id);
            rewriter.builder.cast(&node.name, inner, node.output.element).map(Some)
        }
        _ => Ok(None),
    }
}

fn binary_rule(rewriter: &mut Rewriter, id: NodeIndex, op: BinaryOp, operands: &[NodeIndex]) -> Rewritten {
    let graph = &rewriter.builder.graph;
    let Some((a, b)) = pair(operands) else { return Ok(None) };
    let kept = if neutral(graph, op, b, false) {
        a
    } else if neutral(graph, op, a, true) {
        b
    } else if matches!(op, BinaryOp::And | BinaryOp::Or | BinaryOp::Max | BinaryOp::Min) && a == b {
        a
    } else {
        return Ok(None);
    };
    let node = rewriter.old.node(id);
    rewriter.builder.broadcast(&node.name, kept, node.output.shape.clone()).map(Some)
}

/// Whether an operand leaves the other one as it is.
fn neutral(graph: &Graph, op: BinaryOp, operand: NodeIndex, left: bool) -> bool {
    let number = match graph.node(operand).output.element {
        ElementType::Float => splat(graph, operand),
        ElementType::Int | ElementType::Bool => integer_splat(graph, operand).map(|value| value as f32),
    };
    let wanted = match op {
        BinaryOp::Add | BinaryOp::Or | BinaryOp::Xor => 0.0,
        BinaryOp::Mul | BinaryOp::And => 1.0,
        BinaryOp::Sub if !left => 0.0,
        BinaryOp::Div | BinaryOp::Pow if !left => 1.0,
        _ => return false,
    };
    number == Some(wanted)
}

fn select_rule(rewriter: &mut Rewriter, id: NodeIndex, operands: &[NodeIndex]) -> Rewritten {
    let &[condition, a, b] = operands else { return Ok(None) };
    let kept = match integer_splat(&rewriter.builder.graph, condition) {
        _ if a == b => a,
        Some(0) => b,
        Some(_) => a,
        None => return Ok(None),
    };
    let node = rewriter.old.node(id);
    rewriter.builder.broadcast(&node.name, kept, node.output.shape.clone()).map(Some)
}

/// An operator on its own kind.
fn chain_rule(rewriter: &mut Rewriter, id: NodeIndex, operands: &[NodeIndex]) -> Rewritten {
    let (node, Some(&a)) = (rewriter.old.node(id), operands.first()) else { return Ok(None) };
    let graph = &rewriter.builder.graph;
    let inner = graph.operands(a);
    let merged = match (&node.op, &graph.node(a).op) {
        (Op::Reshape, Op::Reshape) => Op::Reshape,
        (Op::Permute { axes }, Op::Permute { axes: first }) => {
            Op::Permute { axes: axes.iter().map(|&axis| first[axis]).collect() }
        }
        (Op::Slice { axis, start, step }, Op::Slice { axis: other, start: offset, step: stride }) if axis == other => {
            Op::Slice { axis: *axis, start: offset + start * stride, step: step * stride }
        }
        (Op::Slice { axis, start, step }, Op::Concat { axis: other }) if axis == other => {
            let length = node.output.shape[*axis];
            return slice_of_part(&mut rewriter.builder, &node.name, &inner, *axis, (*start, length, *step));
        }
        (Op::Reduce { op, axes }, Op::Reduce { op: other, axes: first }) if op == other => {
            let mut axes = [first.as_slice(), axes].concat();
            axes.sort_unstable();
            axes.dedup();
            Op::Reduce { op: *op, axes }
        }
        // Nothing moves in memory when only axes of size 1 change their places.
        (Op::Permute { axes }, _) if axes.iter().filter(|&&axis| graph.shape(a)[axis] != 1).is_sorted() => {
            return rewriter.builder.reshape(&node.name, a, node.output.shape.clone()).map(Some);
        }
        _ => return Ok(None),
    };
    rewriter.builder.emit_as(&node.name, merged, &inner[..1], &node.output).map(Some)
}

/// A slice of joined tensors that lies within one of them.
fn slice_of_part(
    builder: &mut Builder,
    name: &str,
    parts: &[NodeIndex],
    axis: usize,
    (start, length, step): (usize, usize, usize),
) -> Rewritten {
    let mut before = 0;
    for &part in parts {
        let size = builder.graph.shape(part)[axis];
        let last = start + length.saturating_sub(1) * step;
        if start >= before && last < before + size {
            return builder.slice(name, part, axis, (start - before, length, step)).map(Some);
        }
        before += size;
    }
    Ok(None)
}

/// Joined tensors that are joined again on the same axis are joined at once.
fn concat_rule(rewriter: &mut Rewriter, id: NodeIndex, axis: usize, operands: &[NodeIndex]) -> Rewritten {
    let graph = &rewriter.builder.graph;
    let joined = |part: &NodeIndex| graph.node(*part).op == Op::Concat { axis };
    if !operands.iter().any(joined) {
        return Ok(None);
    }
    let parts: Vec<_> =
        operands.iter().flat_map(|part| if joined(part) { graph.operands(*part) } else { vec![*part] }).collect();
    rewriter.builder.emit(&rewriter.old.node(id).name, Op::Concat { axis }, &parts).map(Some)
}
