//! What PEs take out of the tiles of others ([`TakesClaim`]): the words of the roots of a line, and the copies that a PE's list names.

use super::buffers::Buffers;
use crate::machine::planes::Memory;
use waferloom_fabric::{MemDsd, TakesClaim};

/// The roots of a line.
#[derive(Debug)]
pub(super) struct Line {
    /// The words of their tiles, one after another, as they were when they began.
    words: Vec<u32>,
    /// By root: whether it has begun. Who takes nothing from one need not wait for it.
    begun: Vec<bool>,
    /// Roots that have not.
    missing: usize,
}

/// A dimension of a copy: how many elements, and from one to the next in the tile and in the target.
type Dim = [i64; 3];

impl Line {
    pub(super) fn new(claim: &TakesClaim, buffers: &mut Buffers<u32>) -> Self {
        let roots = usize::from(claim.end - claim.first);
        Self { words: buffers.take(roots * claim.words as usize), begun: vec![false; roots], missing: roots }
    }

    /// Gives the words back.
    pub(super) fn give_back(self, buffers: &mut Buffers<u32>) {
        buffers.give(self.words);
    }

    /// A PE begins at a place of the line, with a tile at an address; `None` when that does not lie in memory.
    pub(super) fn begin(&mut self, claim: &TakesClaim, place: usize, memory: Memory<'_>, tile: i64) -> Option<()> {
        let root = place.checked_sub(claim.first.into());
        let Some(root) = root.filter(|&root| root < self.begun.len()) else { return Some(()) };
        let words = claim.words as usize;
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
        let mut at = list;
        loop {
            let [root] = numbers(memory, at)?;
            if root == i64::from(TakesClaim::END) {
                return Some(());
            }
            let [roots, advance, copies] = numbers(memory, at + 2)?;
            at += 8;
            let bytes = TakesClaim::copy_numbers(claim.rank.into()) * 2;
            let behind = at + copies * bytes as i64;
            for i in 0..roots {
                let tile = self.tile(claim, root + i)?;
                for copy in (at..behind).step_by(bytes) {
                    copied(tile, claim, memory, copy, target + i * advance * i64::from(claim.dtype.bytes()), taken)?;
                }
            }
            at = behind;
        }
    }

    /// The tile of a root.
    fn tile(&self, claim: &TakesClaim, root: i64) -> Option<&[u32]> {
        let root = usize::try_from(root - i64::from(claim.first)).ok()?;
        let words = claim.words as usize;
        self.begun.get(root).filter(|&&begun| begun)?;
        self.words.get(root * words..(root + 1) * words)
    }
}

/// Adds the elements of a copy, whose numbers lie at an address.
fn copied(
    tile: &[u32],
    claim: &TakesClaim,
    memory: Memory<'_>,
    at: i64,
    target: i64,
    taken: &mut Vec<(i64, u32)>,
) -> Option<()> {
    let bytes = i64::from(claim.dtype.bytes());
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
    if count.saturating_add(taken.len() as i64) > memory.len() as i64 {
        return None;
    }
    let start = (source, target + first * bytes);
    each(&dims, start, bytes, &mut |element, address| {
        let bits = if bytes == 4 {
            *tile.get(element as usize)?
        } else {
            tile.get(element as usize / 2)? >> (element % 2 * 16) & 0xFFFF
        };
        taken.push((address, bits));
        Some(())
    })
}

/// Visits the elements of a copy, from the first one's place in the tile and its address on.
fn each(
    dims: &[Dim],
    (source, target): (i64, i64),
    bytes: i64,
    visit: &mut impl FnMut(i64, i64) -> Option<()>,
) -> Option<()> {
    let Some((&[count, source_step, target_step], inner)) = dims.split_first() else { return visit(source, target) };
    for i in 0..count {
        each(inner, (source + i * source_step, target + i * target_step * bytes), bytes, visit)?;
    }
    Some(())
}

/// Numbers of a list that lie at an address.
fn numbers<const N: usize>(memory: Memory<'_>, at: i64) -> Option<[i64; N]> {
    let mut numbers = [0; N];
    for (i, number) in numbers.iter_mut().enumerate() {
        *number = memory.read(at + 2 * i as i64, 2)?.into();
    }
    Some(numbers)
}
