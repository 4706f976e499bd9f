//! [`Graph`]: a model as few canonical operators over tensors of static shape.

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;
use std::sync::Arc;

/// Type of a tensor's elements in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// Floating point; the precision on the mesh is the user's choice.
    Float,
    /// Integers (the exporter's int64 and int32).
    Int,
    /// Truth values.
    Bool,
}

impl ElementType {
    /// The name of the host's type, as users know it.
    pub fn name(self) -> &'static str {
        match self {
            ElementType::Float => "float32",
            ElementType::Int => "int64",
            ElementType::Bool => "bool",
        }
    }
}

/// Shape and element type of a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// Type of the elements.
    pub element: ElementType,
    /// Sizes; empty for a scalar.
    pub shape: Vec<usize>,
}

/// A constant of the model, row-major. Shared: a pass hands on the weights of a large model without a copy.
#[derive(Clone, Debug, PartialEq)]
pub enum ConstantData {
    /// Elements of a `Float` tensor.
    Float(Arc<[f32]>),
    /// Elements of an `Int` tensor, or of a `Bool` one as 0 and 1.
    Int(Arc<[i64]>),
}

/// Operations on one tensor, element by element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// `-a`
    Neg,
    /// `|a|`
    Abs,
    /// `e^a`
    Exp,
    /// Natural logarithm.
    Log,
    /// Square root.
    Sqrt,
    /// `1 / sqrt(a)`
    Rsqrt,
    /// `1 / a`
    Recip,
    /// `a * a`
    Square,
    /// Error function.
    Erf,
    /// Hyperbolic tangent.
    Tanh,
    /// `1 / (1 + e^-a)`
    Sigmoid,
    /// `a * sigmoid(a)`
    Silu,
    /// `a * (1 + erf(a / sqrt 2)) / 2`
    Gelu,
    /// `max(a, 0)`
    Relu,
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
    /// Largest integer not above.
    Floor,
    /// Nearest integer, ties to even.
    Round,
    /// Not a number; the result is `Bool`.
    IsNan,
    /// Logical not of a `Bool`.
    Not,
    /// To the element type of the node's output; float to integer truncates.
    Cast,
}

/// Operations on two tensors of the same rank, with numpy's broadcast of sizes of 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `a / b`
    Div,
    /// The larger.
    Max,
    /// The smaller.
    Min,
    /// `a` to the power `b`.
    Pow,
    /// `a == b`, `Bool`.
    Eq,
    /// `a < b`, `Bool`.
    Lt,
    /// `a <= b`, `Bool`.
    Le,
    /// Both, of `Bool`s.
    And,
    /// Either, of `Bool`s.
    Or,
    /// Exactly one, of `Bool`s.
    Xor,
}

/// How a reduction combines elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduceOp {
    /// Sum.
    Sum,
    /// Largest.
    Max,
    /// Smallest.
    Min,
}

/// Sliding window of a convolution: one entry per spatial dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Size of the kernel.
    pub kernel: Vec<usize>,
    /// Step.
    pub stride: Vec<usize>,
    /// Distance between two taps.
    pub dilation: Vec<usize>,
    /// Zeros before.
    pub pad_before: Vec<usize>,
    /// Zeros after.
    pub pad_after: Vec<usize>,
}

/// An operator. Operands are listed in order; a node has one output.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// An input of the model, of the node's name. No operands.
    Input,
    /// A constant. No operands.
    Constant(ConstantData),
    /// One operand.
    Unary(UnaryOp),
    /// Two operands of equal rank.
    Binary(BinaryOp),
    /// `condition ? a : b` of three operands of equal rank, with broadcast.
    Select,
    /// One operand; the axes keep a size of 1.
    Reduce {
        /// How.
        op: ReduceOp,
        /// Over which axes, ascending.
        axes: Vec<usize>,
    },
    /// `exp(a - max) / sum` along an axis; one operand.
    Softmax {
        /// The axis.
        axis: usize,
    },
    /// `(a - mean) / sqrt(variance + epsilon)` along the last axis, without scale and shift; one operand.
    Normalize {
        /// Added to the variance.
        epsilon: f32,
    },
    /// `[.., m, k] x [.., k, n]`, two operands of equal rank; leading sizes broadcast.
    MatMul,
    /// Slices of operand 0 along `axis`, chosen by operand 1 (`Int`); the output's shape is that of operand 0 with the axis
    /// replaced by the shape of operand 1. Negative indices count from the end.
    Gather {
        /// The axis of operand 0.
        axis: usize,
    },
    /// Operand 0 `[batch, channels, spatial..]`, operand 1 `[out channels, channels / groups, kernel..]`, no bias.
    Conv {
        /// The window.
        window: Window,
        /// Groups of channels.
        groups: usize,
    },
    /// Same elements in row-major order, other shape.
    Reshape,
    /// Output axis `i` is operand axis `axes[i]`.
    Permute {
        /// A permutation.
        axes: Vec<usize>,
    },
    /// Every `step`-th index from `start` along one axis.
    Slice {
        /// The axis.
        axis: usize,
        /// First index.
        start: usize,
        /// Distance, at least 1.
        step: usize,
    },
    /// One or more operands side by side.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// Sizes of 1 repeated up to the node's shape; equal rank.
    Broadcast,
}

/// An operator with its result.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Name: the exporter's where it survives, unique in the graph.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// What comes out.
    pub output: TensorType,
}

/// A model: nodes in an order in which each follows its operands, edges weighted with the operand's position.
#[derive(Clone, Debug)]
pub struct Graph {
    /// The model's name.
    pub name: String,
    /// Nodes and edges; an edge runs from a producer to a consumer.
    pub dag: DiGraph<Node, usize>,
    /// Nodes with [`Op::Input`], in the model's order.
    pub inputs: Vec<NodeIndex>,
    /// Output names and the nodes that make them, in the model's order.
    pub outputs: Vec<(String, NodeIndex)>,
}

impl Graph {
    /// A graph without nodes.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), dag: DiGraph::new(), inputs: Vec::new(), outputs: Vec::new() }
    }

    /// Adds a node behind its operands.
    pub fn add(&mut self, node: Node, operands: &[NodeIndex]) -> NodeIndex {
        let is_input = node.op == Op::Input;
        let id = self.dag.add_node(node);
        for (position, &operand) in operands.iter().enumerate() {
            self.dag.add_edge(operand, id, position);
        }
        if is_input {
            self.inputs.push(id);
        }
        id
    }

    /// The operands of a node, in order.
    pub fn operands(&self, node: NodeIndex) -> Vec<NodeIndex> {
        let mut edges: Vec<_> =
            self.dag.edges_directed(node, Direction::Incoming).map(|e| (*e.weight(), e.source())).collect();
        edges.sort_unstable();
        edges.into_iter().map(|(_, source)| source).collect()
    }

    /// The nodes that use a node's result, each once, ascending.
    pub fn users(&self, node: NodeIndex) -> Vec<NodeIndex> {
        let mut users: Vec<_> = self.dag.neighbors_directed(node, Direction::Outgoing).collect();
        users.sort_unstable();
        users.dedup();
        users
    }

    /// All nodes, operands first.
    pub fn nodes(&self) -> impl Iterator<Item = NodeIndex> + use<> {
        self.dag.node_indices()
    }

    /// A node.
    pub fn node(&self, id: NodeIndex) -> &Node {
        &self.dag[id]
    }

    /// Shape of a node's result.
    pub fn shape(&self, id: NodeIndex) -> &[usize] {
        &self.dag[id].output.shape
    }
}
