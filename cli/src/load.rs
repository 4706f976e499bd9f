//! Reads machines, models and programs.

use crate::args::{Optimize, SizeArgs, TargetArgs};
use crate::errors::Error;
use std::collections::BTreeMap;
use std::path::Path;
use waferloom_compiler::{Objective, Options, Overrides};
use waferloom_fabric::{Extent, Machine, Program, read_program};
use waferloom_models::{ImportOptions, Model, Tensor, import_onnx};

/// Side of the square of PEs that is used when nobody says otherwise: large enough that the small models of the examples fit
/// in single precision, small enough that the simulation takes seconds.
const DEFAULT_SIDE: u16 = 16;
/// PEs of the largest grid: more than any wafer has, few enough to keep a list of them.
const MOST_PES: usize = 1 << 22;

/// What to compile for; a grid that the machine does not have is refused here, before anything slow.
pub(crate) fn target(args: &TargetArgs) -> Result<Options, Error> {
    let machine = machine(&args.machine)?;
    let most = machine.fabric;
    let default = Extent { width: DEFAULT_SIDE.min(most.width), height: DEFAULT_SIDE.min(most.height) };
    let grid = args.grid.unwrap_or(default);
    check_grid(grid, &machine, "--grid")?;
    let objective = match args.optimize {
        Some(Optimize::Throughput) => Objective::Throughput,
        None if args.items > 1 => Objective::Throughput,
        Some(Optimize::Latency) | None => Objective::Latency,
    };
    let overrides = args.plan.as_deref().map(overrides).transpose()?.unwrap_or_default();
    let options = Options::new(machine, grid, args.dtype.dtype());
    Ok(Options { items: args.items, stages: args.stages, objective, overrides, ..options })
}

/// A built-in machine by its name, or one from a file.
pub(crate) fn machine(text: &str) -> Result<Machine, Error> {
    if let Some(machine) = Machine::builtin(text) {
        return Ok(machine);
    }
    let path = Path::new(text);
    let is_file = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("ron")) || path.components().count() > 1;
    if !is_file && !path.exists() {
        let known: Vec<&str> = Machine::builtin_names().collect();
        return Err(Error::new(
            format!("there is no machine `{text}`"),
            format!("give one of {}, or the path of a machine file (.ron)", known.join(", ")),
        ));
    }
    let ron = std::fs::read_to_string(path).map_err(|e| unreadable(path, &e))?;
    Machine::from_ron(&ron).map_err(|e| {
        let error = Error::from(e);
        Error { message: format!("{}: {}", path.display(), error.message), ..error }
    })
}

/// A plan file.
fn overrides(path: &Path) -> Result<Overrides, Error> {
    let text = std::fs::read_to_string(path).map_err(|e| unreadable(path, &e))?;
    Overrides::from_ron(&text).map_err(|e| {
        Error::new(
            format!("{}: {e}", path.display()),
            "write it as --explain prints it at its end, and leave out what the planner may choose",
        )
    })
}

/// Imports a model; the shapes of `inputs` and the options bind what the file leaves open.
pub(crate) fn model(path: &Path, sizes: &SizeArgs, inputs: Option<&BTreeMap<String, Tensor>>) -> Result<Model, Error> {
    check_file(path)?;
    let given = sizes.shapes.iter().cloned();
    let read = inputs.into_iter().flatten().map(|(name, tensor)| (name.clone(), tensor.shape.clone()));
    // Later ones win: what the user has typed.
    let input_shapes = read.chain(given).collect();
    let options = ImportOptions { input_shapes, dims: sizes.dims.iter().cloned().collect() };
    let mut model = import_onnx(path, &options)?;
    // The file's name says more than what exporters write into it ("main_graph").
    if let Some(name) = model_name(path) {
        model.graph.name = name;
    }
    Ok(model)
}

/// `dnabert` for `dnabert.onnx` and for `dnabert/model.onnx`.
fn model_name(path: &Path) -> Option<String> {
    let stem = path.file_stem()?.to_string_lossy().into_owned();
    let folder = || Some(path.parent()?.file_name()?.to_string_lossy().into_owned());
    if stem == "model" { folder().or(Some(stem)) } else { Some(stem) }
}

/// Reads a program file.
pub(crate) fn program(path: &Path) -> Result<Program, Error> {
    check_file(path)?;
    let program = read_program(path)?;
    // Asked before the verifier does: memory is taken for each PE of the grid.
    check_grid(program.grid, &program.machine, &format!("{}: the grid of", path.display()))?;
    Ok(program)
}

/// Refuses a grid that the machine does not have, or that no host has the memory for.
fn check_grid(grid: Extent, machine: &Machine, what: &str) -> Result<(), Error> {
    let (Extent { width, height }, most) = (grid, machine.fabric);
    if width > most.width || height > most.height {
        return Err(Error::new(
            format!("{what} {width}x{height} is larger than the machine {}", machine.name),
            format!("it has {}x{} PEs: use at most that, or another machine", most.width, most.height),
        ));
    }
    if grid.pes() > MOST_PES {
        return Err(Error::new(
            format!("{what} {width}x{height} has more PEs than can be simulated"),
            format!("use at most {MOST_PES} PEs"),
        ));
    }
    Ok(())
}

/// Refuses what is no file with words that the reader of its format would not find.
pub(crate) fn check_file(path: &Path) -> Result<(), Error> {
    let metadata = std::fs::metadata(path).map_err(|e| unreadable(path, &e))?;
    if metadata.is_dir() {
        return Err(Error::new(format!("{}: this is a directory", path.display()), "give a file"));
    }
    Ok(())
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::new(format!("{}: the file cannot be read ({error})", path.display()), "check the path and the permissions")
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
}
