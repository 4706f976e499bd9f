//! The rectangle that the planner takes of the grid.

use crate::net::Net;
use crate::pipeline::encoder;
use crate::{compare, host};
use std::collections::BTreeMap;
use waferloom_compiler::{Options, Plan, compile, prepare};
use waferloom_fabric::{Dtype, Extent, Machine};
use waferloom_kernels::relayout::Aim;
use waferloom_models::graph::{BinaryOp, ElementType};
use waferloom_models::{Graph, Tensor, evaluate};
use waferloom_simulator::simulate;

fn options((width, height): (u16, u16)) -> Options {
    Options::new(Machine::builtin("wse2").unwrap(), Extent { width, height }, Dtype::F32)
}

/// The plan, and the cycles of a run whose outputs are right.
fn run(graph: &Graph, inputs: &BTreeMap<String, Tensor>, options: &Options) -> (Plan, u64) {
    let prepared = prepare(graph).unwrap();
    let (plan, program) = compile(&prepared, options).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(program.grid, plan.grid);
    let tensors = inputs.iter().map(|(name, tensor)| (name.clone(), host(tensor))).collect();
    let run = simulate(&program, &tensors, &waferloom_simulator::Options::default()).unwrap_or_else(|e| panic!("{e}"));
    for (name, expected) in evaluate(graph, inputs).unwrap() {
        compare(&name, &run.outputs[&name], &expected, Dtype::F32);
    }
    (plan, run.cycles)
}

#[test]
fn a_larger_grid_is_not_slower() {
    let (graph, inputs) = encoder(2);
    let (mut estimate, mut cycles) = (u64::MAX, u64::MAX);
    for grid in [(3, 2), (4, 4), (7, 9), (16, 12), (24, 24), (60, 50), (750, 994)] {
        let (plan, now) = run(&graph, &inputs, &options(grid));
        assert!(plan.grid.width <= grid.0 && plan.grid.height <= grid.1, "{grid:?}: {plan}");
        // A larger grid has the rectangles of the smaller one: exactly by the estimate, about by what comes out.
        assert!(plan.alternatives[0].latency_cycles <= estimate, "{grid:?}: {plan}");
        assert!(now <= cycles.saturating_add(cycles / 20), "{grid:?}: {now} cycles for {cycles}");
        (estimate, cycles) = (plan.alternatives[0].latency_cycles, cycles.min(now));
    }
}

#[test]
fn the_whole_grid_is_slower_where_the_planner_leaves_some() {
    let (graph, inputs) = encoder(2);
    let (plan, best) = run(&graph, &inputs, &options((40, 40)));
    assert!(plan.grid.pes() < 1600, "12 tokens of 16 elements are few for so many PEs: {plan}");
    assert!(plan.to_string().contains(" PEs of 40x40 of wse2"), "{plan}");
    let whole = Options { whole_grid: true, ..options((40, 40)) };
    let (plan, all) = run(&graph, &inputs, &whole);
    assert_eq!(plan.grid, Extent { width: 40, height: 40 });
    assert!(best < all, "{best} {all}");
}

#[test]
fn where_memory_is_short_relayouts_go_in_parts() {
    // Of 64x64 elements each of 4x4 PEs has 1 KiB, before and after they are turned around; in between a PE keeps 4 KiB and another one receives as
    // many, or 1 KiB each in 4 parts.
    let mut net = Net::new(0);
    let x = net.input("x", ElementType::Float, &[64, 64]);
    let doubled = net.binary(BinaryOp::Add, x, x);
    let turned = net.transpose(doubled);
    net.output(turned);
    let inputs = BTreeMap::from([("x".to_string(), Tensor::from_f32(&[64, 64], net.floats(4096, 1.0)).unwrap())]);
    let (graph, prepared) = (net.graph.clone(), prepare(&net.graph).unwrap());
    let mut options = Options { whole_grid: true, stages: Some(1), ..options((4, 4)) };
    let (plan, _) = run(&graph, &inputs, &options);
    assert_eq!(plan.relayouts, Aim::Cycles);
    // As little memory as it fits with.
    let enough = options.machine.sram_bytes;
    options.machine.sram_bytes = (0..enough)
        .step_by(64)
        .map(|less| enough - less)
        .take_while(|&sram_bytes| {
            let machine = Machine { sram_bytes, ..options.machine.clone() };
            compile(&prepared, &Options { machine, ..options.clone() }).is_ok()
        })
        .last()
        .unwrap();
    let (plan, _) = run(&graph, &inputs, &options);
    assert_eq!(plan.relayouts, Aim::Memory, "{} bytes: {plan}", options.machine.sram_bytes);
    assert!(plan.to_string().contains("relayouts go in parts"), "{plan}");
}
