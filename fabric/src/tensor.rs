//! Tensors of the host, and how their elements lie on the mesh.

use crate::geometry::Extent;
use crate::tiles::Tiles;
use serde::{Deserialize, Serialize};

/// Type of the elements of a buffer, a descriptor or a tensor on the mesh.
///
/// Program files name a variant by its place: new ones go to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Dtype {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// 32-bit two's complement; also plain 32-bit words.
    I32,
    /// Unsigned 16 bits; also plain 16-bit words.
    U16,
    /// bfloat16: the upper half of a binary32.
    Bf16,
    /// The vendor's 16-bit format; see [`Cb16`](crate::Cb16).
    Cb16,
}

impl Dtype {
    /// All types, the floats first.
    pub const ALL: [Self; 6] = [Self::F32, Self::F16, Self::Bf16, Self::Cb16, Self::I32, Self::U16];

    /// Bytes of one element in SRAM.
    pub fn bytes(self) -> u32 {
        match self {
            Dtype::F32 | Dtype::I32 => 4,
            Dtype::F16 | Dtype::Bf16 | Dtype::Cb16 | Dtype::U16 => 2,
        }
    }

    /// Whether elements are floating-point numbers.
    pub fn is_float(self) -> bool {
        matches!(self, Dtype::F32 | Dtype::F16 | Dtype::Bf16 | Dtype::Cb16)
    }

    /// The name in the text form.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "f32",
            Dtype::F16 => "f16",
            Dtype::I32 => "i32",
            Dtype::U16 => "u16",
            Dtype::Bf16 => "bf16",
            Dtype::Cb16 => "cb16",
        }
    }
}

/// One dimension of a tensor dealt to the columns (or rows) of the mesh.
///
/// Blocks of `block` consecutive indices go to PEs 0, 1, 2, … and around again when there are more blocks than PEs
/// (block-cyclic). The last block may be short; its missing elements are padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Split {
    /// The dimension, from 0.
    pub dim: u32,
    /// Indices in a block, at least 1.
    pub block: u32,
}

impl Split {
    /// Equal blocks, one a PE: the smallest block that needs no second round.
    pub fn even(dim: u32, size: u32, pes: u32) -> Self {
        Self { dim, block: size.div_ceil(pes.max(1)).max(1) }
    }

    /// Blocks that a dimension of `size` makes.
    pub fn blocks(&self, size: u32) -> u32 {
        size.div_ceil(self.block)
    }

    /// Indices that a PE makes room for, padding included.
    pub fn local_size(&self, size: u32, pes: u32) -> u32 {
        self.blocks(size).div_ceil(pes).max(1) * self.block
    }

    /// The PE that holds an index, and the index within its tile.
    pub fn locate(&self, index: u32, pes: u32) -> (u32, u32) {
        let block = index / self.block;
        (block % pes, block / pes * self.block + index % self.block)
    }

    /// The index that a PE's local index stands for; it may lie beyond the dimension's size (padding).
    pub fn global(&self, pe: u32, local: u32, pes: u32) -> u32 {
        (local / self.block * pes + pe) * self.block + local % self.block
    }
}

/// How a tensor lies on a mesh of PEs: each PE holds one dense tile, row-major, of the same size everywhere.
///
/// A tensor that an axis of the mesh does not split is replicated along that axis.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Distribution {
    /// The PEs among which the tensor is dealt.
    pub grid: Extent,
    /// Shape of the whole tensor; empty for a scalar.
    pub shape: Vec<u32>,
    /// The dimension dealt to the columns of the mesh.
    pub x: Option<Split>,
    /// The dimension dealt to the rows of the mesh; not the one of `x`.
    pub y: Option<Split>,
}

impl Distribution {
    /// Elements of the whole tensor.
    pub fn elements(&self) -> usize {
        self.shape.iter().map(|&n| n as usize).product()
    }

