//! Numbers for kernels that run on their own: the same on every machine and in every run.

use super::{KernelError, Settings};

/// Elements of a matrix that the host makes up and works out beside the machine: 1 GiB of f32.
const MOST_ELEMENTS: u64 = 1 << 28;

/// Refuses a matrix that the host could not hold, though the wafer might. `change` is the parameter that makes it smaller.
pub(super) fn fits_host(settings: &Settings, change: &'static str, elements: u64) -> Result<(), KernelError> {
    if elements <= MOST_ELEMENTS {
        return Ok(());
    }
    Err(settings.refuse(change, format!("a matrix of {elements} elements is more than the {MOST_ELEMENTS} of a run")))
}

/// `count` numbers between -1 and 1, multiples of 2^-8 (exact in every format of the mesh), from a seed.
///
/// A 32-bit linear congruential generator; the constants are those of Numerical Recipes.
pub(super) fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 23) as f32 / 256.0 - 1.0
        })
        .collect()
}
