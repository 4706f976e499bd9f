//! A vector instruction over memory whose operands all have the same shape: a nest of loops in which every address is affine.
//! What can be said of it before the run is said once, when the code is decoded: that is most, as a rule all but where the
//! vectors begin.
//!
//! It does what [`super::bulk`] does, which takes what is left: operands of several shapes, vectors that overlap, and
//! instructions that are under way.

use super::compute::{self, Input, Job, Kernel};
use super::conflicts::{Conflicts, LOOPS, Rows, Walk};
use super::numerics::Element;
use super::operand::{Access, Affine, Number};
use super::unknown::Unknown;
use waferloom_fabric::{Dtype, VectorOp};

/// Operands: the target, then the sources.
pub(crate) const OPERANDS: usize = 4;

/// An instruction in the code.
#[derive(Clone, Debug)]
pub(crate) struct Nest {
    op: VectorOp,
    kernel: Kernel,
    lanes: u64,
    /// Its number among all nests of a program, from 1 on.
    id: u32,
    arity: usize,
    /// Sources in memory.
    reads: usize,
    operands: [Operand; OPERANDS],
    /// The shape, if it is always the same.
    shape: Option<Shape>,
}

#[derive(Clone, Copy, Debug)]
enum Operand {
    Memory(Affine),
    Number(Number, Dtype),
}

/// The loops.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    lens: [u32; LOOPS],
    elements: u64,
    /// Bytes from an element to the next one of each loop.
    steps: [[i64; LOOPS]; OPERANDS],
    /// The first byte of a vector and the one behind its last, from its first element.
    reach: [(i64, i64); OPERANDS],
    /// Whether the elements of a vector leave no gap between its first byte and its last.
    whole: [bool; OPERANDS],
    /// The same elements in the same order, with loops joined into one where all vectors allow it.
    joined: Loops,
}

/// Loops and the steps of all operands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loops {
    pub(crate) lens: [u32; LOOPS],
    pub(crate) steps: [[i64; LOOPS]; OPERANDS],
}

/// A nest whose vectors have their places.
pub(crate) struct Placed<'a> {
    nest: &'a Nest,
    shape: &'a Shape,
    at: [i64; OPERANDS],
    /// The sources that are numbers.
    numbers: [Element; 3],
}

impl Nest {
    /// The instruction as a nest, if it is one. `id` is a number that no other has.
    pub(crate) fn new(op: VectorOp, target: &Access, sources: &[Access], lanes: u32, id: u32) -> Option<Self> {
        let Access::Memory(target) = target else { return None };
        let arity = op.arity();
        let mut operands = [Operand::Number(Number::default(), Dtype::I32); OPERANDS];
        operands[0] = Operand::Memory(*target);
        for (slot, source) in operands[1..].iter_mut().zip(sources) {
            *slot = match source {
                Access::Memory(source) => {
                    let same = source.dims.iter().zip(&target.dims).all(|(a, b)| a.0 == b.0);
                    if !same {
                        return None;
                    }
                    Operand::Memory(*source)
                }
                Access::Scalar { value, dtype } => Operand::Number(*value, *dtype),
                _ => return None,
            };
        }
        let types = [1, 2, 3].map(|i| match operands[i] {
            Operand::Memory(vector) => (vector.dtype, true),
            Operand::Number(_, dtype) => (dtype, false),
        });
        let kernel = Kernel::of(op, target.dtype, &types[..arity])?;
        let mut nest = Self { op, kernel, lanes: u64::from(lanes).max(1), id, arity, reads: 0, operands, shape: None };
        nest.reads = nest.vectors().count() - 1;
        let constant = nest.vectors().all(|(_, vector)| {
            vector.dims.iter().all(|(len, stride)| len.constant().is_some() && stride.constant().is_some())
        });
        nest.shape = constant.then(|| Shape::new(&nest, &[]));
        Some(nest)
    }

