//! The queues of a class: which exist, and what they are bound to.

use super::{Findings, Place};
use crate::program::{Class, ColorRef, Program, QueueBinding};
use std::collections::BTreeSet;

pub(super) fn check(program: &Program, class: &Class, found: &mut Findings) {
    let machine = &program.machine;
    bindings(program, class, "input", &class.input_queues, machine.input_queue_depths.len(), found);
    bindings(program, class, "output", &class.output_queues, machine.output_queue_depths.len(), found);
}

fn bindings(
    program: &Program,
    class: &Class,
    kind: &str,
    bindings: &[QueueBinding],
    queues: usize,
    found: &mut Findings,
) {
    let mut bound = BTreeSet::new();
    for binding in bindings {
        let place = || Place::class(&class.name);
        let queue = binding.queue;
        if usize::from(queue) >= queues {
            let message = format!("the machine has no {kind} queue q{queue}");
            found.error(place(), message, format!("use q0 to q{}", queues - 1));
        }
        if !bound.insert(queue) {
            let message = format!("{kind} queue q{queue} is bound twice");
            found.error(place(), message, "bind each queue to one colour");
        }
        match binding.color {
            ColorRef::Fixed(color) if color.0 >= program.machine.colors => {
                let message = format!("{kind} queue q{queue} is bound to a colour that the machine does not have");
                let remedy = format!("use c0 to c{}", program.machine.colors - 1);
                found.error(place().color(color.0), message, remedy);
            }
            ColorRef::Param(param) if param as usize >= program.params.len() => {
                let message =
                    format!("the colour of {kind} queue q{queue} is parameter #{param}, which does not exist");
                found.error(place(), message, "name one of the program's parameters");
            }
            _ => {}
        }
    }
}
