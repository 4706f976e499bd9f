//! Rows of a table chosen by indices (an embedding): the table's rows are dealt to the rows of the mesh. Each row of PEs in
//! turn broadcasts its part along the columns, and every PE copies the rows that its indices name.

use crate::code::{Code, Reg, Tile, memory};
use crate::line::{self, Turn};
use crate::mesh::{Axis, Mesh};
use waferloom_fabric::{Compare, Dtype, Instruction, ScalarOp, Value};

/// Local sizes of a gather.
#[derive(Clone, Copy, Debug)]
pub struct Gather {
    /// Rows of the whole table.
    pub table_rows: u32,
    /// Rows of a PE's tile of the table.
    pub tile_rows: u32,
    /// Whether the table's rows are dealt to the rows of the mesh; else every PE has all of them.
    pub split: bool,
    /// Elements of a table row in a tile.
    pub columns: u32,
    /// Indices of a PE.
    pub indices: u32,
}

/// Emits `dst[i] = table[indices[i]]`. Negative indices count from the end; one out of range leaves zeros.
///
/// Tiles: table `[tile_rows, columns]`, indices (i32) `[indices]`, destination `[indices, columns]`. `panel` is the address of
/// a buffer of a table tile's bytes.
pub fn emit(code: &mut Code, mesh: &Mesh, shape: &Gather, dst: Tile, table: Tile, indices: Tile, panel: u32) {
    crate::matmul::clear(code, dst);
    let turns = if shape.split { shape.table_rows.div_ceil(shape.tile_rows) } else { 1 };
    code.repeat(turns, |code, root| {
        let place = code.register();
        if shape.split {
            let last = [(root, Value::Imm(turns as i32 - 1))];
            let words = table.words().into();
            let turn = Turn { axis: Axis::Y, root, last: &last, panel: panel.into(), words };
            line::turn(code, mesh, &turn, place, |_| table.address.into());
        } else {
            code.set(place, table.address);
        }
        let (first, rows) = (code.register(), code.register());
        code.scalar(ScalarOp::Mul, first, root, shape.tile_rows);
        // The last part may end in padding.
        code.scalar(ScalarOp::Sub, rows, shape.table_rows, first);
        code.scalar(ScalarOp::Min, rows, rows, shape.tile_rows);
        code.repeat(shape.indices, |code, i| {
            pick(code, shape, dst, table, indices, Part { first, rows, place }, i);
        });
    });
}

/// The part of the table at hand: `rows` rows from row `first` on, at address `place`.
#[derive(Clone, Copy)]
struct Part {
    first: Reg,
    rows: Reg,
    place: Reg,
}

/// Copies the row that index number `i` names if the part of the table at hand holds it.
fn pick(code: &mut Code, shape: &Gather, dst: Tile, table: Tile, indices: Tile, part: Part, i: Value) {
    let (index, from, to) = (code.register(), code.register(), code.register());
    code.scalar(ScalarOp::Shl, index, i, 2);
    code.push(Instruction::Load {
        dst: index.0,
        dtype: Dtype::I32,
        base: index.into(),
        offset: indices.address as i32,
    });
    code.branch(Compare::Lt, index, 0, |code| code.scalar(ScalarOp::Add, index, index, shape.table_rows), |_| ());
    code.scalar(ScalarOp::Sub, from, index, part.first);
    let row_bytes = shape.columns * table.dtype.bytes();
    code.branch(
        Compare::Le,
        0,
        from,
        |code| {
            code.branch(
                Compare::Lt,
                from,
                part.rows,
                |code| {
                    code.scalar(ScalarOp::Mul, from, from, row_bytes);
                    code.scalar(ScalarOp::Add, from, from, part.place);
                    code.scalar(ScalarOp::Mul, to, i, shape.columns * dst.dtype.bytes());
                    code.scalar(ScalarOp::Add, to, to, dst.address);
                    let dims = [(shape.columns.into(), 1.into())];
                    code.mov(memory(to, 0, dst.dtype, &dims), memory(from, 0, table.dtype, &dims));
                },
                |_| (),
            );
        },
        |_| (),
    );
}
