//! Each PE's vector to the PE `distance` further east in its row, with or without going around.
//!
//! The row is cut into groups of `distance` PEs, and each group sends to the next one. Groups send on two colours in turn, so
//! that no PE receives and sends on one colour and all groups send at once. A link carries `distance` vectors, the least that
//! is possible: within the sending group a PE sends its own vector and then passes on what comes from further west (a control
//! wavelet at the end of each vector moves the switch of its sender); so the vectors reach the receiving group with that for
//! its last PE first. There each PE passes on what is for PEs behind it and takes the last one down: the same control wavelet
//! moves the switch of the router `distance - 1` hops on, which is the receiver of the next vector. A control wavelet has eight
//! commands, one a hop: hence the largest distance.
//!
//! What goes around travels west on a third colour to all of the first group; a filter that counts lets each PE have its own
//! vector.

use super::data::numbers;
use super::sketch::{Sketch, columns, row_each};
use super::{Instance, Kernel, KernelError, Parameter, Settings};
use crate::code::{Code, memory, words_in, words_out};
use crate::{cost, line};
use std::collections::BTreeMap;
use waferloom_fabric::code::{Async, Instruction};
use waferloom_fabric::{
    BufferKind, Color, ColorRef, ColorRoute, Coord, Direction, Dtype, Extent, Filter, Machine, PortSet, Position,
    SwitchCommand, VectorOp,
};

pub(super) const KERNEL: Kernel = Kernel {
    name: "shift",
    summary: "Each PE's vector to the PE `distance` further east. Groups of `distance` PEs send at once, switches sort the vectors.",
    parameters: &[
        Parameter::integer("p", "16", (1, 65535), "PEs in the row"),
        Parameter::integer("elements", "64", (1, 1 << 20), "f32 elements of each vector"),
        Parameter::integer("distance", "1", (1, 8), "PEs from sender to receiver"),
        Parameter::choice("wrap", "no", &["no", "yes"], "whether the last PEs send to the first ones"),
    ],
    build,
};

/// Colours of even and odd groups, and of what goes around.
const GROUPS: [Color; 2] = [Color(0), Color(1)];
const AROUND: Color = Color(2);
const QUEUE_IN: u8 = 0;
/// What lies where no vector comes, and must stay there: a number that no vector has.
const UNTOUCHED: f32 = 7.5;
const QUEUE_OUT: u8 = 2;

/// Sizes of a shift.
#[derive(Clone, Copy)]
struct Shift {
    pes: u32,
    distance: u32,
    elements: u32,
    wrap: bool,
}

fn build(settings: &Settings, machine: &Machine) -> Result<Instance, KernelError> {
    let shift = Shift {
        pes: u32::from(settings.pes("p")),
        distance: settings.integer("distance"),
        elements: settings.integer("elements"),
        wrap: settings.word("wrap") == "yes",
    };
    let Shift { pes, distance, elements, wrap } = shift;
    if wrap && pes < 2 * distance {
        return Err(
            settings.refuse("p", format!("to go around, give at least {} PEs or a smaller `distance`", 2 * distance))
        );
    }
    let grid = Extent { width: pes as u16, height: 1 };
    let mut sketch = Sketch::new("shift", machine, grid, ["p", "p"])?;
    let source = sketch.buffer("vector", elements * 4, BufferKind::Activation);
    let target = sketch.buffer("shifted", elements * 4, BufferKind::Activation);
    routes(&mut sketch, shift);
    classes(&mut sketch, shift, [source, target]);
    sketch.check(u64::from(pes) * u64::from(elements), "elements")?;
    let each = row_each(grid.width, elements);
    let values = numbers(pes as usize * elements as usize, 6);
    sketch.constant("vectors", Dtype::F32, each.clone(), source, &values);
    sketch.constant("before", Dtype::F32, each.clone(), target, &vec![UNTOUCHED; values.len()]);
    sketch.result("shifted", Dtype::F32, each, Coord { x: 0, y: 0 }, target);
    let n = elements as usize;
    let mut expected = Vec::with_capacity(values.len());
    for x in 0..pes {
        match if x >= distance { Some(x - distance) } else { wrap.then(|| x + pes - distance) } {
            Some(from) => expected.extend(values[from as usize * n..][..n].iter().map(|&v| f64::from(v))),
            None => expected.extend(std::iter::repeat_n(f64::from(UNTOUCHED), n)),
        }
    }
    Ok(Instance {
        program: sketch.finish("elements")?,
        inputs: BTreeMap::new(),
        expected: BTreeMap::from([("shifted".into(), expected)]),
        algorithm: "groups".into(),
        estimate_cycles: estimate(machine, shift),
        flops: 0,
    })
}

