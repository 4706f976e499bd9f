//! Convolutions and pooling.

use petgraph::graph::NodeIndex;
use tract_onnx::tract_core::ops::cnn::{Conv, KernelFormat, MaxPool, PaddingSpec, PoolSpec, SumPool};

use super::axes::pad_with;
use super::translate::{Site, Translated};
use crate::graph::{BinaryOp, ConstantData, ElementType, Op, TensorType, Window};
use crate::tensor::{TensorData, count};

pub(super) fn translate(site: &mut Site) -> Translated {
    let node = site.node;
    if let Some(op) = node.op_as::<Conv>() {
        return conv(site, op).map(Some);
    }
    if let Some(op) = node.op_as::<MaxPool>() {
        if op.with_index_outputs.is_some() && node.outputs.get(1).is_some_and(|o| !o.successors.is_empty()) {
            return Err("the indices of a maximum pooling are not supported; export without them".into());
        }
        return pool(site, &op.pool_spec, f32::NEG_INFINITY, BinaryOp::Max).map(Some);
    }
    if let Some(op) = node.op_as::<SumPool>() {
        let sum = pool(site, &op.pool_spec, 0.0, BinaryOp::Add)?;
        return if op.normalize { average(site, op, sum).map(Some) } else { Ok(Some(sum)) };
    }
    Ok(None)
}

/// Brings a tensor of the format's layout into `[batch, channels, spatial..]`.
pub(super) fn channels_first(site: &mut Site, a: NodeIndex, spec: &PoolSpec) -> Result<NodeIndex, String> {
    let mut a = a;
    if !spec.data_format.has_n() {
        let shape = [vec![1], site.builder.shape(a)].concat();
        a = site.builder.reshape(&format!("{}.batch", site.name), a, shape)?;
    }
    if spec.data_format.c_is_last() {
        let rank = site.builder.shape(a).len();
        let axes = [vec![0, rank - 1], (1..rank - 1).collect()].concat();
        a = site.builder.permute(&format!("{}.channels", site.name), a, axes)?;
    }
    Ok(a)
}

/// The way back of [`channels_first`].
pub(super) fn channels_back(site: &mut Site, a: NodeIndex, spec: &PoolSpec) -> Result<NodeIndex, String> {
    let mut a = a;
    if spec.data_format.c_is_last() {
        let rank = site.builder.shape(a).len();
        let axes = [vec![0], (2..rank).collect(), vec![1]].concat();
        a = site.builder.permute(&format!("{}.layout", site.name), a, axes)?;
    }
    let shape = site.output.shape.clone();
    site.builder.reshape(&format!("{}.shape", site.name), a, shape)
}

fn window(spec: &PoolSpec, spatial: &[usize]) -> Window {
    let computed = spec.computed_padding(spatial);
    Window {
        kernel: spec.kernel_shape.to_vec(),
        stride: spec.strides().to_vec(),
        dilation: spec.dilations().to_vec(),
        pad_before: computed.iter().map(|d| d.pad_before).collect(),
        pad_after: computed.iter().map(|d| d.pad_after).collect(),
    }
}

fn conv(site: &mut Site, op: &Conv) -> Result<NodeIndex, String> {
    if op.q_params.is_some() {
        return Err("quantised convolutions are not supported; export the model in float32".into());
    }
    let spec = &op.pool_spec;
    let input = channels_first(site, site.operands[0], spec)?;
    let window = window(spec, &site.builder.shape(input)[2..]);
    let kernel = kernel(site, site.operands[1], op)?;
    let product = Op::Conv { window, groups: op.group };
    let result = site.builder.emit(site.name, product, &[input, kernel])?;
    let result = add_bias(site, result, op.output_channels())?;
    channels_back(site, result, spec)
}

/// Adds the third operand, if there is one, to `[batch, channels, spatial..]`.
pub(super) fn add_bias(site: &mut Site, result: NodeIndex, channels: usize) -> Result<NodeIndex, String> {
    let Some(&bias) = site.operands.get(2) else { return Ok(result) };
    let mut shape = vec![1; site.builder.shape(result).len()];
    shape[1] = count(site.builder.graph.shape(bias));
    if shape[1] != 1 && shape[1] != channels {
        return Err(format!("a bias of {} elements does not fit {channels} channels", shape[1]));
    }
    let bias = site.builder.reshape(&format!("{}.bias", site.name), bias, shape)?;
    site.builder.binary(&format!("{}.biased", site.name), BinaryOp::Add, result, bias)
}

