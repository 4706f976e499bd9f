//! Links that several colours use, and those to the host: when they are busy.

use super::super::nodes::NONE;
use super::lanes::Lanes;
use crate::machine::band::Band;
use crate::machine::router::each_port;
use waferloom_fabric::Direction;

/// Stretches of time that a link remembers: what is simulated later may lie before others.
const REMEMBERED: usize = 8;

/// The time in which a link is busy. What most runs look at is in one cache line.
#[derive(Clone, Debug, Default)]
#[repr(align(64))]
pub(super) struct Link {
    /// First cycle behind all stretches.
    free: u64,
    /// The stretch that was begun last: its first cycle and the first one behind.
    newest: (u64, u64),
    /// Of the others the one that was begun first.
    oldest: usize,
    /// Those that were begun before.
    others: [(u64, u64); REMEMBERED - 1],
}

impl Link {
    /// Books wavelets that cross at least some cycles apart; gives the cycle of the last one.
    pub(super) fn at_intervals(&mut self, first: u64, count: u64, interval: u64) -> u64 {
        self.free = self.free.max(first) + count * interval;
        self.free - interval
    }

    /// Books wavelets, one a cycle; gives the cycle of the last one. Where others cross in the same time, each gets every second
    /// cycle; those that have been booked before are not slowed down any more.
    pub(super) fn share(&mut self, first: u64, count: u64) -> u64 {
        let mut end = first + count;
        if first >= self.free {
            if self.newest.1 == first {
                self.newest.1 = end;
            } else {
                self.begin((first, end));
            }
        } else {
            let overlap = |&(from, to): &(u64, u64)| to.min(first + count).saturating_sub(from.max(first));
            let shared: u64 = self.others.iter().chain([&self.newest]).map(overlap).sum();
            end += shared.min(count);
            let touches = |&&mut (from, to): &&mut (u64, u64)| from <= end && first <= to;
            if let Some(stretch) = [&mut self.newest].into_iter().chain(&mut self.others).find(touches) {
                *stretch = (stretch.0.min(first), stretch.1.max(end));
            } else {
                self.begin((first, end));
            }
        }
        self.free = self.free.max(end);
        end - 1
    }

    /// Begins a stretch; the oldest one is forgotten.
    fn begin(&mut self, stretch: (u64, u64)) {
        self.others[self.oldest] = std::mem::replace(&mut self.newest, stretch);
        self.oldest = (self.oldest + 1) % (REMEMBERED - 1);
    }
}

/// All links that are booked.
#[derive(Debug, Default)]
pub(super) struct Links {
    list: Vec<Link>,
    /// By lane and output: its link, or [`NONE`].
    of_lane: Vec<[u32; 4]>,
}

impl Links {
    pub(super) fn new(band: &Band, lanes: &Lanes) -> Self {
        let mut links = Self { list: Vec::new(), of_lane: vec![[NONE; 4]; lanes.ports.len()] };
        for (router, state) in band.routers.iter().enumerate() {
            // The link at each output that some colour here books: colours share it.
            let mut shared = [NONE; 4];
            for lane in state.lanes.iter().filter_map(|lane| lanes.at(router, lane.color)) {
                for out in each_port(lanes.booked(lane)) {
                    let link = &mut shared[out as usize];
                    if *link == NONE {
                        *link = links.list.len() as u32;
                        links.list.push(Link::default());
                    }
                    links.of_lane[lane as usize][out as usize] = *link;
                }
            }
        }
        links
    }

    /// The link at an output of a lane, if it is booked.
    pub(super) fn of(&mut self, lane: u32, out: Direction) -> Option<&mut Link> {
        let link = *self.of_lane.get(lane as usize)?.get(out as usize)?;
        self.list.get_mut(link as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::Link;

    #[test]
    fn who_meets_others_on_a_link_gets_every_second_cycle() {
        let mut link = Link::default();
        // Alone: cycles 10 to 19.
        assert_eq!(link.share(10, 10), 19);
        // Behind: cycles 20 to 24.
        assert_eq!(link.share(20, 5), 24);
        // Of the cycles 15 to 18 all are taken: 4 wavelets take 8 cycles, 15 to 22.
        assert_eq!(link.share(15, 4), 22);
        // What is simulated later but comes before has the link for itself: 0 to 4.
        assert_eq!(link.share(0, 5), 4);
        // Cycles 8 and 9 are free, 10 and 11 are not: 2 more, the last in 13.
        assert_eq!(link.share(8, 4), 13);
    }

    #[test]
    fn the_host_takes_wavelets_at_its_own_pace() {
        let mut link = Link::default();
        // In cycles 5, 8 and 11; the next one not before 14.
        assert_eq!(link.at_intervals(5, 3, 3), 11);
        assert_eq!(link.at_intervals(6, 1, 3), 14);
    }
}
