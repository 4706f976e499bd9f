//! Operators along the last dimension, which is dealt to the columns of the mesh: softmax, normalisation, reduction.

use super::Selection;
use crate::plan::StepKind;
use crate::{CompileError, layout};
use petgraph::graph::NodeIndex;
use waferloom_fabric::Dtype;
use waferloom_kernels::reduce::Combine;
use waferloom_kernels::{normalize, softmax};
use waferloom_models::graph::{Op, ReduceOp};

/// Floating-point operations of an element of a softmax: comparison, difference, exponential, sum, quotient.
const SOFTMAX_FLOPS: usize = 5;
/// Floating-point operations of an element of a normalisation: two sums, difference, square, scale.
const NORMALIZE_FLOPS: usize = 5;

impl Selection<'_> {
    pub(super) fn rows(&mut self, id: NodeIndex) -> Result<(), CompileError> {
        let graph = self.graph;
        let operand = graph.operands(id)[0];
        let last = graph.shape(operand).len() as isize - 1;
        let elements: usize = graph.shape(operand).iter().product();
        let source = self.demand(operand, layout::of_rows(graph, id, operand, self.stage.grid, self.float))?;
        let result = self.compute_tensor(id, self.default_layout(id));
        let (rows, columns) = layout::rows(self.distribution(source));
        let (kind, flops, scratch) = match &graph.node(id).op {
            Op::Softmax { axis } if *axis as isize == last => {
                let bytes = softmax::scratch_bytes(rows, rows * columns);
                (StepKind::Softmax { source, result }, SOFTMAX_FLOPS * elements, bytes)
            }
            Op::Normalize { epsilon } => {
                let bytes = normalize::scratch_bytes(rows, rows * columns);
                (StepKind::Normalize { source, result, epsilon: *epsilon }, NORMALIZE_FLOPS * elements, bytes)
            }
            Op::Reduce { op, axes } if axes.iter().map(|&a| a as isize).eq([last]) => {
                let combine = match op {
                    ReduceOp::Sum => Combine::Sum,
                    ReduceOp::Max => Combine::Max,
                    ReduceOp::Min => Combine::Min,
                };
                // The kernel reduces in f32: integers are exact up to 2^24, whatever the type of the floats.
                let bytes = if self.node_dtype(id) == Dtype::F32 { 0 } else { rows * Dtype::F32.bytes() };
                (StepKind::Reduce { combine, source, result }, elements, bytes)
            }
            _ => return Err(self.unsupported(id, "it is only supported along the last axis; move that axis there")),
        };
        self.compute_step(id, kind, flops, &[scratch]);
        Ok(())
    }
}
