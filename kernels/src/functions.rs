//! Elementary functions as sequences of vector instructions on f32 vectors, in place.
//!
//! A PE has no transcendental instructions: each function is a polynomial (or a quotient of two) with a range reduction,
//! or a Newton iteration from a first guess made by integer arithmetic on the bits. NaN gives NaN.
//!
//! | function | method | error |
//! | --- | --- | --- |
//! | `exp` | `2^n * p(r)`, Taylor of degree 7 on `abs(r) <= ln 2 / 2` | 2 ULP; 0 below -86.99 (results under 2^-125.5) |
//! | `reciprocal` | 3 Newton steps | 2 ULP for normal operands up to 8e37; ±0 gives infinity; beyond 8e37 as if at 8e37 |
//! | `divide` | reciprocal, then one correction | rounded to nearest but for rare ties; divisors as above |
//! | `rsqrt` | 3 Newton steps | 3 ULP for normal operands; 0 gives infinity, infinity 5e-20, negative numbers NaN |
//! | `sqrt` | `x * rsqrt(x)` | 3 ULP for normal operands; negative numbers give NaN |
//! | `erf`, `tanh` | quotient of polynomials (W. J. Cody's form; coefficients as in Eigen's `generic_fast_erf`, `generic_fast_tanh`) | 1e-6 absolute |
//! | `sigmoid` | `1 / (1 + e^-x)` | 3e-7 absolute |
//! | `silu` | `x * sigmoid(x)` | 8 ULP for `abs(x) < 80`; above -1e30 1e-7 absolute |
//! | `log` | exponent, and a polynomial of degree 10 for the fraction (see `functions/logarithm.rs`) | 1 ULP for normal operands; 0 gives -infinity, negative numbers NaN |
//! | `sin`, `cos` | Cody and Waite's reduction, polynomials of degree 7 and 8 (see `functions/trigonometry.rs`) | 1e-7 absolute, `sin` 1 ULP for `abs(x) < 0.75`; beyond 1e5 NaN |
//! | `gelu` | `x * (1 + erf(x / sqrt 2)) / 2` | 2e-6 absolute for `x < 6`, 2 ULP above |
//! | `floor`, `round` | through an integer | exact |
//!
//! Vectors that one instruction reads together start in different banks of the SRAM (see [`working`]).

mod logarithm;
mod trigonometry;

use crate::code::{Code, Tile, float, int, memory};
use serde::{Deserialize, Serialize};
use waferloom_fabric::code::Instruction;
use waferloom_fabric::{Dtype, Operand, ScalarOp, Value, VectorOp};

/// An elementary function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Function {
    /// `e^x`
    Exp,
    /// `1 / x`
    Reciprocal,
    /// `1 / sqrt(x)`
    Rsqrt,
    /// `sqrt(x)`
    Sqrt,
    /// Error function.
    Erf,
    /// Hyperbolic tangent.
    Tanh,
    /// `1 / (1 + e^-x)`
    Sigmoid,
    /// `x * sigmoid(x)`
    Silu,
    /// `x * (1 + erf(x / sqrt 2)) / 2`
    Gelu,
    /// Natural logarithm.
    Log,
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
    /// The largest integer that is not larger.
    Floor,
    /// The nearest integer, ties to even.
    Round,
}

impl Function {
    /// Working vectors that [`Function::emit`] needs beside its operand.
    pub fn scratch_vectors(self) -> u32 {
        match self {
            Function::Exp | Function::Floor | Function::Round => 2,
            Function::Reciprocal | Function::Rsqrt | Function::Sqrt | Function::Sigmoid => 3,
            Function::Silu => 4,
            Function::Erf | Function::Tanh => 5,
            Function::Gelu => 6,
            Function::Log => logarithm::VECTORS,
            Function::Sin | Function::Cos => trigonometry::VECTORS,
        }
    }

