//! Runs of wavelets that are longer than what their way holds: their senders end when the receivers take them.

use super::clocks;
use super::held::{Hold, Station};
use super::line::Line;
use super::members::Members;

/// No flight: nothing holds the sender up.
pub(super) const LANDED: u32 = u32::MAX;

/// Which senders of a flight the runs in queues side by side come from: one and the same, or one behind the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) sender: u32,
    /// 0 or 1.
    pub(super) step: u32,
}

impl Origin {
    pub(super) fn from(self, i: u32) -> Self {
        Self { sender: self.sender + self.step * i, ..self }
    }

    /// What joins `n` of them and `m` behind them.
    pub(super) fn joined(self, n: u32, next: Self, m: u32) -> Option<Self> {
        let step = if n > 1 { self.step } else { next.sender.checked_sub(self.sender).filter(|&step| step <= 1)? };
        let continues = self.sender + step * n == next.sender && (m == 1 || next.step == step);
        continues.then_some(Self { step, ..self })
    }
}

/// What the last wavelet of a run needs room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// To be sent: its sender ends.
    Sent,
    /// To leave all routers: it comes to all receivers, and what follows it can go where it went.
    Gone,
}

/// Senders side by side of which the same is known.
#[derive(Clone, Copy, Debug)]
struct Leg {
    /// The sender behind them.
    end: u32,
    /// By [`Goal`]: receivers, of each, of which it is not known yet when they take so much that the last wavelet gets there.
    open: [u32; 2],
    /// First cycle in which the last wavelet can be sent, by the receivers known so far.
    bound: Line,
    /// Cycles by which it ended later than its sender alone would have ended it.
    delay: Line,
}

/// Runs on their way, of senders side by side, to receivers that have to take some of them before the last wavelet can be sent.
#[derive(Debug, Default)]
struct Flight {
    /// The first sender, and what they have run.
    sender: u32,
    part: clocks::Part,
    legs: Vec<Leg>,
    /// Senders that are still held up.
    left: u32,
    /// Runs in queues that have to look here.
    users: u32,
    /// PEs that wait until its last wavelets are gone.
    waiting: Members,
}

/// What has to be known of a flight to tell what late receivers do to it.
#[derive(Debug, Default)]
struct Course {
    /// The lanes that it has passed, in the order in which it did.
    stations: Vec<Station>,
    /// Receivers that take it so late that it waits on its way.
    holds: Vec<Hold>,
}

impl Flight {
    /// Changes what is known of some senders.
    fn change(&mut self, from: u32, n: u32, mut change: impl FnMut(&mut Leg)) {
        if self.legs.len() == 1 && from == 0 && self.legs[0].end == n {
            return change(&mut self.legs[0]);
        }
        let (first, last) = (self.split(from), self.split(from + n));
        self.legs[first..last].iter_mut().for_each(change);
    }

    /// Lets a leg begin at a sender; gives its place.
    fn split(&mut self, at: u32) -> usize {
        let index = self.legs.partition_point(|leg| leg.end <= at);
        let start = if index == 0 { 0 } else { self.legs[index - 1].end };
        if index == self.legs.len() || start == at {
            return index;
        }
        let leg = &mut self.legs[index];
        let before = Leg { end: at, ..*leg };
        (leg.bound, leg.delay) = (leg.bound.from(at - start), leg.delay.from(at - start));
        self.legs.insert(index, before);
        index + 1
    }

    /// What is known of a sender, and of those behind it.
    #[inline]
    fn leg(&self, from: u32, n: &mut u32) -> Leg {
        if let [leg] = self.legs[..]
            && from == 0
        {
            *n = (*n).min(leg.end);
            return leg;
        }
        self.leg_of_several(from, n)
    }

    #[inline(never)]
    fn leg_of_several(&self, from: u32, n: &mut u32) -> Leg {
        let index = self.legs.partition_point(|leg| leg.end <= from).min(self.legs.len() - 1);
        let start = if index == 0 { 0 } else { self.legs[index - 1].end };
        let leg = self.legs[index];
        *n = (*n).min(leg.end - from);
        Leg { bound: leg.bound.from(from - start), delay: leg.delay.from(from - start), ..leg }
    }
}

/// Senders side by side that are not held up any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Landing {
    pub(super) flight: u32,
    /// Their place among the senders of the flight, and how many they are.
    pub(super) from: u32,
    pub(super) count: u32,
}

/// All flights.
#[derive(Debug, Default)]
pub(super) struct Flights {
    list: Vec<Flight>,
    /// By flight, as far as somebody asks for it.
    courses: Vec<Course>,
    unused: Vec<u32>,
}

