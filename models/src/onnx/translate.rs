//! Walks tract's model and hands each node to the module of its family.

use std::collections::BTreeMap;
use std::path::Path;

use petgraph::graph::NodeIndex;
use tract_onnx::prelude::{DatumType, OutletId, TractResult, TypedFact, TypedModel, TypedNode};
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_core::ops::source::TypedSource;

use super::{ImportError, UnsupportedNode};
use crate::builder::Builder;
use crate::graph::{ElementType, Graph, TensorType};
use crate::tensor::Tensor;

/// What a family's module sees of a node.
pub(super) struct Site<'a> {
    /// The graph under construction.
    pub builder: &'a mut Builder,
    /// The node in tract's model.
    pub node: &'a TypedNode,
    /// Its name.
    pub name: &'a str,
    /// Its operands in the graph.
    pub operands: &'a [NodeIndex],
    /// Type of its first result.
    pub output: TensorType,
}

/// The node in the graph, `None` when the module does not know the operator, or the reason why it cannot be translated.
pub(super) type Translated = Result<Option<NodeIndex>, String>;

const FAMILIES: [fn(&mut Site) -> Translated; 6] = [
    super::elementwise::translate,
    super::axes::translate,
    super::einsum::translate,
    super::reduce::translate,
    super::conv::translate,
    super::gather::translate,
];

/// Translates a model.
pub(super) fn translate(path: &Path, model: &TypedModel) -> Result<Graph, ImportError> {
    let name = path.parent().and_then(Path::file_name).or(path.file_stem());
    let mut builder = Builder::new(&name.map(|n| n.to_string_lossy().into_owned()).unwrap_or_default());
    let parse_error = |e: tract_onnx::prelude::TractError| ImportError::Parse {
        path: path.to_path_buf(),
        problem: super::load::reasons(&e),
    };
    let mut made: BTreeMap<OutletId, NodeIndex> = BTreeMap::new();
    // The inputs come first and in the model's order, whatever the order of evaluation.
    for outlet in model.input_outlets().map_err(parse_error)? {
        let node = model.node(outlet.node);
        let output = tensor_type(&node.outputs[outlet.slot].fact).map_err(|p| unsupported(path, model, node, p))?;
        made.insert(*outlet, builder.input(&node.name, output));
    }
    for id in model.eval_order().map_err(parse_error)? {
        let node = model.node(id);
        if node.op_is::<TypedSource>() {
            continue;
        }
        let result = translate_node(&mut builder, node, &made).map_err(|p| unsupported(path, model, node, p))?;
        made.insert(OutletId::new(id, 0), result);
    }
    let names = output_names(model).map_err(parse_error)?;
    for (name, outlet) in names.into_iter().zip(model.output_outlets().map_err(parse_error)?) {
        let missing =
            || unsupported(path, model, model.node(outlet.node), "only its first result is translated".into());
        builder.graph.outputs.push((name, *made.get(outlet).ok_or_else(missing)?));
    }
    Ok(builder.graph)
}

/// Names of the model's outputs: the file's.
pub(super) fn output_names(model: &TypedModel) -> TractResult<Vec<String>> {
    let outlets = model.output_outlets()?;
    let name = |outlet: &OutletId| {
        model.outlet_label(*outlet).map_or_else(|| model.node(outlet.node).name.clone(), ToString::to_string)
    };
    Ok(outlets.iter().map(name).collect())
}

fn translate_node(
    builder: &mut Builder,
    node: &TypedNode,
    made: &BTreeMap<OutletId, NodeIndex>,
) -> Result<NodeIndex, String> {
    if let Some(constant) = node.op_as::<Const>() {
        let output = tensor_type(&node.outputs[0].fact)?;
        return Ok(builder.constant(&node.name, output, host_tensor(constant.val())?.data.into()));
    }
    let operands: Vec<NodeIndex> = node
        .inputs
        .iter()
        .map(|o| {
            made.get(o).copied().ok_or(
                "an operand is a second result of its node, and only first ones are translated; export without it",
            )
        })
        .collect::<Result<_, _>>()?;
    let output = tensor_type(&node.outputs[0].fact)?;
    let mut site = Site { builder, node, name: &node.name, operands: &operands, output };
    for family in FAMILIES {
        if let Some(result) = family(&mut site)? {
            return if site.builder.graph.node(result).output == site.output {
                Ok(result)
            } else {
                let found = &site.builder.graph.node(result).output;
                Err(format!("its translation gives {found:?}; this is a fault of the importer, please report it"))
            };
        }
    }
    Err(format!("the operator is not supported; {}", hint(&node.op.name())))
}

/// What to do about an operator.
pub(super) fn hint(operator: &str) -> &'static str {
    match operator {
        "Scan" | "IfThenElse" | "Loop" => {
            "control flow cannot be laid out on the mesh: export the model with a fixed number of steps, unrolled"
        }
        _ => "replace it in the model by elementary operators, or export with another exporter or opset",
    }
}

fn unsupported(path: &Path, model: &TypedModel, node: &TypedNode, problem: String) -> ImportError {
    let words = |fact: &TypedFact| format!("{fact:?}").chars().take(60).collect::<String>();
    let inputs = node.inputs.iter().map(|o| model.outlet_fact(*o).map_or_else(|_| "?".into(), words));
    let node = UnsupportedNode {
        position: node.id + 1,
        total: model.nodes.len(),
        name: node.name.clone(),
        operator: node.op.name().into_owned(),
        inputs: inputs.collect(),
        outputs: node.outputs.iter().map(|o| words(&o.fact)).collect(),
        problem,
    };
    ImportError::Unsupported { path: path.to_path_buf(), node: Box::new(node) }
}

fn element_type(datum_type: DatumType) -> Result<ElementType, String> {
    match datum_type {
        DatumType::Bool => Ok(ElementType::Bool),
        DatumType::TDim => Ok(ElementType::Int),
        t if t.is_float() => Ok(ElementType::Float),
        t if t.is_integer() && !t.is_quantized() => Ok(ElementType::Int),
        t => Err(format!("elements of type {t:?} are not supported; export the model in float32 with int64 indices")),
    }
}

/// The graph's type for tract's.
pub(super) fn tensor_type(fact: &TypedFact) -> Result<TensorType, String> {
    let shape = fact.shape.as_concrete().ok_or_else(|| {
        format!("its shape {:?} depends on the data; the mesh needs fixed sizes: export without it", fact.shape)
    })?;
    Ok(TensorType { element: element_type(fact.datum_type)?, shape: shape.to_vec() })
}

/// A tensor of tract's on our side; sizes that tract keeps as expressions become integers.
pub(super) fn host_tensor(tensor: &tract_onnx::prelude::Tensor) -> Result<Tensor, String> {
    let say = |e: tract_onnx::prelude::TractError| super::load::reasons(&e);
    Ok(match element_type(tensor.datum_type())? {
        ElementType::Float => {
            let cast = tensor.cast_to::<f32>().map_err(say)?;
            cast.to_plain_array_view::<f32>().map_err(say)?.to_owned().into()
        }
        ElementType::Int | ElementType::Bool => {
            let cast = tensor.cast_to::<i64>().map_err(say)?;
            cast.to_plain_array_view::<i64>().map_err(say)?.to_owned().into()
        }
    })
}
