//! Bad usage and input: exit code 2, one error that names the thing and what to do, no file left behind.

use crate::rig::{Bench, fixture, floats};
use crate::simulate::COLUMN;
use waferloom_fabric::Machine;
use waferloom_models::Tensor;

/// An ONNX model with one node, written by hand as protocol buffer fields: `ir_version` 8, a graph with the node, an input
/// `x` and an output `y` of shape [2], and opset 18.
fn onnx(operator: &str) -> Vec<u8> {
    fn field(number: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2];
        assert!(body.len() < 128, "lengths of one byte are enough here");
        out.push(body.len() as u8);
        out.extend(body);
        out
    }
    let dim = field(1, &[1 << 3, 2]);
    let tensor = [vec![1 << 3, 1], field(2, &dim)].concat();
    let value = |name: &str| [field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat();
    let node = [field(1, b"x"), field(2, b"y"), field(3, b"the_node"), field(4, operator.as_bytes())].concat();
    let graph = [field(1, &node), field(2, b"g"), field(11, &value("x")), field(12, &value("y"))].concat();
    let opset = field(8, &[2 << 3, 18]);
    [vec![1 << 3, 8], field(7, &graph), opset].concat()
}

fn ints(shape: &[usize]) -> Tensor {
    Tensor::from_i64(shape, vec![1; shape.iter().product()]).expect("as many elements as the shape says")
}

#[test]
fn models_that_are_none() {
    let bench = Bench::new();
    bench.file("noise.onnx", "this is no model");
    bench.file("empty.onnx", "");
    let whole = std::fs::read(fixture("vit", "model.onnx")).expect("a fixture");
    bench.file("cut.onnx", &whole[..whole.len() / 2]);
    bench.file("odd.onnx", onnx("Frobnicate"));
    bench.npz("x.npz", &[("x", floats(&[2], vec![1.0, 2.0]))]);
    std::fs::create_dir(bench.path("folder")).expect("made");
    bench.refuses("run none.onnx", &["none.onnx", "cannot be read", "check the path"]);
    bench.refuses("run noise.onnx", &["noise.onnx", "not an ONNX model", "export"]);
    bench.refuses("run empty.onnx", &["empty.onnx", "empty"]);
    bench.refuses("run cut.onnx", &["cut.onnx", "cut short", "export it again"]);
    bench.refuses("run folder", &["folder", "directory", "give a file"]);
    bench.refuses("inspect folder", &["folder", "directory", "give a file"]);
    bench.refuses("run odd.onnx --inputs x.npz", &["odd.onnx", "Frobnicate"]);
    bench.refuses("compile none.onnx -o p.wlp", &["none.onnx"]);
    bench.refuses("verify none.onnx --inputs x.npz --expect x.npz", &["none.onnx"]);
    bench.refuses("inspect noise.onnx", &["noise.onnx", "not an ONNX model"]);
}

#[test]
fn inputs_that_do_not_fit_the_model() {
    let bench = Bench::new();
    let vit = fixture("vit", "model.onnx");
    let pixels = || floats(&[1, 3, 32, 32], vec![0.5; 3 * 32 * 32]);
    bench.npz("named.npz", &[("pixels", pixels())]);
    bench.npz("more.npz", &[("pixel_values", pixels()), ("labels", ints(&[1]))]);
    bench.npz("shape.npz", &[("pixel_values", floats(&[1, 3, 16, 16], vec![0.5; 768]))]);
    bench.npz("type.npz", &[("pixel_values", ints(&[1, 3, 32, 32]))]);
    bench.file("noise.npz", "this is no archive");
    bench.refuses(&format!("run {vit}"), &["pixel_values", "float32 [1, 3, 32, 32]", "--inputs"]);
    bench.refuses(&format!("run {vit} --inputs none.npz"), &["none.npz", "cannot be read"]);
    bench.refuses(&format!("run {vit} --inputs noise.npz"), &["noise.npz", "npz", "numpy.savez"]);
    bench.refuses(&format!("run {vit} --inputs named.npz"), &["pixels", "pixel_values"]);
    bench.refuses(&format!("run {vit} --inputs more.npz"), &["labels", "pixel_values"]);
    bench.refuses(&format!("run {vit} --inputs shape.npz"), &["pixel_values", "16"]);
    bench.refuses(&format!("run {vit} --inputs type.npz"), &["type.npz", "pixel_values", "int64", "float32", "astype"]);
    let bert = fixture("dnabert", "model.onnx");
    bench.npz("half.npz", &[("input_ids", ints(&[2, 32]))]);
    bench.refuses(&format!("run {bert} --inputs half.npz"), &["attention_mask"]);
}

