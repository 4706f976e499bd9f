//! Ways of wavelets: which routers a run passes, when, and what it leaves in the queues at their ends.

use super::super::host;
use super::super::payload::Payload;
use super::super::run::{Run, Sender};
use super::flight::{Goal, LANDED, Origin};
use super::held::START;
use super::incoming::{Incoming, Words};
use super::lanes::{ALONG_ROWS, Ports, first_of};
use super::line::Line;
use super::queue::{Fits, Room, Sends};
use super::strip::Along;
use super::{Groups, Stop};
use std::ops::Range;
use waferloom_fabric::{Direction, PortSet, SwitchCommand};

/// How far runs have come on a part of their way: those of senders side by side, along their columns, if they are more than one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// The first of the lanes that they come to, and its router.
    lane: u32,
    router: u32,
    /// How many they are, and the first of them among all that were sent together.
    n: u32,
    sender: u32,
    /// Links up to there.
    hops: u16,
    /// The station of their flight before, or [`START`].
    before: u32,
    /// When their first and their last wavelets left the lanes before; at the start, when they can leave these.
    first: Line,
    last: Line,
}

/// Ways that have been found: those from lanes side by side, which run along their columns if they are more than one.
#[derive(Clone, Debug, Default)]
pub(super) struct Ways {
    lanes: Range<u32>,
    is_control: bool,
    /// How often switches had moved then.
    moves: u64,
}

/// Runs at the beginning of their ways, from lanes side by side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sending {
    /// The first lane, whose ramp, or port at the edge, one of them enters.
    pub(super) lane: u32,
    /// How many they are.
    pub(super) n: u32,
    /// Wavelets that the queue there holds.
    pub(super) room: i64,
    pub(super) words: Words,
    /// Wavelets of each, and when the first and the last one may leave the ramp.
    pub(super) count: i64,
    pub(super) first: Line,
    pub(super) last: Line,
    /// 0 for data, else 1 + index into the controls of the program.
    pub(super) control: u16,
    pub(super) flight: u32,
    /// How many routers, from the first one on, may have to obey it, when it is a control wavelet.
    pub(super) moves: u16,
}

/// Lanes side by side that runs pass: in a column each, or all in one row.
pub(super) struct Passage {
    pub(super) lane: u32,
    pub(super) router: u32,
    pub(super) n: u32,
    pub(super) ports: Ports,
    /// When the first and the last wavelets leave them.
    first: Line,
    pub(super) last: Line,
    /// Links up to there.
    hops: Line,
    /// Senders, among those that sent together.
    pub(super) origin: Origin,
}

