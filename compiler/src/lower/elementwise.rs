//! Functions and operations of each element.

use super::Lowering;
use crate::plan::{Elementwise, Source, Step, TensorId};
use waferloom_fabric::{Operand, Value, VectorOp};
use waferloom_kernels::code::int;
use waferloom_kernels::{elementwise, functions};

impl Lowering<'_> {
    pub(super) fn elementwise(&mut self, step: &Step, op: Elementwise, sources: &[Source], result: TensorId) {
        let target = self.tile(result);
        let sizes = self.distribution(result).tile();
        let operands: Vec<elementwise::Source> = sources.iter().map(|&source| self.source(source)).collect();
        self.code.scope(|code| match op {
            Elementwise::Vector(op) => elementwise::emit(code, op, target, &sizes, &operands),
            Elementwise::Not(op) => {
                elementwise::emit(code, op, target, &sizes, &operands);
                code.vector(VectorOp::Xor, target.vector(), &[target.vector(), int(1)]);
            }
            Elementwise::Divide => {
                let [scratch, spread] = [step.scratch[0].address, step.scratch[1].address];
                elementwise::divide(code, target, &sizes, [&operands[0], &operands[1]], scratch, spread);
            }
            Elementwise::Function(function) => {
                if let elementwise::Source::Tile { tile, .. } = operands[0] {
                    functions::map(code, function, target, tile, step.scratch[0].address);
                }
            }
        });
    }

    pub(super) fn source(&self, source: Source) -> elementwise::Source {
        match source {
            Source::Tensor(id) => {
                elementwise::Source::Tile { tile: self.tile(id), shape: self.distribution(id).tile() }
            }
            Source::Scalar { bits, dtype } => {
                elementwise::Source::Scalar(Operand::Scalar { value: Value::Imm(bits as i32), dtype })
            }
        }
    }
}
