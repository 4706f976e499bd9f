//! The machine's values, and what must fit the grid.

use super::constants::{Resident, residents};
use super::{Findings, Place, claims};
use crate::geometry::{Coord, Direction, Extent, PortSet, Region};
use crate::program::{ColorRoute, Constant, Filter, ParamValues, Payload, Port, PortKind, Program};
use crate::tensor::Distribution;
use std::collections::BTreeSet;

/// Switch positions of a colour at a router.
const MOST_POSITIONS: usize = 4;
/// Classes that an index of 16 bits can name.
const MOST_CLASSES: usize = 1 << 16;
/// Elements of one tile of a port. A PE's memory is far smaller; more is a slip of the pen, and would fill the host's memory.
const MOST_TILE_ELEMENTS: usize = 1 << 24;

/// Items of one run: their tensors lie in the host's memory all at once.
const MOST_ITEMS: u32 = 1 << 20;

pub(super) fn check(program: &Program, found: &mut Findings) {
    if let Err(e) = program.machine.check() {
        let place = Place::item(format!("machine {:?}", program.machine.name));
        return found.error(place, e.to_string(), "correct the machine file");
    }
    let (grid, fabric) = (program.grid, program.machine.fabric);
    if grid.pes() == 0 || grid.width > fabric.width || grid.height > fabric.height {
        let message = format!(
            "a grid of {}x{} PEs on a machine with {}x{}",
            grid.width, grid.height, fabric.width, fabric.height
        );
        return found.error(Place::default(), message, "use at least one PE and at most the machine's");
    }
    if program.items == 0 || program.items > MOST_ITEMS {
        let message = format!("the ports carry {} items", program.items);
        found.error(Place::default(), message, format!("give 1 to {MOST_ITEMS}"));
    }
    params(program, found);
    regions(program, found);
    for (index, route) in program.routes.iter().enumerate() {
        check_route(program, index, route, found);
    }
    for resident in &residents(program) {
        check_resident(grid, resident, found);
    }
    for constant in program.constants.iter().filter(|c| c.distribution.check().is_ok()) {
        check_payload(constant, found);
    }
    let mut names = BTreeSet::new();
    for port in &program.ports {
        check_port(program, port, found);
        if !names.insert((port.kind == PortKind::Input, &port.name)) {
            found.error(port_place(port), "another port of the same kind has this name", "give each its own name");
        }
    }
    for result in &program.readbacks {
        if !names.insert((false, &result.name)) {
            let place = Place::item(format!("result {:?}", result.name));
            found.error(place, "another output or result has this name", "give each its own name");
        }
    }
}

fn params(program: &Program, found: &mut Findings) {
    for param in &program.params {
        let (values, needed, per) = match &param.values {
            ParamValues::ByColumn(v) => (v.len(), usize::from(program.grid.width), "column"),
            ParamValues::ByRow(v) => (v.len(), usize::from(program.grid.height), "row"),
            ParamValues::PerPe(v) => (v.len(), program.grid.pes(), "PE"),
        };
        if values != needed {
            let message = format!("it has {values} values for {needed}");
            let remedy = format!("give one value per {per} of the grid");
            found.error(Place::item(format!("parameter {:?}", param.name)), message, remedy);
        }
    }
}

fn regions(program: &Program, found: &mut Findings) {
    if program.classes.len() > MOST_CLASSES {
        let message = format!("{} classes", program.classes.len());
        found.error(Place::default(), message, format!("use at most {MOST_CLASSES}"));
    }
    for (index, placement) in program.placements.iter().enumerate() {
        let place = || Place::item(format!("placement {index}"));
        region(program.grid, &placement.region, place(), found);
        if placement.class as usize >= program.classes.len() {
            let message = format!("there is no class #{}", placement.class);
            found.error(place(), message, "name one of the program's classes");
        }
    }
    claims::check(program, found);
    for operator in &program.operators {
        region(program.grid, &operator.region, Place::item(format!("operator {:?}", operator.name)), found);
    }
}

pub(super) fn region(grid: Extent, region: &Region, place: Place, found: &mut Findings) {
    let Region { x, y, width, height, step_x, step_y } = *region;
    if step_x == 0 || step_y == 0 {
        let message = format!("its region has the step {step_x}x{step_y}");
        found.error(place, message, "steps are at least 1");
    } else if !region.fits(grid) {
        let message =
            format!("its region at {x},{y} of {width}x{height} leaves the grid of {}x{}", grid.width, grid.height);
        found.error(place, message, "make it smaller, or move it to the north-west");
    } else if width == 0 || height == 0 {
        found.warning(place, "its region holds no PE", "remove it, or give it a size");
    }
}

