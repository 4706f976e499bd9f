//! Circles of waiting at the start of a run.
//!
//! Two kinds can be proved. PEs that wait for wavelets before they have sent any, where everyone who could send them waits
//! too; and PEs that send more than the queues on the way hold before they take anything, to PEs that do the same. What comes
//! later in a run depends on what the code does; a deadlock then is found, and told, by the engine.

use super::Place;
use super::finding::{Findings, Grouped};
use super::map::{Map, color_at, each_color, sent_color, value_at};
use super::reach::Reach;
use super::routes::inputs;
use super::traffic::{First, Traffic};
use crate::geometry::{Coord, Direction};
use crate::program::Program;

/// Routers through which the wavelets of all senders are followed together; beyond, nothing is proved.
const MOST_ROUTERS: usize = 1 << 24;

/// What a PE does until something comes to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It may send on any of its colours.
    Live,
    /// It waits for one of these colours, or sleeps until one comes; `stuck` when its end has to be reached.
    Waits { colors: u64, stuck: bool },
    /// It sends so many wavelets first.
    Sends { color: u8, queue: u8, count: u64 },
}

/// `traffic` is that of the classes, and the colours that each PE may send on, as bits.
pub(super) fn check(program: &Program, map: &Map, (traffic, sends): (&[Traffic], &[u64]), found: &mut Findings) {
    let mut states: Vec<State> = (0..program.grid.pes()).map(|pe| state(program, map, traffic, pe)).collect();
    wake(program, map, sends, &mut states);
    let mut waiting = Grouped::new();
    for (pe, at, class) in map.placed(program) {
        if let State::Waits { colors, stuck: true } = states[pe] {
            waiting.add((class, colors.trailing_zeros() as u8), at);
        }
    }
    for ((class, color), place) in waiting.places() {
        let message = "the code waits for the colour before it sends anything, and nobody who could send it can start";
        let remedy = "let a sender's route lead here, or let one PE of the circle send first";
        found.error(in_class(program, class, place).color(color), message, remedy);
    }
    for (pe, color) in stuck_senders(program, map, &states) {
        let at = program.grid.coord(pe);
        let class = map.class(pe).unwrap_or(0);
        let place = in_class(program, class, Place { pe: Some(at), ..Place::default() }).color(color);
        let message = "the code sends more than the queues on the way hold, to a PE that takes nothing before it has done the same";
        found.error(place, message, "send asynchronously, or let one of the two receive first");
        if found.omitted > 0 {
            break;
        }
    }
}

fn in_class(program: &Program, class: usize, place: Place) -> Place {
    Place { class: program.classes.get(class).map(|c| c.name.clone()), ..place }
}

fn state(program: &Program, map: &Map, traffic: &[Traffic], pe: usize) -> State {
    let Some(class) = map.class(pe) else { return State::Waits { colors: 0, stuck: false } };
    let at = program.grid.coord(pe);
    let class_of = &program.classes[class];
    let heard = |wanted: &dyn Fn(u8) -> bool| {
        let bindings = class_of.input_queues.iter().filter(|b| wanted(b.queue));
        bindings.filter_map(|b| color_at(program, b.color, at)).fold(0u64, |bits, color| bits | 1 << color)
    };
    let count = |len| value_at(program, len, at).filter(|&n| n > 0);
    match &traffic[class].first {
        First::Sleep => State::Waits { colors: heard(&|_| true), stuck: false },
        First::Receive(queues, len) if count(*len).is_some() => {
            State::Waits { colors: heard(&|queue| queues.contains(&queue)), stuck: true }
        }
        First::Send(queue, len) => match (sent_color(program, class, *queue, at), count(*len)) {
            (Some(color), Some(n)) => State::Sends { color, queue: *queue, count: n as u64 },
            _ => State::Live,
        },
        First::Receive(..) | First::Unknown => State::Live,
    }
}

