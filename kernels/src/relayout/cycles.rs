//! How long a relayout takes: the turns of each line are followed with the work that each PE has in them.

use super::runs::run_numbers;
use super::{Relayout, Step};
use crate::cost;
use crate::mesh::{Axis, input};
use waferloom_fabric::{Dtype, Machine};

impl Relayout {
    /// Cycles of [`super::emit`] for elements of type `dtype`.
    pub fn cycles(&self, machine: &Machine, dtype: Dtype) -> u64 {
        self.steps.iter().map(|step| self.step_cycles(step, machine, dtype)).sum()
    }

    fn step_cycles(&self, step: &Step, machine: &Machine, dtype: Dtype) -> u64 {
        let mut lines: Vec<Vec<Vec<Turn>>> = vec![Vec::new(); usize::from(self.grid.width.max(self.grid.height))];
        for (i, table) in step.tables.iter().enumerate() {
            let at = self.grid.coord(i);
            let line = if step.axis == Some(Axis::X) { at.y } else { at.x };
            lines[usize::from(line)].push(turns(step, table, machine, dtype));
        }
        let line = |pes: &Vec<Vec<Turn>>| match step.axis {
            None => pes.iter().flatten().map(|turn| turn.work).max().unwrap_or(0),
            Some(axis) => Line { machine, axis }.cycles(pes),
        };
        lines.iter().map(line).max().unwrap_or(0)
    }
}

/// A PE's part of a turn.
#[derive(Clone, Copy, Debug)]
struct Turn {
    /// Words that the root sends.
    words: u64,
    /// Cycles for what is taken from them.
    work: u64,
}

/// What the PE of a table does in each turn.
fn turns(step: &Step, table: &[u16], machine: &Machine, dtype: Dtype) -> Vec<Turn> {
    let (scalar, branch) = (u64::from(machine.scalar_cycles), u64::from(machine.branch_cycles));
    let lanes = if dtype.bytes() == 2 { machine.lanes_16 } else { machine.lanes_32 };
    let (words, mut runs) = table.split_at(step.roots as usize);
    let numbers = run_numbers(step.rank);
    let turn = |&words: &u16| {
        let (count, rest) = runs.split_at(1);
        let (taken, rest) = rest.split_at(usize::from(count[0]) * numbers);
        runs = rest;
        let run = |run: &[u16]| {
            let elements = run[2..].chunks(3).map(|dim| u64::from(dim[0])).product();
            branch + (numbers as u64 + 5) * scalar + cost::vector(machine, elements, lanes)
        };
        // The loop over turns, the address of the list, the loop over runs.
        let work = 2 * branch + 3 * scalar + taken.chunks(numbers).map(run).sum::<u64>();
        Turn { words: words.into(), work }
    };
    words.iter().map(turn).collect()
}

/// PEs that take turns.
struct Line<'a> {
    machine: &'a Machine,
    axis: Axis,
}

impl Line<'_> {
    /// Cycles of all turns; `pes` are the PEs in order.
    fn cycles(&self, pes: &[Vec<Turn>]) -> u64 {
        let mut ready = vec![0; pes.len()];
        for root in 0..pes.first().map_or(0, Vec::len) {
            self.turn(root, pes, &mut ready);
        }
        ready.into_iter().max().unwrap_or(0)
    }

    /// One turn: `ready` is when each PE is done with the turn before, then with this one.
    fn turn(&self, root: usize, pes: &[Vec<Turn>], ready: &mut [u64]) {
        let (scalar, branch) = (u64::from(self.machine.scalar_cycles), u64::from(self.machine.branch_cycles));
        let words = pes[root][root].words;
        let issue = 2 * branch + 3 * scalar + if words == 0 { 0 } else { cost::startup(self.machine) };
        let sent = ready[root] + issue;
        let mut left = sent + words;
        for (at, turns) in pes.iter().enumerate().filter(|&(at, _)| at != root) {
            let flight = cost::flight(self.machine, at.abs_diff(root) as u64);
            let took = (ready[at] + issue).max(if words == 0 { 0 } else { sent + flight }) + words;
            // What a PE has not taken lies in its queues; the rest the root has not sent.
            left = left.max((took + words.saturating_sub(self.room())).saturating_sub(words + flight));
            ready[at] = took + scalar + turns[root].work;
        }
        ready[root] = left + branch + 2 * scalar + pes[root][root].work;
    }

    /// Words that wait at a PE without holding up the root.
    fn room(&self) -> u64 {
        let queue = usize::from(if self.axis == Axis::X { input::ROW } else { input::COLUMN });
        let depth = self.machine.input_queue_depths.get(queue).copied().unwrap_or(0);
        u64::from(depth) + u64::from(self.machine.router_queue_depth)
    }
}
