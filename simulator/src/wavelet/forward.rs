//! A router's cycle: what leaves which queue, and where it goes.

use super::network::{Lane, NONE, Network, PORTS, rank};
use super::part::{Message, Part};
use super::queues::Wavelet;
use crate::machine::router::each_port;
use crate::machine::steps::Shared;
use waferloom_fabric::{Direction, PortSet, SwitchCommand};

/// The ramp's bit in a set of ports.
const RAMP: u8 = 1 << Direction::Ramp as u8;

/// A queue of a router.
#[derive(Clone, Copy)]
struct Place {
    /// The router's node.
    local: usize,
    lane: usize,
    port: Direction,
}

impl Part {
    /// Moves what can move in one router; says whether anything did.
    pub(super) fn run_router(&mut self, shared: &Shared<'_>, local: usize, now: u64) -> bool {
        let node = &self.network.nodes[local];
        let (first, lanes) = (node.first_lane as usize, node.lanes);
        // Lanes from `turn` on, then those before it.
        let before = node.occupied & ((1 << node.turn) - 1);
        let (mut bits, mut then) = (node.occupied ^ before, before);
        let (mut used, mut ripe) = (0, u64::MAX);
        while bits | then != 0 {
            if bits == 0 {
                (bits, then) = (then, 0);
            }
            let index = bits.trailing_zeros() as u8;
            bits &= bits - 1;
            let lane = first + usize::from(index);
            let mut ranks = self.network.lanes[lane].occupied;
            while ranks != 0 {
                let place = Place { local, lane, port: PORTS[ranks.trailing_zeros() as usize] };
                ranks &= ranks - 1;
                match self.move_head(shared, place, used, now) {
                    Ok(tx) => {
                        if used == 0 {
                            self.network.nodes[local].turn = if index + 1 < lanes { index + 1 } else { 0 };
                        }
                        used |= tx.0;
                    }
                    Err(ready) => ripe = ripe.min(ready),
                }
            }
        }
        // What waits for room or for a switch is looked at again when its PE has run, or news come over a link.
        if self.network.nodes[local].occupied != 0 {
            if used != 0 {
                self.agenda.look_next(local);
            } else if ripe != u64::MAX {
                self.agenda.look(local, ripe);
            }
        }
        used != 0
    }

    /// Moves the head of a queue, if it can move: gives the outputs that it took, or the cycle in which it can by itself.
    #[inline]
    fn move_head(&mut self, shared: &Shared<'_>, place: Place, used: u8, now: u64) -> Result<PortSet, u64> {
        let Place { local, lane: index, port } = place;
        let Network { queues, lanes, nodes, .. } = &mut self.network;
        let lane = &lanes[index];
        let (tx, rank) = (lane.outputs, rank(port));
        if lane.takes >> rank & 1 == 0 || tx.0 & used != 0 {
            return Err(u64::MAX);
        }
        let queue = index * 5 + rank;
        let Some(&head) = queues.front(queue) else { return Err(u64::MAX) };
        if head.ready > now {
            return Err(head.ready);
        }
        let mut links = tx.0 & !RAMP;
        while links != 0 {
            if !lane.links[links.trailing_zeros() as usize & 3].has_room(now) {
                return Err(u64::MAX);
            }
            links &= links - 1;
        }
        let filler = lane.links[port as usize & 3].lane;
        if !lane.plain || head.control_index().is_some() || port != Direction::Ramp && filler == NONE {
            if tx.0 & RAMP != 0 && !self.ramp_has_room(shared, index, head) {
                return Err(u64::MAX);
            }
            self.forward(shared, place, tx, now);
            return Ok(tx);
        }
        let input = lane.input as usize;
        if tx.0 & RAMP != 0 && queues.len(input) >= lane.capacity as usize {
            return Err(u64::MAX);
        }
        let lane = &mut lanes[index];
        lane.moved += 1;
        if !queues.advance(queue) {
            lane.occupied &= !(1 << rank);
            if lane.occupied == 0 {
                let node = &mut nodes[local];
                node.occupied &= !(1 << (index as u32 - node.first_lane));
            }
        }
        let ready = now + u64::from(shared.machine.hop_cycles);
        let mut links = tx.0 & !RAMP;
        while links != 0 {
            let out = Direction::ALL[links.trailing_zeros() as usize & 3];
            links &= links - 1;
            let link = &mut self.network.lanes[index].links[out as usize];
            link.room -= 1;
            let to = link.lane as usize;
            let peer = self.network.beside(local, out);
            self.network.push(peer, to, out.opposite(), head.at(ready));
            self.agenda.look(peer, ready);
        }
        if port == Direction::Ramp {
            self.schedule(local, now + 1);
        } else {
            self.network.lanes[filler as usize].links[port.opposite() as usize & 3].give_back(now);
            let peer = self.network.beside(local, port);
            if self.network.nodes[peer].occupied != 0 {
                self.agenda.look_next(peer);
            }
        }
        if tx.0 & RAMP != 0 {
            let ready = now + u64::from(shared.machine.ramp_cycles);
            self.network.queues.push(input, head.at(ready));
            self.schedule(local, ready);
        }
        Ok(tx)
    }