    /// Emits `x = f(x)`.
    ///
    /// # Panics
    /// When fewer than [`Function::scratch_vectors`] vectors are given.
    pub fn emit(self, code: &mut Code, x: Vector, scratch: &[Vector]) {
        match self {
            Function::Exp => exp(code, x, scratch),
            Function::Reciprocal => reciprocal(code, x, scratch),
            Function::Rsqrt => rsqrt(code, x, scratch),
            Function::Sqrt => sqrt(code, x, scratch),
            Function::Erf => rational(code, x, scratch, &ERF),
            Function::Tanh => rational(code, x, scratch, &TANH),
            Function::Sigmoid => sigmoid(code, x, scratch),
            Function::Log => logarithm::emit(code, x, scratch),
            Function::Sin => trigonometry::emit(code, x, scratch, 0),
            Function::Cos => trigonometry::emit(code, x, scratch, 1),
            Function::Floor => floor(code, x, scratch),
            Function::Round => round(code, x, scratch),
            Function::Silu => {
                let copy = scratch[3];
                code.mov(copy.f32(), x.f32());
                sigmoid(code, x, scratch);
                code.vector(VectorOp::Mul, x.f32(), &[x.f32(), copy.f32()]);
            }
            Function::Gelu => {
                let half = scratch[5];
                // There the result is 0 but for the error of erf, which must not be multiplied by a large number.
                code.vector(VectorOp::Max, x.f32(), &[x.f32(), float(-6.0)]);
                code.vector(VectorOp::Mul, half.f32(), &[x.f32(), float(0.5)]);
                code.vector(VectorOp::Mul, x.f32(), &[x.f32(), float(std::f32::consts::FRAC_1_SQRT_2)]);
                rational(code, x, scratch, &ERF);
                code.vector(VectorOp::Mac, x.f32(), &[half.f32(), half.f32(), x.f32()]);
            }
        }
    }
}

/// How long a sequence of vector instructions is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    /// Vector instructions.
    pub instructions: u64,
    /// Those of them that read three vectors from memory, where most read one or two.
    pub three_reads: u64,
}

impl Length {
    /// The length of [`Function::emit`].
    pub fn of_function(function: Function) -> Self {
        Self::of(function.scratch_vectors(), |code, x, work| function.emit(code, x, work))
    }

    /// The length of what `emit` emits from a vector and `vectors` working vectors, all vectors of equal length.
    pub fn of(vectors: u32, emit: impl FnOnce(&mut Code, Vector, &[Vector])) -> Self {
        let mut code = Code::new();
        let work = working(0, CHUNK, vectors + 1, CHUNK.into());
        emit(&mut code, work[0], &work[1..]);
        let mut length = Self { instructions: 0, three_reads: 0 };
        for instruction in code.instructions() {
            if let Instruction::Vector { srcs, .. } = instruction {
                length.instructions += 1;
                let reads = srcs.iter().filter(|s| matches!(s, Operand::Mem(_))).count();
                length.three_reads += u64::from(reads == 3);
            }
        }
        length
    }
}

/// A contiguous vector of 32-bit elements at run-time address and length.
#[derive(Clone, Copy, Debug)]
pub struct Vector {
    /// Address of the first element.
    pub base: Value,
    /// Bytes added to it.
    pub offset: i32,
    /// Elements.
    pub len: Value,
}

impl Vector {
    /// The vector as floats.
    pub fn f32(self) -> Operand {
        memory(self.base, self.offset, Dtype::F32, &[(self.len, 1.into())])
    }

    /// The same bits as integers.
    pub fn i32(self) -> Operand {
        memory(self.base, self.offset, Dtype::I32, &[(self.len, 1.into())])
    }
}

/// `target = coefficients[0] + x * (coefficients[1] + x * …)` by Horner's rule.
fn polynomial(code: &mut Code, target: Vector, x: Vector, coefficients: &[f32]) {
    let (last, rest) = coefficients.split_last().expect("a polynomial has coefficients");
    let mut high = float(*last);
    for &c in rest.iter().rev() {
        code.vector(VectorOp::Mac, target.f32(), &[float(c), high, x.f32()]);
        high = target.f32();
    }
}

