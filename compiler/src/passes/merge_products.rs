//! Products of one left operand with several constant right operands become one product with their columns side by side, and
//! slices of it: queries, keys and values of an attention. Their constant biases are joined as well.
//!
//! A product's blocks of the left operand are broadcast once instead of once for each product, and the turns of the broadcasts
//! are taken once; the multiplications stay the same.
//!
//! Slices are not free where they are used as they are: columns that lay in the default layout must be dealt anew. So
//! products are merged only when all that uses them is a relayout anyhow: behind a permutation or a reshape that splits or
//! joins dimensions, such as the split into heads, with which the slice becomes one movement. (Both halves of a gated
//! feed-forward feed operations of each element in the default layout, and stay two products.)

use super::rewrite::{Rewrite, rewrite};
use petgraph::graph::NodeIndex;
use std::collections::BTreeMap;
use std::sync::Arc;
use waferloom_models::Graph;
use waferloom_models::graph::{BinaryOp, ConstantData, ElementType, Op, TensorType};

/// One of the products.
struct Member {
    product: NodeIndex,
    weights: NodeIndex,
    bias: Option<NodeIndex>,
    /// The sum with the bias, else the product.
    result: NodeIndex,
}

pub(super) fn run(graph: &Graph) -> Graph {
    let groups = groups(graph);
    // For each product and result of a member: the group and the place in it.
    let places: BTreeMap<NodeIndex, (usize, usize)> = groups
        .iter()
        .enumerate()
        .flat_map(|(g, group)| group.iter().enumerate().map(move |(m, member)| (member, (g, m))))
        .flat_map(|(member, place)| [(member.product, place), (member.result, place)])
        .collect();
    let mut merged: Vec<Option<NodeIndex>> = vec![None; groups.len()];
    rewrite(graph, |new, id, operands| {
        let &(g, m) = places.get(&id)?;
        let group = &groups[g];
        let all = *merged[g].get_or_insert_with(|| emit(new, graph, group, operands[0]));
        if group[m].result != id {
            // Nothing but the sum with the bias uses it.
            return Some(all);
        }
        let node = graph.node(id);
        let start = group[..m].iter().map(|member| columns(graph, member)).sum();
        let axis = node.output.shape.len() - 1;
        Some(new.emit(&node.name, Op::Slice { axis, start, step: 1 }, node.output.clone(), &[all]))
    })
}

/// The products that become one, by their left operand and the size of their right operands but for the columns.
fn groups(graph: &Graph) -> Vec<Vec<Member>> {
    let mut groups: BTreeMap<(NodeIndex, &[usize]), Vec<Member>> = BTreeMap::new();
    for id in graph.nodes().filter(|&id| graph.node(id).op == Op::MatMul) {
        let operands = graph.operands(id);
        let member = member(graph, id, operands[1]);
        let is_float = matches!(graph.node(member.weights).op, Op::Constant(ConstantData::Float(_)));
        if is_float && dealt_anew(graph, member.result, graph.shape(id)) {
            let shape = graph.shape(member.weights);
            groups.entry((operands[0], &shape[..shape.len() - 1])).or_default().push(member);
        }
    }
    groups.into_values().filter(|group| group.len() > 1).collect()
}

fn member(graph: &Graph, product: NodeIndex, weights: NodeIndex) -> Member {
    let mut member = Member { product, weights, bias: None, result: product };
    if let &[sum] = graph.users(product).as_slice()
        && graph.node(sum).op == Op::Binary(BinaryOp::Add)
        && !is_output(graph, product)
    {
        let operands = graph.operands(sum);
        let other = if operands[0] == product { operands[1] } else { operands[0] };
        let shape = graph.shape(other);
        let a_row = shape.iter().rev().skip(1).all(|&size| size == 1) && shape.last() == graph.shape(product).last();
        if a_row && matches!(graph.node(other).op, Op::Constant(_)) {
            member.bias = Some(other);
            member.result = sum;
        }
    }
    member
}

fn is_output(graph: &Graph, id: NodeIndex) -> bool {
    graph.outputs.iter().any(|(_, output)| *output == id)
}

/// Whether all that uses a node has to be dealt anew: its dimensions, but for those of size 1, are others than those of
/// `shape`, or in another order.
fn dealt_anew(graph: &Graph, id: NodeIndex, shape: &[usize]) -> bool {
    let dimensions = |shape: &[usize]| shape.iter().copied().filter(|&size| size != 1).collect::<Vec<_>>();
    let users = graph.users(id);
    !users.is_empty()
        && !is_output(graph, id)
        && users.iter().all(|&user| match graph.node(user).op {
            Op::Reshape => dimensions(graph.shape(user)) != dimensions(shape) || dealt_anew(graph, user, shape),
            Op::Permute { .. } => true,
            _ => false,
        })
}

fn columns(graph: &Graph, member: &Member) -> usize {
    graph.shape(member.weights).last().copied().unwrap_or(1)
}

/// Emits the product of a group, with the biases when there are any.
fn emit(new: &mut Rewrite, graph: &Graph, group: &[Member], left: NodeIndex) -> NodeIndex {
    let names: Vec<&str> = group.iter().map(|member| graph.node(member.product).name.as_str()).collect();
    let name = names.join(" + ");
    let all: usize = group.iter().map(|member| columns(graph, member)).sum();
    let side_by_side = |new: &mut Rewrite, name: &str, shape: &[usize], parts: &[Arc<[f32]>]| {
        let shape = [&shape[..shape.len() - 1], &[all]].concat();
        let values = join_columns(parts, &group.iter().map(|m| columns(graph, m)).collect::<Vec<_>>());
        let output = TensorType { element: ElementType::Float, shape };
        new.emit(name, Op::Constant(ConstantData::Float(values)), output, &[])
    };
    let floats = |id: NodeIndex| match &graph.node(id).op {
        Op::Constant(ConstantData::Float(values)) => values.clone(),
        _ => Arc::default(),
    };
    let weights: Vec<Arc<[f32]>> = group.iter().map(|member| floats(member.weights)).collect();
    let right = side_by_side(new, &format!("{name}.weights"), graph.shape(group[0].weights), &weights);
    let mut output = graph.node(group[0].product).output.clone();
    let rank = output.shape.len();
    output.shape[rank - 1] = all;
    let product = new.emit(&name, Op::MatMul, output.clone(), &[left, right]);
    if group.iter().all(|member| member.bias.is_none()) {
        return product;
    }
    let bias = |member: &Member| member.bias.map_or_else(|| vec![0.0; columns(graph, member)].into(), floats);
    let biases: Vec<Arc<[f32]>> = group.iter().map(bias).collect();
    let bias = side_by_side(new, &format!("{name}.biases"), &vec![1; rank], &biases);
    new.emit(&format!("{name}.biased"), Op::Binary(BinaryOp::Add), output, &[product, bias])
}

/// Matrices of equally many rows, row by row side by side.
fn join_columns(parts: &[Arc<[f32]>], columns: &[usize]) -> Arc<[f32]> {
    let rows = parts.iter().zip(columns).map(|(part, &n)| part.len() / n.max(1)).max().unwrap_or(0);
    let mut joined = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
    for row in 0..rows {
        parts.iter().zip(columns).for_each(|(part, &n)| joined.extend_from_slice(&part[row * n..(row + 1) * n]));
    }
    joined.into()
}
