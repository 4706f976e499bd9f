//! Movements of elements, composed: where each element of a node's value comes from.
//!
//! Reshape, permute, slice, broadcast, concatenation and look-ups at constant places compute nothing. [`of`] follows them
//! back to the nodes that do.

pub(crate) mod known;

use petgraph::graph::NodeIndex;
use std::sync::Arc;
use waferloom_kernels::relayout::NOWHERE as ELSEWHERE;
use waferloom_models::Graph;
use waferloom_models::graph::{ConstantData, Op};

/// Elements that come from one computed node.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The node.
    pub node: NodeIndex,
    /// For each element of the value: the element of the node, or [`ELSEWHERE`]; `None` when both are the same in order.
    map: Option<Arc<[u32]>>,
}

impl Piece {
    /// Whether the value is the node's, in the same order.
    pub fn is_whole(&self) -> bool {
        self.map.is_none()
    }

    /// For each of the value's elements, `elements` in number: the element of the node that it is, or
    /// [`NOWHERE`](ELSEWHERE) when it comes from elsewhere.
    pub fn map(&self, elements: usize) -> Arc<[u32]> {
        self.map.clone().unwrap_or_else(|| (0..elements as u32).collect())
    }

    /// The element of the node that the value's element `i` is, if any.
    pub fn source(&self, i: usize) -> Option<usize> {
        let place = self.map.as_ref().map_or(i as u32, |map| map[i]);
        (place != ELSEWHERE).then_some(place as usize)
    }
}

/// Where the elements of a value come from. What no piece gives is zero.
#[derive(Clone, Debug)]
pub struct View {
    /// Number of elements.
    pub elements: usize,
    /// Each element is in at most one piece.
    pub pieces: Vec<Piece>,
    /// Whether some elements are in no piece.
    pub has_zeros: bool,
}

/// Whether a node only moves elements.
pub fn moves(graph: &Graph, id: NodeIndex) -> bool {
    match &graph.node(id).op {
        Op::Reshape | Op::Permute { .. } | Op::Slice { .. } | Op::Concat { .. } | Op::Broadcast => true,
        Op::Gather { .. } => indices(graph, id).is_some(),
        _ => false,
    }
}

/// The places of a look-up when they are constant.
fn indices(graph: &Graph, id: NodeIndex) -> Option<&[i64]> {
    match &graph.node(*graph.operands(id).get(1)?).op {
        Op::Constant(ConstantData::Int(values)) => Some(values),
        _ => None,
    }
}

/// Where a node's value comes from.
pub fn of(graph: &Graph, id: NodeIndex) -> View {
    let elements = count(graph.shape(id));
    let whole = || View { elements, pieces: vec![Piece { node: id, map: None }], has_zeros: false };
    if !moves(graph, id) {
        return if is_zero(graph, id) { View { elements, pieces: Vec::new(), has_zeros: true } } else { whole() };
    }
    let operands = graph.operands(id);
    if graph.node(id).op == Op::Reshape {
        return View { elements, ..of(graph, operands[0]) };
    }
    let movable = if matches!(graph.node(id).op, Op::Concat { .. }) { &operands[..] } else { &operands[..1] };
    let mut view = View { elements, pieces: Vec::new(), has_zeros: false };
    let mut offset = 0;
    for &operand in movable {
        let inner = of(graph, operand);
        let from = places(graph, id, operand, offset);
        if let Op::Concat { axis } = graph.node(id).op {
            offset += graph.shape(operand)[axis];
        }
        // A constant index out of range finds nothing. What one part of a concatenation leaves out another part gives.
        let lost = matches!(graph.node(id).op, Op::Gather { .. }) && from.contains(&ELSEWHERE);
        view.has_zeros |= inner.has_zeros || lost;
        for piece in &inner.pieces {
            view.add(piece, &from);
        }
    }
    view
}

/// The nodes that a value's elements come from, each once, in the order in which they are met; those of zeros are left out.
pub fn origins(graph: &Graph, id: NodeIndex) -> Vec<NodeIndex> {
    if !moves(graph, id) {
        return if is_zero(graph, id) { Vec::new() } else { vec![id] };
    }
    let operands = graph.operands(id);
    let movable = if matches!(graph.node(id).op, Op::Concat { .. }) { &operands[..] } else { &operands[..1] };
    let mut nodes = Vec::new();
    for node in movable.iter().flat_map(|&operand| origins(graph, operand)) {
        if !nodes.contains(&node) {
            nodes.push(node);
        }
    }
    nodes
}

