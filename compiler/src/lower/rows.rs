//! Softmax, normalisation and reduction along the last dimension.

use super::Lowering;
use crate::layout;
use crate::plan::{Step, StepKind, TensorId};
use waferloom_fabric::Dtype;
use waferloom_kernels::mesh::Axis;
use waferloom_kernels::reduce::{self, Rows};
use waferloom_kernels::{Tile, normalize, softmax};

impl Lowering<'_> {
    /// A tensor as rows along its last dimension, and whether these are dealt to the columns of the mesh.
    fn as_rows(&mut self, id: TensorId) -> (Rows, bool) {
        let distribution = &self.stage.tensors[id].distribution;
        let (rows, stride) = layout::rows(distribution);
        let valid = self.mesh.param_along(Axis::X, "valid", layout::valid_columns(distribution));
        (Rows { tile: self.tile(id), rows, stride, valid }, distribution.x.is_some())
    }

    pub(super) fn rows(&mut self, step: &Step) {
        let scratch = step.scratch[0].address;
        match step.kind {
            StepKind::Softmax { source, result } => {
                let (rows, spread) = self.as_rows(source);
                let result = self.tile(result);
                self.code.scope(|code| softmax::emit(code, &mut self.mesh, result, &rows, spread, scratch));
            }
            StepKind::Normalize { source, result, epsilon } => {
                let length = self.distribution(source).shape.last().copied().unwrap_or(1);
                let (rows, spread) = self.as_rows(source);
                let result = self.tile(result);
                self.code.scope(|code| {
                    normalize::emit(code, &mut self.mesh, result, &rows, length, epsilon, spread, scratch);
                });
            }
            StepKind::Reduce { combine, source, result } => {
                let (rows, spread) = self.as_rows(source);
                let result = self.tile(result);
                let wide = Tile { address: scratch, dtype: Dtype::F32, ..result };
                let target = if result.dtype == Dtype::F32 { result } else { wide };
                self.code.scope(|code| {
                    reduce::emit(code, &mut self.mesh, combine, &rows, spread, target.address);
                    if target != result {
                        code.mov(result.vector(), target.vector());
                    }
                });
            }
            _ => {}
        }
    }
}
