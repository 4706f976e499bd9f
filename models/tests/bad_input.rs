//! What users meet when a file is not what it should be: one error that says what, where and what to do; never a panic.

mod protobuf;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use protobuf::Message;
use tempfile::TempDir;
use waferloom_models::{
    EvaluateError, ImportError, ImportOptions, Model, ReferenceError, Tensor, evaluate, import_onnx,
};

/// A float value with sizes, of which a negative one is the symbol `n`.
fn value(name: &str, shape: &[i64]) -> Message {
    let dims = shape.iter().fold(Message::default(), |dims, &size| {
        let dim = Message::default();
        dims.message(1, &if size < 0 { dim.bytes(2, "n") } else { dim.number(1, size as u64) })
    });
    let tensor = Message::default().number(1, 1).message(2, &dims);
    Message::default().bytes(1, name).message(2, &Message::default().message(1, &tensor))
}

fn node(operator: &str, name: &str, inputs: &[&str], output: &str) -> Message {
    let node = inputs.iter().fold(Message::default(), |node, input| node.bytes(1, input));
    node.bytes(2, output).bytes(3, name).bytes(4, operator)
}

/// A model of one input `x`, one output `y` and these nodes, with a 4x4 weight `w`.
fn model(shape: &[i64], nodes: &[Message]) -> Vec<u8> {
    let floats: Vec<u8> = (0..16).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let weight = Message::default().number(1, 4).number(1, 4).number(2, 1).bytes(8, "w").bytes(9, floats);
    let graph = nodes.iter().fold(Message::default(), |graph, node| graph.message(1, node));
    let graph = graph.bytes(2, "g").message(5, &weight);
    let graph = graph.message(11, &value("x", shape)).message(12, &value("y", shape));
    let opset = Message::default().bytes(1, "").number(2, 18);
    Message::default().number(1, 8).message(7, &graph).message(8, &opset).0
}

fn good() -> Vec<u8> {
    model(&[2, 4], &[node("MatMul", "project", &["x", "w"], "a"), node("Erf", "bend", &["a"], "y")])
}

struct File {
    _folder: TempDir,
    path: PathBuf,
}

fn file(bytes: &[u8]) -> File {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.onnx");
    std::fs::write(&path, bytes).unwrap();
    File { _folder: folder, path }
}

fn import(bytes: &[u8]) -> Result<Model, ImportError> {
    import_onnx(&file(bytes).path, &ImportOptions::default())
}

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/models"));
    std::fs::read(folder.join(name)).unwrap()
}

fn message(result: Result<Model, ImportError>) -> String {
    result.map(|_| "it was imported").unwrap_err().to_string()
}

#[test]
fn files_that_are_no_models_say_so() {
    import(&good()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let missing = import_onnx(&folder.path().join("none.onnx"), &ImportOptions::default());
    assert!(matches!(&missing, Err(ImportError::Read { path, .. }) if path.ends_with("none.onnx")));
    let directory = import_onnx(folder.path(), &ImportOptions::default());
    assert!(matches!(directory, Err(ImportError::Read { .. })));
    let text = message(import(b""));
    assert!(text.contains("some.onnx") && text.contains("it is empty"), "{text}");
    let npz = fixture("vit/inputs.npz");
    for other in [b"{\"a\": 1}".as_slice(), b"\x89PNG\r\n\x1a\n", &npz, &[0; 64], &[255; 64]] {
        let error = import(other).unwrap_err();
        assert!(matches!(error, ImportError::NotOnnx { .. }), "{error}");
    }
}

#[test]
fn files_cut_anywhere_are_errors() {
    let models = [good(), fixture("enformer/model.onnx"), fixture("dnabert_dynamo/model.onnx")];
    for bytes in &models {
        // Every byte of the small model, many of the large ones.
        for cut in (1..bytes.len()).step_by(bytes.len() / 180) {
            let error = import(&bytes[..cut]).map(|_| cut).unwrap_err();
            // After the first field alone there is no graph yet.
            let expected = match error {
                ImportError::Damaged { bytes, .. } => bytes == cut,
                ImportError::NotOnnx { .. } => cut < 100,
                _ => false,
            };
            assert!(expected, "{cut}: {error}");
        }
    }
}

#[test]
fn damaged_files_never_make_it_panic() {
    let mut state = 1_u64;
    let mut outcomes = [0; 2];
    for original in [good(), fixture("enformer/model.onnx")] {
        // Bits of the front part: names, types, attributes and shapes; behind it are weights.
        let front = original.len().min(4000);
        for _ in 0..400 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut bytes = original.clone();
            bytes[(state >> 33) as usize % front] ^= 1 << ((state >> 20) % 8);
            outcomes[usize::from(import(&bytes).is_ok())] += 1;
        }
    }
    assert!(outcomes.iter().all(|&n| n > 50), "{outcomes:?}");
}

