//! Pooling: the largest or the mean element of each window of an image. Windows do not overlap, and each lies on one PE, so that
//! no data move: what is dealt to the grid are the results, and the windows follow.

use super::data::numbers;
use super::plane::{Plane, matrix};
use super::settings::{FLOATS, float_type};
use super::{Instance, Kernel, KernelError, Parameter, Settings};
use crate::code::{Code, Tile, float, memory};
use std::collections::BTreeMap;
use waferloom_fabric::{BufferKind, Distribution, Dtype, Extent, Machine, Operand, ScalarOp, Split, Value, VectorOp};

pub(super) const KERNEL: Kernel = Kernel {
    name: "pool",
    summary: "The largest or the mean element of each window of an image of several channels; windows do not overlap.",
    parameters: &[
        Parameter::integer("p", "4", (1, 65535), "PEs in a row").tunable(),
        Parameter::integer("rows", "4", (1, 65535), "rows of PEs").tunable(),
        Parameter::integer("channels", "4", (1, 65535), "channels of the image"),
        Parameter::integer("h", "16", (1, 65535), "rows of the result; the image has `window` times as many"),
        Parameter::integer("w", "16", (1, 65535), "columns of the result; the image has `window` times as many"),
        Parameter::integer("window", "2", (1, 64), "rows and columns of a window"),
        Parameter::choice("of", "max", &["max", "average"], "what is taken of a window"),
        Parameter::choice("dtype", "f32", FLOATS, "type of the elements; sums are f32"),
    ],
    build,
};

fn build(settings: &Settings, machine: &Machine) -> Result<Instance, KernelError> {
    let dtype = float_type(settings.word("dtype"));
    let grid = Extent { width: settings.pes("p"), height: settings.pes("rows") };
    let [channels, h, w, window] = ["channels", "h", "w", "window"].map(|name| settings.integer(name));
    let average = settings.word("of") == "average";
    let result = matrix(grid, &[channels, h, w], dtype);
    let wider = |split: Option<Split>| split.map(|s| Split { block: s.block * window, ..s });
    let image = Distribution {
        shape: vec![channels, h * window, w * window],
        x: wider(result.x),
        y: wider(result.y),
        ..result.clone()
    };
    let mut plane = Plane::new("pool", machine, grid, ["p", "rows"], "channels")?;
    let source = plane.tile("image", &image, dtype, BufferKind::Activation);
    let target = plane.tile("result", &result, dtype, BufferKind::Activation);
    let sum = Tile { dtype: Dtype::F32, ..target };
    let wide = average && dtype != Dtype::F32;
    let sum = if wide { Tile { address: plane.scratch("sums", sum.bytes()), ..sum } } else { sum };
    plane.check()?;
    let shape = Windows { sizes: [result.tile()[0], result.tile()[1], result.tile()[2]], window };
    emit(&mut plane.code, &shape, average, target, source, if average { sum } else { target });

    let values = numbers(image.elements(), 11);
    plane.fill("image", &image, source, &values);
    plane.result("result", &result, target);
    let expected = reference(&values, [channels, h, w].map(|n| n as usize), window as usize, average);
    Ok(Instance {
        estimate_cycles: plane.busy(&[]),
        program: plane.finish("pool")?,
        inputs: BTreeMap::new(),
        expected: BTreeMap::from([("result".into(), expected)]),
        algorithm: "local".into(),
        flops: values.len() as u64,
    })
}

/// Windows of a PE: channels, rows and columns of its results.
struct Windows {
    sizes: [u32; 3],
    window: u32,
}

/// One instruction for each place in the window, over all windows. Order of addition: row by row within a window.
fn emit(code: &mut Code, shape: &Windows, average: bool, target: Tile, source: Tile, sum: Tile) {
    let ([channels, h, w], k) = (shape.sizes, shape.window);
    let (op, first) = if average { (VectorOp::Add, 0.0) } else { (VectorOp::Max, f32::NEG_INFINITY) };
    let row = w * k;
    code.mov(sum.vector(), float(first));
    code.repeat(k, |code, i| {
        code.repeat(k, |code, j| {
            let at = code.register();
            code.scalar(ScalarOp::Mul, at, i, row);
            code.scalar(ScalarOp::Add, at, at, j);
            code.scalar(ScalarOp::Mul, at, at, source.dtype.bytes());
            code.scalar(ScalarOp::Add, at, at, source.address);
            let view = |base: Value, dtype: Dtype, strides: [u32; 3]| -> Operand {
                let dims = [(channels, strides[0]), (h, strides[1]), (w, strides[2])];
                memory(base, 0, dtype, &dims.map(|(len, stride)| (len.into(), stride.into())))
            };
            let place = view(at.into(), source.dtype, [h * k * row, k * row, k]);
            let results = view(sum.address.into(), sum.dtype, [h * w, w, 1]);
            code.vector(op, results.clone(), &[results, place]);
        });
    });
    if average {
        code.vector(VectorOp::Mul, target.vector(), &[sum.vector(), float(1.0 / (k * k) as f32)]);
    }
}

fn reference(values: &[f32], [channels, h, w]: [usize; 3], k: usize, average: bool) -> Vec<f64> {
    let mut results = Vec::with_capacity(channels * h * w);
    for (c, y, x) in (0..channels).flat_map(|c| (0..h).flat_map(move |y| (0..w).map(move |x| (c, y, x)))) {
        let place = |(i, j): (usize, usize)| f64::from(values[((c * h + y) * k + i) * w * k + x * k + j]);
        let window = (0..k).flat_map(|i| (0..k).map(move |j| (i, j))).map(place);
        results.push(if average {
            window.sum::<f64>() / (k * k) as f64
        } else {
            window.fold(f64::NEG_INFINITY, f64::max)
        });
    }
    results
}
