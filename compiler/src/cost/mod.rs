//! Closed forms for the cycles of a plan's steps and of a graph's nodes: what the planner decides by.
//!
//! Everything follows from shapes, types, the grid and the machine's parameters; nothing is fitted and nothing is emitted.
//! `docs/cost-model.md` derives the forms. One file a family of kernels, each with the form over local sizes; on top of them:
//!
//! - [`step_cycles`]: a step of a plan, whose layouts are known;
//! - [`node_cycles`] and [`node_bytes`]: a node of a prepared graph on a grid, in the layouts that the planner would give it,
//!   without planning it.

mod bytes;
mod edge;
mod elementwise;
mod gather;
mod matmul;
mod movement;
mod node;
mod rows;
mod step;

pub use bytes::{NodeBytes, node_bytes};
pub use edge::{receive_cycles, send_cycles};
pub use node::node_cycles;
pub use step::step_cycles;

use waferloom_fabric::{Dtype, Machine};
use waferloom_kernels::cost;
use waferloom_kernels::functions::{CHUNK, Length};

/// The machine's times, as the forms use them.
#[derive(Clone, Copy, Debug)]
struct Clock<'a> {
    machine: &'a Machine,
}

impl Clock<'_> {
    /// Scalar instructions.
    fn scalars(self, count: u64) -> u64 {
        count * u64::from(self.machine.scalar_cycles)
    }

    /// Branches: conditions and turns of loops.
    fn branches(self, count: u64) -> u64 {
        count * u64::from(self.machine.branch_cycles)
    }

    /// Elements a cycle of an instruction on elements of these types in memory.
    fn lanes(self, dtypes: &[Dtype]) -> u64 {
        let has = |bytes: u32| dtypes.iter().any(|d| d.bytes() == bytes);
        u64::from(match (has(2), has(4)) {
            (true, false) => self.machine.lanes_16,
            (true, true) => self.machine.lanes_mixed,
            _ => self.machine.lanes_32,
        })
        .max(1)
    }

    /// A vector instruction on elements of these types in memory, without waits for it.
    fn vector(self, elements: u64, dtypes: &[Dtype]) -> u64 {
        if elements == 0 {
            return self.scalars(1);
        }
        cost::startup(self.machine) + elements.div_ceil(self.lanes(dtypes))
    }

    /// A vector instruction between memory and a queue: a word a cycle.
    fn words(self, words: u64) -> u64 {
        if words == 0 { self.scalars(1) } else { cost::startup(self.machine) + words }
    }

    /// What a PE does in one turn of [`waferloom_kernels::line::turn`] with `words`: the root's way, which is the longer one.
    fn turn(self, words: u64) -> u64 {
        self.branches(2) + self.words(words) + self.scalars(2)
    }

    /// Emitted by [`waferloom_kernels::functions::chunks`]: `functions` one after another on f32 working vectors over
    /// `elements`, with `addresses` parts of tiles beside them; `moves` are the cycles of what else each element takes.
    fn chunked(self, elements: u64, functions: &[Length], addresses: u64, moves: &[&[Dtype]]) -> u64 {
        let count = elements.div_ceil(u64::from(CHUNK)).max(1);
        let chunk = elements.div_ceil(count);
        let one = |length: &Length| {
            let again = length.three_reads * chunk.div_ceil(self.lanes(&[Dtype::F32]));
            length.instructions * self.vector(chunk, &[Dtype::F32]) + again
        };
        let work: u64 = functions.iter().map(one).sum::<u64>()
            + moves.iter().map(|dtypes| self.vector(chunk, dtypes)).sum::<u64>();
        if count == 1 {
            return work;
        }
        // Start, length and each address of the chunk.
        self.branches(1) + count * (work + self.branches(1) + self.scalars(3 + 2 * addresses))
    }
}
