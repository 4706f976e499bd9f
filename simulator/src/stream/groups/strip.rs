//! Lists by PE in which PEs side by side share a value, as far as theirs lie on lines.

use super::line::Line;

/// A value of each place of a stretch, which can be told from one value.
pub(super) trait Along: Copy {
    /// The value from a place on.
    fn along(&self, i: u32) -> Self;

    /// The value when the places are counted the other way, from this one on.
    fn back(&self) -> Self;

    /// What tells the values of `n` places and of `m` behind them.
    fn joined(&self, n: u32, next: &Self, m: u32) -> Option<Self>;
}

impl Along for Line {
    fn along(&self, i: u32) -> Self {
        self.from(i)
    }

    fn back(&self) -> Self {
        Self { slope: -self.slope, ..*self }
    }

    fn joined(&self, n: u32, next: &Self, m: u32) -> Option<Self> {
        (*self).joined(n, *next, m)
    }
}

/// Implements [`Along`] for what has to be the same at all places.
macro_rules! along_if_equal {
    ($type:ty) => {
        impl $crate::stream::groups::strip::Along for $type {
            fn along(&self, _: u32) -> Self {
                *self
            }

            fn back(&self) -> Self {
                *self
            }

            fn joined(&self, _: u32, next: &Self, _: u32) -> Option<Self> {
                (self == next).then_some(*self)
            }
        }
    };
}
pub(super) use along_if_equal;

/// A list in pieces, none of which goes on from one row of the mesh to the next.
///
/// The value of a piece stands at its first place, what stands at the others means nothing. Pieces that go on as one become one when
/// they are looked at.
#[derive(Clone, Debug)]
pub(super) struct Strip<T> {
    values: Vec<T>,
    /// A bit a place: whether a piece begins there.
    starts: Vec<u64>,
    /// Places in a row.
    width: u32,
}

impl<T: Along> Strip<T> {
    /// From the values of all places.
    pub(super) fn new(values: Vec<T>, width: u32) -> Self {
        Self { starts: vec![u64::MAX; values.len().div_ceil(64)], values, width }
    }

    /// The same value at all places.
    pub(super) fn uniform(value: T, places: usize, width: u32) -> Self {
        let mut strip = Self { values: vec![value; places], starts: vec![0; places.div_ceil(64)], width };
        (0..places).step_by(width.max(1) as usize).for_each(|at| strip.begin(at as u32));
        strip
    }

    /// Places.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    #[inline]
    fn begins(&self, at: u32) -> bool {
        self.starts[at as usize / 64] >> (at % 64) & 1 == 1
    }

    #[inline]
    fn begin(&mut self, at: u32) {
        self.starts[at as usize / 64] |= 1 << (at % 64);
    }

    /// Whether a piece begins at a place, or all end before it.
    #[inline]
    fn is_cut(&self, at: u32) -> bool {
        at as usize >= self.values.len() || self.begins(at)
    }

    /// Whether some places are a piece, as far as their ends tell.
    #[inline]
    pub(super) fn is_piece(&self, at: u32, n: u32) -> bool {
        self.is_cut(at) && self.is_cut(at + n)
    }

    /// The first place of the piece of a place.
    #[inline]
    fn start(&self, at: u32) -> u32 {
        if self.begins(at) { at } else { self.start_before(at) }
    }

    fn start_before(&self, at: u32) -> u32 {
        let mut word = at as usize / 64;
        let mut bits = self.starts[word] & u64::MAX >> (63 - at % 64);
        while bits == 0 && word > 0 {
            word -= 1;
            bits = self.starts[word];
        }
        word as u32 * 64 + 63 - bits.leading_zeros()
    }

    /// The place behind the piece of a place.
    #[inline]
    fn end(&self, at: u32) -> u32 {
        let mut word = at as usize / 64;
        let mut bits = self.starts[word] & (u64::MAX << (at % 64) << 1);
        while bits == 0 {
            word += 1;
            match self.starts.get(word) {
                Some(next) => bits = *next,
                None => return self.values.len() as u32,
            }
        }
        (word as u32 * 64 + bits.trailing_zeros()).min(self.values.len() as u32)
    }

    /// The value at a place.
    #[expect(clippy::inline_always, reason = "the same")]
    #[inline(always)]
    pub(super) fn get(&self, at: u32) -> T {
        if self.begins(at) { self.values[at as usize] } else { self.inside(at) }
    }

    /// The value at a place within a piece.
    #[inline(never)]
    fn inside(&self, at: u32) -> T {
        let start = self.start(at);
        self.values[start as usize].along(at - start)
    }

    /// The value from a place on, for `n` places or those that share it.
    #[expect(clippy::inline_always, reason = "so that of a large value only what is needed is read")]
    #[inline(always)]
    pub(super) fn piece(&mut self, at: u32, n: &mut u32) -> T {
        if *n == 1 { self.get(at) } else { self.piece_of_many(at, n) }
    }

