//! Times the simulator on a mixture of kernels like a transformer's, on 16 x 16 PEs.
//!
//! `cargo run --release -p waferloom-kernels --example speed [mixture|product|transfer]`

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/kernels/rig.rs"]
mod rig;

use rig::{Rig, layout, numbers};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;
use waferloom_fabric::{Dtype, HostTensor};
use waferloom_kernels::functions::{self, Function};
use waferloom_kernels::matmul::{self, MatMul};
use waferloom_kernels::reduce::Rows;
use waferloom_kernels::{Tile, relayout, softmax};

const GRID: (u16, u16) = (16, 16);

fn product(rig: &mut Rig, dtype: Dtype, [m, k, n]: [u32; 3]) {
    let left = layout(GRID, &[m, k], dtype);
    let right = matmul::right_distribution(&left, &[k, n], layout(GRID, &[k, n], dtype).x);
    let (a, b) = (numbers(1, left.elements(), dtype), numbers(2, right.elements(), dtype));
    let (a, b) = (rig.constant(&left, dtype, &a), rig.constant(&right, dtype, &b));
    let (l, r) = (left.tile(), right.tile());
    let elements = l[0] * r[1];
    let accumulator = Tile { address: rig.reserve(elements * 4), elements, dtype: Dtype::F32 };
    let shape = MatMul {
        batch: Vec::new(),
        matrices: [1, 1],
        rows: l[0],
        columns: r[1],
        inner: k,
        block: l[1],
        left_split: true,
        right_split: true,
        right_rows: r[0],
    };
    let panels = shape.panel_bytes(dtype).map(|bytes| rig.reserve(bytes));
    matmul::clear(&mut rig.code, accumulator);
    matmul::emit(&mut rig.code, &mut rig.mesh, &shape, a, b, accumulator.address, panels);
}

fn mixture(rig: &mut Rig, dtype: Dtype) {
    let shape = [128, 256];
    let distribution = layout(GRID, &shape, dtype);
    let values = numbers(3, distribution.elements(), dtype);
    let x = rig.input("x", &distribution, dtype, HostTensor::f32(&[128, 256], values));
    let result = rig.tile(&distribution, dtype);
    for _ in 0..2 {
        product(rig, dtype, [128, 128, 192]);
        let local = distribution.tile();
        let rows = Rows { tile: x, rows: local[0], stride: local[1], valid: local[1].into() };
        let scratch = rig.reserve(softmax::scratch_bytes(rows.rows, x.elements));
        softmax::emit(&mut rig.code, &mut rig.mesh, result, &rows, true, scratch);
        let scratch = rig.reserve(functions::map_scratch_bytes(x.elements, Function::Gelu.scratch_vectors() + 1));
        functions::map(&mut rig.code, Function::Gelu, result, x, scratch);
    }
    let map: Vec<u32> = (0..128 * 256).map(|i| i % 128 * 256 + i / 128).collect();
    let target = layout(GRID, &[256, 128], dtype);
    let plan = relayout::plan(&distribution, &target, &map, dtype, (&rig::machine(), relayout::Aim::Cycles))
        .expect("small tiles");
    let turned = rig.tile(&target, dtype);
    let tables = plan.tables().iter().map(|t| rig.table(&t.distribution, &t.numbers)).collect();
    let (panel, middle) = (rig.reserve(plan.panel_bytes()), rig.reserve(plan.middle_bytes(dtype)));
    relayout::emit(&mut rig.code, &mut rig.mesh, &plan, turned, result, &relayout::Memory { tables, panel, middle });
    rig.output("y", &target, turned);
}

fn main() {
    let wanted = std::env::args().nth(1);
    for dtype in [Dtype::F32, Dtype::F16] {
        for only in ["mixture", "product", "transfer"] {
            if wanted.as_ref().is_some_and(|name| name != only) {
                continue;
            }
            let mut best = f64::MAX;
            let mut cycles = 0;
            let mut checksum = 0;
            for _ in 0..3 {
                let mut rig = Rig::new(GRID);
                match only {
                    "mixture" => mixture(&mut rig, dtype),
                    "product" => product(&mut rig, dtype, [192, 384, 192]),
                    _ => {
                        let distribution = layout(GRID, &[256, 512], dtype);
                        let values = numbers(3, distribution.elements(), dtype);
                        let x = rig.input("x", &distribution, dtype, HostTensor::f32(&[256, 512], values));
                        rig.output("y", &distribution, x);
                    }
                }
                let started = Instant::now();
                let run = rig.run();
                best = best.min(started.elapsed().as_secs_f64());
                cycles = run.cycles;
                // Outputs, counters and links: what a faster engine must not change.
                let mut hasher = DefaultHasher::new();
                format!("{run:?}").hash(&mut hasher);
                checksum = hasher.finish();
            }
            let rate = cycles as f64 * 256.0 / best / 1e6;
            println!(
                "{only:<9} {:<4} {cycles:>7} cycles in {best:.3} s: {rate:.1} million PE cycles a second, {checksum:016x}",
                dtype.name()
            );
        }
    }
}
