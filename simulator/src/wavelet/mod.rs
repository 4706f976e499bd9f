//! The `wavelet` engine: every wavelet at every router, cycle by cycle.
//!
//! In a cycle each node (a PE and its router) that is on the agenda does what it can: first the PE uses its datapath, then the
//! router moves what was ready when the cycle began. The grid is cut into bands of rows, one a host thread; they meet once a
//! cycle to exchange what crosses between them.
//!
//! - [`part`]: one cycle of a band; [`agenda`]: which nodes are looked at in it
//! - [`execute`], [`element`], [`ports`]: a PE's cycle; [`row`]: what most of its cycles are
//! - [`forward`]: a router's cycle; [`network`], [`queues`]: all routers and queues of a band
//! - [`flow`]: nodes that do the same cycle after cycle
//! - [`host`]: streams over the edge
//! - [`lockstep`]: the bands in step
//!
//! The state of PEs and switches, and the numbers, are in [`crate::machine`].

mod agenda;
mod element;
mod execute;
mod flow;
mod forward;
mod host;
mod lockstep;
mod network;
mod part;
mod ports;
mod queues;
mod row;

use crate::machine::band::Band;
use crate::machine::collect::{Counted, collect};
use crate::machine::{setup, stall};
use crate::{Inputs, Options, Run, SimulateError};
use waferloom_fabric::Program;

/// Runs a program.
pub(crate) fn run(program: &Program, inputs: &Inputs<'_>, options: &Options<'_>) -> Result<Run, SimulateError> {
    let fabric = setup::Fabric::new(program, inputs, options)?;
    let mut store = fabric.store(setup::LayOut::AtOnce)?;
    let (mut bands, waiting, end) = lockstep::run(&fabric, &mut store, options)?;
    let complete = bands.iter().flat_map(|b| &b.sinks).all(|s| s.data.len() >= s.expected);
    if !complete || bands.iter().any(stall::has_unfinished_work) {
        return Err(stall::deadlock(program, &fabric, &bands, end));
    }
    let last = |b: &Band<'_>| b.pes.iter().map(|pe| pe.last).chain(b.sinks.iter().map(|s| s.last)).max();
    let cycles = bands.iter().filter_map(last).max().unwrap_or(0);
    for band in &mut bands {
        band.finish(cycles);
    }
    let counted = Counted::by(&bands);
    Ok(collect(program, &fabric, bands, counted, cycles, waiting))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two PEs with a colour each way that both run `body`, past the verifier.
    fn unverified(body: &str) -> Result<Run, SimulateError> {
        let text = format!(
            "program p machine bench16 grid 2x1
param into = columns [1, 0] param from = columns [0, 1]
route c0 at 0,0 {{ pos RAMP -> EAST }} route c0 at 1,0 {{ pos WEST -> RAMP }}
route c1 at 1,0 {{ pos RAMP -> WEST }} route c1 at 0,0 {{ pos EAST -> RAMP }}
class w {{ in q0 = $into out q2 = $from task 8 main local activated {{ {body} }} }}
place w at 0,0 size 2x1"
        );
        let program = waferloom_fabric::text::parse(&text).expect("valid");
        assert!(waferloom_fabric::verify(&program).has_errors(), "the verifier has to find it");
        run(&program, &Inputs::default(), &Options::default())
    }

    #[test]
    fn what_the_verifier_calls_a_certain_deadlock_is_one() {
        let send_first = "mov out q2 f32[22] <- f32 1.0 mov null <- in q0 f32[22]";
        let wait_first = "mov null <- in q0 f32[1] mov out q2 f32[1] <- f32 1.0";
        for body in [send_first, wait_first] {
            let end = unverified(body);
            assert!(matches!(end, Err(SimulateError::Deadlock { .. })), "{body}: {end:?}");
        }
    }
}
