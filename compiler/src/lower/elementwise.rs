//! Functions and operations of each element.

use super::Lowering;
use crate::plan::{Elementwise, FunctionName, Source, Step, TensorId, VectorName};
use waferloom_fabric::{Operand, Value, VectorOp};
use waferloom_kernels::code::int;
use waferloom_kernels::elementwise;
use waferloom_kernels::functions::{self, Function};

/// The kernel's function.
pub(crate) fn function(name: FunctionName) -> Function {
    match name {
        FunctionName::Exp => Function::Exp,
        FunctionName::Reciprocal => Function::Reciprocal,
        FunctionName::Rsqrt => Function::Rsqrt,
        FunctionName::Sqrt => Function::Sqrt,
        FunctionName::Erf => Function::Erf,
        FunctionName::Tanh => Function::Tanh,
        FunctionName::Sigmoid => Function::Sigmoid,
        FunctionName::Silu => Function::Silu,
        FunctionName::Gelu => Function::Gelu,
        FunctionName::Log => Function::Log,
        FunctionName::Sin => Function::Sin,
        FunctionName::Cos => Function::Cos,
        FunctionName::Floor => Function::Floor,
    }
}

fn vector_op(name: VectorName) -> VectorOp {
    match name {
        VectorName::Mov => VectorOp::Mov,
        VectorName::Add => VectorOp::Add,
        VectorName::Sub => VectorOp::Sub,
        VectorName::Mul => VectorOp::Mul,
        VectorName::Max => VectorOp::Max,
        VectorName::Min => VectorOp::Min,
        VectorName::Abs => VectorOp::Abs,
        VectorName::Neg => VectorOp::Neg,
        VectorName::And => VectorOp::And,
        VectorName::Or => VectorOp::Or,
        VectorName::Xor => VectorOp::Xor,
        VectorName::Eq => VectorOp::Eq,
        VectorName::Lt => VectorOp::Lt,
        VectorName::Le => VectorOp::Le,
        VectorName::Select => VectorOp::Select,
    }
}

impl Lowering<'_> {
    pub(super) fn elementwise(&mut self, step: &Step, op: Elementwise, sources: &[Source], result: TensorId) {
        let target = self.tile(result);
        let sizes = self.distribution(result).tile();
        let operands: Vec<elementwise::Source> = sources.iter().map(|&source| self.source(source)).collect();
        self.code.scope(|code| match op {
            Elementwise::Vector(name) => elementwise::emit(code, vector_op(name), target, &sizes, &operands),
            Elementwise::Not(name) => {
                elementwise::emit(code, vector_op(name), target, &sizes, &operands);
                code.vector(VectorOp::Xor, target.vector(), &[target.vector(), int(1)]);
            }
            Elementwise::Divide => {
                let [scratch, spread] = [step.scratch[0].address, step.scratch[1].address];
                elementwise::divide(code, target, &sizes, [&operands[0], &operands[1]], scratch, spread);
            }
            Elementwise::Function(name) => {
                if let elementwise::Source::Tile { tile, .. } = operands[0] {
                    functions::map(code, function(name), target, tile, step.scratch[0].address);
                }
            }
        });
    }

    fn source(&self, source: Source) -> elementwise::Source {
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
