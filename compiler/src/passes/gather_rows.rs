//! Look-ups along any axis become look-ups of rows of a matrix: the axis is moved to the front, all others are joined.

use super::rewrite::{Rewrite, inverse, rewrite};
use crate::view;
use petgraph::graph::NodeIndex;
use waferloom_models::Graph;
use waferloom_models::graph::{Node, Op, TensorType};

pub(super) fn run(graph: &Graph) -> Graph {
    rewrite(graph, |new, id, operands| match graph.node(id).op {
        Op::Gather { axis } if !view::moves(graph, id) => rows(new, graph.node(id), operands, axis),
        _ => None,
    })
}

fn rows(new: &mut Rewrite, node: &Node, operands: &[NodeIndex], axis: usize) -> Option<NodeIndex> {
    let (data, picks) = (new.shape(operands[0]), new.shape(operands[1]));
    if axis == 0 && data.len() == 2 {
        return None;
    }
    let name = &node.name;
    let order: Vec<usize> = [axis].into_iter().chain((0..data.len()).filter(|&a| a != axis)).collect();
    let table = new.permute(&format!("{name}.table"), operands[0], &order);
    let rest: Vec<usize> = order[1..].iter().map(|&a| data[a]).collect();
    let columns = rest.iter().product();
    let table = new.reshape(&format!("{name}.table"), table, &[data[axis], columns]);
    let output = TensorType { element: node.output.element, shape: [picks.clone(), vec![columns]].concat() };
    let found = new.emit(name, Op::Gather { axis: 0 }, output, &[table, operands[1]]);
    // [picks.., rest..] to the result's order, with the picks in the place of the axis.
    let split = [picks.clone(), rest].concat();
    let found = new.reshape(&format!("{name}.split"), found, &split);
    let k = picks.len();
    let mut places: Vec<usize> = (0..k).map(|i| axis + i).collect();
    places.extend(order[1..].iter().map(|&a| if a < axis { a } else { a + k - 1 }));
    Some(new.permute(&format!("{name}.order"), found, &inverse(&places)))
}
