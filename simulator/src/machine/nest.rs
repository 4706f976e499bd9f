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
    /// Dimensions.
    rank: usize,
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
    /// Whether the elements of a vector are known to leave no gap between its first byte and its last.
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
        let mut nest = Self {
            op,
            kernel,
            lanes: u64::from(lanes).max(1),
            id,
            arity,
            reads: 0,
            rank: target.rank.into(),
            operands,
            shape: None,
        };
        nest.reads = nest.vectors().count() - 1;
        let constant = nest.vectors().all(|(_, vector)| {
            vector.dims.iter().all(|(len, stride)| len.constant().is_some() && stride.constant().is_some())
        });
        nest.shape = constant.then(|| Shape::new(&nest, None));
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
            None => room.insert(Shape::new(self, Some(slots))),
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
    /// That of a nest; `slots` are those of a PE, unless it is always the same.
    fn new(nest: &Nest, slots: Option<&[i32]>) -> Self {
        let mut lens = [1; LOOPS];
        let mut steps = [[0; LOOPS]; OPERANDS];
        let mut reach = [(0, 0); OPERANDS];
        for (i, vector) in nest.vectors() {
            let (mut first, mut last) = (0i64, 0i64);
            for dim in 0..nest.rank {
                let (len, step) = vector.dim(dim, slots.unwrap_or_default());
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
        // Not worth its time for a single use.
        let whole = std::array::from_fn(|i| slots.is_none() && has_no_gaps(lens, steps[i], reach[i]));
        let elements = lens.iter().fold(1u64, |elements, &len| elements.saturating_mul(len.into()));
        let loops = Loops { lens, steps };
        let joined = if nest.rank > 1 { loops.joined() } else { loops };
        Self { lens, elements, steps, reach, whole, joined }
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
mod tests;
