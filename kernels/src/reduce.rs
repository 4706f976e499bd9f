//! Reduction along the dimension that is dealt to the columns of the mesh: each PE reduces what it holds, a chain to the west
//! combines the rows' partial results (receive, combine and send on in one instruction), and column 0 sends the result
//! back to its row. [`all_reduce`] does the same along columns, with a chain to the north.
//!
//! Order of combination: within a PE ascending; then from the last PE of the line to the first.

use crate::code::{Code, Tile, float, memory, words_at, words_out};
use crate::line::{self, Turn};
use crate::mesh::{Axis, Mesh, input, output};
use serde::{Deserialize, Serialize};
use waferloom_fabric::{AllReduceClaim, ClaimLine, Compare, Dtype, Operand, Value, VectorOp};

/// How elements are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Combine {
    /// Sum.
    Sum,
    /// Largest; NaN wins.
    Max,
    /// Smallest; NaN wins.
    Min,
}

impl Combine {
    /// The operation on two elements.
    pub fn op(self) -> VectorOp {
        match self {
            Combine::Sum => VectorOp::Add,
            Combine::Max => VectorOp::Max,
            Combine::Min => VectorOp::Min,
        }
    }

    fn identity(self) -> f32 {
        match self {
            Combine::Sum => 0.0,
            Combine::Max => f32::NEG_INFINITY,
            Combine::Min => f32::INFINITY,
        }
    }
}

/// Elements of a row-wise view of a tile: `rows` rows of `stride` elements, of which `valid` count.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    /// The tile.
    pub tile: Tile,
    /// Rows of the tile, batch included.
    pub rows: u32,
    /// Elements between two rows.
    pub stride: u32,
    /// Elements of a row that are not padding; differs from PE to PE.
    pub valid: Value,
}

impl Rows {
    /// All elements, padding included, as (row, element).
    pub fn all(&self) -> Operand {
        self.matrix(self.stride.into())
    }

    /// The elements that count, as (row, element).
    pub fn valid(&self) -> Operand {
        self.matrix(self.valid)
    }

    fn matrix(&self, columns: Value) -> Operand {
        let dims = [(self.rows.into(), self.stride.into()), (columns, 1.into())];
        memory(self.tile.address, 0, self.tile.dtype, &dims)
    }
}

/// One f32 a row, repeated over `columns` elements.
pub fn per_row(address: u32, rows: u32, columns: Value) -> Operand {
    memory(address, 0, Dtype::F32, &[(rows.into(), 1.into()), (columns, 0.into())])
}

/// Emits the reduction of each row of `rows` on its own PE into `result` (f32, one a row).
pub fn local(code: &mut Code, combine: Combine, rows: &Rows, result: u32) {
    let vector = Tile { address: result, elements: rows.rows, dtype: Dtype::F32 };
    code.mov(vector.vector(), float(combine.identity()));
    let accumulator = per_row(result, rows.rows, rows.valid);
    code.vector(combine.op(), accumulator.clone(), &[accumulator, rows.valid()]);
}

/// Emits the combination of `count` f32 at `address` over the PEs of each line along `axis`; all of them end up with the
/// result.
pub fn all_reduce(code: &mut Code, mesh: &Mesh, axis: Axis, combine: Combine, address: u32, count: u32) {
    let size = mesh.size(axis);
    if size == 1 {
        return;
    }
    let (queue_in, queue_out) = match axis {
        Axis::X => (input::CHAIN, output::CHAIN),
        Axis::Y => (input::NORTH, output::NORTH),
    };
    let at = mesh.position(axis);
    let vector = Tile { address, elements: count, dtype: Dtype::F32 }.vector();
    let received = Operand::FabIn { queue: queue_in, dtype: Dtype::F32, len: count.into() };
    let sent = Operand::FabOut { queue: queue_out, dtype: Dtype::F32, len: count.into() };
    code.branch(
        Compare::Eq,
        at,
        (size - 1) as i32,
        |code| code.mov(words_out(queue_out, count), words_at(address, count)),
        |code| {
            let combined = [received, vector.clone()];
            code.branch(
                Compare::Eq,
                at,
                0,
                |code| code.vector(combine.op(), vector.clone(), &combined),
                |code| code.vector(combine.op(), sent.clone(), &combined),
            );
        },
    );
    let last = [(Value::Imm(0), Value::Imm(0))];
    let turn = Turn { axis, root: Value::Imm(0), last: &last, panel: address.into(), words: count.into() };
    code.scope(|code| {
        let place = code.register();
        line::turn(code, mesh, &turn, place, |_| address.into());
    });
}

/// Emits a whole reduction of `rows` into `result` (f32, one a row), the same at every PE of a row.
pub fn emit(code: &mut Code, mesh: &mut Mesh, combine: Combine, rows: &Rows, spread: bool, result: u32) {
    local(code, combine, rows, result);
    if spread && rows.rows > 0 && mesh.size(Axis::X) > 1 {
        let (region, op, count) = (mesh.region(), combine.op(), rows.rows);
        let claim = mesh.claim(AllReduceClaim { region, line: ClaimLine::Row, op, count });
        code.claim(claim, [result; 3], |code| all_reduce(code, mesh, Axis::X, combine, result, count));
    }
}
