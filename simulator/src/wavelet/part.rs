//! The part of the fabric that one host thread simulates, and one cycle of it.
//!
//! Within a cycle the nodes (a PE and its router) do not see each other: what crosses a link is ready in a later cycle, and the
//! room that it leaves behind is to be had in a later one. So neither the order of the nodes nor the cut into parts matters.

use super::agenda::Agenda;
use super::execute;
use super::flow::Flows;
use super::network::{Network, rank};
use super::ports::Ports;
use super::queues::Wavelet;
use super::row::Row;
use crate::machine::band::{Band, PlacedFault, close_span};
use crate::machine::conflicts::Conflicts;
use crate::machine::pe::{InOperator, Pe};
use crate::machine::steps::Shared;
use waferloom_fabric::Direction;

/// What crosses a link to another part at the end of a cycle.
#[derive(Clone, Copy, Debug)]
pub(super) enum Message {
    /// A wavelet for the queue at `port` of a router.
    Wavelet { to: u32, port: Direction, color: u8, wavelet: Wavelet },
    /// Room for one more wavelet at the other end of a router's outgoing link.
    Room { to: u32, direction: Direction, color: u8 },
}

impl Message {
    /// Index of the PE in the grid.
    pub(super) fn to(&self) -> usize {
        match self {
            Message::Wavelet { to, .. } | Message::Room { to, .. } => *to as usize,
        }
    }
}

/// A band of rows at work.
pub(super) struct Part<'s> {
    pub(super) band: Band<'s>,
    pub(super) network: Network,
    pub(super) agenda: Agenda,
    conflicts: Conflicts,
    /// For the parts above and below.
    pub(super) messages: Vec<Message>,
    /// Sources that still have something to send.
    sources: Vec<usize>,
    /// By PE.
    pub(super) rows: Vec<Row>,
    /// Control wavelets that start a task leave their queue at any time: with them each cycle is looked at in full.
    rows_allowed: bool,
    /// Nodes that are not visited, since they do the same in every cycle.
    pub(super) flows: Flows,
    /// Sinks whose link is taken.
    pub(super) sinks: Vec<usize>,
}

impl<'s> Part<'s> {
    /// A band before the first cycle.
    pub(super) fn new(mut band: Band<'s>, shared: &Shared<'_>) -> Self {
        let network = Network::new(&mut band, shared.machine, shared.routes);
        let mut agenda = Agenda::new(band.pes.len());
        agenda.start((0..band.pes.len()).filter(|&local| band.pes[local].class.is_some()));
        let sources = (0..band.sources.len()).collect();
        let rows_allowed = shared.controls.iter().all(|c| c.task.is_none());
        Self {
            network,
            agenda,
            conflicts: Conflicts::new(shared.machine),
            messages: Vec::new(),
            sources,
            rows: vec![Row::default(); band.pes.len()],
            rows_allowed,
            flows: Flows::new(rows_allowed),
            sinks: Vec::new(),
            band,
        }
    }

    /// The band as it is at the end of the run, and how many wavelets nobody has taken.
    pub(super) fn finish(mut self) -> (Band<'s>, usize) {
        self.end_flows();
        for (row, pe) in self.rows.iter_mut().zip(&mut self.band.pes) {
            row.put_back(pe);
        }
        let waiting = self.network.wavelets() + self.band.sources.iter().map(|s| s.data.len() - s.next).sum::<usize>();
        self.network.restore(&mut self.band);
        (self.band, waiting)
    }

    /// Has a PE looked at in a cycle, unless it is to be earlier anyway.
    #[inline]
    pub(super) fn schedule(&mut self, local: usize, cycle: u64) {
        let wake = &mut self.network.nodes[local].wake;
        if cycle < *wake {
            *wake = cycle;
            self.agenda.look(local, cycle);
        }
    }

    /// Simulates one cycle; says whether anything happened.
    pub(super) fn cycle(&mut self, shared: &Shared<'_>, now: u64) -> Result<bool, PlacedFault> {
        self.agenda.advance(now);
        let mut happened = false;
        while let Some((first, mut bits)) = self.agenda.take() {
            while bits != 0 {
                let local = first + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if self.network.nodes[local].is_in_flow() && !self.leave_flow(local, now) {
                    continue;
                }
                while self.network.nodes[local].wake <= now {
                    self.run_pe(shared, local, now)?;
                    happened = true;
                }
                if self.network.nodes[local].holds_any() {
                    happened |= self.run_router(shared, local, now);
                }
            }
        }
        happened |= self.run_host(now);
        happened |= self.run_flows(shared, now);
        Ok(happened)
    }