fn exp(code: &mut Code, x: Vector, scratch: &[Vector]) {
    let [power, exponent] = [scratch[0], scratch[1]];
    // x = n ln 2 + r. At these ends n is -126 and 129, which below give the factors 0 and infinity.
    code.vector(VectorOp::Max, x.f32(), &[x.f32(), float(-87.3)]);
    code.vector(VectorOp::Min, x.f32(), &[x.f32(), float(89.4)]);
    code.vector(VectorOp::Mul, power.f32(), &[x.f32(), float(std::f32::consts::LOG2_E)]);
    code.vector(VectorOp::Round, exponent.i32(), &[power.f32()]);
    code.mov(power.f32(), exponent.i32());
    // ln 2 in two parts (Cody and Waite), so that n * ln 2 loses no bits.
    code.vector(VectorOp::Mac, x.f32(), &[x.f32(), power.f32(), float(-0.693_359_4)]);
    code.vector(VectorOp::Mac, x.f32(), &[x.f32(), power.f32(), float(2.121_944_4e-4)]);
    // 2 e^r * 2^(n - 1): with one factor of two less, 2^(n - 1) is a number of its own for every n from -125 to 128.
    let doubled = [2.0, 2.0, 1.0, 1.0 / 3.0, 1.0 / 12.0, 1.0 / 60.0, 1.0 / 360.0, 1.0 / 2520.0];
    polynomial(code, power, x, &doubled);
    code.vector(VectorOp::Mac, exponent.i32(), &[int(126 << 23), exponent.i32(), int(1 << 23)]);
    code.vector(VectorOp::Mul, x.f32(), &[power.f32(), exponent.f32()]);
}

/// Beyond this the bits of a first guess of the reciprocal are no number.
const LARGEST_DIVISOR: f32 = 8e37;

/// Leaves `1 / x` in `scratch[0]` and `-x` in `scratch[1]`, for normal `x` up to [`LARGEST_DIVISOR`].
fn newton_reciprocal(code: &mut Code, x: Vector, scratch: &[Vector]) {
    let [guess, minus_x, error] = [scratch[0], scratch[1], scratch[2]];
    // The bits of 1/x are nearly a constant minus the bits of x: within 12 %, and each step squares the error.
    code.vector(VectorOp::Sub, guess.i32(), &[int(0x7EF3_11C7), x.i32()]);
    code.vector(VectorOp::Neg, minus_x.f32(), &[x.f32()]);
    for _ in 0..2 {
        code.vector(VectorOp::Mac, error.f32(), &[float(2.0), minus_x.f32(), guess.f32()]);
        code.vector(VectorOp::Mul, guess.f32(), &[guess.f32(), error.f32()]);
    }
    // The last step adds what is missing, which rounds less; it reads three vectors and takes twice as long.
    code.vector(VectorOp::Mac, error.f32(), &[float(1.0), minus_x.f32(), guess.f32()]);
    code.vector(VectorOp::Mac, guess.f32(), &[guess.f32(), guess.f32(), error.f32()]);
}

/// Emits `x = 1 / x` for normal, positive `x` up to [`LARGEST_DIVISOR`]. Needs three working vectors.
pub fn positive_reciprocal(code: &mut Code, x: Vector, scratch: &[Vector]) {
    newton_reciprocal(code, x, scratch);
    code.mov(x.f32(), scratch[0].f32());
}

fn clamp(code: &mut Code, x: Vector, limit: f32) {
    code.vector(VectorOp::Min, x.f32(), &[x.f32(), float(limit)]);
    code.vector(VectorOp::Max, x.f32(), &[x.f32(), float(-limit)]);
}

fn reciprocal(code: &mut Code, x: Vector, scratch: &[Vector]) {
    clamp(code, x, LARGEST_DIVISOR);
    newton_reciprocal(code, x, scratch);
    code.vector(VectorOp::Select, x.f32(), &[x.f32(), scratch[0].f32(), float(f32::INFINITY)]);
}

