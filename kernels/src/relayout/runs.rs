//! Elements to copy, joined to boxes: the fewer numbers steer a copy, the faster it is.

use super::per_pe::PerPe;

/// An element that a PE takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element {
    /// Position in its line of the PE that sends it.
    pub(super) root: u32,
    /// Offset in what that PE sends.
    pub(super) source: u32,
    /// Offset in what the PE has afterwards.
    pub(super) target: u32,
}

/// A copy of a box of elements: from `source` on to `target` on, over up to three dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Position of the PE that sends the elements in its line.
    pub(super) root: u32,
    pub(super) source: u32,
    pub(super) target: u32,
    /// The innermost first; those beyond the rank at hand have one turn.
    pub(super) dims: [RunDim; MAX_RANK],
}

/// One dimension of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunDim {
    pub(super) count: u32,
    pub(super) source_step: u32,
    pub(super) target_step: u32,
}

/// Dimensions of a run at most.
pub(super) const MAX_RANK: usize = 3;

/// Cycles that a run takes beside its elements, about: loads of its numbers, addresses, start-up.
fn run_overhead(rank: usize) -> usize {
    14 + 3 * rank
}

impl Run {
    /// A run of one element.
    pub(super) fn single(root: u32, source: u32, target: u32) -> Self {
        Self { root, source, target, dims: [RunDim { count: 1, source_step: 0, target_step: 0 }; MAX_RANK] }
    }

    /// As it lies in the table: starts, then count and steps of each dimension, the outermost first.
    pub(super) fn encode(&self, rank: usize) -> impl Iterator<Item = u16> + use<> {
        let dims = self.dims;
        let starts = [self.source as u16, self.target as u16];
        let dims = dims.into_iter().take(rank).rev();
        starts.into_iter().chain(dims.flat_map(|d| [d.count, d.source_step, d.target_step].map(|n| n as u16)))
    }

    /// Takes in the next run when it is equal but for where it starts, and starts as far behind as those before, along
    /// dimension `dim`.
    fn take_in(&mut self, next: &Run, dim: usize) -> bool {
        if self.root != next.root || self.dims[..dim] != next.dims[..dim] {
            return false;
        }
        let RunDim { count, source_step, target_step } = self.dims[dim];
        if count == 1 {
            if next.source < self.source || next.target < self.target {
                return false;
            }
            let (source_step, target_step) = (next.source - self.source, next.target - self.target);
            self.dims[dim] = RunDim { count: 2, source_step, target_step };
            return true;
        }
        let follows =
            next.source == self.source + source_step * count && next.target == self.target + target_step * count;
        self.dims[dim].count += u32::from(follows);
        follows
    }
}

/// Joins neighbouring runs along dimension `dim`.
fn join(runs: impl IntoIterator<Item = Run>, dim: usize) -> Vec<Run> {
    let mut joined: Vec<Run> = Vec::new();
    for run in runs {
        if !joined.last_mut().is_some_and(|last| last.take_in(&run, dim)) {
            joined.push(run);
        }
    }
    joined
}

/// Cuts the elements that each PE takes in each part into runs, of the rank that costs the slowest PE least. Gives that rank.
pub(super) fn best_runs(elements: PerPe<Vec<Vec<Element>>>) -> (usize, PerPe<Vec<Vec<Run>>>) {
    let single = |element: Element| Run::single(element.root, element.source, element.target);
    let joined = |elements: Vec<Element>| join(elements.into_iter().map(single), 0);
    let mut ranked = vec![elements.map(|parts| parts.into_iter().map(joined).collect::<Vec<_>>())];
    for dim in 1..MAX_RANK {
        let joined = |runs: &Vec<Run>| join(runs.iter().copied(), dim);
        let of_pes = ranked[dim - 1].map_ref(|parts| parts.iter().map(joined).collect());
        ranked.push(of_pes);
    }
    let runs = |parts: &Vec<Vec<Run>>| parts.iter().map(Vec::len).sum::<usize>();
    let most = |pes: &PerPe<Vec<Vec<Run>>>| pes.values().iter().map(runs).max().unwrap_or(0);
    let costs = ranked.iter().zip(1..).map(|(pes, rank)| most(pes) * run_overhead(rank));
    let best = costs.enumerate().min_by_key(|&(_, cost)| cost).map_or(0, |(dim, _)| dim);
    (best + 1, ranked.swap_remove(best))
}

#[cfg(test)]
mod tests {
    use super::*;
    use waferloom_fabric::Extent;

    fn dim(count: u32, source_step: u32, target_step: u32) -> RunDim {
        RunDim { count, source_step, target_step }
    }

    fn singles(pairs: impl IntoIterator<Item = (u32, u32)>) -> Vec<Run> {
        pairs.into_iter().map(|(source, target)| Run::single(0, source, target)).collect()
    }

    #[test]
    fn runs_join_equal_steps() {
        // 0, 2, 4 to 5, 6, 7 is one run of three; 9 to 1 goes backwards in the target and starts another.
        let once = dim(1, 0, 0);
        let expected = [
            Run { root: 0, source: 0, target: 5, dims: [dim(3, 2, 1), once, once] },
            Run { root: 0, source: 9, target: 1, dims: [once; MAX_RANK] },
        ];
        assert_eq!(join(singles([(0, 5), (2, 6), (4, 7), (9, 1)]), 0), expected);
    }

    #[test]
    fn runs_of_different_roots_stay_apart() {
        let runs = [Run::single(0, 0, 0), Run::single(1, 1, 1)];
        assert_eq!(join(runs, 0), runs);
    }

    #[test]
    fn a_transposed_block_is_one_run() {
        // 3 rows of 4 elements become 4 rows of 3 in a tile with rows of 8.
        let element = |i: u32| Element { root: 0, source: i % 3 * 4 + i / 3, target: i / 3 * 8 + i % 3 };
        let one = Extent { width: 1, height: 1 };
        let (rank, runs) = best_runs(PerPe::new(one, |_| vec![(0..12).map(element).collect()]));
        let expected = Run { root: 0, source: 0, target: 0, dims: [dim(3, 4, 1), dim(4, 1, 8), dim(1, 0, 0)] };
        assert_eq!((rank, runs.values()), (2, [vec![vec![expected]]].as_slice()));
    }
}
