//! Repeats elements as late as possible: an operator works on what is there once, and its result is repeated.
//!
//! An operand of an operator that broadcasts by itself is not repeated at all.

use petgraph::graph::NodeIndex;

use super::rewrite::{Rewriter, Rewritten, rewrite};
use crate::builder::Builder;
use crate::graph::{ConstantData, Graph, Op};
use crate::tensor::count;

pub(super) fn run(graph: &Graph) -> Result<Graph, String> {
    rewrite(graph, |rewriter, id, operands| match &rewriter.old.node(id).op {
        Op::Binary(_) | Op::Select | Op::MatMul => joint(rewriter, id, operands),
        Op::Gather { axis } => look_up(rewriter, id, *axis, operands),
        Op::Constant(_) | Op::Input | Op::Concat { .. } | Op::Conv { .. } => Ok(None),
        _ => single(rewriter, id, operands),
    })
}

/// The operand of a broadcast.
fn repeated(graph: &Graph, id: NodeIndex) -> Option<NodeIndex> {
    matches!(graph.node(id).op, Op::Broadcast).then(|| graph.operands(id).first().copied()).flatten()
}

/// A tensor without its repetitions along axes before `axes`; the tensor itself when there are none.
fn thin(builder: &mut Builder, id: NodeIndex, axes: usize) -> Result<NodeIndex, String> {
    let shape = builder.shape(id);
    if let Some(inner) = repeated(&builder.graph, id) {
        // Behind `axes` the repetitions stay.
        let kept = [&builder.shape(inner)[..axes], &shape[axes..]].concat();
        if kept == shape {
            return Ok(id);
        }
        let name = format!("{}.once", builder.graph.node(inner).name);
        return builder.broadcast(&name, inner, kept);
    }
    let mut result = id;
    for (axis, &size) in shape.iter().enumerate().take(axes) {
        if size > 1 && repeats(&builder.graph, id, axis) {
            let name = format!("{}.once", builder.graph.node(id).name);
            result = builder.slice(&name, result, axis, (0, 1, 1))?;
        }
    }
    Ok(result)
}

/// Whether a constant is the same at each index of an axis.
fn repeats(graph: &Graph, id: NodeIndex, axis: usize) -> bool {
    fn check<T: Copy, B: PartialEq>(values: &[T], size: usize, inner: usize, bits: fn(T) -> B) -> bool {
        let equal = |a: &[T], b: &[T]| a.iter().zip(b).all(|(&a, &b)| bits(a) == bits(b));
        inner > 0
            && values
                .chunks_exact(size * inner)
                .all(|block| block.chunks_exact(inner).all(|row| equal(row, &block[..inner])))
    }
    let shape = graph.shape(id);
    let inner = count(&shape[axis + 1..]);
    match &graph.node(id).op {
        Op::Constant(ConstantData::Float(values)) => check(values, shape[axis], inner, f32::to_bits),
        Op::Constant(ConstantData::Int(values)) => check(values, shape[axis], inner, |v| v),
        _ => false,
    }
}

/// An operator that broadcasts its operands: it gets them thin, and its result is repeated where all of them were.
fn joint(rewriter: &mut Rewriter, id: NodeIndex, operands: &[NodeIndex]) -> Rewritten {
    let node = rewriter.old.node(id);
    let rank = node.output.shape.len();
    let axes = if node.op == Op::MatMul { rank - 2 } else { rank };
    let thinned: Vec<_> =
        operands.iter().map(|&operand| thin(&mut rewriter.builder, operand, axes)).collect::<Result<_, _>>()?;
    if thinned == operands {
        return Ok(None);
    }
    let made = rewriter.builder.emit(&node.name, node.op.clone(), &thinned)?;
    rewriter.builder.broadcast(&format!("{}.repeat", node.name), made, node.output.shape.clone()).map(Some)
}

/// A look-up with repeated indices is repeated itself.
fn look_up(rewriter: &mut Rewriter, id: NodeIndex, axis: usize, operands: &[NodeIndex]) -> Rewritten {
    let &[data, indices] = operands else { return Ok(None) };
    let node = rewriter.old.node(id);
    let rank = rewriter.builder.shape(indices).len();
    let thinned = thin(&mut rewriter.builder, indices, rank)?;
    if thinned == indices {
        return Ok(None);
    }
    let made = rewriter.builder.emit(&node.name, Op::Gather { axis }, &[data, thinned])?;
    rewriter.builder.broadcast(&format!("{}.repeat", node.name), made, node.output.shape.clone()).map(Some)
}

/// An operator on one repeated tensor.
fn single(rewriter: &mut Rewriter, id: NodeIndex, operands: &[NodeIndex]) -> Rewritten {
    let &[a] = operands else { return Ok(None) };
    let Some(inner) = repeated(&rewriter.builder.graph, a) else { return Ok(None) };
    let node = rewriter.old.node(id);
    let (once, full) = (rewriter.builder.shape(inner), rewriter.builder.shape(a));
    let grown = |axis: usize| once[axis] != full[axis];
    let mut wanted = node.output.clone();
    match &node.op {
        Op::Unary(_) => wanted.shape.clone_from(&once),
        Op::Broadcast => return rewriter.builder.broadcast(&node.name, inner, wanted.shape).map(Some),
        Op::Permute { axes } => wanted.shape = axes.iter().map(|&axis| once[axis]).collect(),
        Op::Slice { axis, .. } if grown(*axis) => {
            return rewriter.builder.broadcast(&node.name, inner, wanted.shape).map(Some);
        }
        Op::Slice { axis, .. } => {
            wanted.shape.clone_from(&once);
            wanted.shape[*axis] = node.output.shape[*axis];
        }
        Op::Reduce { axes, .. } if !axes.iter().any(|&axis| grown(axis)) => {}
        Op::Softmax { axis } if !grown(*axis) => {}
        Op::Normalize { .. } if !grown(once.len() - 1) => {}
        Op::Reshape => match reshaped_once(&once, &full, &wanted.shape) {
            Some(shape) => wanted.shape = shape,
            None => return Ok(None),
        },
        _ => return Ok(None),
    }
    let made = rewriter.builder.emit_as(&node.name, node.op.clone(), &[inner], &wanted)?;
    rewriter.builder.broadcast(&format!("{}.repeat", node.name), made, node.output.shape.clone()).map(Some)
}

/// The shape of the reshaped tensor before its repetition. The axes fall into the smallest groups of equal products on both
/// sides; a group must be repeated as a whole or not at all.
fn reshaped_once(once: &[usize], full: &[usize], to: &[usize]) -> Option<Vec<usize>> {
    let (mut i, mut j, mut shape) = (0, 0, Vec::new());
    while i < full.len() || j < to.len() {
        let (first_i, first_j) = (i, j);
        let (mut left, mut right) = (1, 1);
        // Sizes of 1 alone make a group each, so that they do not bind their neighbours.
        if full.get(i) == Some(&1) {
            i += 1;
        } else if to.get(j) == Some(&1) {
            j += 1;
        } else {
            left *= full.get(i)?;
            right *= to.get(j)?;
            (i, j) = (i + 1, j + 1);
            while left != right {
                if left < right {
                    left *= full.get(i)?;
                    i += 1;
                } else {
                    right *= to.get(j)?;
                    j += 1;
                }
            }
        }
        let group = first_i..i;
        if group.clone().all(|axis| once[axis] == full[axis]) {
            shape.extend(&to[first_j..j]);
        } else if group.clone().all(|axis| once[axis] == 1) {
            shape.extend(std::iter::repeat_n(1, j - first_j));
        } else {
            return None;
        }
    }
    Some(shape)
}
