//! Float arithmetic over the segments of [`super::bulk`]. In long ones some elements are gathered, computed side by side with the
//! host's vector instructions, and stored. Short ones, and those whose elements read what earlier ones wrote, go one by one: a
//! loop for each operation and each kind of source, so that nothing is decided inside of it.

use super::bulk::{Place, Source, load, store};
use super::compute::HOST;
use super::formats::Format;
use super::numerics::{self, Element, one_nan};
use waferloom_fabric::Dtype;

/// Elements that are computed side by side.
const BLOCK: usize = 16;

/// Shorter segments go one by one.
const SHORTEST: u64 = 8;

type Block = [f32; BLOCK];

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
                dtype => match Format::of(dtype) {
                    Some(format) => {
                        let $kind = Halves(place, format);
                        $call
                    }
                    None => {
                        let $kind = Converted($source);
                        $call
                    }
                },
            },
        }
    };
}

/// `d = operation(a, b)` with a float as its result.
pub(crate) fn each(
    memory: &mut [u8],
    target: Place,
    sources: [Source; 3],
    count: u64,
    operation: impl Fn(f32, f32) -> f32 + Copy,
) {
    if !is_for_blocks(&sources[..2], target, count) {
        let [a, b, _] = sources;
        return with_kind!(a, |a| with_kind!(b, |b| {
            write(memory, target, count, |memory, i| operation(a.get(memory, i), b.get(memory, i)));
        }));
    }
    blocks(
        memory,
        target,
        [sources[0], sources[1], Source::Number(Element::Float(0.0))],
        count,
        |[a, b, _], results| {
            for ((result, &a), &b) in results.iter_mut().zip(a).zip(b) {
                *result = operation(a, b);
            }
        },
    );
}

