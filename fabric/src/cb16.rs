//! [`Cb16`]: the vendor's 16-bit floating-point format, also called cbfloat16.
//!
//! What is public: 1 sign bit, 6 exponent bits and 9 explicit mantissa bits
//! (<https://docs.cerebras.net/en/latest/general/cs-1-data-formats.html>). Assumed, as it is not public: the fields lie in that
//! order from the highest bit; the exponent's bias is 31; an exponent of 0 means zero and subnormal numbers, one of 63
//! infinity and NaN, as in IEEE 754's binary formats; conversions round to nearest, ties to even.
//!
//! | number | bits | value |
//! | --- | --- | --- |
//! | smallest subnormal | `0x0001` | 2^-39 |
//! | smallest normal | `0x0200` | 2^-30 |
//! | 1 | `0x3e00` | 1 |
//! | largest finite | `0x7dff` | 2^32 - 2^22 = 4290772992 |
//! | infinity | `0x7e00` | |
//! | the quiet NaN | `0x7f00` | |

/// Bits of infinity: what is larger without its sign is a NaN.
const INFINITY: u16 = 0x7E00;
/// The bit that makes a NaN quiet.
const QUIET: u16 = 0x0100;
/// Mantissa bits of binary32 that this format does not have.
const DROPPED: u32 = 23 - 9;
/// The difference of the exponents' biases, of binary32 and of this format.
const REBIAS: u32 = 127 - 31;

/// A number in the vendor's 16-bit format; see the [module](self).
///
/// Comparison is of the bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cb16(u16);

impl Cb16 {
    /// The largest finite number.
    pub const MAX: Self = Self(INFINITY - 1);
    /// Positive infinity.
    pub const INFINITY: Self = Self(INFINITY);
    /// The quiet NaN.
    pub const NAN: Self = Self(INFINITY | QUIET);

    /// The number that 16 bits stand for.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// Its 16 bits.
    pub const fn to_bits(self) -> u16 {
        self.0
    }

    /// The nearest number; of two equally near ones the even one. A NaN becomes quiet and keeps its sign and upper bits.
    pub fn from_f32(value: f32) -> Self {
        let sign = (value.to_bits() >> 16) as u16 & 0x8000;
        let magnitude = value.abs();
        let bits = magnitude.to_bits();
        Self(
            sign | if magnitude.is_nan() {
                INFINITY | QUIET | (bits >> DROPPED) as u16 & 0x1FF
            } else if magnitude >= power(-30) {
                // A carry out of the mantissa goes into the exponent, as it should; beyond the largest number is infinity.
                let rounded = (bits + (1 << (DROPPED - 1)) - 1 + (bits >> DROPPED & 1)) >> DROPPED;
                (rounded - (REBIAS << 9)).min(u32::from(INFINITY)) as u16
            } else {
                // The last bit of 2^-16 is worth 2^-39, as that of a subnormal number is here: the sum rounds as it should.
                ((magnitude + power(-16)).to_bits() - power(-16).to_bits()) as u16
            },
        )
    }

    /// The same number, exactly. A NaN becomes quiet.
    pub fn to_f32(self) -> f32 {
        let (sign, magnitude) = (u32::from(self.0 & 0x8000) << 16, u32::from(self.0 & 0x7FFF) << DROPPED);
        let wide = if self.0 & 0x7FFF < INFINITY {
            // With the bias corrected by a product, subnormal numbers become right, too.
            (f32::from_bits(magnitude) * power(REBIAS as i32)).to_bits()
        } else {
            let quiet = if self.is_nan() { u32::from(QUIET) << DROPPED } else { 0 };
            0x7F80_0000 | quiet | magnitude & 0x7F_FFFF
        };
        f32::from_bits(sign | wide)
    }

    /// Whether it is not a number.
    pub const fn is_nan(self) -> bool {
        self.0 & 0x7FFF > INFINITY
    }
}

