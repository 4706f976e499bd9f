//! How far the reference models' outputs are from `PyTorch`'s in each floating-point type, as the table of
//! `docs/numerics.md`: `cargo run -p waferloom-compiler --example errors`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use waferloom_compiler::{Options, compile, prepare};
use waferloom_fabric::{Dtype, Extent, HostData, HostTensor, Machine};
use waferloom_models::{Graph, ImportOptions, Tensor, TensorData, import_onnx, read_npz};

const DTYPES: [Dtype; 4] = [Dtype::F32, Dtype::F16, Dtype::Cb16, Dtype::Bf16];

fn main() -> Result<(), Box<dyn Error>> {
    let models = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/models"));
    let mut names: Vec<_> = std::fs::read_dir(models)?.collect::<Result<_, _>>()?;
    names.sort_by_key(std::fs::DirEntry::file_name);
    println!("| model | {} |", DTYPES.map(Dtype::name).join(" | "));
    println!("| --- | --- | --- | --- | --- |");
    for folder in names.into_iter().map(|e| e.path()).filter(|p| p.join("model.onnx").is_file()) {
        let inputs = read_npz(&folder.join("inputs.npz"))?;
        let expected = read_npz(&folder.join("expected.npz"))?;
        let input_shapes = inputs.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect();
        let model = import_onnx(&folder.join("model.onnx"), &ImportOptions { input_shapes, dims: BTreeMap::new() })?;
        let graph = prepare(&model.graph)?;
        let inputs = inputs.into_iter().map(|(name, tensor)| (name, host(tensor))).collect();
        let mut row = format!("| {} |", folder.file_name().unwrap_or_default().display());
        for dtype in DTYPES {
            let worst = worst(&graph, &inputs, &expected, dtype)?;
            let _ = write!(row, " {worst:.1e} |");
        }
        println!("{row}");
    }
    Ok(())
}

fn host(tensor: Tensor) -> HostTensor {
    match tensor.data {
        TensorData::F32(v) => HostTensor { shape: tensor.shape, data: HostData::F32(v) },
        TensorData::I64(v) => HostTensor { shape: tensor.shape, data: HostData::I64(v) },
    }
}

/// The largest `|found - expected| / (1 + |expected|)` of all outputs: the tolerance, relative and absolute, that is needed.
fn worst(
    graph: &Graph,
    inputs: &BTreeMap<String, HostTensor>,
    expected: &BTreeMap<String, Tensor>,
    dtype: Dtype,
) -> Result<f32, Box<dyn Error>> {
    let machine = Machine::builtin("wse2").ok_or("there is no machine wse2")?;
    let options = Options::new(machine, Extent { width: 16, height: 16 }, dtype);
    let (_, program) = compile(graph, &options)?;
    let run = waferloom_simulator::simulate(&program, inputs, &waferloom_simulator::Options::default())?;
    let mut worst = 0f32;
    for (name, expected) in expected {
        let Some(HostData::F32(found)) = run.outputs.get(name).map(|t| &t.data) else {
            return Err(format!("there is no output \"{name}\" of floats").into());
        };
        for (a, b) in found.iter().zip(expected.to_f32()) {
            let error = (a - b).abs() / (1.0 + b.abs());
            // `max` would leave out a NaN.
            if error.is_nan() {
                return Err(format!("{}: output \"{name}\" holds {a}, not {b}", dtype.name()).into());
            }
            worst = worst.max(error);
        }
    }
    Ok(worst)
}
