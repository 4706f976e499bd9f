//! Recognises layer norms that are written out: `(a - mean) / sqrt(variance + epsilon)` along an axis. Scale and shift stay
//! as they are. The mesh norms along the last axis; another one is brought there.

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
        let op = |_| Op::Normalize { epsilon: norm.epsilon };
        match norm.factor {
            None => rewriter.on_last_axis(name, norm.operand, op).map(Some),
            Some(factor) => {
                let plain = rewriter.on_last_axis(&format!("{name}.norm"), norm.operand, op)?;
                rewriter.builder.binary(name, BinaryOp::Mul, plain, factor).map(Some)
            }
        }
    })
}

/// A tensor and an axis of it.
type Along = (NodeIndex, usize);

/// What a layer norm is made of.
struct Norm {
    operand: Along,
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

/// `a` of `a - mean(a)`, and the axis of the mean.
fn centred_operand(graph: &Graph, id: NodeIndex) -> Option<Along> {
    let (a, mean) = binary(graph, id, BinaryOp::Sub)?;
    mean_operand(graph, mean).filter(|(of, _)| *of == a)
}

/// `a` of the mean of `a` along an axis: its sum times or over the number of elements.
fn mean_operand(graph: &Graph, id: NodeIndex) -> Option<Along> {
    let (sum, share) = scaled(graph, id)?;
    let (a, axis) = reduced(graph, sum, ReduceOp::Sum)?;
    near(share, 1.0 / graph.shape(a)[axis] as f32).then_some((a, axis))
}

/// Epsilon of `1 / sqrt(variance + epsilon)`. The variance is the mean of the centred squares, or the mean of the squares
/// less the square of the mean.
fn reciprocal_deviation(graph: &Graph, operand: Along, centred: NodeIndex, id: NodeIndex) -> Option<f32> {
    let (variance, epsilon) = shifted(graph, unary(graph, id, UnaryOp::Rsqrt)?)?;
    let mean_of_square = |id, of| {
        let square = mean_operand(graph, id).filter(|(_, axis)| *axis == operand.1);
        square.and_then(|(square, _)| unary(graph, square, UnaryOp::Square)) == Some(of)
    };
    if mean_of_square(variance, centred) {
        return Some(epsilon);
    }
    let (squares, square) = binary(graph, variance, BinaryOp::Sub)?;
    let mean = unary(graph, square, UnaryOp::Square)?;
    (mean_of_square(squares, operand.0) && mean_operand(graph, mean) == Some(operand)).then_some(epsilon)
}
