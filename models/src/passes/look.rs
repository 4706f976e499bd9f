//! Questions that the patterns of several passes ask about a graph.

use petgraph::graph::NodeIndex;

use crate::graph::{BinaryOp, ConstantData, Graph, Op, ReduceOp, UnaryOp};

/// The operand of a node that is this unary operator.
pub(super) fn unary(graph: &Graph, id: NodeIndex, wanted: UnaryOp) -> Option<NodeIndex> {
    match graph.node(id).op {
        Op::Unary(op) if op == wanted => graph.operands(id).first().copied(),
        _ => None,
    }
}

/// The operands of a node that is this binary operator.
pub(super) fn binary(graph: &Graph, id: NodeIndex, wanted: BinaryOp) -> Option<(NodeIndex, NodeIndex)> {
    match graph.node(id).op {
        Op::Binary(op) if op == wanted => pair(&graph.operands(id)),
        _ => None,
    }
}

/// Two operands.
pub(super) fn pair(operands: &[NodeIndex]) -> Option<(NodeIndex, NodeIndex)> {
    match operands {
        [a, b] => Some((*a, *b)),
        _ => None,
    }
}

/// The number of which a float tensor consists: of a constant whose elements are all equal, also when it is repeated.
pub(super) fn splat(graph: &Graph, id: NodeIndex) -> Option<f32> {
    match &graph.node(id).op {
        Op::Constant(ConstantData::Float(values)) => {
            let first = *values.first()?;
            values.iter().all(|v| v.to_bits() == first.to_bits()).then_some(first)
        }
        Op::Broadcast | Op::Reshape => splat(graph, *graph.operands(id).first()?),
        _ => None,
    }
}

/// The integer, or truth value, of which a tensor consists.
pub(super) fn integer_splat(graph: &Graph, id: NodeIndex) -> Option<i64> {
    match &graph.node(id).op {
        Op::Constant(ConstantData::Int(values)) => {
            let first = *values.first()?;
            values.iter().all(|&v| v == first).then_some(first)
        }
        Op::Broadcast | Op::Reshape => integer_splat(graph, *graph.operands(id).first()?),
        _ => None,
    }
}

/// A tensor times a number: `a * c`, `c * a` or `a / c`.
pub(super) fn scaled(graph: &Graph, id: NodeIndex) -> Option<(NodeIndex, f32)> {
    if let Some((a, b)) = binary(graph, id, BinaryOp::Mul) {
        return match (splat(graph, a), splat(graph, b)) {
            (None, Some(c)) => Some((a, c)),
            (Some(c), None) => Some((b, c)),
            _ => None,
        };
    }
    let (a, b) = binary(graph, id, BinaryOp::Div)?;
    splat(graph, b).filter(|_| splat(graph, a).is_none()).map(|c| (a, 1.0 / c))
}

/// A tensor plus a number.
pub(super) fn shifted(graph: &Graph, id: NodeIndex) -> Option<(NodeIndex, f32)> {
    let (a, b) = binary(graph, id, BinaryOp::Add)?;
    match (splat(graph, a), splat(graph, b)) {
        (None, Some(c)) => Some((a, c)),
        (Some(c), None) => Some((b, c)),
        _ => None,
    }
}

/// The operand of a reduction over one axis, and the axis.
pub(super) fn reduced(graph: &Graph, id: NodeIndex, wanted: ReduceOp) -> Option<(NodeIndex, usize)> {
    match &graph.node(id).op {
        Op::Reduce { op, axes } if *op == wanted => match axes.as_slice() {
            [axis] => Some((*graph.operands(id).first()?, *axis)),
            _ => None,
        },
        _ => None,
    }
}

/// Whether two numbers are equal but for a few roundings in single precision.
pub(super) fn near(a: f32, b: f32) -> bool {
    (a - b).abs() <= 4.0 * f32::EPSILON * b.abs()
}
