//! Numbers for kernels that run on their own: the same on every machine and in every run.

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
