//! SUMMA against a sequence of fused multiply-adds: bit for bit.

use crate::rig::{GRIDS, Rig, assert_same, floats, layout, numbers};
use waferloom_fabric::{Distribution, Dtype, Split};
use waferloom_kernels::Tile;
use waferloom_kernels::matmul::{self, BatchDim, MatMul};

/// `[.., m, k] x [.., k, n]` with numpy's broadcast over batch dimensions of equal rank.
struct Product {
    left: Vec<u32>,
    right: Vec<u32>,
}

impl Product {
    fn new(left: &[u32], right: &[u32]) -> Self {
        Self { left: left.to_vec(), right: right.to_vec() }
    }

    fn batch(&self) -> Vec<BatchDim> {
        let rank = self.left.len() - 2;
        let (mut left, mut right) = (1, 1);
        let mut dims: Vec<BatchDim> = (0..rank)
            .rev()
            .map(|i| {
                let (l, r) = (self.left[i], self.right[i]);
                let dim = BatchDim {
                    size: l.max(r),
                    left: if l == 1 { 0 } else { left },
                    right: if r == 1 { 0 } else { right },
                };
                left *= l;
                right *= r;
                dim
            })
            .collect();
        dims.reverse();
        dims
    }

    fn sizes(&self) -> (usize, usize, usize) {
        let rank = self.left.len();
        (self.left[rank - 2] as usize, self.right[rank - 1] as usize, self.left[rank - 1] as usize)
    }

    /// Order of accumulation: ascending, from 0, fused.
    fn reference(&self, left: &[f32], right: &[f32]) -> Vec<f32> {
        let (m, n, k) = self.sizes();
        let mut bases = vec![(0, 0)];
        for dim in self.batch() {
            let step = |&(l, r): &(usize, usize)| {
                (0..dim.size as usize).map(move |i| (l + i * dim.left as usize, r + i * dim.right as usize))
            };
            bases = bases.iter().flat_map(step).collect();
        }
        let mut result = Vec::new();
        for (l, r) in bases {
            for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                let sum =
                    (0..k).fold(0f32, |sum, p| left[(l * m + i) * k + p].mul_add(right[(r * k + p) * n + j], sum));
                result.push(sum);
            }
        }
        result
    }

    /// Runs it with the compiler's layouts.
    fn run(&self, grid: (u16, u16), dtype: Dtype) {
        let [left, right] = self.layouts(grid, dtype);
        self.run_in(grid, dtype, &left, &right);
    }

    fn layouts(&self, grid: (u16, u16), dtype: Dtype) -> [Distribution; 2] {
        let left = layout(grid, &self.left, dtype);
        let columns = layout(grid, &self.right, dtype).x;
        let right = matmul::right_distribution(&left, &self.right, columns);
        [left, right]
    }

    fn run_in(&self, grid: (u16, u16), dtype: Dtype, left: &Distribution, right: &Distribution) {
        let mut rig = Rig::new(grid);
        let a = numbers(1, left.elements(), dtype);
        let b = numbers(2, right.elements(), dtype);
        let (left_tile, right_tile) = (rig.constant(left, dtype, &a), rig.constant(right, dtype, &b));
        let (result, accumulator) = self.emit(&mut rig, [left, right], [left_tile, right_tile]);
        rig.output("c", &result, accumulator);
        let what = format!("{:?} x {:?} on {grid:?} in {dtype:?}", self.left, self.right);
        assert_same(&floats(&rig.run(), "c"), &self.reference(&a, &b), &what);
    }

    /// Emits the product; gives the result's distribution and tile.
    fn emit(&self, rig: &mut Rig, [left, right]: [&Distribution; 2], tiles: [Tile; 2]) -> (Distribution, Tile) {
        let rank = self.left.len();
        let batch = self.batch();
        let mut shape: Vec<u32> = batch.iter().map(|d| d.size).collect();
        shape.extend([self.left[rank - 2], self.right[rank - 1]]);
        let result =
            Distribution { grid: left.grid, shape, y: left.y, x: right.x.map(|s| Split { dim: rank as u32 - 1, ..s }) };
        let accumulator = rig.tile(&result, Dtype::F32);
        let (left_local, right_local) = (left.tile(), right.tile());
        let inner = self.left[rank - 1];
        let matmul = MatMul {
            batch,
            matrices: [self.left[..rank - 2].iter().product(), self.right[..rank - 2].iter().product()],
            rows: left_local[rank - 2],
            columns: right_local[rank - 1],
            inner,
            block: left.x.or(right.y).map_or(inner, |s| s.block),
            left_split: left.x.is_some(),
            right_split: right.y.is_some(),
            right_rows: right_local[rank - 2],
        };
        let panels = matmul.panel_bytes(tiles[0].dtype).map(|bytes| rig.reserve(bytes));
        matmul::clear(&mut rig.code, accumulator);
        matmul::emit(&mut rig.code, &mut rig.mesh, &matmul, tiles[0], tiles[1], accumulator.address, panels);
        (result, accumulator)
    }

    fn everywhere(&self) {
        for grid in GRIDS {
            for dtype in [Dtype::F32, Dtype::F16] {
                self.run(grid, dtype);
            }
        }
    }
}

