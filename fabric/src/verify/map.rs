//! What is at each PE: its class, and the route of each colour.

use super::finding::{Findings, Grouped};
use super::{Place, traffic::Traffic};
use crate::code::Value;
use crate::geometry::{Coord, Direction, PortSet};
use crate::program::{ColorRef, ColorRoute, Program};

const NONE: u32 = u32::MAX;

/// Regions spread out to PEs, by row-major index.
pub(super) struct Map {
    classes: Vec<u32>,
    /// By colour; empty for a colour without routes.
    routes: Vec<Vec<u32>>,
    /// By route.
    ways: Vec<Ways>,
}

/// What a route does with what comes in, worked out once for all its PEs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ways {
    /// By port: the ports to which wavelets that come in there go in some position.
    through: [u8; 5],
    /// Ports from which some position takes wavelets.
    pub(super) takes: PortSet,
    /// Ports to which some position sends wavelets.
    pub(super) gives: PortSet,
    /// Whether there is a single position.
    pub(super) is_fixed: bool,
}

impl Ways {
    fn of(route: &ColorRoute) -> Self {
        let outputs = |port: Direction| {
            let positions = route.positions.iter().filter(|p| p.rx.contains(port));
            positions.fold(0, |set, position| set | position.tx.0)
        };
        let takes = PortSet(route.positions.iter().fold(0, |set, position| set | position.rx.0));
        let gives = PortSet(route.positions.iter().fold(0, |set, position| set | position.tx.0));
        Self { through: Direction::ALL.map(outputs), takes, gives, is_fixed: route.positions.len() == 1 }
    }

    /// The ports to which wavelets that come in at a port go in some position.
    pub(super) fn through(self, port: Direction) -> PortSet {
        PortSet(self.through[port as usize])
    }
}

impl Map {
    /// Spreads the regions out; finds PEs with two classes, and with two routes for a colour.
    pub(super) fn new(program: &Program, found: &mut Findings) -> Self {
        let grid = program.grid;
        let mut classes = vec![NONE; grid.pes()];
        let mut twice = Grouped::new();
        for (index, placement) in program.placements.iter().enumerate() {
            placement.region.coords().for_each(|at| {
                let slot = &mut classes[grid.index(at)];
                if *slot != NONE {
                    twice.add(index, at);
                }
                *slot = placement.class;
            });
        }
        for (index, place) in twice.places() {
            let place = Place { item: Some(format!("placement {index}")), ..place };
            found.error(place, "another placement has given the PE a class already", "let their regions not meet");
        }
        let mut routes = vec![Vec::new(); usize::from(program.machine.colors)];
        let mut twice = Grouped::new();
        for (index, route) in program.routes.iter().enumerate() {
            let slots = &mut routes[usize::from(route.color.0)];
            if slots.is_empty() {
                slots.resize(grid.pes(), NONE);
            }
            route.region.coords().for_each(|at| {
                let slot = &mut slots[grid.index(at)];
                if *slot != NONE {
                    twice.add((index, route.color.0), at);
                }
                *slot = index as u32;
            });
        }
        for ((index, color), place) in twice.places() {
            let place = Place { item: Some(format!("route {index}")), ..place }.color(color);
            found.error(place, "another route names the colour at the same PE", "let their regions not meet");
        }
        Self { classes, routes, ways: program.routes.iter().map(Ways::of).collect() }
    }

    /// The class of a PE, as an index.
    pub(super) fn class(&self, pe: usize) -> Option<usize> {
        Some(self.classes[pe]).filter(|&c| c != NONE).map(|c| c as usize)
    }

    /// The route of a colour at a PE.
    pub(super) fn route<'p>(&self, program: &'p Program, color: u8, pe: usize) -> Option<&'p ColorRoute> {
        let index = *self.routes.get(usize::from(color))?.get(pe)?;
        program.routes.get(index as usize)
    }

    /// What the route of a colour at a PE does.
    pub(super) fn ways(&self, color: u8, pe: usize) -> Option<&Ways> {
        let index = *self.routes.get(usize::from(color))?.get(pe)?;
        self.ways.get(index as usize)
    }

    /// Colours that have a route anywhere.
    pub(super) fn colors(&self) -> impl Iterator<Item = u8> {
        self.routes.iter().enumerate().filter(|(_, slots)| !slots.is_empty()).map(|(color, _)| color as u8)
    }

    /// PEs that have a class: index, place and class.
    pub(super) fn placed(&self, program: &Program) -> impl Iterator<Item = (usize, Coord, usize)> {
        let grid = program.grid;
        (0..self.classes.len()).filter_map(move |pe| Some((pe, grid.coord(pe), self.class(pe)?)))
    }

    /// Colours that a PE's code may put wavelets into, as bits.
    pub(super) fn sends(&self, program: &Program, traffic: &[Traffic], pe: usize) -> u64 {
        let Some(class) = self.class(pe) else { return 0 };
        let at = program.grid.coord(pe);
        let colors = traffic[class].possible(program, at).filter_map(|queue| sent_color(program, class, queue, at));
        colors.fold(0, |bits, color| bits | 1 << color)
    }
}

/// The colours of a set.
pub(super) fn each_color(mut colors: u64) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let color = colors.trailing_zeros() as u8;
        colors &= colors.checked_sub(1)?;
        Some(color)
    })
}

/// The colour on which a class's output queue sends at a PE.
pub(super) fn sent_color(program: &Program, class: usize, queue: u8, at: Coord) -> Option<u8> {
    let binding = program.classes[class].output_queues.iter().find(|b| b.queue == queue)?;
    color_at(program, binding.color, at)
}

/// The colour of a binding at a PE; `None` when a parameter gives none.
pub(super) fn color_at(program: &Program, color: ColorRef, at: Coord) -> Option<u8> {
    match color {
        ColorRef::Fixed(color) => Some(color.0),
        ColorRef::Param(param) => {
            let value = program.params.get(param as usize)?.values.at(at, program.grid);
            u8::try_from(value).ok().filter(|&c| c < program.machine.colors)
        }
    }
}

/// A value at a PE, if it does not depend on what the code does.
pub(super) fn value_at(program: &Program, value: Value, at: Coord) -> Option<i32> {
    match value {
        Value::Imm(n) => Some(n),
        Value::Param(param) => program.params.get(param as usize).map(|p| p.values.at(at, program.grid)),
        Value::Reg(_) => None,
    }
}
