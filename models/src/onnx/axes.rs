//! Operators that move, repeat, cut and join elements.

use petgraph::graph::NodeIndex;
use tract_onnx::prelude::TDim;
use tract_onnx::prelude::ToDim;
use tract_onnx::tract_core::ops::Downsample;
use tract_onnx::tract_core::ops::array::{
    FiniteReshape, MultiBroadcastTo, Pad, PadMode, Slice, StridedSlice, Tile, Trilu, TypedConcat,
};
use tract_onnx::tract_core::ops::change_axes::AxisOp;

use super::translate::{Site, Translated, host_tensor};
use crate::graph::{ConstantData, ElementType, Op, TensorType};
use crate::tensor::{TensorData, count};

pub(super) fn translate(site: &mut Site) -> Translated {
    let node = site.node;
    let a = site.operands.first().copied();
    let Some(a) = a else { return Ok(None) };
    let shape = site.output.shape.clone();
    if let Some(op) = node.op_as::<AxisOp>() {
        return axis_op(site, op, a).map(Some);
    }
    if node.op_is::<FiniteReshape>() {
        return site.builder.reshape(site.name, a, shape).map(Some);
    }
    if node.op_is::<MultiBroadcastTo>() {
        return broadcast(site, a).map(Some);
    }
    if let Some(op) = node.op_as::<Slice>() {
        let start = size(&op.start)?;
        return site.builder.slice(site.name, a, op.axis, (start, shape[op.axis], 1)).map(Some);
    }
    if let Some(op) = node.op_as::<Downsample>() {
        return downsample(site, op, a).map(Some);
    }
    if let Some(op) = node.op_as::<StridedSlice>() {
        return strided(site, op, a).map(Some);
    }
    if let Some(op) = node.op_as::<TypedConcat>() {
        return site.builder.emit(site.name, Op::Concat { axis: op.axis }, site.operands).map(Some);
    }
    if node.op_is::<Tile>() {
        return tile(site, a).map(Some);
    }
    if let Some(op) = node.op_as::<Pad>() {
        return pad(site, op, a).map(Some);
    }
    if let Some(op) = node.op_as::<Trilu>() {
        return triangle(site, op.upper, a).map(Some);
    }
    Ok(None)
}

fn size(dim: &TDim) -> Result<usize, String> {
    let fixed = dim.to_dim().to_i64().ok().and_then(|size| usize::try_from(size).ok());
    fixed.ok_or_else(|| format!("the size {dim} is not fixed; give sizes to all symbols"))
}

fn axis_op(site: &mut Site, op: &AxisOp, a: NodeIndex) -> Result<NodeIndex, String> {
    if let AxisOp::Move(from, to) = op {
        let mut axes: Vec<usize> = (0..site.output.shape.len()).collect();
        let moved = axes.remove(*from);
        axes.insert(*to, moved);
        return site.builder.permute(site.name, a, axes);
    }
    site.builder.reshape(site.name, a, site.output.shape.clone())
}

/// A broadcast that may also add axes in front.
fn broadcast(site: &mut Site, a: NodeIndex) -> Result<NodeIndex, String> {
    let from = site.builder.shape(a);
    let shape = site.output.shape.clone();
    let missing = shape.len().checked_sub(from.len()).ok_or("the operand has more axes than the result")?;
    let full = [vec![1; missing], from].concat();
    let a = site.builder.reshape(&format!("{}.rank", site.name), a, full)?;
    site.builder.broadcast(site.name, a, shape)
}

fn downsample(site: &mut Site, op: &Downsample, a: NodeIndex) -> Result<NodeIndex, String> {
    let length = site.output.shape[op.axis];
    if let Ok(step) = usize::try_from(op.stride) {
        return site.builder.slice(site.name, a, op.axis, (op.modulo, length, step));
    }
    // Backwards: tract counts the offset from the end.
    let last = site.builder.shape(a)[op.axis] as i64 - 1 - op.modulo as i64;
    picked(site, a, op.axis, (0..length as i64).map(|i| last + i * op.stride as i64).collect())
}

