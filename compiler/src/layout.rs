//! How tensors lie on the mesh.
//!
//! Of every product `[.., r, c]`, `r` is dealt to the rows of the mesh in equal blocks and `c` to its columns; all other
//! dimensions are whole in every PE, and sizes of 1 are replicated. What is computed from a product element by element, or along `c`,
//! lies as it does. Other values have dealt to the rows what fills most of them: of `[tokens, heads, width]` the tokens, on a tall mesh.
//! So an element-wise operator needs no data from elsewhere,
//! and a reduction over `c` runs along the rows of the mesh. Right operands of products and tables of look-ups lie as their
//! kernels ask.

use crate::view;
use petgraph::graph::NodeIndex;
use std::collections::BTreeSet;
use waferloom_fabric::{Distribution, Dtype, Extent, Split};
use waferloom_models::Graph;
use waferloom_models::graph::Op;

/// Equal blocks of a dimension over `pes`; `None` when it has a single index.
///
/// In 16-bit types blocks along the columns hold an even number of elements, so that each row of a tile fills whole words.
fn even(dim: usize, size: u32, pes: u16, dtype: Dtype) -> Option<Split> {
    let split = Split::even(dim as u32, size, u32::from(pes));
    let block = if dtype.bytes() == 2 { split.block.next_multiple_of(2) } else { split.block };
    (size > 1).then_some(Split { block, ..split })
}

/// The layout of matrices; `dtype` is that of the program's floats.
pub fn matrices(shape: &[usize], grid: Extent, dtype: Dtype) -> Distribution {
    dealt(shape, shape.len().checked_sub(2), grid, dtype)
}

/// The layout of a node's value unless its user asks for another; `dtype` is that of the program's floats.
pub fn of(graph: &Graph, id: NodeIndex, grid: Extent, dtype: Dtype) -> Distribution {
    dealt(graph.shape(id), row_dim(graph, id, grid), grid, dtype)
}

/// The layout of what an operator along rows takes, such that its rows lie where those of the result do.
pub fn of_rows(graph: &Graph, id: NodeIndex, operand: NodeIndex, grid: Extent, dtype: Dtype) -> Distribution {
    dealt(graph.shape(operand), row_dim(graph, id, grid), grid, dtype)
}

/// The layout of an operand that meets values that lie so, element by element: sizes of 1 are everywhere.
pub fn like(layout: &Distribution, shape: &[usize]) -> Distribution {
    let shape: Vec<u32> = shape.iter().map(|&n| n as u32).collect();
    let kept = |split: Option<Split>| split.filter(|split| shape.get(split.dim as usize).is_some_and(|&size| size > 1));
    Distribution { grid: layout.grid, x: kept(layout.x), y: kept(layout.y), shape }
}

/// The last dimension over the columns of the mesh, another one over the rows.
fn dealt(shape: &[usize], row_dim: Option<usize>, grid: Extent, dtype: Dtype) -> Distribution {
    let shape: Vec<u32> = shape.iter().map(|&n| n as u32).collect();
    let x = shape.len().checked_sub(1).and_then(|dim| even(dim, shape[dim], grid.width, dtype));
    let y = row_dim.and_then(|dim| even(dim, shape[dim], grid.height, Dtype::F32));
    Distribution { grid, shape, x, y }
}

/// The dimension of a node's value that is dealt to the rows of the mesh.
fn row_dim(graph: &Graph, id: NodeIndex, grid: Extent) -> Option<usize> {
    let shape = graph.shape(id);
    let last = shape.len().checked_sub(2)?;
    let fills = |&dim: &usize| (shape[dim].min(grid.height.into()), dim);
    let fullest = (0..=last).max_by_key(fills)?;
    Some(if fullest == last || follows_product(graph, id) { last } else { fullest })
}

/// Whether a node is a product or a look-up, or computed row by row from one.
fn follows_product(graph: &Graph, id: NodeIndex) -> bool {
    let rows = |id: NodeIndex| graph.shape(id).split_last().map(|(_, rows)| rows);
    let (mut open, mut met) = (vec![id], BTreeSet::new());
    while let Some(node) = open.pop() {
        match graph.node(node).op {
            _ if view::moves(graph, node) => {}
            Op::MatMul | Op::Gather { .. } => return true,
            _ => {
                let operands = graph.operands(node).into_iter().filter(|&operand| rows(operand) == rows(id));
                open.extend(operands.filter(|&operand| met.insert(operand)));
            }
        }
    }
    false
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
    fn products_have_the_last_two_dimensions_dealt() {
        // 5 rows over 2: blocks of 3. 7 columns over 3: blocks of 3, in 16 bits of 4.
        let d = matrices(&[2, 5, 7], GRID, Dtype::F32);
        assert_eq!((d.tile(), valid_columns(&d)), (vec![2, 3, 3], vec![3, 3, 1]));
        for dtype in [Dtype::F16, Dtype::Bf16, Dtype::Cb16] {
            let d = matrices(&[2, 5, 7], GRID, dtype);
            assert_eq!((d.tile(), valid_columns(&d)), (vec![2, 3, 4], vec![4, 3, 0]));
        }
    }

    #[test]
    fn the_rows_of_a_tall_mesh_have_what_fills_them() {
        // 5 tokens of 2 heads: on 4 rows of PEs blocks of 2 tokens, on 2 rows a head each. A product lies as matrices do, and so does what
        // follows from one; what is only moved does not.
        let graph = waferloom_models::text::parse(
            r#"graph "g"
%0 = input : f[5, 2, 3] "x"
%1 = input : f[1, 2, 3] "y"
%2 = add %0, %1 : f[5, 2, 3] "sum"
%3 = input : f[5, 3, 6] "w"
%4 = matmul %0, %3 : f[5, 2, 6] "product"
%5 = softmax %4 axis=2 : f[5, 2, 6] "shares"
%6 = slice %5 axis=2 start=0 step=1 : f[5, 2, 3] "part"
inputs %0, %1, %3
output %2 "sum"
output %6 "part"
"#,
        )
        .expect("valid");
        let id = |name: &str| graph.nodes().find(|&id| graph.node(id).name == name).expect("a node");
        let y = |name: &str, height| of(&graph, id(name), Extent { width: 3, height }, Dtype::F32).y;
        let split = |dim, block| Some(Split { dim, block });
        assert_eq!([y("x", 4), y("sum", 4), y("part", 4)], [split(0, 2); 3]);
        assert_eq!([y("x", 2), y("sum", 2)], [split(1, 1); 2]);
        assert_eq!([y("product", 4), y("shares", 4)], [split(1, 1); 2]);
        // What is added to the tokens lies in all rows.
        let sum = of(&graph, id("sum"), Extent { width: 3, height: 4 }, Dtype::F32);
        assert_eq!((like(&sum, &[1, 2, 3]).x, like(&sum, &[1, 2, 3]).y), (sum.x, None));
    }

    #[test]
    fn sizes_of_one_are_everywhere() {
        let d = matrices(&[4, 1], GRID, Dtype::F32);
        assert_eq!((d.x, d.tile(), valid_columns(&d)), (None, vec![2, 1], vec![1, 1, 1]));
    }

    #[test]
    fn dimensions_of_size_one_do_not_matter() {
        let d = |shape: &[usize]| matrices(shape, GRID, Dtype::F32);
        assert!(same_tiles(&d(&[1, 4, 6]), &d(&[4, 6])));
        assert!(!same_tiles(&d(&[4, 6]), &d(&[6, 4])));
        // 4 rows of 6 in one and 24 columns in the other.
        assert!(!same_tiles(&d(&[4, 6]), &d(&[1, 24])));
    }
}
