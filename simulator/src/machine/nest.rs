//! A vector instruction over memory whose operands all have the same shape: a nest of loops in which every address is affine,
//! with nothing to decide inside of it but which rows lie where.
//!
//! It does what [`super::bulk`] does, for the instructions that most of the time goes into: floats of 32 bits, and moves of
//! words. Its loops use the widest instructions that the host has; fused multiply-adds give the same bits however they are done.
//! Only what is inlined into the function that is compiled for them is: hence the attributes.

#![allow(clippy::inline_always)]

use super::bulk::{Banks, Stalls, collisions};
use super::numerics::{self, Element};
use super::operand::{Cursor, Port};
use super::pe::VectorWork;
use std::ops::Range;
use std::sync::LazyLock;
use waferloom_fabric::{Dtype, Machine, VectorOp};

/// The host's instructions, found out once.
static HOST: LazyLock<pulp::Arch> = LazyLock::new(pulp::Arch::new);

/// Loops of a nest, the innermost first.
const LOOPS: usize = 4;

/// A vector: the bytes from an element to the next one of each loop.
#[derive(Clone, Copy)]
struct Walk {
    at: i64,
    steps: [i64; LOOPS],
}

/// A source.
#[derive(Clone, Copy)]
enum Source {
    Number(u32),
    /// What the target holds before.
    Target,
    /// A vector that does not touch the target.
    Apart(Walk),
}

struct Nest {
    op: VectorOp,
    lens: [u32; LOOPS],
    target: Walk,
    sources: [Source; 3],
}

/// Runs an instruction that has not begun; gives its busy cycles and its waits for memory. `None`, with nothing done, when it
/// is not one for which this is made.
pub(crate) fn run(memory: &mut [u8], work: &mut VectorWork, machine: &Machine) -> Option<(u64, u64)> {
    let nest = Nest::new(memory.len(), work)?;
    let lanes = u64::from(work.lanes).max(1);
    let stall = nest.stalls(&Banks::new(machine), lanes, &work.srcs[..work.arity]);
    let busy = work.remaining.div_ceil(lanes);
    HOST.dispatch(Compute { nest: &nest, memory });
    work.remaining = 0;
    Some((busy, stall))
}

/// As [`run`] over so many bytes of memory, but computes nothing; so the elements may be of any type.
pub(crate) fn pass(bytes: usize, work: &mut VectorWork, machine: &Machine) -> Option<(u64, u64)> {
    let Port::Memory(target) = &work.dst else { return None };
    let lens = target.lens();
    let elements = lens.iter().map(|&len| u64::from(len)).product::<u64>();
    let alike = |port: &Port| match port {
        Port::Memory(cursor) => cursor.lens() == lens && cursor.is_new() && cursor.fits(bytes),
        port => matches!(port, Port::Scalar(_)),
    };
    let sources = &work.srcs[..work.arity];
    if elements != work.remaining || elements == 0 || !alike(&work.dst) || !sources.iter().all(alike) {
        return None;
    }
    let nest = Nest { op: work.op, lens, target: walk(target), sources: [Source::Number(0); 3] };
    let lanes = u64::from(work.lanes).max(1);
    let stall = nest.stalls(&Banks::new(machine), lanes, sources);
    let busy = work.remaining.div_ceil(lanes);
    work.remaining = 0;
    Some((busy, stall))
}

/// The bytes from the first to the last of a vector.
fn extent(walk: Walk, lens: [u32; LOOPS]) -> Range<i64> {
    let (mut first, mut last) = (walk.at, walk.at);
    for (step, len) in walk.steps.iter().zip(lens) {
        let way = step * (i64::from(len) - 1);
        first += way.min(0);
        last += way.max(0);
    }
    first..last + 4
}

fn walk(cursor: &Cursor) -> Walk {
    Walk { at: cursor.address(), steps: cursor.steps() }
}

