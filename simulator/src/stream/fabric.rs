//! Runs at the routers, and how much room there is on a way.

use super::Stream;
use super::host;
use super::run::{Run, Sender};
use crate::machine::operand::Port;
use crate::machine::router::each_port;
use waferloom_fabric::{Direction, Filter, SwitchCommand};

/// More wavelets than there ever are.
const PLENTY: i64 = i64::MAX / 4;

impl Stream<'_> {
    /// Puts a run into a router's queue.
    pub(super) fn push(&mut self, router: usize, lane: usize, port: Direction, run: Run) {
        self.wake_router(router, run.first);
        self.occupied[router] |= 1 << (lane * 5 + rank(port as usize));
        self.queues[router][lane][port as usize].push(run);
    }

    /// Passes on what can leave a router now, and sets when it is to be looked at again.
    pub(super) fn run_router(&mut self, router: usize) {
        let mut again = true;
        let mut next = u64::MAX;
        // A control wavelet may open the way for what had been asked before it.
        while again {
            (again, next) = (false, u64::MAX);
            let mut rest = self.occupied[router];
            while rest != 0 {
                let bit = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                let (lane, port) = (bit / 5, (bit % 5 + 4) % 5);
                let state = &self.band.routers[router].lanes[lane];
                let (rx, tx) = state.ports();
                if state.closed || rx.0 >> port & 1 == 0 || tx.is_empty() || !self.has_ways(router, lane) {
                    continue;
                }
                let Some(due) = self.queues[router][lane][port].due() else { continue };
                if due > self.now {
                    next = next.min(due);
                    continue;
                }
                // What finds no room is looked at again when somebody behind has taken something.
                let count = self.passes(router, lane, port);
                if count > 0 {
                    again |= self.forward(router, lane, port, count);
                    next = next.min(self.queues[router][lane][port].due().unwrap_or(u64::MAX));
                }
            }
        }
        if next != u64::MAX {
            self.wake_router(router, next.max(self.now + 1));
        }
    }

    /// Whether something can take wavelets at each output in force.
    fn has_ways(&self, router: usize, lane: usize) -> bool {
        let state = &self.band.routers[router].lanes[lane];
        each_port(state.ports().1).all(|out| match out {
            Direction::Ramp => state.input.is_some() || self.drops_all(router, lane),
            _ => state.credits[out as usize] > 0,
        })
    }

    /// Whether the head of a lane would be dropped at the ramp in any case. Without a queue that listens nothing else may pass.
    fn drops_all(&self, router: usize, lane: usize) -> bool {
        let state = &self.band.routers[router].lanes[lane];
        let heads = self.queues[router][lane].iter().filter_map(|q| q.head());
        let dropped = |run: &Run| match run.control {
            0 => run.words().iter().all(|&word| !state.would_admit(word, self.shared.routes)),
            control => self.shared.controls[control as usize - 1].task.is_none(),
        };
        heads.into_iter().all(dropped)
    }

    /// How many of the wavelets at the head of a queue the ways in force have room for.
    fn passes(&mut self, router: usize, lane: usize, port: usize) -> u64 {
        let Some(head) = self.queues[router][lane][port].head() else { return 0 };
        let mut count = head.count as i64;
        self.search += 1;
        self.need = count;
        for out in each_port(self.band.routers[router].lanes[lane].ports().1) {
            if out != Direction::Ramp || !self.drops_all(router, lane) {
                count = count.min(self.room_behind(router, lane, out, 0));
            }
        }
        count.max(0) as u64
    }

    /// Sends wavelets at the head of a queue on; says whether the switch has moved.
    fn forward(&mut self, router: usize, lane: usize, port: usize, count: u64) -> bool {
        let queue = &mut self.queues[router][lane][port];
        let Some(due) = queue.due() else { return false };
        let Some(mut run) = queue.take(count) else { return false };
        if queue.head().is_none() {
            self.occupied[router] &= !(1 << (lane * 5 + rank(port)));
        }
        let tx = self.band.routers[router].lanes[lane].ports().1;
        let first = due.max(self.now);
        let mut last = run.last.max(first + run.count - 1);
        for out in each_port(tx) {
            last = last.max(self.occupy_link(router, lane, out, first, run.count));
        }
        self.queues[router][lane][port].free = last + 1;
        let command = self.command(&run);
        let from = Direction::ALL[port];
        if from != Direction::Ramp
            && let Some(before) = self.band.neighbour(router, from)
        {
            self.wake_occupied(before as usize, first + 1);
        }
        self.tell(run.sender, first + u64::from(run.hops) + 1);
        run.hops = run.hops.saturating_add(1);
        let state = &mut self.band.routers[router];
        for out in each_port(tx) {
            state.sent[out as usize] += run.count;
        }
        let mut moved = false;
        if let Some(command) = command {
            moved = true;
            if state.lanes[lane].obey(command, self.shared.routes) {
                self.band.pes[router].teardowns |= 1 << self.band.routers[router].lanes[lane].color;
                self.wake_pe(router, first + 1);
            }
        }
        for out in each_port(tx) {
            self.deliver(router, lane, out, &run.at(first, last));
        }
        moved
    }

    /// Lets a router that holds something look for room again.
    pub(super) fn wake_occupied(&mut self, router: usize, cycle: u64) {
        if self.occupied[router] != 0 {
            self.wake_router(router, cycle);
        }
    }

    /// Books wavelets on a link from a cycle on; gives the earliest cycle in which the last one can cross it.
    ///
    /// With others on the link, each gets at least half of it.
    fn occupy_link(&mut self, router: usize, lane: usize, out: Direction, first: u64, count: u64) -> u64 {
        let color = self.band.routers[router].lanes[lane].color;
        let sink = self.band.sink_at.get(&(router as u32, out as u8, color));
        let interval = sink.map_or(1, |&sink| self.band.sinks[sink].interval);
        let busy = &mut self.links[router][out as usize];
        let shared = *busy > first && sink.is_none();
        *busy = (*busy).max(first) + count * interval;
        let end = *busy - interval;
        if shared { end.min(first + 2 * count - 1) } else { end }
    }

    /// What a control wavelet tells the next switch.
    fn command(&self, run: &Run) -> Option<SwitchCommand> {
        let control = self.shared.controls.get(usize::from(run.control).checked_sub(1)?)?;
        let command = control.commands.get(usize::from(run.hops)).or(control.commands.last());
        Some(command.copied().unwrap_or(SwitchCommand::Nop))
    }

    /// Lets a sender that waits for room look for it again.
    pub(super) fn tell(&mut self, sender: Sender, cycle: u64) {
        match sender {
            Sender::Pe(pe) if self.lacks_room[pe as usize] => self.wake_pe(pe as usize, cycle.max(self.now + 1)),
            Sender::Pe(_) => {}
            Sender::Host(source) => self.wake_source(source as usize, cycle.max(self.now + 1)),
        }
    }

    /// Brings a run to the other end of a link, or down the ramp; `run` has the times at which it leaves the router.
    fn deliver(&mut self, router: usize, lane: usize, out: Direction, run: &Run) {
        if out == Direction::Ramp {
            return self.deliver_down(router, lane, run);
        }
        let color = self.band.routers[router].lanes[lane].color;
        let hop = u64::from(self.shared.machine.hop_cycles);
        let arriving = run.at(run.first + hop, run.last + hop);
        if let Some(to) = self.band.neighbour(router, out) {
            if let Some(lane) = self.band.routers[to as usize].lane_of(color) {
                self.push(to as usize, lane, out.opposite(), arriving);
            }
        } else if let Some(&sink) = self.band.sink_at.get(&(router as u32, out as u8, color)) {
            host::receive(&mut self.band.sinks[sink], &arriving);
        }
    }

    /// Puts what the filter lets through into the PE's input queue.
    fn deliver_down(&mut self, router: usize, lane: usize, run: &Run) {
        let state = &mut self.band.routers[router].lanes[lane];
        let Some(input) = state.input else { return };
        let ramp = u64::from(self.shared.machine.ramp_cycles);
        let arriving = run.at(run.first + ramp, run.last + ramp);
        let kept = if run.control != 0 {
            self.shared.controls[run.control as usize - 1].task.is_some().then_some(arriving)
        } else if self.shared.routes[state.route as usize].filter.is_none() {
            Some(arriving)
        } else {
            let admitted: Vec<(u64, u32)> = (0..run.count)
                .zip(run.words())
                .filter(|&(_, &word)| state.admit(word, self.shared.routes))
                .map(|(i, &word)| (arriving.time(i), word))
                .collect();
            let times = admitted.first().zip(admitted.last()).map(|(a, b)| (a.0, b.0));
            let words = admitted.into_iter().map(|(_, word)| word).collect();
            times.map(|times| Run { hops: run.hops, ..Run::new(words, times, 0, run.sender) })
        };
        if let Some(kept) = kept {
            self.wake_pe(router, kept.first);
            self.inputs[router][input as usize].push(kept);
        }
    }

    /// How many more wavelets a router's queue may be given: what it and the queues behind it hold, and what the instructions
    /// at the ends of the way are going to take by themselves.
    pub(super) fn room(&mut self, router: usize, lane: usize, port: usize, need: u64) -> u64 {
        self.search += 1;
        self.need = need.min(PLENTY as u64) as i64;
        self.room_at(router, lane, port, 0).max(0) as u64
    }

    /// Whether the queue at the other end of a link is not full.
    pub(super) fn link_has_room(&mut self, router: usize, lane: usize, out: Direction) -> bool {
        self.search += 1;
        self.need = 1;
        self.room_behind(router, lane, out, 0) > 0
    }

    /// Room in a queue and behind it; more than is needed is not counted.
    fn room_at(&mut self, router: usize, lane: usize, port: usize, depth: usize) -> i64 {
        let machine = self.shared.machine;
        let state = &self.band.routers[router].lanes[lane];
        let capacity = if port == Direction::Ramp as usize {
            let here = |out: &&crate::machine::pe::OutputQueue| out.lane == Some(lane as u8);
            self.band.pes[router].outputs.iter().flatten().find(here).map_or(0, |out| out.capacity as i64)
        } else {
            i64::from(machine.router_queue_depth) + i64::from(machine.hop_cycles) - 1
        };
        let (rx, tx) = state.ports();
        let queue = &self.queues[router][lane][port];
        let (held, controls) = (queue.wavelets as i64, queue.controls);
        // What stands behind a control wavelet may find another switch position than the one in force.
        let open = !state.closed && rx.0 >> port & 1 == 1 && !tx.is_empty() && controls == 0;
        let open = open && depth <= self.queues.len() && capacity - held < self.need;
        let mut behind = if open { PLENTY } else { 0 };
        if behind != 0 {
            for out in each_port(tx) {
                behind = behind.min(self.room_behind(router, lane, out, depth + 1));
            }
        }
        (capacity + behind.max(0) - held).max(0)
    }

    fn room_behind(&mut self, router: usize, lane: usize, out: Direction, depth: usize) -> i64 {
        if out == Direction::Ramp {
            return self.room_below(router, lane, depth);
        }
        let state = &self.band.routers[router].lanes[lane];
        let color = state.color;
        if state.credits[out as usize] == 0 {
            return 0;
        }
        let Some(to) = self.band.neighbour(router, out) else { return PLENTY };
        let lane = self.band.routers[to as usize].lane_of(color);
        lane.map_or(0, |lane| self.room_at(to as usize, lane, out.opposite() as usize, depth))
    }

    /// How many wavelets may go down a ramp.
    fn room_below(&mut self, router: usize, lane: usize, depth: usize) -> i64 {
        let state = &self.band.routers[router].lanes[lane];
        let filter = self.shared.routes[state.route as usize].filter;
        let seen = u64::from(state.filtered);
        let input = state.input;
        let Some(Some(capacity)) = input.map(|q| self.band.pes[router].inputs[q as usize].as_ref().map(|q| q.capacity))
        else {
            return if filter.is_some() { PLENTY } else { 0 };
        };
        let queue = input.unwrap_or(0);
        let held = self.inputs[router][queue as usize].held(self.now) as i64;
        let room = capacity as i64 + self.promise(router, queue, depth) - held;
        match filter {
            None => room,
            // Which wavelets it lets through nobody knows before they are there.
            Some(Filter::Range { .. }) => PLENTY,
            Some(Filter::Count { first, pass, period }) => {
                count_room(room.max(0) as u64, seen, first.into(), pass.into(), period.into()).min(PLENTY as u64) as i64
            }
        }
    }

    /// Wavelets that the instruction at work on an input queue will take without anything else happening.
    fn promise(&mut self, pe: usize, queue: u8, depth: usize) -> i64 {
        if self.seen[pe] == self.search || depth > self.queues.len() {
            return 0;
        }
        self.seen[pe] = self.search;
        let state = &self.band.pes[pe];
        // Threads that share the datapath take turns: how fast it goes shows only then.
        if usize::from(state.running.is_some()) + state.microthreads.iter().flatten().count() > 1 {
            return 0;
        }
        let takes = |port: &Port| matches!(port, Port::FabIn { queue: q, .. } if *q == queue);
        let work = state.main.iter().chain(state.microthreads.iter().flatten());
        let Some(work) = work.into_iter().find(|work| work.srcs[..work.arity].iter().any(takes)) else { return 0 };
        // The main thread may have run ahead of the clock.
        if work.ready > self.now + u64::from(self.shared.machine.vector_startup_cycles) {
            return 0;
        }
        let mut promise = work.remaining as i64;
        for port in &work.srcs[..work.arity] {
            match port {
                Port::FabIn { queue: other, .. } if *other != queue => {
                    promise = promise.min(self.inputs[pe][*other as usize].wavelets as i64);
                }
                Port::Fifo { .. } => promise = 0,
                _ => {}
            }
        }
        match work.dst {
            Port::FabOut { queue, .. } => match state.outputs.get(queue as usize).and_then(|o| o.as_ref()?.lane) {
                Some(lane) => promise.min(self.room_at(pe, lane as usize, Direction::Ramp as usize, depth + 1)),
                None => 0,
            },
            Port::Fifo { .. } => 0,
            _ => promise,
        }
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

/// Place of a port among those of its lane that want the same output, as in the `wavelet` engine.
fn rank(port: usize) -> usize {
    (port + 1) % 5
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
