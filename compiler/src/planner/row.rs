//! Stages in a row: the best cuts and widths for an outline, the rectangle that all of them together may take.

use super::nodes::{Nodes, Share, Sums};
use super::search::{Span, Table};
use super::{Choice, StageChoice};
use crate::CompileError;
use petgraph::graph::NodeIndex;
use rayon::prelude::*;
use waferloom_fabric::Extent;

/// Widths that are tried: with more columns they go up in steps.
const MOST_WIDTHS: u16 = 24;
/// Places to cut that are tried: of more those are taken over which the fewest values flow.
const MOST_CUTS: usize = 128;

/// Cycles and bytes of everything that a stage may consist of.
pub(super) struct Row<'a> {
    nodes: &'a Nodes<'a>,
    outline: Extent,
    /// Places to cut: numbers of nodes before them.
    cuts: Vec<usize>,
    /// Columns of a unit of width.
    unit: u16,
    /// For each width, in units, from 1.
    widths: Vec<Width>,
}

/// Cycles and bytes on rectangles of one width.
struct Width {
    /// Cycles and weights of the nodes before each place.
    sums: Vec<Sums>,
    /// The values that flow over each cut.
    flows: Vec<Sums>,
    /// Working memory of each node.
    working_bytes: Vec<u64>,
    /// Code and tables of the nodes between two cuts.
    shared_bytes: Vec<Vec<u64>>,
}

impl<'a> Row<'a> {
    pub(super) fn new(nodes: &'a Nodes<'a>, outline: Extent) -> Result<Self, CompileError> {
        let cuts = places(nodes);
        let unit = outline.width.div_ceil(MOST_WIDTHS);
        let width = |units: u16| Width::new(nodes, &cuts, Extent { width: units * unit, ..outline });
        let widths = (1..=outline.width / unit).into_par_iter().map(width).collect::<Result<_, _>>()?;
        Ok(Self { nodes, outline, cuts, unit, widths })
    }

    /// What a stage between two cuts takes, without its code and tables.
    fn stage(&self, from: usize, to: usize, units: usize) -> Sums {
        let (first, end) = (self.cuts[from], self.cuts[to]);
        let Width { sums, flows, working_bytes, .. } = &self.widths[units - 1];
        let working = working_bytes[first..end].iter().max().copied().unwrap_or(0);
        Sums {
            cycles: sums[end].cycles - sums[first].cycles + flows[from].cycles + flows[to].cycles,
            bytes: sums[end].bytes - sums[first].bytes + working.max(flows[from].bytes).max(flows[to].bytes),
        }
    }

    /// The best choice of each number of stages, on all columns of the outline if `all`. Stages whose weights and working memory
    /// are sure not to fit are left out. Code and tables are not counted there: what layers share is not known.
    pub(super) fn choices(&self, most: u16, all: bool) -> Result<Vec<Choice>, CompileError> {
        let options = self.nodes.options;
        let cycles = |from, to, units| {
            let stage = self.stage(from, to, units);
            (stage.bytes <= u64::from(options.machine.sram_bytes)).then_some(stage.cycles)
        };
        let table = Table::new(self.cuts.len(), self.widths.len(), cycles);
        let solutions = table.solve(options.objective, most.into(), all);
        solutions.into_iter().flatten().map(|spans| self.choice(&spans, all)).collect()
    }

    fn choice(&self, spans: &[Span], all: bool) -> Result<Choice, CompileError> {
        let mut stages: Vec<StageChoice> = spans
            .iter()
            .map(|span| StageChoice { end: self.cuts[span.to], width: span.units as u16 * self.unit })
            .collect();
        // Columns that are left, since the units do not divide the outline, go to the slowest.
        let left = self.outline.width - stages.iter().map(|stage| stage.width).sum::<u16>();
        let slowest = (0..spans.len()).max_by_key(|&i| (spans[i].cycles, std::cmp::Reverse(i)));
        if let Some(slowest) = slowest.filter(|_| all && left > 0) {
            stages[slowest].width += left;
            return Choice::of(self.nodes, self.outline.height, stages);
        }
        let sums = |span: &Span| {
            let stage = self.stage(span.from, span.to, span.units);
            let shared = self.widths[span.units - 1].shared_bytes[span.from][span.to];
            Sums { bytes: stage.bytes + shared, ..stage }
        };
        let sums: Vec<Sums> = spans.iter().map(sums).collect();
        Ok(Choice::with(self.outline.height, stages, &sums))
    }
}

impl Width {
    fn new(nodes: &Nodes<'_>, cuts: &[usize], grid: Extent) -> Result<Self, CompileError> {
        let shares = nodes.shares(grid)?;
        let mut sums = vec![Sums::default()];
        sums.extend(shares.iter().scan(Sums::default(), |sum, share: &Share| {
            *sum = Sums { cycles: sum.cycles + share.cycles, bytes: sum.bytes + share.weight_bytes };
            Some(*sum)
        }));
        let flows = cuts.iter().map(|&place| nodes.flow(place, grid)).collect();
        let working_bytes = shares.iter().map(|share| share.working_bytes).collect();
        let shared_bytes = cuts.iter().map(|&first| {
            let shared = nodes.shared_bytes(first, &shares);
            cuts.iter().map(|&end| end.checked_sub(first).map_or(0, |behind| shared[behind])).collect()
        });
        Ok(Self { sums, flows, working_bytes, shared_bytes: shared_bytes.collect() })
    }
}

/// Where the graph may be cut: its ends, and the places over which the fewest elements flow.
fn places(nodes: &Nodes<'_>) -> Vec<usize> {
    let elements = |id: &NodeIndex| nodes.graph.shape(*id).iter().product::<usize>();
    let over = |place: usize| -> usize { nodes.crossing[place].iter().map(elements).sum() };
    let count = nodes.ids.len();
    let mut inner: Vec<usize> = (1..count).collect();
    inner.sort_by_key(|&place| (over(place), place));
    inner.truncate(MOST_CUTS);
    let mut places = [vec![0, count], inner].concat();
    places.sort_unstable();
    places.dedup();
    places
}
