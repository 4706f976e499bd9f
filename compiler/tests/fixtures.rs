//! The reference models, compiled and simulated, against PyTorch's outputs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use waferloom_compiler::{Options, Plan, lower, plan, prepare};
use waferloom_fabric::{Dtype, Extent, HostData, HostTensor, Machine, Program};
use waferloom_models::{Graph, ImportOptions, Tensor, TensorData, import_onnx, read_npz};
use waferloom_simulator::{Run, simulate};

fn folder(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/models")).join(name)
}

fn import(name: &str) -> (Graph, BTreeMap<String, HostTensor>) {
    let inputs = read_npz(&folder(name).join("inputs.npz")).unwrap();
    let input_shapes = inputs.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect();
    let options = ImportOptions { input_shapes, dims: BTreeMap::new() };
    let model = import_onnx(&folder(name).join("model.onnx"), &options).unwrap_or_else(|e| panic!("{e}"));
    let host = |t: Tensor| match t.data {
        TensorData::F32(v) => HostTensor { shape: t.shape, data: HostData::F32(v) },
        TensorData::I64(v) => HostTensor { shape: t.shape, data: HostData::I64(v) },
    };
    (prepare(&model.graph).unwrap(), inputs.into_iter().map(|(n, t)| (n, host(t))).collect())
}

fn compile(graph: &Graph, machine: &str, (width, height): (u16, u16), dtype: Dtype) -> (Plan, Program) {
    let machine = Machine::builtin(machine).unwrap();
    let options = Options { machine, grid: Extent { width, height }, dtype };
    let plan = plan(graph, &options).unwrap_or_else(|e| panic!("{e}"));
    let program = lower(graph, &plan).unwrap_or_else(|e| panic!("{e}"));
    (plan, program)
}

fn run(program: &Program, inputs: &BTreeMap<String, HostTensor>, threads: usize) -> Run {
    let options = waferloom_simulator::Options { threads, ..Default::default() };
    simulate(program, inputs, &options).unwrap_or_else(|e| panic!("{e}"))
}

/// Holds a run against the expected outputs; gives the largest absolute error.
fn compare(name: &str, run: &Run, rtol: f32, atol: f32) -> f32 {
    let expected = read_npz(&folder(name).join("expected.npz")).unwrap();
    assert_eq!(run.outputs.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    let mut worst = 0f32;
    for (output, expected) in expected {
        let found = &run.outputs[&output];
        assert_eq!(found.shape, expected.shape, "{name} {output}");
        let HostData::F32(found) = &found.data else { panic!("{name} {output} is not float") };
        for (i, (a, b)) in found.iter().zip(expected.to_f32()).enumerate() {
            worst = worst.max((a - b).abs());
            assert!((a - b).abs() <= atol + rtol * b.abs(), "{name} {output}[{i}]: {a} is not {b}");
        }
    }
    worst
}

fn check(name: &str, machine: &str, grid: (u16, u16), dtype: Dtype, rtol: f32, atol: f32) {
    let (graph, inputs) = import(name);
    let (plan, program) = compile(&graph, machine, grid, dtype);
    let result = run(&program, &inputs, 0);
    let worst = compare(name, &result, rtol, atol);
    assert_eq!(result.leftover_wavelets, 0, "{name}");
    println!(
        "{name} {dtype:?} {grid:?}: {} steps, {} cycles, {} bytes of data and {} of code, error {worst:e}",
        plan.steps.len(),
        result.cycles,
        program.classes[0].data_bytes(),
        program.classes[0].code_bytes(&program.machine)
    );
}

#[test]
fn dnabert_in_single_precision() {
    check("dnabert", "bench16", (16, 16), Dtype::F32, 1e-4, 1e-5);
}
