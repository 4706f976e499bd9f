//! Runs for the time alone: what is known without floating-point arithmetic is computed, what is not is marked.
//!
//! The rule. A number is *unknown* when it is a floating-point constant (a weight), or was worked out from an unknown number. All
//! other numbers (tables, counters, indices, whatever the host sends) are those of a run with numbers. Time depends on numbers in four ways
//! only: through lengths, strides and addresses of operands, through branches and loops, through wavelets that start a task,
//! and through filters by value. So a run is stopped where one of these would take an unknown number; one that comes to its
//! end took the cycles that it takes with numbers. Bank conflicts depend on addresses, never on contents.
//!
//! Marks are kept for each register, for each half-word of a PE's memory, and for whole runs of wavelets: what is marked too much
//! stops a run too early, but never lets one pass.

use super::bulk;
use super::conflicts::Conflicts;
use super::decode::Step;
use super::element::{self, Fault};
use super::nest::Nest;
use super::operand::{Access, Cursor, Number, Port};
use super::pe::{Pe, VectorWork};
use super::steps;
use waferloom_fabric::{ColorRoute, Filter, Machine};

/// The half-words of a PE's memory, and the registers, that hold unknown numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unknown {
    /// None in a run with numbers.
    memory: HalfWords,
    /// A bit for each register.
    registers: u64,
    /// Whether nobody computes the results of the vector instruction at hand: in a run for the time alone, because an operand
    /// is the number in an unknown register; else because the PE is in a claim.
    pub(crate) operand: bool,
}

/// A mark for each half-word of a memory.
///
/// In most PEs all are the same, and then one stands for all: the marks of a whole wafer would fill hundreds of megabytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct HalfWords {
    count: u32,
    /// What all of them are as long as there are no bits.
    alike: bool,
    bits: Vec<u64>,
}

impl Unknown {
    /// Marks for so many bytes, none set.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { memory: HalfWords { count: bytes.div_ceil(2) as u32, ..HalfWords::default() }, ..Self::default() }
    }

    /// Whether a byte range holds something unknown.
    pub(crate) fn any(&self, start: usize, bytes: usize) -> bool {
        self.memory.any(start / 2, (start + bytes).div_ceil(2))
    }

    /// Sets or clears the marks of a byte range. Nothing happens outside of memory.
    pub(crate) fn set(&mut self, start: usize, bytes: usize, unknown: bool) {
        self.memory.set(start / 2, (start + bytes).div_ceil(2), unknown);
    }
}

impl HalfWords {
    /// Whether one from `first` on, before `last`, is marked.
    fn any(&self, first: usize, last: usize) -> bool {
        let last = last.min(self.count as usize);
        if first >= last {
            return false;
        }
        if self.bits.is_empty() {
            return self.alike;
        }
        let marked = |index: usize| self.bits.get(index).is_some_and(|word| word & mask(index, first, last) != 0);
        (first / 64..last.div_ceil(64)).any(marked)
    }

    /// Marks those from `first` on, before `last`, or clears their marks.
    fn set(&mut self, first: usize, last: usize, marked: bool) {
        let count = self.count as usize;
        let last = last.min(count);
        if first >= last || (self.bits.is_empty() && self.alike == marked) {
            return;
        }
        if last - first == count {
            (self.bits, self.alike) = (Vec::new(), marked);
            return;
        }
        if self.bits.is_empty() {
            self.bits = vec![if self.alike { u64::MAX } else { 0 }; count.div_ceil(64)];
        }
        let put = |word: &mut u64, index: usize| {
            let mask = mask(index, first, last);
            *word = if marked { *word | mask } else { *word & !mask };
        };
        let (begin, end) = (first / 64, last.div_ceil(64));
        match self.bits.get_mut(begin..end) {
            Some([head, inner @ .., tail]) => {
                put(head, begin);
                inner.fill(if marked { u64::MAX } else { 0 });
                put(tail, end - 1);
            }
            Some([only]) => put(only, begin),
            _ => {}
        }
    }
}

