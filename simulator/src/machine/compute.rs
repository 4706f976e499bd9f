//! The arithmetic of a [`super::nest`]: rows of elements in pieces that fit the host's widest registers.
//!
//! A piece's operands are read before its results are written, so that a source may be the target itself. Fused multiply-adds give
//! the same bits however they are done. Only what is inlined into the function that is compiled for the host's instructions
//! uses them: hence the attributes.

#![allow(clippy::inline_always)]

use super::conflicts::{LOOPS, Rows, Walk};
use super::formats::Format;
use super::nest::{Loops, OPERANDS};
use super::numerics::{self, Element};
use std::sync::LazyLock;
use waferloom_fabric::{Dtype, VectorOp};

/// The host's instructions, found out once.
static HOST: LazyLock<pulp::Arch> = LazyLock::new(pulp::Arch::new);

/// Elements of a piece.
const PIECE: usize = 8;

/// The loops that an operation needs, by the types of its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// A move that keeps the bits.
    Copy,
    /// Floats to floats.
    Floats,
    /// Floats to integers.
    FloatsToIntegers,
    Integers,
    /// A choice between floats.
    SelectFloats,
    SelectIntegers,
}

impl Kernel {
    /// That of an operation; `sources`: their types, and whether they lie in memory. `None` for what has none.
    pub(crate) fn of(op: VectorOp, target: Dtype, sources: &[(Dtype, bool)]) -> Option<Self> {
        use VectorOp::{
            Abs, Add, And, Eq, Le, Lt, Mac, Max, Min, Mov, Mul, Neg, Or, Round, Select, Shl, Shr, Sub, Xor,
        };
        let floats = sources.iter().any(|(dtype, _)| dtype.is_float());
        let of = |kernel| Some(if floats { kernel } else { Self::Integers });
        match (op, sources) {
            // A signalling NaN of 16 bits becomes a quiet one on its way through the datapath.
            (Mov, [(dtype, true)]) if *dtype == target && Format::of(target).is_none() => Some(Self::Copy),
            (Mov | Abs | Neg | Add | Sub | Mul | Max | Min | Mac, _) => of(Self::Floats),
            (Round | Eq | Lt | Le, _) => of(Self::FloatsToIntegers),
            (And | Or | Xor | Shl | Shr, _) => (!floats).then_some(Self::Integers),
            (Select, [_, (b, _), (c, _)]) => match (b.is_float(), c.is_float()) {
                (true, true) => Some(Self::SelectFloats),
                (false, false) => Some(Self::SelectIntegers),
                _ => None,
            },
            (Select, _) => None,
        }
    }

    /// Whether it may add up a row in one place.
    pub(crate) fn gathers(self) -> bool {
        self == Self::Floats
    }
}

/// A source.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Input {
    Number(Element),
    Memory(Dtype),
}

/// What is to be computed: the target's place and then the sources'. They lie inside of memory.
pub(crate) struct Job<'a> {
    pub(crate) op: VectorOp,
    pub(crate) kernel: Kernel,
    pub(crate) loops: &'a Loops,
    pub(crate) at: [i64; OPERANDS],
    pub(crate) target: Dtype,
    pub(crate) inputs: [Input; 3],
    /// The first source is the target.
    pub(crate) in_place: bool,
}

/// Computes.
pub(crate) fn run(job: &Job<'_>, memory: &mut [u8]) {
    if job.kernel == Kernel::Copy { job.copy(memory) } else { HOST.dispatch(Compute { job, memory }) }
}

/// To be compiled for the host's instructions.
struct Compute<'a> {
    job: &'a Job<'a>,
    memory: &'a mut [u8],
}

impl pulp::NullaryFnOnce for Compute<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { job, memory } = self;
        match job.kernel {
            Kernel::Copy => {}
            Kernel::Floats => floats(job, memory),
            Kernel::FloatsToIntegers => {
                let integer = |condition: bool| i32::from(condition);
                match job.op {
                    VectorOp::Eq => job.rows(memory, |[a, b, _]: [f32; 3]| integer(a == b)),
                    VectorOp::Lt => job.rows(memory, |[a, b, _]: [f32; 3]| integer(a < b)),
                    VectorOp::Le => job.rows(memory, |[a, b, _]: [f32; 3]| integer(a <= b)),
                    _ => job.rows(memory, |[a, ..]: [f32; 3]| a.round_ties_even() as i32),
                }
            }
            Kernel::Integers => integers(job, memory),
            Kernel::SelectFloats => job.select::<f32>(memory),
            Kernel::SelectIntegers => job.select::<i32>(memory),
        }
    }
}

