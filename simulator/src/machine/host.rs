//! The host's side of the fabric's edge: streams of wavelets in and out, and their conversion from and to tensors.

use crate::SimulateError;
use waferloom_fabric::{Coord, Direction, Dtype, HostData, HostSlice, HostTensor, HostView, Port, Readback};

/// A link over which the host sends.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) local: usize,
    pub(crate) lane: usize,
    pub(crate) direction: Direction,
    pub(crate) data: Vec<u32>,
    pub(crate) next: usize,
    /// Wavelets of one item.
    pub(crate) item_wavelets: usize,
    /// Cycle in which the first wavelet of each item so far was sent.
    pub(crate) item_starts: Vec<u64>,
    /// Room in the router's queue.
    pub(crate) credits: u16,
    /// Cycles between two wavelets: more than 1 when the links together exceed the host's bandwidth.
    pub(crate) interval: u64,
    pub(crate) earliest: u64,
}

/// A link over which the host receives.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) local: usize,
    pub(crate) lane: usize,
    pub(crate) direction: Direction,
    pub(crate) expected: usize,
    pub(crate) data: Vec<u32>,
    /// Whether words came that a claim has left out.
    pub(crate) left_out: bool,
    /// Wavelets of one item.
    pub(crate) item_wavelets: usize,
    /// Cycle in which the last wavelet of each item so far had arrived.
    pub(crate) item_ends: Vec<u64>,
    pub(crate) interval: u64,
    /// When the link takes the next wavelet; `None` while it is free.
    pub(crate) restore_at: Option<u64>,
    /// Cycle in which the last wavelet was there.
    pub(crate) last: u64,
}

/// The shape of the host's tensor: that of an item's, behind the number of items when there are several.
pub(crate) fn host_shape(items: u32, shape: &[u32]) -> Vec<usize> {
    let leading = (items != 1).then_some(items as usize);
    leading.into_iter().chain(shape.iter().map(|&n| n as usize)).collect()
}

/// The elements of all items of an input port, as bits of its type.
pub(crate) fn encode(port: &Port, items: u32, tensor: HostView<'_>) -> Result<Vec<u32>, SimulateError> {
    let expected = host_shape(items, &port.distribution.shape);
    if tensor.shape != expected {
        return Err(SimulateError::InputShape { name: port.name.clone(), expected, got: tensor.shape.to_vec() });
    }
    element_bits(port, tensor)
}

/// The wavelets of each stream of an input port, of one item.
pub(crate) fn streams(port: &Port, bits: &[u32]) -> Vec<Vec<u32>> {
    let mut streams = Vec::with_capacity(port.streams().into());
    for stream in 0..port.streams() {
        let mut words = Vec::with_capacity(port.stream_wavelets());
        for (x, y) in tiles(port, stream) {
            let tile = port.distribution.tile_indices(x, y);
            let elements: Vec<u32> = tile.into_iter().map(|i| i.map_or(0, |i| bits[i])).collect();
            if port.dtype.bytes() == 2 {
                words.extend(elements.chunks(2).map(|pair| pair[0] | pair.get(1).copied().unwrap_or(0) << 16));
            } else {
                words.extend(elements);
            }
        }
        streams.push(words);
    }
    streams
}

/// Columns and rows of the tiles of a stream, in order.
fn tiles(port: &Port, stream: u16) -> impl Iterator<Item = (u16, u16)> + use<> {
    let vertical = matches!(port.edge, Direction::North | Direction::South);
    let grid = port.distribution.grid;
    let count = if vertical { grid.height } else { grid.width };
    (0..count).map(move |i| if vertical { (stream, i) } else { (i, stream) })
}

/// Each element as bits of the port's type.
fn element_bits(port: &Port, tensor: HostView<'_>) -> Result<Vec<u32>, SimulateError> {
    let mismatch = || SimulateError::InputDtype {
        name: port.name.clone(),
        expected: if port.dtype.is_float() { "float32" } else { "int64" },
        got: tensor.dtype_name(),
    };
    match (tensor.data, port.dtype) {
        (HostSlice::F32(v), dtype) => v.iter().map(|&x| dtype.narrow(x)).collect::<Option<_>>().ok_or_else(mismatch),
        (HostSlice::I64(v), Dtype::I32 | Dtype::U16) => v
            .iter()
            .map(|&n| {
                let fits = if port.dtype == Dtype::I32 {
                    i32::try_from(n).map(|n| n as u32).ok()
                } else {
                    u16::try_from(n).map(u32::from).ok()
                };
                fits.ok_or_else(|| SimulateError::InputRange {
                    name: port.name.clone(),
                    value: n,
                    dtype: port.dtype.name(),
                })
            })
            .collect(),
        _ => Err(mismatch()),
    }
}

/// The elements of an item that the streams of an output port carry, as bits of its type.
pub(crate) fn decode(port: &Port, streams: &[Vec<u32>]) -> Vec<u32> {
    let mut bits = vec![0u32; port.distribution.elements()];
    for (stream, words) in streams.iter().enumerate() {
        let mut words = words.chunks(port.tile_wavelets().max(1));
        for (x, y) in tiles(port, stream as u16) {
            let chunk = words.next().unwrap_or(&[]);
            for (offset, index) in port.distribution.tile_indices(x, y).into_iter().enumerate() {
                let word = if port.dtype.bytes() == 2 {
                    chunk.get(offset / 2).map(|w| w >> (offset % 2 * 16) & 0xFFFF)
                } else {
                    chunk.get(offset).copied()
                };
                if let (Some(index), Some(word)) = (index, word) {
                    bits[index] = word;
                }
            }
        }
    }
    bits
}

/// The tensor that lies in SRAM when everything is done. `word` reads the bits of an element: PE, address.
pub(crate) fn read_back(readback: &Readback, word: impl Fn(Coord, i64) -> u32) -> HostTensor {
    let d = &readback.distribution;
    let mut bits = vec![0u32; d.elements()];
    // What is replicated along an axis is read where that axis starts.
    let columns = if d.x.is_some() { d.grid.width } else { 1 };
    let rows = if d.y.is_some() { d.grid.height } else { 1 };
    for (x, y) in (0..rows).flat_map(|y| (0..columns).map(move |x| (x, y))) {
        let pe = Coord { x: readback.origin.x.saturating_add(x), y: readback.origin.y.saturating_add(y) };
        for (offset, index) in d.tile_indices(x, y).into_iter().enumerate() {
            if let Some(index) = index {
                bits[index] = word(pe, i64::from(readback.address) + offset as i64 * i64::from(readback.dtype.bytes()));
            }
        }
    }
    host_tensor(readback.dtype, host_shape(1, &d.shape), bits)
}

/// Bits of a type on the mesh as the host's tensor.
pub(crate) fn host_tensor(dtype: Dtype, shape: Vec<usize>, bits: Vec<u32>) -> HostTensor {
    let data = match dtype {
        Dtype::I32 => HostData::I64(bits.into_iter().map(|b| i64::from(b as i32)).collect()),
        Dtype::U16 => HostData::I64(bits.into_iter().map(i64::from).collect()),
        // A float's bits all stand for a number.
        _ => HostData::F32(bits.into_iter().map(|b| dtype.widen(b).unwrap_or(f32::NAN)).collect()),
    };
    HostTensor { shape, data }
}
