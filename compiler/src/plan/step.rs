//! [`Step`]: one operator on its stage's rectangle, with the kernel that computes it.

use super::{Area, TensorId};
use serde::{Deserialize, Serialize};
use waferloom_fabric::{Dtype, VectorOp};
use waferloom_kernels::functions::Function;
use waferloom_kernels::reduce::Combine;

/// A piece of work of all PEs of the grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Name, for people: most often the node's.
    pub name: String,
    /// What is done.
    pub kind: StepKind,
    /// Useful floating-point operations over all PEs; a multiply-add counts two.
    pub flops: u64,
    /// Cycles that it adds to the time of its stage, by the cost model.
    pub estimate_cycles: u64,
    /// Working memory, in the order in which the kernel takes it.
    pub scratch: Vec<Area>,
    /// Tables that steer data movement; they lie in SRAM before the first cycle.
    pub tables: Vec<Area>,
}

/// A source of an element-wise step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// A tensor of the result's rank; sizes of 1 are repeated.
    Tensor(TensorId),
    /// The same number for every element.
    Scalar {
        /// Its 32 bits (16-bit types use the low half).
        bits: u32,
        /// How they are read.
        dtype: Dtype,
    },
}

impl Source {
    /// The tensor, unless it is a number.
    pub fn tensor(&self) -> Option<TensorId> {
        match self {
            Source::Tensor(id) => Some(*id),
            Source::Scalar { .. } => None,
        }
    }

    fn tensor_mut(&mut self) -> Option<&mut TensorId> {
        match self {
            Source::Tensor(id) => Some(id),
            Source::Scalar { .. } => None,
        }
    }
}

/// What a step does, and with which kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum StepKind {
    /// An input of the model comes in over the west edge.
    Receive {
        /// Name of the input.
        input: String,
        /// Where it goes.
        result: TensorId,
    },
    /// An output of the model leaves: over the west edge from an only stage, over the east edge from the last of several.
    Send {
        /// Name of the output.
        output: String,
        /// What is sent.
        source: TensorId,
    },
    /// A value comes from the stage to the west.
    Arrive {
        /// Index of its node.
        node: usize,
        /// Where it goes.
        result: TensorId,
    },
    /// A value goes to the stage to the east.
    Leave {
        /// Index of its node.
        node: usize,
        /// What is sent.
        source: TensorId,
    },
    /// A relayout: all movements of elements between the sources and a node's value.
    Move {
        /// Index of the node whose value is made.
        node: usize,
        /// The computed tensors that hold its elements.
        sources: Vec<TensorId>,
        /// Whether some elements are zeros that come from nowhere.
        clear: bool,
        /// The value.
        result: TensorId,
    },
    /// A matrix product, added to other tensors.
    MatMul {
        /// The kernel, and why.
        choice: KernelChoice,
        /// Left operand.
        left: TensorId,
        /// Right operand.
        right: TensorId,
        /// What the sums start from: the sum of these, or 0 without any.
        start: Vec<Source>,
        /// The start plus the product.
        result: TensorId,
    },
    /// A look-up of rows.
    Gather {
        /// The table `[rows, columns]`.
        table: TensorId,
        /// Row numbers.
        indices: TensorId,
        /// `[indices.., columns]`.
        result: TensorId,
    },
    /// Softmax along the last dimension.
    Softmax {
        /// Operand.
        source: TensorId,
        /// Result.
        result: TensorId,
    },
    /// Normalisation along the last dimension.
    Normalize {
        /// Operand.
        source: TensorId,
        /// Result.
        result: TensorId,
        /// Added to the variance.
        epsilon: f32,
    },
    /// Reduction along the last dimension.
    Reduce {
        /// How elements are combined.
        combine: Combine,
        /// Operand.
        source: TensorId,
        /// Result, with a last dimension of 1.
        result: TensorId,
    },
    /// A function or an operation of each element.
    Elementwise {
        /// What is computed.
        op: Elementwise,
        /// Operands.
        sources: Vec<Source>,
        /// Result.
        result: TensorId,
    },
}

/// A kernel for matrix products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// `waferloom_kernels::matmul`: blocks of both operands are broadcast.
    Summa,
    /// `waferloom_kernels::stationary`: the right operand stays, partial sums are added up along the columns of the mesh.
    Stationary,
}

impl Algorithm {
    /// The name, as people read it.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Summa => "summa",
            Algorithm::Stationary => "stationary",
        }
    }
}

