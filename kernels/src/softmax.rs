//! Softmax along the dimension that is dealt to the columns of the mesh: `exp(a - max) / sum`.

use crate::code::{Code, Tile};
use crate::functions::{self, Function};
use crate::mesh::Mesh;
use crate::reduce::{self, Combine, Rows, per_row};
use waferloom_fabric::{Dtype, VectorOp};

/// Bytes of working memory for a tile of `rows` rows with `elements` elements: the exponentials, and a maximum and a sum a row.
pub fn scratch_bytes(rows: u32, elements: u32) -> u32 {
    let work = functions::map_scratch_bytes(elements, Function::Exp.scratch_vectors())
        .max(functions::map_scratch_bytes(rows, Function::Reciprocal.scratch_vectors()));
    work_offset(rows, elements) + work
}

/// Where the working vectors start: one 64-bit word further on in the banks than the exponentials, so that the two do not
/// collide when they are read together.
fn work_offset(rows: u32, elements: u32) -> u32 {
    (elements * 4 + 2 * rows * 4).next_multiple_of(32) + 8
}

/// Emits `dst = softmax(src)`. `spread` says whether a row is dealt to the columns of the mesh.
pub fn emit(code: &mut Code, mesh: &mut Mesh, dst: Tile, src: &Rows, spread: bool, scratch: u32) {
    let (rows, elements) = (src.rows, src.tile.elements);
    let values = Tile { address: scratch, elements, dtype: Dtype::F32 };
    let maximum = scratch + elements * 4;
    let sum = maximum + rows * 4;
    let work = scratch + work_offset(rows, elements);

    reduce::emit(code, mesh, Combine::Max, src, spread, maximum);
    let shifted = Rows { tile: values, ..*src };
    code.vector(VectorOp::Sub, shifted.all(), &[src.all(), per_row(maximum, rows, src.stride.into())]);
    in_chunks(code, Function::Exp, values, work);
    reduce::emit(code, mesh, Combine::Sum, &shifted, spread, sum);
    // The sum lies between 1 and the length of a row, or is NaN.
    let sums = Tile { address: sum, elements: rows, dtype: Dtype::F32 };
    functions::in_place(code, sums, Function::Reciprocal.scratch_vectors(), work, functions::positive_reciprocal);
    let result = Rows { tile: dst, ..*src };
    code.vector(VectorOp::Mul, result.all(), &[shifted.all(), per_row(sum, rows, src.stride.into())]);
}

/// Applies a function to an f32 tile in place.
pub fn in_chunks(code: &mut Code, function: Function, tile: Tile, scratch: u32) {
    functions::in_place(code, tile, function.scratch_vectors(), scratch, |code, x, work| function.emit(code, x, work));
}
