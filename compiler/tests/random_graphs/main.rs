//! Random small transformers, compiled for random grids, against the interpreter of graphs.

mod attention;
mod case;
mod layers;
mod model;
mod named;
mod net;
mod operators;
mod pipeline;
mod rectangles;

use case::{Case, cases, dtypes, grids, layered};
use operators::{Operators, operators};
use proptest::prelude::*;
use std::collections::BTreeMap;
use waferloom_compiler::{Options, Plan, lower, plan, prepare};
use waferloom_fabric::{Dtype, Extent, HostData, HostTensor, Machine, Program, verify};
use waferloom_models::{Graph, Tensor, TensorData, evaluate};
use waferloom_simulator::{Claims, Engine, Run, simulate};

/// A single PE must hold a whole model.
const SRAM: u32 = 1 << 20;
/// Some tens of roundings to 11 bits, of numbers of about size 1.
const F16_TOLERANCE: (f32, f32) = (3e-2, 5e-2);
const F32_TOLERANCE: (f32, f32) = (1e-4, 1e-5);

/// How a graph is compiled.
#[derive(Clone, Copy, Debug)]
struct Target {
    grid: (u16, u16),
    dtype: Dtype,
    stages: u16,
    items: u32,
}

impl Target {
    /// One stage that runs once.
    fn single(grid: (u16, u16), dtype: Dtype) -> Self {
        Self { grid, dtype, stages: 1, items: 1 }
    }
}

fn compile(graph: &Graph, target: Target) -> Program {
    let (graph, plan) = planned(graph, target);
    lowered(&graph, &plan)
}

/// The prepared graph and its plan.
fn planned(graph: &Graph, target: Target) -> (Graph, Plan) {
    let mut machine = Machine::builtin("bench16").unwrap();
    machine.sram_bytes = SRAM;
    planned_for(graph, target, machine)
}

/// The same for a machine of its own.
fn planned_for(graph: &Graph, target: Target, machine: Machine) -> (Graph, Plan) {
    let Target { grid, dtype, stages, items } = target;
    let graph = prepare(graph).unwrap_or_else(|e| panic!("{e}"));
    let options = Options {
        stages: Some(stages),
        items,
        whole_grid: true,
        ..Options::new(machine, Extent { width: grid.0, height: grid.1 }, dtype)
    };
    let plan = plan(&graph, &options).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(Plan::from_ron(&plan.to_ron()).unwrap(), plan);
    (graph, plan)
}

fn lowered(graph: &Graph, plan: &Plan) -> Program {
    let program = lower(graph, plan).unwrap_or_else(|e| panic!("{e}"));
    let findings = verify(&program);
    assert!(findings.is_empty(), "{findings}");
    program
}

fn host(tensor: &Tensor) -> HostTensor {
    let data = match &tensor.data {
        TensorData::F32(v) => HostData::F32(v.clone()),
        TensorData::I64(v) => HostData::I64(v.clone()),
    };
    HostTensor { shape: tensor.shape.clone(), data }
}

/// The inputs of an item: the given ones, turned by so many elements.
fn turned(inputs: &BTreeMap<String, Tensor>, by: usize) -> BTreeMap<String, Tensor> {
    let turn = |tensor: &Tensor| {
        let mut tensor = tensor.clone();
        let elements: usize = tensor.shape.iter().product();
        match &mut tensor.data {
            TensorData::F32(v) => v.rotate_left(by % elements.max(1)),
            TensorData::I64(v) => v.rotate_left(by % elements.max(1)),
        }
        tensor
    };
    inputs.iter().map(|(name, tensor)| (name.clone(), turn(tensor))).collect()
}

/// Compiles a graph, runs it and holds every output against the interpreter's.
fn check(graph: &Graph, inputs: &BTreeMap<String, Tensor>, target: Target) {
    waferloom_models::verify(graph).unwrap_or_else(|e| panic!("{e}"));
    compare_all(&compile(graph, target), graph, inputs, target);
}

