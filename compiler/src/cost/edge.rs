//! Tensors that cross the edge of the mesh.

use super::Clock;
use waferloom_fabric::{Distribution, Dtype};
use waferloom_kernels::cost;

/// `kernels::edge`: the tiles of a row follow one another, a word a cycle. Each PE but the last turns from its own tile to
/// those of others, which the next one waits for.
pub(super) fn crossing(clock: Clock<'_>, distribution: &Distribution, dtype: Dtype) -> u64 {
    let (width, height) = (u64::from(distribution.grid.width), u64::from(distribution.grid.height));
    let words = (distribution.tile_elements() as u64 * u64::from(dtype.bytes())).div_ceil(4);
    let turn_over = cost::startup(clock.machine) + clock.scalars(2) + cost::neighbour(clock.machine);
    let row = clock.words(words * width) + turn_over * (width - 1) + cost::flight(clock.machine, 0);
    let host = (words * width * height) as f64 / clock.machine.host_wavelets_per_cycle;
    row.max(host.ceil() as u64)
}
