//! Products that are added up, as in a product of matrices: rows of sums stay in the host's registers for all that is added
//! to them. The order of the additions to each sum is the same.

#![allow(clippy::inline_always, reason = "what is not inlined is not compiled for the host's vector instructions")]

use super::compute::{Input, Job};
use super::conflicts::{LOOPS, Rows, Walk};
use super::formats::Format;
use super::numerics;
use waferloom_fabric::Dtype;

/// Runs multiply-adds that add to the same row of singles again and again; says whether they are such.
#[inline(always)]
pub(crate) fn run(job: &Job<'_>, memory: &mut [u8]) -> bool {
    // The factors must not be the sums themselves.
    let apart = job.at[2] != job.at[0] && job.at[3] != job.at[0];
    if !apart || !job.in_place || job.target != Dtype::F32 {
        return false;
    }
    // The loop along the rows, and the one that adds to the same sums. Of two inner loops either may be the outer one.
    let (along, again) = match job.loops.steps[0] {
        [4, 0, ..] => (0, 1),
        [0, 4, ..] => (1, 0),
        _ => return false,
    };
    if job.loops.lens[again] == 1 {
        return false;
    }
    let sums = Sums { job, along, again };
    let step = |operand: usize| job.loops.steps[operand][along];
    match (job.inputs[1], step(2), job.inputs[2], step(3)) {
        (Input::Memory(Dtype::F32), 0, Input::Memory(Dtype::F32), 4) => sums.add(memory, HeldSingle, Singles),
        (Input::Memory(Dtype::F32), 4, Input::Memory(Dtype::F32), 0) => sums.add(memory, Singles, HeldSingle),
        (Input::Memory(Dtype::F32), b, Input::Memory(Dtype::F32), c) => sums.add(memory, Strided(b), Strided(c)),
        (Input::Memory(a), 0, Input::Memory(b), 2) if Format::of(a) == Format::of(b) => match Format::of(a) {
            Some(format) => sums.add(memory, HeldHalf(format), Halves(format)),
            None => return false,
        },
        _ => return false,
    }
    true
}

struct Sums<'a> {
    job: &'a Job<'a>,
    along: usize,
    again: usize,
}

impl Sums<'_> {
    #[inline(always)]
    fn add(&self, memory: &mut [u8], b: impl Pieces, c: impl Pieces) {
        let loops = self.job.loops;
        let [_, _, l2, l3] = loops.lens;
        let (len, turns) = (loops.lens[self.along] as usize, loops.lens[self.again]);
        let walks = [0, 2, 3].map(|operand| Walk { at: self.job.at[operand], steps: loops.steps[operand] });
        let steps = [walks[1].steps[self.again], walks[2].steps[self.again]];
        for outer in Rows::new([1, 1, l2, l3]) {
            let at = [walks[0].start(outer), walks[1].start(outer), walks[2].start(outer)];
            let mut i = 0;
            while i + 8 <= len {
                add_products::<8>(memory, b, c, at, steps, turns, i);
                i += 8;
            }
            if i + 4 <= len {
                add_products::<4>(memory, b, c, at, steps, turns, i);
                i += 4;
            }
            while i < len {
                add_products::<1>(memory, b, c, at, steps, turns, i);
                i += 1;
            }
        }
    }
}

/// Adds `turns` products to some elements of a row of sums.
#[inline(always)]
fn add_products<const N: usize>(
    memory: &mut [u8],
    b: impl Pieces,
    c: impl Pieces,
    [target, mut b_at, mut c_at]: [i64; LOOPS - 1],
    steps: [i64; 2],
    turns: u32,
    i: usize,
) {
    let mut sums: [f32; N] = Singles.piece(memory, target, i);
    for _ in 0..turns {
        let (b, c) = (b.piece::<N>(memory, b_at, i), c.piece::<N>(memory, c_at, i));
        for j in 0..N {
            sums[j] = b[j].mul_add(c[j], sums[j]);
        }
        b_at += steps[0];
        c_at += steps[1];
    }
    let start = target as usize + 4 * i;
    let row = memory.get_mut(start..start + 4 * N).unwrap_or_default();
    // A NaN stays one: that it is the right one need only be seen to at the end.
    for (slot, sum) in row.as_chunks_mut().0.iter_mut().zip(sums) {
        *slot = numerics::one_nan(sum).to_le_bytes();
    }
}

/// Factors of one kind: the elements from the `i`th of a row on that begins at an address.
trait Pieces: Copy {
    fn piece<const N: usize>(self, memory: &[u8], at: i64, i: usize) -> [f32; N];
}

/// A single for the whole row.
#[derive(Clone, Copy)]
struct HeldSingle;
#[derive(Clone, Copy)]
struct Singles;
/// Singles so many bytes apart.
#[derive(Clone, Copy)]
struct Strided(i64);
#[derive(Clone, Copy)]
struct HeldHalf(Format);
#[derive(Clone, Copy)]
struct Halves(Format);

/// `N` units of bytes from an address on.
#[inline(always)]
fn units<const SIZE: usize, const N: usize>(memory: &[u8], start: usize) -> [[u8; SIZE]; N] {
    let bytes = memory.get(start..start + SIZE * N).unwrap_or_default();
    bytes.as_chunks().0.first_chunk().copied().unwrap_or([[0; SIZE]; N])
}

/// An array of floats. `map` and `from_fn` of the standard library are not always inlined, and then not compiled for the
/// host's instructions.
#[inline(always)]
fn floats<const N: usize>(float: impl Fn(usize) -> f32) -> [f32; N] {
    let mut floats = [0.0; N];
    for (j, slot) in floats.iter_mut().enumerate() {
        *slot = float(j);
    }
    floats
}

impl Pieces for HeldSingle {
    #[inline(always)]
    fn piece<const N: usize>(self, memory: &[u8], at: i64, _: usize) -> [f32; N] {
        let [single] = units(memory, at as usize);
        [f32::from_le_bytes(single); N]
    }
}

impl Pieces for Singles {
    #[inline(always)]
    fn piece<const N: usize>(self, memory: &[u8], at: i64, i: usize) -> [f32; N] {
        let singles = units::<4, N>(memory, at as usize + 4 * i);
        floats(|j| f32::from_le_bytes(singles[j]))
    }
}

impl Pieces for Strided {
    #[inline(always)]
    fn piece<const N: usize>(self, memory: &[u8], at: i64, i: usize) -> [f32; N] {
        floats(|j| {
            let [single] = units(memory, (at + self.0 * (i + j) as i64) as usize);
            f32::from_le_bytes(single)
        })
    }
}

impl Pieces for HeldHalf {
    #[inline(always)]
    fn piece<const N: usize>(self, memory: &[u8], at: i64, _: usize) -> [f32; N] {
        let [half] = units(memory, at as usize);
        [self.0.widen(u16::from_le_bytes(half)); N]
    }
}

impl Pieces for Halves {
    #[inline(always)]
    fn piece<const N: usize>(self, memory: &[u8], at: i64, i: usize) -> [f32; N] {
        let halves = units::<2, N>(memory, at as usize + 2 * i);
        floats(|j| self.0.widen(u16::from_le_bytes(halves[j])))
    }
}