/// Runs a program and holds every output against the interpreter's; what products claim of themselves gives the same bits.
fn compare_all(program: &Program, graph: &Graph, inputs: &BTreeMap<String, Tensor>, target: Target) -> Run {
    let items: Vec<_> = (0..target.items as usize).map(|item| turned(inputs, item)).collect();
    let expected: Vec<_> =
        items.iter().map(|inputs| evaluate(graph, inputs).unwrap_or_else(|e| panic!("{e}"))).collect();
    let inputs = inputs.keys().map(|name| {
        let tensors: Vec<HostTensor> = items.iter().map(|inputs| host(&inputs[name])).collect();
        let stacked = HostTensor::stack(&tensors.iter().collect::<Vec<_>>()).unwrap();
        (name.clone(), if target.items == 1 { tensors[0].clone() } else { stacked })
    });
    let inputs = inputs.collect();
    let run = simulate(program, &inputs, &waferloom_simulator::Options::default()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(run.leftover_wavelets, 0);
    assert_eq!(run.outputs.keys().collect::<Vec<_>>(), expected[0].keys().collect::<Vec<_>>());
    for (name, output) in &run.outputs {
        let found = if target.items == 1 { vec![output.clone()] } else { output.unstack() };
        for (found, expected) in found.iter().zip(&expected) {
            compare(name, found, &expected[name], target.dtype);
        }
    }
    if !program.claims.is_empty() {
        let checked =
            waferloom_simulator::Options { engine: Engine::Stream, claims: Claims::Check, ..Default::default() };
        let checked = simulate(program, &inputs, &checked).unwrap_or_else(|e| panic!("{e}"));
        for (name, output) in &run.outputs {
            assert!(same_bits(&output.data, &checked.outputs[name].data), "{name} differs as claims say");
        }
    }
    run
}

fn same_bits(a: &HostData, b: &HostData) -> bool {
    match (a, b) {
        (HostData::F32(a), HostData::F32(b)) => a.iter().map(|x| x.to_bits()).eq(b.iter().map(|x| x.to_bits())),
        (a, b) => a == b,
    }
}

fn compare(name: &str, found: &HostTensor, expected: &Tensor, dtype: Dtype) {
    assert_eq!(found.shape, expected.shape, "{name}");
    let (rtol, atol) = if dtype == Dtype::F16 { F16_TOLERANCE } else { F32_TOLERANCE };
    match (&found.data, &expected.data) {
        (HostData::I64(a), TensorData::I64(b)) => assert_eq!(a, b, "{name}"),
        (HostData::F32(a), TensorData::F32(b)) => {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                let same =
                    a == b || (a.is_nan() && b.is_nan()) || (b.is_finite() && (a - b).abs() <= atol + rtol * b.abs());
                assert!(same, "{name}[{i}]: {a} is not {b}");
            }
        }
        _ => panic!("{name} has another type"),
    }
}

fn run(case: &Case, stages: u16, items: u32) {
    let (graph, inputs) = model::build(case);
    check(&graph, &inputs, Target { grid: case.grid, dtype: case.dtype, stages, items });
}

fn run_operators(case: &Operators, target: Target) {
    let (graph, inputs) = operators::build(case);
    check(&graph, &inputs, target);
}

/// As many cases as `PROPTEST_CASES` says, by default what takes some seconds.
fn config() -> ProptestConfig {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() { config } else { ProptestConfig { cases: 400, ..config } }
}

/// Stages and items: half of the time one of each.
fn pipelines() -> impl Strategy<Value = (u16, u32)> {
    prop_oneof![Just((1, 1)), (1u16..4, 1u32..4)]
}

proptest! {
    // Larger models, run twice.
    #![proptest_config(ProptestConfig { cases: config().cases / 8, ..config() })]

    #[test]
    fn layers_share_their_code(case in layered(), (stages, items) in pipelines()) {
        layers::check(&case, stages, items);
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn random_models_equal_the_interpreter(case in cases(), (stages, items) in pipelines()) {
        run(&case, stages, items);
    }

    #[test]
    fn random_operators_equal_the_interpreter(
        case in operators(),
        grid in grids(),
        dtype in dtypes(),
        (stages, items) in pipelines(),
    ) {
        run_operators(&case, Target { grid, dtype, stages, items });
    }
}
