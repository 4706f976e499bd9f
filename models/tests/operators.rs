//! Single ONNX operators: the graph that the importer makes of them against the reference executor.

mod protobuf;

use std::collections::BTreeMap;

use protobuf::Message;
use waferloom_models::{ImportOptions, Model, Tensor, TensorData, evaluate, import_onnx, verify};

/// ONNX's numbers of types.
const FLOAT: u64 = 1;
const INT64: u64 = 7;
const BOOL: u64 = 9;
const BFLOAT16: u64 = 16;

/// A model of single nodes under construction.
#[derive(Default)]
struct File {
    nodes: Vec<Message>,
    constants: Vec<Message>,
    inputs: Vec<Message>,
    outputs: Vec<Message>,
    values: BTreeMap<String, Tensor>,
}

fn value(name: &str, element: u64, shape: &[usize]) -> Message {
    let dims = shape
        .iter()
        .fold(Message::default(), |dims, &size| dims.message(1, &Message::default().number(1, size as u64)));
    let tensor = Message::default().number(1, element).message(2, &dims);
    Message::default().bytes(1, name).message(2, &Message::default().message(1, &tensor))
}

fn tensor(name: &str, element: u64, shape: &[usize], bytes: &[u8]) -> Message {
    let dims = shape.iter().fold(Message::default(), |m, &size| m.number(1, size as u64));
    dims.number(2, element).bytes(8, name).bytes(9, bytes)
}

/// An attribute of one integer.
fn integer(name: &str, value: i64) -> Message {
    Message::default().bytes(1, name).number(3, value as u64).number(20, 2)
}

fn integers(name: &str, values: &[i64]) -> Message {
    values.iter().fold(Message::default().bytes(1, name), |m, &v| m.number(8, v as u64)).number(20, 7)
}

fn text(name: &str, value: &str) -> Message {
    Message::default().bytes(1, name).bytes(4, value).number(20, 3)
}

impl File {
    fn float(mut self, name: &str, shape: &[usize], values: &[f32]) -> Self {
        self.inputs.push(value(name, FLOAT, shape));
        self.values.insert(name.into(), Tensor::from_f32(shape, values.to_vec()).unwrap());
        self
    }

    fn int(mut self, name: &str, shape: &[usize], values: &[i64]) -> Self {
        self.inputs.push(value(name, INT64, shape));
        self.values.insert(name.into(), Tensor::from_i64(shape, values.to_vec()).unwrap());
        self
    }

    fn constant(mut self, name: &str, shape: &[usize], values: &[f32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constants.push(tensor(name, FLOAT, shape, &bytes));
        self
    }

    fn constant_int(mut self, name: &str, shape: &[usize], values: &[i64]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constants.push(tensor(name, INT64, shape, &bytes));
        self
    }

    /// A node with operands and results in words, an empty operand as `_`.
    fn node(mut self, operator: &str, operands: &str, results: &str, attributes: &[Message]) -> Self {
        let mut node = Message::default();
        for operand in operands.split_whitespace() {
            node = node.bytes(1, if operand == "_" { "" } else { operand });
        }
        node = results.split_whitespace().fold(node, |node, result| node.bytes(2, result));
        node = node.bytes(3, results).bytes(4, operator);
        self.nodes.push(attributes.iter().fold(node, |node, a| node.message(5, a)));
        self
    }

    fn output(mut self, name: &str, element: u64) -> Self {
        self.outputs.push(value(name, element, &[]));
        self
    }

    fn import(&self) -> Model {
        let graph = self.nodes.iter().fold(Message::default(), |g, node| g.message(1, node)).bytes(2, "g");
        let graph = self.constants.iter().fold(graph, |g, constant| g.message(5, constant));
        let graph = self.inputs.iter().fold(graph, |g, input| g.message(11, input));
        let graph = self.outputs.iter().fold(graph, |g, output| g.message(12, output));
        let opset = Message::default().bytes(1, "").number(2, 18);
        let bytes = Message::default().number(1, 8).message(7, &graph).message(8, &opset).0;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        std::fs::write(&path, bytes).unwrap();
        import_onnx(&path, &ImportOptions::default()).unwrap_or_else(|e| panic!("{e}"))
    }

    /// The graph's outputs, the same as the reference executor's.
    fn check(&self) -> BTreeMap<String, Tensor> {
        let model = self.import();
        verify(&model.graph).unwrap();
        let found = evaluate(&model.graph, &self.values).unwrap();
        let expected = model.reference.run(&self.values).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        for (name, expected) in &expected {
            close(name, &found[name], expected);
        }
        found
    }
}

fn close(name: &str, found: &Tensor, expected: &Tensor) {
    assert_eq!(found.shape, expected.shape, "{name}");
    if let TensorData::I64(expected) = &expected.data {
        assert_eq!(&found.to_i64(), expected, "{name}");
        return;
    }
    for (i, (a, b)) in found.to_f32().iter().zip(expected.to_f32()).enumerate() {
        let same = *a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-6 + 1e-5 * b.abs();
        assert!(same, "{name}[{i}]: {a} is not {b}");
    }
}

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37 + 11) % 29) as f32 * 0.25 - 3.0).collect()
}

