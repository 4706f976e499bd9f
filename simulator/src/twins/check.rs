//! A run with and without claims, and whether they differ.

use crate::{Claims, Inputs, Options, Run, SimulateError, stream};
use waferloom_fabric::{HostData, Program};

/// Runs a program with its PEs computing everything, where claims are held against their tiles; then as the claims say. Gives the
/// latter. Times are not compared: the two may be simulated in different ways, in groups or event by event.
pub(crate) fn both(program: &Program, inputs: &Inputs<'_>, options: &Options<'_>) -> Result<Run, SimulateError> {
    let computed = stream::run(program, inputs, options)?;
    let claimed = stream::run(program, inputs, &Options { claims: Claims::Use, ..*options })?;
    match difference(&computed, &claimed) {
        None => Ok(claimed),
        Some(difference) => Err(SimulateError::ClaimsDiffer { difference }),
    }
}

fn difference(computed: &Run, claimed: &Run) -> Option<String> {
    for ((name, a), b) in computed.outputs.iter().zip(claimed.outputs.values()) {
        let place = match (&a.data, &b.data) {
            (HostData::F32(a), HostData::F32(b)) => a.iter().zip(b).position(|(a, b)| a.to_bits() != b.to_bits()),
            (a, b) => (a != b).then_some(0),
        };
        if let Some(place) = place {
            return Some(format!(
                "output `{name}` differs from element {place} on; what a claim's code leaves in memory beside its result is used"
            ));
        }
    }
    None
}
