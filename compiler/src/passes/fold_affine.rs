//! A scale and a shift along the columns go into the products behind them: `(a * g + b) x W` becomes `a x (g * W) + b x W`,
//! where `g * W` and `b x W` are constants.
//!
//! Norms end with such a pair. It is folded only when all that uses it are products with constant weights (movements between
//! change nothing as long as columns stay columns); else it would have to be computed as well.

use super::rewrite::{Rewrite, rewrite};
use crate::view;
use petgraph::graph::NodeIndex;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use waferloom_models::Graph;
use waferloom_models::graph::{BinaryOp, ConstantData, Node, Op, TensorType};

/// What is folded.
#[derive(Default)]
struct Folds<'a> {
    /// Scales and shifts, which vanish, and which of their operands stays.
    gone: BTreeMap<NodeIndex, usize>,
    /// What each product takes in.
    products: BTreeMap<NodeIndex, Affine<'a>>,
}

/// `a * scale + shift` along the last axis.
#[derive(Clone, Copy)]
struct Affine<'a> {
    scale: &'a [f32],
    shift: Option<&'a [f32]>,
}

pub(super) fn run(graph: &Graph) -> Graph {
    let folds = folds(graph);
    // Sums of a product and what its shift became.
    let mut shifted = BTreeSet::new();
    rewrite(graph, |new, id, operands| {
        let node = graph.node(id);
        if let Some(&stays) = folds.gone.get(&id) {
            return Some(operands[stays]);
        }
        if let Some(affine) = folds.products.get(&id) {
            let weights = floats(graph, graph.operands(id)[1])?;
            let result = product(new, node, operands, weights, *affine);
            if affine.shift.is_some() {
                shifted.insert(result);
            }
            return Some(result);
        }
        let (Op::Binary(BinaryOp::Add), &[sum, bias]) = (&node.op, operands) else { return None };
        (shifted.contains(&sum) && new.is_constant(bias) && new.output(sum) == node.output)
            .then(|| one_bias(new, node, sum, bias))
    })
}

fn folds(graph: &Graph) -> Folds<'_> {
    let mut folds = Folds::default();
    for id in graph.nodes() {
        let Some((stays, scale)) = along_columns(graph, id, BinaryOp::Mul) else { continue };
        let add = match graph.users(id).as_slice() {
            &[user] if !is_output(graph, id) => along_columns(graph, user, BinaryOp::Add).map(|add| (user, add)),
            _ => None,
        };
        let end = add.as_ref().map_or(id, |(user, _)| *user);
        let Some(products) = products_behind(graph, end, scale.len()) else { continue };
        // What a product takes in twice would have to be multiplied out.
        if products.iter().any(|product| folds.products.contains_key(product)) {
            continue;
        }
        folds.gone.insert(id, stays);
        folds.gone.extend(add.map(|(user, (stays, _))| (user, stays)));
        let affine = Affine { scale, shift: add.map(|(_, (_, shift))| shift) };
        folds.products.extend(products.into_iter().map(|product| (product, affine)));
    }
    folds
}

fn is_output(graph: &Graph, id: NodeIndex) -> bool {
    graph.outputs.iter().any(|(_, output)| *output == id)
}

fn floats(graph: &Graph, id: NodeIndex) -> Option<&[f32]> {
    match &graph.node(id).op {
        Op::Constant(ConstantData::Float(values)) => Some(values),
        _ => None,
    }
}

/// The operation of a tensor with a constant for each index of its last axis: the position of the tensor among the operands, and
/// the constant.
fn along_columns(graph: &Graph, id: NodeIndex, wanted: BinaryOp) -> Option<(usize, &[f32])> {
    if graph.node(id).op != Op::Binary(wanted) {
        return None;
    }
    let operands = graph.operands(id);
    let stays = (0..2).find(|&i| graph.shape(operands[i]) == graph.shape(id))?;
    let constant = operands[1 - stays];
    let values = floats(graph, constant)?;
    let fits = graph.shape(constant).last() == graph.shape(id).last() && Some(&values.len()) == graph.shape(id).last();
    (fits && floats(graph, operands[stays]).is_none()).then_some((stays, values))
}

