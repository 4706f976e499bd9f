//! The arithmetic of a [`super::nest`]: rows of elements in blocks.
//!
//! A block's operands are read before its results are written, so that a source may be the target itself. Fused multiply-adds give
//! the same bits however they are done. Only what is inlined into the function that is compiled for the host's instructions
//! uses them: hence the attributes. There is one copy of each loop over blocks, whatever the types and the operation: with
//! loops for each of them the code did not fit the host's caches.

#![allow(clippy::inline_always, reason = "what is not inlined is not compiled for the host's vector instructions")]

use super::bulk::{load, store};
use super::conflicts::{Rows, Walk};
use super::formats::Format;
use super::nest::{Loops, OPERANDS};
use super::numerics::{self, Element};
use super::products;
use std::sync::LazyLock;
use waferloom_fabric::{Dtype, VectorOp};

/// The host's vector instructions, found out once.
pub(crate) static HOST: LazyLock<pulp::Arch> = LazyLock::new(pulp::Arch::new);

/// Elements of a block, and of the pieces in which it is computed.
const BLOCK: usize = 32;
pub(super) const PIECE: usize = 8;

/// Floats or integers, as the kernel has them.
type Block = [u32; BLOCK];

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
    pub(crate) arity: usize,
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
        if job.op == VectorOp::Mac && job.kernel == Kernel::Floats && products::run(job, memory) {
            return;
        }
        job.blocks(memory);
    }
}

/// How the elements of an operand are got at.
#[derive(Clone, Copy)]
enum Way {
    /// Words of the kernel's own type, side by side.
    Words,
    /// Floats of 16 bits, side by side.
    Halves(Format),
    /// Any type, so many bytes apart.
    Any(Dtype, i64),
    /// A number, which stands in the block already.
    Number,
}

impl Way {
    #[inline(always)]
    fn of(dtype: Dtype, step: i64, as_floats: bool) -> Self {
        let own = if as_floats { Dtype::F32 } else { Dtype::I32 };
        match Format::of(dtype) {
            None if dtype == own && step == 4 => Way::Words,
            Some(format) if as_floats && step == 2 => Way::Halves(format),
            _ => Way::Any(dtype, step),
        }
    }
}

/// An element as the bits that a kernel computes with.
#[inline(always)]
fn bits(element: Element, as_float: bool) -> u32 {
    if as_float { element.float().to_bits() } else { element.to_bits(Dtype::I32) }
}

impl Job<'_> {
    #[inline(always)]
    fn walk(&self, operand: usize) -> Walk {
        Walk { at: self.at[operand], steps: self.loops.steps[operand] }
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
                store(memory, (to_row + to.steps[0] * i) as usize, self.target, bits);
            }
        }
    }

    /// `target = operation(a, b, c)`, block by block.
    #[inline(always)]
    fn blocks(&self, memory: &mut [u8]) {
        let (kernel, op) = (self.kernel, self.op);
        let floats = match kernel {
            Kernel::Copy | Kernel::Integers => [false; 3],
            Kernel::Floats | Kernel::FloatsToIntegers | Kernel::SelectFloats => [true; 3],
            // Of an integer the float is 0 exactly when it is.
            Kernel::SelectIntegers => [true, false, false],
        };
        let gives_floats = matches!(kernel, Kernel::Floats | Kernel::SelectFloats);
        let mut inputs = [[0; BLOCK]; 3];
        let mut ways = [Way::Number; 3];
        for (i, input) in self.inputs.iter().enumerate() {
            match *input {
                Input::Number(element) if i < self.arity => inputs[i] = [bits(element, floats[i]); BLOCK],
                Input::Number(_) => {}
                Input::Memory(dtype) => ways[i] = Way::of(dtype, self.loops.steps[i + 1][0], floats[i]),
            }
        }
        let target = Way::of(self.target, self.loops.steps[0][0], gives_floats);
        let gathers = self.in_place && self.loops.steps[0][0] == 0 && self.loops.lens[0] > 1;
        let walks = [self.walk(0), self.walk(1), self.walk(2), self.walk(3)];
        let len = self.loops.lens[0] as usize;
        let mut results = [0; BLOCK];
        for outer in Rows::new(self.loops.lens) {
            let [target_walk, a, b, c] = &walks;
            let at = [target_walk.start(outer), a.start(outer), b.start(outer), c.start(outer)];
            for from in (0..len).step_by(BLOCK) {
                let count = (len - from).min(BLOCK);
                for i in usize::from(gathers)..self.arity {
                    fill(&mut inputs[i], memory, ways[i], at[i + 1], from, count, floats[i]);
                }
                if gathers {
                    let sum = f32::from_bits(load(memory, at[0] as usize, Dtype::F32));
                    store(memory, at[0] as usize, Dtype::F32, gathered(op, sum, &inputs, count).to_bits());
                    continue;
                }
                compute(kernel, op, &inputs, &mut results, count.div_ceil(PIECE));
                put(&results, memory, target, at[0], from, count, gives_floats);
            }
        }
    }
}

