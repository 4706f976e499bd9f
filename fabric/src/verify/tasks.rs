//! The tasks of a class: ids, and whether something starts each of them.

use super::code::tears_down;
use super::{Findings, Place};
use crate::code::{Completion, Instruction, Task, TaskKind};
use crate::program::{Class, Program};
use std::collections::BTreeSet;

pub(super) fn check(program: &Program, class: &Class, found: &mut Findings) {
    let mut starts = Starts::default();
    for task in &class.tasks {
        starts.collect(&task.body);
    }
    let mut ids = BTreeSet::new();
    let mut triggers = BTreeSet::new();
    for task in &class.tasks {
        let place = Place::class(&class.name).task(&task.name);
        if task.id >= program.machine.tasks {
            let message = format!("it has the id {}", task.id);
            found.error(place.clone(), message, format!("ids are below {}", program.machine.tasks));
        }
        if !ids.insert(task.id) {
            found.error(place.clone(), format!("another task has the id {}", task.id), "give each task its own id");
        }
        match task.kind {
            TaskKind::Data { queue } if !triggers.insert((0, queue)) => {
                let message = format!("another task takes the wavelets of input queue q{queue}");
                found.warning(place, message, "only the one with the lower id ever runs: join them");
                continue;
            }
            TaskKind::Teardown { color } if !triggers.insert((1, color)) => {
                let message = format!("another task runs at teardowns of colour c{color}");
                found.warning(place, message, "only the one with the lower id ever runs: join them");
                continue;
            }
            _ => {}
        }
        never_runs(program, task, &starts, &place, found);
    }
}

fn never_runs(program: &Program, task: &Task, starts: &Starts, place: &Place, found: &mut Findings) {
    let mut warn = |message: &str, remedy: &str| found.warning(place.clone(), message, remedy);
    match task.kind {
        TaskKind::Local if !task.activated && !starts.activated.contains(&task.id) => {
            warn("nothing activates it", "add `activated`, activate it somewhere, or remove it");
        }
        TaskKind::Control if !sends(program, |control| control.task == Some(task.id)) => {
            warn("no control wavelet names it", "send one with its id, or remove it");
        }
        TaskKind::Teardown { .. } if !sends(program, tears_down) => {
            warn("no control wavelet tears a route down", "send one, or remove it");
        }
        _ => {}
    }
    if task.activated && task.kind != TaskKind::Local {
        warn("it is activated, but it is no local task", "remove `activated`: it has no effect");
    }
    if task.blocked && !starts.unblocked.contains(&task.id) {
        warn("it is blocked from the start, and nothing unblocks it", "unblock it somewhere, or start it unblocked");
    }
}

/// Whether some code of the program sends such a control wavelet.
fn sends(program: &Program, wanted: impl Fn(&crate::Control) -> bool + Copy) -> bool {
    fn any(body: &[Instruction], wanted: impl Fn(&crate::Control) -> bool + Copy) -> bool {
        body.iter().any(|instruction| match instruction {
            Instruction::SendControl { control, .. } => wanted(control),
            Instruction::Loop { body, .. } | Instruction::Claim { body, .. } => any(body, wanted),
            Instruction::If { then, otherwise, .. } => any(then, wanted) || any(otherwise, wanted),
            _ => false,
        })
    }
    program.classes.iter().flat_map(|c| &c.tasks).any(|t| any(&t.body, wanted))
}

/// Tasks that the code of a class activates and unblocks.
#[derive(Default)]
struct Starts {
    activated: BTreeSet<u8>,
    unblocked: BTreeSet<u8>,
}

impl Starts {
    fn collect(&mut self, body: &[Instruction]) {
        for instruction in body {
            match instruction {
                Instruction::Activate(id) => {
                    self.activated.insert(*id);
                }
                Instruction::Unblock(id) => {
                    self.unblocked.insert(*id);
                }
                Instruction::Vector { run_async: Some(run), .. } => match run.then {
                    Some(Completion::Activate(id)) => {
                        self.activated.insert(id);
                    }
                    Some(Completion::Unblock(id)) => {
                        self.unblocked.insert(id);
                    }
                    None => {}
                },
                Instruction::Loop { body, .. } | Instruction::Claim { body, .. } => self.collect(body),
                Instruction::If { then, otherwise, .. } => {
                    self.collect(then);
                    self.collect(otherwise);
                }
                _ => {}
            }
        }
    }
}
