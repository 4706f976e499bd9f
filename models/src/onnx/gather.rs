//! Look-ups by index.

use petgraph::graph::NodeIndex;
use tract_onnx::tract_core::ops::array::{Gather, GatherElements, GatherNd};

use super::translate::{Site, Translated};
use crate::graph::{ConstantData, ElementType, Op, TensorType};
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

fn constant_indices(site: &Site) -> Result<(Vec<i64>, Vec<usize>), String> {
    let indices = site.operands[1];
    let values = site.builder.integers(indices).ok_or(
        "indices that the model computes are only supported in Gather; look up with Gather, or export with fixed sizes so that the indices are constant",
    )?;
    Ok((values.to_vec(), site.builder.shape(indices)))
}

/// Result `i..` is operand `i..` with the index on `axis` replaced by the one in the table: a look-up in the flat operand.
fn gather_elements(site: &mut Site, axis: usize) -> Result<NodeIndex, String> {
    let (values, shape) = constant_indices(site)?;
    let data = site.operands[0];
    let sizes = site.builder.shape(data);
    let mut places = Vec::with_capacity(values.len());
    for (at, &value) in ndarray::indices(shape.as_slice()).into_iter().zip(&values) {
        let mut flat = 0;
        for (d, &size) in sizes.iter().enumerate() {
            flat = flat * size as i64 + if d == axis { wrapped(value, size)? } else { at[d] as i64 };
        }
        places.push(flat);
    }
    let flat = site.builder.reshape(&format!("{}.flat", site.name), data, vec![count(&sizes)])?;
    pick(site, flat, 0, &places)
}

/// Rows of the operand at places given by several indices each: a look-up in the operand with these axes merged.
fn gather_nd(site: &mut Site, batch: usize) -> Result<NodeIndex, String> {
    let (values, shape) = constant_indices(site)?;
    let data = site.operands[0];
    let sizes = site.builder.shape(data);
    let depth = *shape.last().ok_or("the indices have no axis")?;
    let merged = batch + depth;
    if depth == 0 || merged > sizes.len() {
        return Err(format!("{depth} indices do not fit the operand's shape {sizes:?}"));
    }
    let per_batch = count(&shape[batch..shape.len() - 1]).max(1);
    let mut places = Vec::new();
    for (row, tuple) in values.chunks_exact(depth).enumerate() {
        // The batch axes come first in both, in the same order.
        let mut flat = (row / per_batch) as i64;
        for (&value, &size) in tuple.iter().zip(&sizes[batch..]) {
            flat = flat * size as i64 + wrapped(value, size)?;
        }
        places.push(flat);
    }
    let rest = [vec![count(&sizes[..merged])], sizes[merged..].to_vec()].concat();
    let flat = site.builder.reshape(&format!("{}.flat", site.name), data, rest)?;
    pick(site, flat, 0, &places)
}

fn wrapped(index: i64, size: usize) -> Result<i64, String> {
    let wrapped = if index < 0 { index.saturating_add(size as i64) } else { index };
    if (0..size as i64).contains(&wrapped) {
        Ok(wrapped)
    } else {
        Err(format!("the constant index {index} is outside {size} entries; correct the model"))
    }
}
