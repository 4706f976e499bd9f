//! Convolutions become matrix products: the patches under the window are laid out as rows.
//!
//! `[n, c, h, w]` is padded, the window's taps are picked along each spatial axis, and `[n · places, c · taps]` is multiplied
//! by the kernel as `[c · taps, channels out]`, one product for each group of channels.

use super::rewrite::{Rewrite, rewrite};
use petgraph::graph::NodeIndex;
use waferloom_models::Graph;
use waferloom_models::graph::{ConstantData, Node, Op, TensorType, Window};

pub(super) fn run(graph: &Graph) -> Graph {
    rewrite(graph, |new, id, operands| match &graph.node(id).op {
        Op::Conv { window, groups } => Some(convolution(new, graph.node(id), operands, window, *groups)),
        _ => None,
    })
}

fn convolution(new: &mut Rewrite, node: &Node, operands: &[NodeIndex], window: &Window, groups: usize) -> NodeIndex {
    let name = &node.name;
    let (out, kernel) = (&node.output.shape, new.shape(operands[1]));
    let (batch, places): (usize, usize) = (out[0], out[2..].iter().product());
    let (channels, taps): (usize, usize) = (kernel[1], window.kernel.iter().product());
    let left = patches(new, name, operands[0], window, &out[2..], groups);
    // [out channels, c · taps] to [groups, c · taps, out channels of a group].
    let per_group = out[1] / groups;
    let right = new.reshape(&format!("{name}.kernel"), operands[1], &[groups, per_group, channels * taps]);
    let right = new.permute(&format!("{name}.kernel"), right, &[0, 2, 1]);
    let output = TensorType { element: node.output.element, shape: vec![groups, batch * places, per_group] };
    let (left, right, output) = if groups == 1 {
        // Without a dimension for groups, so that the product has the plainest form.
        let flat = |new: &mut Rewrite, id: NodeIndex| {
            let shape = new.shape(id)[1..].to_vec();
            new.reshape(&format!("{name}.flat"), id, &shape)
        };
        (flat(new, left), flat(new, right), TensorType { shape: output.shape[1..].to_vec(), ..output })
    } else {
        (left, right, output)
    };
    let product = new.emit(name, Op::MatMul, output, &[left, right]);
    // [groups, n, places, out channels of a group] to [n, groups, out channels of a group, places].
    let product = new.reshape(&format!("{name}.out"), product, &[groups, batch, places, per_group]);
    let product = new.permute(&format!("{name}.out"), product, &[1, 0, 3, 2]);
    new.reshape(&format!("{name}.out"), product, out)
}

/// `[groups, n · places, c · taps]`: for each place of the window what lies under it.
fn patches(
    new: &mut Rewrite,
    name: &str,
    input: NodeIndex,
    window: &Window,
    places: &[usize],
    groups: usize,
) -> NodeIndex {
    let d = places.len();
    let name = format!("{name}.patches");
    let shape = new.shape(input);
    let (batch, channels) = (shape[0], shape[1] / groups);
    let mut taken = input;
    for (axis, &length) in places.iter().enumerate() {
        taken = pad(new, &name, taken, 2 + axis, window.pad_before[axis], window.pad_after[axis]);
        let tap = |place: usize, tap: usize| (place * window.stride[axis] + tap * window.dilation[axis]) as i64;
        let taps = window.kernel[axis];
        let list = (0..length).flat_map(|p| (0..taps).map(move |t| tap(p, t))).collect();
        taken = new.pick(&name, taken, 2 + axis, list);
    }
    // [n, groups, c, places 0, taps 0, places 1, taps 1, ..] to [groups, n, places.., c, taps..].
    let mut split = vec![batch, groups, channels];
    split.extend(places.iter().zip(&window.kernel).flat_map(|(&p, &k)| [p, k]));
    let taken = new.reshape(&name, taken, &split);
    let mut axes = vec![1, 0];
    axes.extend((0..d).map(|axis| 3 + 2 * axis));
    axes.push(2);
    axes.extend((0..d).map(|axis| 4 + 2 * axis));
    let taken = new.permute(&name, taken, &axes);
    let rows = batch * places.iter().product::<usize>();
    new.reshape(&name, taken, &[groups, rows, channels * window.kernel.iter().product::<usize>()])
}

/// Zeros on both sides of an axis.
fn pad(new: &mut Rewrite, name: &str, a: NodeIndex, axis: usize, before: usize, after: usize) -> NodeIndex {
    let mut parts = vec![a];
    let mut output = new.output(a);
    for (length, front) in [(before, true), (after, false)] {
        if length > 0 {
            let mut zeros = new.output(a);
            zeros.shape[axis] = length;
            let elements = zeros.shape.iter().product();
            output.shape[axis] += length;
            let data = ConstantData::Float(vec![0.0; elements].into());
            let filling = new.emit(&format!("{name}.zeros"), Op::Constant(data), zeros, &[]);
            parts.insert(if front { 0 } else { parts.len() }, filling);
        }
    }
    if parts.len() == 1 { a } else { new.emit(&format!("{name}.pad"), Op::Concat { axis }, output, &parts) }
}
