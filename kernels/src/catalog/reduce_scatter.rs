//! Sum of one vector a PE along a row, of which each PE keeps one block.
//!
//! Two chains (receive, add and send on in one instruction), one after another at each PE: to the west go the partial sums
//! of blocks that lie further west, block 0 first; to the east those of blocks that lie further east, the nearest first. So
//! each PE works for about as long on the one as the others' partial sums for the second take to come, and its datapath,
//! which has to take in `p - 1` blocks in any case, hardly waits. A ring would need the long way back from one end of the row
//! to the other, and gains nothing: it also takes `p - 1` blocks through every datapath.
//!
//! Source: the pipelined chain of P. Luczynski et al., *Near-Optimal Wafer-Scale Reduce* (HPDC 2024), used in both directions.
//! Order of addition for block `i`: PEs from the easternmost to `i`, then the sum of PEs 0 to `i - 1`.

use super::data::numbers;
use super::reduce::{link_params, links};
use super::sketch::{Sketch, columns, row_each};
use super::{Instance, Kernel, KernelError, Parameter, Settings};
use crate::code::{Code, memory};
use crate::cost;
use std::collections::BTreeMap;
use waferloom_fabric::code::Operand;
use waferloom_fabric::{
    BufferKind, Color, ColorRef, Coord, Direction, Distribution, Dtype, Extent, Machine, Split, Value, VectorOp,
};

pub(super) const KERNEL: Kernel = Kernel {
    name: "reduce_scatter",
    summary: "The sum of one vector a PE of a row; PE i keeps block i of it. Two chains, to the west and to the east.",
    parameters: &[
        Parameter::integer("p", "16", (1, 65535), "PEs in the row"),
        Parameter::integer("elements", "16", (1, 1 << 20), "f32 elements of a block; each PE has p blocks"),
    ],
    build,
};

/// Queues on the way in: from the east, from the west.
const FROM_EAST: u8 = 0;
const FROM_WEST: u8 = 1;
/// Queues on the way out: to the west, to the east.
const TO_WEST: u8 = 2;
const TO_EAST: u8 = 3;

fn build(settings: &Settings, machine: &Machine) -> Result<Instance, KernelError> {
    let (pes, n) = (settings.pes("p"), settings.integer("elements"));
    let grid = Extent { width: pes, height: 1 };
    let mut sketch = Sketch::new("reduce_scatter", machine, grid, ["p", "p"])?;
    let vector_elements = u32::from(pes).saturating_mul(n).min(1 << 28);
    let vector = sketch.buffer("vector", vector_elements * 4, BufferKind::Activation);
    let block = sketch.buffer("block", n * 4, BufferKind::Activation);
    classes(&mut sketch, u32::from(pes), n, [vector, block]);
    sketch.check(u64::from(pes) * u64::from(vector_elements), "elements")?;
    let values = numbers(usize::from(pes) * vector_elements as usize, 4);
    sketch.constant("vectors", Dtype::F32, row_each(pes, vector_elements), vector, &values);
    let blocks = Distribution { grid, shape: vec![vector_elements], x: Some(Split { dim: 0, block: n }), y: None };
    sketch.result("sum", Dtype::F32, blocks, Coord { x: 0, y: 0 }, block);
    let length = vector_elements as usize;
    let sum = |i: usize| values.iter().skip(i).step_by(length).map(|&v| f64::from(v)).sum();
    let expected = (0..length).map(sum).collect();
    Ok(Instance {
        program: sketch.finish("elements")?,
        inputs: BTreeMap::new(),
        expected: BTreeMap::from([("sum".into(), expected)]),
        algorithm: "two chains".into(),
        estimate_cycles: estimate(machine, u64::from(pes), u64::from(n)),
        flops: u64::from(pes - 1) * u64::from(vector_elements),
    })
}

/// What a class of PEs does, as operands.
struct Blocks {
    /// Blocks further west, the PE's own, blocks further east, and the result.
    west: (Value, Value),
    own: Value,
    east: (Value, Value),
    elements: u32,
    result: u32,
}

fn words(base: Value, len: Value) -> Operand {
    memory(base, 0, Dtype::F32, &[(len, 1.into())])
}

fn received(queue: u8, len: Value) -> Operand {
    Operand::FabIn { queue, dtype: Dtype::F32, len }
}

fn sent(queue: u8, len: Value) -> Operand {
    Operand::FabOut { queue, dtype: Dtype::F32, len }
}

