//! Sum of one vector a PE along a row, to its westernmost PE: chain, star, binary tree, two-phase.
//!
//! Source of the algorithms and of the names: P. Luczynski et al., *Near-Optimal Wafer-Scale Reduce* (HPDC 2024). The chain
//! is the vendor's.

use super::data::numbers;
use super::sketch::{Sketch, columns, neighbour_cycles, row_each, start_cycles};
use super::{Instance, Kernel, KernelError, Parameter, Settings};
use crate::code::{Code, Tile, memory};
use std::collections::BTreeMap;
use waferloom_fabric::code::{Control, Instruction, Operand};
use waferloom_fabric::{
    BufferKind, Color, ColorRef, Coord, Direction, Distribution, Dtype, Extent, Machine, SwitchCommand, Value, VectorOp,
};

pub(super) const KERNEL: Kernel = Kernel {
    name: "reduce",
    summary: "The sum of one vector a PE of a row, at its westernmost PE. \
              Algorithms of Luczynski et al., Near-Optimal Wafer-Scale Reduce (HPDC 2024).",
    parameters: &[
        Parameter::integer("p", "16", (1, 65535), "PEs in the row"),
        Parameter::integer("elements", "256", (1, 1 << 20), "f32 elements of each vector"),
        ALGORITHM,
        GROUP,
    ],
    build,
};

pub(super) const ALGORITHM: Parameter = Parameter::choice(
    "algorithm",
    "auto",
    &["auto", "chain", "star", "tree", "two-phase"],
    "who adds what; auto takes the least by estimate",
)
.tunable();
pub(super) const GROUP: Parameter = Parameter::integer(
    "group",
    "0",
    (0, 65535),
    "PEs in a group of two-phase; 0 is the divisor of p nearest to its root",
)
.tunable();

/// Ids of queues: the machine's deepest come first on the way in, and 2 and 3 are the deep ones on the way out.
const QUEUE_OUT: u8 = 2;

/// A switch position: from where to where.
type Route = (&'static [Direction], &'static [Direction]);
const RECEIVE: Route = (&[Direction::East], &[Direction::Ramp]);
const SEND: Route = (&[Direction::Ramp], &[Direction::West]);
const PASS: Route = (&[Direction::East], &[Direction::West]);
const CLOSED: Route = (&[], &[]);

/// A way to reduce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Chain,
    Star,
    Tree,
    TwoPhase { group: u32 },
}

/// Sizes of a reduction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) pes: u32,
    pub(super) elements: u32,
}

fn build(settings: &Settings, machine: &Machine) -> Result<Instance, KernelError> {
    let line = Line { pes: u32::from(settings.pes("p")), elements: settings.integer("elements") };
    let algorithm = choose(settings, machine, line, "p")?;
    let grid = Extent { width: line.pes as u16, height: 1 };
    let mut sketch = Sketch::new("reduce", machine, grid, ["p", "p"])?;
    let address = sketch.buffer("vector", line.elements * 4, BufferKind::Activation);
    let vector = Tile { address, elements: line.elements, dtype: Dtype::F32 };
    emit(&mut sketch, line, algorithm, vector);
    sketch.check(u64::from(line.pes) * u64::from(line.elements), "elements")?;
    let values = numbers(line.pes as usize * line.elements as usize, 2);
    // Before the constant is made: that is still in the host's caches when it is simulated at once.
    let mut expected = vec![0.0; line.elements as usize];
    for vector in values.chunks(expected.len().max(1)) {
        expected.iter_mut().zip(vector).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    sketch.constant("vectors", Dtype::F32, row_each(grid.width, line.elements), address, &values);
    let one = Extent { width: 1, height: 1 };
    let whole = Distribution { grid: one, shape: vec![line.elements], x: None, y: None };
    sketch.result("sum", Dtype::F32, whole, Coord { x: 0, y: 0 }, address);
    Ok(Instance {
        program: sketch.finish("elements")?,
        inputs: BTreeMap::new(),
        expected: BTreeMap::from([("sum".into(), expected)]),
        algorithm: name(algorithm).into(),
        estimate_cycles: estimate(machine, line, algorithm),
        flops: u64::from(line.pes - 1) * u64::from(line.elements),
    })
}

/// Emits the classes and routes of a reduction to column 0: colours 0 to 3, input queues 0 and 1, output queue 2.
pub(super) fn emit(sketch: &mut Sketch, line: Line, algorithm: Algorithm, vector: Tile) {
    match algorithm {
        _ if line.pes == 1 => sketch.class("alone", &[columns(0, 1, 1)], &[], &[], Code::new()),
        Algorithm::Chain => chain(sketch, line, vector),
        Algorithm::Star => star(sketch, line, vector),
        Algorithm::Tree => tree(sketch, line, vector),
        Algorithm::TwoPhase { group } => two_phase(sketch, line, group, vector),
    }
}

pub(super) fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Chain => "chain",
        Algorithm::Star => "star",
        Algorithm::Tree => "tree",
        Algorithm::TwoPhase { .. } => "two-phase",
    }
}

