//! Walks tract's model and hands each node to the module of its family.

use std::collections::BTreeMap;
use std::path::Path;

use petgraph::graph::NodeIndex;
use tract_onnx::prelude::{DatumType, OutletId, TypedFact, TypedModel, TypedNode};
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

const FAMILIES: [fn(&mut Site) -> Translated; 10] = [
    super::elementwise::translate,
    super::axes::translate,
    super::einsum::translate,
    super::reduce::translate,
    super::conv::translate,
    super::deconv::translate,
    super::gather::translate,
    super::scatter::translate,
    super::order::one_hot,
    super::resize::translate,
];

/// Translates a model with outputs of these names.
pub(super) fn translate(path: &Path, model: &TypedModel, outputs: &[String]) -> Result<Graph, ImportError> {
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
        let results = translate_node(&mut builder, node, &made).map_err(|p| unsupported(path, model, node, p))?;
        made.extend(results.into_iter().enumerate().map(|(slot, result)| (OutletId::new(id, slot), result)));
    }
    for (name, outlet) in outputs.iter().zip(model.output_outlets().map_err(parse_error)?) {
        let missing = || unsupported(path, model, model.node(outlet.node), "only its first result is supported".into());
        builder.graph.outputs.push((name.clone(), *made.get(outlet).ok_or_else(missing)?));
    }
    Ok(builder.graph)
}

/// The results of a node: the first, or all of those that have several.
fn translate_node(
    builder: &mut Builder,
    node: &TypedNode,
    made: &BTreeMap<OutletId, NodeIndex>,
) -> Result<Vec<NodeIndex>, String> {
    if let Some(constant) = node.op_as::<Const>() {
        let output = tensor_type(&node.outputs[0].fact)?;
        return Ok(vec![builder.constant(&node.name, output, host_tensor(constant.val())?.data.into())]);
    }
    let operands: Vec<NodeIndex> = node
        .inputs
        .iter()
        .map(|o| {
            made.get(o).copied().ok_or(
                "an operand is a second result of its node, and of that operator only the first is supported; export without it",
            )
        })
        .collect::<Result<_, _>>()?;
    let output = tensor_type(&node.outputs[0].fact)?;
    let mut site = Site { builder, node, name: &node.name, operands: &operands, output };
    if let Some(results) = super::order::largest(&mut site)? {
        return Ok(results.to_vec());
    }
    for family in FAMILIES {
        if let Some(result) = family(&mut site)? {
            return if site.builder.graph.node(result).output == site.output {
                Ok(vec![result])
            } else {
                let found = &site.builder.graph.node(result).output;
                Err(format!("its translation gives {found:?}; this is a fault of the importer, please report it"))
            };
        }
    }
    Err(format!("the operator is not supported; {}", super::hints::nearest(&node.op.name())))
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
