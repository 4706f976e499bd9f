//! What a vector operation does with one element. `waferloom_fabric::VectorOp` gives the rules.

use half::{bf16, f16};
use waferloom_fabric::{Cb16, Dtype, VectorOp};

/// An element on its way through the datapath.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Element {
    Float(f32),
    Int(i32),
}

impl Element {
    /// Reads bits as an element of a type; 16-bit types use the low half.
    pub(crate) fn from_bits(bits: u32, dtype: Dtype) -> Self {
        match dtype {
            Dtype::F32 => Element::Float(f32::from_bits(bits)),
            Dtype::F16 => Element::Float(f16::from_bits(bits as u16).to_f32()),
            Dtype::Bf16 => Element::Float(bf16::from_bits(bits as u16).to_f32()),
            Dtype::Cb16 => Element::Float(Cb16::from_bits(bits as u16).to_f32()),
            Dtype::I32 => Element::Int(bits as i32),
            Dtype::U16 => Element::Int(i32::from(bits as u16)),
        }
    }

    /// The element as bits of a type.
    pub(crate) fn to_bits(self, dtype: Dtype) -> u32 {
        match dtype {
            Dtype::F32 => self.float().to_bits(),
            Dtype::F16 => u32::from(f16::from_f32(self.float()).to_bits()),
            Dtype::Bf16 => u32::from(bf16::from_f32(self.float()).to_bits()),
            Dtype::Cb16 => u32::from(Cb16::from_f32(self.float()).to_bits()),
            Dtype::I32 => self.int() as u32,
            Dtype::U16 => u32::from(self.int() as u16),
        }
    }

    pub(crate) fn float(self) -> f32 {
        match self {
            Element::Float(x) => x,
            Element::Int(n) => n as f32,
        }
    }

    /// Truncates towards zero and saturates; NaN becomes 0.
    fn int(self) -> i32 {
        match self {
            Element::Float(x) => x as i32,
            Element::Int(n) => n,
        }
    }

    pub(crate) fn is_float(self) -> bool {
        matches!(self, Element::Float(_))
    }
}

/// `op(a, b, c)`; operations with fewer sources ignore the rest.
pub(crate) fn apply(op: VectorOp, [a, b, c]: [Element; 3]) -> Element {
    match op {
        VectorOp::Mov => a,
        VectorOp::Round => match a {
            Element::Float(x) => Element::Int(rounded(x)),
            Element::Int(_) => a,
        },
        VectorOp::Select => {
            let chosen = match a {
                Element::Float(x) => x != 0.0,
                Element::Int(n) => n != 0,
            };
            if chosen { b } else { c }
        }
        VectorOp::Abs | VectorOp::Neg => unary(op, a),
        VectorOp::Mac => match (a, b, c) {
            (Element::Int(a), Element::Int(b), Element::Int(c)) => Element::Int(a.wrapping_add(b.wrapping_mul(c))),
            _ => Element::Float(multiply_add(a.float(), b.float(), c.float())),
        },
        _ if a.is_float() || b.is_float() => binary_float(op, a.float(), b.float()),
        _ => Element::Int(binary_int(op, a.int(), b.int())),
    }
}

/// The nearest integer, of two the even one: `x.round_ties_even() as i32`, in operations that the host has for vectors.
#[inline(always)]
pub(crate) fn rounded(x: f32) -> i32 {
    /// From here on all floats are whole, and as many steps apart as the exponent says.
    const WHOLE: f32 = 8_388_608.0;
    let size = x.abs();
    // What is added shifts the fraction out of the mantissa.
    let small = (size + WHOLE).to_bits().wrapping_sub(WHOLE.to_bits());
    let bits = size.to_bits();
    let large = (bits & 0x7F_FFFF | 0x80_0000).wrapping_shl((bits >> 23).wrapping_sub(150));
    let whole = if size < WHOLE { small } else { large } as i32;
    let signed = if x < 0.0 { whole.wrapping_neg() } else { whole };
    let above = if x >= 2_147_483_648.0 { i32::MAX } else { signed };
    let below = if x <= -2_147_483_648.0 { i32::MIN } else { above };
    if x.is_nan() { 0 } else { below }
}

fn unary(op: VectorOp, a: Element) -> Element {
    match (op, a) {
        (VectorOp::Abs, Element::Float(x)) => Element::Float(x.abs()),
        (VectorOp::Abs, Element::Int(n)) => Element::Int(n.wrapping_abs()),
        (_, Element::Float(x)) => Element::Float(-x),
        (_, Element::Int(n)) => Element::Int(n.wrapping_neg()),
    }
}

fn binary_float(op: VectorOp, a: f32, b: f32) -> Element {
    Element::Float(match op {
        VectorOp::Add => sum(a, b),
        VectorOp::Sub => difference(a, b),
        VectorOp::Mul => product(a, b),
        VectorOp::Max => largest(a, b),
        VectorOp::Min => smallest(a, b),
        VectorOp::Eq => return Element::Int(i32::from(a == b)),
        VectorOp::Lt => return Element::Int(i32::from(a < b)),
        VectorOp::Le => return Element::Int(i32::from(a <= b)),
        // Integer-only operations on floats are refused by the verifier; on unverified programs they act on the integers.
        _ => return Element::Int(binary_int(op, a as i32, b as i32)),
    })
}

