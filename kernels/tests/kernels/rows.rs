//! Kernels over rows that are dealt to the columns of the mesh: reductions, softmax, normalisation.

use crate::rig::{GRIDS, Rig, assert_close, assert_same, floats, layout, numbers};
use waferloom_fabric::{Distribution, Dtype, Split, Value};
use waferloom_kernels::mesh::Axis;
use waferloom_kernels::reduce::{self, Combine, Rows};
use waferloom_kernels::{Tile, normalize, softmax};

/// Shapes of one row, few rows, several matrices; rows shorter and longer than any grid.
const SHAPES: [&[u32]; 7] = [&[1, 1], &[1, 11], &[6, 1], &[5, 3], &[7, 20], &[2, 3, 9], &[2, 1, 4, 6]];

fn everywhere(mut test: impl FnMut((u16, u16), &[u32], Dtype)) {
    for grid in GRIDS {
        for shape in SHAPES {
            for dtype in [Dtype::F32, Dtype::F16] {
                test(grid, shape, dtype);
            }
        }
    }
}

/// The rows of a tile, and whether they are spread over the columns of the mesh.
fn rows(rig: &mut Rig, distribution: &Distribution, tile: Tile) -> (Rows, bool) {
    let local = distribution.tile();
    let stride = local[local.len() - 1];
    let rows = local[..local.len() - 1].iter().product();
    let Some(split) = distribution.x else {
        return (Rows { tile, rows, stride, valid: stride.into() }, false);
    };
    let size = distribution.shape[split.dim as usize];
    let pes = u32::from(distribution.grid.width);
    let valid = (0..pes).map(|x| (0..stride).filter(|&l| split.global(x, l, pes) < size).count() as i32).collect();
    let valid: Value = rig.mesh.param_along(Axis::X, "valid", valid);
    (Rows { tile, rows, stride, valid }, true)
}

/// The result of each row, as every column of the mesh has it; all must agree.
fn reduced(grid: (u16, u16), shape: &[u32], dtype: Dtype, values: &[f32], combine: Combine) -> Vec<f32> {
    let mut rig = Rig::new(grid);
    let distribution = layout(grid, shape, dtype);
    let tile = rig.constant(&distribution, dtype, values);
    let (rows, spread) = rows(&mut rig, &distribution, tile);
    let mut copies = distribution.clone();
    let last = copies.shape.len() - 1;
    copies.shape[last] = grid.0.into();
    copies.x = Some(Split { dim: last as u32, block: 1 });
    let result = rig.tile(&copies, Dtype::F32);
    reduce::emit(&mut rig.code, &mut rig.mesh, combine, &rows, spread, result.address);
    rig.output("r", &copies, result);
    let copies = floats(&rig.run(), "r");
    let rows = copies.chunks(grid.0.into());
    rows.map(|row| {
        assert!(row.iter().all(|x| x.to_bits() == row[0].to_bits()), "the columns disagree: {row:?}");
        row[0]
    })
    .collect()
}

/// Sum in the order that the kernel documents: ascending within a PE, then from east to west.
fn sum_in_order(distribution: &Distribution, row: &[f32]) -> f32 {
    let Some(split) = distribution.x else { return row.iter().fold(0.0, |sum, x| sum + x) };
    let parts: Vec<f32> = (0..usize::from(distribution.grid.width))
        .map(|x| row.iter().skip(x * split.block as usize).take(split.block as usize).fold(0.0, |sum, x| sum + x))
        .collect();
    parts.into_iter().rev().reduce(|sum, part| sum + part).unwrap_or(0.0)
}

#[test]
fn sums_are_in_the_documented_order() {
    everywhere(|grid, shape, dtype| {
        let distribution = layout(grid, shape, dtype);
        let values = numbers(3, distribution.elements(), dtype);
        let width = shape[shape.len() - 1] as usize;
        let expected: Vec<f32> = values.chunks(width).map(|row| sum_in_order(&distribution, row)).collect();
        let got = reduced(grid, shape, dtype, &values, Combine::Sum);
        assert_same(&got, &expected, &format!("sum of {shape:?} on {grid:?} in {dtype:?}"));
    });
}

