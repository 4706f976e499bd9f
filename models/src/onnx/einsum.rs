//! Sums of products over named axes become matrix products.

use petgraph::graph::NodeIndex;
use tract_onnx::tract_core::axes::AxesMapping;
use tract_onnx::tract_core::internal::InOut;
use tract_onnx::tract_core::ops::einsum::EinSum;

use super::translate::{Site, Translated};
use crate::graph::{Op, ReduceOp};

/// A tensor whose axes carry letters, each at most once.
#[derive(Clone, Debug)]
struct Named {
    id: NodeIndex,
    axes: Vec<char>,
    shape: Vec<usize>,
}

impl Named {
    fn has(&self, axis: char) -> bool {
        self.axes.contains(&axis)
    }

    fn size(&self, axis: char) -> usize {
        self.axes.iter().position(|&a| a == axis).map_or(1, |i| self.shape[i])
    }

    fn sizes(&self, axes: &[char]) -> Vec<usize> {
        axes.iter().map(|&a| self.size(a)).collect()
    }
}

pub(super) fn translate(site: &mut Site) -> Translated {
    let Some(op) = site.node.op_as::<EinSum>() else { return Ok(None) };
    if op.q_params.is_some() {
        return Err("quantised products are not supported; export the model in float32".into());
    }
    let result = letters(&op.axes, InOut::Out(0))?;
    let mut operands = Vec::new();
    for (slot, &id) in site.operands.iter().enumerate() {
        let axes = letters(&op.axes, InOut::In(slot))?;
        operands.push(Named { id, axes, shape: site.builder.shape(id) });
    }
    let product = match operands.as_slice() {
        [a] => sum_away(site, a, &result)?,
        [a, b] => product(site, a, b, &result)?,
        _ => return Err("a product of more than two tensors is not supported; multiply them two by two".into()),
    };
    arrange(site, &product, &result).map(Some)
}

fn letters(axes: &AxesMapping, of: InOut) -> Result<Vec<char>, String> {
    let mut letters = vec![None; axes.rank(of)];
    for axis in axes.iter_all_axes() {
        let places = axis.interface(of);
        if places.len() > 1 {
            return Err("a product over a diagonal is not supported; take the diagonal by a gather before".into());
        }
        for &place in places {
            letters[place] = Some(axis.repr);
        }
    }
    letters.into_iter().collect::<Option<_>>().ok_or_else(|| "an axis of the product has no letter".into())
}

/// Sums over the axes that are not kept.
fn sum_away(site: &mut Site, a: &Named, kept: &[char]) -> Result<Named, String> {
    let gone: Vec<usize> = (0..a.axes.len()).filter(|&i| !kept.contains(&a.axes[i])).collect();
    if gone.is_empty() {
        return Ok(a.clone());
    }
    let op = Op::Reduce { op: ReduceOp::Sum, axes: gone };
    let id = site.builder.emit(&format!("{}.sum", site.name), op, &[a.id])?;
    let axes: Vec<char> = a.axes.iter().copied().filter(|axis| kept.contains(axis)).collect();
    let shape = a.sizes(&axes);
    let id = site.builder.reshape(&format!("{}.summed", site.name), id, shape.clone())?;
    Ok(Named { id, axes, shape })
}

/// `a`'s axes in another order, those that it lacks with a size of 1, and runs of them merged: one axis a group.
fn grouped(site: &mut Site, a: &Named, groups: &[Vec<char>], what: &str) -> Result<NodeIndex, String> {
    let order: Vec<char> = groups.iter().flatten().copied().collect();
    let present: Vec<char> = order.iter().copied().filter(|&axis| a.has(axis)).collect();
    let axes = present.iter().filter_map(|axis| a.axes.iter().position(|x| x == axis)).collect();
    let id = site.builder.permute(&format!("{}.{what}", site.name), a.id, axes)?;
    let shape = groups.iter().map(|group| a.sizes(group).iter().product()).collect();
    site.builder.reshape(&format!("{}.{what}", site.name), id, shape)
}

