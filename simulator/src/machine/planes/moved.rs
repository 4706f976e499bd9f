//! Words that go from some PEs' memories to others', and singles between them and matrices of the host.

use super::{Memory, Planes, SIDE, turned};
use crate::machine::bulk::Place;
use crate::machine::formats::Format;
use crate::machine::numerics::Element;
use pulp::bytemuck;
use std::collections::BTreeMap;
use std::ops::Range;
use waferloom_fabric::Dtype;

/// Elements in PEs side by side that share a bank: the bank, the place there of the first PE's first element, how far on the next one is,
/// and by how many bits it is shifted in its word.
struct Run {
    bank: usize,
    /// In halves of words.
    first: i64,
    step: i64,
    lane: usize,
}

impl Run {
    /// The word of an element.
    fn word(&self, i: u32) -> (usize, u32) {
        let half = self.first + self.step * i64::from(i);
        ((half >> 1) as usize * SIDE + self.lane, (half & 1) as u32 * 16)
    }
}

/// Where whole words of two runs lie, in lists of so many words each.
fn places([from, to]: [&Run; 2], count: u32, each: usize) -> impl Iterator<Item = [usize; 2]> {
    let mut next = [from, to].map(|run| run.word(0).0 / each);
    let apart = [from, to].map(|run| (run.step >> 1) as isize * (SIDE / each) as isize);
    (0..count).map(move |_| {
        let place = next;
        next = [0, 1].map(|i| next[i].wrapping_add_signed(apart[i]));
        place
    })
}

/// Copies from places of a list to places of another one; `None` when one is not there.
fn copy<T: Copy>(from: &[T], to: &mut [T], mut places: impl Iterator<Item = [usize; 2]>) -> Option<()> {
    places.try_for_each(|[source, target]| {
        *to.get_mut(target)? = *from.get(source)?;
        Some(())
    })
}

/// Of two banks of a row, or one: the places of words there and of where they are moved to.
pub(crate) type Moves = Vec<[u32; 2]>;

impl Planes<'_> {
    /// Elements of `bytes` (2 or 4) at an address of a PE and at others behind it; `None` when one does not lie in memory.
    fn run(&self, pe: u32, (address, step, count): (i64, i64, u32), bytes: u32) -> Option<Run> {
        let last = address + step * (i64::from(count) - 1);
        let (bank, lane) = self.bank(pe);
        let size = i64::from(bytes);
        let is_inside = address.min(last) >= 0 && address.max(last) + size <= self.bytes(pe) as i64;
        let is_aligned = address & (size - 1) == 0 && step & (size - 1) == 0;
        (is_inside && is_aligned).then_some(Run { bank, first: address >> 1, step: step >> 1, lane })
    }

    /// Moves elements of `bytes` (2 or 4) from PEs side by side, the first of which is given, which share a bank and have as much memory, to
    /// as many others that do: from one address and others behind it to one address and others behind that, none of which is one of the
    /// former. `None` when one does not lie in memory.
    pub(crate) fn move_elements(
        &mut self,
        ([from, to], pes): ([u32; 2], usize),
        [source, target]: [(i64, i64); 2],
        count: u32,
        bytes: u32,
    ) -> Option<()> {
        let source = self.run(from, (source.0, source.1, count), bytes)?;
        let target = self.run(to, (target.0, target.1, count), bytes)?;
        if source.bank == target.bank {
            let words = &mut self.banks[source.bank];
            if bytes == 4 && pes == SIDE {
                let lines = words.as_chunks_mut::<SIDE>().0;
                return places([&source, &target], count, SIDE).try_for_each(|[from, to]| {
                    *lines.get_mut(to)? = *lines.get(from)?;
                    Some(())
                });
            }
            for i in 0..count {
                let ((from, low), (to, high)) = (source.word(i), target.word(i));
                for lane in 0..pes {
                    let word = *words.get(from + lane)?;
                    put(words.get_mut(to + lane)?, word >> low, high, bytes);
                }
            }
            return Some(());
        }
        let [own, other] = self.banks.get_disjoint_mut([source.bank, target.bank]).ok()?;
        let (own, other): (&[u32], &mut [u32]) = (own, other);
        match pes {
            SIDE if bytes == 4 => {
                let (own, other) = (own.as_chunks::<SIDE>().0, other.as_chunks_mut::<SIDE>().0);
                copy(own, other, places([&source, &target], count, SIDE))
            }
            1 if bytes == 4 => copy(own, other, places([&source, &target], count, 1)),
            _ => (0..count).try_for_each(|i| {
                let ((from, low), (to, high)) = (source.word(i), target.word(i));
                let pairs = other.get_mut(to..to + pes)?.iter_mut().zip(own.get(from..from + pes)?);
                pairs.for_each(|(to, &from)| put(to, from >> low, high, bytes));
                Some(())
            }),
        }
    }

    /// Whether all PEs have as much memory, so that [moves](Moves) of one row can be done in any other one.
    pub(crate) fn are_alike(&self) -> bool {
        self.are_alike
    }

    /// Adds the move of a word from an address of a PE to an address of another one in its row; `None` when one does not lie in memory.
    pub(crate) fn add_move(&self, [from, to]: [(u32, i64); 2], moves: &mut BTreeMap<[u32; 2], Moves>) -> Option<()> {
        let (source, from, _) = self.place(from.0, from.1, 4)?;
        let (target, to, _) = self.place(to.0, to.1, 4)?;
        let across = self.width.div_ceil(SIDE);
        moves.entry([(target % across) as u32, (source % across) as u32]).or_default().push([from as u32, to as u32]);
        Some(())
    }

    /// Moves words in the row of a PE, of which none is where one is moved to; those between two banks at a time.
    pub(crate) fn move_in_row(&mut self, pe: u32, moves: &BTreeMap<[u32; 2], Moves>) -> Option<()> {
        let across = self.width.div_ceil(SIDE);
        let first = self.bank(pe).0 / across * across;
        for ([target, source], moves) in moves {
            let [target, source] = [target, source].map(|&bank| first + bank as usize);
            if source == target {
                let words = &mut *self.banks[source];
                for &[from, to] in moves {
                    *words.get_mut(to as usize)? = *words.get(from as usize)?;
                }
                continue;
            }
            let [source, target] = self.banks.get_disjoint_mut([source, target]).ok()?;
            copy(source, target, moves.iter().map(|places| places.map(|at| at as usize)))?;
        }
        Some(())
    }

    /// Writes singles, which somebody has asked for, to one address of `pes` PEs side by side, which share a bank: `columns` to each, then as
    /// many behind them. Gives from where to where in each, or `None` when they do not fit there.
    pub(crate) fn write_floats(
        &mut self,
        (pe, pes): (u32, usize),
        address: i64,
        columns: usize,
        numbers: &[f32],
    ) -> Option<Range<usize>> {
        let (bank, first, _) = self.place(pe, address, 4)?;
        let range = address as usize..address as usize + size_of_val(numbers) / pes.max(1);
        if range.end > self.bytes(pe) {
            return None;
        }
        let words = &mut self.banks[bank];
        if pes == SIDE && columns > 0 {
            let lines = words.as_chunks_mut().0.get_mut(first / SIDE..).unwrap_or_default();
            turned::to_lines(bytemuck::cast_slice(numbers), lines, columns);
            return Some(range);
        }
        let mut words = words.get_mut(first..).unwrap_or_default().chunks_mut(SIDE);
        for line in numbers.chunks((pes * columns).max(1)) {
            for (column, words) in (0..columns).zip(&mut words) {
                let own = line.iter().skip(column).step_by(columns);
                words.iter_mut().zip(own).for_each(|(word, number)| *word = number.to_bits());
            }
        }
        Some(range)
    }
}

