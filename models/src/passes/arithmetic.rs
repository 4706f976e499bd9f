//! Cheaper forms of the same arithmetic, and one form where several are in use: constants stand on the right.
//!
//! A division becomes a product only where no bit of the result changes: by powers of two. (In [`super::scales`], where the
//! divisor disappears in a weight, any divisor will do.)

use petgraph::graph::NodeIndex;

use super::look::{splat, unary};
use super::rewrite::{Rewriter, Rewritten, rewrite};
use crate::graph::{BinaryOp, ConstantData, ElementType, Graph, Op, UnaryOp};

pub(super) fn run(graph: &Graph) -> Result<Graph, String> {
    rewrite(graph, |rewriter, id, operands| match (&rewriter.old.node(id).op, operands) {
        (Op::Unary(op), &[a]) => root_rule(rewriter, id, *op, a),
        (Op::Binary(op), &[a, b]) if rewriter.builder.is_constant(a) && !rewriter.builder.is_constant(b) => {
            constant_left(rewriter, id, *op, (a, b))
        }
        (Op::Binary(BinaryOp::Div), &[a, b]) => division(rewriter, id, a, b),
        (Op::Binary(BinaryOp::Pow), &[a, b]) => power(rewriter, id, a, b),
        (Op::Binary(BinaryOp::Sub), &[a, b]) => difference(rewriter, id, a, b),
        (Op::Binary(BinaryOp::Mul), &[a, b]) if a == b && is_number(rewriter, a) => square(rewriter, id, a),
        _ => Ok(None),
    })
}

fn is_number(rewriter: &Rewriter, id: NodeIndex) -> bool {
    matches!(rewriter.builder.element(id), ElementType::Float | ElementType::Int)
}

fn square(rewriter: &mut Rewriter, id: NodeIndex, a: NodeIndex) -> Rewritten {
    rewriter.builder.unary(&rewriter.old.node(id).name, UnaryOp::Square, a).map(Some)
}

/// Roots and reciprocals of each other.
fn root_rule(rewriter: &mut Rewriter, id: NodeIndex, op: UnaryOp, a: NodeIndex) -> Rewritten {
    let inner = |wanted| unary(&rewriter.builder.graph, a, wanted);
    let (op, a) = match op {
        UnaryOp::Recip => match (inner(UnaryOp::Sqrt), inner(UnaryOp::Rsqrt)) {
            (Some(a), _) => (UnaryOp::Rsqrt, a),
            (_, Some(a)) => (UnaryOp::Sqrt, a),
            _ => return Ok(None),
        },
        UnaryOp::Sqrt => match inner(UnaryOp::Recip) {
            Some(a) => (UnaryOp::Rsqrt, a),
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    rewriter.builder.unary(&rewriter.old.node(id).name, op, a).map(Some)
}

/// A constant on the left goes to the right where the order is free; one divided by something is a reciprocal.
fn constant_left(rewriter: &mut Rewriter, id: NodeIndex, op: BinaryOp, (a, b): (NodeIndex, NodeIndex)) -> Rewritten {
    use BinaryOp::{Add, And, Div, Eq, Max, Min, Mul, Or, Xor};
    let node = rewriter.old.node(id);
    match op {
        Add | Mul | Max | Min | Eq | And | Or | Xor => rewriter.builder.binary(&node.name, op, b, a).map(Some),
        Div if splat(&rewriter.builder.graph, a) == Some(1.0) && rewriter.builder.shape(b) == node.output.shape => {
            let (op, b) = match unary(&rewriter.builder.graph, b, UnaryOp::Sqrt) {
                Some(inner) => (UnaryOp::Rsqrt, inner),
                None => (UnaryOp::Recip, b),
            };
            rewriter.builder.unary(&node.name, op, b).map(Some)
        }
        Div => division(rewriter, id, a, b),
        _ => Ok(None),
    }
}

/// By powers of two, a product with the exact reciprocal; by a root, a product with the root of the reciprocal, which costs
/// one iteration on the mesh where a root and a division cost two.
fn division(rewriter: &mut Rewriter, id: NodeIndex, a: NodeIndex, b: NodeIndex) -> Rewritten {
    let name = &rewriter.old.node(id).name;
    let builder = &mut rewriter.builder;
    if let Some(inner) = unary(&builder.graph, b, UnaryOp::Sqrt) {
        let root = builder.unary(&format!("{name}.rsqrt"), UnaryOp::Rsqrt, inner)?;
        return builder.binary(name, BinaryOp::Mul, a, root).map(Some);
    }
    let node = builder.graph.node(b);
    let Op::Constant(ConstantData::Float(divisors)) = &node.op else { return Ok(None) };
    if !divisors.iter().all(|&d| has_exact_reciprocal(d)) {
        return Ok(None);
    }
    let (output, data) = (node.output.clone(), ConstantData::Float(divisors.iter().map(|d| 1.0 / d).collect()));
    let factors = builder.constant(&format!("{name}.factor"), output, data);
    builder.binary(name, BinaryOp::Mul, a, factors).map(Some)
}

/// Whether `1 / d` is a normal number without rounding: a power of two.
fn has_exact_reciprocal(d: f32) -> bool {
    const FRACTION: u32 = (1 << (f32::MANTISSA_DIGITS - 1)) - 1;
    d.is_normal() && d.to_bits() & FRACTION == 0 && (1.0 / d).is_normal()
}

/// Powers that are products and roots.
fn power(rewriter: &mut Rewriter, id: NodeIndex, a: NodeIndex, exponent: NodeIndex) -> Rewritten {
    let node = rewriter.old.node(id);
    let builder = &mut rewriter.builder;
    let Some(exponent) = splat(&builder.graph, exponent) else { return Ok(None) };
    if builder.shape(a) != node.output.shape {
        return Ok(None);
    }
    let simple = [(2.0, UnaryOp::Square), (0.5, UnaryOp::Sqrt), (-0.5, UnaryOp::Rsqrt), (-1.0, UnaryOp::Recip)];
    if let Some((_, op)) = simple.into_iter().find(|(e, _)| *e == exponent) {
        return builder.unary(&node.name, op, a).map(Some);
    }
    if exponent != 3.0 {
        return Ok(None);
    }
    let square = builder.unary(&format!("{}.square", node.name), UnaryOp::Square, a)?;
    builder.binary(&node.name, BinaryOp::Mul, square, a).map(Some)
}

/// A constant that is taken away is a negative one that is added.
fn difference(rewriter: &mut Rewriter, id: NodeIndex, a: NodeIndex, b: NodeIndex) -> Rewritten {
    let name = &rewriter.old.node(id).name;
    let builder = &mut rewriter.builder;
    if !builder.is_constant(b) || builder.element(b) != ElementType::Float {
        return Ok(None);
    }
    let negative = builder.unary(&format!("{name}.negative"), UnaryOp::Neg, b)?;
    builder.binary(name, BinaryOp::Add, a, negative).map(Some)
}
