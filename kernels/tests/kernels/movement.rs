//! Kernels that move data and change no bit: relayout, gather, edge.

use crate::rig::{GRIDS, Rig, assert_same, floats, layout, machine, numbers};
use waferloom_fabric::{Distribution, Dtype, HostTensor, Machine, Split};
use waferloom_kernels::gather::{self, Gather};
use waferloom_kernels::relayout::{self, Aim};

/// Runs a relayout of numbered elements, for few cycles and for little memory, and checks every element. Elements that the map leaves
/// out must keep their value. Gives the cycles of the first way.
fn relaid(what: &str, source: &Distribution, target: &Distribution, map: &[Option<u32>], dtype: Dtype) -> u64 {
    relaid_for(&format!("{what} in parts"), source, target, map, (dtype, Aim::Memory));
    relaid_for(what, source, target, map, (dtype, Aim::Cycles))
}

fn relaid_for(
    what: &str,
    source: &Distribution,
    target: &Distribution,
    map: &[Option<u32>],
    (dtype, aim): (Dtype, Aim),
) -> u64 {
    let grid = (source.grid.width, source.grid.height);
    let mut rig = Rig::new(grid);
    let values = numbers(7, source.elements(), dtype);
    let before = numbers(8, target.elements(), dtype);
    let from = rig.constant(source, dtype, &values);
    let to = rig.constant(target, dtype, &before);
    let places: Vec<u32> = map.iter().map(|place| place.unwrap_or(relayout::NOWHERE)).collect();
    // However small the tiles are, much of so little memory.
    let machine = Machine { sram_bytes: 64, ..machine() };
    let plan = relayout::plan(source, target, &places, dtype, (&machine, aim));
    let plan = plan.unwrap_or_else(|e| panic!("{what}: {e}"));
    let tables = plan.tables().iter().map(|t| rig.table(&t.distribution, &t.numbers)).collect();
    let (panel, middle) = (rig.reserve(plan.panel_bytes()), rig.reserve(plan.middle_bytes(dtype)));
    relayout::emit(&mut rig.code, &mut rig.mesh, &plan, to, from, &relayout::Memory { tables, panel, middle });
    rig.output("t", target, to);
    let run = rig.run();
    let expected: Vec<f32> =
        map.iter().zip(&before).map(|(from, &kept)| from.map_or(kept, |from| values[from as usize])).collect();
    assert_same(&floats(&run, "t"), &expected, &format!("{what} on {grid:?} in {dtype:?}"));
    run.cycles
}

fn everywhere(mut test: impl FnMut((u16, u16), Dtype)) {
    for grid in GRIDS {
        for dtype in [Dtype::F32, Dtype::F16] {
            test(grid, dtype);
        }
    }
}

/// Row-major indices of all elements of a shape.
fn indices(shape: &[u32]) -> Vec<Vec<u32>> {
    shape.iter().fold(vec![vec![]], |all, &size| {
        all.iter().flat_map(|index| (0..size).map(move |i| [index.as_slice(), &[i]].concat())).collect()
    })
}

fn flat(index: &[u32], shape: &[u32]) -> u32 {
    index.iter().zip(shape).fold(0, |at, (&i, &size)| at * size + i)
}

/// The map of a permutation of dimensions: dimension `i` of the result is dimension `order[i]` of the source.
fn permuted(shape: &[u32], order: &[usize]) -> (Vec<u32>, Vec<Option<u32>>) {
    let target: Vec<u32> = order.iter().map(|&d| shape[d]).collect();
    let map = indices(&target)
        .iter()
        .map(|index| {
            let mut source = vec![0; shape.len()];
            for (&d, &i) in order.iter().zip(index) {
                source[d] = i;
            }
            Some(flat(&source, shape))
        })
        .collect();
    (target, map)
}

#[test]
fn transpose() {
    everywhere(|grid, dtype| {
        for shape in [[6, 6], [7, 13], [1, 9], [9, 1], [17, 2]] {
            let (target, map) = permuted(&shape, &[1, 0]);
            relaid("transpose", &layout(grid, &shape, dtype), &layout(grid, &target, dtype), &map, dtype);
        }
    });
}

