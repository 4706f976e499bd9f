//! The routes of each colour: every link has two ends, nothing goes in circles, and senders do not meet.

use super::Place;
use super::finding::{Findings, Grouped};
use super::grid::port_place;
use super::map::{Map, each_color, sent_color};
use super::reach::Reach;
use super::traffic::Traffic;
use crate::geometry::{Direction, PortSet};
use crate::program::{PortKind, Program};
use std::cell::LazyCell;
use std::collections::BTreeSet;

/// What is wrong with a way out of a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Break {
    LeavesFabric,
    NoRoute,
    NotTaken,
}

/// `traffic` is that of the classes, and the colours that each PE may send on, as bits.
pub(super) fn check(program: &Program, map: &Map, (traffic, sends): (&[Traffic], &[u64]), found: &mut Findings) {
    ports(program, map, found);
    // Only what may be wrong with a route asks for them.
    let possible = LazyCell::new(|| possible(program, map, sends));
    let certain = LazyCell::new(|| certain(program, map, traffic));
    links(program, map, &possible, &certain, found);
    for color in map.colors() {
        circles(program, map, color, found);
    }
}

/// Where wavelets may come.
fn possible<'a>(program: &'a Program, map: &'a Map, sends: &[u64]) -> Reach<'a> {
    let mut possible = Reach::new(program, map, false);
    inputs(program).for_each(|(color, (pe, port))| possible.add((color, pe, port)));
    for (pe, &colors) in sends.iter().enumerate() {
        each_color(colors).for_each(|color| possible.add((color, pe, Direction::Ramp)));
    }
    possible.run(|_, _, _| ());
    possible
}

/// Where wavelets are sure to come.
fn certain<'a>(program: &'a Program, map: &'a Map, traffic: &[Traffic]) -> Reach<'a> {
    let mut certain = Reach::new(program, map, true);
    inputs(program).for_each(|(color, (pe, port))| certain.add((color, pe, port)));
    for (pe, at, class) in map.placed(program) {
        for color in traffic[class].certain(program, at).filter_map(|queue| sent_color(program, class, queue, at)) {
            certain.add((color, pe, Direction::Ramp));
        }
    }
    certain.run(|_, _, _| ());
    certain
}

/// Router queues into which the host sends.
pub(super) fn inputs(program: &Program) -> impl Iterator<Item = (u8, (usize, Direction))> {
    let ports = program.ports.iter().filter(|p| p.kind == PortKind::Input);
    ports.flat_map(|port| {
        (0..port.streams()).map(|s| (port.color.0, (program.grid.index(port.stream_pe(s)), port.edge)))
    })
}

/// Every port must meet a route at the edge.
fn ports(program: &Program, map: &Map, found: &mut Findings) {
    for port in &program.ports {
        let input = port.kind == PortKind::Input;
        let bad = (0..port.streams()).map(|s| port.stream_pe(s)).find(|&at| {
            let ways = map.ways(port.color.0, program.grid.index(at));
            !ways.is_some_and(|ways| if input { ways.takes } else { ways.gives }.contains(port.edge))
        });
        if let Some(at) = bad {
            let place = Place { pe: Some(at), ..port_place(port) };
            let (message, remedy) = if input {
                ("the router at the edge takes nothing from there", "give it a position with the edge in `rx`")
            } else {
                ("the router at the edge sends nothing there", "give it a position with the edge in `tx`")
            };
            found.error(place, message, format!("{remedy}: {}", crate::text::direction_name(port.edge)));
        }
    }
}

/// Looks at both ends of every link, and for senders that meet.
fn links<'a>(
    program: &Program,
    map: &Map,
    possible: &LazyCell<Reach<'a>, impl FnOnce() -> Reach<'a>>,
    certain: &LazyCell<Reach<'a>, impl FnOnce() -> Reach<'a>>,
    found: &mut Findings,
) {
    let outputs: BTreeSet<(u8, usize, Direction)> = (program.ports.iter().filter(|p| p.kind == PortKind::Output))
        .flat_map(|p| (0..p.streams()).map(|s| (p.color.0, program.grid.index(p.stream_pe(s)), p.edge)))
        .collect();
    let (mut broken, mut unused, mut merged) = (Grouped::new(), Grouped::new(), Grouped::new());
    for color in map.colors() {
        for pe in 0..program.grid.pes() {
            let Some(route) = map.route(program, color, pe) else { continue };
            let (at, comes) = (|| program.grid.coord(pe), || possible.ports(color, pe));
            for position in &route.positions {
                for out in position.tx.iter().filter(|&d| d != Direction::Ramp) {
                    let Some(what) = broken_link(program, map, color, pe, out) else { continue };
                    if outputs.contains(&(color, pe, out)) {
                        continue;
                    }
                    let fixed = route.positions.len() == 1;
                    if fixed && certain.ports(color, pe) & position.rx.0 != 0 {
                        broken.add((color, out, what), at());
                    } else {
                        let used = comes() & position.rx.0 != 0;
                        // A way out for results that a program does not send: whoever lays out a mesh may lay it anyway.
                        if used || what != Break::LeavesFabric {
                            unused.add((color, out, what, used), at());
                        }
                    }
                }
                if position.rx.0.count_ones() > 1 && (comes() & position.rx.0).count_ones() > 1 {
                    merged.add(color, at());
                }
            }
        }
    }
    tell_broken(broken, unused, found);
    for (color, place) in merged.places() {
        let message =
            "wavelets of several senders can come into the router at once, and their order depends on the time";
        found.warning(place.color(color), message, "use a colour for each sender, or switch positions");
    }
}

