//! Layers that are alike share their code, and compute what they compute without.

use crate::case::{Block, Case, End, Front, Mask, Positions, Sight};
use crate::{Target, compare_all, lowered, model, planned, planned_for};
use waferloom_compiler::plan::Repeat;
use waferloom_compiler::{Plan, lower};
use waferloom_fabric::{Dtype, Machine, Program};
use waferloom_models::graph::UnaryOp;

/// Holds a program whose layers share code against the same program without.
pub(crate) fn check(case: &Case, stages: u16, items: u32) {
    let (graph, inputs) = model::build(case);
    let target = Target { grid: case.grid, dtype: case.dtype, stages, items };
    let (prepared, plan) = planned(&graph, target);
    let mut apart = plan.clone();
    apart.stages.iter_mut().for_each(|stage| stage.repeats.clear());
    let mut plan = plan;
    if case.seed.is_multiple_of(4) {
        // Turns may begin anywhere.
        for repeat in plan.stages.iter_mut().flat_map(|stage| &mut stage.repeats).filter(|repeat| repeat.turns > 2) {
            *repeat = Repeat { first: repeat.first + repeat.steps / 3, turns: repeat.turns - 1, ..*repeat };
        }
    }
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

/// An encoder as Nucleotide Transformer v2's: norms first, rotary positions, a gated feed-forward network.
fn encoder(layers: usize) -> Case {
    let block = Block {
        sight: Sight::Tokens,
        norm_first: true,
        rms: false,
        key_heads: 4,
        group: 1,
        head: 8,
        hidden: 64,
        gated: true,
        activation: Some(UnaryOp::Silu),
    };
    Case {
        seed: 7,
        grid: (8, 6),
        dtype: Dtype::F32,
        batch: 1,
        tokens: 24,
        width: 32,
        front: Front::Words(64),
        positions: Positions::Rotary,
        mask: Mask::Added,
        blocks: vec![block],
        layers,
        ends: vec![End::States],
    }
}

/// On a machine with the SRAM of a real one, which the code of so many layers would not fit.
#[test]
fn twelve_layers_take_the_code_of_one() {
    let target = Target::single(encoder(1).grid, Dtype::F32);
    let machine = Machine::builtin("bench16").unwrap();
    let compiled = |layers: usize| {
        let (graph, inputs) = model::build(&encoder(layers));
        let (prepared, plan) = planned_for(&graph, target, machine.clone());
        assert_eq!(plan.stages[0].repeats.iter().map(|repeat| repeat.turns).collect::<Vec<_>>(), [layers]);
        (graph, inputs, lowered(&prepared, &plan), prepared, plan)
    };
    let bytes = |program: &Program| program.classes[0].code_bytes(&machine);
    let (graph, inputs, program, prepared, mut plan) = compiled(12);
    assert_eq!(bytes(&program), bytes(&compiled(2).2));
    let run = compare_all(&program, &graph, &inputs, target);
    // Each layer's operators have their own time, about the same.
    let repeat = plan.stages[0].repeats[0];
    let turns = run.operators[repeat.range()].chunks(repeat.steps);
    let cycles: Vec<u64> = turns.map(|turn| turn.iter().map(|operator| operator.cycles).sum()).collect();
    assert!(cycles.iter().all(|&n| n * 10 > cycles[0] * 9 && n * 9 < cycles[0] * 10), "{cycles:?}");
    plan.stages[0].repeats.clear();
    let error = lower(&prepared, &plan).unwrap_err().to_string();
    assert!(error.contains("does not fit"), "{error}");
}

#[test]
fn repeats_that_cannot_be_are_refused() {
    let (graph, _) = model::build(&encoder(2));
    let (prepared, mut plan) = planned(&graph, Target::single((2, 2), Dtype::F32));
    let steps = plan.stages[0].steps.len();
    let cases = [
        (vec![(3, 0, 2)], "a repeat of 0 steps"),
        (vec![(3, 4, 1)], "and 1 turns"),
        (vec![(3, steps, 2)], "are left"),
        (vec![(3, 4, 2), (10, 4, 2)], "the steps 10 to 18, but those from 11"),
        (vec![(3, usize::MAX, 2)], "are left"),
    ];
    for (repeats, expected) in cases {
        let repeats = repeats.into_iter().map(|(first, steps, turns)| Repeat { first, steps, turns });
        plan.stages[0].repeats = repeats.collect();
        let error = Plan::from_ron(&plan.to_ron()).unwrap_err();
        assert!(error.starts_with("stage 0: ") && error.contains(expected), "{error}");
        let lowered = lower(&prepared, &plan);
        assert!(lowered.is_err() || expected.contains("turns"), "{expected}");
    }
    // Turns that differ have code of their own.
    let straight = |plan: &mut Plan, repeats: Vec<Repeat>| {
        plan.stages[0].repeats = repeats;
        lowered(&prepared, plan)
    };
    let apart = straight(&mut plan, Vec::new());
    assert_eq!(straight(&mut plan, vec![Repeat { first: 2, steps: 3, turns: 2 }]), apart);
}
