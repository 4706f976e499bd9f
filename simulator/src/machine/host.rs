//! The host's side of the fabric's edge: streams of wavelets in and out, and their conversion from and to tensors.

use crate::SimulateError;
use waferloom_fabric::{Coord, Direction, Dtype, HostData, HostSlice, HostTensor, HostView, Port, Readback, Tiles};

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

/// Refuses a tensor that an input port does not take, before any of it is sent.
pub(crate) fn check(port: &Port, items: u32, tensor: HostView<'_>) -> Result<(), SimulateError> {
    let expected = host_shape(items, &port.distribution.shape);
    if tensor.shape != expected {
        return Err(SimulateError::InputShape { name: port.name.clone(), expected, got: tensor.shape.to_vec() });
    }
    let has_numbers = match tensor.data {
        HostSlice::F32(_) => port.dtype.is_float(),
        HostSlice::I64(_) => !port.dtype.is_float(),
    };
    if !has_numbers {
        return Err(SimulateError::InputDtype {
            name: port.name.clone(),
            expected: if port.dtype.is_float() { "float32" } else { "int64" },
            got: tensor.dtype_name(),
        });
    }
    Ok(())
}

/// Adds the wavelets of a stream of an input port to `words`, of the item whose elements start at `first`.
///
/// Straight from the host's tensor, which may be large, run by run.
pub(crate) fn add_stream(
    words: &mut Vec<u32>,
    port: &Port,
    stream: u16,
    tensor: HostView<'_>,
    first: usize,
) -> Result<(), SimulateError> {
    words.reserve(port.stream_wavelets());
    let runs = port.distribution.tiles();
    for (x, y) in tiles(port, stream) {
        // Two elements of 16 bits share a word; a tile begins a new one.
        let (mut half, mut done) = (None, Ok(()));
        runs.for_each_run(x, y, |index, length| {
            let at = index.map(|index| first + index);
            let result = if port.dtype.bytes() == 4 {
                each_bits(port, tensor, at, length, |bits| words.push(bits))
            } else {
                each_bits(port, tensor, at, length, |bits| match half.take() {
                    None => half = Some(bits),
                    Some(low) => words.push(low | bits << 16),
                })
            };
            if done.is_ok() {
                done = result;
            }
        });
        done?;
        words.extend(half);
    }
    Ok(())
}

/// Columns and rows of the tiles of a stream, in order.
fn tiles(port: &Port, stream: u16) -> impl Iterator<Item = (u16, u16)> + use<> {
    let vertical = matches!(port.edge, Direction::North | Direction::South);
    let grid = port.distribution.grid;
    let count = if vertical { grid.height } else { grid.width };
    (0..count).map(move |i| if vertical { (stream, i) } else { (i, stream) })
}

/// Gives elements of the tensor as bits of the port's type; zeros for padding.
fn each_bits(
    port: &Port,
    tensor: HostView<'_>,
    at: Option<usize>,
    length: usize,
    mut take: impl FnMut(u32),
) -> Result<(), SimulateError> {
    let Some(at) = at else {
        (0..length).for_each(|_| take(0));
        return Ok(());
    };
    match tensor.data {
        // What is no float has been refused.
        HostSlice::F32(values) => {
            values[at..at + length].iter().for_each(|&x| take(port.dtype.narrow(x).unwrap_or(0)));
        }
        HostSlice::I64(values) => {
            for &value in &values[at..at + length] {
                take(integer_bits(port, value)?);
            }
        }
    }
    Ok(())
}

/// An integer as bits of the port's type.
fn integer_bits(port: &Port, value: i64) -> Result<u32, SimulateError> {
    let fits = if port.dtype == Dtype::I32 {
        i32::try_from(value).map(|n| n as u32).ok()
    } else {
        u16::try_from(value).map(u32::from).ok()
    };
    fits.ok_or_else(|| SimulateError::InputRange { name: port.name.clone(), value, dtype: port.dtype.name() })
}

/// Adds the elements of an item that the streams of an output port carry, as bits of its type.
pub(crate) fn decode(bits: &mut Vec<u32>, port: &Port, streams: &[&[u32]]) {
    let first = bits.len();
    bits.resize(first + port.distribution.elements(), 0);
    let runs = port.distribution.tiles();
    for (stream, words) in streams.iter().enumerate() {
        let mut words = words.chunks(port.tile_wavelets().max(1));
        for (x, y) in tiles(port, stream as u16) {
            let chunk = words.next().unwrap_or(&[]);
            let element = |offset: usize| {
                if port.dtype.bytes() == 2 {
                    chunk.get(offset / 2).map(|w| w >> (offset % 2 * 16) & 0xFFFF)
                } else {
                    chunk.get(offset).copied()
                }
            };
            for_each_element(&runs, (x, y), |offset, index| {
                if let Some(word) = element(offset) {
                    bits[first + index] = word;
                }
            });
        }
    }
}

/// Gives each element of a tile but its padding: its place in the tile and its index in the tensor.
fn for_each_element(tiles: &Tiles, (x, y): (u16, u16), mut take: impl FnMut(usize, usize)) {
    let mut offset = 0;
    tiles.for_each_run(x, y, |index, length| {
        if let Some(index) = index {
            (0..length).for_each(|i| take(offset + i, index + i));
        }
        offset += length;
    });
}

/// The tensor that lies in SRAM when everything is done. `memory` gives that of a PE.
pub(crate) fn read_back<'m>(readback: &Readback, memory: impl Fn(Coord) -> Option<&'m [u8]>) -> HostTensor {
    let d = &readback.distribution;
    let mut bits = vec![0u32; d.elements()];
    let (tiles, size) = (d.tiles(), readback.dtype.bytes() as usize);
    // What is replicated along an axis is read where that axis starts.
    let columns = if d.x.is_some() { d.grid.width } else { 1 };
    let rows = if d.y.is_some() { d.grid.height } else { 1 };
    for (x, y) in (0..rows).flat_map(|y| (0..columns).map(move |x| (x, y))) {
        let pe = Coord { x: readback.origin.x.saturating_add(x), y: readback.origin.y.saturating_add(y) };
        let memory = memory(pe).unwrap_or_default();
        let mut start = readback.address as usize;
        tiles.for_each_run(x, y, |index, length| {
            let end = start + length * size;
            if let (Some(index), Some(run)) = (index, memory.get(start..end)) {
                if size == 4 {
                    let words = run.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word));
                    bits[index..].iter_mut().zip(words).for_each(|(bits, word)| *bits = word);
                } else {
                    let halves = run.as_chunks().0.iter().map(|&half| u16::from_le_bytes(half).into());
                    bits[index..].iter_mut().zip(halves).for_each(|(bits, half)| *bits = half);
                }
            }
            start = end;
        });
    }
    host_tensor(readback.dtype, host_shape(1, &d.shape), bits)
}

/// Bits of a type on the mesh as the host's tensor.
pub(crate) fn host_tensor(dtype: Dtype, shape: Vec<usize>, bits: Vec<u32>) -> HostTensor {
    let data = match dtype {
        Dtype::I32 => HostData::I64(bits.into_iter().map(|b| i64::from(b as i32)).collect()),
        Dtype::U16 => HostData::I64(bits.into_iter().map(i64::from).collect()),
        Dtype::F32 => HostData::F32(bits.into_iter().map(f32::from_bits).collect()),
        // A float's bits all stand for a number.
        _ => HostData::F32(bits.into_iter().map(|b| dtype.widen(b).unwrap_or(f32::NAN)).collect()),
    };
    HostTensor { shape, data }
}
