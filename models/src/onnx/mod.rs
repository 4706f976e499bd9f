//! Import of ONNX files: tract reads, types and simplifies the model, the modules here translate it into a [`Graph`], one
//! module a family of operators.
//!
//! Look-ups and assignments (`Gather..`, `Scatter..`) take indices that the model computes. Constant indices at equal distances
//! become slices.

mod axes;
mod bfloat;
mod conv;
mod corrections;
mod deconv;
mod einsum;
mod elementwise;
mod functions;
mod gather;
mod guard;
mod hints;
mod load;
mod order;
mod reduce;
mod reference;
mod resize;
mod scatter;
mod translate;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::graph::Graph;
use crate::infer::GraphError;
use crate::passes::{Pass, default_passes};
pub use reference::{Reference, ReferenceError};

/// What the file leaves open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// Shapes of inputs, by name.
    pub input_shapes: BTreeMap<String, Vec<usize>>,
    /// Sizes of symbolic dimensions, by symbol.
    pub dims: BTreeMap<String, usize>,
}

/// An imported model.
#[derive(Debug)]
pub struct Model {
    /// The canonical operators.
    pub graph: Graph,
    /// The same model in a well-tried executor.
    pub reference: Reference,
}

/// Why a model cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error("{path}: the file cannot be read ({source}); check the path and the permissions")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is something else.
    #[error("{path}: this is not an ONNX model ({problem}); export the model to ONNX and give that file")]
    NotOnnx {
        /// The file.
        path: PathBuf,
        /// What was found.
        problem: String,
    },
    /// The file ends too early, or its bytes are damaged.
    #[error("{path}: the ONNX file of {bytes} bytes is cut short or damaged; copy or export it again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        bytes: usize,
    },
    /// The front end cannot read the model.
    #[error(
        "{path}: the model cannot be read: {problem}; check it with onnx.checker, or export it with another opset (18 is tested)"
    )]
    Parse {
        /// The file.
        path: PathBuf,
        /// The front end's reason.
        problem: String,
    },
    /// Dimensions without a size.
    #[error("{path}: these dimensions have no size: {}; give each symbol a size, or each input a shape", .open.join(", "))]
    OpenDimensions {
        /// The file.
        path: PathBuf,
        /// Input and dimension, in words.
        open: Vec<String>,
    },
    /// A shape or size given contradicts the file, or names nothing in it.
    #[error("{path}: {problem}")]
    Options {
        /// The file.
        path: PathBuf,
        /// What does not fit, and what would.
        problem: String,
    },
    /// Shapes or types do not work out.
    #[error(
        "{path}: shapes and types of the model do not work out: {problem}; check the sizes given to the inputs and the exporter's settings"
    )]
    Typing {
        /// The file.
        path: PathBuf,
        /// The front end's reason.
        problem: String,
    },
    /// An operator has no translation.
    #[error("{path}: {node}")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The node and the reason.
        node: Box<UnsupportedNode>,
    },
    /// A pass broke the graph.
    #[error("{path}: {source}")]
    Graph {
        /// The file.
        path: PathBuf,
        /// The broken rule.
        source: GraphError,
    },
}

/// A node of the file that has no translation into the graph.
#[derive(Debug, thiserror::Error)]
#[error(
    "node {position} of {total}, \"{name}\", operator {operator}, inputs [{}], outputs [{}]: {problem}",
    .inputs.join(", "), .outputs.join(", ")
)]
pub struct UnsupportedNode {
    /// Position of the node, from 1, in the front end's model.
    pub position: usize,
    /// Number of nodes there.
    pub total: usize,
    /// Name of the node.
    pub name: String,
    /// Operator.
    pub operator: String,
    /// Types of the operands.
    pub inputs: Vec<String>,
    /// Types of the results.
    pub outputs: Vec<String>,
    /// Why, and what would help.
    pub problem: String,
}

/// Reads an ONNX file and brings it into the graph's operators by [`default_passes`].
///
/// # Errors
/// When the file cannot be read, sizes are missing, or an operator has no translation.
pub fn import_onnx(path: &Path, options: &ImportOptions) -> Result<Model, ImportError> {
    import_onnx_with(path, options, &default_passes())
}

/// Reads an ONNX file and runs the given passes on its translation; without any, the graph is what the exporter wrote.
///
/// # Errors
/// When the file cannot be read, sizes are missing, or an operator has no translation.
pub fn import_onnx_with(path: &Path, options: &ImportOptions, passes: &[Pass]) -> Result<Model, ImportError> {
    let load::Typed { model, outputs } = load::typed_model(path, options)?;
    let typing_error = |problem: String| ImportError::Typing { path: path.to_path_buf(), problem };
    let graph = guard::guarded(|| translate::translate(path, &model, &outputs)).map_err(typing_error)??;
    let graph =
        crate::passes::run(&graph, passes).map_err(|source| ImportError::Graph { path: path.to_path_buf(), source })?;
    let reference = guard::guarded(|| Reference::new(model, outputs))
        .and_then(|reference| reference.map_err(|e| load::reasons(&e)))
        .map_err(typing_error)?;
    Ok(Model { graph, reference })
}
