//! Vectors that a line of PEs combines ([`AllReduceClaim`]), from its last PE to the first.

use super::buffers::Buffers;
use super::tiles::Tiles;
use crate::machine::numerics::{largest, smallest, sum};
use crate::machine::planes::Memory;
use waferloom_fabric::{AllReduceClaim, ClaimOperand, Dtype, VectorOp};

/// A line of PEs.
pub(super) struct Line {
    /// `[PE, element]`, of those that have begun.
    vectors: Vec<f32>,
    /// PEs that have not begun.
    missing: usize,
    /// What is combined, once somebody has asked for it.
    result: Vec<f32>,
}

impl Line {
    /// Before any PE has begun.
    pub(super) fn new(claim: &AllReduceClaim, buffers: &mut Buffers<f32>) -> Self {
        let pes = usize::from(claim.line.pes(&claim.region));
        Self { vectors: buffers.take(pes * claim.count as usize), missing: pes, result: Vec::new() }
    }

    /// Gives the vectors back.
    pub(super) fn give_back(self, buffers: &mut Buffers<f32>) {
        buffers.give(self.vectors);
    }

    /// Takes the vectors of PEs of the line from a place on; `None` when they do not lie in memory.
    pub(super) fn begin(
        &mut self,
        claim: &AllReduceClaim,
        (place, pes): (usize, usize),
        memory: Memory<'_>,
        at: i64,
    ) -> Option<()> {
        let count = claim.count as usize;
        let shape = ClaimOperand { split: false, matrix: 0, slot: 0, line: 0, step: 1 };
        let tiles = Tiles { memory, pes, at, dtype: Dtype::F32, shape };
        tiles.rows([0, 0], [1, count], self.vectors.get_mut(place * count..)?, pes * count)?;
        self.missing -= pes;
        Some(())
    }

    /// Whether all PEs have begun.
    pub(super) fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// Adds what some PEs get, each the same, to `tile`; `None` when a PE has not begun.
    pub(super) fn end(&mut self, claim: &AllReduceClaim, pes: usize, tile: &mut Vec<f32>) -> Option<()> {
        if self.missing > 0 {
            return None;
        }
        if self.result.is_empty() {
            self.result = combined(claim, &self.vectors);
        }
        (0..pes).for_each(|_| tile.extend_from_slice(&self.result));
        Some(())
    }
}

fn combined(claim: &AllReduceClaim, vectors: &[f32]) -> Vec<f32> {
    let combine = match claim.op {
        VectorOp::Max => largest,
        VectorOp::Min => smallest,
        _ => sum,
    };
    let mut from_last = vectors.chunks(claim.count as usize).rev();
    let mut result = from_last.next().map(<[f32]>::to_vec).unwrap_or_default();
    for own in from_last {
        result.iter_mut().zip(own).for_each(|(result, &own)| *result = combine(*result, own));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use waferloom_fabric::{ClaimLine, Region};

    #[test]
    fn the_last_pe_comes_first() {
        let claim = |op| AllReduceClaim { region: Region::rect(0, 0, 3, 1), line: ClaimLine::Row, op, count: 2 };
        // (-1e8 + 1e8) + 1 = 1, while 1e8 + 1 is 1e8 in f32; (0.5 + 2) - 4 in any order.
        let vectors = [1.0, -4.0, 1e8, 2.0, -1e8, 0.5];
        assert_eq!(combined(&claim(VectorOp::Add), &vectors), [1.0, -1.5]);
        assert_eq!(combined(&claim(VectorOp::Max), &vectors), [1e8, 2.0]);
        assert_eq!(combined(&claim(VectorOp::Min), &vectors), [-1e8, -4.0]);
    }
}
