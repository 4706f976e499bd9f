//! Recognises activation functions that are written out: GELU by the error function, the logistic function and `SiLU`.

use petgraph::graph::NodeIndex;

use super::look::{binary, near, scaled, shifted, splat, unary};
use super::rewrite::{Rewriter, Rewritten, rewrite};
use crate::graph::{BinaryOp, Graph, Op, UnaryOp};

pub(super) fn run(graph: &Graph) -> Result<Graph, String> {
    rewrite(graph, |rewriter, id, operands| {
        let graph = &rewriter.builder.graph;
        let found = match (&rewriter.old.node(id).op, operands) {
            (Op::Binary(BinaryOp::Mul), &[a, b]) => product(graph, a, b),
            (Op::Binary(BinaryOp::Div), &[a, b]) => quotient(graph, a, b),
            (Op::Unary(UnaryOp::Recip), &[a]) => logistic(graph, a).map(|x| (UnaryOp::Sigmoid, x)),
            _ => None,
        };
        replace(rewriter, id, found)
    })
}

fn replace(rewriter: &mut Rewriter, id: NodeIndex, found: Option<(UnaryOp, NodeIndex)>) -> Rewritten {
    let node = rewriter.old.node(id);
    match found {
        Some((op, x)) if rewriter.builder.graph.node(x).output == node.output => {
            rewriter.builder.unary(&node.name, op, x).map(Some)
        }
        _ => Ok(None),
    }
}

/// `x` of `1 + e^-x`.
fn logistic(graph: &Graph, id: NodeIndex) -> Option<NodeIndex> {
    let (exp, one) = shifted(graph, id)?;
    let negative = unary(graph, exp, UnaryOp::Exp)?;
    let x = unary(graph, negative, UnaryOp::Neg).or_else(|| {
        let (x, factor) = scaled(graph, negative)?;
        (factor == -1.0).then_some(x)
    });
    x.filter(|_| one == 1.0)
}

fn quotient(graph: &Graph, a: NodeIndex, b: NodeIndex) -> Option<(UnaryOp, NodeIndex)> {
    let x = logistic(graph, b)?;
    if a == x {
        Some((UnaryOp::Silu, x))
    } else if splat(graph, a) == Some(1.0) {
        Some((UnaryOp::Sigmoid, x))
    } else {
        None
    }
}

fn product(graph: &Graph, a: NodeIndex, b: NodeIndex) -> Option<(UnaryOp, NodeIndex)> {
    let gates = |x, gate| unary(graph, gate, UnaryOp::Sigmoid) == Some(x);
    if gates(a, b) {
        return Some((UnaryOp::Silu, a));
    }
    if gates(b, a) {
        return Some((UnaryOp::Silu, b));
    }
    gelu(graph, a, b).map(|x| (UnaryOp::Gelu, x))
}

/// `x`, when the product is that of `x`, `1 + erf(x / sqrt 2)` and 1/2, in whatever order and grouping; the half may also
/// have been multiplied out, to `1/2 + erf(x / sqrt 2) / 2`.
fn gelu(graph: &Graph, a: NodeIndex, b: NodeIndex) -> Option<NodeIndex> {
    /// Enough for the constant and both factors in any grouping.
    const DEPTH: usize = 3;
    let (x, gate) = find_gate(graph, a, DEPTH).or_else(|| find_gate(graph, b, DEPTH))?;
    let mut factors = Factors { number: 1.0, whole: [(x, 0), (gate, 0)] };
    (factors.collect(graph, a, DEPTH) && factors.collect(graph, b, DEPTH)).then_some(())?;
    let half = factors.number * gate_height(graph, gate)?;
    let once = factors.whole.iter().all(|(_, times)| *times == 1);
    (once && near(half, 0.5)).then_some(x)
}

/// `h` of a gate `h + h * erf(..)`.
fn gate_height(graph: &Graph, gate: NodeIndex) -> Option<f32> {
    let (error, height) = shifted(graph, gate)?;
    let factor = scaled(graph, error).map_or(1.0, |(_, factor)| factor);
    near(factor, height).then_some(height)
}

/// Among the factors of a product, `1 + erf(x / sqrt 2)`: `x` and the factor.
fn find_gate(graph: &Graph, id: NodeIndex, depth: usize) -> Option<(NodeIndex, NodeIndex)> {
    if let Some((error, _)) = shifted(graph, id) {
        let error = scaled(graph, error).map_or(error, |(error, _)| error);
        let (x, factor) = scaled(graph, unary(graph, error, UnaryOp::Erf)?)?;
        return near(factor, std::f32::consts::FRAC_1_SQRT_2).then_some((x, id));
    }
    let next = depth.checked_sub(1)?;
    if let Some((a, b)) = binary(graph, id, BinaryOp::Mul) {
        return find_gate(graph, a, next).or_else(|| find_gate(graph, b, next));
    }
    find_gate(graph, scaled(graph, id)?.0, next)
}

/// The factors of a product: a number, and how often each of two nodes occurs.
struct Factors {
    number: f32,
    whole: [(NodeIndex, usize); 2],
}

impl Factors {
    /// Takes a product apart, down to the two nodes; whether nothing else is in it.
    fn collect(&mut self, graph: &Graph, id: NodeIndex, depth: usize) -> bool {
        if let Some((_, times)) = self.whole.iter_mut().find(|(node, _)| *node == id) {
            *times += 1;
            return true;
        }
        if let Some(number) = splat(graph, id) {
            self.number *= number;
            return true;
        }
        let Some(next) = depth.checked_sub(1) else { return false };
        if let Some((a, b)) = binary(graph, id, BinaryOp::Mul) {
            return self.collect(graph, a, next) && self.collect(graph, b, next);
        }
        match scaled(graph, id) {
            Some((a, number)) => {
                self.number *= number;
                self.collect(graph, a, next)
            }
            None => false,
        }
    }
}