impl Shift {
    fn sends_east(self, x: u32) -> bool {
        x + self.distance < self.pes
    }

    fn sends_around(self, x: u32) -> bool {
        self.wrap && !self.sends_east(x)
    }

    fn receives(self, x: u32) -> bool {
        self.wrap || x >= self.distance
    }

    /// Colour on which the group of a PE sends.
    fn color(self, x: u32) -> Color {
        GROUPS[(x / self.distance % 2) as usize]
    }

    /// Colour on which a PE receives.
    fn color_in(self, x: u32) -> Color {
        if x < self.distance { AROUND } else { self.color(x - self.distance) }
    }

    fn color_out(self, x: u32) -> Color {
        if self.sends_east(x) { self.color(x) } else { AROUND }
    }
}

fn routes(sketch: &mut Sketch, shift: Shift) {
    use Direction::{East, Ramp, West};
    const SEND: (&[Direction], &[Direction]) = (&[Ramp], &[East]);
    const PASS: (&[Direction], &[Direction]) = (&[West], &[East]);
    const RECEIVE: (&[Direction], &[Direction]) = (&[West], &[Ramp]);
    let Shift { pes, distance, .. } = shift;
    for x in 0..pes {
        let at = columns(x, x + 1, 1);
        let within = x % distance;
        // In the group that sends.
        let first_sends = shift.sends_east(x - within);
        match (within == 0, shift.sends_east(x)) {
            (true, true) => sketch.route(shift.color(x), at, SEND),
            (false, true) => sketch.switched_route(shift.color(x), at, &[SEND, PASS]),
            (false, false) if first_sends => sketch.route(shift.color(x), at, PASS),
            _ => {}
        }
        // In the group that receives.
        if x >= distance {
            let passes = within + 1 < distance && x + 1 < pes;
            let positions: &[_] = if passes { &[PASS, RECEIVE] } else { &[RECEIVE] };
            sketch.switched_route(shift.color_in(x), at, positions);
        }
    }
    if shift.wrap {
        around(sketch, shift);
    }
}

/// The way around: the last group sends, the nearest to the west first; all of the first group are sent everything.
fn around(sketch: &mut Sketch, shift: Shift) {
    use Direction::{East, Ramp, West};
    let Shift { pes, distance, elements, .. } = shift;
    sketch.switched_route(AROUND, columns(pes - distance, pes - 1, 1), &[(&[Ramp], &[West]), (&[East], &[West])]);
    sketch.route(AROUND, columns(pes - 1, pes, 1), (&[Ramp], &[West]));
    sketch.route(AROUND, columns(distance, pes - distance, 1), (&[East], &[West]));
    for x in 0..distance {
        let tx: &[_] = if x == 0 { &[Ramp] } else { &[West, Ramp] };
        sketch.program.routes.push(ColorRoute {
            color: AROUND,
            region: columns(x, x + 1, 1),
            positions: vec![Position { rx: PortSet::of(&[East]), tx: PortSet::of(tx) }],
            start: 0,
            ring: false,
            filter: Some(Filter::Count { first: x * elements, pass: elements, period: distance * elements }),
        });
    }
}