/// The product of two tensors; its axes are those of the result that either operand has.
fn product(site: &mut Site, a: &Named, b: &Named, result: &[char]) -> Result<Named, String> {
    let keep = |own: &Named, other: &Named| -> Vec<char> {
        own.axes.iter().copied().filter(|&x| other.has(x) || result.contains(&x)).collect()
    };
    let (keep_a, keep_b) = (keep(a, b), keep(b, a));
    let (a, b) = (sum_away(site, a, &keep_a)?, sum_away(site, b, &keep_b)?);
    let inner: Vec<char> = b.axes.iter().copied().filter(|&x| a.has(x) && !result.contains(&x)).collect();
    let (a, b) = (stretched(site, &a, &b, &inner)?, stretched(site, &b, &a, &inner)?);
    // The right operand gives the last axis of the result. A constant, most often a weight, goes to the right in any case.
    let last_free = result.iter().rev().find(|&&x| a.has(x) != b.has(x));
    let constant = (site.builder.is_constant(a.id), site.builder.is_constant(b.id));
    let swap = constant.0 && !constant.1 || constant.0 == constant.1 && last_free.is_some_and(|&x| a.has(x));
    let (left, right) = if swap { (b, a) } else { (a, b) };
    multiply(site, &left, &right, &inner, result)
}

/// Repeats the summed axes of size 1 that are longer in the other operand.
fn stretched(site: &mut Site, a: &Named, other: &Named, inner: &[char]) -> Result<Named, String> {
    let shape: Vec<usize> = a
        .axes
        .iter()
        .zip(&a.shape)
        .map(|(&axis, &size)| if size == 1 && inner.contains(&axis) { other.size(axis) } else { size })
        .collect();
    let id = site.builder.broadcast(&format!("{}.repeat", site.name), a.id, shape.clone())?;
    Ok(Named { id, shape, axes: a.axes.clone() })
}

fn multiply(site: &mut Site, left: &Named, right: &Named, inner: &[char], result: &[char]) -> Result<Named, String> {
    let only = |own: &Named, other: &Named| -> Vec<char> {
        result.iter().copied().filter(|&x| own.has(x) && !other.has(x)).collect()
    };
    // All columns in one axis: a weight stays one matrix.
    let columns = only(right, left);
    let mut rows = only(left, right);
    let at = rows.iter().rposition(|&x| left.size(x) > 1).or(rows.len().checked_sub(1));
    let row: Vec<char> = at.map(|at| rows.remove(at)).into_iter().collect();
    // The other rows stay axes of their own, over which the right operand is shared.
    let batch: Vec<char> =
        result.iter().copied().filter(|&x| rows.contains(&x) || left.has(x) && right.has(x)).collect();
    // The order of the summed axes is free: that of the operand which cannot be rearranged for nothing.
    let inner: Vec<char> = left.axes.iter().copied().filter(|x| inner.contains(x)).collect();
    let head: Vec<Vec<char>> = batch.iter().map(|&x| vec![x]).collect();
    let left_groups = [head.clone(), vec![row.clone(), inner.clone()]].concat();
    let right_groups = [head, vec![inner, columns.clone()]].concat();
    let x = grouped(site, left, &left_groups, "left")?;
    let y = grouped(site, right, &right_groups, "right")?;
    let id = site.builder.emit(site.name, Op::MatMul, &[x, y])?;
    let axes = [batch, row, columns].concat();
    let shape: Vec<usize> = axes.iter().map(|&axis| left.size(axis).max(right.size(axis))).collect();
    let id = site.builder.reshape(&format!("{}.axes", site.name), id, shape.clone())?;
    Ok(Named { id, axes, shape })
}

/// The axes in the result's order, with those of size 1 that only the result has.
fn arrange(site: &mut Site, a: &Named, result: &[char]) -> Result<NodeIndex, String> {
    let axes = result.iter().filter_map(|axis| a.axes.iter().position(|x| x == axis)).collect();
    let id = site.builder.permute(&format!("{}.order", site.name), a.id, axes)?;
    let shape = site.output.shape.clone();
    site.builder.reshape(&format!("{}.shape", site.name), id, shape)
}
