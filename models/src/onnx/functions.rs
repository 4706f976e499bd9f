//! Functions of one or two tensors that are written with the graph's own.

use petgraph::graph::NodeIndex;

use super::order::zero;
use super::translate::Site;
use crate::graph::{BinaryOp, ConstantData, ElementType, Op, TensorType, UnaryOp};

/// Powers up to this are products.
const LARGEST_PRODUCT: u32 = 16;

/// Writes arithmetic on tensors of one rank.
struct Terms<'s, 'a> {
    site: &'s mut Site<'a>,
    rank: usize,
}

type Term = Result<NodeIndex, String>;

impl<'s, 'a> Terms<'s, 'a> {
    fn new(site: &'s mut Site<'a>) -> Self {
        let rank = site.output.shape.len();
        Self { site, rank }
    }

    fn number(&mut self, value: f32) -> NodeIndex {
        self.site.builder.scalar(&format!("{}.number", self.site.name), value, self.rank)
    }

    fn unary(&mut self, op: UnaryOp, a: NodeIndex) -> Term {
        self.site.builder.unary(self.site.name, op, a)
    }

    fn binary(&mut self, op: BinaryOp, a: NodeIndex, b: NodeIndex) -> Term {
        self.site.builder.binary(self.site.name, op, a, b)
    }

    /// `a op number`
    fn with(&mut self, op: BinaryOp, a: NodeIndex, number: f32) -> Term {
        let number = self.number(number);
        self.binary(op, a, number)
    }

    fn select(&mut self, condition: NodeIndex, a: NodeIndex, b: NodeIndex) -> Term {
        self.site.builder.emit(self.site.name, Op::Select, &[condition, a, b])
    }

    /// `a / number`, as a product.
    fn half(&mut self, a: NodeIndex) -> Term {
        self.with(BinaryOp::Mul, a, 0.5)
    }
}

/// A function of the front end that the graph has not; `None` when it is not known here either.
pub(super) fn translate(site: &mut Site, function: &str) -> Option<Term> {
    let a = site.operands[0];
    let written: fn(&mut Terms, NodeIndex) -> Term = match function {
        "Sign" => |t, a| sign(t.site, a),
        "Ceil" => |t, a| {
            let negative = t.unary(UnaryOp::Neg, a)?;
            let floor = t.unary(UnaryOp::Floor, negative)?;
            t.unary(UnaryOp::Neg, floor)
        },
        // Halves away from zero.
        "Round" => |t, a| {
            let size = t.unary(UnaryOp::Abs, a)?;
            let above = t.with(BinaryOp::Add, size, 0.5)?;
            let whole = t.unary(UnaryOp::Floor, above)?;
            let sign = sign(t.site, a)?;
            t.binary(BinaryOp::Mul, whole, sign)
        },
        "HardSwish" => |t, a| {
            let ramp = t.with(BinaryOp::Mul, a, 1.0 / 6.0)?;
            let ramp = t.with(BinaryOp::Add, ramp, 0.5)?;
            let ramp = t.with(BinaryOp::Max, ramp, 0.0)?;
            let ramp = t.with(BinaryOp::Min, ramp, 1.0)?;
            t.binary(BinaryOp::Mul, a, ramp)
        },
        "Tan" => |t, a| {
            let (sine, cosine) = (t.unary(UnaryOp::Sin, a)?, t.unary(UnaryOp::Cos, a)?);
            t.binary(BinaryOp::Div, sine, cosine)
        },
        "Sinh" => |t, a| hyperbolic(t, a, BinaryOp::Sub),
        "Cosh" => |t, a| hyperbolic(t, a, BinaryOp::Add),
        "Asinh" => |t, a| {
            // Of the absolute value, where nothing cancels.
            let size = t.unary(UnaryOp::Abs, a)?;
            let square = t.unary(UnaryOp::Square, a)?;
            let square = t.with(BinaryOp::Add, square, 1.0)?;
            let logarithm = logarithm_of_sum(t, size, square)?;
            let sign = sign(t.site, a)?;
            t.binary(BinaryOp::Mul, logarithm, sign)
        },
        "Acosh" => |t, a| {
            let square = t.unary(UnaryOp::Square, a)?;
            let square = t.with(BinaryOp::Add, square, -1.0)?;
            logarithm_of_sum(t, a, square)
        },
        "Atanh" => |t, a| {
            let above = t.with(BinaryOp::Add, a, 1.0)?;
            let negative = t.unary(UnaryOp::Neg, a)?;
            let below = t.with(BinaryOp::Add, negative, 1.0)?;
            let ratio = t.binary(BinaryOp::Div, above, below)?;
            let logarithm = t.unary(UnaryOp::Log, ratio)?;
            t.half(logarithm)
        },
        "Atan" => arc_tangent,
        "Asin" => arc_sine,
        "Acos" => |t, a| {
            let sine = arc_sine(t, a)?;
            let negative = t.unary(UnaryOp::Neg, sine)?;
            t.with(BinaryOp::Add, negative, std::f32::consts::FRAC_PI_2)
        },
        _ => return None,
    };
    Some(written(&mut Terms::new(site), a))
}

