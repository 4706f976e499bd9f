//! Random small transformers, compiled for random grids, against the interpreter of graphs.

mod case;
mod layers;
mod model;
mod named;
mod net;
mod operators;

use case::{Case, cases, dtypes, grids, layered};
use operators::{Operators, operators};
use proptest::prelude::*;
use std::collections::BTreeMap;
use waferloom_compiler::{Options, Plan, lower, plan, prepare};
use waferloom_fabric::{Dtype, Extent, HostData, HostTensor, Machine, Program, verify};
use waferloom_models::{Graph, Tensor, TensorData, evaluate};
use waferloom_simulator::{Run, simulate};

/// A single PE must hold a whole model.
const SRAM: u32 = 1 << 20;
/// Some tens of roundings to 11 bits, of numbers of about size 1.
const F16_TOLERANCE: (f32, f32) = (3e-2, 5e-2);
const F32_TOLERANCE: (f32, f32) = (1e-4, 1e-5);

fn compile(graph: &Graph, grid: (u16, u16), dtype: Dtype) -> Program {
    let (graph, plan) = planned(graph, grid, dtype);
    lowered(&graph, &plan)
}

/// The prepared graph and its plan.
fn planned(graph: &Graph, grid: (u16, u16), dtype: Dtype) -> (Graph, Plan) {
    let mut machine = Machine::builtin("bench16").unwrap();
    machine.sram_bytes = SRAM;
    let graph = prepare(graph).unwrap_or_else(|e| panic!("{e}"));
    let options = Options { machine, grid: Extent { width: grid.0, height: grid.1 }, dtype };
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

/// Compiles a graph, runs it and holds every output against the interpreter's.
fn check(graph: &Graph, inputs: &BTreeMap<String, Tensor>, grid: (u16, u16), dtype: Dtype) {
    waferloom_models::verify(graph).unwrap_or_else(|e| panic!("{e}"));
    compare_all(&compile(graph, grid, dtype), graph, inputs, dtype);
}

/// Runs a program and holds every output against the interpreter's.
fn compare_all(program: &Program, graph: &Graph, inputs: &BTreeMap<String, Tensor>, dtype: Dtype) -> Run {
    let expected = evaluate(graph, inputs).unwrap_or_else(|e| panic!("{e}"));
    let inputs = inputs.iter().map(|(name, tensor)| (name.clone(), host(tensor))).collect();
    let run = simulate(program, &inputs, &waferloom_simulator::Options::default()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(run.leftover_wavelets, 0);
    assert_eq!(run.outputs.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, expected) in &expected {
        compare(name, &run.outputs[name], expected, dtype);
    }
    run
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

fn run(case: &Case) {
    let (graph, inputs) = model::build(case);
    check(&graph, &inputs, case.grid, case.dtype);
}

fn run_operators(case: &Operators, grid: (u16, u16), dtype: Dtype) {
    let (graph, inputs) = operators::build(case);
    check(&graph, &inputs, grid, dtype);
}

/// As many cases as `PROPTEST_CASES` says, by default what takes some seconds.
fn config() -> ProptestConfig {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() { config } else { ProptestConfig { cases: 400, ..config } }
}

proptest! {
    // Larger models, run twice.
    #![proptest_config(ProptestConfig { cases: config().cases / 8, ..config() })]

    #[test]
    fn layers_share_their_code(case in layered()) {
        layers::check(&case);
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn random_models_equal_the_interpreter(case in cases()) {
        run(&case);
    }

    #[test]
    fn random_operators_equal_the_interpreter(case in operators(), grid in grids(), dtype in dtypes()) {
        run_operators(&case, grid, dtype);
    }
}
