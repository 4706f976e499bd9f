//! Tiles in the memories of PEs as matrices of f32.

use crate::machine::bulk::Place;
use crate::machine::planes::{Memory, SIDE};
use waferloom_fabric::{ClaimOperand, Dtype};

/// An operand's tiles, at the same address of PEs side by side.
#[derive(Clone, Copy)]
pub(super) struct Tiles<'a> {
    /// The memory of the first PE, and how many they are.
    pub(super) memory: Memory<'a>,
    pub(super) pes: usize,
    /// The address in bytes.
    pub(super) at: i64,
    pub(super) dtype: Dtype,
    pub(super) shape: ClaimOperand,
}

impl Tiles<'_> {
    /// `each` elements of each PE, from one on whose place is given in elements: those of the first PE side by side in a row, then those of the
    /// next one; `count` such rows, `pitch` apart, from elements that lie `next` behind those of the row before.
    fn read(
        &self,
        (first, step, next): (u64, u32, u32),
        (each, count): (usize, usize),
        rows: &mut [f32],
        pitch: usize,
    ) -> Option<()> {
        if each == 0 || self.pes == 0 || count == 0 {
            return Some(());
        }
        let bytes = i64::from(self.dtype.bytes());
        let at = self.at + i64::try_from(first).ok()? * bytes;
        let (step, next) = (i64::from(step) * bytes, i64::from(next) * bytes);
        let last = at + step * (each as i64 - 1) + next * (count as i64 - 1);
        let inside = at >= 0 && last + bytes <= self.memory.len() as i64 && at % bytes == 0;
        let width = each * self.pes;
        let rows = rows.get_mut(..(count - 1) * pitch + width).filter(|_| inside)?;
        let place = Place { at, step, dtype: self.dtype };
        if self.pes == SIDE && self.memory.turn_over(place, next, (each, pitch), rows) {
            return Some(());
        }
        for (i, row) in (0..).zip(rows.chunks_mut(pitch)) {
            let place = Place { at: at + next * i, ..place };
            self.memory.widen(place, self.pes, row.get_mut(..width)?);
        }
        Some(())
    }

    fn first(&self, matrix: u32, slot: u32) -> u64 {
        u64::from(matrix) * u64::from(self.shape.matrix) + u64::from(slot) * u64::from(self.shape.slot)
    }

    /// A slot of a left operand: each line into a row of `rows`, which lie `pitch` apart, its inner indices side by side, PE by PE.
    /// `None` when it does not lie in memory.
    pub(super) fn rows(
        &self,
        [matrix, slot]: [u32; 2],
        [lines, depth]: [usize; 2],
        rows: &mut [f32],
        pitch: usize,
    ) -> Option<()> {
        let ClaimOperand { line, step, .. } = self.shape;
        self.read((self.first(matrix, slot), step, line), (depth, lines), rows, pitch)
    }

    /// A slot of a right operand: each inner index into a row of `rows`, which lie `pitch` apart, its lines side by side, PE by PE.
    pub(super) fn columns(
        &self,
        [matrix, slot]: [u32; 2],
        [lines, depth]: [usize; 2],
        rows: &mut [f32],
        pitch: usize,
    ) -> Option<()> {
        if self.pes == 1 && self.shape.line != 1 && self.shape.step == 1 {
            // Lines are read where they lie side by side.
            let mut line_values = vec![0.0; depth];
            for line in 0..lines {
                let first = self.first(matrix, slot) + line as u64 * u64::from(self.shape.line);
                self.read((first, 1, 0), (depth, 1), &mut line_values, depth)?;
                for (to, &x) in rows.get_mut(line..)?.iter_mut().step_by(pitch).zip(&line_values) {
                    *to = x;
                }
            }
            return Some(());
        }
        let ClaimOperand { line, step, .. } = self.shape;
        self.read((self.first(matrix, slot), line, step), (lines, depth), rows, pitch)
    }
}