fn check_route(program: &Program, index: usize, route: &ColorRoute, found: &mut Findings) {
    let place = || Place::item(format!("route {index}")).color(route.color.0);
    region(program.grid, &route.region, place(), found);
    if route.color.0 >= program.machine.colors {
        let message = format!("the machine has the colours c0 to c{}", program.machine.colors - 1);
        found.error(place(), message, "use one of them");
    }
    let positions = route.positions.len();
    if !(1..=MOST_POSITIONS).contains(&positions) {
        found.error(place(), format!("it has {positions} switch positions"), "a switch has 1 to 4");
    } else if usize::from(route.start) >= positions {
        let message = format!("it starts in position {} of {positions}", route.start);
        found.error(place(), message, "positions count from 0");
    }
    let ports = PortSet::of(&Direction::ALL).0;
    if route.positions.iter().any(|p| (p.rx.0 | p.tx.0) & !ports != 0) {
        found.error(place(), "a position names a port that routers do not have", "use WEST, EAST, NORTH, SOUTH, RAMP");
    }
    match route.filter {
        Some(Filter::Count { period: 0, .. }) => {
            found.error(place(), "its filter counts to 0", "give the filter a period of at least 1");
        }
        Some(Filter::Count { first, pass, period }) if pass == 0 || first >= period => {
            found.warning(
                place(),
                "its filter lets nothing through",
                "choose `pass` above 0 and `first` below `period`",
            );
        }
        Some(Filter::Range { low, high }) if low > high => {
            found.warning(place(), "its filter lets nothing through", "give the lowest index first");
        }
        _ => {}
    }
}

fn check_distribution(d: &Distribution, place: &Place, found: &mut Findings) -> bool {
    match d.check() {
        Ok(()) => true,
        Err(message) => {
            found.error(place.clone(), message, "correct how it is dealt to the PEs");
            false
        }
    }
}

fn check_resident(grid: Extent, resident: &Resident<'_>, found: &mut Findings) {
    if !check_distribution(resident.distribution, &resident.place(), found) {
        return;
    }
    let tiles = resident.distribution.grid;
    let Coord { x, y } = resident.origin;
    if !Region::rect(x, y, tiles.width, tiles.height).fits(grid) {
        let message = format!("its {}x{} tiles from {x},{y} on leave the grid", tiles.width, tiles.height);
        found.error(resident.place(), message, "deal it to fewer PEs, or move its origin");
    }
}

fn check_payload(constant: &Constant, found: &mut Findings) {
    if constant.distribution.check().is_err() {
        return;
    }
    let needed = constant.distribution.elements() as u64 * u64::from(constant.dtype.bytes());
    if let Payload::Inline(bytes) = &constant.payload
        && bytes.len() as u64 != needed
    {
        let place = Place::item(format!("constant {:?}", constant.name));
        let message = format!("it holds {} bytes, its shape needs {needed}", bytes.len());
        found.error(place, message, "give as many elements as the shape says");
    }
}

pub(super) fn port_place(port: &Port) -> Place {
    let kind = if port.kind == PortKind::Input { "input" } else { "output" };
    Place::item(format!("{kind} {:?}", port.name)).color(port.color.0)
}

fn check_port(program: &Program, port: &Port, found: &mut Findings) {
    let grid = program.grid;
    if port.edge == Direction::Ramp {
        return found.error(port_place(port), "the ramp is no edge of the fabric", "use WEST, EAST, NORTH or SOUTH");
    }
    if port.color.0 >= program.machine.colors {
        let message = format!("the machine has the colours c0 to c{}", program.machine.colors - 1);
        found.error(port_place(port), message, "use one of them");
    }
    if !check_distribution(&port.distribution, &port_place(port), found) {
        return;
    }
    if port.distribution.tile_elements() > MOST_TILE_ELEMENTS {
        let message = format!("a tile of {} elements", port.distribution.tile_elements());
        return found.error(
            port_place(port),
            message,
            format!("deal it out: at most {MOST_TILE_ELEMENTS} elements a tile"),
        );
    }
    let vertical = matches!(port.edge, Direction::North | Direction::South);
    let (along_x, along_y) = if vertical { (port.streams(), 1) } else { (1, port.streams()) };
    if !Region::rect(port.at.x, port.at.y, along_x, along_y).fits(grid) {
        let message = format!("its {} streams from {},{} on leave the grid", port.streams(), port.at.x, port.at.y);
        found.error(port_place(port), message, "use as many rows (or columns) as the grid has there");
    } else if port.edge.neighbour(port.at, grid).is_some() {
        let message = format!("PE ({}, {}) is not at the edge that it names", port.at.x, port.at.y);
        found.error(port_place(port), message, "place it in the outermost row or column of that side");
    }
}
