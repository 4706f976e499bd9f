//! The reference models: import, both executors against `PyTorch`'s outputs, the text form.

use std::collections::BTreeMap;
use std::path::PathBuf;

use waferloom_models::graph::{BinaryOp, Op, UnaryOp};
use waferloom_models::passes::{default_passes, run};
use waferloom_models::{
    Graph, ImportOptions, Model, Tensor, TensorData, evaluate, import_onnx, import_onnx_with, read_npz, text, verify,
};

const MODELS: [&str; 12] = [
    "cxr_change",
    "decoder_prefill",
    "decoder_step",
    "dnabert",
    "dnabert2",
    "dnabert_dynamo",
    "enformer",
    "nucleotide_v1",
    "nucleotide_v2",
    "rad_dino",
    "report_writer",
    "vit",
];

fn folder(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/models")).join(name)
}

fn options(inputs: &BTreeMap<String, Tensor>) -> ImportOptions {
    let input_shapes = inputs.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect();
    ImportOptions { input_shapes, dims: BTreeMap::new() }
}

fn load(name: &str) -> (Model, BTreeMap<String, Tensor>, BTreeMap<String, Tensor>) {
    let inputs = read_npz(&folder(name).join("inputs.npz")).unwrap();
    let expected = read_npz(&folder(name).join("expected.npz")).unwrap();
    let options = options(&inputs);
    let model = import_onnx(&folder(name).join("model.onnx"), &options).unwrap_or_else(|e| panic!("{e}"));
    (model, inputs, expected)
}

fn assert_close(what: &str, found: &BTreeMap<String, Tensor>, expected: &BTreeMap<String, Tensor>) {
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{what}");
    for (name, expected) in expected {
        let found = &found[name];
        assert_eq!(found.shape, expected.shape, "{what} {name}");
        assert!(matches!(found.data, TensorData::F32(_)), "{what} {name}");
        for (i, (a, b)) in found.to_f32().iter().zip(expected.to_f32()).enumerate() {
            assert!((a - b).abs() <= 1e-5 + 1e-4 * b.abs(), "{what} {name}[{i}]: {a} is not {b}");
        }
    }
}

#[test]
fn the_graph_computes_what_pytorch_computes() {
    for name in MODELS {
        let (model, inputs, expected) = load(name);
        verify(&model.graph).unwrap();
        assert_close(name, &evaluate(&model.graph, &inputs).unwrap(), &expected);
    }
}

#[test]
fn the_reference_executor_computes_what_pytorch_computes() {
    for name in MODELS {
        let (model, inputs, expected) = load(name);
        assert_close(name, &model.reference.run(&inputs).unwrap(), &expected);
    }
}

/// The graph as the exporter wrote it.
fn load_raw(name: &str) -> (Graph, BTreeMap<String, Tensor>) {
    let inputs = read_npz(&folder(name).join("inputs.npz")).unwrap();
    let path = folder(name).join("model.onnx");
    (import_onnx_with(&path, &options(&inputs), &[]).unwrap().graph, inputs)
}

#[test]
fn each_pass_alone_keeps_what_the_graph_computes() {
    for name in MODELS {
        let (raw, inputs) = load_raw(name);
        let expected = evaluate(&raw, &inputs).unwrap();
        for pass in default_passes() {
            let graph = run(&raw, &[pass]).unwrap();
            assert_close(&format!("{name} {}", pass.name), &evaluate(&graph, &inputs).unwrap(), &expected);
        }
    }
}

#[test]
fn more_passes_find_nothing_new() {
    for name in MODELS {
        let (model, ..) = load(name);
        let again = run(&model.graph, &default_passes()).unwrap();
        assert_eq!(again.dag.node_count(), model.graph.dag.node_count(), "{name}");
    }
}

#[test]
fn the_text_form_reads_back_to_the_same_graph() {
    for name in MODELS {
        let (model, inputs, _) = load(name);
        let printed = text::print(&model.graph);
        let read = text::parse(&printed).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(text::print(&read), printed, "{name}");
        // To the bit.
        assert_eq!(evaluate(&read, &inputs).unwrap(), evaluate(&model.graph, &inputs).unwrap(), "{name}");
        assert!(text::summary(&model.graph).len() < printed.len() / 2, "{name}");
    }
}

fn count(graph: &Graph, wanted: impl Fn(&Op) -> bool) -> usize {
    graph.nodes().filter(|&id| wanted(&graph.node(id).op)).count()
}

#[test]
fn the_passes_recognise_what_the_exporters_write_out() {
    // Layer norms, GELUs and softmaxes as the architectures have them: two norms a layer, and one or two besides.
    for (name, norms, gelus, softmaxes) in
        [("dnabert", 6, 3, 2), ("dnabert_dynamo", 6, 3, 2), ("vit", 5, 2, 2), ("rad_dino", 5, 2, 2)]
    {
        let (model, ..) = load(name);
        let graph = &model.graph;
        assert_eq!(count(graph, |op| matches!(op, Op::Normalize { .. })), norms, "{name}");
        assert_eq!(count(graph, |op| *op == Op::Unary(UnaryOp::Gelu)), gelus, "{name}");
        assert_eq!(count(graph, |op| matches!(op, Op::Softmax { .. })), softmaxes, "{name}");
        // Nothing of their written-out forms is left.
        let left = |op: &Op| {
            use UnaryOp::{Erf, Exp, Recip, Rsqrt, Sqrt, Square};
            matches!(op, Op::Reduce { .. } | Op::Broadcast | Op::Unary(Erf | Exp | Recip | Rsqrt | Sqrt | Square))
                || *op == Op::Binary(BinaryOp::Div)
        };
        assert_eq!(count(graph, left), 0, "{name}");
    }
}
