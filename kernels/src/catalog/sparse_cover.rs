//! A sparse tile as a list of short vector instructions: which non-zeros each takes, and in which order they run.
//!
//! A vector descriptor is affine, and the non-zeros of a column are scattered. But any two of them are an affine vector, and
//! among ten there are mostly four of the form `a, a + d, a + e, a + d + e`: a descriptor of two dimensions. So a column is
//! covered by a few such boxes, greedily, the largest first. This is our own; packing the columns themselves, as in H. T. Kung
//! et al., *Packing Sparse Convolutional Neural Networks* (2019), needs a choice of x for each element, which descriptors
//! cannot make.
//!
//! The instructions run on microthreads, so that the start of one overlaps with the elements of others. Two of them that
//! are under way at once never touch the same element of y, so that the order in which its summands are added does not
//! depend on time: one is put behind the other on the same microthread instead.

/// Rows that are searched for boxes together.
const SEGMENT: u32 = 128;

/// Columns that are tried for one that can follow at once.
const TRIES: usize = 24;

/// The shapes that are looked for, by elements: (outer, inner).
const SHAPES: [(u32, u32); 5] = [(2, 3), (2, 2), (1, 4), (1, 3), (1, 2)];

/// The non-zeros of a column that one instruction takes: rows `row + i * outer.1 + j * inner.1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Boxed {
    /// The first row.
    pub(super) row: u32,
    /// Length and step of the outer dimension; a length of 0 is no instruction at all.
    pub(super) outer: (u32, u32),
    /// Length and step of the inner dimension.
    pub(super) inner: (u32, u32),
}

impl Boxed {
    fn single(row: u32) -> Self {
        Self { row, outer: (1, 0), inner: (1, 0) }
    }

    /// The rows in the order of the elements.
    pub(super) fn rows(self) -> impl Iterator<Item = u32> {
        let Self { row, outer, inner } = self;
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

/// The boxes of a column in their order; those without elements are empty places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// The column of the tile.
    pub(super) column: u32,
    /// The boxes.
    pub(super) boxes: Vec<Boxed>,
}

/// The microthreads in turn: box `i` of a group runs on the one `i` after the group's first.
#[derive(Clone, Debug)]
pub(super) struct Threads {
    count: usize,
    /// Of each group.
    first: Vec<usize>,
}

impl Threads {
    /// Turns for groups that are as large as the largest of their rank in any PE, with `count` microthreads.
    pub(super) fn new(count: usize, pes: &[Vec<Group>]) -> Self {
        let mut largest: Vec<usize> = Vec::new();
        for groups in pes {
            let mut sizes: Vec<usize> = groups.iter().map(|group| group.boxes.len()).collect();
            sizes.sort_unstable_by_key(|&size| std::cmp::Reverse(size));
            largest.resize(largest.len().max(sizes.len()), 0);
            largest.iter_mut().zip(sizes).for_each(|(most, size)| *most = size.max(*most));
        }
        let first = largest.iter().scan(0, |sum, size| Some(std::mem::replace(sum, *sum + size))).collect();
        Self { count, first }
    }

    /// The microthread of a box.
    pub(super) fn of(&self, group: usize, place: usize) -> usize {
        (self.first.get(group).copied().unwrap_or(0) + place) % self.count
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }
}

/// Covers the non-zeros of a column, given by their rows in ascending order.
pub(super) fn cover(column: u32, rows: &[u32]) -> Group {
    let mut boxes = Vec::new();
    for segment in rows.chunk_by(|a, b| a / SEGMENT == b / SEGMENT) {
        let base = segment[0] / SEGMENT * SEGMENT;
        let mut left = segment.iter().fold(0u128, |bits, row| bits | 1 << (row - base));
        while left != 0 {
            let shapes = SHAPES.iter().filter(|(outer, inner)| outer * inner <= left.count_ones());
            let found = shapes.into_iter().find_map(|&shape| find(left, shape));
            let found = found.unwrap_or_else(|| Boxed::single(left.trailing_zeros()));
            for row in found.rows() {
                left &= !(1 << row);
            }
            boxes.push(Boxed { row: found.row + base, ..found });
        }
    }
    Group { column, boxes }
}

/// The first box of a shape among the rows.
fn find(rows: u128, (outer, inner): (u32, u32)) -> Option<Boxed> {
    let reach = 128 - rows.leading_zeros() - rows.trailing_zeros();
    (1..reach).find_map(|d| {
        // First rows of runs of `inner` with step `d`.
        let runs = (1..inner).fold(rows, |runs, j| runs & rows.checked_shr(j * d).unwrap_or(0));
        if runs == 0 {
            return None;
        }
        let boxed = |firsts: u128, outer| Boxed { row: firsts.trailing_zeros(), outer, inner: (inner, d) };
        if outer == 1 {
            return Some(boxed(runs, (1, 0)));
        }
        // The two runs of a box may not share a row.
        let apart = |e: u32| !e.is_multiple_of(d) || e / d >= inner;
        (1..reach).filter(|&e| apart(e)).find_map(|e| {
            let both = runs & runs >> e;
            (both != 0).then(|| boxed(both, (outer, e)))
        })
    })
}

/// Puts the groups and their boxes into an order in which those under way at once have no row in common. Groups with many
/// boxes come first: so the groups of different PEs match.
pub(super) fn schedule(mut left: Vec<Group>, threads: &Threads) -> Vec<Group> {
    left.retain(|group| !group.boxes.is_empty());
    left.sort_by_key(|group| std::cmp::Reverse(group.boxes.len()));
    let mut under_way = vec![Boxed::default(); threads.count()];
    let mut order = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let tries = left.iter().take(TRIES).enumerate();
        let arranged = tries
            .map(|(index, group)| (index, arrange(&group.boxes, &under_way, |place| threads.of(order.len(), place))));
        let empty = |boxes: &[Boxed]| boxes.iter().filter(|b| b.len() == 0).count();
        let best = arranged.min_by_key(|(index, (boxes, _))| (empty(boxes), boxes.len().abs_diff(many(&left)), *index));
        let Some((index, (boxes, then))) = best else { break };
        under_way = then;
        order.push(Group { boxes, column: left.remove(index).column });
    }
    order
}

