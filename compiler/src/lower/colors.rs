//! Colours for streams, by colouring a graph: two streams that meet at a router must differ.
//!
//! The kernels' plumbing numbers its streams as if there were colours for all of them. What no code uses is left out here; of the
//! rest, streams of rectangles that do not touch share the machine's colours.

use crate::CompileError;
use petgraph::algo::dsatur_coloring;
use petgraph::graph::UnGraph;
use std::collections::BTreeSet;
use waferloom_fabric::code::{Instruction, Operand};
use waferloom_fabric::{Class, Color, ColorRef, ColorRoute, Coord, Extent, ParamValues, Program, QueueBinding};

/// Streams as bits.
type Set = [u64; 4];

/// Gives each stream of a program one of the machine's colours.
pub(super) fn allocate(program: &mut Program) -> Result<(), CompileError> {
    drop_unused(program);
    let meetings = meetings(program);
    let streams: Vec<u8> = members(meetings.iter().copied().fold([0; 4], union)).collect();
    let mut graph = UnGraph::<(), ()>::default();
    let nodes: Vec<_> = streams.iter().map(|_| graph.add_node(())).collect();
    for meeting in meetings {
        let met: Vec<usize> = members(meeting).filter_map(|s| streams.binary_search(&s).ok()).collect();
        for (i, &a) in met.iter().enumerate() {
            for &b in &met[i + 1..] {
                graph.update_edge(nodes[a], nodes[b], ());
            }
        }
    }
    let (colors, needed) = dsatur_coloring(&graph);
    if needed > usize::from(program.machine.colors) {
        return Err(CompileError::Machine {
            machine: program.machine.name.clone(),
            what: "colours",
            available: program.machine.colors.into(),
            needed: needed as u32,
        });
    }
    let mut color_of = [0u8; 256];
    for (&stream, node) in streams.iter().zip(&nodes) {
        color_of[usize::from(stream)] = colors[node] as u8;
    }
    rename(program, &color_of);
    Ok(())
}

fn with(mut set: Set, stream: Color) -> Set {
    set[usize::from(stream.0) / 64] |= 1 << (stream.0 % 64);
    set
}

fn union(mut a: Set, b: Set) -> Set {
    a.iter_mut().zip(b).for_each(|(a, b)| *a |= b);
    a
}

/// Whether two sets have a stream in common.
fn meet(a: Set, b: Set) -> bool {
    a.iter().zip(b).any(|(a, b)| a & b != 0)
}

fn members(set: Set) -> impl Iterator<Item = u8> {
    (0..=u8::MAX).filter(move |&stream| set[usize::from(stream) / 64] >> (stream % 64) & 1 == 1)
}

/// The sets of streams that meet at some router, or in the queues behind it.
fn meetings(program: &Program) -> BTreeSet<Set> {
    let grid = program.grid;
    let mut at = vec![[0; 4]; grid.pes()];
    for route in &program.routes {
        for pe in route.region.coords() {
            at[grid.index(pe)] = with(at[grid.index(pe)], route.color);
            for next in ways_out(route, pe, grid) {
                at[next] = with(at[next], route.color);
            }
        }
    }
    for placement in &program.placements {
        let class = &program.classes[placement.class as usize];
        for pe in placement.region.coords() {
            let index = grid.index(pe);
            for binding in class.input_queues.iter().chain(&class.output_queues) {
                at[index] = with(at[index], stream(program, binding.color, pe));
            }
        }
    }
    at.into_iter().collect()
}

/// The stream that a queue is bound to at a PE.
fn stream(program: &Program, color: ColorRef, pe: Coord) -> Color {
    match color {
        ColorRef::Fixed(color) => color,
        ColorRef::Param(param) => Color(program.params[param as usize].values.at(pe, program.grid) as u8),
    }
}

/// Routers to which a route leads from a PE: another stream of its colour there would be disturbed.
fn ways_out(route: &ColorRoute, pe: Coord, grid: Extent) -> impl Iterator<Item = usize> {
    let out = route.positions.iter().flat_map(|position| position.tx.iter());
    out.filter_map(move |direction| direction.neighbour(pe, grid)).map(move |next| grid.index(next))
}

