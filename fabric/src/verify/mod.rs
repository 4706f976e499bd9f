//! What can be said of a [`Program`] before it runs.
//!
//! [`verify`] proves what it can and warns where it cannot tell. An error means that the program cannot run as it stands, or that
//! it would stop for certain; a warning means that it may do something other than what was meant. The checks come in stages:
//! a stage relies on what the ones before it have proved, so a program with errors in one stage is not looked at by the next.
//!
//! 1. [`grid`]: the machine's values; regions, parameters, constants and ports against the grid
//! 2. [`memory`], [`code`], [`tasks`], [`queues`], [`claims`]: each class by itself
//! 3. [`constants`], [`routes`], [`binding`], [`streams`]: the PEs together
//!
//! Work grows with the code of a class and with the PEs, never with their product.

mod binding;
mod claims;
mod code;
mod constants;
mod finding;
mod grid;
mod map;
mod memory;
mod queues;
mod reach;
mod registers;
mod routes;
mod streams;
mod tasks;
mod traffic;

#[cfg(test)]
mod tests;

use crate::program::Program;
pub use finding::{Finding, Findings, Place};

/// Checks everything that can be checked before a run.
pub fn verify(program: &Program) -> Findings {
    let mut found = Findings::default();
    grid::check(program, &mut found);
    if found.has_errors() {
        return found;
    }
    let map = map::Map::new(program, &mut found);
    if program.classes.iter().any(|class| code::too_deep(class, &mut found)) {
        return found;
    }
    for class in &program.classes {
        memory::check(program, class, &mut found);
        queues::check(program, class, &mut found);
        code::check(program, class, &mut found);
        tasks::check(program, class, &mut found);
    }
    claims::check_placements(program, &mut found);
    if found.has_errors() {
        return found;
    }
    constants::check(program, &map, &mut found);
    let traffic: Vec<_> = program.classes.iter().map(traffic::Traffic::of).collect();
    let sends: Vec<u64> = (0..program.grid.pes()).map(|pe| map.sends(program, &traffic, pe)).collect();
    routes::check(program, &map, (&traffic, &sends), &mut found);
    binding::check(program, &map, &traffic, &mut found);
    // Who waits for whom says little about routes that lead nowhere.
    if !found.has_errors() {
        streams::check(program, &map, (&traffic, &sends), &mut found);
    }
    found
}
