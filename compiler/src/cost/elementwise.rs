//! Operators of each element alone.

use super::Clock;
use waferloom_fabric::Dtype;
use waferloom_kernels::functions::{self, Function, Length};

/// A source of a vector instruction that is read anew for every element: its type.
type Read = Dtype;

/// One vector instruction over `elements` with a result of type `dtype` and sources `reads`, and another one that inverts the
/// result if `inverted`.
pub(super) fn vector(clock: Clock<'_>, elements: u64, dtype: Dtype, reads: &[Read], inverted: bool) -> u64 {
    let dtypes: Vec<Dtype> = reads.iter().copied().chain([dtype]).collect();
    let cycles = elements.div_ceil(clock.lanes(&dtypes));
    let invert = if inverted { clock.vector(elements, &[dtype]) } else { 0 };
    clock.vector(elements, &dtypes) + waits(clock, cycles, reads.len() as u64) + invert
}

/// Waits for memory of an instruction of so many cycles: for a port where it reads more operands than there are ports, else
/// for a bank where two reads meet, which they do in one of `bank_conflict_modulo` places that tiles can lie apart.
fn waits(clock: Clock<'_>, cycles: u64, reads: u64) -> u64 {
    let ports = reads.div_ceil(u64::from(clock.machine.sram_reads_per_cycle.max(1)));
    match reads {
        0 | 1 => 0,
        _ if ports > 1 => cycles * (ports - 1),
        _ => cycles / u64::from(clock.machine.bank_conflict_modulo.max(1)),
    }
}

/// `kernels::functions::map` from a tile to one of the same type.
pub(super) fn function(clock: Clock<'_>, function: Function, elements: u64, dtype: Dtype) -> u64 {
    let moved: &[Dtype] = &[Dtype::F32, dtype];
    clock.chunked(elements, &[Length::of_function(function)], 2, &[moved, moved])
}

/// `kernels::elementwise::divide`: both operands spread out, then quotients chunk by chunk.
pub(super) fn divide(clock: Clock<'_>, elements: u64, dtype: Dtype) -> u64 {
    let quotient = Length::of(5, |code, x, work| functions::divide(code, x, work[4].f32(), work[3], work));
    let (moved, wide): (&[Dtype], &[Dtype]) = (&[Dtype::F32, dtype], &[Dtype::F32]);
    2 * clock.vector(elements, moved) + clock.chunked(elements, &[quotient], 3, &[wide, wide, moved])
}
