//! In which banks of the SRAM a product's sums should start.

use super::Owner;
use super::groups::Group;
use crate::plan::{Stage, StepKind, TensorId};
use crate::select;
use std::collections::BTreeMap;
use waferloom_fabric::Dtype;
use waferloom_kernels::matmul::{self, MatMul};

/// A group's place and a member's distance in it.
type Place = (usize, u64);

/// The sums of a product: its sizes, where its operands lie, and their type.
struct Sums {
    shape: MatMul,
    operands: [Place; 2],
    dtype: Dtype,
}

/// For the groups that hold a product's sums: their best place in the banks, by the addresses of the groups before them.
pub(super) fn of(stage: &Stage, groups: &[Group]) -> impl Fn(usize, &[Option<u64>]) -> Option<u32> + use<> {
    let mut places: BTreeMap<TensorId, Place> = BTreeMap::new();
    for (index, group) in groups.iter().enumerate() {
        for &(owner, distance) in &group.members {
            if let Owner::Tensor(id) = owner {
                places.insert(id, (index, distance));
            }
        }
    }
    let place = |tensor: TensorId| places.get(&stage.storage(tensor).0).copied();
    let makers: BTreeMap<TensorId, usize> =
        stage.steps.iter().enumerate().filter_map(|(index, step)| Some((step.kind.result()?, index))).collect();
    let sums = |owner: Owner| {
        let step = match owner {
            Owner::Scratch(step, 2) => step,
            Owner::Tensor(id) => *makers.get(&id)?,
            _ => return None,
        };
        let StepKind::MatMul { left, right, result, .. } = stage.steps[step].kind else { return None };
        let dtype = stage.tensors[result].dtype;
        // In f32 the result itself holds the sums.
        let holds_sums = matches!(owner, Owner::Tensor(_)) == (dtype == Dtype::F32);
        let shape = select::matmul::shape(stage, left, right, result);
        holds_sums.then_some(Sums { shape, operands: [place(left)?, place(right)?], dtype })
    };
    let first = |group: &Group| group.members.iter().find_map(|&(owner, _)| sums(owner));
    let products: Vec<Option<Sums>> = groups.iter().map(first).collect();
    move |index, addresses| {
        let Sums { shape, operands, dtype } = products[index].as_ref()?;
        let [left, right] = operands.map(|(group, distance)| Some((addresses[group]? + distance) as u32));
        Some(matmul::best_bank(shape, *dtype, [left?, right?]))
    }
}