#[test]
fn extremes() {
    everywhere(|grid, shape, dtype| {
        let mut values = numbers(4, shape.iter().product::<u32>() as usize, dtype);
        let width = shape[shape.len() - 1] as usize;
        // A row of one sign only, so that an identity of 0 would show.
        for x in &mut values[..width] {
            *x = -x.abs() - 0.5;
        }
        let what = format!("{shape:?} on {grid:?} in {dtype:?}");
        let rounded: Vec<f32> = values.iter().map(|&x| crate::rig::stored(dtype, x)).collect();
        let fold = |f: fn(f32, f32) -> f32| -> Vec<f32> {
            rounded.chunks(width).map(|row| row.iter().copied().reduce(f).expect("a row")).collect()
        };
        assert_same(&reduced(grid, shape, dtype, &values, Combine::Max), &fold(f32::max), &what);
        assert_same(&reduced(grid, shape, dtype, &values, Combine::Min), &fold(f32::min), &what);
        // A NaN anywhere wins.
        values[width - 1] = f32::NAN;
        assert!(reduced(grid, shape, dtype, &values, Combine::Max)[0].is_nan(), "{what}");
        assert!(reduced(grid, shape, dtype, &values, Combine::Min)[0].is_nan(), "{what}");
    });
}

fn softmax_of(grid: (u16, u16), shape: &[u32], dtype: Dtype, values: &[f32]) -> Vec<f32> {
    let mut rig = Rig::new(grid);
    let distribution = layout(grid, shape, dtype);
    let tile = rig.constant(&distribution, dtype, values);
    let (rows, spread) = rows(&mut rig, &distribution, tile);
    let result = rig.tile(&distribution, dtype);
    let scratch = rig.reserve(softmax::scratch_bytes(rows.rows, tile.elements));
    softmax::emit(&mut rig.code, &mut rig.mesh, result, &rows, spread, scratch);
    rig.output("s", &distribution, result);
    floats(&rig.run(), "s")
}

fn softmax_reference(row: &[f32]) -> Vec<f64> {
    let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exps: Vec<f64> = row.iter().map(|&x| libm::exp(f64::from(x) - f64::from(top))).collect();
    let sum: f64 = exps.iter().sum();
    exps.iter().map(|e| e / sum).collect()
}

/// Relative error of a result kept in the type.
fn rounding(dtype: Dtype) -> f64 {
    if dtype == Dtype::F16 { 1e-3 } else { 2e-6 }
}

#[test]
fn softmax_matches() {
    everywhere(|grid, shape, dtype| {
        let width = shape[shape.len() - 1] as usize;
        let count = shape.iter().product::<u32>() as usize;
        let values: Vec<f32> = numbers(5, count, dtype).iter().map(|x| crate::rig::stored(dtype, x * 12.0)).collect();
        let expected: Vec<f64> = values.chunks(width).flat_map(softmax_reference).collect();
        let got = softmax_of(grid, shape, dtype, &values);
        // In f16 small probabilities are subnormal: 6e-8 apart.
        let absolute = if dtype == Dtype::F16 { 6e-8 } else { 0.0 };
        let what = format!("softmax of {shape:?} on {grid:?} in {dtype:?}");
        assert_close(&got, &expected, absolute, 2.0 * rounding(dtype), &what);
    });
}

#[test]
fn softmax_of_masked_rows() {
    let masked = f32::NEG_INFINITY;
    let rows: [[f32; 6]; 4] = [
        [0.5, masked, -1.0, masked, 2.0, masked],
        [masked, masked, masked, masked, masked, 3.0],
        [masked; 6],
        [1.0, f32::NAN, 0.0, 0.0, masked, 0.0],
    ];
    for grid in GRIDS {
        for dtype in [Dtype::F32, Dtype::F16] {
            let what = format!("masked softmax on {grid:?} in {dtype:?}");
            let got = softmax_of(grid, &[4, 6], dtype, &rows.concat());
            assert_close(
                &got[..12],
                &[softmax_reference(&rows[0]), softmax_reference(&rows[1])].concat(),
                0.0,
                2.0 * rounding(dtype),
                &what,
            );
            for (i, x) in rows[0].iter().enumerate().filter(|(_, x)| **x == masked) {
                assert_eq!(got[i].to_bits(), 0, "{what}: {x}");
            }
            assert!(got[12..].iter().all(|x| x.is_nan()), "{what}: {:?}", &got[12..]);
        }
    }
}

