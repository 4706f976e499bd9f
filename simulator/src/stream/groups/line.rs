//! Numbers of PEs side by side that lie on a line.

use std::ops::{Add, Sub};

/// A number at each place of a stretch: `at` at the first one, `slope` more at each one behind. Of a single place the slope means
/// nothing.
///
/// What is decided along a stretch has to be the same at all its places. So whoever asks gives the places, `n` of them, and
/// they become fewer when the answer holds for the first ones only; what is worked out for more places is right for fewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) at: i64,
    pub(super) slope: i64,
}

impl Line {
    /// The same number everywhere.
    pub(super) fn flat(at: i64) -> Self {
        Self { at, slope: 0 }
    }

    pub(super) fn get(self, i: u32) -> i64 {
        self.at + self.slope * i64::from(i)
    }

    /// What it is from a place on.
    pub(super) fn from(self, i: u32) -> Self {
        Self { at: self.get(i), ..self }
    }

    /// So many places from the other end.
    pub(super) fn reversed(self, n: u32) -> Self {
        Self { at: self.get(n - 1), slope: -self.slope }
    }

    pub(super) fn plus(self, number: i64) -> Self {
        Self { at: self.at + number, ..self }
    }

    /// The larger one of two.
    #[inline]
    pub(super) fn max(self, other: Self, n: &mut u32) -> Self {
        if *n == 1 {
            return if self.at >= other.at { self } else { other };
        }
        let ahead = self - other;
        let leads = if ahead.at == 0 { ahead.slope >= 0 } else { ahead.at >= 0 };
        let lead = if leads { ahead } else { other - self };
        lead.while_not_negative(n);
        if leads { self } else { other }
    }

    /// The smaller one of two.
    pub(super) fn min(self, other: Self, n: &mut u32) -> Self {
        self + other - self.max(other, n)
    }

    /// Whether it is below another one.
    #[inline]
    pub(super) fn is_below(self, other: Self, n: &mut u32) -> bool {
        if *n == 1 {
            return self.at < other.at;
        }
        let room = (other - self).plus(-1);
        if room.at >= 0 {
            room.while_not_negative(n);
            return true;
        }
        Self { at: -room.at - 1, slope: -room.slope }.while_not_negative(n);
        false
    }

    /// Whether it is the same as another one.
    pub(super) fn equals(self, other: Self, n: &mut u32) -> bool {
        let ahead = self - other;
        if ahead.at == 0 {
            *n = if ahead.slope == 0 { *n } else { 1 };
            return true;
        }
        // Up to where they meet.
        if *n > 1 && ahead.slope != 0 && ahead.at % ahead.slope == 0 && ahead.at / ahead.slope < 0 {
            *n = (*n).min((-ahead.at / ahead.slope) as u32);
        }
        false
    }

    /// The places before it becomes negative; it is not at the first one.
    pub(super) fn while_not_negative(self, n: &mut u32) {
        if *n > 1 && self.slope < 0 {
            *n = (*n).min((self.at / -self.slope).min(i64::from(u32::MAX) - 1) as u32 + 1);
        }
    }

    /// When each place is reached, one `step` cycles after the other, by what left the one before the first in a cycle, and finds none of them
    /// before the cycles of this line.
    pub(super) fn reached_from(self, before: i64, step: i64, n: &mut u32) -> Self {
        let comes = before + step;
        // Held up at the first place by a line that is as steep, it is at each one behind.
        let times =
            if comes <= self.at && self.slope >= step { self } else { Self { at: comes.max(self.at), slope: step } };
        (times - self).while_not_negative(n);
        times
    }

    /// What joins `n` places and `m` behind them, if they lie on a line.
    pub(super) fn joined(self, n: u32, next: Self, m: u32) -> Option<Self> {
        let slope = if n > 1 { self.slope } else { next.at - self.at };
        let continues = self.at + slope * i64::from(n) == next.at && (m == 1 || next.slope == slope);
        continues.then_some(Self { at: self.at, slope })
    }
}

impl Add for Line {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { at: self.at + other.at, slope: self.slope + other.slope }
    }
}

impl Sub for Line {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { at: self.at - other.at, slope: self.slope - other.slope }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_join_where_they_go_on() {
        let line = |at, slope| Line { at, slope };
        // 3, 5, 7 and 9; a single place takes the slope that it needs.
        assert_eq!(line(3, 2).joined(3, line(9, 0), 1), Some(line(3, 2)));
        assert_eq!(line(3, 2).joined(3, line(9, 1), 2), None);
        assert_eq!(line(3, 99).joined(1, line(5, 2), 4), Some(line(3, 2)));
        assert_eq!(line(3, 2).joined(3, line(8, 2), 2), None);
        // From the other end: 7, 5, 3.
        assert_eq!(line(3, 2).reversed(3), line(7, -2));
    }

    proptest! {
        #[test]
        fn places_are_reached_one_after_the_other(
            (at, slope) in (-9i64..9, -4i64..4), before in -9i64..9, step in 1i64..3, places in 1u32..9,
        ) {
            let (bound, mut n) = (Line { at, slope }, places);
            let times = bound.reached_from(before, step, &mut n);
            let mut reached = before;
            for i in 0..n {
                reached = (reached + step).max(bound.get(i));
                prop_assert_eq!(times.get(i), reached);
            }
            // No shorter than necessary.
            prop_assert!(n == places || times.get(n) != (reached + step).max(bound.get(n)));
        }

        #[test]
        fn what_is_decided_holds_at_all_places(
            (a, b) in ((-9i64..9, -4i64..4), (-9i64..9, -4i64..4)),
            places in 1u32..9,
        ) {
            let (a, b) = (Line { at: a.0, slope: a.1 }, Line { at: b.0, slope: b.1 });
            let mut n = [places; 4];
            let (max, min) = (a.max(b, &mut n[0]), a.min(b, &mut n[1]));
            let (below, equal) = (a.is_below(b, &mut n[2]), a.equals(b, &mut n[3]));
            prop_assert!(n.iter().all(|n| (1..=places).contains(n)));
            for i in 0..places {
                let (x, y) = (a.get(i), b.get(i));
                prop_assert!(i >= n[0] || max.get(i) == x.max(y));
                prop_assert!(i >= n[1] || min.get(i) == x.min(y));
                prop_assert!(i >= n[2] || below == (x < y));
                prop_assert!(i >= n[3] || equal == (x == y));
            }
            // No shorter than necessary.
            for (n, goes_on) in n.into_iter().zip([
                max.get(n[0]) == a.get(n[0]).max(b.get(n[0])),
                min.get(n[1]) == a.get(n[1]).min(b.get(n[1])),
                below == (a.get(n[2]) < b.get(n[2])),
                equal == (a.get(n[3]) == b.get(n[3])),
            ]) {
                prop_assert!(n == places || !goes_on);
            }
        }
    }
}
