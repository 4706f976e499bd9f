//! An operation of each element runs before the reshapes, permutations and broadcasts of its operands instead of behind them:
//! there the tensor lies as it was computed, and what is moved afterwards is moved once.
//!
//! `f(move(a), c)` becomes `move(f(a, c'))`, where `c'` is `c` as it lies below the movement:
//! - a constant is laid out that way;
//! - of an operand that is moved in the same way it is what that movement moves;
//! - where the movement only adds or removes dimensions of size 1, any operand lies below it as it lies above;
//! - any other operand is moved back, but only where all users of the result move it on: then one relayout is spent on
//!   the operand, and the users' own are the first that the result needs. (Residual streams `[channels, places]` between
//!   products and norms `[places, channels]`, as in convolutional trunks, turn around for good that way.)

use super::rewrite::{Rewrite, inverse, rewrite};
use crate::view;
use petgraph::graph::NodeIndex;
use std::collections::BTreeSet;
use waferloom_models::Graph;
use waferloom_models::graph::{Node, Op, TensorType};

pub(super) fn run(graph: &Graph) -> Graph {
    let moved_on = moved_on(graph);
    rewrite(graph, |new, id, operands| {
        let node = graph.node(id);
        match &node.op {
            Op::Unary(_) | Op::Binary(_) => (0..operands.len()).find_map(|place| {
                // A movement that others use as well is made anyway.
                let sole = graph.users(graph.operands(id)[place]) == [id];
                let chain = Chain::below(&new.graph, operands[place]).filter(|_| sole)?;
                sink(new, node, &chain, operands, place, moved_on.contains(&id))
            }),
            Op::Reshape => Some(new.reshape(&node.name, operands[0], &node.output.shape)),
            Op::Permute { axes } => Some(new.permute(&node.name, operands[0], axes)),
            _ => None,
        }
    })
}

/// The nodes whose users all bring them into another order sooner or later, with nothing but operations of each element
/// between.
fn moved_on(graph: &Graph) -> BTreeSet<NodeIndex> {
    let mut found: BTreeSet<NodeIndex> = BTreeSet::new();
    for id in graph.nodes().collect::<Vec<_>>().into_iter().rev() {
        let users = graph.users(id);
        let moves = |user: &NodeIndex| match graph.node(*user).op {
            Op::Permute { .. } | Op::Concat { .. } => true,
            Op::Gather { .. } => view::moves(graph, *user),
            Op::Reshape | Op::Unary(_) | Op::Binary(_) => found.contains(user),
            _ => false,
        };
        if !users.is_empty() && users.iter().all(moves) && graph.outputs.iter().all(|(_, output)| *output != id) {
            found.insert(id);
        }
    }
    found
}

/// A movement, and the shape that it is given.
type Given = (Vec<usize>, Node);

/// Movements of single tensors, one behind the other.
struct Chain {
    /// What is moved: it is computed.
    base: NodeIndex,
    /// The movements, the one next to the base first.
    steps: Vec<Given>,
}

impl Chain {
    /// The movements that end in a node; `None` without any, and where they do not begin with a computed tensor.
    fn below(graph: &Graph, id: NodeIndex) -> Option<Self> {
        let (mut base, mut steps) = (id, Vec::new());
        while matches!(graph.node(base).op, Op::Reshape | Op::Permute { .. } | Op::Broadcast) {
            let operand = graph.operands(base)[0];
            steps.insert(0, (graph.shape(operand).to_vec(), graph.node(base).clone()));
            base = operand;
        }
        let computed = !view::moves(graph, base) && !matches!(graph.node(base).op, Op::Constant(_));
        (computed && !steps.is_empty()).then_some(Self { base, steps })
    }

    /// Whether both move in the same way.
    fn equals(&self, other: &Self) -> bool {
        let same = |(a, b): (&Given, &Given)| a.0 == b.0 && a.1.op == b.1.op;
        self.steps.len() == other.steps.len() && self.steps.iter().zip(&other.steps).all(same)
    }

    /// Whether it moves nothing: it adds and removes dimensions of size 1.
    fn is_free(&self) -> bool {
        let dimensions = |shape: &[usize]| shape.iter().copied().filter(|&size| size != 1).collect::<Vec<_>>();
        let free =
            |(given, node): &Given| node.op == Op::Reshape && dimensions(given) == dimensions(&node.output.shape);
        self.steps.iter().all(free)
    }

    /// Whether it changes the order of elements, and repeats none.
    fn reorders(&self) -> bool {
        let any = |wanted: fn(&Op) -> bool| self.steps.iter().any(|(_, node)| wanted(&node.op));
        any(|op| matches!(op, Op::Permute { .. })) && !any(|op| *op == Op::Broadcast)
    }

    /// The shapes that a tensor has below each step, the last step first, when it has `shape` above all (with sizes of 1 where
    /// it is repeated); `None` where that cannot be said.
    fn shapes_below(&self, shape: &[usize]) -> Option<Vec<Vec<usize>>> {
        let mut shapes: Vec<Vec<usize>> = Vec::new();
        for (given, node) in self.steps.iter().rev() {
            let above = shapes.last().map_or(shape, Vec::as_slice);
            let below = match &node.op {
                Op::Permute { axes } => inverse(axes).iter().map(|&axis| above[axis]).collect(),
                Op::Reshape => regroup(given, &node.output.shape, above)?,
                _ if given.iter().zip(above).all(|(&given, &above)| above == 1 || above == given) => above.to_vec(),
                _ => return None,
            };
            shapes.push(below);
        }
        Some(shapes)
    }

