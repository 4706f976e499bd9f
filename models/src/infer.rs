//! Result types of operators, and the check that a graph keeps to them.

use petgraph::graph::NodeIndex;

use crate::graph::{BinaryOp, ConstantData, ElementType, Graph, Node, Op, TensorType, UnaryOp, Window};
use crate::tensor::count;

/// A node that breaks the rules of the graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "node {index} \"{name}\" of the graph is malformed: {problem}; correct the node, or report the pass that made it"
)]
pub struct GraphError {
    /// Index of the node.
    pub index: usize,
    /// Name of the node.
    pub name: String,
    /// What is wrong.
    pub problem: String,
}

/// Checks every node against its operands, and the lists of inputs and outputs.
///
/// # Errors
/// The first node that is wrong.
pub fn verify(graph: &Graph) -> Result<(), GraphError> {
    let fault = |id: NodeIndex, problem| GraphError { index: id.index(), name: graph.node(id).name.clone(), problem };
    let mut names = std::collections::BTreeSet::new();
    for id in graph.nodes() {
        let node = graph.node(id);
        if !names.insert(node.name.as_str()) {
            return Err(fault(id, "another node has the same name".into()));
        }
        let operands = graph.operands(id);
        if operands.iter().any(|operand| *operand >= id) {
            return Err(fault(id, "it does not follow its operands".into()));
        }
        let types: Vec<_> = operands.iter().map(|&operand| &graph.node(operand).output).collect();
        check(node, &types).map_err(|problem| fault(id, problem))?;
        if (node.op == Op::Input) != graph.inputs.contains(&id) {
            return Err(fault(id, "the graph's list of inputs disagrees with it".into()));
        }
    }
    Ok(())
}

/// Checks one node against the types of its operands.
pub(crate) fn check(node: &Node, operands: &[&TensorType]) -> Result<(), String> {
    let inferred = infer(&node.op, operands, &node.output)?;
    if inferred == node.output {
        Ok(())
    } else {
        Err(format!("its result is {:?} but its operator makes {inferred:?}", node.output))
    }
}

/// The type of an operator's result. `wanted` gives what the operator leaves open: the type of an input, a constant or a
/// cast, the shape of a reshape or a broadcast, the length of a slice.
pub(crate) fn infer(op: &Op, operands: &[&TensorType], wanted: &TensorType) -> Result<TensorType, String> {
    let expected = match op {
        Op::Input | Op::Constant(_) => Some(0),
        Op::Binary(_) | Op::MatMul | Op::Gather { .. } | Op::Conv { .. } => Some(2),
        Op::Select => Some(3),
        Op::Concat { .. } => None,
        _ => Some(1),
    };
    if expected.is_some_and(|n| n != operands.len()) || (expected.is_none() && operands.is_empty()) {
        return Err(format!("{} operands are too few or too many", operands.len()));
    }
    match op {
        Op::Input => Ok(wanted.clone()),
        Op::Constant(data) => constant(data, wanted),
        Op::Unary(op) => unary(*op, operands[0], wanted),
        Op::Binary(op) => binary(*op, operands[0], operands[1]),
        Op::Select => select(operands),
        Op::MatMul => matmul(operands[0], operands[1]),
        Op::Gather { axis } => gather(*axis, operands[0], operands[1]),
        Op::Conv { window, groups } => conv(window, *groups, operands[0], operands[1]),
        Op::Concat { axis } => concat(*axis, operands),
        op => single(op, operands[0], wanted),
    }
}

fn constant(data: &ConstantData, wanted: &TensorType) -> Result<TensorType, String> {
    let (elements, float) = match data {
        ConstantData::Float(values) => (values.len(), true),
        ConstantData::Int(values) => (values.len(), false),
    };
    if elements != count(&wanted.shape) || float != (wanted.element == ElementType::Float) {
        return Err(format!("{elements} elements do not make a {wanted:?}"));
    }
    Ok(wanted.clone())
}

fn unary(op: UnaryOp, a: &TensorType, wanted: &TensorType) -> Result<TensorType, String> {
    let element = match op {
        UnaryOp::Cast => wanted.element,
        UnaryOp::IsNan if a.element == ElementType::Float => ElementType::Bool,
        UnaryOp::Not if a.element == ElementType::Bool => ElementType::Bool,
        UnaryOp::IsNan | UnaryOp::Not => return Err(format!("{op:?} of {:?}", a.element)),
        UnaryOp::Neg | UnaryOp::Abs | UnaryOp::Square | UnaryOp::Relu | UnaryOp::Floor | UnaryOp::Round
            if a.element == ElementType::Int =>
        {
            ElementType::Int
        }
        _ if a.element == ElementType::Float => ElementType::Float,
        _ => return Err(format!("{op:?} of {:?}", a.element)),
    };
    Ok(TensorType { element, shape: a.shape.clone() })
}

/// Shape of a broadcast of shapes of equal rank.
pub(crate) fn broadcast(shapes: &[&[usize]]) -> Result<Vec<usize>, String> {
    let rank = shapes.first().map_or(0, |s| s.len());
    if shapes.iter().any(|s| s.len() != rank) {
        return Err(format!("the operands' ranks differ: {shapes:?}"));
    }
    (0..rank)
        .map(|axis| {
            let size = shapes.iter().map(|s| s[axis]).find(|&s| s != 1).unwrap_or(1);
            if shapes.iter().all(|s| s[axis] == 1 || s[axis] == size) {
                Ok(size)
            } else {
                Err(format!("the operands' sizes differ on axis {axis}: {shapes:?}"))
            }
        })
        .collect()
}