/// `(e^a op e^-a) / 2`
fn hyperbolic(t: &mut Terms, a: NodeIndex, op: BinaryOp) -> Term {
    let rising = t.unary(UnaryOp::Exp, a)?;
    let negative = t.unary(UnaryOp::Neg, a)?;
    let falling = t.unary(UnaryOp::Exp, negative)?;
    let both = t.binary(op, rising, falling)?;
    t.half(both)
}

/// `log(a + sqrt(square))`
fn logarithm_of_sum(t: &mut Terms, a: NodeIndex, square: NodeIndex) -> Term {
    let root = t.unary(UnaryOp::Sqrt, square)?;
    let sum = t.binary(BinaryOp::Add, a, root)?;
    t.unary(UnaryOp::Log, sum)
}

/// `atan(a / sqrt((1 - a) * (1 + a)))`
fn arc_sine(t: &mut Terms, a: NodeIndex) -> Term {
    let above = t.with(BinaryOp::Add, a, 1.0)?;
    let negative = t.unary(UnaryOp::Neg, a)?;
    let below = t.with(BinaryOp::Add, negative, 1.0)?;
    let square = t.binary(BinaryOp::Mul, above, below)?;
    let cosine = t.unary(UnaryOp::Sqrt, square)?;
    let tangent = t.binary(BinaryOp::Div, a, cosine)?;
    arc_tangent(t, tangent)
}

/// The polynomial of Cephes (S. L. Moshier, `atanf`) below the tangent of an eighth of pi; larger arguments by
/// `pi / 4 + atan((a - 1) / (a + 1))` and `pi / 2 - atan(1 / a)`.
fn arc_tangent(t: &mut Terms, a: NodeIndex) -> Term {
    use std::f32::consts::{FRAC_PI_2, FRAC_PI_4};
    let size = t.unary(UnaryOp::Abs, a)?;
    let (one, zero) = (t.number(1.0), t.number(0.0));
    // Below: a / 1; between: (a - 1) / (a + 1); above: -1 / a.
    let large = t.number(2.414_213_6);
    let large = t.binary(BinaryOp::Lt, large, size)?;
    let small = t.with(BinaryOp::Le, size, 0.414_213_57)?;
    let minus = t.with(BinaryOp::Add, size, -1.0)?;
    let plus = t.with(BinaryOp::Add, size, 1.0)?;
    let negative_one = t.number(-1.0);
    let top = t.select(large, negative_one, minus)?;
    let top = t.select(small, size, top)?;
    let bottom = t.select(large, size, plus)?;
    let bottom = t.select(small, one, bottom)?;
    let x = t.binary(BinaryOp::Div, top, bottom)?;
    let square = t.unary(UnaryOp::Square, x)?;
    let mut p = t.number(8.053_745e-2);
    for coefficient in [-1.387_768_6e-1, 1.997_771_1e-1, -3.333_295e-1, 1.0] {
        p = t.binary(BinaryOp::Mul, p, square)?;
        p = t.with(BinaryOp::Add, p, coefficient)?;
    }
    let p = t.binary(BinaryOp::Mul, p, x)?;
    let (half, quarter) = (t.number(FRAC_PI_2), t.number(FRAC_PI_4));
    let base = t.select(large, half, quarter)?;
    let base = t.select(small, zero, base)?;
    let angle = t.binary(BinaryOp::Add, base, p)?;
    let sign = sign(t.site, a)?;
    t.binary(BinaryOp::Mul, angle, sign)
}

