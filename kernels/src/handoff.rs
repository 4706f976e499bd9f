//! A tensor that goes from a rectangle to its eastern neighbour, along the rows of the mesh.
//!
//! Both deal the tensor's rows to the rows of the mesh alike, and its columns each in blocks of their own. A row of the mesh
//! sends the rows of its tiles one after another, each as a whole: every sender passes on what comes from the west and adds
//! its own part, every receiver keeps its part and passes on the rest. So neither side needs to know the other's blocks. What is
//! whole in every column is sent by the last column and copied by each receiver.

use crate::code::{Code, Tile, memory, words_at, words_in, words_out};
use crate::mesh::{Axis, Mesh, input, output};
use waferloom_fabric::{Dtype, ScalarOp, Value};

/// How a tensor lies in a rectangle.
#[derive(Clone, Debug)]
pub struct Share {
    /// A PE's tile.
    pub tile: Tile,
    /// Elements of a row of the tile that are not padding, for each column of the rectangle; `None` when each column has
    /// the whole tensor.
    pub columns: Option<Columns>,
}

/// Columns dealt to the PEs of a row.
#[derive(Clone, Debug)]
pub struct Columns {
    /// Rows of the tile.
    pub rows: u32,
    /// Elements of a row of the tile, padding included: whole words.
    pub stride: u32,
    /// Elements that are not padding, from west to east.
    pub valid: Vec<i32>,
}

impl Columns {
    /// Words of each column's part of a row.
    fn words(&self, dtype: Dtype) -> Vec<i32> {
        let per_word = 4 / dtype.bytes() as i32;
        self.valid.iter().map(|&n| (n + per_word - 1) / per_word).collect()
    }
}

/// Emits the sending: what comes from the west goes first.
pub fn send(code: &mut Code, mesh: &mut Mesh, share: &Share) {
    let width = mesh.size(Axis::X) as usize;
    let Some(columns) = &share.columns else {
        let mut words = vec![0; width];
        words[width - 1] = share.tile.words() as i32;
        let words = mesh.param_along(Axis::X, "last", words);
        return code.mov(words_out(output::EDGE, words), words_at(share.tile.address, words));
    };
    let own = columns.words(share.tile.dtype);
    let before = own.iter().scan(0, |sum, &n| Some(std::mem::replace(sum, *sum + n))).collect();
    let (own, before) = (mesh.param_along(Axis::X, "own", own), mesh.param_along(Axis::X, "before", before));
    each_row(code, share.tile, columns, |code, row| {
        if width > 1 {
            code.mov(words_out(output::EDGE, before), words_in(input::EDGE, before));
        }
        code.mov(words_out(output::EDGE, own), memory(row, 0, Dtype::I32, &[(own, 1.into())]));
    });
}

/// Emits the reception: what is left goes on to the east.
pub fn receive(code: &mut Code, mesh: &mut Mesh, share: &Share) {
    let width = mesh.size(Axis::X) as usize;
    let Some(columns) = &share.columns else {
        code.mov(share.tile.as_words(), words_in(input::EDGE, share.tile.words()));
        if width > 1 {
            let mut words = vec![share.tile.words() as i32; width];
            words[width - 1] = 0;
            let words = mesh.param_along(Axis::X, "not_last", words);
            code.mov(words_out(output::EDGE, words), words_at(share.tile.address, words));
        }
        return;
    };
    let own = columns.words(share.tile.dtype);
    let mut after: Vec<i32> = own.iter().rev().scan(0, |sum, &n| Some(std::mem::replace(sum, *sum + n))).collect();
    after.reverse();
    let (own, after) = (mesh.param_along(Axis::X, "own", own), mesh.param_along(Axis::X, "after", after));
    each_row(code, share.tile, columns, |code, row| {
        code.mov(memory(row, 0, Dtype::I32, &[(own, 1.into())]), words_in(input::EDGE, own));
        if width > 1 {
            code.mov(words_out(output::EDGE, after), words_in(input::EDGE, after));
        }
    });
}

/// Loops over the rows of a tile with the address of each.
fn each_row(code: &mut Code, tile: Tile, columns: &Columns, body: impl FnOnce(&mut Code, Value)) {
    let row_bytes = columns.stride * tile.dtype.bytes();
    code.repeat(columns.rows, |code, row| {
        if let Value::Imm(row) = row {
            return body(code, Value::Imm(tile.address as i32 + row * row_bytes as i32));
        }
        let at = code.register();
        code.scalar(ScalarOp::Mul, at, row, row_bytes);
        code.scalar(ScalarOp::Add, at, at, tile.address);
        body(code, at.into());
    });
}
