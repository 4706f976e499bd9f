//! Counters of several runs of one program, added up.

use crate::{PeCounters, Run};

/// Counters of the runs of one program, one run after another. The tensors are not kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    pub(super) runs: u64,
    pub(super) cycles: u64,
    pub(super) pes: Vec<PeCounters>,
    pub(super) links: Vec<[u64; 5]>,
    pub(super) operators: Vec<OperatorTotal>,
    pub(super) flow: Flow,
    pub(super) leftover_wavelets: u64,
}

/// Cycles of the items' ways, summed over the runs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Flow {
    /// From the start of the run until the first item had come out.
    pub(super) first_item: u64,
    /// From then until the last one had.
    pub(super) between_first_and_last: u64,
    /// From the last item's first wavelet to its last.
    pub(super) last_item: u64,
}

/// Time of an operator over all runs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct OperatorTotal {
    pub(super) cycles: u64,
    pub(super) span_cycles: u64,
    pub(super) busy_cycles: u64,
    pub(super) pe_cycles: u64,
    pub(super) from_claims: bool,
}

impl Totals {
    /// Adds a run. All runs must be of the same program.
    pub fn add(&mut self, run: &Run) {
        self.runs += 1;
        self.cycles += run.cycles;
        self.leftover_wavelets += run.leftover_wavelets;
        self.pes.resize(run.pes.len().max(self.pes.len()), PeCounters::default());
        for (total, pe) in self.pes.iter_mut().zip(&run.pes) {
            total.busy += pe.busy;
            total.fabric_in += pe.fabric_in;
            total.fabric_out += pe.fabric_out;
            total.memory += pe.memory;
            total.idle += pe.idle;
        }
        self.links.resize(run.links.len().max(self.links.len()), [0; 5]);
        for (total, sent) in self.links.iter_mut().zip(&run.links) {
            for (total, sent) in total.iter_mut().zip(sent) {
                *total += sent;
            }
        }
        self.operators.resize(run.operators.len().max(self.operators.len()), OperatorTotal::default());
        for (total, time) in self.operators.iter_mut().zip(&run.operators) {
            total.cycles += time.cycles;
            total.span_cycles += time.end_cycle.saturating_sub(time.start_cycle);
            total.busy_cycles += time.busy_cycles;
            total.pe_cycles += time.pe_cycles;
        }
        for (total, &claimed) in self.operators.iter_mut().zip(&run.claimed) {
            total.from_claims |= claimed;
        }
        if let (Some(first), Some(last)) = (run.items.first(), run.items.last()) {
            self.flow.first_item += first.end_cycle;
            self.flow.between_first_and_last += last.end_cycle.saturating_sub(first.end_cycle);
            self.flow.last_item += last.end_cycle.saturating_sub(last.start_cycle);
        }
    }

    /// Cycles of all runs so far.
    pub fn cycles(&self) -> u64 {
        self.cycles
    }
}

impl From<&Run> for Totals {
    fn from(run: &Run) -> Self {
        let mut totals = Self::default();
        totals.add(run);
        totals
    }
}
