//! Tiles in the memories of PEs as matrices of f32.

use crate::machine::bulk::Place;
use crate::machine::planes::Memory;
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
    /// Elements from one on whose place is given in elements: those of the first PE side by side in `out`, then those of the next one.
    fn read(&self, first: u64, step: u32, out: &mut [f32]) -> Option<()> {
        let each = out.len() / self.pes.max(1);
        if each == 0 {
            return Some(());
        }
        let bytes = i64::from(self.dtype.bytes());
        let at = self.at + i64::try_from(first).ok()? * bytes;
        let place = Place { at, step: i64::from(step) * bytes, dtype: self.dtype };
        let last = at + place.step * (each as i64 - 1);
        let inside = at >= 0 && last + bytes <= self.memory.len() as i64 && at % bytes == 0;
        inside.then(|| self.memory.widen(place, self.pes, out))
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
        for (line, row) in rows.chunks_mut(pitch).take(lines).enumerate() {
            let first = self.first(matrix, slot) + line as u64 * u64::from(self.shape.line);
            self.read(first, self.shape.step, row.get_mut(..self.pes * depth)?)?;
        }
        Some(())
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
                self.read(self.first(matrix, slot) + line as u64 * u64::from(self.shape.line), 1, &mut line_values)?;
                for (to, &x) in rows.get_mut(line..)?.iter_mut().step_by(pitch).zip(&line_values) {
                    *to = x;
                }
            }
            return Some(());
        }
        for (index, row) in rows.chunks_mut(pitch).take(depth).enumerate() {
            let first = self.first(matrix, slot) + index as u64 * u64::from(self.shape.step);
            self.read(first, self.shape.line, row.get_mut(..self.pes * lines)?)?;
        }
        Some(())
    }
}
