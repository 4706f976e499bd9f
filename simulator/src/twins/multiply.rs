//! A matrix product on the host whose every element is one sequence of fused multiply-adds over the inner index, ascending, from
//! what the result holds before.
//!
//! Libraries for matrix products cut the inner dimension and add up the parts, each from 0, which rounds differently. Here
//! the parts follow each other: what one leaves in the result the next one starts from. Otherwise matrices are cut as in
//! K. Goto and R. van de Geijn, *Anatomy of High-Performance Matrix Multiplication* (2008): a part of the right operand
//! stays in the second cache, a panel of the left one in the first, a tile of the result in registers.

#![allow(clippy::inline_always, reason = "what is not inlined is not compiled for the host's vector instructions")]

use crate::machine::compute::HOST;
use crate::machine::planes::first_in_line;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::LazyLock;

/// Rows and columns of a tile of the result that stays in registers.
static TILE: LazyLock<[usize; 2]> = LazyLock::new(|| HOST.dispatch(TileSize));

/// Inner indices that are packed at once.
const DEPTH: usize = 256;
/// Columns of the right operand that are packed at once.
const COLUMNS: usize = 512;
/// Rows of the left operand that are packed at once.
const ROWS: usize = 144;
/// Rows of a tile where there are 32 vector registers.
const MANY_ROWS: usize = 12;
/// Rows of a tile where there are fewer.
const FEW_ROWS: usize = 6;
/// Vectors of a tile's row.
const VECTORS: usize = 2;
/// The most elements of a tile.
const MOST_TILE: usize = MANY_ROWS * VECTORS * 16;
/// Multiply-adds that are worth a thread of their own.
const WORTH_A_THREAD: usize = 1 << 19;

/// The sizes of a product: rows and columns of the result, and the inner dimension.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) inner: usize,
    /// Columns of the right operand: others of the result, behind these, are multiplied with zeros.
    pub(crate) right: usize,
}

impl Sizes {
    /// Those of a product whose right operand has all columns.
    pub(crate) fn dense(rows: usize, columns: usize, inner: usize) -> Self {
        Self { rows, columns, inner, right: columns }
    }
}

/// What results hold before, where it need not be read from them: the same row for so many rows that follow each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Starts<'a> {
    /// As wide as the result.
    pub(crate) rows: &'a [f32],
    pub(crate) each: usize,
}

impl Starts<'_> {
    /// Writes some columns of a part of the result, from one of its rows on.
    pub(crate) fn write(self, result: &mut [f32], row: usize, pitch: usize, columns: Range<usize>) {
        for (row, line) in (row..).zip(result.chunks_mut(pitch)) {
            let from = row / self.each * pitch;
            line[columns.clone()].copy_from_slice(&self.rows[from + columns.start..from + columns.end]);
        }
    }
}

/// `results += left x right`, product by product; `operands` gives the left and the right matrix of each. All are dense and
/// row-major. What is not a number becomes the one NaN of the machine's arithmetic. With `starts` it is `results = starts + left x right`.
pub(crate) fn multiply<'a>(
    results: &mut [f32],
    sizes: Sizes,
    starts: Option<Starts<'_>>,
    operands: impl Fn(usize) -> [&'a [f32]; 2] + Sync,
    on_threads: bool,
) {
    let size = sizes.rows * sizes.columns;
    if size == 0 {
        return;
    }
    if sizes.inner == 0 {
        if let Some(starts) = starts {
            results.chunks_mut(size).for_each(|result| starts.write(result, 0, sizes.columns, 0..sizes.columns));
        }
        return;
    }
    let many = on_threads && results.len() * sizes.inner >= 2 * WORTH_A_THREAD;
    if many && size * sizes.inner < WORTH_A_THREAD {
        let each = |packed: &mut Packed, (i, result): (usize, &mut [f32])| {
            product(result, sizes, starts, operands(i), 1, packed);
        };
        results.par_chunks_mut(size).enumerate().for_each_init(Packed::default, each);
    } else {
        let threads = if many { rayon::current_num_threads() } else { 1 };
        let mut packed = Packed::default();
        for (i, result) in results.chunks_mut(size).enumerate() {
            product(result, sizes, starts, operands(i), threads, &mut packed);
        }
    }
}

/// Where operands are packed, product after product: new pages would take as long to get.
#[derive(Default)]
struct Packed {
    left: Vec<f32>,
    right: Vec<f32>,
}