fn classes(sketch: &mut Sketch, pes: u32, n: u32, [vector, block]: [u32; 2]) {
    let result = words(block.into(), n.into());
    if pes == 1 {
        let mut alone = Code::new();
        alone.mov(result, words(vector.into(), n.into()));
        return sketch.class("alone", &[columns(0, 1, 1)], &[], &[], alone);
    }
    links(sketch, pes, 1, [0, 1]);
    let (from_east, to_west) = link_params(sketch, 1, [0, 1]);
    let (from_west, to_east) = eastern_links(sketch, pes);
    let by_column = |sketch: &mut Sketch, name: &str, f: &dyn Fn(u32) -> u32| {
        Value::Param(sketch.by_column(name, |x| f(u32::from(x)) as i32))
    };
    let blocks = Blocks {
        west: (vector.into(), by_column(sketch, "west", &|x| x * n)),
        own: by_column(sketch, "own", &|x| vector + x * n * 4),
        east: (
            by_column(sketch, "east_from", &|x| vector + (x + 1) * n * 4),
            by_column(sketch, "east", &|x| (pes - 1 - x) * n),
        ),
        elements: n,
        result: block,
    };
    let inputs = [(FROM_EAST, from_east), (FROM_WEST, from_west)];
    let outputs = [(TO_WEST, to_west), (TO_EAST, to_east)];
    sketch.class("west end", &[columns(0, 1, 1)], &inputs[..1], &outputs[1..], code(&blocks, [false, true]));
    sketch.class("middle", &[columns(1, pes - 1, 1)], &inputs, &outputs, code(&blocks, [true, true]));
    sketch.class("east end", &[columns(pes - 1, pes, 1)], &inputs[1..], &outputs[..1], code(&blocks, [true, false]));
}

/// The code of a PE with neighbours to the west and to the east, or only one of them.
fn code(blocks: &Blocks, [to_the_west, to_the_east]: [bool; 2]) -> Code {
    let mut code = Code::new();
    let n = blocks.elements.into();
    let (own, result) = (words(blocks.own, n), words(blocks.result.into(), n));
    let pass = |code: &mut Code, (base, len): (Value, Value), from: Option<u8>, to: u8| match from {
        Some(from) => code.vector(VectorOp::Add, sent(to, len), &[received(from, len), words(base, len)]),
        None => code.mov(sent(to, len), words(base, len)),
    };
    if to_the_west {
        pass(&mut code, blocks.west, to_the_east.then_some(FROM_EAST), TO_WEST);
    }
    if to_the_east {
        let sum = if to_the_west { own.clone() } else { result.clone() };
        code.vector(VectorOp::Add, sum, &[received(FROM_EAST, n), own.clone()]);
    }
    if to_the_west {
        code.vector(VectorOp::Add, result, &[received(FROM_WEST, n), own]);
    }
    if to_the_east {
        pass(&mut code, blocks.east, to_the_west.then_some(FROM_WEST), TO_EAST);
    }
    code
}

/// Routes between neighbours to the east, on colours 2 and 3: PE `x` sends on colour `2 + x % 2`. Gives the colours on which
/// a PE receives and sends.
fn eastern_links(sketch: &mut Sketch, pes: u32) -> (ColorRef, ColorRef) {
    use Direction::{East, Ramp, West};
    for parity in 0..2 {
        let color = Color(2 + parity as u8);
        sketch.route(color, columns(parity, pes - 1, 2), (&[Ramp], &[East]));
        sketch.route(color, columns(if parity == 0 { 1 } else { 2 }, pes, 2), (&[West], &[Ramp]));
    }
    let from = sketch.by_column("from_west", |x| 2 + i32::from((x + 1) % 2));
    let to = sketch.by_column("to_east", |x| 2 + i32::from(x % 2));
    (ColorRef::Param(from), ColorRef::Param(to))
}

/// The datapaths of the middle take `p - 1` blocks in, and one of them twice: its partial sums from the west and from the
/// east; one more goes out. The chain to the west brings block 0 to PE 0, which then starts the chain to the east; there every
/// PE takes its own block before it passes on the next, and so each adds the start of an instruction to the way.
fn estimate(machine: &Machine, pes: u64, n: u64) -> u64 {
    let blocks = match pes {
        1 => return cost::start(machine) + n,
        2 => 2,
        _ => pes + 1,
    };
    let (step, startup) = (cost::neighbour(machine), cost::startup(machine));
    cost::start(machine) + n * blocks + (2 * step + startup) * (pes - 1)
}
