//! The memories of PEs, turned over: what [`SIDE`] PEs side by side have at one address lies side by side, a cache line of the host, and
//! behind it what they have at the next address. An instruction that they do together goes through the host's memory from one end to
//! the other, where memories one behind the other would have to be fetched a line for each PE.

mod bank;
mod moved;
mod turned;

use self::bank::Bank;
pub(crate) use self::bank::first_in_line;
pub(crate) use self::moved::Moves;
use super::lent::Loaded;
use super::pe::Pe;
use std::ops::Range;
use waferloom_fabric::{Constant, Coord};

/// PEs whose words lie side by side.
pub(crate) const SIDE: usize = 16;

/// Lines behind the memories of a bank for what its PEs compute with: numbers, one for each source of an instruction.
pub(super) const NUMBERS: usize = 3;

/// The memories of all PEs of a mesh.
pub(crate) struct Planes<'a> {
    /// Of the first PEs of the first row, of those beside them, and so on: words, `[address / 4][PE]`, and [`NUMBERS`] more addresses.
    banks: Vec<Bank>,
    /// PEs in a row.
    width: usize,
    /// By PE.
    own: Vec<Own>,
    /// Whether all have as much memory.
    are_alike: bool,
    /// Constants that are not there yet, in the order of their addresses, none of which two have.
    kept: Vec<Loaded<'a>>,
}

/// What is asked for of each PE: its record would have to be fetched for it.
#[derive(Clone, Copy)]
struct Own {
    /// Its bank times [`SIDE`], and its place there.
    place: u32,
    /// Bytes of its memory.
    bytes: u32,
    at: Coord,
    class: Option<u16>,
}

/// PEs side by side whose words lie so.
pub(crate) struct Lanes<'a> {
    /// Those of their bank.
    pub(crate) words: &'a mut [u32],
    /// The place of the first PE in the bank, and how many they are.
    pub(crate) first: usize,
    pub(crate) count: usize,
}

impl<'a> Planes<'a> {
    /// Zeros, as many as PEs in rows of `width` have.
    pub(crate) fn new(pes: &[Pe<'_>], width: usize) -> Self {
        let words = |bank: &[Pe<'_>]| bank.iter().map(|pe| pe.memory.len().div_ceil(4)).max().unwrap_or(0);
        let zeros = |bank: &[Pe<'_>]| Bank::zeros((words(bank) + NUMBERS) * SIDE);
        let across = width.div_ceil(SIDE);
        let own = |(index, pe): (usize, &Pe<'_>)| Own {
            place: (index / width * across * SIDE + index % width) as u32,
            bytes: pe.memory.len() as u32,
            at: pe.at.0,
            class: pe.class,
        };
        Self {
            banks: pes.chunks(width).flat_map(|row| row.chunks(SIDE)).map(zeros).collect(),
            width,
            own: pes.iter().enumerate().map(own).collect(),
            are_alike: pes.windows(2).all(|two| two[0].memory.len() == two[1].memory.len()),
            kept: Vec::new(),
        }
    }

    /// Puts a constant into the memories, or keeps it until somebody [asks for](Self::ask_for) it: weights of products are never
    /// asked for, as claims take them from the program. Those that follow overwrite it.
    pub(super) fn load(&mut self, loaded: Loaded<'a>) {
        let range = loaded.range();
        self.ask_for(range.start as i64..range.end as i64);
        if !loaded.constant.dtype.is_float() || !loaded.is_borrowed() || range.is_empty() {
            return loaded.turn_over_all(self.width, self);
        }
        let at = self.kept.partition_point(|kept| kept.range().end <= range.start);
        self.kept.insert(at, loaded);
    }

    /// Somebody reads or writes between two addresses of some PEs: what is to be there is put there. Says whether there was something.
    #[inline]
    pub(crate) fn ask_for(&mut self, bytes: Range<i64>) -> bool {
        let first = self.kept.partition_point(|kept| kept.range().end as i64 <= bytes.start);
        let mut found = false;
        while self.kept.get(first).is_some_and(|kept| (kept.range().start as i64) < bytes.end) {
            let asked = self.kept.remove(first);
            asked.turn_over_all(self.width, self);
            found = true;
        }
        found
    }

    /// The constant that is at an address of some PEs and that nobody has asked for.
    pub(crate) fn kept(&self, address: i64) -> Option<&'a Constant> {
        let first = self.kept.partition_point(|kept| (kept.range().start as i64) < address);
        self.kept.get(first).map(|kept| kept.constant).filter(|constant| i64::from(constant.address) == address)
    }

    /// The bank of a PE, and its place there.
    #[inline]
    fn bank(&self, pe: u32) -> (usize, usize) {
        let place = self.own[pe as usize].place as usize;
        (place / SIDE, place % SIDE)
    }

    /// Bytes of a PE's memory.
    pub(crate) fn bytes(&self, pe: u32) -> usize {
        self.own[pe as usize].bytes as usize
    }

    /// PEs in a row.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// The place of a PE.
    pub(crate) fn at(&self, pe: u32) -> Coord {
        self.own[pe as usize].at
    }

    /// The class of a PE.
    pub(crate) fn class(&self, pe: u32) -> Option<u16> {
        self.own[pe as usize].class
    }

    /// The first ones of some PEs side by side, which share a bank.
    pub(crate) fn lanes(&mut self, pe: u32, count: u32) -> Lanes<'_> {
        let (bank, first) = self.bank(pe);
        Lanes { words: &mut self.banks[bank], first, count: (count as usize).min(SIDE - first) }
    }

    /// How many of `count` PEs side by side share the bank of the first one.
    pub(crate) fn beside(&self, pe: u32, count: u32) -> u32 {
        count.min((SIDE - self.bank(pe).1) as u32)
    }

    /// The memory of a PE.
    pub(crate) fn memory(&self, pe: u32) -> Memory<'_> {
        let (bank, lane) = self.bank(pe);
        Memory::Plane { words: &self.banks[bank], lane, bytes: self.bytes(pe) }
    }

