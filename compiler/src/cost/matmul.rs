//! Matrix products.

use super::Clock;
use waferloom_fabric::{Dtype, Extent};
use waferloom_kernels::cost;
use waferloom_kernels::matmul::MatMul;
use waferloom_kernels::mesh::output;
use waferloom_kernels::stationary::Stationary;

/// A product by SUMMA on a grid, rounded to `dtype`: `kernels::matmul::emit` and what is behind it.
pub(super) fn summa(clock: Clock<'_>, grid: Extent, shape: &MatMul, dtype: Dtype) -> u64 {
    let products: u64 = shape.batch.iter().map(|dim| u64::from(dim.size)).product();
    let results = products * u64::from(shape.rows) * u64::from(shape.columns);
    let narrow = if dtype == Dtype::F32 { 0 } else { clock.vector(results, &[Dtype::F32, dtype]) };
    if shape.is_empty() {
        return narrow;
    }
    let blocks = u64::from(shape.blocks());
    let (width, height) = (u64::from(grid.width), u64::from(grid.height));
    let mut block = clock.branches(1) + multiply_issue(clock, shape);
    block += if shape.left_split { line(clock, width, left_words(shape, dtype)) } else { clock.scalars(2) };
    block += if shape.right_split { right_block(clock, height, shape, dtype) } else { clock.scalars(2) };
    let lag = u64::from(clock.machine.hop_cycles) * (width + height - 2);
    narrow + blocks * block + products * multiply(clock, shape, dtype) + if shape.left_split { lag } else { 0 }
}

/// A product whose right operand stays, on columns of `pes`: `kernels::stationary::emit`, and the PE's own rows rounded to
/// `dtype`, or added to what the sums start from.
pub(super) fn stationary(clock: Clock<'_>, pes: u64, shape: &Stationary, dtype: Dtype) -> u64 {
    let rows = u64::from(shape.matrices) * u64::from(shape.rows);
    let [columns, block] = [shape.columns, shape.block].map(u64::from);
    let sums = rows * columns;
    let own = u64::from(shape.matrices) * u64::from(shape.own_rows) * columns;
    clock.vector(sums, &[Dtype::F32])
        + cost::startup(clock.machine)
        + multiply_adds(clock, [rows, columns, block], 1, dtype)
        + clock.all_reduce(pes, sums, output::NORTH)
        + clock.vector(own, &[Dtype::F32, dtype])
}

/// One block along a line of `pes`: its root sends it and the neighbour has it one flight later.
fn line(clock: Clock<'_>, pes: u64, words: u64) -> u64 {
    if pes < 2 { clock.scalars(1) } else { clock.turn(words) + cost::neighbour(clock.machine) }
}

fn left_words(shape: &MatMul, dtype: Dtype) -> u64 {
    let elements = u64::from(shape.matrices[0]) * u64::from(shape.rows) * u64::from(shape.block);
    (elements * u64::from(dtype.bytes())).div_ceil(4)
}

/// A block of the right operand: with several matrices whose tiles hold several blocks, the root gathers it first.
fn right_block(clock: Clock<'_>, pes: u64, shape: &MatMul, dtype: Dtype) -> u64 {
    let elements = u64::from(shape.matrices[1]) * u64::from(shape.block) * u64::from(shape.columns);
    let words = (elements * u64::from(dtype.bytes())).div_ceil(4);
    let gathered = shape.matrices[1] > 1 && shape.right_rows > shape.block;
    let gather = if gathered { clock.vector(words, &[Dtype::I32]) } else { 0 };
    let around = if u64::from(shape.blocks()) > pes { clock.branches(2) + clock.scalars(3) } else { 0 };
    gather + around + line(clock, pes, words)
}

/// The vector instructions of a block, without their elements: one, or one a turn of the loops over batch dimensions.
fn multiply_issue(clock: Clock<'_>, shape: &MatMul) -> u64 {
    let instructions = u64::from(shape.vector_instructions());
    let loops = if instructions > 1 { clock.branches(1) + clock.scalars(6) } else { 0 };
    instructions * (cost::startup(clock.machine) + loops)
}

/// The multiply-adds of one matrix of a PE over all blocks, in the better order of loops.
fn multiply(clock: Clock<'_>, shape: &MatMul, dtype: Dtype) -> u64 {
    multiply_adds(clock, [shape.rows, shape.columns, shape.inner].map(u64::from), shape.blocks().into(), dtype)
}

/// Multiply-adds of a PE over all blocks of the inner dimension.
fn multiply_adds(clock: Clock<'_>, [rows, columns, inner]: [u64; 3], blocks: u64, dtype: Dtype) -> u64 {
    let lanes = clock.lanes(&[Dtype::F32, dtype]);
    let products = rows * columns * inner;
    // A wait a run, in which three operands are read; in the other cycles one of `places` places of two reads collides.
    let places = f64::from(clock.machine.bank_conflict_modulo.max(1));
    let waits = |runs: u64, reads: u64| {
        let others = products.div_ceil(lanes).saturating_sub(runs) as f64;
        let free = (0..reads).fold(1.0, |free, _| free * (1.0 - 1.0 / places));
        runs + (others * (1.0 - free)) as u64
    };
    // The sum and the right operand lie in step: where their rows are whole banks apart, the panel's start keeps them apart.
    let apart = dtype == Dtype::F32 && columns % 4 == 0;
    let column_inside = waits(rows * inner, if apart { 0 } else { lanes.div_ceil(2) });
    let depth_inside = waits(rows * columns * blocks, lanes);
    products.div_ceil(lanes) + column_inside.min(depth_inside)
}
