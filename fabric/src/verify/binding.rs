//! The queues of each PE against the routes of its router.

use super::Place;
use super::finding::{Findings, Grouped};
use super::map::{Map, color_at, each_color, sent_color};
use super::traffic::Traffic;
use crate::code::Instruction;
use crate::geometry::Direction;
use crate::program::Program;
use std::collections::BTreeSet;

pub(super) fn check(program: &Program, map: &Map, traffic: &[Traffic], found: &mut Findings) {
    let heard = colors(program, map, found);
    if !found.has_errors() {
        ramps(program, map, (traffic, &heard), found);
        positions(program, map, found);
    }
}

/// Parameters that give colours must give ones that the machine has, and no two input queues may share one. Gives the colours to which
/// each PE listens, as bits.
fn colors(program: &Program, map: &Map, found: &mut Findings) -> Vec<u64> {
    let (mut missing, mut shared) = (Grouped::new(), Grouped::new());
    let mut all = vec![0u64; program.grid.pes()];
    for (pe, at, class) in map.placed(program) {
        let heard = &mut all[pe];
        for (output, bindings) in
            [(false, &program.classes[class].input_queues), (true, &program.classes[class].output_queues)]
        {
            for binding in bindings {
                match color_at(program, binding.color, at) {
                    None => missing.add((class, output, binding.queue), at),
                    Some(color) if !output => {
                        if *heard >> color & 1 == 1 {
                            shared.add((class, color), at);
                        }
                        *heard |= 1 << color;
                    }
                    Some(_) => {}
                }
            }
        }
    }
    for ((class, output, queue), place) in missing.places() {
        let kind = if output { "output" } else { "input" };
        let message = format!("the parameter gives {kind} queue q{queue} a colour that the machine does not have");
        let remedy = format!("let its values be 0 to {}", program.machine.colors - 1);
        found.error(in_class(program, class, place), message, remedy);
    }
    for ((class, color), place) in shared.places() {
        let place = in_class(program, class, place).color(color);
        found.error(place, "two input queues listen to the colour", "bind a colour to one input queue");
    }
    all
}

fn in_class(program: &Program, class: usize, place: Place) -> Place {
    Place { class: Some(program.classes[class].name.clone()), ..place }
}

/// What comes down a ramp needs a queue, and what is sent needs a way out.
fn ramps(program: &Program, map: &Map, (traffic, heard): (&[Traffic], &[u64]), found: &mut Findings) {
    let grid = program.grid;
    let (mut unheard, mut idle, mut stuck) = (Grouped::new(), Grouped::new(), Grouped::new());
    let used = map.colors().fold(0u64, |bits, color| bits | 1 << color);
    for (pe, &heard) in heard.iter().enumerate() {
        let (at, class) = (grid.coord(pe), map.class(pe));
        for color in each_color(used & !heard) {
            if map.ways(color, pe).is_some_and(|ways| ways.gives.contains(Direction::Ramp)) {
                match class {
                    Some(class) => unheard.add((class, color), at),
                    None => idle.add(color, at),
                }
            }
        }
        let Some(class) = class else { continue };
        for queue in traffic[class].certain(program, at) {
            let Some(color) = sent_color(program, class, queue, at) else { continue };
            if !map.ways(color, pe).is_some_and(|ways| ways.takes.contains(Direction::Ramp)) {
                stuck.add((class, color, queue), at);
            }
        }
    }
    for ((class, color), place) in unheard.places() {
        let message =
            "the route sends the colour down the ramp, but no input queue listens to it: wavelets would block";
        found.error(
            in_class(program, class, place).color(color),
            message,
            "bind an input queue, or take RAMP out of `tx`",
        );
    }
    for (color, place) in idle.places() {
        let message = "the route sends the colour down the ramp of a PE without a class: wavelets would block";
        found.warning(place.color(color), message, "place a class there, or take RAMP out of `tx`");
    }
    for ((class, color, queue), place) in stuck.places() {
        let message = format!("the code sends into output queue q{queue}, but no route takes the colour from the ramp");
        found.error(in_class(program, class, place).color(color), message, "add a route with RAMP in `rx`");
    }
}

/// Positions that code sets must exist.
fn positions(program: &Program, map: &Map, found: &mut Findings) {
    let set: Vec<BTreeSet<(u8, u8)>> = (program.classes.iter())
        .map(|class| {
            let mut set = BTreeSet::new();
            class.tasks.iter().for_each(|task| collect(&task.body, &mut set));
            set
        })
        .collect();
    if set.iter().all(BTreeSet::is_empty) {
        return;
    }
    let mut missing = Grouped::new();
    for (pe, at, class) in map.placed(program) {
        for &(color, position) in &set[class] {
            let route = map.route(program, color, pe);
            if route.is_some_and(|r| usize::from(position) >= r.positions.len()) {
                missing.add((class, color, position), at);
            }
        }
    }
    for ((class, color, position), place) in missing.places() {
        let message = format!("the code sets the switch to position {position}, which the route does not have");
        found.error(in_class(program, class, place).color(color), message, "add the position to the route");
    }
}

fn collect(body: &[Instruction], set: &mut BTreeSet<(u8, u8)>) {
    for instruction in body {
        match instruction {
            Instruction::SetPosition { color, position } => {
                set.insert((*color, *position));
            }
            Instruction::Loop { body, .. } | Instruction::Claim { body, .. } => collect(body, set),
            Instruction::If { then, otherwise, .. } => {
                collect(then, set);
                collect(otherwise, set);
            }
            _ => {}
        }
    }
}
