//! The `wavelet` engine: every wavelet at every router, cycle by cycle.
//!
//! A cycle has two halves. First every PE that is due uses its datapath and every router moves what it can, judged by the
//! state at the end of the cycle before; then what crossed a link arrives. The grid is cut into bands of rows, one a host
//! thread; they meet once a cycle to exchange what crossed between them.
//!
//! - [`band`]: one cycle of a band: PEs, routers, host
//! - [`execute`], [`element`]: a compute element's cycle
//! - [`lockstep`]: the bands in step
//!
//! The state and the numbers are in [`crate::machine`].

mod band;
mod element;
mod execute;
mod lockstep;

use crate::machine::band::Band;
use crate::machine::collect::collect;
use crate::machine::{setup, stall};
use crate::{Options, Run, SimulateError};
use std::collections::{BTreeMap, VecDeque};
use waferloom_fabric::{HostTensor, Program};

/// Runs a program.
pub(crate) fn run(
    program: &Program,
    inputs: &BTreeMap<String, HostTensor>,
    options: &Options<'_>,
) -> Result<Run, SimulateError> {
    let fabric = setup::Fabric::new(program, inputs, options)?;
    let (mut bands, end) = lockstep::run(&fabric, options)?;
    let complete = bands.iter().flat_map(|b| &b.sinks).all(|s| s.data.len() >= s.expected);
    if !complete || bands.iter().any(stall::has_unfinished_work) {
        return Err(stall::deadlock(program, &fabric, &bands, end));
    }
    let last = |b: &Band| b.pes.iter().map(|pe| pe.last).chain(b.sinks.iter().map(|s| s.last)).max();
    let cycles = bands.iter().filter_map(last).max().unwrap_or(0);
    for band in &mut bands {
        band.finish(cycles);
    }
    let leftover_wavelets = leftover(&bands);
    Ok(collect(program, &fabric, bands, cycles, leftover_wavelets))
}

/// Wavelets that nobody has taken.
fn leftover(bands: &[Band]) -> u64 {
    bands
        .iter()
        .map(|b| {
            let routers =
                b.routers.iter().flat_map(|r| &r.lanes).flat_map(|l| &l.queues).map(VecDeque::len).sum::<usize>();
            let queues = b.pes.iter().flat_map(|p| p.inputs.iter().flatten()).map(|q| q.wavelets.len()).sum::<usize>();
            let host = b.sources.iter().map(|s| s.data.len() - s.next).sum::<usize>();
            (routers + queues + host) as u64
        })
        .sum()
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
        run(&program, &BTreeMap::new(), &Options::default())
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
