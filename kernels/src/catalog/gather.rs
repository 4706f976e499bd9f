//! Rows of a table chosen by indices (an embedding), by the kernel of [`crate::gather`]: the rows of PEs broadcast their parts of
//! the table in turn, and every PE copies what its indices name.

use super::data::numbers;
use super::plane::{Plane, matrix};
use super::settings::{FLOATS, float_type};
use super::{Instance, Kernel, KernelError, Parameter, Settings};
use crate::gather::{self, Gather};
use crate::mesh::Axis;
use crate::{Tile, cost};
use std::collections::BTreeMap;
use waferloom_fabric::{BufferKind, Distribution, Dtype, Extent, Machine};

pub(super) const KERNEL: Kernel = Kernel {
    name: "gather",
    summary: "Rows of a table of words, one for each token (an embedding). Rows of the table are dealt to the rows of the grid, \
              their elements to its columns.",
    parameters: &[
        Parameter::integer("p", "4", (1, 65535), "PEs in a row").tunable(),
        Parameter::integer("rows", "4", (1, 65535), "rows of PEs").tunable(),
        Parameter::integer("words", "64", (1, 1 << 20), "rows of the table"),
        Parameter::integer("width", "64", (1, 1 << 20), "elements of a row of the table"),
        Parameter::integer("tokens", "32", (1, 1 << 20), "rows to choose"),
        Parameter::choice("dtype", "f32", FLOATS, "type of the elements"),
    ],
    build,
};

fn build(settings: &Settings, machine: &Machine) -> Result<Instance, KernelError> {
    let dtype = float_type(settings.word("dtype"));
    let grid = Extent { width: settings.pes("p"), height: settings.pes("rows") };
    let [words, width, tokens] = ["words", "width", "tokens"].map(|name| settings.integer(name));
    let (table, result) = (matrix(grid, &[words, width], dtype), matrix(grid, &[tokens, width], dtype));
    let chosen = Distribution { shape: vec![tokens, 1], x: None, ..result.clone() };
    let mut plane = Plane::new("gather", machine, grid, ["p", "rows"], "width")?;
    let table_tile = plane.tile("table", &table, dtype, BufferKind::Weight);
    let index_tile = plane.tile("indices", &chosen, Dtype::I32, BufferKind::Activation);
    let result_tile = plane.tile("result", &result, dtype, BufferKind::Activation);
    let panel = plane.scratch("panel", table_tile.bytes());
    plane.check()?;
    let shape = Gather {
        table_rows: words,
        tile_rows: table.tile()[0],
        split: grid.height > 1,
        columns: table.tile()[1],
        indices: chosen.tile()[0],
    };
    gather::emit(&mut plane.code, &plane.mesh, &shape, result_tile, table_tile, index_tile, panel);

    let values = numbers(table.elements(), 10);
    // Spread over the table, some of them from its end.
    let indices: Vec<i32> = (0..tokens)
        .map(|i| {
            let index = (u64::from(i) * 2_654_435_761 % u64::from(words)) as i32;
            if i % 5 == 4 { index - words as i32 } else { index }
        })
        .collect();
    plane.fill("table", &table, table_tile, &values);
    place_indices(&mut plane, &chosen, index_tile, &indices);
    plane.result("result", &result, result_tile);
    let row = |&index: &i32| {
        let row = index.rem_euclid(words as i32) as usize;
        values[row * width as usize..][..width as usize].iter().map(|&v| f64::from(v))
    };
    let expected = indices.iter().flat_map(row).collect();
    let turns = words.div_ceil(shape.tile_rows);
    let waits = cost::turns_wait(machine, grid.height.into(), turns.into());
    Ok(Instance {
        estimate_cycles: plane.busy(&[(Axis::Y, turns)]) + waits,
        program: plane.finish("gather")?,
        inputs: BTreeMap::new(),
        expected: BTreeMap::from([("result".into(), expected)]),
        algorithm: "broadcasts in turn".into(),
        flops: 0,
    })
}

/// The indices lie in memory and steer the code.
fn place_indices(plane: &mut Plane, chosen: &Distribution, tile: Tile, indices: &[i32]) {
    let bytes = indices.iter().flat_map(|i| i.to_le_bytes()).collect();
    plane.sketch.bytes("indices", Dtype::I32, chosen.clone(), tile.address, bytes);
    let grid = chosen.grid;
    let of_pe = |i: usize| {
        let at = grid.coord(i);
        chosen.tile_indices(at.x, at.y).into_iter().flat_map(|index| index.map_or(0, |i| indices[i]).to_le_bytes())
    };
    plane.steer(tile.address, tile.elements as usize * 4, (0..grid.pes()).flat_map(of_pe).collect());
}
