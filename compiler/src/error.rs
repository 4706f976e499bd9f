//! Why a graph cannot be compiled.

use waferloom_fabric::Extent;
use waferloom_models::GraphError;

/// Why a graph cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The grid is larger than the machine.
    #[error(
        "a grid of {}x{} is larger than {machine}, which has {}x{} PEs; give --grid at most that",
        .grid.width, .grid.height, .most.width, .most.height
    )]
    GridTooLarge {
        /// What was asked for.
        grid: Extent,
        /// The machine's name.
        machine: String,
        /// Its largest rectangle.
        most: Extent,
    },
    /// The machine lacks what every program of the compiler needs.
    #[error("{machine} has {available} {what}, the kernels need {needed}; give a machine with more")]
    Machine {
        /// The machine's name.
        machine: String,
        /// Of what it has too few.
        what: &'static str,
        /// How many it has.
        available: u32,
        /// How many are needed.
        needed: u32,
    },
    /// An operator that no kernel computes.
    #[error(transparent)]
    Unsupported(Box<UnsupportedOperator>),
    /// The model needs more SRAM than a PE has.
    #[error(transparent)]
    DoesNotFit(Box<DoesNotFit>),
    /// A tile that the data movement cannot address.
    #[error("node \"{node}\": {source}")]
    Relayout {
        /// The node whose data are moved.
        node: String,
        /// What is too large.
        source: waferloom_kernels::relayout::TooLarge,
    },
    /// A choice of the user's that cannot be.
    #[error("the plan file asks for what cannot be: {problem}; {remedy}")]
    Override {
        /// What is asked for.
        problem: String,
        /// What can be asked for.
        remedy: String,
    },
    /// The plan was made for another graph.
    #[error("the plan does not fit the model: {problem}; plan this model anew")]
    Mismatch {
        /// What does not fit.
        problem: String,
    },
    /// A pass left a malformed graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// An operator that no kernel computes.
#[derive(Debug, thiserror::Error)]
#[error("node {index} \"{node}\", {operator} of {operands} to {result}: {problem}")]
pub struct UnsupportedOperator {
    /// Index of the node in the graph.
    pub index: usize,
    /// Its name.
    pub node: String,
    /// The operator.
    pub operator: String,
    /// Types of its operands.
    pub operands: String,
    /// Type of its result.
    pub result: String,
    /// Why, and the nearest form that is supported.
    pub problem: String,
}

/// A model that needs more SRAM than a PE has.
#[derive(Debug, thiserror::Error)]
#[error(
    "the model does not fit {}x{} PEs: each needs {needed_bytes} bytes ({data_bytes} for data, {code_bytes} for \
     code) and has {available_bytes}; most is taken by {}; give a larger --grid or --dtype f16, or a smaller batch or \
     sequence",
    .grid.width, .grid.height, .largest.join(", ")
)]
pub struct DoesNotFit {
    /// The grid.
    pub grid: Extent,
    /// Bytes that a PE needs.
    pub needed_bytes: u64,
    /// Bytes of data among them.
    pub data_bytes: u64,
    /// Bytes of code among them; 0 when the data alone are too large.
    pub code_bytes: u64,
    /// Bytes that a PE has.
    pub available_bytes: u32,
    /// The largest buffers, with their sizes.
    pub largest: Vec<String>,
}