    pub(crate) fn split_of(&self, dim: usize) -> Option<(Split, u32, bool)> {
        let dim = dim as u32;
        match (self.x, self.y) {
            (Some(s), _) if s.dim == dim => Some((s, u32::from(self.grid.width), true)),
            (_, Some(s)) if s.dim == dim => Some((s, u32::from(self.grid.height), false)),
            _ => None,
        }
    }

    /// Shape of every PE's tile, padding included.
    pub fn tile(&self) -> Vec<u32> {
        let local = |(dim, &size): (usize, &u32)| {
            self.split_of(dim).map_or(size, |(split, pes, _)| split.local_size(size, pes))
        };
        self.shape.iter().enumerate().map(local).collect()
    }

    /// Elements of every PE's tile, padding included.
    pub fn tile_elements(&self) -> usize {
        self.tile().iter().map(|&n| n as usize).product()
    }

    /// How the tiles lie in the tensor.
    pub fn tiles(&self) -> Tiles {
        Tiles::of(self)
    }

    /// For each element of the tile of PE `(x, y)` in memory order: its row-major index in the tensor, or `None` for padding.
    pub fn tile_indices(&self, x: u16, y: u16) -> Vec<Option<usize>> {
        let mut indices = Vec::with_capacity(self.tile_elements());
        self.tiles().for_each_run(x, y, |first, length| {
            indices.extend((0..length).map(|i| first.map(|first| first + i)));
        });
        indices
    }

    /// Whether the tile of the PE at (x, y) has nothing but padding.
    pub fn is_padding(&self, x: u16, y: u16) -> bool {
        let beyond = |split: Option<Split>, at: u16, pes: u16| {
            split.is_some_and(|split| {
                let size = self.shape.get(split.dim as usize).copied().unwrap_or(1);
                split.global(at.into(), 0, pes.into()) >= size
            })
        };
        beyond(self.x, x, self.grid.width) || beyond(self.y, y, self.grid.height)
    }

    /// Where an element lies: its column (`None` when every column has it), its row, and its place in the tile.
    pub fn locate(&self, index: &[u32]) -> (Option<u16>, Option<u16>, usize) {
        let (mut column, mut row, mut offset) = (None, None, 0usize);
        for (dim, (&at, &local)) in index.iter().zip(&self.tile()).enumerate() {
            let (x, y, within) = self.locate_along(dim, at);
            (column, row) = (column.or(x), row.or(y));
            offset = offset * local as usize + within as usize;
        }
        (column, row, offset)
    }

    /// Where the elements with an index of one dimension lie: their column and row, `None` where that dimension does not
    /// decide, and the index within the tile.
    pub fn locate_along(&self, dim: usize, index: u32) -> (Option<u16>, Option<u16>, u32) {
        match self.split_of(dim) {
            None => (None, None, index),
            Some((split, pes, on_x)) => {
                let (pe, within) = split.locate(index, pes);
                let pe = Some(pe as u16);
                if on_x { (pe, None, within) } else { (None, pe, within) }
            }
        }
    }

    /// Checks that splits name two different, existing dimensions and have blocks.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn check(&self) -> Result<(), String> {
        for split in [self.x, self.y].into_iter().flatten() {
            if split.dim as usize >= self.shape.len() {
                return Err(format!("split of dimension {} of a tensor with {}", split.dim, self.shape.len()));
            }
            if split.block == 0 {
                return Err(format!("split of dimension {} in blocks of 0", split.dim));
            }
        }
        for (split, pes) in [(self.x, self.grid.width), (self.y, self.grid.height)] {
            // Padding included, as indices are reckoned in 32 bits.
            let padded = |split: Split| {
                let blocks = u64::from(split.blocks(self.shape[split.dim as usize]));
                blocks.div_ceil(u64::from(pes).max(1)).max(1) * u64::from(pes) * u64::from(split.block)
            };
            if let Some(split) = split
                && padded(split) > u64::from(u32::MAX)
            {
                return Err(format!("blocks of {} along dimension {} are too long", split.block, split.dim));
            }
        }
        if let (Some(x), Some(y)) = (self.x, self.y)
            && x.dim == y.dim
        {
            return Err(format!("dimension {} is split along both axes", x.dim));
        }
        if self.grid.pes() == 0 {
            return Err("a grid without PEs".into());
        }
        let elements = self.shape.iter().try_fold(1u64, |n, &d| n.checked_mul(u64::from(d)));
        let tile = self.tile().iter().try_fold(1u64, |n, &d| n.checked_mul(u64::from(d)));
        if elements.is_none_or(|n| n > 1 << 40) || tile.is_none_or(|n| n > 1 << 32) {
            return Err(format!("shape {:?} is too large", self.shape));
        }
        Ok(())
    }
}