/// Emits `quotient = a / b`; `b` becomes `1 / b`. Needs three working vectors.
pub fn divide(code: &mut Code, quotient: Vector, a: Operand, b: Vector, scratch: &[Vector]) {
    let [corrected, remainder] = [scratch[0], scratch[2]];
    reciprocal(code, b, scratch);
    correct_quotient(code, quotient, a, b, [scratch[1], remainder, corrected]);
    // Where the quotient is infinite there is no remainder.
    code.vector(VectorOp::Eq, remainder.i32(), &[corrected.f32(), corrected.f32()]);
    code.vector(VectorOp::Select, quotient.f32(), &[remainder.i32(), corrected.f32(), quotient.f32()]);
}

/// Leaves the quotient with an error in `quotient`, and corrected by its exact remainder in `corrected`: that rounds as a
/// division would, but for rare ties. `inverse` holds `1 / b`.
fn correct_quotient(
    code: &mut Code,
    quotient: Vector,
    a: Operand,
    inverse: Vector,
    [minus_b, remainder, corrected]: [Vector; 3],
) {
    code.vector(VectorOp::Mul, quotient.f32(), &[a.clone(), inverse.f32()]);
    code.vector(VectorOp::Mac, remainder.f32(), &[a, quotient.f32(), minus_b.f32()]);
    code.vector(VectorOp::Mac, corrected.f32(), &[quotient.f32(), remainder.f32(), inverse.f32()]);
}

/// Leaves `1 / sqrt(x)` in `scratch[0]`, for normal, positive `x`.
fn newton_rsqrt(code: &mut Code, x: Vector, scratch: &[Vector]) {
    let [guess, minus_half, step] = [scratch[0], scratch[1], scratch[2]];
    code.vector(VectorOp::Shr, guess.i32(), &[x.i32(), int(1)]);
    code.vector(VectorOp::Sub, guess.i32(), &[int(0x5F37_59DF), guess.i32()]);
    code.vector(VectorOp::Mul, minus_half.f32(), &[x.f32(), float(-0.5)]);
    for _ in 0..3 {
        code.vector(VectorOp::Mul, step.f32(), &[guess.f32(), guess.f32()]);
        code.vector(VectorOp::Mac, step.f32(), &[float(1.5), minus_half.f32(), step.f32()]);
        code.vector(VectorOp::Mul, guess.f32(), &[guess.f32(), step.f32()]);
    }
}

/// Emits `x = 1 / sqrt(x)` for normal, positive `x`. Needs three working vectors.
pub fn positive_rsqrt(code: &mut Code, x: Vector, scratch: &[Vector]) {
    newton_rsqrt(code, x, scratch);
    code.mov(x.f32(), scratch[0].f32());
}

/// `x = x < 0 ? NaN : value`.
fn refuse_negative(code: &mut Code, x: Vector, value: Vector, flag: Vector) {
    code.vector(VectorOp::Lt, flag.i32(), &[x.f32(), float(0.0)]);
    code.vector(VectorOp::Select, x.f32(), &[flag.i32(), float(f32::NAN), value.f32()]);
}

fn rsqrt(code: &mut Code, x: Vector, scratch: &[Vector]) {
    let [guess, flag] = [scratch[0], scratch[2]];
    code.vector(VectorOp::Min, x.f32(), &[x.f32(), float(f32::MAX)]);
    newton_rsqrt(code, x, scratch);
    code.vector(VectorOp::Select, guess.f32(), &[x.f32(), guess.f32(), float(f32::INFINITY)]);
    refuse_negative(code, x, guess, flag);
}

fn sqrt(code: &mut Code, x: Vector, scratch: &[Vector]) {
    let [root, flag] = [scratch[0], scratch[2]];
    newton_rsqrt(code, x, scratch);
    code.vector(VectorOp::Mul, root.f32(), &[root.f32(), x.f32()]);
    // The roots of 0 and infinity are themselves; a NaN stays one.
    code.vector(VectorOp::Select, root.f32(), &[x.f32(), root.f32(), x.f32()]);
    code.vector(VectorOp::Lt, flag.i32(), &[x.f32(), float(f32::INFINITY)]);
    code.vector(VectorOp::Select, root.f32(), &[flag.i32(), root.f32(), x.f32()]);
    refuse_negative(code, x, root, flag);
}

