//! Recognises softmax that is written out, and brings every softmax to the last axis, where the mesh computes it.

use petgraph::graph::NodeIndex;

use super::look::{binary, reduced, unary};
use super::rewrite::rewrite;
use crate::graph::{BinaryOp, Graph, Op, ReduceOp, UnaryOp};

pub(super) fn run(graph: &Graph) -> Result<Graph, String> {
    rewrite(graph, |rewriter, id, operands| {
        let graph = &rewriter.builder.graph;
        let found = match (&rewriter.old.node(id).op, operands) {
            (Op::Softmax { axis }, &[a]) => Some((a, *axis)),
            (Op::Binary(BinaryOp::Div), &[a, b]) => shares(graph, a, b),
            (Op::Binary(BinaryOp::Mul), &[a, b]) => {
                let sum = |id| unary(graph, id, UnaryOp::Recip);
                sum(b).and_then(|sum| shares(graph, a, sum)).or_else(|| shares(graph, b, sum(a)?))
            }
            _ => None,
        };
        match found {
            Some(found) => {
                let name = &rewriter.old.node(id).name;
                rewriter.on_last_axis(name, found, |axis| Op::Softmax { axis }).map(Some)
            }
            None => Ok(None),
        }
    })
}

/// `a` and the axis, when exponentials are divided by their own sum: of `a` less its maximum, or of `a` itself.
///
/// In the second case the softmax, which takes the maximum away, has the same value and a larger range.
fn shares(graph: &Graph, exp: NodeIndex, sum: NodeIndex) -> Option<(NodeIndex, usize)> {
    let (summed, axis) = reduced(graph, sum, ReduceOp::Sum)?;
    let exponent = unary(graph, exp, UnaryOp::Exp).filter(|_| summed == exp)?;
    let centred = binary(graph, exponent, BinaryOp::Sub)
        .filter(|&(a, max)| reduced(graph, max, ReduceOp::Max) == Some((a, axis)));
    Some((centred.map_or(exponent, |(a, _)| a), axis))
}