#[test]
fn head_split_and_join() {
    everywhere(|grid, dtype| {
        // [tokens, heads * width] to [heads, tokens, width] and back.
        let (split, map) = permuted(&[7, 3, 4], &[1, 0, 2]);
        relaid("head split", &layout(grid, &[7, 12], dtype), &layout(grid, &split, dtype), &map, dtype);
        let (_, map) = permuted(&split, &[1, 0, 2]);
        relaid("head join", &layout(grid, &split, dtype), &layout(grid, &[7, 12], dtype), &map, dtype);
        // Keys: [heads, width, tokens].
        let (keys, map) = permuted(&[7, 3, 4], &[1, 2, 0]);
        relaid("keys", &layout(grid, &[7, 12], dtype), &layout(grid, &keys, dtype), &map, dtype);
    });
}

#[test]
fn slice_and_concat() {
    everywhere(|grid, dtype| {
        let source = layout(grid, &[8, 11], dtype);
        let map: Vec<_> = indices(&[3, 4]).iter().map(|i| Some(flat(&[i[0] * 2 + 1, i[1] + 5], &[8, 11]))).collect();
        relaid("slice", &source, &layout(grid, &[3, 4], dtype), &map, dtype);
        // One half of a concatenation: the other columns of the target stay.
        let map: Vec<_> = indices(&[8, 17])
            .iter()
            .map(|i| i[1].checked_sub(6).map(|column| flat(&[i[0], column], &[8, 11])))
            .collect();
        relaid("concat", &source, &layout(grid, &[8, 17], dtype), &map, dtype);
    });
}

#[test]
fn arbitrary_maps() {
    everywhere(|grid, dtype| {
        let (source, target) = (layout(grid, &[6, 9], dtype), layout(grid, &[5, 2, 7], dtype));
        let random = |seed, count| numbers(seed, count, Dtype::F32).into_iter();
        // With repetitions and with holes.
        let map: Vec<_> = random(9, 70)
            .zip(random(10, 70))
            .map(|(x, keep)| (keep > -0.5).then_some(((x + 1.0) * 27.0) as u32))
            .collect();
        relaid("random map", &source, &target, &map, dtype);
        relaid("nothing", &source, &target, &[None; 70], dtype);
        // Everything backwards: source steps are negative.
        let map: Vec<_> = (0..54).rev().map(Some).collect();
        relaid("reversal", &source, &source, &map, dtype);
    });
}

#[test]
fn replicated_ends() {
    everywhere(|grid, dtype| {
        let shape = [6, 10];
        let both = layout(grid, &shape, dtype);
        let identity: Vec<_> = (0..60).map(Some).collect();
        let ends = [
            both.clone(),
            Distribution { x: None, ..both.clone() },
            Distribution { y: None, ..both.clone() },
            Distribution { x: None, y: None, ..both.clone() },
            // Block-cyclic, and with the axes exchanged.
            Distribution { y: Some(Split { dim: 0, block: 1 }), ..both.clone() },
            Distribution { x: Some(Split { dim: 0, block: 2 }), y: Some(Split { dim: 1, block: 2 }), ..both.clone() },
        ];
        for source in &ends {
            for target in &ends {
                relaid("replicated", source, target, &identity, dtype);
            }
        }
    });
}

#[test]
fn identities_are_seen() {
    let grid = (4, 4);
    let source = layout(grid, &[6, 9], Dtype::F32);
    let identity: Vec<u32> = (0..54).collect();
    let plan = |target: &Distribution, map: &[u32]| {
        relayout::plan(&source, target, map, Dtype::F32, (&machine(), Aim::Cycles)).expect("small tiles")
    };
    assert!(plan(&source, &identity).is_identity());
    assert!(plan(&layout(grid, &[1, 6, 9], Dtype::F32), &identity).is_identity());
    assert!(!plan(&Distribution { x: None, ..source.clone() }, &identity).is_identity());
    // Two elements of one tile exchanged.
    let mut exchanged = identity.clone();
    exchanged.swap(0, 1);
    assert!(!plan(&source, &exchanged).is_identity());
}

