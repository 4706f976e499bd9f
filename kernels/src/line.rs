//! Broadcast along a line with a root that moves: each PE of a row (or column) in turn sends its tile to all others.
//!
//! The colour's switch at each PE has three positions (see [`crate::mesh`]): pass on from the roots before, be the root,
//! pass on from the roots behind. A root ends its tile with a control wavelet that advances its own switch and its
//! neighbours': the next PE becomes the root, and the one before stays in its last position. The last root sends a
//! reset instead, so that the line stands as it started. Nothing else is needed for safety: a PE that sends too early is held
//! back by its own switch, because the position in force does not take wavelets from the ramp.

use crate::code::{Code, Reg, words_at, words_in, words_out};
use crate::mesh::{Axis, Mesh, input, output};
use waferloom_fabric::{Compare, Control, SwitchCommand, Value};

/// Queues of a line's broadcast colour: (input, output).
fn queues(axis: Axis) -> (u8, u8) {
    match axis {
        Axis::X => (input::ROW, output::ROW),
        Axis::Y => (input::COLUMN, output::COLUMN),
    }
}

/// One turn of a broadcast.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// Along which axis.
    pub axis: Axis,
    /// Position of the root in its line.
    pub root: Value,
    /// The turn is the last of a series when one of these pairs is equal; only the root looks.
    pub last: &'a [(Value, Value)],
    /// Address of the buffer that receives the tile elsewhere.
    pub panel: Value,
    /// Words of the tile; may be 0.
    pub words: Value,
}

/// Emits one turn. `source` gives, with code that only the root runs, the address of its tile. Afterwards `place` holds the
/// address at which the tile lies: its own at the root, the panel elsewhere.
///
/// A series of turns must go through the roots 0, 1, 2, … without a gap, those that [`skip`] has passed over left out, and its
/// last turn must say so.
pub fn turn(code: &mut Code, mesh: &Mesh, turn: &Turn<'_>, place: Reg, source: impl FnOnce(&mut Code) -> Value) {
    if mesh.size(turn.axis) == 1 {
        let source = source(code);
        return code.set(place, source);
    }
    let (queue_in, queue_out) = queues(turn.axis);
    code.branch(
        Compare::Eq,
        turn.root,
        mesh.position(turn.axis),
        |code| {
            let source = source(code);
            code.mov(words_out(queue_out, turn.words), words_at(source, turn.words));
            end_turn(code, queue_out, turn.last);
            code.set(place, source);
        },
        |code| {
            code.mov(words_at(turn.panel, turn.words), words_in(queue_in, turn.words));
            code.set(place, turn.panel);
        },
    );
}

/// The control wavelet behind a root's tile: the line stands as it started when one of the pairs is equal, else the next PE
/// becomes the root.
pub(crate) fn end_turn(code: &mut Code, queue_out: u8, last: &[(Value, Value)]) {
    let Some((&(a, b), others)) = last.split_first() else {
        return code.send_control(queue_out, control(&HAND_ON));
    };
    let reset = |code: &mut Code| code.send_control(queue_out, control(&[SwitchCommand::Reset]));
    code.branch(Compare::Eq, a, b, reset, |code| end_turn(code, queue_out, others));
}

/// Begins a series of turns at the root `first`: those before it only hand the turn on, each as soon as its switch lets it. A series that
/// is done in parts begins in part 0.
pub fn skip(code: &mut Code, mesh: &Mesh, axis: Axis, first: u32, part: Value) {
    if first > 0 && mesh.size(axis) > 1 {
        let (_, queue_out) = queues(axis);
        let hand_on = |code: &mut Code| code.send_control(queue_out, control(&HAND_ON));
        let begin = |code: &mut Code| code.branch(Compare::Lt, mesh.position(axis), first as i32, hand_on, |_| {});
        code.branch(Compare::Eq, part, 0, begin, |_| {});
    }
}

/// A root's switch goes to its last position, the next PE's to that of the root.
const HAND_ON: [SwitchCommand; 3] = [SwitchCommand::Advance, SwitchCommand::Advance, SwitchCommand::Nop];

pub(crate) fn control(commands: &[SwitchCommand]) -> Control {
    Control { commands: commands.to_vec(), task: None, payload: Value::Imm(0) }
}
