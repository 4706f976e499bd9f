//! Matrix products.

use super::Selection;
use super::sums::Sums;
use crate::CompileError;
use crate::plan::{Stage, StepKind, TensorId};
use petgraph::graph::NodeIndex;
use waferloom_fabric::{Dtype, Split};
use waferloom_kernels::matmul::{self, BatchDim, MatMul};

impl Selection<'_> {
    /// SUMMA on the whole grid: the left operand and the product in their default layouts, the right operand as the kernel
    /// asks.
    ///
    /// With sums (see [`super::sums`]) it takes the place of the last of them.
    pub(super) fn matmul(&mut self, id: NodeIndex, sums: Option<&Sums>) -> Result<(), CompileError> {
        let graph = self.graph;
        let operands = graph.operands(id);
        let (left, right) = (operands[0], operands[1]);
        let product = self.default_layout(id);
        let left = self.demand_default(left)?;
        let right_shape: Vec<u32> = graph.shape(right).iter().map(|&n| n as u32).collect();
        let columns = product.x.map(|s| Split { dim: right_shape.len() as u32 - 1, ..s });
        let right_layout = matmul::right_distribution(self.distribution(left), &right_shape, columns);
        let right = self.demand(right, right_layout)?;
        let addends = sums.map_or(&[][..], |sums| &sums.addends);
        let start = addends.iter().map(|&addend| self.source(addend)).collect::<Result<Vec<_>, _>>()?;
        let result = self.compute_tensor(sums.map_or(id, |sums| sums.last), product);
        let shape = shape(&self.stage, left, right, result);
        let dtype = self.node_dtype(id);
        let [left_panel, right_panel] = shape.panel_bytes(dtype);
        // The product is summed up in f32, in place where that is its type; integers are exact up to 2^24.
        let accumulator =
            if dtype == Dtype::F32 { 0 } else { self.distribution(result).tile_elements() as u32 * Dtype::F32.bytes() };
        let flops = graph.shape(id).iter().product::<usize>() * (2 * shape.inner as usize + start.len());
        let kind = StepKind::MatMul { left, right, start, result };
        self.compute_step(id, kind, flops, &[left_panel, right_panel, accumulator]);
        Ok(())
    }
}

/// The local sizes of a planned product.
pub(crate) fn shape(stage: &Stage, left: TensorId, right: TensorId, result: TensorId) -> MatMul {
    let [left, right, result] = [left, right, result].map(|id| &stage.tensors[id].distribution);
    let rank = result.shape.len();
    let (left_tile, right_tile, tile) = (left.tile(), right.tile(), result.tile());
    // Matrices between two indices of a batch dimension; 0 where the operand has a single index.
    let strides = |shape: &[u32]| -> Vec<u32> {
        let after = |dim: usize| shape[dim + 1..rank - 2].iter().product::<u32>();
        (0..rank - 2).map(|dim| if shape[dim] == 1 { 0 } else { after(dim) }).collect()
    };
    let (left_strides, right_strides) = (strides(&left.shape), strides(&right.shape));
    let batch = (0..rank - 2)
        .map(|dim| BatchDim { size: result.shape[dim], left: left_strides[dim], right: right_strides[dim] })
        .collect();
    let matrices = [&left.shape, &right.shape].map(|shape| shape[..rank - 2].iter().product());
    let inner = left.shape[rank - 1];
    MatMul {
        batch,
        matrices,
        rows: tile[rank - 2],
        columns: tile[rank - 1],
        inner,
        block: left.x.map_or(left_tile[rank - 1], |split| split.block),
        left_split: left.x.is_some(),
        right_split: right.y.is_some(),
        right_rows: right_tile[rank - 2],
    }
}
