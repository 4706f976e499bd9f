//! Operators of each element alone. No data leave their PE: all operands lie as the result does, with sizes of 1 replicated.

use super::Selection;
use crate::plan::{Elementwise, Source, StepKind};
use crate::{CompileError, layout};
use petgraph::graph::NodeIndex;
use waferloom_fabric::{Distribution, Dtype, VectorOp};
use waferloom_kernels::elementwise::DIVIDE_VECTORS;
use waferloom_kernels::functions::{Function, map_scratch_bytes};
use waferloom_models::graph::{BinaryOp, ConstantData, ElementType, Op, UnaryOp};

/// The integer 0.
const ZERO: Source = Source::Scalar { bits: 0, dtype: Dtype::I32 };

impl Selection<'_> {
    pub(super) fn elementwise(&mut self, id: NodeIndex) -> Result<(), CompileError> {
        let graph = self.graph;
        let (op, extra) = self.operation(id)?;
        let (mut sources, layout) = (Vec::new(), self.default_layout(id));
        for operand in graph.operands(id) {
            // A function's kernel takes a whole tensor.
            let whole = matches!(op, Elementwise::Function(_));
            let source = if whole {
                Source::Tensor(self.demand(operand, layout.clone())?)
            } else {
                self.source(operand, &layout)?
            };
            sources.push(source);
        }
        sources.extend(extra);
        if matches!(graph.node(id).op, Op::Unary(UnaryOp::Square | UnaryOp::IsNan)) {
            sources.push(sources[0]);
        }
        let result = self.compute_tensor(id, layout);
        let elements = self.distribution(result).tile_elements() as u32;
        let scratch = match op {
            Elementwise::Function(f) => vec![map_scratch_bytes(elements, f.scratch_vectors() + 1)],
            Elementwise::Divide => vec![map_scratch_bytes(elements, DIVIDE_VECTORS), 2 * elements * 4],
            _ => Vec::new(),
        };
        let float = graph.node(id).output.element == ElementType::Float;
        let flops = if float { graph.shape(id).iter().product() } else { 0 };
        self.compute_step(id, StepKind::Elementwise { op, sources, result }, flops, &scratch);
        Ok(())
    }

    /// An operand of a result that lies so: a number, or a tensor of the result's rank. What is only repeated need not be moved.
    pub(super) fn source(&mut self, id: NodeIndex, result: &Distribution) -> Result<Source, CompileError> {
        let graph = self.graph;
        if graph.node(id).op == Op::Broadcast {
            return self.source(graph.operands(id)[0], result);
        }
        match &graph.node(id).op {
            Op::Constant(ConstantData::Float(values)) if values.len() == 1 => {
                // A mask's lowest number of f32 must not become an infinity.
                let value = self.float.clamp_finite(values[0]);
                Ok(Source::Scalar { bits: value.to_bits(), dtype: Dtype::F32 })
            }
            Op::Constant(ConstantData::Int(values)) if values.len() == 1 => {
                let value = i32::try_from(values[0]);
                let value = value.map_err(|_| self.unsupported(id, "the integer does not fit the mesh's 32 bits"))?;
                Ok(Source::Scalar { bits: value as u32, dtype: Dtype::I32 })
            }
            _ => Ok(Source::Tensor(self.demand(id, layout::like(result, graph.shape(id)))?)),
        }
    }

    /// The operation of a node, and a further operand that it takes.
    fn operation(&self, id: NodeIndex) -> Result<(Elementwise, Option<Source>), CompileError> {
        let vector = |op| Ok((Elementwise::Vector(op), None));
        match &self.graph.node(id).op {
            Op::Unary(op) => self.unary(id, *op),
            Op::Binary(op) => self.binary(id, *op),
            _ => vector(VectorOp::Select),
        }
    }

    fn cast(&self, id: NodeIndex) -> (Elementwise, Option<Source>) {
        let from = self.graph.node(self.graph.operands(id)[0]).output.element;
        match (from, self.graph.node(id).output.element) {
            (ElementType::Float | ElementType::Int, ElementType::Bool) => (Elementwise::Not(VectorOp::Eq), Some(ZERO)),
            _ => (Elementwise::Vector(VectorOp::Mov), None),
        }
    }

    fn unary(&self, id: NodeIndex, op: UnaryOp) -> Result<(Elementwise, Option<Source>), CompileError> {
        let vector = |op, extra| Ok((Elementwise::Vector(op), extra));
        let function = |name| Ok((Elementwise::Function(name), None));
        match op {
            UnaryOp::Neg => vector(VectorOp::Neg, None),
            UnaryOp::Abs => vector(VectorOp::Abs, None),
            UnaryOp::Square => vector(VectorOp::Mul, None),
            UnaryOp::Relu => vector(VectorOp::Max, Some(ZERO)),
            UnaryOp::Not => vector(VectorOp::Eq, Some(ZERO)),
            UnaryOp::IsNan => Ok((Elementwise::Not(VectorOp::Eq), None)),
            UnaryOp::Exp => function(Function::Exp),
            UnaryOp::Sqrt => function(Function::Sqrt),
            UnaryOp::Rsqrt => function(Function::Rsqrt),
            UnaryOp::Recip => function(Function::Reciprocal),
            UnaryOp::Erf => function(Function::Erf),
            UnaryOp::Tanh => function(Function::Tanh),
            UnaryOp::Sigmoid => function(Function::Sigmoid),
            UnaryOp::Silu => function(Function::Silu),
            UnaryOp::Gelu => function(Function::Gelu),
            UnaryOp::Log => function(Function::Log),
            UnaryOp::Sin => function(Function::Sin),
            UnaryOp::Cos => function(Function::Cos),
            UnaryOp::Floor => function(Function::Floor),
            UnaryOp::Round => function(Function::Round),
            UnaryOp::Cast => Ok(self.cast(id)),
        }
    }

    fn binary(&self, id: NodeIndex, op: BinaryOp) -> Result<(Elementwise, Option<Source>), CompileError> {
        let vector = |op| Ok((Elementwise::Vector(op), None));
        match op {
            BinaryOp::Add => vector(VectorOp::Add),
            BinaryOp::Sub => vector(VectorOp::Sub),
            BinaryOp::Mul => vector(VectorOp::Mul),
            BinaryOp::Max => vector(VectorOp::Max),
            BinaryOp::Min => vector(VectorOp::Min),
            BinaryOp::Eq => vector(VectorOp::Eq),
            BinaryOp::Lt => vector(VectorOp::Lt),
            BinaryOp::Le => vector(VectorOp::Le),
            BinaryOp::And => vector(VectorOp::And),
            BinaryOp::Or => vector(VectorOp::Or),
            BinaryOp::Xor => vector(VectorOp::Xor),
            BinaryOp::Div => Ok((Elementwise::Divide, None)),
            BinaryOp::Pow => Err(self.unsupported(
                id,
                "no kernel computes a power; the nearest form that is supported is exp(b * log(a)), or products for a whole b",
            )),
        }
    }
}
