//! Closed forms for the cycles of a plan's steps and of a graph's nodes: what the planner decides by.
//!
//! Everything follows from shapes, types, the grid and the machine's parameters; nothing is fitted and nothing is emitted.
//! `docs/cost-model.md` derives the forms. One file a family of kernels.
//!
//! - [`Step::estimate_cycles`](crate::plan::Step::estimate_cycles): a step of a stage, whose layouts are known;
//! - [`node_cost`]: a node of a prepared graph on a grid, in the layouts that selection would give it, without planning its
//!   relayouts ([`movement`]).

mod code;
mod edge;
mod elementwise;
mod gather;
mod matmul;
mod movement;
mod node;
mod rows;

pub(crate) use code::code_bytes;
pub(crate) use movement::{Movement, movement};
pub use node::{NodeCost, handoff_cycles, node_cost};

use crate::plan::{Algorithm, Stage, StepKind, TensorId, TensorPlan};
use crate::select;
use waferloom_fabric::{Distribution, Dtype, Machine};
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

    /// A vector instruction from or to a queue, a word a cycle: but an output queue holds each word for the length of the
    /// ramp, so that a short queue on a long ramp sets the pace.
    fn cycles_per_word(self, queue: u8) -> u64 {
        let depth = self.machine.output_queue_depths.get(usize::from(queue)).copied().unwrap_or(1).max(1);
        u64::from(self.machine.ramp_cycles).div_ceil(u64::from(depth)).max(1)
    }

    /// `kernels::reduce::all_reduce` of `count` f32 over `pes`, whose chain leaves by `queue`: to the first PE, which sends the
    /// result back.
    fn all_reduce(self, pes: u64, count: u64, queue: u8) -> u64 {
        if pes < 2 {
            return 0;
        }
        let chain = self.words(count * self.cycles_per_word(queue));
        self.branches(2) + chain + self.turn(count) + cost::all_reduce_wait(self.machine, pes)
    }

    /// Emitted by [`waferloom_kernels::functions::chunks`]: `function` on f32 working vectors over
    /// `elements`, with `addresses` parts of tiles beside them; `moves` are the cycles of what else each element takes.
    fn chunked(self, elements: u64, function: Length, addresses: u64, moves: &[&[Dtype]]) -> u64 {
        let count = elements.div_ceil(u64::from(CHUNK)).max(1);
        let chunk = elements.div_ceil(count);
        let work = function.instructions * self.vector(chunk, &[Dtype::F32])
            + function.three_reads * chunk.div_ceil(self.lanes(&[Dtype::F32]))
            + moves.iter().map(|dtypes| self.vector(chunk, dtypes)).sum::<u64>();
        if count == 1 {
            return work;
        }
        // Start, length and each address of the chunk.
        self.branches(1) + count * (work + self.branches(1) + self.scalars(3 + 2 * addresses))
    }
}

/// Records the estimate of every step of a stage but of relayouts, whose estimates selection records: it has their tables.
pub(crate) fn record(stage: &mut Stage, machine: &Machine) {
    let estimate = |place: usize| {
        let before = place.checked_sub(1).map(|before| &stage.steps[before].kind);
        step_cycles(machine, stage, &stage.steps[place].kind, before)
    };
    let estimates: Vec<Option<u64>> = (0..stage.steps.len()).map(estimate).collect();
    for (step, estimate) in stage.steps.iter_mut().zip(estimates) {
        step.estimate_cycles = estimate.unwrap_or(step.estimate_cycles);
    }
}

/// Cycles for bringing a tensor to zero before something is moved there.
pub(crate) fn clear_cycles(machine: &Machine, tensor: &TensorPlan) -> u64 {
    Clock { machine }.vector(tensor.tile_bytes() / 4, &[Dtype::I32])
}

/// Cycles that a step adds to the time of its stage, behind the step `before` it; `None` for a relayout.
fn step_cycles(machine: &Machine, stage: &Stage, kind: &StepKind, before: Option<&StepKind>) -> Option<u64> {
    let clock = Clock { machine };
    let tensor = |id: TensorId| &stage.tensors[id];
    let rows = |id: TensorId| {
        let d = &tensor(id).distribution;
        rows::Rows::new(&d.tile(), d.x.is_some(), stage.grid, tensor(id).dtype)
    };
    Some(match kind {
        StepKind::Receive { result, .. } => {
            let first = !matches!(before, Some(StepKind::Receive { .. }));
            edge::receive(clock, &tensor(*result).distribution, tensor(*result).dtype, first)
        }
        StepKind::Send { source, .. } => edge::send(clock, &tensor(*source).distribution, tensor(*source).dtype),
        StepKind::Arrive { result: id, .. } | StepKind::Leave { source: id, .. } => {
            edge::handoff(clock, &tensor(*id).distribution, tensor(*id).dtype)
        }
        StepKind::Move { .. } => return None,
        StepKind::MatMul { choice, left, right, start, result } => {
            let layouts = [*left, *right, *result].map(|id| &tensor(id).distribution);
            // Only SUMMA clears its sums when they start from nothing.
            let starts = !start.is_empty() || choice.algorithm == Algorithm::Summa;
            let start = if starts { elementwise::start(clock, stage, start, *result) } else { 0 };
            start + product_cycles(machine, choice.algorithm, layouts, tensor(*result).dtype)
        }
        StepKind::Gather { table, indices, .. } => {
            let shape = select::gather::shape(stage, *table, *indices);
            let alike = tensor(*indices).distribution.y.is_none();
            gather::gather(clock, stage.grid.height.into(), &shape, alike, tensor(*table).dtype)
        }
        StepKind::Softmax { source, .. } => rows::softmax(clock, rows(*source)),
        StepKind::Normalize { source, .. } => rows::normalize(clock, rows(*source)),
        StepKind::Reduce { source, .. } => rows::reduce(clock, rows(*source)),
        StepKind::Elementwise { op, sources, result } => elementwise::elementwise(clock, stage, *op, sources, *result),
    })
}

/// Cycles of a product with operands and a result that lie so, without what its sums start from. `dtype` is the type of all.
pub(crate) fn product_cycles(
    machine: &Machine,
    algorithm: Algorithm,
    layouts: [&Distribution; 3],
    dtype: Dtype,
) -> u64 {
    let clock = Clock { machine };
    let grid = layouts[2].grid;
    match algorithm {
        Algorithm::Summa => matmul::summa(clock, grid, &select::matmul::summa_shape(layouts), dtype),
        Algorithm::Stationary => {
            matmul::stationary(clock, grid.height.into(), &select::matmul::stationary_shape(layouts), dtype)
        }
    }
}
