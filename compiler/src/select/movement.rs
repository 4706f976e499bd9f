//! Values on demand: a consumer names a node and a layout.

use super::Selection;
use crate::plan::{Area, StepKind, Storage, TensorId};
use crate::view::{Piece, View};
use crate::{CompileError, cost, layout};
use petgraph::graph::NodeIndex;
use std::rc::Rc;
use std::sync::Arc;
use waferloom_fabric::Distribution;
use waferloom_kernels::relayout::Relayout;
use waferloom_models::graph::Op;

impl Selection<'_> {
    /// A node's value in its default layout.
    pub(super) fn demand_default(&mut self, id: NodeIndex) -> Result<TensorId, CompileError> {
        self.demand(id, self.default_layout(id))
    }

    /// A tensor that holds a node's value in a layout: one that is there, the same bytes seen otherwise, a constant laid
    /// out at compile time, or the result of a relayout.
    pub(super) fn demand(&mut self, id: NodeIndex, wanted: Distribution) -> Result<TensorId, CompileError> {
        let known = self.holders.get(&id).map_or(&[][..], Vec::as_slice);
        if let Some(&tensor) = known.iter().find(|&&t| *self.distribution(t) == wanted) {
            return Ok(tensor);
        }
        if self.estimate_only {
            let tensor = self.sketch_demand(id, wanted);
            self.holders.entry(id).or_default().push(tensor);
            return Ok(tensor);
        }
        let view = self.relayouts.views.of(self.graph, id);
        let tensor = if view.pieces.iter().all(|p| self.is_constant(p.node)) {
            self.hold(id, wanted, Storage::Constant { node: id.index(), address: 0 })
        } else if let Some(tensor) = self.same_tiles(&view, &wanted) {
            self.hold(id, wanted, Storage::Alias(tensor))
        } else {
            self.relayout(id, &view, wanted)?
        };
        self.holders.entry(id).or_default().push(tensor);
        Ok(tensor)
    }

    fn is_constant(&self, id: NodeIndex) -> bool {
        matches!(self.graph.node(id).op, Op::Constant(_))
    }

    pub(super) fn hold(&mut self, id: NodeIndex, wanted: Distribution, storage: Storage) -> TensorId {
        let (graph, dtype) = (self.graph, self.node_dtype(id));
        self.tensor(&graph.node(id).name, dtype, wanted, storage)
    }

    /// A tensor whose tiles are those of the wanted layout.
    fn same_tiles(&self, view: &View, wanted: &Distribution) -> Option<TensorId> {
        let [piece] = view.pieces.as_slice() else { return None };
        let holders = self.holders.get(&piece.node).filter(|_| piece.is_whole() && !view.has_zeros)?;
        holders.iter().copied().find(|&t| layout::same_tiles(self.distribution(t), wanted))
    }

    fn relayout(&mut self, id: NodeIndex, view: &View, wanted: Distribution) -> Result<TensorId, CompileError> {
        let mut sources = Vec::with_capacity(view.pieces.len());
        let mut relayouts = Vec::with_capacity(view.pieces.len());
        for piece in &view.pieces {
            let source = self.holder(piece)?;
            relayouts.push(self.plan_relayout(id, source, &wanted, piece.map(view.elements))?);
            sources.push(source);
        }
        if let ([relayout], [source], false) = (relayouts.as_slice(), sources.as_slice(), view.has_zeros)
            && relayout.is_identity()
            && wanted.tile_elements() <= self.distribution(*source).tile_elements()
        {
            return Ok(self.hold(id, wanted, Storage::Alias(*source)));
        }
        let dtype = self.node_dtype(id);
        let result = self.hold(id, wanted, Storage::Computed { address: 0 });
        let most =
            |bytes: &dyn Fn(&Relayout) -> u32| relayouts.iter().map(|relayout| bytes(relayout)).max().unwrap_or(0);
        let scratch = [most(&|r| r.panel_bytes()), most(&|r| r.middle_bytes(dtype))];
        let kind = StepKind::Move { node: id.index(), sources, clear: view.has_zeros, result };
        self.compute_step(id, kind, 0, &scratch);
        let areas = relayouts.iter().flat_map(|r| r.table_bytes()).map(Area::of).collect();
        let clear = if view.has_zeros { cost::clear_cycles(self.machine, &self.stage.tensors[result]) } else { 0 };
        let moves = relayouts.iter().map(|r| r.cycles()).sum::<u64>();
        if let Some(step) = self.stage.steps.last_mut() {
            step.tables = areas;
            step.estimate_cycles = clear + moves;
        }
        Ok(result)
    }

    /// Cycles of the relayout of a value to a layout by its tables; `None` for tiles that are too large for one.
    pub(super) fn planned_move_cycles(&mut self, id: NodeIndex, wanted: &Distribution) -> Option<u64> {
        let (view, dtype) = (self.relayouts.views.of(self.graph, id), self.node_dtype(id));
        let cycles = |piece: &Piece| {
            let source = self.default_layout(piece.node);
            let map = piece.map(view.elements);
            let relayout = self.relayouts.plan(&source, wanted, map, dtype, self.machine).ok()?;
            Some(relayout.cycles())
        };
        view.pieces.iter().map(cycles).sum()
    }

    /// The tensor as which a piece's node was computed.
    fn holder(&mut self, piece: &Piece) -> Result<TensorId, CompileError> {
        match self.holders.get(&piece.node).and_then(|tensors| tensors.first()) {
            Some(&tensor) => Ok(tensor),
            None => self.demand_default(piece.node),
        }
    }

    fn plan_relayout(
        &mut self,
        id: NodeIndex,
        source: TensorId,
        wanted: &Distribution,
        map: Arc<[u32]>,
    ) -> Result<Rc<Relayout>, CompileError> {
        let source = &self.stage.tensors[source];
        let relayout = self.relayouts.plan(&source.distribution, wanted, map, source.dtype, self.machine);
        relayout.map_err(|source| CompileError::Relayout { node: self.graph.node(id).name.clone(), source })
    }
}