#[test]
fn places_of_extremes() {
    // 2 twice: the first counts, or the last.
    let x = [1.0, 2.0, 2.0, 0.0, -1.0, -5.0, -5.0, -2.0];
    let file = File::default()
        .float("x", &[2, 4], &x)
        .node("ArgMax", "x", "first", &[integer("axis", 1), integer("keepdims", 0)])
        .node("ArgMax", "x", "last", &[integer("axis", 1), integer("select_last_index", 1)])
        .node("ArgMin", "x", "low", &[integer("axis", -1)])
        .output("first", INT64)
        .output("last", INT64)
        .output("low", INT64);
    let found = file.check();
    assert_eq!(found["first"].to_i64(), [1, 0]);
    assert_eq!(found["last"].to_i64(), [2, 0]);
    assert_eq!(found["low"].to_i64(), [3, 1]);
}

#[test]
fn largest_elements_and_their_places() {
    let x = [3.0, 7.0, 7.0, f32::NEG_INFINITY, 5.0];
    let file = File::default()
        .float("x", &[1, 5], &x)
        .constant_int("k", &[1], &[5])
        .node("TopK", "x k", "values places", &[integer("axis", 1)])
        .node("TopK", "x k", "low low_places", &[integer("axis", 1), integer("largest", 0)])
        .output("values", FLOAT)
        .output("places", INT64)
        .output("low_places", INT64);
    let found = file.check();
    assert_eq!(found["values"].to_f32(), [7.0, 7.0, 5.0, 3.0, f32::NEG_INFINITY]);
    assert_eq!(found["places"].to_i64(), [1, 2, 4, 0, 3]);
    assert_eq!(found["low_places"].to_i64(), [3, 0, 4, 1, 2]);
}

#[test]
fn look_ups_at_computed_places() {
    let file = File::default()
        .float("x", &[3, 4, 2], &numbers(24))
        .int("each", &[3, 2, 2], &[0, 3, -1, 1, 2, 2, 0, -4, 1, 1, 3, 0])
        .int("pairs", &[2, 2], &[2, -1, 0, 3])
        .int("batched", &[3, 1, 1], &[1, 0, -2])
        .node("GatherElements", "x each", "a", &[integer("axis", 1)])
        .node("GatherND", "x pairs", "b", &[])
        .node("GatherND", "x batched", "c", &[integer("batch_dims", 1)])
        .output("a", FLOAT)
        .output("b", FLOAT)
        .output("c", FLOAT);
    let model = file.import();
    let found = evaluate(&model.graph, &file.values).unwrap();
    let x = numbers(24);
    // Row 2, place 3 from the end is place 3: elements 22 and 23; row 0, place 3: elements 6 and 7.
    assert_eq!(found["b"].to_f32(), [x[22], x[23], x[6], x[7]]);
    assert_eq!(found["c"].to_f32(), [x[2], x[3], x[8], x[9], x[20], x[21]]);
    // The first row's places 0 and 3, then -1 (3) and 1, each in its own column.
    assert_eq!(found["a"].to_f32()[..4], [x[0], x[7], x[6], x[3]]);
}