fn product(
    result: &mut [f32],
    sizes: Sizes,
    starts: Option<Starts<'_>>,
    [left, right]: [&[f32]; 2],
    threads: usize,
    packed: &mut Packed,
) {
    let Sizes { rows, columns, inner, right: own } = sizes;
    let [tile_rows, tile_columns] = *TILE;
    let at_once = rows.div_ceil(threads).min(ROWS).next_multiple_of(tile_rows);
    for index in (0..inner).step_by(DEPTH) {
        let (depth, is_last) = (DEPTH.min(inner - index), inner - index <= DEPTH);
        let all = aligned(&mut packed.left, depth * rows.next_multiple_of(tile_rows));
        let pack = |(i, packed): (usize, &mut [f32])| {
            let height = at_once.min(rows - i * at_once);
            pack_left(packed, &left[i * at_once * inner + index..], inner, height, depth);
        };
        if threads > 1 {
            all.par_chunks_mut(depth * at_once).enumerate().for_each(pack);
        } else {
            all.chunks_mut(depth * at_once).enumerate().for_each(pack);
        }
        for column in (0..columns).step_by(COLUMNS) {
            let width = COLUMNS.min(columns - column);
            let panels = aligned(&mut packed.right, depth * width.next_multiple_of(tile_columns));
            let right = right.get(index * own + column..).unwrap_or_default();
            pack_right(panels, right, own, own.saturating_sub(column).min(width), depth);
            let (all, right) = (&*all, &*panels);
            let part = |(i, result): (usize, &mut [f32])| {
                // They are in the host's caches when sums begin.
                if let Some(starts) = starts.filter(|_| index == 0) {
                    starts.write(result, i * at_once, columns, column..column + width);
                }
                let left = &all[i * depth * at_once..];
                let left = &left[..left.len().min(depth * at_once)];
                HOST.dispatch(Part { left, right, result, pitch: columns, column, width, depth, is_last });
            };
            if threads > 1 {
                result.par_chunks_mut(at_once * columns).enumerate().for_each(part);
            } else {
                result.chunks_mut(at_once * columns).enumerate().for_each(part);
            }
        }
    }
}

/// Some elements of a buffer, the first one where a cache line of the host begins: vectors of a panel lie in one line each.
fn aligned(buffer: &mut Vec<f32>, count: usize) -> &mut [f32] {
    const LINE: usize = 64 / size_of::<f32>();
    if buffer.len() < count + LINE - 1 {
        buffer.resize(count + LINE - 1, 0.0);
    }
    let first = first_in_line(buffer);
    &mut buffer[first..first + count]
}

/// Packs `depth` rows of `width` elements into panels as wide as a tile; what is left of the panels becomes zeros.
fn pack_right(packed: &mut [f32], right: &[f32], pitch: usize, width: usize, depth: usize) {
    let tile = TILE[1];
    for (panel, first) in packed.chunks_exact_mut(depth * tile).zip((0..).step_by(tile)) {
        let count = tile.min(width.saturating_sub(first));
        if count == 0 {
            panel.fill(0.0);
            continue;
        }
        for (to, index) in panel.chunks_exact_mut(tile).zip(0..depth) {
            let from = index * pitch + first;
            to[..count].copy_from_slice(&right[from..from + count]);
            to[count..].fill(0.0);
        }
    }
}

/// Packs `height` rows of `depth` elements into panels as high as a tile, the inner index outside.
fn pack_left(packed: &mut [f32], left: &[f32], pitch: usize, height: usize, depth: usize) {
    let tile = TILE[0];
    for (panel, first) in packed.chunks_exact_mut(depth * tile).zip((0..height).step_by(tile)) {
        for i in 0..tile.min(height - first) {
            let from = (first + i) * pitch;
            for (to, &x) in panel[i..].iter_mut().step_by(tile).zip(&left[from..from + depth]) {
                *to = x;
            }
        }
    }
}

struct TileSize;

impl WithSimd for TileSize {
    type Output = [usize; 2];

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> [usize; 2] {
        [if S::REGISTER_COUNT >= 32 { MANY_ROWS } else { FEW_ROWS }, VECTORS * S::F32_LANES]
    }
}

/// Rows of a result, some of its columns, and a part of the inner dimension.
struct Part<'a> {
    left: &'a [f32],
    right: &'a [f32],
    result: &'a mut [f32],
    /// Elements from a row of the result to the next one.
    pitch: usize,
    column: usize,
    width: usize,
    depth: usize,
    /// Nothing follows: what is not a number becomes the one NaN.
    is_last: bool,
}

