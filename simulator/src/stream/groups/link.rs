//! Links that several colours use, and those to the host: when they are busy.

use super::line::Line;
use super::repeat::Turn;
use super::strip::{Along, Strip};
use waferloom_fabric::Direction;

/// Stretches of time that a link remembers: what is simulated later may lie before others.
const REMEMBERED: usize = 4;

/// A stretch of time: its first cycle and the first one behind.
type Stretch = [Line; 2];

/// A link, or links side by side.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Link {
    /// The first cycle behind all stretches.
    free: Line,
    /// The stretch that was begun last, and those before it, each behind the one that was begun after it.
    stretches: [Stretch; REMEMBERED],
}

impl Along for Link {
    fn along(&self, i: u32) -> Self {
        let stretches = self.stretches.map(|stretch| stretch.map(|cycle| cycle.from(i)));
        Self { free: self.free.from(i), stretches }
    }

    fn back(&self) -> Self {
        let stretches = self.stretches.map(|stretch| stretch.map(|cycle| cycle.back()));
        Self { free: self.free.back(), stretches }
    }

    fn joined(&self, n: u32, next: &Self, m: u32) -> Option<Self> {
        let mut both = Self { free: self.free.joined(n, next.free, m)?, ..*self };
        for (stretch, next) in both.stretches.iter_mut().flatten().zip(next.stretches.iter().flatten()) {
            *stretch = stretch.joined(n, *next, m)?;
        }
        Some(both)
    }
}

impl Link {
    /// Books wavelets, one a cycle; gives the cycle of the last one. Where others cross in the same time, each gets every second
    /// cycle; those that have been booked before are not slowed down any more.
    pub(super) fn share(&mut self, first: Line, count: i64, n: &mut u32) -> Line {
        let mut end = first.plus(count);
        if first.is_below(self.free, n) {
            let mut shared = Line::flat(0);
            for [from, to] in self.stretches {
                let overlap = to.min(first.plus(count), n) - from.max(first, n);
                shared = shared + overlap.max(Line::flat(0), n);
            }
            end = end + shared.min(Line::flat(count), n);
            let touches = |[from, to]: &&mut Stretch| !end.is_below(*from, n) && !to.is_below(first, n);
            match self.stretches.iter_mut().find(touches) {
                Some([from, to]) => (*from, *to) = (from.min(first, n), to.max(end, n)),
                None => self.begin([first, end]),
            }
        } else if self.stretches[0][1].equals(first, n) {
            self.stretches[0][1] = end;
        } else {
            self.begin([first, end]);
        }
        self.free = self.free.max(end, n);
        end.plus(-1)
    }

    /// Whether it is at the end of a turn as it was at its beginning.
    fn repeats(&self, before: &Self, turn: Turn) -> bool {
        let is_same = |([from, to], before): (&Stretch, &Stretch)| {
            let is_past = before[1].at <= turn.began && to.at <= turn.began + turn.cycles;
            is_past || turn.is_same(before[0], *from) && turn.is_same(before[1], *to)
        };
        turn.is_same(before.free, self.free) && self.stretches.iter().zip(&before.stretches).all(is_same)
    }

    /// Whether `n` links are like others, but for the time.
    fn is_later(&self, before: &Self, turn: Turn, n: u32) -> bool {
        let is_same = |([from, to], before): (&Stretch, &Stretch)| {
            turn.are_past(before[1], *to, n) || turn.are_same(before[0], *from, n) && turn.are_same(before[1], *to, n)
        };
        turn.are_same(before.free, self.free, n) && self.stretches.iter().zip(&before.stretches).all(is_same)
    }

    /// What they are when all was so much later.
    fn put_off(&self, cycles: i64) -> Self {
        let stretches = self.stretches.map(|stretch| stretch.map(|cycle| cycle.plus(cycles)));
        Self { free: self.free.plus(cycles), stretches }
    }

    /// What links side by side are so many turns later.
    fn later(self, turn: Turn, turns: u32, n: &mut u32) -> Self {
        let stretches = self.stretches.map(|stretch| stretch.map(|cycle| turn.later(cycle, turns, n)));
        Self { free: turn.later(self.free, turns, n), stretches }
    }

    /// Begins a stretch; the oldest one is forgotten.
    fn begin(&mut self, stretch: Stretch) {
        self.stretches.copy_within(..REMEMBERED - 1, 1);
        self.stretches[0] = stretch;
    }
}

/// When the links between routers, and those to the host, are busy.
#[derive(Clone, Debug)]
pub(super) struct Links {
    /// By direction and router; nothing as long as none in that direction is booked.
    by_direction: [Option<Strip<Link>>; 4],
    routers: usize,
    width: u32,
}

impl Links {
    /// Those of so many routers, in rows of `width`.
    pub(super) fn new(routers: usize, width: u32) -> Self {
        Self { by_direction: [const { None }; 4], routers, width }
    }

    fn of(&mut self, direction: u8) -> &mut Strip<Link> {
        let (routers, width) = (self.routers, self.width);
        self.by_direction[usize::from(direction) % 4]
            .get_or_insert_with(|| Strip::uniform(Link::default(), routers, width))
    }

    /// The links of routers side by side; `is_back` counts them from the last one on.
    pub(super) fn get(&mut self, direction: u8, router: u32, is_back: bool, n: &mut u32) -> Link {
        let links = self.of(direction);
        if is_back { links.piece_back(router, n) } else { links.piece(router, n) }
    }

