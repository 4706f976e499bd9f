//! Products with a right operand that stays where it lies, against sums in double precision.

use crate::rig::{GRIDS, Rig, assert_close, floats, layout, numbers};
use proptest::prelude::*;
use waferloom_fabric::{Dtype, Split};
use waferloom_kernels::stationary::{self, Stationary};

fn check(grid: (u16, u16), matrices: u32, [rows, columns, inner]: [u32; 3], dtype: Dtype) {
    let mut rig = Rig::new(grid);
    let (left_shape, right_shape) = ([matrices, rows, inner], [1, inner, columns]);
    let result = layout(grid, &[matrices, rows, columns], dtype);
    let left = stationary::left_distribution(&result, &left_shape);
    let right = stationary::right_distribution(&left, &right_shape, result.x.map(|s| Split { dim: 2, ..s }));
    let a = numbers(1, left.elements(), dtype);
    let b = numbers(2, right.elements(), dtype);
    let (left_tile, right_tile) = (rig.constant(&left, dtype, &a), rig.constant(&right, dtype, &b));
    let shape = Stationary {
        matrices,
        rows,
        own_rows: result.tile()[1],
        columns: result.tile()[2],
        inner,
        block: left.tile()[2],
        rows_split: result.y.is_some(),
    };
    let sums = rig.reserve(shape.sums_bytes());
    let own = stationary::emit(&mut rig.code, &mut rig.mesh, &shape, left_tile, right_tile, sums);
    let product = rig.tile(&result, Dtype::F32);
    rig.code.mov(product.vector(), own);
    rig.output("c", &result, product);
    let element = |i: u32, j: u32| {
        let at = |p: u32| f64::from(a[(i * inner + p) as usize]) * f64::from(b[(p * columns + j) as usize]);
        (0..inner).map(at).sum::<f64>()
    };
    let expected: Vec<f64> =
        (0..matrices * rows).flat_map(|i| (0..columns).map(move |j| (i, j))).map(|(i, j)| element(i, j)).collect();
    let what = format!("{matrices} of {rows} x {inner} x {columns} on {grid:?} in {dtype:?}");
    // Each of the sums' roundings is at most 2^-24 of the largest partial sum, which is below `inner`.
    assert_close(&floats(&rig.run(), "c"), &expected, f64::from(inner * inner) * 2f64.powi(-24), 0.0, &what);
}

#[test]
fn few_and_many_rows_on_every_grid() {
    for grid in GRIDS {
        for dtype in [Dtype::F32, Dtype::F16] {
            check(grid, 1, [1, 7, 9], dtype);
            check(grid, 2, [3, 8, 12], dtype);
            check(grid, 1, [13, 1, 2], dtype);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn shapes_and_grids(
        grid in (1u16..6, 1u16..6),
        matrices in 1u32..3,
        sizes in [1u32..12, 1u32..12, 2u32..24],
        dtype in prop::sample::select(vec![Dtype::F32, Dtype::Bf16]),
    ) {
        check(grid, matrices, sizes, dtype);
    }
}