impl Groups<'_> {
    /// Finds the way from a lane's ramp to all its ends, and the same from those beside it as far as they are alike. The error is a
    /// lane whose switch does not stand so.
    pub(super) fn find_way(&mut self, lane: u32, is_control: bool, n: &mut u32) -> Result<(), u32> {
        let moves = self.lanes.moves;
        let known = &self.ways;
        if !(known.lanes.contains(&lane) && known.is_control == is_control && known.moves == moves) {
            let count = self.lanes.find_ways(lane, Direction::Ramp, is_control, *n)?;
            self.ways = Ways { lanes: lane..lane + count, is_control, moves };
        }
        *n = (*n).min(self.ways.lanes.end - lane);
        Ok(())
    }

    /// Brings runs along ways that have been found.
    pub(super) fn bring(&mut self, sending: &Sending) -> Result<(), Stop> {
        let &Sending { lane, n, first, last, .. } = sending;
        let router = self.lanes.place(lane).0 as u32;
        let mut heads = std::mem::take(&mut self.heads);
        heads.push(Head { lane, router, n, sender: 0, hops: 0, before: START, first, last });
        while let Some(mut head) = heads.pop() {
            let ports = self.lanes.ports.get(head.lane);
            let mut outs = ports.onward();
            let along = Direction::ALL[outs.trailing_zeros().min(4) as usize];
            let obeys = sending.control != 0 && head.hops < sending.moves;
            let is_straight = outs.is_power_of_two() && outs & ALONG_ROWS != 0 && head.hops > 0 && !obeys;
            if head.n == 1 && is_straight && ports.to_host().is_empty() {
                self.pass_along(&mut head, sending, along)?;
            } else {
                let others = self.pass_each(&mut head, ports, sending)?;
                heads.extend(others);
            }
            while outs != 0 {
                let out = first_of(&mut outs);
                let (lane, router) = (self.lanes.behind(head.lane, out), self.lanes.behind(head.router, out));
                heads.push(Head { lane, router, ..head });
            }
        }
        self.heads = heads;
        Ok(())
    }

    /// Runs pass a lane each; gives those of them, from some lane on, for which it has still to be done.
    fn pass_each(&mut self, head: &mut Head, ports: Ports, sending: &Sending) -> Result<Option<Head>, Stop> {
        let whole = *head;
        let hop = i64::from(self.shared.machine.hop_cycles);
        let came_over = if head.hops > 0 { hop } else { 0 };
        let mut n = head.n;
        let first = head.first.plus(came_over).max(self.lanes.free.piece(head.lane, &mut n), &mut n);
        let mut last = head.last.plus(came_over).max(first.plus(sending.count - 1), &mut n);
        if !ports.books().is_empty() {
            last = self.book_links(head, ports, (first, last), sending.count, &mut n);
        }
        (head.n, head.first, head.last) = (n, first, last);
        let origin = Origin { sender: head.sender, step: 1 };
        let &mut Head { lane, router, .. } = head;
        let hops = Line::flat(head.hops.into());
        let passage = Passage { lane, router, n, ports, first, last, hops, origin };
        self.leave(&passage, sending)?;
        if self.is_held_up() {
            head.before = self.pass_station(&passage, (head.before, false), sending);
        }
        if head.hops == 0 && sending.flight != LANDED {
            self.hold_up(head, sending);
        }
        if sending.control != 0 && head.hops < sending.moves {
            (0..n).for_each(|i| self.obey((lane + i, router + i), head.hops, sending.control));
        }
        for out in ports.to_host().iter() {
            let times = ((first.at + hop) as u64, (last.at + hop) as u64);
            let run = Run::new(sending.words.payload, sending.count as usize, times, sending.control, Sender::Pe(0));
            self.send_to_host(head, out as u8, &Run { start: sending.words.start, ..run });
        }
        head.hops += 1;
        if n == whole.n {
            return Ok(None);
        }
        Ok(Some(Head {
            lane: lane + n,
            router: router + n,
            n: whole.n - n,
            sender: whole.sender + n,
            first: whole.first.from(n),
            last: whole.last.from(n),
            hops: whole.hops,
            before: whole.before,
        }))
    }

    /// Books the links that runs share with others behind lanes side by side; gives when their last wavelets leave the lanes.
    fn book_links(
        &mut self,
        head: &Head,
        ports: Ports,
        (first, mut last): (Line, Line),
        count: i64,
        n: &mut u32,
    ) -> Line {
        let mut links = [None; 4];
        for out in ports.books().iter() {
            let out = out as u8;
            if 1 << out & ports.to_host().0 != 0 {
                // One at a time: each has a sink of its own.
                *n = 1;
                let interval = self.sink(head.lane, out).map_or(1, |sink| self.band.sinks[sink].interval);
                let at = self.links.at_intervals(out, head.router, first.at, count, interval as i64);
                last.at = last.at.max(at);
            } else if *n == 1 {
                last = last.max(self.links.share(out, head.router, first, count), &mut 1);
            } else {
                let mut link = self.links.get(out, head.router, false, n);
                last = last.max(link.share(first, count, n), n);
                links[usize::from(out)] = Some(link);
            }
        }
        for (out, link) in links.iter().enumerate() {
            if let Some(link) = link {
                self.links.set(out as u8, head.router, *n, link);
            }
        }
        last
    }

    /// A run passes lanes in its row in which the ports are the same, as many as there are on which the same holds it up.
    fn pass_along(&mut self, head: &mut Head, sending: &Sending, along: Direction) -> Result<(), Stop> {
        let hop = i64::from(self.shared.machine.hop_cycles);
        let (is_back, mut n) = (along == Direction::West, self.lanes.width);
        let ports = self.lanes.ports_on(head.lane, is_back, &mut n);
        let free = if is_back {
            self.lanes.free.piece_back(head.lane, &mut n)
        } else {
            self.lanes.free.piece(head.lane, &mut n)
        };
        let first = free.reached_from(head.first.at, hop, &mut n);
        let mut crosses = first.plus(sending.count - 1);
        let link = ports.books().contains(along).then(|| {
            let mut link = self.links.get(along as u8, head.router, is_back, &mut n);
            crosses = link.share(first, sending.count, &mut n);
            link
        });
        let last = crosses.reached_from(head.last.at, hop, &mut n);
        if let Some(link) = link {
            let start = if is_back { head.router + 1 - n } else { head.router };
            let link = if is_back { link.along(n - 1).back() } else { link };
            self.links.set(along as u8, start, n, &link);
        }
        let hops = Line { at: head.hops.into(), slope: 1 };
        let origin = Origin { sender: head.sender, step: 0 };
        let &mut Head { lane, router, .. } = head;
        let passage = if is_back {
            let [first, last, hops] = [first, last, hops].map(|line| line.reversed(n));
            Passage { lane: lane + 1 - n, router: router + 1 - n, n, ports, first, last, hops, origin }
        } else {
            Passage { lane, router, n, ports, first, last, hops, origin }
        };
        self.leave(&passage, sending)?;
        if self.is_held_up() {
            head.before = self.pass_station(&passage, (head.before, is_back), sending);
        }
        let way = if is_back { 1 - n as i32 } else { n as i32 - 1 };
        (head.lane, head.router) = (lane.wrapping_add_signed(way), router.wrapping_add_signed(way));
        (head.first, head.last) = (Line::flat(first.get(n - 1)), Line::flat(last.get(n - 1)));
        head.hops += n as u16;
        Ok(())
    }

    /// Runs leave lanes side by side, and those of data go down the ramps there.
    fn leave(&mut self, passage: &Passage, sending: &Sending) -> Result<(), Stop> {
        let &Passage { lane, router, n, ports, last, .. } = passage;
        self.lanes.pass((lane, router, n), ports.tx, sending.count, last);
        if sending.control == 0 && ports.goes_down() {
            self.arrive(passage, sending)?;
        }
        Ok(())
    }

    /// What leaves the first routers late has found room in the queues at their ramps alone.
    fn hold_up(&mut self, head: &Head, sending: &Sending) {
        let ramp = i64::from(self.shared.machine.ramp_cycles);
        let mut done = 0;
        while done < head.n {
            let mut n = head.n - done;
            let ready = sending.last.from(head.sender + done);
            let zero = Line::flat(0);
            let late = (head.last.from(done) - ready).plus(-sending.room).max(zero, &mut n);
            let bound = (ready + late).plus(-1 - ramp).max(zero, &mut n);
            let origin = Origin { sender: head.sender + done, step: 1 };
            self.flights.raise(sending.flight, origin, n, bound);
            done += n;
        }
    }

    /// Lets a switch obey a control wavelet that passes it, and PEs look again that wait for it.
    pub(super) fn obey(&mut self, (lane, router): (u32, u32), hops: u16, control: u16) {
        let commands = &self.shared.controls[control as usize - 1].commands;
        let command = commands.get(usize::from(hops)).or(commands.last()).copied();
        let Some(command) = command.filter(|&command| command != SwitchCommand::Nop) else { return };
        let switch = &mut self.band.routers[router as usize].lanes[self.lanes.number(lane)];
        switch.obey(command, self.shared.routes);
        self.lanes.switch(lane, switch.ports());
        for (pe, n) in self.wait_for_switch.remove(&lane).unwrap_or_default() {
            self.schedule.wake(pe, n);
        }
    }

    /// Puts runs into the input queues below lanes.
    fn arrive(&mut self, passage: &Passage, sending: &Sending) -> Result<(), Stop> {
        let input = self.queues.at(passage.router, passage.ports.input).ok_or(Stop::Unfit)?;
        let machine = self.shared.machine;
        let (hop, ramp) = (i64::from(machine.hop_cycles), i64::from(machine.ramp_cycles));
        let (count, flight, room) = (sending.count, sending.flight, self.link_room as i64);
        let mut done = 0;
        while done < passage.n {
            let mut n = passage.n - done;
            let (input, origin, hops) = (input + done, passage.origin.from(done), passage.hops.from(done));
            if flight != LANDED {
                let way = Line { at: sending.room + hops.at * room, slope: hops.slope * room };
                let fits = self.queues.fits(input, &mut n, count, way);
                if self.is_held_up() {
                    self.expect_gone(flight, (passage, done), (input, n), count);
                }
                match fits {
                    Fits::Now => {}
                    Fits::From(cycle) => self.flights.raise(flight, origin, n, cycle + hops),
                    Fits::Later(taken) => {
                        self.queues.expect(input, n, Room { taken, hops, sends: Sends::LastOf(flight, origin) });
                        self.flights.expect(flight, Goal::Sent, origin, n);
                    }
                }
                self.flights.share(flight, n);
            }
            self.payloads.share_among(sending.words.payload, n);
            let sent = sending.last.from(origin.sender);
            let sent = if origin.step == 0 { Line::flat(sent.at) } else { sent };
            let unhindered = (sent + Line { at: hops.at * hop, slope: hops.slope * hop }).plus(ramp);
            let times = (passage.first.from(done).plus(ramp), passage.last.from(done).plus(ramp));
            let incoming = Incoming::new((sending.words, count as u32), times, (flight, origin), unhindered);
            self.push(input, passage.router + done, n, &incoming)?;
            done += n;
        }
        Ok(())
    }

    /// Puts runs into queues side by side, and wakes the PEs that wait for them.
    pub(super) fn push(&mut self, input: u32, pe: u32, n: u32, incoming: &Incoming) -> Result<(), Stop> {
        let mut done = 0;
        while done < n {
            let mut here = n - done;
            if self.queues.push(input + done, &mut here, &incoming.along(done))? {
                self.schedule.wake(pe + done, here);
            }
            done += here;
        }
        Ok(())
    }

    /// Books that wavelets are taken from queues side by side that are alike, one a cycle from `cycle` on, and lets those know who
    /// wait for room.
    pub(super) fn book_taking(&mut self, (pe, input, n): (u32, u32, u32), count: i64, cycle: Line) {
        let before = self.queues.book(input, n, count, cycle);
        while let Some(room) = self.queues.next_room(input) {
            let bound = cycle + room.taken.plus(-before) + room.hops;
            match room.sends {
                Sends::LastOf(flight, origin) => {
                    let mut landings = std::mem::take(&mut self.landings);
                    self.flights.raise(flight, origin, n, bound);
                    self.flights.known(flight, Goal::Sent, origin, n, &mut landings);
                    landings.drain(..).for_each(|landing| self.land(landing));
                    self.landings = landings;
                }
                Sends::Item { source, item } => self.begin_item(source, item, bound.at as u64),
            }
        }
        if self.is_held_up() {
            self.let_go((pe, input, n), count, cycle);
        }
    }

    /// A source of the host sends the first wavelet of an item, when its pace allows it and there is room.
    fn begin_item(&mut self, source: u32, item: u32, room: u64) {
        let source = &mut self.band.sources[source as usize];
        let pace = u64::from(item) * source.item_wavelets as u64 * source.interval;
        source.item_starts.push(pace.max(room));
    }

    /// The lane that a source of the host sends into, which leads down the ramp there.
    pub(super) fn source_lane(&mut self, index: usize) -> Result<u32, Stop> {
        let source = &self.band.sources[index];
        let color = self.band.routers[source.local].lanes[source.lane].color;
        let lane = self.lanes.at(source.local, color).ok_or(Stop::Unfit)?;
        self.lanes.find_ways(lane, source.direction, false, 1).map_err(|_| Stop::Unfit)?;
        let is_for_its_pe = self.lanes.ports.get(lane).tx == PortSet::of(&[Direction::Ramp]);
        if is_for_its_pe { Ok(lane) } else { Err(Stop::Unfit) }
    }

    /// Sends what the host has to send, at its own pace: it waits in the queues at the edge until it is taken.
    pub(super) fn feed(&mut self) -> Result<(), Stop> {
        if self.planes.is_some() {
            return self.feed_now();
        }
        for index in 0..self.band.sources.len() {
            let source = &mut self.band.sources[index];
            let (router, interval) = (source.local, source.interval);
            let (words, item_wavelets) = (std::mem::take(&mut source.data), source.item_wavelets);
            source.next = words.len();
            let count = words.len();
            if count == 0 {
                continue;
            }
            let lane = self.source_lane(index)?;
            let input = self.queues.at(router as u32, self.lanes.ports.get(lane).input).ok_or(Stop::Unfit)?;
            let room = self.link_room + self.queues.capacity(input) as u64;
            for item in 0..count.div_ceil(item_wavelets) {
                let sends = Sends::Item { source: index as u32, item: item as u32 };
                let taken = ((item * item_wavelets) as u64 + 1).saturating_sub(room);
                if taken > 0 {
                    let (taken, hops) = (Line::flat(taken as i64), Line::flat(0));
                    self.queues.expect(input, 1, Room { taken, hops, sends });
                } else {
                    self.begin_item(index as u32, item as u32, 0);
                }
            }
            let last = (count as u64 - 1) * interval + 1;
            let payload = if self.floats_come_in { Payload::UNKNOWN } else { self.payloads.keep(words) };
            let sending = Sending {
                lane,
                n: 1,
                room: self.link_room as i64,
                words: Words::same(payload, 0),
                count: count as i64,
                first: Line::flat(1),
                last: Line::flat(last as i64),
                control: 0,
                flight: LANDED,
                moves: 0,
            };
            self.bring(&sending)?;
            self.payloads.release(payload);
        }
        Ok(())
    }

    /// The host takes wavelets; a control wavelet ends there without a trace.
    fn send_to_host(&mut self, head: &Head, out: u8, run: &Run) {
        if let Some(sink) = self.sink(head.lane, out) {
            host::receive(&mut self.band.sinks[sink], run, &self.payloads);
        }
    }

    /// The sink of the host behind an output.
    pub(super) fn sink(&self, lane: u32, out: u8) -> Option<usize> {
        let (router, color) = self.lanes.place(lane);
        self.band.sink_at.get(&(router as u32, out, color)).copied()
    }
}