    #[inline(never)]
    fn piece_of_many(&mut self, at: u32, n: &mut u32) -> T {
        let start = self.piece_start(at, n);
        if start == at { self.values[at as usize] } else { self.values[start as usize].along(at - start) }
    }

    /// The value at the beginning of the piece of a place, and how far behind that the place is: for a large value of which little is
    /// needed.
    #[inline]
    pub(super) fn look(&mut self, at: u32, n: &mut u32) -> (&T, u32) {
        let start = if *n == 1 { self.start(at) } else { self.piece_start(at, n) };
        (&self.values[start as usize], at - start)
    }

    /// Where the piece of a place begins; `n` becomes how many of so many places from there on are in it.
    #[inline(never)]
    fn piece_start(&mut self, at: u32, n: &mut u32) -> u32 {
        let start = self.start(at);
        let mut end = self.end(at);
        while end < at + *n && self.join(start, end) {
            end = self.end(end);
        }
        *n = (*n).min(end - at);
        start
    }

    /// The same for what is the same at all places of the piece.
    #[inline]
    pub(super) fn shared(&mut self, at: u32, n: &mut u32) -> &T {
        self.look(at, n).0
    }

    /// The same from a place backwards.
    #[inline]
    pub(super) fn piece_back(&mut self, at: u32, n: &mut u32) -> T {
        let mut start = self.start(at);
        while at - start + 1 < *n && start > 0 {
            let before = self.start(start - 1);
            if !self.join(before, start) {
                break;
            }
            start = before;
        }
        *n = (*n).min(at - start + 1);
        self.values[start as usize].along(at - start).back()
    }

    /// Makes two pieces one, if they go on as one.
    fn join(&mut self, start: u32, behind: u32) -> bool {
        if behind.is_multiple_of(self.width) {
            return false;
        }
        let (value, next) = (&self.values[start as usize], &self.values[behind as usize]);
        let Some(both) = value.joined(behind - start, next, self.end(behind) - behind) else { return false };
        self.values[start as usize] = both;
        self.starts[behind as usize / 64] &= !(1 << (behind % 64));
        true
    }

    /// Lets a piece begin at a place; gives where the one before it begins, if they were one.
    #[inline]
    pub(super) fn split(&mut self, at: u32) -> Option<u32> {
        if self.is_cut(at) { None } else { Some(self.split_piece(at)) }
    }

    #[inline(never)]
    fn split_piece(&mut self, at: u32) -> u32 {
        let before = self.start(at);
        self.values[at as usize] = self.values[before as usize].along(at - before);
        self.begin(at);
        before
    }

    /// Gives places side by side a value.
    #[inline]
    pub(super) fn set(&mut self, at: u32, n: u32, value: T) {
        if n == 1 && self.is_cut(at + 1) {
            self.begin(at);
        } else {
            self.unite(at, n);
        }
        self.values[at as usize] = value;
    }

    /// Makes some places a piece, whose value has still to be given.
    #[inline(never)]
    fn unite(&mut self, at: u32, n: u32) {
        self.split(at + n);
        self.begin(at);
        let mut place = at + 1;
        while place < at + n {
            // A word at once.
            let behind = (place + 1).next_multiple_of(64).min(at + n);
            self.starts[place as usize / 64] &= !(u64::MAX << (place % 64) & u64::MAX >> (63 - (behind - 1) % 64));
            place = behind;
        }
    }

    /// The value of places side by side that share one, to be changed.
    #[inline]
    pub(super) fn edit(&mut self, at: u32, n: u32) -> &mut T {
        self.split(at);
        self.split(at + n);
        &mut self.values[at as usize]
    }

    /// Changes the values of places side by side, piece by piece.
    #[inline]
    pub(super) fn for_each(&mut self, at: u32, n: u32, mut change: impl FnMut(&mut T)) {
        self.split(at);
        self.split(at + n);
        let mut place = at;
        while place < at + n {
            change(&mut self.values[place as usize]);
            place = self.end(place);
        }
    }

