//! What a model is run on.

use crate::args::ModelArgs;
use crate::errors::Error;
use crate::tensors::to_host;
use crate::{fasta, load};
use std::collections::BTreeMap;
use std::path::Path;
use waferloom_driver::facts;
use waferloom_driver::load::check_file;
use waferloom_fabric::HostTensor;
use waferloom_models::graph::{ElementType, TensorType};
use waferloom_models::{Graph, Model, Tensor, TensorData, read_npz};
use waferloom_simulator::report::SequenceReport;

/// Tensors by name.
pub(crate) type Tensors<T> = BTreeMap<String, T>;

/// The inputs of all runs of a program.
#[derive(Debug)]
pub(crate) struct Work {
    /// The inputs of each run.
    pub(crate) batches: Vec<Tensors<HostTensor>>,
    /// Items in one batch.
    pub(crate) batch: usize,
    /// The user's items in all batches; fewer than `batch` times their number when the last was filled up.
    pub(crate) items: usize,
    /// What an item is, in the plural.
    pub(crate) unit: String,
    /// What the summary says of them.
    pub(crate) notes: Vec<String>,
    /// The windows of DNA that the items are.
    pub(crate) sequence: Option<SequenceReport>,
}

impl Work {
    /// One run.
    pub(crate) fn single(inputs: Tensors<HostTensor>) -> Self {
        let first = inputs.values().next().map(HostTensor::view);
        let (batch, unit) = (facts::items(first), facts::unit(first));
        Self { batch, items: batch, unit: unit.into(), notes: Vec::new(), sequence: None, batches: vec![inputs] }
    }
}

/// Imports the model of the arguments with what it is to be run on.
pub(crate) fn model_and_work(args: &ModelArgs) -> Result<(Model, Work), Error> {
    check_file(&args.model)?;
    let tensors = args.inputs.as_deref().map(read).transpose()?;
    let model = load::model(&args.model, &args.sizes, tensors.as_ref())?;
    if let Some(path) = &args.fasta {
        let work = fasta::work(path, &model.graph, args.windows.map(Into::into))?;
        return Ok((model, work));
    }
    let Some(tensors) = tensors else {
        if model.graph.inputs.is_empty() {
            return Ok((model, Work::single(BTreeMap::new())));
        }
        return Err(Error::new(
            format!("{}: no inputs were given; the model takes\n{}", args.model.display(), list(&model.graph)),
            "give --inputs F.npz, written by numpy.savez(\"F.npz\", NAME=ARRAY, ...), or --fasta F.fa for a model over DNA",
        ));
    };
    let path = args.inputs.as_deref().unwrap_or(Path::new(""));
    check(path, &model.graph, &tensors)?;
    let host = tensors.into_iter().map(|(name, tensor)| (name, to_host(tensor))).collect();
    Ok((model, Work::single(host)))
}

/// Reads an npz file.
pub(crate) fn read(path: &Path) -> Result<Tensors<Tensor>, Error> {
    check_file(path)?;
    Ok(read_npz(path)?)
}

/// The model's inputs, a line each.
pub(crate) fn list(graph: &Graph) -> String {
    let line = |&id| {
        let node = graph.node(id);
        format!("  {}: {}", node.name, type_name(&node.output))
    };
    graph.inputs.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// `int64 [2, 32]`.
pub(crate) fn type_name(of: &TensorType) -> String {
    format!("{} {:?}", of.element.name(), of.shape)
}

/// Holds the tensors of a file against the model's inputs.
fn check(path: &Path, graph: &Graph, tensors: &Tensors<Tensor>) -> Result<(), Error> {
    let bad = |problem: String, help: &str| Err(Error::new(format!("{}: {problem}", path.display()), help));
    for &id in &graph.inputs {
        let node = graph.node(id);
        let wanted = type_name(&node.output);
        let Some(tensor) = tensors.get(&node.name) else {
            return bad(format!("the input `{}` ({wanted}) is missing", node.name), "add it to the file");
        };
        let found = match tensor.data {
            TensorData::F32(_) => "float32",
            TensorData::I64(_) => "int64",
        };
        if tensor.shape != node.output.shape {
            return bad(
                format!("the input `{}` is {found} {:?}, the model takes {wanted}", node.name, tensor.shape),
                "give an array of that shape",
            );
        }
        if (found == "float32") != (node.output.element == ElementType::Float) {
            return bad(
                format!("the input `{}` is {found} {:?}, the model takes {wanted}", node.name, tensor.shape),
                "convert the array with .astype(...)",
            );
        }
    }
    let known = |name: &String| graph.inputs.iter().any(|&id| graph.node(id).name == *name);
    if let Some(name) = tensors.keys().find(|name| !known(name)) {
        let message = format!("the model has no input `{name}`; it takes\n{}", list(graph));
        return bad(message, "rename the entry or leave it out");
    }
    Ok(())
}
