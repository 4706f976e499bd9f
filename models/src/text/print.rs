//! From graph to text.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use petgraph::graph::NodeIndex;

use super::words::Word as _;
use crate::graph::{ConstantData, Graph, Op, TensorType};

/// Constants of up to so many elements are written out.
const INLINE: usize = 16;
/// The same where only people read.
const INLINE_COUNTED: usize = 4;

/// How constants are written.
#[derive(Clone, Copy, PartialEq)]
enum Constants {
    Whole,
    Counted,
}

/// The text of a graph; [`super::parse()`] reads it back.
pub fn print(graph: &Graph) -> String {
    write_graph(graph, Constants::Whole)
}

/// The text of a graph for people: large constants are left out, so that it cannot be read back.
pub fn summary(graph: &Graph) -> String {
    write_graph(graph, Constants::Counted)
}

fn write_graph(graph: &Graph, constants: Constants) -> String {
    let mut text = format!("graph {}\n", quoted(&graph.name));
    for id in graph.nodes() {
        let node = graph.node(id);
        let operands = list(&graph.operands(id));
        let operation = operation(&node.op, &operands, constants);
        let _ = writeln!(text, "%{} = {operation} : {} {}", id.index(), shape(&node.output), quoted(&node.name));
    }
    if !graph.inputs.is_empty() {
        let _ = writeln!(text, "inputs {}", list(&graph.inputs));
    }
    for (name, id) in &graph.outputs {
        let _ = writeln!(text, "output %{} {}", id.index(), quoted(name));
    }
    text
}

fn list(nodes: &[NodeIndex]) -> String {
    nodes.iter().map(|node| format!("%{}", node.index())).collect::<Vec<_>>().join(", ")
}

fn shape(output: &TensorType) -> String {
    format!("{}{:?}", output.element.word(), output.shape)
}

/// A string in quotes, with `\"`, `\\`, `\n`, `\r`, `\t` and `\u{..}` for what would disturb a line.
fn quoted(text: &str) -> String {
    let mut result = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => result.extend(['\\', c]),
            '\n' => result.push_str("\\n"),
            '\r' => result.push_str("\\r"),
            '\t' => result.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(result, "\\u{{{:x}}}", c as u32);
            }
            c => result.push(c),
        }
    }
    result.push('"');
    result
}

fn operation(op: &Op, operands: &str, constants: Constants) -> String {
    let attributes = match op {
        Op::Input => return op.word().into(),
        Op::Constant(data) => return format!("{} {}", op.word(), constant(data, constants)),
        Op::Unary(_) | Op::Binary(_) | Op::Select | Op::MatMul | Op::Reshape | Op::Broadcast => String::new(),
        Op::Reduce { axes, .. } | Op::Permute { axes } => format!(" axes={axes:?}"),
        Op::Softmax { axis } | Op::Gather { axis } | Op::Concat { axis } => format!(" axis={axis}"),
        Op::Normalize { epsilon } => format!(" epsilon={}", float(*epsilon)),
        Op::Conv { window: w, groups } => format!(
            " kernel={:?} stride={:?} dilation={:?} pad_before={:?} pad_after={:?} groups={groups}",
            w.kernel, w.stride, w.dilation, w.pad_before, w.pad_after
        ),
        Op::Slice { axis, start, step } => format!(" axis={axis} start={start} step={step}"),
    };
    format!("{} {operands}{attributes}", op.word())
}

fn constant(data: &ConstantData, constants: Constants) -> String {
    let (elements, kind) = match data {
        ConstantData::Float(values) => (values.len(), "floats"),
        ConstantData::Int(values) => (values.len(), "integers"),
    };
    match constants {
        Constants::Whole if elements > INLINE => return format!("base64 \"{}\"", STANDARD.encode(bytes(data))),
        Constants::Counted if elements > INLINE_COUNTED => return format!("{{{elements} {kind}}}"),
        Constants::Whole | Constants::Counted => {}
    }
    let values: Vec<String> = match data {
        ConstantData::Float(values) => values.iter().map(|&v| float(v)).collect(),
        ConstantData::Int(values) => values.iter().map(ToString::to_string).collect(),
    };
    format!("{{{}}}", values.join(", "))
}

fn bytes(data: &ConstantData) -> Vec<u8> {
    match data {
        ConstantData::Float(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        ConstantData::Int(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    }
}

/// The shortest decimal number that gives the bits back; NaNs other than the usual one by their bits.
fn float(value: f32) -> String {
    if value.is_nan() && value.to_bits() != f32::NAN.to_bits() {
        format!("0x{:08x}", value.to_bits())
    } else if value.is_nan() {
        "nan".into()
    } else {
        format!("{value:?}")
    }
}
