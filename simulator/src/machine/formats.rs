//! Floats of 16 bits to and from those of 32, in loops that the host can do several of at once.

#![allow(clippy::inline_always, reason = "what is not inlined is not compiled for the host's vector instructions")]

use waferloom_fabric::Dtype;

/// A format of 16 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    /// Mantissa bits of binary32 that it does not have.
    dropped: u32,
    /// The difference of the exponents' biases, of binary32 and of this format.
    rebias: u32,
    /// Its bits of infinity.
    infinity: u16,
}

/// 5 exponent bits, bias 15.
const F16: Format = Format { dropped: 13, rebias: 112, infinity: 0x7C00 };
/// 8 exponent bits, bias 127.
const BF16: Format = Format { dropped: 16, rebias: 0, infinity: 0x7F80 };
/// 6 exponent bits, bias 31.
const CB16: Format = Format { dropped: 14, rebias: 96, infinity: 0x7E00 };

impl Format {
    /// That of a type; `None` for those that are no floats of 16 bits.
    pub(crate) fn of(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F16 => Some(F16),
            Dtype::Bf16 => Some(BF16),
            Dtype::Cb16 => Some(CB16),
            Dtype::F32 | Dtype::I32 | Dtype::U16 => None,
        }
    }

    /// The number as an f32, exactly; a NaN becomes quiet.
    #[inline(always)]
    pub(crate) fn widen(self, bits: u16) -> f32 {
        let (sign, magnitude) = (u32::from(bits & 0x8000) << 16, u32::from(bits & 0x7FFF) << self.dropped);
        let scale = f32::from_bits((127 + self.rebias) << 23);
        // With the exponent's bias corrected by a product, subnormal numbers become right, too.
        let number = (f32::from_bits(magnitude) * scale).to_bits();
        let special = 0x7F80_0000 | magnitude & 0x7F_FFFF | u32::from(bits & 0x7FFF > self.infinity) << 22;
        f32::from_bits(sign | if bits & 0x7FFF < self.infinity { number } else { special })
    }

    /// The nearest number; of two equally near ones the even one. A NaN becomes quiet and keeps its sign and upper bits.
    #[inline(always)]
    pub(crate) fn narrow(self, value: f32) -> u16 {
        let (sign, magnitude) = ((value.to_bits() >> 16) as u16 & 0x8000, value.to_bits() & 0x7FFF_FFFF);
        let infinity = u32::from(self.infinity);
        // A carry out of the mantissa goes into the exponent, as it should; beyond the largest number is infinity.
        let even = magnitude >> self.dropped & 1;
        let rounded = magnitude.wrapping_add((1 << (self.dropped - 1)) - 1 + even) >> self.dropped;
        let normal = rounded.wrapping_sub(self.rebias << (23 - self.dropped)).min(infinity);
        // The last bit of this power of two is worth that of a subnormal number here: the sum rounds as it should.
        let power = f32::from_bits((self.rebias + self.dropped + 1) << 23);
        let subnormal = (f32::from_bits(magnitude) + power).to_bits().wrapping_sub(power.to_bits());
        let nan = infinity | 1 << (22 - self.dropped) | magnitude >> self.dropped & (infinity ^ 0x7FFF);
        let is_subnormal = self.rebias > 0 && magnitude < (self.rebias + 1) << 23;
        let finite = if is_subnormal { subnormal } else { normal };
        sign | if magnitude > 0x7F80_0000 { nan } else { finite } as u16
    }
}

#[cfg(test)]
mod tests {
    use super::super::numerics::Element;
    use super::*;

    const HALVES: [Dtype; 3] = [Dtype::F16, Dtype::Bf16, Dtype::Cb16];

    #[test]
    fn every_half_is_widened_as_it_should() {
        for dtype in HALVES {
            let format = Format::of(dtype).expect("a float of 16 bits");
            for bits in 0..=u16::MAX {
                let expected = dtype.widen(bits.into()).expect("a float");
                assert_eq!(format.widen(bits).to_bits(), expected.to_bits(), "{dtype:?} {bits:04x}");
                assert_eq!(expected.to_bits(), Element::from_bits(bits.into(), dtype).float().to_bits());
            }
        }
    }

    #[test]
    fn what_lies_at_and_between_halves_is_narrowed_as_it_should() {
        for dtype in HALVES {
            let format = Format::of(dtype).expect("a float of 16 bits");
            // Each upper half of an f32 with lower halves about every place where the rounding changes; 0x9E37 * n is any.
            for upper in 0..=u32::from(u16::MAX) {
                let any = upper.wrapping_mul(0x9E37_79B9) >> 16;
                for lower in [0, 1, 0xFFF, 0x1000, 0x1001, 0x1FFF, 0x2000, 0x2001, 0x3000, 0x7FFF, 0x8000, 0x8001, any]
                {
                    let value = f32::from_bits(upper << 16 | lower);
                    let expected = Element::Float(value).to_bits(dtype);
                    assert_eq!(u32::from(format.narrow(value)), expected, "{dtype:?} {:08x}", value.to_bits());
                }
            }
        }
    }
}
