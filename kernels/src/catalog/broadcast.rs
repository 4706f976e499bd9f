//! Broadcast of a vector from the north-west PE along a row, or over a rectangle: one multicast tree.

use super::data::numbers;
use super::sketch::{Sketch, start_cycles};
use super::{Instance, Kernel, KernelError, Parameter, Settings};
use crate::code::{Code, Tile, words_in, words_out};
use std::collections::BTreeMap;
use waferloom_fabric::{
    BufferKind, Color, ColorRef, Coord, Direction, Distribution, Dtype, Extent, Machine, Region, Split,
};

pub(super) const KERNEL: Kernel = Kernel {
    name: "broadcast",
    summary: "A vector from PE (0, 0) to all PEs of a row or a rectangle, over one multicast route. \
              B + P + 2 T_R cycles: Luczynski et al., Near-Optimal Wafer-Scale Reduce (HPDC 2024).",
    parameters: &[
        Parameter::integer("p", "16", (1, 65535), "PEs in a row"),
        Parameter::integer("rows", "1", (1, 65535), "rows of PEs"),
        Parameter::integer("elements", "256", (1, 1 << 20), "f32 elements of the vector"),
    ],
    build,
};

const COLOR: Color = Color(0);
const QUEUE_IN: u8 = 0;
const QUEUE_OUT: u8 = 2;

fn build(settings: &Settings, machine: &Machine) -> Result<Instance, KernelError> {
    let (width, height, elements) = (settings.pes("p"), settings.pes("rows"), settings.integer("elements"));
    let grid = Extent { width, height };
    let mut sketch = Sketch::new("broadcast", machine, grid, ["p", "rows"])?;
    let address = sketch.buffer("vector", elements * 4, BufferKind::Activation);
    let vector = Tile { address, elements, dtype: Dtype::F32 };
    routes(&mut sketch, COLOR, grid);
    let color = ColorRef::Fixed(COLOR);
    let mut root = Code::new();
    if grid.pes() > 1 {
        root.mov(words_out(QUEUE_OUT, elements), vector.as_words());
    }
    let root_at = Region::rect(0, 0, 1, 1);
    let outputs: &[_] = if grid.pes() > 1 { &[(QUEUE_OUT, color)] } else { &[] };
    sketch.class("root", &[root_at], &[], outputs, root);
    let mut rest = Code::new();
    rest.mov(vector.as_words(), words_in(QUEUE_IN, elements));
    let others = [Region::rect(1, 0, width - 1, 1), Region::rect(0, 1, width, height - 1)];
    sketch.class("rest", &others, &[(QUEUE_IN, color)], &[], rest);

    sketch.check(grid.pes() as u64 * u64::from(elements), "elements")?;
    let values = numbers(elements as usize, 1);
    let one = Extent { width: 1, height: 1 };
    let whole = Distribution { grid: one, shape: vec![elements], x: None, y: None };
    sketch.constant("vector", Dtype::F32, whole, address, &values);
    let each = Distribution {
        grid,
        shape: vec![u32::from(height), u32::from(width), elements],
        x: Some(Split { dim: 1, block: 1 }),
        y: Some(Split { dim: 0, block: 1 }),
    };
    sketch.result("result", Dtype::F32, each, Coord { x: 0, y: 0 }, address);
    let expected = values.iter().map(|&v| f64::from(v)).cycle().take(grid.pes() * elements as usize).collect();
    Ok(Instance {
        program: sketch.finish("elements")?,
        inputs: BTreeMap::new(),
        expected: BTreeMap::from([("result".into(), expected)]),
        algorithm: "multicast".into(),
        estimate_cycles: estimate(machine, grid, elements),
        flops: 0,
    })
}

/// Along the first row to the east, and from each of its PEs to the south.
pub(super) fn routes(sketch: &mut Sketch, color: Color, Extent { width, height }: Extent) {
    use Direction::{East, North, Ramp, South, West};
    let down = |tx: &[Direction]| [tx, if height > 1 { &[South][..] } else { &[] }].concat();
    if width > 1 {
        sketch.route(color, Region::rect(0, 0, 1, 1), (&[Ramp], &down(&[East])));
        sketch.route(color, Region::rect(1, 0, width - 2, 1), (&[West], &down(&[East, Ramp])));
        sketch.route(color, Region::rect(width - 1, 0, 1, 1), (&[West], &down(&[Ramp])));
    } else if height > 1 {
        sketch.route(color, Region::rect(0, 0, 1, 1), (&[Ramp], &[South]));
    }
    if height > 1 {
        sketch.route(color, Region::rect(0, 1, width, height - 2), (&[North], &[South, Ramp]));
        sketch.route(color, Region::rect(0, height - 1, width, 1), (&[North], &[Ramp]));
    }
}

/// The first element crosses `P - 1` hops (and as many rows) and both ramps; the others follow one a cycle.
pub(super) fn estimate(machine: &Machine, grid: Extent, elements: u32) -> u64 {
    let start = start_cycles(machine);
    if grid.pes() == 1 {
        return 0;
    }
    let hops = u64::from(grid.width - 1 + grid.height - 1) * u64::from(machine.hop_cycles);
    start + hops + 2 * u64::from(machine.ramp_cycles) + 1 + u64::from(elements)
}