    fn ramp_has_room(&self, shared: &Shared<'_>, lane: usize, head: Wavelet) -> bool {
        let Lane { input, capacity, filters, .. } = self.network.lanes[lane];
        let has_room = input != NONE && self.network.queues.len(input as usize) < capacity as usize;
        has_room
            || match head.control_index() {
                None => filters && !self.network.switches[lane].state.would_admit(head.word(), shared.routes),
                Some(control) => shared.controls[control].task.is_none(),
            }
    }

    /// Sends the head of any queue on; its outputs have room.
    fn forward(&mut self, shared: &Shared<'_>, place: Place, tx: PortSet, now: u64) {
        let Place { local, lane, port } = place;
        let Some(mut wavelet) = self.network.pop(local, lane, port) else { return };
        self.network.lanes[lane].moved += 1;
        self.give_back(place, now);
        if let Some(control) = wavelet.control_index() {
            self.obey(shared, place, control, wavelet.hops(), now);
            wavelet = wavelet.after_hop();
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
            let to = link.lane;
            if to == NONE {
                self.leave(place, out, wavelet);
            } else {
                let peer = self.network.beside(local, out);
                self.network.push(peer, to as usize, out.opposite(), wavelet);
                self.agenda.look(peer, wavelet.ready);
            }
        }
    }

    /// Lets the switch obey a control wavelet, which `hops` routers have obeyed before.
    fn obey(&mut self, shared: &Shared<'_>, place: Place, control: usize, hops: usize, now: u64) {
        let Place { local, lane, .. } = place;
        let commands = &shared.controls[control].commands;
        let command = commands.get(hops).or(commands.last()).copied().unwrap_or(SwitchCommand::Nop);
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
            self.band.sinks[sink].receive(wavelet);
            self.sinks.push(sink);
        }
    }

    /// Tells whoever fills a queue that it has room again.
    fn give_back(&mut self, place: Place, now: u64) {
        let Place { local, lane, port } = place;
        if port == Direction::Ramp {
            return self.schedule(local, now + 1);
        }
        let filler = self.network.lanes[lane].links[port as usize].lane;
        if filler == NONE {
            return self.give_back_outside(place);
        }
        self.network.lanes[filler as usize].links[port.opposite() as usize].give_back(now);
        self.agenda.look_next(self.network.beside(local, port));
    }

    /// The same when that is another part, or the host.
    fn give_back_outside(&mut self, Place { local, lane, port }: Place) {
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
        let wanted = match wavelet.control_index() {
            None => !filters || self.network.switches[lane].state.admit(wavelet.word(), shared.routes),
            Some(control) => shared.controls[control].task.is_some(),
        };
        if wanted && input != NONE {
            self.network.queues.push(input as usize, wavelet);
            self.schedule(local, wavelet.ready);
        }
    }
}
