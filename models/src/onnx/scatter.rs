//! Assignments by index become look-ups: for each place of the result, which row of the data and the updates (side by side)
//! ends up there. The last of several updates of one place wins.

use petgraph::graph::NodeIndex;
use tract_onnx::tract_core::ops::array::{ScatterElements, ScatterNd, ScatterReduction};

use super::gather::{row_numbers, wrapped};
use super::order::{integer, numbers_along, zero};
use super::translate::{Site, Translated};
use crate::graph::{BinaryOp, Op, ReduceOp};
use crate::tensor::count;

pub(super) fn translate(site: &mut Site) -> Translated {
    if let Some(op) = site.node.op_as::<ScatterElements>() {
        return elements(site, op.axis, op.reduction).map(Some);
    }
    if let Some(op) = site.node.op_as::<ScatterNd>() {
        return rows(site, op.reduction).map(Some);
    }
    Ok(None)
}

/// Rows of the data, of which each update's indices name one.
fn rows(site: &mut Site, reduction: ScatterReduction) -> Result<NodeIndex, String> {
    let [data, indices, updates] = *site.operands else { return Err("it needs three operands".into()) };
    let (shape, depth) = (site.builder.shape(data), site.builder.shape(indices).last().copied().unwrap_or(0));
    if depth > shape.len() {
        return Err(format!("{depth} indices do not fit the operand's shape {shape:?}"));
    }
    let places = row_numbers(site, indices, &shape, 0)?;
    let (rows, width, n) = (count(&shape[..depth]), count(&shape[depth..]), count(site.builder.graph.shape(places)));
    let name = site.name;
    let b = &mut *site.builder;
    let data = b.reshape(&format!("{name}.rows"), data, vec![1, rows, width])?;
    let updates = b.reshape(&format!("{name}.updates"), updates, vec![1, n, width])?;
    let places = b.reshape(&format!("{name}.places"), places, vec![1, n])?;
    let made = assign(site, data, places, updates, reduction)?;
    site.builder.reshape(name, made, shape)
}

/// Elements along one axis; the other indices are those of the update.
fn elements(site: &mut Site, axis: usize, reduction: ScatterReduction) -> Result<NodeIndex, String> {
    let [data, indices, updates] = *site.operands else { return Err("it needs three operands".into()) };
    let (shape, part) = (site.builder.shape(data), site.builder.shape(indices));
    let name = site.name;
    // Where there are fewer updates than places on another axis, those are the first ones.
    let mut inside = data;
    for d in (0..shape.len()).filter(|&d| d != axis && part[d] < shape[d]) {
        inside = site.builder.slice(&format!("{name}.inside"), inside, d, (0, part[d], 1))?;
    }
    let last: Vec<usize> = (0..shape.len()).filter(|&d| d != axis).chain([axis]).collect();
    let outer: usize = last[..shape.len() - 1].iter().map(|&d| part[d]).product();
    let indices = wrapped(site, indices, shape[axis])?;
    let b = &mut *site.builder;
    let mut columns = |what: &str, a: NodeIndex, length: usize, tail: &[usize]| {
        let name = format!("{name}.{what}");
        let moved = b.permute(&name, a, last.clone())?;
        b.reshape(&name, moved, [&[outer, length], tail].concat())
    };
    let rows = columns("rows", inside, shape[axis], &[1])?;
    let places = columns("places", indices, part[axis], &[])?;
    let updates = columns("updates", updates, part[axis], &[1])?;
    let made = assign(site, rows, places, updates, reduction)?;
    let mut sizes: Vec<usize> = last.iter().map(|&d| part[d]).collect();
    sizes[shape.len() - 1] = shape[axis];
    let made = site.builder.reshape(name, made, sizes)?;
    let back = (0..shape.len()).filter_map(|d| last.iter().position(|&x| x == d)).collect();
    let mut made = site.builder.permute(name, made, back)?;
    for d in (0..shape.len()).rev().filter(|&d| d != axis && part[d] < shape[d]) {
        // The rest of this axis, as large as what has been put together on the axes before.
        let mut rest = data;
        for before in (0..d).filter(|&e| e != axis && part[e] < shape[e]) {
            rest = site.builder.slice(&format!("{name}.rest"), rest, before, (0, part[before], 1))?;
        }
        rest = site.builder.slice(&format!("{name}.rest"), rest, d, (part[d], shape[d] - part[d], 1))?;
        made = site.builder.emit(&format!("{name}.whole"), Op::Concat { axis: d }, &[made, rest])?;
    }
    Ok(made)
}