#[test]
fn operators_without_translation_are_named_with_their_node() {
    let odd = |operator: &str| import(&model(&[2, 4], &[node(operator, "odd", &["x"], "y")]));
    // Unknown to the front end, of a shape that depends on the data, not in one step.
    for (operator, named) in [("Det", "Det"), ("Frobnicate", "Frobnicate"), ("NonZero", "NonZero")] {
        let error = odd(operator).unwrap_err();
        let ImportError::Unsupported { path, node } = &error else { panic!("{error}") };
        assert!(path.ends_with("some.onnx"));
        assert_eq!((node.name.as_str(), node.operator.as_str()), ("odd", named));
        assert!(error.to_string().contains(&format!("\"odd\", operator {named}")), "{error}");
    }
    // Each with the shapes that it was given and the nearest form that is supported.
    for (operator, nearest) in [("Loop", "unrolled"), ("Bernoulli", "evaluation mode"), ("Det", "(18 is tested)")] {
        let text = message(odd(operator));
        assert!(text.contains(nearest) && text.contains("inputs [2,4,F32]"), "{text}");
    }
    // Known to the front end, but not to us.
    let text = message(import(&model(&[1, 2, 2, 2], &[node("GridSample", "odd", &["x", "x"], "y")])));
    assert!(text.contains("\"odd\", operator GridSample") && text.contains("look-up with Gather"), "{text}");
}

#[test]
fn operands_that_nothing_makes_are_named() {
    let text = message(import(&model(&[2, 4], &[node("MatMul", "project", &["x", "v"], "y")])));
    assert!(text.contains("\"project\", operator MatMul, takes \"v\""), "{text}");
    let text = message(import(&model(&[2, 4], &[node("MatMul", "project", &["x", "w"], "z")])));
    assert!(text.contains("no node makes the output \"y\""), "{text}");
}

#[test]
fn shapes_that_do_not_fit_are_errors() {
    let nodes = [node("MatMul", "project", &["x", "w"], "y")];
    let text = message(import(&model(&[2, 5], &nodes)));
    assert!(text.contains("project") && text.contains("do not work out"), "{text}");
    // An open dimension needs a size.
    let open = file(&model(&[-1, 4], &nodes));
    let import_with = |shapes: &[(&str, &[usize])], dims: &[(&str, usize)]| {
        let input_shapes = shapes.iter().map(|(name, shape)| ((*name).to_string(), shape.to_vec())).collect();
        let dims = dims.iter().map(|(name, size)| ((*name).to_string(), *size)).collect();
        import_onnx(&open.path, &ImportOptions { input_shapes, dims })
    };
    let text = message(import_with(&[], &[]));
    assert!(text.contains("n (dimension 0 of \"x\")") && text.contains("give each symbol a size"), "{text}");
    assert_eq!(import_with(&[], &[("n", 3)]).unwrap().reference.run(&inputs("x", &[3, 4])).unwrap()["y"].shape, [3, 4]);
    let text = message(import_with(&[("z", &[3, 4])], &[]));
    assert!(text.contains("no input \"z\"; its inputs are x"), "{text}");
    let text = message(import_with(&[("x", &[3, 5])], &[]));
    assert!(text.contains("dimension 1 of the input \"x\" is 4 in the file, not 5"), "{text}");
    let text = message(import_with(&[("x", &[3])], &[]));
    assert!(text.contains("must have 2 dimensions"), "{text}");
    let text = message(import_with(&[("x", &[3, 4])], &[("n", 2)]));
    assert!(text.contains("symbol n, which cannot be both 2 and 3"), "{text}");
}

