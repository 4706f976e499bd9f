//! Tensors that cross the edge of the fabric. Of what comes in from the west each PE of a row keeps its tile and passes on the rest; what goes out
//! passes routers alone, as the PEs of a row take turns.

use crate::code::{Code, Tile, words_in, words_out};
use crate::line::control;
use crate::mesh::{Axis, Mesh, input, output};
use waferloom_fabric::{Compare, Direction, ScalarOp, SwitchCommand};

/// Emits the reception of a tensor: the row's tiles come from the west in the order of their columns.
pub fn receive(code: &mut Code, mesh: &Mesh, tile: Tile) {
    code.mov(tile.as_words(), words_in(input::EDGE, tile.words()));
    let width = mesh.size(Axis::X);
    if width == 1 {
        return;
    }
    code.scope(|code| {
        let words = code.register();
        code.scalar(ScalarOp::Sub, words, width - 1, mesh.position(Axis::X));
        code.scalar(ScalarOp::Mul, words, words, tile.words());
        code.mov(words_out(output::EDGE, words), words_in(input::EDGE, words));
    });
}

/// Emits the sending of a tensor over the west or the east edge of the fabric: the row's tiles leave in the order of their columns.
///
/// Only routers are in between ([`Mesh::routes_out`]); whose turn it is their switches say, so that who sends too early is held back by
/// its own one. Behind its tile each PE sends a control wavelet. To the west it lets those pass from then on that come from the east, and the
/// last one sets all switches back; to the east the next PE's turn begins and its own ends.
pub fn send(code: &mut Code, mesh: &Mesh, tile: Tile, edge: Direction) {
    use SwitchCommand::{Advance, Nop, Reset};
    code.mov(words_out(output::OUT, tile.words()), tile.as_words());
    let last = mesh.size(Axis::X) as i32 - 1;
    if last == 0 {
        return;
    }
    let end = |commands: &[SwitchCommand]| {
        let control = control(commands);
        move |code: &mut Code| code.send_control(output::OUT, control)
    };
    if edge == Direction::West {
        code.branch(Compare::Lt, mesh.position(Axis::X), last, end(&[Advance, Nop]), end(&[Reset]));
    } else {
        end(&[Reset, Advance, Nop])(code);
    }
}
