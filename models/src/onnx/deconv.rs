//! Transposed convolutions: zeros between the input's elements, then a convolution of step 1 with the kernel turned around.

use petgraph::graph::NodeIndex;
use tract_onnx::tract_core::ops::cnn::{Deconv, KernelFormat};

use super::axes::{pad_with, turned_around};
use super::conv::{add_bias, channels_back, channels_first};
use super::translate::{Site, Translated};
use crate::graph::{Op, Window};
use crate::tensor::TensorData;

pub(super) fn translate(site: &mut Site) -> Translated {
    let Some(op) = site.node.op_as::<Deconv>() else { return Ok(None) };
    if op.kernel_format != KernelFormat::OIHW {
        return Err(
            "a transposed convolution with channels last in the kernel is not supported; export with channels first"
                .into(),
        );
    }
    let spec = &op.pool_spec;
    let input = channels_first(site, site.operands[0], spec)?;
    let sizes = site.builder.shape(input)[2..].to_vec();
    let (strides, dilations) = (spec.strides().to_vec(), spec.dilations().to_vec());
    let computed = spec
        .padding
        .compute_for_deconv(&sizes, &spec.kernel_shape, &dilations, &strides, &op.adjustments)
        .map_err(|e| super::load::reasons(&e))?;
    let (mut stuffed, mut kernel) = (input, site.operands[1]);
    for (d, computed) in computed.iter().enumerate() {
        stuffed = stuff(site, stuffed, 2 + d, strides[d])?;
        let reach = (spec.kernel_shape[d] - 1) * dilations[d];
        // Each result sees the elements from `reach - pad_before` before its place on.
        let before = reach as i64 - computed.pad_before as i64;
        let after = (computed.deconvoluted + reach) as i64 - site.builder.shape(stuffed)[2 + d] as i64 - before;
        stuffed = fit(site, stuffed, 2 + d, before, after)?;
        kernel = turned_around(site, kernel, 2 + d)?;
    }
    let rank = sizes.len();
    let window = Window {
        kernel: spec.kernel_shape.to_vec(),
        stride: vec![1; rank],
        dilation: dilations,
        pad_before: vec![0; rank],
        pad_after: vec![0; rank],
    };
    let result = site.builder.emit(site.name, Op::Conv { window, groups: op.group }, &[stuffed, kernel])?;
    let result = add_bias(site, result, spec.output_channels)?;
    channels_back(site, result, spec).map(Some)
}

/// `step - 1` zeros between the elements of an axis.
fn stuff(site: &mut Site, a: NodeIndex, axis: usize, step: usize) -> Result<NodeIndex, String> {
    let mut shape = site.builder.shape(a);
    let length = shape[axis];
    if step == 1 || length == 0 {
        return Ok(a);
    }
    let name = format!("{}.stuffed{axis}", site.name);
    shape.insert(axis + 1, 1);
    let column = site.builder.reshape(&name, a, shape.clone())?;
    let mut pads = vec![(0, 0); shape.len()];
    pads[axis + 1] = (0, step - 1);
    let filled = pad_with(site, column, &pads, &TensorData::F32(vec![0.0]))?;
    shape.remove(axis + 1);
    shape[axis] = length * step;
    let joined = site.builder.reshape(&name, filled, shape)?;
    site.builder.slice(&name, joined, axis, (0, (length - 1) * step + 1, 1))
}

/// Zeros on both sides of an axis; a negative number takes elements away.
fn fit(site: &mut Site, a: NodeIndex, axis: usize, before: i64, after: i64) -> Result<NodeIndex, String> {
    let mut pads = vec![(0, 0); site.builder.shape(a).len()];
    pads[axis] = (before.max(0) as usize, after.max(0) as usize);
    let padded = pad_with(site, a, &pads, &TensorData::F32(vec![0.0]))?;
    let (start, end) = ((-before).max(0), (-after).max(0));
    let length = site.builder.shape(padded)[axis] as i64 - start - end;
    let length = usize::try_from(length).map_err(|_| "its padding is larger than its result; correct the model")?;
    site.builder.slice(&format!("{}.cut", site.name), padded, axis, (start as usize, length, 1))
}
