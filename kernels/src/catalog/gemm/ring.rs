//! Products in which tiles go around a ring: Cannon's on a torus, mesh-gemm on an interleaved ring.
//!
//! In each of the p steps every PE multiplies the tiles that it holds, while it sends A's to the one before it on the ring of
//! its row and B's to the one before it on the ring of its column, and receives the next ones into a second pair of buffers:
//! asynchronous moves on four microthreads, which share the datapath with the multiply-add. At the start the PE at places
//! (i, j) holds the inner block `(i + j) mod p`: the operands are laid so, and no cycles are spent on Cannon's first skew.
//!
//! On the torus the ring is the line itself. Neighbours use two colours in turn, and the way from PE 0 back to the last one
//! is a colour of its own that the routers in between pass on. The interleaved ring 0, 2, 4, …, 5, 3, 1 needs no such way:
//! who is next on it is at most two hops away, and each link still carries one stream in each direction.

use super::super::sketch::Sketch;
use super::local::{Shape, Side};
use crate::code::{Code, words_in, words_out};
use waferloom_fabric::code::{Async, Instruction, Operand};
use waferloom_fabric::{BufferKind, Color, ColorRef, Direction, Machine, Region, VectorOp};

/// How a ring lies on a line of PEs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ring {
    /// 0, 1, 2, …, with a long way back.
    Torus,
    /// 0, 2, 4, …, 5, 3, 1.
    Interleaved,
}

impl Ring {
    /// A PE's place on the ring.
    pub(super) fn place(self, at: u32, pes: u32) -> u32 {
        match self {
            Ring::Interleaved if at % 2 == 1 => pes - 1 - at / 2,
            Ring::Interleaved => at / 2,
            Ring::Torus => at,
        }
    }

    /// The PE at a place of the ring: the inverse of [`Ring::place`].
    fn at(self, place: u32, pes: u32) -> u32 {
        match self {
            Ring::Interleaved if place >= pes.div_ceil(2) => 2 * (pes - 1 - place) + 1,
            Ring::Interleaved => 2 * place,
            Ring::Torus => place,
        }
    }

    /// To whom a PE sends: the one before it.
    fn target(self, at: u32, pes: u32) -> u32 {
        self.at((self.place(at, pes) + pes - 1) % pes, pes)
    }

    /// From whom it receives: the one after it.
    fn source(self, at: u32, pes: u32) -> u32 {
        self.at((self.place(at, pes) + 1) % pes, pes)
    }

    /// The colour on which a PE sends, from 0. No router sends one and receives another stream on the same.
    fn color(self, at: u32) -> u8 {
        match self {
            Ring::Torus if at == 0 => 2,
            Ring::Torus => (at % 2) as u8,
            Ring::Interleaved => (at % 2 * 2 + at / 2 % 2) as u8,
        }
    }
}

/// Colours that each axis takes at most.
const COLORS: u8 = 4;

/// Microthreads that the two exchanges take.
pub(super) const MICROTHREADS: u8 = 4;

/// Instructions that a step issues for its two exchanges.
const ISSUES: u64 = 6;

/// An operand on its way: its ring, its queues and its two buffers.
struct Stream {
    side: Side,
    /// Id of the input queue, and of the microthread that empties it.
    queue_in: u8,
    /// Id of the output queue, and of the microthread that fills it.
    queue_out: u8,
    buffers: [u32; 2],
}

/// Emits everything; gives the address of C.
pub(super) fn emit(sketch: &mut Sketch, shape: &Shape, ring: Ring, a: &[f32], b: &[f32]) -> u32 {
    let pes = u32::from(shape.grid.width);
    let streams = [(Side::A, ["a", "a_next"], 0, 2), (Side::B, ["b", "b_next"], 1, 3)].map(
        |(side, names, queue_in, queue_out)| {
            let buffers = names.map(|name| shape.buffer(sketch, name, side, 1, BufferKind::Weight));
            Stream { side, queue_in, queue_out, buffers }
        },
    );
    let c = sketch.buffer("c", shape.rows * shape.columns * 4, BufferKind::Activation);
    let block = |y: u32, x: u32, _| (ring.place(y, pes) + ring.place(x, pes)) % pes;
    for (stream, values) in streams.iter().zip([a, b]) {
        // What has to be packed first lies where the second tile will come.
        let address = stream.buffers[usize::from(!shape.packed(stream.side))];
        shape.place(sketch, stream.side, address, values, 1, block);
    }
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    if pes > 1 {
        for stream in &streams {
            routes(sketch, ring, pes, stream.side);
            let [from, to] = colors(sketch, ring, pes, stream.side);
            inputs.push((stream.queue_in, from));
            outputs.push((stream.queue_out, to));
        }
    }
    let region = Region::rect(0, 0, shape.grid.width, shape.grid.height);
    sketch.class("worker", &[region], &inputs, &outputs, code(shape, pes, &streams, c));
    c
}