/// Where one element of a node's value comes from: the node, and its element; `None` for a zero. Says the same as [`of`], for
/// those who want to know of few elements.
pub fn origin(graph: &Graph, id: NodeIndex, element: usize) -> Option<(NodeIndex, usize)> {
    if !moves(graph, id) {
        return (!is_zero(graph, id)).then_some((id, element));
    }
    let operands = graph.operands(id);
    if let Op::Concat { axis } = graph.node(id).op {
        let to = graph.shape(id);
        let inner: usize = to[axis + 1..].iter().product();
        let (outer, mut at) = (element / inner / to[axis], element / inner % to[axis]);
        for &operand in &operands {
            let size = graph.shape(operand)[axis];
            if at < size {
                return origin(graph, operand, (outer * size + at) * inner + element % inner);
            }
            at -= size;
        }
        return None;
    }
    let place = place(graph, id, operands[0], element)?;
    origin(graph, operands[0], place)
}

/// The element of the operand that an element of a moving node is; concatenations have several operands and are none of these.
fn place(graph: &Graph, id: NodeIndex, operand: NodeIndex, element: usize) -> Option<usize> {
    let (from, to) = (graph.shape(operand), graph.shape(id));
    let strides = strides(from);
    let along = |dim: usize| {
        let inner: usize = to[dim + 1..].iter().product();
        element / inner % to[dim]
    };
    let sum = |step: &dyn Fn(usize) -> usize| (0..to.len()).map(|dim| along(dim) * step(dim)).sum::<usize>();
    match &graph.node(id).op {
        Op::Permute { axes } => Some(sum(&|dim| strides[axes[dim]])),
        Op::Slice { axis, start, step } => {
            Some(start * strides[*axis] + sum(&|dim| if dim == *axis { step * strides[dim] } else { strides[dim] }))
        }
        Op::Broadcast => Some(sum(&|dim| if from[dim] == 1 { 0 } else { strides[dim] })),
        Op::Gather { axis } => {
            let picks = indices(graph, id).unwrap_or(&[]);
            let (inner, size) = (strides[*axis], from[*axis]);
            let pick = *picks.get(element / inner % picks.len().max(1))?;
            let pick = if pick < 0 { pick + size as i64 } else { pick };
            let outer = element / inner / picks.len();
            (0..size as i64).contains(&pick).then(|| (outer * size + pick as usize) * inner + element % inner)
        }
        _ => Some(element),
    }
}

impl View {
    /// Adds an operand's piece; pieces of one node become one.
    fn add(&mut self, piece: &Piece, from: &[u32]) {
        let through = |i: u32| match &piece.map {
            _ if i == ELSEWHERE => ELSEWHERE,
            Some(map) => map[i as usize],
            None => i,
        };
        let mut map: Vec<u32> = from.iter().map(|&i| through(i)).collect();
        if let Some(known) = self.pieces.iter_mut().find(|p| p.node == piece.node)
            && let Some(other) = &known.map
        {
            for (mine, &theirs) in map.iter_mut().zip(other.iter()) {
                if *mine == ELSEWHERE {
                    *mine = theirs;
                }
            }
            known.map = Some(map.into());
        } else {
            self.pieces.push(Piece { node: piece.node, map: Some(map.into()) });
        }
    }
}

/// For each element of a moving node: the element of the operand that it is, or [`ELSEWHERE`].
fn places(graph: &Graph, id: NodeIndex, operand: NodeIndex, offset: usize) -> Vec<u32> {
    let from = graph.shape(operand);
    let to = graph.shape(id);
    let strides = strides(from);
    match &graph.node(id).op {
        Op::Permute { axes } => affine(to, &axes.iter().map(|&a| strides[a]).collect::<Vec<_>>(), 0),
        Op::Slice { axis, start, step } => {
            let mut steps = strides.clone();
            steps[*axis] *= step;
            affine(to, &steps, start * strides[*axis])
        }
        Op::Broadcast => {
            let steps: Vec<usize> = strides.iter().zip(from).map(|(&s, &n)| if n == 1 { 0 } else { s }).collect();
            affine(to, &steps, 0)
        }
        Op::Concat { axis } => {
            let (inner, size) = (strides[*axis], from[*axis]);
            (0..count(to))
                .map(|i| {
                    let at = i / inner % to[*axis];
                    let outer = i / inner / to[*axis];
                    let here = (offset..offset + size).contains(&at);
                    if here { ((outer * size + at - offset) * inner + i % inner) as u32 } else { ELSEWHERE }
                })
                .collect()
        }
        Op::Gather { axis } => {
            let picks = indices(graph, id).unwrap_or(&[]);
            let (inner, size) = (strides[*axis], from[*axis]);
            let row = |i: usize| {
                let pick = picks[i / inner % picks.len()];
                let pick = if pick < 0 { pick + size as i64 } else { pick };
                (0..size as i64).contains(&pick).then_some(pick as usize)
            };
            (0..count(to))
                .map(|i| {
                    let outer = i / inner / picks.len();
                    row(i).map_or(ELSEWHERE, |pick| ((outer * size + pick) * inner + i % inner) as u32)
                })
                .collect()
        }
        _ => (0..count(to) as u32).collect(),
    }
}