/// The products with constant weights, of which columns of a node are the inner dimension, when it has no other users.
fn products_behind(graph: &Graph, id: NodeIndex, columns: usize) -> Option<BTreeSet<NodeIndex>> {
    let mut products = BTreeSet::new();
    let mut open = vec![id];
    while let Some(at) = open.pop() {
        if is_output(graph, at) {
            return None;
        }
        for user in graph.users(at) {
            let operands = graph.operands(user);
            if view::moves(graph, user) {
                open.push(user);
            } else if graph.node(user).op == Op::MatMul
                && operands[0] == at
                && floats(graph, operands[1]).is_some()
                && keeps_columns(graph, at, id, columns)
            {
                products.insert(user);
            } else {
                return None;
            }
        }
    }
    (!products.is_empty()).then_some(products)
}

/// Whether a node only moves rows of another.
fn keeps_columns(graph: &Graph, id: NodeIndex, of: NodeIndex, columns: usize) -> bool {
    let view = view::of(graph, id);
    let [piece] = view.pieces.as_slice() else { return false };
    piece.node == of
        && !view.has_zeros
        && graph.shape(id).last() == Some(&columns)
        && (piece.is_whole()
            || (0..view.elements).all(|i| piece.source(i).is_some_and(|from| from % columns == i % columns)))
}

/// Emits the product of what was scaled and shifted with weights that do it instead.
fn product(
    new: &mut Rewrite,
    node: &Node,
    operands: &[NodeIndex],
    weights: &[f32],
    Affine { scale, shift }: Affine,
) -> NodeIndex {
    let name = &node.name;
    let output = new.output(operands[1]);
    let columns = output.shape[output.shape.len() - 1];
    let mut scaled: Arc<[f32]> = weights.into();
    let rows = Arc::make_mut(&mut scaled).par_chunks_mut(columns.max(1)).enumerate();
    rows.for_each(|(row, weights)| weights.iter_mut().for_each(|weight| *weight *= scale[row % scale.len()]));
    let scaled = Op::Constant(ConstantData::Float(scaled));
    let scaled = new.emit(&format!("{name}.scaled"), scaled, output.clone(), &[]);
    let product = new.emit(name, Op::MatMul, node.output.clone(), &[operands[0], scaled]);
    let Some(shift) = shift else { return product };
    let mut shape = output.shape;
    let rank = shape.len();
    shape[rank - 2] = 1;
    let matrices = weights.chunks(columns * shift.len());
    let biases = matrices.flat_map(|matrix| {
        // In f64: this is done once, and each product's sum has its own rounding.
        let mut sums = vec![0f64; columns];
        for (weights, &shift) in matrix.chunks(columns).zip(shift) {
            sums.iter_mut().zip(weights).for_each(|(sum, &weight)| *sum += f64::from(weight) * f64::from(shift));
        }
        sums.into_iter().map(|sum| sum as f32)
    });
    let bias = Op::Constant(ConstantData::Float(biases.collect()));
    let bias = new.emit(&format!("{name}.shift"), bias, TensorType { element: node.output.element, shape }, &[]);
    new.emit(&format!("{name}.shifted"), Op::Binary(BinaryOp::Add), node.output.clone(), &[product, bias])
}

/// A bias behind a product that has one from its shift already: both become one.
fn one_bias(new: &mut Rewrite, node: &Node, sum: NodeIndex, bias: NodeIndex) -> NodeIndex {
    let operands = new.graph.operands(sum);
    let (product, shift) = (operands[0], operands[1]);
    let shape = new.shape(shift).iter().zip(new.shape(bias)).map(|(&a, b)| a.max(b)).collect();
    let output = TensorType { element: node.output.element, shape };
    let add = Op::Binary(BinaryOp::Add);
    let both = new.fold(&format!("{}.bias", node.name), add.clone(), output, &[bias, shift]);
    new.emit(&node.name, add, node.output.clone(), &[product, both])
}