fn binary(op: BinaryOp, a: &TensorType, b: &TensorType) -> Result<TensorType, String> {
    let shape = broadcast(&[&a.shape, &b.shape])?;
    if a.element != b.element {
        return Err(format!("{op:?} of {:?} and {:?}", a.element, b.element));
    }
    let logic = matches!(op, BinaryOp::And | BinaryOp::Or | BinaryOp::Xor);
    if logic != (a.element == ElementType::Bool) && op != BinaryOp::Eq {
        return Err(format!("{op:?} of {:?}", a.element));
    }
    let compares = logic || matches!(op, BinaryOp::Eq | BinaryOp::Lt | BinaryOp::Le);
    Ok(TensorType { element: if compares { ElementType::Bool } else { a.element }, shape })
}

fn select(operands: &[&TensorType]) -> Result<TensorType, String> {
    if operands[0].element != ElementType::Bool || operands[1].element != operands[2].element {
        return Err("a selection needs a Bool and two operands of one type".into());
    }
    let shape = broadcast(&operands.iter().map(|t| t.shape.as_slice()).collect::<Vec<_>>())?;
    Ok(TensorType { element: operands[1].element, shape })
}

fn matmul(a: &TensorType, b: &TensorType) -> Result<TensorType, String> {
    let rank = a.shape.len();
    if rank < 2 || b.shape.len() != rank || a.shape[rank - 1] != b.shape[rank - 2] || a.element != b.element {
        return Err(format!("{a:?} and {b:?} cannot be multiplied"));
    }
    let mut shape = broadcast(&[&a.shape[..rank - 2], &b.shape[..rank - 2]])?;
    shape.extend([a.shape[rank - 2], b.shape[rank - 1]]);
    Ok(TensorType { element: a.element, shape })
}

fn gather(axis: usize, data: &TensorType, indices: &TensorType) -> Result<TensorType, String> {
    if axis >= data.shape.len() || indices.element != ElementType::Int {
        return Err(format!("{indices:?} cannot index axis {axis} of {data:?}"));
    }
    let shape = [&data.shape[..axis], &indices.shape, &data.shape[axis + 1..]].concat();
    Ok(TensorType { element: data.element, shape })
}

fn conv(window: &Window, groups: usize, a: &TensorType, kernel: &TensorType) -> Result<TensorType, String> {
    let d = window.kernel.len();
    let lists = [&window.stride, &window.dilation, &window.pad_before, &window.pad_after];
    let fits = lists.iter().all(|l| l.len() == d)
        && a.shape.len() == d + 2
        && kernel.shape.len() == d + 2
        && kernel.shape[2..] == window.kernel[..]
        && groups > 0
        && kernel.shape[1] * groups == a.shape[1]
        && kernel.shape[0].is_multiple_of(groups)
        && window.stride.iter().chain(&window.kernel).all(|&s| s > 0);
    if !fits {
        return Err(format!("{window:?} in {groups} groups does not fit {a:?} and {kernel:?}"));
    }
    let mut shape = vec![a.shape[0], kernel.shape[0]];
    for i in 0..d {
        let padded = a.shape[2 + i] + window.pad_before[i] + window.pad_after[i];
        let reach = (window.kernel[i] - 1) * window.dilation[i] + 1;
        if padded < reach {
            return Err(format!("the kernel is larger than spatial axis {i} of {a:?}"));
        }
        shape.push((padded - reach) / window.stride[i] + 1);
    }
    Ok(TensorType { element: a.element, shape })
}

fn concat(axis: usize, operands: &[&TensorType]) -> Result<TensorType, String> {
    let mut result = operands[0].clone();
    if axis >= result.shape.len() {
        return Err(format!("there is no axis {axis} in {result:?}"));
    }
    for other in &operands[1..] {
        let same = other.element == result.element
            && other.shape.len() == result.shape.len()
            && (0..result.shape.len()).all(|i| i == axis || other.shape[i] == result.shape[i]);
        if !same {
            return Err(format!("{result:?} and {other:?} cannot be joined on axis {axis}"));
        }
        result.shape[axis] += other.shape[axis];
    }
    Ok(result)
}

fn single(op: &Op, a: &TensorType, wanted: &TensorType) -> Result<TensorType, String> {
    let mut shape = a.shape.clone();
    let has = |axis: usize| {
        if axis < a.shape.len() { Ok(()) } else { Err(format!("there is no axis {axis} in {a:?}")) }
    };
    match op {
        Op::Reduce { axes, .. } => {
            for &axis in axes {
                has(axis)?;
                shape[axis] = 1;
            }
        }
        Op::Softmax { axis } => has(*axis)?,
        Op::Normalize { .. } => has(0)?,
        Op::Permute { axes } => {
            let mut sorted = axes.clone();
            sorted.sort_unstable();
            if sorted != (0..shape.len()).collect::<Vec<_>>() {
                return Err(format!("{axes:?} does not permute the axes of {a:?}"));
            }
            shape = axes.iter().map(|&axis| a.shape[axis]).collect();
        }
        Op::Slice { axis, start, step } => {
            has(*axis)?;
            let length = wanted.shape.get(*axis).copied().unwrap_or(0);
            if *step == 0 || (length > 0 && start + (length - 1) * step >= shape[*axis]) {
                return Err(format!("{length} steps of {step} from {start} leave axis {axis} of {a:?}"));
            }
            shape[*axis] = length;
        }
        Op::Reshape if count(&shape) == count(&wanted.shape) => shape.clone_from(&wanted.shape),
        Op::Broadcast if broadcast(&[&shape, &wanted.shape])? == wanted.shape => shape.clone_from(&wanted.shape),
        _ => return Err(format!("{op:?} of {a:?} cannot give {wanted:?}")),
    }
    Ok(TensorType { element: a.element, shape })
}