impl Flights {
    /// A new flight of senders side by side, with no receivers yet.
    pub(super) fn begin(&mut self, sender: u32, count: u32, part: clocks::Part) -> u32 {
        let index = self.unused.pop().unwrap_or_else(|| {
            self.list.push(Flight::default());
            self.list.len() as u32 - 1
        });
        let flight = &mut self.list[index as usize];
        let never = Line::flat(0);
        (flight.sender, flight.part, flight.left, flight.users) = (sender, part, count, 0);
        flight.legs.clear();
        flight.legs.push(Leg { end: count, open: [0; 2], bound: never, delay: never });
        if let Some(course) = self.courses.get_mut(index as usize) {
            course.stations.clear();
            course.holds.clear();
        }
        index
    }

    /// `n` receivers will have to take some of it before its last wavelets get somewhere.
    pub(super) fn expect(&mut self, flight: u32, goal: Goal, origin: Origin, n: u32) {
        let (senders, each) = if origin.step == 0 { (1, n) } else { (n, 1) };
        self.list[flight as usize].change(origin.sender, senders, |leg| leg.open[goal as usize] += each);
    }

    /// It passes lanes; gives the place of the station.
    pub(super) fn pass(&mut self, flight: u32, station: Station) -> u32 {
        let stations = &mut self.course(flight).stations;
        stations.push(station);
        stations.len() as u32 - 1
    }

    /// Receivers take it late.
    pub(super) fn hold(&mut self, flight: u32, hold: Hold) {
        self.course(flight).holds.push(hold);
    }

    fn course(&mut self, flight: u32) -> &mut Course {
        if self.courses.len() <= flight as usize {
            self.courses.resize_with(flight as usize + 1, Course::default);
        }
        &mut self.courses[flight as usize]
    }

    /// Whether receivers are known to take it late.
    pub(super) fn is_held(&self, flight: u32) -> bool {
        self.courses.get(flight as usize).is_some_and(|course| !course.holds.is_empty())
    }

    /// The lanes that it has passed, and the receivers that hold it up.
    pub(super) fn held(&self, flight: u32) -> (&[Station], &[Hold]) {
        self.courses.get(flight as usize).map_or((&[], &[]), |course| (&course.stations, &course.holds))
    }

    /// Runs in `n` queues belong to it.
    pub(super) fn share(&mut self, flight: u32, n: u32) {
        if flight == LANDED {
            return;
        }
        self.list[flight as usize].users += n;
    }

    /// `n` receivers are known to take enough of it. Adds the senders of whom all are known now to `landings`.
    pub(super) fn known(&mut self, flight: u32, goal: Goal, origin: Origin, n: u32, landings: &mut Vec<Landing>) {
        let (senders, each) = if origin.step == 0 { (1, n) } else { (n, 1) };
        let mut from = origin.sender;
        self.list[flight as usize].change(origin.sender, senders, |leg| {
            let open = &mut leg.open[goal as usize];
            *open -= each;
            if *open == 0 {
                landings.push(Landing { flight, from, count: leg.end - from });
            }
            from = leg.end;
        });
    }

    /// Its last wavelets cannot be sent before some cycles.
    pub(super) fn raise(&mut self, flight: u32, origin: Origin, n: u32, bound: Line) {
        let state = &mut self.list[flight as usize];
        if origin.step == 0 {
            let bound = Line::flat(bound.at.max(bound.get(n - 1)));
            return state.change(origin.sender, 1, |leg| leg.bound = leg.bound.max(bound, &mut 1));
        }
        let mut done = 0;
        while done < n {
            let mut here = n - done;
            let leg = state.leg(origin.sender + done, &mut here);
            let higher = leg.bound.max(bound.from(done), &mut here);
            state.change(origin.sender + done, here, |leg| leg.bound = higher);
            done += here;
        }
    }

    /// Whether it is not known yet when its last wavelets get somewhere, by queues side by side.
    pub(super) fn is_open(&self, flight: u32, goal: Goal, origin: Origin, n: &mut u32) -> bool {
        if flight == LANDED {
            return false;
        }
        let is_open = |sender: u32, n: &mut u32| self.list[flight as usize].leg(sender, n).open[goal as usize] > 0;
        if origin.step == 0 { is_open(origin.sender, &mut 1) } else { is_open(origin.sender, n) }
    }

    /// The first cycle in which the last wavelets of some senders can be sent.
    pub(super) fn bound(&self, flight: u32, from: u32, n: &mut u32) -> Line {
        self.list[flight as usize].leg(from, n).bound
    }

    pub(super) fn set_delay(&mut self, flight: u32, from: u32, n: u32, cycles: Line) {
        self.list[flight as usize].change(from, n, |leg| leg.delay = cycles);
    }

