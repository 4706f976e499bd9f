//! [`Plan`]: what the compiler has decided, with a text form (RON) that prints and parses back to the same value.

use serde::{Deserialize, Serialize};
use std::fmt;
use waferloom_fabric::{Distribution, Dtype, Extent, Machine};

/// The compiler's decisions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Name of the model.
    pub model: String,
    /// The machine.
    pub machine: Machine,
    /// The rectangle of PEs on which all steps run one after another.
    pub grid: Extent,
    /// Type of floating-point tensors.
    pub dtype: Dtype,
    /// Everything that lies on the mesh as a tensor.
    pub tensors: Vec<TensorPlan>,
    /// What the PEs do, in order.
    pub steps: Vec<Step>,
}

/// Index of a tensor in [`Plan::tensors`].
pub type TensorId = usize;

/// A tensor on the mesh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorPlan {
    /// Name, unique in the plan.
    pub name: String,
    /// Type of its elements.
    pub dtype: Dtype,
    /// How it lies on the mesh.
    pub distribution: Distribution,
    /// Where its bytes come from.
    pub storage: Storage,
}

/// Where the bytes of a tensor come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Storage {
    /// A step writes them.
    Computed {
        /// Address of the tile in each PE.
        address: u32,
    },
    /// They lie in SRAM before the first cycle: the value of a graph node that only depends on constants.
    Constant {
        /// Index of the node.
        node: usize,
        /// Address of the tile in each PE.
        address: u32,
    },
    /// They are those of another tensor that looks the same in every PE.
    Alias(TensorId),
}

impl TensorPlan {
    /// Bytes of a tile: whole words.
    pub fn tile_bytes(&self) -> u64 {
        (self.distribution.tile_elements() as u64 * u64::from(self.dtype.bytes())).next_multiple_of(4)
    }
}

/// Memory of one step beside its tensors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Area {
    /// Length in bytes.
    pub bytes: u32,
    /// Address in each PE.
    pub address: u32,
}

impl Area {
    /// An area that has no address yet.
    pub fn of(bytes: u32) -> Self {
        Self { bytes, address: 0 }
    }
}

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
    /// An output of the model leaves over the west edge.
    Send {
        /// Name of the output.
        output: String,
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
    /// A matrix product by SUMMA.
    MatMul {
        /// Left operand.
        left: TensorId,
        /// Right operand.
        right: TensorId,
        /// The product.
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

/// How a reduction combines elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Combine {
    /// Sum.
    Sum,
    /// Largest.
    Max,
    /// Smallest.
    Min,
}

/// What an element-wise step computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Elementwise {
    /// One vector instruction.
    Vector(VectorName),
    /// One vector instruction with a truth value as result, inverted.
    Not(VectorName),
    /// A quotient.
    Divide,
    /// An elementary function.
    Function(FunctionName),
}

/// Vector instructions that element-wise steps use; see `waferloom_fabric::VectorOp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the instructions")]
pub enum VectorName {
    Mov,
    Add,
    Sub,
    Mul,
    Max,
    Min,
    Abs,
    Neg,
    And,
    Or,
    Xor,
    Eq,
    Lt,
    Le,
    Select,
}

/// Elementary functions; see `waferloom_kernels::functions::Function`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the functions")]
pub enum FunctionName {
    Exp,
    Reciprocal,
    Rsqrt,
    Sqrt,
    Erf,
    Tanh,
    Sigmoid,
    Silu,
    Gelu,
    Log,
    Sin,
    Cos,
    Floor,
}

impl Plan {
    /// The tensor that owns a tensor's bytes, and their address.
    pub fn storage(&self, tensor: TensorId) -> (TensorId, u32) {
        match self.tensors[tensor].storage {
            Storage::Computed { address } | Storage::Constant { address, .. } => (tensor, address),
            Storage::Alias(other) => self.storage(other),
        }
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// A sentence with the line and column of the first fault.
    pub fn from_ron(text: &str) -> Result<Self, String> {
        ron::from_str(text).map_err(|e| format!("line {}, column {}: {}", e.span.start.line, e.span.start.col, e.code))
    }

    /// The text form.
    ///
    /// # Panics
    /// Never: every plan has a RON form.
    pub fn to_ron(&self) -> String {
        let config = ron::ser::PrettyConfig::default().depth_limit(4);
        ron::ser::to_string_pretty(self, config).expect("a plan has a RON form")
    }
}

impl StepKind {
    /// The kind as the report names it.
    pub fn name(&self) -> String {
        match self {
            StepKind::Receive { .. } => "input".into(),
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
            StepKind::Receive { .. } => Vec::new(),
            StepKind::Send { source, .. }
            | StepKind::Softmax { source, .. }
            | StepKind::Normalize { source, .. }
            | StepKind::Reduce { source, .. } => vec![*source],
            StepKind::Move { sources, .. } => sources.clone(),
            StepKind::MatMul { left, right, .. } => vec![*left, *right],
            StepKind::Gather { table, indices, .. } => vec![*table, *indices],
            StepKind::Elementwise { sources, .. } => sources
                .iter()
                .filter_map(|source| match source {
                    Source::Tensor(id) => Some(*id),
                    Source::Scalar { .. } => None,
                })
                .collect(),
        }
    }

    /// The tensor that the step writes.
    pub fn result(&self) -> Option<TensorId> {
        match self {
            StepKind::Send { .. } => None,
            StepKind::Receive { result, .. }
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

/// The plan for people: one line a step.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Extent { width, height } = self.grid;
        writeln!(f, "{} in {} on {width}x{height} PEs of {}", self.model, self.dtype.name(), self.machine.name)?;
        for (index, step) in self.steps.iter().enumerate() {
            let places = |ids: Vec<TensorId>| ids.iter().map(|&id| self.place(id)).collect::<Vec<_>>().join(", ");
            write!(f, "{index:4}  {:12} ", step.kind.name())?;
            if let Some(result) = step.kind.result() {
                write!(f, "{} <- ", self.place(result))?;
            }
            writeln!(f, "{}  \"{}\"", places(step.kind.sources()), step.name)?;
        }
        Ok(())
    }
}

impl Plan {
    /// A tensor in short: shape, and by which blocks its dimensions are dealt to the columns (x) and rows (y).
    fn place(&self, id: TensorId) -> String {
        let tensor = &self.tensors[id];
        let d = &tensor.distribution;
        let dims = d.shape.iter().enumerate().map(|(dim, size)| {
            let by = |axis: &str, split: Option<waferloom_fabric::Split>| {
                split.filter(|s| s.dim as usize == dim).map(|s| format!("/{axis}{}", s.block))
            };
            format!("{size}{}{}", by("x", d.x).unwrap_or_default(), by("y", d.y).unwrap_or_default())
        });
        let kind = match tensor.storage {
            Storage::Constant { .. } => "const ",
            _ => "",
        };
        format!("{kind}{}[{}]@{}", tensor.dtype.name(), dims.collect::<Vec<_>>().join(" "), self.storage(id).1)
    }
}
