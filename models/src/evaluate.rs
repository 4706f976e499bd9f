//! A plain interpreter of [`Graph`]: it folds constants, and the tests hold every pass against it.

use std::collections::BTreeMap;

use ndarray::{ArrayD, ArrayViewD, Axis, IxDyn, Slice, SliceInfo, SliceInfoElem, concatenate};
use petgraph::graph::NodeIndex;

use crate::graph::{BinaryOp, ElementType, Graph, Node, Op, ReduceOp, TensorType, UnaryOp, Window};
use crate::tensor::{Tensor, TensorData, count};

/// Why a graph cannot be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluateError {
    /// No value was given for an input.
    #[error("no value for the input \"{0}\"; give one tensor for each input of the model")]
    MissingInput(String),
    /// A value does not fit the input.
    #[error(
        "the value for the input \"{name}\" has shape {found:?} where the model was imported for {expected:?}; give that shape, or import the model with this one"
    )]
    InputShape {
        /// The input.
        name: String,
        /// Shape of the graph's input.
        expected: Vec<usize>,
        /// Shape of the value.
        found: Vec<usize>,
    },
    /// A node does not follow the rules, or an index is out of range.
    #[error("node \"{name}\" cannot be evaluated: {problem}; check the model and the values of its inputs")]
    Node {
        /// The node.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

/// The values of the graph's outputs.
///
/// # Errors
/// When an input is missing or of the wrong shape, or an index is out of range.
pub fn evaluate(graph: &Graph, inputs: &BTreeMap<String, Tensor>) -> Result<BTreeMap<String, Tensor>, EvaluateError> {
    let mut values: BTreeMap<NodeIndex, Tensor> = BTreeMap::new();
    for id in graph.nodes() {
        let node = graph.node(id);
        let value = if node.op == Op::Input {
            input_value(node, inputs)?
        } else {
            let operands = graph.operands(id);
            let operands: Vec<_> =
                operands.iter().filter_map(|o| Some((values.get(o)?, &graph.node(*o).output))).collect();
            evaluate_node(node, &operands)
                .map_err(|problem| EvaluateError::Node { name: node.name.clone(), problem })?
        };
        values.insert(id, value);
    }
    let value = |id: &NodeIndex| values.get(id).cloned();
    Ok(graph.outputs.iter().filter_map(|(name, id)| Some((name.clone(), value(id)?))).collect())
}

fn input_value(node: &Node, inputs: &BTreeMap<String, Tensor>) -> Result<Tensor, EvaluateError> {
    let value = inputs.get(&node.name).ok_or_else(|| EvaluateError::MissingInput(node.name.clone()))?;
    if value.shape != node.output.shape || value.len() != count(&node.output.shape) {
        return Err(EvaluateError::InputShape {
            name: node.name.clone(),
            expected: node.output.shape.clone(),
            found: value.shape.clone(),
        });
    }
    Ok(cast(value, node.output.element))
}

/// The value of one node that is not an input.
pub(crate) fn evaluate_node(node: &Node, operands: &[(&Tensor, &TensorType)]) -> Result<Tensor, String> {
    let types: Vec<_> = operands.iter().map(|(_, t)| *t).collect();
    crate::infer::check(node, &types)?;
    let a = operands.first().map(|(value, _)| *value);
    let b = operands.get(1).map(|(value, _)| *value);
    let shape = &node.output.shape;
    match (&node.op, a, b) {
        (Op::Constant(data), ..) => Ok(Tensor { shape: shape.clone(), data: data.clone().into() }),
        (Op::Unary(UnaryOp::Cast), Some(a), _) => Ok(cast(a, node.output.element)),
        (Op::Unary(op), Some(a), _) => Ok(unary(*op, a)),
        (Op::Binary(op), Some(a), Some(b)) => binary(*op, a, b, shape),
        (Op::MatMul, Some(a), Some(b)) => matmul(a, b, shape),
        (Op::Conv { window, groups }, Some(a), Some(b)) => conv(a, b, window, *groups, shape),
        (Op::Gather { axis }, Some(a), Some(b)) => gather(a, b, *axis, shape),
        (Op::Select, Some(a), Some(b)) => select(a, b, operands[2].0, shape),
        (Op::Softmax { axis }, Some(a), _) => softmax(a, *axis),
        (Op::Normalize { epsilon }, Some(a), _) => Ok(normalize(a, *epsilon)),
        (Op::Concat { axis }, ..) => join(operands, *axis),
        (op, Some(a), _) => match &a.data {
            TensorData::F32(v) => move_elements(op, v, &a.shape, shape, reduce_f32).map(Tensor::from),
            TensorData::I64(v) => move_elements(op, v, &a.shape, shape, reduce_i64).map(Tensor::from),
        },
        _ => Err("operands are missing".into()),
    }
}

fn view<'a, T>(values: &'a [T], shape: &[usize]) -> Result<ArrayViewD<'a, T>, String> {
    ArrayViewD::from_shape(IxDyn(shape), values).map_err(|e| e.to_string())
}

