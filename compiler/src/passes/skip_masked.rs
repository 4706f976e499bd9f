//! Keys at the end of a sequence that a constant mask hides from every query are left out of the attention: of the product of
//! queries and keys, the softmax, and the product with the values.
//!
//! A key is hidden when its score has a number of at most [`HIDDEN`] added to it, or is replaced by one. Behind the softmax its
//! weight is then exactly 0: `e^x` is 0 in f32 from -104 on, and the largest score of the row belongs to a key that is
//! seen, because every row must have one with a mask of at least [`SEEN`]; scores themselves are not thousands.

use super::rewrite::{Rewrite, rewrite};
use crate::view;
use petgraph::graph::NodeIndex;
use std::collections::BTreeMap;
use waferloom_models::Graph;
use waferloom_models::graph::{BinaryOp, ConstantData, Node, Op, UnaryOp};

/// Masks in use are -10 000, the lowest number of f32 or f16, and minus infinity.
const HIDDEN: f32 = -1e4;
/// What is added to scores that count: 0, or a bias of positions.
const SEEN: f32 = -1e3;

pub(super) fn run(graph: &Graph) -> Graph {
    let keys = shortened(graph);
    // The nodes without the hidden keys, by the old ones.
    let mut short: BTreeMap<NodeIndex, NodeIndex> = BTreeMap::new();
    rewrite(graph, |new, id, operands| {
        let node = graph.node(id);
        let &count = keys.get(&id)?;
        let old = graph.operands(id);
        if node.op == Op::MatMul {
            let right = cut(new, operands[1], node.output.shape.len() - 2, count);
            return Some(new.emit(&node.name, Op::MatMul, node.output.clone(), &[short[&old[0]], right]));
        }
        let operands: Vec<NodeIndex> = old
            .iter()
            .zip(operands)
            .map(|(old, &made)| short.get(old).copied().unwrap_or_else(|| upstream(new, made, count)))
            .collect();
        let made = emit_short(new, node, &operands, count);
        short.insert(id, made);
        // Nobody uses the long form: `shortened` has made sure.
        Some(made)
    })
}

/// The operator of operands with `count` columns.
fn emit_short(new: &mut Rewrite, node: &Node, operands: &[NodeIndex], count: usize) -> NodeIndex {
    let mut output = node.output.clone();
    if let Some(columns) = output.shape.last_mut() {
        *columns = count;
    }
    new.fold(&node.name, node.op.clone(), output, operands)
}

/// The first `count` columns, computed instead of cut where that is less work.
fn upstream(new: &mut Rewrite, id: NodeIndex, count: usize) -> NodeIndex {
    let node = new.graph.node(id).clone();
    let last = node.output.shape.len().saturating_sub(1);
    if node.output.shape.last().is_none_or(|&columns| columns == 1) {
        return id;
    }
    let operands = new.graph.operands(id);
    let elementwise = matches!(node.op, Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Broadcast);
    if node.op == Op::MatMul {
        let right = cut(new, operands[1], last, count);
        emit_short(new, &node, &[operands[0], right], count)
    } else if elementwise || keeps_columns(&new.graph, id) {
        let operands: Vec<NodeIndex> = operands.iter().map(|&o| upstream(new, o, count)).collect();
        emit_short(new, &node, &operands, count)
    } else {
        cut(new, id, last, count)
    }
}

/// Whether a node is a reshape of rows alone.
fn keeps_columns(graph: &Graph, id: NodeIndex) -> bool {
    graph.node(id).op == Op::Reshape && graph.shape(id).last() == graph.shape(graph.operands(id)[0]).last()
}

/// The first `count` indices of an axis.
fn cut(new: &mut Rewrite, id: NodeIndex, axis: usize, count: usize) -> NodeIndex {
    let mut output = new.output(id);
    output.shape[axis] = count;
    let name = format!("{}.seen", new.graph.node(id).name);
    new.fold(&name, Op::Slice { axis, start: 0, step: 1 }, output, &[id])
}

/// The keys that count, for each softmax with hidden ones behind them, and for all that follows it up to the products with the
/// values.
fn shortened(graph: &Graph) -> BTreeMap<NodeIndex, usize> {
    let mut found = BTreeMap::new();
    for id in graph.nodes() {
        let last = graph.shape(id).len().wrapping_sub(1);
        if graph.node(id).op != (Op::Softmax { axis: last }) {
            continue;
        }
        let count = seen_keys(graph, graph.operands(id)[0]);
        if let Some(behind) = count.filter(|&count| count < graph.shape(id)[last]).and_then(|_| weights(graph, id)) {
            found.extend(behind.into_iter().chain([id]).filter_map(|id| Some((id, count?))));
        }
    }
    found
}

