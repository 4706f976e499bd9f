//! `waferloom tune`: a search over tunables. Optuna does it, in the Python package, which this command hands over to.

use crate::args::TuneArgs;
use crate::errors::{Error, Exit};
use std::process::Command;

/// Names the interpreter that has the package.
const PYTHON: &str = "WAFERLOOM_PYTHON";

/// Runs the command.
pub(crate) fn run(args: &TuneArgs) -> Result<Exit, Error> {
    let python = std::env::var_os(PYTHON).unwrap_or_else(|| "python3".into());
    let missing = |problem: String| {
        Error::new(
            problem,
            format!("pip install './python[tune]', and name its interpreter in {PYTHON} when it is not python3"),
        )
    };
    let name = python.to_string_lossy();
    let found = Command::new(&python).args(["-c", "import waferloom, optuna"]).output();
    let found = found.map_err(|e| missing(format!("{name} cannot be run ({e})")))?;
    if !found.status.success() {
        return Err(missing(format!("{name} has no packages waferloom and optuna")));
    }
    let status = Command::new(&python).args(["-m", "waferloom", "tune"]).args(&args.rest).status();
    let status = status.map_err(|e| missing(format!("{name} cannot be run ({e})")))?;
    match status.code() {
        Some(0) => Ok(Exit::Done),
        Some(2) => Ok(Exit::BadInput),
        _ => Err(Error::bug(format!("the search ended with {status}"))),
    }
}