/// The kernel as `[out channels, channels / groups, spatial..]`.
fn kernel(site: &mut Site, kernel: NodeIndex, op: &Conv) -> Result<NodeIndex, String> {
    let rank = site.builder.shape(kernel).len();
    let axes: Vec<usize> = match op.kernel_fmt {
        KernelFormat::OIHW => (0..rank).collect(),
        KernelFormat::HWIO if op.group == 1 => [vec![rank - 1, rank - 2], (0..rank - 2).collect()].concat(),
        KernelFormat::OHWI => [vec![0, rank - 1], (1..rank - 1).collect()].concat(),
        KernelFormat::HWIO => {
            return Err(
                "grouped convolutions with channels last in the kernel are not supported; export with channels first"
                    .into(),
            );
        }
    };
    site.builder.permute(&format!("{}.kernel", site.name), kernel, axes)
}

/// Pooling as the combination of shifted, strided slices of the padded input.
fn pool(site: &mut Site, spec: &PoolSpec, filling: f32, combine: BinaryOp) -> Result<NodeIndex, String> {
    let input = channels_first(site, site.operands[0], spec)?;
    let shape = site.builder.shape(input);
    let window = window(spec, &shape[2..]);
    let result = spec.output_shape(&site.builder.shape(site.operands[0])).map_err(|e| super::load::reasons(&e))?;
    let places: Vec<usize> = result.hw_dims().to_vec();
    // Rounding up may need more cells behind the input than the padding says.
    let mut pads = vec![(0, 0); 2];
    for d in 0..places.len() {
        let reach = (places[d].max(1) - 1) * window.stride[d] + (window.kernel[d] - 1) * window.dilation[d] + 1;
        let after = reach.saturating_sub(shape[2 + d] + window.pad_before[d]);
        pads.push((window.pad_before[d], after));
    }
    let padded = pad_with(site, input, &pads, &TensorData::F32(vec![filling]))?;
    let result = combine_taps(site, padded, &window, &places, combine)?;
    channels_back(site, result, spec)
}

/// Each dimension on its own: the window is a box.
fn combine_taps(
    site: &mut Site,
    padded: NodeIndex,
    window: &Window,
    places: &[usize],
    combine: BinaryOp,
) -> Result<NodeIndex, String> {
    let mut result = padded;
    for (d, &length) in places.iter().enumerate() {
        let whole = result;
        let name = format!("{}.taps{d}", site.name);
        let tap = |site: &mut Site, t: usize| {
            site.builder.slice(&name, whole, 2 + d, (t * window.dilation[d], length, window.stride[d]))
        };
        result = tap(site, 0)?;
        for t in 1..window.kernel[d] {
            let next = tap(site, t)?;
            result = site.builder.binary(&name, combine, result, next)?;
        }
    }
    Ok(result)
}

/// Divides sums by the number of cells that took part in them.
fn average(site: &mut Site, op: &SumPool, sum: NodeIndex) -> Result<NodeIndex, String> {
    let spec = &op.pool_spec;
    let shape = site.builder.shape(site.operands[0]);
    let input = spec.data_format.shape(shape.as_slice()).map_err(|e| super::load::reasons(&e))?;
    let spatial = input.hw_dims().to_vec();
    let window = window(spec, &spatial);
    if op.count_include_pad && matches!(spec.padding, PaddingSpec::ExplicitOnnxPool(_, _, true)) {
        return Err(
            "an average that counts the padding of a size rounded up is not supported; export with ceil_mode=False"
                .into(),
        );
    }
    let first = usize::from(spec.data_format.has_n()) + usize::from(!spec.data_format.c_is_last());
    let places = site.output.shape[first..first + spatial.len()].to_vec();
    let taken = |d: usize, place: usize| {
        let cells = (0..window.kernel[d]).map(|t| place * window.stride[d] + t * window.dilation[d]);
        let inside = |p: &usize| *p >= window.pad_before[d] && *p < window.pad_before[d] + spatial[d];
        if op.count_include_pad { window.kernel[d] } else { cells.filter(inside).count() }
    };
    let mut shares = vec![1.0_f32];
    for (d, &length) in places.iter().enumerate() {
        shares =
            shares.iter().flat_map(|s| (0..length).map(move |p| (s, p))).map(|(s, p)| s / taken(d, p) as f32).collect();
    }
    let mut wanted = TensorType { element: ElementType::Float, shape: vec![1; site.output.shape.len()] };
    wanted.shape[first..first + places.len()].copy_from_slice(&places);
    let shares = site.builder.constant(&format!("{}.shares", site.name), wanted, ConstantData::Float(shares.into()));
    site.builder.binary(&format!("{}.average", site.name), BinaryOp::Mul, sum, shares)
}