fn spread<'a, T>(values: &'a [T], shape: &[usize], to: &[usize]) -> Result<Vec<&'a T>, String> {
    // The view's lifetime ends here, the elements' does not: collect references by flat index instead of through the view.
    let flat: Vec<usize> = (0..values.len()).collect();
    let indices = view(&flat, shape)?;
    let indices = indices.broadcast(IxDyn(to)).ok_or("the operands do not broadcast")?;
    Ok(indices.iter().map(|&i| &values[i]).collect())
}

fn cast(a: &Tensor, element: ElementType) -> Tensor {
    let data = match (&a.data, element) {
        (_, ElementType::Float) => TensorData::F32(a.to_f32()),
        (_, ElementType::Int) => TensorData::I64(a.to_i64()),
        (TensorData::F32(v), ElementType::Bool) => TensorData::I64(v.iter().map(|&x| i64::from(x != 0.0)).collect()),
        (TensorData::I64(v), ElementType::Bool) => TensorData::I64(v.iter().map(|&x| i64::from(x != 0)).collect()),
    };
    Tensor { shape: a.shape.clone(), data }
}

fn unary(op: UnaryOp, a: &Tensor) -> Tensor {
    let data = match &a.data {
        TensorData::I64(v) => TensorData::I64(v.iter().map(|&x| unary_i64(op, x)).collect()),
        TensorData::F32(v) if op == UnaryOp::IsNan => {
            TensorData::I64(v.iter().map(|x| i64::from(x.is_nan())).collect())
        }
        TensorData::F32(v) => TensorData::F32(v.iter().map(|&x| unary_f32(op, x)).collect()),
    };
    Tensor { shape: a.shape.clone(), data }
}

fn unary_i64(op: UnaryOp, x: i64) -> i64 {
    match op {
        UnaryOp::Neg => x.wrapping_neg(),
        UnaryOp::Abs => x.wrapping_abs(),
        UnaryOp::Square => x.wrapping_mul(x),
        UnaryOp::Relu => x.max(0),
        UnaryOp::Not => i64::from(x == 0),
        _ => x,
    }
}

fn unary_f32(op: UnaryOp, x: f32) -> f32 {
    // In double precision, so that the interpreter is a reference for the functions too.
    let d = f64::from(x);
    let result = match op {
        UnaryOp::Neg => -d,
        UnaryOp::Abs => d.abs(),
        UnaryOp::Exp => d.exp(),
        UnaryOp::Log => d.ln(),
        UnaryOp::Sqrt => d.sqrt(),
        UnaryOp::Rsqrt => 1.0 / d.sqrt(),
        UnaryOp::Recip => 1.0 / d,
        UnaryOp::Square => d * d,
        UnaryOp::Erf => libm::erf(d),
        UnaryOp::Tanh => d.tanh(),
        UnaryOp::Sigmoid => 1.0 / (1.0 + (-d).exp()),
        UnaryOp::Silu => d / (1.0 + (-d).exp()),
        UnaryOp::Gelu => 0.5 * d * (1.0 + libm::erf(d * std::f64::consts::FRAC_1_SQRT_2)),
        UnaryOp::Relu if d.is_nan() => d,
        UnaryOp::Relu => d.max(0.0),
        UnaryOp::Sin => d.sin(),
        UnaryOp::Cos => d.cos(),
        UnaryOp::Floor => d.floor(),
        UnaryOp::Round => d.round_ties_even(),
        UnaryOp::IsNan | UnaryOp::Not | UnaryOp::Cast => d,
    };
    result as f32
}

