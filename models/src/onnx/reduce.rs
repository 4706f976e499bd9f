//! Reductions, softmax, norms and running sums.

use petgraph::graph::NodeIndex;
use tract_onnx::tract_core::ops::array::CumSum;
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer, RmsNorm, ScaledRmsNorm, Softmax, SoftmaxKind};

use super::translate::{Site, Translated};
use crate::graph::{BinaryOp, ConstantData, ElementType, Op, ReduceOp, TensorType, UnaryOp};

pub(super) fn translate(site: &mut Site) -> Translated {
    let node = site.node;
    if let Some(op) = node.op_as::<Reduce>() {
        return reduce(site, op).map(Some);
    }
    if let Some(op) = node.op_as::<Softmax>() {
        return softmax(site, op).map(Some);
    }
    if let Some(op) = node.op_as::<RmsNorm>() {
        let epsilon = scalar(&op.eps)?;
        return rms_norm(site, op.axis, epsilon).map(Some);
    }
    if node.op_is::<ScaledRmsNorm>() {
        return Err("a fused scaled norm is not supported; export it as elementary operators".into());
    }
    if let Some(op) = node.op_as::<CumSum>() {
        return running_sum(site, op).map(Some);
    }
    Ok(None)
}

fn scalar(tensor: &tract_onnx::prelude::Tensor) -> Result<f32, String> {
    let values = super::translate::host_tensor(tensor)?.to_f32();
    values.first().copied().ok_or_else(|| "an empty tensor stands for a number".into())
}

fn sorted(axes: &[usize]) -> Vec<usize> {
    let mut axes = axes.to_vec();
    axes.sort_unstable();
    axes
}

fn reduce(site: &mut Site, op: &Reduce) -> Result<NodeIndex, String> {
    let (a, name, axes) = (site.operands[0], site.name, sorted(&op.axes));
    match op.reducer {
        Reducer::Sum => site.builder.emit(name, Op::Reduce { op: ReduceOp::Sum, axes }, &[a]),
        Reducer::Max | Reducer::Any if site.output.element != ElementType::Bool => {
            site.builder.emit(name, Op::Reduce { op: ReduceOp::Max, axes }, &[a])
        }
        Reducer::Min | Reducer::All if site.output.element != ElementType::Bool => {
            site.builder.emit(name, Op::Reduce { op: ReduceOp::Min, axes }, &[a])
        }
        Reducer::Any | Reducer::Max => logic(site, ReduceOp::Max, axes),
        Reducer::All | Reducer::Min => logic(site, ReduceOp::Min, axes),
        Reducer::MeanOfSquares => mean_of_squares(site, name, axes),
        Reducer::Prod => product(site, &axes),
        Reducer::ArgMax(last) => super::order::place_of_extreme(site, &axes, ReduceOp::Max, last),
        Reducer::ArgMin(last) => super::order::place_of_extreme(site, &axes, ReduceOp::Min, last),
    }
}

/// Whether any or all are true: the largest or smallest integer.
fn logic(site: &mut Site, op: ReduceOp, axes: Vec<usize>) -> Result<NodeIndex, String> {
    let name = site.name;
    let number = site.builder.cast(&format!("{name}.number"), site.operands[0], ElementType::Int)?;
    let extreme = site.builder.emit(&format!("{name}.extreme"), Op::Reduce { op, axes }, &[number])?;
    site.builder.cast(name, extreme, ElementType::Bool)
}

fn mean_of_squares(site: &mut Site, name: &str, axes: Vec<usize>) -> Result<NodeIndex, String> {
    let a = site.operands[0];
    let shape = site.builder.shape(a);
    let elements: usize = axes.iter().map(|&axis| shape[axis]).product();
    let b = &mut *site.builder;
    let square = b.unary(&format!("{name}.square"), UnaryOp::Square, a)?;
    let sum = b.emit(&format!("{name}.sum"), Op::Reduce { op: ReduceOp::Sum, axes }, &[square])?;
    let share = b.scalar(&format!("{name}.share"), 1.0 / elements as f32, shape.len());
    b.binary(name, BinaryOp::Mul, sum, share)
}

