//! In a run for the time alone: which parts of memory may hold numbers that are known, looked up once for all PEs of a class.
//!
//! What is exact stands in the marks of each PE ([`crate::machine::unknown`]). Here a mark is set too often rather than too seldom,
//! and all that is computed in floating point counts as unknown: a run that needs such a number all the same is done event by
//! event.

use crate::machine::band::Band;
use crate::machine::operand::{Cursor, Port};
use crate::machine::unknown::{self, Unknown};
use waferloom_fabric::{Coord, Program};

/// Marks of a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    /// Half-words that some PE may know.
    known: Unknown,
    /// Half-words that some PE may not know.
    doubtful: Unknown,
    /// Half-words in which some PE may have had something unknown from the beginning, or written it: all others that its own marks call
    /// unknown still hold the 0 with which memory begins.
    touched: Unknown,
    /// Where some PEs are known to know nothing any more, the latest last.
    forgotten: Vec<Forgotten>,
    /// PEs of the class.
    pes: usize,
}

/// Bytes that PEs have overwritten with what they do not know, and nobody with anything else since.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Forgotten {
    start: usize,
    bytes: usize,
    /// By PE, a bit each: whether it has.
    by: Vec<u64>,
    /// PEs of the class that have not.
    left: usize,
}

impl Forgotten {
    /// PEs side by side have overwritten it; says whether all of them had before.
    fn add(&mut self, pe: u32, n: u32) -> bool {
        let before = self.left;
        for pe in pe as usize..(pe + n) as usize {
            if self.by.len() <= pe / 64 {
                self.by.resize(pe / 64 + 1, 0);
            }
            let (word, bit) = (&mut self.by[pe / 64], 1 << (pe % 64));
            self.left -= usize::from(*word & bit == 0);
            *word |= bit;
        }
        self.left == before
    }
}

/// Parts of memory of which it is remembered who has overwritten them.
const MOST_FORGOTTEN: usize = 8;

impl Marks {
    /// Of each class: only tables of whole numbers are known before the first cycle. Sets the PEs' own marks as well.
    pub(super) fn new(program: &Program, band: &mut Band, classes: usize) -> Vec<Self> {
        let mut bytes = vec![0; classes];
        for pe in &mut band.pes {
            let Some(class) = pe.class else { continue };
            bytes[usize::from(class)] = pe.memory.len();
            pe.unknown.set(0, pe.memory.len(), true);
        }
        let pes = |class: usize| band.pes.iter().filter(|pe| pe.class.map(usize::from) == Some(class)).count();
        let new = |(class, &bytes): (usize, &usize)| Self {
            known: Unknown::new(bytes),
            doubtful: Unknown::new(bytes),
            touched: Unknown::new(bytes),
            forgotten: Vec::new(),
            pes: pes(class),
        };
        let mut marks: Vec<Self> = bytes.iter().enumerate().map(new).collect();
        for (marks, bytes) in marks.iter_mut().zip(&bytes) {
            marks.doubtful.set(0, *bytes, true);
        }
        for constant in &program.constants {
            let size = constant.distribution.tile_elements() * constant.dtype.bytes() as usize;
            if constant.dtype.is_float() {
                for marks in &mut marks {
                    marks.touched.set(constant.address as usize, size, true);
                }
                continue;
            }
            let (tiles, start) = (constant.distribution.grid, constant.address as usize);
            for (x, y) in (0..tiles.height).flat_map(|y| (0..tiles.width).map(move |x| (x, y))) {
                let at = Coord { x: constant.origin.x + x, y: constant.origin.y + y };
                let pe = &mut band.pes[program.grid.index(at)];
                pe.unknown.set(start, size, false);
                if let Some(class) = pe.class {
                    marks[usize::from(class)].known.set(start, size, true);
                    marks[usize::from(class)].doubtful.set(start, size, false);
                }
            }
            // Where a class has PEs without the table, these do not know it.
            for pe in &band.pes {
                if let Some(class) = pe.class
                    && pe.unknown.any(start, size)
                {
                    marks[usize::from(class)].doubtful.set(start, size, true);
                }
            }
        }
        marks
    }

    /// Whether every PE knows what lies there.
    pub(super) fn all_know(&self, start: usize, bytes: usize) -> bool {
        !self.doubtful.any(start, bytes)
    }

    /// Whether what lies there in a PE that has not written it is what memory holds in the beginning.
    pub(super) fn is_untouched(&self, start: usize, bytes: usize) -> bool {
        !self.touched.any(start, bytes)
    }

    /// Whether they are what they were, but for where PEs have written what they do not know.
    pub(super) fn are_but_touched(&self, before: &Self) -> bool {
        let rest = |marks: &Self| (marks.pes, marks.known == before.known, marks.doubtful == before.doubtful);
        rest(self) == (before.pes, true, true) && self.forgotten == before.forgotten
    }

