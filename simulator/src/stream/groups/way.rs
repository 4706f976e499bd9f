//! Ways of wavelets: which routers a run passes, when, and what it leaves in the queues at their ends.

use super::super::host;
use super::super::legs::Leg;
use super::super::nodes::{End, NONE};
use super::super::payload::Payload;
use super::super::run::{Run, Sender};
use super::flight::LANDED;
use super::{Groups, Stop};
use crate::machine::router::each_port;
use std::collections::VecDeque;
use waferloom_fabric::{Direction, SwitchCommand};

/// A run in an input queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming {
    pub(super) run: Run,
    /// The flight that it belongs to, which may end later than the run says.
    pub(super) flight: u32,
    /// When its last wavelet would be there if nothing but the sender held it up, and the sender nothing.
    pub(super) unhindered: u64,
}

/// Somebody can send some hops after a wavelet has been taken.
#[derive(Clone, Copy, Debug)]
struct Room {
    /// Wavelets that have to be taken from the queue, from the start of the program on.
    taken: u64,
    hops: u64,
    sends: Sends,
}

/// What can be sent when there is room.
#[derive(Clone, Copy, Debug)]
enum Sends {
    /// The last wavelet of a flight.
    LastOf(u32),
    /// The first wavelet of an item by a source of the host.
    Item { source: u32, item: u32 },
}

/// An input queue of a PE.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    pub(super) runs: VecDeque<Incoming>,
    rooms: VecDeque<Room>,
    /// Wavelets that it has room for.
    capacity: u64,
    /// Wavelets in it.
    pub(super) wavelets: u64,
    /// Wavelets that have been taken from it.
    taken: u64,
    /// The wavelets that were taken last: how many had been taken before, and when the first of them was.
    last: (u64, u64),
    /// Whether its PE waits for something to come.
    pub(super) is_awaited: bool,
}

impl Queue {
    pub(super) fn with_capacity(capacity: u64) -> Self {
        Self { capacity, ..Self::default() }
    }

    /// Takes the first `count` wavelets of the head, or all that it has.
    pub(super) fn take(&mut self, count: u64) -> Option<Incoming> {
        let head = self.runs.front_mut()?;
        let taken = if count < head.run.count {
            let part = head.run.head(count);
            head.run.skip(count);
            Incoming { run: part, ..*head }
        } else {
            self.runs.pop_front()?
        };
        self.wavelets -= taken.run.count;
        Some(taken)
    }
}

