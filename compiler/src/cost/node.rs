//! A node of a graph on a grid, before anything is planned.

use crate::plan::{Stage, Storage};
use crate::{CompileError, Options, select};
use petgraph::graph::NodeIndex;
use waferloom_models::Graph;

/// What a node takes on a grid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeCost {
    /// Cycles: the node's own and those of the relayouts of its operands.
    pub cycles: u64,
    /// Those of the relayouts alone.
    pub move_cycles: u64,
    /// Bytes of a PE for constants and tables, which stay for good.
    pub constant_bytes: u64,
    /// Bytes of a PE for operands, result and working memory while the node is computed.
    pub activation_bytes: u64,
}

/// The cost of a node of a prepared graph in the layouts that selection would give it and its operands. Movements (reshape,
/// permute, slice, ..) and constants cost their users something, and nothing by themselves.
///
/// # Errors
/// Operators that no kernel computes.
pub fn node_cost(graph: &Graph, id: NodeIndex, options: &Options) -> Result<NodeCost, CompileError> {
    Ok(NodeCost::of(&select::sketch(graph, id, options)?))
}

impl NodeCost {
    fn of(stage: &Stage) -> Self {
        let mut cost = Self::default();
        let mut scratch = 0;
        for step in &stage.steps {
            cost.cycles += step.estimate_cycles;
            if matches!(step.kind, crate::plan::StepKind::Move { .. }) {
                cost.move_cycles += step.estimate_cycles;
            }
            cost.constant_bytes += step.tables.iter().map(|area| u64::from(area.bytes)).sum::<u64>();
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
