//! Look-ups by index.

use petgraph::graph::NodeIndex;
use tract_onnx::tract_core::ops::array::{Gather, GatherElements, GatherNd};

use super::translate::{Site, Translated};
use crate::graph::{BinaryOp, ConstantData, ElementType, Op, TensorType};
use crate::tensor::count;

pub(super) fn translate(site: &mut Site) -> Translated {
    let node = site.node;
    if let Some(op) = node.op_as::<Gather>() {
        return gather(site, op.axis).map(Some);
    }
    if let Some(op) = node.op_as::<GatherElements>() {
        return gather_elements(site, op.axis).map(Some);
    }
    if let Some(op) = node.op_as::<GatherNd>() {
        return gather_nd(site, op.batch_dims).map(Some);
    }
    Ok(None)
}

fn gather(site: &mut Site, axis: usize) -> Result<NodeIndex, String> {
    let (data, indices) = (site.operands[0], site.operands[1]);
    if let Some(constant) = site.builder.integers(indices) {
        let constant = constant.to_vec();
        return pick(site, data, axis, &constant);
    }
    let indices = site.builder.cast(&format!("{}.indices", site.name), indices, ElementType::Int)?;
    site.builder.emit(site.name, Op::Gather { axis }, &[data, indices])
}

/// Entries of an axis at constant places, in the result's shape: a slice where the places are at equal distances.
fn pick(site: &mut Site, data: NodeIndex, axis: usize, places: &[i64]) -> Result<NodeIndex, String> {
    let size = site.builder.shape(data)[axis];
    let resolved: Vec<usize> = places
        .iter()
        .map(|&p| {
            let from_start = if p < 0 { p.checked_add(size as i64) } else { Some(p) };
            let place = from_start.and_then(|p| usize::try_from(p).ok()).filter(|&p| p < size);
            place.ok_or_else(|| {
                format!("the constant index {p} is outside the {size} entries of axis {axis}; correct the model")
            })
        })
        .collect::<Result<_, _>>()?;
    let (name, shape) = (site.name, site.output.shape.clone());
    if let Some((start, step)) = progression(&resolved) {
        let part = site.builder.slice(&format!("{name}.slice"), data, axis, (start, resolved.len(), step))?;
        return site.builder.reshape(name, part, shape);
    }
    let wanted = TensorType { element: ElementType::Int, shape: vec![resolved.len()] };
    let resolved = ConstantData::Int(resolved.into_iter().map(|p| p as i64).collect());
    let indices = site.builder.constant(&format!("{name}.indices"), wanted, resolved);
    let flat = site.builder.emit(name, Op::Gather { axis }, &[data, indices])?;
    site.builder.reshape(&format!("{name}.shape"), flat, shape)
}

/// First index and distance, when the indices rise by equal steps.
fn progression(indices: &[usize]) -> Option<(usize, usize)> {
    let start = *indices.first()?;
    let step = match indices.get(1) {
        Some(second) => second.checked_sub(start).filter(|&step| step > 0)?,
        None => 1,
    };
    indices.iter().enumerate().all(|(i, &index)| index == start + i * step).then_some((start, step))
}

/// Result `i..` is operand `i..` with the index on `axis` replaced by the one in the table: a look-up in the flat operand.
fn gather_elements(site: &mut Site, axis: usize) -> Result<NodeIndex, String> {
    let (data, indices) = (site.operands[0], site.operands[1]);
    let (sizes, shape) = (site.builder.shape(data), site.builder.shape(indices));
    let step: usize = sizes[axis + 1..].iter().product();
    let mut starts = Vec::with_capacity(count(&shape));
    for at in ndarray::indices(shape.as_slice()) {
        let start =
            sizes.iter().enumerate().fold(0, |flat, (d, &size)| flat * size + if d == axis { 0 } else { at[d] });
        starts.push(start as i64);
    }
    let name = site.name;
    let indices = wrapped(site, indices, sizes[axis])?;
    let step = super::order::integer(site, indices, step as i64);
    let wanted = TensorType { element: ElementType::Int, shape: shape.clone() };
    let b = &mut *site.builder;
    let starts = b.constant(&format!("{name}.starts"), wanted, ConstantData::Int(starts.into()));
    let places = b.binary(&format!("{name}.steps"), BinaryOp::Mul, indices, step)?;
    let places = b.binary(&format!("{name}.places"), BinaryOp::Add, places, starts)?;
    let flat = b.reshape(&format!("{name}.flat"), data, vec![count(&sizes)])?;
    look_up(site, flat, places)
}