    /// The operands in memory.
    fn vectors(&self) -> impl Iterator<Item = (usize, &Affine)> {
        self.operands[..=self.arity].iter().enumerate().filter_map(|(i, operand)| match operand {
            Operand::Memory(vector) => Some((i, vector)),
            Operand::Number(..) => None,
        })
    }

    /// The nest with the numbers of a PE. `room` is for a shape that is not always the same. `None` when an access would fail, when
    /// elements read what others have written, and when there are more than `most` elements.
    #[inline]
    pub(crate) fn place<'a>(
        &'a self,
        slots: &[i32],
        bytes: usize,
        most: u64,
        room: &'a mut Option<Shape>,
    ) -> Option<Placed<'a>> {
        let shape = match &self.shape {
            Some(shape) => shape,
            None => room.insert(Shape::new(self, slots)),
        };
        let mut placed = Placed { nest: self, shape, at: [0; OPERANDS], numbers: [Element::Int(0); 3] };
        if shape.elements == 0 {
            return Some(placed);
        }
        if shape.elements > most {
            return None;
        }
        for (i, operand) in self.operands[..=self.arity].iter().enumerate() {
            match operand {
                Operand::Memory(vector) => {
                    let (at, (first, end)) = (vector.address(slots), shape.reach[i]);
                    let aligned = at & (i64::from(vector.dtype.bytes()) - 1) == 0;
                    if !aligned || at + first < 0 || at + end > bytes as i64 {
                        return None;
                    }
                    placed.at[i] = at;
                }
                Operand::Number(number, dtype) => {
                    placed.numbers[i - 1] = Element::from_bits(number.get(slots) as u32, *dtype);
                }
            }
        }
        placed.is_in_order().then_some(placed)
    }
}

impl Shape {
    fn new(nest: &Nest, slots: &[i32]) -> Self {
        let mut lens = [1; LOOPS];
        let mut steps = [[0; LOOPS]; OPERANDS];
        let mut reach = [(0, 0); OPERANDS];
        for (i, vector) in nest.vectors() {
            let (mut first, mut last) = (0i64, 0i64);
            for dim in 0..LOOPS {
                let (len, step) = vector.dim(dim, slots);
                lens[dim] = len;
                if len > 1 {
                    steps[i][dim] = step.into();
                    let way = i64::from(step).saturating_mul(i64::from(len) - 1);
                    first = first.saturating_add(way.min(0));
                    last = last.saturating_add(way.max(0));
                }
            }
            // Half of what there is, so that an address can be added.
            reach[i] = (first.max(i64::MIN / 2), last.min(i64::MAX / 2) + i64::from(vector.dtype.bytes()));
        }
        let whole = std::array::from_fn(|i| has_no_gaps(lens, steps[i], reach[i]));
        let elements = lens.iter().fold(1u64, |elements, &len| elements.saturating_mul(len.into()));
        Self { lens, elements, steps, reach, whole, joined: Loops { lens, steps }.joined() }
    }
}

/// Whether vectors leave no gap: each loop goes on within or right behind what the loops of smaller steps have covered.
fn has_no_gaps(lens: [u32; LOOPS], steps: [i64; LOOPS], (first, end): (i64, i64)) -> bool {
    let mut loops: [(i64, i64); LOOPS] = std::array::from_fn(|i| (steps[i].abs(), i64::from(lens[i])));
    loops.sort_unstable();
    // An element, which is what is left of the span without the ways from the first to the last.
    let ways = loops.iter().fold(0i64, |ways, (step, len)| ways.saturating_add(step.saturating_mul(len - 1)));
    let mut covered = end - first - ways;
    loops.iter().all(|&(step, len)| {
        let goes_on = step <= covered;
        covered = covered.saturating_add(step.saturating_mul(len - 1));
        goes_on
    })
}

