//! Where the largest and smallest elements are: comparisons with the extreme, and the smallest number among the places that
//! reach it.

use petgraph::graph::NodeIndex;
use tract_onnx::tract_core::ops::array::{OneHot, Topk};

use super::translate::{Site, Translated, host_tensor};
use crate::graph::{BinaryOp, ConstantData, ElementType, Op, ReduceOp, TensorType};

/// Each of the largest elements takes some steps on the mesh.
const MOST_LARGEST: usize = 64;

/// A search along an axis.
struct Search {
    axis: usize,
    /// `Max` for the largest, `Min` for the smallest.
    op: ReduceOp,
    /// Whether the last of equal elements counts; else the first.
    last: bool,
}

/// The place of the largest or smallest element along one axis.
pub(super) fn place_of_extreme(site: &mut Site, axes: &[usize], op: ReduceOp, last: bool) -> Result<NodeIndex, String> {
    let [axis] = *axes else {
        return Err("the index of an extreme value is only supported along one axis; flatten the tensor before".into());
    };
    let a = number(site, site.operands[0])?;
    let (_, place) = extreme(site, &Search { axis, op, last }, a, None)?;
    Ok(place)
}

/// Values and places of the `k` largest (or smallest) elements along an axis, the most extreme first; `None` for another
/// operator. Of equal elements the first counts.
pub(super) fn largest(site: &mut Site) -> Result<Option<[NodeIndex; 2]>, String> {
    let Some(op) = site.node.op_as::<Topk>() else { return Ok(None) };
    let k = site.output.shape[op.axis];
    if k == 0 || k > MOST_LARGEST {
        return Err(format!(
            "the {k} most extreme elements of an axis are not supported, only 1 to {MOST_LARGEST}; take fewer, or sort on the host"
        ));
    }
    let search = Search { axis: op.axis, op: if op.largest { ReduceOp::Max } else { ReduceOp::Min }, last: false };
    let (name, mut rest) = (site.name, number(site, site.operands[0])?);
    let mut taken: Option<NodeIndex> = None;
    let (mut values, mut places) = (Vec::new(), Vec::new());
    let here = numbers_along(site, rest, op.axis, "index");
    for turn in 0..k {
        let (value, place) = extreme(site, &search, rest, taken)?;
        values.push(value);
        places.push(place);
        if turn + 1 < k {
            let b = &mut *site.builder;
            let this = b.binary(&format!("{name}.this"), BinaryOp::Eq, here, place)?;
            let all = match taken {
                Some(before) => b.binary(&format!("{name}.taken"), BinaryOp::Or, before, this)?,
                None => this,
            };
            taken = Some(all);
            let worst = worst(site, rest, search.op);
            rest = site.builder.emit(&format!("{name}.rest"), Op::Select, &[this, worst, rest])?;
        }
    }
    let values = site.builder.emit(name, Op::Concat { axis: op.axis }, &values)?;
    let places = site.builder.emit(&format!("{name}.places"), Op::Concat { axis: op.axis }, &places)?;
    Ok(Some([site.builder.cast(name, values, site.output.element)?, places]))
}

/// The extreme along an axis among those not taken, and its place. Nothing compares with NaN: its place is found.
fn extreme(
    site: &mut Site,
    search: &Search,
    a: NodeIndex,
    taken: Option<NodeIndex>,
) -> Result<(NodeIndex, NodeIndex), String> {
    let (name, axis) = (site.name, search.axis);
    let length = site.builder.shape(a)[axis] as i64;
    let here = numbers_along(site, a, axis, "index");
    let far = integer(site, a, if search.last { -1 } else { length });
    let b = &mut *site.builder;
    let extreme = b.emit(&format!("{name}.extreme"), Op::Reduce { op: search.op, axes: vec![axis] }, &[a])?;
    let (low, high) = if search.op == ReduceOp::Max { (a, extreme) } else { (extreme, a) };
    let mut other = b.binary(&format!("{name}.other"), BinaryOp::Lt, low, high)?;
    if let Some(taken) = taken {
        other = b.binary(&format!("{name}.out"), BinaryOp::Or, other, taken)?;
    }
    let places = b.emit(&format!("{name}.candidates"), Op::Select, &[other, far, here])?;
    let nearest = if search.last { ReduceOp::Max } else { ReduceOp::Min };
    let place = b.emit(&format!("{name}.place"), Op::Reduce { op: nearest, axes: vec![axis] }, &[places])?;
    Ok((extreme, place))
}