/// Follows wavelets from everyone who can send; those to whom they come can send too.
fn wake(program: &Program, map: &Map, sends: &[u64], states: &mut [State]) {
    let mut reach = Reach::new(program, map, false);
    for (color, (pe, port)) in inputs(program) {
        reach.add((color, pe, port));
    }
    let start = |reach: &mut Reach, pe: usize| {
        each_color(sends[pe]).for_each(|color| reach.add((color, pe, Direction::Ramp)));
    };
    for (pe, state) in states.iter().enumerate() {
        if !matches!(state, State::Waits { .. }) {
            start(&mut reach, pe);
        }
    }
    reach.run(|reach, color, pe| {
        if let State::Waits { colors, .. } = states[pe]
            && colors >> color & 1 == 1
        {
            states[pe] = State::Live;
            start(reach, pe);
        }
    });
}

/// PEs that send first and can never get rid of it all, with their colours.
fn stuck_senders(program: &Program, map: &Map, states: &[State]) -> Vec<(usize, u8)> {
    // Who holds up whom: a sender is stuck as long as one of those who hold it up is.
    let mut holds: std::collections::BTreeMap<usize, Vec<usize>> = std::collections::BTreeMap::new();
    let mut held_by = vec![0usize; states.len()];
    let mut budget = MOST_ROUTERS;
    for (pe, state) in states.iter().enumerate() {
        let State::Sends { color, queue, count } = *state else { continue };
        let sender = Sender { pe, color, queue, count };
        for receiver in full_receivers(program, map, states, &sender, &mut budget) {
            holds.entry(receiver).or_default().push(pe);
            held_by[pe] += 1;
        }
    }
    let mut free: Vec<usize> = (0..states.len()).filter(|&pe| held_by[pe] == 0).collect();
    while let Some(pe) = free.pop() {
        for &sender in holds.get(&pe).into_iter().flatten() {
            held_by[sender] -= 1;
            if held_by[sender] == 0 {
                free.push(sender);
            }
        }
    }
    let stuck = states.iter().enumerate().filter(|&(pe, _)| held_by[pe] > 0);
    stuck
        .filter_map(|(pe, state)| if let State::Sends { color, .. } = state { Some((pe, *color)) } else { None })
        .collect()
}

/// A PE that sends first, and what.
struct Sender {
    pe: usize,
    color: u8,
    queue: u8,
    count: u64,
}

/// PEs that themselves send first, and to which the queues on the way do not hold what a PE sends.
fn full_receivers(program: &Program, map: &Map, states: &[State], sender: &Sender, budget: &mut usize) -> Vec<usize> {
    let Sender { pe, color, queue, count } = *sender;
    let (grid, machine) = (program.grid, &program.machine);
    let ramp = u64::from(machine.ramp_cycles);
    let link = u64::from(machine.router_queue_depth) + u64::from(machine.hop_cycles) - 1;
    let depth = |depths: &[u16], queue: u8| depths.get(usize::from(queue)).copied().map_or(u64::MAX, u64::from);
    let own = depth(&machine.output_queue_depths, queue).saturating_add(ramp + 1);
    let mut receivers = Vec::new();
    let mut work = vec![(pe, Direction::Ramp, own)];
    while let Some((at, port, held)) = work.pop() {
        let Some(left) = budget.checked_sub(1) else { return Vec::new() };
        *budget = left;
        // Only fixed routes: where a switch sends wavelets depends on when they come. A filter may drop some.
        let route = map.route(program, color, at).filter(|r| r.positions.len() == 1 && r.filter.is_none());
        let Some(position) = route.map(|r| r.positions[0]).filter(|p| p.rx.contains(port)) else { continue };
        for out in position.tx.iter() {
            if out != Direction::Ramp {
                let next = grid.beside(at, out);
                work.extend(next.map(|to| (to, out.opposite(), held.saturating_add(link))));
            } else if matches!(states[at], State::Sends { .. }) {
                let input = input_depth(program, map, color, at, grid.coord(at));
                if input.is_some_and(|depth| count > held.saturating_add(depth).saturating_add(ramp)) {
                    receivers.push(at);
                }
            }
        }
    }
    receivers
}

/// Depth of the input queue that listens to a colour at a PE.
fn input_depth(program: &Program, map: &Map, color: u8, pe: usize, at: Coord) -> Option<u64> {
    let class = &program.classes[map.class(pe)?];
    let binding = class.input_queues.iter().find(|b| color_at(program, b.color, at) == Some(color))?;
    program.machine.input_queue_depths.get(usize::from(binding.queue)).copied().map(u64::from)
}
