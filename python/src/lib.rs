//! The native half of the Python package `waferloom`: everything that computes. `python/waferloom/` is the half that users see.
//!
//! One file a subject. What takes long runs without the interpreter's lock and can be interrupted ([`interrupt`]).

#![allow(clippy::needless_pass_by_value, reason = "PyO3 gives what it has made of Python's arguments")]

mod errors;
mod interrupt;
mod kernel;
mod machine;
mod model;
mod program;
mod run;
mod tensors;

/// The native half of the package waferloom.
#[pyo3::pymodule]
mod _waferloom {
    #[pymodule_export]
    use crate::kernel::{estimate, kernel, kernels};
    #[pymodule_export]
    use crate::machine::{check_machine, machine};
    #[pymodule_export]
    use crate::model::Model;
    #[pymodule_export]
    use crate::program::Program;
    #[pymodule_export]
    use crate::run::Run;
}
