//! Right operands of products that are constants of the program: their matrices are taken from there, if nobody has asked for them in the PEs'
//! memories ([`crate::machine::planes`]).

use crate::machine::numerics::Element;
use pulp::bytemuck;
use std::borrow::Cow;
use waferloom_fabric::{ClaimKind, Constant, Dtype, Payload, ProductClaim, Split};

/// Whether a constant is dealt to the PEs as a product has its right operand, with tiles at the same address.
pub(super) fn is_right(claim: &ProductClaim, constant: &Constant) -> bool {
    let (region, right, distribution) = (&claim.region, &claim.right, &constant.distribution);
    let (Some(x), Some(y)) = (distribution.x, distribution.y) else { return false };
    let size = |split: Split| distribution.shape.get(split.dim as usize).copied().unwrap_or(0);
    let (rows, columns) = (size(y), size(x));
    // One product of all PEs, without a second round of columns.
    claim.kind == ClaimKind::Product
        && claim.batch.iter().all(|dim| dim.size == 1)
        && claim.left.split
        && right.split
        && [constant.origin.x, constant.origin.y] == [region.x, region.y]
        && [distribution.grid.width, distribution.grid.height] == [region.width, region.height]
        && x.blocks(columns) <= region.width.into()
        && rows == claim.inner
        // Its rows lie one behind the other, and those of a tile.
        && x.dim == y.dim + 1
        && u64::from(rows) * u64::from(columns) == distribution.elements() as u64
        && [x.block, y.block] == [claim.columns, claim.block]
        && [right.line, right.step, right.slot] == [1, claim.columns, claim.columns * claim.block]
        && constant.dtype == claim.dtype
        && matches!(constant.payload, Payload::Inline(_))
}

/// The matrix of a right operand as it lies in the program, if it lies there as the host has it; it may have fewer columns than the PEs.
pub(super) fn dense(constant: &Constant, rows: usize) -> Option<&[f32]> {
    let Payload::Inline(bytes) = &constant.payload else { return None };
    let is_own = constant.dtype == Dtype::F32 && cfg!(target_endian = "little");
    let matrix: &[f32] = is_own.then(|| bytemuck::try_cast_slice(bytes).ok())??;
    matrix.len().is_multiple_of(rows.max(1)).then_some(matrix)
}

/// The matrix of a right operand, whose rows have `pitch` columns.
pub(super) fn matrix(constant: &Constant, rows: usize, pitch: usize) -> Cow<'_, [f32]> {
    let Payload::Inline(bytes) = &constant.payload else { return Cow::Owned(vec![0.0; rows * pitch]) };
    let size = constant.dtype.bytes() as usize;
    let columns = bytes.len() / size / rows.max(1);
    if columns == pitch
        && let Some(matrix) = dense(constant, rows)
    {
        return Cow::Borrowed(matrix);
    }
    let mut matrix = vec![0.0; rows * pitch];
    for (row, bytes) in matrix.chunks_mut(pitch.max(1)).zip(bytes.chunks((columns * size).max(1))) {
        for (number, bytes) in row.iter_mut().zip(bytes.chunks(size)) {
            let bits = bytes.iter().rev().fold(0, |bits, &byte| bits << 8 | u32::from(byte));
            *number = Element::from_bits(bits, constant.dtype).float();
        }
    }
    Cow::Owned(matrix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use waferloom_fabric::{ClaimBatch, ClaimOperand, Region};

    /// Of a product of [rows, 5] with [5, 3] on 2x2 PEs: blocks of 2 inner indices and of 2 columns; the last of each is short.
    fn case() -> (ProductClaim, Constant) {
        let text = "program p machine bench16 grid 3x2
class c { buffer all at 0 bytes 64 scratch task 8 main local activated { } }
place c at 0,0 size 3x2
const w : f32[1, 5, 3] at 4 origin 1,0 on 2x2 x dim 2 by 2 y dim 1 by 2 = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]";
        let program = waferloom_fabric::text::parse(text).expect("valid");
        let claim = ProductClaim {
            kind: ClaimKind::Product,
            region: Region::rect(1, 0, 2, 2),
            dtype: Dtype::F32,
            rows: 1,
            columns: 2,
            inner: 5,
            block: 2,
            left: ClaimOperand { split: true, matrix: 4, slot: 2, line: 2, step: 1 },
            right: ClaimOperand { split: true, matrix: 8, slot: 4, line: 1, step: 2 },
            batch: Vec::new(),
        };
        (claim, program.constants[0].clone())
    }

    #[test]
    fn a_constant_is_a_right_operand_as_it_is_dealt() {
        let (claim, constant) = case();
        assert!(is_right(&claim, &constant));
        let batch = vec![ClaimBatch { size: 2, left: 1, right: 0 }];
        let others: [ProductClaim; 6] = [
            ProductClaim { region: Region::rect(0, 0, 2, 2), ..claim.clone() },
            ProductClaim { dtype: Dtype::F16, ..claim.clone() },
            ProductClaim { block: 1, ..claim.clone() },
            ProductClaim { inner: 4, ..claim.clone() },
            ProductClaim { right: ClaimOperand { step: 1, line: 2, ..claim.right }, ..claim.clone() },
            ProductClaim { batch, ..claim.clone() },
        ];
        assert!(others.iter().all(|other| !is_right(other, &constant)));
    }

    #[test]
    fn its_matrix_has_the_tiles_that_pes_would_have() {
        let (claim, constant) = case();
        let matrix = matrix(&constant, 5, 4);
        let tiles = constant.distribution.tiles();
        let Payload::Inline(bytes) = &constant.payload else { panic!("a constant of a text") };
        let numbers: Vec<f32> = bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        for (x, y) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let mut tile = Vec::new();
            tiles.for_each_run(x, y, |first, length| {
                tile.extend((0..length).map(|i| first.map_or(0.0, |first| numbers[first + i])));
            });
            for (place, &number) in tile.iter().enumerate() {
                let (slot, index, column) = (place / 4, place % 4 / 2, place % 2);
                let inner = (slot * 2 + usize::from(y)) * claim.block as usize + index;
                if inner < 5 {
                    assert_eq!(matrix[inner * 4 + usize::from(x) * 2 + column], number, "{x}, {y}: {place}");
                }
            }
        }
    }
}
