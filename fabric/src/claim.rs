//! Claims: what a stretch of code computes, said as a whole.
//!
//! A claim adds nothing to what the machine does. It lets a simulator work out the numbers of a whole distributed kernel at once
//! instead of element by element on each PE: the same numbers to the bit, since the claim names the order of accumulation.
//! Without its claims a program gives the same bits.

use crate::code::{Value, VectorOp};
use crate::geometry::Region;
use crate::tensor::Dtype;
use serde::{Deserialize, Serialize};

/// What a rectangle of PEs computes together, [`Instruction::Claim`](crate::Instruction::Claim) on each of them, as often and in
/// the same order.
///
/// A simulator may pass over the code: its wavelets stay in the region, all of them are received, and the region's switches stand behind it as
/// they did before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Claim {
    /// A matrix product.
    Product(ProductClaim),
    /// Elements that PEs take from others.
    Takes(TakesClaim),
    /// Vectors that lines of PEs combine.
    AllReduce(AllReduceClaim),
}

impl From<ProductClaim> for Claim {
    fn from(claim: ProductClaim) -> Self {
        Claim::Product(claim)
    }
}

impl From<TakesClaim> for Claim {
    fn from(claim: TakesClaim) -> Self {
        Claim::Takes(claim)
    }
}

impl From<AllReduceClaim> for Claim {
    fn from(claim: AllReduceClaim) -> Self {
        Claim::AllReduce(claim)
    }
}

impl Claim {
    /// The PEs: a rectangle without gaps.
    pub fn region(&self) -> &Region {
        match self {
            Claim::Product(claim) => &claim.region,
            Claim::Takes(claim) => &claim.region,
            Claim::AllReduce(claim) => &claim.region,
        }
    }

    /// Bytes from each of the addresses of the instruction that its tiles take at least, and how these are aligned.
    pub fn tiles(&self) -> [(u64, u32); 3] {
        match self {
            Claim::Product(claim) => {
                let ([left, right], size) = (claim.operand_bytes(), claim.dtype.bytes());
                [(left, size), (right, size), (claim.result_bytes(), Dtype::F32.bytes())]
            }
            Claim::Takes(claim) => {
                let word = Dtype::I32.bytes();
                [(u64::from(claim.words) * u64::from(word), word), (2, 2), (0, claim.dtype.bytes())]
            }
            Claim::AllReduce(claim) => {
                let vector = (u64::from(claim.count) * u64::from(Dtype::F32.bytes()), Dtype::F32.bytes());
                [vector, (0, 1), vector]
            }
        }
    }
}

/// Along rows, columns, or on its own, each PE takes elements out of tiles of some PEs of its line, the roots, whatever types they have.
///
/// Of the addresses of the instruction the first one is that of a root's tile, as it is when the root begins; the second one is that of the PE's list
/// of what it takes, which nobody writes to; the third one is that to which its elements go. A list is in u16: *takes* one behind another and
/// [`TakesClaim::END`]. A take is the place of a root in the line, the number of roots, the elements that each root's copies go farther in the
/// target than those of the root before it, the number of copies, and the copies, which are made from each of the roots in turn. A
/// copy is the first element in the root's tile, the first one in the target, and for each of `rank` dimensions, the outermost
/// first, how many there are and how many elements from one to the next in the tile and in the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakesClaim {
    /// The PEs: a rectangle without gaps.
    pub region: Region,
    /// Whose tiles they take from.
    pub line: ClaimLine,
    /// Type of the elements; only its size matters.
    pub dtype: Dtype,
    /// Place in the line of the first root.
    pub first: u16,
    /// Place in the line behind the last root.
    pub end: u16,
    /// 32-bit words of a root's tile.
    pub words: u32,
    /// Dimensions of a copy.
    pub rank: u8,
}

impl TakesClaim {
    /// What a list ends with: no line has a PE at this place.
    pub const END: u16 = u16::MAX;

    /// Numbers of a copy of so many dimensions in a list.
    pub fn copy_numbers(rank: usize) -> usize {
        2 + 3 * rank
    }
}

/// Along rows or columns, PEs combine vectors of f32, and all of a line get the result: that of the last PE, combined with what the one before has,
/// and so on to the first PE, in each step what has come so far being the first operand.
///
/// Of the addresses of the instruction the first one is that of a PE's vector, as it is when the PE begins, the third one that of the result; the second
/// one says nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllReduceClaim {
    /// The PEs: a rectangle without gaps.
    pub region: Region,
    /// Who combines.
    pub line: ClaimLine,
    /// How: [`VectorOp::Add`], [`VectorOp::Max`] or [`VectorOp::Min`].
    pub op: VectorOp,
    /// Elements of a vector.
    pub count: u32,
}

/// The PEs that a PE has to do with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClaimLine {
    /// Those of its row in the region, the first one in the west.
    Row,
    /// Those of its column, the first one in the north.
    Column,
    /// Itself.
    Own,
}

impl ClaimLine {
    /// PEs of a line in a region.
    pub fn pes(self, region: &Region) -> u16 {
        match self {
            ClaimLine::Row => region.width,
            ClaimLine::Column => region.height,
            ClaimLine::Own => 1,
        }
    }
}

