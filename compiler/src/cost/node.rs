//! A node of a graph on a grid, before anything is planned.

use super::{Clock, code_bytes, edge};
use crate::plan::{Stage, StepKind, Storage};
use crate::{CompileError, Options, layout, select};
use petgraph::graph::NodeIndex;
use waferloom_fabric::{Dtype, Extent};
use waferloom_models::Graph;
use waferloom_models::graph::ElementType;

/// What a node takes on a grid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeCost {
    /// Cycles: the node's own and those of the relayouts of its operands.
    pub cycles: u64,
    /// Those of the relayouts alone.
    pub move_cycles: u64,
    /// Bytes of a PE for constants, which stay for good.
    pub constant_bytes: u64,
    /// Bytes of a PE for tables, which stay for good and are shared by relayouts that are alike.
    pub table_bytes: u64,
    /// Bytes of a PE for operands, result and working memory while the node is computed.
    pub activation_bytes: u64,
    /// Bytes of a PE for the code of the node and its relayouts, about.
    pub code_bytes: u64,
}

/// The cost of a node of a prepared graph on a grid, in the layouts that selection would give it and its
/// operands. Machine and type are those of `options`. Movements (reshape,
/// permute, slice, ..) and constants cost their users something, and nothing by themselves.
///
/// # Errors
/// Operators that no kernel computes.
pub fn node_cost(graph: &Graph, id: NodeIndex, grid: Extent, options: &Options) -> Result<NodeCost, CompileError> {
    Ok(NodeCost::of(&select::sketch(graph, id, grid, options)?, options))
}

/// Cycles of a PE's row of `grid` for sending a node's value to the stage to the east, or for taking it from the west.
pub fn handoff_cycles(graph: &Graph, id: NodeIndex, grid: Extent, options: &Options) -> u64 {
    let node = graph.node(id);
    let distribution = layout::of(graph, id, grid, options.dtype);
    let dtype = if node.output.element == ElementType::Float { options.dtype } else { Dtype::I32 };
    edge::handoff(Clock { machine: &options.machine }, &distribution, dtype)
}

impl NodeCost {
    fn of(stage: &Stage, options: &Options) -> Self {
        let mut cost = Self::default();
        let mut scratch = 0;
        for step in &stage.steps {
            cost.cycles += step.estimate_cycles;
            if matches!(step.kind, StepKind::Move { .. }) {
                cost.move_cycles += step.estimate_cycles;
            }
            cost.code_bytes += code_bytes(&options.machine, step);
            cost.table_bytes += step.tables.iter().map(|area| u64::from(area.bytes)).sum::<u64>();
            scratch = step.scratch.iter().map(|area| u64::from(area.bytes)).sum::<u64>().max(scratch);
        }
        cost.activation_bytes = scratch;
        for tensor in &stage.tensors {
            match tensor.storage {
                Storage::Constant { .. } => cost.constant_bytes += tensor.tile_bytes(),
                Storage::Computed { .. } => cost.activation_bytes += tensor.tile_bytes(),
                Storage::Alias(_) => {}
            }
        }
        cost
    }
}
