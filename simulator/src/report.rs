//! The [`Report`]: what people and tools read of a run. `docs/report.md` explains each field.

mod bound;
mod build;
mod links;
mod pipeline;
mod placement;
mod sram;
#[cfg(test)]
mod tests;
mod totals;

pub use placement::{ClassMemory, OperatorMemory};
pub use sram::SramByKind;
pub use totals::Totals;

use serde::{Deserialize, Serialize};
use waferloom_fabric::{Extent, Region};

/// Version of the schema; it grows when a field changes its meaning or goes away, not when one is added.
pub const SCHEMA: u32 = 2;

/// What a report says and neither the program nor the run knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Name of the model, or of the program when there is no model.
    pub model: String,
    /// The engine that ran the program.
    pub engine: String,
    /// Precision of floating-point numbers on the mesh.
    pub dtype: String,
    /// Seconds that each phase took on the host.
    pub host_seconds: HostSeconds,
    /// Items of the user's that all runs together worked on.
    pub items: u64,
    /// What an item is, in the plural: `sequences`, `images`.
    pub unit: String,
    /// The windows of DNA that the items are.
    pub sequence: Option<SequenceReport>,
    /// The outputs, with their errors when there was something to hold them against.
    pub outputs: Vec<OutputReport>,
    /// Whether the report lists every PE.
    pub per_pe: bool,
}

/// What one or more runs of a program gave, apart from the outputs' elements.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Name of the model, or of the program when there was no model.
    pub model: String,
    /// Name of the machine.
    pub machine: String,
    /// The engine that ran the program.
    pub engine: String,
    /// Precision of floating-point numbers on the mesh.
    pub dtype: String,
    /// The PEs of the program.
    pub grid: Extent,
    /// How often the program ran: once a batch.
    pub runs: u64,
    /// Cycles of all runs, one after another.
    pub cycles: u64,
    /// The same in seconds.
    pub seconds: f64,
    /// Seconds that each phase took on the host.
    pub host_seconds: HostSeconds,
    /// Items a second.
    pub throughput: Throughput,
    /// How items flow through the stages, when one run works on several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<Pipeline>,
    /// What limits the speed.
    pub bound_by: Bound,
    /// PEs that run code.
    pub pes_used: u64,
    /// Memory of the PEs.
    pub sram: Sram,
    /// Where the PEs' cycles went.
    pub utilisation: Utilisation,
    /// Load of the links between routers.
    pub links: Links,
    /// What crossed the fabric's edge.
    pub host_link: HostLink,
    /// Floating-point operations.
    pub flops: Flops,
    /// The operators, in the program's order.
    pub operators: Vec<OperatorReport>,
    /// The PEs with the most busy cycles, most first.
    pub heaviest_pes: Vec<PeReport>,
    /// Every PE, row by row, when asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_pe: Option<Vec<PeReport>>,
    /// The windows of DNA that the items are, when they are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<SequenceReport>,
    /// The outputs.
    pub outputs: Vec<OutputReport>,
    /// Wavelets that nobody took: a sign of a mistake in the program.
    pub leftover_wavelets: u64,
}

/// Seconds that each phase took on the host; 0 for one that was not needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostSeconds {
    /// Reading the model or the program.
    pub import: f64,
    /// Deciding how the model lies on the mesh, and making the program.
    pub compile: f64,
    /// Simulating all runs.
    pub simulate: f64,
}

/// Items a second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// Items of all runs.
    pub items: u64,
    /// Items a second of the machine's time.
    pub items_per_second: f64,
    /// What an item is.
    pub unit: String,
}

/// The flow of items through a program that works on several in one run; means over the runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pipeline {
    /// Items of a run.
    pub items_per_run: u64,
    /// Cycles from the start until the first item had come out: the latency of an item that nothing holds up.
    pub fill_cycles: f64,
    /// Cycles between two items that come out, from the first to the last: the steady state.
    pub interval_cycles: f64,
    /// Cycles from the first wavelet of the last item to its last.
    pub drain_cycles: f64,
    /// Items a second in the steady state.
    pub steady_items_per_second: f64,
    /// The stages, in the program's order.
    pub stages: Vec<StageReport>,
}

/// The PEs of a class, which work on an item while others work on the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageReport {
    /// Name of the class.
    pub name: String,
    /// Its PEs.
    pub region: Region,
    /// Where their cycles went, while the first items fill the stages and the last leave them as well.
    pub utilisation: Utilisation,
    /// Busy cycles for an item, of the cycles between two items: how busy the PEs are in the steady state.
    pub steady_busy: f64,
}

/// What limits the speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// The links between the host and the fabric are almost full.
    HostLink,
    /// The fullest link between two routers is almost full.
    Link,
    /// Most cycles of PEs are work.
    Compute,
    /// Most cycles of PEs are waits for wavelets.
    FabricIn,
    /// Most cycles of PEs are waits for room in a queue.
    FabricOut,
    /// Most cycles of PEs are waits for memory.
    Memory,
    /// Most cycles of PEs are idle: there is too little for them to do at the same time.
    Idle,
}