/// `-1`, `0` or `1` as the sign is.
fn sign(site: &mut Site, a: NodeIndex) -> Term {
    let zero = zero(site, a);
    let (name, element) = (site.name, site.builder.element(a));
    let b = &mut *site.builder;
    let above = b.binary(name, BinaryOp::Lt, zero, a)?;
    let below = b.binary(name, BinaryOp::Lt, a, zero)?;
    let above = b.cast(name, above, element)?;
    let below = b.cast(name, below, element)?;
    b.binary(name, BinaryOp::Sub, above, below)
}

/// Whether an element is one of the infinities that count.
pub(super) fn is_infinite(site: &mut Site, positive: bool, negative: bool) -> Term {
    let a = site.operands[0];
    let mut t = Terms::new(site);
    match (positive, negative) {
        (true, true) => {
            let size = t.unary(UnaryOp::Abs, a)?;
            t.with(BinaryOp::Eq, size, f32::INFINITY)
        }
        (true, false) => t.with(BinaryOp::Eq, a, f32::INFINITY),
        (false, true) => t.with(BinaryOp::Eq, a, f32::NEG_INFINITY),
        (false, false) => {
            let output = TensorType { element: ElementType::Bool, shape: vec![1; site.output.shape.len()] };
            let never = site.builder.constant(site.name, output, ConstantData::Int([0].into()));
            site.builder.broadcast(site.name, never, site.output.shape.clone())
        }
    }
}

/// `a` to a constant power.
pub(super) fn power(site: &mut Site, a: NodeIndex, exponent: f32) -> Term {
    let mut t = Terms::new(site);
    let halves = exponent.abs() * 2.0;
    if halves == 0.0 {
        let one = t.number(1.0);
        return site.builder.broadcast(site.name, one, site.output.shape.clone());
    }
    if halves.fract() != 0.0 || halves > (2 * LARGEST_PRODUCT) as f32 {
        let exponent = t.number(exponent);
        return general_power(site, a, exponent);
    }
    let (whole, root) = (halves as u32 / 2, halves as u32 % 2 == 1);
    let factors = [
        if whole > 0 { Some(product(&mut t, a, whole)?) } else { None },
        match (root, whole, exponent < 0.0) {
            (true, 0, true) => return t.unary(UnaryOp::Rsqrt, a),
            (true, ..) => Some(t.unary(UnaryOp::Sqrt, a)?),
            _ => None,
        },
    ];
    let result = match factors {
        [Some(whole), Some(root)] => t.binary(BinaryOp::Mul, whole, root)?,
        [Some(only), None] | [None, Some(only)] => only,
        [None, None] => t.number(1.0),
    };
    if exponent < 0.0 { t.unary(UnaryOp::Recip, result) } else { Ok(result) }
}

/// A whole, positive power by squares.
fn product(t: &mut Terms, a: NodeIndex, exponent: u32) -> Term {
    let (mut result, mut square) = (None, a);
    for bit in 0..=exponent.ilog2() {
        if bit > 0 {
            square = t.unary(UnaryOp::Square, square)?;
        }
        if exponent >> bit & 1 == 1 {
            result = Some(match result {
                Some(before) => t.binary(BinaryOp::Mul, before, square)?,
                None => square,
            });
        }
    }
    result.ok_or_else(|| "a power of 0".into())
}

