//! How long a relayout takes: the turns of each line are followed with the work that each PE has in them.

use super::{Step, Words};
use crate::cost;
use crate::mesh::{Axis, input};
use rayon::prelude::*;
use waferloom_fabric::{Coord, Dtype, Extent, Machine};

/// Cycles of a step of [`super::emit`] for elements of type `dtype`.
pub(super) fn of_step(step: &Step, grid: Extent, machine: &Machine, dtype: Dtype) -> u64 {
    (0..step.series.parts).map(|part| of_part(step, part, grid, machine, dtype)).sum()
}

/// Cycles of a part of a step.
fn of_part(step: &Step, part: u32, grid: Extent, machine: &Machine, dtype: Dtype) -> u64 {
    let works = step.lists.map_ref(|lists| works(step, step.list(lists, part), machine, dtype));
    let Some(axis) = step.axis else {
        return works.values().iter().map(|own| own.iter().map(|work| work.1).sum()).max().unwrap_or(0);
    };
    let (count, length) = if axis == Axis::X { (grid.height, grid.width) } else { (grid.width, grid.height) };
    let works_of = |line: u16, place: u16| match axis {
        Axis::X => works.at(Coord { x: place, y: line }).as_slice(),
        Axis::Y => works.at(Coord { x: line, y: place }).as_slice(),
    };
    let lines: Vec<Vec<&[Work]>> =
        (0..count).map(|line| (0..length).map(|place| works_of(line, place)).collect()).collect();
    let (first, turns) = (step.series.root(part), step.series.turns as usize);
    let words = |line: usize| match &step.words {
        Words::Even(words) => vec![*words; turns],
        Words::Uneven(lines) => lines[line][(first - step.series.first) as usize..][..turns].to_vec(),
    };
    // Most lines are like the one before.
    let differs = |&line: &usize| line == 0 || lines[line] != lines[line - 1] || words(line) != words(line - 1);
    let cycles = |line: usize| Line { machine, axis, step, first, words: words(line), pes: &lines[line] }.cycles();
    (0..lines.len()).into_par_iter().filter(differs).map(cycles).max().unwrap_or(0)
}

/// A root from which a PE takes something, and the cycles that it copies.
type Work = (u16, u64);

/// What a PE does with what it takes.
fn works(step: &Step, list: &[u16], machine: &Machine, dtype: Dtype) -> Vec<Work> {
    let (scalar, branch) = (u64::from(machine.scalar_cycles), u64::from(machine.branch_cycles));
    let lanes = if dtype.bytes() == 2 { machine.lanes_16 } else { machine.lanes_32 };
    let run = |run: &[u16]| {
        let elements = run[2..].chunks(3).map(|dim| u64::from(dim[0])).product();
        branch + (run.len() as u64 + 6) * scalar + cost::vector(machine, elements, lanes)
    };
    let mut works = Vec::new();
    for take in step.takes(list) {
        // The loop over runs, and whether the take goes on; their count and address, the roots that are left, and four of
        // the next root or take.
        let work = 2 * branch + 7 * scalar + take.runs.map(run).sum::<u64>();
        works.extend((take.root..take.root + take.roots).map(|root| (root, work)));
    }
    works
}

/// PEs that take turns.
struct Line<'a> {
    machine: &'a Machine,
    axis: Axis,
    step: &'a Step,
    /// The first root.
    first: u32,
    /// Words that each root sends, from the first one on.
    words: Vec<u16>,
    /// What each PE of the line does.
    pes: &'a [&'a [Work]],
}

impl Line<'_> {
    /// Cycles of all turns.
    fn cycles(&self) -> u64 {
        let mut ready = vec![0; self.pes.len()];
        let mut rest = self.pes.to_vec();
        for (&words, root) in self.words.iter().zip(self.first..) {
            self.turn(root as usize, words.into(), &mut ready, &mut rest);
        }
        ready.into_iter().max().unwrap_or(0)
    }

    /// One turn: `ready` is when each PE is done with the turn before, then with this one; `rest` is what they have still to
    /// take.
    fn turn(&self, root: usize, words: u64, ready: &mut [u64], rest: &mut [&[Work]]) {
        let (scalar, branch) = (u64::from(self.machine.scalar_cycles), u64::from(self.machine.branch_cycles));
        // Is it the PE's own turn? And of the root's number and words, what the code does not know.
        let looked_up = if matches!(self.step.words, Words::Even(_)) { 0 } else { 2 };
        let steering = branch + (looked_up + u64::from(self.step.series.first > 0)) * scalar;
        let issue = steering + if words == 0 { 0 } else { cost::startup(self.machine) };
        let sent = ready[root] + issue;
        let mut left = sent + words;
        // The loop over turns, and whether something is taken.
        let mut work = |at: usize| {
            let own = rest[at].split_first().filter(|(work, _)| usize::from(work.0) == root);
            own.map_or(2 * branch, |(work, behind)| {
                rest[at] = behind;
                2 * branch + work.1
            })
        };
        for at in (0..ready.len()).filter(|&at| at != root) {
            let flight = cost::flight(self.machine, at.abs_diff(root) as u64);
            let took = (ready[at] + issue).max(if words == 0 { 0 } else { sent + flight }) + words;
            // What a PE has not taken lies in its queues; the rest the root has not sent.
            left = left.max((took + words.saturating_sub(self.room())).saturating_sub(words + flight));
            ready[at] = took + scalar + work(at);
        }
        ready[root] = left + branch + 2 * scalar + work(root);
    }

    /// Words that wait at a PE without holding up the root.
    fn room(&self) -> u64 {
        let queue = usize::from(if self.axis == Axis::X { input::ROW } else { input::COLUMN });
        let depth = self.machine.input_queue_depths.get(queue).copied().unwrap_or(0);
        u64::from(depth) + u64::from(self.machine.router_queue_depth)
    }
}