/// The algorithm that is set; `auto` takes the feasible one with the least estimate. `pes` is the parameter that gives the
/// length of the line.
pub(super) fn choose(
    settings: &Settings,
    machine: &Machine,
    line: Line,
    pes: &'static str,
) -> Result<Algorithm, KernelError> {
    let tree = || {
        let power = line.pes.is_power_of_two().then_some(Algorithm::Tree);
        power.ok_or_else(|| settings.refuse(pes, "a tree needs a power of two"))
    };
    let two_phase = || {
        let group = match settings.integer("group") {
            0 => nearest_divisor(line.pes),
            group => group,
        };
        if line.pes.is_multiple_of(group) {
            Ok(Algorithm::TwoPhase { group })
        } else {
            Err(settings.refuse("group", format!("give a divisor of {pes} = {}", line.pes)))
        }
    };
    match settings.word("algorithm") {
        "chain" => Ok(Algorithm::Chain),
        "star" => Ok(Algorithm::Star),
        "tree" => tree(),
        "two-phase" => two_phase(),
        _ => {
            let candidates = [Ok(Algorithm::Chain), Ok(Algorithm::Star), tree(), two_phase()];
            let feasible = candidates.into_iter().flatten();
            Ok(feasible.min_by_key(|&a| estimate(machine, line, a)).unwrap_or(Algorithm::Chain))
        }
    }
}

/// The divisor of `n` that is nearest to its root; the smaller of two.
fn nearest_divisor(n: u32) -> u32 {
    let root = f64::from(n).sqrt();
    let divisors = (1..=n).filter(|d| n.is_multiple_of(*d));
    divisors.min_by(|a, b| (f64::from(*a) - root).abs().total_cmp(&(f64::from(*b) - root).abs())).unwrap_or(1)
}

/// `dst = in + vector`.
fn add_in(code: &mut Code, queue: u8, dst: Operand, vector: Tile) {
    let received = Operand::FabIn { queue, dtype: Dtype::F32, len: vector.elements.into() };
    code.vector(VectorOp::Add, dst, &[received, vector.vector()]);
}

fn out(queue: u8, elements: u32) -> Operand {
    Operand::FabOut { queue, dtype: Dtype::F32, len: elements.into() }
}

const fn fixed(color: u8) -> ColorRef {
    ColorRef::Fixed(Color(color))
}

/// Each PE adds its vector to what comes from the east and sends the sum on to the west, in one instruction. Two colours in
/// turn, since a PE receives and sends at once.
fn chain(sketch: &mut Sketch, line: Line, vector: Tile) {
    links(sketch, line.pes, 1, [0, 1]);
    let (from, to) = link_params(sketch, 1, [0, 1]);
    let mut root = Code::new();
    add_in(&mut root, 0, vector.vector(), vector);
    sketch.class("root", &[columns(0, 1, 1)], &[(0, from)], &[], root);
    let mut middle = Code::new();
    add_in(&mut middle, 0, out(QUEUE_OUT, line.elements), vector);
    sketch.class("middle", &[columns(1, line.pes - 1, 1)], &[(0, from)], &[(QUEUE_OUT, to)], middle);
    let mut last = Code::new();
    last.mov(out(QUEUE_OUT, line.elements), vector.vector());
    sketch.class("last", &[columns(line.pes - 1, line.pes, 1)], &[], &[(QUEUE_OUT, to)], last);
}

/// Routes between neighbouring heads, `distance` PEs apart: head `i` sends to head `i - 1` on colour `colors[i % 2]`.
pub(super) fn links(sketch: &mut Sketch, pes: u32, distance: u32, colors: [u8; 2]) {
    for parity in 0..2 {
        let color = Color(colors[parity as usize]);
        let other = 1 - parity;
        // Head 0 sends nothing.
        let first = if parity == 0 { 2 * distance } else { distance };
        sketch.route(color, columns(first, pes, 2 * distance), SEND);
        // Receivers: heads of the other parity with a head to their east.
        let end = pes.saturating_sub(distance);
        sketch.route(color, columns(other * distance, end, 2 * distance), RECEIVE);
        for between in 1..distance {
            let first = first - distance + between;
            // A PE between two heads opens its router when its own group has used it: else the heads' stream would take
            // every second cycle of the links that the group's sum needs first.
            sketch.switched_route(color, columns(first, end, 2 * distance), &[CLOSED, PASS]);
        }
    }
}