/// Bits of the 64 from `index * 64` on that lie in `first..last`.
fn mask(index: usize, first: usize, last: usize) -> u64 {
    let (low, high) = (first.saturating_sub(index * 64), (last - index * 64).min(64));
    if high > low { (u64::MAX >> (64 - (high - low))) << low } else { 0 }
}

/// Before a step of the code: refuses one whose time depends on something unknown, and marks what it leaves in registers and
/// memory, unless it is a vector instruction.
pub(crate) fn step(pe: &mut Pe, step: &Step) -> Result<(), Fault> {
    let marks = pe.unknown.registers;
    if marks == 0 && !matches!(step, Step::Load { .. } | Step::Store { .. }) {
        // No register holds anything unknown, and none is going to.
        pe.unknown.operand = false;
        return Ok(());
    }
    let has = |number: Number| is_set(marks, number.slot);
    let known =
        |numbers: &[Number], what: &str| if numbers.iter().any(|&n| has(n)) { Err(needed(what)) } else { Ok(()) };
    let written = match step {
        Step::Scalar { dst, a, b, .. } => Some((*dst, has(*a) || has(*b))),
        Step::Load { dst, dtype, base, offset } => {
            known(&[*base], "an address")?;
            let address = i64::from(steps::value(pe, *base)) + i64::from(*offset);
            let start = usize::try_from(address).unwrap_or(usize::MAX / 2);
            Some((*dst, pe.unknown.any(start, dtype.bytes() as usize)))
        }
        Step::Store { src, dtype, base, offset } => {
            known(&[*base], "an address")?;
            let unknown = has(*src);
            let address = i64::from(steps::value(pe, *base)) + i64::from(*offset);
            let start = usize::try_from(address).unwrap_or(usize::MAX / 2);
            pe.unknown.set(start, dtype.bytes() as usize, unknown);
            None
        }
        Step::ReadClock { dst } => Some((*dst, false)),
        Step::LoopEnter { counter, count, .. } => {
            known(&[*count], "the length of a loop")?;
            Some((*counter, false))
        }
        Step::LoopNext { counter, .. } => Some((*counter, false)),
        Step::Branch { a, b, .. } => known(&[*a, *b], "a branch").map(|()| None)?,
        Step::SendControl { payload, .. } => known(&[*payload], "what a control wavelet carries").map(|()| None)?,
        Step::Mark { plus, .. } => known(&[*plus], "which operator runs").map(|()| None)?,
        Step::Vector(vector) => {
            pe.unknown.operand = false;
            if marks != 0 {
                vector.srcs.iter().chain([&vector.dst]).try_for_each(|access| match access {
                    Access::Memory(vector) => {
                        known(&[vector.base], "an address")?;
                        vector
                            .dims
                            .iter()
                            .try_for_each(|&(len, stride)| known(&[len, stride], "the shape of an operand"))
                    }
                    Access::FabIn { len, .. } | Access::FabOut { len, .. } | Access::Fifo { len, .. } => {
                        known(&[*len], "the length of an operand")
                    }
                    Access::Scalar { .. } | Access::Null => Ok(()),
                })?;
                let is_unknown = |access: &Access| matches!(access, Access::Scalar { value, .. } if has(*value));
                pe.unknown.operand = vector.srcs.iter().any(is_unknown);
            }
            None
        }
        _ => None,
    };
    if let Some((slot, unknown)) = written {
        let bit = bit(slot);
        if unknown && bit == 0 {
            return Err(needed("a register"));
        }
        pe.unknown.registers = if unknown { pe.unknown.registers | bit } else { pe.unknown.registers & !bit };
    }
    Ok(())
}

/// The bit of a slot; none for those that are no registers, or too many.
fn bit(slot: u32) -> u64 {
    slot.checked_sub(1).and_then(|register| 1u64.checked_shl(register)).unwrap_or(0)
}