impl Nest {
    fn new(bytes: usize, work: &VectorWork) -> Option<Self> {
        let Port::Memory(target) = &work.dst else { return None };
        let is_move = work.op == VectorOp::Mov;
        let known = matches!(
            work.op,
            VectorOp::Mov
                | VectorOp::Mac
                | VectorOp::Add
                | VectorOp::Sub
                | VectorOp::Mul
                | VectorOp::Max
                | VectorOp::Min
        );
        let dtype = target.dtype;
        if !known || !(dtype == Dtype::F32 || is_move && dtype.bytes() == 4) {
            return None;
        }
        let lens = target.lens();
        let elements = lens.iter().map(|&len| u64::from(len)).product::<u64>();
        if elements != work.remaining || elements == 0 || !target.is_new() || !target.fits(bytes) {
            return None;
        }
        let (goal, target_extent) = (walk(target), extent(walk(target), lens));
        let mut sources = [Source::Number(0); 3];
        for (i, (source, port)) in sources.iter_mut().zip(&work.srcs[..work.arity]).enumerate() {
            *source = match port {
                Port::Scalar(Element::Float(number)) if dtype == Dtype::F32 => Source::Number(number.to_bits()),
                Port::Memory(c)
                    if c.dtype == dtype && c.lens() == lens && c.is_new() && c.fits(bytes) && c.row_step() >= 0 =>
                {
                    let walk = walk(c);
                    let extent = extent(walk, lens);
                    if extent.end <= target_extent.start || target_extent.end <= extent.start {
                        Source::Apart(walk)
                    } else if i == 0 && !is_move && walk.at == goal.at && walk.steps == goal.steps {
                        Source::Target
                    } else {
                        return None;
                    }
                }
                _ => return None,
            };
        }
        Some(Self { op: work.op, lens, target: goal, sources })
    }

    /// The counters of the outer loops at each row.
    fn rows(&self) -> Rows {
        let [_, l1, l2, l3] = self.lens.map(i64::from);
        Rows { lens: [l1, l2, l3], next: [0; 3] }
    }

    /// What the reads of all elements wait.
    fn stalls(&self, banks: &Banks, lanes: u64, ports: &[Port]) -> u64 {
        let mut reads = [Walk { at: 0, steps: [0; LOOPS] }; 3];
        let mut count = 0;
        for port in ports {
            if let Port::Memory(cursor) = port {
                reads[count] = walk(cursor);
                count += 1;
            }
        }
        let mut stalls = Stalls::new(lanes);
        if count < 2 && banks.single_reads_are_free() {
            return 0;
        }
        let len = u64::from(self.lens[0]);
        for outer in self.rows() {
            let mut row = [(0, 0); 3];
            for (slot, walk) in row.iter_mut().zip(&reads[..count]) {
                *slot = (walk.start(outer), walk.steps[0]);
            }
            collisions(banks, &row[..count], len, &mut stalls);
        }
        stalls.finish()
    }
}

/// See [`Nest::rows`].
struct Rows {
    lens: [i64; 3],
    next: [i64; 3],
}

impl Iterator for Rows {
    type Item = [i64; 3];

    #[inline(always)]
    fn next(&mut self) -> Option<[i64; 3]> {
        let row = self.next;
        if row[2] == self.lens[2] {
            return None;
        }
        self.next[0] += 1;
        if self.next[0] == self.lens[0] {
            self.next[0] = 0;
            self.next[1] += 1;
            if self.next[1] == self.lens[1] {
                self.next[1] = 0;
                self.next[2] += 1;
            }
        }
        Some(row)
    }
}

impl Walk {
    /// Address of a row's first element.
    #[inline(always)]
    fn start(&self, [i1, i2, i3]: [i64; 3]) -> i64 {
        self.at + self.steps[1] * i1 + self.steps[2] * i2 + self.steps[3] * i3
    }
}

/// An operand of a row.
#[derive(Clone, Copy)]
enum Operand<'a> {
    Number(f32),
    Target,
    Row(&'a [[u8; 4]]),
    /// Bytes from the first element on, and the step.
    Strided(&'a [u8], usize),
}

/// Gives an element of an operand, from its place in the row and from what the target held.
trait Get: Copy {
    fn get(self, i: usize, old: f32) -> f32;
}

#[derive(Clone, Copy)]
struct Number(f32);
#[derive(Clone, Copy)]
struct Old;
#[derive(Clone, Copy)]
struct Row<'a>(&'a [[u8; 4]]);
#[derive(Clone, Copy)]
struct Any<'a>(Operand<'a>);

impl Get for Number {
    #[inline(always)]
    fn get(self, _: usize, _: f32) -> f32 {
        self.0
    }
}

impl Get for Old {
    #[inline(always)]
    fn get(self, _: usize, old: f32) -> f32 {
        old
    }
}

impl Get for Row<'_> {
    #[inline(always)]
    fn get(self, i: usize, _: f32) -> f32 {
        f32::from_le_bytes(self.0[i])
    }
}

