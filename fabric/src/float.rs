//! The floating-point types of the mesh and the host's f32: exact one way, rounded to nearest (ties to even) the other way.

use crate::cb16::Cb16;
use crate::tensor::Dtype;
use half::{bf16, f16};

impl Dtype {
    /// The number that bits stand for (16-bit types use the low half), exactly; `None` for integers. A NaN of 16 bits
    /// becomes quiet.
    #[inline]
    pub fn widen(self, bits: u32) -> Option<f32> {
        Some(match self {
            Dtype::F32 => f32::from_bits(bits),
            Dtype::F16 => f16::from_bits(bits as u16).to_f32(),
            Dtype::Bf16 => bf16::from_bits(bits as u16).to_f32(),
            Dtype::Cb16 => Cb16::from_bits(bits as u16).to_f32(),
            Dtype::I32 | Dtype::U16 => return None,
        })
    }

    /// The bits of the nearest number (16-bit types in the low half); `None` for integers. What is too large is infinite.
    pub fn narrow(self, value: f32) -> Option<u32> {
        Some(match self {
            Dtype::F32 => value.to_bits(),
            Dtype::F16 => u32::from(f16::from_f32(value).to_bits()),
            Dtype::Bf16 => u32::from(bf16::from_f32(value).to_bits()),
            Dtype::Cb16 => u32::from(Cb16::from_f32(value).to_bits()),
            Dtype::I32 | Dtype::U16 => return None,
        })
    }

    /// As [`Dtype::narrow`], from f64 with a single rounding.
    pub fn narrow_f64(self, value: f64) -> Option<u32> {
        if self == Dtype::F32 { self.narrow(value as f32) } else { self.narrow(to_odd(value)) }
    }

    /// The bits of the nearest finite number when `value` is finite (a mask's lowest f32 must not become an infinity), of
    /// the same infinity or a NaN when it is not; `None` for integers.
    pub fn narrow_finite(self, value: f32) -> Option<u32> {
        self.narrow(self.clamp_finite(value))
    }

    /// A finite number brought into the type's range of finite numbers; all else, and all of integers' types, as it is.
    pub fn clamp_finite(self, value: f32) -> f32 {
        match self.largest() {
            Some(largest) if value.is_finite() => value.clamp(-largest, largest),
            _ => value,
        }
    }

    /// The largest finite number; `None` for integers.
    pub fn largest(self) -> Option<f32> {
        Some(match self {
            Dtype::F32 => f32::MAX,
            Dtype::F16 => f16::MAX.to_f32(),
            Dtype::Bf16 => bf16::MAX.to_f32(),
            Dtype::Cb16 => Cb16::MAX.to_f32(),
            Dtype::I32 | Dtype::U16 => return None,
        })
    }

    /// Significant bits of a normal number, the hidden one included; `None` for integers. Rounding changes a number by at
    /// most `2^-significant_bits` of its size.
    pub fn significant_bits(self) -> Option<u32> {
        match self {
            Dtype::F32 => Some(f32::MANTISSA_DIGITS),
            Dtype::F16 => Some(f16::MANTISSA_DIGITS),
            Dtype::Bf16 => Some(bf16::MANTISSA_DIGITS),
            Dtype::Cb16 => Some(10),
            Dtype::I32 | Dtype::U16 => None,
        }
    }
}

/// The f32 that is equal, or the one of its two neighbours whose last bit is 1: no later rounding to at most 22 bits can
/// tell it from `value`. (Rounded to nearest it could come to lie half-way between two shorter numbers.)
fn to_odd(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) == value || value.is_nan() {
        return near;
    }
    // Bits of the neighbour nearer to zero: an infinity, too, comes back to the largest number.
    let below = near.to_bits() - u32::from(f64::from(near).abs() > value.abs());
    f32::from_bits(below | 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The 16-bit floats and the bits of their infinities.
    const HALVES: [(Dtype, u32); 3] = [(Dtype::F16, 0x7C00), (Dtype::Bf16, 0x7F80), (Dtype::Cb16, 0x7E00)];

    #[test]
    fn every_pattern_comes_back() {
        for (dtype, infinity) in HALVES {
            let quiet = infinity >> 1 & !infinity;
            for bits in 0..=0xFFFF {
                let wide = dtype.widen(bits).unwrap();
                let expected = if bits & 0x7FFF > infinity { bits | quiet } else { bits };
                assert_eq!(wide.is_nan(), bits & 0x7FFF > infinity, "{dtype:?} {bits:04x}");
                assert_eq!(dtype.narrow(wide), Some(expected), "{dtype:?} {bits:04x}");
                assert_eq!(dtype.narrow_f64(wide.into()).map(|b| b & 0x7FFF > infinity), Some(wide.is_nan()));
                if !wide.is_nan() {
                    assert_eq!(dtype.narrow_f64(wide.into()), Some(bits), "{dtype:?} {bits:04x}");
                }
            }
        }
    }

    #[test]
    fn between_neighbours_one_rounding_decides_from_f32_and_from_f64() {
        for (dtype, infinity) in HALVES {
            for low in 0..infinity - 1 {
                let number = |bits: u32| f64::from(dtype.widen(bits).unwrap());
                let middle = number(low).midpoint(number(low + 1));
                let even = low + (low & 1);
                assert_eq!(dtype.narrow(middle as f32), Some(even), "{dtype:?} {low:04x}");
                // As near to the middle as f64 comes: f32 cannot tell.
                let cases = [(middle.next_down(), low), (middle, even), (middle.next_up(), low + 1)];
                for (value, expected) in cases {
                    assert_eq!(dtype.narrow_f64(value), Some(expected), "{dtype:?} {value:e}");
                    assert_eq!(dtype.narrow_f64(-value), Some(expected | 0x8000), "{dtype:?} -{value:e}");
                }
            }
        }
    }

    #[test]
    fn finite_numbers_stay_finite() {
        for (dtype, infinity) in HALVES {
            assert_eq!(dtype.narrow(f32::MAX), Some(infinity), "{dtype:?}");
            assert_eq!(dtype.narrow_f64(f64::MAX), Some(infinity), "{dtype:?}");
            assert_eq!(dtype.narrow_finite(f32::MAX), Some(infinity - 1), "{dtype:?}");
            assert_eq!(dtype.narrow_finite(f32::MIN), Some(0x7FFF + infinity), "{dtype:?}");
            assert_eq!(dtype.narrow_finite(f32::NEG_INFINITY), Some(0x8000 | infinity), "{dtype:?}");
            assert!(dtype.clamp_finite(f32::NAN).is_nan());
            assert_eq!(dtype.widen(infinity - 1), dtype.largest());
        }
        assert_eq!(Dtype::F32.narrow_finite(f32::MIN), Some(f32::MIN.to_bits()));
        assert_eq!((Dtype::I32.largest(), Dtype::U16.widen(1), Dtype::I32.narrow(1.0)), (None, None, None));
    }

    #[test]
    fn the_last_significant_bit_is_the_last() {
        for (dtype, _) in HALVES.into_iter().chain([(Dtype::F32, 0)]) {
            let bits = dtype.significant_bits().unwrap() as i32;
            let kept = |x: f32| dtype.widen(dtype.narrow(x).unwrap()) == Some(x);
            assert!(kept(1.0 + 2f32.powi(1 - bits)), "{dtype:?}");
            assert!(dtype == Dtype::F32 || !kept(1.0 + 2f32.powi(-bits)), "{dtype:?}");
        }
    }
}