#[test]
fn assignments_at_computed_places() {
    let file = File::default()
        .float("cache", &[4, 3], &numbers(12))
        .float("new", &[2, 3], &[10.0, 11.0, 12.0, 20.0, f32::INFINITY, 22.0])
        .int("rows", &[2, 1], &[3, 1])
        .float("few", &[2, 2], &[1.5, 2.5, 3.5, 4.5])
        .int("places", &[2, 2], &[0, -1, 2, 2])
        .node("ScatterND", "cache rows new", "a", &[])
        .node("ScatterElements", "cache places few", "b", &[integer("axis", 1)])
        .node("ScatterElements", "cache places few", "c", &[integer("axis", 1), text("reduction", "add")])
        .output("a", FLOAT)
        .output("b", FLOAT)
        .output("c", FLOAT);
    let found = file.check();
    let mut b = numbers(12);
    // The last of two updates of one place counts.
    (b[0], b[2], b[5]) = (1.5, 2.5, 4.5);
    assert_eq!(found["b"].to_f32(), b);
}

#[test]
fn resampling() {
    let size = |name: &str, transform: &str| [text("mode", name), text("coordinate_transformation_mode", transform)];
    let file = File::default()
        .float("x", &[1, 2, 3, 4], &numbers(24))
        .constant("scales", &[4], &[1.0, 1.0, 2.0, 3.0])
        .constant_int("sizes", &[4], &[1, 2, 5, 3])
        .node("Resize", "x _ scales", "near", &size("nearest", "asymmetric"))
        .node("Resize", "x _ _ sizes", "odd", &size("nearest", "half_pixel"))
        .node("Resize", "x _ _ sizes", "linear", &size("linear", "align_corners"))
        .node("Resize", "x _ scales", "cubic", &size("cubic", "half_pixel"))
        .output("near", FLOAT)
        .output("odd", FLOAT)
        .output("linear", FLOAT)
        .output("cubic", FLOAT);
    file.check();
}

#[test]
fn transposed_convolutions() {
    let two = |name: &str, a: i64, b: i64| integers(name, &[a, b]);
    let file = File::default()
        .float("x", &[1, 4, 3, 5], &numbers(60))
        .constant("w", &[4, 3, 3, 2], &numbers(72))
        .constant("bias", &[3], &[1.0, 2.0, 3.0])
        .constant("grouped", &[4, 1, 2, 2], &numbers(16))
        .node(
            "ConvTranspose",
            "x w bias",
            "a",
            &[two("strides", 2, 3), integers("pads", &[1, 0, 2, 1]), two("output_padding", 1, 0)],
        )
        .node("ConvTranspose", "x grouped", "b", &[integer("group", 2), two("dilations", 2, 1)])
        .output("a", FLOAT)
        .output("b", FLOAT);
    file.check();
}

#[test]
fn padding_with_what_is_there() {
    let file = File::default()
        .float("x", &[2, 4], &numbers(8))
        .constant_int("pads", &[4], &[1, 3, 0, 2])
        .node("Pad", "x pads", "reflect", &[text("mode", "reflect")])
        .node("Pad", "x pads", "edge", &[text("mode", "edge")])
        .output("reflect", FLOAT)
        .output("edge", FLOAT);
    file.check();
}

