//! Natural logarithm of f32 vectors.
//!
//! `x = 2^e * (1 + f)` with `1 + f` between `sqrt(1/2)` and `sqrt(2)`, from the bits; then
//! `log x = e ln 2 + f - f^2 / 2 + f^3 p(f)`. The coefficients of `p` are a minimax fit over that range, made for this file by
//! Lawson's iteration: relative error 5.8e-9 of `log(1 + f)`, before the rounding of the arithmetic.

use super::{Vector, polynomial, refuse_negative};
use crate::code::{Code, float, int};
use waferloom_fabric::VectorOp;

/// The bits of `sqrt(1/2)`, where the range of `1 + f` starts.
const ROOT_HALF: i32 = 0x3F35_04F3;

/// `(log(1 + f) - f) / f^2`: `-1/2 + f p(f)`.
const TAIL: [f32; 9] = [
    -0.5,
    0.333_333_3,
    -0.250_008_2,
    0.200_012_27,
    -0.166_233_58,
    0.142_017_59,
    -0.131_601_75,
    0.127_615_62,
    -7.634_491e-2,
];

/// `ln 2` in two parts, the first one short: its product with an exponent is exact.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];

/// Working vectors of [`emit`].
pub(super) const VECTORS: u32 = 3;

/// Emits `x = log(x)`.
pub(super) fn emit(code: &mut Code, x: Vector, scratch: &[Vector]) {
    let [exponent, fraction, result] = [scratch[0], scratch[1], scratch[2]];
    code.vector(VectorOp::Sub, exponent.i32(), &[x.i32(), int(ROOT_HALF)]);
    code.vector(VectorOp::Shr, exponent.i32(), &[exponent.i32(), int(23)]);
    code.vector(VectorOp::Mac, fraction.i32(), &[x.i32(), exponent.i32(), int(-(1 << 23))]);
    code.vector(VectorOp::Sub, fraction.f32(), &[fraction.f32(), float(1.0)]);
    code.mov(exponent.f32(), exponent.i32());
    polynomial(code, result, fraction, &TAIL);
    // Small parts first; the exponent's large one comes last.
    code.vector(VectorOp::Mul, result.f32(), &[result.f32(), fraction.f32()]);
    code.vector(VectorOp::Mul, result.f32(), &[result.f32(), fraction.f32()]);
    code.vector(VectorOp::Mac, result.f32(), &[result.f32(), exponent.f32(), float(LN_2[1])]);
    code.vector(VectorOp::Add, result.f32(), &[result.f32(), fraction.f32()]);
    code.vector(VectorOp::Mac, result.f32(), &[result.f32(), exponent.f32(), float(LN_2[0])]);
    // Infinity and NaN are their own logarithms.
    code.vector(VectorOp::Lt, fraction.i32(), &[x.f32(), float(f32::INFINITY)]);
    code.vector(VectorOp::Select, result.f32(), &[fraction.i32(), result.f32(), x.f32()]);
    code.vector(VectorOp::Select, result.f32(), &[x.f32(), result.f32(), float(f32::NEG_INFINITY)]);
    refuse_negative(code, x, result, fraction);
}