fn binary(op: BinaryOp, a: &Tensor, b: &Tensor, shape: &[usize]) -> Result<Tensor, String> {
    let data = match (&a.data, &b.data) {
        (TensorData::F32(x), TensorData::F32(y)) => {
            let pairs = spread(x, &a.shape, shape)?.into_iter().zip(spread(y, &b.shape, shape)?);
            match op {
                BinaryOp::Eq => TensorData::I64(pairs.map(|(x, y)| i64::from(x == y)).collect()),
                BinaryOp::Lt => TensorData::I64(pairs.map(|(x, y)| i64::from(x < y)).collect()),
                BinaryOp::Le => TensorData::I64(pairs.map(|(x, y)| i64::from(x <= y)).collect()),
                _ => TensorData::F32(pairs.map(|(&x, &y)| binary_f32(op, x, y)).collect()),
            }
        }
        (TensorData::I64(x), TensorData::I64(y)) => {
            let pairs = spread(x, &a.shape, shape)?.into_iter().zip(spread(y, &b.shape, shape)?);
            TensorData::I64(pairs.map(|(&x, &y)| binary_i64(op, x, y)).collect::<Result<_, _>>()?)
        }
        _ => return Err("the operands' element types differ".into()),
    };
    Ok(Tensor { shape: shape.to_vec(), data })
}

/// The larger number; NaN wins, as in ONNX and on the mesh.
fn largest(x: f32, y: f32) -> f32 {
    if x.is_nan() || y.is_nan() { f32::NAN } else { x.max(y) }
}

/// The smaller number; NaN wins.
fn smallest(x: f32, y: f32) -> f32 {
    if x.is_nan() || y.is_nan() { f32::NAN } else { x.min(y) }
}

fn binary_f32(op: BinaryOp, x: f32, y: f32) -> f32 {
    match op {
        BinaryOp::Add => x + y,
        BinaryOp::Sub => x - y,
        BinaryOp::Mul => x * y,
        BinaryOp::Div => x / y,
        BinaryOp::Max => largest(x, y),
        BinaryOp::Min => smallest(x, y),
        BinaryOp::Pow => x.powf(y),
        // The comparisons and the logic do not give floats: `infer` rejects or `binary` handles them.
        BinaryOp::Eq | BinaryOp::Lt | BinaryOp::Le | BinaryOp::And | BinaryOp::Or | BinaryOp::Xor => f32::NAN,
    }
}

fn binary_i64(op: BinaryOp, x: i64, y: i64) -> Result<i64, String> {
    Ok(match op {
        BinaryOp::Add => x.wrapping_add(y),
        BinaryOp::Sub => x.wrapping_sub(y),
        BinaryOp::Mul => x.wrapping_mul(y),
        BinaryOp::Div => x.checked_div(y).ok_or("an integer is divided by zero")?,
        BinaryOp::Max => x.max(y),
        BinaryOp::Min => x.min(y),
        BinaryOp::Pow => {
            let exponent = u32::try_from(y).map_err(|_| format!("the integer exponent {y} is out of range"))?;
            x.wrapping_pow(exponent)
        }
        BinaryOp::Eq => i64::from(x == y),
        BinaryOp::Lt => i64::from(x < y),
        BinaryOp::Le => i64::from(x <= y),
        BinaryOp::And => i64::from(x != 0 && y != 0),
        BinaryOp::Or => i64::from(x != 0 || y != 0),
        BinaryOp::Xor => i64::from((x != 0) != (y != 0)),
    })
}

fn select(condition: &Tensor, a: &Tensor, b: &Tensor, shape: &[usize]) -> Result<Tensor, String> {
    fn pick<T: Copy>(flags: &[&i64], x: &[&T], y: &[&T]) -> Vec<T> {
        flags.iter().zip(x.iter().zip(y)).map(|(f, (x, y))| if **f != 0 { **x } else { **y }).collect()
    }
    let TensorData::I64(flags) = &condition.data else { return Err("the condition is not Bool".into()) };
    let flags = spread(flags, &condition.shape, shape)?;
    let data = match (&a.data, &b.data) {
        (TensorData::F32(x), TensorData::F32(y)) => {
            TensorData::F32(pick(&flags, &spread(x, &a.shape, shape)?, &spread(y, &b.shape, shape)?))
        }
        (TensorData::I64(x), TensorData::I64(y)) => {
            TensorData::I64(pick(&flags, &spread(x, &a.shape, shape)?, &spread(y, &b.shape, shape)?))
        }
        _ => return Err("the operands' element types differ".into()),
    };
    Ok(Tensor { shape: shape.to_vec(), data })
}

