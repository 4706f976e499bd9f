//! How much room there is on a way.

use super::Stream;
use super::nodes::{End, NONE};
use crate::machine::operand::Port;
use waferloom_fabric::{Direction, Filter};

/// More wavelets than there ever are.
const PLENTY: i64 = i64::MAX / 4;
/// Queues behind each other that a search looks at; the room behind the last one is left out.
const DEEPEST: usize = 512;
/// Elements from which on an instruction is long: more than a handful of queues hold.
const LONG: u64 = 256;

impl Stream<'_> {
    /// How many more wavelets a router's queue may be given: what it and the queues behind it hold, and what the instructions
    /// at the ends of the way are going to take by themselves. More than `need` is not looked for.
    pub(super) fn room(&mut self, node: usize, port: usize, need: u64) -> u64 {
        self.search += 1;
        self.room_at(node, port, need, 0).max(0) as u64
    }

    /// Whether the queue at the other end of a link is not full.
    pub(super) fn link_has_room(&mut self, node: usize, out: Direction) -> bool {
        self.search += 1;
        self.room_behind(node, out, 1, 0) > 0
    }

    /// How many of `count` wavelets at the head of a queue the ways in force have room for.
    pub(super) fn passes(&mut self, node: usize, count: u64) -> u64 {
        self.search += 1;
        let mut room = count as i64;
        for out in self.nodes.list[node].tx.iter() {
            if out != Direction::Ramp || !self.drops_all(node) {
                room = room.min(self.room_behind(node, out, count, 0));
            }
        }
        room.max(0) as u64
    }

    /// Room in a queue and behind it.
    fn room_at(&mut self, node: usize, port: usize, need: u64, depth: usize) -> i64 {
        let slot = &self.nodes.list[node];
        let capacity =
            if port == Direction::Ramp as usize { slot.ramp_capacity as i64 } else { self.link_capacity as i64 };
        let (held, controls) = slot.queues.as_ref().map_or((0, 0), |q| (q[port].wavelets as i64, q[port].controls));
        let tx = slot.tx;
        // What stands behind a control wavelet may find another switch position than the one in force.
        let open = !self.closed(node) && slot.rx.0 >> port & 1 == 1 && !tx.is_empty() && controls == 0;
        let open = open && depth <= DEEPEST && capacity - held < need as i64;
        let mut behind = if open { PLENTY } else { 0 };
        if behind != 0 {
            for out in tx.iter() {
                behind = behind.min(self.room_behind(node, out, need, depth + 1));
            }
        }
        (capacity + behind.max(0) - held).max(0)
    }

    fn room_behind(&mut self, node: usize, out: Direction, need: u64, depth: usize) -> i64 {
        if out == Direction::Ramp {
            return self.room_below(node, need, depth);
        }
        match self.nodes.list[node].next[out as usize] {
            End::Nothing => 0,
            End::Sink(_) => PLENTY,
            End::Node(next) => self.room_at(next as usize, out.opposite() as usize, need, depth),
        }
    }

    /// How many wavelets may go down a ramp.
    pub(super) fn room_below(&mut self, node: usize, need: u64, depth: usize) -> i64 {
        let slot = &self.nodes.list[node];
        let (input, lane) = (slot.input, self.lane(node));
        let (filter, seen) = (self.shared.routes[lane.route as usize].filter, u64::from(lane.filtered));
        if input == NONE {
            return if filter.is_some() { PLENTY } else { 0 };
        }
        // Which wavelets it lets through nobody knows before they are there.
        if let Some(Filter::Range { .. }) = filter {
            return PLENTY;
        }
        let queue = &self.inputs[input as usize];
        let mut room = queue.capacity as i64 - queue.held(self.now) as i64;
        if room < need as i64 {
            room += self.promise(node, (need as i64 - room) as u64, depth, false).0 as i64;
        }
        match filter {
            Some(Filter::Count { first, pass, period }) => {
                count_room(room.max(0) as u64, seen, first.into(), pass.into(), period.into()).min(PLENTY as u64) as i64
            }
            _ => room,
        }
    }

    /// Wavelets that the instruction at work on the input queue of a node will take without anything else happening, and the
    /// cycle from which on it does. With `late`, that may be long from now.
    pub(super) fn promise(&mut self, node: usize, need: u64, depth: usize, late: bool) -> (u64, u64) {
        const NO: (u64, u64) = (0, 0);
        let (pe, input) = (self.nodes.list[node].router as usize, self.nodes.list[node].input);
        let known = self.inputs[input as usize].promised.saturating_sub(self.inputs[input as usize].taken);
        if known >= need {
            return (known, 0);
        }
        if self.seen[pe] == self.search || depth > DEEPEST {
            return NO;
        }
        self.seen[pe] = self.search;
        let state = &self.band.pes[pe];
        // Threads that share the datapath take turns: how fast it goes shows only then.
        let threads = state.microthreads.iter().flatten();
        if usize::from(state.running.is_some()) + threads.clone().count() > 1 {
            return NO;
        }
        let queue = (input - self.queues.first_input(pe)) as u8;
        let takes = |port: &Port| matches!(port, Port::FabIn { queue: q, .. } if *q == queue);
        let mut work = state.main.iter().chain(threads);
        let Some(work) = work.find(|work| work.srcs[..work.arity].iter().any(takes)) else { return NO };
        // The main thread may have run ahead of the clock.
        let ready = work.ready;
        let is_late = ready > self.now + u64::from(self.shared.machine.vector_startup_cycles);
        if is_late && !late {
            return NO;
        }
        let mut promise = work.remaining;
        for port in &work.srcs[..work.arity] {
            match port {
                Port::FabIn { queue: other, .. } if *other != queue => {
                    let others = self.input(pe, *other).map_or(0, |q| q.wavelets);
                    promise = if is_late { 0 } else { promise.min(others) };
                }
                Port::Fifo { .. } => promise = 0,
                _ => {}
            }
        }
        match work.dst {
            Port::FabOut { .. } if is_late => promise = 0,
            Port::FabOut { queue, .. } => {
                let out = self.queues.out(pe, queue);
                // A long one asks for all that it has left: then whoever asks next is told at once.
                let need = if work.remaining >= LONG { work.remaining } else { need };
                let room = out.map_or(0, |out| self.room_at(out, Direction::Ramp as usize, need, depth + 1));
                promise = promise.min(room as u64);
            }
            Port::Fifo { .. } => promise = 0,
            _ => {}
        }
        if !is_late {
            let queue = &mut self.inputs[input as usize];
            queue.promised = queue.promised.max(queue.taken + promise);
        }
        (promise, ready)
    }
}