/// A matrix product of a rectangle of PEs.
///
/// The inner dimension is cut into blocks of `block` indices, of which the last may be short. Each operand lies in tiles of
/// slots, one slot a block: an element is at `matrix * (its matrix) + slot * (its slot) + line * (its row, or column of the right
/// operand) + step * (its inner index in the block)`, counted in elements from the address that the instruction gives. The result
/// lies dense and row-major: `[batch .., rows, columns]` of f32.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductClaim {
    /// In which order what is added up.
    pub kind: ClaimKind,
    /// The PEs: a rectangle without gaps.
    pub region: Region,
    /// Type of both operands, whose elements become f32 before they are multiplied.
    pub dtype: Dtype,
    /// Rows of a PE's tile of the result.
    pub rows: u32,
    /// Columns of it.
    pub columns: u32,
    /// Inner indices that are multiplied.
    pub inner: u32,
    /// Inner indices of a block.
    pub block: u32,
    /// The left operand.
    pub left: ClaimOperand,
    /// The right operand.
    pub right: ClaimOperand,
    /// Batch dimensions, the outermost first.
    pub batch: Vec<ClaimBatch>,
}

/// In which order a product is added up; all in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClaimKind {
    /// An element of the result is a sequence of fused multiply-adds over the inner index, ascending, from what the PE's tile
    /// of the result holds before. Of an operand that is split, block `b` lies in the tile of the PE whose place in the row
    /// (left operand) or column (right operand) is `b` modulo the length of the line, in the slot `b` divided by it; else each
    /// PE has all blocks.
    Product,
    /// The blocks are dealt to the rows of PEs, one each, in slot 0 of both operands. A PE multiplies its own: fused multiply-adds
    /// ascending from 0. The sums of a column of PEs are added up from the southernmost to the northernmost, and all PEs of
    /// the column get them.
    ColumnSums,
}

/// How an operand lies; see [`ProductClaim`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimOperand {
    /// Whether its blocks are dealt to the PEs of a line.
    pub split: bool,
    /// Elements from a matrix to the next one.
    pub matrix: u32,
    /// Elements from a slot to the next one.
    pub slot: u32,
    /// Elements from a row (of the right operand: a column) to the next one.
    pub line: u32,
    /// Elements from an inner index to the next one of its block.
    pub step: u32,
}

/// A batch dimension: its size and, per operand, the matrices between two of its indices (0 repeats the same one).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimBatch {
    /// Number of products.
    pub size: u32,
    /// Stride of the left operand, in matrices.
    pub left: u32,
    /// Stride of the right operand, in matrices.
    pub right: u32,
}

/// An address in bytes, the sum of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Read when the instruction begins.
    pub base: Value,
    /// Added to it.
    pub offset: i32,
}

impl From<u32> for Address {
    fn from(address: u32) -> Self {
        Self { base: address.into(), offset: 0 }
    }
}

impl ProductClaim {
    /// Blocks of the inner dimension.
    pub fn blocks(&self) -> u32 {
        self.inner.div_ceil(self.block.max(1))
    }

    /// Products of a PE.
    pub fn products(&self) -> u64 {
        self.batch.iter().fold(1, |all, dim| all.saturating_mul(dim.size.into()))
    }

    /// Of each product the matrices of the left and of the right operand.
    pub fn matrices(&self) -> Vec<[u32; 2]> {
        self.batch.iter().fold(vec![[0, 0]], |outer, dim| {
            let inner =
                |[left, right]: [u32; 2]| (0..dim.size).map(move |i| [left + i * dim.left, right + i * dim.right]);
            outer.into_iter().flat_map(inner).collect()
        })
    }

    /// How many matrices each operand must have.
    pub fn operand_matrices(&self) -> [u64; 2] {
        let count = |stride: fn(&ClaimBatch) -> u32| {
            self.batch.iter().fold(1u64, |count, dim| {
                count.saturating_add(u64::from(dim.size.saturating_sub(1)).saturating_mul(stride(dim).into()))
            })
        };
        [count(|dim| dim.left), count(|dim| dim.right)]
    }

    /// Bytes of a PE's tile of the result.
    pub fn result_bytes(&self) -> u64 {
        let tile = u64::from(self.rows).saturating_mul(self.columns.into());
        self.products().saturating_mul(tile).saturating_mul(Dtype::F32.bytes().into())
    }

    /// Bytes from the addresses of the left and of the right operand to the ends of their tiles, of a PE that has all slots.
    pub fn operand_bytes(&self) -> [u64; 2] {
        let [left_matrices, right_matrices] = self.operand_matrices();
        let bytes = |operand: &ClaimOperand, matrices: u64, lines: u32, pes: u16| {
            let (blocks, block) = (u64::from(self.blocks()), u64::from(self.block));
            let slots = match (self.kind, operand.split) {
                (ClaimKind::ColumnSums, _) => 1,
                (ClaimKind::Product, true) => blocks.div_ceil(u64::from(pes).max(1)),
                (ClaimKind::Product, false) => blocks,
            };
            // Tiles of what is split have room for whole blocks.
            let depth = if operand.split { block } else { u64::from(self.inner) - (blocks.max(1) - 1) * block };
            let reach = |count: u64, stride: u32| count.saturating_sub(1).saturating_mul(stride.into());
            let before = if slots > 1 { reach(slots - 1, operand.slot) + reach(block, operand.step) } else { 0 };
            let last = reach(slots, operand.slot).saturating_add(reach(depth, operand.step)).max(before);
            let rest = reach(matrices, operand.matrix).saturating_add(reach(lines.into(), operand.line));
            last.saturating_add(rest).saturating_add(1).saturating_mul(self.dtype.bytes().into())
        };
        [
            bytes(&self.left, left_matrices, self.rows, self.region.width),
            bytes(&self.right, right_matrices, self.columns, self.region.height),
        ]
    }
}
