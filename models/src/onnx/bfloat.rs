//! Numbers in bfloat16, which the front end does not know, become the same numbers in float32: the precision on the mesh is
//! chosen when the model is compiled, not in the file.

use tract_onnx::pb::type_proto::Value;
use tract_onnx::pb::{AttributeProto, GraphProto, TensorProto, ValueInfoProto, tensor_proto};

const BFLOAT16: i32 = tensor_proto::DataType::Bfloat16 as i32;
const FLOAT: i32 = tensor_proto::DataType::Float as i32;

/// Widens constants, types of inputs and outputs, and the targets of casts.
pub(super) fn widen(graph: &mut GraphProto) {
    graph.initializer.iter_mut().for_each(tensor);
    graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info).for_each(value);
    for node in &mut graph.node {
        let casts = matches!(node.op_type.as_str(), "Cast" | "EyeLike");
        node.attribute.iter_mut().for_each(|a| attribute(a, casts));
    }
}

fn attribute(attribute: &mut AttributeProto, casts: bool) {
    if casts && matches!(attribute.name.as_str(), "to" | "dtype") && attribute.i == i64::from(BFLOAT16) {
        attribute.i = i64::from(FLOAT);
    }
    attribute.t.iter_mut().chain(&mut attribute.tensors).for_each(tensor);
    attribute.g.iter_mut().chain(&mut attribute.graphs).for_each(widen);
}

fn value(info: &mut ValueInfoProto) {
    if let Some(Value::TensorType(tensor)) = info.r#type.as_mut().and_then(|t| t.value.as_mut())
        && tensor.elem_type == BFLOAT16
    {
        tensor.elem_type = FLOAT;
    }
}

/// The upper half of a float's bits is the bfloat16 next to it. What lies in another file is left as it is.
fn tensor(tensor: &mut TensorProto) {
    if tensor.data_type != BFLOAT16 || !tensor.external_data.is_empty() {
        return;
    }
    tensor.data_type = FLOAT;
    let raw = tensor.raw_data.chunks_exact(2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
    // Without raw bytes each number has the low half of an integer.
    let bits: Vec<u16> = raw.chain(tensor.int32_data.iter().map(|&n| n as u16)).collect();
    tensor.float_data = bits.into_iter().map(|b| f32::from_bits(u32::from(b) << 16)).collect();
    tensor.raw_data.clear();
    tensor.int32_data.clear();
}
