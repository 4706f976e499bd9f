//! Matrix products, with what their sums start from.

use super::Lowering;
use crate::plan::{Source, Step, TensorId};
use crate::select;
use waferloom_fabric::{Dtype, VectorOp};
use waferloom_kernels::{Tile, elementwise, matmul, stationary};

impl Lowering<'_> {
    pub(super) fn summa(&mut self, step: &Step, tensors: [TensorId; 3], start: &[Source]) {
        let sizes = self.distribution(tensors[2]).tile();
        let shape = select::matmul::summa_shape(tensors.map(|id| self.distribution(id)));
        let [left, right, result] = tensors.map(|id| self.tile(id));
        let sums = match result.dtype {
            Dtype::F32 => result,
            _ => Tile { address: step.scratch[2].address, dtype: Dtype::F32, ..result },
        };
        let panels = [step.scratch[0].address, step.scratch[1].address];
        self.start(sums, &sizes, start);
        matmul::emit(&mut self.code, &mut self.mesh, &shape, left, right, sums.address, panels);
        if sums != result {
            self.code.mov(result.vector(), sums.vector());
        }
    }

    pub(super) fn stationary(&mut self, step: &Step, tensors: [TensorId; 3], start: &[Source]) {
        let sizes = self.distribution(tensors[2]).tile();
        let shape = select::matmul::stationary_shape(tensors.map(|id| self.distribution(id)));
        let [left, right, result] = tensors.map(|id| self.tile(id));
        let own = stationary::emit(&mut self.code, &mut self.mesh, &shape, left, right, step.scratch[0].address);
        if start.is_empty() {
            return self.code.mov(result.vector(), own);
        }
        let sums = match result.dtype {
            Dtype::F32 => result,
            _ => Tile { address: step.scratch[1].address, dtype: Dtype::F32, ..result },
        };
        self.start(sums, &sizes, start);
        self.code.vector(VectorOp::Add, sums.vector(), &[sums.vector(), own]);
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
