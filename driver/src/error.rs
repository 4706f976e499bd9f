//! What can go wrong on the way from a file to a report.

use waferloom_compiler::CompileError;
use waferloom_fabric::FileError;
use waferloom_kernels::catalog::KernelError;
use waferloom_models::ImportError;
use waferloom_simulator::SimulateError;

/// What went wrong; each kind is one that a caller may want to tell from the others.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A model cannot be read.
    #[error(transparent)]
    Model(#[from] ImportError),
    /// A model cannot be compiled for its target.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A program file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The verifier refuses a program.
    #[error("{what}: the program is not valid\n{errors}")]
    Invalid {
        /// The program: its file, for one.
        what: String,
        /// What is wrong, a line each.
        errors: String,
    },
    /// A kernel cannot be built for its settings.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A program cannot be run to its end.
    #[error(transparent)]
    Simulate(#[from] SimulateError),
    /// Anything else that was given.
    #[error("{message}")]
    Input {
        /// What is wrong, and where.
        message: String,
        /// What to do.
        help: String,
    },
    /// A bug in waferloom.
    #[error("{message}")]
    Bug {
        /// What should not be.
        message: String,
    },
}

impl Error {
    /// Something that was given is wrong.
    pub fn input(message: impl Into<String>, help: impl Into<String>) -> Self {
        Error::Input { message: message.into(), help: help.into() }
    }

    /// A bug of waferloom's.
    pub fn bug(message: impl Into<String>) -> Self {
        Error::Bug { message: message.into() }
    }
}
