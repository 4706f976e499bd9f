//! The products of [`ClaimKind::ColumnSums`](waferloom_fabric::ClaimKind::ColumnSums): each PE's own, added up along columns.

use super::multiply::{Sizes, multiply};
use super::tiles::Tiles;
use crate::machine::numerics;
use crate::machine::planes::Memory;
use rayon::prelude::*;
use waferloom_fabric::ProductClaim;

/// Multiply-adds of a column that are worth more threads than one.
const WORTH_THREADS: usize = 1 << 20;

/// A column of PEs.
pub(super) struct Column {
    /// The operands of each PE that has begun, from the north: `[rows, depth]` and `[depth, columns]`.
    parts: Vec<Option<[Vec<f32>; 2]>>,
    sums: Option<Vec<f32>>,
    /// PEs that have not begun.
    before: usize,
}

impl Column {
    pub(super) fn new(claim: &ProductClaim) -> Self {
        Self { parts: vec![None; claim.region.height.into()], sums: None, before: claim.region.height.into() }
    }

    /// Takes the tiles of the PE in a row; `None` when they do not lie in memory.
    pub(super) fn begin(&mut self, claim: &ProductClaim, y: usize, memory: Memory<'_>, at: [i64; 2]) -> Option<()> {
        let [rows, columns, inner, block] = [claim.rows, claim.columns, claim.inner, claim.block].map(|n| n as usize);
        let depth = inner.saturating_sub(y * block).min(block);
        let (mut left, mut right) = (vec![0.0; rows * depth], vec![0.0; depth * columns]);
        if depth > 0 {
            let tile = |side: usize| {
                let shape = [claim.left, claim.right][side];
                Tiles { memory, pes: 1, at: at[side], dtype: claim.dtype, shape }
            };
            tile(0).rows([0, 0], [rows, depth], &mut left, depth)?;
            tile(1).columns([0, 0], [columns, depth], &mut right, columns)?;
        }
        self.parts[y] = Some([left, right]);
        self.before -= 1;
        Some(())
    }

    /// Whether all PEs have begun.
    pub(super) fn is_complete(&self) -> bool {
        self.before == 0
    }

    /// Adds the column's sums, row-major, to `tile`; `None` when a PE has not begun.
    pub(super) fn end(&mut self, claim: &ProductClaim, on_threads: bool, tile: &mut Vec<f32>) -> Option<()> {
        if self.sums.is_none() {
            let parts = self.parts.iter().map(Option::as_ref).collect::<Option<Vec<_>>>()?;
            let [rows, columns] = [claim.rows, claim.columns].map(|n| n as usize);
            let product = |[left, right]: &[Vec<f32>; 2]| {
                let mut result = vec![0.0; rows * columns];
                multiply(&mut result, Sizes::dense(rows, columns, left.len() / rows), None, |_| [left, right], false);
                result
            };
            let products: Vec<Vec<f32>> = if on_threads && rows * columns * claim.inner as usize > WORTH_THREADS {
                parts.into_par_iter().map(product).collect()
            } else {
                parts.into_iter().map(product).collect()
            };
            self.sums = products
                .into_iter()
                .rev()
                .reduce(|sums, own| sums.iter().zip(&own).map(|(&sum, &own)| numerics::sum(sum, own)).collect());
            self.parts.clear();
        }
        tile.extend_from_slice(self.sums.as_ref()?);
        Some(())
    }
}