/// The one NaN that arithmetic gives: which of several the host would choose is up to it.
#[inline]
pub(crate) fn one_nan(x: f32) -> f32 {
    if x.is_nan() { f32::NAN } else { x }
}

/// `a + b`.
#[inline]
pub(crate) fn sum(a: f32, b: f32) -> f32 {
    one_nan(a + b)
}

/// `a - b`.
#[inline]
pub(crate) fn difference(a: f32, b: f32) -> f32 {
    one_nan(a - b)
}

/// `a * b`.
#[inline]
pub(crate) fn product(a: f32, b: f32) -> f32 {
    one_nan(a * b)
}

/// `a + b * c` with one rounding.
#[inline]
pub(crate) fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    one_nan(b.mul_add(c, a))
}

/// The larger number; a NaN wins.
#[inline]
pub(crate) fn largest(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() { f32::NAN } else { a.max(b) }
}

/// The smaller number; a NaN wins.
#[inline]
pub(crate) fn smallest(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() { f32::NAN } else { a.min(b) }
}

fn binary_int(op: VectorOp, a: i32, b: i32) -> i32 {
    match op {
        VectorOp::Add => a.wrapping_add(b),
        VectorOp::Sub => a.wrapping_sub(b),
        VectorOp::Mul => a.wrapping_mul(b),
        VectorOp::Max => a.max(b),
        VectorOp::Min => a.min(b),
        VectorOp::And => a & b,
        VectorOp::Or => a | b,
        VectorOp::Xor => a ^ b,
        VectorOp::Shl => u32::try_from(b).ok().and_then(|b| a.checked_shl(b)).unwrap_or(0),
        VectorOp::Shr => a >> u32::try_from(b).map_or(31, |b| b.min(31)),
        VectorOp::Eq => i32::from(a == b),
        VectorOp::Lt => i32::from(a < b),
        VectorOp::Le => i32::from(a <= b),
        VectorOp::Mov | VectorOp::Round | VectorOp::Mac | VectorOp::Abs | VectorOp::Neg | VectorOp::Select => a,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn float(op: VectorOp, a: f32, b: f32, c: f32) -> f32 {
        let bits = apply(op, [Element::Float(a), Element::Float(b), Element::Float(c)]).to_bits(Dtype::F32);
        f32::from_bits(bits)
    }

    #[test]
    fn rounding_is_to_the_nearest_integer_that_there_is() {
        let edges = [
            0.0,
            0.5,
            1.5,
            2.5,
            8_388_607.5,
            8_388_608.0,
            16_777_217.0,
            2_147_483_648.0,
            f32::INFINITY,
            f32::NAN,
            1e-40,
        ];
        let any = (0..1 << 16).map(|i: u32| f32::from_bits(i.wrapping_mul(0x9E37_79B9)));
        let near = (-4000..4000).map(|i| i as f32 / 8.0);
        for x in edges.into_iter().flat_map(|x| [x, x.next_up(), x.next_down()]).chain(any).chain(near) {
            for x in [x, -x] {
                assert_eq!(rounded(x), x.round_ties_even() as i32, "{x:?}");
            }
        }
    }

    #[test]
    fn mac_rounds_once() {
        // (1 + e)(1 - e) = 1 - e^2 with e = 2^-12: e^2 = 2^-24 is below half an ULP of 1, so that two roundings give 0.
        let e = 2f32.powi(-12);
        assert_eq!(float(VectorOp::Mac, -1.0, 1.0 + e, 1.0 - e), -(2f32.powi(-24)));
    }

    #[test]
    fn nan_wins_and_conversions_saturate() {
        assert!(float(VectorOp::Max, f32::NAN, 1.0, 0.0).is_nan());
        // Whatever NaN goes in, and where none does, the same one comes out.
        let other = f32::from_bits(0xFFC1_2345);
        for op in [VectorOp::Add, VectorOp::Sub, VectorOp::Mul, VectorOp::Mac, VectorOp::Max, VectorOp::Min] {
            assert_eq!(float(op, other, 1.0, 2.0).to_bits(), f32::NAN.to_bits(), "{op:?}");
        }
        assert_eq!(float(VectorOp::Sub, f32::INFINITY, f32::INFINITY, 0.0).to_bits(), f32::NAN.to_bits());
        assert_eq!(Element::Float(3e9).to_bits(Dtype::I32), i32::MAX as u32);
        assert_eq!(Element::Float(-2.7).to_bits(Dtype::I32), -2i32 as u32);
        assert_eq!(apply(VectorOp::Round, [Element::Float(2.5); 3]).to_bits(Dtype::I32), 2);
        assert_eq!(binary_int(VectorOp::Shl, 1, 32), 0);
        assert_eq!(binary_int(VectorOp::Shr, -8, 40), -1);
    }
}