    /// A tensor as it lies below all steps.
    fn move_back(&self, new: &mut Rewrite, id: NodeIndex, shapes: &[Vec<usize>]) -> NodeIndex {
        let name = format!("{}.below", new.graph.node(id).name);
        let mut moved = id;
        for ((_, node), shape) in self.steps.iter().rev().zip(shapes) {
            moved = match &node.op {
                Op::Permute { axes } => new.permute(&name, moved, &inverse(axes)),
                Op::Reshape => new.reshape(&name, moved, shape),
                _ => moved,
            };
        }
        moved
    }
}

/// The shape before a reshape of `from` to `to` that becomes `above` behind it, when `above` is `to` with sizes of 1 for all
/// of those dimensions, or none of them, that came from the same ones of `from`.
fn regroup(from: &[usize], to: &[usize], above: &[usize]) -> Option<Vec<usize>> {
    if from.contains(&0) {
        return None;
    }
    let mut below = Vec::with_capacity(from.len());
    let mut place = 0;
    while below.len() < from.len() || place < to.len() {
        let (first, start) = (below.len(), place);
        let (mut end, mut before, mut behind) = (first, 1, 1);
        loop {
            if before < behind || (before == behind && end == first && end < from.len()) {
                before *= from[end];
                end += 1;
            } else if behind < before || (place == start && place < to.len()) {
                behind *= to[place];
                place += 1;
            } else {
                break;
            }
        }
        let group = &above[start..place];
        if group == &to[start..place] {
            below.extend(&from[first..end]);
        } else if group.iter().all(|&size| size == 1) {
            below.resize(end, 1);
        } else {
            return None;
        }
    }
    Some(below)
}

/// What becomes of an operand.
enum Below {
    /// A node that lies right.
    Is(NodeIndex),
    /// A node that is moved back, with its shapes on the way.
    MovedBack(NodeIndex, Vec<Vec<usize>>),
}

/// Emits the operation on what the operand in `place` moves, and the movement behind it.
fn sink(
    new: &mut Rewrite,
    node: &Node,
    chain: &Chain,
    operands: &[NodeIndex],
    place: usize,
    moved_on: bool,
) -> Option<NodeIndex> {
    let shape = new.shape(chain.base);
    if node.output.shape != new.shape(operands[place]) || tile_elements(&shape) > tile_elements(&node.output.shape) {
        return None;
    }
    let below = |id: NodeIndex| {
        if id == operands[place] {
            return Some(Below::Is(chain.base));
        }
        let same = Chain::below(&new.graph, id).filter(|other| other.equals(chain));
        if let Some(other) = same {
            return Some(Below::Is(other.base));
        }
        let shapes = chain.shapes_below(new.graph.shape(id))?;
        let pays = new.is_constant(id) || chain.is_free() || moved_on && chain.reorders();
        pays.then_some(Below::MovedBack(id, shapes))
    };
    let below: Vec<Below> = operands.iter().map(|&id| below(id)).collect::<Option<_>>()?;
    let below: Vec<NodeIndex> = below
        .into_iter()
        .map(|operand| match operand {
            Below::Is(id) => id,
            Below::MovedBack(id, shapes) => chain.move_back(new, id, &shapes),
        })
        .collect();
    let element = node.output.element;
    let computed = new.emit(&node.name, node.op.clone(), TensorType { shape, element }, &below);
    let onwards = chain.steps.iter().fold(computed, |id, (_, step)| {
        let output = TensorType { shape: step.output.shape.clone(), element };
        new.emit(&step.name, step.op.clone(), output, &[id])
    });
    Some(onwards)
}

/// About how many elements of a tensor a PE has: the last two dimensions are dealt to the columns and rows of the mesh. Its
/// size is not known here; where both forms are dealt well, they do not differ.
fn tile_elements(shape: &[usize]) -> usize {
    const LINE: usize = 16;
    let dealt = shape.len().saturating_sub(2);
    shape[..dealt].iter().product::<usize>() * shape[dealt..].iter().map(|size| size.div_ceil(LINE)).product::<usize>()
}

#[cfg(test)]
mod tests {
    use super::regroup;

    #[test]
    fn a_shape_below_a_reshape_keeps_whole_groups() {
        // [6, 4] to [1, 2, 3, 4, 1]: 6 became (1, 2, 3), 4 stayed, the last 1 came from nothing.
        let below = |above: &[usize]| regroup(&[6, 4], &[1, 2, 3, 4, 1], above);
        assert_eq!(below(&[1, 2, 3, 4, 1]), Some(vec![6, 4]));
        assert_eq!(below(&[1, 1, 1, 4, 1]), Some(vec![1, 4]));
        assert_eq!(below(&[1, 2, 3, 1, 1]), Some(vec![6, 1]));
        // Repeated along a part of what was one dimension.
        assert_eq!(below(&[1, 1, 3, 4, 1]), None);
    }
}