#[inline(always)]
fn floats(job: &Job<'_>, memory: &mut [u8]) {
    match job.op {
        VectorOp::Mac if job.adds_up_products() => job.products(memory),
        VectorOp::Mac => job.float_rows(memory, numerics::multiply_add),
        VectorOp::Add => job.float_rows(memory, |a, b, _| numerics::sum(a, b)),
        VectorOp::Sub => job.float_rows(memory, |a, b, _| numerics::difference(a, b)),
        VectorOp::Mul => job.float_rows(memory, |a, b, _| numerics::product(a, b)),
        VectorOp::Max => job.float_rows(memory, |a, b, _| numerics::largest(a, b)),
        VectorOp::Min => job.float_rows(memory, |a, b, _| numerics::smallest(a, b)),
        VectorOp::Abs => job.float_rows(memory, |a, _, _| a.abs()),
        VectorOp::Neg => job.float_rows(memory, |a, _, _| -a),
        _ => job.float_rows(memory, |a, _, _| a),
    }
}

#[inline(always)]
fn integers(job: &Job<'_>, memory: &mut [u8]) {
    let operation = job.op;
    match operation {
        VectorOp::Mov => job.rows(memory, |[a, ..]: [i32; 3]| a),
        VectorOp::Add => job.rows(memory, |[a, b, _]: [i32; 3]| a.wrapping_add(b)),
        VectorOp::Sub => job.rows(memory, |[a, b, _]: [i32; 3]| a.wrapping_sub(b)),
        VectorOp::Mul => job.rows(memory, |[a, b, _]: [i32; 3]| a.wrapping_mul(b)),
        VectorOp::Mac => job.rows(memory, |[a, b, c]: [i32; 3]| a.wrapping_add(b.wrapping_mul(c))),
        _ => job.rows(memory, |[a, b, c]: [i32; 3]| {
            let element = numerics::apply(operation, [Element::Int(a), Element::Int(b), Element::Int(c)]);
            element.to_bits(Dtype::I32) as i32
        }),
    }
}

/// What a kernel computes with: floats or integers of 32 bits.
trait Word: Copy + Default {
    /// The number of a source that is one.
    fn number(element: Element) -> Self;
    /// An element in memory.
    fn load(bits: u32, dtype: Dtype) -> Self;
    fn from_word(bytes: [u8; 4]) -> Self;
    fn to_word(self) -> [u8; 4];
    /// The element as bits of a type.
    fn store(self, dtype: Dtype) -> u32;
    /// The type that is stored as it is.
    const OWN: Dtype;
    /// As a float.
    fn float(self) -> f32;
    /// From a float of 16 bits in memory, already widened.
    fn widened(value: f32) -> Self;
}

impl Word for f32 {
    const OWN: Dtype = Dtype::F32;

    #[inline(always)]
    fn number(element: Element) -> Self {
        element.float()
    }

    #[inline(always)]
    fn load(bits: u32, dtype: Dtype) -> Self {
        Element::from_bits(bits, dtype).float()
    }

    #[inline(always)]
    fn from_word(bytes: [u8; 4]) -> Self {
        f32::from_le_bytes(bytes)
    }

    #[inline(always)]
    fn to_word(self) -> [u8; 4] {
        self.to_le_bytes()
    }

    #[inline(always)]
    fn store(self, dtype: Dtype) -> u32 {
        Element::Float(self).to_bits(dtype)
    }

    #[inline(always)]
    fn float(self) -> f32 {
        self
    }

    #[inline(always)]
    fn widened(value: f32) -> Self {
        value
    }
}

impl Word for i32 {
    const OWN: Dtype = Dtype::I32;

    #[inline(always)]
    fn number(element: Element) -> Self {
        element.to_bits(Dtype::I32) as i32
    }

    #[inline(always)]
    fn load(bits: u32, dtype: Dtype) -> Self {
        Element::from_bits(bits, dtype).to_bits(Dtype::I32) as i32
    }

    #[inline(always)]
    fn from_word(bytes: [u8; 4]) -> Self {
        i32::from_le_bytes(bytes)
    }

    #[inline(always)]
    fn to_word(self) -> [u8; 4] {
        self.to_le_bytes()
    }

    #[inline(always)]
    fn store(self, dtype: Dtype) -> u32 {
        Element::Int(self).to_bits(dtype)
    }

    #[inline(always)]
    fn float(self) -> f32 {
        self as f32
    }

