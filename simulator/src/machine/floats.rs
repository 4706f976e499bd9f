//! Float arithmetic over the segments of [`super::bulk`]: one loop for each operation and each kind of source, so that
//! nothing is decided inside of it.

use super::bulk::{Place, Source, load, store};
use super::numerics::{self, Element, one_nan};
use std::cmp::Ordering;
use waferloom_fabric::Dtype;

/// Something that gives the floats of a segment.
trait Floats: Copy {
    fn get(self, memory: &[u8], i: u64) -> f32;
}

#[derive(Clone, Copy)]
struct Number(f32);

#[derive(Clone, Copy)]
struct Singles(Place);

/// Floats of 16 bits: of any format, so that there is one loop for all of them.
#[derive(Clone, Copy)]
struct Halves(Place, Format);

/// Integers in memory.
#[derive(Clone, Copy)]
struct Converted(Source);

impl Floats for Number {
    fn get(self, _: &[u8], _: u64) -> f32 {
        self.0
    }
}

impl Floats for Singles {
    fn get(self, memory: &[u8], i: u64) -> f32 {
        f32::from_bits(load(memory, self.0.nth(i), Dtype::F32))
    }
}

impl Floats for Halves {
    fn get(self, memory: &[u8], i: u64) -> f32 {
        self.1.widen(load(memory, self.0.nth(i), Dtype::U16) as u16)
    }
}

impl Floats for Converted {
    fn get(self, memory: &[u8], i: u64) -> f32 {
        self.0.element(memory, i).float()
    }
}

/// A format of 16 bits.
#[derive(Clone, Copy)]
struct Format {
    /// Mantissa bits of binary32 that it does not have.
    dropped: u32,
    /// Two to the power of the difference of the exponents' biases.
    scale: f32,
    /// Its bits of infinity.
    infinity: u16,
}

/// 5 exponent bits, bias 15.
const F16: Format = Format { dropped: 13, scale: f32::from_bits((127 + 112) << 23), infinity: 0x7C00 };
/// 8 exponent bits, bias 127.
const BF16: Format = Format { dropped: 16, scale: 1.0, infinity: 0x7F80 };
/// 6 exponent bits, bias 31.
const CB16: Format = Format { dropped: 14, scale: f32::from_bits((127 + 96) << 23), infinity: 0x7E00 };

impl Format {
    /// The number as an f32, exactly; a NaN becomes quiet.
    fn widen(self, bits: u16) -> f32 {
        let (sign, magnitude) = (u32::from(bits & 0x8000) << 16, u32::from(bits & 0x7FFF) << self.dropped);
        let wide = match (bits & 0x7FFF).cmp(&self.infinity) {
            // With the exponent's bias corrected by a product, subnormal numbers become right, too.
            Ordering::Less => (f32::from_bits(magnitude) * self.scale).to_bits(),
            Ordering::Equal => 0x7F80_0000,
            Ordering::Greater => 0x7FC0_0000 | magnitude & 0x7F_FFFF,
        };
        f32::from_bits(sign | wide)
    }
}

/// Calls a generic function with the source's own kind.
macro_rules! with_kind {
    ($source:expr, |$kind:ident| $call:expr) => {
        match $source {
            Source::Number(element) => {
                let $kind = Number(element.float());
                $call
            }
            Source::Memory(place) => match place.dtype {
                Dtype::F32 => {
                    let $kind = Singles(place);
                    $call
                }
                Dtype::F16 | Dtype::Bf16 | Dtype::Cb16 => {
                    let format = match place.dtype {
                        Dtype::Bf16 => BF16,
                        Dtype::Cb16 => CB16,
                        _ => F16,
                    };
                    let $kind = Halves(place, format);
                    $call
                }
                Dtype::I32 | Dtype::U16 => {
                    let $kind = Converted($source);
                    $call
                }
            },
        }
    };
}

/// `d = operation(a, b)` with a float as its result, one element after the other.
pub(crate) fn each(
    memory: &mut [u8],
    target: Place,
    [a, b, _]: [Source; 3],
    count: u64,
    operation: impl Fn(f32, f32) -> f32 + Copy,
) {
    with_kind!(a, |a| with_kind!(b, |b| {
        write(memory, target, count, |memory, i| operation(a.get(memory, i), b.get(memory, i)));
    }));
}

fn write(memory: &mut [u8], target: Place, count: u64, result: impl Fn(&[u8], u64) -> f32) {
    if target.dtype == Dtype::F32 {
        for i in 0..count {
            let bits = result(memory, i).to_bits();
            store(memory, target.nth(i), Dtype::F32, bits);
        }
    } else {
        for i in 0..count {
            let bits = Element::Float(result(memory, i)).to_bits(target.dtype);
            store(memory, target.nth(i), target.dtype, bits);
        }
    }
}

/// `d = a + b * c` with one rounding. A sum that stays in one place need not go through memory.
pub(crate) fn multiply_add(memory: &mut [u8], target: Place, [a, b, c]: [Source; 3], count: u64) {
    let stays = matches!(a, Source::Memory(p) if p.at == target.at && p.step == 0 && p.dtype == Dtype::F32);
    let in_place = stays && target.step == 0 && target.dtype == Dtype::F32;
    if in_place && !touches(b, target, count) && !touches(c, target, count) {
        let start = f32::from_bits(load(memory, target.nth(0), Dtype::F32));
        let sum = with_kind!(b, |b| with_kind!(c, |c| dot(memory, start, b, c, count)));
        return store(memory, target.nth(0), Dtype::F32, sum.to_bits());
    }
    with_kind!(a, |a| with_kind!(b, |b| with_kind!(c, |c| {
        write(memory, target, count, |memory, i| {
            numerics::multiply_add(a.get(memory, i), b.get(memory, i), c.get(memory, i))
        });
    })));
}

fn dot(memory: &[u8], start: f32, b: impl Floats, c: impl Floats, count: u64) -> f32 {
    // A NaN stays one: that it is the right one need only be seen to at the end.
    one_nan((0..count).fold(start, |sum, i| b.get(memory, i).mul_add(c.get(memory, i), sum)))
}

/// Whether one of a source's elements may lie where the target's only one lies.
fn touches(source: Source, target: Place, count: u64) -> bool {
    let Source::Memory(place) = source else { return false };
    let last = place.at + place.step * (count as i64 - 1);
    place.at.min(last) < target.at + 4 && target.at < place.at.max(last) + 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_is_widened_as_it_should() {
        for (format, dtype) in [(F16, Dtype::F16), (BF16, Dtype::Bf16), (CB16, Dtype::Cb16)] {
            for bits in 0..=u16::MAX {
                let expected = dtype.widen(bits.into()).expect("a float");
                assert_eq!(format.widen(bits).to_bits(), expected.to_bits(), "{dtype:?} {bits:04x}");
                assert_eq!(expected.to_bits(), Element::from_bits(bits.into(), dtype).float().to_bits());
            }
        }
    }
}
