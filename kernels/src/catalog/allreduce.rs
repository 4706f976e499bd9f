//! Sum of one vector a PE, for all PEs of a row or a rectangle: reductions of the rows to column 0, of column 0 to the
//! north-west PE, then one multicast to all.
//!
//! Source: P. Luczynski et al., *Near-Optimal Wafer-Scale Reduce* (HPDC 2024), whose reductions are those of `reduce`.

use super::data::numbers;
use super::reduce::{self, ALGORITHM, Algorithm, GROUP, Line};
use super::sketch::Sketch;
use super::{Instance, Kernel, KernelError, Parameter, Settings, broadcast};
use crate::code::{Tile, words_in, words_out};
use std::collections::BTreeMap;
use waferloom_fabric::code::{Instruction, Operand};
use waferloom_fabric::{
    BufferKind, Class, Color, ColorRef, ColorRoute, Coord, Direction, Distribution, Dtype, Extent, Machine,
    ParamValues, Placement, PortSet, Program, QueueBinding, Region, Split, VectorOp,
};

pub(super) const KERNEL: Kernel = Kernel {
    name: "allreduce",
    summary: "The sum of one vector a PE of a row or a rectangle, at every PE: reduce the rows, reduce column 0, multicast. \
              Algorithms of Luczynski et al., Near-Optimal Wafer-Scale Reduce (HPDC 2024).",
    parameters: &[
        Parameter::integer("p", "16", (1, 65535), "PEs in a row"),
        Parameter::integer("rows", "1", (1, 65535), "rows of PEs"),
        Parameter::integer("elements", "256", (1, 1 << 20), "f32 elements of each vector"),
        ALGORITHM,
        GROUP,
    ],
    build,
};

/// What a reduction takes: the column's follows the row's.
const REDUCE_COLORS: u8 = 4;
const REDUCE_INPUTS: u8 = 2;
/// Of the multicast, behind those of both reductions.
const COLOR: Color = Color(2 * REDUCE_COLORS);
const QUEUE_IN: u8 = 2 * REDUCE_INPUTS;
const QUEUE_OUT: u8 = 4;

fn build(settings: &Settings, machine: &Machine) -> Result<Instance, KernelError> {
    let (width, height, elements) = (settings.pes("p"), settings.pes("rows"), settings.integer("elements"));
    let grid = Extent { width, height };
    let mut sketch = Sketch::new("allreduce", machine, grid, ["p", "rows"])?;
    let lines = [width, height].map(|pes| Line { pes: u32::from(pes), elements });
    let algorithms = [
        reduce::choose(settings, machine, lines[0], "p")?,
        if height == 1 { Algorithm::Chain } else { reduce::choose(settings, machine, lines[1], "rows")? },
    ];
    let address = sketch.buffer("vector", elements * 4, BufferKind::Activation);
    let vector = Tile { address, elements, dtype: Dtype::F32 };
    let mut fragments = Vec::new();
    for (line, algorithm) in lines.into_iter().zip(algorithms) {
        let one_row = Extent { width: line.pes as u16, height: 1 };
        // A column is reckoned as a row first; it may be longer than a row of the machine.
        let roomy = Machine { fabric: Extent { width: u16::MAX, height: 1 }, ..machine.clone() };
        let mut fragment = Sketch::new("line", &roomy, one_row, ["p", "rows"])?;
        fragment.buffer("vector", elements * 4, BufferKind::Activation);
        reduce::emit(&mut fragment, line, algorithm, vector);
        fragments.push(fragment.program);
    }
    let column = fragments.pop().map(turned);
    let row = fragments.pop().map(|row| stretched(row, height));
    if let (Some(row), Some(column)) = (row, column) {
        sketch.program = joined(sketch.program, row, column);
    }
    spread(&mut sketch, grid, vector);

    sketch.check(grid.pes() as u64 * u64::from(elements), "elements")?;
    let values = numbers(grid.pes() * elements as usize, 3);
    let each = one_each(grid, elements);
    sketch.constant("vectors", Dtype::F32, each.clone(), address, &values);
    sketch.result("sum", Dtype::F32, each, Coord { x: 0, y: 0 }, address);
    let n = elements as usize;
    let sums: Vec<f64> = (0..n).map(|i| values.iter().skip(i).step_by(n).map(|&v| f64::from(v)).sum()).collect();
    let everywhere = sums.iter().copied().cycle().take(grid.pes() * n).collect();
    let names = algorithms.map(reduce::name);
    Ok(Instance {
        program: sketch.finish("elements")?,
        inputs: BTreeMap::new(),
        expected: BTreeMap::from([("sum".into(), everywhere)]),
        algorithm: if height == 1 { names[0].into() } else { format!("{}, then {}", names[0], names[1]) },
        estimate_cycles: estimate(machine, grid, lines, algorithms),
        flops: (grid.pes() as u64 - 1) * u64::from(elements),
    })
}

/// A vector a PE: the tensor `[rows, pes, elements]`.
pub(super) fn one_each(grid: Extent, elements: u32) -> Distribution {
    Distribution {
        grid,
        shape: vec![u32::from(grid.height), u32::from(grid.width), elements],
        x: Some(Split { dim: 1, block: 1 }),
        y: Some(Split { dim: 0, block: 1 }),
    }
}

/// The three phases follow each other; the code starts once.
fn estimate(machine: &Machine, grid: Extent, lines: [Line; 2], algorithms: [Algorithm; 2]) -> u64 {
    let task = u64::from(machine.task_switch_cycles);
    let phases = [
        reduce::estimate(machine, lines[0], algorithms[0]),
        reduce::estimate(machine, lines[1], algorithms[1]),
        broadcast::estimate(machine, grid, lines[0].elements),
    ];
    let running = phases.into_iter().filter(|&cycles| cycles > 0).map(|cycles| cycles - task).sum::<u64>();
    running + if grid.pes() > 1 { task } else { 0 }
}

