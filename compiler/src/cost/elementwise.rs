//! Operators of each element alone.

use super::Clock;
use crate::plan::{Elementwise, Source, Stage, TensorId};
use waferloom_fabric::Dtype;
use waferloom_kernels::functions::{self, Function, Length};

/// An element-wise step of a stage.
pub(super) fn elementwise(
    clock: Clock<'_>,
    stage: &Stage,
    op: Elementwise,
    sources: &[Source],
    result: TensorId,
) -> u64 {
    let target = &stage.tensors[result];
    let (elements, dtype) = (target.distribution.tile_elements() as u64, target.dtype);
    match op {
        Elementwise::Divide => divide(clock, elements, dtype),
        Elementwise::Function(f) => function(clock, f, elements, dtype),
        Elementwise::Vector(_) => vector(clock, stage, sources, elements, dtype),
        Elementwise::Not(_) => vector(clock, stage, sources, elements, dtype) + clock.vector(elements, &[dtype]),
    }
}

/// What brings the sums of a product to what they start from: nothing, or tensors and numbers that are added up.
pub(super) fn start(clock: Clock<'_>, stage: &Stage, sources: &[Source], result: TensorId) -> u64 {
    let elements = stage.tensors[result].distribution.tile_elements() as u64;
    let (first, rest) = sources.split_at(sources.len().min(2));
    let another = |source: &Source| vector(clock, stage, &[*source, Source::Tensor(result)], elements, Dtype::F32);
    vector(clock, stage, first, elements, Dtype::F32) + rest.iter().map(another).sum::<u64>()
}

/// One vector instruction.
fn vector(clock: Clock<'_>, stage: &Stage, sources: &[Source], elements: u64, dtype: Dtype) -> u64 {
    let tensors = sources.iter().filter_map(Source::tensor).map(|id| &stage.tensors[id]);
    let dtypes: Vec<Dtype> = tensors.clone().map(|t| t.dtype).chain([dtype]).collect();
    // What is repeated along the last dimension stays in the datapath.
    let read = tensors.filter(|t| t.distribution.shape.last().is_some_and(|&n| n > 1)).count() as u64;
    let cycles = elements.div_ceil(clock.lanes(&dtypes));
    clock.vector(elements, &dtypes) + waits(clock, cycles, read)
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
fn function(clock: Clock<'_>, function: Function, elements: u64, dtype: Dtype) -> u64 {
    let moved: &[Dtype] = &[Dtype::F32, dtype];
    clock.chunked(elements, Length::of_function(function), 2, &[moved, moved])
}

/// `kernels::elementwise::divide`: both operands spread out, then quotients chunk by chunk.
fn divide(clock: Clock<'_>, elements: u64, dtype: Dtype) -> u64 {
    let quotient = Length::of(5, |code, x, work| functions::divide(code, x, work[4].f32(), work[3], work));
    let (moved, wide): (&[Dtype], &[Dtype]) = (&[Dtype::F32, dtype], &[Dtype::F32]);
    2 * clock.vector(elements, moved) + clock.chunked(elements, quotient, 3, &[wide, wide, moved])
}