/// Leaves out the streams that no code sends or takes and no port is bound to, with their queues.
fn drop_unused(program: &mut Program) {
    let mut used = program.ports.iter().fold([0; 4], |set, port| with(set, port.color));
    let bound: Vec<Bound> = program.classes.iter().enumerate().map(|(i, class)| Bound::of(program, i, class)).collect();
    for (class, bound) in program.classes.iter().zip(&bound) {
        let (inputs, outputs) = queues(class);
        let of = |bound: &[(u8, Set)], queues: &BTreeSet<u8>| {
            bound
                .iter()
                .filter(|(queue, _)| queues.contains(queue))
                .fold([0; 4], |set, &(_, streams)| union(set, streams))
        };
        used = union(used, union(of(&bound.inputs, &inputs), of(&bound.outputs, &outputs)));
    }
    program.routes.retain(|route| meet(used, with([0; 4], route.color)));
    for (class, bound) in program.classes.iter_mut().zip(&bound) {
        let keeps = |bound: &[(u8, Set)], binding: &QueueBinding| {
            bound.iter().any(|&(queue, streams)| queue == binding.queue && meet(streams, used))
        };
        class.input_queues.retain(|binding| keeps(&bound.inputs, binding));
        class.output_queues.retain(|binding| keeps(&bound.outputs, binding));
    }
}

/// The streams of a class's queues, over all of its PEs.
struct Bound {
    inputs: Vec<(u8, Set)>,
    outputs: Vec<(u8, Set)>,
}

impl Bound {
    fn of(program: &Program, index: usize, class: &Class) -> Self {
        let places = || program.placements.iter().filter(move |p| p.class as usize == index);
        let streams = |binding: &QueueBinding| {
            let pes = places().flat_map(|placement| placement.region.coords());
            (binding.queue, pes.fold([0; 4], |set, pe| with(set, stream(program, binding.color, pe))))
        };
        Self {
            inputs: class.input_queues.iter().map(streams).collect(),
            outputs: class.output_queues.iter().map(streams).collect(),
        }
    }
}

/// Input and output queues that a class's code touches.
fn queues(class: &Class) -> (BTreeSet<u8>, BTreeSet<u8>) {
    let (mut inputs, mut outputs) = (BTreeSet::new(), BTreeSet::new());
    let mut work: Vec<&Instruction> = class.tasks.iter().flat_map(|task| &task.body).collect();
    while let Some(instruction) = work.pop() {
        match instruction {
            Instruction::Vector { dst, srcs, .. } => {
                for operand in srcs.iter().chain([dst]) {
                    match operand {
                        Operand::FabIn { queue, .. } => drop(inputs.insert(*queue)),
                        Operand::FabOut { queue, .. } => drop(outputs.insert(*queue)),
                        _ => {}
                    }
                }
            }
            Instruction::SendControl { queue, .. } => drop(outputs.insert(*queue)),
            Instruction::Loop { body, .. } | Instruction::Claim { body, .. } => work.extend(body),
            Instruction::If { then, otherwise, .. } => work.extend(then.iter().chain(otherwise)),
            _ => {}
        }
    }
    (inputs, outputs)
}

fn rename(program: &mut Program, color_of: &[u8; 256]) {
    let renamed = |color: Color| Color(color_of[usize::from(color.0)]);
    for route in &mut program.routes {
        route.color = renamed(route.color);
    }
    for port in &mut program.ports {
        port.color = renamed(port.color);
    }
    let mut params = BTreeSet::new();
    for binding in program.classes.iter_mut().flat_map(|c| c.input_queues.iter_mut().chain(&mut c.output_queues)) {
        match &mut binding.color {
            ColorRef::Fixed(color) => *color = renamed(*color),
            ColorRef::Param(param) => drop(params.insert(*param)),
        }
    }
    for param in params {
        if let Some(param) = program.params.get_mut(param as usize) {
            let (ParamValues::ByColumn(values) | ParamValues::ByRow(values) | ParamValues::PerPe(values)) =
                &mut param.values;
            for value in values {
                *value = color_of[usize::from(*value as u8)].into();
            }
        }
    }
}