/// A slice of several axes with steps, which may run backwards.
fn strided(site: &mut Site, op: &StridedSlice, a: NodeIndex) -> Result<NodeIndex, String> {
    let list = |site: &Site, slot: Option<usize>| -> Result<Option<Vec<i64>>, String> {
        let Some(&operand) = slot.and_then(|slot| site.operands.get(slot)) else { return Ok(None) };
        let values = site.builder.integers(operand).map(<[i64]>::to_vec);
        values.map(Some).ok_or_else(|| "its bounds are not constant; export with fixed sizes".into())
    };
    let begins = list(site, Some(1))?.unwrap_or_default();
    let axes = list(site, op.optional_axes_input)?.unwrap_or_else(|| (0..begins.len() as i64).collect());
    let steps = list(site, op.optional_steps_input)?.unwrap_or_else(|| vec![1; begins.len()]);
    let (from, to) = (site.builder.shape(a), site.output.shape.clone());
    if from.len() != to.len() || axes.len() != begins.len() || steps.len() != begins.len() {
        return Err(format!("its bounds do not fit the operand's shape {from:?}"));
    }
    let mut result = a;
    for ((&axis, &begin), &step) in axes.iter().zip(&begins).zip(&steps) {
        let axis = if axis < 0 { axis + from.len() as i64 } else { axis } as usize;
        let size = *from.get(axis).ok_or_else(|| format!("there is no axis {axis}"))? as i64;
        let begin = if begin < 0 { begin.saturating_add(size) } else { begin };
        let first = if step > 0 { begin.clamp(0, size) } else { begin.clamp(0, (size - 1).max(0)) };
        result = if let Ok(step) = usize::try_from(step) {
            site.builder.slice(site.name, result, axis, (first as usize, to[axis], step))?
        } else {
            picked(site, result, axis, (0..to[axis] as i64).map(|i| first + i * step).collect())?
        };
    }
    Ok(result)
}

/// Elements of an axis at constant places.
pub(super) fn picked(site: &mut Site, a: NodeIndex, axis: usize, places: Vec<i64>) -> Result<NodeIndex, String> {
    let wanted = TensorType { element: ElementType::Int, shape: vec![places.len()] };
    let places = site.builder.constant(&format!("{}.indices", site.name), wanted, ConstantData::Int(places.into()));
    site.builder.emit(site.name, Op::Gather { axis }, &[a, places])
}

/// An axis from its last element to its first.
pub(super) fn turned_around(site: &mut Site, a: NodeIndex, axis: usize) -> Result<NodeIndex, String> {
    let length = site.builder.shape(a)[axis] as i64;
    if length == 1 { Ok(a) } else { picked(site, a, axis, (0..length).rev().collect()) }
}

/// Repetition of whole axes: a new axis of size 1 before each, repeated, then merged.
fn tile(site: &mut Site, a: NodeIndex) -> Result<NodeIndex, String> {
    let from = site.builder.shape(a);
    let shape = site.output.shape.clone();
    let (mut split, mut repeated) = (Vec::new(), Vec::new());
    for (&old, &new) in from.iter().zip(&shape) {
        split.extend([1, old]);
        repeated.extend([new.checked_div(old).unwrap_or(0), old]);
    }
    let name = site.name;
    let a = site.builder.reshape(&format!("{name}.split"), a, split)?;
    let a = site.builder.broadcast(&format!("{name}.repeat"), a, repeated)?;
    site.builder.reshape(name, a, shape)
}

