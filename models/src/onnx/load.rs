//! From the file to tract's typed and simplified model, with every dimension bound.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tract_onnx::pb::{GraphProto, ModelProto};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::optim::Optimizer;
use tract_onnx::tract_hir::infer::GenericFactoid;
use tract_onnx::tract_hir::ops::unimpl::UnimplementedOp;

use super::guard::guarded;
use super::hints::nearest;
use super::{ImportError, ImportOptions, UnsupportedNode};

/// A model as the front end simplified it.
pub(super) struct Typed {
    /// The model.
    pub model: TypedModel,
    /// Names of its outputs, in order. The front end keeps one name a value, of several outputs that are equal the last.
    pub outputs: Vec<String>,
}

/// Reads, binds and types a model.
pub(super) fn typed_model(path: &Path, options: &ImportOptions) -> Result<Typed, ImportError> {
    let proto = read_proto(path)?;
    let parse_error = |problem: String| ImportError::Parse { path: path.to_path_buf(), problem };
    let mut model = attempt(|| {
        let directory = path.parent().and_then(Path::to_str);
        let onnx = tract_onnx::onnx().with_ignore_output_shapes(true).with_ignore_value_info(true);
        Ok(onnx.parse(&proto, directory)?.model)
    })
    .map_err(parse_error)?;
    implemented(path, &model)?;
    let shapes = bind(path, &model, options)?;
    let typing_error = |problem: String| ImportError::Typing { path: path.to_path_buf(), problem };
    let outputs = proto.graph.iter().flat_map(|graph| &graph.output).map(|output| output.name.clone()).collect();
    let typed = attempt(|| {
        for (index, shape) in shapes.iter().enumerate() {
            let fact = model.input_fact(index)?.clone();
            model.set_input_fact(index, fact.with_shape(shape.as_slice()))?;
        }
        model.into_typed()
    });
    let model = typed.and_then(simplified).map_err(typing_error)?;
    Ok(Typed { model, outputs })
}

/// The model after the front end's simplifications. Where these fail, which they do on some orders of slices and reshapes, with
/// its constants folded and nothing else.
fn simplified(model: TypedModel) -> Result<TypedModel, String> {
    let mut folded = model.clone();
    attempt(|| model.into_decluttered()).or_else(|problem| {
        attempt(|| Optimizer::prop_consts().optimize(&mut folded)).map_err(|_| problem)?;
        Ok(folded)
    })
}

/// Runs the front end, whose failures and panics are reasons in words.
fn attempt<T>(work: impl FnOnce() -> TractResult<T>) -> Result<T, String> {
    guarded(work)?.map_err(|e| reasons(&e))
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
    let mut proto = tract_onnx::onnx().proto_model_for_read(&mut bytes.as_slice()).map_err(|_| {
        if bytes[0] == 8 {
            ImportError::Damaged { path: path.to_path_buf(), bytes: bytes.len() }
        } else {
            not_onnx("its bytes are not an ONNX protocol buffer")
        }
    })?;
    let Some(graph) = proto.graph.as_ref().filter(|graph| !graph.node.is_empty() || !graph.output.is_empty()) else {
        return Err(not_onnx("it holds no graph"));
    };
    // Every exporter writes this field, and behind the graph.
    if proto.opset_import.is_empty() {
        return Err(ImportError::Damaged { path: path.to_path_buf(), bytes: bytes.len() });
    }
    connected(graph).map_err(|problem| ImportError::Parse { path: path.to_path_buf(), problem })?;
    if let Some(graph) = &mut proto.graph {
        super::bfloat::widen(graph);
        super::corrections::correct(graph);
    }
    Ok(proto)
}

/// Whether something makes every operand; the front end takes it for granted.
fn connected(graph: &GraphProto) -> Result<(), String> {
    let mut made: BTreeSet<&str> = graph.input.iter().map(|value| value.name.as_str()).collect();
    made.extend(graph.initializer.iter().map(|tensor| tensor.name.as_str()));
    made.extend(graph.sparse_initializer.iter().filter_map(|tensor| Some(tensor.values.as_ref()?.name.as_str())));
    made.extend(graph.node.iter().flat_map(|node| &node.output).map(String::as_str));
    for node in &graph.node {
        // An empty name stands for an operand left out.
        if let Some(operand) = node.input.iter().find(|name| !name.is_empty() && !made.contains(name.as_str())) {
            let (name, operator) = (&node.name, &node.op_type);
            return Err(format!("node \"{name}\", operator {operator}, takes \"{operand}\", which no node makes"));
        }
    }
    match graph.output.iter().find(|value| !made.contains(value.name.as_str())) {
        Some(value) => Err(format!("no node makes the output \"{}\"", value.name)),
        None => Ok(()),
    }
}

/// Names the first node whose operator the front end does not know.
fn implemented(path: &Path, model: &InferenceModel) -> Result<(), ImportError> {
    let Some(node) = model.nodes().iter().find(|node| node.op_is::<UnimplementedOp>()) else { return Ok(()) };
    let words = |fact: &InferenceFact| format!("{fact:?}").chars().take(60).collect::<String>();
    let inputs = node.inputs.iter().map(|o| model.outlet_fact(*o).map_or_else(|_| "?".into(), words));
    let operator = node.op.name();
    let operator = operator.strip_prefix("Unimplemented(").and_then(|name| name.strip_suffix(')')).unwrap_or(&operator);
    let node = UnsupportedNode {
        position: node.id + 1,
        total: model.nodes().len(),
        name: node.name.clone(),
        operator: operator.to_string(),
        inputs: inputs.collect(),
        outputs: node.outputs.iter().map(|o| words(&o.fact)).collect(),
        problem: format!("the operator is not supported; {}", nearest(operator)),
    };
    Err(ImportError::Unsupported { path: path.to_path_buf(), node: Box::new(node) })
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
