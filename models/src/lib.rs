//! Models: the [`graph`] of canonical operators, the [`onnx`] importer with its reference executor, the [`passes`] that
//! simplify a graph, its [`text`] form, and the inputs of genomic models: windows of [`fasta`] files cut into words by a
//! [`tokenizer`].

mod builder;
pub mod evaluate;
pub mod fasta;
pub mod graph;
mod infer;
pub mod npz;
pub mod onnx;
pub mod passes;
pub mod tensor;
#[cfg(test)]
mod testing;
pub mod text;
mod token_model;
pub mod tokenizer;

pub use evaluate::{EvaluateError, evaluate};
pub use graph::Graph;
pub use infer::{GraphError, verify};
pub use npz::{NpzError, read_npz, write_npz};
pub use onnx::{
    ImportError, ImportOptions, Model, Reference, ReferenceError, UnsupportedNode, import_onnx, import_onnx_with,
};
pub use tensor::{Tensor, TensorData};
pub use token_model::{TokenModel, TokenModelError};
pub use tokenizer::KmerTokenizer;
