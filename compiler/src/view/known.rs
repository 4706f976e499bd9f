//! Views that were worked out once: the layers of a model move their values in the same ways.

use super::{Piece, View, indices, is_zero, moves, of};
use petgraph::graph::NodeIndex;
use std::collections::HashMap;
use std::fmt::Write as _;
use waferloom_models::Graph;
use waferloom_models::graph::Op;

/// All views so far, by their [`description`]; the nodes of their pieces are replaced by each node's place in it.
#[derive(Default)]
pub(crate) struct Views {
    known: HashMap<String, View>,
}

impl Views {
    /// The view that [`of`] gives.
    pub(crate) fn of(&mut self, graph: &Graph, id: NodeIndex) -> View {
        let (description, origins) = description(graph, id);
        let with_nodes = |view: &View, node: &dyn Fn(NodeIndex) -> NodeIndex| {
            let pieces = view.pieces.iter().map(|piece| Piece { node: node(piece.node), map: piece.map.clone() });
            View { pieces: pieces.collect(), ..*view }
        };
        if let Some(known) = self.known.get(&description) {
            return with_nodes(known, &|place| origins[place.index()]);
        }
        let view = of(graph, id);
        let place = |node| NodeIndex::new(origins.iter().position(|&origin| origin == node).unwrap_or(0));
        self.known.insert(description, with_nodes(&view, &place));
        view
    }
}

/// The movements that make a value, in words that say how its elements follow from those of its origins, and the origins: two
/// values with equal descriptions have equal views of their origins.
pub(crate) fn description(graph: &Graph, id: NodeIndex) -> (String, Vec<NodeIndex>) {
    let (mut text, mut origins) = (String::new(), Vec::new());
    describe(graph, id, &mut text, &mut origins);
    (text, origins)
}

fn describe(graph: &Graph, id: NodeIndex, text: &mut String, origins: &mut Vec<NodeIndex>) {
    let shape = graph.shape(id);
    if !moves(graph, id) {
        let place = origins.iter().position(|&origin| origin == id).unwrap_or_else(|| {
            origins.push(id);
            origins.len() - 1
        });
        let zero = if is_zero(graph, id) { "zero " } else { "" };
        // Writing into a string does not fail.
        let _ = write!(text, "{zero}{place}{shape:?}");
        return;
    }
    let op = &graph.node(id).op;
    let _ = write!(text, "{op:?}{shape:?}(");
    let operands = graph.operands(id);
    let movable = if matches!(op, Op::Concat { .. }) { &operands[..] } else { &operands[..1] };
    for &operand in movable {
        describe(graph, operand, text, origins);
        text.push(',');
    }
    if let Some(picks) = indices(graph, id).filter(|_| matches!(op, Op::Gather { .. })) {
        let _ = write!(text, "{picks:?}");
    }
    text.push(')');
}

#[cfg(test)]
mod tests {
    use super::*;
    use waferloom_models::graph::{ElementType, Node, TensorType};

    #[test]
    fn a_known_view_gets_the_nodes_of_the_value_at_hand() {
        let mut graph = Graph::new("slices");
        let mut add = |op, size, operands: &[NodeIndex]| {
            let output = TensorType { element: ElementType::Float, shape: vec![size] };
            graph.add(Node { name: "n".into(), op, output }, operands)
        };
        let (a, b) = (add(Op::Input, 4, &[]), add(Op::Input, 4, &[]));
        let mut slice = |of, start| add(Op::Slice { axis: 0, start, step: 1 }, 2, &[of]);
        let slices = [slice(a, 1), slice(b, 1), slice(b, 2)];
        // The second slice is described as the first one is; the third starts elsewhere.
        let mut views = Views::default();
        for (id, (node, first, count)) in slices.into_iter().zip([(a, 1, 1), (b, 1, 1), (b, 2, 2)]) {
            let view = views.of(&graph, id);
            assert_eq!((view.pieces[0].node, &*view.pieces[0].map(2)), (node, [first, first + 1].as_slice()));
            assert_eq!(views.known.len(), count);
        }
    }
}
