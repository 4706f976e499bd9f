//! Links that several colours use, and those to the host: when they are busy.

/// Stretches of time that a link remembers: what is simulated later may lie before others.
const REMEMBERED: usize = 8;

/// A stretch of time: its first cycle and the first one behind.
type Stretch = (u64, u64);

/// When the links between routers, and those to the host, are busy. What most runs look at is apart from the rest.
#[derive(Debug)]
pub(super) struct Links {
    /// By link: the first cycle behind all stretches.
    free: Vec<u64>,
    /// By link: the stretch that was begun last.
    newest: Vec<Stretch>,
    /// By link: those that were begun before.
    others: Vec<[Stretch; REMEMBERED - 1]>,
    /// By link: the one of them that was begun first.
    oldest: Vec<u8>,
}

impl Links {
    /// Those of routers that have so many links together.
    pub(super) fn new(count: usize) -> Self {
        Self {
            free: vec![0; count],
            newest: vec![(0, 0); count],
            others: vec![[(0, 0); REMEMBERED - 1]; count],
            oldest: vec![0; count],
        }
    }

    /// Books wavelets that cross at least some cycles apart; gives the cycle of the last one.
    pub(super) fn at_intervals(&mut self, link: usize, first: u64, count: u64, interval: u64) -> u64 {
        let free = &mut self.free[link];
        *free = (*free).max(first) + count * interval;
        *free - interval
    }

    /// Books wavelets, one a cycle; gives the cycle of the last one. Where others cross in the same time, each gets every second
    /// cycle; those that have been booked before are not slowed down any more.
    pub(super) fn share(&mut self, link: usize, first: u64, count: u64) -> u64 {
        let newest = &mut self.newest[link];
        let mut end = first + count;
        if first < self.free[link] {
            let others = &mut self.others[link];
            let overlap = |&(from, to): &Stretch| to.min(first + count).saturating_sub(from.max(first));
            let shared: u64 = others.iter().chain([&*newest]).map(overlap).sum();
            end += shared.min(count);
            let touches = |&&mut (from, to): &&mut Stretch| from <= end && first <= to;
            if let Some(stretch) = [newest].into_iter().chain(others).find(touches) {
                *stretch = (stretch.0.min(first), stretch.1.max(end));
            } else {
                self.begin(link, (first, end));
            }
        } else if newest.1 == first {
            newest.1 = end;
        } else {
            self.begin(link, (first, end));
        }
        self.free[link] = self.free[link].max(end);
        end - 1
    }

    /// Begins a stretch; the oldest one is forgotten.
    fn begin(&mut self, link: usize, stretch: Stretch) {
        let oldest = &mut self.oldest[link];
        self.others[link][usize::from(*oldest)] = std::mem::replace(&mut self.newest[link], stretch);
        *oldest = (*oldest + 1) % (REMEMBERED - 1) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::Links;

    #[test]
    fn who_meets_others_on_a_link_gets_every_second_cycle() {
        let mut link = Links::new(1);
        // Alone: cycles 10 to 19.
        assert_eq!(link.share(0, 10, 10), 19);
        // Behind: cycles 20 to 24.
        assert_eq!(link.share(0, 20, 5), 24);
        // Of the cycles 15 to 18 all are taken: 4 wavelets take 8 cycles, 15 to 22.
        assert_eq!(link.share(0, 15, 4), 22);
        // What is simulated later but comes before has the link for itself: 0 to 4.
        assert_eq!(link.share(0, 0, 5), 4);
        // Cycles 8 and 9 are free, 10 and 11 are not: 2 more, the last in 13.
        assert_eq!(link.share(0, 8, 4), 13);
    }

    #[test]
    fn the_host_takes_wavelets_at_its_own_pace() {
        let mut link = Links::new(1);
        // In cycles 5, 8 and 11; the next one not before 14.
        assert_eq!(link.at_intervals(0, 5, 3, 3), 11);
        assert_eq!(link.at_intervals(0, 6, 1, 3), 14);
    }
}
