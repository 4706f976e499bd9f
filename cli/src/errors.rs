//! Errors at the edge: one clear message, and the exit code.

use miette::{Diagnostic, MietteHandlerOpts};
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use waferloom_fabric::FileError;
use waferloom_models::{ImportError, NpzError};
use waferloom_simulator::SimulateError;

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, and equal where something was compared.
    Done = 0,
    /// Outputs differ from the expected ones.
    Differs = 1,
    /// Bad usage or input.
    BadInput = 2,
    /// The program failed while it ran.
    Failed = 3,
    /// A bug in waferloom; the code that Rust gives to a panic.
    Bug = 101,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// What went wrong, and what to do about it.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
pub(crate) struct Error {
    /// What is wrong, and where.
    pub(crate) message: String,
    /// What to do; empty when the message says it.
    #[help]
    pub(crate) help: Option<String>,
    /// The exit code.
    pub(crate) exit: Exit,
}

impl Error {
    /// Bad usage or input, with a remedy.
    pub(crate) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: Some(help.into()), exit: Exit::BadInput }
    }

    /// Bad input, from a message that carries its remedy.
    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, exit: Exit::BadInput }
    }

    /// A bug of waferloom's.
    pub(crate) fn bug(message: impl Into<String>) -> Self {
        let help = "this is a bug in waferloom: please report it with the command and its files";
        Self { message: message.into(), help: Some(help.into()), exit: Exit::Bug }
    }
}

/// Prints an error to stderr: with colours and symbols on a terminal, plain and without line breaks elsewhere.
pub(crate) fn show(error: Error) {
    let terminal = std::io::stderr().is_terminal();
    // A hook is set once a process; a second call would only leave the first in force.
    let _ = miette::set_hook(Box::new(move |_| {
        let options = MietteHandlerOpts::new().terminal_links(false).color(terminal).unicode(terminal);
        Box::new(options.width(100).wrap_lines(terminal).force_graphical(true).build())
    }));
    let report = format!("{:?}", miette::Report::new(error));
    // Nobody can be told when stderr is gone.
    let _ = writeln!(std::io::stderr(), "{}", report.trim_end());
}

impl From<waferloom_driver::Error> for Error {
    fn from(error: waferloom_driver::Error) -> Self {
        use waferloom_driver::Error as Driver;
        let message = error.to_string();
        match error {
            Driver::Input { message, help } => Self::new(message, help),
            Driver::Bug { message } => Self::bug(message),
            Driver::Simulate(error) => error.into(),
            Driver::Model(ImportError::OpenDimensions { .. }) => Self::new(
                message,
                "--inputs takes the shapes from the tensors; else give --shape input_ids=4x64, or --dim NAME=N for each symbol",
            ),
            Driver::Invalid { .. } => Self::new(message, "correct the program, or compile it again"),
            Driver::Model(_) | Driver::Compile(_) | Driver::File(_) | Driver::Kernel(_) => Self::input(message),
        }
    }
}

impl From<NpzError> for Error {
    fn from(error: NpzError) -> Self {
        Self::input(error.to_string())
    }
}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        Self::input(error.to_string())
    }
}

impl From<SimulateError> for Error {
    fn from(error: SimulateError) -> Self {
        let (exit, help) = match &error {
            SimulateError::InputMissing { .. } => (Exit::BadInput, Some("give it in the file of --inputs")),
            SimulateError::InputUnknown { .. } => (Exit::BadInput, Some("rename or leave out the entry of --inputs")),
            SimulateError::InputShape { .. } => {
                (Exit::BadInput, Some("give that shape, or compile the model for this one"))
            }
            SimulateError::InputDtype { .. } => (Exit::BadInput, Some("convert the array with .astype(...)")),
            SimulateError::InputRange { .. } => (Exit::BadInput, Some("correct the number in the file of --inputs")),
            SimulateError::Invalid { .. } => (Exit::BadInput, Some("correct the program, or compile it again")),
            SimulateError::Fault { .. } => {
                (Exit::Failed, Some("the code did what it may not: look at the named step with `waferloom inspect`"))
            }
            SimulateError::Deadlock { .. } => {
                (Exit::Failed, Some("follow the waits to the PE that should send: its code or a route is at fault"))
            }
            SimulateError::ClaimsDiffer { .. } => {
                (Exit::Failed, Some("correct the claim, or remove it; --no-twins runs without claims"))
            }
            SimulateError::CycleLimit { .. } => (Exit::Failed, Some("raise --max-cycles, or look for an endless loop")),
            SimulateError::Inseparable | SimulateError::Cancelled { .. } => (Exit::Failed, None),
        };
        Self { message: error.to_string(), help: help.map(Into::into), exit }
    }
}
