//! Ways of wavelets: which routers a run passes, when, and what it leaves in the queues at their ends.

use super::super::host;
use super::super::payload::Payload;
use super::super::run::{Run, Sender};
use super::flight::LANDED;
use super::lanes::first_of;
use super::queue::{Fits, Incoming, Room, Sends};
use super::{Groups, Stop};
use crate::machine::router::each_port;
use std::ops::Range;
use waferloom_fabric::{Direction, PortSet, SwitchCommand};

/// How far a run has come on a part of its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// The lane that it comes to, and its router.
    pub(super) lane: u32,
    pub(super) router: u32,
    /// Links up to there.
    hops: u16,
    /// When its first and its last wavelet left the lane before; at the start, when they can leave it.
    first: u64,
    last: u64,
}

/// Ways that have been found: those from lanes side by side, which run along their columns if they are more than one.
#[derive(Clone, Debug, Default)]
pub(super) struct Ways {
    lanes: Range<u32>,
    is_control: bool,
    /// How often switches had moved then.
    moves: u64,
}

/// A run at the beginning of its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sending {
    /// The lane whose ramp, or port at the edge, it enters.
    pub(super) lane: u32,
    /// Wavelets that the queue there holds.
    pub(super) room: u64,
    pub(super) run: Run,
    pub(super) flight: u32,
    /// How many routers, from the first one on, may have to obey it, when it is a control wavelet.
    pub(super) moves: u16,
}

