//! Numbers of columns and rows that are worth a look.
//!
//! A dimension of 512 over 100 PEs has blocks of 6, and so it has over 86: the other 14 PEs only make ways longer. So for each
//! block the fewest PEs are enough, and of these some: those that suit most of the data, about [`APART`] from each other. They
//! follow from the graph and the machine alone. A larger grid has those of a smaller one, and its best is at least as good.

use super::nodes::Nodes;
use std::collections::BTreeMap;
use waferloom_models::graph::Op;

/// The step from one size to the next, at least: a quarter.
const APART: u32 = 4;

/// Elements by dimension: how many elements all tensors have that are dealt along it.
type Dimensions = BTreeMap<u32, u64>;

/// Columns and rows of the machine, in ascending order.
pub(super) struct Sizes {
    pub(super) columns: Vec<u16>,
    pub(super) rows: Vec<u16>,
}

impl Sizes {
    pub(super) fn new(nodes: &Nodes<'_>) -> Self {
        let (mut last, mut others) = (Dimensions::new(), Dimensions::new());
        for &id in &nodes.ids {
            let graph = nodes.graph;
            for value in graph.operands(id).into_iter().chain([id]) {
                add(graph.shape(value), &mut last, &mut others);
            }
            if graph.node(id).op == Op::MatMul {
                // A product whose right operand stays deals the inner dimension to the rows.
                let inner = graph.operands(id).first().and_then(|&left| graph.shape(left).last().copied());
                let elements = graph.shape(id).iter().product::<usize>() as u64;
                *others.entry(inner.unwrap_or(1) as u32).or_default() += elements;
            }
        }
        // Tensors without elements may be anywhere.
        for dimensions in [&mut last, &mut others] {
            dimensions.remove(&0);
        }
        let even = nodes.options.dtype.bytes() == 2;
        let most = nodes.options.machine.fabric;
        Self { columns: sizes(&last, even, most.width), rows: sizes(&others, false, most.height) }
    }
}

/// Counts a tensor's elements for its last dimension and for the one before.
fn add(shape: &[usize], last: &mut Dimensions, others: &mut Dimensions) {
    let elements = shape.iter().product::<usize>() as u64;
    let dims = shape.iter().rev().zip([last, others]);
    dims.for_each(|(&dim, of)| *of.entry(dim as u32).or_default() += elements);
}

/// Numbers of PEs up to `most`, in ascending order; blocks of elements are `even` or any.
fn sizes(dimensions: &Dimensions, even: bool, most: u16) -> Vec<u16> {
    let fewest = |pes: u32, dimension: u32| {
        let block = dimension.div_ceil(pes);
        dimension.div_ceil(if even { block.next_multiple_of(2) } else { block })
    };
    let suits =
        |pes: u32| dimensions.iter().filter(|&(&n, _)| fewest(pes, n) == pes).map(|(_, &elements)| elements).sum();
    let mut by_worth: Vec<(u64, u32)> = (1..=u32::from(most)).map(|pes| (suits(pes), pes)).collect();
    by_worth.sort_by_key(|&(elements, pes)| (std::cmp::Reverse(elements), pes));
    let mut sizes: Vec<u32> = Vec::new();
    for (_, pes) in by_worth.into_iter().filter(|&(elements, pes)| elements > 0 || pes == 1) {
        let near = |&known: &u32| pes.abs_diff(known) * APART < pes.max(known);
        if !sizes.iter().any(near) {
            sizes.push(pes);
        }
    }
    sizes.sort_unstable();
    sizes.into_iter().map(|pes| pes as u16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_block_the_fewest_pes_are_enough() {
        // 24 elements in blocks of 1, 2, 3, 4, 5, 6, 8, 12 and 24 take 24, 12, 8, 6, 5, 4, 3, 2 PEs and 1; 5 is too near to 4.
        let dimensions = Dimensions::from([(24, 1)]);
        assert_eq!(sizes(&dimensions, false, 100), [1, 2, 3, 4, 6, 8, 12, 24]);
        // In blocks of 2, 4, 6, 8, 12 and 24.
        assert_eq!(sizes(&dimensions, true, 100), [1, 2, 3, 4, 6, 12]);
        assert_eq!(sizes(&dimensions, true, 5), [1, 2, 3, 4]);
    }

    #[test]
    fn of_near_ones_that_is_taken_which_suits_most() {
        // 17 suits the few, 16 the many, and they are a sixteenth apart.
        let dimensions = Dimensions::from([(16, 100), (17, 1)]);
        let sizes = sizes(&dimensions, false, 100);
        assert!(sizes.contains(&16) && !sizes.contains(&17), "{sizes:?}");
    }
}
