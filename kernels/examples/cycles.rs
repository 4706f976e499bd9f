//! Prints how many cycles each kernel takes on 8 x 8 PEs, and what they were spent on.
//!
//! `cargo run --release -p waferloom-kernels --example cycles`

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/kernels/rig.rs"]
mod rig;

use rig::{Rig, layout, numbers};
use waferloom_fabric::{Distribution, Dtype, VectorOp};
use waferloom_kernels::elementwise::{self, Source};
use waferloom_kernels::functions::{self, Function};
use waferloom_kernels::gather::{self, Gather};
use waferloom_kernels::matmul::{self, BatchDim, MatMul};
use waferloom_kernels::reduce::{self, Combine, Rows};
use waferloom_kernels::{Tile, normalize, relayout, softmax};

const GRID: (u16, u16) = (8, 8);

/// Cycles of what `emit` emits, and where they went, in percent over all PEs.
fn measure(name: &str, dtype: Dtype, emit: impl FnOnce(&mut Rig)) {
    let mut rig = Rig::new(GRID);
    emit(&mut rig);
    let started = std::time::Instant::now();
    let run = rig.run();
    let total = (run.cycles * run.pes.len() as u64) as f64 / 100.0;
    let share = |f: fn(&waferloom_simulator::PeCounters) -> u64| run.pes.iter().map(f).sum::<u64>() as f64 / total;
    println!(
        "{name:<28} {:<4} {:>7} cycles: busy {:>3.0} %, wavelets {:>3.0} %, room {:>3.0} %, memory {:>3.0} %, idle {:>3.0} %  ({:.1} ms)",
        dtype.name(),
        run.cycles,
        share(|p| p.busy),
        share(|p| p.fabric_in),
        share(|p| p.fabric_out),
        share(|p| p.memory),
        share(|p| p.idle),
        started.elapsed().as_secs_f64() * 1e3,
    );
}

fn constant(rig: &mut Rig, shape: &[u32], dtype: Dtype) -> (Distribution, Tile) {
    let distribution = layout(GRID, shape, dtype);
    let values = numbers(1, distribution.elements(), dtype);
    let tile = rig.constant(&distribution, dtype, &values);
    (distribution, tile)
}

fn product(rig: &mut Rig, dtype: Dtype, batch: u32, [m, k, n]: [u32; 3]) {
    let (left, a) = constant(rig, &[batch, m, k], dtype);
    let columns = layout(GRID, &[batch, k, n], dtype).x;
    let right = matmul::right_distribution(&left, &[batch, k, n], columns);
    let values = numbers(2, right.elements(), dtype);
    let b = rig.constant(&right, dtype, &values);
    let (l, r) = (left.tile(), right.tile());
    let accumulator =
        Tile { address: rig.reserve(batch * l[1] * r[2] * 4), elements: batch * l[1] * r[2], dtype: Dtype::F32 };
    let shape = MatMul {
        batch: vec![BatchDim { size: batch, left: 1, right: 1 }],
        matrices: [batch, batch],
        rows: l[1],
        columns: r[2],
        inner: k,
        block: l[2],
        left_split: true,
        right_split: true,
        right_rows: r[1],
    };
    let panels = shape.panel_bytes(dtype).map(|bytes| rig.reserve(bytes));
    matmul::clear(&mut rig.code, accumulator);
    matmul::emit(&mut rig.code, &mut rig.mesh, &shape, a, b, accumulator.address, panels);
}

fn rows(rig: &mut Rig, shape: &[u32], dtype: Dtype) -> Rows {
    let (distribution, tile) = constant(rig, shape, dtype);
    let local = distribution.tile();
    Rows { tile, rows: local[0], stride: local[1], valid: local[1].into() }
}

fn move_elements(rig: &mut Rig, dtype: Dtype, from: &[u32], to: &[u32], map: impl Fn(u32) -> u32) {
    let (source, tile) = constant(rig, from, dtype);
    let target = layout(GRID, to, dtype);
    let map: Vec<u32> = (0..target.elements() as u32).map(map).collect();
    let plan =
        relayout::plan(&source, &target, &map, dtype, (&rig::machine(), relayout::Aim::Cycles)).expect("small tiles");
    let result = rig.tile(&target, dtype);
    let tables = plan.tables().iter().map(|t| rig.table(&t.distribution, &t.numbers)).collect();
    let (panel, middle) = (rig.reserve(plan.panel_bytes()), rig.reserve(plan.middle_bytes(dtype)));
    relayout::emit(&mut rig.code, &mut rig.mesh, &plan, result, tile, &relayout::Memory { tables, panel, middle });
}