/// Rows of the operand at places given by several indices each: a look-up in the operand with these axes merged.
fn gather_nd(site: &mut Site, batch: usize) -> Result<NodeIndex, String> {
    let (data, indices) = (site.operands[0], site.operands[1]);
    let (sizes, shape) = (site.builder.shape(data), site.builder.shape(indices));
    let depth = *shape.last().ok_or("the indices have no axis")?;
    let merged = batch + depth;
    if depth == 0 || merged > sizes.len() {
        return Err(format!("{depth} indices do not fit the operand's shape {sizes:?}"));
    }
    let places = row_numbers(site, indices, &sizes, batch)?;
    let rest = [vec![count(&sizes[..merged])], sizes[merged..].to_vec()].concat();
    let flat = site.builder.reshape(&format!("{}.flat", site.name), data, rest)?;
    look_up(site, flat, places)
}

/// Rows of `flat`, in the result's shape.
fn look_up(site: &mut Site, flat: NodeIndex, places: NodeIndex) -> Result<NodeIndex, String> {
    if let Some(constant) = site.builder.integers(places) {
        let constant = constant.to_vec();
        return pick(site, flat, 0, &constant);
    }
    let found = site.builder.emit(site.name, Op::Gather { axis: 0 }, &[flat, places])?;
    let shape = site.output.shape.clone();
    site.builder.reshape(&format!("{}.shape", site.name), found, shape)
}

/// From `[.., depth]` indices into the axes behind `batch` ones to `[..]` row numbers of the operand with all these axes
/// merged. The batch axes come first in both, in the same order.
pub(super) fn row_numbers(
    site: &mut Site,
    indices: NodeIndex,
    sizes: &[usize],
    batch: usize,
) -> Result<NodeIndex, String> {
    let shape = site.builder.shape(indices);
    let (tuples, depth) = shape.split_at(shape.len() - 1);
    let per_batch = count(&tuples[batch..]).max(1);
    let batches = (0..count(tuples)).map(|row| (row / per_batch) as i64).collect();
    let wanted = TensorType { element: ElementType::Int, shape: tuples.to_vec() };
    let name = site.name;
    let mut rows = site.builder.constant(&format!("{name}.batch"), wanted, ConstantData::Int(batches));
    for i in 0..depth[0] {
        let size = sizes[batch + i];
        let index = site.builder.slice(&format!("{name}.index{i}"), indices, tuples.len(), (i, 1, 1))?;
        let index = site.builder.reshape(&format!("{name}.index{i}"), index, tuples.to_vec())?;
        let index = wrapped(site, index, size)?;
        let size = super::order::integer(site, rows, size as i64);
        let b = &mut *site.builder;
        rows = b.binary(&format!("{name}.merged{i}"), BinaryOp::Mul, rows, size)?;
        rows = b.binary(&format!("{name}.row{i}"), BinaryOp::Add, rows, index)?;
    }
    Ok(rows)
}

/// Indices of which negative ones count from the end of an axis, as ones that do not. Constant ones are checked.
pub(super) fn wrapped(site: &mut Site, indices: NodeIndex, size: usize) -> Result<NodeIndex, String> {
    let name = site.name;
    let indices = site.builder.cast(&format!("{name}.integer"), indices, ElementType::Int)?;
    if let Some(values) = site.builder.integers(indices) {
        let inside = |index: i64| (-(size as i64)..size as i64).contains(&index);
        if let Some(index) = values.iter().find(|index| !inside(**index)) {
            return Err(format!("the constant index {index} is outside {size} entries; correct the model"));
        }
    }
    let (zero, size) = (super::order::zero(site, indices), super::order::integer(site, indices, size as i64));
    let b = &mut *site.builder;
    let negative = b.binary(&format!("{name}.negative"), BinaryOp::Lt, indices, zero)?;
    let from_end = b.binary(&format!("{name}.from_end"), BinaryOp::Add, indices, size)?;
    b.emit(&format!("{name}.wrapped"), Op::Select, &[negative, from_end, indices])
}