    /// Where a value of `bytes` (2 or 4) at an address of a PE is: its bank, its word there, and the bits by which it is shifted
    /// in it; `None` outside of the memory, or unaligned.
    fn place(&self, pe: u32, address: i64, bytes: u32) -> Option<(usize, usize, u32)> {
        let start = usize::try_from(address).ok().filter(|start| start.is_multiple_of(bytes as usize))?;
        let inside = start.checked_add(bytes as usize)? <= self.bytes(pe);
        let (bank, lane) = self.bank(pe);
        inside.then_some((bank, start / 4 * SIDE + lane, start as u32 % 4 * 8))
    }

    /// As [`Pe::read`].
    pub(crate) fn read(&mut self, pe: u32, address: i64, bytes: u32) -> Option<u32> {
        self.ask_for(address..address + i64::from(bytes));
        self.memory(pe).read(address, bytes)
    }

    /// As [`Pe::write`].
    pub(crate) fn write(&mut self, pe: u32, address: i64, bytes: u32, bits: u32) -> Option<()> {
        self.ask_for(address..address + i64::from(bytes));
        let (bank, word, shift) = self.place(pe, address, bytes)?;
        let word = self.banks[bank].get_mut(word)?;
        let mask = if bytes == 4 { u32::MAX } else { 0xFFFF << shift };
        *word = *word & !mask | bits << shift & mask;
        Some(())
    }

    /// Adds elements of `bytes` (2 or 4) that lie in PEs side by side, which share a bank and have as much memory, at one address and at
    /// others behind it: the first one of each PE, then the next one. `None` when one does not lie in memory.
    pub(crate) fn gather(
        &self,
        (pe, pes): (u32, u32),
        (address, step, count): (i64, i64, u32),
        bytes: u32,
        elements: &mut Vec<u32>,
    ) -> Option<()> {
        let (bank, _) = self.bank(pe);
        let words = &self.banks[bank];
        for at in self.each_place(pe, (address, step, count), bytes)? {
            let (first, shift) = at;
            let line = words.get(first..first + pes as usize)?;
            if bytes == 4 {
                elements.extend_from_slice(line);
            } else {
                elements.extend(line.iter().map(|word| word >> shift & 0xFFFF));
            }
        }
        Some(())
    }

