//! Kernels with settings that nobody chose: what they accept runs and is right, what they refuse is refused by a parameter's
//! name, and nothing panics.

use super::{instance, run};
use waferloom_kernels::catalog::{Kernel, Kind, all};

/// A choice among `count`, from a state: the upper bits of a linear congruential generator (D. Knuth's MMIX).
fn pick(state: &mut u64, count: usize) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    ((*state >> 33) as usize) % count
}

/// Settings: mostly small numbers, now and then the ends of the range.
fn settings(kernel: &Kernel, state: &mut u64) -> String {
    let value = |kind: Kind, state: &mut u64| match kind {
        Kind::Integer { low, high } => match pick(state, 12) {
            0 => low,
            1 if pick(state, 4) == 0 => high,
            _ => [1, 2, 3, 4, 5, 7, 8, 12, 16, 20][pick(state, 10)].clamp(low, high),
        }
        .to_string(),
        Kind::Choice(words) => words[pick(state, words.len())].to_string(),
    };
    let settings = kernel.parameters.iter().map(|p| format!("{}={}", p.name, value(p.kind, state)));
    settings.collect::<Vec<_>>().join(" ")
}

#[test]
fn what_is_accepted_is_right_and_what_is_not_names_a_parameter() {
    let mut state = 1;
    let (mut accepted, mut refused) = (0, 0);
    for kernel in all() {
        for _ in 0..40 {
            let settings = settings(kernel, &mut state);
            match instance(kernel.name, &settings) {
                Ok(built) if built.estimate_cycles < 30_000 && built.program.grid.pes() <= 400 => {
                    run(kernel.name, &settings);
                    accepted += 1;
                }
                Ok(_) => accepted += 1,
                Err(error) => {
                    let error = error.to_string();
                    let named = kernel.parameters.iter().any(|p| error.contains(&format!("`{}`", p.name)));
                    assert!(named, "{} {settings}: {error}", kernel.name);
                    refused += 1;
                }
            }
        }
    }
    assert!(accepted > 400 && refused > 40, "{accepted} accepted, {refused} refused: too few of one kind");
}