fn sigmoid(code: &mut Code, x: Vector, scratch: &[Vector]) {
    code.vector(VectorOp::Neg, x.f32(), &[x.f32()]);
    exp(code, x, scratch);
    code.vector(VectorOp::Add, x.f32(), &[x.f32(), float(1.0)]);
    code.vector(VectorOp::Min, x.f32(), &[x.f32(), float(LARGEST_DIVISOR)]);
    positive_reciprocal(code, x, scratch);
}

fn floor(code: &mut Code, x: Vector, scratch: &[Vector]) {
    let [whole, flag] = [scratch[0], scratch[1]];
    code.mov(whole.i32(), x.f32());
    code.mov(whole.f32(), whole.i32());
    // Towards zero is too high for negative numbers.
    code.vector(VectorOp::Lt, flag.f32(), &[x.f32(), whole.f32()]);
    code.vector(VectorOp::Sub, whole.f32(), &[whole.f32(), flag.f32()]);
    keep_large(code, x, whole, flag);
}

fn round(code: &mut Code, x: Vector, scratch: &[Vector]) {
    let [whole, flag] = [scratch[0], scratch[1]];
    code.vector(VectorOp::Round, whole.i32(), &[x.f32()]);
    code.mov(whole.f32(), whole.i32());
    keep_large(code, x, whole, flag);
}

/// `x = abs(x) < 2^23 ? whole : x`: from there on every number is whole, and it may not fit an integer. A NaN stays one.
fn keep_large(code: &mut Code, x: Vector, whole: Vector, flag: Vector) {
    code.vector(VectorOp::Abs, flag.f32(), &[x.f32()]);
    code.vector(VectorOp::Lt, flag.i32(), &[flag.f32(), float(8_388_608.0)]);
    code.vector(VectorOp::Select, x.f32(), &[flag.i32(), whole.f32(), x.f32()]);
}

/// `x * p(x^2) / q(x^2)` on `-limit..=limit`; beyond, the value at the limit.
struct Rational {
    limit: f32,
    numerator: &'static [f32],
    denominator: &'static [f32],
}

#[expect(clippy::excessive_precision, reason = "the digits of the source, rounded by the compiler")]
const ERF: Rational = Rational {
    limit: 4.0,
    numerator: &[
        -1.609_603_3e-2,
        -2.954_599_8e-3,
        -7.349_906_3e-4,
        -5.692_506_4e-5,
        -2.101_024e-6,
        2.770_681_4e-8,
        -2.726_142_4e-10,
    ],
    denominator: &[-1.426_473_9e-2, -7.373_329e-3, -1.682_827e-3, -2.133_740_6e-4, -1.456_607_2e-5],
};

const TANH: Rational = Rational {
    limit: 7.905_311,
    numerator: &[
        4.893_524_5e-3,
        6.372_619_3e-4,
        1.485_722_3e-5,
        5.122_297_3e-8,
        -8.604_672e-11,
        2.000_188e-13,
        -2.760_768_5e-16,
    ],
    denominator: &[4.893_525e-3, 2.268_434_6e-3, 1.185_347_1e-4, 1.198_258_4e-6],
};

fn rational(code: &mut Code, x: Vector, scratch: &[Vector], form: &Rational) {
    let (square, top, bottom) = (scratch[3], scratch[4], scratch[0]);
    clamp(code, x, form.limit);
    code.vector(VectorOp::Mul, square.f32(), &[x.f32(), x.f32()]);
    polynomial(code, top, square, form.numerator);
    code.vector(VectorOp::Mul, top.f32(), &[top.f32(), x.f32()]);
    // The denominator is in x's place, so that the division's working vectors are free.
    polynomial(code, bottom, square, form.denominator);
    code.mov(x.f32(), bottom.f32());
    newton_reciprocal(code, x, scratch);
    let [inverse, minus_bottom, remainder] = [scratch[0], scratch[1], scratch[2]];
    correct_quotient(code, square, top.f32(), inverse, [minus_bottom, remainder, x]);
}

