//! Errors at the edge: one clear message, and the exit code.

use miette::{Diagnostic, MietteHandlerOpts};
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Mutex;
use waferloom_compiler::CompileError;
use waferloom_fabric::{FileError, MachineError};
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

    /// The error for the panic that [`catch_panics`] has seen last.
    pub(crate) fn panicked() -> Self {
        let seen = LAST_PANIC.lock().ok().and_then(|mut last| last.take());
        Self::bug(format!("internal error: {}", seen.unwrap_or_else(|| "unknown".into())))
    }
}

static LAST_PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Keeps the message of a panic for [`Error::panicked`] instead of printing it: readers of foreign formats may panic on
/// malformed files, which the importer catches and reports as what it is.
pub(crate) fn catch_panics() {
    std::panic::set_hook(Box::new(|info| {
        tracing::debug!("{info}");
        let message = info.to_string().replace('\n', " ");
        // Whoever waits for a thread that panicked panics as well; the thread's own message says more.
        if !message.contains("a scoped thread panicked")
            && let Ok(mut last) = LAST_PANIC.lock()
        {
            *last = Some(message);
        }
    }));
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

impl From<ImportError> for Error {
    fn from(error: ImportError) -> Self {
        match &error {
            ImportError::OpenDimensions { .. } => Self::new(
                error.to_string(),
                "--inputs takes the shapes from the tensors; else give --shape input_ids=4x64, or --dim NAME=N for each symbol",
            ),
            _ => Self::input(error.to_string()),
        }
    }
}

impl From<NpzError> for Error {
    fn from(error: NpzError) -> Self {
        Self::input(error.to_string())
    }
}

impl From<MachineError> for Error {
    fn from(error: MachineError) -> Self {
        Self::new(error.to_string(), "fabric/machines/wse2.ron shows every field of a machine file")
    }
}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        Self::input(error.to_string())
    }
}

impl From<CompileError> for Error {
    fn from(error: CompileError) -> Self {
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
            SimulateError::Cancelled { .. } => (Exit::Failed, None),
        };
        Self { message: error.to_string(), help: help.map(Into::into), exit }
    }
}