/// Reads elements of a row into a block.
#[inline(always)]
fn fill(block: &mut Block, memory: &[u8], way: Way, at: i64, from: usize, count: usize, as_floats: bool) {
    match way {
        Way::Number => {}
        Way::Words => {
            let start = at as usize + 4 * from;
            let words = memory.get(start..start + 4 * count).unwrap_or_default().as_chunks().0;
            for (slot, word) in block.iter_mut().zip(words) {
                *slot = u32::from_le_bytes(*word);
            }
        }
        Way::Halves(format) => {
            let start = at as usize + 2 * from;
            let halves = memory.get(start..start + 2 * count).unwrap_or_default().as_chunks().0;
            for (slot, half) in block.iter_mut().zip(halves) {
                *slot = format.widen(u16::from_le_bytes(*half)).to_bits();
            }
        }
        Way::Any(dtype, step) => {
            let start = at + step * from as i64;
            for (i, slot) in (0..count as i64).zip(block) {
                *slot = bits(Element::from_bits(load(memory, (start + step * i) as usize, dtype), dtype), as_floats);
            }
        }
    }
}

/// Writes a block as elements of a row.
#[inline(always)]
fn put(block: &Block, memory: &mut [u8], way: Way, at: i64, from: usize, count: usize, are_floats: bool) {
    match way {
        Way::Number => {}
        Way::Words => {
            let start = at as usize + 4 * from;
            let words = memory.get_mut(start..start + 4 * count).unwrap_or_default().as_chunks_mut().0;
            for (word, result) in words.iter_mut().zip(block) {
                *word = result.to_le_bytes();
            }
        }
        Way::Halves(format) => {
            let start = at as usize + 2 * from;
            let halves = memory.get_mut(start..start + 2 * count).unwrap_or_default().as_chunks_mut().0;
            for (half, &result) in halves.iter_mut().zip(block) {
                *half = format.narrow(f32::from_bits(result)).to_le_bytes();
            }
        }
        Way::Any(dtype, step) => {
            let start = at + step * from as i64;
            for (i, &result) in (0..count as i64).zip(block) {
                let element =
                    if are_floats { Element::Float(f32::from_bits(result)) } else { Element::Int(result as i32) };
                store(memory, (start + step * i) as usize, dtype, element.to_bits(dtype));
            }
        }
    }
}

/// Results of some pieces of a block.
#[inline(always)]
pub(super) fn compute<const N: usize>(
    kernel: Kernel,
    op: VectorOp,
    inputs: &[[u32; N]; 3],
    results: &mut [u32; N],
    pieces: usize,
) {
    with_operation(kernel, op, &mut Pieces { inputs, results, count: pieces });
}