/// The kernel of a product, and what the cost model chose it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelChoice {
    /// The kernel.
    pub algorithm: Algorithm,
    /// Its cycles by the cost model, with the relayouts of the operands that it needs.
    pub cycles: u64,
    /// The next best kernel and its cycles; `None` when no other one can compute the product.
    pub runner_up: Option<(Algorithm, u64)>,
}

/// What an element-wise step computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Elementwise {
    /// One vector instruction.
    Vector(VectorOp),
    /// One vector instruction with a truth value as result, inverted.
    Not(VectorOp),
    /// A quotient.
    Divide,
    /// An elementary function.
    Function(Function),
}

impl StepKind {
    /// The kind as the report names it.
    pub fn name(&self) -> String {
        match self {
            StepKind::Receive { .. } => "input".into(),
            StepKind::Arrive { .. } => "arrive".into(),
            StepKind::Leave { .. } => "leave".into(),
            StepKind::Send { .. } => "output".into(),
            StepKind::Move { .. } => "move".into(),
            StepKind::MatMul { .. } => "matmul".into(),
            StepKind::Gather { .. } => "gather".into(),
            StepKind::Softmax { .. } => "softmax".into(),
            StepKind::Normalize { .. } => "normalize".into(),
            StepKind::Reduce { combine, .. } => format!("reduce {combine:?}").to_lowercase(),
            StepKind::Elementwise { op, .. } => match op {
                Elementwise::Vector(op) => format!("{op:?}").to_lowercase(),
                Elementwise::Not(op) => format!("not {op:?}").to_lowercase(),
                Elementwise::Divide => "divide".into(),
                Elementwise::Function(function) => format!("{function:?}").to_lowercase(),
            },
        }
    }

    /// The tensors that the step reads.
    pub fn sources(&self) -> Vec<TensorId> {
        match self {
            StepKind::Receive { .. } | StepKind::Arrive { .. } => Vec::new(),
            StepKind::Send { source, .. }
            | StepKind::Leave { source, .. }
            | StepKind::Softmax { source, .. }
            | StepKind::Normalize { source, .. }
            | StepKind::Reduce { source, .. } => vec![*source],
            StepKind::Move { sources, .. } => sources.clone(),
            StepKind::MatMul { left, right, start, .. } => {
                [*left, *right].into_iter().chain(start.iter().filter_map(Source::tensor)).collect()
            }
            StepKind::Gather { table, indices, .. } => vec![*table, *indices],
            StepKind::Elementwise { sources, .. } => sources.iter().filter_map(Source::tensor).collect(),
        }
    }

    /// Shows every tensor that the step names: those that it reads in the order of [`StepKind::sources`], then the one that it
    /// writes.
    pub fn for_each_tensor(&mut self, mut f: impl FnMut(&mut TensorId)) {
        let (sources, result) = match self {
            StepKind::Receive { result, .. } | StepKind::Arrive { result, .. } => (Vec::new(), Some(result)),
            StepKind::Send { source, .. } | StepKind::Leave { source, .. } => (vec![source], None),
            StepKind::Softmax { source, result }
            | StepKind::Normalize { source, result, .. }
            | StepKind::Reduce { source, result, .. } => (vec![source], Some(result)),
            StepKind::Move { sources, result, .. } => (sources.iter_mut().collect(), Some(result)),
            StepKind::MatMul { left, right, start, result, .. } => (
                [left, right].into_iter().chain(start.iter_mut().filter_map(Source::tensor_mut)).collect(),
                Some(result),
            ),
            StepKind::Gather { table, indices, result } => (vec![table, indices], Some(result)),
            StepKind::Elementwise { sources, result, .. } => {
                (sources.iter_mut().filter_map(Source::tensor_mut).collect(), Some(result))
            }
        };
        sources.into_iter().chain(result).for_each(&mut f);
    }

    /// The tensor that the step writes.
    pub fn result(&self) -> Option<TensorId> {
        match self {
            StepKind::Send { .. } | StepKind::Leave { .. } => None,
            StepKind::Receive { result, .. }
            | StepKind::Arrive { result, .. }
            | StepKind::Move { result, .. }
            | StepKind::MatMul { result, .. }
            | StepKind::Gather { result, .. }
            | StepKind::Softmax { result, .. }
            | StepKind::Normalize { result, .. }
            | StepKind::Reduce { result, .. }
            | StepKind::Elementwise { result, .. } => Some(*result),
        }
    }
}
