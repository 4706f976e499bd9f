//! Memories of PEs that nobody has written to yet: their constants stay where the program has them.
//!
//! What is only read, and lies there as it would in SRAM, is never copied; all else is laid out when it is asked for, PE by PE,
//! so that it is still in the host's caches when it is used.

use super::planes::Planes;
use super::setup::invalid;
use crate::SimulateError;
use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use waferloom_fabric::{Constant, Coord, Program, Tiles};

/// A program's constants.
#[derive(Debug)]
pub(crate) struct Constants<'a>(Vec<Loaded<'a>>);

/// One of them, and its bytes.
#[derive(Debug)]
pub(super) struct Loaded<'a> {
    pub(super) constant: &'a Constant,
    /// Where a tile ends in memory.
    end: usize,
    bytes: Cow<'a, [u8]>,
    tiles: Tiles,
}

impl<'a> Constants<'a> {
    /// Those of a program that a run needs; paths are relative to `base_dir`.
    pub(super) fn load(program: &'a Program, base_dir: &Path, without_floats: bool) -> Result<Self, SimulateError> {
        Self::each(program, base_dir, without_floats).collect::<Result<_, _>>().map(Self)
    }

    /// The same one after another: those that lie in files are in the host's memory only as long as they are at hand.
    pub(super) fn each(
        program: &'a Program,
        base_dir: &Path,
        without_floats: bool,
    ) -> impl Iterator<Item = Result<Loaded<'a>, SimulateError>> {
        let needed = program.constants.iter().filter(move |constant| !(without_floats && constant.dtype.is_float()));
        needed.map(move |constant| {
            let expected = constant.distribution.elements() as u64 * u64::from(constant.dtype.bytes());
            let bytes = constant.payload.load(base_dir, expected);
            let bytes = bytes.map_err(|e| invalid(format!("constant `{}`: {e}", constant.name)))?;
            let tile = constant.distribution.tile_elements() * constant.dtype.bytes() as usize;
            let end = constant.address as usize + tile;
            Ok(Loaded { constant, end, bytes, tiles: constant.distribution.tiles() })
        })
    }

    /// Puts what a PE has of them into its memory.
    fn lay_out(&self, at: Coord, memory: &mut [u8]) {
        for loaded in &self.0 {
            if let Some(tile) = loaded.tile(at) {
                loaded.lay_out(tile, memory);
            }
        }
    }

    /// A range of a PE's memory, if it lies in one piece in a constant.
    fn read(&self, at: Coord, range: &Range<usize>) -> Option<&[u8]> {
        // Of constants that overlap the last one counts.
        self.0.iter().rev().find_map(|loaded| {
            let tile = loaded.tile(at)?;
            let start = loaded.constant.address as usize;
            (start < range.end && range.start < loaded.end).then(|| loaded.read(tile, range))
        })?
    }
}

impl Loaded<'_> {
    /// The tile that a PE has.
    fn tile(&self, at: Coord) -> Option<Coord> {
        let (x, y) = (at.x.checked_sub(self.constant.origin.x)?, at.y.checked_sub(self.constant.origin.y)?);
        let grid = self.constant.distribution.grid;
        (x < grid.width && y < grid.height).then_some(Coord { x, y })
    }

    /// Puts a tile into memory.
    pub(super) fn lay_out(&self, tile: Coord, memory: &mut [u8]) {
        self.each_run(tile, |start, bytes| memory[start..start + bytes.len()].copy_from_slice(bytes));
    }

    /// Puts a tile into a PE's memory that is turned over.
    fn turn_over(&self, tile: Coord, pe: u32, planes: &mut Planes<'_>) {
        self.each_run(tile, |start, bytes| planes.lay_out(pe, start, bytes));
    }

    /// Where it lies in the memory of each PE that has a tile.
    pub(super) fn range(&self) -> Range<usize> {
        self.constant.address as usize..self.end
    }

    /// Whether the host has it as long as the program.
    pub(super) fn is_borrowed(&self) -> bool {
        matches!(self.bytes, Cow::Borrowed(_))
    }

    /// Puts all tiles into the PEs' memories, which are turned over, in rows of `width` PEs.
    pub(super) fn turn_over_all(&self, width: usize, planes: &mut Planes<'_>) {
        let (from, size) = (self.constant.origin, self.constant.distribution.grid);
        for tile in (0..size.height).flat_map(|y| (0..size.width).map(move |x| Coord { x, y })) {
            let pe = usize::from(from.y + tile.y) * width + usize::from(from.x + tile.x);
            self.turn_over(tile, pe as u32, planes);
        }
    }

    /// The bytes of a tile, run by run, each with where it lies in memory.
    fn each_run(&self, tile: Coord, mut put: impl FnMut(usize, &[u8])) {
        let (mut start, size) = (self.constant.address as usize, self.constant.dtype.bytes() as usize);
        self.tiles.for_each_run(tile.x, tile.y, |index, length| {
            if let Some(index) = index {
                put(start, &self.bytes[index * size..(index + length) * size]);
            }
            start += length * size;
        });
    }

    /// A range of memory, if it lies in one run of a tile.
    fn read(&self, tile: Coord, range: &Range<usize>) -> Option<&[u8]> {
        let (mut start, size) = (self.constant.address as usize, self.constant.dtype.bytes() as usize);
        if let Some((index, _)) = self.tiles.whole(tile.x, tile.y) {
            let from = index * size + range.start.checked_sub(start)?;
            return if range.end <= self.end { self.bytes.get(from..from + range.len()) } else { None };
        }
        let mut found = None;
        self.tiles.for_each_run(tile.x, tile.y, |index, length| {
            let end = start + length * size;
            if start <= range.start && range.end <= end {
                found = index.map(|index| index * size + range.start - start);
            }
            start = end;
        });
        self.bytes.get(found?..found? + range.len())
    }
}

