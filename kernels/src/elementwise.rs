//! Element by element operations with numpy's broadcast: no data leaves its PE.

use crate::code::{Code, Tile};
use crate::functions::{self, Vector};
use crate::nest::{self, View};
use waferloom_fabric::{Dtype, Operand, VectorOp};

/// A source: a tile with its local shape, or a number.
#[derive(Clone, Debug)]
pub enum Source {
    /// A tile; dimensions of one element are repeated.
    Tile {
        /// Where it lies.
        tile: Tile,
        /// Its local shape, of the destination's rank.
        shape: Vec<u32>,
    },
    /// The same number for every element.
    Scalar(Operand),
}

impl Source {
    fn view(&self, sizes: &[u32]) -> View {
        match self {
            Source::Tile { tile, shape } => View::broadcast(tile.address, tile.dtype, shape, sizes),
            Source::Scalar(operand) => View::Scalar(operand.clone()),
        }
    }
}

/// Emits `dst = op(sources)` over a tile of local shape `sizes`.
pub fn emit(code: &mut Code, op: VectorOp, dst: Tile, sizes: &[u32], sources: &[Source]) {
    let mut views = vec![View::broadcast(dst.address, dst.dtype, sizes, sizes)];
    views.extend(sources.iter().map(|s| s.view(sizes)));
    nest::emit(code, sizes, &views, 4, |code, operands| {
        code.vector(op, operands[0].clone(), &operands[1..]);
    });
}

/// Working vectors of [`divide`].
pub const DIVIDE_VECTORS: u32 = 6;

/// Emits `dst = a / b` over a tile of local shape `sizes`, chunk by chunk along its elements.
///
/// Quotients are computed in f32; those of integers are cut towards zero and exact up to 2^24: below, a quotient that is not
/// whole is further from the next integer than its rounding.
///
/// `scratch` is the address of [`functions::map_scratch_bytes`] for [`DIVIDE_VECTORS`]; operands that must be repeated are
/// first spread out in `spread`, the address of two f32 tiles of the destination's size.
pub fn divide(code: &mut Code, dst: Tile, sizes: &[u32], [a, b]: [&Source; 2], scratch: u32, spread: u32) {
    let full =
        |slot: u32| Tile { address: spread + slot * dst.elements * 4, elements: dst.elements, dtype: Dtype::F32 };
    for (slot, source) in [a, b].into_iter().enumerate() {
        emit(code, VectorOp::Mov, full(slot as u32), sizes, std::slice::from_ref(source));
    }
    functions::chunks(code, dst.elements, |code, start, len| {
        let work = functions::working(scratch, dst.elements, DIVIDE_VECTORS, len);
        let (top, bottom, quotient): (Vector, Vector, Vector) = (work[3], work[4], work[5]);
        let from = functions::part(code, full(0), start, len);
        code.mov(top.f32(), from);
        let from = functions::part(code, full(1), start, len);
        code.mov(bottom.f32(), from);
        functions::divide(code, quotient, top.f32(), bottom, &work[..3]);
        let to = functions::part(code, dst, start, len);
        code.mov(to, quotient.f32());
    });
}