    #[inline(always)]
    fn widened(value: f32) -> Self {
        value as i32
    }
}

/// How the elements of a vector in memory are got at.
#[derive(Clone, Copy)]
enum Way {
    /// Words of the kernel's own type, side by side.
    Words,
    /// Floats of 16 bits, side by side.
    Halves(Format),
    /// The same element for the whole row.
    Held(Dtype),
    /// Any type, so many bytes apart.
    Any(Dtype, i64),
}

impl Way {
    #[inline(always)]
    fn of<T: Word>(dtype: Dtype, step: i64) -> Self {
        match Format::of(dtype) {
            _ if step == 0 => Way::Held(dtype),
            None if dtype == T::OWN && step == 4 => Way::Words,
            Some(format) if step == 2 => Way::Halves(format),
            _ => Way::Any(dtype, step),
        }
    }
}

/// A source and how it is got at.
#[derive(Clone, Copy)]
enum Fetch<T> {
    Number(T),
    Memory(Way),
}

impl<T: Word> Fetch<T> {
    /// The elements from the `i`th of a row on that begins at an address.
    #[inline(always)]
    fn piece<const N: usize>(self, memory: &[u8], at: i64, i: usize) -> [T; N] {
        let start = |size: usize| at as usize + i * size;
        let way = match self {
            Fetch::Number(number) => return [number; N],
            Fetch::Memory(way) => way,
        };
        match way {
            Way::Words => words::<N>(memory, start(4)).map(T::from_word),
            Way::Halves(format) => halves::<N>(memory, start(2)).map(|bits| T::widened(format.widen(bits))),
            Way::Held(dtype) => [T::load(load(memory, at as usize, dtype), dtype); N],
            Way::Any(dtype, step) => {
                std::array::from_fn(|j| T::load(load(memory, (at + step * (i + j) as i64) as usize, dtype), dtype))
            }
        }
    }
}

/// `N` words from an address on.
#[inline(always)]
fn words<const N: usize>(memory: &[u8], start: usize) -> [[u8; 4]; N] {
    let bytes = memory.get(start..start + 4 * N).unwrap_or_default();
    bytes.as_chunks().0.first_chunk().copied().unwrap_or([[0; 4]; N])
}

/// `N` half-words from an address on.
#[inline(always)]
fn halves<const N: usize>(memory: &[u8], start: usize) -> [u16; N] {
    let bytes = memory.get(start..start + 2 * N).unwrap_or_default();
    bytes.as_chunks().0.first_chunk().copied().unwrap_or([[0; 2]; N]).map(u16::from_le_bytes)
}

#[inline(always)]
fn load(memory: &[u8], at: usize, dtype: Dtype) -> u32 {
    super::bulk::load(memory, at, dtype)
}

/// Stores results as the elements from the `i`th of a row on.
#[inline(always)]
fn put<T: Word, const N: usize>(memory: &mut [u8], way: Way, at: i64, i: usize, results: [T; N]) {
    match way {
        Way::Words => {
            let start = at as usize + i * 4;
            if let Some(bytes) = memory.get_mut(start..start + 4 * N) {
                for (slot, result) in bytes.as_chunks_mut().0.iter_mut().zip(results) {
                    *slot = result.to_word();
                }
            }
        }
        Way::Halves(format) => {
            let start = at as usize + i * 2;
            if let Some(bytes) = memory.get_mut(start..start + 2 * N) {
                let halves = results.map(|result| format.narrow(result.float()));
                for (slot, half) in bytes.as_chunks_mut().0.iter_mut().zip(halves) {
                    *slot = half.to_le_bytes();
                }
            }
        }
        Way::Held(dtype) => super::bulk::store(memory, at as usize, dtype, results[N - 1].store(dtype)),
        Way::Any(dtype, step) => {
            for (j, result) in results.into_iter().enumerate() {
                super::bulk::store(memory, (at + step * (i + j) as i64) as usize, dtype, result.store(dtype));
            }
        }
    }
}

