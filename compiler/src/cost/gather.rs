//! Look-ups of rows.

use super::Clock;
use waferloom_fabric::Dtype;
use waferloom_kernels::cost;
use waferloom_kernels::gather::Gather;

/// `kernels::gather::emit` for a table of elements of type `dtype`; `pes` is the height of the mesh.
///
/// Where the indices point is not known. PEs of a column that have the same indices (`alike`) find them in the same turns; of
/// others the one that finds most in a turn is taken to find one more than its share.
pub(super) fn gather(clock: Clock<'_>, pes: u64, shape: &Gather, alike: bool, dtype: Dtype) -> u64 {
    let (columns, indices) = (u64::from(shape.columns), u64::from(shape.indices));
    let turns = if shape.split { u64::from(shape.table_rows.div_ceil(shape.tile_rows.max(1))) } else { 1 };
    let parts = u64::from(shape.parts());
    let words = (u64::from(shape.part_rows) * columns * u64::from(dtype.bytes())).div_ceil(4);
    let turn = match (shape.split, pes) {
        (true, 2..) => clock.turn(words) + clock.branches(1),
        _ => clock.scalars(1),
    };
    let look = clock.branches(4) + clock.scalars(3);
    let copy = clock.scalars(4) + clock.vector(columns, &[dtype]);
    let found = if turns == 1 || alike { indices } else { (indices + turns).min(indices * pes) };
    let waits = if shape.split { cost::turns_wait(clock.machine, pes, turns) } else { 0 };
    let split = if parts > 1 { clock.scalars(8) } else { 0 };
    clock.vector(indices * columns, &[dtype])
        + parts * split
        + parts * turns * (turn + clock.scalars(3) + clock.branches(1) + indices * look)
        + found * copy
        + parts * waits
}
