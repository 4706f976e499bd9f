//! The text form of a [`Graph`]: a line a node, terse enough to read, exact enough to store.
//!
//! [`print()`] and [`parse()`] are each other's inverse, to the bit. `#` starts a comment. Every node stands behind its operands
//! and says the element type (`f` float, `i` integer, `b` truth value) and the shape of its result, and its name.
//!
//! ```text
//! graph "example"
//! %0 = input : i[2, 8] "input_ids"
//! %1 = constant {0.5, -inf} : f[2, 1] "scale"
//! %2 = constant base64 "AACAPw==" : f[1, 1] "one"        # little-endian: 4 bytes a float, 8 an integer
//! %3 = cast %0 : f[2, 8] "float"
//! %4 = mul %3, %1 : f[2, 8] "scaled"
//! %5 = reduce_sum %4 axes=[1] : f[2, 1] "sum"
//! %6 = normalize %4 epsilon=1e-5 : f[2, 8] "norm"
//! inputs %0
//! output %5 "logits"
//! ```

mod lexer;
mod operator;
mod parse;
mod print;
mod words;

#[cfg(test)]
mod tests;

pub use parse::parse;
pub use print::{print, summary};

#[cfg(doc)]
use crate::graph::Graph;

/// Where and why a text is not a graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}; {remedy}")]
pub struct TextError {
    /// Line of the fault, from 1.
    pub line: usize,
    /// Column of the fault in characters, from 1.
    pub column: usize,
    /// What is there.
    pub problem: String,
    /// What could stand there instead.
    pub remedy: String,
}
