//! Runs at the routers: from hop to hop, where something on the way may hold them up.

use super::Stream;
use super::calendar::Event;
use super::host;
use super::nodes::{End, NONE};
use super::payload::Payload;
use super::run::{Run, Sender};
use crate::machine::router::Lane;
use waferloom_fabric::{Direction, SwitchCommand};

/// An outgoing link of a router, or its ramp downwards.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Link {
    /// First cycle in which everything that the link has been given will have crossed.
    busy: u64,
    /// Wavelets that have been sent over it.
    pub(super) sent: u64,
}

impl Stream<'_> {
    pub(super) fn lane(&self, node: usize) -> &Lane {
        let node = &self.nodes.list[node];
        &self.band.routers[node.router as usize].lanes[node.lane as usize]
    }

    /// Whether a teardown has closed the route.
    pub(super) fn closed(&self, node: usize) -> bool {
        !self.nodes.list[node].determinate && self.lane(node).closed
    }

    /// Sends a run off from a port: to all its ends at once if that can be, else into the queue there.
    pub(super) fn send(&mut self, node: usize, port: Direction, run: Run) {
        if !self.waits_at(node, port as usize) && self.express(node, port as usize, run.count, run.control).is_some() {
            self.bring(&run);
        } else {
            self.push(node, port, run);
        }
    }

    /// Whether something waits at a port.
    pub(super) fn waits_at(&self, node: usize, port: usize) -> bool {
        self.nodes.list[node].waiting >> port & 1 == 1
    }

    /// Puts a run into a router's queue.
    pub(super) fn push(&mut self, node: usize, port: Direction, run: Run) {
        let slot = &mut self.nodes.list[node];
        slot.waiting |= 1 << port as u8;
        slot.queues.get_or_insert_default()[port as usize].push(run);
        let router = slot.router as usize;
        self.occupied[router] |= 1 << (slot.lane as usize * 5 + rank(port as usize));
        self.wake_router(router, run.first);
    }

    /// When the head of a queue may leave; `None` when the queue is empty.
    fn due(&self, node: usize, port: usize) -> Option<u64> {
        let node = &self.nodes.list[node];
        let due = node.queues.as_ref()?[port].due()?;
        Some(if node.determinate { due.max(node.free) } else { due })
    }

    fn head(&self, node: usize, port: usize) -> Option<&Run> {
        self.nodes.list[node].queues.as_ref()?[port].head()
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
                let (node, port) = (self.nodes.at(router, bit / 5), (bit % 5 + 4) % 5);
                let slot = &self.nodes.list[node];
                if slot.rx.0 >> port & 1 == 0 || slot.tx.is_empty() || self.closed(node) || !self.has_ways(node) {
                    continue;
                }
                let Some(due) = self.due(node, port) else { continue };
                if due > self.now {
                    next = next.min(due);
                    continue;
                }
                let Some(&head) = self.head(node, port) else { continue };
                // What finds no room is looked at again when somebody behind has taken something.
                let through = self.express(node, port, head.count, head.control).is_some();
                let count = if through { head.count } else { self.passes(node, head.count) };
                if count > 0 {
                    again |= self.forward(node, port, count, through);
                    next = next.min(self.due(node, port).unwrap_or(u64::MAX));
                }
            }
        }
        if next != u64::MAX {
            self.wake_router(router, next.max(self.now + 1));
        }
    }

    /// Whether something can take wavelets at each output in force.
    fn has_ways(&self, node: usize) -> bool {
        let slot = &self.nodes.list[node];
        slot.tx.iter().all(|out| match out {
            Direction::Ramp => slot.input != NONE || self.drops_all(node),
            _ => slot.next[out as usize] != End::Nothing,
        })
    }

    /// Whether the head of a lane would be dropped at the ramp in any case. Without a queue that listens nothing else may pass.
    pub(super) fn drops_all(&self, node: usize) -> bool {
        let state = self.lane(node);
        let Some(queues) = &self.nodes.list[node].queues else { return true };
        let dropped = |run: &Run| match run.control {
            0 => {
                let words = run.words(&self.payloads);
                // Nothing unknown comes to a filter by value.
                let word = |i: u64| words.get(i as usize).copied().unwrap_or(0);
                (0..run.count).all(|i| !state.would_admit(word(i), self.shared.routes))
            }
            control => self.shared.controls[control as usize - 1].task.is_none(),
        };
        queues.iter().filter_map(|q| q.head()).all(dropped)
    }

    /// Sends wavelets at the head of a queue on, to the ends of the way that has been found or only to the next routers; says
    /// whether the switch has moved.
    fn forward(&mut self, node: usize, port: usize, count: u64, through: bool) -> bool {
        let Some(due) = self.due(node, port) else { return false };
        let slot = &mut self.nodes.list[node];
        let (router, lane, tx) = (slot.router as usize, slot.lane as usize, slot.tx);
        let Some(queue) = slot.queues.as_mut().map(|queues| &mut queues[port]) else { return false };
        let Some(mut run) = queue.take(count, &mut self.payloads) else { return false };
        let is_empty = queue.head().is_none();
        let first = due.max(self.now);
        if is_empty {
            slot.waiting &= !(1 << port);
            self.occupied[router] &= !(1 << (lane * 5 + rank(port)));
        }
        if let Some(before) = self.band.neighbour(router, Direction::ALL[port]) {
            self.wake_occupied(before as usize, first + 1);
        }
        self.tell(run.sender, first + u64::from(run.hops) + 1);
        run.first = first;
        run.last = run.last.max(first + run.count - 1);
        if through {
            self.bring(&run);
            return run.control != 0;
        }
        for out in tx.iter() {
            self.links[router][out as usize].sent += run.count;
            run.last = run.last.max(self.occupy_link(node, out, first, run.count));
        }
        let slot = &mut self.nodes.list[node];
        slot.free = run.last + 1;
        if let Some(queues) = &mut slot.queues {
            queues[port].free = run.last + 1;
        }
        let command = (run.control != 0).then(|| self.command(run.control, run.hops));
        run.hops = run.hops.saturating_add(1);
        if let Some(command) = command
            && self.obey(node, command, first)
        {
            self.band.pes[router].teardowns |= 1 << self.lane(node).color;
            self.wake_pe(router, first + 1);
        }
        self.pass_on(node, tx, &run);
        command.is_some()
    }

    /// Brings a run that leaves a router to the other ends of its links, and down the ramp.
    fn pass_on(&mut self, node: usize, tx: waferloom_fabric::PortSet, run: &Run) {
        let (hop, ramp) = (u64::from(self.shared.machine.hop_cycles), u64::from(self.shared.machine.ramp_cycles));
        let arriving = run.at(run.first + hop, run.last + hop);
        for out in tx.iter() {
            if out == Direction::Ramp {
                self.deliver_down(node, &run.at(run.first + ramp, run.last + ramp));
                continue;
            }
            match self.nodes.list[node].next[out as usize] {
                End::Node(next) => {
                    self.payloads.share(run.payload);
                    self.push(next as usize, out.opposite(), arriving);
                }
                End::Sink(sink) => host::receive(&mut self.band.sinks[sink as usize], &arriving, &self.payloads),
                End::Nothing => {}
            }
        }
        self.payloads.release(run.payload);
    }

    /// Lets a router that holds something look for room again.
    pub(super) fn wake_occupied(&mut self, router: usize, cycle: u64) {
        if self.occupied[router] != 0 {
            self.wake_router(router, cycle);
        }
    }

    pub(super) fn wake_router(&mut self, router: usize, cycle: u64) {
        if cycle < self.router_wakes[router] {
            self.router_wakes[router] = cycle;
            self.calendar.push(cycle, Event::Router(router as u32));
        }
    }

    /// Books wavelets on a link from a cycle on; gives the earliest cycle in which the last one can cross it.
    ///
    /// With others on the link, each gets at least half of it.
    pub(super) fn occupy_link(&mut self, node: usize, out: Direction, first: u64, count: u64) -> u64 {
        let node = &self.nodes.list[node];
        let sink = match node.next.get(out as usize) {
            Some(End::Sink(sink)) => Some(*sink as usize),
            _ => None,
        };
        let interval = sink.map_or(1, |sink| self.band.sinks[sink].interval);
        let busy = &mut self.links[node.router as usize][out as usize].busy;
        let shared = *busy > first && sink.is_none();
        *busy = (*busy).max(first) + count * interval;
        let end = *busy - interval;
        if shared { end.min(first + 2 * count - 1) } else { end }
    }

    /// What a control wavelet tells the switch that it comes to after some hops.
    pub(super) fn command(&self, control: u16, hops: u16) -> SwitchCommand {
        let commands = &self.shared.controls[control as usize - 1].commands;
        commands.get(usize::from(hops)).or(commands.last()).copied().unwrap_or(SwitchCommand::Nop)
    }

    /// Lets a sender that waits for room look for it again.
    pub(super) fn tell(&mut self, sender: Sender, cycle: u64) {
        match sender {
            Sender::Pe(pe) if self.lacks_room[pe as usize] => self.wake_pe(pe as usize, cycle.max(self.now + 1)),
            Sender::Pe(_) => {}
            Sender::Host(source) => self.wake_source(source as usize, cycle.max(self.now + 1)),
        }
    }

    /// Puts what the filter lets through into the PE's input queue.
    pub(super) fn deliver_down(&mut self, node: usize, arriving: &Run) {
        let slot = &self.nodes.list[node];
        let (router, input) = (slot.router as usize, slot.input);
        if input == NONE {
            return;
        }
        if arriving.control == 0 && !slot.filtered {
            return self.deliver(router, input, arriving);
        }
        if arriving.control == 0 {
            if let Some(kept) = self.filter(node, arriving) {
                self.deliver(router, input, &kept);
                self.payloads.release(kept.payload);
            }
        } else if self.shared.controls[arriving.control as usize - 1].task.is_some() {
            self.deliver(router, input, arriving);
        }
    }

    /// Puts a run into a PE's input queue.
    #[inline]
    fn deliver(&mut self, router: usize, input: u32, run: &Run) {
        self.payloads.share(run.payload);
        self.inputs[input as usize].push(*run);
        if self.listens[router] >> (input - self.queues.first_input(router)) & 1 == 1 {
            self.wake_pe(router, run.first);
        }
    }

    /// The wavelets of a run that a filter lets through.
    fn filter(&mut self, node: usize, arriving: &Run) -> Option<Run> {
        let slot = &self.nodes.list[node];
        let state = &mut self.band.routers[slot.router as usize].lanes[slot.lane as usize];
        let mut words = self.payloads.empty();
        let mut times = None;
        let all = arriving.words(&self.payloads);
        for i in 0..arriving.count {
            // Nothing unknown comes to a filter by value.
            let word = all.get(i as usize).copied().unwrap_or(0);
            if state.admit(word, self.shared.routes) {
                let time = arriving.time(i);
                times = Some(times.map_or((time, time), |(first, _)| (first, time)));
                words.push(word);
            }
        }
        let (count, times) = (words.len(), times?);
        let payload = if arriving.is_unknown() { Payload::UNKNOWN } else { self.payloads.keep(words) };
        Some(Run { hops: arriving.hops, ..Run::new(payload, count, times, 0, arriving.sender) })
    }
}

/// Place of a port among those of its lane that want the same output, as in the `wavelet` engine.
fn rank(port: usize) -> usize {
    (port + 1) % 5
}
