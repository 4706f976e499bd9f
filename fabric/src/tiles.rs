//! Where the elements of tiles lie in their tensor.

use crate::tensor::{Distribution, Split};

/// How the tiles of a distribution lie in the tensor, worked out once for all of them.
#[derive(Clone, Debug)]
pub struct Tiles {
    /// The dimensions before the last one that is split.
    outer: Vec<Dim>,
    /// That one; dimensions behind it lie in one piece.
    last: Dim,
    /// Elements of a piece.
    piece: usize,
}

/// A dimension.
#[derive(Clone, Copy, Debug)]
struct Dim {
    /// Of the tensor.
    size: u32,
    /// Of a tile.
    local: u32,
    /// How it is dealt, to how many PEs, and whether along `x`.
    split: Option<(Split, u32, bool)>,
}

impl Dim {
    /// The index that a PE's local one stands for.
    fn global(&self, local: u32, [x, y]: [u16; 2]) -> u32 {
        self.split.map_or(local, |(split, pes, on_x)| split.global(u32::from(if on_x { x } else { y }), local, pes))
    }
}

impl Tiles {
    /// Those of a distribution.
    pub(crate) fn of(distribution: &Distribution) -> Self {
        let shape = &distribution.shape;
        let dim = |dim: usize| {
            let (size, split) = (shape.get(dim).copied().unwrap_or(1), distribution.split_of(dim));
            Dim { size, local: split.map_or(size, |(split, pes, _)| split.local_size(size, pes)), split }
        };
        let last = (0..shape.len()).rev().find(|&dim| distribution.split_of(dim).is_some()).unwrap_or(0);
        let piece = shape.iter().skip(last + 1).map(|&n| n as usize).product();
        Self { outer: (0..last).map(dim).collect(), last: dim(last), piece }
    }

    /// Gives the tile of PE `(x, y)` in memory order as runs of elements that follow each other in the tensor too: of each run
    /// the row-major index of its first element, or `None` for padding, and its length.
    pub fn for_each_run(&self, x: u16, y: u16, mut take: impl FnMut(Option<usize>, usize)) {
        self.walk(0, Some(0), [x, y], &mut take);
    }

    /// The runs of a tile from dimension `dim` on, `outer` being the index over those before it.
    fn walk<F: FnMut(Option<usize>, usize)>(&self, dim: usize, outer: Option<usize>, pe: [u16; 2], take: &mut F) {
        let Some(here) = self.outer.get(dim) else { return self.blocks(outer, pe, take) };
        for local in 0..here.local {
            let global = here.global(local, pe);
            let index = outer.filter(|_| global < here.size);
            self.walk(dim + 1, index.map(|index| index * here.size as usize + global as usize), pe, take);
        }
    }

    /// Where a tile begins in the tensor, and its elements, if it lies there in one piece and has no padding.
    #[inline]
    pub fn whole(&self, x: u16, y: u16) -> Option<(usize, usize)> {
        let Dim { size, local, split } = self.last;
        let is_block = split.is_none_or(|(split, ..)| split.block == local);
        if !self.outer.is_empty() || !is_block || local as usize * self.piece == 0 {
            return None;
        }
        let first = self.last.global(0, [x, y]);
        let is_there = size.checked_sub(first).is_some_and(|left| left >= local);
        is_there.then(|| (first as usize * self.piece, local as usize * self.piece))
    }

    fn blocks(&self, outer: Option<usize>, pe: [u16; 2], mut take: impl FnMut(Option<usize>, usize)) {
        let Dim { size, local, split } = self.last;
        let block = split.map_or(local, |(split, ..)| split.block).max(1);
        for start in (0..local).step_by(block as usize) {
            let first = self.last.global(start, pe);
            let there = if outer.is_some() { size.saturating_sub(first).min(block) } else { 0 };
            let index = outer.map(|outer| (outer * size as usize + first as usize) * self.piece);
            if there as usize * self.piece > 0 {
                take(index, there as usize * self.piece);
            }
            if (block - there) as usize * self.piece > 0 {
                take(None, (block - there) as usize * self.piece);
            }
        }
    }
}
