//! Tables of whole numbers in the PEs' memory: what PEs side by side load from the same place, looked up once.

use super::line::Line;
use crate::machine::operand::Port;
use crate::machine::pe::Pe;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use waferloom_fabric::Program;

/// Bytes of a table that are looked up at once: to get to a PE takes the host longer than to read from it.
const BYTES_AT_ONCE: usize = 512;

/// What stands at an address of the PEs of a class: the first PE of a stretch within a row, how many, and the numbers there.
pub(super) type Entry = Rc<[(u32, u32, Line)]>;

/// A class, an address and a number of bytes.
pub(super) type Place = (u16, usize, u32);

/// By class: where tables are, in ascending order.
pub(super) type Places = Vec<Vec<Range<usize>>>;

/// The tables of all classes, as long as nothing is written there.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) places: Places,
    entries: BTreeMap<Place, Option<Entry>>,
    /// What was read outside of tables, as long as nothing is written there.
    others: BTreeMap<Place, Entry>,
}

impl Tables {
    /// Those of a program. Whatever a class has at the addresses of a table counts, also in PEs without it.
    pub(super) fn new(program: &Program) -> Self {
        let mut places = vec![Vec::new(); program.classes.len()];
        for constant in program.constants.iter().filter(|constant| !constant.dtype.is_float()) {
            let bytes = constant.distribution.tile_elements() * constant.dtype.bytes() as usize;
            let start = constant.address as usize;
            for places in &mut places {
                places.push(start..start + bytes);
            }
        }
        for places in &mut places {
            places.sort_unstable_by_key(|place| place.start);
            // Classes may have different tables at one address.
            let all = std::mem::take(places);
            for place in all {
                match places.last_mut() {
                    Some(last) if place.start <= last.end => last.end = last.end.max(place.end),
                    _ => places.push(place),
                }
            }
        }
        Self { places, ..Self::default() }
    }

