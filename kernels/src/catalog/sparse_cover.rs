//! A sparse tile as a list of short vector instructions: which non-zeros each takes, and in which order they run.
//!
//! A vector descriptor is affine, and the non-zeros of a column are scattered. But any two of them are an affine vector, and
//! among ten there are nearly always four of the form `a, a + d, a + e, a + d + e`: a descriptor of two dimensions. So a
//! column is covered by a few such boxes, greedily, the largest first. This is our own; packing the columns themselves, as in
//! H. T. Kung et al., *Packing Sparse Convolutional Neural Networks* (2019), needs a choice of x for each element, which
//! descriptors cannot make.
//!
//! The instructions run on microthreads, so that the start of one overlaps with the elements of others. Two of them that
//! are under way at once never touch the same element of y, so that the order in which its summands are added does not
//! depend on time: one is put behind the other on the same microthread instead.

/// Microthreads that the instructions take in turn: with two the start of an instruction still shows.
pub(super) const THREADS: usize = 4;

/// Rows that are searched for boxes together.
const SEGMENT: u32 = 128;

/// The non-zeros of a column that one instruction takes: rows `row + i * outer.1 + j * inner.1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Boxed {
    /// The column of the tile.
    pub(super) column: u32,
    /// The first row.
    pub(super) row: u32,
    /// Length and step of the outer dimension; a length of 0 is no instruction at all.
    pub(super) outer: (u32, u32),
    /// Length and step of the inner dimension.
    pub(super) inner: (u32, u32),
}

impl Boxed {
    /// The rows in the order of the elements.
    pub(super) fn rows(self) -> impl Iterator<Item = u32> {
        let Self { row, outer, inner, .. } = self;
        (0..outer.0).flat_map(move |i| (0..inner.0).map(move |j| row + i * outer.1 + j * inner.1))
    }

    /// Elements.
    pub(super) fn len(self) -> u32 {
        self.outer.0 * self.inner.0
    }

    fn meets(self, other: Self) -> bool {
        self.rows().any(|row| other.rows().any(|r| r == row))
    }
}

/// Covers the non-zeros of a column, given by their rows in ascending order.
pub(super) fn cover(column: u32, rows: &[u32]) -> Vec<Boxed> {
    let mut boxes = Vec::new();
    for segment in rows.chunk_by(|a, b| a / SEGMENT == b / SEGMENT) {
        let base = segment[0] / SEGMENT * SEGMENT;
        let mut left = segment.iter().fold(0u128, |bits, row| bits | 1 << (row - base));
        while left != 0 {
            let found = quad(left).or_else(|| run(left)).unwrap_or(Boxed {
                row: left.trailing_zeros(),
                outer: (1, 0),
                inner: (1, 0),
                column,
            });
            let found = Boxed { column, row: found.row + base, ..found };
            found.rows().for_each(|row| left &= !(1 << (row - base)));
            boxes.push(found);
        }
    }
    boxes
}

/// The first four rows `a, a + d, a + e, a + d + e` with `d < e`.
fn quad(rows: u128) -> Option<Boxed> {
    let reach = 128 - rows.leading_zeros() - rows.trailing_zeros();
    for d in 1..reach {
        let pairs = rows & rows >> d;
        if pairs & (pairs - u128::from(pairs != 0)) == 0 {
            continue;
        }
        for e in d + 1..reach {
            let quads = pairs & pairs >> e;
            if quads != 0 {
                let row = quads.trailing_zeros();
                return Some(Boxed { column: 0, row, outer: (2, e), inner: (2, d) });
            }
        }
    }
    None
}

/// Three rows with equal steps, or else the first two.
fn run(rows: u128) -> Option<Boxed> {
    let first = rows.trailing_zeros();
    let rest = rows & !(1 << first);
    if rest == 0 {
        return None;
    }
    let reach = 128 - rows.leading_zeros() - first;
    let threes = (1..reach / 2 + 1).find_map(|d| {
        let found = rows & rows >> d & rows.checked_shr(2 * d).unwrap_or(0);
        (found != 0).then(|| Boxed { column: 0, row: found.trailing_zeros(), outer: (1, 0), inner: (3, d) })
    });
    threes.or(Some(Boxed { column: 0, row: first, outer: (1, 0), inner: (2, rest.trailing_zeros() - first) }))
}

/// Puts the boxes into an order in which those under way at once have no row in common. Slot `i` runs on microthread
/// `i mod THREADS`; a box of length 0 is an empty slot.
pub(super) fn schedule(mut boxes: Vec<Boxed>) -> Vec<Boxed> {
    // From the end: what is taken out is mostly near it.
    boxes.reverse();
    let mut slots = Vec::with_capacity(boxes.len());
    let mut under_way = [Boxed::default(); THREADS];
    while !boxes.is_empty() {
        let thread = slots.len() % THREADS;
        let free = |b: &Boxed| under_way.iter().enumerate().all(|(other, &last)| other == thread || !b.meets(last));
        if let Some(place) = boxes.iter().rposition(free) {
            let next = boxes.remove(place);
            under_way[thread] = next;
            slots.push(next);
        } else if let Some(place) = boxes.iter().rposition(|b| blockers(*b, &under_way) > 1) {
            // It meets boxes on two microthreads: single elements meet only one.
            let whole = boxes.remove(place);
            let singles = whole.rows().map(|row| Boxed { row, outer: (1, 0), inner: (1, 0), ..whole });
            boxes.extend(singles);
        } else {
            slots.push(Boxed::default());
        }
    }
    slots
}

fn blockers(b: Boxed, under_way: &[Boxed]) -> usize {
    under_way.iter().filter(|&&last| b.meets(last)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scattered rows, the same in every run.
    fn scattered(count: usize, below: u32, seed: u32) -> Vec<u32> {
        let mut state = seed;
        let mut rows: Vec<u32> = (0..count)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) % below
            })
            .collect();
        rows.sort_unstable();
        rows.dedup();
        rows
    }

    #[test]
    fn a_cover_holds_each_row_once() {
        for (count, below) in [(1, 1), (1, 90), (2, 128), (10, 96), (40, 300), (200, 200)] {
            let rows = scattered(count, below, count as u32);
            let mut covered: Vec<u32> = cover(3, &rows).into_iter().flat_map(Boxed::rows).collect();
            covered.sort_unstable();
            assert_eq!(covered, rows);
        }
        let quads = cover(0, &[5, 9, 25, 29]);
        assert_eq!(quads, [Boxed { column: 0, row: 5, outer: (2, 20), inner: (2, 4) }]);
    }

    #[test]
    fn boxes_under_way_at_once_have_no_row_in_common() {
        for below in [6, 30, 128] {
            let boxes: Vec<Boxed> = (0..20).flat_map(|c| cover(c, &scattered(12, below, c))).collect();
            let slots = schedule(boxes.clone());
            let elements = |list: &[Boxed]| {
                let mut all: Vec<_> = list.iter().flat_map(|b| b.rows().map(|row| (b.column, row))).collect();
                all.sort_unstable();
                all
            };
            assert_eq!(elements(&slots), elements(&boxes));
            let mut under_way = [Boxed::default(); THREADS];
            for (slot, &next) in slots.iter().enumerate().filter(|(_, b)| b.len() > 0) {
                let thread = slot % THREADS;
                let others = under_way.iter().enumerate().filter(|&(other, _)| other != thread);
                assert!(others.into_iter().all(|(_, &last)| !next.meets(last)), "slot {slot} of {below} rows");
                under_way[thread] = next;
            }
        }
    }
}
