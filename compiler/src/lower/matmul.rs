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
        let sources: Vec<elementwise::Source> = start.iter().map(|&source| self.source(source)).collect();
        self.code.scope(|code| match sources.as_slice() {
            [] => matmul::clear(code, sums),
            [only] => elementwise::emit(code, VectorOp::Mov, sums, sizes, std::slice::from_ref(only)),
            [a, b, rest @ ..] => {
                elementwise::emit(code, VectorOp::Add, sums, sizes, &[a.clone(), b.clone()]);
                let so_far = elementwise::Source::Tile { tile: sums, shape: sizes.to_vec() };
                for source in rest {
                    elementwise::emit(code, VectorOp::Add, sums, sizes, &[so_far.clone(), source.clone()]);
                }
            }
        });
    }
}