    /// What those of some PEs, in rows of `width`, have at an address that are of a class; `None` if it is not in a table.
    pub(super) fn entry(
        &mut self,
        class: u16,
        address: i64,
        bytes: u32,
        (pes, width): (&[Pe<'_>], u32),
    ) -> Option<Entry> {
        let start = usize::try_from(address).ok()?;
        let places = self.places.get(usize::from(class))?;
        let place = places.get(places.partition_point(|place| place.end <= start))?.clone();
        if start < place.start || start + bytes as usize > place.end {
            return None;
        }
        if let Some(entry) = self.entries.get(&(class, start, bytes)) {
            return entry.clone();
        }
        // What stands behind it is asked for soon.
        let size = bytes as usize;
        let others = start..place.end.min(start + BYTES_AT_ONCE);
        let places: Vec<usize> = others.step_by(size).filter(|at| at + size <= place.end).collect();
        for (at, entry) in places.iter().zip(look_up(class, &places, bytes, (pes, width))) {
            self.entries.entry((class, *at, bytes)).or_insert(entry);
        }
        self.entries.get(&(class, start, bytes)).cloned().flatten()
    }

    /// What the PEs of a class have at an address outside of tables, as long as nothing is written there; `read` says it for all of them.
    pub(super) fn other_entry(&mut self, place: Place, read: impl FnOnce() -> Option<Entry>) -> Option<Entry> {
        if let Some(entry) = self.others.get(&place) {
            return Some(entry.clone());
        }
        let entry = read()?;
        self.others.insert(place, entry.clone());
        Some(entry)
    }

    /// PEs of a class may have written somewhere: what overlaps it is no table any more.
    pub(super) fn overwrite(&mut self, class: u16, written: Range<i64>) {
        let [start, end] = [written.start, written.end].map(|at| usize::try_from(at).unwrap_or(0));
        // No entry has more than 4 bytes.
        let near = self.others.range((class, start.saturating_sub(3), 0)..(class, end, 0));
        let gone: Vec<Place> =
            near.map(|(&place, _)| place).filter(|&(_, at, bytes)| at + bytes as usize > start).collect();
        for place in gone {
            self.others.remove(&place);
        }
        let Some(places) = self.places.get_mut(usize::from(class)) else { return };
        let ends_before = |place: &Range<usize>| place.end as i64 <= written.start;
        let first = places.partition_point(ends_before);
        let count = places[first..].iter().take_while(|place| (place.start as i64) < written.end).count();
        if count > 0 {
            let gone: Vec<Range<usize>> = places.drain(first..first + count).collect();
            self.entries.retain(|&(of, at, _), _| of != class || !gone.iter().any(|place| place.contains(&at)));
        }
    }

    /// PEs of a class may have written where an operand leads.
    pub(super) fn overwrite_by(&mut self, class: u16, port: &Port) {
        if let Port::Memory(cursor) = port {
            self.overwrite(class, cursor.bounds());
        }
    }
}

/// Reads what all PEs of a class have at some addresses, which follow each other.
pub(super) fn look_up(
    class: u16,
    addresses: &[usize],
    bytes: u32,
    (pes, width): (&[Pe<'_>], u32),
) -> Vec<Option<Entry>> {
    let mut entries: Vec<Option<Vec<(u32, u32, Line)>>> = vec![Some(Vec::new()); addresses.len()];
    let start = addresses.first().copied().unwrap_or(0);
    let all = start..start + addresses.len() * bytes as usize;
    let has_same =
        |a: &Pe, b: &Pe| a.memory.get(all.clone()).is_some_and(|bytes| b.memory.get(all.clone()) == Some(bytes));
    let mut index = 0;
    while let Some(pe) = pes.get(index as usize) {
        // As a rule PEs side by side have the same everywhere there.
        let row = &pes[index as usize..pes.len().min((index - index % width + width) as usize)];
        let is_like = |other: &&Pe<'_>| other.class == pe.class && has_same(pe, other);
        let n = 1 + row.iter().skip(1).take_while(is_like).count() as u32;
        if pe.class == Some(class) {
            for (&address, found) in addresses.iter().zip(&mut entries) {
                let (Some(bits), Some(entry)) = (pe.read(address as i64, bytes), found.as_mut()) else {
                    *found = None;
                    continue;
                };
                add(entry, (index, n, Line::flat(i64::from(bits as i32))), width);
            }
        }
        index += n;
    }
    entries.into_iter().map(|entry| entry.map(Entry::from)).collect()
}

/// What all PEs of a class have at one address, as `read` says of each.
pub(super) fn look_up_each(
    class: u16,
    (pes, width): (&[Pe<'_>], u32),
    read: impl Fn(u32) -> Option<u32>,
) -> Option<Entry> {
    let mut entry = Vec::new();
    for (index, _) in (0..).zip(pes).filter(|(_, pe)| pe.class == Some(class)) {
        add(&mut entry, (index, 1, Line::flat(i64::from(read(index)? as i32))), width);
    }
    Some(entry.into())
}

/// Adds a stretch that begins behind the others.
/// Whether PEs have the same there as others.
pub(super) fn agree(entry: &Entry, [a, b]: [u32; 2], n: u32) -> bool {
    let from = |pe: u32| entry[entry.partition_point(|&(start, count, _)| start + count <= pe)..].iter();
    let (mut ones, mut others) = (from(a), from(b));
    let (mut one, mut other) = (ones.next(), others.next());
    let mut done = 0;
    while done < n {
        let (Some(&(start, count, number)), Some(&(other_start, other_count, other_number))) = (one, other) else {
            return false;
        };
        let (Some(i), Some(j)) = ((a + done).checked_sub(start), (b + done).checked_sub(other_start)) else {
            return false;
        };
        let here = (count - i).min(other_count - j).min(n - done);
        if number.get(i) != other_number.get(j) || here > 1 && number.slope != other_number.slope {
            return false;
        }
        done += here;
        one = if i + here == count { ones.next() } else { one };
        other = if j + here == other_count { others.next() } else { other };
    }
    true
}

fn add(entry: &mut Vec<(u32, u32, Line)>, (first, n, number): (u32, u32, Line), width: u32) {
    match entry.last_mut() {
        // Only what is the same: whoever uses the number has more from that than from a line.
        Some((start, count, before))
            if *start + *count == first && *before == number && !first.is_multiple_of(width) =>
        {
            *count += n;
        }
        _ => entry.push((first, n, number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pes_have_is_looked_up_once_until_it_is_written() {
        // Two rows of three PEs with a table of two half-words at address 2: 7 and 1, 7 and 1, 7 and 2; 7 and 2, 5 and 2, 5 and 2.
        let table = |a: u8, b: u8| [0, 0, a, 0, b, 0];
        let mut memories = [table(7, 1), table(7, 1), table(7, 2), table(7, 2), table(5, 2), table(5, 2)];
        let pes = memories.each_mut().map(|memory| Pe { memory, class: Some(0), ..Pe::default() });
        let mut tables = Tables { places: vec![vec![2..6, 8..10]], ..Tables::default() };
        let entry = |tables: &mut Tables, address| {
            let entry = tables.entry(0, address, 2, (&pes, 3))?;
            Some(entry.iter().map(|&(first, n, number)| (first, n, number.at)).collect::<Vec<_>>())
        };
        assert_eq!(entry(&mut tables, 2), Some(vec![(0, 3, 7), (3, 1, 7), (4, 2, 5)]));
        assert_eq!(entry(&mut tables, 4), Some(vec![(0, 2, 1), (2, 1, 2), (3, 3, 2)]));
        // Not in a table; at its end; beyond the memory.
        assert_eq!([0, 5, 8].map(|address| entry(&mut tables, address)), [None, None, None]);
        tables.overwrite(0, 6..8);
        assert!(entry(&mut tables, 2).is_some());
        tables.overwrite(0, 5..6);
        assert_eq!((entry(&mut tables, 2), tables.entries.len()), (None, 1));
    }

    #[test]
    fn pes_of_another_class_beside_that_have_the_same_are_others() {
        // Of four PEs with 7 at address 0 the second and the third are of class 1.
        let mut memories = [[7, 0]; 4];
        let classes = [0, 1, 1, 0].into_iter();
        let pes: Vec<_> = classes
            .zip(&mut memories)
            .map(|(class, memory)| Pe { memory, class: Some(class), ..Pe::default() })
            .collect();
        let found = |class| look_up(class, &[0], 2, (&pes, 4)).pop().flatten().map(|entry| entry.to_vec());
        assert_eq!(found(0), Some(vec![(0, 1, Line::flat(7)), (3, 1, Line::flat(7))]));
        assert_eq!(found(1), Some(vec![(1, 2, Line::flat(7))]));
    }

    #[test]
    fn what_lies_elsewhere_is_read_anew_when_something_has_been_written_there() {
        let mut tables = Tables::default();
        let mut read = |written: Option<Range<i64>>, place, number: Option<i64>| {
            if let Some(written) = written {
                tables.overwrite(0, written);
            }
            let entry = number.map(|number| Entry::from([(0, 3, Line::flat(number))]));
            tables.other_entry(place, || entry).map(|entry| entry[0].2.at)
        };
        let (place, other) = ((0, 4, 2), (0, 8, 4));
        assert_eq!([read(None, place, Some(1)), read(None, place, Some(2))], [Some(1), Some(1)]);
        assert_eq!(read(None, other, Some(3)), Some(3));
        // Beside both, then the last byte of one and all of the other.
        assert_eq!([read(Some(0..4), place, None), read(Some(6..8), other, None)], [Some(1), Some(3)]);
        assert_eq!([read(Some(5..6), place, None), read(None, other, None)], [None, Some(3)]);
        assert_eq!([read(Some(11..40), other, None), read(None, other, Some(4))], [None, Some(4)]);
    }
}