/// The memory of a PE that has not been laid out.
#[derive(Debug)]
pub(crate) struct Lent<'s> {
    /// Where it will be; what it holds now does not count.
    memory: &'s mut [u8],
    constants: &'s Constants<'s>,
}

impl<'s> Lent<'s> {
    pub(super) fn new(memory: &'s mut [u8], constants: &'s Constants<'s>) -> Self {
        Self { memory, constants }
    }

    /// Bytes that it has.
    pub(super) fn len(&self) -> usize {
        self.memory.len()
    }

    /// The memory of the PE at a place, laid out.
    pub(super) fn lay_out(self, at: Coord) -> &'s mut [u8] {
        self.memory.fill(0);
        self.constants.lay_out(at, self.memory);
        self.memory
    }

    /// A range of the memory of the PE at a place, if it can be read without that.
    pub(super) fn read(&self, at: Coord, range: &Range<usize>) -> Option<&'s [u8]> {
        self.constants.read(at, range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::pe::{Pe, Place};

    /// A 2x3 tensor of half-words, dealt to two PEs by columns in blocks of 2 with padding; and two that overlap in the second PE.
    const TEXT: &str = "program p machine bench16 grid 2x1
class c { buffer all at 0 bytes 16 scratch task 8 main local activated { } }
place c at 0,0 size 2x1
const a : u16[2, 3] at 4 origin 0,0 on 2x1 x dim 1 by 2 = [1, 2, 3, 4, 5, 6]
const b : u16[2] at 10 origin 1,0 on 1x1 = [8, 9]";

    #[test]
    fn what_is_lent_is_what_would_be_laid_out() {
        let program = waferloom_fabric::text::parse(TEXT).expect("valid");
        let constants = Constants::load(&program, Path::new("."), false).expect("inline");
        for x in 0..2 {
            let mut memory = [7; 16];
            let mut lent = Pe { at: Place(Coord { x, y: 0 }), ..Pe::default() };
            lent.lent = Some(Lent::new(&mut memory, &constants));
            assert_eq!((lent.bytes(), lent.memory.len()), (16, 0));
            let ranges = || (0..16).flat_map(|start| (start..=16).map(move |end| start..end));
            let before: Vec<_> = ranges().map(|range| lent.row(range).map(<[u8]>::to_vec)).collect();
            lent.lay_out();
            let half = |n: usize| u16::from_le_bytes([lent.memory[2 * n], lent.memory[2 * n + 1]]);
            let halves: Vec<u16> = (0..8).map(half).collect();
            // Row by row 1 2 and 4 5 in the first PE, 3 and 6 with padding behind each in the second, over the last of which and behind
            // which 8 and 9 have been laid.
            assert_eq!(halves, if x == 0 { [0, 0, 1, 2, 4, 5, 0, 0] } else { [0, 0, 3, 0, 6, 8, 9, 0] });
            for (range, before) in ranges().zip(before) {
                assert!(before.is_none_or(|bytes| lent.row(range.clone()) == Some(&bytes)), "{range:?}");
            }
        }
    }
}