/// The commands of the control wavelet behind a vector: on to passing, for the sender; on to receiving, for the PE that
/// receives the next vector. The last command holds for all routers behind, where it changes nothing.
fn commands(shift: Shift, east: bool) -> Vec<SwitchCommand> {
    use SwitchCommand::{Advance, Nop};
    match (east, shift.distance) {
        (true, 1) => vec![Nop],
        (true, distance) => {
            let mut commands = vec![Nop; distance as usize];
            commands[0] = Advance;
            commands[distance as usize - 1] = Advance;
            commands
        }
        (false, _) => vec![Advance, Nop],
    }
}

fn classes(sketch: &mut Sketch, shift: Shift, [source, target]: [u32; 2]) {
    let n = shift.elements;
    let words = |address: u32| memory(address, 0, Dtype::I32, &[(n.into(), 1.into())]);
    let from = sketch.by_column("from", |x| i32::from(shift.color_in(u32::from(x)).0));
    let to = sketch.by_column("to", |x| i32::from(shift.color_out(u32::from(x)).0));
    for receives in [false, true] {
        for sends in [None, Some(true), Some(false)] {
            let mut code = Code::new();
            if receives {
                // Beside the sending: else PEs would wait for each other around the row.
                code.push(Instruction::Vector {
                    op: VectorOp::Mov,
                    dst: words(target),
                    srcs: vec![words_in(QUEUE_IN, n)],
                    run_async: Some(Async { microthread: 0, then: None }),
                });
            }
            if let Some(east) = sends {
                code.mov(words_out(QUEUE_OUT, n), words(source));
                code.send_control(QUEUE_OUT, line::control(&commands(shift, east)));
            }
            let sends_so = |x: u32| match sends {
                Some(true) => shift.sends_east(x),
                Some(false) => shift.sends_around(x),
                None => !shift.sends_east(x) && !shift.sends_around(x),
            };
            let pes = (0..shift.pes).filter(|&x| shift.receives(x) == receives && sends_so(x));
            let inputs: &[_] = if receives { &[(QUEUE_IN, ColorRef::Param(from))] } else { &[] };
            let outputs: &[_] = if sends.is_some() { &[(QUEUE_OUT, ColorRef::Param(to))] } else { &[] };
            let name = format!(
                "{} and {}",
                if receives { "receives" } else { "keeps" },
                match sends {
                    Some(true) => "sends",
                    Some(false) => "sends around",
                    None => "rests",
                }
            );
            sketch.class(&name, &runs(pes), inputs, outputs, code);
        }
    }
}

/// Columns in ascending order, as runs of neighbours.
fn runs(pes: impl Iterator<Item = u32>) -> Vec<waferloom_fabric::Region> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for x in pes {
        match runs.last_mut() {
            Some((_, end)) if *end == x => *end += 1,
            _ => runs.push((x, x + 1)),
        }
    }
    runs.into_iter().map(|(first, end)| columns(first, end, 1)).collect()
}

/// Over the busiest link go `distance` vectors, each with its control wavelet. A PE's own vector goes out while the one for it
/// comes in, and its datapath takes one element a cycle: so each turn takes two vectors' time, less what the queues between
/// sender and receiver hold; the first one has nothing to hold yet. In short rows fewer PEs do both.
fn estimate(machine: &Machine, shift: Shift) -> u64 {
    let (p, d, n) = (u64::from(shift.pes), u64::from(shift.distance), u64::from(shift.elements));
    if !shift.wrap && p <= d {
        return 0;
    }
    let turns = if shift.wrap { 2 * d } else { (2 * d).min(p - d) };
    let twice = turns.saturating_sub(d);
    let depth = |depths: &[u16], queue: u8| u64::from(depths.get(usize::from(queue)).copied().unwrap_or(1));
    let held = depth(&machine.input_queue_depths, QUEUE_IN)
        + depth(&machine.output_queue_depths, QUEUE_OUT)
        + u64::from(machine.router_queue_depth)
        + 2 * u64::from(machine.ramp_cycles);
    let words = turns.min(d) * (n + 1) + if twice > 0 { n + (twice - 1) * n.saturating_sub(held) } else { 0 };
    let hops = if shift.wrap { p - d } else { d };
    cost::start(machine) + u64::from(machine.scalar_cycles) + words + cost::flight(machine, hops)
}
