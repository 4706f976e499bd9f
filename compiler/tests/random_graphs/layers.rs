//! Layers that are alike share their code, and compute what they compute without.

use crate::case::{Block, Case};
use crate::{compare_all, lowered, model, planned};
use waferloom_fabric::Program;

/// Holds a program whose layers share code against the same program without.
pub(crate) fn check(case: &Case) {
    let (graph, inputs) = model::build(case);
    let (prepared, plan) = planned(&graph, case.grid, case.dtype);
    let mut apart = plan.clone();
    apart.stages.iter_mut().for_each(|stage| stage.repeats.clear());
    let (shared, straight) = (lowered(&prepared, &plan), lowered(&prepared, &apart));
    let repeats = &plan.stages[0].repeats;
    // What enters the first layer may lie otherwise than what enters the second one.
    assert!(!repeats.is_empty() || case.layers < 3 || has_single_weights(case), "no layers are found in\n{plan}");
    let bytes = |program: &Program| program.classes[0].code_bytes(&program.machine);
    assert!(repeats.is_empty() || bytes(&shared) < bytes(&straight), "the layers do not share code");
    let (with, without) =
        (compare_all(&shared, &graph, &inputs, case.dtype), compare_all(&straight, &graph, &inputs, case.dtype));
    assert_eq!(with.outputs, without.outputs);
    // A turn starts with products of the distances and ends with a branch; each step may add up an address, a matrix product
    // for each block, of which it has one a PE of a line.
    let line = usize::from(case.grid.0.max(case.grid.1));
    let most: usize = repeats.iter().map(|repeat| 1 + repeat.turns * (3 + repeat.steps * line)).sum();
    let overhead = with.cycles.abs_diff(without.cycles);
    assert!(overhead <= most as u64, "{} cycles, {} without", with.cycles, without.cycles);
    for (operator, (with, without)) in with.operators.iter().zip(&without.operators).enumerate() {
        let (more, less) = (with.busy_cycles, without.busy_cycles);
        assert!(more >= less, "operator {operator}: {more} busy cycles, {less} without");
    }
}

/// Weights of one element are numbers in the code, and differ from layer to layer.
fn has_single_weights(case: &Case) -> bool {
    let single = |block: &Block| block.key_heads * block.head == 1 || block.hidden == 1;
    case.width == 1 || case.blocks.iter().any(single)
}
