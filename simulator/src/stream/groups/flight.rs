//! Runs of wavelets that are longer than what their way holds: their senders end when the receivers take them.

/// No flight: nothing holds the sender up.
pub(super) const LANDED: u32 = u32::MAX;

/// A run on its way to receivers that have to take some of it before the last of it can be sent.
#[derive(Debug, Default)]
struct Flight {
    sender: u32,
    /// Receivers of which it is not known yet when they take it.
    open: u32,
    /// First cycle in which the last wavelet can be sent, by the receivers known so far.
    bound: u64,
    /// Cycles by which it ended later than its sender alone would have ended it.
    delay: u64,
    /// Runs in queues that have to look here.
    users: u32,
    /// PEs that wait for its end.
    waiting: Vec<u32>,
}

/// All flights.
#[derive(Debug, Default)]
pub(super) struct Flights {
    list: Vec<Flight>,
    unused: Vec<u32>,
}

impl Flights {
    /// A new flight, with no receivers yet.
    pub(super) fn begin(&mut self, sender: u32) -> u32 {
        let index = self.unused.pop().unwrap_or_else(|| {
            self.list.push(Flight::default());
            self.list.len() as u32 - 1
        });
        let flight = &mut self.list[index as usize];
        *flight = Flight { sender, waiting: std::mem::take(&mut flight.waiting), ..Flight::default() };
        index
    }

    /// A receiver will have to take some of it.
    pub(super) fn expect(&mut self, flight: u32) {
        self.list[flight as usize].open += 1;
    }

    /// A run in a queue belongs to it.
    pub(super) fn share(&mut self, flight: u32) {
        if flight == LANDED {
            return;
        }
        self.list[flight as usize].users += 1;
    }

    /// A receiver is known to take it so that the last wavelet can be sent in `bound`. Says whether all are known now.
    pub(super) fn known(&mut self, flight: u32, bound: u64) -> bool {
        let flight = &mut self.list[flight as usize];
        flight.bound = flight.bound.max(bound);
        flight.open -= 1;
        flight.open == 0
    }

    /// Its last wavelet cannot be sent before a cycle.
    pub(super) fn raise(&mut self, flight: u32, bound: u64) {
        let flight = &mut self.list[flight as usize];
        flight.bound = flight.bound.max(bound);
    }

    pub(super) fn is_open(&self, flight: u32) -> bool {
        flight != LANDED && self.list[flight as usize].open > 0
    }

    /// The first cycle in which the last wavelet can be sent.
    pub(super) fn bound(&self, flight: u32) -> u64 {
        self.list[flight as usize].bound
    }

    pub(super) fn set_delay(&mut self, flight: u32, cycles: u64) {
        self.list[flight as usize].delay = cycles;
    }

    /// Cycles by which its last wavelet is later than its runs say.
    pub(super) fn delay(&self, flight: u32) -> u64 {
        if flight == LANDED { 0 } else { self.list[flight as usize].delay }
    }

    pub(super) fn sender(&self, flight: u32) -> u32 {
        self.list[flight as usize].sender
    }

    pub(super) fn wait(&mut self, flight: u32, pe: u32) {
        self.list[flight as usize].waiting.push(pe);
    }

    /// The PEs that wait for its end.
    pub(super) fn take_waiting(&mut self, flight: u32) -> Vec<u32> {
        std::mem::take(&mut self.list[flight as usize].waiting)
    }

    /// It has landed; it is kept as long as a run needs it.
    pub(super) fn end(&mut self, flight: u32) {
        if self.list[flight as usize].users == 0 {
            self.unused.push(flight);
        }
    }

    /// A run does not need it any more.
    pub(super) fn release(&mut self, flight: u32) {
        if flight == LANDED {
            return;
        }
        let users = &mut self.list[flight as usize].users;
        *users -= 1;
        if *users == 0 {
            self.unused.push(flight);
        }
    }
}
