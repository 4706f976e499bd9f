//! What a report says of a run beside its counters.

use waferloom_fabric::{Dtype, HostSlice, HostView, Program};

/// What users count in a tensor: indices of axis 0. A single list is one item, not as many as it has elements.
pub fn items(first: Option<HostView<'_>>) -> usize {
    first.filter(|tensor| tensor.shape.len() > 1).map_or(1, |tensor| tensor.shape[0])
}

/// What an item is, in the plural: images have channels, rows and columns; whole numbers are tokens.
pub fn unit(first: Option<HostView<'_>>) -> &'static str {
    match first.map(|tensor| (tensor.shape.len(), tensor.data)) {
        None => "runs",
        Some((4, HostSlice::F32(_))) => "images",
        Some((_, HostSlice::I64(_))) => "sequences",
        Some(_) => "items",
    }
}

/// The precision, as far as a program shows it: the 16-bit formats of its floating-point tensors, or else single.
pub fn precision(program: &Program) -> String {
    let ports = program.ports.iter().map(|p| p.dtype);
    let all = ports.chain(program.constants.iter().map(|c| c.dtype)).chain(program.readbacks.iter().map(|r| r.dtype));
    let used: Vec<Dtype> = all.collect();
    let half = |dtype: &&Dtype| dtype.is_float() && dtype.bytes() == 2 && used.contains(dtype);
    let names: Vec<&str> = Dtype::ALL.iter().filter(half).map(|dtype| dtype.name()).collect();
    if names.is_empty() { Dtype::F32.name().into() } else { names.join("+") }
}
