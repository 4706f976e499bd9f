//! What the binary and the Python package share: the way from a file to a program, and from a program to a report.
//!
//! - [`load`]: machines, models, programs and plan files, with errors that say what to do;
//! - [`compile()`]: a model and a [`Target`] to a program;
//! - [`facts`]: what a report says of a run beside its counters;
//! - [`measure()`]: a kernel on its own;
//! - [`panics`]: bugs as errors.

mod compile;
mod error;
pub mod facts;
pub mod load;
mod measure;
pub mod panics;

pub use compile::{Compiled, Target, compile};
pub use error::Error;
pub use measure::{Measurement, measure};
