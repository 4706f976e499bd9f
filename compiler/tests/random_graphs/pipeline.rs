//! Stages that work side by side, against all operators on the whole grid.

use crate::case::{Block, Case, End, Front, Mask, Positions, Sight};
use crate::{host, model, turned};
use std::collections::BTreeMap;
use waferloom_compiler::{Objective, Options, Overrides, Plan, StageOverride, compile, prepare};
use waferloom_fabric::{Dtype, Extent, HostTensor, Machine, Program};
use waferloom_models::graph::UnaryOp;
use waferloom_models::{Graph, Tensor, evaluate};
use waferloom_simulator::{Facts, Report, Totals, simulate};

/// An encoder in the manner of Nucleotide Transformer v2: norms first, rotary positions, gated feed-forwards.
pub(crate) fn encoder(layers: usize) -> (Graph, BTreeMap<String, Tensor>) {
    let block = Block {
        sight: Sight::Tokens,
        norm_first: true,
        rms: false,
        key_heads: 2,
        group: 1,
        head: 8,
        hidden: 32,
        gated: true,
        activation: Some(UnaryOp::Silu),
    };
    model::build(&Case {
        seed: 7,
        grid: (1, 1),
        dtype: Dtype::F32,
        batch: 1,
        tokens: 12,
        width: 16,
        front: Front::Words(40),
        positions: Positions::Rotary,
        mask: Mask::Added,
        blocks: vec![block],
        layers,
        ends: vec![End::States],
    })
}

fn options(stages: Option<u16>, items: u32) -> Options {
    let machine = Machine::builtin("wse2").unwrap();
    Options {
        stages,
        items,
        whole_grid: true,
        objective: Objective::Throughput,
        ..Options::new(machine, Extent { width: 24, height: 4 }, Dtype::F32)
    }
}

/// Runs a program on items that differ, and holds each against the interpreter.
fn report(graph: &Graph, inputs: &BTreeMap<String, Tensor>, program: &Program) -> Report {
    let items: Vec<_> = (0..program.items as usize).map(|item| turned(inputs, item)).collect();
    let stack = |name: &String| {
        let tensors: Vec<HostTensor> = items.iter().map(|item| host(&item[name])).collect();
        (name.clone(), HostTensor::stack(&tensors.iter().collect::<Vec<_>>()).unwrap())
    };
    let stacked = inputs.keys().map(stack).collect();
    let run = simulate(program, &stacked, &waferloom_simulator::Options::default()).unwrap_or_else(|e| panic!("{e}"));
    for (item, inputs) in items.iter().enumerate() {
        for (name, expected) in evaluate(graph, inputs).unwrap() {
            crate::compare(&name, &run.outputs[&name].unstack()[item], &expected, Dtype::F32);
        }
    }
    Report::new(program, &Totals::from(&run), Facts::default())
}

#[test]
fn twelve_layers_flow_faster_through_stages() {
    let (graph, inputs) = encoder(12);
    let prepared = prepare(&graph).unwrap();
    let run = |stages| -> (Plan, Report) {
        let (plan, program) = compile(&prepared, &options(stages, 5)).unwrap_or_else(|e| panic!("{e}"));
        let report = report(&graph, &inputs, &program);
        (plan, report)
    };
    let (one_plan, one) = run(Some(1));
    let (plan, several) = run(None);
    assert_eq!(one_plan.stages.len(), 1);
    assert!(plan.stages.len() > 1, "{plan}");
    let flow = |report: &Report| report.pipeline.clone().unwrap();
    assert!(flow(&several).interval_cycles < flow(&one).interval_cycles, "{:?}\n{:?}", flow(&several), flow(&one));
    assert!(flow(&several).fill_cycles > flow(&one).fill_cycles, "an item passes through all stages");
    // Why: on fewer columns there is more work to each start of an instruction, and fewer waits for others.
    let busy = |report: &Report| {
        let stages = flow(report).stages;
        stages.iter().map(|stage| stage.steady_busy).sum::<f64>() / stages.len() as f64
    };
    assert!(busy(&several) > busy(&one), "{} {}", busy(&several), busy(&one));
    // The estimate that decided is near what came out.
    let estimate = plan.alternatives[0].interval_cycles as f64;
    let ratio = estimate / flow(&several).interval_cycles;
    assert!((0.8..1.25).contains(&ratio), "estimate {estimate}, {:?}", flow(&several));
}

#[test]
fn a_plan_file_chooses_the_stages() {
    let (graph, inputs) = encoder(2);
    let prepared = prepare(&graph).unwrap();
    let (plan, _) = compile(&prepared, &options(Some(2), 2)).unwrap();
    let mut wanted = plan.choices();
    assert_eq!(wanted.stages.len(), 2);
    wanted.stages[0].columns -= 1;
    wanted.stages[1].columns += 1;
    let with = |overrides| Options { overrides, ..options(None, 2) };
    let (plan, program) = compile(&prepared, &with(wanted.clone())).unwrap();
    assert_eq!(plan.choices(), wanted);
    report(&graph, &inputs, &program);
    let too_high = Overrides { rows: Some(5), ..wanted.clone() };
    let error = compile(&prepared, &with(too_high)).expect_err("the grid has 4 rows").to_string();
    assert!(error.contains("its stages have 5 rows, the grid 4"), "{error}");
    let lower = Overrides { rows: Some(3), ..wanted.clone() };
    let (plan, program) = compile(&prepared, &with(lower)).unwrap();
    assert_eq!((plan.grid, plan.offered), (Extent { width: 24, height: 3 }, Extent { width: 24, height: 4 }));
    report(&graph, &inputs, &program);
    let error = |change: &dyn Fn(&mut Vec<StageOverride>)| {
        let mut wanted = wanted.clone();
        change(&mut wanted.stages);
        compile(&prepared, &with(wanted)).expect_err("it cannot be").to_string()
    };
    assert!(error(&|stages| stages[0].columns += 1).contains("its stages have 25 columns, the grid 24"));
    assert!(error(&|stages| stages[0].last = "nobody".into()).contains("stage 0 ends with \"nobody\""));
    assert!(error(&|stages| stages.reverse()).contains("which no step behind the stage before computes"));
    let early = |stages: &mut Vec<StageOverride>| {
        let columns = stages.pop().map_or(0, |stage| stage.columns);
        stages[0].columns += columns;
    };
    assert!(error(&early).contains("nodes are left behind the last stage"));
}

#[test]
fn too_few_colours_are_counted() {
    let (graph, _) = encoder(1);
    let prepared = prepare(&graph).unwrap();
    let with = |colors| {
        let mut options = options(Some(2), 2);
        options.machine.colors = colors;
        compile(&prepared, &options)
    };
    let error = with(1).expect_err("one stream meets another").to_string();
    let needed = error.split("need ").nth(1).and_then(|rest| rest.split(';').next()).unwrap();
    // Exactly as many are enough.
    let needed: u8 = needed.parse().unwrap_or_else(|e| panic!("{e}: {error}"));
    assert!(with(needed - 1).is_err());
    assert!(with(needed).is_ok());
}
