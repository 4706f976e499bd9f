//! A router's cycle: what leaves which queue, and where it goes.

use super::network::{Lane, NONE, PORTS};
use super::part::{Message, Part};
use super::queues::Wavelet;
use crate::machine::router::each_port;
use crate::machine::steps::Shared;
use waferloom_fabric::{Direction, PortSet, SwitchCommand};

/// A queue of a router.
#[derive(Clone, Copy)]
struct Place {
    /// The router's node.
    local: usize,
    lane: usize,
    queue: usize,
    port: Direction,
}

impl Part {
    /// Moves what can move in one router; says whether anything did.
    pub(super) fn run_router(&mut self, shared: &Shared<'_>, local: usize, now: u64) -> bool {
        let mut used = 0u8;
        let mut moved = false;
        let mut ripe = u64::MAX;
        let node = &self.network.nodes[local];
        let (first, lanes) = (node.first_lane as usize, node.lanes);
        for bit in node.arbitration() {
            let place = Place { local, lane: first + bit / 5, queue: first * 5 + bit, port: PORTS[bit % 5] };
            let Some(&head) = self.network.queues.front(place.queue) else { continue };
            if head.ready > now {
                ripe = ripe.min(head.ready);
                continue;
            }
            let tx = self.outputs(shared, place, &head, used);
            if tx.is_empty() {
                continue;
            }
            used |= tx.0;
            if !moved {
                let next = (bit / 5) as u8 + 1;
                self.network.nodes[local].turn = if next < lanes { next } else { 0 };
            }
            moved = true;
            self.forward(shared, place, tx, now);
        }
        // What waits for room or for a switch is looked at again when its PE has run, or news come over a link.
        if self.network.nodes[local].occupied != 0 {
            if moved {
                self.agenda.look_next(local);
            } else if ripe != u64::MAX {
                self.agenda.look(local, ripe);
            }
        }
        moved
    }

    /// The outputs that the head of a queue takes in this cycle; none if it cannot move.
    fn outputs(&self, shared: &Shared<'_>, place: Place, head: &Wavelet, used: u8) -> PortSet {
        let lane = &self.network.lanes[place.lane];
        let tx = lane.outputs;
        if !lane.inputs.contains(place.port) || tx.0 & used != 0 {
            return PortSet(0);
        }
        let has_room = |out| match out {
            Direction::Ramp => self.ramp_has_room(shared, place.lane, head),
            _ => lane.links[out as usize].room > 0,
        };
        if each_port(tx).all(has_room) { tx } else { PortSet(0) }
    }

    fn ramp_has_room(&self, shared: &Shared<'_>, lane: usize, head: &Wavelet) -> bool {
        let Lane { input, capacity, filters, .. } = self.network.lanes[lane];
        let dropped = match head.control {
            0 => filters && !self.network.switches[lane].state.would_admit(head.data, shared.routes),
            control => shared.controls[control as usize - 1].task.is_none(),
        };
        dropped || input != NONE && self.network.queues.len(input as usize) < capacity as usize
    }

    /// Sends the head of a queue on; its outputs have room.
    fn forward(&mut self, shared: &Shared<'_>, place: Place, tx: PortSet, now: u64) {
        let Place { local, lane, queue, .. } = place;
        let Some(mut wavelet) = self.network.pop(local, queue) else { return };
        self.network.passed(lane);
        self.give_back(place, now);
        if wavelet.control != 0 {
            self.obey(shared, place, &mut wavelet, now);
        }
        for out in each_port(tx) {
            if out == Direction::Ramp {
                wavelet.ready = now + u64::from(shared.machine.ramp_cycles);
                self.deliver(shared, local, lane, wavelet);
                continue;
            }
            wavelet.ready = now + u64::from(shared.machine.hop_cycles);
            let link = &mut self.network.lanes[lane].links[out as usize];
            link.room -= 1;
            let to = link.queue;
            if to == NONE {
                self.leave(place, out, wavelet);
            } else {
                let peer = self.network.beside(local, out);
                self.network.push(peer, to as usize, wavelet);
                self.agenda.look(peer, wavelet.ready);
            }
        }
    }

    /// Lets the switch obey a control wavelet.
    fn obey(&mut self, shared: &Shared<'_>, Place { local, lane, .. }: Place, wavelet: &mut Wavelet, now: u64) {
        let commands = &shared.controls[wavelet.control as usize - 1].commands;
        let command = commands.get(wavelet.hop as usize).or(commands.last()).copied().unwrap_or(SwitchCommand::Nop);
        wavelet.hop = wavelet.hop.saturating_add(1);
        if self.network.switch(lane, |state| state.obey(command, shared.routes)) {
            self.band.pes[local].teardowns |= 1 << self.network.switches[lane].state.color;
            self.schedule(local, now + 1);
        }
    }

    /// Brings a wavelet over a link that leaves the part.
    fn leave(&mut self, Place { local, lane, .. }: Place, out: Direction, wavelet: Wavelet) {
        let color = self.network.switches[lane].state.color;
        if let Some(to) = self.band.neighbour(local, out) {
            self.messages.push(Message::Wavelet { to, port: out.opposite(), color, wavelet });
        } else if let Some(&sink) = self.band.sink_at.get(&(self.band.global(local) as u32, out as u8, color)) {
            self.band.sinks[sink].receive(&wavelet, wavelet.ready);
            self.sinks.push(sink);
        }
    }

    /// Tells whoever fills a queue that it has room again.
    fn give_back(&mut self, Place { local, lane, queue, port }: Place, now: u64) {
        if port == Direction::Ramp {
            return self.schedule(local, now + 1);
        }
        let filler = self.network.queues.filler(queue);
        if filler != NONE {
            self.network.free(filler);
            let peer = self.network.beside(local, port);
            if self.network.nodes[peer].occupied != 0 {
                self.agenda.look_next(peer);
            }
            return;
        }
        let color = self.network.switches[lane].state.color;
        if let Some(to) = self.band.neighbour(local, port) {
            self.messages.push(Message::Room { to, direction: port.opposite(), color });
        } else if let Some(&source) = self.band.source_at.get(&(self.band.global(local) as u32, port as u8, color)) {
            self.band.sources[source].credits += 1;
        }
    }

    /// Puts a wavelet into the PE's input queue, unless the filter or the lack of a task drops it.
    fn deliver(&mut self, shared: &Shared<'_>, local: usize, lane: usize, wavelet: Wavelet) {
        let Lane { input, filters, .. } = self.network.lanes[lane];
        let wanted = match wavelet.control {
            0 => !filters || self.network.switches[lane].state.admit(wavelet.data, shared.routes),
            control => shared.controls[control as usize - 1].task.is_some(),
        };
        if wanted && input != NONE {
            self.network.queues.push(input as usize, wavelet);
            self.schedule(local, wavelet.ready);
        }
    }
}