/// What follows a softmax up to the products with the values: these, and operations between that leave a weight of 0 as it is,
/// such as the replacement of what is not a number. `None` when it is used otherwise.
fn weights(graph: &Graph, softmax: NodeIndex) -> Option<Vec<NodeIndex>> {
    let (mut behind, mut open) = (Vec::new(), vec![softmax]);
    while let Some(id) = open.pop() {
        if graph.outputs.iter().any(|(_, output)| *output == id) {
            return None;
        }
        for user in graph.users(id) {
            let operands = graph.operands(user);
            let stays_zero = |id: &NodeIndex| {
                *id == softmax || behind.contains(id) || values(graph, *id).is_some_and(|v| v.iter().all(|&v| v == 0.0))
            };
            let fits = match graph.node(user).op {
                Op::MatMul => operands[0] == id && operands[1] != id,
                Op::Unary(UnaryOp::IsNan | UnaryOp::Not) | Op::Binary(BinaryOp::Mul) => true,
                Op::Select => operands[1..].iter().all(stays_zero),
                _ => keeps_columns(graph, user),
            };
            let product = graph.node(user).op == Op::MatMul;
            if !fits || !product && graph.shape(user).last() != graph.shape(softmax).last() {
                return None;
            }
            if !behind.contains(&user) {
                behind.push(user);
                open.extend((!product).then_some(user));
            }
        }
    }
    Some(behind)
}

/// How many keys of masked scores count: those up to the last one that some query sees; `None` without a mask.
fn seen_keys(graph: &Graph, scores: NodeIndex) -> Option<usize> {
    let operands = graph.operands(scores);
    match graph.node(scores).op {
        Op::Binary(BinaryOp::Add) => {
            let mask = operands.iter().find_map(|&id| last_seen(graph.shape(id), &values(graph, id)?));
            mask.or_else(|| operands.iter().find_map(|&id| seen_keys(graph, id)))
        }
        Op::Reshape if keeps_columns(graph, scores) => seen_keys(graph, operands[0]),
        Op::Select => {
            let condition = values(graph, operands[0])?;
            let hides = |id: NodeIndex| values(graph, id).is_some_and(|v| v.iter().all(|&v| v <= HIDDEN));
            // Where the condition holds, the first operand counts.
            let hidden_when = match (hides(operands[1]), hides(operands[2])) {
                (true, false) => 1.0,
                (false, true) => 0.0,
                _ => return None,
            };
            let mask: Vec<f32> = condition.iter().map(|&c| if c == hidden_when { HIDDEN } else { 0.0 }).collect();
            last_seen(graph.shape(operands[0]), &mask)
        }
        _ => None,
    }
}

/// The numbers of a constant, also when it is moved.
fn values(graph: &Graph, id: NodeIndex) -> Option<Vec<f32>> {
    let view = view::of(graph, id);
    let mut numbers = vec![0.0; view.elements];
    for piece in &view.pieces {
        let Op::Constant(data) = &graph.node(piece.node).op else { return None };
        for (i, number) in numbers.iter_mut().enumerate() {
            *number = match (piece.source(i), data) {
                (Some(from), ConstantData::Float(values)) => values[from],
                (Some(from), ConstantData::Int(values)) => values[from] as f32,
                (None, _) => continue,
            };
        }
    }
    Some(numbers)
}

/// Columns of a mask up to the last one that is not hidden in every row; `None` when a row sees nothing.
fn last_seen(shape: &[usize], mask: &[f32]) -> Option<usize> {
    let columns = shape.last().copied().filter(|&columns| columns > 1)?;
    let row = |row: &[f32]| {
        let seen = row.iter().any(|&value| value >= SEEN);
        seen.then(|| row.iter().rposition(|&value| value > HIDDEN || value.is_nan()).map_or(0, |last| last + 1))
    };
    mask.chunks(columns).map(row).collect::<Option<Vec<usize>>>()?.into_iter().max()
}

#[cfg(test)]
mod tests {
    use super::last_seen;

    const LOWEST: f32 = f32::MIN;

    #[test]
    fn only_the_end_of_every_row_is_hidden() {
        assert_eq!(last_seen(&[1, 4], &[0.0, LOWEST, 0.0, LOWEST]), Some(3));
        // The second query sees one key more than the first.
        assert_eq!(last_seen(&[2, 3], &[0.0, -1e4, f32::NEG_INFINITY, 0.0, 0.0, LOWEST]), Some(2));
        // A row that sees nothing is the average of all keys.
        assert_eq!(last_seen(&[2, 2], &[0.0, LOWEST, LOWEST, LOWEST]), None);
        // A bias of positions hides nothing.
        assert_eq!(last_seen(&[1, 3], &[0.0, -50.0, -9000.0]), Some(3));
        // The same for all keys.
        assert_eq!(last_seen(&[2, 1], &[0.0, LOWEST]), None);
    }
}