    /// All pieces: the value at the first place, and how many places there are.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (&T, u32)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let value = self.values.get(at as usize)?;
            let n = self.end(at) - at;
            at += n;
            Some((value, n))
        })
    }

    /// The values of all places.
    pub(super) fn values(&self) -> impl Iterator<Item = T> {
        self.pieces().flat_map(|(value, n)| (0..n).map(|i| value.along(i)))
    }

    /// Whether something holds of the values of this list and another one at all places.
    pub(super) fn all_with(&self, other: &Self, mut holds: impl FnMut(&T, &T) -> bool) -> bool {
        let (mut start, mut other_start) = (0, 0);
        (0..self.values.len() as u32).all(|at| {
            start = if self.begins(at) { at } else { start };
            other_start = if other.begins(at) { at } else { other_start };
            let here = self.values[start as usize].along(at - start);
            holds(&here, &other.values[other_start as usize].along(at - other_start))
        })
    }

    /// Whether something holds of the values of two stretches, place by place: it is asked of parts in which both lie on lines, with how many
    /// places these have.
    pub(super) fn agree(&mut self, [a, b]: [u32; 2], n: u32, mut holds: impl FnMut(&T, &T, u32) -> bool) -> bool {
        let mut done = 0;
        while done < n {
            let mut here = n - done;
            let [at, other] = [a, b].map(|at| self.piece_start(at + done, &mut here));
            let [i, j] = [a + done - at, b + done - other];
            let (one, other) = (&self.values[at as usize], &self.values[other as usize]);
            let is_so =
                if (i, j) == (0, 0) { holds(one, other, here) } else { holds(&one.along(i), &other.along(j), here) };
            if !is_so {
                return false;
            }
            done += here;
        }
        true
    }

    /// Gives places the values of others, changed, piece by piece.
    pub(super) fn copy(&mut self, [from, to]: [u32; 2], n: u32, change: impl Fn(T) -> T) {
        let mut done = 0;
        while done < n {
            let mut here = n - done;
            let value = change(self.piece(from + done, &mut here));
            self.set(to + done, here, value);
            done += here;
        }
    }

    /// Changes all values, each for as many places of its piece as `change` says.
    pub(super) fn change_all(&mut self, mut change: impl FnMut(T, &mut u32) -> T) {
        let mut at = 0;
        while (at as usize) < self.values.len() {
            let mut n = self.end(at) - at;
            let changed = change(self.values[at as usize], &mut n);
            self.split(at + n);
            self.values[at as usize] = changed;
            at += n;
        }
    }

    /// The value of the piece that begins at a place.
    pub(super) fn value(&mut self, start: u32) -> &mut T {
        debug_assert!(self.begins(start), "a piece begins there");
        &mut self.values[start as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pieces_join_when_they_are_looked_at_but_not_across_rows() {
        // Two rows of 4: 5, 6, 7, 8 and 9, 9, 9, 9.
        let numbers = [5, 6, 7, 8, 9, 9, 9, 9].map(Line::flat);
        let mut strip = Strip::new(numbers.to_vec(), 4);
        let mut n = 8;
        assert_eq!((strip.piece(1, &mut n), n), (Line { at: 6, slope: 1 }, 3));
        let mut n = 8;
        assert_eq!((strip.piece_back(6, &mut n), n), (Line { at: 9, slope: 0 }, 3));
        strip.set(2, 1, Line::flat(0));
        let mut n = 3;
        assert_eq!((strip.piece(0, &mut n), n), (Line { at: 5, slope: 1 }, 2));
        assert_eq!((strip.split(6), strip.split(6), strip.split(8)), (Some(4), None, None));
    }

    #[derive(Clone, Debug)]
    enum Change {
        Set(u32, u32, Line),
        Add(u32, u32, i64),
        Look(u32, u32),
        LookBack(u32, u32),
    }

    fn changes(places: u32) -> impl Strategy<Value = Vec<Change>> {
        let stretch = (0..places).prop_flat_map(move |at| (Just(at), 1..=places - at));
        let line = (-3i64..3, -1i64..2).prop_map(|(at, slope)| Line { at, slope });
        let change = prop_oneof![
            (stretch.clone(), line).prop_map(|((at, n), line)| Change::Set(at, n, line)),
            (stretch.clone(), -1i64..2).prop_map(|((at, n), more)| Change::Add(at, n, more)),
            stretch.clone().prop_map(|(at, n)| Change::Look(at, n)),
            stretch.prop_map(|(at, n)| Change::LookBack(at, n)),
        ];
        proptest::collection::vec(change, 1..40)
    }

    proptest! {
        /// Against a list of all numbers, in a row that is longer than a word of bits.
        #[test]
        fn what_is_put_in_comes_out(changes in changes(150)) {
            let mut strip = Strip::uniform(Line::flat(0), 150, 150);
            let mut all = [0i64; 150];
            for change in changes {
                match change {
                    Change::Set(at, n, line) => {
                        strip.set(at, n, line);
                        (0..n).for_each(|i| all[(at + i) as usize] = line.get(i));
                    }
                    Change::Add(at, n, more) => {
                        strip.for_each(at, n, |line| line.at += more);
                        all[at as usize..(at + n) as usize].iter_mut().for_each(|number| *number += more);
                    }
                    Change::Look(at, wanted) => {
                        let mut n = wanted;
                        let line = strip.piece(at, &mut n);
                        prop_assert!((1..=wanted).contains(&n));
                        prop_assert!((0..n).all(|i| line.get(i) == all[(at + i) as usize]));
                    }
                    Change::LookBack(at, wanted) => {
                        let mut n = wanted.min(at + 1);
                        let line = strip.piece_back(at, &mut n);
                        prop_assert!((0..n).all(|i| line.get(i) == all[(at - i) as usize]));
                    }
                }
                prop_assert!((0..150).all(|at| strip.get(at).at == all[at as usize]));
                prop_assert!(strip.values().map(|line| line.at).eq(all));
                prop_assert_eq!(strip.pieces().map(|(_, n)| n).sum::<u32>(), 150);
            }
        }
    }
}
