//! From the file to tract's typed and simplified model, with every dimension bound.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::GenericFactoid;

use super::{ImportError, ImportOptions};

/// Reads, binds and types a model.
pub(super) fn typed_model(path: &Path, options: &ImportOptions) -> Result<TypedModel, ImportError> {
    let proto = read_proto(path)?;
    let parse_error = |problem: String| ImportError::Parse { path: path.to_path_buf(), problem };
    let mut model = guarded(|| {
        let directory = path.parent().and_then(Path::to_str);
        let onnx = tract_onnx::onnx().with_ignore_output_shapes(true).with_ignore_value_info(true);
        Ok(onnx.parse(&proto, directory)?.model)
    })
    .map_err(parse_error)?;
    let shapes = bind(path, &model, options)?;
    let typing_error = |problem: String| ImportError::Typing { path: path.to_path_buf(), problem };
    guarded(|| {
        for (index, shape) in shapes.iter().enumerate() {
            let fact = model.input_fact(index)?.clone();
            model.set_input_fact(index, fact.with_shape(shape.as_slice()))?;
        }
        model.into_typed()?.into_decluttered()
    })
    .map_err(typing_error)
}

/// Runs the front end, which may panic on malformed models.
fn guarded<T>(work: impl FnOnce() -> TractResult<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|e| reasons(&e)),
        Err(_) => Err("the reader gave up on a malformed part of the model".into()),
    }
}

/// The chain of reasons in one line, without the backtrace.
pub(super) fn reasons(error: &TractError) -> String {
    error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn read_proto(path: &Path) -> Result<ModelProto, ImportError> {
    let bytes = std::fs::read(path).map_err(|source| ImportError::Read { path: path.to_path_buf(), source })?;
    let not_onnx = |problem: &str| ImportError::NotOnnx { path: path.to_path_buf(), problem: problem.into() };
    if bytes.is_empty() {
        return Err(not_onnx("it is empty"));
    }
    // Every exporter starts with the field `ir_version`, a small varint: what starts otherwise is another format.
    let proto = tract_onnx::onnx().proto_model_for_read(&mut bytes.as_slice()).map_err(|_| {
        if bytes[0] == 8 {
            ImportError::Truncated { path: path.to_path_buf(), bytes: bytes.len() }
        } else {
            not_onnx("its bytes are not an ONNX protocol buffer")
        }
    })?;
    if proto.graph.as_ref().is_none_or(|graph| graph.node.is_empty() && graph.output.is_empty()) {
        return Err(not_onnx("it holds no graph"));
    }
    Ok(proto)
}

/// The shape of each input: as given, or from the file with the symbols' sizes.
fn bind(path: &Path, model: &InferenceModel, options: &ImportOptions) -> Result<Vec<Vec<usize>>, ImportError> {
    let bad = |problem: String| ImportError::Options { path: path.to_path_buf(), problem };
    let outlets = model.input_outlets().map_err(|e| bad(reasons(&e)))?;
    let names: Vec<String> = outlets.iter().map(|o| model.node(o.node).name.clone()).collect();
    if let Some(name) = options.input_shapes.keys().find(|name| !names.contains(name)) {
        return Err(bad(format!("the model has no input \"{name}\"; its inputs are {}", names.join(", "))));
    }
    let mut declared = Vec::new();
    for index in 0..names.len() {
        declared.push(declared_shape(model, index).map_err(|e| bad(reasons(&e)))?);
    }
    let mut sizes = options.dims.clone();
    for (name, dims) in names.iter().zip(&declared) {
        if let Some(given) = options.input_shapes.get(name) {
            learn(name, dims.as_deref(), given, &mut sizes).map_err(bad)?;
        }
    }
    let (mut shapes, mut open) = (Vec::new(), Vec::new());
    for (name, dims) in names.iter().zip(&declared) {
        match (options.input_shapes.get(name), dims) {
            (Some(given), _) => shapes.push(given.clone()),
            (None, None) => open.push(format!("all of \"{name}\"")),
            (None, Some(dims)) => shapes.push(resolve(name, dims, &sizes, &mut open)),
        }
    }
    if open.is_empty() { Ok(shapes) } else { Err(ImportError::OpenDimensions { path: path.to_path_buf(), open }) }
}

/// The dimensions that the file gives to an input; `None` when it does not give the rank, and inside for one that it leaves
/// open.
fn declared_shape(model: &InferenceModel, index: usize) -> TractResult<Option<Vec<Option<TDim>>>> {
    let shape = &model.input_fact(index)?.shape;
    let dims = shape.dims().map(|dim| match dim {
        GenericFactoid::Only(dim) => Some(dim.clone()),
        GenericFactoid::Any => None,
    });
    Ok(if shape.is_open() { None } else { Some(dims.collect()) })
}

/// Holds a given shape against the declared one, and learns the sizes of its symbols.
fn learn(
    name: &str,
    declared: Option<&[Option<TDim>]>,
    given: &[usize],
    sizes: &mut BTreeMap<String, usize>,
) -> Result<(), String> {
    let Some(declared) = declared else { return Ok(()) };
    if declared.len() != given.len() {
        return Err(format!("the shape {given:?} for the input \"{name}\" must have {} dimensions", declared.len()));
    }
    for (axis, (dim, &size)) in declared.iter().zip(given).enumerate() {
        match dim {
            Some(TDim::Val(fixed)) if *fixed != size as i64 => {
                return Err(format!(
                    "dimension {axis} of the input \"{name}\" is {fixed} in the file, not {size}; give {fixed}"
                ));
            }
            Some(TDim::Sym(symbol)) => {
                let known = *sizes.entry(symbol.to_string()).or_insert(size);
                if known != size {
                    return Err(format!(
                        "dimension {axis} of the input \"{name}\" is the symbol {symbol}, which cannot be both {known} and {size}; give one size"
                    ));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn resolve(name: &str, dims: &[Option<TDim>], sizes: &BTreeMap<String, usize>, open: &mut Vec<String>) -> Vec<usize> {
    let mut shape = Vec::new();
    for (axis, dim) in dims.iter().enumerate() {
        let Some(dim) = dim else {
            open.push(format!("dimension {axis} of \"{name}\""));
            continue;
        };
        let mut values = SymbolValues::default();
        for symbol in dim.symbols() {
            if let Some(&size) = sizes.get(&symbol.to_string()) {
                values = values.with(&symbol, size as i64);
            }
        }
        match dim.eval(&values).to_i64().ok().and_then(|size| usize::try_from(size).ok()) {
            Some(size) => shape.push(size),
            None => open.push(format!("{dim} (dimension {axis} of \"{name}\")")),
        }
    }
    shape
}