impl Get for Any<'_> {
    #[inline(always)]
    fn get(self, i: usize, old: f32) -> f32 {
        match self.0 {
            Operand::Number(number) => number,
            Operand::Target => old,
            Operand::Row(row) => f32::from_le_bytes(row[i]),
            Operand::Strided(bytes, step) => word(bytes, i * step).map_or(0.0, f32::from_le_bytes),
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// The loops of a nest, to be compiled for the host's instructions.
struct Compute<'a> {
    nest: &'a Nest,
    memory: &'a mut [u8],
}

impl pulp::NullaryFnOnce for Compute<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { nest, memory } = self;
        match nest.op {
            VectorOp::Mac => nest.floats(memory, numerics::multiply_add),
            VectorOp::Add => nest.floats(memory, |a, b, _| numerics::sum(a, b)),
            VectorOp::Sub => nest.floats(memory, |a, b, _| numerics::difference(a, b)),
            VectorOp::Mul => nest.floats(memory, |a, b, _| numerics::product(a, b)),
            VectorOp::Max => nest.floats(memory, |a, b, _| numerics::largest(a, b)),
            VectorOp::Min => nest.floats(memory, |a, b, _| numerics::smallest(a, b)),
            _ => nest.words(memory),
        }
    }
}

impl Nest {
    /// Moves words.
    #[inline(always)]
    fn words(&self, memory: &mut [u8]) {
        let (len, step) = (self.lens[0] as usize, self.target.steps[0]);
        for outer in self.rows() {
            let at = self.target.start(outer);
            match self.sources[0] {
                Source::Apart(walk) if walk.steps[0] == 4 && step == 4 => {
                    let from = walk.start(outer) as usize;
                    memory.copy_within(from..from + 4 * len, at as usize);
                }
                Source::Apart(walk) => {
                    let from = walk.start(outer);
                    for i in 0..len as i64 {
                        let from = (from + walk.steps[0] * i) as usize;
                        memory.copy_within(from..from + 4, (at + step * i) as usize);
                    }
                }
                Source::Number(bits) => {
                    for i in 0..len as i64 {
                        let at = (at + step * i) as usize;
                        memory[at..at + 4].copy_from_slice(&bits.to_le_bytes());
                    }
                }
                Source::Target => {}
            }
        }
    }

    #[inline(always)]
    fn floats(&self, memory: &mut [u8], operation: impl Fn(f32, f32, f32) -> f32 + Copy) {
        let (len, step) = (self.lens[0] as usize, self.target.steps[0]);
        for outer in self.rows() {
            let at = self.target.start(outer);
            // The target's row from its first to its last byte; sources lie before it or behind it.
            let last = at + step * (len as i64 - 1);
            let (first, end) = (at.min(last) as usize, at.max(last) as usize + 4);
            let (before, rest) = memory.split_at_mut(first);
            let (row, behind) = rest.split_at_mut(end - first);
            let a = self.operand(self.sources[0], outer, before, behind, end);
            let b = self.operand(self.sources[1], outer, before, behind, end);
            let c = self.operand(self.sources[2], outer, before, behind, end);
            match step {
                4 => {
                    let row = &mut row.as_chunks_mut().0[..len];
                    match (a, b, c) {
                        (Operand::Target, Operand::Number(b), Operand::Row(c)) => {
                            each(row, Old, Number(b), Row(c), operation);
                        }
                        (Operand::Target, Operand::Row(b), Operand::Number(c)) => {
                            each(row, Old, Row(b), Number(c), operation);
                        }
                        (Operand::Row(a), Operand::Row(b), Operand::Number(c)) => {
                            each(row, Row(a), Row(b), Number(c), operation);
                        }
                        (Operand::Row(a), Operand::Number(b), Operand::Number(c)) => {
                            each(row, Row(a), Number(b), Number(c), operation);
                        }
                        _ => each(row, Any(a), Any(b), Any(c), operation),
                    }
                }
                0 => {
                    let Some(cell) = row.first_chunk_mut::<4>() else { return };
                    let mut sum = f32::from_le_bytes(*cell);
                    for i in 0..len {
                        sum = operation(Any(a).get(i, sum), Any(b).get(i, sum), Any(c).get(i, sum));
                    }
                    *cell = sum.to_le_bytes();
                }
                _ => {
                    for i in 0..len {
                        let place = (at + step * i as i64) as usize - first;
                        let old = word(row, place).map_or(0.0, f32::from_le_bytes);
                        let result = operation(Any(a).get(i, old), Any(b).get(i, old), Any(c).get(i, old));
                        row[place..place + 4].copy_from_slice(&result.to_le_bytes());
                    }
                }
            }
        }
    }

    /// A source of a row, of which `before` and `behind` are the memory before and behind the target's row.
    #[inline(always)]
    fn operand<'m>(
        &self,
        source: Source,
        outer: [i64; 3],
        before: &'m [u8],
        behind: &'m [u8],
        behind_at: usize,
    ) -> Operand<'m> {
        let walk = match source {
            Source::Number(bits) => return Operand::Number(f32::from_bits(bits)),
            Source::Target => return Operand::Target,
            Source::Apart(walk) => walk,
        };
        let at = walk.start(outer) as usize;
        let bytes = if at >= behind_at { &behind[at - behind_at..] } else { &before[at..] };
        match walk.steps[0] {
            0 => Operand::Number(word(bytes, 0).map_or(0.0, f32::from_le_bytes)),
            4 => Operand::Row(&bytes.as_chunks().0[..self.lens[0] as usize]),
            step => Operand::Strided(bytes, step as usize),
        }
    }
}

