//! Relayouts: the tables were sized by the plan and are worked out again here.

use super::Lowering;
use crate::CompileError;
use crate::plan::{Step, TensorId};
use petgraph::graph::NodeIndex;
use std::rc::Rc;
use waferloom_fabric::{Constant, Dtype, Payload};
use waferloom_kernels::relayout::{self, Memory};
use waferloom_kernels::{Tile, matmul};

impl Lowering<'_> {
    pub(super) fn movement(
        &mut self,
        step: &Step,
        node: usize,
        sources: &[TensorId],
        clear: bool,
        result: TensorId,
    ) -> Result<Vec<Constant>, CompileError> {
        let mismatch = || CompileError::Mismatch { problem: format!("step \"{}\" moves other tensors", step.name) };
        if node >= self.graph.dag.node_count() {
            return Err(mismatch());
        }
        let view = self.relayouts.views.of(self.graph, NodeIndex::new(node));
        if view.pieces.len() != sources.len() {
            return Err(mismatch());
        }
        let target = self.tile(result);
        if clear {
            // Whole words: a tile's last half word must not keep what was there before.
            let words = Tile { elements: target.words(), dtype: Dtype::I32, ..target };
            matmul::clear(&mut self.code, words);
        }
        let mut areas = step.tables.iter();
        let mut constants = Vec::new();
        for (piece, &source) in view.pieces.iter().zip(sources) {
            let [from, to] = [source, result].map(|id| &self.stage.tensors[id].distribution);
            let relayout = self
                .relayouts
                .plan(from, to, piece.map(view.elements), target.dtype, self.machine)
                .map_err(|source| CompileError::Relayout { node: step.name.clone(), source })?;
            let tables = relayout.table_bytes().len();
            let own: Vec<u32> = areas.by_ref().take(tables).map(|area| area.address).collect();
            if own.len() < tables {
                return Err(mismatch());
            }
            let memory = Memory {
                tables: own,
                panel: step.scratch.first().ok_or_else(mismatch)?.address,
                middle: step.scratch.get(1).ok_or_else(mismatch)?.address,
            };
            // Layers share tables, which are large.
            if !self.tables.get(&memory.tables).is_some_and(|known| Rc::ptr_eq(known, &relayout)) {
                let tables = memory.tables.iter().zip(relayout.tables());
                constants.extend(tables.map(|(&address, table)| Constant {
                    name: format!("table of {}", step.name),
                    dtype: Dtype::U16,
                    distribution: table.distribution,
                    origin: self.stage.origin,
                    address,
                    payload: Payload::Inline(table.numbers.iter().flat_map(|n| n.to_le_bytes()).collect()),
                }));
                self.tables.insert(memory.tables.clone(), relayout.clone());
            }
            let from = self.tile(source);
            self.code.scope(|code| relayout::emit(code, &mut self.mesh, &relayout, target, from, &memory));
        }
        Ok(constants)
    }
}