fn matmul(a: &Tensor, b: &Tensor, shape: &[usize]) -> Result<Tensor, String> {
    let rank = shape.len();
    let (m, n, k) = (shape[rank - 2], shape[rank - 1], a.shape[rank - 1]);
    let (x, y) = (a.to_f32(), b.to_f32());
    let batch = |t: &Tensor| -> Result<Vec<usize>, String> {
        let flat: Vec<usize> = (0..count(&t.shape[..rank - 2])).collect();
        Ok(spread(&flat, &t.shape[..rank - 2], &shape[..rank - 2])?.into_iter().copied().collect())
    };
    let mut result = vec![0.0_f32; count(shape)];
    for (matrix, (i, j)) in result.chunks_exact_mut((m * n).max(1)).zip(batch(a)?.into_iter().zip(batch(b)?)) {
        let (x, y) = (&x[i * m * k..][..m * k], &y[j * k * n..][..k * n]);
        for (row, x) in matrix.chunks_exact_mut(n.max(1)).zip(x.chunks_exact(k.max(1))) {
            for (x, y) in x.iter().zip(y.chunks_exact(n.max(1))) {
                row.iter_mut().zip(y).for_each(|(r, y)| *r += x * y);
            }
        }
    }
    let result = Tensor { shape: shape.to_vec(), data: TensorData::F32(result) };
    let float = matches!(a.data, TensorData::F32(_));
    Ok(if float { result } else { cast(&result, ElementType::Int) })
}

fn conv(a: &Tensor, kernel: &Tensor, window: &Window, groups: usize, shape: &[usize]) -> Result<Tensor, String> {
    let (x, w) = (a.to_f32(), kernel.to_f32());
    let (x, w) = (view(&x, &a.shape)?, view(&w, &kernel.shape)?);
    let (channels, per_group) = (kernel.shape[1], shape[1] / groups);
    let taps: Vec<Vec<usize>> = ndarray::indices(IxDyn(&window.kernel))
        .into_iter()
        .map(|i| ndarray::Dimension::as_array_view(&i).to_vec())
        .collect();
    let result = ArrayD::from_shape_fn(IxDyn(shape), |at| {
        let group = at[1] / per_group;
        let mut sum = 0.0_f32;
        for tap in &taps {
            // Where the tap falls in the padded input; outside the input it meets a zero.
            let place: Option<Vec<usize>> = tap
                .iter()
                .enumerate()
                .map(|(d, t)| {
                    let p = at[2 + d] * window.stride[d] + t * window.dilation[d];
                    p.checked_sub(window.pad_before[d]).filter(|&p| p < a.shape[2 + d])
                })
                .collect();
            let Some(place) = place else { continue };
            for c in 0..channels {
                let input = [&[at[0], group * channels + c], place.as_slice()].concat();
                let weight = [&[at[1], c], tap.as_slice()].concat();
                sum += x[IxDyn(&input)] * w[IxDyn(&weight)];
            }
        }
        sum
    });
    Ok(result.into())
}

fn gather(a: &Tensor, indices: &Tensor, axis: usize, shape: &[usize]) -> Result<Tensor, String> {
    let TensorData::I64(indices) = &indices.data else { return Err("the indices are not integers".into()) };
    let size = a.shape[axis];
    let resolved: Vec<usize> = indices
        .iter()
        .map(|&i| {
            let from_start = if i < 0 { i.checked_add(size as i64) } else { Some(i) };
            let index = from_start.and_then(|i| usize::try_from(i).ok()).filter(|&i| i < size);
            index.ok_or_else(|| format!("the index {i} is outside the {size} entries of axis {axis}"))
        })
        .collect::<Result<_, _>>()?;
    let data = match &a.data {
        TensorData::F32(v) => {
            TensorData::F32(view(v, &a.shape)?.select(Axis(axis), &resolved).iter().copied().collect())
        }
        TensorData::I64(v) => {
            TensorData::I64(view(v, &a.shape)?.select(Axis(axis), &resolved).iter().copied().collect())
        }
    };
    Ok(Tensor { shape: shape.to_vec(), data })
}

