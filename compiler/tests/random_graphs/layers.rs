//! Layers that are alike share their code, and compute what they compute without.

use crate::case::{Block, Case, Sight};
use crate::{Target, compare_all, lowered, model, planned};
use waferloom_fabric::Program;

/// Holds a program whose layers share code against the same program without.
pub(crate) fn check(case: &Case, stages: u16, items: u32) {
    let (graph, inputs) = model::build(case);
    let target = Target { grid: case.grid, dtype: case.dtype, stages, items };
    let (prepared, plan) = planned(&graph, target);
    let mut apart = plan.clone();
    apart.stages.iter_mut().for_each(|stage| stage.repeats.clear());
    let (shared, straight) = (lowered(&prepared, &plan), lowered(&prepared, &apart));
    for (index, stage) in plan.stages.iter().enumerate() {
        let bytes = |program: &Program| program.classes[index].code_bytes(&program.machine);
        let fewer = bytes(&shared) < bytes(&straight);
        assert!(stage.repeats.is_empty() || fewer, "the layers of stage {index} do not share code");
    }
    // What enters the first layer may lie otherwise than what enters the second one.
    let repeats: Vec<_> = plan.stages.iter().flat_map(|stage| &stage.repeats).collect();
    let must = plan.stages.len() == 1 && case.layers > 2 && !has_single_weights(case) && !has_further_inputs(case);
    assert!(!must || !repeats.is_empty(), "no layers are found in\n{plan}");
    let (with, without) =
        (compare_all(&shared, &graph, &inputs, target), compare_all(&straight, &graph, &inputs, target));
    assert_eq!(with.outputs, without.outputs);
    // A turn starts with products of the distances and ends with a branch; each step may add up an address, a matrix product
    // for each block, of which it has one a PE of a line.
    let line = usize::from(case.grid.0.max(case.grid.1));
    let most: usize = repeats.iter().map(|repeat| 1 + repeat.turns * (3 + repeat.steps * line)).sum();
    let overhead = with.cycles.abs_diff(without.cycles);
    assert!(overhead <= most as u64 * u64::from(items), "{} cycles, {} without", with.cycles, without.cycles);
    for (operator, (with, without)) in with.operators.iter().zip(&without.operators).enumerate() {
        let (more, less) = (with.busy_cycles, without.busy_cycles);
        assert!(more >= less, "operator {operator}: {more} busy cycles, {less} without");
    }
}

/// Layers with a cache have inputs and outputs of their own; what all layers look at is laid out by the first one.
fn has_further_inputs(case: &Case) -> bool {
    case.blocks.iter().any(|block| matches!(block.sight, Sight::Past(_) | Sight::Memory(_)))
}

/// Weights of one element are numbers in the code, and differ from layer to layer.
fn has_single_weights(case: &Case) -> bool {
    let single = |block: &Block| block.key_heads * block.head == 1 || block.hidden == 1;
    case.width == 1 || case.blocks.iter().any(single)
}
