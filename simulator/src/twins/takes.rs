//! What PEs take out of the tiles of others ([`TakesClaim`]): the words of the roots of a line, and the copies that a PE's list names.

use crate::machine::planes::Memory;
use std::ops::Range;
use waferloom_fabric::{MemDsd, TakesClaim};

/// A line of PEs.
#[derive(Debug)]
pub(super) struct Line {
    /// All PEs take what they take when all have begun, by [`super::moves`].
    at_once: bool,
    /// Else the words of the roots' tiles, one after another, as they were when they began.
    words: Vec<u32>,
    /// In the same case, by root: whether it has begun. Who takes nothing from one need not wait for it.
    begun: Vec<bool>,
    /// PEs that have to begin and have not: roots, or all of the line where they take at once.
    missing: usize,
}

/// What a list says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Plan {
    pub(super) runs: Vec<Run>,
    /// Bytes behind the target's address between which all lies that is written.
    pub(super) written: Range<i64>,
}

/// Elements of a root's tile, each so many behind the one before, and where they go, in elements behind the target's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Run {
    /// Among the roots.
    pub(super) root: usize,
    pub(super) count: u32,
    pub(super) source: i64,
    pub(super) source_step: i64,
    pub(super) target: i64,
    pub(super) target_step: i64,
}

/// A dimension of a copy: how many elements, and from one to the next in the tile and in the target.
type Dim = [i64; 3];

impl Line {
    /// Before any PE has begun.
    pub(super) fn new(claim: &TakesClaim, at_once: bool) -> Self {
        let roots = usize::from(claim.end - claim.first);
        let words = if at_once { 0 } else { roots * claim.words as usize };
        let missing = if at_once { claim.line.pes(&claim.region).into() } else { roots };
        let begun = if at_once { 0 } else { roots };
        Self { at_once, words: vec![0; words], begun: vec![false; begun], missing }
    }

    /// A PE begins at a place of the line, with a tile at an address; `None` when that does not lie in memory.
    pub(super) fn begin(&mut self, claim: &TakesClaim, place: usize, memory: Memory<'_>, tile: i64) -> Option<()> {
        let words = claim.words as usize;
        let root = place.checked_sub(claim.first.into()).filter(|_| place < claim.end.into());
        if self.at_once {
            let is_inside = tile >= 0 && tile % 4 == 0 && tile + 4 * words as i64 <= memory.len() as i64;
            self.missing -= 1;
            return (root.is_none() || is_inside).then_some(());
        }
        let Some(root) = root else { return Some(()) };
        memory.read_words(tile, self.words.get_mut(root * words..(root + 1) * words)?)?;
        self.begun[root] = true;
        self.missing -= 1;
        Some(())
    }

    pub(super) fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// Adds what the list at an address of a PE's memory takes, to be written from another address on: each element with its address. `None`
    /// when the list leads out of memory or of the roots' tiles, or names a root that has not begun.
    pub(super) fn take(
        &self,
        claim: &TakesClaim,
        memory: Memory<'_>,
        [list, target]: [i64; 2],
        taken: &mut Vec<(i64, u32)>,
    ) -> Option<()> {
        if self.at_once {
            return Some(());
        }
        let (words, bytes) = (claim.words as usize, i64::from(claim.dtype.bytes()));
        for run in Plan::read(claim, memory, list)?.0.runs {
            self.begun.get(run.root).filter(|&&begun| begun)?;
            let tile = self.words.get(run.root * words..(run.root + 1) * words)?;
            for i in 0..i64::from(run.count) {
                let element = run.source + run.source_step * i;
                let bits = if bytes == 4 {
                    *tile.get(element as usize)?
                } else {
                    tile.get(element as usize / 2)? >> (element % 2 * 16) & 0xFFFF
                };
                taken.push((target + (run.target + run.target_step * i) * bytes, bits));
            }
        }
        Some(())
    }
}

impl Plan {
    /// The list at an address, and where it ends; `None` when it leads out of memory or of the roots' tiles.
    pub(super) fn read(claim: &TakesClaim, memory: Memory<'_>, list: i64) -> Option<(Self, i64)> {
        let (mut plan, mut at, mut count) = (Self::default(), list, 0);
        loop {
            let [root] = numbers(memory, at)?;
            if root == i64::from(TakesClaim::END) {
                let ends = plan.runs.iter().map(|run| {
                    let last = run.target + run.target_step * (i64::from(run.count) - 1);
                    (run.target.min(last), run.target.max(last) + 1)
                });
                let (first, end) = ends.reduce(|all, own| (all.0.min(own.0), all.1.max(own.1))).unwrap_or_default();
                let bytes = i64::from(claim.dtype.bytes());
                plan.written = first * bytes..end * bytes;
                return Some((plan, at + 2));
            }
            let [roots, advance, copies] = numbers(memory, at + 2)?;
            at += 8;
            let bytes = TakesClaim::copy_numbers(claim.rank.into()) * 2;
            let behind = at + copies * bytes as i64;
            for i in 0..roots {
                let root = usize::try_from(root + i - i64::from(claim.first)).ok()?;
                for copy in (at..behind).step_by(bytes) {
                    plan.add_copy(claim, memory, copy, (root, i * advance), &mut count)?;
                }
            }
            at = behind;
        }
    }

    /// Adds the elements of a copy, whose numbers lie at an address, out of the tile of a root, so many elements farther in the target than
    /// they say.
    fn add_copy(
        &mut self,
        claim: &TakesClaim,
        memory: Memory<'_>,
        at: i64,
        (root, advance): (usize, i64),
        all: &mut i64,
    ) -> Option<()> {
        let [source, first] = numbers(memory, at)?;
        let mut dims = [[1, 0, 0]; MemDsd::MOST_DIMS];
        let outer = MemDsd::MOST_DIMS.checked_sub(claim.rank.into())?;
        for (i, dim) in dims.iter_mut().skip(outer).enumerate() {
            *dim = numbers(memory, at + 4 + 6 * i as i64)?;
        }
        // Nobody takes more elements than there are bytes, so that a wrong list ends at once.
        let count = dims.iter().fold(1i64, |count, dim| count.saturating_mul(dim[0]));
        if count == 0 {
            return Some(());
        }
        *all = all.saturating_add(count);
        let elements = i64::from(claim.words) * 4 / i64::from(claim.dtype.bytes());
        let last = dims.iter().fold(source, |last, dim| last + (dim[0] - 1) * dim[1]);
        let is_root = root < usize::from(claim.end - claim.first);
        if *all > memory.len() as i64 || last >= elements || !is_root {
            return None;
        }
        self.add_runs(&dims, root, (source, first + advance));
        Some(())
    }

    /// Adds the elements of the inner dimensions of a copy, from the first one's places on.
    fn add_runs(&mut self, dims: &[Dim], root: usize, (source, target): (i64, i64)) {
        let Some((&[count, source_step, target_step], inner)) = dims.split_first() else { return };
        if inner.is_empty() {
            let run = Run { root, count: count as u32, source, source_step, target, target_step };
            return self.runs.push(run);
        }
        for i in 0..count {
            self.add_runs(inner, root, (source + i * source_step, target + i * target_step));
        }
    }
}

/// Numbers of a list that lie at an address.
fn numbers<const N: usize>(memory: Memory<'_>, at: i64) -> Option<[i64; N]> {
    let mut numbers = [0; N];
    for (i, number) in numbers.iter_mut().enumerate() {
        *number = memory.read(at + 2 * i as i64, 2)?.into();
    }
    Some(numbers)
}