/// How many wavelets may arrive at a filter that counts until one too many has passed it.
fn count_room(room: u64, seen: u64, first: u64, pass: u64, period: u64) -> u64 {
    let period = period.max(1);
    let pass = pass.min(period.saturating_sub(first));
    if pass == 0 {
        return PLENTY as u64;
    }
    // Up to the next period, then whole periods, then the part of one.
    let passed = seen.saturating_sub(first).min(pass);
    let total = passed + room;
    let (whole, part) = (total / pass, total % pass);
    (whole * period + first + part).saturating_sub(seen)
}

#[cfg(test)]
mod tests {
    use super::count_room;

    #[test]
    fn a_filter_takes_what_it_drops_and_what_there_is_room_for() {
        // Of 10 wavelets, numbers 2 to 4 pass. With room for 2, the wavelets 0, 1, 2, 3 may come: 4 of them.
        assert_eq!(count_room(2, 0, 2, 3, 10), 4);
        // With room for 3: all of this period, and the two that are dropped of the next one.
        assert_eq!(count_room(3, 0, 2, 3, 10), 12);
        // In the middle, after wavelet 3: one passes, then 7 are dropped until wavelet 2 of the next period, which waits.
        assert_eq!(count_room(1, 4, 2, 3, 10), 8);
        // Without room only those that are dropped may come.
        assert_eq!(count_room(0, 5, 2, 3, 10), 7);
    }
}