fn is_set(registers: u64, slot: u32) -> bool {
    registers & bit(slot) != 0
}

/// A task has begun that finds a word in register 0.
pub(crate) fn word_has_come(pe: &mut Pe) {
    pe.unknown.registers &= !1;
}

/// Colours that some router filters by value, a bit each.
pub(crate) fn filtered_by_value(routes: &[ColorRoute]) -> u64 {
    let by_value = routes.iter().filter(|route| matches!(route.filter, Some(Filter::Range { .. })));
    by_value.fold(0, |colors, route| colors | 1u64.checked_shl(route.color.0.into()).unwrap_or(0))
}

/// The fault of a run that needs a number that it does not have.
pub(crate) fn needed(what: &str) -> Fault {
    Fault(format!(
        "{what} depends on floating-point constants, and with it the time: this program cannot be run without numerics"
    ))
}

/// Whether the results of the next elements of an instruction are unknown. `runs`: whether what its sources receive is.
pub(crate) fn is_unknown(pe: &Pe, work: &VectorWork, count: u64, runs: [bool; 3]) -> bool {
    if work.unknown || runs.contains(&true) {
        return true;
    }
    work.srcs[..work.arity].iter().any(|port| match port {
        Port::Memory(cursor) => rows(cursor, count).any(|(start, bytes)| pe.unknown.any(start, bytes)),
        Port::Fifo { fifo, .. } => {
            pe.fifos.get(*fifo as usize).is_some_and(|f| pe.unknown.any(f.address as usize, f.words as usize * 4))
        }
        _ => false,
    })
}

/// Marks where the next elements of a destination lie as unknown or known.
pub(crate) fn mark(pe: &mut Pe, target: &Port, count: u64, unknown: bool) {
    match target {
        Port::Memory(cursor) => rows(cursor, count).for_each(|(start, bytes)| pe.unknown.set(start, bytes, unknown)),
        Port::Fifo { fifo, .. } => {
            if let Some(f) = pe.fifos.get(*fifo as usize) {
                let slot = (u64::from(f.head) + u64::from(f.filled)) % u64::from(f.words.max(1));
                pe.unknown.set(f.address as usize + slot as usize * 4, 4, unknown);
            }
        }
        _ => {}
    }
}

/// Byte ranges that the next elements lie in, those of a dense row in one.
pub(crate) fn rows(cursor: &Cursor, count: u64) -> impl Iterator<Item = (usize, usize)> + use<> {
    let mut cursor = cursor.clone();
    let mut left = count;
    std::iter::from_fn(move || {
        if left == 0 {
            return None;
        }
        let size = i64::from(cursor.dtype.bytes());
        let step = cursor.row_step();
        let dense = step == size || step == 0;
        let count = if dense { cursor.row_rest().min(left) } else { 1 };
        let bytes = if step == 0 { size } else { size * count as i64 };
        let start = cursor.address();
        cursor.advance_in_row(count);
        left -= count;
        // What lies outside of memory is a fault when it is read or written.
        Some((usize::try_from(start).unwrap_or(usize::MAX / 2), bytes as usize))
    })
}