#[test]
fn machines_and_grids_that_are_none() {
    let bench = Bench::new();
    let vit = format!("{} --inputs {}", fixture("vit", "model.onnx"), fixture("vit", "inputs.npz"));
    bench.file("broken.ron", "Machine(\n    name: \"mine\",\n    fabric: oops\n)");
    bench.file("fields.ron", "Machine(name: \"mine\", colour: 3)");
    bench.refuses(&format!("run {vit} --machine wse9"), &["wse9", "wse2, wse3, bench16", ".ron"]);
    bench.refuses(&format!("run {vit} --machine none.ron"), &["none.ron", "cannot be read"]);
    bench.refuses(&format!("run {vit} --machine broken.ron"), &["broken.ron", "line 3, column"]);
    bench.refuses(&format!("run {vit} --machine fields.ron"), &["fields.ron", "line 1", "colour"]);
    bench.refuses(&format!("run {vit} --machine bench16 --grid 17x4"), &["17x4", "bench16", "16x16"]);
    for bad in ["16", "0x4", "4x0", "axb", "4x99999"] {
        bench.refuses(&format!("run {vit} --grid {bad}"), &["--grid", bad, "such as 16x16"]);
    }
    bench.refuses(&format!("run {vit} --engine flow"), &["flow", "wavelet", "stream"]);
    bench.refuses(&format!("run {vit} --dtype f64"), &["f64", "f32, f16, bf16, cb16"]);
    bench.refuses(&format!("run {vit} --dim batch"), &["--dim", "batch=4"]);
    bench.refuses(&format!("run {vit} --shape pixel_values"), &["--shape", "input_ids=1x32"]);
    bench.refuses(&format!("run {vit} --rtol nan"), &["--rtol", "1e-4"]);
    bench.refuses("frob", &["frob"]);
}

#[test]
fn files_that_cannot_be_written() {
    let bench = Bench::new();
    bench.file("column.wlt", COLUMN);
    bench.npz("in.npz", &[("x", floats(&[50], vec![0.0; 50]))]);
    std::fs::create_dir(bench.path("folder")).expect("made");
    let simulate = "simulate column.wlt --inputs in.npz";
    bench.refuses(&format!("{simulate} --out none/out.npz"), &["none/out.npz", "cannot be written", "folder"]);
    bench.refuses(&format!("{simulate} --report folder"), &["folder", "directory"]);
    bench.refuses(&format!("{simulate} --out in.npz"), &["in.npz", "overwrite", "another name"]);
    bench.refuses(&format!("{simulate} --out a.npz --report ./a.npz"), &["a.npz", "same file"]);
    let vit = format!("{} --inputs {}", fixture("vit", "model.onnx"), fixture("vit", "inputs.npz"));
    bench.refuses(&format!("compile {vit} -o none/p.wlp"), &["none/p.wlp", "cannot be written"]);
    #[cfg(unix)]
    bench.refuses(&format!("{simulate} --out /dev/null"), &["/dev/null", "no regular file"]);
}

