//! What the front end reads wrongly or not at all is written otherwise before it reads it:
//!
//! - `Celu`, of which it forgets a factor: `alpha * Elu(x / alpha)`;
//! - `ConstantOfShape` without a value, which it takes for double precision: zeros in float32;
//! - `GatherND` by constant rows, of which it rejects negative ones: `Gather`;
//! - `Pad` of truth values: of numbers, then cast;
//! - `Pad` by constant negative numbers: a slice, then what is left to pad.

use std::collections::BTreeMap;

use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto, tensor_proto};

const FLOAT: i32 = tensor_proto::DataType::Float as i32;
const INT64: i32 = tensor_proto::DataType::Int64 as i32;
const BOOL: i32 = tensor_proto::DataType::Bool as i32;

/// Rewrites the nodes of a graph.
pub(super) fn correct(graph: &mut GraphProto) {
    let mut constants: BTreeMap<String, TensorProto> = BTreeMap::new();
    for tensor in &graph.initializer {
        constants.insert(tensor.name.clone(), head(tensor));
    }
    let mut writer = Writer::default();
    for node in std::mem::take(&mut graph.node) {
        if let ("Constant", [output], Some(tensor)) =
            (node.op_type.as_str(), node.output.as_slice(), node.attribute.iter().find_map(|a| a.t.as_ref()))
        {
            constants.insert(output.clone(), head(tensor));
        }
        let operand = |i: usize| node.input.get(i).and_then(|name| constants.get(name));
        let rewritten = match node.op_type.as_str() {
            "Celu" => writer.celu(&node),
            "ConstantOfShape" if node.attribute.is_empty() => writer.zeros(&node),
            "GatherND" => operand(1).is_some_and(|indices| writer.gather(&node, indices)),
            "Pad" if operand(2).is_some_and(|value| value.data_type == BOOL) => {
                operand(2).is_some_and(|value| writer.pad_truth(&node, value))
            }
            "Pad" => operand(1).is_some_and(|pads| writer.pad_negative(&node, pads)),
            _ => false,
        };
        if !rewritten {
            writer.nodes.push(node);
        }
    }
    graph.node = writer.nodes;
    graph.initializer.extend(writer.initializers);
}

/// A constant without its elements if there are many: none of those is looked at here.
fn head(tensor: &TensorProto) -> TensorProto {
    let elements: i64 = tensor.dims.iter().product();
    let small = (0..=64).contains(&elements);
    let empty = TensorProto { dims: tensor.dims.clone(), data_type: tensor.data_type, ..TensorProto::default() };
    if small { tensor.clone() } else { empty }
}

/// The elements of a small integer constant.
fn integers(tensor: &TensorProto) -> Option<Vec<i64>> {
    let raw = tensor.raw_data.chunks_exact(8).map(|b| b.try_into().map_or(0, i64::from_le_bytes));
    let values: Vec<i64> = tensor.int64_data.iter().copied().chain(raw).collect();
    let count = usize::try_from(tensor.dims.iter().product::<i64>()).ok()?;
    (tensor.data_type == INT64 && values.len() == count).then_some(values)
}

/// Whether a truth value is true.
fn is_true(tensor: &TensorProto) -> bool {
    tensor.raw_data.first().is_some_and(|&b| b != 0) || tensor.int32_data.first().is_some_and(|&b| b != 0)
}

/// Nodes and constants of the new graph.
#[derive(Default)]
struct Writer {
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
}

impl Writer {
    /// Adds a node; that which gives the old node's result has its name.
    fn node(&mut self, old: &NodeProto, operator: &str, operands: &[&str], result: &str) -> &mut NodeProto {
        self.nodes.push(NodeProto {
            name: if old.output.iter().any(|o| o == result) { old.name.clone() } else { result.into() },
            op_type: operator.into(),
            input: operands.iter().map(ToString::to_string).collect(),
            output: vec![result.into()],
            ..NodeProto::default()
        });
        let last = self.nodes.len() - 1;
        &mut self.nodes[last]
    }

    fn floats(&mut self, name: &str, values: &[f32]) {
        let tensor = TensorProto { data_type: FLOAT, float_data: values.to_vec(), ..TensorProto::default() };
        self.initializers.push(TensorProto { name: name.into(), ..tensor });
    }