#[test]
fn integers_divide_and_wrap() {
    let file = File::default()
        .int("a", &[6], &[7, -7, 7, -7, 0, 1 << 23])
        .int("b", &[6], &[3, 3, -3, -3, 5, 3])
        .constant_int("four", &[1], &[4])
        .node("Div", "a b", "quotient", &[])
        .node("Mod", "a b", "modulo", &[])
        .node("Mod", "a b", "remainder", &[integer("fmod", 1)])
        .node("Mul", "a four", "shifted", &[])
        .output("quotient", INT64)
        .output("modulo", INT64)
        .output("remainder", INT64)
        .output("shifted", INT64);
    let found = file.check();
    assert_eq!(found["quotient"].to_i64(), [2, -2, -2, 2, 0, 2_796_202]);
    assert_eq!(found["modulo"].to_i64(), [1, 2, -2, -1, 0, 2]);
}

#[test]
fn running_sums_of_integers_stay_integers() {
    let file = File::default()
        .int("x", &[2, 3], &[1, 0, 1, 5, 6, 7])
        .constant_int("axis", &[], &[1])
        .node("CumSum", "x axis", "y", &[])
        .output("y", INT64);
    assert_eq!(file.check()["y"].to_i64(), [1, 1, 2, 5, 11, 18]);
}

#[test]
fn powers() {
    let mut file = File::default()
        .float("x", &[7], &[-2.0, -0.5, 0.0, 0.5, 1.0, 3.0, f32::INFINITY])
        .float("e", &[7], &[3.0, 0.5, 2.0, -1.5, 7.0, 0.0, -1.0])
        .node("Pow", "x e", "general", &[])
        .output("general", FLOAT);
    for (i, exponent) in [0.0, 1.0, 3.0, 5.0, 16.0, 1.5, -2.0, -0.5, 0.3, 21.0].into_iter().enumerate() {
        let (constant, result) = (format!("e{i}"), format!("y{i}"));
        file = file.constant(&constant, &[], &[exponent]).node("Pow", &format!("x {constant}"), &result, &[]);
        file = file.output(&result, FLOAT);
    }
    file.check();
}

#[test]
fn functions_written_with_others() {
    let mut file = File::default().float("x", &[9], &[-3.0, -0.9, -0.5, -0.1, 0.0, 0.1, 0.45, 0.9, 3.0]).float(
        "u",
        &[5],
        &[-1.0, -0.3, 0.0, 0.7, 1.0],
    );
    let names = ["Sign", "Ceil", "Round", "Tan", "Sinh", "Cosh", "Asinh", "Atan", "HardSwish", "Floor"];
    for name in names {
        file = file.node(name, "x", name, &[]).output(name, FLOAT);
    }
    for name in ["Asin", "Acos", "Atanh"] {
        file = file.node(name, "u", name, &[]).output(name, FLOAT);
    }
    file = file.node("IsInf", "Atanh", "inf", &[integer("detect_negative", 0)]).output("inf", BOOL);
    let found = file.check();
    assert_eq!(found["inf"].to_i64(), [0, 0, 0, 0, 1]);
}

#[test]
fn one_value_among_others() {
    let file = File::default()
        .int("x", &[2, 2], &[0, 2, 1, -1])
        .constant_int("depth", &[1], &[3])
        .constant("values", &[2], &[-1.0, 4.0])
        .node("OneHot", "x depth values", "y", &[integer("axis", 1)])
        .output("y", FLOAT);
    let found = file.check();
    // Of the first row 0 and 2, of the second 1 and (from the end) 2, down the middle axis.
    let expected = [4.0, -1.0, -1.0, -1.0, -1.0, 4.0, -1.0, -1.0, 4.0, -1.0, -1.0, 4.0];
    assert_eq!(found["y"].to_f32(), expected);
}

