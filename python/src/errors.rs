//! Errors as Python's exceptions: `waferloom/errors.py` has the classes.

use pyo3::{PyErr, import_exception};
use waferloom_driver::Error;
use waferloom_models::ImportError;
use waferloom_simulator::SimulateError;

import_exception!(waferloom.errors, CompileError);
import_exception!(waferloom.errors, InputError);
import_exception!(waferloom.errors, InternalError);
import_exception!(waferloom.errors, KernelError);
import_exception!(waferloom.errors, ModelError);
import_exception!(waferloom.errors, OpenDimensionsError);
import_exception!(waferloom.errors, ProgramError);
import_exception!(waferloom.errors, SimulationError);

/// The exception for an error: the message of the command line, and what to do in Python's words.
pub(crate) fn raise(error: Error) -> PyErr {
    let message = error.to_string();
    match error {
        Error::Model(ImportError::OpenDimensions { .. }) => OpenDimensionsError::new_err((
            message,
            "give the shape of an input, such as shapes={\"input_ids\": (4, 64)}, or dims={\"batch\": 4} for each symbol",
        )),
        Error::Model(_) => ModelError::new_err(message),
        Error::Compile(_) => CompileError::new_err(message),
        Error::File(_) => ProgramError::new_err(message),
        Error::Invalid { .. } => ProgramError::new_err((message, "correct the program, or compile it again")),
        Error::Kernel(_) => KernelError::new_err(message),
        Error::Simulate(error) => simulation(&error, message),
        Error::Input { message, help } => InputError::new_err((message, help)),
        Error::Bug { message } => InternalError::new_err((
            message,
            "this is a bug in waferloom: please report it with the call and its files",
        )),
    }
}

fn simulation(error: &SimulateError, message: String) -> PyErr {
    match error {
        SimulateError::InputMissing { .. } => InputError::new_err((message, "give it among the inputs")),
        SimulateError::InputUnknown { .. } => InputError::new_err((message, "rename it or leave it out")),
        SimulateError::InputShape { .. } => {
            InputError::new_err((message, "give that shape, or compile the model for this one"))
        }
        SimulateError::InputDtype { .. } => InputError::new_err((message, "convert the array with .astype(...)")),
        SimulateError::InputRange { .. } => InputError::new_err((message, "correct the number in the array")),
        SimulateError::Invalid { .. } => ProgramError::new_err((message, "correct the program, or compile it again")),
        SimulateError::Fault { .. } => {
            SimulationError::new_err((message, "the code did what it may not: look at the named step in program.text"))
        }
        SimulateError::Deadlock { .. } => SimulationError::new_err((
            message,
            "follow the waits to the PE that should send: its code or a route is at fault",
        )),
        SimulateError::CycleLimit { .. } => {
            SimulationError::new_err((message, "raise max_cycles, or look for an endless loop"))
        }
        SimulateError::ClaimsDiffer { .. } | SimulateError::Inseparable | SimulateError::Cancelled { .. } => {
            SimulationError::new_err(message)
        }
    }
}
