//! Machines: in Python they are their fields.

use crate::errors::{InputError, raise};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pythonize::{depythonize, pythonize};
use waferloom_driver::load;
use waferloom_fabric::Machine;

/// The fields of a built-in machine, or of a machine file.
#[pyfunction]
pub(crate) fn machine<'py>(py: Python<'py>, name_or_path: &str) -> PyResult<Bound<'py, PyAny>> {
    let machine = py.detach(|| load::machine(name_or_path)).map_err(raise)?;
    Ok(pythonize(py, &machine)?)
}

/// Raises an error when fields are not those of a machine.
#[pyfunction]
pub(crate) fn check_machine(fields: &Bound<'_, PyDict>) -> PyResult<()> {
    from_fields(fields).map(drop)
}

/// The machine of the fields.
pub(crate) fn from_fields(fields: &Bound<'_, PyDict>) -> PyResult<Machine> {
    const HELP: &str = "waferloom.Machine.wse2().fields shows every field of a machine";
    let machine: Machine = depythonize(fields).map_err(|e| InputError::new_err((format!("the machine: {e}"), HELP)))?;
    machine.check().map_err(|e| InputError::new_err((format!("the machine: {e}"), HELP)))?;
    Ok(machine)
}