/// A product of all entries of the axes: slice after slice.
fn product(site: &mut Site, axes: &[usize]) -> Result<NodeIndex, String> {
    const LONGEST: usize = 64;
    let mut result = site.operands[0];
    for &axis in axes {
        let length = site.builder.shape(result)[axis];
        if length == 0 || length > LONGEST {
            return Err(format!(
                "a product over {length} entries is not supported, only up to {LONGEST}; write it as the exponential of a sum of logarithms"
            ));
        }
        let whole = result;
        let name = format!("{}.product{axis}", site.name);
        result = site.builder.slice(&name, whole, axis, (0, 1, 1))?;
        for i in 1..length {
            let factor = site.builder.slice(&name, whole, axis, (i, 1, 1))?;
            result = site.builder.binary(&name, BinaryOp::Mul, result, factor)?;
        }
    }
    Ok(result)
}

fn softmax(site: &mut Site, op: &Softmax) -> Result<NodeIndex, String> {
    let (a, name, axes) = (site.operands[0], site.name, sorted(&op.axes));
    if op.quant_output_dt.is_some() {
        return Err("a quantised softmax is not supported; export the model in float32".into());
    }
    if let ([axis], SoftmaxKind::Softmax) = (axes.as_slice(), op.kind) {
        return site.builder.emit(name, Op::Softmax { axis: *axis }, &[a]);
    }
    let b = &mut *site.builder;
    let max = b.emit(&format!("{name}.max"), Op::Reduce { op: ReduceOp::Max, axes: axes.clone() }, &[a])?;
    let below = b.binary(&format!("{name}.below"), BinaryOp::Sub, a, max)?;
    let exp = b.unary(&format!("{name}.exp"), UnaryOp::Exp, below)?;
    let sum = b.emit(&format!("{name}.sum"), Op::Reduce { op: ReduceOp::Sum, axes }, &[exp])?;
    match op.kind {
        SoftmaxKind::Softmax => b.binary(name, BinaryOp::Div, exp, sum),
        SoftmaxKind::LogSoftmax => {
            let log = b.unary(&format!("{name}.log"), UnaryOp::Log, sum)?;
            b.binary(name, BinaryOp::Sub, below, log)
        }
    }
}

/// `a / sqrt(mean(a * a) + epsilon)`
fn rms_norm(site: &mut Site, axis: usize, epsilon: f32) -> Result<NodeIndex, String> {
    let (a, name, rank) = (site.operands[0], site.name, site.output.shape.len());
    let mean = mean_of_squares(site, &format!("{name}.mean"), vec![axis])?;
    let b = &mut *site.builder;
    let epsilon = b.scalar(&format!("{name}.epsilon"), epsilon, rank);
    let shifted = b.binary(&format!("{name}.shifted"), BinaryOp::Add, mean, epsilon)?;
    let scale = b.unary(&format!("{name}.scale"), UnaryOp::Rsqrt, shifted)?;
    b.binary(name, BinaryOp::Mul, a, scale)
}

/// A running sum along an axis: a product with a triangle of ones.
fn running_sum(site: &mut Site, op: &CumSum) -> Result<NodeIndex, String> {
    let (a, name) = (site.operands[0], site.name);
    let shape = site.builder.shape(a);
    let (rank, n) = (shape.len(), shape[op.axis]);
    let counts = |from: usize, to: usize| {
        let ordered = if op.reverse { to <= from } else { from <= to };
        ordered && !(op.exclusive && from == to)
    };
    let ones = (0..n * n).map(|i| counts(i / n, i % n));
    // Integers stay integers: 16-bit floats do not hold every position of a sequence.
    let ones = match site.output.element {
        ElementType::Float => ConstantData::Float(ones.map(|one| f32::from(u8::from(one))).collect()),
        ElementType::Int | ElementType::Bool => ConstantData::Int(ones.map(i64::from).collect()),
    };
    let b = &mut *site.builder;
    let mut axes: Vec<usize> = (0..rank).filter(|&axis| axis != op.axis).collect();
    axes.push(op.axis);
    let last = b.permute(&format!("{name}.last"), a, axes.clone())?;
    let wanted = TensorType { element: site.output.element, shape: vec![n, n] };
    let ones = b.constant(&format!("{name}.ones"), wanted, ones);
    let rows = b.reshape(&format!("{name}.rows"), last, vec![shape.iter().product::<usize>() / n.max(1), n])?;
    let sums = b.emit(&format!("{name}.sums"), Op::MatMul, &[rows, ones])?;
    let sums = b.reshape(&format!("{name}.unrows"), sums, axes.iter().map(|&axis| shape[axis]).collect())?;
    let back = (0..rank).filter_map(|axis| axes.iter().position(|&x| x == axis)).collect();
    b.permute(name, sums, back)
}