/// Elements of a host tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum HostData {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 64-bit integers; booleans are 0 and 1.
    I64(Vec<i64>),
}

/// A dense, row-major tensor on the host: what goes in and out of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostTensor {
    /// Shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// As many elements as the shape says.
    pub data: HostData,
}

/// Elements of a tensor that somebody else owns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HostSlice<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// 64-bit integers; booleans are 0 and 1.
    I64(&'a [i64]),
}

/// A [`HostTensor`] that somebody else owns, so that large inputs need no copy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HostView<'a> {
    /// Shape; empty for a scalar.
    pub shape: &'a [usize],
    /// As many elements as the shape says.
    pub data: HostSlice<'a>,
}

impl HostView<'_> {
    /// The name of the element type, as users know it.
    pub fn dtype_name(&self) -> &'static str {
        match self.data {
            HostSlice::F32(_) => "float32",
            HostSlice::I64(_) => "int64",
        }
    }

    /// The tensor so many times, with a leading dimension of that size.
    pub fn repeated(&self, times: usize) -> HostTensor {
        let data = match self.data {
            HostSlice::F32(values) => HostData::F32(values.repeat(times)),
            HostSlice::I64(values) => HostData::I64(values.repeat(times)),
        };
        HostTensor { shape: [&[times], self.shape].concat(), data }
    }
}

