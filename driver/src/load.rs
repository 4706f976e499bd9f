//! Reads machines, models, plan files and programs.

use crate::Error;
use std::path::Path;
use waferloom_compiler::Overrides;
use waferloom_fabric::{Extent, Machine, Program, read_program};
use waferloom_models::{ImportOptions, Model, import_onnx};

/// PEs of the largest grid: more than any wafer has, few enough to keep a list of them.
const MOST_PES: usize = 1 << 22;

/// A built-in machine by its name, or one from a file.
///
/// # Errors
/// A name that is unknown, and a file that cannot be read or is no machine.
pub fn machine(text: &str) -> Result<Machine, Error> {
    if let Some(machine) = Machine::builtin(text) {
        return Ok(machine);
    }
    let path = Path::new(text);
    let is_file = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("ron")) || path.components().count() > 1;
    if !is_file && !path.exists() {
        let known: Vec<&str> = Machine::builtin_names().collect();
        return Err(Error::input(
            format!("there is no machine `{text}`"),
            format!("give one of {}, or the path of a machine file (.ron)", known.join(", ")),
        ));
    }
    let ron = std::fs::read_to_string(path).map_err(|e| unreadable(path, &e))?;
    Machine::from_ron(&ron).map_err(|e| {
        Error::input(format!("{}: {e}", path.display()), "fabric/machines/wse2.ron shows every field of a machine file")
    })
}

/// A plan file.
///
/// # Errors
/// A file that cannot be read or is no plan.
pub fn overrides(path: &Path) -> Result<Overrides, Error> {
    let text = std::fs::read_to_string(path).map_err(|e| unreadable(path, &e))?;
    Overrides::from_ron(&text).map_err(|e| {
        Error::input(
            format!("{}: {e}", path.display()),
            "write it as --explain prints it at its end, and leave out what the planner may choose",
        )
    })
}

/// Imports a model; the options bind what the file leaves open.
///
/// # Errors
/// A file that cannot be read, or is no model that can be imported.
pub fn model(path: &Path, options: &ImportOptions) -> Result<Model, Error> {
    check_model(path)?;
    let mut model = import_onnx(path, options)?;
    // The file's name says more than what exporters write into it ("main_graph").
    if let Some(name) = model_name(path) {
        model.graph.name = name;
    }
    Ok(model)
}

/// Refuses what is no file, with words for those who expect other things than files here.
fn check_model(path: &Path) -> Result<(), Error> {
    if path.join("config.json").is_file() {
        return Err(Error::input(
            format!("{}: folders of Hugging Face models cannot be read yet", path.display()),
            format!("export it first: optimum-cli export onnx --model {} OUT (PyPI: optimum-onnx)", path.display()),
        ));
    }
    if path.extension().is_none() && path.components().count() == 1 && !path.exists() {
        return Err(Error::input(
            format!("there is no model `{}`: no such file, and no architecture is built in yet", path.display()),
            "give the path of an ONNX file",
        ));
    }
    check_file(path)
}

/// `dnabert` for `dnabert.onnx` and for `dnabert/model.onnx`.
fn model_name(path: &Path) -> Option<String> {
    let stem = path.file_stem()?.to_string_lossy().into_owned();
    let folder = || Some(path.parent()?.file_name()?.to_string_lossy().into_owned());
    if stem == "model" { folder().or(Some(stem)) } else { Some(stem) }
}

/// Reads a program file.
///
/// # Errors
/// A file that cannot be read, is no program, or has a grid that cannot be.
pub fn program(path: &Path) -> Result<Program, Error> {
    check_file(path)?;
    let program = read_program(path)?;
    // Asked before the verifier does: memory is taken for each PE of the grid.
    check_grid(program.grid, &program.machine, &format!("{}: the grid of", path.display()))?;
    Ok(program)
}

/// Refuses a program that cannot run, and warns of what may not do what was meant; `what` names it.
///
/// # Errors
/// The verifier's errors.
pub fn check_program(program: &Program, what: &str) -> Result<(), Error> {
    let findings = waferloom_fabric::verify(program);
    for warning in &findings.warnings {
        tracing::warn!("{what}: {warning}");
    }
    if findings.has_errors() {
        let errors: Vec<String> = findings.errors.iter().map(|e| format!("  {e}")).collect();
        return Err(Error::Invalid { what: what.into(), errors: errors.join("\n") });
    }
    Ok(())
}

/// Refuses a grid that the machine does not have, or that no host has the memory for; `what` names it.
///
/// # Errors
/// A grid that is too large.
pub fn check_grid(grid: Extent, machine: &Machine, what: &str) -> Result<(), Error> {
    let (Extent { width, height }, most) = (grid, machine.fabric);
    if width > most.width || height > most.height {
        return Err(Error::input(
            format!("{what} {width}x{height} is larger than the machine {}", machine.name),
            format!("it has {}x{} PEs: use at most that, or another machine", most.width, most.height),
        ));
    }
    if grid.pes() > MOST_PES {
        return Err(Error::input(
            format!("{what} {width}x{height} has more PEs than can be simulated"),
            format!("use at most {MOST_PES} PEs"),
        ));
    }
    Ok(())
}

/// Refuses what is no file with words that the reader of its format would not find.
///
/// # Errors
/// A path at which there is no file.
pub fn check_file(path: &Path) -> Result<(), Error> {
    let metadata = std::fs::metadata(path).map_err(|e| unreadable(path, &e))?;
    if metadata.is_dir() {
        return Err(Error::input(format!("{}: this is a directory", path.display()), "give a file"));
    }
    Ok(())
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::input(format!("{}: the file cannot be read ({error})", path.display()), "check the path and the permissions")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_named_after_their_file_or_folder() {
        assert_eq!(model_name(Path::new("a/dnabert.onnx")).as_deref(), Some("dnabert"));
        assert_eq!(model_name(Path::new("a/dnabert/model.onnx")).as_deref(), Some("dnabert"));
        assert_eq!(model_name(Path::new("model.onnx")).as_deref(), Some("model"));
    }

    #[test]
    fn what_is_no_file_is_named_for_what_it_is() {
        let said = |path: &Path| check_model(path).expect_err("no file").to_string();
        assert!(said(Path::new("dnabert")).contains("there is no model `dnabert`"));
        assert!(said(Path::new("none.onnx")).contains("none.onnx: the file cannot be read"));
        assert!(said(Path::new("none/dnabert")).contains("none/dnabert: the file cannot be read"));
        let folder = tempfile::tempdir().expect("made");
        assert!(said(folder.path()).contains("this is a directory"));
        std::fs::write(folder.path().join("config.json"), "{}").expect("written");
        assert!(said(folder.path()).contains("Hugging Face models cannot be read yet"));
    }
}