fn broken_link(program: &Program, map: &Map, color: u8, pe: usize, out: Direction) -> Option<Break> {
    let Some(to) = program.grid.beside(pe, out) else { return Some(Break::LeavesFabric) };
    match map.ways(color, to) {
        None => Some(Break::NoRoute),
        Some(ways) => (!ways.takes.contains(out.opposite())).then_some(Break::NotTaken),
    }
}

fn tell_broken(
    broken: Grouped<(u8, Direction, Break)>,
    unused: Grouped<(u8, Direction, Break, bool)>,
    found: &mut Findings,
) {
    for ((color, out, what), place) in broken.places() {
        let (message, remedy) = words(out, what);
        found.error(place.color(color), message, remedy);
    }
    for ((color, out, what, used), place) in unused.places() {
        let (message, remedy) = words(out, what);
        let when = if used { "; nothing may be sent that way" } else { "; nothing is sent that way" };
        found.warning(place.color(color), message + when, remedy);
    }
}

fn words(out: Direction, what: Break) -> (String, &'static str) {
    let way = crate::text::direction_name(out);
    match what {
        Break::LeavesFabric => (
            format!("the route to {way} leaves the fabric, and no output port takes it"),
            "end the route, or add a port",
        ),
        Break::NoRoute => {
            (format!("the route to {way} ends at a PE without a route for the colour"), "give the neighbour a route")
        }
        Break::NotTaken => {
            let message = format!("the route to {way} ends at a router that takes nothing from that side");
            (message, "add the side to the `rx` of the neighbour")
        }
    }
}

/// Circles in the routes of a colour: certain when every switch of the circle has one position.
fn circles(program: &Program, map: &Map, color: u8, found: &mut Findings) {
    // A circle goes as far to the west as to the east, and as far to the north as to the south.
    let routes = program.routes.iter().filter(|route| route.color.0 == color);
    let used = PortSet(routes.flat_map(|route| &route.positions).fold(0, |set, position| set | position.tx.0));
    let both = |one, other| used.contains(one) && used.contains(other);
    if !both(Direction::West, Direction::East) && !both(Direction::North, Direction::South) {
        return;
    }
    // One of fixed routes is one of all routes too.
    let Some(possible) = circle(program, map, color, false) else { return };
    if let Some(pe) = circle(program, map, color, true) {
        let place = Place { pe: Some(program.grid.coord(pe)), ..Place::default() }.color(color);
        found.error(place, "the routes go in a circle: wavelets would never leave it", "let the routes form a tree");
    } else {
        let place = Place { pe: Some(program.grid.coord(possible)), ..Place::default() }.color(color);
        let message = "the routes go in a circle when the switches stand in certain positions";
        found.warning(place, message, "make sure that they never do, or let the routes form a tree");
    }
}

/// Colours of a search in depth: not seen, on the path, done.
const SEEN: u8 = 1;
const DONE: u8 = 2;

/// A PE on a circle, if there is one.
fn circle(program: &Program, map: &Map, color: u8, fixed_only: bool) -> Option<usize> {
    let grid = program.grid;
    let ways = |pe: usize| map.ways(color, pe).filter(|ways| !fixed_only || ways.is_fixed);
    let mut state = vec![0u8; grid.pes() * 4];
    // (queue as pe * 4 + port, the way out to be tried next).
    let mut path: Vec<(usize, usize)> = Vec::new();
    for start in 0..state.len() {
        if state[start] != 0 || ways(start / 4).is_none() {
            continue;
        }
        state[start] = SEEN;
        path.push((start, 0));
        while let Some((node, way)) = path.last_mut() {
            let (pe, port) = (*node / 4, Direction::ALL[*node % 4]);
            let Some(&out) = Direction::ALL[..4].get(*way) else {
                state[*node] = DONE;
                path.pop();
                continue;
            };
            *way += 1;
            if !ways(pe).is_some_and(|ways| ways.through(port).contains(out)) {
                continue;
            }
            let Some(to) = grid.beside(pe, out) else { continue };
            let next = to * 4 + out.opposite() as usize;
            match state[next] {
                0 => {
                    state[next] = SEEN;
                    path.push((next, 0));
                }
                SEEN => return Some(next / 4),
                _ => {}
            }
        }
    }
    None
}
