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
pub struct Turn {
    /// Along which axis.
    pub axis: Axis,
    /// Position of the root in its line.
    pub root: Value,
    /// Whether this is the last turn of a series; known here or only when the code runs (1 for yes).
    pub last: Value,
    /// Address of the tile at the root.
    pub source: Value,
    /// Address of the buffer that receives it elsewhere.
    pub panel: Value,
    /// Words of the tile; may be 0.
    pub words: Value,
}

/// Emits one turn. Afterwards `place` holds the address at which the tile lies: its own at the root, the panel elsewhere.
///
/// A series of turns must go through the roots 0, 1, 2, … without a gap, those that [`skip`] has passed over left out, and its
/// last turn must say so.
pub fn turn(code: &mut Code, mesh: &Mesh, turn: &Turn, place: Reg) {
    if mesh.size(turn.axis) == 1 {
        return code.set(place, turn.source);
    }
    let (queue_in, queue_out) = queues(turn.axis);
    code.branch(
        Compare::Eq,
        turn.root,
        mesh.position(turn.axis),
        |code| {
            code.mov(words_out(queue_out, turn.words), words_at(turn.source, turn.words));
            code.branch(
                Compare::Eq,
                turn.last,
                1,
                |code| code.send_control(queue_out, control(&[SwitchCommand::Reset])),
                |code| code.send_control(queue_out, control(&HAND_ON)),
            );
            code.set(place, turn.source);
        },
        |code| {
            code.mov(words_at(turn.panel, turn.words), words_in(queue_in, turn.words));
            code.set(place, turn.panel);
        },
    );
}

/// Begins a series of turns at the root `first`: those before it only hand the turn on, each as soon as its switch lets it.
pub fn skip(code: &mut Code, mesh: &Mesh, axis: Axis, first: u32) {
    if first > 0 && mesh.size(axis) > 1 {
        let (_, queue_out) = queues(axis);
        let hand_on = |code: &mut Code| code.send_control(queue_out, control(&HAND_ON));
        code.branch(Compare::Lt, mesh.position(axis), first as i32, hand_on, |_| {});
    }
}

/// A root's switch goes to its last position, the next PE's to that of the root.
const HAND_ON: [SwitchCommand; 3] = [SwitchCommand::Advance, SwitchCommand::Advance, SwitchCommand::Nop];

pub(crate) fn control(commands: &[SwitchCommand]) -> Control {
    Control { commands: commands.to_vec(), task: None, payload: Value::Imm(0) }
}

/// Sets `flag` to 1 when `a` equals `b`, else to 0, or gives the answer at once when both are known.
pub fn equal(code: &mut Code, flag: Reg, a: Value, b: Value) -> Value {
    if let (Value::Imm(a), Value::Imm(b)) = (a, b) {
        return Value::Imm(i32::from(a == b));
    }
    code.branch(Compare::Eq, a, b, |code| code.set(flag, 1), |code| code.set(flag, 0));
    flag.into()
}
