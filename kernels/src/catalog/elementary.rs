//! Elementary functions of all elements of a matrix: no data leave their PE. One table of all; the sequences of instructions
//! and their errors are those of [`crate::functions`].

use super::data::numbers;
use super::plane::{Plane, matrix};
use super::settings::{FLOATS, float_type};
use super::{Instance, Kernel, KernelError, Parameter, Settings};
use crate::functions::{self, Function};
use std::collections::BTreeMap;
use waferloom_fabric::{BufferKind, Dtype, Extent, Machine};

pub(super) const COS: Kernel = kernel("cos", "Cosine of all elements of an m x n matrix.");
pub(super) const ERF: Kernel = kernel("erf", "Error function of all elements of an m x n matrix.");
pub(super) const EXP: Kernel = kernel("exp", "e to the power of each element of an m x n matrix.");
pub(super) const GELU: Kernel = kernel("gelu", "x (1 + erf(x / sqrt 2)) / 2 of all elements of an m x n matrix.");
pub(super) const LOG: Kernel = kernel("log", "Natural logarithm of all elements of an m x n matrix.");
pub(super) const RSQRT: Kernel = kernel("rsqrt", "1 / sqrt(x) of all elements of an m x n matrix.");
pub(super) const SIGMOID: Kernel = kernel("sigmoid", "1 / (1 + e^-x) of all elements of an m x n matrix.");
pub(super) const SILU: Kernel = kernel("silu", "x / (1 + e^-x) of all elements of an m x n matrix.");
pub(super) const SIN: Kernel = kernel("sin", "Sine of all elements of an m x n matrix.");
pub(super) const TANH: Kernel = kernel("tanh", "Hyperbolic tangent of all elements of an m x n matrix.");

const fn kernel(name: &'static str, summary: &'static str) -> Kernel {
    const PARAMETERS: &[Parameter] = &[
        Parameter::integer("p", "4", (1, 65535), "PEs in a row").tunable(),
        Parameter::integer("rows", "4", (1, 65535), "rows of PEs").tunable(),
        Parameter::integer("m", "64", (1, 1 << 20), "rows of the matrix"),
        Parameter::integer("n", "64", (1, 1 << 20), "columns of the matrix"),
        Parameter::choice("dtype", "f32", FLOATS, "type of the elements; arithmetic is f32"),
    ];
    Kernel { name, summary, parameters: PARAMETERS, build }
}

/// What a kernel computes.
struct Elementary {
    name: &'static str,
    function: Function,
    /// The same in double precision.
    exact: fn(f64) -> f64,
    /// From numbers between -1 and 1 to interesting operands: factor and summand.
    operands: (f32, f32),
}

const TABLE: &[Elementary] = &[
    Elementary { name: "cos", function: Function::Cos, exact: f64::cos, operands: (32.0, 0.0) },
    Elementary { name: "erf", function: Function::Erf, exact: libm::erf, operands: (4.0, 0.0) },
    Elementary { name: "exp", function: Function::Exp, exact: f64::exp, operands: (4.0, 0.0) },
    Elementary { name: "gelu", function: Function::Gelu, exact: gelu, operands: (8.0, 0.0) },
    Elementary { name: "log", function: Function::Log, exact: f64::ln, operands: (2.0, 2.25) },
    Elementary { name: "rsqrt", function: Function::Rsqrt, exact: |x| 1.0 / x.sqrt(), operands: (2.0, 2.25) },
    Elementary { name: "sigmoid", function: Function::Sigmoid, exact: sigmoid, operands: (8.0, 0.0) },
    Elementary { name: "silu", function: Function::Silu, exact: |x| x * sigmoid(x), operands: (8.0, 0.0) },
    Elementary { name: "sin", function: Function::Sin, exact: f64::sin, operands: (32.0, 0.0) },
    Elementary { name: "tanh", function: Function::Tanh, exact: f64::tanh, operands: (4.0, 0.0) },
];

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn gelu(x: f64) -> f64 {
    x * 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

fn build(settings: &Settings, machine: &Machine) -> Result<Instance, KernelError> {
    let name = settings.kernel();
    let elementary = TABLE.iter().find(|e| e.name == name).unwrap_or(&TABLE[0]);
    let dtype = float_type(settings.word("dtype"));
    let grid = Extent { width: settings.pes("p"), height: settings.pes("rows") };
    let distribution = matrix(grid, &[settings.integer("m"), settings.integer("n")], dtype);
    let mut plane = Plane::new(name, machine, grid, ["p", "rows"], "n")?;
    let source = plane.tile("source", &distribution, dtype, BufferKind::Activation);
    let target = plane.tile("target", &distribution, dtype, BufferKind::Activation);
    plane.check()?;
    let vectors = elementary.function.scratch_vectors() + 1;
    let scratch = plane.scratch("scratch", functions::map_scratch_bytes(source.elements, vectors));
    plane.check()?;
    functions::map(&mut plane.code, elementary.function, target, source, scratch);

    let (factor, summand) = elementary.operands;
    let mut values = numbers(distribution.elements(), 9);
    for x in &mut values {
        *x = stored(dtype, *x * factor + summand);
    }
    plane.fill("source", &distribution, source, &values);
    plane.result("target", &distribution, target);
    let expected = values.iter().map(|&x| (elementary.exact)(f64::from(x))).collect();
    Ok(Instance {
        estimate_cycles: plane.busy(&[]),
        program: plane.finish(name)?,
        inputs: BTreeMap::new(),
        expected: BTreeMap::from([("target".into(), expected)]),
        algorithm: "polynomial".into(),
        flops: values.len() as u64,
    })
}

/// A number as the type keeps it.
fn stored(dtype: Dtype, x: f32) -> f32 {
    dtype.narrow(x).and_then(|bits| dtype.widen(bits)).unwrap_or(x)
}
