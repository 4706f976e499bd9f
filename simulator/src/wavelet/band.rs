//! One cycle of a band of rows.
//!
//! Within a cycle the bands do not see each other. What crosses a link (wavelets one way, room for more the other way) takes
//! effect at the end of the cycle, so that neither the order of PEs nor the cut into bands matters.

use super::execute;
use crate::machine::band::{Band, Message, PlacedFault, close_span};
use crate::machine::pe::{InOperator, Pe};
use crate::machine::router::{Lane, Wavelet, each_port};
use crate::machine::steps::Shared;
use std::cmp::Reverse;
use waferloom_fabric::{Direction, PortSet, SwitchCommand};

/// The ramp's bit in a set of ports.
const RAMP: u8 = 1 << Direction::Ramp as u8;

impl Band {
    fn post(&mut self, message: Message) {
        if (self.first..self.first + self.pes.len()).contains(&message.to()) {
            self.inner.push(message);
        } else {
            self.outer.push(message);
        }
    }

    fn activate(&mut self, local: usize) {
        let router = &mut self.routers[local];
        if !router.active && router.occupied != 0 {
            router.active = true;
            self.active.push(local as u32);
        }
    }

    /// Simulates one cycle up to its messages; says whether anything happened.
    pub(crate) fn cycle(&mut self, shared: &Shared<'_>, now: u64) -> Result<bool, PlacedFault> {
        self.now = now;
        let mut happened = self.run_pes(shared, now)?;
        let active = std::mem::take(&mut self.active);
        for local in active {
            let moved = self.run_router(shared, local as usize, now);
            happened |= moved;
            // What waits for room or for a switch is looked at again when its PE has run, or news come over a link.
            let router = &mut self.routers[local as usize];
            router.active = router.occupied != 0 && (moved || router.ripens(now));
            if router.active {
                self.active.push(local);
            }
        }
        happened |= self.run_host(now);
        Ok(happened)
    }

    /// Lets the PEs that are due use their datapaths; says whether there were any. Of several faults the first PE's counts.
    fn run_pes(&mut self, shared: &Shared<'_>, now: u64) -> Result<bool, PlacedFault> {
        let mut happened = false;
        let mut fault: Option<PlacedFault> = None;
        let mut run = |band: &mut Self, local: u32, cycle: u64| {
            if band.pes[local as usize].wake != cycle {
                return;
            }
            happened = true;
            if let Err(new) = band.run_pe(shared, local as usize, now)
                && fault.as_ref().is_none_or(|first| new.pe < first.pe)
            {
                fault = Some(new);
            }
        };
        let mut soon = std::mem::take(&mut self.soon);
        for local in soon.drain(..) {
            run(self, local, now);
        }
        // Keeps the list's memory, with what has been added in the meantime.
        soon.append(&mut self.soon);
        self.soon = soon;
        while let Some(&Reverse((cycle, local))) = self.due.peek() {
            if cycle > now {
                break;
            }
            self.due.pop();
            run(self, local, cycle);
        }
        fault.map_or(Ok(happened), Err)
    }

    fn run_pe(&mut self, shared: &Shared<'_>, local: usize, now: u64) -> Result<(), PlacedFault> {
        let (pe, router) = (&mut self.pes[local], &mut self.routers[local]);
        pe.wake = u64::MAX;
        let spans = &mut self.spans;
        let mut on_mark = |pe: &mut Pe, operator: u32, now: u64| {
            close_span(spans, pe, now);
            if let Some(span) = spans.get_mut(operator as usize) {
                span.start = span.start.min(now);
                pe.operator = Some(InOperator { operator, since: now, busy: pe.counters.busy });
            }
        };
        execute::cycle(shared, pe, router, now, &mut on_mark)
            .map_err(|fault| PlacedFault { pe: self.first + local, fault })?;
        let wake = std::mem::replace(&mut pe.wake, u64::MAX);
        self.activate(local);
        if wake != u64::MAX {
            self.schedule(local, wake.max(now));
        }
        Ok(())
    }

    /// Moves what can move in one router; says whether anything did.
    fn run_router(&mut self, shared: &Shared<'_>, local: usize, now: u64) -> bool {
        let mut used = 0u8;
        let mut moved = false;
        for (lane, port) in self.routers[local].arbitration() {
            let Some(tx) = self.can_move(shared, local, lane, port, used, now) else { continue };
            used |= tx.0;
            if !moved {
                let router = &mut self.routers[local];
                router.turn = if lane + 1 < router.lanes.len() { lane as u8 + 1 } else { 0 };
            }
            moved = true;
            self.forward(shared, local, (lane, port), tx, now);
        }
        moved
    }

    /// The outputs that the head of a queue takes in this cycle, if it can move.
    fn can_move(
        &self,
        shared: &Shared<'_>,
        local: usize,
        lane: usize,
        port: usize,
        used: u8,
        now: u64,
    ) -> Option<PortSet> {
        let state = &self.routers[local].lanes[lane];
        let head = state.queues[port].front()?;
        let (rx, tx) = state.ports();
        if head.ready > now || state.closed || rx.0 >> port & 1 == 0 || tx.is_empty() || tx.0 & used != 0 {
            return None;
        }
        let links = each_port(PortSet(tx.0 & !RAMP)).all(|out| state.credits[out as usize] > 0);
        (links && (tx.0 & RAMP == 0 || self.ramp_has_room(shared, local, state, head))).then_some(tx)
    }

