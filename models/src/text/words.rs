//! The words of the text form.

use crate::graph::{BinaryOp, ElementType, Op, ReduceOp, UnaryOp};

/// Unary operators and their words.
const UNARY: [(UnaryOp, &str); 21] = [
    (UnaryOp::Neg, "neg"),
    (UnaryOp::Abs, "abs"),
    (UnaryOp::Exp, "exp"),
    (UnaryOp::Log, "log"),
    (UnaryOp::Sqrt, "sqrt"),
    (UnaryOp::Rsqrt, "rsqrt"),
    (UnaryOp::Recip, "recip"),
    (UnaryOp::Square, "square"),
    (UnaryOp::Erf, "erf"),
    (UnaryOp::Tanh, "tanh"),
    (UnaryOp::Sigmoid, "sigmoid"),
    (UnaryOp::Silu, "silu"),
    (UnaryOp::Gelu, "gelu"),
    (UnaryOp::Relu, "relu"),
    (UnaryOp::Sin, "sin"),
    (UnaryOp::Cos, "cos"),
    (UnaryOp::Floor, "floor"),
    (UnaryOp::Round, "round"),
    (UnaryOp::IsNan, "is_nan"),
    (UnaryOp::Not, "not"),
    (UnaryOp::Cast, "cast"),
];

/// Binary operators and their words.
const BINARY: [(BinaryOp, &str); 13] = [
    (BinaryOp::Add, "add"),
    (BinaryOp::Sub, "sub"),
    (BinaryOp::Mul, "mul"),
    (BinaryOp::Div, "div"),
    (BinaryOp::Max, "max"),
    (BinaryOp::Min, "min"),
    (BinaryOp::Pow, "pow"),
    (BinaryOp::Eq, "eq"),
    (BinaryOp::Lt, "lt"),
    (BinaryOp::Le, "le"),
    (BinaryOp::And, "and"),
    (BinaryOp::Or, "or"),
    (BinaryOp::Xor, "xor"),
];

const REDUCE: [(ReduceOp, &str); 3] =
    [(ReduceOp::Sum, "reduce_sum"), (ReduceOp::Max, "reduce_max"), (ReduceOp::Min, "reduce_min")];

const ELEMENT: [(ElementType, &str); 3] =
    [(ElementType::Float, "f"), (ElementType::Int, "i"), (ElementType::Bool, "b")];

impl Op {
    /// The word that stands for it in the text form.
    pub fn word(&self) -> &'static str {
        match self {
            Op::Input => "input",
            Op::Constant(_) => "constant",
            Op::Unary(op) => op.word(),
            Op::Binary(op) => op.word(),
            Op::Select => "select",
            Op::Reduce { op, .. } => op.word(),
            Op::Softmax { .. } => "softmax",
            Op::Normalize { .. } => "normalize",
            Op::MatMul => "matmul",
            Op::Gather { .. } => "gather",
            Op::Conv { .. } => "conv",
            Op::Reshape => "reshape",
            Op::Permute { .. } => "permute",
            Op::Slice { .. } => "slice",
            Op::Concat { .. } => "concat",
            Op::Broadcast => "broadcast",
        }
    }
}

/// A thing with a word.
pub(super) trait Word: Copy + PartialEq + 'static {
    /// All of them.
    const ALL: &'static [(Self, &'static str)];

    /// Its word.
    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(thing, _)| *thing == self).map_or("?", |(_, word)| word)
    }

    /// The thing of a word.
    fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, w)| *w == word).map(|(thing, _)| *thing)
    }
}

impl Word for UnaryOp {
    const ALL: &'static [(Self, &'static str)] = &UNARY;
}

impl Word for BinaryOp {
    const ALL: &'static [(Self, &'static str)] = &BINARY;
}

impl Word for ReduceOp {
    const ALL: &'static [(Self, &'static str)] = &REDUCE;
}

impl Word for ElementType {
    const ALL: &'static [(Self, &'static str)] = &ELEMENT;
}
