//! Matrix product with a right operand that stays where it lies: its inner dimension is dealt to the rows of the mesh, its
//! columns to the columns. Every PE multiplies the part of the left operand that meets its tile, all rows of it, and the
//! partial sums of a column of PEs are added up along it. Each PE takes the rows that it shall have.
//!
//! SUMMA sends all of the right operand through every column, however few rows meet it; here only the left operand and the sums
//! travel.
//!
//! Order of accumulation: within a PE fused multiply-adds over its inner indices, ascending, from 0; then from the southernmost
//! PE to the northernmost, all in f32.

use crate::code::{Code, Tile, memory};
use crate::matmul::{self, MOST_SHIFT, MatMul, Order};
use crate::mesh::{Axis, Mesh};
use crate::reduce::{self, Combine};
use waferloom_fabric::{ClaimKind, ClaimOperand, Distribution, Dtype, Operand, ProductClaim, Region, Split};

/// Local sizes of a distributed product `[.., m, k] x [k, n]`.
#[derive(Clone, Debug)]
pub struct Stationary {
    /// Matrices of the left operand.
    pub matrices: u32,
    /// Rows of one of them.
    pub rows: u32,
    /// Rows of one matrix of a PE's tile of the result.
    pub own_rows: u32,
    /// Columns of a PE's tile of the right operand and of the result.
    pub columns: u32,
    /// The inner dimension.
    pub inner: u32,
    /// Inner indices of a tile.
    pub block: u32,
    /// Whether the result's rows are dealt to the rows of the mesh; else every PE has all of them.
    pub rows_split: bool,
}

/// How the left operand of this shape must lie: its inner dimension in equal blocks over the rows of the mesh.
pub fn left_distribution(result: &Distribution, shape: &[u32]) -> Distribution {
    let dim = shape.len() as u32 - 1;
    let y = Split::even(dim, shape[dim as usize], result.grid.height.into());
    Distribution { grid: result.grid, shape: shape.to_vec(), x: None, y: Some(y) }
}

/// How the right operand must lie: blocks of the inner dimension as the left one's, `columns` as the result's.
pub fn right_distribution(left: &Distribution, shape: &[u32], columns: Option<Split>) -> Distribution {
    let dim = shape.len() as u32 - 2;
    Distribution { grid: left.grid, shape: shape.to_vec(), x: columns, y: left.y.map(|split| Split { dim, ..split }) }
}

impl Stationary {
    /// Whether there is nothing to multiply: some size is 0.
    pub fn is_empty(&self) -> bool {
        [self.matrices, self.rows, self.own_rows, self.columns, self.inner].contains(&0)
    }

    /// Partial sums of a PE.
    pub fn sums(&self) -> u32 {
        self.matrices * self.rows * self.columns
    }

    /// Bytes for the partial sums: some are kept back, so that they can start in banks of the SRAM in which they do not collide
    /// with the operands, and as many rows as a PE reads behind the last one when there are too few for it.
    pub fn sums_bytes(&self) -> u32 {
        (self.sums() + self.own_rows * self.columns) * 4 + MOST_SHIFT
    }

    /// What the product claims.
    fn claim(&self, region: Region, dtype: Dtype) -> ProductClaim {
        let Self { columns, inner, block, .. } = *self;
        let split = ClaimOperand { split: true, matrix: 0, slot: 0, line: 1, step: 1 };
        ProductClaim {
            kind: ClaimKind::ColumnSums,
            region,
            dtype,
            rows: self.matrices * self.rows,
            columns,
            inner,
            block,
            left: ClaimOperand { line: block, ..split },
            right: ClaimOperand { step: columns, ..split },
            batch: Vec::new(),
        }
    }

    /// The product of one PE.
    fn local(&self) -> MatMul {
        MatMul {
            batch: Vec::new(),
            matrices: [1, 1],
            rows: self.matrices * self.rows,
            columns: self.columns,
            inner: self.block,
            block: self.block,
            left_split: false,
            right_split: false,
            right_rows: self.block,
        }
    }
}

/// Emits the product into partial sums at `sums` (a buffer of [`Stationary::sums_bytes`]) and adds them up. Gives the PE's own
/// rows there, as f32 `[matrices, own_rows * columns]`; there must be something to multiply.
///
/// Tiles are dense and row-major: left `[matrices, rows, block]`, right `[block, columns]`.
pub fn emit(code: &mut Code, mesh: &mut Mesh, shape: &Stationary, left: Tile, right: Tile, sums: u32) -> Operand {
    let local = shape.local();
    let (order, sums) = choose(&local, left, right, sums);
    let valid = |y: u32| shape.inner.saturating_sub(y * shape.block).min(shape.block) as i32;
    let depth = mesh.param_along(Axis::Y, "depth", (0..mesh.size(Axis::Y)).map(valid).collect());
    let claim = mesh.claim(shape.claim(mesh.region(), left.dtype));
    code.claim(claim, [left.address, right.address, sums], |code| {
        matmul::clear(code, Tile { address: sums, elements: shape.sums(), dtype: Dtype::F32 });
        let operands = [left.address.into(), right.address.into()];
        matmul::multiply(code, &local, left.dtype, order, sums, operands, shape.block, depth);
        reduce::all_reduce(code, mesh, Axis::Y, Combine::Sum, sums, shape.sums());
    });
    let row_bytes = shape.columns * 4;
    let first = |y: u32| if shape.rows_split { (y * shape.own_rows).min(shape.rows) } else { 0 };
    let own = (0..mesh.size(Axis::Y)).map(|y| (sums + first(y) * row_bytes) as i32).collect();
    let own = mesh.param_along(Axis::Y, "own_rows", own);
    let dims = [
        (shape.matrices.into(), (shape.rows * shape.columns).into()),
        ((shape.own_rows * shape.columns).into(), 1.into()),
    ];
    memory(own, 0, Dtype::F32, &dims)
}

/// The order of loops and the place of the sums with the fewest waits for memory.
fn choose(local: &MatMul, left: Tile, right: Tile, sums: u32) -> (Order, u32) {
    let places = (sums..=sums + MOST_SHIFT).step_by(8);
    let choices =
        [Order::ColumnInside, Order::DepthInside].into_iter().flat_map(|o| places.clone().map(move |s| (o, s)));
    let waits = |&(order, sums): &(Order, u32)| {
        matmul::block_waits(local, order, left.dtype.bytes(), [sums, left.address, right.address])
    };
    choices.min_by_key(waits).unwrap_or((Order::ColumnInside, sums))
}
