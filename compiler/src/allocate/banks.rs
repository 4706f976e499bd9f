//! In which banks of the SRAM the sums of products by SUMMA start. A product reads its sums and its operands in the same cycle; the
//! panels that receive blocks are shifted to where they do not collide with the sums, but a root works on its own tiles,
//! and those lie where they lie.

use super::Owner;
use super::groups::Group;
use crate::plan::{Algorithm, Stage, StepKind, TensorId};
use crate::select;
use std::collections::BTreeMap;
use waferloom_fabric::Dtype;
use waferloom_kernels::matmul::{self, MatMul};

/// For groups of ranges, the best banks of those that hold sums.
pub(super) struct Banks {
    products: BTreeMap<usize, Product>,
}

struct Product {
    shape: MatMul,
    dtype: Dtype,
    /// The groups in which the left and the right operand lie, and their distances from the groups' addresses.
    operands: [(usize, u64); 2],
}

impl Banks {
    pub(super) fn of(stage: &Stage, groups: &[Group]) -> Self {
        let members = groups
            .iter()
            .enumerate()
            .flat_map(|(group, g)| g.members.iter().map(move |&(owner, distance)| (owner, (group, distance))));
        let places: BTreeMap<Owner, (usize, u64)> = members.collect();
        let place = |id: TensorId| places.get(&Owner::Tensor(stage.storage(id).0)).copied();
        let mut products = BTreeMap::new();
        for (index, step) in stage.steps.iter().enumerate() {
            let StepKind::MatMul { choice, left, right, result, .. } = step.kind else { continue };
            if choice.algorithm != Algorithm::Summa {
                continue;
            }
            let dtype = stage.tensors[result].dtype;
            // In f32 the product is summed up in place.
            let sums = if dtype == Dtype::F32 { Owner::Tensor(result) } else { Owner::Scratch(index, 2) };
            if let (Some(&(group, 0)), Some(a), Some(b)) = (places.get(&sums), place(left), place(right)) {
                let layouts = [left, right, result].map(|id| &stage.tensors[id].distribution);
                let shape = select::matmul::summa_shape(layouts);
                products.entry(group).or_insert(Product { shape, dtype, operands: [a, b] });
            }
        }
        Self { products }
    }

    /// The best remainder by [`matmul::BANKS_BYTES`] of a group's address; `None` for groups that hold no sums.
    pub(super) fn best(&self, group: usize, addresses: &[u64]) -> Option<u32> {
        let product = self.products.get(&group)?;
        let operands = product.operands.map(|(group, distance)| (addresses[group] + distance) as u32);
        Some(matmul::best_bank(&product.shape, product.dtype, operands))
    }
}
