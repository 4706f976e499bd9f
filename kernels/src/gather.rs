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
    /// Rows of a tile that are broadcast at a time: a PE has room for no more ([`Gather::part_rows`]).
    pub part_rows: u32,
}

/// Bytes of a table tile that are broadcast at a time, unless a row is longer. Each part costs every PE a look at its
/// indices; what it saves is memory that must be free beside the weights of the whole model.
pub const PART_BYTES: u32 = 8192;

impl Gather {
    /// Rows of a part of at most `bytes` bytes, parts as equal as may be, each a whole number of words.
    pub fn part_rows(tile_rows: u32, columns: u32, dtype: Dtype, bytes: u32) -> u32 {
        let row_bytes = (columns * dtype.bytes()).max(1);
        let parts = tile_rows.div_ceil((bytes / row_bytes).max(1)).max(1);
        let rows = tile_rows.div_ceil(parts);
        let words = if row_bytes.is_multiple_of(4) { rows } else { rows.next_multiple_of(2) };
        words.min(tile_rows)
    }

    /// Parts of a tile.
    pub fn parts(&self) -> u32 {
        if self.split { self.tile_rows.div_ceil(self.part_rows.max(1)) } else { 1 }
    }

    /// Bytes of the buffer that receives a part.
    pub fn panel_bytes(&self, dtype: Dtype) -> u32 {
        self.part_rows * self.columns * dtype.bytes()
    }
}

/// Emits `dst[i] = table[indices[i]]`. Negative indices count from the end; one out of range leaves zeros.
///
/// Tiles: table `[tile_rows, columns]`, indices (i32) `[indices]`, destination `[indices, columns]`. `panel` is the address of
/// a buffer of [`Gather::panel_bytes`].
pub fn emit(code: &mut Code, mesh: &Mesh, shape: &Gather, dst: Tile, table: Tile, indices: Tile, panel: u32) {
    crate::matmul::clear(code, dst);
    let turns = if shape.split { shape.table_rows.div_ceil(shape.tile_rows) } else { 1 };
    code.repeat(shape.parts(), |code, number| {
        let part = (shape.parts() > 1).then(|| split(code, shape, table.dtype, number));
        code.repeat(turns, |code, root| {
            let place = code.register();
            if shape.split {
                let last = [(root, Value::Imm(turns as i32 - 1))];
                let words = part.map_or(table.words().into(), |part| part.words.into());
                let turn = Turn { axis: Axis::Y, root, last: &last, panel: panel.into(), words };
                line::turn(code, mesh, &turn, place, |code| source(code, table, part));
            } else {
                code.set(place, table.address);
            }
            let (first, rows) = (code.register(), code.register());
            code.scalar(ScalarOp::Mul, first, root, shape.tile_rows);
            if let Some(part) = part {
                code.scalar(ScalarOp::Add, first, first, part.before);
            }
            // The last part may end in padding.
            code.scalar(ScalarOp::Sub, rows, shape.table_rows, first);
            let most = part.map_or(Value::from(shape.tile_rows), |part| part.rows.into());
            code.scalar(ScalarOp::Min, rows, rows, most);
            code.repeat(shape.indices, |code, i| {
                pick(code, shape, dst, table, indices, Part { first, rows, place }, i);
            });
        });
    });
}

/// A part of every tile, in registers.
#[derive(Clone, Copy)]
struct Split {
    /// Rows of the tile before it.
    before: Reg,
    rows: Reg,
    words: Reg,
    /// Bytes of the tile before it.
    offset: Reg,
}

/// Part number `number` of each tile.
fn split(code: &mut Code, shape: &Gather, dtype: Dtype, number: Value) -> Split {
    let [before, rows, words, offset] = [(); 4].map(|()| code.register());
    let row_bytes = shape.columns * dtype.bytes();
    code.scalar(ScalarOp::Mul, before, number, shape.part_rows);
    code.scalar(ScalarOp::Mul, offset, before, row_bytes);
    code.scalar(ScalarOp::Sub, rows, shape.tile_rows, before);
    code.scalar(ScalarOp::Min, rows, rows, shape.part_rows);
    // Whole words, rounded up: a tile's bytes are.
    code.scalar(ScalarOp::Mul, words, rows, row_bytes);
    code.scalar(ScalarOp::Add, words, words, 3);
    code.scalar(ScalarOp::Shr, words, words, 2);
    Split { before, rows, words, offset }
}

/// Where a root's tile, or its part at hand, begins.
fn source(code: &mut Code, table: Tile, part: Option<Split>) -> Value {
    let Some(part) = part else { return table.address.into() };
    let source = code.register();
    code.scalar(ScalarOp::Add, source, part.offset, table.address);
    source.into()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_equal_and_whole_words() {
        // 448 rows of 6 singles, 24 bytes each: 341 fit into 8192 bytes, so two parts of 224.
        assert_eq!(Gather::part_rows(448, 6, Dtype::F32, 8192), 224);
        // 10 rows of 5 halves, 10 bytes each: 4 fit into 40 bytes; three parts of 4 rows, the last of 2.
        assert_eq!(Gather::part_rows(10, 5, Dtype::F16, 40), 4);
        // 9 rows, 3 fit into 30 bytes, but 3 are no whole number of words.
        assert_eq!(Gather::part_rows(9, 5, Dtype::F16, 30), 4);
        // A row that is longer than a part goes alone.
        assert_eq!(Gather::part_rows(3, 100, Dtype::F32, 64), 1);
        assert_eq!(Gather::part_rows(0, 4, Dtype::F32, 64), 0);
    }
}