fn softmax(a: &Tensor, axis: usize) -> Result<Tensor, String> {
    let values = a.to_f32();
    let mut result = view(&values, &a.shape)?.to_owned();
    for mut lane in result.lanes_mut(Axis(axis)) {
        let max = lane.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        lane.mapv_inplace(|x| (x - max).exp());
        let sum: f32 = lane.iter().sum();
        lane.mapv_inplace(|x| x / sum);
    }
    Ok(result.into())
}

fn normalize(a: &Tensor, epsilon: f32) -> Tensor {
    let mut values = a.to_f32();
    let n = a.shape.last().copied().unwrap_or(1).max(1);
    for row in values.chunks_exact_mut(n) {
        let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / n as f64;
        let variance = row.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n as f64;
        let scale = 1.0 / (variance + f64::from(epsilon)).sqrt();
        for x in row {
            *x = ((f64::from(*x) - mean) * scale) as f32;
        }
    }
    Tensor { shape: a.shape.clone(), data: TensorData::F32(values) }
}

fn join(operands: &[(&Tensor, &TensorType)], axis: usize) -> Result<Tensor, String> {
    fn stack<T: Clone>(parts: &[(&Vec<T>, &[usize])], axis: usize) -> Result<ArrayD<T>, String> {
        let views: Vec<_> = parts.iter().map(|(v, shape)| view(v, shape)).collect::<Result<_, _>>()?;
        concatenate(Axis(axis), &views).map_err(|e| e.to_string())
    }
    let (mut floats, mut ints) = (Vec::new(), Vec::new());
    for (tensor, _) in operands {
        match &tensor.data {
            TensorData::F32(v) => floats.push((v, tensor.shape.as_slice())),
            TensorData::I64(v) => ints.push((v, tensor.shape.as_slice())),
        }
    }
    if ints.is_empty() { stack(&floats, axis).map(Into::into) } else { stack(&ints, axis).map(Into::into) }
}

fn reduce_f32(op: ReduceOp, values: &mut dyn Iterator<Item = f32>) -> f32 {
    match op {
        ReduceOp::Sum => values.map(f64::from).sum::<f64>() as f32,
        ReduceOp::Max => values.fold(f32::NEG_INFINITY, largest),
        ReduceOp::Min => values.fold(f32::INFINITY, smallest),
    }
}

fn reduce_i64(op: ReduceOp, values: &mut dyn Iterator<Item = i64>) -> i64 {
    match op {
        ReduceOp::Sum => values.fold(0, i64::wrapping_add),
        ReduceOp::Max => values.max().unwrap_or(i64::MIN),
        ReduceOp::Min => values.min().unwrap_or(i64::MAX),
    }
}

/// The operators that move elements, and the reductions.
fn move_elements<T: Copy>(
    op: &Op,
    values: &[T],
    from: &[usize],
    to: &[usize],
    combine: fn(ReduceOp, &mut dyn Iterator<Item = T>) -> T,
) -> Result<ArrayD<T>, String> {
    let a = view(values, from)?;
    let moved = match op {
        Op::Reshape => view(values, to)?.to_owned(),
        Op::Permute { axes } => a.permuted_axes(IxDyn(axes)).to_owned(),
        Op::Broadcast => a.broadcast(IxDyn(to)).ok_or("the operand does not broadcast")?.to_owned(),
        Op::Slice { axis, start, step } => {
            let length = to[*axis];
            let end = if length == 0 { *start } else { start + (length - 1) * step + 1 };
            a.slice_axis(Axis(*axis), Slice::new(*start as isize, Some(end as isize), *step as isize)).to_owned()
        }
        Op::Reduce { op, axes } => {
            let mut result = Vec::with_capacity(count(to));
            for at in ndarray::indices(IxDyn(to)) {
                let lanes: Vec<SliceInfoElem> = (0..to.len())
                    .map(|d| if axes.contains(&d) { (..).into() } else { (at[d] as isize).into() })
                    .collect();
                let lanes: SliceInfo<_, IxDyn, IxDyn> = SliceInfo::try_from(lanes).map_err(|e| e.to_string())?;
                result.push(combine(*op, &mut a.slice(lanes).iter().copied()));
            }
            ArrayD::from_shape_vec(IxDyn(to), result).map_err(|e| e.to_string())?
        }
        _ => return Err(format!("{op:?} does not move elements")),
    };
    Ok(moved)
}