/// `2^n` for the exponent of a normal number.
const fn power(n: i32) -> f32 {
    f32::from_bits(((n + 127) as u32) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of finite bits by the format's definition.
    fn defined(bits: u16) -> f64 {
        let (exponent, mantissa) = (i32::from(bits >> 9 & 0x3F), f64::from(bits & 0x1FF));
        let magnitude = match exponent {
            0 => mantissa * 2f64.powi(-39),
            _ => (512.0 + mantissa) * 2f64.powi(exponent - 31 - 9),
        };
        if bits & 0x8000 == 0 { magnitude } else { -magnitude }
    }

    fn narrow(value: f64) -> u16 {
        assert_eq!(f64::from(value as f32), value, "the test wants numbers of f32");
        Cb16::from_f32(value as f32).to_bits()
    }

    #[test]
    fn every_pattern_is_the_number_of_its_definition_and_comes_back() {
        for bits in 0..=u16::MAX {
            let number = Cb16::from_bits(bits);
            let back = Cb16::from_f32(number.to_f32());
            match bits & 0x7FFF {
                0..INFINITY => {
                    assert_eq!(f64::from(number.to_f32()), defined(bits), "{bits:04x}");
                    assert_eq!(number.to_f32().is_sign_negative(), bits >> 15 == 1, "{bits:04x}");
                    assert_eq!(back, number, "{bits:04x}");
                }
                INFINITY => {
                    assert_eq!(number.to_f32().abs(), f32::INFINITY);
                    assert_eq!(back, number);
                }
                _ => {
                    assert!(number.is_nan() && number.to_f32().is_nan(), "{bits:04x}");
                    // Quiet on both sides, with the rest of its bits.
                    assert_ne!(number.to_f32().to_bits() & 0x40_0000, 0, "{bits:04x}");
                    assert_eq!(back.to_bits(), bits | QUIET, "{bits:04x}");
                }
            }
        }
    }

    #[test]
    fn between_neighbours_the_nearer_or_the_even_one_is_taken() {
        for low in 0..Cb16::MAX.to_bits() {
            let (a, b) = (defined(low), defined(low + 1));
            let middle = a.midpoint(b);
            let below = f64::from((middle as f32).next_down());
            let above = f64::from((middle as f32).next_up());
            let even = low + (low & 1);
            for (value, expected) in [(middle, even), (below, low), (above, low + 1)] {
                assert_eq!(narrow(value), expected, "{value:e} between {a:e} and {b:e}");
                assert_eq!(narrow(-value), expected | 0x8000, "-{value:e} between {a:e} and {b:e}");
            }
        }
    }

    #[test]
    fn what_is_too_large_is_infinite() {
        assert_eq!(Cb16::MAX.to_f32(), 4_290_772_992.0);
        // Half-way between the largest number and 2^32, which would be the next one.
        let half_way = 2f32.powi(32) - 2f32.powi(21);
        assert_eq!(Cb16::from_f32(half_way.next_down()), Cb16::MAX);
        for value in [half_way, 2f32.powi(32), f32::MAX, f32::INFINITY] {
            assert_eq!(Cb16::from_f32(value), Cb16::INFINITY, "{value:e}");
            assert_eq!(Cb16::from_f32(-value).to_bits(), 0xFE00, "{value:e}");
        }
    }

    #[test]
    fn what_is_too_small_is_zero_of_its_sign() {
        let half = 2f32.powi(-40);
        for (value, expected) in [(half.next_up(), 1), (half, 0), (f32::MIN_POSITIVE, 0), (f32::from_bits(1), 0)] {
            assert_eq!(Cb16::from_f32(value).to_bits(), expected, "{value:e}");
            assert_eq!(Cb16::from_f32(-value).to_bits(), expected | 0x8000, "{value:e}");
        }
        // The largest subnormal number, and half a step more: the smallest normal one.
        assert_eq!(narrow(511.0 * 2f64.powi(-39)), 0x01FF);
        assert_eq!(narrow(511.5 * 2f64.powi(-39)), 0x0200);
    }

    #[test]
    fn known_numbers_have_known_bits() {
        for (value, bits) in [(1.0, 0x3E00), (-2.0, 0xC000), (1.5, 0x3F00), (0.1, 0x3733), (65504.0, 0x5E00)] {
            assert_eq!(Cb16::from_f32(value).to_bits(), bits, "{value}");
        }
        assert_eq!(Cb16::from_f32(f32::NAN), Cb16::NAN);
    }
}
