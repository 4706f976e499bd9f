//! How tensors lie on the mesh.
//!
//! Of every tensor `[.., r, c]`, `r` is dealt to the rows of the mesh in equal blocks and `c` to its columns; all other
//! dimensions are whole in every PE, and sizes of 1 are replicated. So an element-wise operator needs no data from elsewhere,
//! and a reduction over `c` runs along the rows of the mesh. Right operands of products and tables of look-ups lie as their
//! kernels ask.

use waferloom_fabric::{Distribution, Dtype, Extent, Split};

/// Equal blocks of a dimension over `pes`; `None` when it has a single index.
///
/// In 16-bit types blocks along the columns hold an even number of elements, so that each row of a tile fills whole words.
fn even(dim: usize, size: u32, pes: u16, dtype: Dtype) -> Option<Split> {
    let split = Split::even(dim as u32, size, u32::from(pes));
    let block = if dtype.bytes() == 2 { split.block.next_multiple_of(2) } else { split.block };
    (size > 1).then_some(Split { block, ..split })
}

/// The layout of a tensor unless its user asks for another; `dtype` is that of the program's floats.
pub fn default(shape: &[usize], grid: Extent, dtype: Dtype) -> Distribution {
    let shape: Vec<u32> = shape.iter().map(|&n| n as u32).collect();
    let rank = shape.len();
    let x = rank.checked_sub(1).and_then(|dim| even(dim, shape[dim], grid.width, dtype));
    let y = rank.checked_sub(2).and_then(|dim| even(dim, shape[dim], grid.height, Dtype::F32));
    Distribution { grid, shape, x, y }
}

/// The layout of a look-up's table: rows in equal blocks over the rows of the mesh, columns as the result's.
pub fn table(shape: &[usize], columns: Option<Split>, grid: Extent) -> Distribution {
    let shape: Vec<u32> = shape.iter().map(|&n| n as u32).collect();
    let y = even(0, shape[0], grid.height, Dtype::F32);
    Distribution { grid, x: columns.map(|s| Split { dim: 1, ..s }), y, shape }
}

/// The layout of a look-up's indices: those of a PE's rows of the result, in every column.
pub fn indices(shape: &[usize], grid: Extent) -> Distribution {
    let shape: Vec<u32> = shape.iter().map(|&n| n as u32).collect();
    let y = shape.len().checked_sub(1).and_then(|dim| even(dim, shape[dim], grid.height, Dtype::F32));
    Distribution { grid, shape, x: None, y }
}

/// Whether two layouts of the same elements in row-major order give every PE the same bytes: they differ at most in
/// dimensions of size 1.
pub fn same_tiles(a: &Distribution, b: &Distribution) -> bool {
    let dims = |d: &Distribution| -> Vec<(u32, Option<u32>, Option<u32>)> {
        let block = |split: Option<Split>, dim: usize| split.filter(|s| s.dim == dim as u32).map(|s| s.block);
        let all = d.shape.iter().enumerate().map(|(dim, &size)| (size, block(d.x, dim), block(d.y, dim)));
        all.filter(|&(size, x, y)| size != 1 || x.is_some() || y.is_some()).collect()
    };
    a.grid == b.grid && dims(a) == dims(b)
}

/// Rows of a PE's tile and elements of a row, padding included: a row runs along the last dimension.
pub fn rows(distribution: &Distribution) -> (u32, u32) {
    let tile = distribution.tile();
    // Not the elements by the columns: rows without elements are rows.
    tile.split_last().map_or((1, 1), |(&columns, rows)| (rows.iter().product(), columns))
}

/// Elements of a row that are not padding, for each column of the mesh.
pub fn valid_columns(distribution: &Distribution) -> Vec<i32> {
    let (_, columns) = rows(distribution);
    let size = distribution.shape.last().copied().unwrap_or(1);
    let width = u32::from(distribution.grid.width);
    (0..width)
        .map(|x| match distribution.x {
            Some(split) => (0..columns).filter(|&l| split.global(x, l, width) < size).count() as i32,
            None => columns as i32,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Extent = Extent { width: 3, height: 2 };

    #[test]
    fn the_last_two_dimensions_are_dealt() {
        // 5 rows over 2: blocks of 3. 7 columns over 3: blocks of 3, in 16 bits of 4.
        let d = default(&[2, 5, 7], GRID, Dtype::F32);
        assert_eq!((d.tile(), valid_columns(&d)), (vec![2, 3, 3], vec![3, 3, 1]));
        for dtype in [Dtype::F16, Dtype::Bf16, Dtype::Cb16] {
            let d = default(&[2, 5, 7], GRID, dtype);
            assert_eq!((d.tile(), valid_columns(&d)), (vec![2, 3, 4], vec![4, 3, 0]));
        }
    }

    #[test]
    fn sizes_of_one_are_everywhere() {
        let d = default(&[4, 1], GRID, Dtype::F32);
        assert_eq!((d.x, d.tile(), valid_columns(&d)), (None, vec![2, 1], vec![1, 1, 1]));
    }

    #[test]
    fn dimensions_of_size_one_do_not_matter() {
        let d = |shape: &[usize]| default(shape, GRID, Dtype::F32);
        assert!(same_tiles(&d(&[1, 4, 6]), &d(&[4, 6])));
        assert!(!same_tiles(&d(&[4, 6]), &d(&[6, 4])));
        // 4 rows of 6 in one and 24 columns in the other.
        assert!(!same_tiles(&d(&[4, 6]), &d(&[1, 24])));
    }
}