#[test]
fn in_parts_less_comes_together() {
    // 16 rows of 16 elements on 4x4 PEs, turned around: column c needs the rows 4c to 4c+3, which lie in PE row c. So PE (c, c) keeps all
    // that row c has, 64 elements, and sends them along its column: 256 bytes each to keep and to receive. In 2 parts it keeps what 2 of
    // the 4 PEs of its row have, 32 elements, in 4 parts 16, which is 128 bytes in all: a sixteenth of 2048.
    let (grid, shape) = ((4, 4), [16, 16]);
    let source = layout(grid, &shape, Dtype::F32);
    let (_, map) = permuted(&shape, &[1, 0]);
    let map: Vec<u32> = map.into_iter().flatten().collect();
    let memory = |sram_bytes, aim| {
        let machine = Machine { sram_bytes, ..machine() };
        let plan = relayout::plan(&source, &source, &map, Dtype::F32, (&machine, aim)).expect("small tiles");
        // In one part it is the same for both aims if that is little.
        let is_little = plan.takes_little_memory(&machine, Dtype::F32);
        assert!(is_little == (plan.panel_bytes() + plan.middle_bytes(Dtype::F32) <= sram_bytes / 16));
        (plan.panel_bytes(), plan.middle_bytes(Dtype::F32), plan.series().len())
    };
    assert_eq!(memory(2048, Aim::Cycles), (256, 256, 2));
    assert_eq!(memory(2048, Aim::Memory), (64, 64, 8));
    assert_eq!(memory(4096, Aim::Memory), (128, 128, 4));
    // What is little already stays in one part.
    assert_eq!(memory(16 * 512, Aim::Memory), (256, 256, 2));
}

fn gathered(grid: (u16, u16), dtype: Dtype, rows: u32, width: u32, wanted: &[i32], split: bool) {
    let mut rig = Rig::new(grid);
    let mut table = layout(grid, &[rows, width], dtype);
    if !split {
        table.y = None;
    }
    let values = numbers(11, table.elements(), dtype);
    let table_tile = rig.constant(&table, dtype, &values);
    // The indices are dealt to the rows of the mesh, as the result's rows are.
    let target = layout(grid, &[wanted.len() as u32, width], dtype);
    let indices = Distribution { shape: vec![wanted.len() as u32, 1], x: None, ..target.clone() };
    let listed: Vec<f32> = wanted.iter().map(|&i| i as f32).collect();
    let index_tile = rig.constant(&indices, Dtype::I32, &listed);
    let result = rig.tile(&target, dtype);
    let panel = rig.reserve(table_tile.bytes());
    let shape = Gather {
        table_rows: rows,
        tile_rows: table.tile()[0],
        split: table.y.is_some(),
        columns: table.tile()[1],
        indices: index_tile.elements,
        part_rows: table.tile()[0],
    };
    gather::emit(&mut rig.code, &rig.mesh, &shape, result, table_tile, index_tile, panel);
    rig.output("g", &target, result);
    let expected: Vec<f32> = wanted
        .iter()
        .flat_map(|&i| {
            let row = if i < 0 { i + rows as i32 } else { i };
            let inside = (0..rows as i32).contains(&row);
            (0..width).map(move |c| (inside, row, c))
        })
        .map(|(inside, row, c)| if inside { values[(row as u32 * width + c) as usize] } else { 0.0 })
        .collect();
    assert_same(&floats(&rig.run(), "g"), &expected, &format!("gather of {rows} x {width} on {grid:?} in {dtype:?}"));
}

#[test]
fn gather_picks_rows() {
    everywhere(|grid, dtype| {
        for split in [true, false] {
            gathered(grid, dtype, 13, 7, &[0, 12, 5, 5, -1, -13, 3, 11, 6], split);
            gathered(grid, dtype, 3, 4, &[2], split);
            gathered(grid, dtype, 1, 1, &[0, 0], split);
            gathered(grid, dtype, 5, 3, &[5, -6, 4, i32::MAX - 200, -1_000_000], split);
        }
    });
}

#[test]
fn tensors_come_in_and_go_out() {
    everywhere(|grid, dtype| {
        for shape in [&[6u32, 9][..], &[1, 9], &[9, 1], &[1, 1], &[5], &[2, 3, 4, 5]] {
            let mut rig = Rig::new(grid);
            let distribution = layout(grid, shape, dtype);
            let values = numbers(12, distribution.elements(), dtype);
            let dims: Vec<usize> = shape.iter().map(|&n| n as usize).collect();
            let first = rig.input("a", &distribution, dtype, HostTensor::f32(&dims, values.clone()));
            let doubled: Vec<f32> = values.iter().map(|x| x * 2.0).collect();
            let second = rig.input("b", &distribution, dtype, HostTensor::f32(&dims, doubled.clone()));
            rig.output("b out", &distribution, second);
            rig.output("a out", &distribution, first);
            let run = rig.run();
            let what = format!("{shape:?} on {grid:?} in {dtype:?}");
            assert_same(&floats(&run, "a out"), &values, &what);
            assert_same(&floats(&run, "b out"), &doubled, &what);
        }
    });
}
