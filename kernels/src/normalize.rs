//! Normalisation along the dimension that is dealt to the columns of the mesh: `(a - mean) / sqrt(variance + epsilon)`.
//!
//! [`emit`] makes two passes: the mean first, then the mean of the squared distances from it, which keeps small variances exact. [`emit_rms`]
//! leaves the mean out: `a / sqrt(mean of squares + epsilon)`.

use crate::code::{Code, Tile, float};
use crate::functions::{self, Function};
use crate::mesh::Mesh;
use crate::reduce::{self, Combine, Rows, per_row};
use waferloom_fabric::{Dtype, VectorOp};

/// Bytes of working memory for a tile of `rows` rows with `elements` elements: distances, their squares, one result a row.
pub fn scratch_bytes(rows: u32, elements: u32) -> u32 {
    2 * elements * 4 + rows * 4 + functions::map_scratch_bytes(rows, Function::Rsqrt.scratch_vectors())
}

/// Emits `dst = normalize(src)` over rows of `length` elements in all. `spread` says whether a row is dealt to the columns.
#[expect(clippy::too_many_arguments, reason = "each is one fact of the operator")]
pub fn emit(
    code: &mut Code,
    mesh: &mut Mesh,
    dst: Tile,
    src: &Rows,
    length: u32,
    epsilon: f32,
    spread: bool,
    scratch: u32,
) {
    let (rows, elements) = (src.rows, src.tile.elements);
    let distance = Rows { tile: Tile { address: scratch, elements, dtype: Dtype::F32 }, ..*src };
    let square = Rows { tile: Tile { address: scratch + elements * 4, elements, dtype: Dtype::F32 }, ..*src };
    let statistic = Tile { address: scratch + 2 * elements * 4, elements: rows, dtype: Dtype::F32 };
    let work = statistic.address + rows * 4;
    let reciprocal = float(1.0 / length as f32);
    let broadcast = || per_row(statistic.address, rows, src.stride.into());

    reduce::emit(code, mesh, Combine::Sum, src, spread, statistic.address);
    code.vector(VectorOp::Mul, statistic.vector(), &[statistic.vector(), reciprocal.clone()]);
    code.vector(VectorOp::Sub, distance.all(), &[src.all(), broadcast()]);
    code.vector(VectorOp::Mul, square.all(), &[distance.all(), distance.all()]);
    reduce::emit(code, mesh, Combine::Sum, &square, spread, statistic.address);
    code.vector(VectorOp::Mac, statistic.vector(), &[float(epsilon), statistic.vector(), reciprocal]);
    functions::in_place(code, statistic, Function::Rsqrt.scratch_vectors(), work, functions::positive_rsqrt);
    let result = Rows { tile: dst, ..*src };
    code.vector(VectorOp::Mul, result.all(), &[distance.all(), broadcast()]);
}

/// Bytes of working memory of [`emit_rms`]: the squares, and one result a row.
pub fn rms_scratch_bytes(rows: u32, elements: u32) -> u32 {
    elements * 4 + rows * 4 + functions::map_scratch_bytes(rows, Function::Rsqrt.scratch_vectors())
}

/// Emits `dst = src / sqrt(mean of squares + epsilon)` over rows of `length` elements in all (B. Zhang and R. Sennrich, *Root
/// Mean Square Layer Normalization*, 2019). `spread` says whether a row is dealt to the columns.
#[expect(clippy::too_many_arguments, reason = "each is one fact of the operator")]
pub fn emit_rms(
    code: &mut Code,
    mesh: &mut Mesh,
    dst: Tile,
    src: &Rows,
    length: u32,
    epsilon: f32,
    spread: bool,
    scratch: u32,
) {
    let (rows, elements) = (src.rows, src.tile.elements);
    let square = Rows { tile: Tile { address: scratch, elements, dtype: Dtype::F32 }, ..*src };
    let statistic = Tile { address: scratch + elements * 4, elements: rows, dtype: Dtype::F32 };
    let work = statistic.address + rows * 4;
    code.vector(VectorOp::Mul, square.all(), &[src.all(), src.all()]);
    reduce::emit(code, mesh, Combine::Sum, &square, spread, statistic.address);
    let mean = [float(epsilon), statistic.vector(), float(1.0 / length as f32)];
    code.vector(VectorOp::Mac, statistic.vector(), &mean);
    functions::in_place(code, statistic, Function::Rsqrt.scratch_vectors(), work, functions::positive_rsqrt);
    let result = Rows { tile: dst, ..*src };
    code.vector(VectorOp::Mul, result.all(), &[src.all(), per_row(statistic.address, rows, src.stride.into())]);
}
