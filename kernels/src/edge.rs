//! Tensors that cross the west edge of the mesh: each PE of a row keeps its tile of the row's stream and passes on the rest.

use crate::code::{Code, Tile, words_in, words_out};
use crate::mesh::{Axis, Mesh, input, output};
use waferloom_fabric::{ScalarOp, Value};

/// Emits the reception of a tensor: the row's tiles come from the west in the order of their columns.
pub fn receive(code: &mut Code, mesh: &Mesh, tile: Tile) {
    code.mov(tile.as_words(), words_in(input::EDGE, tile.words()));
    relay(code, mesh, tile, |code, words| {
        code.mov(words_out(output::EDGE, words), words_in(input::EDGE, words));
    });
}

/// Emits the sending of a tensor to the east: the row's tiles leave in the order of their columns, so that each PE first passes
/// on those from the west.
pub fn send_east(code: &mut Code, mesh: &Mesh, tile: Tile) {
    if mesh.size(Axis::X) > 1 {
        code.scope(|code| {
            let words = code.register();
            code.scalar(ScalarOp::Mul, words, mesh.position(Axis::X), tile.words());
            code.mov(words_out(output::EDGE, words), words_in(input::EDGE, words));
        });
    }
    code.mov(words_out(output::EDGE, tile.words()), tile.as_words());
}

/// Emits the sending of a tensor: the row's tiles leave to the west in the order of their columns.
pub fn send(code: &mut Code, mesh: &Mesh, tile: Tile) {
    code.mov(words_out(output::CHAIN, tile.words()), tile.as_words());
    relay(code, mesh, tile, |code, words| {
        code.mov(words_out(output::CHAIN, words), words_in(input::CHAIN, words));
    });
}

/// Passes on the tiles of the PEs to the east.
fn relay(code: &mut Code, mesh: &Mesh, tile: Tile, pass: impl FnOnce(&mut Code, Value)) {
    let width = mesh.size(Axis::X);
    if width == 1 {
        return;
    }
    code.scope(|code| {
        let words = code.register();
        code.scalar(ScalarOp::Sub, words, width - 1, mesh.position(Axis::X));
        code.scalar(ScalarOp::Mul, words, words, tile.words());
        pass(code, words.into());
    });
}