impl Loops {
    /// With one loop instead of two wherever all vectors go on from the end of the inner one as they went within it.
    fn joined(self) -> Self {
        let mut joined = Self { lens: [1; LOOPS], steps: [[0; LOOPS]; OPERANDS] };
        let mut to = 0;
        for from in 0..LOOPS {
            let len = self.lens[from];
            if len == 1 {
                continue;
            }
            let inner = joined.lens[to];
            let whole = inner.checked_mul(len);
            let goes_on = (0..OPERANDS).all(|i| self.steps[i][from] == joined.steps[i][to] * i64::from(inner));
            if inner > 1
                && goes_on
                && let Some(whole) = whole
            {
                joined.lens[to] = whole;
                continue;
            }
            if inner > 1 {
                to += 1;
            }
            joined.lens[to] = len;
            for i in 0..OPERANDS {
                joined.steps[i][to] = self.steps[i][from];
            }
        }
        joined
    }
}

impl Placed<'_> {
    /// How many elements it has.
    #[inline]
    pub(crate) fn elements(&self) -> u64 {
        self.shape.elements
    }

    /// The bytes that a vector lies in.
    fn span(&self, operand: usize) -> (i64, i64) {
        let (first, end) = self.shape.reach[operand];
        (self.at[operand] + first, self.at[operand] + end)
    }

    /// Whether what an element reads is what has been there before the instruction, or at its own place in the target.
    fn is_in_order(&self) -> bool {
        let target = self.span(0);
        let [target_step, ..] = self.shape.joined.steps[0];
        self.nest.vectors().skip(1).all(|(i, vector)| {
            let source = self.span(i);
            if source.1 <= target.0 || target.1 <= source.0 {
                return true;
            }
            let same = self.at[i] == self.at[0] && self.shape.steps[i] == self.shape.steps[0];
            let Operand::Memory(goal) = &self.nest.operands[0] else { return false };
            // Rows that gather in one place are added up in a register, which has room for a single.
            let gathers = target_step == 0 && self.shape.joined.lens[0] > 1;
            let gathered =
                i == 1 && self.nest.kernel.gathers() && vector.dtype == Dtype::F32 && goal.dtype == Dtype::F32;
            same && vector.dtype.bytes() == goal.dtype.bytes() && (!gathers || gathered)
        })
    }

    /// Its busy cycles and its waits for memory.
    #[inline]
    pub(crate) fn cycles(&self, conflicts: &mut Conflicts) -> (u64, u64) {
        if self.shape.elements == 0 {
            return (0, 0);
        }
        let busy =
            if self.nest.lanes == 1 { self.shape.elements } else { self.shape.elements.div_ceil(self.nest.lanes) };
        if self.nest.reads < 2 && conflicts.single_reads_are_free() {
            return (busy, 0);
        }
        let mut reads = [Walk::default(); 3];
        let mut spans = [(0, 0); 3];
        let mut count = 0;
        for (i, _) in self.nest.vectors().skip(1) {
            reads[count] = Walk { at: self.at[i], steps: self.shape.steps[i] };
            spans[count] = self.span(i);
            count += 1;
        }
        let id = self.nest.shape.is_some().then_some(self.nest.id);
        (busy, conflicts.nest(id, self.shape.lens, self.nest.lanes, &reads[..count], &spans[..count]))
    }

    /// Computes the results.
    #[inline]
    pub(crate) fn compute(&self, memory: &mut [u8]) {
        if self.shape.elements == 0 {
            return;
        }
        let input = |i: usize| match self.nest.operands[i] {
            Operand::Memory(vector) => Input::Memory(vector.dtype),
            Operand::Number(..) => Input::Number(self.numbers[i - 1]),
        };
        let Operand::Memory(target) = &self.nest.operands[0] else { return };
        let gathers = self.at[1] == self.at[0] && self.shape.steps[1] == self.shape.steps[0];
        let is_memory = matches!(self.nest.operands[1], Operand::Memory(_));
        compute::run(
            &Job {
                op: self.nest.op,
                kernel: self.nest.kernel,
                loops: &self.shape.joined,
                at: self.at,
                target: target.dtype,
                inputs: [input(1), input(2), input(3)],
                arity: self.nest.arity,
                in_place: gathers && is_memory,
            },
            memory,
        );
    }

    /// Whether a source holds something unknown.
    pub(crate) fn reads_unknown(&self, unknown: &Unknown) -> bool {
        self.nest.vectors().skip(1).any(|(i, vector)| {
            let (start, end) = self.span(i);
            let any = self.shape.elements > 0 && unknown.any(start as usize, (end - start) as usize);
            any && (self.shape.whole[i] || self.ranges(i, vector.dtype).any(|(start, bytes)| unknown.any(start, bytes)))
        })
    }

    /// Marks the target as unknown or known.
    pub(crate) fn mark(&self, unknown: &mut Unknown, is_unknown: bool) {
        let Operand::Memory(target) = &self.nest.operands[0] else { return };
        if self.shape.elements == 0 {
            return;
        }
        let (start, end) = self.span(0);
        if self.shape.whole[0] {
            unknown.set(start as usize, (end - start) as usize, is_unknown);
        } else {
            self.ranges(0, target.dtype).for_each(|(start, bytes)| unknown.set(start, bytes, is_unknown));
        }
    }

    /// The byte ranges in which a vector's elements lie.
    fn ranges(&self, operand: usize, dtype: Dtype) -> impl Iterator<Item = (usize, usize)> {
        let size = i64::from(dtype.bytes());
        let walk = Walk { at: self.at[operand], steps: self.shape.joined.steps[operand] };
        // Loops in which it stays where it is are gone through once.
        let mut lens = self.shape.joined.lens;
        for (len, step) in lens.iter_mut().zip(walk.steps) {
            *len = if step == 0 { 1 } else { *len };
        }
        let (len, step) = (i64::from(lens[0]), walk.steps[0]);
        let (parts, bytes) = if step == size { (1, size * len) } else { (len, size) };
        Rows::new(lens).flat_map(move |outer| {
            let start = walk.start(outer);
            (0..parts).map(move |i| ((start + step * i) as usize, bytes as usize))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::element;
    use super::super::numerics;
    use super::super::operand::Slots;
    use super::super::pe::{Pe, VectorWork};
    use super::*;
    use proptest::prelude::*;
    use waferloom_fabric::code::{Dim, MemDsd};
    use waferloom_fabric::{Machine, Operand, Value};

    const BYTES: usize = 640;
    /// Register 0 holds 1, register 1 the length of the innermost loop.
    const SLOTS: Slots = Slots { registers: 2, params: 0 };

    /// A vector somewhere, as a rule apart from those of other regions.
    #[derive(Clone, Debug)]
    struct Somewhere {
        region: i32,
        start: i32,
        strides: Vec<i32>,
        dtype: Dtype,
    }

    fn somewhere() -> impl Strategy<Value = Somewhere> {
        let stride = prop_oneof![3 => Just(0), 4 => Just(1), 3 => -2..5i32];
        let strides = prop::collection::vec(stride, 3);
        (0..4i32, 0..5i32, strides, prop::sample::select(Dtype::ALL.to_vec()))
            .prop_map(|(region, start, strides, dtype)| Somewhere { region, start, strides, dtype })
    }

    impl Somewhere {
        /// The operand; rows follow each other without a gap when the outer stride is 1.
        fn operand(&self, shape: &[i32], known: bool) -> Operand {
            let mut dims: Vec<Dim> = Vec::new();
            let mut inner = 1;
            for (&len, &stride) in shape.iter().rev().zip(&self.strides) {
                let dense = if stride == 1 { inner } else { stride };
                inner *= len;
                dims.insert(0, Dim { len: Value::Imm(len), stride: Value::Imm(dense) });
            }
            if let (false, Some(last)) = (known, dims.last_mut()) {
                last.len = Value::Reg(1);
            }
            let base = Value::Imm(16 + self.region * 144 + self.start * self.dtype.bytes() as i32);
            Operand::Mem(MemDsd { base, offset: 16, dtype: self.dtype, dims })
        }
    }

    fn number() -> impl Strategy<Value = Operand> {
        let bits = prop_oneof![Just(1.5f32.to_bits()), Just(f32::NAN.to_bits() | 1), 0..4u32, any::<u32>()];
        (bits, prop::sample::select(Dtype::ALL.to_vec()))
            .prop_map(|(bits, dtype)| Operand::Scalar { value: Value::Imm(bits as i32), dtype })
    }

    /// What the elements one by one give: their memory, busy cycles and waits. `None` when one of them fails.
    fn single(machine: &Machine, memory: &[u8], mut work: VectorWork) -> Option<(Vec<u8>, u64, u64)> {
        let mut pe = Pe { memory: memory.to_vec(), ..Pe::default() };
        let (mut busy, mut stall) = (0, 0);
        while work.remaining > 0 {
            let mut worst = 0;
            for _ in 0..u64::from(work.lanes).min(work.remaining) {
                let (operands, waits) = element::read_sources(&mut pe, &mut work, machine, |_, _, _| 0).ok()?;
                let result = numerics::apply(work.op, operands);
                element::write_result(&mut pe, &mut work, result).ok()?;
                work.remaining -= 1;
                worst = worst.max(waits);
            }
            busy += 1;
            stall += u64::from(worst);
        }
        Some((pe.memory, busy, stall))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

        #[test]
        fn a_nest_does_what_single_elements_do(
            op in prop::sample::select(VectorOp::ALL.map(|(op, _)| op).to_vec()),
            shape in prop::sample::select(vec![vec![1], vec![7], vec![19], vec![3, 4], vec![2, 9], vec![3, 2, 4], vec![2, 3, 1]]),
            target in somewhere(),
            sources in prop::collection::vec((somewhere(), prop::option::weighted(0.2, number())), 3),
            alike in any::<bool>(),
            in_place in prop::option::of(0..3usize),
            known in any::<bool>(),
            (lanes, banks, reads) in (1..4u32, prop::sample::select(vec![(8, 4), (6, 3), (8, 8)]), 1..4u32),
            memory in prop::collection::vec(any::<u8>(), BYTES),
        ) {
            let mut machine = Machine::builtin("bench16").expect("a built-in machine");
            (machine.sram_banks, machine.bank_conflict_modulo) = banks;
            machine.sram_reads_per_cycle = reads;
            let dst = SLOTS.access(&target.operand(&shape, known));
            let srcs: Vec<Access> = sources.iter().enumerate().take(op.arity()).map(|(i, (source, number))| {
                let source = if alike { Somewhere { dtype: target.dtype, ..source.clone() } } else { source.clone() };
                match number {
                    _ if in_place == Some(i) => dst,
                    Some(number) => SLOTS.access(number),
                    None => SLOTS.access(&source.operand(&shape, known)),
                }
            }).collect();
            let slots = [0, 1, shape[shape.len() - 1]];
            let mut work = VectorWork { op, arity: op.arity(), lanes, ..VectorWork::default() };
            for (slot, access) in work.srcs.iter_mut().zip(&srcs) {
                slot.resolve(access, &slots);
            }
            work.remaining = work.dst.resolve(&dst, &slots).unwrap_or(0);
            let expected = single(&machine, &memory, work);
            let Some(nest) = Nest::new(op, &dst, &srcs, lanes, 1) else { return Ok(()) };
            let mut room = None;
            let placed = nest.place(&slots, BYTES, 1 << 16, &mut room);
            let Some(placed) = placed else { return Ok(()) };
            let mut conflicts = Conflicts::new(&machine);
            let (mut computed, cycles) = (memory, placed.cycles(&mut conflicts));
            placed.compute(&mut computed);
            let (memory, busy, stall) = expected.expect("what has its place lies inside of memory");
            prop_assert_eq!(cycles, (busy, stall));
            // What has been remembered is the same.
            prop_assert_eq!(placed.cycles(&mut conflicts), (busy, stall));
            prop_assert_eq!(computed, memory);
        }

        /// Waits are remembered by where vectors begin: elsewhere they are those of a count anew.
        #[test]
        fn remembered_waits_are_those_of_a_count(
            shape in prop::sample::select(vec![vec![9], vec![3, 4]]),
            sources in prop::collection::vec(somewhere(), 2),
            places in prop::collection::vec((0..40i32, 0..40i32), 12),
        ) {
            let machine = Machine::builtin("wse2").expect("a built-in machine");
            let somewhere = Somewhere { region: 0, start: 0, strides: vec![1; 3], dtype: Dtype::F32 };
            let dst = SLOTS.access(&somewhere.operand(&shape, true));
            let srcs: Vec<Access> = (0u8..).zip(&sources).map(|(register, source)| {
                let Operand::Mem(mut dsd) = source.operand(&shape, true) else { return Access::Null };
                dsd.base = Value::Reg(register);
                SLOTS.access(&Operand::Mem(dsd))
            }).collect();
            let nest = Nest::new(VectorOp::Add, &dst, &srcs, 1, 1).expect("all of one shape");
            let mut conflicts = Conflicts::new(&machine);
            for (a, b) in places {
                let [a_size, b_size] = [0, 1].map(|i| sources[i].dtype.bytes() as i32);
                let slots = [0, 300 + a * a_size, 300 + b * b_size];
                let mut room = None;
                if let Some(placed) = nest.place(&slots, 1024, 1 << 16, &mut room) {
                    let anew = placed.cycles(&mut Conflicts::new(&machine));
                    prop_assert_eq!(placed.cycles(&mut conflicts), anew);
                }
            }
        }
    }

    #[test]
    fn vectors_with_gaps_are_told_from_those_without() {
        // Words: six side by side, three loops over the same four, rows of two at 0, 12 and 24 of which the third words are gaps,
        // the same with rows of three, and backwards.
        let whole = |lens, steps, reach| has_no_gaps(lens, steps, reach);
        assert!(whole([6, 1, 1, 1], [4, 0, 0, 0], (0, 24)));
        assert!(whole([4, 3, 1, 1], [4, 0, 0, 0], (0, 16)));
        assert!(!whole([2, 3, 1, 1], [4, 12, 0, 0], (0, 32)));
        assert!(whole([3, 3, 1, 1], [4, 12, 0, 0], (0, 36)));
        assert!(whole([3, 3, 1, 1], [-4, 12, 0, 0], (-8, 28)));
        // One word every eight bytes; columns before rows.
        assert!(!whole([4, 1, 1, 1], [8, 0, 0, 0], (0, 28)));
        assert!(whole([4, 2, 1, 1], [8, 4, 0, 0], (0, 32)));
    }

    #[test]
    fn what_leaves_memory_is_no_nest() {
        let placed = |base: i32, stride: i32| {
            let vector = |base, stride| {
                let dims = vec![Dim { len: Value::Imm(10), stride: Value::Imm(stride) }];
                SLOTS.access(&Operand::Mem(MemDsd { base: Value::Imm(base), offset: 0, dtype: Dtype::F32, dims }))
            };
            let nest = Nest::new(VectorOp::Mov, &vector(0, 1), &[vector(base, stride)], 1, 1).expect("of one shape");
            nest.place(&[0], 80, 10, &mut None).is_some()
        };
        // Ten words: 40 to 80 are the last that fit; backwards they begin at 76.
        assert!(placed(40, 1) && placed(76, -1));
        assert!(!placed(44, 1) && !placed(32, -1) && !placed(42, 1) && !placed(40, i32::MAX));
        // Each element reads what the one before it has written.
        assert!(!placed(4, 1));
    }
}
