//! Parts of the code in which PEs tell each other something along their rows alone.

use crate::machine::band::Band;
use crate::machine::decode::Step;
use crate::machine::operand::Access;
use crate::machine::steps::Shared;
use crate::stream::groups::lanes::ALONG_ROWS;
use crate::stream::groups::liveness::touched;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use waferloom_fabric::{ColorRoute, Direction};

/// Steps that are entered at the first one and left behind the last one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Segment {
    /// The first step, and the one behind all.
    pub(super) begin: u32,
    pub(super) end: u32,
    /// Queues that the steps receive from, and send into.
    pub(super) inputs: BTreeSet<u8>,
    pub(super) outputs: BTreeSet<u8>,
    /// Slots that the steps read or write, a bit each.
    pub(super) slots: u128,
}

impl Segment {
    /// Takes in the steps of another one behind it.
    fn join(&mut self, next: &Self) {
        self.end = next.end;
        self.inputs.extend(&next.inputs);
        self.outputs.extend(&next.outputs);
        self.slots |= next.slots;
    }

    fn talks(&self) -> bool {
        !self.inputs.is_empty() || !self.outputs.is_empty()
    }
}

/// The colours of the queues of a class, a bit each; none where one of them leads to another row or to the host.
#[derive(Debug, Default)]
pub(super) struct Queues {
    /// By number.
    inputs: BTreeMap<u8, u64>,
    outputs: BTreeMap<u8, u64>,
}

impl Queues {
    /// Those of each class.
    pub(super) fn along_rows(shared: &Shared<'_>, band: &Band<'_>) -> Vec<Self> {
        let along = colors_along_rows(shared, band);
        let mut all: Vec<Self> = shared.classes.iter().map(|_| Self::default()).collect();
        for (pe, router) in band.pes.iter().zip(&band.routers) {
            let Some(queues) = pe.class.and_then(|class| all.get_mut(usize::from(class))) else { continue };
            for lane in router.lanes.iter() {
                if let Some(input) = lane.input {
                    *queues.inputs.entry(input).or_default() |= bit(lane.color);
                }
            }
            for (queue, output) in (0..).zip(pe.outputs.iter()) {
                if let Some(output) = output {
                    *queues.outputs.entry(queue).or_default() |= bit(output.color);
                }
            }
        }
        for queues in &mut all {
            for colors in queues.inputs.values_mut().chain(queues.outputs.values_mut()) {
                *colors = if *colors & !along == 0 { *colors } else { 0 };
            }
        }
        all
    }

    /// The colours of a segment's queues.
    pub(super) fn colors(&self, segment: &Segment) -> u64 {
        let inputs = segment.inputs.iter().filter_map(|queue| self.inputs.get(queue));
        inputs
            .chain(segment.outputs.iter().filter_map(|queue| self.outputs.get(queue)))
            .fold(0, |set, colors| set | colors)
    }
}

/// The bit of a colour; those that have none share the last one, which never leads along rows.
fn bit(color: u8) -> u64 {
    1 << color.min(63)
}

/// Colours that no router takes from a column or sends into one, and that do not come from the host or go there, a bit each.
///
/// What a switch does next has to be told by its ports alone: no route may have the same ports in two positions.
fn colors_along_rows(shared: &Shared<'_>, band: &Band<'_>) -> u64 {
    let within = ALONG_ROWS | 1 << Direction::Ramp as u8;
    let stays = |route: &ColorRoute| {
        let positions = &route.positions;
        let is_other = |i: usize| positions[..i].iter().all(|p| (p.rx, p.tx) != (positions[i].rx, positions[i].tx));
        positions.iter().all(|p| (p.rx.0 | p.tx.0) & !within == 0) && (0..positions.len()).all(is_other)
    };
    let leaving = shared.routes.iter().filter(|route| !stays(route)).map(|route| route.color.0);
    let of_host = band.sink_at.keys().chain(band.source_at.keys()).map(|&(_, _, color)| color);
    !leaving.chain(of_host).fold(bit(63), |set, color| set | bit(color))
}