/// `start + Σ index · stride` for each index of a shape, row-major.
fn affine(shape: &[usize], steps: &[usize], start: usize) -> Vec<u32> {
    let mut places = vec![start as u32];
    for (&size, &step) in shape.iter().zip(steps) {
        places = places.iter().flat_map(|&base| (0..size).map(move |i| base + (i * step) as u32)).collect();
    }
    places
}

fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for dim in (1..shape.len()).rev() {
        strides[dim - 1] = strides[dim] * shape[dim];
    }
    strides
}

fn count(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// Whether a node is a constant of zeros: nothing need be moved for those.
fn is_zero(graph: &Graph, id: NodeIndex) -> bool {
    match &graph.node(id).op {
        Op::Constant(ConstantData::Float(values)) => values.iter().all(|v| v.to_bits() == 0),
        Op::Constant(ConstantData::Int(values)) => values.iter().all(|&v| v == 0),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waferloom_models::graph::{ElementType, Node, TensorType};

    fn node(graph: &mut Graph, op: Op, shape: &[usize], operands: &[NodeIndex]) -> NodeIndex {
        let output = TensorType { element: ElementType::Float, shape: shape.to_vec() };
        graph.add(Node { name: format!("n{}", graph.dag.node_count()), op, output }, operands)
    }

    #[test]
    fn a_transpose_of_a_slice_is_one_map() {
        let mut g = Graph::new("g");
        let a = node(&mut g, Op::Input, &[2, 4], &[]);
        let slice = node(&mut g, Op::Slice { axis: 1, start: 1, step: 2 }, &[2, 2], &[a]);
        let turned = node(&mut g, Op::Permute { axes: vec![1, 0] }, &[2, 2], &[slice]);
        let view = of(&g, turned);
        // Columns 1 and 3 of rows 0 and 1 are elements 1, 3, 5, 7; transposed 1, 5, 3, 7.
        assert_eq!(view.pieces[0].map(4), [1, 5, 3, 7].into());
    }

    #[test]
    fn zeros_of_a_padding_come_from_nowhere() {
        let mut g = Graph::new("g");
        let a = node(&mut g, Op::Input, &[2], &[]);
        let zeros = node(&mut g, Op::Constant(ConstantData::Float([0.0].into())), &[1], &[]);
        let padded = node(&mut g, Op::Concat { axis: 0 }, &[3], &[zeros, a]);
        let view = of(&g, padded);
        assert!(view.has_zeros);
        assert_eq!(view.pieces.len(), 1);
        assert_eq!(view.pieces[0].map(3), [ELSEWHERE, 0, 1].into());
    }

    #[test]
    fn constant_indices_out_of_range_find_zeros() {
        let mut g = Graph::new("g");
        let a = node(&mut g, Op::Input, &[2], &[]);
        let places = TensorType { element: ElementType::Int, shape: vec![3] };
        let op = Op::Constant(ConstantData::Int([-1, 2, 0].into()));
        let places = g.add(Node { name: "places".into(), op, output: places }, &[]);
        let found = node(&mut g, Op::Gather { axis: 0 }, &[3], &[a, places]);
        let view = of(&g, found);
        assert!(view.has_zeros);
        assert_eq!(view.pieces[0].map(3), [1, ELSEWHERE, 0].into());
    }

    #[test]
    fn one_element_has_the_origin_that_the_map_says() {
        let graph = waferloom_models::text::parse(
            r#"graph "g"
%0 = input : f[2, 6] "x"
%1 = constant {0, 0, 0, 0} : f[2, 2] "zeros"
%2 = reshape %0 : f[2, 3, 2] "heads"
%3 = permute %2 axes=[1, 0, 2] : f[3, 2, 2] "turned"
%4 = slice %3 axis=0 start=1 step=1 : f[2, 2, 2] "last"
%5 = reshape %4 : f[4, 2] "flat"
%6 = concat %5, %1 axis=0 : f[6, 2] "padded"
inputs %0
output %6 "y"
"#,
        )
        .expect("valid");
        let last = graph.outputs[0].1;
        let view = of(&graph, last);
        for element in 0..12 {
            let expected = view.pieces[0].source(element).map(|from| (graph.inputs[0], from));
            assert_eq!(origin(&graph, last, element), expected, "element {element}");
        }
        assert_eq!(origins(&graph, last), [graph.inputs[0]]);
    }
}
