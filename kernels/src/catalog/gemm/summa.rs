//! SUMMA: the blocks of the inner dimension are broadcast one after another, A's along the rows and B's along the columns,
//! and every PE adds their product to its tile of C.
//!
//! The roots take turns as in [`crate::line`]; here a tile is sent as its rows, and the panels have the form that the
//! multiply-add wants. Roots work on their own tiles.

use super::super::sketch::Sketch;
use super::local::{Shape, Side};
use crate::code::{Code, Reg, words_in, words_out};
use crate::line::end_turn;
use crate::mesh::{Axis, Mesh};
use crate::mesh::{COLUMN, ROW, input, output};
use waferloom_fabric::{
    BufferKind, ClaimKind, ClaimOperand, ColorRef, Compare, Machine, ProductClaim, Region, ScalarOp, Value,
};

/// An operand: the line along which it is broadcast, and where it lies.
struct Panel {
    side: Side,
    /// PEs of the line.
    pes: u32,
    /// The PE's position in the line.
    position: Value,
    queue_in: u8,
    queue_out: u8,
    own: u32,
    received: u32,
}

/// Emits everything; gives the address of C.
pub(super) fn emit(sketch: &mut Sketch, shape: &Shape, a: &[f32], b: &[f32]) -> u32 {
    let mesh = Mesh::new(shape.grid);
    for axis in [Axis::X, Axis::Y] {
        sketch.program.routes.extend(mesh.broadcast_routes(axis));
    }
    let slots = shape.slots();
    let mut tiles = |side, names: [&str; 2], count| {
        let own = shape.buffer(sketch, names[0], side, count, BufferKind::Weight);
        [own, shape.buffer(sketch, names[1], side, 1, BufferKind::Scratch)]
    };
    let [own_a, panel_a] = tiles(Side::A, ["a", "a_panel"], 1);
    let [own_b, panel_b] = tiles(Side::B, ["b", "b_panel"], slots);
    let raw_b = (!shape.packed(Side::B)).then(|| shape.buffer(sketch, "b_given", Side::B, slots, BufferKind::Weight));
    let c = sketch.buffer("c", shape.rows * shape.columns * 4, BufferKind::Activation);
    // What of A has to be packed first lies where the other PEs' tiles will come.
    let given_a = if shape.packed(Side::A) { own_a } else { panel_a };
    shape.place(sketch, Side::A, given_a, a, 1, |_, x, _| x);
    let height = u32::from(shape.grid.height);
    shape.place(sketch, Side::B, raw_b.unwrap_or(own_b), b, slots, |y, _, slot| slot * height + y);

    let x = Value::Param(sketch.by_column("x", i32::from));
    let y = Value::Param(sketch.by_row("y", i32::from));
    let (queue_in, queue_out) = (input::ROW, output::ROW);
    let width = u32::from(shape.grid.width);
    let left = Panel { side: Side::A, pes: width, position: x, queue_in, queue_out, own: own_a, received: panel_a };
    let (queue_in, queue_out) = (input::COLUMN, output::COLUMN);
    let right = Panel { side: Side::B, pes: height, position: y, queue_in, queue_out, own: own_b, received: panel_b };
    let mut code = Code::new();
    if !shape.packed(Side::A) {
        shape.pack(&mut code, Side::A, own_a, given_a);
    }
    if let Some(raw) = raw_b {
        pack_slots(&mut code, shape, own_b, raw);
    }
    shape.clear(&mut code, c);
    let region = Region::rect(0, 0, shape.grid.width, shape.grid.height);
    sketch.program.claims.push(claim(shape, region).into());
    let claim = sketch.program.claims.len() as u32 - 1;
    code.claim(claim, [own_a, own_b, c], |code| steps(code, shape, &left, &right, c));
    let queues = [(&left, ROW), (&right, COLUMN)].into_iter().filter(|(panel, _)| panel.pes > 1);
    let (inputs, outputs): (Vec<_>, Vec<_>) = queues
        .map(|(panel, color)| ((panel.queue_in, ColorRef::Fixed(color)), (panel.queue_out, ColorRef::Fixed(color))))
        .unzip();
    sketch.class("worker", &[region], &inputs, &outputs, code);
    c
}