/// The colours of [`links`] as parameters: on which a head receives, and on which it sends.
pub(super) fn link_params(sketch: &mut Sketch, distance: u16, colors: [u8; 2]) -> (ColorRef, ColorRef) {
    let name = |what: &str| format!("{what}_{distance}");
    let color = move |head: u16| i32::from(colors[usize::from(head % 2)]);
    let from = sketch.by_column(&name("from"), move |x| color(x / distance + 1));
    let to = sketch.by_column(&name("to"), move |x| color(x / distance));
    (ColorRef::Param(from), ColorRef::Param(to))
}

/// Every PE sends its vector straight to the root. All share one colour: each router serves its own PE first, so that the
/// vectors arrive whole, the nearest first.
fn star(sketch: &mut Sketch, line: Line, vector: Tile) {
    let (pes, n) = (line.pes, line.elements);
    sketch.route(Color(0), columns(0, 1, 1), RECEIVE);
    sketch.route(Color(0), columns(1, pes - 1, 1), (&[Direction::East, Direction::Ramp], &[Direction::West]));
    sketch.route(Color(0), columns(pes - 1, pes, 1), SEND);
    let mut root = Code::new();
    add_rounds(&mut root, pes - 1, vector);
    sketch.class("root", &[columns(0, 1, 1)], &[(0, fixed(0))], &[], root);
    let mut leaf = Code::new();
    leaf.mov(out(QUEUE_OUT, n), vector.vector());
    sketch.class("leaf", &[columns(1, pes, 1)], &[], &[(QUEUE_OUT, fixed(0))], leaf);
}

/// In round `l` each PE whose number is an odd multiple of `2^l` sends its sum to the PE `2^l` to its west.
///
/// A PE receives all rounds on one colour and sends on the other: which one follows from how many PEs lie between it and
/// the root in the tree. On the one, its router first lets in what the PE receives, on the other what it sends; then both
/// pass on what comes from further east. So the streams reach each PE one after another in the order of the rounds. A
/// control wavelet at the end of a stream moves the sender's router on, and the receiver's when that was its last one.
fn tree(sketch: &mut Sketch, line: Line, vector: Tile) {
    use SwitchCommand::{Advance, Nop};
    let (pes, n, rounds) = (line.pes, line.elements, line.pes.ilog2());
    tree_routes(sketch, pes);
    // The number of a PE in binary has as many ones as there are steps to the root.
    let from = sketch.by_column("from", |x| (x.count_ones() % 2) as i32);
    let to = sketch.by_column("to", |x| (1 - x.count_ones() % 2) as i32);
    let (from, to) = (ColorRef::Param(from), ColorRef::Param(to));
    let mut root = Code::new();
    add_rounds(&mut root, rounds, vector);
    sketch.class("root", &[columns(0, 1, 1)], &[(0, from)], &[], root);
    for round in 0..rounds {
        // Every second one sends to a PE that goes on to send itself in the next round.
        for (start, commands) in [(1 << round, vec![Advance, Nop]), (3 << round, vec![Advance])] {
            let mut code = Code::new();
            if round == 0 {
                code.mov(out(QUEUE_OUT, n), vector.vector());
            } else {
                add_rounds(&mut code, round - 1, vector);
                add_in(&mut code, 0, out(QUEUE_OUT, n), vector);
            }
            code.send_control(QUEUE_OUT, Control { commands, task: None, payload: Value::Imm(0) });
            let inputs: &[_] = if round == 0 { &[] } else { &[(0, from)] };
            let region = columns(start, pes, 4 << round);
            sketch.class(&format!("round {round} from {start}"), &[region], inputs, &[(QUEUE_OUT, to)], code);
        }
    }
}

fn tree_routes(sketch: &mut Sketch, pes: u32) {
    for x in 0..pes {
        let at = columns(x, x + 1, 1);
        let from = Color((x.count_ones() % 2) as u8);
        let to = Color(1 - from.0);
        // The root receives on colour 0, and colour 1 ends at PE 2 at the latest: nothing passes on it from there on.
        let pass = |color: Color| (x > 2 || color == Color(0)).then_some(PASS);
        let receive = (x % 2 == 0).then_some(RECEIVE);
        let beyond = pass(from).filter(|_| x > 0);
        let receiving: Vec<Route> = receive.into_iter().chain(beyond).collect();
        if !receiving.is_empty() {
            sketch.switched_route(from, at, &receiving);
        }
        if x > 0 {
            let sending: Vec<Route> = [SEND].into_iter().chain(pass(to)).collect();
            sketch.switched_route(to, at, &sending);
        }
    }
}

