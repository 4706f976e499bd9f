//! Who waits for what, when nothing moves any more; and where a fault happened.

use super::band::{Band, PlacedFault};
use super::decode::Step;
use super::operand::Port;
use super::pe::{Pe, VectorWork};
use super::setup::Fabric;
use crate::SimulateError;
use std::fmt::Write as _;
use waferloom_fabric::{Direction, PortKind, Program, TaskKind};

/// Waits that a message lists; the rest are counted.
const MOST_LINES: usize = 10;

/// Whether a PE of the band is in the middle of something.
pub(crate) fn has_unfinished_work(band: &Band) -> bool {
    band.pes.iter().any(|pe| pe.running.is_some() || pe.microthreads.iter().any(Option::is_some))
}

/// The error that lists who waits for what.
pub(crate) fn deadlock(program: &Program, fabric: &Fabric<'_>, bands: &[Band], cycle: u64) -> SimulateError {
    let mut lines = Vec::new();
    for band in bands {
        for (local, pe) in band.pes.iter().enumerate() {
            if let Some(work) = &pe.main {
                lines.push(format!("{}: {}", place(fabric, pe, work.at), wait(band, local, work)));
            } else if let Some(running) = pe.running {
                let at = place(fabric, pe, (running.task, running.step));
                lines.push(format!("{at}: waits for a queue or a microthread that an asynchronous instruction holds, or for room for a control wavelet"));
            }
            for work in pe.microthreads.iter().flatten() {
                lines.push(format!("{} (asynchronous): {}", place(fabric, pe, work.at), wait(band, local, work)));
            }
        }
    }
    lines.extend(bands.iter().flat_map(|b| &b.pes).flat_map(|pe| blocked_tasks(fabric, pe)));
    for port in program.ports.iter().filter(|p| p.kind == PortKind::Output) {
        let missing: usize = (0..port.streams())
            .filter_map(|s| bands.iter().find_map(|b| b.sink_at.get(&fabric.link(port, s)).map(|&i| &b.sinks[i])))
            .map(|sink| sink.expected.saturating_sub(sink.data.len()))
            .sum();
        if missing > 0 {
            lines.push(format!(
                "the host: output `{}` and those that share its links lack {missing} wavelets",
                port.name
            ));
        }
    }
    let mut waits = String::new();
    for line in lines.iter().take(MOST_LINES) {
        let _ = write!(waits, "\n  {line}");
    }
    if lines.len() > MOST_LINES {
        let _ = write!(waits, "\n  and {} more", lines.len() - MOST_LINES);
    }
    SimulateError::Deadlock { cycle, waits }
}

/// Tasks that have been activated, and wait for somebody to unblock them.
fn blocked_tasks<'a>(fabric: &'a Fabric<'_>, pe: &'a Pe) -> impl Iterator<Item = String> + 'a {
    let tasks = pe.class.map_or(&[][..], |class| fabric.class(class).tasks.as_slice());
    let waiting = pe.activated & pe.blocked;
    let waiting = tasks.iter().filter(move |t| t.kind == TaskKind::Local && waiting >> t.id & 1 == 1);
    waiting.map(|t| format!("PE ({}, {}), task {}: is activated, but blocked", pe.at.0.x, pe.at.0.y, t.name))
}

/// "PE (x, y), task name, step n".
fn place(fabric: &Fabric<'_>, pe: &Pe, (task, step): (u16, u32)) -> String {
    let name = pe.class.map_or("?", |class| fabric.class(class).tasks[task as usize].name.as_str());
    format!("PE ({}, {}), task {name}, step {step}", pe.at.0.x, pe.at.0.y)
}

fn wait(band: &Band, local: usize, work: &VectorWork) -> String {
    let pe = &band.pes[local];
    for port in &work.srcs[..work.arity] {
        match port {
            Port::FabIn { queue, .. } => {
                let input = pe.inputs.get(*queue as usize).and_then(Option::as_ref);
                if input.is_none_or(|q| q.held == 0) {
                    let color = input.map_or("no colour".into(), |q| format!("colour c{}", q.color));
                    return format!("waits for {} more wavelets of {color} in input queue {queue}", work.remaining);
                }
            }
            Port::Fifo { fifo, .. } if pe.fifos.get(*fifo as usize).is_none_or(|f| f.filled == 0) => {
                return format!("waits for {} more words in FIFO {fifo}", work.remaining);
            }
            _ => {}
        }
    }
    match &work.dst {
        Port::FabOut { queue, .. } => full_queue(band, local, *queue, work.remaining),
        Port::Fifo { fifo, .. } => format!("waits for room for {} more words in FIFO {fifo}", work.remaining),
        _ => "waits for its turn".into(),
    }
}

/// Why an output queue does not drain, as far as its own router shows.
fn full_queue(band: &Band, local: usize, queue: u8, remaining: u64) -> String {
    let Some(Some(out)) = band.pes[local].outputs.get(queue as usize) else {
        return format!("sends into output queue {queue}, which has no colour");
    };
    let start = format!("{remaining} more elements for output queue {queue} (colour c{})", out.color);
    let Some(lane) = out.lane else { return format!("{start}: the router has no route for the colour") };
    let lane = &band.routers[local].lanes[lane as usize];
    let (rx, tx) = lane.ports();
    let full: Vec<&str> = Direction::ALL[..4]
        .iter()
        .filter(|d| tx.contains(**d) && lane.credits[**d as usize] == 0)
        .map(|d| ["west", "east", "north", "south"][*d as usize])
        .collect();
    let why = if !rx.contains(Direction::Ramp) {
        "which takes nothing from the ramp".into()
    } else if full.is_empty() {
        "the input queue behind the ramp is full".into()
    } else {
        format!("no room to the {}", full.join(", "))
    };
    if lane.closed {
        format!("{start}: a teardown has closed the route")
    } else {
        format!("{start}: the router does not take them (switch position {}; {why})", lane.position())
    }
}

/// The error for a fault of the code.
pub(crate) fn fault(fabric: &Fabric<'_>, bands: &[Band], fault: PlacedFault, cycle: u64) -> SimulateError {
    let pe = bands.iter().find_map(|b| fault.pe.checked_sub(b.first).and_then(|local| b.pes.get(local)));
    let place = pe.map_or_else(String::new, |pe| {
        let running = pe.running.map_or((0, 0), |r| (r.task, r.step));
        let kind = pe.class.and_then(|c| {
            let steps = &fabric.class(c).tasks.get(running.0 as usize)?.steps;
            steps.get(running.1 as usize).map(step_name)
        });
        format!("{} ({})", self::place(fabric, pe, running), kind.unwrap_or("?"))
    });
    SimulateError::Fault { place, cycle, message: fault.fault.0 }
}

fn step_name(step: &Step) -> &'static str {
    match step {
        Step::Vector(_) => "vector instruction",
        Step::Load { .. } => "load",
        Step::Store { .. } => "store",
        _ => "scalar instruction",
    }
}
