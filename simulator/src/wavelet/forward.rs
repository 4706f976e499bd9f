//! A router's cycle: what leaves which queue, and where it goes.

use super::network::Lane;
use super::part::{Message, Part};
use super::queues::{NONE, Queue, Wavelet, Way};
use crate::machine::steps::Shared;
use waferloom_fabric::{Direction, PortSet, SwitchCommand};

/// The ramp's bit in a set of ports.
const RAMP: u8 = 1 << Direction::Ramp as u8;

impl Part<'_> {
    /// Moves what can move in one router; says whether anything did.
    pub(super) fn run_router(&mut self, shared: &Shared<'_>, local: usize, now: u64) -> bool {
        let node = &self.network.nodes[local];
        let first = node.first_queue;
        let (mut used, mut ripe) = (0, u64::MAX);
        // Whether all that it holds moves on, and nothing is special.
        let mut steady = true;
        for (place, mut bits) in node.arbitration() {
            while bits != 0 {
                let number = first + place + bits.trailing_zeros();
                bits &= bits - 1;
                let queue = &self.network.queues.queues[number as usize];
                if queue.way == Way::Closed || queue.outputs & used != 0 {
                    steady = false;
                    continue;
                }
                let (outputs, turn, way) = (queue.outputs, queue.next_turn, queue.way);
                let head = self.network.queues.head(queue);
                if head.ready > now {
                    steady = false;
                    ripe = ripe.min(head.ready);
                    continue;
                }
                let plain = way == Way::Plain && head.is_data();
                let moved = if plain {
                    self.move_plain(shared, local, number, head, now)
                } else {
                    self.move_any(shared, local, number, head, now)
                };
                steady &= plain & moved;
                if moved {
                    if used == 0 {
                        self.network.nodes[local].turn = turn;
                    }
                    used |= outputs;
                }
            }
        }
        self.flows.watch(&mut self.network.nodes[local], local, steady);
        // What waits for room or for a switch is looked at again when its PE has run, or news come over a link.
        if self.network.nodes[local].holds_any() {
            if used != 0 {
                self.agenda.look_next(local);
            } else if ripe != u64::MAX {
                self.agenda.look(local, ripe);
            }
        }
        used != 0
    }

    /// Moves the data wavelet at the head of a queue with a plain way, if there is room.
    #[inline]
    fn move_plain(&mut self, shared: &Shared<'_>, local: usize, number: u32, head: Wavelet, now: u64) -> bool {
        let queues = &self.network.queues.queues;
        let Queue { to, to_node, below, filler, port, .. } = queues[number as usize];
        if to != NONE && !queues[to as usize].has_room(now) || below != NONE && !queues[below as usize].has_room(now) {
            return false;
        }
        self.network.advance(local, number, now);
        if to != NONE {
            let ready = now + u64::from(shared.machine.hop_cycles);
            self.network.push(to_node as usize, to, head.at(ready));
            self.agenda.look(to_node as usize, ready);
        }
        if port == Direction::Ramp as u8 {
            self.schedule(local, now + 1);
        } else {
            self.agenda.look_next(filler as usize);
        }
        if below != NONE {
            let ready = now + u64::from(shared.machine.ramp_cycles);
            self.network.queues.push(below, head.at(ready));
            self.schedule(local, ready);
        }
        true
    }

    /// Moves the head of any queue, if there is room.
    fn move_any(&mut self, shared: &Shared<'_>, local: usize, number: u32, mut head: Wavelet, now: u64) -> bool {
        let Queue { outputs, port, filler, .. } = self.network.queues.queues[number as usize];
        let lane = self.lane_of(local, number);
        let queues = &self.network.queues.queues;
        let has_room = |out: Direction| {
            if out == Direction::Ramp {
                return self.ramp_has_room(shared, lane, head, now);
            }
            let link = &self.network.lanes[lane].links[out as usize];
            queues.get(link.queue as usize).map_or(link.room > 0, |queue| queue.has_room(now))
        };
        if !PortSet(outputs).iter().all(has_room) {
            return false;
        }
        self.network.advance(local, number, now);
        if port == Direction::Ramp as u8 {
            self.schedule(local, now + 1);
        } else if filler != NONE {
            self.agenda.look_next(filler as usize);
        } else {
            self.give_back_outside(local, lane, Direction::ALL[usize::from(port)]);
        }
        if let Some(control) = head.control_index() {
            self.obey(shared, (local, lane), control, head.hops(), now);
            head = head.after_hop();
        }
        let ready = now + u64::from(shared.machine.hop_cycles);
        for out in PortSet(outputs & !RAMP).iter() {
            let link = &mut self.network.lanes[lane].links[out as usize];
            let (queue, peer) = (link.queue, link.node as usize);
            if queue == NONE {
                link.room -= 1;
                self.leave(local, lane, out, head.at(ready));
            } else {
                self.network.push(peer, queue, head.at(ready));
                self.agenda.look(peer, ready);
            }
        }
        if outputs & RAMP != 0 {
            self.deliver(shared, local, lane, head.at(now + u64::from(shared.machine.ramp_cycles)));
        }
        true
    }

    /// The lane of a queue of a router.
    fn lane_of(&self, local: usize, number: u32) -> usize {
        let first = self.network.nodes[local].first_lane as usize;
        let lanes = &self.network.lanes[first..];
        first + lanes.iter().position(|lane| lane.queues.contains(&number)).unwrap_or(0)
    }

    fn ramp_has_room(&self, shared: &Shared<'_>, lane: usize, head: Wavelet, now: u64) -> bool {
        let Lane { input, filters, ref state, .. } = self.network.lanes[lane];
        let has_room = input != NONE && self.network.queues.queues[input as usize].has_room(now);
        has_room
            || match head.control_index() {
                None => filters && !state.would_admit(head.word(), shared.routes),
                Some(control) => shared.controls[control].task.is_none(),
            }
    }

    /// Lets the switch of a lane obey a control wavelet, which `hops` routers have obeyed before.
    fn obey(&mut self, shared: &Shared<'_>, (local, lane): (usize, usize), control: usize, hops: usize, now: u64) {
        let commands = &shared.controls[control].commands;
        let command = commands.get(hops).or(commands.last()).copied().unwrap_or(SwitchCommand::Nop);
        if self.network.switch(lane, |state| state.obey(command, shared.routes)) {
            self.band.pes[local].teardowns |= 1 << self.network.lanes[lane].state.color;
            self.schedule(local, now + 1);
        }
    }

    /// Brings a wavelet over a link that leaves the part.
    fn leave(&mut self, local: usize, lane: usize, out: Direction, wavelet: Wavelet) {
        let color = self.network.lanes[lane].state.color;
        if let Some(to) = self.band.neighbour(local, out) {
            self.messages.push(Message::Wavelet { to, port: out.opposite(), color, wavelet });
        } else if let Some(&sink) = self.band.sink_at.get(&(self.band.global(local) as u32, out as u8, color)) {
            self.band.sinks[sink].receive(wavelet);
            self.sinks.push(sink);
        }
    }

    /// Tells another part, or the host, that the queue that it fills has room again.
    fn give_back_outside(&mut self, local: usize, lane: usize, port: Direction) {
        let color = self.network.lanes[lane].state.color;
        if let Some(to) = self.band.neighbour(local, port) {
            self.messages.push(Message::Room { to, direction: port.opposite(), color });
        } else if let Some(&source) = self.band.source_at.get(&(self.band.global(local) as u32, port as u8, color)) {
            self.band.sources[source].credits += 1;
        }
    }

    /// Puts a wavelet into the PE's input queue, unless the filter or the lack of a task drops it.
    fn deliver(&mut self, shared: &Shared<'_>, local: usize, lane: usize, wavelet: Wavelet) {
        let Lane { input, filters, ref mut state, .. } = self.network.lanes[lane];
        let wanted = match wavelet.control_index() {
            None => !filters || state.admit(wavelet.word(), shared.routes),
            Some(control) => shared.controls[control].task.is_some(),
        };
        if wanted && input != NONE {
            self.network.queues.push(input, wavelet);
            self.schedule(local, wavelet.ready);
        }
    }
}
