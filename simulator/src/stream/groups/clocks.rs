//! The PEs' clocks, and where their cycles went.

use crate::machine::band::Span;
use crate::machine::pe::{InOperator, PeCounters};

/// The time of each PE. Each part is a list of its own, since most steps touch few of them, in many PEs.
#[derive(Debug)]
pub(super) struct Clocks {
    /// By PE: the cycle in which it does its next step.
    time: Vec<u64>,
    busy: Vec<u64>,
    fabric_in: Vec<u64>,
    fabric_out: Vec<u64>,
    memory: Vec<u64>,
    /// By PE: the operator that it is in.
    operator: Vec<Option<InOperator>>,
}

/// A part of an instruction over the fabric.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// Cycle of its first element.
    pub(super) began: u64,
    pub(super) elements: u64,
    /// Cycles that it waits for memory.
    pub(super) stall: u64,
    /// Cycles that it takes when nobody holds it up.
    pub(super) cycles: u64,
    /// Whether it takes wavelets.
    pub(super) receives: bool,
}

impl Clocks {
    pub(super) fn new(pes: usize) -> Self {
        let zero = || vec![0; pes];
        let operator = vec![None; pes];
        Self { time: zero(), busy: zero(), fabric_in: zero(), fabric_out: zero(), memory: zero(), operator }
    }

    /// PEs.
    pub(super) fn len(&self) -> usize {
        self.time.len()
    }

    /// The cycle in which a PE does its next step.
    pub(super) fn time(&self, pe: u32) -> u64 {
        self.time[pe as usize]
    }

    /// The last of all clocks.
    pub(super) fn last(&self) -> u64 {
        self.time.iter().copied().max().unwrap_or(0)
    }

    /// A PE works, and waits for memory.
    pub(super) fn work(&mut self, pe: u32, worked: u64, waited: u64) {
        let pe = pe as usize;
        self.time[pe] += worked + waited;
        self.busy[pe] += worked;
        if waited > 0 {
            self.memory[pe] += waited;
        }
    }

    /// A PE has run a part of an instruction, whose last wavelet was sent some cycles late.
    pub(super) fn complete(&mut self, pe: u32, part: &Part, delay: u64) {
        let pe = pe as usize;
        let rest = part.cycles - part.elements - part.stall;
        let (worked, waited) = if part.receives { (0, rest) } else { (rest, 0) };
        self.fabric_in[pe] += part.began.saturating_sub(self.time[pe]) + waited;
        self.busy[pe] += part.elements + worked;
        if part.stall > 0 {
            self.memory[pe] += part.stall;
        }
        if delay > 0 {
            self.fabric_out[pe] += delay;
        }
        self.time[pe] = part.began + part.cycles + delay;
    }

    /// A PE begins an operator.
    pub(super) fn enter(&mut self, pe: u32, operator: u32) {
        let (since, busy) = (self.time[pe as usize], self.busy[pe as usize]);
        self.operator[pe as usize] = Some(InOperator { operator, since, busy });
    }

    /// The operator that a PE is in.
    pub(super) fn operator(&self, pe: u32) -> Option<InOperator> {
        self.operator[pe as usize]
    }

    /// Ends the operator that a PE is in; gives it and the PE's time in it.
    pub(super) fn leave(&mut self, pe: u32) -> Option<(u32, Span)> {
        let pe = pe as usize;
        let InOperator { operator, since, busy } = self.operator[pe].take()?;
        let (end, busy) = (self.time[pe], self.busy[pe] - busy);
        Some((operator, Span { start: since, end, busy, resident: end - since }))
    }

    /// What a PE's cycles went into, the idle ones left out.
    pub(super) fn counters(&self, pe: usize) -> PeCounters {
        PeCounters {
            busy: self.busy[pe],
            fabric_in: self.fabric_in[pe],
            fabric_out: self.fabric_out[pe],
            memory: self.memory[pe],
            idle: 0,
        }
    }
}
