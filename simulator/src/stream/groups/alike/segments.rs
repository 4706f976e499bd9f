//! Parts of the code in which PEs tell each other something along their rows alone.

use crate::machine::band::Band;
use crate::machine::decode::Step;
use crate::machine::operand::Access;
use crate::machine::steps::Shared;
use crate::stream::groups::lanes::ALONG_ROWS;
use crate::stream::groups::liveness::touched;
use std::collections::BTreeSet;
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

    /// The colours of its queues in the PEs of a class.
    pub(super) fn colors(&self, band: &Band<'_>, class: usize) -> Vec<u8> {
        let mut colors = BTreeSet::new();
        for (pe, router) in
            band.pes.iter().zip(&band.routers).filter(|(pe, _)| pe.class.map(usize::from) == Some(class))
        {
            let below = router.lanes.iter().filter(|lane| lane.input.is_some_and(|input| self.inputs.contains(&input)));
            colors.extend(below.map(|lane| lane.color));
            let outputs = self.outputs.iter().filter_map(|&queue| pe.outputs.get(usize::from(queue))?.as_ref());
            colors.extend(outputs.map(|output| output.color));
        }
        colors.into_iter().collect()
    }

    fn talks(&self) -> bool {
        !self.inputs.is_empty() || !self.outputs.is_empty()
    }
}

/// The queues of a class whose colours lead along rows, from PE to PE.
#[derive(Debug, Default)]
pub(super) struct Queues {
    inputs: BTreeSet<u8>,
    outputs: BTreeSet<u8>,
}

impl Queues {
    /// Those of each class.
    pub(super) fn along_rows(shared: &Shared<'_>, band: &Band<'_>) -> Vec<Self> {
        let colors = colors_along_rows(shared, band);
        let mut all: Vec<Self> = shared.classes.iter().map(|_| Self::default()).collect();
        let mut others: Vec<Self> = shared.classes.iter().map(|_| Self::default()).collect();
        for (pe, router) in band.pes.iter().zip(&band.routers) {
            let Some(class) = pe.class.map(usize::from) else { continue };
            for lane in router.lanes.iter() {
                let Some(input) = lane.input else { continue };
                let of = if colors.contains(&lane.color) { &mut all } else { &mut others };
                of[class].inputs.insert(input);
            }
            for (queue, output) in (0..).zip(pe.outputs.iter()) {
                let Some(output) = output else { continue };
                let of = if colors.contains(&output.color) { &mut all } else { &mut others };
                of[class].outputs.insert(queue);
            }
        }
        for (queues, others) in all.iter_mut().zip(&others) {
            queues.inputs.retain(|queue| !others.inputs.contains(queue));
            queues.outputs.retain(|queue| !others.outputs.contains(queue));
        }
        all
    }
}

/// Colours that no router takes from a column or sends into one, and that do not come from the host or go there.
///
/// What a switch does next has to be told by its ports alone: no route may have the same ports in two positions.
fn colors_along_rows(shared: &Shared<'_>, band: &Band<'_>) -> BTreeSet<u8> {
    let within = ALONG_ROWS | 1 << Direction::Ramp as u8;
    let stays = |route: &ColorRoute| {
        let positions = &route.positions;
        let is_other = |i: usize| positions[..i].iter().all(|p| (p.rx, p.tx) != (positions[i].rx, positions[i].tx));
        positions.iter().all(|p| (p.rx.0 | p.tx.0) & !within == 0) && (0..positions.len()).all(is_other)
    };
    let lanes = || band.routers.iter().flat_map(|router| router.lanes.iter());
    let mut colors: BTreeSet<u8> = lanes().map(|lane| lane.color).collect();
    let leaving: BTreeSet<u32> = lanes().map(|lane| lane.route).collect();
    for route in leaving.iter().map(|&route| &shared.routes[route as usize]).filter(|route| !stays(route)) {
        colors.remove(&route.color.0);
    }
    for (_, _, color) in band.sink_at.keys().chain(band.source_at.keys()) {
        colors.remove(color);
    }
    colors
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
    let stays = segment.inputs.is_subset(&queues.inputs) && segment.outputs.is_subset(&queues.outputs);
    stays.then_some(segment)
}
