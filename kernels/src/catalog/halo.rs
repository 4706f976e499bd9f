//! Exchange of edges between neighbours on a grid: every PE sends to each of its (up to four) neighbours on two colours an axis
//! and direction, in a checkerboard, since a PE sends and receives in one direction at once.

use crate::code::Code;
use crate::mesh::{Axis, Mesh};
use waferloom_fabric::code::{Async, Instruction, Operand};
use waferloom_fabric::{Color, ColorRef, ColorRoute, Direction, Dtype, PortSet, Position, Region, Value, VectorOp};

/// Wires of a grid with all its neighbours: routes and bindings of queues.
#[derive(Default)]
pub(super) struct Wires {
    pub(super) routes: Vec<ColorRoute>,
    pub(super) inputs: Vec<(u8, ColorRef)>,
    pub(super) outputs: Vec<(u8, ColorRef)>,
}

/// The ways: along an axis, and whether up (to the east or south) or down. Queues, microthreads and pairs of colours have the
/// number of the way.
const WAYS: [(Axis, bool); 4] = [(Axis::X, true), (Axis::X, false), (Axis::Y, true), (Axis::Y, false)];

fn way(axis: Axis, up: bool) -> u8 {
    WAYS.iter().position(|&w| w == (axis, up)).unwrap_or(0) as u8
}

/// The wires of a mesh; ways along an axis of one PE are left out.
pub(super) fn wires(mesh: &mut Mesh) -> Wires {
    let mut wires = Wires::default();
    for (number, (axis, up)) in WAYS.into_iter().enumerate() {
        let size = mesh.size(axis) as u16;
        if size == 1 {
            continue;
        }
        let number = number as u8;
        let colors = [Color(2 * number), Color(2 * number + 1)];
        for (parity, color) in (0..).zip(colors) {
            routes(&mut wires.routes, mesh, axis, up, color, parity);
        }
        let mut colors_of = |name: &str, add: i32| {
            let values = (0..i32::from(size)).map(|i| i32::from(2 * number) + (i + add) % 2).collect();
            match mesh.param_along(axis, name, values) {
                Value::Param(index) => ColorRef::Param(index),
                Value::Imm(color) => ColorRef::Fixed(Color(color as u8)),
                Value::Reg(_) => ColorRef::Fixed(colors[0]),
            }
        };
        wires.outputs.push((number, colors_of("to", 0)));
        wires.inputs.push((number, colors_of("from", 1)));
    }
    wires
}

/// PEs of one parity send on a colour, those of the other one receive.
fn routes(list: &mut Vec<ColorRoute>, mesh: &Mesh, axis: Axis, up: bool, color: Color, parity: u16) {
    let size = mesh.size(axis) as u16;
    let (before, after) = match axis {
        Axis::X => (Direction::West, Direction::East),
        Axis::Y => (Direction::North, Direction::South),
    };
    let (to, from) = if up { (after, before) } else { (before, after) };
    // Who has a neighbour to send to, and to receive from.
    let (senders, receivers) = if up { (0..size - 1, 1..size) } else { (1..size, 0..size - 1) };
    for (range, wanted, rx, tx) in
        [(senders, parity, Direction::Ramp, to), (receivers, 1 - parity, from, Direction::Ramp)]
    {
        let first = range.start + (range.start + wanted) % 2;
        if first >= range.end {
            continue;
        }
        let count = range.end - first;
        let region = match axis {
            Axis::X => Region { x: first, y: 0, width: count, height: mesh.grid.height, step_x: 2, step_y: 1 },
            Axis::Y => Region { x: 0, y: first, width: mesh.grid.width, height: count, step_x: 1, step_y: 2 },
        };
        let positions = vec![Position { rx: PortSet::of(&[rx]), tx: PortSet::of(&[tx]) }];
        list.push(ColorRoute { color, region, positions, start: 0, ring: false, filter: None });
    }
}

/// What goes one way: a view of what is sent and of where it comes to lie, for a given length of the dimension that is cut.
pub(super) struct Edge<'a> {
    pub(super) axis: Axis,
    /// To the east or south.
    pub(super) up: bool,
    /// Elements along the axis, and all others.
    pub(super) thickness: u32,
    pub(super) others: u32,
    pub(super) dtype: Dtype,
    pub(super) sent: &'a dyn Fn(Value) -> Operand,
    pub(super) received: &'a dyn Fn(Value) -> Operand,
}

/// Emits the exchange of edges along one axis: first all sends, beside the main thread, then the receptions. PEs at the end of
/// the grid send and receive nothing there.
pub(super) fn exchange(code: &mut Code, mesh: &mut Mesh, edges: &[Edge<'_>]) {
    let size = |edge: &Edge<'_>| mesh.size(edge.axis);
    if edges.iter().all(|edge| size(edge) == 1) {
        return;
    }
    let mut receptions = Vec::new();
    for edge in edges {
        let last = mesh.size(edge.axis) as usize - 1;
        let mut at_all_but = |pe: usize, name: &str, count: u32| {
            let counts = (0..=last).map(|i| if i == pe { 0 } else { count as i32 }).collect();
            mesh.param_along(edge.axis, name, counts)
        };
        let (no_sender, no_receiver) = if edge.up { (last, 0) } else { (0, last) };
        let elements = edge.thickness * edge.others;
        let queue = way(edge.axis, edge.up);
        let cut = at_all_but(no_sender, "cut", edge.thickness);
        let len = at_all_but(no_sender, "sent", elements);
        code.push(Instruction::Vector {
            op: VectorOp::Mov,
            dst: Operand::FabOut { queue, dtype: edge.dtype, len },
            srcs: vec![(edge.sent)(cut)],
            run_async: Some(Async { microthread: queue, then: None }),
        });
        let cut = at_all_but(no_receiver, "cut", edge.thickness);
        let len = at_all_but(no_receiver, "received", elements);
        receptions.push(((edge.received)(cut), Operand::FabIn { queue, dtype: edge.dtype, len }));
    }
    for (to, from) in receptions {
        code.mov(to, from);
    }
}
