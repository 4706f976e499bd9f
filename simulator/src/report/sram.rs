//! What the memory of a PE holds.
//!
//! Buffers whose lives do not meet may share bytes, so a class's memory is the union of its byte ranges. So that the kinds
//! add up to that union, a shared byte counts for one kind only: the first in the order of [`SramByKind`]'s fields.

use serde::{Deserialize, Serialize};
use waferloom_fabric::{BufferKind, Class, Machine};

/// Bytes of memory by what they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SramByKind {
    /// Constants of the model.
    pub weights: u64,
    /// Descriptors and index lists.
    pub tables: u64,
    /// Inputs, outputs and results of operators.
    pub activations: u64,
    /// Working memory of operators.
    pub scratch: u64,
    /// Circular buffers that lie in no buffer.
    pub fifos: u64,
    /// Instructions and their descriptors.
    pub code: u64,
    /// Neither.
    pub free: u64,
}

impl SramByKind {
    /// What the memory of a class's PEs holds.
    pub(super) fn of(class: &Class, machine: &Machine) -> Self {
        let mut kinds = [0u64; 5];
        let ranges = ranges(class);
        let mut edges: Vec<u64> = ranges.iter().flat_map(|r| [r.start, r.end]).collect();
        edges.sort_unstable();
        edges.dedup();
        for pair in edges.windows(2) {
            let covering = ranges.iter().filter(|r| r.start <= pair[0] && pair[1] <= r.end);
            if let Some(kind) = covering.map(|r| r.kind).min() {
                kinds[kind] += pair[1] - pair[0];
            }
        }
        let [weights, tables, activations, scratch, fifos] = kinds;
        let code = u64::from(class.code_bytes(machine));
        let used = kinds.iter().sum::<u64>() + code;
        let free = u64::from(machine.sram_bytes).saturating_sub(used);
        Self { weights, tables, activations, scratch, fifos, code, free }
    }

    /// Bytes that hold something.
    pub fn used(&self) -> u64 {
        self.weights + self.tables + self.activations + self.scratch + self.fifos + self.code
    }

    /// Adds `count` PEs with the memory `each`.
    pub(super) fn add(&mut self, each: &Self, count: u64) {
        self.weights += each.weights * count;
        self.tables += each.tables * count;
        self.activations += each.activations * count;
        self.scratch += each.scratch * count;
        self.fifos += each.fifos * count;
        self.code += each.code * count;
        self.free += each.free * count;
    }
}

/// A range of memory, and the place of its kind in the order.
struct Range {
    start: u64,
    end: u64,
    kind: usize,
}

fn ranges(class: &Class) -> Vec<Range> {
    let buffers = class.buffers.iter().map(|buffer| {
        let kind = match buffer.kind {
            BufferKind::Weight => 0,
            BufferKind::Table => 1,
            BufferKind::Activation => 2,
            BufferKind::Scratch => 3,
        };
        Range { start: buffer.address.into(), end: u64::from(buffer.address) + u64::from(buffer.bytes), kind }
    });
    let fifos = class.fifos.iter().map(|fifo| {
        let start = u64::from(fifo.address);
        Range { start, end: start + 4 * u64::from(fifo.words), kind: 4 }
    });
    buffers.chain(fifos).collect()
}