impl Groups<'_> {
    /// Finds the way from a lane's ramp to all its ends, and those beside it as far as PEs beside are to send. The error is a
    /// lane whose switch does not stand so.
    pub(super) fn find_way(&mut self, lane: u32, is_control: bool) -> Result<(), u32> {
        let moves = self.lanes.moves;
        let known = &self.ways;
        if known.lanes.contains(&lane) && known.is_control == is_control && known.moves == moves {
            return Ok(());
        }
        let count = self.lanes.find_ways(lane, Direction::Ramp, is_control, self.beside)?;
        self.ways = Ways { lanes: lane..lane + count, is_control, moves };
        Ok(())
    }

    /// Whether the ways from some lane and from the one beside it have been found to be the same.
    pub(super) fn are_alike(&self, lane: u32) -> bool {
        self.ways.lanes.contains(&lane) && self.ways.lanes.contains(&(lane + 1))
    }

    /// Brings runs along ways that have been found, from lanes side by side, all at the same pace.
    pub(super) fn bring(&mut self, sendings: &[Sending]) -> Result<(), Stop> {
        let mut heads = std::mem::take(&mut self.heads);
        heads.clear();
        heads.extend(sendings.iter().map(|&Sending { lane, ref run, .. }| Head {
            lane,
            router: self.lanes.place(lane).0 as u32,
            hops: 0,
            first: run.first,
            last: run.last,
        }));
        // The heads of a part of the ways stand together, those of the part at hand behind all others.
        while let Some(first) = heads.len().checked_sub(sendings.len()) {
            let Some(head) = heads.get(first) else { break };
            let mut outs = self.lanes.ports[head.lane as usize].onward();
            for (head, sending) in heads[first..].iter_mut().zip(sendings) {
                self.pass_lane(head, sending)?;
            }
            if outs == 0 {
                heads.truncate(first);
                continue;
            }
            let out = first_of(&mut outs);
            while outs != 0 {
                let other = first_of(&mut outs);
                heads.extend_from_within(first..first + sendings.len());
                let part = heads.len() - sendings.len();
                heads[part..].iter_mut().for_each(|head| self.lanes.go_on(head, other));
            }
            heads[first..first + sendings.len()].iter_mut().for_each(|head| self.lanes.go_on(head, out));
        }
        self.heads = heads;
        for sending in sendings {
            self.payloads.release(sending.run.payload);
        }
        Ok(())
    }

    /// A run passes a lane.
    fn pass_lane(&mut self, head: &mut Head, sending: &Sending) -> Result<(), Stop> {
        let run = &sending.run;
        let (lane, hop) = (head.lane, u64::from(self.shared.machine.hop_cycles));
        let ports = self.lanes.ports[lane as usize];
        let came_over = if head.hops > 0 { hop } else { 0 };
        let first = (head.first + came_over).max(self.lanes.free[lane as usize]);
        let mut last = (head.last + came_over).max(first + run.count - 1);
        for out in each_port(ports.books()) {
            last = last.max(self.occupy_link(head, out, first, run.count));
        }
        self.lanes.pass(lane, run.count, last);
        (head.first, head.last) = (first, last);
        if run.control != 0 {
            if head.hops < sending.moves {
                self.obey(head, run.control);
            }
        } else if ports.goes_down() {
            self.arrive(head, sending)?;
        }
        if head.hops == 0 && sending.flight != LANDED {
            // What leaves the first router late has found room in the queue at its ramp alone.
            let late = (last - run.last).saturating_sub(sending.room);
            let ramp = u64::from(self.shared.machine.ramp_cycles);
            self.flights.raise(sending.flight, (run.last + late).saturating_sub(1 + ramp));
        }
        for out in each_port(ports.to_host()) {
            self.send_to_host(head, out, &run.at(first + hop, last + hop));
        }
        head.hops += 1;
        Ok(())
    }

    /// Lets a switch obey a control wavelet that passes it, and PEs look again that wait for it.
    fn obey(&mut self, head: &Head, control: u16) {
        let commands = &self.shared.controls[control as usize - 1].commands;
        let command = commands.get(usize::from(head.hops)).or(commands.last()).copied();
        let Some(command) = command.filter(|&command| command != SwitchCommand::Nop) else { return };
        let router = &mut self.band.routers[head.router as usize];
        let lane = &mut router.lanes[self.lanes.number(head.lane)];
        lane.obey(command, self.shared.routes);
        let (passed, outs) = self.lanes.switch(head.lane, lane.ports());
        router.count(passed, outs);
        for pe in self.wait_for_switch.remove(&head.lane).unwrap_or_default() {
            self.schedule.wake(pe);
        }
    }

    /// Puts a run into the input queue below a lane.
    fn arrive(&mut self, head: &Head, sending: &Sending) -> Result<(), Stop> {
        let &Sending { room, ref run, flight, .. } = sending;
        let input = self.lanes.inputs[head.lane as usize] as usize;
        let (hops, machine) = (u64::from(head.hops), self.shared.machine);
        let ramp = u64::from(machine.ramp_cycles);
        if flight != LANDED {
            match self.queues.fits(input, run.count, room + hops * self.link_room) {
                Fits::Now => {}
                Fits::From(cycle) => self.flights.raise(flight, cycle + hops),
                Fits::Later(taken) => {
                    self.queues.expect(input, Room { taken, hops, sends: Sends::LastOf(flight) });
                    self.flights.expect(flight);
                }
            }
            self.flights.share(flight);
        }
        self.payloads.share(run.payload);
        let unhindered = run.last + hops * u64::from(machine.hop_cycles) + ramp;
        let incoming = Incoming::new(&run.at(head.first + ramp, head.last + ramp), flight, unhindered)?;
        if self.queues.push(input, incoming)? {
            self.schedule.wake(head.router);
        }
        Ok(())
    }

    /// Books that wavelets are taken from a queue, one a cycle from `cycle` on, and lets those know who wait for room.
    pub(super) fn book_taking(&mut self, input: usize, count: u64, cycle: u64) -> Result<(), Stop> {
        let before = self.queues.book(input, count, cycle)?;
        while let Some(room) = self.queues.next_room(input) {
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
        Ok(())
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
            let (router, lane, port, interval) = (source.local, source.lane, source.direction, source.interval);
            let (words, item_wavelets) = (std::mem::take(&mut source.data), source.item_wavelets);
            source.next = words.len();
            let count = words.len();
            if count == 0 {
                continue;
            }
            let color = self.band.routers[router].lanes[lane].color;
            let lane = self.lanes.at(router, color).ok_or(Stop::Unfit)?;
            self.lanes.find_ways(lane, port, false, 1).map_err(|_| Stop::Unfit)?;
            if self.lanes.ports[lane as usize].tx != PortSet::of(&[Direction::Ramp]) {
                return Err(Stop::Unfit);
            }
            let input = self.lanes.inputs[lane as usize] as usize;
            let room = self.link_room + self.queues.capacity(input);
            for item in 0..count.div_ceil(item_wavelets) {
                let sends = Sends::Item { source: index as u32, item: item as u32 };
                let taken = ((item * item_wavelets) as u64 + 1).saturating_sub(room);
                if taken > 0 {
                    self.queues.expect(input, Room { taken, hops: 0, sends });
                } else {
                    self.begin_item(index as u32, item as u32, 0);
                }
            }
            let times = (1, (count as u64 - 1) * interval + 1);
            let payload = if self.floats_come_in { Payload::UNKNOWN } else { self.payloads.keep(words) };
            let run = Run::new(payload, count, times, 0, Sender::Host(index as u32));
            self.bring(&[Sending { lane, room: self.link_room, run, flight: LANDED, moves: 0 }])?;
        }
        Ok(())
    }

    /// The host takes wavelets; a control wavelet ends there without a trace.
    fn send_to_host(&mut self, head: &Head, out: Direction, run: &Run) {
        if let Some(sink) = self.sink(head, out) {
            host::receive(&mut self.band.sinks[sink], run, &self.payloads);
        }
    }

    /// Books wavelets on a link from a cycle on; gives the earliest cycle in which the last one can cross it.
    fn occupy_link(&mut self, head: &Head, out: Direction, first: u64, count: u64) -> u64 {
        // Links of a direction stand together, as those of a line do.
        let link = out as usize * self.clocks.len() + head.router as usize;
        if !self.lanes.ports[head.lane as usize].to_host().contains(out) {
            return self.links.share(link, first, count);
        }
        let interval = self.sink(head, out).map_or(1, |sink| self.band.sinks[sink].interval);
        self.links.at_intervals(link, first, count, interval)
    }

    /// The sink of the host behind an output.
    fn sink(&self, head: &Head, out: Direction) -> Option<usize> {
        let (router, color) = self.lanes.place(head.lane);
        self.band.sink_at.get(&(router as u32, out as u8, color)).copied()
    }
}
