//! The time and the numbers of a program, each worked out alone.
//!
//! Time depends on numbers only where a run for the time alone would end without a result (see [`crate::machine::unknown`]); what a Kahn
//! network computes does not depend on time at all. So neither needs the other: they are worked out side by side on two threads
//! of the host, or one after the other on one, and put together. PEs whose numbers differ are alike in time, and PEs whose times
//! differ compute alike, so that in both more of them go together than if one run did it all.

use super::{Stop, Way, attempt};
use crate::machine::setup::Fabric;
use crate::{Inputs, Method, Options, Run, SimulateError};
use std::sync::atomic::{AtomicBool, Ordering};
use waferloom_fabric::Program;

/// PEs from which on it is worth setting up two fabrics instead of one, for several operators (docs/performance-log.md).
const WORTH_PES: usize = 256;

/// The same for a single operator, on two threads; on one thread a second fabric is more than what it gains.
const WORTH_PES_OF_ONE: usize = 1024;

/// Whether a program is to be run so, if it can be.
pub(super) fn is_wanted(program: &Program, options: &Options<'_>) -> bool {
    let pes = program.grid.pes();
    let is_worth_of_one = options.threads != 1 && pes >= WORTH_PES_OF_ONE;
    match options.method {
        Method::Choose => is_worth_of_one || program.operators.len() > 1 && pes >= WORTH_PES,
        Method::Apart => true,
        Method::Together | Method::Events => false,
    }
}

/// Runs a program; `None` where time and numbers depend on each other, or one of them cannot be worked out in this way.
///
/// `fabric` is that of a run with numbers.
pub(super) fn run(
    program: &Program,
    inputs: &Inputs<'_>,
    fabric: &Fabric<'_>,
    options: &Options<'_>,
) -> Result<Option<Run>, SimulateError> {
    let timed = Options { timing_only: true, ..*options };
    let timed_fabric = Fabric::new(program, inputs, &timed)?;
    let is_over = AtomicBool::new(false);
    let both = Both { program, is_over: &is_over, has_limit: options.max_cycles.is_some() };
    // By the marks of each PE the time alone takes longer than all in one go, as a rule.
    let ways: &[Way] = match options.method {
        Method::Apart => &[Way::TimeByClass, Way::TimeByPe],
        _ => &[Way::TimeByClass],
    };
    let time = || both.first(ways, &timed_fabric, &timed);
    // The other one stops when there are too many cycles.
    let untimed = Options { max_cycles: None, progress: None, ..*options };
    let numbers = || both.first(&[Way::Numbers], fabric, &untimed);
    let (time, numbers) = if options.threads == 1 { (time(), numbers()) } else { rayon::join(time, numbers) };
    let (Some(time), Some(numbers)) = (time?, numbers?) else { return Ok(None) };
    Ok(Some(Run { outputs: numbers.outputs, claimed: numbers.claimed, ..time }))
}

/// What the two know of each other.
struct Both<'a> {
    program: &'a Program,
    /// One of them has ended without a result: the other one's is not needed.
    is_over: &'a AtomicBool,
    /// The time ends when there are too many cycles. Then that is the result, whichever of the two ends first.
    has_limit: bool,
}

impl Both<'_> {
    /// What the first of some ways gives that gives something.
    fn first(&self, ways: &[Way], fabric: &Fabric<'_>, options: &Options<'_>) -> Result<Option<Run>, SimulateError> {
        for &way in ways {
            let run = match attempt(self.program, fabric, options, way, Some(self.is_over)) {
                Err(Stop::Unneeded) => return Ok(None),
                other => super::result(way, other),
            };
            if !matches!(run, Ok(None)) {
                self.is_over.fetch_or(run.is_err(), Ordering::Relaxed);
                return run;
            }
        }
        self.is_over.fetch_or(!(self.has_limit && ways.contains(&Way::Numbers)), Ordering::Relaxed);
        Ok(None)
    }
}