/// A new axis on which the place that an index names has one value and the others another; `None` for another operator.
pub(super) fn one_hot(site: &mut Site) -> Translated {
    let Some(op) = site.node.op_as::<OneHot>() else { return Ok(None) };
    let name = site.name;
    let [on, off] = [host_tensor(&op.on)?, host_tensor(&op.off)?];
    let indices = super::gather::wrapped(site, site.operands[0], op.dim)?;
    let mut shape = site.builder.shape(indices);
    shape.insert(op.axis, 1);
    let indices = site.builder.reshape(&format!("{name}.indices"), indices, shape.clone())?;
    shape[op.axis] = op.dim;
    let mut output = TensorType { element: ElementType::Int, shape: vec![1; shape.len()] };
    output.shape[op.axis] = op.dim;
    let b = &mut *site.builder;
    let places = b.constant(&format!("{name}.places"), output, ConstantData::Int((0..op.dim as i64).collect()));
    let hit = b.binary(&format!("{name}.hit"), BinaryOp::Eq, indices, places)?;
    let number = TensorType { element: site.output.element, shape: vec![1; shape.len()] };
    let on = b.constant(&format!("{name}.on"), number.clone(), on.data.into());
    let off = b.constant(&format!("{name}.off"), number, off.data.into());
    b.emit(name, Op::Select, &[hit, on, off]).map(Some)
}

/// Truth values as integers, which can be compared.
fn number(site: &mut Site, a: NodeIndex) -> Result<NodeIndex, String> {
    let element = site.builder.element(a);
    let element = if element == ElementType::Bool { ElementType::Int } else { element };
    site.builder.cast(&format!("{}.number", site.name), a, element)
}

/// What no element is more extreme than.
fn worst(site: &mut Site, a: NodeIndex, op: ReduceOp) -> NodeIndex {
    let output =
        TensorType { shape: vec![1; site.builder.shape(a).len()], ..site.builder.graph.node(a).output.clone() };
    let largest = op == ReduceOp::Max;
    let data = match output.element {
        ElementType::Float => ConstantData::Float([if largest { f32::NEG_INFINITY } else { f32::INFINITY }].into()),
        // The mesh's integers have 32 bits.
        ElementType::Int | ElementType::Bool => {
            ConstantData::Int([i64::from(if largest { i32::MIN } else { i32::MAX })].into())
        }
    };
    site.builder.constant(&format!("{}.worst", site.name), output, data)
}

/// An integer, of the rank of `like`.
pub(super) fn integer(site: &mut Site, like: NodeIndex, value: i64) -> NodeIndex {
    let output = TensorType { element: ElementType::Int, shape: vec![1; site.builder.shape(like).len()] };
    site.builder.constant(&format!("{}.number", site.name), output, ConstantData::Int([value].into()))
}

/// 0, 1, 2, .. along an axis of `like`, with a size of 1 on the others.
pub(super) fn numbers_along(site: &mut Site, like: NodeIndex, axis: usize, what: &str) -> NodeIndex {
    let length = site.builder.shape(like)[axis];
    let mut output = TensorType { element: ElementType::Int, shape: vec![1; site.builder.shape(like).len()] };
    output.shape[axis] = length;
    let data = ConstantData::Int((0..length as i64).collect());
    site.builder.constant(&format!("{}.{what}", site.name), output, data)
}

/// A zero of the element type and rank of `like`.
pub(super) fn zero(site: &mut Site, like: NodeIndex) -> NodeIndex {
    let output = site.builder.graph.node(like).output.clone();
    let data = match output.element {
        ElementType::Float => ConstantData::Float([0.0].into()),
        ElementType::Int | ElementType::Bool => ConstantData::Int([0].into()),
    };
    let output = TensorType { shape: vec![1; output.shape.len()], ..output };
    site.builder.constant(&format!("{}.zero", site.name), output, data)
}
