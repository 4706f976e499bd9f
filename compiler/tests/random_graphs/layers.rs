//! Layers that are alike share their code, and compute what they compute without.

use crate::case::Case;
use crate::{compare_all, lowered, model, planned};
use waferloom_compiler::Plan;

/// Holds a program whose layers share code against the same program without.
pub(crate) fn check(case: &Case) {
    let (graph, inputs) = model::build(case);
    let (prepared, plan) = planned(&graph, case.grid, case.dtype);
    let mut apart = plan.clone();
    apart.stages.iter_mut().for_each(|stage| stage.repeats.clear());
    let [shared, straight] = [&plan, &apart].map(|plan| lowered(&prepared, plan));
    let machine = &shared.machine;
    let [shared_bytes, straight_bytes] = [&shared, &straight].map(|program| program.classes[0].code_bytes(machine));
    let turns: usize = plan.stages[0].repeats.iter().map(|r| r.turns).sum();
    let a = compare_all(&shared, &graph, &inputs, case.dtype);
    let b = compare_all(&straight, &graph, &inputs, case.dtype);
    println!(
        "layers {}x{} steps {} repeats {:?} code {straight_bytes} -> {shared_bytes} cycles {} -> {} ({} turns)",
        case.blocks.len(), case.layers, plan.stages[0].steps.len(),
        plan.stages[0].repeats, b.cycles, a.cycles, turns
    );
    assert_eq!(a.outputs, b.outputs);
    let _ = |p: Plan| p;
}