#[test]
fn expected_outputs_that_cannot_be_compared() {
    let bench = Bench::new();
    bench.file("column.wlt", COLUMN);
    bench.npz("in.npz", &[("x", floats(&[50], vec![0.0; 50]))]);
    let mut values = vec![4.0; 50];
    values[3] = f32::NAN;
    bench.npz("nan.npz", &[("y", floats(&[50], values))]);
    bench.npz("shape.npz", &[("y", floats(&[5, 10], vec![4.0; 50]))]);
    bench.npz("name.npz", &[("z", floats(&[50], vec![4.0; 50]))]);
    bench.npz("more.npz", &[("y", floats(&[50], vec![4.0; 50])), ("z", floats(&[1], vec![4.0]))]);
    let expect = "simulate column.wlt --inputs in.npz --out out.npz --expect";
    bench.refuses(&format!("{expect} nan.npz"), &["nan.npz", "`y`", "NaN", "[3]"]);
    bench.refuses(&format!("{expect} shape.npz"), &["`y`", "[5, 10]", "[50]"]);
    bench.refuses(&format!("{expect} name.npz"), &["`y`", "missing"]);
    bench.refuses(&format!("{expect} more.npz"), &["`z`", "the outputs are y"]);
    bench.refuses(&format!("{expect} none.npz"), &["none.npz", "cannot be read"]);
}

#[test]
fn programs_that_are_none() {
    let bench = Bench::new();
    bench.file("noise.wlp", [0x7f, 0xff, 0x00, 0x80]);
    bench.file("typo.wlt", COLUMN.replace("add out", "frob out"));
    bench.file("large.wlt", "program p machine bench16 grid 4000x4000");
    let ron = Machine::builtin("bench16").expect("built in").to_ron();
    let ron = ron.replace("width: 16", "width: 65535").replace("height: 16", "height: 65535");
    bench.file("huge.wlt", format!("program p machine {{ {ron} }} grid 65535x65535"));
    bench.file("port.wlt", COLUMN.replace("edge NORTH at 0,0", "edge NORTH at 0,1"));
    bench.file("column.wlt", COLUMN);
    bench.npz("short.npz", &[("x", floats(&[49], vec![0.0; 49]))]);
    bench.npz("name.npz", &[("z", floats(&[50], vec![0.0; 50]))]);
    bench.npz("type.npz", &[("x", ints(&[50]))]);
    bench.refuses("simulate none.wlp", &["none.wlp", "cannot be read"]);
    bench.refuses("simulate noise.wlp", &["noise.wlp", "not a waferloom program"]);
    bench.refuses("inspect noise.wlp", &["noise.wlp", "not a waferloom program"]);
    bench.refuses("simulate typo.wlt", &["typo.wlt", "line 13", "frob"]);
    bench.refuses("simulate large.wlt", &["large.wlt", "4000x4000", "16x16"]);
    bench.refuses("simulate huge.wlt", &["huge.wlt", "65535x65535", "at most"]);
    bench.refuses("simulate port.wlt --inputs short.npz", &["port.wlt", "not valid", "input \"x\"", "outermost"]);
    bench.refuses("simulate column.wlt", &["column.wlt", "x: float32 [50]", "--inputs"]);
    bench.refuses("simulate column.wlt --inputs short.npz", &["`x`", "[49]", "[50]"]);
    bench.refuses("simulate column.wlt --inputs name.npz", &["`x`", "missing", "--inputs"]);
    bench.refuses("simulate column.wlt --inputs type.npz", &["`x`", "int64", "float32", "astype"]);
}

#[test]
fn plan_files_that_ask_for_what_cannot_be() {
    let bench = Bench::new();
    let run = format!("run {} --inputs {} --grid 8x4", fixture("vit", "model.onnx"), fixture("vit", "inputs.npz"));
    bench.file("broken.ron", "(\n  stages: [(last: 3)],\n)");
    bench.file("unknown.ron", "(stages: [(last: \"nobody\", columns: 8)])");
    bench.file("wide.ron", "(stages: [(last: \"nobody\", columns: 9)])");
    bench.refuses(&format!("{run} --plan none.ron"), &["none.ron", "cannot be read"]);
    bench.refuses(&format!("{run} --plan broken.ron"), &["broken.ron", "line 2", "--explain"]);
    bench.refuses(&format!("{run} --plan unknown.ron"), &["stage 0 ends with \"nobody\"", "--explain"]);
    bench.refuses(&format!("{run} --plan wide.ron"), &["9 columns", "8"]);
    bench.refuses(&format!("{run} --plan wide.ron --stages 2"), &["--plan", "--stages"]);
    bench.refuses(&format!("{run} --items 0"), &["--items"]);
}