impl WithSimd for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if S::REGISTER_COUNT >= 32 { self.tiles::<S, MANY_ROWS>(simd) } else { self.tiles::<S, FEW_ROWS>(simd) }
    }
}

impl Part<'_> {
    #[inline(always)]
    fn tiles<S: Simd, const ROWS: usize>(self, simd: S) {
        let Self { left, right, result, pitch, column, width, depth, is_last } = self;
        let columns = VECTORS * S::F32_LANES;
        let height = result.len() / pitch;
        for (right, j) in right.chunks_exact(depth * columns).zip((0..width).step_by(columns)) {
            for (left, i) in left.chunks_exact(depth * ROWS).zip((0..height).step_by(ROWS)) {
                let at = i * pitch + column + j;
                let (rows, count) = (ROWS.min(height - i), columns.min(width - j));
                if (rows, count) == (ROWS, columns) {
                    tile::<S, ROWS>(simd, [left, right], &mut result[at..], pitch, is_last);
                    continue;
                }
                // A tile that sticks out is worked out apart.
                let mut apart = [0.0; MOST_TILE];
                let lines = |i: usize| (i * columns..i * columns + count, at + i * pitch..at + i * pitch + count);
                for (to, from) in (0..rows).map(lines) {
                    apart[to].copy_from_slice(&result[from]);
                }
                tile::<S, ROWS>(simd, [left, right], &mut apart, columns, is_last);
                for (from, to) in (0..rows).map(lines) {
                    result[to].copy_from_slice(&apart[from]);
                }
            }
        }
    }
}