/// `d = a + b * c` with one rounding. A sum that stays in one place need not go through memory.
pub(crate) fn multiply_add(memory: &mut [u8], target: Place, sources: [Source; 3], count: u64) {
    let [a, b, c] = sources;
    let stays = matches!(a, Source::Memory(p) if p.at == target.at && p.step == 0 && p.dtype == Dtype::F32);
    let in_place = stays && target.step == 0 && target.dtype == Dtype::F32;
    if in_place && count >= SHORTEST && is_apart(b, target, count) && is_apart(c, target, count) {
        let start = f32::from_bits(load(memory, target.nth(0), Dtype::F32));
        let sum = dot(memory, start, b, c, count);
        return store(memory, target.nth(0), Dtype::F32, sum.to_bits());
    }
    if !is_for_blocks(&sources, target, count) {
        return with_kind!(a, |a| with_kind!(b, |b| with_kind!(c, |c| {
            write(memory, target, count, |memory, i| {
                numerics::multiply_add(a.get(memory, i), b.get(memory, i), c.get(memory, i))
            });
        })));
    }
    blocks(memory, target, sources, count, |[a, b, c], results| {
        for (((result, &a), &b), &c) in results.iter_mut().zip(a).zip(b).zip(c) {
            *result = numerics::multiply_add(a, b, c);
        }
    });
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

/// Whether a segment is long enough for blocks, and no element reads what an earlier one wrote.
fn is_for_blocks(sources: &[Source], target: Place, count: u64) -> bool {
    let side_by_side = |&source: &Source| is_apart(source, target, count) || is_itself(source, target);
    count >= SHORTEST && sources.iter().all(side_by_side)
}

/// Computes the elements in blocks.
fn blocks(
    memory: &mut [u8],
    target: Place,
    sources: [Source; 3],
    count: u64,
    compute: impl Fn([&Block; 3], &mut Block),
) {
    HOST.dispatch(
        #[inline(always)]
        || {
            let mut operands = [[0.0; BLOCK]; 3];
            let mut results = [0.0; BLOCK];
            let mut from = 0;
            while from < count {
                let length = (BLOCK as u64).min(count - from) as usize;
                for (operand, source) in operands.iter_mut().zip(sources) {
                    gather(memory, source, from, &mut operand[..length]);
                }
                compute(operands.each_ref(), &mut results);
                scatter(memory, target, from, &results[..length]);
                from += length as u64;
            }
        },
    );
}

/// `start + b * c`, added up in the order of the elements.
fn dot(memory: &[u8], start: f32, b: Source, c: Source, count: u64) -> f32 {
    HOST.dispatch(
        #[inline(always)]
        || {
            let (mut left, mut right) = ([0.0; BLOCK], [0.0; BLOCK]);
            let (mut sum, mut from) = (start, 0);
            while from < count {
                let length = (BLOCK as u64).min(count - from) as usize;
                gather(memory, b, from, &mut left[..length]);
                gather(memory, c, from, &mut right[..length]);
                sum = left[..length].iter().zip(&right[..length]).fold(sum, |sum, (&b, &c)| b.mul_add(c, sum));
                from += length as u64;
            }
            // A NaN stays one: that it is the right one need only be seen to at the end.
            one_nan(sum)
        },
    )
}

/// Elements of memory as floats.
pub(crate) fn widen(memory: &[u8], place: Place, values: &mut [f32]) {
    gather(memory, Source::Memory(place), 0, values);
}

/// The elements of a source from one on, as floats.
#[expect(clippy::inline_always, reason = "only so it is compiled for the host's vector instructions")]
#[inline(always)]
fn gather(memory: &[u8], source: Source, from: u64, values: &mut [f32]) {
    let place = match source {
        Source::Number(element) => return values.fill(element.float()),
        Source::Memory(place) => place,
    };
    let start = place.nth(from);
    let format = match place.dtype {
        Dtype::F32 if place.step == 4 => {
            let bytes = memory.get(start..start + values.len() * 4).unwrap_or_default();
            for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *value = f32::from_le_bytes(*bytes);
            }
            return;
        }
        _ => Format::of(place.dtype),
    };
    let Some(format) = format else {
        for (i, value) in (from..).zip(values) {
            *value = source.element(memory, i).float();
        }
        return;
    };
    if place.step == 2 {
        let bytes = memory.get(start..start + values.len() * 2).unwrap_or_default();
        for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<2>().0) {
            *value = format.widen(u16::from_le_bytes(*bytes));
        }
    } else {
        for (i, value) in (from..).zip(values) {
            *value = format.widen(load(memory, place.nth(i), Dtype::U16) as u16);
        }
    }
}

/// Stores results as elements of the target from one on.
#[expect(clippy::inline_always, reason = "only so it is compiled for the host's vector instructions")]
#[inline(always)]
fn scatter(memory: &mut [u8], target: Place, from: u64, values: &[f32]) {
    let start = target.nth(from);
    if target.dtype == Dtype::F32 && target.step == 4 {
        let bytes = memory.get_mut(start..start + values.len() * 4).unwrap_or_default();
        for (bytes, value) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(values) {
            *bytes = value.to_le_bytes();
        }
        return;
    }
    for (i, &value) in (from..).zip(values) {
        store(memory, target.nth(i), target.dtype, Element::Float(value).to_bits(target.dtype));
    }
}

/// Whether no element of a source lies where one of the target's does.
pub(super) fn is_apart(source: Source, target: Place, count: u64) -> bool {
    let Source::Memory(place) = source else { return true };
    let range = |place: Place| {
        let last = place.at + place.step * (count as i64 - 1);
        (place.at.min(last), place.at.max(last) + i64::from(place.dtype.bytes()))
    };
    let ((start, end), (first, after)) = (range(place), range(target));
    end <= first || after <= start
}

/// Whether each element of the target lies where the source's has lain, and nowhere else.
pub(super) fn is_itself(source: Source, target: Place) -> bool {
    let same = |place: Place| place.at == target.at && place.step == target.step;
    matches!(source, Source::Memory(place) if same(place) && place.step != 0 && place.dtype.bytes() == target.dtype.bytes())
}
