//! Recognises layer norms that are written out: `(a - mean) / sqrt(variance + epsilon)` along the last axis. Scale and shift
//! stay as they are.

use petgraph::graph::NodeIndex;

use super::look::{binary, near, reduced, scaled, shifted, unary};
use super::rewrite::rewrite;
use crate::graph::{BinaryOp, Graph, Op, ReduceOp, UnaryOp};

pub(super) fn run(graph: &Graph) -> Result<Graph, String> {
    rewrite(graph, |rewriter, id, operands| {
        let (Op::Binary(BinaryOp::Mul), &[a, b]) = (&rewriter.old.node(id).op, operands) else { return Ok(None) };
        let graph = &rewriter.builder.graph;
        let Some(norm) = norm(graph, a, b).or_else(|| norm(graph, b, a)) else { return Ok(None) };
        let name = &rewriter.old.node(id).name;
        let builder = &mut rewriter.builder;
        let op = Op::Normalize { epsilon: norm.epsilon };
        match norm.factor {
            None => builder.emit(name, op, &[norm.operand]).map(Some),
            Some(factor) => {
                let plain = builder.emit(&format!("{name}.norm"), op, &[norm.operand])?;
                builder.binary(name, BinaryOp::Mul, plain, factor).map(Some)
            }
        }
    })
}

/// What a layer norm is made of.
struct Norm {
    operand: NodeIndex,
    epsilon: f32,
    /// Multiplied into the reciprocal of the deviation before the operand is.
    factor: Option<NodeIndex>,
}

/// The norm that is the product of a centred tensor and a reciprocal deviation.
fn norm(graph: &Graph, centred: NodeIndex, scale: NodeIndex) -> Option<Norm> {
    let operand = centred_operand(graph, centred)?;
    let deviation = |id| reciprocal_deviation(graph, operand, centred, id);
    if let Some(epsilon) = deviation(scale) {
        return Some(Norm { operand, epsilon, factor: None });
    }
    let (a, b) = binary(graph, scale, BinaryOp::Mul)?;
    match (deviation(a), deviation(b)) {
        (Some(epsilon), _) => Some(Norm { operand, epsilon, factor: Some(b) }),
        (_, Some(epsilon)) => Some(Norm { operand, epsilon, factor: Some(a) }),
        _ => None,
    }
}

/// `a` of `a - mean(a)`.
fn centred_operand(graph: &Graph, id: NodeIndex) -> Option<NodeIndex> {
    let (a, mean) = binary(graph, id, BinaryOp::Sub)?;
    (mean_operand(graph, mean) == Some(a)).then_some(a)
}

/// `a` of the mean of `a` along the last axis: its sum times or over the number of elements.
fn mean_operand(graph: &Graph, id: NodeIndex) -> Option<NodeIndex> {
    let (sum, share) = scaled(graph, id)?;
    let (a, axis) = reduced(graph, sum, ReduceOp::Sum)?;
    let (&size, before) = graph.shape(a).split_last()?;
    (axis == before.len() && near(share, 1.0 / size as f32)).then_some(a)
}

/// Epsilon of `1 / sqrt(variance + epsilon)`. The variance is the mean of the centred squares, or the mean of the squares
/// less the square of the mean.
fn reciprocal_deviation(graph: &Graph, operand: NodeIndex, centred: NodeIndex, id: NodeIndex) -> Option<f32> {
    let (variance, epsilon) = shifted(graph, unary(graph, id, UnaryOp::Rsqrt)?)?;
    let mean_of_square = |id, of| mean_operand(graph, id).and_then(|s| unary(graph, s, UnaryOp::Square)) == Some(of);
    if mean_of_square(variance, centred) {
        return Some(epsilon);
    }
    let (squares, square) = binary(graph, variance, BinaryOp::Sub)?;
    let mean = unary(graph, square, UnaryOp::Square)?;
    (mean_of_square(squares, operand) && mean_operand(graph, mean) == Some(operand)).then_some(epsilon)
}