    /// Cycles by which its last wavelet is later than its runs say, by queues side by side.
    pub(super) fn delay(&self, flight: u32, origin: Origin, n: &mut u32) -> Line {
        let flight = &self.list[flight as usize];
        if origin.step == 0 {
            Line::flat(flight.leg(origin.sender, &mut 1).delay.at)
        } else {
            flight.leg(origin.sender, n).delay
        }
    }

    /// Its first sender, and what they have run.
    pub(super) fn sent(&self, flight: u32) -> (u32, clocks::Part) {
        let flight = &self.list[flight as usize];
        (flight.sender, flight.part)
    }

    pub(super) fn wait(&mut self, flight: u32, pe: u32, n: u32) {
        self.list[flight as usize].waiting.push(pe, n);
    }

    /// The PEs that wait until it is gone.
    pub(super) fn take_waiting(&mut self, flight: u32) -> Members {
        std::mem::take(&mut self.list[flight as usize].waiting)
    }

    /// Some senders have landed; it is kept as long as others have not, or a run needs it.
    pub(super) fn end(&mut self, flight: u32, senders: u32) {
        let state = &mut self.list[flight as usize];
        state.left -= senders;
        self.keep_or_not(flight);
    }

    /// Runs do not need it any more.
    pub(super) fn release(&mut self, flight: u32, n: u32) {
        if flight == LANDED {
            return;
        }
        self.list[flight as usize].users -= n;
        self.keep_or_not(flight);
    }

    /// Whether there are none any more.
    pub(super) fn are_over(&self) -> bool {
        self.unused.len() == self.list.len()
    }

    fn keep_or_not(&mut self, flight: u32) {
        let state = &self.list[flight as usize];
        if state.users == 0 && state.left == 0 {
            self.unused.push(flight);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_land_when_all_their_receivers_are_known() {
        let mut flights = Flights::default();
        // PEs 10 to 13 send down their columns, to two rows each.
        let flight = flights.begin(10, 4, clocks::Part::default());
        let from = |sender| Origin { sender, step: 1 };
        flights.expect(flight, Goal::Sent, from(0), 4);
        flights.expect(flight, Goal::Sent, from(0), 4);
        let (mut landings, mut landed) = (Vec::new(), Vec::new());
        let mut known = |flights: &mut Flights, sender, n, bound| {
            flights.raise(flight, from(sender), n, bound);
            flights.known(flight, Goal::Sent, from(sender), n, &mut landings);
            landed.extend(landings.drain(..).map(|landing| (landing.from, landing.count)));
            landed.clone()
        };
        // The first row takes it in cycles 5, 6, 7 and 8; of the second one the last two in 9 and 1, then the others in 5.
        assert_eq!(known(&mut flights, 0, 4, Line { at: 5, slope: 1 }), []);
        assert_eq!(known(&mut flights, 2, 2, Line { at: 9, slope: -8 }), [(2, 1), (3, 1)]);
        let mut open = 4;
        assert!(flights.is_open(flight, Goal::Sent, from(0), &mut open));
        assert_eq!(open, 2);
        assert_eq!(known(&mut flights, 0, 2, Line::flat(5)), [(2, 1), (3, 1), (0, 2)]);
        let bounds = [0, 1, 2, 3].map(|sender| flights.bound(flight, sender, &mut 1).at);
        assert_eq!(bounds, [5, 6, 9, 8]);
    }

    #[test]
    fn a_row_of_receivers_holds_one_sender_up() {
        let mut flights = Flights::default();
        let flight = flights.begin(7, 1, clocks::Part::default());
        let origin = Origin::default();
        flights.expect(flight, Goal::Sent, origin, 5);
        let mut landings = Vec::new();
        // Three take it in cycles 20, 18 and 16, two in 17 and 18: the last of all counts.
        flights.raise(flight, origin, 3, Line { at: 20, slope: -2 });
        flights.known(flight, Goal::Sent, origin, 3, &mut landings);
        assert!(landings.is_empty() && flights.is_open(flight, Goal::Sent, origin, &mut 5));
        flights.raise(flight, origin, 2, Line { at: 17, slope: 1 });
        flights.known(flight, Goal::Sent, origin, 2, &mut landings);
        assert_eq!((landings.len(), flights.bound(flight, 0, &mut 1).at), (1, 20));
        // It is used again when no sender is held up and no queue looks at it.
        flights.share(flight, 5);
        flights.end(flight, 1);
        assert_ne!(flights.begin(8, 1, clocks::Part::default()), flight);
        flights.release(flight, 5);
        assert_eq!(flights.begin(9, 1, clocks::Part::default()), flight);
    }
}
