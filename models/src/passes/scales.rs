//! Multiplies constant factors into weights: `(a x W + b) * c` becomes `a x (W c) + b c`. In attention, the factor of the
//! scores goes into the weights of the queries, through the reshapes and permutations between.
//!
//! Each weight rounds once more, by half a unit in the last place, or not at all for powers of two.

use std::collections::BTreeMap;

use petgraph::graph::NodeIndex;

use super::look::{scaled, splat};
use super::rewrite::{Rewriter, rewrite};
use crate::graph::{BinaryOp, ConstantData, Graph, Node, Op};

/// The operand of a node, by its position.
type Edge = (NodeIndex, usize);

/// What becomes of the graph: factors of constants as they enter a node, and products whose number is gone.
#[derive(Default)]
struct Plan {
    factors: BTreeMap<Edge, f32>,
    dropped: BTreeMap<NodeIndex, NodeIndex>,
}

pub(super) fn run(graph: &Graph) -> Result<Graph, String> {
    let plan = plan(graph);
    rewrite(graph, |rewriter, id, operands| {
        if let Some(kept) = plan.dropped.get(&id) {
            let position = graph.operands(id).iter().position(|operand| operand == kept);
            return Ok(position.and_then(|at| operands.get(at).copied()));
        }
        let mut scaled = operands.to_vec();
        for (position, operand) in scaled.iter_mut().enumerate() {
            if let Some(&factor) = plan.factors.get(&(id, position)) {
                *operand = scale(rewriter, *operand, factor)?;
            }
        }
        rewriter.keep(id, &scaled).map(Some)
    })
}

/// The old operand's constant times a factor.
fn scale(rewriter: &mut Rewriter, id: NodeIndex, factor: f32) -> Result<NodeIndex, String> {
    let node = rewriter.builder.graph.node(id);
    let name = format!("{}.scaled", node.name);
    let output = node.output.clone();
    if let Op::Constant(ConstantData::Float(values)) = &node.op {
        let values = values.iter().map(|value| value * factor).collect();
        return Ok(rewriter.builder.constant(&name, output, ConstantData::Float(values)));
    }
    // A constant that is only kept small.
    let factor = rewriter.builder.scalar(&format!("{name}.factor"), factor, output.shape.len());
    rewriter.builder.binary(&name, BinaryOp::Mul, id, factor)
}

fn plan(graph: &Graph) -> Plan {
    let mut plan = Plan::default();
    for id in graph.nodes() {
        let Some((a, factor)) = scaled(graph, id) else { continue };
        // The shape of the product is that of the tensor, and the factor does not push weights out of the normal numbers.
        let harmless = factor.is_normal() && (1e-12..1e12).contains(&factor.abs());
        if !harmless || graph.shape(a) != graph.shape(id) {
            continue;
        }
        let mut edges = Vec::new();
        if absorb(graph, &plan, (id, a), &mut edges) {
            for edge in edges {
                *plan.factors.entry(edge).or_insert(1.0) *= factor;
            }
            plan.dropped.insert(id, a);
        }
    }
    plan
}

/// Whether a node's result can be scaled by scaling constants: collects the places where they enter. The result must have no
/// other user than the one that wants it scaled.
fn absorb(graph: &Graph, plan: &Plan, (user, id): (NodeIndex, NodeIndex), edges: &mut Vec<Edge>) -> bool {
    if graph.users(id) != [user] || graph.outputs.iter().any(|(_, output)| *output == id) {
        return false;
    }
    let node = graph.node(id);
    match (&node.op, graph.operands(id).as_slice()) {
        (Op::Reshape | Op::Permute { .. } | Op::Broadcast | Op::Slice { .. }, &[a]) => {
            absorb(graph, plan, (id, a), edges)
        }
        (Op::Binary(BinaryOp::Add | BinaryOp::Sub), &[a, b]) if a != b => {
            let mut both = Vec::new();
            let fits = enter(graph, plan, (id, a, 0), &mut both) && enter(graph, plan, (id, b, 1), &mut both);
            edges.append(&mut both);
            fits
        }
        // A product scaled before: the number is gone, the rest is.
        (Op::Binary(BinaryOp::Mul | BinaryOp::Div), _) => match plan.dropped.get(&id) {
            Some(&a) => absorb(graph, plan, (id, a), edges),
            None => false,
        },
        (Op::MatMul, &[a, b]) => one_side(graph, plan, id, (a, b), edges),
        (Op::Conv { .. }, &[_, kernel]) => {
            edges.push((id, 1));
            is_weight(graph.node(kernel))
        }
        _ => false,
    }
}

/// A sum needs both sides scaled: a constant is, another operand must absorb the factor.
fn enter(graph: &Graph, plan: &Plan, (id, a, position): (NodeIndex, NodeIndex, usize), edges: &mut Vec<Edge>) -> bool {
    if is_weight(graph.node(a)) || splat(graph, a).is_some() {
        edges.push((id, position));
        return true;
    }
    absorb(graph, plan, (id, a), edges)
}

/// A product needs one side scaled: a weight, or the first operand that can absorb the factor.
fn one_side(graph: &Graph, plan: &Plan, id: NodeIndex, (a, b): (NodeIndex, NodeIndex), edges: &mut Vec<Edge>) -> bool {
    for (position, operand) in [(1, b), (0, a)] {
        if is_weight(graph.node(operand)) {
            edges.push((id, position));
            return true;
        }
    }
    for operand in [a, b] {
        let mut deeper = Vec::new();
        if a != b && absorb(graph, plan, (id, operand), &mut deeper) {
            edges.append(&mut deeper);
            return true;
        }
    }
    false
}

fn is_weight(node: &Node) -> bool {
    matches!(node.op, Op::Constant(ConstantData::Float(_)))
}