    /// Books wavelets on a single link, one a cycle; gives the cycle of the last one.
    pub(super) fn share(&mut self, direction: u8, router: u32, first: Line, count: i64) -> Line {
        self.of(direction).edit(router, 1).share(first, count, &mut 1)
    }

    /// What has become of links side by side, in ascending order.
    pub(super) fn set(&mut self, direction: u8, router: u32, n: u32, link: &Link) {
        self.of(direction).set(router, n, *link);
    }

    /// Whether links along rows are like others, but for the time.
    pub(super) fn are_alike(&mut self, routers: [u32; 2], n: u32, turn: Turn) -> bool {
        [Direction::West, Direction::East].iter().all(|&out| {
            let links = self.by_direction[out as usize].as_mut();
            links.is_none_or(|links| links.agree(routers, n, |link, other, n| other.is_later(link, turn, n)))
        })
    }

    /// Links along rows are so many cycles later what others are.
    pub(super) fn follow(&mut self, routers: [u32; 2], n: u32, cycles: i64) {
        for out in [Direction::West, Direction::East] {
            if let Some(links) = &mut self.by_direction[out as usize] {
                links.copy(routers, n, |link| link.put_off(cycles));
            }
        }
    }

    /// Whether links are at the end of a turn as they were at its beginning.
    pub(super) fn repeat(&self, before: &Self, turn: Turn) -> bool {
        self.by_direction.iter().zip(&before.by_direction).all(|links| match links {
            (Some(links), Some(before)) => links.all_with(before, |link, before| link.repeats(before, turn)),
            (links, _) => links.is_none(),
        })
    }

    /// What they are so many turns later.
    pub(super) fn pass_over(&mut self, turn: Turn, turns: u32) {
        for links in self.by_direction.iter_mut().flatten() {
            links.change_all(|link, n| link.later(turn, turns, n));
        }
    }

    /// Books wavelets that cross a link at least some cycles apart; gives the cycle of the last one.
    pub(super) fn at_intervals(&mut self, direction: u8, router: u32, first: i64, count: i64, interval: i64) -> i64 {
        let free = &mut self.of(direction).edit(router, 1).free;
        free.at = free.at.max(first) + count * interval;
        free.at - interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_meets_others_on_a_link_gets_every_second_cycle() {
        let mut link = Link::default();
        let mut share = |first, count| link.share(Line::flat(first), count, &mut 1).at;
        // Alone: cycles 10 to 19.
        assert_eq!(share(10, 10), 19);
        // Behind: cycles 20 to 24.
        assert_eq!(share(20, 5), 24);
        // Of the cycles 15 to 18 all are taken: 4 wavelets take 8 cycles, 15 to 22.
        assert_eq!(share(15, 4), 22);
        // What is simulated later but comes before has the link for itself: 1 to 5.
        assert_eq!(share(1, 5), 5);
        // Cycles 8 and 9 are free, 10 and 11 are not: 2 more, the last in 13.
        assert_eq!(share(8, 4), 13);
    }

    #[test]
    fn links_side_by_side_are_shared_as_long_as_the_same_happens() {
        // Busy in cycles 10 to 19 in all of 6 links.
        let mut links = Links::new(6, 6);
        let mut link = links.get(1, 0, false, &mut 6);
        link.share(Line::flat(10), 10, &mut 6);
        links.set(1, 0, 6, &link);
        // 4 wavelets from cycle 14, 16, 18 ... on meet 4, 4, 2 others, then none: the first two go on at half the pace.
        let mut n = 6;
        let mut link = links.get(1, 0, false, &mut n);
        assert_eq!(link.share(Line { at: 14, slope: 2 }, 4, &mut n), Line { at: 21, slope: 2 });
        assert_eq!(n, 2);
        // From the other end, the last one first: 24 is free.
        let mut link = links.get(1, 5, true, &mut 6);
        assert_eq!(link.share(Line::flat(24), 4, &mut 1).at, 27);
    }

    #[test]
    fn what_is_past_need_not_be_the_same_a_turn_later() {
        // A turn of 100 cycles that began in 50.
        let turn = Turn { cycles: 100, began: 50 };
        let link = |stretches: &[(i64, i64)]| {
            let mut link = Link::default();
            for &(first, count) in stretches {
                link.share(Line::flat(first), count, &mut 1);
            }
            link
        };
        // Busy up to 60, and up to 160: a turn apart. What was before 50, and before 150, is past.
        let before = link(&[(10, 5), (48, 12)]);
        let behind = link(&[(70, 10), (148, 12)]);
        assert!(behind.repeats(&before, turn));
        assert!(
            !link(&[(70, 10), (155, 5)]).repeats(&before, turn) && !link(&[(70, 10), (140, 9)]).repeats(&before, turn)
        );
        // Three turns later it is busy up to 460, whenever that began; the other stretch stays past.
        let later = behind.later(turn, 3, &mut 1);
        assert_eq!((later.free.at, later.stretches[0][0].at, later.stretches[1][1].at), (460, 148, 80));
    }

    #[test]
    fn the_host_takes_wavelets_at_its_own_pace() {
        let mut links = Links::new(1, 1);
        // In cycles 5, 8 and 11; the next one not before 14.
        assert_eq!(links.at_intervals(0, 0, 5, 3, 3), 11);
        assert_eq!(links.at_intervals(0, 0, 6, 1, 3), 14);
    }
}