/// Boxes of the largest group that is left.
fn many(left: &[Group]) -> usize {
    left.first().map_or(0, |group| group.boxes.len())
}

/// An order of a group's boxes, with as few empty places as a simple search finds, and what is under way behind it.
fn arrange(boxes: &[Boxed], before: &[Boxed], thread: impl Fn(usize) -> usize) -> (Vec<Boxed>, Vec<Boxed>) {
    let (mut left, mut under_way, mut placed) = (boxes.to_vec(), before.to_vec(), Vec::new());
    while !left.is_empty() {
        let thread = thread(placed.len());
        let blockers = |b: &Boxed, except: Option<usize>| {
            under_way.iter().enumerate().filter(|&(other, last)| Some(other) != except && b.meets(*last)).count()
        };
        if let Some(index) = left.iter().position(|b| blockers(b, Some(thread)) == 0) {
            let next = left.remove(index);
            under_way[thread] = next;
            placed.push(next);
        } else if let Some(index) = left.iter().position(|b| blockers(b, None) > 1) {
            // It meets boxes on two microthreads; a single element meets only one.
            let whole = left.remove(index);
            left.extend(whole.rows().map(Boxed::single));
        } else {
            placed.push(Boxed::default());
        }
    }
    (placed, under_way)
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
            let mut covered: Vec<u32> = cover(3, &rows).boxes.into_iter().flat_map(Boxed::rows).collect();
            covered.sort_unstable();
            assert_eq!(covered, rows);
        }
        assert_eq!(cover(0, &[5, 9, 25, 29]).boxes, [Boxed { row: 5, outer: (2, 20), inner: (2, 4) }]);
        assert_eq!(cover(0, &[5, 9, 13, 26, 30, 34]).boxes, [Boxed { row: 5, outer: (2, 21), inner: (3, 4) }]);
    }

    #[test]
    fn boxes_under_way_at_once_have_no_row_in_common() {
        for (below, threads) in [(6, 4), (30, 8), (128, 8), (40, 1), (40, 3)] {
            let groups: Vec<Group> = (0..20).map(|c| cover(c, &scattered(12, below, c))).collect();
            let threads = Threads::new(threads, &[groups.clone(), groups[..7].to_vec()]);
            let order = schedule(groups.clone(), &threads);
            let elements = |list: &[Group]| {
                let of = |g: &Group| g.boxes.iter().flat_map(|b| b.rows()).map(|row| (g.column, row)).collect();
                let mut all: Vec<(u32, u32)> = list.iter().flat_map(|g| -> Vec<_> { of(g) }).collect();
                all.sort_unstable();
                all
            };
            assert_eq!(elements(&order), elements(&groups));
            let mut under_way = vec![Boxed::default(); threads.count()];
            for (number, group) in order.iter().enumerate() {
                for (place, &next) in group.boxes.iter().enumerate().filter(|(_, b)| b.len() > 0) {
                    let thread = threads.of(number, place);
                    let mut others = under_way.iter().enumerate().filter(|&(other, _)| other != thread);
                    assert!(others.all(|(_, &last)| !next.meets(last)), "group {number} of {below} rows");
                    under_way[thread] = next;
                }
            }
        }
    }
}
