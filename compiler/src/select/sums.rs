//! Biases and residuals that are added to a product: its sums start from them instead of from 0.
//!
//! That saves the pass over the tile that clears it, one for each sum, and the memory of what lies between.

use petgraph::graph::NodeIndex;
use std::collections::BTreeSet;
use waferloom_models::Graph;
use waferloom_models::graph::{BinaryOp, ElementType, Op};

/// A product and the sums that follow it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sums {
    /// The product.
    pub(super) product: NodeIndex,
    /// What is added to it, in order.
    pub(super) addends: Vec<NodeIndex>,
    /// The sums; none is used for anything but the next one, up to [`Self::last`].
    sequence: Vec<NodeIndex>,
    /// The last sum: its value is what the product's step makes.
    pub(super) last: NodeIndex,
}

impl Sums {
    /// Whether the node is computed as a part of the last sum.
    pub(super) fn absorbs(&self, id: NodeIndex) -> bool {
        id != self.last && (id == self.product || self.sequence.contains(&id))
    }
}

/// The products of a part of the graph that are only used in sums of their own shape, which are in the part as well. A sum of
/// two products belongs to the first of them.
pub(super) fn find(graph: &Graph, part: &[NodeIndex]) -> Vec<Sums> {
    let here: BTreeSet<NodeIndex> = part.iter().copied().collect();
    let mut taken: BTreeSet<NodeIndex> = BTreeSet::new();
    let mut found = Vec::new();
    for &product in part.iter().filter(|&&id| graph.node(id).op == Op::MatMul) {
        let (mut last, mut addends, mut sequence) = (product, Vec::new(), Vec::new());
        while let Some((sum, addend)) = next(graph, last).filter(|(sum, _)| here.contains(sum) && taken.insert(*sum)) {
            last = sum;
            addends.push(addend);
            sequence.push(sum);
        }
        if last != product {
            found.push(Sums { product, addends, sequence, last });
        }
    }
    found
}

/// Sums behind a product that [`addend`] follows: more than models have.
const MOST_SUMS: u32 = 8;

/// What a sum adds to a product, when the product's step computes it as well.
pub(crate) fn addend(graph: &Graph, sum: NodeIndex) -> Option<NodeIndex> {
    addend_within(graph, sum, MOST_SUMS)
}

fn addend_within(graph: &Graph, sum: NodeIndex, sums: u32) -> Option<NodeIndex> {
    if graph.node(sum).op != Op::Binary(BinaryOp::Add) || sums == 0 {
        return None;
    }
    let added_to = |id: NodeIndex| next(graph, id).filter(|&(user, _)| user == sum).map(|(_, addend)| addend);
    let follows = |id: NodeIndex| graph.node(id).op == Op::MatMul || addend_within(graph, id, sums - 1).is_some();
    graph.operands(sum).into_iter().find_map(|id| added_to(id).filter(|_| follows(id)))
}

/// The sum that alone uses a value, and what is added to it there.
fn next(graph: &Graph, id: NodeIndex) -> Option<(NodeIndex, NodeIndex)> {
    let users = graph.users(id);
    let &[sum] = users.as_slice() else { return None };
    let output = &graph.node(id).output;
    let fits = graph.node(sum).op == Op::Binary(BinaryOp::Add)
        && graph.node(sum).output == *output
        && output.element == ElementType::Float
        && graph.outputs.iter().all(|(_, output)| *output != id);
    let operands = graph.operands(sum);
    match operands.as_slice() {
        &[a, b] if fits && a != b => Some((sum, if a == id { b } else { a })),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waferloom_models::text::parse;

    fn sums(graph: &Graph) -> Vec<Sums> {
        find(graph, &crate::cut::computed(graph))
    }

    #[test]
    fn bias_and_residual_are_what_a_product_starts_from() {
        let graph = parse(
            "graph \"g\"
            %0 = input : f[2, 2] \"x\"
            %1 = constant {1.0, 2.0, 3.0, 4.0} : f[2, 2] \"w\"
            %2 = constant {5.0, 6.0} : f[1, 2] \"b\"
            %3 = matmul %0, %1 : f[2, 2] \"p\"
            %4 = add %3, %2 : f[2, 2] \"biased\"
            %5 = add %0, %4 : f[2, 2] \"residual\"
            %6 = relu %5 : f[2, 2] \"y\"
            inputs %0
            output %6 \"y\"\n",
        )
        .unwrap();
        let [n0, n2, n3, n4, n5] = [0, 2, 3, 4, 5].map(NodeIndex::new);
        let found = sums(&graph);
        assert_eq!(found, [Sums { product: n3, addends: vec![n2, n0], sequence: vec![n4, n5], last: n5 }]);
        assert_eq!([n3, n4, n5].map(|id| addend(&graph, id)), [None, Some(n2), Some(n0)]);
        assert!(found[0].absorbs(n3) && found[0].absorbs(n4) && !found[0].absorbs(n5));
    }

    #[test]
    fn a_sum_of_two_products_belongs_to_the_first() {
        let graph = parse(
            "graph \"g\"
            %0 = input : f[2, 2] \"x\"
            %1 = matmul %0, %0 : f[2, 2] \"p\"
            %2 = exp %0 : f[2, 2] \"e\"
            %3 = matmul %2, %0 : f[2, 2] \"q\"
            %4 = add %1, %3 : f[2, 2] \"sum\"
            %5 = add %4, %4 : f[2, 2] \"twice\"
            inputs %0
            output %5 \"y\"\n",
        )
        .unwrap();
        let [n1, n3, n4] = [1, 3, 4].map(NodeIndex::new);
        // What is added to itself is used twice.
        assert_eq!(sums(&graph), [Sums { product: n1, addends: vec![n3], sequence: vec![n4], last: n4 }]);
    }
}
