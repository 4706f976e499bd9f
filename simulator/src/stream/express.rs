//! Runs that are brought to all their ends at once, because nothing on the way can hold them up.

use super::Stream;
use super::host;
use super::nodes::{End, NONE, Nodes};
use super::run::Run;
use waferloom_fabric::{Direction, SwitchCommand};

/// A node on the way of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leg {
    node: u32,
    /// Port at which it is entered.
    port: u8,
    /// Index of the leg before, for all but the first.
    before: u32,
    /// Links from the first node.
    hops: u16,
    /// Wavelets that the way up to here holds, those in this node's queue included.
    capacity: u64,
    /// When the first and the last wavelet of the run at hand leave it.
    times: (u64, u64),
}

impl Stream<'_> {
    /// Whether wavelets at a port may be brought to all ends of their way: the switches stand so that they can go there,
    /// nothing is before them, and whoever takes them has room for them or is about to take them.
    ///
    /// Leaves the way in [`Stream::legs`]. Gives the earliest cycle in which the last of them can be sent: a receiver may
    /// be known to take them only later on.
    pub(super) fn express(&mut self, node: usize, port: usize, count: u64, control: u16) -> Option<u64> {
        self.search += 1;
        self.nodes.find_way(node, port, self.link_capacity, &mut self.legs).ok()?;
        let mut earliest = 0;
        for index in 0..self.legs.len() {
            let leg = self.legs[index];
            if self.nodes.list[leg.node as usize].tx.contains(Direction::Ramp) {
                earliest = earliest.max(self.taken_below(leg, count, control)?);
            }
        }
        Some(earliest)
    }

    /// Whether a PE at the end of a way takes wavelets; gives the earliest cycle in which the last of them can be sent.
    fn taken_below(&mut self, leg: Leg, count: u64, control: u16) -> Option<u64> {
        let node = &self.nodes.list[leg.node as usize];
        let (input, filtered) = (node.input, node.filtered);
        if control != 0 && self.shared.controls[control as usize - 1].task.is_none() {
            return Some(0);
        }
        if input == NONE {
            return None;
        }
        let queue = &self.inputs[input as usize];
        let held = queue.held(self.now);
        if held + count <= queue.capacity {
            return Some(0);
        }
        if control != 0 {
            return None;
        }
        if filtered {
            return (self.room_below(leg.node as usize, count, 0) >= count as i64).then_some(0);
        }
        let capacity = leg.capacity + queue.capacity;
        let need = held + count - queue.capacity;
        let (promise, ready) = self.promise(leg.node as usize, need, 0, true);
        if promise < need {
            return None;
        }
        let now = self.now + u64::from(self.shared.machine.vector_startup_cycles);
        // The last one can be sent when what is before it and finds no room on the way has been taken, a wavelet a cycle; that
        // there is room again is known a cycle later at each router.
        let excess = (held + count).saturating_sub(capacity);
        if ready <= now {
            return Some(0);
        }
        (excess > 0).then(|| ready + excess + u64::from(leg.hops))
    }

    /// Brings a run along the way in [`Stream::legs`].
    pub(super) fn bring(&mut self, run: &Run) {
        let (hop, ramp) = (u64::from(self.shared.machine.hop_cycles), u64::from(self.shared.machine.ramp_cycles));
        for index in 0..self.legs.len() {
            let leg = self.legs[index];
            let (first, mut last) = self.nodes.leaving(&self.legs, index, run, hop);
            let node = &self.nodes.list[leg.node as usize];
            let (router, tx, booked) = (node.router as usize, node.tx, node.booked);
            for out in tx.iter() {
                self.links[router][out as usize].sent += run.count;
                if booked.contains(out) {
                    last = last.max(self.occupy_link(leg.node as usize, out, first, run.count));
                }
            }
            self.nodes.list[leg.node as usize].free = last + 1;
            self.legs[index].times = (first, last);
            if run.control != 0 {
                let command = self.command(run.control, run.hops + leg.hops);
                self.obey(leg.node as usize, command, first);
            }
            let passed = Run { hops: run.hops + leg.hops + 1, ..*run };
            for out in tx.iter() {
                if out == Direction::Ramp {
                    self.deliver_down(leg.node as usize, &passed.at(first + ramp, last + ramp));
                } else if let End::Sink(sink) = self.nodes.list[leg.node as usize].next[out as usize] {
                    let sink = &mut self.band.sinks[sink as usize];
                    host::receive(sink, &passed.at(first + hop, last + hop), &self.payloads);
                }
            }
        }
        self.payloads.release(run.payload);
    }

    /// Lets a switch obey a command; says whether a teardown task is due.
    pub(super) fn obey(&mut self, node: usize, command: SwitchCommand, cycle: u64) -> bool {
        let slot = &mut self.nodes.list[node];
        let (router, lane) = (slot.router as usize, slot.lane as usize);
        let state = &mut self.band.routers[router].lanes[lane];
        let teardown = state.obey(command, self.shared.routes);
        (slot.rx, slot.tx) = state.ports();
        if slot.waiting != 0 {
            self.wake_router(router, cycle + 1);
        }
        teardown
    }
}

impl Nodes {
    /// Finds the way from a port of a node to all its ends, into `legs`, if the switches stand so that a run may go there at
    /// once and nothing is before it. The error is a node where it may not.
    fn find_way(&mut self, node: usize, port: usize, link_capacity: u64, legs: &mut Vec<Leg>) -> Result<(), u32> {
        self.search += 1;
        legs.clear();
        let capacity = match self.list.get(node) {
            Some(first) if port == Direction::Ramp as usize => first.ramp_capacity,
            Some(_) => link_capacity,
            None => return Err(node as u32),
        };
        legs.push(Leg { node: node as u32, port: port as u8, before: 0, hops: 0, capacity, times: (0, 0) });
        let mut index = 0;
        while let Some(&leg) = legs.get(index) {
            let node = &mut self.list[leg.node as usize];
            let blocked = index > 0 && node.waiting >> leg.port & 1 == 1;
            if blocked
                || !node.determinate
                || node.seen == self.search
                || node.rx.0 >> leg.port & 1 == 0
                || node.tx.is_empty()
            {
                return Err(leg.node);
            }
            node.seen = self.search;
            for out in (0..4).filter(|out| node.tx.0 >> out & 1 == 1) {
                match node.next[out] {
                    End::Node(next) => legs.push(Leg {
                        node: next,
                        port: Direction::ALL[out].opposite() as u8,
                        before: index as u32,
                        hops: leg.hops + 1,
                        capacity: leg.capacity + link_capacity,
                        times: (0, 0),
                    }),
                    End::Sink(_) => {}
                    End::Nothing => return Err(leg.node),
                }
            }
            index += 1;
        }
        Ok(())
    }

    /// When the first and the last wavelet of a run can leave a leg, by the legs before it.
    fn leaving(&self, legs: &[Leg], index: usize, run: &Run, hop_cycles: u64) -> (u64, u64) {
        let leg = &legs[index];
        let (first, last) = if index == 0 {
            (run.first, run.last)
        } else {
            let (first, last) = legs[leg.before as usize].times;
            (first + hop_cycles, last + hop_cycles)
        };
        let first = first.max(self.list[leg.node as usize].free);
        (first, last.max(first + run.count - 1))
    }
}
