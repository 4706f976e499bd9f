//! Closed forms for the time of what kernels are made of: the planner's and the catalogue's cost model.
//!
//! Everything follows from the parameters of the machine; nothing is fitted. `docs/cost-model.md` derives the forms. The time
//! of a kernel is the time that one PE's datapath is busy ([`busy`]: counted from the kernel's own code, as no time depends on
//! the data), plus the waits for wavelets that are on their way (the other functions here).

mod busy;

pub use busy::{Place, busy, busy_by_turns};

use waferloom_fabric::Machine;

/// The start of every program: the first task starts, and the first vector instruction.
pub fn start(machine: &Machine) -> u64 {
    u64::from(machine.task_switch_cycles) + startup(machine)
}

/// Cycles before the first element of a vector instruction.
pub fn startup(machine: &Machine) -> u64 {
    u64::from(machine.vector_startup_cycles)
}

/// Cycles of a vector instruction of `elements`, `lanes` of them a cycle, in memory and without waits for it.
pub fn vector(machine: &Machine, elements: u64, lanes: u32) -> u64 {
    startup(machine) + elements.div_ceil(u64::from(lanes.max(1)))
}

/// Cycles from a PE's datapath to that of a PE `hops` links away: ramp, hops, ramp, and the element itself.
pub fn flight(machine: &Machine, hops: u64) -> u64 {
    u64::from(2 * machine.ramp_cycles + 1) + hops * u64::from(machine.hop_cycles)
}

/// Cycles from a PE's datapath to its neighbour's.
pub fn neighbour(machine: &Machine) -> u64 {
    flight(machine, 1)
}

/// What the easternmost PE of a row of `pes` waits for in [`crate::reduce::all_reduce`], beside the elements that it sends
/// and receives itself: its elements go through the chain of the others, and the result comes back.
pub fn all_reduce_wait(machine: &Machine, pes: u64) -> u64 {
    if pes < 2 { 0 } else { neighbour(machine) * (pes - 1) + flight(machine, pes - 1) }
}

/// Cycles of a broadcast of `words` that starts at once, to PEs up to `hops` links away; without the start of the code.
pub fn broadcast(machine: &Machine, hops: u64, words: u64) -> u64 {
    flight(machine, hops) + words
}

/// Waits of a PE in a series of `turns` of [`crate::line::turn`] among `pes` PEs, beside the words that it sends and receives
/// and what it works in between: a root starts when it has the tile of the root before, one flight after that has sent it;
/// the last tile also has to come to the other end of the line.
pub fn turns_wait(machine: &Machine, pes: u64, turns: u64) -> u64 {
    if pes < 2 { 0 } else { neighbour(machine) * turns + u64::from(machine.hop_cycles) * (pes - 1) }
}
