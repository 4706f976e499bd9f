//! The state of a band of rows: the part of the fabric that one host thread simulates.

use super::element::Fault;
use super::host::{Sink, Source};
use super::pe::{InOperator, Pe};
use super::router::Router;
use std::collections::BTreeMap;
use waferloom_fabric::{Direction, Extent};

/// An operator's time in one band.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) busy: u64,
    /// Cycles that PEs spent in it, waits included.
    pub(crate) resident: u64,
}

impl Default for Span {
    fn default() -> Self {
        Self { start: u64::MAX, end: 0, busy: 0, resident: 0 }
    }
}

impl Span {
    pub(crate) fn join(&mut self, other: &Span) {
        self.start = self.start.min(other.start);
        self.end = self.end.max(other.end);
        self.busy += other.busy;
        self.resident += other.resident;
    }
}

/// A link between the host and a router: (PE, direction, colour).
pub(crate) type Link = (u32, u8, u8);

/// The state of a band.
pub(crate) struct Band<'s> {
    pub(crate) grid: Extent,
    /// Row-major index of the band's first PE in the grid.
    pub(crate) first: usize,
    pub(crate) pes: Vec<Pe<'s>>,
    pub(crate) routers: Vec<Router<'s>>,
    pub(crate) sources: Vec<Source>,
    pub(crate) sinks: Vec<Sink>,
    pub(crate) source_at: BTreeMap<Link, usize>,
    pub(crate) sink_at: BTreeMap<Link, usize>,
    pub(crate) spans: Vec<Span>,
}

/// A fault and where it happened.
pub(crate) struct PlacedFault {
    pub(crate) pe: usize,
    pub(crate) fault: Fault,
}

impl Band<'_> {
    /// Global index of a local one.
    pub(crate) fn global(&self, local: usize) -> usize {
        self.first + local
    }

    /// Index of the PE at the other end of a link.
    pub(crate) fn neighbour(&self, local: usize, direction: Direction) -> Option<u32> {
        let (at, here, width) = (self.pes[local].at.0, self.global(local) as u32, u32::from(self.grid.width));
        match direction {
            Direction::West => (at.x > 0).then(|| here - 1),
            Direction::East => (at.x + 1 < self.grid.width).then_some(here + 1),
            Direction::North => (at.y > 0).then(|| here - width),
            Direction::South => (at.y + 1 < self.grid.height).then_some(here + width),
            Direction::Ramp => None,
        }
    }

    /// Ends the operators that are still open.
    pub(crate) fn finish(&mut self, cycles: u64) {
        for pe in &mut self.pes {
            let end = pe.last;
            close_span(&mut self.spans, pe, end);
            pe.account(cycles);
        }
    }
}

/// Ends the operator that a PE is in.
pub(crate) fn close_span(spans: &mut [Span], pe: &mut Pe, now: u64) {
    if let Some(InOperator { operator, since, busy }) = pe.operator.take()
        && let Some(span) = spans.get_mut(operator as usize)
    {
        span.end = span.end.max(now);
        span.busy += pe.counters.busy - busy;
        span.resident += now - since;
    }
}
