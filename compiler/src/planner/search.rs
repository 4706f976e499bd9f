//! The search for the best cut: dynamic programming over places to cut and columns of the mesh.

/// What each stage would cost, for every pair of cuts and every width.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// Places at which the graph can be cut, its start and its end included.
    cuts: usize,
    /// Widths, in units of columns: 1 to this.
    units: usize,
    /// Cycles of the stage between two cuts on a width, `None` where it does not fit the PEs.
    cycles: Vec<Option<u64>>,
}

/// What is to be made small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objective {
    /// The slowest stage: cycles between two items.
    Throughput,
    /// All stages together: cycles of an item.
    Latency,
}

/// A stage of a solution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// The cut at which it starts.
    pub(crate) from: usize,
    /// The cut at which it ends.
    pub(crate) to: usize,
    /// Its width in units.
    pub(crate) units: usize,
    /// Its cycles.
    pub(crate) cycles: u64,
}

impl Table {
    /// Asks for the cycles of each stage: (from, to, units).
    pub(crate) fn new(cuts: usize, units: usize, cost: impl Fn(usize, usize, usize) -> Option<u64>) -> Self {
        let mut cycles = Vec::with_capacity(units * cuts * cuts);
        for width in 1..=units {
            for from in 0..cuts {
                cycles.extend((0..cuts).map(|to| if from < to { cost(from, to, width) } else { None }));
            }
        }
        Self { cuts, units, cycles }
    }

    fn at(&self, from: usize, to: usize, units: usize) -> Option<u64> {
        self.cycles[((units - 1) * self.cuts + from) * self.cuts + to]
    }

    /// The best solutions of 1, 2, … up to `most` stages, on `all` columns or on as many as are best; `None` for a number of
    /// stages that cannot be.
    pub(crate) fn solve(&self, objective: Objective, most: usize, all: bool) -> Vec<Option<Vec<Span>>> {
        let states = self.cuts * (self.units + 1);
        let state = |cut: usize, used: usize| cut * (self.units + 1) + used;
        // Best value at each (cut, units used), and the stage that leads there.
        let mut best: Vec<Option<u64>> = vec![None; states];
        best[state(0, 0)] = Some(0);
        let mut steps: Vec<Vec<Option<Span>>> = Vec::new();
        let mut solutions = Vec::new();
        for _ in 0..most {
            let mut next: Vec<Option<u64>> = vec![None; states];
            let mut last: Vec<Option<Span>> = vec![None; states];
            for from in 0..self.cuts {
                for used in 0..self.units {
                    let Some(before) = best[state(from, used)] else { continue };
                    self.extend(objective, from, used, before, |to, units, cycles, value| {
                        let place = state(to, used + units);
                        if next[place].is_none_or(|known| value < known) {
                            next[place] = Some(value);
                            last[place] = Some(Span { from, to, units, cycles });
                        }
                    });
                }
            }
            steps.push(last);
            best = next;
            let end = self.cuts - 1;
            let used = if all { self.units..=self.units } else { 1..=self.units };
            // Of equal ones that on the fewest columns.
            let reached = used.filter_map(|used| Some((best[state(end, used)]?, used))).min();
            solutions.push(reached.and_then(|(_, used)| self.trace(&steps, end, used)));
        }
        solutions
    }

    /// All stages that can follow.
    fn extend(
        &self,
        objective: Objective,
        from: usize,
        used: usize,
        before: u64,
        mut reach: impl FnMut(usize, usize, u64, u64),
    ) {
        for units in 1..=self.units - used {
            for to in from + 1..self.cuts {
                if let Some(cycles) = self.at(from, to, units) {
                    let value = match objective {
                        Objective::Throughput => before.max(cycles),
                        Objective::Latency => before + cycles,
                    };
                    reach(to, units, cycles, value);
                }
            }
        }
    }

    /// The stages that lead to a cut with so many units of columns used.
    fn trace(&self, steps: &[Vec<Option<Span>>], mut cut: usize, mut used: usize) -> Option<Vec<Span>> {
        let mut spans = Vec::with_capacity(steps.len());
        for step in steps.iter().rev() {
            let span = step[cut * (self.units + 1) + used]?;
            (cut, used) = (span.from, used - span.units);
            spans.push(span);
        }
        spans.reverse();
        Some(spans)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes of 6, 2 and 4 units of work that spread evenly over the columns; each cut costs 1 on either side.
    fn table() -> Table {
        Table::new(4, 6, |from, to, units| {
            let work: u64 = [6, 2, 4][from..to].iter().sum();
            let cuts = u64::from(from > 0) + u64::from(to < 3);
            Some(work.div_ceil(units as u64) + cuts)
        })
    }

    fn widths(solution: Option<&Vec<Span>>) -> Vec<(usize, usize, u64)> {
        solution.into_iter().flatten().map(|s| (s.to, s.units, s.cycles)).collect()
    }

    #[test]
    fn the_slowest_stage_is_made_fast() {
        let solutions = table().solve(Objective::Throughput, 3, true);
        // One stage: 12 / 6. Two: 6 / 3 and (2 + 4) / 3, and a cut each. Three: the middle one has two cuts.
        assert_eq!(widths(solutions[0].as_ref()), [(3, 6, 2)]);
        assert_eq!(widths(solutions[1].as_ref()), [(1, 3, 3), (3, 3, 3)]);
        assert_eq!(solutions[2].as_ref().map(|s| s.iter().map(|s| s.cycles).max()), Some(Some(4)));
    }

    #[test]
    fn the_sum_is_made_small() {
        let solutions = table().solve(Objective::Latency, 2, true);
        let sum = |s: Option<&Vec<Span>>| s.map(|s| s.iter().map(|s| s.cycles).sum::<u64>());
        // Two stages: 6 / 3 + 1 and 6 / 3 + 1.
        assert_eq!((sum(solutions[0].as_ref()), sum(solutions[1].as_ref())), (Some(2), Some(6)));
    }

    #[test]
    fn columns_that_only_cost_are_left() {
        // Work of 12 over the columns, each of which takes 2 to reach: 12 / 2 + 4 = 10 and 12 / 3 + 6 = 10, with 1 or 4 it is more.
        let table = Table::new(2, 6, |_, _, units| Some(12u64.div_ceil(units as u64) + 2 * units as u64));
        assert_eq!(widths(table.solve(Objective::Latency, 1, false)[0].as_ref()), [(1, 2, 10)]);
        assert_eq!(widths(table.solve(Objective::Latency, 1, true)[0].as_ref()), [(1, 6, 14)]);
    }

    #[test]
    fn what_does_not_fit_is_not_chosen() {
        // At most two nodes a stage.
        let table = Table::new(4, 2, |from, to, _| (to - from <= 2).then_some(1));
        let solutions = table.solve(Objective::Throughput, 3, true);
        assert_eq!(solutions[0], None);
        assert_eq!(solutions[1].as_ref().map(Vec::len), Some(2));
        // Three stages need three columns.
        assert_eq!(solutions[2], None);
    }
}