/// What the steps compute. What the last block lacks is multiplied as zeros.
fn claim(shape: &Shape, region: Region) -> ProductClaim {
    let operand = |side| {
        let slot = shape.lines(side) * shape.pitch;
        ClaimOperand { split: true, matrix: 0, slot, line: shape.pitch, step: 1 }
    };
    ProductClaim {
        kind: ClaimKind::Product,
        region,
        dtype: shape.dtype,
        rows: shape.rows,
        columns: shape.columns,
        inner: shape.blocks() * shape.depth,
        block: shape.depth,
        left: operand(Side::A),
        right: operand(Side::B),
        batch: Vec::new(),
    }
}

/// A raw slot has no padding between its rows.
fn pack_slots(code: &mut Code, shape: &Shape, own: u32, raw: u32) {
    let raw_bytes = shape.depth * shape.columns * shape.dtype.bytes();
    for slot in 0..shape.slots() {
        shape.pack(code, Side::B, own + slot * shape.tile_bytes(Side::B), raw + slot * raw_bytes);
    }
}

fn steps(code: &mut Code, shape: &Shape, left: &Panel, right: &Panel, c: u32) {
    let blocks = shape.blocks();
    let (root_y, own_b) = (code.register(), code.register());
    code.set(root_y, 0);
    code.set(own_b, right.own);
    code.repeat(blocks, |code, block| {
        let (at_a, at_b) = (code.register(), code.register());
        let end = (block, Value::Imm(blocks as i32 - 1));
        turn(code, shape, left, block, &[end], Value::from(left.own), at_a);
        // With more blocks than rows the roots of B start again: each round ends with its own reset.
        let round_end = (root_y.into(), Value::Imm(i32::from(shape.grid.height) - 1));
        let ends = if shape.slots() == 1 { vec![end] } else { vec![end, round_end] };
        turn(code, shape, right, root_y.into(), &ends, own_b.into(), at_b);
        shape.multiply(code, c, at_a, at_b);
        if shape.grid.height == 1 {
            code.scalar(ScalarOp::Add, own_b, own_b, shape.tile_bytes(Side::B));
        } else if blocks > 1 {
            next_root(code, shape, root_y, own_b, right.pes);
        }
    });
}

/// B's blocks are dealt to the rows in turn.
fn next_root(code: &mut Code, shape: &Shape, root: Reg, own: Reg, pes: u32) {
    code.scalar(ScalarOp::Add, root, root, 1);
    if shape.slots() > 1 {
        code.branch(
            Compare::Eq,
            root,
            pes,
            |code| {
                code.set(root, 0);
                code.scalar(ScalarOp::Add, own, own, shape.tile_bytes(Side::B));
            },
            |_| (),
        );
    }
}

/// One broadcast, and the address at which its tile then lies. See [`crate::line::turn`] for the control wavelets.
fn turn(code: &mut Code, shape: &Shape, panel: &Panel, root: Value, last: &[(Value, Value)], own: Value, at: Reg) {
    if panel.pes == 1 {
        return code.set(at, own);
    }
    let words = shape.travel_words(panel.side);
    code.branch(
        Compare::Eq,
        root,
        panel.position,
        |code| {
            code.mov(words_out(panel.queue_out, words), shape.words(panel.side, own));
            end_turn(code, panel.queue_out, last);
            code.set(at, own);
        },
        |code| {
            code.mov(shape.words(panel.side, panel.received), words_in(panel.queue_in, words));
            code.set(at, panel.received);
        },
    );
}

/// Scalar instructions of a step: the loop, two branches on the root and one on the last step, three registers, a control
/// wavelet, the next root.
const SCALARS: u64 = 9;

/// Cycles by the closed form of `docs/cost-model.md`: the roots of B need A's block first, and the next root needs both, so
/// a step holds two sends one after another with the way to the neighbour behind each.
pub(super) fn estimate(machine: &Machine, shape: &Shape) -> u64 {
    let start = u64::from(machine.vector_startup_cycles);
    let multiply = shape.multiply_cycles(machine) + start;
    let hop = u64::from(machine.hop_cycles);
    let broadcast = |side, pes: u16| match pes {
        1 => 0,
        _ => u64::from(shape.travel_words(side)) + start + 2 * u64::from(machine.ramp_cycles) + hop,
    };
    let step = multiply
        + broadcast(Side::A, shape.grid.width)
        + broadcast(Side::B, shape.grid.height)
        + SCALARS * u64::from(machine.scalar_cycles);
    let far = u64::from(shape.grid.width + shape.grid.height - 2) * hop;
    shape.prepare_cycles(machine, shape.slots()) + u64::from(shape.blocks()) * step + far
}