    /// Writes elements as [`Self::gather`] reads them.
    pub(crate) fn scatter(
        &mut self,
        (pe, pes): (u32, u32),
        (address, step, count): (i64, i64, u32),
        bytes: u32,
        elements: &[u32],
    ) -> Option<()> {
        let (bank, _) = self.bank(pe);
        let places = self.each_place(pe, (address, step, count), bytes)?;
        let words = &mut self.banks[bank];
        for ((first, shift), elements) in places.zip(elements.chunks_exact(pes as usize)) {
            let line = words.get_mut(first..first + pes as usize)?;
            if bytes == 4 {
                line.copy_from_slice(elements);
            } else {
                let mask = 0xFFFF << shift;
                line.iter_mut().zip(elements).for_each(|(word, bits)| *word = *word & !mask | bits << shift & mask);
            }
        }
        Some(())
    }

    /// The words in a PE's bank of elements at an address and at others behind it, and by how many bits they are shifted there.
    fn each_place(
        &self,
        pe: u32,
        (address, step, count): (i64, i64, u32),
        bytes: u32,
    ) -> Option<impl Iterator<Item = (usize, u32)> + use<>> {
        let last = address + step * (i64::from(count) - 1);
        let (_, lane) = self.bank(pe);
        self.place(pe, address.min(last), bytes)?;
        self.place(pe, address.max(last), bytes)?;
        (step % i64::from(bytes) == 0).then_some(())?;
        Some((0..i64::from(count)).map(move |i| {
            let at = (address + step * i) as usize;
            (at / 4 * SIDE + lane, at as u32 % 4 * 8)
        }))
    }

    /// Writes elements of a number of bytes to a PE's memory, each at its address; gives from where to where, or `None` when one does not lie
    /// there.
    pub(crate) fn write_elements(&mut self, pe: u32, bytes: u32, elements: &[(i64, u32)]) -> Option<Range<usize>> {
        let (mut first, mut end) = (usize::MAX, 0);
        for &(address, bits) in elements {
            self.write(pe, address, bytes, bits)?;
            let at = address as usize;
            (first, end) = (first.min(at), end.max(at + bytes as usize));
        }
        Some(first.min(end)..end)
    }

    /// Puts bytes, an even number of them, to an even address of a PE's memory.
    pub(crate) fn lay_out(&mut self, pe: u32, start: usize, bytes: &[u8]) {
        let (bank, lane) = self.bank(pe);
        let words = self.banks[bank].get_mut(start / 4 * SIDE + lane..).unwrap_or_default();
        let (whole, rest) = bytes.as_chunks::<4>();
        if start.is_multiple_of(4) && rest.is_empty() {
            words.iter_mut().step_by(SIDE).zip(whole).for_each(|(word, &bytes)| *word = u32::from_le_bytes(bytes));
            return;
        }
        for (half, &bytes) in (start % 4 / 2..).zip(bytes.as_chunks::<2>().0) {
            if let Some(word) = words.get_mut(half / 2 * SIDE) {
                let shift = half % 2 * 16;
                *word = *word & !(0xFFFF << shift) | u32::from(u16::from_le_bytes(bytes)) << shift;
            }
        }
    }

    /// Gives a range of bytes back to a PE.
    pub(crate) fn give_back(&mut self, pe: u32, memory: &mut [u8], range: &Range<usize>) {
        self.ask_for(range.start as i64..range.end as i64);
        let (bank, lane) = self.bank(pe);
        for at in range.clone() {
            if let (Some(byte), Some(word)) = (memory.get_mut(at), self.banks[bank].get(at / 4 * SIDE + lane)) {
                *byte = word.to_le_bytes()[at % 4];
            }
        }
    }
}

/// The memory of a PE, in either form.
#[derive(Clone, Copy)]
pub(crate) enum Memory<'a> {
    Pe(&'a [u8]),
    Plane {
        /// The words of its bank.
        words: &'a [u32],
        /// Its place there.
        lane: usize,
        bytes: usize,
    },
}