impl Groups<'_> {
    /// Finds the way from a port of a router to all its ends, into [`Groups::legs`]. The error is a router whose switch does not
    /// stand so.
    pub(super) fn find_way(&mut self, node: usize, port: Direction, is_control: bool) -> Result<(), u32> {
        self.nodes.find_way(node, port as usize, self.link_capacity, &mut self.legs)?;
        // Nobody takes what goes down a ramp without a queue.
        let is_stuck = |leg: &&Leg| {
            let node = &self.nodes.list[leg.node as usize];
            node.tx.contains(Direction::Ramp) && node.input == NONE && !is_control
        };
        self.legs.iter().find(is_stuck).map_or(Ok(()), |leg| Err(leg.node))
    }

    /// Brings a run along the way in [`Groups::legs`].
    pub(super) fn bring(&mut self, run: &Run, flight: u32) {
        let (hop, ramp) = (u64::from(self.shared.machine.hop_cycles), u64::from(self.shared.machine.ramp_cycles));
        for index in 0..self.legs.len() {
            let leg = self.legs[index];
            let (first, mut last) = self.nodes.leaving(&self.legs, index, run, hop);
            let node = &self.nodes.list[leg.node as usize];
            let (router, tx, booked) = (node.router as usize, node.tx, node.booked);
            for out in each_port(tx) {
                self.sent[router][out as usize] += run.count;
                if booked.contains(out) {
                    last = last.max(self.occupy_link(leg.node as usize, out, first, run.count));
                }
            }
            self.nodes.list[leg.node as usize].free = last + 1;
            self.legs[index].times = (first, last);
            if run.control != 0 {
                let commands = &self.shared.controls[run.control as usize - 1].commands;
                let command = commands.get(usize::from(leg.hops)).or(commands.last()).copied();
                self.obey(leg.node as usize, command.unwrap_or(SwitchCommand::Nop));
            }
            for out in each_port(tx) {
                if out == Direction::Ramp {
                    let unhindered = run.last + u64::from(leg.hops) * hop + ramp;
                    self.arrive(&leg, &run.at(first + ramp, last + ramp), flight, unhindered);
                } else if let End::Sink(sink) = self.nodes.list[leg.node as usize].next[out as usize] {
                    let sink = &mut self.band.sinks[sink as usize];
                    host::receive(sink, &run.at(first + hop, last + hop), &self.payloads);
                }
            }
        }
        self.payloads.release(run.payload);
        // What leaves the first router late has found room in the queue at its ramp alone.
        if let Some(leg) = self.legs.first()
            && flight != LANDED
        {
            let late = (leg.times.1 - run.last).saturating_sub(leg.capacity);
            self.flights.raise(flight, (run.last + late).saturating_sub(1 + ramp));
        }
    }

    /// Lets a switch obey a command, and PEs look again that wait for it.
    fn obey(&mut self, node: usize, command: SwitchCommand) {
        if command == SwitchCommand::Nop {
            return;
        }
        let slot = &mut self.nodes.list[node];
        let state = &mut self.band.routers[slot.router as usize].lanes[slot.lane as usize];
        state.obey(command, self.shared.routes);
        (slot.rx, slot.tx) = state.ports();
        for pe in self.wait_for_switch.remove(&(node as u32)).unwrap_or_default() {
            self.schedule.wake(pe);
        }
    }

    /// Puts a run into the input queue at an end of its way.
    fn arrive(&mut self, leg: &Leg, run: &Run, flight: u32, unhindered: u64) {
        let node = &self.nodes.list[leg.node as usize];
        let (router, input) = (node.router, node.input);
        if input == NONE || run.control != 0 {
            return;
        }
        let queue = &mut self.queues[input as usize];
        let hops = u64::from(leg.hops);
        // Of all wavelets so far, those beyond what the way holds have to be taken before the last can be sent.
        let needed = (queue.taken + queue.wavelets + run.count).saturating_sub(leg.capacity + queue.capacity);
        let (before, at) = queue.last;
        if flight != LANDED && needed > queue.taken {
            queue.rooms.push_back(Room { taken: needed, hops, sends: Sends::LastOf(flight) });
            self.flights.expect(flight);
        } else if flight != LANDED && needed > before {
            self.flights.raise(flight, at + (needed - before) + hops);
        }
        self.payloads.share(run.payload);
        self.flights.share(flight);
        queue.wavelets += run.count;
        queue.runs.push_back(Incoming { run: *run, flight, unhindered });
        if std::mem::take(&mut queue.is_awaited) {
            self.schedule.wake(router);
        }
    }

    /// Books that wavelets are taken from a queue, one a cycle from `cycle` on, and lets those know who wait for room.
    pub(super) fn book_taking(&mut self, input: usize, count: u64, cycle: u64) {
        let queue = &mut self.queues[input];
        let before = queue.taken;
        queue.taken += count;
        queue.last = (before, cycle);
        while let Some(&room) = self.queues[input].rooms.front()
            && room.taken <= before + count
        {
            self.queues[input].rooms.pop_front();
            let bound = cycle + (room.taken - before) + room.hops;
            match room.sends {
                Sends::LastOf(flight) => {
                    if self.flights.known(flight, bound) {
                        self.land(flight);
                    }
                }
                Sends::Item { source, item } => self.begin_item(source, item, bound),
            }
        }
    }

    /// A source of the host sends the first wavelet of an item, when its pace allows it and there is room.
    fn begin_item(&mut self, source: u32, item: u32, room: u64) {
        let source = &mut self.band.sources[source as usize];
        let pace = u64::from(item) * source.item_wavelets as u64 * source.interval;
        source.item_starts.push(pace.max(room));
    }

    /// Sends what the host has to send, at its own pace: it waits in the queues at the edge until it is taken.
    pub(super) fn feed(&mut self) -> Result<(), Stop> {
        for index in 0..self.band.sources.len() {
            let source = &mut self.band.sources[index];
            let (node, port, interval) = (self.nodes.at(source.local, source.lane), source.direction, source.interval);
            let (words, item_wavelets) = (std::mem::take(&mut source.data), source.item_wavelets);
            source.next = words.len();
            let count = words.len();
            if count == 0 {
                continue;
            }
            self.find_way(node, port, false).map_err(|_| Stop::Unfit)?;
            let [leg] = self.legs[..] else { return Err(Stop::Unfit) };
            let input = self.nodes.list[node].input;
            let Some(queue) = self.queues.get_mut(input as usize) else { return Err(Stop::Unfit) };
            let room = leg.capacity + queue.capacity;
            for item in 0..count.div_ceil(item_wavelets) {
                let sends = Sends::Item { source: index as u32, item: item as u32 };
                let taken = ((item * item_wavelets) as u64 + 1).saturating_sub(room);
                if taken > 0 {
                    self.queues[input as usize].rooms.push_back(Room { taken, hops: 0, sends });
                } else {
                    self.begin_item(index as u32, item as u32, 0);
                }
            }
            let times = (1, (count as u64 - 1) * interval + 1);
            let payload = if self.floats_come_in { Payload::UNKNOWN } else { self.payloads.keep(words) };
            let run = Run::new(payload, count, times, 0, Sender::Host(index as u32));
            self.bring(&run, LANDED);
        }
        Ok(())
    }

    /// Books wavelets on a link from a cycle on; gives the earliest cycle in which the last one can cross it.
    fn occupy_link(&mut self, node: usize, out: Direction, first: u64, count: u64) -> u64 {
        let slot = &self.nodes.list[node];
        let Some(link) = self.links.of(node, out) else { return first + count - 1 };
        match slot.next.get(out as usize) {
            Some(End::Sink(sink)) => link.at_intervals(first, count, self.band.sinks[*sink as usize].interval),
            _ => link.share(first, count),
        }
    }
}