/// `result += left x right` for a tile of the result.
#[inline(always)]
fn tile<S: Simd, const ROWS: usize>(
    simd: S,
    [left, right]: [&[f32]; 2],
    result: &mut [f32],
    pitch: usize,
    is_last: bool,
) {
    let columns = VECTORS * S::F32_LANES;
    let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
    for (i, sums) in sums.iter_mut().enumerate() {
        let row = S::as_simd_f32s(&result[i * pitch..i * pitch + columns]).0;
        sums.copy_from_slice(row);
    }
    let right = S::as_simd_f32s(right).0.as_chunks::<VECTORS>().0;
    for (left, right) in left.as_chunks::<ROWS>().0.iter().zip(right) {
        for (sums, &left) in sums.iter_mut().zip(left) {
            let left = simd.splat_f32s(left);
            for (sum, &right) in sums.iter_mut().zip(right) {
                *sum = simd.mul_add_f32s(left, right, *sum);
            }
        }
    }
    if is_last {
        let nan = simd.splat_f32s(f32::NAN);
        for sum in sums.as_flattened_mut() {
            *sum = simd.select_f32s(simd.equal_f32s(*sum, *sum), *sum, nan);
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        S::as_mut_simd_f32s(&mut result[i * pitch..i * pitch + columns]).0.copy_from_slice(sums);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::numerics::multiply_add;
    use proptest::prelude::*;

    /// As the machine does it, element by element.
    fn reference(start: &[f32], sizes: Sizes, left: &[f32], right: &[f32]) -> Vec<f32> {
        let Sizes { rows, columns, inner, .. } = sizes;
        let element = |(i, j): (usize, usize)| {
            let step = |sum, p| multiply_add(sum, left[i * inner + p], right[p * columns + j]);
            (0..inner).fold(start[i * columns + j], step)
        };
        (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))).map(element).collect()
    }

    #[track_caller]
    fn check(sizes: Sizes, start: &[f32], left: &[f32], right: &[f32]) {
        let expected = reference(start, sizes, left, right);
        for on_threads in [false, true] {
            let mut result = start.to_vec();
            multiply(&mut result, sizes, None, |_| [left, right], on_threads);
            for (at, (found, expected)) in result.iter().zip(&expected).enumerate() {
                let place = (at / sizes.columns, at % sizes.columns);
                assert_eq!(found.to_bits(), expected.to_bits(), "{found} is not {expected} at {place:?} of {sizes:?}");
            }
        }
    }

    /// Numbers from -1 to 1 that fill the mantissa.
    fn numbers(mut state: u64, count: usize) -> Vec<f32> {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f32 / (1u64 << 30) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn one_rounding_each_in_ascending_order_from_the_start() {
        // 2^24 + 1 is halfway between 2^24 and 2^24 + 2, so each step rounds to the even 2^24; the sum of the products by
        // itself, 3, would give 2^24 + 4.
        let sizes = Sizes::dense(1, 1, 3);
        let mut result = [16_777_216.0];
        multiply(&mut result, sizes, None, |_| [&[1.0; 3], &[1.0; 3]], false);
        assert_eq!(result, [16_777_216.0]);
        // (1 + e)(1 - e) - 1 = -e^2 with e = 2^-12: two roundings give 0.
        let e = 2f32.powi(-12);
        let (left, right, mut result) = ([1.0 + e], [1.0 - e], [-1.0]);
        multiply(&mut result, Sizes { inner: 1, ..sizes }, None, |_| [&left, &right], false);
        assert_eq!(result, [-(2f32.powi(-24))]);
    }

    /// More than one part in every direction.
    #[test]
    fn long_sums_are_one_sequence() {
        let sizes = Sizes::dense(ROWS + 30, COLUMNS + 50, 2 * DEPTH + 7);
        let start = numbers(1, sizes.rows * sizes.columns);
        check(sizes, &start, &numbers(2, sizes.rows * sizes.inner), &numbers(3, sizes.inner * sizes.columns));
    }

    /// The last ones lie in a panel of their own, or in one with others.
    #[test]
    fn columns_that_the_right_operand_lacks_are_zeros() {
        for (own, columns) in [(COLUMNS + 5, COLUMNS + 9), (40, COLUMNS + 70), (3, 5)] {
            let (rows, inner) = (5, 7);
            let [start, left, right] =
                [(1, rows * columns), (2, rows * inner), (3, inner * own)].map(|(i, n)| numbers(i, n));
            let with_zeros = |row: &[f32]| [row, &vec![0.0; columns - own]].concat();
            let wide: Vec<f32> = right.chunks(own).flat_map(with_zeros).collect();
            let expected = reference(&start, Sizes::dense(rows, columns, inner), &left, &wide);
            let mut result = start;
            multiply(&mut result, Sizes { rows, columns, inner, right: own }, None, |_| [&left, &right], false);
            assert_eq!(result, expected);
        }
    }

    /// In more parts than one in every direction, on one thread and on two; two rows each have one start, and the last one by itself.
    #[test]
    fn rows_start_where_they_are_told() {
        let (rows, columns) = (ROWS + 31, COLUMNS + 9);
        let starts = numbers(4, rows.div_ceil(2) * columns);
        let start: Vec<f32> = (0..rows).flat_map(|row| starts[row / 2 * columns..][..columns].to_vec()).collect();
        for inner in [0, 3, DEPTH + 2] {
            let sizes = Sizes::dense(rows, columns, inner);
            let (left, right) = (numbers(5, rows * inner), numbers(6, inner * columns));
            let expected = reference(&start, sizes, &left, &right);
            for on_threads in [false, true] {
                let mut results = vec![f32::NAN; 2 * rows * columns];
                let starts = Some(Starts { rows: &starts, each: 2 });
                multiply(&mut results, sizes, starts, |_| [&left, &right], on_threads);
                assert!(results.chunks(rows * columns).all(|result| result == expected));
            }
        }
    }

    #[test]
    fn several_products_keep_apart() {
        let sizes = Sizes::dense(2, 1, 2);
        let mut results = [1.0, 0.0, 0.0, 1.0];
        // [1 2; 3 4] (1, 1) + (1, 0) = (4, 7); [5 6; 7 8] (1, 1) + (0, 1) = (11, 16).
        let lefts: [&[f32]; 2] = [&[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0, 7.0, 8.0]];
        multiply(&mut results, sizes, None, |i| [lefts[i], &[1.0, 1.0]], true);
        assert_eq!(results, [4.0, 7.0, 11.0, 16.0]);
    }

    /// Zeros of both signs, subnormals, numbers whose products overflow, infinities, NaNs with various bits, and any.
    fn number() -> impl Strategy<Value = f32> {
        let odd =
            [0, 1 << 31, 1, 0x8000_0001, 0x007F_FFFF, 0x7F7F_FFFF, 0x7F80_0000, 0xFF80_0000, 0x7FC0_0001, 0xFFA0_0000];
        prop_oneof![
            6 => -2f32..2.0,
            1 => prop::sample::select(odd.to_vec()).prop_map(f32::from_bits),
            1 => any::<u32>().prop_map(f32::from_bits),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        #[test]
        fn every_shape_and_number((sizes, start, left, right) in (1usize..40, 1usize..80, 1usize..30).prop_flat_map(
            |(rows, columns, inner)| {
                let list = |count| prop::collection::vec(number(), count);
                (Just(Sizes::dense(rows, columns, inner)), list(rows * columns), list(rows * inner), list(inner * columns))
            })
        ) {
            check(sizes, &start, &left, &right);
        }
    }
}