/// Data `[outer, rows, width]`, row numbers `[outer, n]`, updates `[outer, n, width]`.
fn assign(
    site: &mut Site,
    data: NodeIndex,
    places: NodeIndex,
    updates: NodeIndex,
    reduction: ScatterReduction,
) -> Result<NodeIndex, String> {
    match reduction {
        ScatterReduction::None => replace(site, data, places, updates),
        ScatterReduction::Add => add(site, data, places, updates),
        other => Err(format!(
            "updates that are combined by {} are not supported, only replacements and sums; combine them before",
            other.as_str()
        )),
    }
}

/// `[outer, rows, n]`: whether an update goes to a row.
fn hits(site: &mut Site, data: NodeIndex, places: NodeIndex) -> Result<NodeIndex, String> {
    let name = site.name;
    let n = site.builder.shape(places)[1];
    let rows = numbers_along(site, data, 1, "row");
    let outer = site.builder.shape(places)[0];
    let places = site.builder.reshape(&format!("{name}.place"), places, vec![outer, 1, n])?;
    site.builder.binary(&format!("{name}.hit"), BinaryOp::Eq, rows, places)
}

fn replace(site: &mut Site, data: NodeIndex, places: NodeIndex, updates: NodeIndex) -> Result<NodeIndex, String> {
    let shape = site.builder.shape(data);
    let (outer, rows, width) = (shape[0], shape[1], shape[2]);
    let n = site.builder.shape(places)[1];
    if n == 0 || rows == 0 {
        return Ok(data);
    }
    let hit = hits(site, data, places)?;
    let name = site.name;
    let (first, own) = (integer(site, data, rows as i64), numbers_along(site, data, 1, "own"));
    let numbers = numbers_along(site, hit, 2, "update");
    let b = &mut *site.builder;
    let numbers = b.binary(&format!("{name}.number"), BinaryOp::Add, numbers, first)?;
    let sources = b.emit(&format!("{name}.sources"), Op::Select, &[hit, numbers, own])?;
    let source = b.emit(&format!("{name}.source"), Op::Reduce { op: ReduceOp::Max, axes: vec![2] }, &[sources])?;
    let both = b.emit(&format!("{name}.both"), Op::Concat { axis: 1 }, &[data, updates])?;
    let both = b.reshape(&format!("{name}.both"), both, vec![outer * (rows + n), width])?;
    let starts = numbers_along(site, source, 0, "start");
    let step = integer(site, source, (rows + n) as i64);
    let b = &mut *site.builder;
    let starts = b.binary(&format!("{name}.start"), BinaryOp::Mul, starts, step)?;
    let source = b.binary(&format!("{name}.source"), BinaryOp::Add, source, starts)?;
    let source = b.reshape(&format!("{name}.source"), source, vec![outer, rows])?;
    b.emit(name, Op::Gather { axis: 0 }, &[both, source])
}

fn add(site: &mut Site, data: NodeIndex, places: NodeIndex, updates: NodeIndex) -> Result<NodeIndex, String> {
    let shape = site.builder.shape(data);
    let n = site.builder.shape(places)[1];
    let hit = hits(site, data, places)?;
    let name = site.name;
    let b = &mut *site.builder;
    // [outer, rows, n, width]: what each update adds to each row.
    let hit = b.reshape(&format!("{name}.hit"), hit, vec![shape[0], shape[1], n, 1])?;
    let updates = b.reshape(&format!("{name}.updates"), updates, vec![shape[0], 1, n, shape[2]])?;
    let nothing = zero(site, updates);
    let b = &mut *site.builder;
    let added = b.emit(&format!("{name}.added"), Op::Select, &[hit, updates, nothing])?;
    let sum = b.emit(&format!("{name}.sum"), Op::Reduce { op: ReduceOp::Sum, axes: vec![2] }, &[added])?;
    let sum = b.reshape(&format!("{name}.sum"), sum, shape)?;
    b.binary(name, BinaryOp::Add, data, sum)
}
