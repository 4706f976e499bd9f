//! Loop nests over operands: dimensions are merged where every operand allows it, up to four become one descriptor, the rest
//! become loops.

use crate::code::{Code, memory};
use waferloom_fabric::{Dtype, Operand, ScalarOp, Value};

/// An operand of a nest: a dense or broadcast tensor in memory, or the same number everywhere.
#[derive(Clone, Debug)]
pub enum View {
    /// Elements in memory.
    Memory {
        /// Address of the first element.
        base: Value,
        /// Type of the elements.
        dtype: Dtype,
        /// Elements between two indices, for each dimension of the nest.
        strides: Vec<i32>,
    },
    /// A number.
    Scalar(Operand),
}

impl View {
    /// A dense row-major tile seen from a nest of `sizes`: dimensions of the tile that have one element are repeated.
    pub fn broadcast(base: impl Into<Value>, dtype: Dtype, tile: &[u32], sizes: &[u32]) -> Self {
        let mut strides = vec![0; sizes.len()];
        let mut stride = 1;
        for (dim, &size) in tile.iter().enumerate().rev() {
            if size != 1 {
                strides[dim] = stride;
            }
            stride *= size as i32;
        }
        View::Memory { base: base.into(), dtype, strides }
    }

    fn stride(&self, dim: usize) -> i32 {
        match self {
            View::Memory { strides, .. } => strides[dim],
            View::Scalar(_) => 0,
        }
    }
}

/// Dimensions after merging: size and, per operand, stride; the outermost first. At least one.
fn merge(sizes: &[u32], views: &[View]) -> Vec<(u32, Vec<i32>)> {
    let mut merged: Vec<(u32, Vec<i32>)> = Vec::new();
    for (dim, &size) in sizes.iter().enumerate() {
        if size == 1 {
            continue;
        }
        let strides: Vec<i32> = views.iter().map(|v| v.stride(dim)).collect();
        match merged.last_mut() {
            Some((outer_size, outer)) if outer.iter().zip(&strides).all(|(&o, &s)| o == s * size as i32) => {
                *outer_size *= size;
                *outer = strides;
            }
            _ => merged.push((size, strides)),
        }
    }
    if merged.is_empty() {
        merged.push((1, vec![0; views.len()]));
    }
    merged
}

/// Emits `body` once over the whole nest: it is given one operand per view. Dimensions beyond `max_dims` become loops.
pub fn emit(code: &mut Code, sizes: &[u32], views: &[View], max_dims: usize, body: impl FnOnce(&mut Code, &[Operand])) {
    let dims = merge(sizes, views);
    let split = dims.len().saturating_sub(max_dims);
    let bases: Vec<Option<Value>> = views
        .iter()
        .map(|v| match v {
            View::Memory { base, .. } => Some(*base),
            View::Scalar(_) => None,
        })
        .collect();
    emit_loops(code, &dims[..split], &dims[split..], views, &bases, body);
}

fn emit_loops(
    code: &mut Code,
    outer: &[(u32, Vec<i32>)],
    inner: &[(u32, Vec<i32>)],
    views: &[View],
    bases: &[Option<Value>],
    body: impl FnOnce(&mut Code, &[Operand]),
) {
    let Some(((size, strides), rest)) = outer.split_first() else {
        let operands: Vec<Operand> =
            views.iter().enumerate().map(|(i, view)| operand(view, bases[i], inner, i)).collect();
        return body(code, &operands);
    };
    code.repeat(*size, |code, counter| {
        let moved: Vec<Option<Value>> = views
            .iter()
            .zip(bases)
            .zip(strides)
            .map(|((view, &base), &stride)| match (view, base) {
                (View::Memory { dtype, .. }, Some(base)) if stride != 0 => {
                    let at = code.register();
                    code.scalar(ScalarOp::Mul, at, counter, stride * dtype.bytes() as i32);
                    code.scalar(ScalarOp::Add, at, at, base);
                    Some(at.into())
                }
                _ => base,
            })
            .collect();
        emit_loops(code, rest, inner, views, &moved, body);
    });
}

fn operand(view: &View, base: Option<Value>, dims: &[(u32, Vec<i32>)], index: usize) -> Operand {
    match (view, base) {
        (View::Memory { dtype, .. }, Some(base)) => {
            let dims: Vec<(Value, Value)> =
                dims.iter().map(|(size, strides)| ((*size).into(), strides[index].into())).collect();
            memory(base, 0, *dtype, &dims)
        }
        (View::Scalar(operand), _) => operand.clone(),
        (View::Memory { .. }, None) => unreachable!("a memory view has a base"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_operands_merge_into_one_dimension() {
        let dense = View::broadcast(0, Dtype::F32, &[2, 3, 4], &[2, 3, 4]);
        assert_eq!(merge(&[2, 3, 4], &[dense.clone(), dense]), [(24, vec![1, 1])]);
    }

    #[test]
    fn a_repeated_row_keeps_two_dimensions() {
        let dense = View::broadcast(0, Dtype::F32, &[2, 3, 4], &[2, 3, 4]);
        let row = View::broadcast(64, Dtype::F32, &[1, 1, 4], &[2, 3, 4]);
        // Rows of 4 elements: 2 * 3 of them, 4 apart in one operand, the same one in the other.
        assert_eq!(merge(&[2, 3, 4], &[dense, row]), [(6, vec![4, 0]), (4, vec![1, 1])]);
    }
}