/// `a` to any power: `e^(b * log(abs(a)))`; of a negative number with the sign of a whole power, else NaN.
pub(super) fn general_power(site: &mut Site, a: NodeIndex, b: NodeIndex) -> Term {
    let mut t = Terms::new(site);
    let size = t.unary(UnaryOp::Abs, a)?;
    let logarithm = t.unary(UnaryOp::Log, size)?;
    let exponent = t.binary(BinaryOp::Mul, b, logarithm)?;
    let power = t.unary(UnaryOp::Exp, exponent)?;
    let (zero, one) = (t.number(0.0), t.number(1.0));
    // For a negative number: 1, -1 or NaN.
    let whole = t.unary(UnaryOp::Floor, b)?;
    let is_whole = t.binary(BinaryOp::Eq, whole, b)?;
    let half = t.half(whole)?;
    let pairs = t.unary(UnaryOp::Floor, half)?;
    let is_even = t.binary(BinaryOp::Eq, pairs, half)?;
    let (minus, nan) = (t.number(-1.0), t.number(f32::NAN));
    let sign = t.select(is_even, one, minus)?;
    let sign = t.select(is_whole, sign, nan)?;
    let negative = t.binary(BinaryOp::Lt, a, zero)?;
    let sign = t.select(negative, sign, one)?;
    let power = t.binary(BinaryOp::Mul, power, sign)?;
    // Where the exponent is 0, the logarithm of 0 or infinity does not count.
    let is_zero = t.binary(BinaryOp::Eq, b, zero)?;
    t.select(is_zero, one, power)
}

/// Integers to a small constant power.
pub(super) fn integer_power(site: &mut Site, a: NodeIndex, b: NodeIndex) -> Term {
    let exponent = site.builder.integers(b).and_then(|v| v.first().copied().filter(|e| v.iter().all(|x| x == e)));
    match exponent {
        Some(e) if (1..=i64::from(LARGEST_PRODUCT)).contains(&e) => {
            let power = product(&mut Terms::new(site), a, e as u32)?;
            site.builder.broadcast(site.name, power, site.output.shape.clone())
        }
        _ => Err(format!(
            "integers are only raised to constant powers of 1 to {LARGEST_PRODUCT}; cast to float32 before"
        )),
    }
}

/// `a - trunc(a / b) * b`: the remainder has the sign of `a`.
pub(super) fn remainder(site: &mut Site, a: NodeIndex, b: NodeIndex) -> Term {
    let element = site.builder.element(a);
    let mut t = Terms::new(site);
    let mut quotient = t.binary(BinaryOp::Div, a, b)?;
    if element == ElementType::Float {
        let size = t.unary(UnaryOp::Abs, quotient)?;
        let size = t.unary(UnaryOp::Floor, size)?;
        let sign = sign(t.site, quotient)?;
        quotient = t.binary(BinaryOp::Mul, size, sign)?;
    }
    let whole = t.binary(BinaryOp::Mul, quotient, b)?;
    t.binary(BinaryOp::Sub, a, whole)
}

/// `a * 2^b` of integers, for a constant `b`.
pub(super) fn shift_left(site: &mut Site, a: NodeIndex, b: NodeIndex) -> Term {
    let shifts = site.builder.integers(b).filter(|v| v.iter().all(|s| (0..32).contains(s)));
    let factors = shifts
        .map(|v| v.iter().map(|s| 1_i64 << s).collect())
        .ok_or("integers are only shifted left by a constant; multiply by a power of 2 instead")?;
    let output = site.builder.graph.node(b).output.clone();
    let factors = site.builder.constant(&format!("{}.factor", site.name), output, ConstantData::Int(factors));
    site.builder.binary(site.name, BinaryOp::Mul, a, factors)
}