/// Does a kernel's operation for all elements of something.
#[inline(always)]
pub(super) fn with_operation(kernel: Kernel, op: VectorOp, all: &mut impl Each) {
    match (kernel, op) {
        (Kernel::Floats, VectorOp::Add) => all.each(|a, b, _| numerics::sum(a, b).to_bits()),
        (Kernel::Floats, VectorOp::Sub) => all.each(|a, b, _| numerics::difference(a, b).to_bits()),
        (Kernel::Floats, VectorOp::Mul) => all.each(|a, b, _| numerics::product(a, b).to_bits()),
        (Kernel::Floats, VectorOp::Mac) => all.each(|a, b, c| numerics::multiply_add(a, b, c).to_bits()),
        (Kernel::Floats, VectorOp::Max) => all.each(|a, b, _| numerics::largest(a, b).to_bits()),
        (Kernel::Floats, VectorOp::Min) => all.each(|a, b, _| numerics::smallest(a, b).to_bits()),
        (Kernel::Floats, VectorOp::Abs) => all.each(|a, _, _| a.abs().to_bits()),
        (Kernel::Floats, VectorOp::Neg) => all.each(|a, _, _| (-a).to_bits()),
        (Kernel::Floats | Kernel::Copy, _) | (Kernel::Integers, VectorOp::Mov) => all.each_bits(|a, _, _| a),
        (Kernel::FloatsToIntegers, VectorOp::Eq) => all.each(|a, b, _| u32::from(a == b)),
        (Kernel::FloatsToIntegers, VectorOp::Lt) => all.each(|a, b, _| u32::from(a < b)),
        (Kernel::FloatsToIntegers, VectorOp::Le) => all.each(|a, b, _| u32::from(a <= b)),
        (Kernel::FloatsToIntegers, _) => all.each(|a, _, _| numerics::rounded(a) as u32),
        (Kernel::SelectFloats | Kernel::SelectIntegers, _) => {
            all.each(|a, b, c| if a == 0.0 { c.to_bits() } else { b.to_bits() });
        }
        (Kernel::Integers, VectorOp::Add) => all.each_bits(|a, b, _| a.wrapping_add(b)),
        (Kernel::Integers, VectorOp::Sub) => all.each_bits(|a, b, _| a.wrapping_sub(b)),
        (Kernel::Integers, VectorOp::Mul) => all.each_bits(|a, b, _| a.wrapping_mul(b)),
        (Kernel::Integers, VectorOp::Mac) => all.each_bits(|a, b, c| a.wrapping_add(b.wrapping_mul(c))),
        (Kernel::Integers, _) => all.each_bits(|a, b, c| {
            let elements = [a, b, c].map(|bits| Element::Int(bits as i32));
            numerics::apply(op, elements).to_bits(Dtype::I32)
        }),
    }
}

/// Elements for each of which something can be done.
pub(super) trait Each {
    /// `target = operation(a, b, c)` in all of them, in the bits of their types.
    fn each_bits(&mut self, operation: impl Fn(u32, u32, u32) -> u32);

    /// The same of floats.
    #[inline(always)]
    fn each(&mut self, operation: impl Fn(f32, f32, f32) -> u32) {
        self.each_bits(|a, b, c| operation(f32::from_bits(a), f32::from_bits(b), f32::from_bits(c)));
    }
}

/// Pieces to be computed.
struct Pieces<'a, const N: usize> {
    inputs: &'a [[u32; N]; 3],
    results: &'a mut [u32; N],
    count: usize,
}

impl<const N: usize> Each for Pieces<'_, N> {
    #[inline(always)]
    fn each_bits(&mut self, operation: impl Fn(u32, u32, u32) -> u32) {
        let [a, b, c] = self.inputs.each_ref().map(|block| block.as_chunks::<PIECE>().0);
        let results = self.results.as_chunks_mut::<PIECE>().0;
        for (((result, a), b), c) in results.iter_mut().zip(a).zip(b).zip(c).take(self.count) {
            for (((result, &a), &b), &c) in result.iter_mut().zip(a).zip(b).zip(c) {
                *result = operation(a, b, c);
            }
        }
    }
}

/// `operation(...operation(sum, b, c)..., b, c)`: elements that all have the same target.
#[inline(always)]
fn gathered(op: VectorOp, sum: f32, [_, b, c]: &[Block; 3], count: usize) -> f32 {
    let rest = b[..count].iter().zip(&c[..count]).map(|(&b, &c)| (f32::from_bits(b), f32::from_bits(c)));
    match op {
        VectorOp::Mac => rest.fold(sum, |sum, (b, c)| numerics::multiply_add(sum, b, c)),
        VectorOp::Add => rest.fold(sum, |sum, (b, _)| numerics::sum(sum, b)),
        VectorOp::Sub => rest.fold(sum, |sum, (b, _)| numerics::difference(sum, b)),
        VectorOp::Mul => rest.fold(sum, |sum, (b, _)| numerics::product(sum, b)),
        VectorOp::Max => rest.fold(sum, |sum, (b, _)| numerics::largest(sum, b)),
        VectorOp::Min => rest.fold(sum, |sum, (b, _)| numerics::smallest(sum, b)),
        VectorOp::Abs => sum.abs(),
        VectorOp::Neg if count % 2 == 1 => -sum,
        _ => sum,
    }
}