/// `row = operation(a, b, c)`.
#[inline(always)]
fn each(row: &mut [[u8; 4]], a: impl Get, b: impl Get, c: impl Get, operation: impl Fn(f32, f32, f32) -> f32 + Copy) {
    for (i, slot) in row.iter_mut().enumerate() {
        let old = f32::from_le_bytes(*slot);
        *slot = operation(a.get(i, old), b.get(i, old), c.get(i, old)).to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::super::element;
    use super::super::operand::Values;
    use super::super::pe::Pe;
    use super::*;
    use proptest::prelude::*;
    use waferloom_fabric::code::{Dim, MemDsd};
    use waferloom_fabric::{Operand, Value};

    /// Bytes that each operand has for itself: three rows of four, with strides of at most 12 and 2, end at 31 elements.
    const REGION: i32 = 128;
    const OPS: [VectorOp; 7] =
        [VectorOp::Mov, VectorOp::Mac, VectorOp::Add, VectorOp::Sub, VectorOp::Mul, VectorOp::Max, VectorOp::Min];

    fn vector(region: i32, dims: [(i32, i32); 2]) -> Port {
        let dim = |(len, stride)| Dim { len: Value::Imm(len), stride: Value::Imm(stride) };
        let dsd =
            MemDsd { base: Value::Imm(region * REGION), offset: 0, dtype: Dtype::F32, dims: dims.map(dim).to_vec() };
        Port::resolve(&Operand::Mem(dsd), &Values { registers: &[], params: &[] }).0
    }

    fn strides() -> impl Strategy<Value = (i32, i32)> {
        (0..13, 0..3)
    }

    /// Ordinary numbers, zeros of both signs, infinities and NaNs.
    fn number() -> impl Strategy<Value = f32> {
        let special = vec![0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::from_bits(0xFFC1_2345), 1e-42];
        prop_oneof![6 => -9.0..9.0f32, 1 => prop::sample::select(special)]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

        #[test]
        fn a_nest_does_what_single_elements_do(
            op in prop::sample::select(OPS.to_vec()),
            (rows, columns) in (1..4, 1..5),
            target in strides(),
            sources in prop::collection::vec((strides(), prop::option::of(number())), 3),
            in_place in any::<bool>(),
            lanes in 1..3u32,
            numbers in prop::collection::vec(number(), 4 * REGION as usize / 4),
        ) {
            let machine = Machine::builtin("wse2").expect("a built-in machine");
            let dims = |(outer, inner)| [(rows, outer), (columns, inner)];
            let dst = vector(0, dims(target));
            let mut srcs = [Port::Null, Port::Null, Port::Null];
            for (i, (strides, number)) in sources.iter().take(op.arity()).enumerate() {
                srcs[i] = match number {
                    _ if i == 0 && in_place && op != VectorOp::Mov => dst.clone(),
                    Some(number) => Port::Scalar(Element::Float(*number)),
                    None => vector(i as i32 + 1, dims(*strides)),
                };
            }
            let mut work = VectorWork {
                op,
                dst,
                srcs,
                arity: op.arity(),
                remaining: (rows * columns) as u64,
                ready: 0,
                then: None,
                at: (0, 0),
                lanes,
                unknown: false,
            };
            let mut memory: Vec<u8> = numbers.iter().flat_map(|x| x.to_bits().to_le_bytes()).collect();
            let mut pe = Pe { memory: memory.clone(), ..Pe::default() };
            let (mut single, mut busy, mut stall) = (work.clone(), 0, 0);
            while single.remaining > 0 {
                let mut worst = 0;
                for _ in 0..u64::from(lanes).min(single.remaining) {
                    let (operands, waits) =
                        element::read_sources(&mut pe, &mut single, &machine, |_, _, _| 0).expect("inside of memory");
                    let result = numerics::apply(single.op, operands);
                    element::write_result(&mut pe, &mut single, result).expect("inside of memory");
                    single.remaining -= 1;
                    worst = worst.max(waits);
                }
                busy += 1;
                stall += u64::from(worst);
            }
            prop_assert_eq!(pass(memory.len(), &mut work.clone(), &machine), Some((busy, stall)));
            prop_assert_eq!(run(&mut memory, &mut work, &machine), Some((busy, stall)));
            prop_assert_eq!(memory, pe.memory);
        }
    }
}
