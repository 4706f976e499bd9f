//! The reference models, compiled and simulated, against the outputs of `PyTorch`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use waferloom_compiler::{Options, Plan, lower, plan, prepare};
use waferloom_fabric::{Dtype, Extent, HostData, HostTensor, Machine, Program, verify};
use waferloom_models::{Graph, ImportOptions, Tensor, TensorData, import_onnx, read_npz};
use waferloom_simulator::{Claims, Engine, Method, Run, simulate};

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
    compiled(graph, &Options { whole_grid: true, ..Options::new(machine, Extent { width, height }, dtype) })
}

fn compiled(graph: &Graph, options: &Options) -> (Plan, Program) {
    let (plan, program) = waferloom_compiler::compile(graph, options).unwrap_or_else(|e| panic!("{e}"));
    let findings = verify(&program);
    assert!(findings.is_empty(), "{findings}");
    (plan, program)
}

fn run(program: &Program, inputs: &BTreeMap<String, HostTensor>, threads: usize) -> Run {
    let options = waferloom_simulator::Options { threads, ..Default::default() };
    simulate(program, inputs, &options).unwrap_or_else(|e| panic!("{e}"))
}

/// Holds outputs against the expected ones.
fn compare(name: &str, outputs: &BTreeMap<String, HostTensor>, rtol: f32, atol: f32) {
    let expected = read_npz(&folder(name).join("expected.npz")).unwrap();
    assert_eq!(outputs.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (output, expected) in expected {
        let found = &outputs[&output];
        assert_eq!(found.shape, expected.shape, "{name} {output}");
        let HostData::F32(found) = &found.data else { panic!("{name} {output} is not float") };
        for (i, (a, b)) in found.iter().zip(expected.to_f32()).enumerate() {
            assert!((a - b).abs() <= atol + rtol * b.abs(), "{name} {output}[{i}]: {a} is not {b}");
        }
    }
}

fn check(name: &str, machine: &str, grid: (u16, u16), dtype: Dtype) {
    let (graph, inputs) = import(name);
    let (_, program) = compile(&graph, machine, grid, dtype);
    let result = run(&program, &inputs, 0);
    let (rtol, atol) = tolerance(dtype);
    compare(name, &result.outputs, rtol, atol);
    assert_eq!(result.leftover_wavelets, 0, "{name}");
}

/// In 16 bits every tensor between two operators is rounded to the format's b significant bits, an error of at most 2^-b of
/// its size, and some tens of such roundings add up on outputs of size 1: 2e-2 in f16, 4e-2 in cb16, 1.6e-1 in bf16. See
/// `docs/numerics.md`.
fn tolerance(dtype: Dtype) -> (f32, f32) {
    let bits = dtype.significant_bits().unwrap();
    let rounding = 40.0 * 2f32.powi(-(bits as i32));
    if dtype == Dtype::F32 { (1e-4, 1e-5) } else { (rounding, rounding) }
}

const MODELS: [&str; 4] = ["dnabert", "dnabert_dynamo", "vit", "rad_dino"];
/// Models with more kinds of operators: decoders with and without a cache, rotary and linear positions, gates, convolutions,
/// pooling, cross-attention.
const MORE_MODELS: [&str; 8] = [
    "cxr_change",
    "decoder_prefill",
    "decoder_step",
    "dnabert2",
    "enformer",
    "nucleotide_v1",
    "nucleotide_v2",
    "report_writer",
];
/// The whole test machine, a corner of a wafer, and a rectangle that divides no dimension of any model.
const GRIDS: [(&str, (u16, u16)); 3] = [("bench16", (16, 16)), ("wse2", (24, 24)), ("wse3", (11, 7))];

#[test]
fn single_precision_equals_pytorch() {
    for name in MODELS {
        for (machine, grid) in GRIDS {
            check(name, machine, grid, Dtype::F32);
        }
    }
}

#[test]
fn pipelines_equal_pytorch() {
    for name in MODELS.iter().chain(&MORE_MODELS) {
        let (graph, inputs) = import(name);
        let machine = Machine::builtin("wse2").unwrap();
        let grid = Extent { width: 23, height: 9 };
        let options =
            Options { stages: Some(3), items: 2, whole_grid: true, ..Options::new(machine, grid, Dtype::F32) };
        let (plan, program) = compiled(&graph, &options);
        assert_eq!(plan.stages.len(), 3, "{name}");
        let twice = |(name, tensor): (String, HostTensor)| (name, HostTensor::stack(&[&tensor, &tensor]).unwrap());
        let result = run(&program, &inputs.into_iter().map(twice).collect(), 0);
        for item in 0..2 {
            let outputs =
                result.outputs.iter().map(|(name, tensor)| (name.clone(), tensor.unstack().swap_remove(item)));
            compare(name, &outputs.collect(), 1e-4, 1e-5);
        }
        assert_eq!(result.leftover_wavelets, 0, "{name}");
    }
}

#[test]
fn other_16_bit_formats_are_near_pytorch() {
    for name in MODELS.iter().chain(&MORE_MODELS) {
        check(name, "wse2", (16, 16), Dtype::Cb16);
        check(name, "wse2", (16, 16), Dtype::Bf16);
    }
    check("vit", "wse3", (11, 7), Dtype::Cb16);
    check("dnabert", "wse3", (11, 7), Dtype::Bf16);
}

#[test]
fn each_bit_fewer_doubles_the_error() {
    // The root mean square over all outputs; f16 has 11 significant bits, cb16 10, bf16 8. Models with few outputs (vit has
    // 10) are left out: theirs is a matter of luck.
    let error = |name: &str, dtype: Dtype| {
        let (graph, inputs) = import(name);
        let outputs = run(&compile(&graph, "bench16", (16, 16), dtype).1, &inputs, 0).outputs;
        let (mut sum, mut count) = (0f64, 0u32);
        for (output, expected) in read_npz(&folder(name).join("expected.npz")).unwrap() {
            let HostData::F32(found) = &outputs[&output].data else { panic!("{name} {output} is not float") };
            for (a, b) in found.iter().zip(expected.to_f32()) {
                sum += f64::from(a - b).powi(2);
                count += 1;
            }
        }
        (sum / f64::from(count)).sqrt()
    };
    for name in ["dnabert", "dnabert_dynamo", "rad_dino", "nucleotide_v1", "report_writer"] {
        let [f16, cb16, bf16] = [Dtype::F16, Dtype::Cb16, Dtype::Bf16].map(|dtype| error(name, dtype));
        println!("{name}: {f16:.2e} {cb16:.2e} {bf16:.2e}");
        assert!((1.4..2.9).contains(&(cb16 / f16)), "{name}: {cb16:e} in cb16, {f16:e} in f16");
        assert!((2.8..5.7).contains(&(bf16 / cb16)), "{name}: {bf16:e} in bf16, {cb16:e} in cb16");
    }
}

#[test]
fn half_precision_is_near_pytorch() {
    for name in MODELS {
        for (machine, grid) in GRIDS {
            check(name, machine, grid, Dtype::F16);
        }
    }
}

#[test]
fn more_models_equal_pytorch() {
    for name in MORE_MODELS {
        for (machine, grid) in GRIDS {
            check(name, machine, grid, Dtype::F32);
        }
        check(name, "wse2", (16, 16), Dtype::F16);
    }
}

#[test]
fn lines_and_single_pes_compute_the_same_model() {
    // SRAM for a whole model in one PE; nothing else differs from bench16.
    let (graph, inputs) = import("vit");
    let mut machine = Machine::builtin("bench16").unwrap();
    machine.sram_bytes = 1 << 20;
    for (width, height) in [(1, 1), (16, 1), (1, 5)] {
        let options =
            Options { whole_grid: true, ..Options::new(machine.clone(), Extent { width, height }, Dtype::F32) };
        let plan = plan(&graph, &options).unwrap_or_else(|e| panic!("{e}"));
        let program = lower(&graph, &plan).unwrap_or_else(|e| panic!("{e}"));
        compare("vit", &run(&program, &inputs, 0).outputs, 1e-4, 1e-5);
    }
}

#[test]
fn host_threads_change_nothing() {
    let (graph, inputs) = import("dnabert");
    let (_, program) = compile(&graph, "bench16", (16, 16), Dtype::F32);
    assert_eq!(run(&program, &inputs, 1), run(&program, &inputs, 2));
}

#[test]
fn a_plan_is_printed_and_read_back() {
    let (graph, _) = import("vit");
    let (plan, program) = compile(&graph, "bench16", (5, 3), Dtype::F16);
    let read = Plan::from_ron(&plan.to_ron()).unwrap();
    assert_eq!(read, plan);
    assert_eq!(lower(&graph, &read).unwrap(), program);
}

#[test]
fn a_model_that_does_not_fit_says_by_how_much() {
    let (graph, _) = import("dnabert");
    let machine = Machine::builtin("bench16").unwrap();
    let options = Options::new(machine, Extent { width: 2, height: 2 }, Dtype::F32);
    let error = plan(&graph, &options).unwrap_err().to_string();
    assert!(error.contains("does not fit 2x2 PEs") && error.contains("has 49152"), "{error}");
}

#[test]
fn a_grid_larger_than_the_machine_is_refused() {
    let (graph, _) = import("vit");
    let machine = Machine::builtin("bench16").unwrap();
    let options = Options::new(machine, Extent { width: 17, height: 2 }, Dtype::F32);
    let error = plan(&graph, &options).unwrap_err().to_string();
    assert!(error.contains("17x2") && error.contains("16x16"), "{error}");
}

/// Runs of wavelets give the bits that single wavelets give, and nearly their cycles; so does what products claim of themselves.
#[test]
fn the_stream_engine_gives_the_same_outputs() {
    for name in MODELS.iter().chain(&MORE_MODELS) {
        let (graph, inputs) = import(name);
        let (_, program) = compile(&graph, "bench16", (16, 16), Dtype::F32);
        let run = |engine, method| {
            let options = waferloom_simulator::Options { engine, method, claims: Claims::Check, ..Default::default() };
            simulate(&program, &inputs, &options).unwrap_or_else(|e| panic!("{name} {engine:?} {method:?}: {e}"))
        };
        let wavelet = run(Engine::Wavelet, Method::Choose);
        let [stream, events] = [Method::Together, Method::Events].map(|method| run(Engine::Stream, method));
        assert_eq!(run(Engine::Stream, Method::Apart), stream, "{name}: time and numbers apart");
        assert_eq!(wavelet.outputs, stream.outputs, "{name}");
        assert_eq!(wavelet.outputs, events.outputs, "{name} event by event");
        let timed = waferloom_simulator::Options { engine: Engine::Stream, timing_only: true, ..Default::default() };
        let timed = simulate(&program, &inputs, &timed).unwrap_or_else(|e| panic!("{name} without numerics: {e}"));
        let (outputs, claimed) = (stream.outputs.clone(), stream.claimed.clone());
        let products = program.operators.iter().map(|operator| operator.kind == "matmul");
        assert!(products.zip(&claimed).all(|(product, &claimed)| product == claimed), "{name}: {claimed:?}");
        assert_eq!(waferloom_simulator::Run { outputs, claimed, ..timed }, stream, "{name} without numerics");
        for (way, run) in [("stream", &stream), ("event by event", &events)] {
            let ratio = run.cycles as f64 / wavelet.cycles as f64;
            println!("{name}, {way}: {} and {} cycles, ratio {ratio:.4}", wavelet.cycles, run.cycles);
            assert!((0.97..=1.03).contains(&ratio), "{name}, {way}: {} and {} cycles", wavelet.cycles, run.cycles);
        }
    }
}
