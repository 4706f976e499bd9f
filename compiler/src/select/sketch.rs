//! One node by itself, without planning a relayout: what the cost model needs of selection.

use super::{Selection, sums};
use crate::cost::{self, Movement};
use crate::plan::{Area, Stage, StepKind, Storage, TensorId};
use crate::{CompileError, Options, layout, view};
use petgraph::graph::NodeIndex;
use waferloom_fabric::{Coord, Distribution, Extent};
use waferloom_models::Graph;
use waferloom_models::graph::Op;

/// The steps of one node: the relayouts of its operands, of which only the sizes and cycles are estimated, and the operator. A
/// stage that cannot be lowered.
pub(crate) fn sketch(graph: &Graph, id: NodeIndex, grid: Extent, options: &Options) -> Result<Stage, CompileError> {
    let origin = Coord { x: 0, y: 0 };
    let mut selection = Selection { estimate_only: true, ..Selection::new(graph, origin, grid, options) };
    match graph.node(id).op {
        Op::Input => selection.receive(id),
        Op::Constant(_) => {}
        _ if view::moves(graph, id) => {}
        _ => match sums::addend(graph, id) {
            // The product's step adds it instead of clearing its sums, which takes no longer.
            Some(addend) => {
                selection.source(addend, &selection.default_layout(id))?;
            }
            None => selection.compute(id)?,
        },
    }
    cost::record(&mut selection.stage, &options.machine);
    Ok(selection.stage)
}

impl Selection<'_> {
    /// A value in a layout, as far as the cost model needs it.
    pub(super) fn sketch_demand(&mut self, id: NodeIndex, wanted: Distribution) -> TensorId {
        let origins = view::origins(self.graph, id);
        let constant = |&node: &NodeIndex| matches!(self.graph.node(node).op, Op::Constant(_));
        if origins.iter().all(constant) {
            return self.hold(id, wanted, Storage::Constant { node: id.index(), address: 0 });
        }
        let default = self.default_layout(id);
        let whole = origins.as_slice() == [id];
        if whole && layout::same_tiles(&default, &wanted) {
            return self.hold(id, wanted, Storage::Computed { address: 0 });
        }
        let dtype = self.node_dtype(id);
        let movement = cost::movement(self.machine, self.graph, id, &wanted, self.float, dtype);
        self.sketch_relayout(id, &origins, wanted, movement)
    }

    fn sketch_relayout(
        &mut self,
        id: NodeIndex,
        origins: &[NodeIndex],
        wanted: Distribution,
        movement: Movement,
    ) -> TensorId {
        let sources: Vec<TensorId> = origins
            .iter()
            .map(|&node| {
                let storage = match self.graph.node(node).op {
                    Op::Constant(_) => Storage::Constant { node: node.index(), address: 0 },
                    _ => Storage::Computed { address: 0 },
                };
                self.hold(node, self.default_layout(node), storage)
            })
            .collect();
        if let (true, [source]) = (movement.identity, sources.as_slice()) {
            return self.hold(id, wanted, Storage::Alias(*source));
        }
        let result = self.hold(id, wanted, Storage::Computed { address: 0 });
        let kind = StepKind::Move { node: id.index(), sources, clear: false, result };
        self.compute_step(id, kind, 0, &[movement.scratch_bytes]);
        if let Some(step) = self.stage.steps.last_mut() {
            step.tables = vec![Area::of(movement.table_bytes)];
            step.estimate_cycles = movement.cycles;
        }
        result
    }
}
