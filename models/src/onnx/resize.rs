//! Resampling of axes: a product with constant weights along each axis, or a look-up where each result is one of the elements.
//! The weights are the front end's answers to unit vectors.

use petgraph::graph::NodeIndex;
use tract_onnx::prelude::tract_ndarray::ArrayD;
use tract_onnx::prelude::{IntoTensor, TValue, TVec};
use tract_onnx::tract_core::internal::EvalContext;

use super::axes::picked;
use super::translate::{Site, Translated, host_tensor};
use crate::graph::{ConstantData, ElementType, Op, TensorType};
use crate::tensor::count;

pub(super) fn translate(site: &mut Site) -> Translated {
    if !matches!(&*site.node.op.name(), "Resize" | "NearestUpsample") {
        return Ok(None);
    }
    let (from, to) = (site.builder.shape(site.operands[0]), site.output.shape.clone());
    let mut result = site.operands[0];
    for axis in 0..from.len() {
        if from[axis] != to[axis] {
            let weights = weights(site, axis, &from, &to)?;
            result = match single(&weights, to[axis]) {
                Some(places) => picked(site, result, axis, places)?,
                None if site.output.element != ElementType::Float => {
                    return Err("only floats can be mixed; resample to the nearest, or cast to float32 before".into());
                }
                None => resample(site, result, axis, &weights, to[axis])?,
            };
        }
    }
    Ok(Some(result))
}

/// `[from, to]`: what each element of the axis contributes to each of the result.
fn weights(site: &Site, axis: usize, from: &[usize], to: &[usize]) -> Result<Vec<f32>, String> {
    let say = |e: tract_onnx::prelude::TractError| super::load::reasons(&e);
    let mut weights = Vec::with_capacity(from[axis] * to[axis]);
    let after: usize = to[axis + 1..].iter().product();
    for i in 0..from[axis] {
        let mut unit = vec![0.0_f32; count(from)];
        // The same along all other axes, so that whatever is mixed there stays what it is.
        let inner: usize = from[axis + 1..].iter().product();
        unit.iter_mut().enumerate().filter(|(at, _)| at / inner % from[axis] == i).for_each(|(_, x)| *x = 1.0);
        let unit = ArrayD::from_shape_vec(from.to_vec(), unit).map_err(|e| e.to_string())?.into_tensor();
        let mut inputs: TVec<TValue> = [TValue::from(unit)].into_iter().collect();
        for &operand in &site.operands[1..] {
            inputs.push(constant(site, operand)?);
        }
        let result = site.node.op.eval(&EvalContext::out_of_plan(), inputs).map_err(say)?;
        let result = host_tensor(&result[0])?.to_f32();
        weights.extend((0..to[axis]).map(|o| result[o * after]));
    }
    Ok(weights)
}

/// For each of the results the only element that it takes, if it is so.
fn single(weights: &[f32], to: usize) -> Option<Vec<i64>> {
    let column = |o: usize| weights.iter().skip(o).step_by(to);
    let place = |o: usize| {
        let at = column(o).position(|&w| w == 1.0)?;
        column(o).enumerate().all(|(i, &w)| i == at || w == 0.0).then_some(at as i64)
    };
    (0..to).map(place).collect()
}

/// An operand that says how to resample, as the front end takes it.
fn constant(site: &Site, id: NodeIndex) -> Result<TValue, String> {
    let shape = site.builder.shape(id);
    let say = |e: tract_onnx::prelude::tract_ndarray::ShapeError| e.to_string();
    match &site.builder.graph.node(id).op {
        Op::Constant(ConstantData::Float(v)) => {
            Ok(ArrayD::from_shape_vec(shape, v.to_vec()).map_err(say)?.into_tensor().into())
        }
        Op::Constant(ConstantData::Int(v)) => {
            Ok(ArrayD::from_shape_vec(shape, v.to_vec()).map_err(say)?.into_tensor().into())
        }
        _ => Err("sizes and scales must be constant; export with fixed sizes".into()),
    }
}

fn resample(site: &mut Site, a: NodeIndex, axis: usize, weights: &[f32], length: usize) -> Result<NodeIndex, String> {
    let shape = site.builder.shape(a);
    let (rank, name) = (shape.len(), format!("{}.axis{axis}", site.name));
    let last: Vec<usize> = (0..rank).filter(|&d| d != axis).chain([axis]).collect();
    let rows: usize = last[..rank - 1].iter().map(|&d| shape[d]).product();
    let b = &mut *site.builder;
    let moved = b.permute(&name, a, last.clone())?;
    let moved = b.reshape(&name, moved, vec![rows, shape[axis]])?;
    let wanted = TensorType { element: ElementType::Float, shape: vec![shape[axis], length] };
    let weights = b.constant(&format!("{name}.weights"), wanted, ConstantData::Float(weights.into()));
    let product = b.emit(&name, Op::MatMul, &[moved, weights])?;
    let mut sizes: Vec<usize> = last.iter().map(|&d| shape[d]).collect();
    sizes[rank - 1] = length;
    let product = b.reshape(&name, product, sizes)?;
    let back = (0..rank).filter_map(|d| last.iter().position(|&x| x == d)).collect();
    b.permute(&name, product, back)
}
