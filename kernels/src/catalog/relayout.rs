//! A matrix from one block distribution to another, by the kernel of [`crate::relayout`]: one or two series of broadcasts in
//! turn, from which each PE takes what it needs.

use super::data::numbers;
use super::plane::Plane;
use super::settings::{FLOATS, float_type};
use super::{Instance, Kernel, KernelError, Parameter, Settings};
use crate::mesh::Axis;
use crate::relayout::Aim;
use crate::{cost, relayout};
use std::collections::BTreeMap;
use waferloom_fabric::{BufferKind, Coord, Distribution, Dtype, Extent, Machine, Split};

pub(super) const KERNEL: Kernel = Kernel {
    name: "relayout",
    summary: "An m x n matrix from blocks of one size to blocks of another, dealt round robin over a grid.",
    parameters: &[
        Parameter::integer("p", "4", (1, 65535), "PEs in a row").tunable(),
        Parameter::integer("rows", "4", (1, 65535), "rows of PEs").tunable(),
        Parameter::integer("m", "64", (1, 65535), "rows of the matrix"),
        Parameter::integer("n", "64", (1, 65535), "columns of the matrix"),
        Parameter::integer("from_m", "0", (0, 65535), "rows of a block before; 0 is one block a row of PEs"),
        Parameter::integer("from_n", "0", (0, 65535), "columns of a block before; 0 is one block a column of PEs"),
        Parameter::integer("to_m", "1", (0, 65535), "rows of a block after"),
        Parameter::integer("to_n", "1", (0, 65535), "columns of a block after"),
        Parameter::choice("dtype", "f32", FLOATS, "type of the elements"),
    ],
    build,
};

fn build(settings: &Settings, machine: &Machine) -> Result<Instance, KernelError> {
    let grid = Extent { width: settings.pes("p"), height: settings.pes("rows") };
    let shape = [settings.integer("m"), settings.integer("n")];
    let split = |dim: u32, name: &str, pes: u16| match settings.integer(name) {
        0 => Split::even(dim, shape[dim as usize], u32::from(pes)),
        block => Split { dim, block },
    };
    let dealt = |blocks: [&str; 2]| Distribution {
        grid,
        shape: shape.to_vec(),
        x: Some(split(1, blocks[1], grid.width)),
        y: Some(split(0, blocks[0], grid.height)),
    };
    let (source, target) = (dealt(["from_m", "from_n"]), dealt(["to_m", "to_n"]));
    moved("relayout", machine, settings, [&source, &target], |i| i)
}

/// A kernel that moves element `map(i)` of a tensor to element `i` of another.
pub(super) fn moved(
    name: &'static str,
    machine: &Machine,
    settings: &Settings,
    [source, target]: [&Distribution; 2],
    map: impl Fn(u32) -> u32,
) -> Result<Instance, KernelError> {
    let dtype = float_type(settings.word("dtype"));
    let mut plane = Plane::new(name, machine, source.grid, ["p", "rows"], "m")?;
    let from = plane.tile("source", source, dtype, BufferKind::Activation);
    let to = plane.tile("target", target, dtype, BufferKind::Activation);
    // The plan lists each element several times.
    plane.burden(16 * source.elements() as u64);
    plane.check()?;
    let elements: Vec<u32> = (0..target.elements() as u32).map(&map).collect();
    let plan = relayout::plan(source, target, &elements, dtype, (machine, Aim::Cycles)).map_err(|error| {
        KernelError::TooLarge {
            what: format!("a tile of `{name}`"),
            needed: error.elements as u64,
            unit: "elements",
            machine: "a table of 16-bit offsets".into(),
            available: 0xFFFF,
            change: "m",
        }
    })?;
    let memory = working_memory(&mut plane, &plan, dtype);
    relayout::emit(&mut plane.code, &mut plane.mesh, &plan, to, from, &memory);
    plane.check()?;

    let values = numbers(source.elements(), 7);
    plane.fill("source", source, from, &values);
    plane.result("target", target, to);
    let expected = (0..target.elements() as u32).map(|i| f64::from(values[map(i) as usize])).collect();
    let estimate_cycles = plane.busy(&plan.series()) + waits(machine, source.grid, &plan);
    Ok(Instance {
        program: plane.finish(name)?,
        inputs: BTreeMap::new(),
        expected: BTreeMap::from([("target".into(), expected)]),
        algorithm: if plan.series().len() == 2 { "two steps" } else { "one step" }.into(),
        estimate_cycles,
        flops: 0,
    })
}

fn working_memory(plane: &mut Plane, plan: &relayout::Relayout, dtype: Dtype) -> relayout::Memory {
    let mut addresses = Vec::new();
    for (i, table) in plan.tables().into_iter().enumerate() {
        let name = format!("table {i}");
        let tile = plane.tile(&name, &table.distribution, Dtype::U16, BufferKind::Table);
        let grid = table.distribution.grid;
        let of = |at: Coord| table.distribution.tile_indices(at.x, at.y);
        let all = (0..grid.pes()).flat_map(|pe| of(grid.coord(pe))).map(|i| i.map_or(0, |i| table.numbers[i]));
        plane.steer(tile.address, tile.elements as usize * 2, all.flat_map(u16::to_le_bytes).collect());
        let bytes = table.numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        plane.sketch.bytes(&name, Dtype::U16, table.distribution, tile.address, bytes);
        addresses.push(tile.address);
    }
    let (panel, middle) = (plan.panel_bytes(), plan.middle_bytes(dtype));
    relayout::Memory {
        tables: addresses,
        panel: plane.scratch("panel", panel),
        middle: plane.scratch("middle", middle),
    }
}

/// Waits for broadcasts that are on their way.
fn waits(machine: &Machine, grid: Extent, plan: &relayout::Relayout) -> u64 {
    let series = plan.series().into_iter().map(|(axis, turns)| {
        let pes = if axis == Axis::X { grid.width } else { grid.height };
        cost::turns_wait(machine, pes.into(), turns.into())
    });
    series.sum()
}
