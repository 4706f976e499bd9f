//! Operators along rows that are dealt to the columns of the mesh: softmax, normalisation, reduction.

use super::Clock;
use waferloom_fabric::{Dtype, Extent};
use waferloom_kernels::functions::{Function, Length, positive_reciprocal, positive_rsqrt};
use waferloom_kernels::mesh::output;

/// Rows of a PE's tile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    /// Rows of the tile, batch included.
    pub(super) count: u64,
    /// Elements of the tile.
    pub(super) elements: u64,
    /// PEs among which a row is dealt; 1 where each has all of it.
    pub(super) pes: u64,
    /// Type of the elements.
    pub(super) dtype: Dtype,
}

impl Rows {
    /// The rows of a tile of sizes `tile`, whose last dimension is dealt to the columns of the mesh if it is `spread`.
    pub(super) fn new(tile: &[u32], spread: bool, grid: Extent, dtype: Dtype) -> Self {
        let elements = tile.iter().map(|&n| u64::from(n)).product();
        let count = tile.split_last().map_or(1, |(_, rows)| rows.iter().map(|&n| u64::from(n)).product());
        Self { count, elements, pes: if spread { grid.width.into() } else { 1 }, dtype }
    }
}

/// `kernels::softmax::emit`.
pub(super) fn softmax(clock: Clock<'_>, rows: Rows) -> u64 {
    let reciprocal = Length::of(3, positive_reciprocal);
    let wide = Rows { dtype: Dtype::F32, ..rows };
    combine(clock, rows)
        + clock.vector(rows.elements, &[Dtype::F32, rows.dtype])
        + clock.chunked(rows.elements, Length::of_function(Function::Exp), 1, &[])
        + combine(clock, wide)
        + clock.chunked(rows.count, reciprocal, 1, &[])
        + clock.vector(rows.elements, &[Dtype::F32, rows.dtype])
}

/// `kernels::normalize::emit`.
pub(super) fn normalize(clock: Clock<'_>, rows: Rows) -> u64 {
    let rsqrt = Length::of(3, positive_rsqrt);
    let wide = Rows { dtype: Dtype::F32, ..rows };
    combine(clock, rows)
        + 2 * clock.vector(rows.count, &[Dtype::F32])
        + clock.vector(rows.elements, &[Dtype::F32, rows.dtype])
        + clock.vector(rows.elements, &[Dtype::F32])
        + combine(clock, wide)
        + clock.chunked(rows.count, rsqrt, 1, &[])
        + clock.vector(rows.elements, &[Dtype::F32, rows.dtype])
}

/// A reduction as a step of its own, whose result is of the rows' type.
pub(super) fn reduce(clock: Clock<'_>, rows: Rows) -> u64 {
    let narrow = if rows.dtype == Dtype::F32 { 0 } else { clock.vector(rows.count, &[Dtype::F32, rows.dtype]) };
    combine(clock, rows) + narrow
}

/// `kernels::reduce::emit`: each PE's own rows, then over the PEs.
fn combine(clock: Clock<'_>, rows: Rows) -> u64 {
    clock.vector(rows.count, &[Dtype::F32])
        + clock.vector(rows.elements, &[Dtype::F32, rows.dtype])
        + clock.all_reduce(rows.pes, rows.count, output::CHAIN)
}
