//! Sine and cosine of f32 vectors.
//!
//! `x = n * pi/2 + r` with `r` within `pi/4` of 0 (Cody and Waite: `pi/2` in three parts, each product and difference with one
//! rounding), then a polynomial for each of `sin r` and `cos r`, of which the last two bits of `n` choose one and its sign.
//! The coefficients are minimax fits over `abs(r) <= 0.8`, made for this file by Lawson's iteration: relative error 4.4e-9
//! for the sine, absolute error 1.2e-10 for the cosine, before the rounding of the arithmetic.

use super::{Vector, polynomial};
use crate::code::{Code, float, int};
use waferloom_fabric::VectorOp;

/// Largest operand: up to it `n` is exact enough for `r` to stay near `pi/4`. Beyond, the result is NaN.
const LARGEST_ANGLE: f32 = 1e5;

/// `pi/2` in three parts.
const HALF_PI: [f32; 3] = [1.570_796_4, -4.371_139e-8, -1.715_124_5e-15];

/// `(sin r - r) / r^3` in `r^2`.
const SINE: [f32; 3] = [-0.166_666_54, 8.332_071e-3, -1.950_306_9e-4];
/// `cos r` in `r^2`.
const COSINE: [f32; 5] = [1.0, -0.5, 4.166_664_6e-2, -1.388_725_1e-3, 2.442_492_4e-5];

/// Working vectors of [`emit`].
pub(super) const VECTORS: u32 = 5;

/// Emits `x = sin(x + quarters * pi/2)`: the sine for 0, the cosine for 1.
pub(super) fn emit(code: &mut Code, x: Vector, scratch: &[Vector], quarters: i32) {
    let [turns, count, square, sine, cosine] = [scratch[0], scratch[1], scratch[2], scratch[3], scratch[4]];
    code.vector(VectorOp::Abs, turns.f32(), &[x.f32()]);
    code.vector(VectorOp::Le, count.i32(), &[turns.f32(), float(LARGEST_ANGLE)]);
    code.vector(VectorOp::Select, x.f32(), &[count.i32(), x.f32(), float(f32::NAN)]);

    code.vector(VectorOp::Mul, turns.f32(), &[x.f32(), float(std::f32::consts::FRAC_2_PI)]);
    code.vector(VectorOp::Round, count.i32(), &[turns.f32()]);
    code.mov(turns.f32(), count.i32());
    for part in HALF_PI {
        code.vector(VectorOp::Mac, x.f32(), &[x.f32(), turns.f32(), float(-part)]);
    }
    code.vector(VectorOp::Mul, square.f32(), &[x.f32(), x.f32()]);
    polynomial(code, sine, square, &SINE);
    code.vector(VectorOp::Mul, sine.f32(), &[sine.f32(), square.f32()]);
    code.vector(VectorOp::Mac, sine.f32(), &[x.f32(), sine.f32(), x.f32()]);
    polynomial(code, cosine, square, &COSINE);

    // Odd quarters are the cosine's; the second half of a turn is negative.
    code.vector(VectorOp::Add, count.i32(), &[count.i32(), int(quarters)]);
    code.vector(VectorOp::And, turns.i32(), &[count.i32(), int(1)]);
    code.vector(VectorOp::Select, x.f32(), &[turns.i32(), cosine.f32(), sine.f32()]);
    code.vector(VectorOp::And, count.i32(), &[count.i32(), int(2)]);
    code.vector(VectorOp::Shl, count.i32(), &[count.i32(), int(30)]);
    code.vector(VectorOp::Xor, x.i32(), &[x.i32(), count.i32()]);
}