fn pad(site: &mut Site, op: &Pad, a: NodeIndex) -> Result<NodeIndex, String> {
    let place: fn(i64, i64) -> i64 = match &op.mode {
        PadMode::Constant(value) => {
            let value = host_tensor(value)?;
            return pad_with(site, a, &op.pads, &value.data);
        }
        PadMode::Edge => |i, length| i.clamp(0, length - 1),
        PadMode::Reflect => |i, length| if i < 0 { -i } else { (length - 1) - (i - (length - 1)).abs() },
    };
    let mut result = a;
    for (axis, &(before, after)) in op.pads.iter().enumerate().filter(|(_, pads)| **pads != (0, 0)) {
        let length = site.builder.shape(result)[axis] as i64;
        let places: Vec<i64> = (-(before as i64)..length + after as i64).map(|i| place(i, length)).collect();
        if places.iter().any(|place| !(0..length).contains(place)) {
            return Err(format!("its padding of axis {axis} is larger than the axis of {length}; pad less"));
        }
        result = picked(site, result, axis, places)?;
    }
    Ok(result)
}

fn first<T: Copy + Default>(values: &[T]) -> T {
    values.first().copied().unwrap_or_default()
}

/// Joins constants of one value to both ends of the axes.
pub(super) fn pad_with(
    site: &mut Site,
    a: NodeIndex,
    pads: &[(usize, usize)],
    value: &TensorData,
) -> Result<NodeIndex, String> {
    let mut result = a;
    for (axis, &(before, after)) in pads.iter().enumerate() {
        let mut parts = vec![result];
        for (length, front) in [(before, true), (after, false)] {
            if length == 0 {
                continue;
            }
            let mut output = site.builder.graph.node(result).output.clone();
            output.shape[axis] = length;
            let elements = count(&output.shape);
            // The front end leaves the number as the file has it, whatever is padded.
            let data = match (value, output.element) {
                (TensorData::F32(v), ElementType::Float) => ConstantData::Float(vec![first(v); elements].into()),
                (TensorData::I64(v), ElementType::Float) => ConstantData::Float(vec![first(v) as f32; elements].into()),
                (TensorData::F32(v), _) => ConstantData::Int(vec![first(v) as i64; elements].into()),
                (TensorData::I64(v), _) => ConstantData::Int(vec![first(v); elements].into()),
            };
            let filling = site.builder.constant(&format!("{}.filling", site.name), output, data);
            parts.insert(if front { 0 } else { parts.len() }, filling);
        }
        result = site.builder.emit(&format!("{}.pad{axis}", site.name), Op::Concat { axis }, &parts)?;
    }
    Ok(result)
}

/// The upper or lower triangle of the last two axes, zero elsewhere.
fn triangle(site: &mut Site, upper: bool, a: NodeIndex) -> Result<NodeIndex, String> {
    let diagonal = site.operands.get(1).and_then(|&k| site.builder.integers(k)).and_then(|k| k.first().copied());
    let diagonal = diagonal.ok_or("the triangle's diagonal is not constant; export it as a constant")?;
    let shape = site.output.shape.clone();
    let rank = shape.len();
    let (rows, columns) = (shape[rank - 2], shape[rank - 1]);
    let mut keep = Vec::with_capacity(rows * columns);
    for row in 0..rows as i64 {
        keep.extend(
            (0..columns as i64).map(|c| i64::from(if upper { c - row >= diagonal } else { c - row <= diagonal })),
        );
    }
    let name = site.name;
    let mut wanted = TensorType { element: ElementType::Bool, shape: vec![1; rank] };
    wanted.shape[rank - 2..].copy_from_slice(&[rows, columns]);
    let keep = site.builder.constant(&format!("{name}.keep"), wanted, ConstantData::Int(keep.into()));
    let zero = match site.output.element {
        ElementType::Float => ConstantData::Float([0.0].into()),
        ElementType::Int | ElementType::Bool => ConstantData::Int([0].into()),
    };
    let wanted = TensorType { element: site.output.element, shape: vec![1; rank] };
    let zero = site.builder.constant(&format!("{name}.zero"), wanted, zero);
    site.builder.emit(name, Op::Select, &[keep, a, zero])
}