#[test]
fn equal_outputs_keep_their_names() {
    let file = File::default()
        .float("x", &[2], &[1.0, 2.0])
        .node("Exp", "x", "a", &[])
        .node("Exp", "x", "b", &[])
        .node("Exp", "x", "hidden", &[])
        .node("Neg", "hidden", "c", &[])
        .output("a", FLOAT)
        .output("b", FLOAT)
        .output("c", FLOAT);
    let found = file.check();
    assert_eq!(found.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(found["a"], found["b"]);
}

#[test]
fn bfloat16_is_read_as_the_same_numbers() {
    let mut file = File::default().float("x", &[2], &[1.0, 1.0]);
    // 1.5 and -2 are 3FC0 and C000.
    file.constants.push(tensor("w", BFLOAT16, &[2], &[0xC0, 0x3F, 0x00, 0xC0]));
    let file = file
        .node("Cast", "x", "narrow", &[integer("to", BFLOAT16 as i64)])
        .node("Mul", "narrow w", "y", &[])
        .output("y", BFLOAT16);
    assert_eq!(file.check()["y"].to_f32(), [1.5, -2.0]);
}

#[test]
fn what_the_front_end_reads_wrongly() {
    let mut file = File::default()
        .float("x", &[2, 4], &numbers(8))
        .constant_int("row", &[1, 1], &[-1])
        .constant_int("cut", &[4], &[0, -1, 1, -2])
        .constant_int("around", &[4], &[0, 1, 0, 0])
        .constant_int("shape", &[2], &[2, 4])
        .constant("one", &[], &[1.0]);
    file.constants.push(tensor("true", BOOL, &[], &[1]));
    let file = file
        .node("Celu", "x", "celu", &[Message::default().bytes(1, "alpha").fixed(2, 0.5_f32.to_bits()).number(20, 1)])
        .node("GatherND", "x row", "last", &[])
        .node("Pad", "x cut", "trimmed", &[])
        .node("ConstantOfShape", "shape", "zeros", &[])
        .node("Max", "zeros x", "relu", &[])
        .node("Greater", "x one", "above", &[])
        .node("Pad", "above around true", "flags", &[])
        .output("celu", FLOAT)
        .output("last", FLOAT)
        .output("trimmed", FLOAT)
        .output("relu", FLOAT)
        .output("flags", BOOL);
    let found = file.check();
    let x = numbers(8);
    assert_eq!(found["last"].to_f32(), x[4..]);
    // One element less in front of the rows, two behind; a row of zeros below.
    assert_eq!(found["trimmed"].to_f32(), [x[1], x[5], 0.0]);
    let celu = |x: f32| x.max(0.0) + (0.5 * ((x / 0.5).exp() - 1.0)).min(0.0);
    found["celu"].to_f32().iter().zip(x.iter().map(|&x| celu(x))).for_each(|(a, b)| assert!((a - b).abs() < 1e-6));
    let flags = |row: &[f32]| [vec![1], row.iter().map(|&x| i64::from(x > 1.0)).collect()].concat();
    assert_eq!(found["flags"].to_i64(), [flags(&x[..4]), flags(&x[4..])].concat());
}

/// Every other row and column of an image, out of a sequence of its tokens: the front end fails to simplify that.
#[test]
fn steps_behind_a_reshape() {
    let file = File::default()
        .float("x", &[2, 16, 3], &numbers(96))
        .constant_int("image", &[4], &[2, 4, 4, 3])
        .constant_int("zero", &[1], &[0])
        .constant_int("end", &[1], &[4])
        .constant_int("two", &[1], &[2])
        .constant_int("one", &[1], &[1])
        .constant_int("tokens", &[3], &[2, -1, 3])
        .node("Reshape", "x image", "grid", &[])
        .node("Slice", "grid zero end one two", "rows", &[])
        .node("Slice", "rows zero end two two", "few", &[])
        .node("Reshape", "few tokens", "y", &[])
        .constant_int("last", &[1], &[-1])
        .constant_int("all", &[1], &[-100])
        .node("Slice", "x last all one last", "backwards", &[])
        .output("y", FLOAT)
        .output("backwards", FLOAT);
    let found = file.check();
    assert_eq!(found["backwards"].to_f32()[..3], numbers(96)[45..48]);
    // Of an image of 4x4 the tokens 0, 2, 8 and 10.
    let x = numbers(96);
    let expected: Vec<f32> = [0, 2, 8, 10].iter().flat_map(|t| x[t * 3..t * 3 + 3].to_vec()).collect();
    assert_eq!(found["y"].to_f32()[..12], expected);
}