/// Passes over elements whose results are unknown: the cursors move, nothing is computed. Gives the waits for memory.
/// `None`, with nothing done, where only the element by element way knows what happens.
pub(crate) fn pass(pe: &Pe, work: &mut VectorWork, machine: &Machine, count: u64) -> Option<u64> {
    let memory = pe.bytes();
    let inside = |cursor: &Cursor| {
        let size = cursor.dtype.bytes() as usize;
        rows(cursor, count).all(|(start, bytes)| start.is_multiple_of(size) && start + bytes <= memory)
    };
    let passable = |port: &Port| match port {
        Port::Memory(cursor) => inside(cursor),
        Port::Fifo { .. } => false,
        _ => true,
    };
    let sources = &work.srcs[..work.arity];
    let is_source = |port: &Port| !matches!(port, Port::FabOut { .. } | Port::Null);
    let is_target = !matches!(work.dst, Port::FabIn { .. } | Port::Scalar(_));
    if !is_target || !sources.iter().all(is_source) || !sources.iter().chain([&work.dst]).all(passable) {
        return None;
    }
    let reads = sources.iter().filter(|port| matches!(port, Port::Memory(_))).count();
    let mut left = count;
    let mut stall = 0;
    while left > 0 {
        let rest = |port: &Port| if let Port::Memory(cursor) = port { cursor.row_rest() } else { u64::MAX };
        // A single operand is read without a wait.
        let part = if reads < 2 {
            work.srcs[..work.arity].iter().chain([&work.dst]).map(rest).fold(left, u64::min)
        } else {
            let mut addresses = [0; 3];
            let mut found = 0;
            for port in &work.srcs[..work.arity] {
                if let Port::Memory(cursor) = port
                    && !cursor.held()
                {
                    addresses[found] = cursor.address();
                    found += 1;
                }
            }
            stall += u64::from(element::memory_stall(&addresses[..found], machine));
            1
        };
        let arity = work.arity;
        for port in work.srcs[..arity].iter_mut().chain([&mut work.dst]) {
            if let Port::Memory(cursor) = port {
                cursor.advance_in_row(part);
            }
        }
        left -= part;
    }
    work.remaining -= count;
    Some(stall)
}

/// What remains of an instruction over memory, with its cycles and waits as [`bulk::run`] gives them; computed only where
/// the result is known.
pub(crate) fn in_memory(pe: &mut Pe, work: &mut VectorWork, conflicts: &Conflicts) -> Option<(u64, u64)> {
    let unknown = is_unknown(pe, work, work.remaining, [false; 3]);
    let (target, count) = (work.dst.clone(), work.remaining);
    let done =
        if unknown { bulk::pass(pe.memory.len(), work, conflicts) } else { bulk::run(pe.memory, work, conflicts) }?;
    mark(pe, &target, count, unknown);
    Some(done)
}

/// As [`super::steps::nest`]; computed only where the result is known.
pub(crate) fn nest(pe: &mut Pe, nest: &Nest, conflicts: &mut Conflicts, most: u64) -> Option<(u64, (u64, u64))> {
    let mut room = None;
    let placed = nest.place(pe.slots, pe.memory.len(), most, &mut room)?;
    let unknown = pe.unknown.operand || placed.reads_unknown(&pe.unknown);
    if !unknown {
        placed.compute(pe.memory);
    }
    placed.mark(&mut pe.unknown, unknown);
    Some((placed.elements(), placed.cycles(conflicts)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn marks_that_are_all_the_same_take_no_memory() {
        // 300 half-words; bytes 100 to 102 are half-words 50 and 51.
        let mut unknown = Unknown::new(600);
        unknown.set(0, 600, true);
        unknown.set(100, 4, true);
        assert!(unknown.memory.bits.is_empty());
        unknown.set(100, 3, false);
        assert_eq!(
            [(98, 2), (100, 4), (104, 2), (598, 10), (600, 4)].map(|(at, n)| unknown.any(at, n)),
            [true, false, true, true, false]
        );
        unknown.set(0, 600, false);
        assert!(unknown.memory.bits.is_empty() && !unknown.any(0, 600));
    }

    proptest! {
        #[test]
        fn marks_are_those_of_a_list(
            count in 0usize..300,
            changes in prop::collection::vec((0usize..320, 0usize..320, any::<bool>()), 0..12),
            (first, length) in (0usize..320, 0usize..320),
        ) {
            let mut marks = HalfWords { count: count as u32, ..HalfWords::default() };
            let mut list = vec![false; count];
            for (first, length, marked) in changes {
                marks.set(first, first + length, marked);
                list.iter_mut().skip(first).take(length).for_each(|mark| *mark = marked);
            }
            prop_assert_eq!(marks.any(first, first + length), list.iter().skip(first).take(length).any(|&mark| mark));
        }
    }
}