/// A program for one row, for `height` rows that all do the same.
fn stretched(mut program: Program, height: u16) -> Program {
    for region in
        program.routes.iter_mut().map(|r| &mut r.region).chain(program.placements.iter_mut().map(|p| &mut p.region))
    {
        region.height = height;
    }
    program
}

/// A program for row 0 as one for column 0, with colours and queues of its own.
fn turned(mut program: Program) -> Program {
    let region =
        |r: Region| Region { x: r.y, y: r.x, width: r.height, height: r.width, step_x: r.step_y, step_y: r.step_x };
    let ports = |set: PortSet| {
        let turned = set.iter().map(|d| match d {
            Direction::West => Direction::North,
            Direction::East => Direction::South,
            other => other,
        });
        PortSet::of(&turned.collect::<Vec<_>>())
    };
    for route in &mut program.routes {
        *route =
            ColorRoute { color: Color(route.color.0 + REDUCE_COLORS), region: region(route.region), ..route.clone() };
        for position in &mut route.positions {
            (position.rx, position.tx) = (ports(position.rx), ports(position.tx));
        }
    }
    for placement in &mut program.placements {
        placement.region = region(placement.region);
    }
    for param in &mut program.params {
        param.name = format!("column_{}", param.name);
        if let ParamValues::ByColumn(colors) = &param.values {
            // All parameters of a reduction are colours.
            param.values = ParamValues::ByRow(colors.iter().map(|c| c + i32::from(REDUCE_COLORS)).collect());
        }
    }
    for class in &mut program.classes {
        let moved = |b: &QueueBinding, by: u8| QueueBinding {
            queue: b.queue + by,
            color: match b.color {
                ColorRef::Fixed(color) => ColorRef::Fixed(Color(color.0 + REDUCE_COLORS)),
                param @ ColorRef::Param(_) => param,
            },
        };
        class.input_queues = class.input_queues.iter().map(|b| moved(b, REDUCE_INPUTS)).collect();
        class.output_queues = class.output_queues.iter().map(|b| moved(b, 1)).collect();
        for task in &mut class.tasks {
            for instruction in &mut task.body {
                move_queues(instruction);
            }
        }
    }
    program
}

/// The queues and colours of a column's reduction; its code is without loops and conditions.
fn move_queues(instruction: &mut Instruction) {
    match instruction {
        Instruction::Vector { dst, srcs, .. } => {
            for operand in srcs.iter_mut().chain([dst]) {
                match operand {
                    Operand::FabIn { queue, .. } => *queue += REDUCE_INPUTS,
                    Operand::FabOut { queue, .. } => *queue += 1,
                    _ => {}
                }
            }
        }
        Instruction::SendControl { queue, .. } => *queue += 1,
        Instruction::SetPosition { color, .. } => *color += REDUCE_COLORS,
        _ => {}
    }
}

/// Rows and column 0 in one program: what the roots of the rows run goes on with what their place in the column runs.
fn joined(mut program: Program, row: Program, column: Program) -> Program {
    let corner = Coord { x: 0, y: 0 };
    let offset = row.params.len() as u32;
    let shifted = |b: &QueueBinding| QueueBinding {
        queue: b.queue,
        color: match b.color {
            ColorRef::Param(index) => ColorRef::Param(index + offset),
            fixed @ ColorRef::Fixed(_) => fixed,
        },
    };
    let root = row.placements.iter().find(|p| p.region.contains(corner)).map_or(0, |p| p.class);
    let mut classes = row.classes;
    let mut placements: Vec<Placement> = row.placements.into_iter().filter(|p| p.class != root).collect();
    let mut heads = Vec::new();
    let root_class = classes.remove(root as usize);
    for placement in &mut placements {
        placement.class -= u32::from(placement.class > root);
    }
    for class in &column.classes {
        let mut head: Class = root_class.clone();
        head.name = format!("column {}", class.name);
        head.input_queues.extend(class.input_queues.iter().map(shifted));
        head.output_queues.extend(class.output_queues.iter().map(shifted));
        for (task, more) in head.tasks.iter_mut().zip(&class.tasks) {
            task.body.extend(more.body.iter().cloned());
        }
        heads.push(head);
    }
    let first = classes.len() as u32;
    placements.extend(column.placements.iter().map(|p| Placement { region: p.region, class: p.class + first }));
    classes.extend(heads);
    program.classes = classes;
    program.placements = placements;
    program.params = [row.params, column.params].concat();
    program.routes = [row.routes, column.routes].concat();
    program
}

/// The multicast of the sum, at the end of every class's code.
fn spread(sketch: &mut Sketch, grid: Extent, vector: Tile) {
    if grid.pes() == 1 {
        return;
    }
    broadcast::routes(sketch, COLOR, grid);
    let corner = Coord { x: 0, y: 0 };
    let root = sketch.program.placements.iter().find(|p| p.region.contains(corner)).map(|p| p.class as usize);
    for (index, class) in sketch.program.classes.iter_mut().enumerate() {
        let color = ColorRef::Fixed(COLOR);
        let (dst, src) = if Some(index) == root {
            class.output_queues.push(QueueBinding { queue: QUEUE_OUT, color });
            (words_out(QUEUE_OUT, vector.elements), vector.as_words())
        } else {
            class.input_queues.push(QueueBinding { queue: QUEUE_IN, color });
            (vector.as_words(), words_in(QUEUE_IN, vector.elements))
        };
        let copy = Instruction::Vector { op: VectorOp::Mov, dst, srcs: vec![src], run_async: None };
        class.tasks.iter_mut().for_each(|task| task.body.push(copy.clone()));
    }
}