impl Job<'_> {
    #[inline(always)]
    fn walk(&self, operand: usize) -> Walk {
        Walk { at: self.at[operand], steps: self.loops.steps[operand] }
    }

    /// Addresses of a row's first elements.
    #[inline(always)]
    fn starts(&self, outer: [i64; LOOPS - 1]) -> [i64; OPERANDS] {
        std::array::from_fn(|i| self.walk(i).start(outer))
    }

    #[inline(always)]
    fn fetch<T: Word>(&self, source: usize) -> Fetch<T> {
        match self.inputs[source] {
            Input::Number(element) => Fetch::Number(T::number(element)),
            Input::Memory(dtype) => Fetch::Memory(Way::of::<T>(dtype, self.loops.steps[source + 1][0])),
        }
    }

    /// Moves words or half-words.
    fn copy(&self, memory: &mut [u8]) {
        let size = self.target.bytes() as usize;
        let (len, to, from) = (self.loops.lens[0] as usize, self.walk(0), self.walk(1));
        let dense = to.steps[0] == size as i64 && from.steps[0] == size as i64;
        for outer in Rows::new(self.loops.lens) {
            let (to_row, from_row) = (to.start(outer), from.start(outer));
            if dense {
                memory.copy_within(from_row as usize..from_row as usize + size * len, to_row as usize);
                continue;
            }
            for i in 0..len as i64 {
                let bits = load(memory, (from_row + from.steps[0] * i) as usize, self.target);
                super::bulk::store(memory, (to_row + to.steps[0] * i) as usize, self.target, bits);
            }
        }
    }

    /// `target = operation(a, b, c)`, row by row.
    #[inline(always)]
    fn rows<T: Word, R: Word>(&self, memory: &mut [u8], operation: impl Fn([T; 3]) -> R + Copy) {
        let inputs = [self.fetch::<T>(0), self.fetch(1), self.fetch(2)];
        let way = Way::of::<R>(self.target, self.loops.steps[0][0]);
        let len = self.loops.lens[0] as usize;
        for outer in Rows::new(self.loops.lens) {
            let at = self.starts(outer);
            let mut i = 0;
            while i + PIECE <= len {
                piece::<T, R, PIECE>(memory, inputs, way, at, i, operation);
                i += PIECE;
            }
            if i + 4 <= len {
                piece::<T, R, 4>(memory, inputs, way, at, i, operation);
                i += 4;
            }
            while i < len {
                piece::<T, R, 1>(memory, inputs, way, at, i, operation);
                i += 1;
            }
        }
    }

    /// The same for floats, whose rows may be added up in one place.
    #[inline(always)]
    fn float_rows(&self, memory: &mut [u8], operation: impl Fn(f32, f32, f32) -> f32 + Copy) {
        if self.in_place && self.loops.steps[0][0] == 0 && self.loops.lens[0] > 1 {
            self.gather(memory, operation);
        } else {
            self.rows(memory, |[a, b, c]: [f32; 3]| operation(a, b, c));
        }
    }

    /// `target = operation(target, b, c)` where a row's elements all have the same target.
    #[inline(always)]
    fn gather(&self, memory: &mut [u8], operation: impl Fn(f32, f32, f32) -> f32 + Copy) {
        let (b, c) = (self.fetch::<f32>(1), self.fetch::<f32>(2));
        let len = self.loops.lens[0] as usize;
        for outer in Rows::new(self.loops.lens) {
            let at = self.starts(outer);
            let [mut sum] = words::<1>(memory, at[0] as usize).map(f32::from_le_bytes);
            let mut i = 0;
            while i + 4 <= len {
                let (b, c) = (b.piece::<4>(memory, at[2], i), c.piece::<4>(memory, at[3], i));
                for j in 0..4 {
                    sum = operation(sum, b[j], c[j]);
                }
                i += 4;
            }
            while i < len {
                let ([b], [c]) = (b.piece(memory, at[2], i), c.piece(memory, at[3], i));
                sum = operation(sum, b, c);
                i += 1;
            }
            put(memory, Way::Words, at[0], 0, [sum]);
        }
    }

    /// Whether rows of products are added to the same row of singles in the second loop, as in a product of matrices.
    #[inline(always)]
    fn adds_up_products(&self) -> bool {
        let [step, again, ..] = self.loops.steps[0];
        // The factors are not the sums themselves.
        let apart = self.at[2] != self.at[0] && self.at[3] != self.at[0];
        apart && self.in_place && self.target == Dtype::F32 && step == 4 && again == 0 && self.loops.lens[1] > 1
    }

    /// Adds up products in registers: the order of the additions to each element stays.
    #[inline(always)]
    fn products(&self, memory: &mut [u8]) {
        match (self.fetch::<f32>(1), self.fetch::<f32>(2)) {
            (Fetch::Memory(Way::Held(Dtype::F32)), Fetch::Memory(Way::Words)) => {
                self.products_of(memory, HeldSingle, Singles);
            }
            (Fetch::Memory(Way::Held(dtype)), Fetch::Memory(Way::Halves(format))) if Format::of(dtype).is_some() => {
                self.products_of(memory, HeldHalf(Format::of(dtype).unwrap_or(format)), Halves(format));
            }
            (b, c) => self.products_of(memory, b, c),
        }
    }

    #[inline(always)]
    fn products_of(&self, memory: &mut [u8], b: impl Pieces, c: impl Pieces) {
        let [len, turns, l2, l3] = self.loops.lens;
        let (len, walks) = (len as usize, [self.walk(0), self.walk(2), self.walk(3)]);
        let steps = [walks[1].steps[1], walks[2].steps[1]];
        for outer in Rows::new([1, 1, l2, l3]) {
            let at = walks.map(|walk| walk.start(outer));
            let mut i = 0;
            while i + PIECE <= len {
                add_products::<PIECE>(memory, b, c, at, steps, turns, i);
                i += PIECE;
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

    /// `target = a ? b : c`.
    #[inline(always)]
    fn select<T: Word>(&self, memory: &mut [u8]) {
        let (condition, b, c) = (self.fetch::<f32>(0), self.fetch::<T>(1), self.fetch::<T>(2));
        let way = Way::of::<T>(self.target, self.loops.steps[0][0]);
        for outer in Rows::new(self.loops.lens) {
            let at = self.starts(outer);
            for i in 0..self.loops.lens[0] as usize {
                // Of an integer the float is 0 exactly when it is.
                let [chosen] = condition.piece(memory, at[1], i);
                let [result] = if chosen == 0.0 { c.piece::<1>(memory, at[3], i) } else { b.piece(memory, at[2], i) };
                put(memory, way, at[0], i, [result]);
            }
        }
    }
}

/// `target = operation(a, b, c)` for some elements of a row.
#[inline(always)]
fn piece<T: Word, R: Word, const N: usize>(
    memory: &mut [u8],
    [a, b, c]: [Fetch<T>; 3],
    way: Way,
    at: [i64; OPERANDS],
    i: usize,
    operation: impl Fn([T; 3]) -> R,
) {
    let a = a.piece::<N>(memory, at[1], i);
    let b = b.piece::<N>(memory, at[2], i);
    let c = c.piece::<N>(memory, at[3], i);
    let results: [R; N] = std::array::from_fn(|j| operation([a[j], b[j], c[j]]));
    put(memory, way, at[0], i, results);
}

/// Floats of a vector of one known kind.
trait Pieces: Copy {
    fn piece<const N: usize>(self, memory: &[u8], at: i64, i: usize) -> [f32; N];
}

/// A single for the whole row.
#[derive(Clone, Copy)]
struct HeldSingle;
#[derive(Clone, Copy)]
struct Singles;
#[derive(Clone, Copy)]
struct HeldHalf(Format);
#[derive(Clone, Copy)]
struct Halves(Format);

impl Pieces for HeldSingle {
    #[inline(always)]
    fn piece<const N: usize>(self, memory: &[u8], at: i64, _: usize) -> [f32; N] {
        let [single] = words::<1>(memory, at as usize);
        [f32::from_le_bytes(single); N]
    }
}

impl Pieces for Singles {
    #[inline(always)]
    fn piece<const N: usize>(self, memory: &[u8], at: i64, i: usize) -> [f32; N] {
        words::<N>(memory, at as usize + 4 * i).map(f32::from_le_bytes)
    }
}

impl Pieces for HeldHalf {
    #[inline(always)]
    fn piece<const N: usize>(self, memory: &[u8], at: i64, _: usize) -> [f32; N] {
        let [half] = halves::<1>(memory, at as usize);
        [self.0.widen(half); N]
    }
}

impl Pieces for Halves {
    #[inline(always)]
    fn piece<const N: usize>(self, memory: &[u8], at: i64, i: usize) -> [f32; N] {
        halves::<N>(memory, at as usize + 2 * i).map(|half| self.0.widen(half))
    }
}

impl Pieces for Fetch<f32> {
    #[inline(always)]
    fn piece<const N: usize>(self, memory: &[u8], at: i64, i: usize) -> [f32; N] {
        Fetch::piece::<N>(self, memory, at, i)
    }
}

/// Adds `turns` products to some elements of a row of singles.
#[inline(always)]
fn add_products<const N: usize>(
    memory: &mut [u8],
    b: impl Pieces,
    c: impl Pieces,
    [target, mut b_at, mut c_at]: [i64; 3],
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
    // A NaN stays one: that it is the right one need only be seen to at the end.
    put(memory, Way::Words, target, i, sums.map(numerics::one_nan));
}