#[test]
fn square() {
    Product::new(&[8, 8], &[8, 8]).everywhere();
}

#[test]
fn ragged() {
    Product::new(&[7, 13], &[13, 9]).everywhere();
    Product::new(&[10, 3], &[3, 17]).everywhere();
}

#[test]
fn inner_dimension_shorter_than_the_grid() {
    Product::new(&[5, 2], &[2, 6]).everywhere();
}

#[test]
fn inner_dimension_longer_than_the_grid() {
    Product::new(&[6, 67], &[67, 5]).everywhere();
}

#[test]
fn sizes_of_one() {
    for (m, k, n) in [(1, 9, 7), (7, 9, 1), (1, 9, 1), (6, 1, 5), (1, 1, 1), (1, 1, 6), (6, 1, 1)] {
        Product::new(&[m, k], &[k, n]).everywhere();
    }
}

#[test]
fn batched() {
    Product::new(&[3, 5, 6], &[3, 6, 7]).everywhere();
    Product::new(&[2, 3, 5, 6], &[2, 3, 6, 4]).everywhere();
}

#[test]
fn broadcast_batches() {
    Product::new(&[3, 5, 6], &[1, 6, 7]).everywhere();
    Product::new(&[1, 5, 6], &[3, 6, 7]).everywhere();
    Product::new(&[2, 1, 5, 6], &[1, 3, 6, 7]).everywhere();
    Product::new(&[2, 3, 5, 6], &[2, 1, 6, 7]).everywhere();
    Product::new(&[2, 3, 4, 2, 3], &[2, 1, 4, 3, 2]).everywhere();
}

/// The operands need not be split alike: each combination of split and replicated.
#[test]
fn replicated_operands() {
    for grid in GRIDS {
        for dtype in [Dtype::F32, Dtype::F16] {
            for (batch_left, batch_right) in [(1, 1), (3, 3), (3, 1), (1, 3)] {
                let product = Product::new(&[batch_left, 5, 10], &[batch_right, 10, 6]);
                let split_left = layout(grid, &product.left, dtype);
                let whole_left = Distribution { x: None, ..split_left.clone() };
                let columns = layout(grid, &product.right, dtype).x;
                let split_right = matmul::right_distribution(&split_left, &product.right, columns);
                let whole_right = Distribution { y: None, ..split_right.clone() };
                product.run_in(grid, dtype, &split_left, &whole_right);
                product.run_in(grid, dtype, &whole_left, &split_right);
                product.run_in(grid, dtype, &whole_left, &whole_right);
            }
        }
    }
}

/// One product after another: each must find the broadcasts' switches as the first one did.
#[test]
fn products_in_a_row() {
    for grid in GRIDS {
        for dtype in [Dtype::F32, Dtype::F16] {
            let products = [
                Product::new(&[7, 13], &[13, 9]),
                Product::new(&[2, 3, 2], &[2, 2, 5]),
                Product::new(&[4, 1], &[1, 6]),
                Product::new(&[7, 13], &[13, 9]),
            ];
            let mut rig = Rig::new(grid);
            let mut expected = Vec::new();
            for product in &products {
                let [left, right] = product.layouts(grid, dtype);
                let (a, b) = (numbers(1, left.elements(), dtype), numbers(2, right.elements(), dtype));
                let tiles = [rig.constant(&left, dtype, &a), rig.constant(&right, dtype, &b)];
                let (result, accumulator) = product.emit(&mut rig, [&left, &right], tiles);
                expected.push((product.reference(&a, &b), result, accumulator));
            }
            for (i, (_, result, accumulator)) in expected.iter().enumerate() {
                rig.output(&i.to_string(), result, *accumulator);
            }
            let run = rig.run();
            for (i, (values, ..)) in expected.iter().enumerate() {
                assert_same(&floats(&run, &i.to_string()), values, &format!("product {i} on {grid:?} in {dtype:?}"));
            }
        }
    }
}