    fn integers(&mut self, name: &str, dims: &[i64], values: &[i64]) {
        let tensor = TensorProto { data_type: INT64, int64_data: values.to_vec(), ..TensorProto::default() };
        self.initializers.push(TensorProto { name: name.into(), dims: dims.to_vec(), ..tensor });
    }

    fn celu(&mut self, node: &NodeProto) -> bool {
        let ([x], [y]) = (node.input.as_slice(), node.output.as_slice()) else { return false };
        let alpha = node.attribute.iter().find(|a| a.name == "alpha").map_or(1.0, |a| a.f);
        let [number, part, bent] = ["alpha", "part", "bent"].map(|what| format!("{y}.{what}"));
        self.floats(&number, &[alpha]);
        self.node(node, "Div", &[x, &number], &part);
        self.node(node, "Elu", &[&part], &bent);
        self.node(node, "Mul", &[&bent, &number], y);
        true
    }

    fn zeros(&mut self, node: &NodeProto) -> bool {
        let zero = TensorProto { data_type: FLOAT, dims: vec![1], float_data: vec![0.0], ..TensorProto::default() };
        // 4 says that it is a tensor.
        let value = AttributeProto { name: "value".into(), t: Some(zero), r#type: 4, ..AttributeProto::default() };
        self.nodes.push(NodeProto { attribute: vec![value], ..node.clone() });
        true
    }

    /// Rows by one index each.
    fn gather(&mut self, node: &NodeProto, indices: &TensorProto) -> bool {
        let batch = node.attribute.iter().find(|a| a.name == "batch_dims").map_or(0, |a| a.i);
        let ([data, _], [y]) = (node.input.as_slice(), node.output.as_slice()) else { return false };
        let (Some((1, dims)), Some(values), 0) = (indices.dims.split_last(), integers(indices), batch) else {
            return false;
        };
        let rows = format!("{y}.rows");
        self.integers(&rows, dims, &values);
        self.node(node, "Gather", &[data, &rows], y);
        true
    }

    fn pad_truth(&mut self, node: &NodeProto, value: &TensorProto) -> bool {
        let ([data, pads, _, axes @ ..], [y]) = (node.input.as_slice(), node.output.as_slice()) else { return false };
        let [number, filling, padded] = ["number", "filling", "padded"].map(|what| format!("{y}.{what}"));
        self.floats(&filling, &[f32::from(u8::from(is_true(value)))]);
        let to =
            |element: i32| AttributeProto { name: "to".into(), i: element.into(), r#type: 2, ..Default::default() };
        self.node(node, "Cast", &[data], &number).attribute = vec![to(FLOAT)];
        let pad = self.node(node, "Pad", &[&number, pads, &filling], &padded);
        pad.input.extend_from_slice(axes);
        pad.attribute.clone_from(&node.attribute);
        self.node(node, "Cast", &[&padded], y).attribute = vec![to(BOOL)];
        true
    }

    /// Negative pads take elements away: from the ends of the axes in the order of the pads.
    fn pad_negative(&mut self, node: &NodeProto, pads: &TensorProto) -> bool {
        let ([data, _, rest @ ..], [y]) = (node.input.as_slice(), node.output.as_slice()) else { return false };
        let Some(pads) = integers(pads).filter(|p| p.iter().any(|&n| n < 0)) else { return false };
        // The axes are counted by the pads, or named.
        if rest.len() > 1 {
            return false;
        }
        let rank = pads.len() / 2;
        let [cut, starts, ends, padding] = ["cut", "starts", "ends", "padding"].map(|what| format!("{y}.{what}"));
        let (before, after) = pads.split_at(rank);
        let from: Vec<i64> = before.iter().map(|&n| (-n).max(0)).collect();
        let to: Vec<i64> = after.iter().map(|&n| if n < 0 { n } else { i64::from(i32::MAX) }).collect();
        let kept: Vec<i64> = pads.iter().map(|&n| n.max(0)).collect();
        self.integers(&starts, &[rank as i64], &from);
        self.integers(&ends, &[rank as i64], &to);
        self.integers(&padding, &[pads.len() as i64], &kept);
        self.node(node, "Slice", &[data, &starts, &ends], &cut);
        let pad = self.node(node, "Pad", &[&cut, &padding], y);
        pad.input.extend_from_slice(rest);
        pad.attribute.clone_from(&node.attribute);
        true
    }
}
