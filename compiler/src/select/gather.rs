//! Look-ups of rows.

use super::Selection;
use crate::plan::{Stage, StepKind, TensorId};
use crate::{CompileError, layout};
use petgraph::graph::NodeIndex;
use waferloom_kernels::gather::{Gather, PART_BYTES};

impl Selection<'_> {
    /// `[rows, columns]` looked up by `[..]` gives `[.., columns]`: each PE finds the rows of its part of the result.
    pub(super) fn gather(&mut self, id: NodeIndex) -> Result<(), CompileError> {
        let graph = self.graph;
        let operands = graph.operands(id);
        let (table, indices) = (operands[0], operands[1]);
        if graph.shape(table).len() != 2 {
            return Err(self.unsupported(id, "only rows of a matrix can be looked up"));
        }
        let product = layout::matrices(graph.shape(id), self.stage.grid, self.float);
        let table_layout = layout::table(graph.shape(table), product.x, self.stage.grid);
        let table = self.demand(table, table_layout)?;
        let indices = self.demand(indices, layout::indices(graph.shape(indices), self.stage.grid))?;
        let result = self.compute_tensor(id, product);
        let panel = shape(&self.stage, table, indices).panel_bytes(self.stage.tensors[table].dtype);
        self.compute_step(id, StepKind::Gather { table, indices, result }, 0, &[panel]);
        Ok(())
    }
}

/// The local sizes of a planned look-up.
pub(crate) fn shape(stage: &Stage, table: TensorId, indices: TensorId) -> Gather {
    let layout = &stage.tensors[table].distribution;
    let tile = layout.tile();
    let split = layout.y.is_some();
    let dtype = stage.tensors[table].dtype;
    Gather {
        table_rows: layout.shape[0],
        tile_rows: tile[0],
        split,
        columns: tile[1],
        indices: stage.tensors[indices].distribution.tile_elements() as u32,
        part_rows: if split { Gather::part_rows(tile[0], tile[1], dtype, PART_BYTES) } else { tile[0] },
    }
}