impl HostTensor {
    /// The tensor without its ownership.
    pub fn view(&self) -> HostView<'_> {
        let data = match &self.data {
            HostData::F32(values) => HostSlice::F32(values),
            HostData::I64(values) => HostSlice::I64(values),
        };
        HostView { shape: &self.shape, data }
    }

    /// A tensor of floats.
    pub fn f32(shape: &[usize], data: Vec<f32>) -> Self {
        debug_assert_eq!(shape.iter().product::<usize>(), data.len());
        Self { shape: shape.to_vec(), data: HostData::F32(data) }
    }

    /// A tensor of integers.
    pub fn i64(shape: &[usize], data: Vec<i64>) -> Self {
        debug_assert_eq!(shape.iter().product::<usize>(), data.len());
        Self { shape: shape.to_vec(), data: HostData::I64(data) }
    }

    /// Tensors of one shape and type as one with a leading dimension; `None` when they differ, or when there are none.
    pub fn stack(parts: &[&Self]) -> Option<Self> {
        let first = parts.first()?;
        let mut data = match &first.data {
            HostData::F32(_) => HostData::F32(Vec::with_capacity(first.len() * parts.len())),
            HostData::I64(_) => HostData::I64(Vec::with_capacity(first.len() * parts.len())),
        };
        for part in parts.iter().filter(|part| part.shape == first.shape) {
            match (&mut data, &part.data) {
                (HostData::F32(all), HostData::F32(part)) => all.extend_from_slice(part),
                (HostData::I64(all), HostData::I64(part)) => all.extend_from_slice(part),
                _ => return None,
            }
        }
        let shape = [&[parts.len()], first.shape.as_slice()].concat();
        parts.iter().all(|part| part.shape == first.shape).then_some(Self { shape, data })
    }

    /// The parts of a tensor along its leading dimension; none when it has no dimension.
    pub fn unstack(&self) -> Vec<Self> {
        let Some((&count, shape)) = self.shape.split_first() else { return Vec::new() };
        let size: usize = shape.iter().product();
        let part = |i: usize| match &self.data {
            HostData::F32(v) => HostData::F32(v[i * size..(i + 1) * size].to_vec()),
            HostData::I64(v) => HostData::I64(v[i * size..(i + 1) * size].to_vec()),
        };
        (0..count).map(|i| Self { shape: shape.to_vec(), data: part(i) }).collect()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match &self.data {
            HostData::F32(v) => v.len(),
            HostData::I64(v) => v.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Shape [3, 5] on a 2 x 2 grid: rows in blocks of 2, columns in blocks of 3, so that each tile is 2 x 3.
    fn ragged() -> Distribution {
        Distribution {
            grid: Extent { width: 2, height: 2 },
            shape: vec![3, 5],
            x: Some(Split::even(1, 5, 2)),
            y: Some(Split::even(0, 3, 2)),
        }
    }

    #[test]
    fn tiles_hold_their_block_and_padding() {
        let d = ragged();
        assert_eq!(d.tile(), [2, 3]);
        // PE (1, 0): rows 0 and 1, columns 3 and 4, then one padding column.
        assert_eq!(d.tile_indices(1, 0), [Some(3), Some(4), None, Some(8), Some(9), None]);
        // PE (0, 1): row 2, then a padding row.
        assert_eq!(d.tile_indices(0, 1), [Some(10), Some(11), Some(12), None, None, None]);
    }

    fn runs(d: &Distribution, x: u16, y: u16) -> Vec<(Option<usize>, usize)> {
        let mut runs = Vec::new();
        d.tiles().for_each_run(x, y, |index, length| runs.push((index, length)));
        if let Some((index, length)) = d.tiles().whole(x, y) {
            assert_eq!(runs, [(Some(index), length)]);
        }
        runs
    }

    #[test]
    fn runs_are_as_long_as_blocks_and_what_lies_behind_them() {
        let d = ragged();
        assert_eq!(runs(&d, 1, 0), [(Some(3), 2), (None, 1), (Some(8), 2), (None, 1)]);
        assert_eq!(runs(&d, 0, 1), [(Some(10), 3), (None, 3)]);
        // Rows alone are dealt, one at a time: PE (_, 1) has the second one of 3, and no fourth. The columns follow in one piece.
        let cyclic = Distribution { x: None, y: Some(Split { dim: 0, block: 1 }), ..ragged() };
        assert_eq!(runs(&cyclic, 0, 1), [(Some(5), 5), (None, 5)]);
        let whole = Distribution { x: None, y: None, ..ragged() };
        assert_eq!(runs(&whole, 1, 1), [(Some(0), 15)]);
        assert_eq!(whole.tiles().whole(1, 1), Some((0, 15)));
        // Two rows of 5 for PE (_, 0), one and padding for the other.
        let rows = Distribution { x: None, y: Some(Split { dim: 0, block: 2 }), ..ragged() };
        assert_eq!((runs(&rows, 0, 0), rows.tiles().whole(0, 0)), (vec![(Some(0), 10)], Some((0, 10))));
        assert_eq!((runs(&rows, 0, 1), rows.tiles().whole(0, 1)), (vec![(Some(10), 5), (None, 5)], None));
        let scalar = Distribution { shape: vec![], ..whole.clone() };
        assert_eq!(runs(&scalar, 0, 0), [(Some(0), 1)]);
        let empty = Distribution { shape: vec![3, 0], ..whole };
        assert_eq!(runs(&empty, 0, 0), []);
    }

    #[test]
    fn locate_finds_what_tile_indices_lists() {
        let d = ragged();
        for row in 0..3 {
            for column in 0..5 {
                let (x, y, offset) = d.locate(&[row, column]);
                let tile = d.tile_indices(x.expect("split"), y.expect("split"));
                assert_eq!(tile[offset], Some((row * 5 + column) as usize));
            }
        }
    }

    #[test]
    fn stacked_tensors_come_apart_again() {
        let parts = [HostTensor::f32(&[2], vec![1.0, 2.0]), HostTensor::f32(&[2], vec![3.0, 4.0])];
        let stacked = HostTensor::stack(&[&parts[0], &parts[1]]).expect("alike");
        assert_eq!(stacked, HostTensor::f32(&[2, 2], vec![1.0, 2.0, 3.0, 4.0]));
        assert_eq!(stacked.unstack(), parts);
        assert_eq!(parts[1].view().repeated(2), HostTensor::f32(&[2, 2], vec![3.0, 4.0, 3.0, 4.0]));
        assert_eq!(HostTensor::stack(&[&parts[0], &HostTensor::f32(&[1], vec![0.0])]), None);
        assert_eq!(HostTensor::stack(&[&parts[0], &HostTensor::i64(&[2], vec![0, 0])]), None);
    }

    #[test]
    fn blocks_that_overflow_are_refused() {
        let mut d = ragged();
        d.x = Some(Split { dim: 1, block: 3_000_000_000 });
        assert!(d.check().expect_err("too long").contains("blocks of 3000000000"));
    }

    #[test]
    fn cyclic_blocks_go_around() {
        // 5 blocks of 2 over 2 PEs: PE 0 holds blocks 0, 2, 4; index 9 is the second of block 4, at local 2 * 2 + 1.
        let split = Split { dim: 0, block: 2 };
        assert_eq!(split.locate(9, 2), (0, 5));
        assert_eq!(split.global(0, 5, 2), 9);
        assert_eq!(split.local_size(10, 2), 6);
    }

    proptest! {
        /// Every element lies in the tiles where [`Distribution::locate`] says, once, and tiles are of one size.
        #[test]
        fn runs_cover_each_element_once(
            shape in proptest::collection::vec(0..7u32, 1..4),
            blocks in [1..4u32, 1..4u32],
            dims in [0..4u32, 0..4u32],
            grid in [1..4u16, 1..4u16],
        ) {
            let rank = shape.len() as u32;
            let split = |i: usize| (dims[i] < rank).then(|| Split { dim: dims[i], block: blocks[i] });
            let grid = Extent { width: grid[0], height: grid[1] };
            let d = Distribution { grid, shape, x: split(0), y: split(1).filter(|_| dims[0] != dims[1]) };
            prop_assert_eq!(d.check(), Ok(()));
            let mut found = vec![0; d.elements()];
            for (x, y) in (0..grid.height).flat_map(|y| (0..grid.width).map(move |x| (x, y))) {
                let mut place = 0;
                for (first, length) in runs(&d, x, y) {
                    for i in first.into_iter().flat_map(|first| first..first + length) {
                        let (column, row, offset) = d.locate(&index_of(&d.shape, i));
                        prop_assert_eq!(offset, place + i - first.unwrap_or(0));
                        prop_assert!(column.is_none_or(|c| c == x) && row.is_none_or(|r| r == y));
                        found[i] += 1;
                    }
                    place += length;
                }
                prop_assert_eq!(place, d.tile_elements());
            }
            // What is not split along an axis lies in each of its PEs.
            let copies = if d.x.is_some() { 1 } else { grid.width } * if d.y.is_some() { 1 } else { grid.height };
            prop_assert!(found.iter().all(|&n| n == copies));
        }
    }

    fn index_of(shape: &[u32], mut flat: usize) -> Vec<u32> {
        let mut index: Vec<u32> = shape
            .iter()
            .rev()
            .map(|&n| {
                let i = flat % n as usize;
                flat /= n as usize;
                i as u32
            })
            .collect();
        index.reverse();
        index
    }
}