/// Adds the vectors of so many rounds, one behind another on queue 0, to the PE's own.
fn add_rounds(code: &mut Code, rounds: u32, vector: Tile) {
    if rounds > 0 {
        let n = vector.elements;
        let again = memory(vector.address, 0, Dtype::F32, &[(rounds.into(), 0.into()), (n.into(), 1.into())]);
        let received = Operand::FabIn { queue: 0, dtype: Dtype::F32, len: (rounds * n).into() };
        code.vector(VectorOp::Add, again.clone(), &[received, again]);
    }
}

/// Chains within groups, then a chain over the groups' heads.
fn two_phase(sketch: &mut Sketch, line: Line, group: u32, vector: Tile) {
    if group == 1 || group == line.pes {
        return chain(sketch, line, vector);
    }
    group_links(sketch, line.pes, group);
    links(sketch, line.pes, group, [2, 3]);
    let in_group = |x: u16| u32::from(x) % group;
    let from = sketch.by_column("from_group", |x| i32::from(in_group(x).is_multiple_of(2)));
    let to = sketch.by_column("to_group", |x| (in_group(x) % 2) as i32);
    let (from, to) = (ColorRef::Param(from), ColorRef::Param(to));
    let (head_from, head_to) = link_params(sketch, group as u16, [2, 3]);
    let (n, last_head) = (line.elements, line.pes - group);

    // Members of every second group lie on the way of one of the heads' two colours; the last group on none.
    for member in 1..group {
        for (first, color) in [(0, Some(Color(3))), (group, Some(Color(2))), (last_head, None)] {
            let mut code = Code::new();
            if member + 1 == group {
                code.mov(out(QUEUE_OUT, n), vector.vector());
            } else {
                add_in(&mut code, 0, out(QUEUE_OUT, n), vector);
            }
            if let Some(color) = color {
                code.push(Instruction::SetPosition { color: color.0, position: 1 });
            }
            let region = match color {
                Some(_) => columns(first + member, last_head, 2 * group),
                None => columns(last_head + member, line.pes, group),
            };
            let inputs: &[_] = if member + 1 == group { &[] } else { &[(0, from)] };
            let name = format!("member {member} from group {}", first / group);
            sketch.class(&name, &[region], inputs, &[(QUEUE_OUT, to)], code);
        }
    }
    // The last head has nobody to its east: its group's sum goes straight on.
    let mut last = Code::new();
    add_in(&mut last, 0, out(QUEUE_OUT, n), vector);
    sketch.class("last head", &[columns(last_head, line.pes, group)], &[(0, from)], &[(QUEUE_OUT, head_to)], last);
    let both = [(0, from), (1, head_from)];
    let mut head = Code::new();
    add_in(&mut head, 0, vector.vector(), vector);
    add_in(&mut head, 1, out(QUEUE_OUT, n), vector);
    sketch.class("head", &[columns(group, last_head, group)], &both, &[(QUEUE_OUT, head_to)], head);
    let mut root = Code::new();
    add_in(&mut root, 0, vector.vector(), vector);
    add_in(&mut root, 1, vector.vector(), vector);
    sketch.class("root", &[columns(0, 1, 1)], &both, &[], root);
}

/// Routes within groups: member `i` sends to member `i - 1` on colour `i % 2`.
fn group_links(sketch: &mut Sketch, pes: u32, group: u32) {
    for member in 1..group {
        let color = Color((member % 2) as u8);
        sketch.route(color, columns(member, pes, group), SEND);
        sketch.route(color, columns(member - 1, pes, group), RECEIVE);
    }
}

/// Cycles by the closed forms of `docs/cost-model.md`.
pub(super) fn estimate(machine: &Machine, line: Line, algorithm: Algorithm) -> u64 {
    let (p, b) = (u64::from(line.pes), u64::from(line.elements));
    if p == 1 {
        return 0;
    }
    let (start, step, hop) = (start_cycles(machine), neighbour_cycles(machine), u64::from(machine.hop_cycles));
    start
        + match algorithm {
            Algorithm::Chain => b + step * (p - 1),
            // The root takes in one vector after another; the last one also has the longest way.
            Algorithm::Star => (b * (p - 1) + step).max(b + step + (p - 2) * hop),
            // The published model: every round takes the root's ramp for the whole vector, or the links are the limit.
            Algorithm::Tree => {
                let rounds = u64::from(line.pes.ilog2());
                let links = b * (p / 2) * rounds / (p - 1) + (p - 1) * hop;
                (b * rounds).max(links) + (step - hop) * rounds
            }
            Algorithm::TwoPhase { group } if group == 1 || group == line.pes => b + step * (p - 1),
            Algorithm::TwoPhase { group } => {
                let s = u64::from(group);
                // The heads' chain runs after the groups', but its first wavelets are under way before.
                2 * b + step * (s - 1) + (p / s - 1) * (step - hop + hop * s)
            }
        }
}