    /// PEs may write what they do not know.
    pub(super) fn touch(&mut self, port: &Port) {
        if let Port::Memory(cursor) = port {
            let bounds = cursor.bounds();
            let [start, end] = [bounds.start, bounds.end].map(|at| usize::try_from(at).unwrap_or(0));
            self.touched.set(start, end.saturating_sub(start), true);
        }
    }

    /// A PE has written what it may not know, as its own marks say.
    pub(super) fn touch_if_unknown(&mut self, port: &Port, unknown: &Unknown) {
        if let Port::Memory(cursor) = port
            && unknown.any(cursor.bounds().start.max(0) as usize, cursor.bounds().count())
        {
            self.touch(port);
        }
    }

    /// Whether no PE knows any of the elements of a vector.
    pub(super) fn none_knows(&self, cursor: &Cursor, count: u64) -> bool {
        unknown::rows(cursor, count).all(|(start, bytes)| !self.known.any(start, bytes))
    }

    /// PEs have written there, each as its own marks say.
    pub(super) fn doubt(&mut self, port: &Port, count: u64) {
        if let Port::Memory(cursor) = port {
            unknown::rows(cursor, count).for_each(|(start, bytes)| self.doubt_word(start, bytes));
        }
    }

    /// PEs have written there what they do not know; `all` of the class, or some.
    pub(super) fn forget(&mut self, port: &Port, count: u64, all: bool) {
        self.touch(port);
        if let Port::Memory(cursor) = port {
            for (start, bytes) in unknown::rows(cursor, count) {
                if all {
                    self.known.set(start, bytes, false);
                }
                self.doubtful.set(start, bytes, true);
            }
        }
    }

    /// PEs side by side have written there what they do not know; says whether none of them knew anything there before.
    pub(super) fn forget_in(&mut self, port: &Port, count: u64, (pe, n): (u32, u32)) -> bool {
        self.forget(port, count, false);
        let Port::Memory(cursor) = port else { return false };
        let mut rows = unknown::rows(cursor, count);
        let (Some((start, bytes)), None) = (rows.next(), rows.next()) else { return false };
        let at = self.forgotten.iter().position(|known| (known.start, known.bytes) == (start, bytes));
        let at = at.unwrap_or_else(|| {
            if self.forgotten.len() == MOST_FORGOTTEN {
                self.forgotten.remove(0);
            }
            self.forgotten.push(Forgotten { start, bytes, by: Vec::new(), left: self.pes });
            self.forgotten.len() - 1
        });
        let had = self.forgotten[at].add(pe, n);
        if self.forgotten[at].left == 0 {
            self.known.set(start, bytes, false);
            self.forgotten.remove(at);
        }
        had
    }

    /// PEs have written a word, each as its own marks say.
    pub(super) fn doubt_word(&mut self, start: usize, bytes: usize) {
        self.known.set(start, bytes, true);
        self.doubtful.set(start, bytes, true);
        self.forgotten.retain(|known| known.start + known.bytes <= start || start + bytes <= known.start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::operand::Slots;
    use waferloom_fabric::code::{Dim, MemDsd, Operand};
    use waferloom_fabric::{Dtype, Value};

    /// A class of 100 PEs with 64 bytes, all of which some may know.
    fn marks() -> Marks {
        let (mut known, doubtful) = (Unknown::new(64), Unknown::new(64));
        known.set(0, 64, true);
        Marks { known, doubtful, touched: Unknown::new(64), forgotten: Vec::new(), pes: 100 }
    }

    /// So many words in a row.
    fn vector(offset: i32, words: i32) -> Port {
        let dims = vec![Dim { len: Value::Imm(words), stride: Value::Imm(1) }];
        let operand = Operand::Mem(MemDsd { base: Value::Imm(0), offset, dtype: Dtype::I32, dims });
        let mut port = Port::Null;
        port.resolve(&Slots { registers: 0, params: 0 }.access(&operand), &[0]);
        port
    }

    #[test]
    fn what_all_pes_have_forgotten_none_knows() {
        let mut marks = marks();
        let target = vector(8, 4);
        // Some do so twice; then PE 99 is left.
        assert!(!marks.forget_in(&target, 4, (0, 70)));
        assert!(marks.forget_in(&target, 4, (10, 60)));
        assert!(!marks.forget_in(&target, 4, (60, 39)));
        let none_knows = |marks: &Marks, start, bytes| !marks.known.any(start, bytes);
        assert!(!none_knows(&marks, 8, 16));
        assert!(!marks.forget_in(&target, 4, (99, 1)));
        assert!(none_knows(&marks, 8, 16) && !none_knows(&marks, 4, 4) && !none_knows(&marks, 24, 4));
    }

    #[test]
    fn who_writes_something_else_knows_again() {
        let mut marks = marks();
        marks.forget_in(&vector(8, 4), 4, (0, 99));
        // A word behind it does no harm, its last one does.
        marks.doubt_word(24, 4);
        assert!(marks.forget_in(&vector(8, 4), 4, (0, 99)));
        marks.doubt_word(20, 4);
        assert!(!marks.forget_in(&vector(8, 4), 4, (99, 1)));
        assert!(marks.known.any(8, 16));
    }
}