/// Memory of the PEs, in bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sram {
    /// Memory of one PE.
    pub capacity_bytes: u64,
    /// Bytes that the fullest PE uses.
    pub peak_bytes: u64,
    /// Mean over the PEs that run code.
    pub mean_bytes: f64,
    /// Where the fullest PE is (the first one, row by row); none when no PE runs code.
    pub fullest_pe: Option<[u16; 2]>,
    /// What the fullest PE's memory holds.
    pub fullest: SramByKind,
    /// Sum over the PEs that run code.
    pub total: SramByKind,
    /// The classes with code, the fullest first.
    #[serde(default)]
    pub classes: Vec<ClassMemory>,
    /// Bytes that each PE uses, a list a row, when asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_pe: Option<Vec<Vec<u64>>>,
}

/// Fractions of the cycles of all PEs of the grid; they add up to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Utilisation {
    /// The datapath executed something.
    pub busy: f64,
    /// Threads waited for wavelets.
    pub fabric_in: f64,
    /// Threads waited for room in a queue.
    pub fabric_out: f64,
    /// The datapath waited for memory.
    pub memory: f64,
    /// Nothing to do.
    pub idle: f64,
}

/// Load of the links between routers, in wavelets a cycle; 1 is full.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Links {
    /// Load of the fullest link.
    pub peak_load: f64,
    /// Mean over all links, each direction by itself.
    pub mean_load: f64,
    /// The router that sends on the fullest link; none when nothing was sent.
    pub peak_pe: Option<[u16; 2]>,
    /// Direction in which the fullest link leads: `west`, `east`, `north` or `south`.
    pub peak_direction: Option<LinkDirection>,
    /// Wavelets times the links that each crossed.
    pub wavelet_hops: u64,
    /// Wavelets that went down a ramp, from a router into its PE.
    #[serde(default)]
    pub ramp_wavelets: u64,
    /// Load of the fullest ramp from a router into its PE.
    pub peak_ramp_load: f64,
}

/// Direction of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkDirection {
    /// To `x - 1`.
    West,
    /// To `x + 1`.
    East,
    /// To `y - 1`.
    North,
    /// To `y + 1`.
    South,
}

/// What crossed the fabric's edge.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostLink {
    /// Wavelets from the host.
    pub sent_wavelets: u64,
    /// Wavelets to the host.
    pub received_wavelets: u64,
    /// The busier way's share of what the machine can move; 1 is full.
    pub load: f64,
}

/// Floating-point operations.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flops {
    /// Useful operations of all operators and runs.
    pub total: u64,
    /// The same a second of the machine's time.
    pub per_second: f64,
}

/// An operator of the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperatorReport {
    /// Its name.
    pub name: String,
    /// What it does.
    pub kind: String,
    /// The PEs on which it runs.
    pub region: Region,
    /// What it adds to the time of all runs; these add up to the report's cycles. When a run works on several items, whose
    /// operators overlap: mean over its PEs of the cycles that they spend in it.
    pub cycles: u64,
    /// From its first cycle on any PE to its last, over all runs; operators that run side by side overlap.
    pub span_cycles: u64,
    /// Useful floating-point operations of all runs.
    pub flops: u64,
    /// Bytes of operands and results, all runs.
    pub bytes: u64,
    /// Busy cycles of its PEs as a fraction of its PEs times its span; with several items, of the cycles spent in it.
    pub utilisation: f64,
    /// Whether numbers of it were worked out on the host as claims say; its time was not.
    #[serde(default)]
    pub from_claims: bool,
    /// What it has in the memory of a PE.
    #[serde(default)]
    pub memory: OperatorMemory,
}

/// A PE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeReport {
    /// Column.
    pub x: u16,
    /// Row.
    pub y: u16,
    /// Name of its class; none when it only routes.
    pub class: Option<String>,
    /// Cycles in which the datapath executed something.
    pub busy: u64,
    /// Cycles of waiting for wavelets.
    pub fabric_in: u64,
    /// Cycles of waiting for room in a queue.
    pub fabric_out: u64,
    /// Cycles of waiting for memory.
    pub memory: u64,
    /// Cycles with nothing to do.
    pub idle: u64,
    /// Bytes of its memory in use.
    pub sram_bytes: u64,
}

/// An output, and how far it is from what was expected.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OutputReport {
    /// Its name.
    pub name: String,
    /// Its shape, all runs together.
    pub shape: Vec<usize>,
    /// Largest `|found - expected|`; none without something to compare, or when a difference is not finite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_abs_error: Option<f64>,
    /// Largest `|found - expected| / |expected|` where the expected value is not 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rel_error: Option<f64>,
    /// Elements beyond the tolerance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mismatches: Option<u64>,
}

/// Windows of DNA, in the order of the outputs' axis 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceReport {
    /// The windows that were run.
    pub windows: Vec<WindowReport>,
    /// Windows left out because every word in them holds an N or another ambiguous letter.
    pub skipped: u64,
    /// Ends of records left out because they are shorter than a word.
    pub too_short: u64,
}

/// A window of DNA.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowReport {
    /// Name of the record.
    pub record: String,
    /// First base, from 0.
    pub start: u64,
    /// Base behind the last.
    pub end: u64,
}

/// A rate that a run of no cycles does not have.
fn per_second(amount: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { amount as f64 / seconds } else { 0.0 }
}
