//! Matrix products, with what their sums start from.

use super::Lowering;
use crate::plan::{Source, Step, TensorId};
use crate::select;
use waferloom_fabric::{Dtype, VectorOp};
use waferloom_kernels::{Tile, elementwise, matmul};

impl Lowering<'_> {
    pub(super) fn matmul(&mut self, step: &Step, [left, right]: [TensorId; 2], start: &[Source], result: TensorId) {
        let sizes = self.distribution(result).tile();
        let shape = select::matmul::shape(self.stage, left, right, result);
        let (left, right, result) = (self.tile(left), self.tile(right), self.tile(result));
        let sums = match result.dtype {
            Dtype::F32 => result,
            _ => Tile { address: step.scratch[2].address, dtype: Dtype::F32, ..result },
        };
        let panels = [step.scratch[0].address, step.scratch[1].address];
        self.start(sums, &sizes, start);
        matmul::emit(&mut self.code, &self.mesh, &shape, left, right, sums.address, panels);
        if sums != result {
            self.code.mov(result.vector(), sums.vector());
        }
    }

    /// Brings the tile of a product's sums to what they start from.
    fn start(&mut self, sums: Tile, sizes: &[u32], start: &[Source]) {
        let within = elementwise::Source::Tile { tile: sums, shape: sizes.to_vec() };
        let sources: Vec<elementwise::Source> = start.iter().map(|&source| self.source(source)).collect();
        // One of them may lie there already.
        let (there, others): (Vec<_>, Vec<_>) = sources.into_iter().partition(|source| *source == within);
        self.code.scope(|code| {
            let mut rest = others.as_slice();
            if there.is_empty() {
                match others.as_slice() {
                    [] => matmul::clear(code, sums),
                    [only] => elementwise::emit(code, VectorOp::Mov, sums, sizes, std::slice::from_ref(only)),
                    pair => elementwise::emit(code, VectorOp::Add, sums, sizes, &pair[..2]),
                }
                rest = others.get(2..).unwrap_or(&[]);
            }
            for source in rest {
                elementwise::emit(code, VectorOp::Add, sums, sizes, &[within.clone(), source.clone()]);
            }
        });
    }
}