/// Elements that a function works on at a time: long enough to hide start-up, short enough for little working memory.
pub const CHUNK: u32 = 128;

/// Bytes of working memory for `vectors` working vectors of a tile of `elements`.
pub fn map_scratch_bytes(elements: u32, vectors: u32) -> u32 {
    vector_bytes(elements) * vectors
}

/// Bytes from one working vector to the next. Each starts one 64-bit word further on in the banks than the one before, so
/// that of four vectors in a row no two are read from the same bank at the same time.
fn vector_bytes(elements: u32) -> u32 {
    (elements.min(CHUNK) * 4).next_multiple_of(32) + 8
}

/// Runs `body` over a range of elements in chunks: it is given the index of the first element and the chunk's length.
pub fn chunks(code: &mut Code, elements: u32, body: impl FnOnce(&mut Code, Value, Value)) {
    let count = elements.div_ceil(CHUNK).max(1);
    let chunk = elements.div_ceil(count);
    code.repeat(count, |code, index| {
        if count == 1 {
            return body(code, Value::Imm(0), elements.into());
        }
        let (start, len) = (code.register(), code.register());
        code.scalar(ScalarOp::Mul, start, index, chunk);
        code.scalar(ScalarOp::Sub, len, elements, start);
        code.scalar(ScalarOp::Min, len, len, chunk);
        body(code, start.into(), len.into());
    });
}

/// The part of a tile that a chunk covers.
pub fn part(code: &mut Code, tile: Tile, start: Value, len: Value) -> Operand {
    let base = element_address(code, tile, start);
    memory(base, 0, tile.dtype, &[(len, 1.into())])
}

/// Address of an element of a tile.
fn element_address(code: &mut Code, tile: Tile, index: Value) -> Value {
    if let Value::Imm(index) = index {
        return Value::Imm(tile.address as i32 + index * tile.dtype.bytes() as i32);
    }
    let at = code.register();
    code.scalar(ScalarOp::Mul, at, index, tile.dtype.bytes());
    code.scalar(ScalarOp::Add, at, at, tile.address);
    at.into()
}

/// `count` working vectors for a chunk of `elements`, from an address on.
pub fn working(address: u32, elements: u32, count: u32, len: Value) -> Vec<Vector> {
    let bytes = vector_bytes(elements);
    (0..count).map(|i| Vector { base: (address + i * bytes).into(), offset: 0, len }).collect()
}

/// Applies what `emit` emits (from a vector and `vectors` working vectors, in place) to an f32 tile, chunk by chunk.
/// `scratch` is the address of [`map_scratch_bytes`].
pub(crate) fn in_place(
    code: &mut Code,
    tile: Tile,
    vectors: u32,
    scratch: u32,
    emit: impl FnOnce(&mut Code, Vector, &[Vector]),
) {
    chunks(code, tile.elements, |code, start, len| {
        let work = working(scratch, tile.elements, vectors, len);
        let base = element_address(code, tile, start);
        emit(code, Vector { base, offset: 0, len }, &work);
    });
}

/// Emits `dst = f(src)` for tiles of equal size. `scratch` is the address of [`map_scratch_bytes`] for one vector more than
/// the function needs.
pub fn map(code: &mut Code, function: Function, dst: Tile, src: Tile, scratch: u32) {
    chunks(code, src.elements, |code, start, len| {
        let vectors = working(scratch, src.elements, function.scratch_vectors() + 1, len);
        let (x, rest) = (vectors[0], &vectors[1..]);
        let from = part(code, src, start, len);
        code.mov(x.f32(), from);
        function.emit(code, x, rest);
        let to = part(code, dst, start, len);
        code.mov(to, x.f32());
    });
}