fn inputs(name: &str, shape: &[usize]) -> BTreeMap<String, Tensor> {
    let tensor = Tensor::from_f32(shape, vec![0.5; shape.iter().product()]).unwrap();
    BTreeMap::from([(name.to_string(), tensor)])
}

#[test]
fn values_that_do_not_fit_are_errors_of_both_executors() {
    let model = import(&good()).unwrap();
    assert_eq!(evaluate(&model.graph, &inputs("z", &[2, 4])), Err(EvaluateError::MissingInput("x".into())));
    assert_eq!(model.reference.run(&inputs("z", &[2, 4])), Err(ReferenceError::MissingInput("x".into())));
    let (expected, found) = (vec![2, 4], vec![4, 2]);
    assert_eq!(
        evaluate(&model.graph, &inputs("x", &[4, 2])),
        Err(EvaluateError::InputShape { name: "x".into(), expected: expected.clone(), found: found.clone() })
    );
    assert_eq!(
        model.reference.run(&inputs("x", &[4, 2])),
        Err(ReferenceError::InputShape { name: "x".into(), expected, found })
    );
}

/// A token that the table does not have.
#[test]
fn indices_out_of_range_are_errors_of_both_executors() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/models/dnabert/model.onnx"));
    let mut inputs = waferloom_models::read_npz(&path.with_file_name("inputs.npz")).unwrap();
    let input_shapes = inputs.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect();
    let model = import_onnx(path, &ImportOptions { input_shapes, ..ImportOptions::default() }).unwrap();
    inputs.insert("input_ids".into(), Tensor::from_i64(&[2, 32], vec![72; 64]).unwrap());
    let error = evaluate(&model.graph, &inputs).unwrap_err().to_string();
    assert!(error.contains("word_embeddings") && error.contains("72 is outside the 72 entries"), "{error}");
    assert!(matches!(model.reference.run(&inputs), Err(ReferenceError::Run(_))));
}

/// The front end panics on an axis far outside. The error says so, and nothing else reaches the user's terminal: seen from
/// outside, as the test's own process captures what is printed.
#[test]
fn panics_of_the_front_end_are_one_error_and_not_printed() {
    const CHILD: &str = "WAFERLOOM_BAD_INPUT_CHILD";
    const NAME: &str = "panics_of_the_front_end_are_one_error_and_not_printed";
    if std::env::var_os(CHILD).is_some() {
        let axis = Message::default().bytes(1, "axis").number(3, (-100_i64) as u64).number(20, 2);
        let flat = node("Flatten", "flatten", &["x"], "y").message(5, &axis);
        println!("{}", message(import(&model(&[2, 4], &[flat]))));
        // Outside of the front end, panics are printed as ever.
        let _ = std::thread::spawn(|| panic!("a panic of someone else")).join();
        return;
    }
    let binary = std::env::current_exe().unwrap();
    let child = Command::new(binary).args(["--exact", NAME, "--nocapture"]).env(CHILD, "1").output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success(), "{out}\n{err}");
    assert!(out.contains("the reader gave up") && out.contains("out of range for slice of length 2"), "{out}");
    assert_eq!(err.matches("panicked at").count(), 1, "{err}");
    assert!(err.contains("a panic of someone else"), "{err}");
}