fn normalized(grid: (u16, u16), shape: &[u32], dtype: Dtype, values: &[f32], epsilon: f32) -> Vec<f32> {
    let mut rig = Rig::new(grid);
    let distribution = layout(grid, shape, dtype);
    let tile = rig.constant(&distribution, dtype, values);
    let (rows, spread) = rows(&mut rig, &distribution, tile);
    let result = rig.tile(&distribution, dtype);
    let scratch = rig.reserve(normalize::scratch_bytes(rows.rows, tile.elements));
    let length = shape[shape.len() - 1];
    normalize::emit(&mut rig.code, &mut rig.mesh, result, &rows, length, epsilon, spread, scratch);
    rig.output("n", &distribution, result);
    floats(&rig.run(), "n")
}

fn normalize_reference(row: &[f32], epsilon: f32) -> Vec<f64> {
    let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / row.len() as f64;
    let variance = row.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / row.len() as f64;
    row.iter().map(|&x| (f64::from(x) - mean) / (variance + f64::from(epsilon)).sqrt()).collect()
}

#[test]
fn normalize_matches() {
    everywhere(|grid, shape, dtype| {
        let width = shape[shape.len() - 1] as usize;
        // Far from 0, so that a one-pass variance would be wrong.
        let offset = if dtype == Dtype::F16 { 4.0 } else { 100.0 };
        let values: Vec<f32> = numbers(6, shape.iter().product::<u32>() as usize, dtype)
            .iter()
            .map(|x| crate::rig::stored(dtype, x + offset))
            .collect();
        let expected: Vec<f64> = values.chunks(width).flat_map(|row| normalize_reference(row, 1e-5)).collect();
        let got = normalized(grid, shape, dtype, &values, 1e-5);
        // The mean of numbers near 100 is exact to 1e-5 or so; for a row of one the distance is nothing but that error.
        assert_close(&got, &expected, 5e-5, rounding(dtype), &format!("{shape:?} on {grid:?} in {dtype:?}"));
    });
}

#[test]
fn normalize_of_a_row_of_zeros_is_zero() {
    for grid in GRIDS {
        let got = normalized(grid, &[2, 6], Dtype::F32, &[0.0; 12], 1e-12);
        assert!(got.iter().all(|&x| x == 0.0), "{got:?}");
    }
}

#[test]
fn root_mean_squares() {
    everywhere(|grid, shape, dtype| {
        let mut rig = Rig::new(grid);
        let distribution = layout(grid, shape, dtype);
        let values = numbers(9, distribution.elements(), dtype);
        let tile = rig.constant(&distribution, dtype, &values);
        let (rows, spread) = rows(&mut rig, &distribution, tile);
        let result = rig.tile(&distribution, dtype);
        let scratch = rig.reserve(normalize::rms_scratch_bytes(rows.rows, tile.elements));
        let length = shape[shape.len() - 1];
        normalize::emit_rms(&mut rig.code, &mut rig.mesh, result, &rows, length, 1e-5, spread, scratch);
        rig.output("r", &distribution, result);
        let reference = |row: &[f32]| -> Vec<f64> {
            let square = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / row.len() as f64;
            row.iter().map(|&x| f64::from(x) / (square + 1e-5).sqrt()).collect()
        };
        let expected: Vec<f64> = values.chunks(length as usize).flat_map(reference).collect();
        let relative = if dtype == Dtype::F16 { 1e-3 } else { 1e-6 };
        let what = format!("rms of {shape:?} on {grid:?} in {dtype:?}");
        assert_close(&floats(&rig.run(), "r"), &expected, 1e-6, relative, &what);
    });
}
