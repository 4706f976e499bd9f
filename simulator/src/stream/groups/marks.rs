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
}

impl Marks {
    /// Of each class: only tables of whole numbers are known before the first cycle. Sets the PEs' own marks as well.
    pub(super) fn new(program: &Program, band: &mut Band, classes: usize) -> Vec<Self> {
        let mut bytes = vec![0; classes];
        for pe in &mut band.pes {
            let Some(class) = pe.class else { continue };
            bytes[usize::from(class)] = pe.memory.len();
            pe.unknown.set(0, pe.memory.len(), true);
        }
        let new = |&bytes: &usize| Self { known: Unknown::new(bytes), doubtful: Unknown::new(bytes) };
        let mut marks: Vec<Self> = bytes.iter().map(new).collect();
        for (marks, bytes) in marks.iter_mut().zip(&bytes) {
            marks.doubtful.set(0, *bytes, true);
        }
        for constant in program.constants.iter().filter(|constant| !constant.dtype.is_float()) {
            let size = constant.distribution.tile_elements() * constant.dtype.bytes() as usize;
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

    /// Whether no PE knows any of the elements of a vector.
    pub(super) fn none_knows(&self, cursor: &Cursor, count: u64) -> bool {
        unknown::rows(cursor, count).all(|(start, bytes)| !self.known.any(start, bytes))
    }

    /// PEs have written there, each as its own marks say.
    pub(super) fn doubt(&mut self, port: &Port, count: u64) {
        if let Port::Memory(cursor) = port {
            for (start, bytes) in unknown::rows(cursor, count) {
                self.known.set(start, bytes, true);
                self.doubtful.set(start, bytes, true);
            }
        }
    }

    /// PEs have written there what they do not know; `all` of the class, or some.
    pub(super) fn forget(&mut self, port: &Port, count: u64, all: bool) {
        if let Port::Memory(cursor) = port {
            for (start, bytes) in unknown::rows(cursor, count) {
                if all {
                    self.known.set(start, bytes, false);
                }
                self.doubtful.set(start, bytes, true);
            }
        }
    }

    /// PEs have written a word, each as its own marks say.
    pub(super) fn doubt_word(&mut self, start: usize, bytes: usize) {
        self.known.set(start, bytes, true);
        self.doubtful.set(start, bytes, true);
    }
}
