//! Tensors that cross the edge of the mesh.

use super::Clock;
use crate::layout;
use waferloom_fabric::{Distribution, Dtype};
use waferloom_kernels::cost;
use waferloom_kernels::mesh::output;

/// `kernels::edge::receive`: the tiles of a row follow one another. Each PE but the last turns from its own tile to those of
/// others, which the next one waits for; when another tensor follows, its first tiles come in meanwhile, so that only the
/// `first` of several waits for the last PE.
pub(super) fn receive(clock: Clock<'_>, distribution: &Distribution, dtype: Dtype, first: bool) -> u64 {
    let others = u64::from(distribution.grid.width) - 1;
    let words = words(distribution, dtype);
    let turn_over = cost::startup(clock.machine) + clock.scalars(2);
    let last = others * (turn_over + cost::neighbour(clock.machine)) + cost::flight(clock.machine, 0);
    let stream = clock.words(words) + others * words * clock.cycles_per_word(output::EDGE);
    (stream + if first { last } else { turn_over }).max(host(clock, distribution, words))
}

/// `kernels::edge::send`: the tiles of a row leave one behind another, each with a control wavelet behind it; their first words wait at the
/// switches by then.
pub(super) fn send(clock: Clock<'_>, distribution: &Distribution, dtype: Dtype) -> u64 {
    let others = u64::from(distribution.grid.width) - 1;
    let words = words(distribution, dtype);
    let each = words * clock.cycles_per_word(output::OUT) + 1;
    (clock.words(words) + 1 + others * each).max(host(clock, distribution, words))
}

fn words(distribution: &Distribution, dtype: Dtype) -> u64 {
    (distribution.tile_elements() as u64 * u64::from(dtype.bytes())).div_ceil(4)
}

/// All tiles over the links to the host.
fn host(clock: Clock<'_>, distribution: &Distribution, words: u64) -> u64 {
    ((words * distribution.grid.pes() as u64) as f64 / clock.machine.host_wavelets_per_cycle).ceil() as u64
}

/// `kernels::handoff` on the PE that has most to pass on: each row of the tensor goes along a row of PEs as a whole. The PEs of
/// the neighbouring stage do the same at the same time.
pub(super) fn handoff(clock: Clock<'_>, distribution: &Distribution, dtype: Dtype) -> u64 {
    let tile_words = words(distribution, dtype);
    if distribution.x.is_none() {
        return clock.words(tile_words) * 2;
    }
    let (rows, columns) = layout::rows(distribution);
    let length = distribution.shape.last().copied().unwrap_or(1).max(columns);
    let row_words = u64::from(length * dtype.bytes()).div_ceil(4);
    let row = 2 * cost::startup(clock.machine) + row_words + clock.branches(1) + clock.scalars(2);
    let others = u64::from(distribution.grid.width) - 1;
    u64::from(rows) * row + others * cost::neighbour(clock.machine)
}