fn code(shape: &Shape, pes: u32, streams: &[Stream; 2], c: u32) -> Code {
    let mut code = Code::new();
    for stream in streams.iter().filter(|s| !shape.packed(s.side)) {
        shape.pack(&mut code, stream.side, stream.buffers[0], stream.buffers[1]);
    }
    shape.clear(&mut code, c);
    let multiply = |code: &mut Code, now: usize| {
        shape.multiply(code, c, streams[0].buffers[now], streams[1].buffers[now]);
    };
    let step = |code: &mut Code, now: usize| {
        for stream in streams {
            exchange(code, shape, stream, now);
        }
        multiply(code, now);
    };
    let exchanges = pes - 1;
    if exchanges > 1 {
        code.repeat(exchanges / 2, |code, _| [0, 1].into_iter().for_each(|now| step(code, now)));
    }
    let odd = exchanges as usize % 2;
    if odd == 1 {
        step(&mut code, 0);
    }
    if exchanges > 0 {
        for stream in streams {
            await_tile(&mut code, stream);
        }
    }
    multiply(&mut code, odd);
    code
}

/// Starts to send the tile at hand, once it is there, and to receive the next one into the other buffer. The send waits for
/// the one before on the same queue: only then is the other buffer free.
fn exchange(code: &mut Code, shape: &Shape, stream: &Stream, now: usize) {
    let words = shape.travel_words(stream.side);
    let mut start = |microthread, dst: Operand, src: Operand| {
        let run_async = Some(Async { microthread, then: None });
        code.push(Instruction::Vector { op: VectorOp::Mov, dst, srcs: vec![src], run_async });
    };
    start(stream.queue_in, Operand::Null, words_in(stream.queue_in, 0));
    let [held, next] = [now, 1 - now].map(|i| shape.words(stream.side, stream.buffers[i]));
    start(stream.queue_out, words_out(stream.queue_out, words), held);
    start(stream.queue_in, next, words_in(stream.queue_in, words));
}

/// Waits for the microthread that receives: an instruction on its queue, even one over nothing, is not issued before.
fn await_tile(code: &mut Code, stream: &Stream) {
    code.mov(Operand::Null, words_in(stream.queue_in, 0));
}

/// Colours on which PEs receive and send, as parameters along the operand's axis.
fn colors(sketch: &mut Sketch, ring: Ring, pes: u32, side: Side) -> [ColorRef; 2] {
    let base = first_color(side);
    let from = move |at: u16| i32::from(base + ring.color(ring.source(at.into(), pes)));
    let to = move |at: u16| i32::from(base + ring.color(at.into()));
    let params = match side {
        Side::A => [sketch.by_column("a_from", from), sketch.by_column("a_to", to)],
        Side::B => [sketch.by_row("b_from", from), sketch.by_row("b_to", to)],
    };
    params.map(ColorRef::Param)
}

fn first_color(side: Side) -> u8 {
    if side == Side::A { 0 } else { COLORS }
}

/// The way of each PE's stream along the operand's axis, the same in all lines of PEs.
fn routes(sketch: &mut Sketch, ring: Ring, pes: u32, side: Side) {
    let (back, ahead) = match side {
        Side::A => (Direction::West, Direction::East),
        Side::B => (Direction::North, Direction::South),
    };
    let lines = |first: u32, count: u32| match side {
        Side::A => Region::rect(first as u16, 0, count as u16, pes as u16),
        Side::B => Region::rect(0, first as u16, pes as u16, count as u16),
    };
    for at in 0..pes {
        let target = ring.target(at, pes);
        let color = Color(first_color(side) + ring.color(at));
        let (toward, from) = if target < at { (back, ahead) } else { (ahead, back) };
        sketch.route(color, lines(at, 1), (&[Direction::Ramp], &[toward]));
        let (low, high) = (at.min(target), at.max(target));
        sketch.route(color, lines(low + 1, high - low - 1), (&[from], &[toward]));
        sketch.route(color, lines(target, 1), (&[from], &[Direction::Ramp]));
    }
}

/// Cycles by the closed form of `docs/cost-model.md`: a step takes what its elements take of the datapath. The way of a tile
/// is hidden behind them, even the long one of the torus: the PE at its end runs that much behind, once and for all.
pub(super) fn estimate(machine: &Machine, shape: &Shape) -> u64 {
    let multiply = shape.multiply_cycles(machine) + u64::from(machine.vector_startup_cycles);
    let words = u64::from(shape.travel_words(Side::A)) + u64::from(shape.travel_words(Side::B));
    let exchange = 2 * words + ISSUES * u64::from(machine.scalar_cycles);
    shape.prepare_cycles(machine, 1) + u64::from(shape.grid.width - 1) * (multiply + exchange) + multiply
}