impl Memory<'_> {
    /// How many bytes it has.
    pub(crate) fn len(self) -> usize {
        match self {
            Memory::Pe(memory) => memory.len(),
            Memory::Plane { bytes, .. } => bytes,
        }
    }

    /// The words from an address on; `None` when they do not lie in it.
    pub(crate) fn read_words(self, at: i64, into: &mut [u32]) -> Option<()> {
        let start = usize::try_from(at).ok().filter(|start| start.is_multiple_of(4))?;
        if start + into.len() * 4 > self.len() {
            return None;
        }
        match self {
            Memory::Pe(memory) => {
                let cells = memory.get(start..)?.as_chunks().0;
                into.iter_mut().zip(cells).for_each(|(word, &cell)| *word = u32::from_le_bytes(cell));
            }
            Memory::Plane { words, lane, .. } => {
                let words = words.get(start / 4 * SIDE + lane..).unwrap_or_default();
                into.iter_mut().zip(words.iter().step_by(SIDE)).for_each(|(word, &own)| *word = own);
            }
        }
        Some(())
    }

    /// Reads `bytes` (2 or 4) at an address; `None` outside of it or unaligned.
    #[inline]
    pub(crate) fn read(self, address: i64, bytes: u32) -> Option<u32> {
        let start = usize::try_from(address).ok().filter(|start| start.is_multiple_of(bytes as usize))?;
        let end = start.checked_add(bytes as usize)?;
        match self {
            Memory::Pe(memory) => Some(match *memory.get(start..end)? {
                [a, b, c, d] => u32::from_le_bytes([a, b, c, d]),
                [a, b] => u32::from(u16::from_le_bytes([a, b])),
                _ => return None,
            }),
            Memory::Plane { words, lane, bytes: all } => {
                let word = words.get(start / 4 * SIDE + lane).filter(|_| end <= all)? >> (start % 4 * 8);
                Some(if bytes == 4 { word } else { word & 0xFFFF })
            }
        }
    }

    /// That of a PE so many places to the east, in the same bank.
    pub(crate) fn beside(self, pes: usize) -> Self {
        match self {
            Memory::Plane { words, lane, bytes } => Memory::Plane { words, lane: lane + pes, bytes },
            own @ Memory::Pe(_) => own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::bulk::Place;
    use std::collections::BTreeMap;
    use waferloom_fabric::Dtype;

    #[test]
    fn planes_hold_what_memories_do() {
        // Two rows of two PEs, with 8, 6, 8 and 0 bytes.
        let mut memories: [Vec<u8>; 4] = [(1..9).collect(), (11..17).collect(), (21..29).collect(), Vec::new()];
        let mut planes = {
            let pes = memories.each_mut().map(|memory| Pe { memory, ..Pe::default() });
            let mut planes = Planes::new(&pes, 2);
            planes.lay_out(0, 0, &[1, 2, 3, 4]);
            planes.lay_out(0, 4, &[0, 0, 7, 8]);
            planes.lay_out(0, 4, &[5, 6]);
            // From one half of a word to the other one of the next but one.
            planes.lay_out(1, 2, &[13, 14, 15, 16]);
            planes
        };
        assert_eq!([(0, 0), (0, 4)].map(|(pe, at)| planes.read(pe, at, 4)), [Some(0x0403_0201), Some(0x0807_0605)]);
        assert_eq!(
            (planes.read(0, 6, 2), planes.read(1, 4, 2), planes.read(2, 0, 4)),
            (Some(0x0807), Some(0x100F), Some(0))
        );
        // Beyond the memory, at an odd address, where nothing is.
        assert_eq!([(1, 4, 4), (1, 6, 2), (0, 5, 2), (3, 0, 2)].map(|(pe, at, n)| planes.read(pe, at, n)), [None; 4]);
        assert_eq!(planes.write(0, 4, 2, 0xFFFF_ABCD), Some(()));
        assert_eq!((planes.read(0, 4, 4), planes.write(1, 6, 2, 0)), (Some(0x0807_ABCD), None));
        planes.give_back(0, &mut memories[0], &(4..7));
        assert_eq!(memories[0], [1, 2, 3, 4, 0xCD, 0xAB, 7, 8]);
        let mut values = [0.0; 2];
        let floats = [0.5, 2.0];
        assert_eq!(
            (planes.write_floats((1, 1), 4, 1, &[1.0]), planes.write_floats((2, 1), 0, 1, &floats)),
            (None, Some(0..8))
        );
        assert_eq!((planes.read(2, 0, 4), planes.read(2, 4, 4)), (Some(0x3F00_0000), Some(0x4000_0000)));
        planes.write(1, 0, 4, 0x4000_3C00);
        planes.memory(1).widen(Place { at: 0, step: 2, dtype: Dtype::F16 }, 1, &mut values);
        assert_eq!((values, planes.memory(1).len()), ([1.0, 2.0], 6));
    }

    #[test]
    fn words_are_moved_in_a_row_and_between_rows() {
        // Two rows of 20 PEs with four words, so that each has two banks; word `w` of PE `p` is `100 p + w`.
        let mut memories = vec![vec![0; 16]; 40];
        let pes: Vec<Pe<'_>> = memories.iter_mut().map(|memory| Pe { memory, ..Pe::default() }).collect();
        let mut planes = Planes::new(&pes, 20);
        for pe in 0..40 {
            (0..4).for_each(|word| planes.write(pe, word * 4, 4, pe * 100 + word as u32).expect("it is there"));
        }
        assert!(planes.are_alike());
        // Words 0 and 2 of PE 1 become words 3 and 1 of PE 18, in another bank, and in the second row as in the first one.
        let mut moves = BTreeMap::new();
        for move_ in [[(1, 0), (18, 12)], [(1, 8), (18, 4)], [(19, 0), (18, 8)]] {
            planes.add_move(move_, &mut moves).expect("they lie in memory");
        }
        assert!(planes.add_move([(1, 16), (18, 0)], &mut moves).is_none());
        for pe in [5, 25] {
            planes.move_in_row(pe, &moves).expect("they lie in memory");
        }
        let all = |planes: &mut Planes<'_>, pe| [0, 4, 8, 12].map(|at| planes.read(pe, at, 4).expect("it is there"));
        assert_eq!(all(&mut planes, 18), [1800, 102, 1900, 100]);
        assert_eq!(all(&mut planes, 38), [3800, 2102, 3900, 2100]);
        // A whole bank from one row to the other, and within itself; one word; halves of words.
        planes.move_elements(([0, 20], 16), [(0, 8), (4, 4)], 2, 4).expect("they lie in memory");
        assert_eq!((all(&mut planes, 20), all(&mut planes, 35)), ([2000, 0, 2, 2003], [3500, 1500, 1502, 3503]));
        planes.move_elements(([0, 0], 16), [(0, 4), (8, 4)], 2, 4).expect("they lie in memory");
        assert_eq!(all(&mut planes, 3), [300, 301, 300, 301]);
        planes.move_elements(([2, 39], 1), [(4, 4), (12, -4)], 2, 4).expect("they lie in memory");
        assert_eq!(all(&mut planes, 39), [3900, 3901, 200, 201]);
        planes.move_elements(([16, 36], 2), [(0, 2), (14, -2)], 2, 2).expect("they lie in memory");
        assert_eq!(all(&mut planes, 37), [3700, 3701, 3702, 1700 << 16]);
        assert!(planes.move_elements(([0, 20], 16), [(0, 8), (4, 8)], 3, 4).is_none());
    }

    #[test]
    fn pes_side_by_side_are_read_and_written_at_once() {
        let mut memories: [Vec<u8>; 3] = std::array::from_fn(|_| vec![0; 16]);
        let pes = memories.each_mut().map(|memory| Pe { memory, ..Pe::default() });
        let mut planes = Planes::new(&pes, 3);
        // Two columns of each of two PEs in a line, two lines: PE 1 gets 1, 2, 5, 6, PE 2 gets 3, 4, 7, 8.
        let lines = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        assert_eq!(planes.write_floats((1, 2), 0, 2, &lines), Some(0..16));
        let mut values = [0.0; 4];
        planes.memory(1).widen(Place { at: 0, step: 4, dtype: Dtype::F32 }, 1, &mut values);
        assert_eq!(values, [1.0, 2.0, 5.0, 6.0]);
        // Of each the first and the third, PE by PE.
        planes.memory(1).widen(Place { at: 0, step: 8, dtype: Dtype::F32 }, 2, &mut values);
        assert_eq!(values, [1.0, 5.0, 3.0, 7.0]);
        planes.memory(1).beside(1).widen(Place { at: 12, step: 4, dtype: Dtype::F32 }, 1, &mut values[..1]);
        assert_eq!((values[0], planes.read(0, 0, 4)), (8.0, Some(0)));
    }
}