/// The segments of a task: as long as they can be, none within another one.
pub(super) fn find(steps: &[Step], queues: &Queues) -> Vec<Segment> {
    let mut found = Vec::new();
    find_in(steps, 0..steps.len(), queues, &mut found);
    found
}

fn find_in(steps: &[Step], range: Range<usize>, queues: &Queues, found: &mut Vec<Segment>) {
    // What has been found, and statements behind it in which nobody tells anybody something.
    let (mut open, mut behind): (Option<Segment>, Option<Segment>) = (None, None);
    let mut at = range.start;
    while at < range.end {
        let parts = Parts::of(steps, at);
        match along_rows(steps, at..parts.end, queues) {
            None => {
                found.extend(open.take());
                behind = None;
                for part in parts.inner {
                    find_in(steps, part, queues, found);
                }
            }
            Some(statement) if statement.talks() => match (&mut open, behind.take()) {
                (Some(open), between) => {
                    if let Some(between) = between {
                        open.join(&between);
                    }
                    open.join(&statement);
                }
                (none, _) => *none = Some(statement),
            },
            // What all compute at once is told of all of them.
            Some(_) if computes(&steps[at..parts.end]) => {
                found.extend(open.take());
                behind = None;
            }
            Some(statement) => match &mut behind {
                Some(behind) => behind.join(&statement),
                none => *none = open.is_some().then_some(statement),
            },
        }
        at = parts.end;
    }
    found.extend(open);
}

fn computes(steps: &[Step]) -> bool {
    steps.iter().any(|step| matches!(step, Step::Vector(_) | Step::Store { .. }))
}

/// The parts of a statement that begins at a step.
struct Parts {
    /// The step behind it.
    end: usize,
    /// The arms of a branch, or the body of a loop.
    inner: [Range<usize>; 2],
}

impl Parts {
    fn of(steps: &[Step], at: usize) -> Self {
        match steps[at] {
            Step::LoopEnter { exit, .. } => {
                let exit = (exit as usize).clamp(at + 1, steps.len());
                Self { end: exit, inner: [at + 1..exit - 1, exit..exit] }
            }
            Step::Branch { otherwise, .. } => {
                let otherwise = (otherwise as usize).clamp(at + 1, steps.len());
                // An arm that another one follows ends with a jump behind that.
                let end = match steps[otherwise - 1] {
                    Step::Jump(to) if otherwise - 1 > at => (to as usize).clamp(otherwise, steps.len()),
                    _ => otherwise,
                };
                Self { end, inner: [at + 1..otherwise, otherwise..end] }
            }
            _ => Self { end: at + 1, inner: [at..at, at..at] },
        }
    }
}

/// Steps as a segment; `None` where they name an operator, end the task, or tell somebody something in another row.
fn along_rows(steps: &[Step], range: Range<usize>, queues: &Queues) -> Option<Segment> {
    let mut segment = Segment { begin: range.start as u32, end: range.end as u32, ..Segment::default() };
    for step in &steps[range] {
        segment.slots |= touched(step);
        match step {
            Step::Mark { .. } | Step::End => return None,
            Step::SendControl { queue, .. } => {
                segment.outputs.insert(*queue);
            }
            Step::Vector(vector) => {
                for access in vector.srcs.iter().chain([&vector.dst]) {
                    match access {
                        Access::FabIn { queue, .. } => segment.inputs.insert(*queue),
                        Access::FabOut { queue, .. } => segment.outputs.insert(*queue),
                        _ => false,
                    };
                }
            }
            _ => {}
        }
    }
    let stays = |colors: Option<&u64>| colors.is_some_and(|&colors| colors != 0);
    let all = segment.inputs.iter().all(|queue| stays(queues.inputs.get(queue)))
        && segment.outputs.iter().all(|queue| stays(queues.outputs.get(queue)));
    all.then_some(segment)
}
