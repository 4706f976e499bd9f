//! The reference models: import, both executors against `PyTorch`'s outputs, the text form.

use std::collections::BTreeMap;
use std::path::PathBuf;

use waferloom_models::{ImportOptions, Model, Tensor, TensorData, evaluate, import_onnx, read_npz, verify};

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

fn load(name: &str) -> (Model, BTreeMap<String, Tensor>, BTreeMap<String, Tensor>) {
    let inputs = read_npz(&folder(name).join("inputs.npz")).unwrap();
    let expected = read_npz(&folder(name).join("expected.npz")).unwrap();
    let input_shapes = inputs.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect();
    let options = ImportOptions { input_shapes, dims: BTreeMap::new() };
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