    fn ramp_has_room(&self, shared: &Shared<'_>, local: usize, state: &Lane, head: &Wavelet) -> bool {
        let dropped = match head.control {
            0 => !state.would_admit(head.data, shared.routes),
            control => shared.controls[control as usize - 1].task.is_none(),
        };
        let queue = state.input.and_then(|queue| self.pes[local].inputs[queue as usize].as_ref());
        dropped || queue.is_some_and(|queue| queue.wavelets.len() < queue.capacity)
    }

    /// Sends the head of a queue (lane, port) on; its outputs have room.
    fn forward(&mut self, shared: &Shared<'_>, local: usize, (lane, port): (usize, usize), tx: PortSet, now: u64) {
        let router = &mut self.routers[local];
        let Some(mut wavelet) = router.pop(lane, port) else { return };
        let state = &mut router.lanes[lane];
        let color = state.color;
        for out in each_port(tx) {
            router.sent[out as usize] += 1;
            if out != Direction::Ramp {
                state.credits[out as usize] -= 1;
            }
        }
        if wavelet.control != 0 {
            let commands = &shared.controls[wavelet.control as usize - 1].commands;
            let command = commands.get(wavelet.hop as usize).or(commands.last()).copied().unwrap_or(SwitchCommand::Nop);
            wavelet.hop = wavelet.hop.saturating_add(1);
            if state.obey(command, shared.routes) {
                self.pes[local].teardowns |= 1 << color;
                self.schedule(local, now + 1);
            }
        }
        self.give_back(local, port, color, now);
        let ready = now + u64::from(shared.machine.hop_cycles);
        for out in each_port(PortSet(tx.0 & !RAMP)) {
            if let Some(to) = self.neighbour(local, out) {
                let wavelet = Wavelet { ready, ..wavelet };
                self.post(Message::Wavelet { to, port: out.opposite(), color, wavelet });
            } else if let Some(&sink) = self.sink_at.get(&(self.global(local) as u32, out as u8, color)) {
                self.sinks[sink].receive(&wavelet, ready);
            }
        }
        if tx.0 & RAMP != 0 {
            self.deliver(shared, local, lane, wavelet, now);
        }
    }

    /// Tells whoever fills a queue that it has room again.
    fn give_back(&mut self, local: usize, port: usize, color: u8, now: u64) {
        let from = Direction::ALL[port];
        if from == Direction::Ramp {
            self.schedule(local, now + 1);
        } else if let Some(to) = self.neighbour(local, from) {
            self.post(Message::Credit { to, direction: from.opposite(), color });
        } else if let Some(&source) = self.source_at.get(&(self.global(local) as u32, port as u8, color)) {
            self.sources[source].credits += 1;
        }
    }

    /// Puts a wavelet into the PE's input queue, unless the filter or the lack of a task drops it.
    fn deliver(&mut self, shared: &Shared<'_>, local: usize, lane: usize, wavelet: Wavelet, now: u64) {
        let state = &mut self.routers[local].lanes[lane];
        let input = state.input;
        let wanted = match wavelet.control {
            0 => state.admit(wavelet.data, shared.routes),
            control => shared.controls[control as usize - 1].task.is_some(),
        };
        if !wanted {
            return;
        }
        let ready = now + u64::from(shared.machine.ramp_cycles);
        if let Some(queue) = input.and_then(|queue| self.pes[local].inputs[queue as usize].as_mut()) {
            queue.wavelets.push_back((ready, wavelet.data, wavelet.control));
            self.schedule(local, ready);
        }
    }

    /// Lets the host put in and take out what the links carry in one cycle.
    fn run_host(&mut self, now: u64) -> bool {
        let mut happened = false;
        for index in 0..self.sources.len() {
            if let Some((local, lane, port, wavelet)) = self.sources[index].inject(now) {
                self.routers[local].push(lane, port, wavelet);
                self.activate(local);
                happened = true;
            }
        }
        let mut freed = Vec::new();
        for sink in &mut self.sinks {
            if sink.restore(now) {
                let lane = &mut self.routers[sink.local].lanes[sink.lane];
                lane.credits[sink.direction as usize] += 1;
                freed.push(sink.local);
                happened = true;
            }
        }
        for local in freed {
            self.activate(local);
        }
        happened
    }

    /// Applies what has crossed links.
    pub(crate) fn receive(&mut self, messages: impl IntoIterator<Item = Message>) {
        for message in messages {
            let local = message.to() - self.first;
            match message {
                Message::Wavelet { port, color, wavelet, .. } => {
                    if let Some(lane) = self.routers[local].lane_of(color) {
                        self.routers[local].push(lane, port, wavelet);
                        self.activate(local);
                    }
                }
                Message::Credit { direction, color, .. } => {
                    if let Some(lane) = self.routers[local].lane_of(color) {
                        self.routers[local].lanes[lane].credits[direction as usize] += 1;
                        self.activate(local);
                    }
                }
            }
        }
    }

    /// The next cycle after `now` in which something can happen by itself; `u64::MAX` for never.
    pub(crate) fn next_event(&self, now: u64, happened: bool) -> u64 {
        if happened || !self.soon.is_empty() {
            return now + 1;
        }
        let due = self.due.peek().map_or(u64::MAX, |&Reverse((cycle, _))| cycle);
        let heads = self.active.iter().flat_map(|&local| &self.routers[local as usize].lanes);
        let ready = heads.flat_map(|l| &l.queues).filter_map(|q| q.front()).map(|w| w.ready).filter(|&r| r > now);
        let sources = self.sources.iter().map(|s| s.next(now));
        let sinks = self.sinks.iter().map(|s| s.next(now));
        ready.chain(sources).chain(sinks).min().unwrap_or(u64::MAX).min(due).max(now + 1)
    }
}