/// Puts bits of an element of `bytes` (2 or 4) into a word, `shift` bits up.
#[inline]
fn put(word: &mut u32, bits: u32, shift: u32, bytes: u32) {
    let mask = if bytes == 4 { u32::MAX } else { 0xFFFF << shift };
    *word = *word & !mask | bits << shift & mask;
}

impl Memory<'_> {
    /// Singles that lie inside of it, where there are 16 PEs in a bank: `each` of the first PE, then those of the others; and again as many
    /// of each `next` bytes farther, into rows `pitch` apart, as many as there are. Says whether it is so.
    pub(crate) fn turn_over(self, place: Place, next: i64, (each, pitch): (usize, usize), rows: &mut [f32]) -> bool {
        let Memory::Plane { words, lane: 0, .. } = self else { return false };
        if place.dtype != Dtype::F32 || place.step % 4 != 0 || next % 4 != 0 {
            return false;
        }
        let (first, step, next) = ((place.at / 4) as usize, (place.step / 4) as isize, (next / 4) as isize);
        let rows = bytemuck::cast_slice_mut(rows);
        turned::to_rows(words.as_chunks().0, turned::Lines { first, each, step, next }, rows, pitch);
        true
    }

    /// Elements that lie inside of it, as floats: as many of this PE as there are `values` for each of `pes`, then those of the PEs to the
    /// east in the same bank.
    pub(crate) fn widen(self, place: Place, pes: usize, values: &mut [f32]) {
        let (words, lane) = match self {
            Memory::Pe(memory) => return crate::machine::floats::widen(memory, place, values),
            Memory::Plane { words, lane, .. } => (words, lane),
        };
        let each = values.len() / pes.max(1);
        for element in 0..each {
            let at = place.nth(element as u64);
            let first = at / 4 * SIDE + lane;
            let pairs =
                values[element..].iter_mut().step_by(each).zip(words.get(first..first + pes).unwrap_or_default());
            let shift = at % 4 * 8;
            match Format::of(place.dtype) {
                _ if place.dtype == Dtype::F32 => pairs.for_each(|(value, &word)| *value = f32::from_bits(word)),
                Some(format) => pairs.for_each(|(value, &word)| *value = format.widen((word >> shift) as u16)),
                None => pairs.for_each(|(value, &word)| {
                    let bits = if place.dtype.bytes() == 4 { word } else { word >> shift & 0xFFFF };
                    *value = Element::from_bits(bits, place.dtype).float();
                }),
            }
        }
    }
}