fn pick_rows(rig: &mut Rig, dtype: Dtype) {
    let (table, tile) = constant(rig, &[64, 64], dtype);
    let indices = Distribution { shape: vec![64, 1], x: None, ..table.clone() };
    let wanted: Vec<f32> = (0..64).map(|i| (i * 37 % 64) as f32).collect();
    let index_tile = rig.constant(&indices, Dtype::I32, &wanted);
    let result = rig.tile(&table, dtype);
    let panel = rig.reserve(tile.bytes());
    let shape =
        Gather { table_rows: 64, tile_rows: 8, split: true, columns: table.tile()[1], indices: 8, part_rows: 8 };
    gather::emit(&mut rig.code, &rig.mesh, &shape, result, tile, index_tile, panel);
}

fn main() {
    for dtype in [Dtype::F32, Dtype::F16] {
        measure("matmul 64 x 64 x 64", dtype, |rig| product(rig, dtype, 1, [64, 64, 64]));
        measure("matmul 64 x 256 x 64", dtype, |rig| product(rig, dtype, 1, [64, 256, 64]));
        measure("matmul 128 x 128 x 128", dtype, |rig| product(rig, dtype, 1, [128, 128, 128]));
        measure("matmul 8 of 64 x 16 x 64", dtype, |rig| product(rig, dtype, 8, [64, 16, 64]));
        measure("sum of rows of 64 x 64", dtype, |rig| {
            let rows = rows(rig, &[64, 64], dtype);
            let result = rig.reserve(rows.rows * 4);
            reduce::emit(&mut rig.code, &mut rig.mesh, Combine::Sum, &rows, true, result);
        });
        measure("softmax of 64 x 64", dtype, |rig| {
            let rows = rows(rig, &[64, 64], dtype);
            let scratch = rig.reserve(softmax::scratch_bytes(rows.rows, rows.tile.elements));
            let result = Tile { address: rig.reserve(rows.tile.bytes()), ..rows.tile };
            softmax::emit(&mut rig.code, &mut rig.mesh, result, &rows, true, scratch);
        });
        measure("normalize 64 x 64", dtype, |rig| {
            let rows = rows(rig, &[64, 64], dtype);
            let scratch = rig.reserve(normalize::scratch_bytes(rows.rows, rows.tile.elements));
            let result = Tile { address: rig.reserve(rows.tile.bytes()), ..rows.tile };
            normalize::emit(&mut rig.code, &mut rig.mesh, result, &rows, 64, 1e-5, true, scratch);
        });
        measure("add 64 x 256", dtype, |rig| {
            let (distribution, tile) = constant(rig, &[64, 256], dtype);
            let sizes = distribution.tile();
            let other = rig.tile(&distribution, dtype);
            let source = |tile| Source::Tile { tile, shape: sizes.clone() };
            elementwise::emit(&mut rig.code, VectorOp::Add, other, &sizes, &[source(tile), source(other)]);
        });
        for (name, function) in [("exp of 64 x 256", Function::Exp), ("gelu of 64 x 256", Function::Gelu)] {
            measure(name, dtype, |rig| {
                let (_, tile) = constant(rig, &[64, 256], dtype);
                let result = Tile { address: rig.reserve(tile.bytes()), ..tile };
                let scratch = rig.reserve(functions::map_scratch_bytes(tile.elements, function.scratch_vectors() + 1));
                functions::map(&mut rig.code, function, result, tile, scratch);
            });
        }
        measure("transpose 64 x 64", dtype, |rig| {
            move_elements(rig, dtype, &[64, 64], &[64, 64], |i| i % 64 * 64 + i / 64);
        });
        measure("head split 64 x 64", dtype, |rig| {
            // [tokens, 4 heads of 16] to [heads, tokens, 16].
            move_elements(rig, dtype, &[64, 64], &[4, 64, 16], |i| i / 16 % 64 * 64 + i / 1024 * 16 + i % 16);
        });
        measure("keys 64 x 64", dtype, |rig| {
            // [tokens, 4 heads of 16] to [heads, 16, tokens].
            move_elements(rig, dtype, &[64, 64], &[4, 16, 64], |i| i % 64 * 64 + i / 64);
        });
        measure("head join 64 x 64", dtype, |rig| {
            move_elements(rig, dtype, &[4, 64, 16], &[64, 64], |i| i % 64 / 16 * 1024 + i / 64 * 16 + i % 16);
        });
        measure("gather 64 rows of 64", dtype, |rig| pick_rows(rig, dtype));
        measure("in 64 x 64", dtype, |rig| {
            let distribution = layout(GRID, &[64, 64], dtype);
            let values = numbers(1, 4096, dtype);
            rig.input("x", &distribution, dtype, waferloom_fabric::HostTensor::f32(&[64, 64], values));
        });
        measure("out 64 x 64", dtype, |rig| {
            let (distribution, tile) = constant(rig, &[64, 64], dtype);
            rig.output("x", &distribution, tile);
        });
    }
}