    fn run_pe(&mut self, shared: &Shared<'_>, local: usize, now: u64) -> Result<(), PlacedFault> {
        let departs = now + 1 + u64::from(shared.machine.ramp_cycles);
        let pe = &mut self.band.pes[local];
        let row = &mut self.rows[local];
        let wake = if row.is_at_work() {
            let wake = row.cycle(pe, &mut self.network, local, now, departs);
            if !row.is_at_work() {
                row.put_back(pe);
                self.begin_row(local);
            }
            wake
        } else {
            let spans = &mut self.band.spans;
            let mut on_mark = |pe: &mut Pe, operator: u32, now: u64| {
                close_span(spans, pe, now);
                if let Some(span) = spans.get_mut(operator as usize) {
                    span.start = span.start.min(now);
                    pe.operator = Some(InOperator { operator, since: now, busy: pe.counters.busy });
                }
            };
            let begun = pe.main.is_some();
            let mut ports = Ports::new(&mut self.network, local, departs, &mut self.conflicts);
            let wake = execute::cycle(shared, pe, &mut ports, now, &mut on_mark)
                .map_err(|fault| PlacedFault { pe: self.band.first + local, fault })?;
            if !begun {
                self.begin_row(local);
            }
            wake
        };
        self.network.nodes[local].wake = wake.max(now);
        if wake > now && wake != u64::MAX {
            self.agenda.look(local, wake);
        }
        Ok(())
    }

    /// Takes a row out of the PE's main instruction, if nothing but the fabric can come in its way.
    fn begin_row(&mut self, local: usize) {
        let pe = &self.band.pes[local];
        if pe.main.is_some()
            && self.rows_allowed
            && pe.microthreads.iter().all(Option::is_none)
            && let Some(row) = Row::take(pe, &self.network, local)
        {
            self.rows[local] = row;
        }
    }

    /// Lets the host put in and take out what the links carry in one cycle.
    fn run_host(&mut self, now: u64) -> bool {
        let mut happened = false;
        let mut sources = std::mem::take(&mut self.sources);
        sources.retain(|&index| {
            let source = &mut self.band.sources[index];
            if let Some((local, lane, port, wavelet)) = source.inject(now) {
                let lane = self.network.nodes[local].first_lane as usize + lane;
                let queue = self.network.lanes[lane].queues[rank(port)];
                self.network.push(local, queue, wavelet);
                self.agenda.look_next(local);
                happened = true;
            }
            source.next < source.data.len()
        });
        self.sources = sources;
        let mut sinks = std::mem::take(&mut self.sinks);
        sinks.retain(|&index| {
            let sink = &mut self.band.sinks[index];
            let free = sink.restore(now);
            if free {
                let lane = self.network.nodes[sink.local].first_lane as usize + sink.lane;
                self.network.lanes[lane].links[sink.direction as usize].room += 1;
                self.agenda.look_next(sink.local);
                happened = true;
            }
            !free
        });
        self.sinks = sinks;
        happened
    }

    /// Applies what has come from other parts.
    pub(super) fn receive(&mut self, messages: impl IntoIterator<Item = Message>) {
        for message in messages {
            let local = message.to() - self.band.first;
            match message {
                Message::Wavelet { port, color, wavelet, .. } => {
                    if let Some(lane) = self.network.lane_of(local, color) {
                        let queue = self.network.lanes[lane].queues[rank(port)];
                        self.network.push(local, queue, wavelet);
                    }
                }
                Message::Room { direction, color, .. } => {
                    if let Some(lane) = self.network.lane_of(local, color) {
                        self.network.lanes[lane].links[direction as usize].room += 1;
                    }
                }
            }
            self.agenda.look_next(local);
        }
    }

    /// The next cycle after `now` in which something can happen by itself; `u64::MAX` for never.
    pub(super) fn next_event(&self, now: u64, happened: bool) -> u64 {
        if happened || !self.messages.is_empty() {
            return now + 1;
        }
        let sources = self.sources.iter().map(|&s| self.band.sources[s].next(now));
        let sinks = self.sinks.iter().map(|&s| self.band.sinks[s].next(now));
        sources.chain(sinks).min().unwrap_or(u64::MAX).min(self.agenda.next_cycle()).max(now + 1)
    }
}
