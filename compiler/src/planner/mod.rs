//! Where a graph is cut into stages, and how wide each stage's rectangle is.
//!
//! The cost model gives cycles and memory of each node on rectangles of several widths; the search finds for each number of
//! stages the best cuts and widths, and the objective which of these comes first. Whether a choice fits is known for certain only
//! when its memory is laid out: the compiler takes the first that does.

mod search;

pub use search::Objective;

use crate::cost::{handoff_cycles, node_cost};
use crate::cut::{self, Part};
use crate::plan::Alternative;
use crate::{CompileError, Options};
use petgraph::graph::NodeIndex;
use rayon::prelude::*;
use search::{Span, Table};
use waferloom_fabric::Extent;
use waferloom_models::Graph;
use waferloom_models::graph::Op;

/// Widths that are tried: with more columns they go up in steps.
const MOST_WIDTHS: u16 = 24;
/// Places to cut that are tried: of more those are taken over which the fewest values flow.
const MOST_CUTS: usize = 128;
/// Stages that are tried.
const MOST_STAGES: u16 = 24;

/// A stage that the planner has chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StageChoice {
    /// The computed nodes before this place, from where the stage before ends, are its own.
    pub(crate) end: usize,
    /// Columns of its rectangle.
    pub(crate) width: u16,
}

/// Stages that the search has found, with what the cost model says of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// From west to east.
    pub(crate) stages: Vec<StageChoice>,
    /// What the plan says of it.
    pub(crate) estimate: Alternative,
}

/// The best choice of each number of stages, the best of all first.
pub(crate) fn choices(graph: &Graph, options: &Options) -> Result<Vec<Choice>, CompileError> {
    let nodes = cut::computed(graph);
    let crossing = crossing(graph, nodes.len());
    let single = || single(graph, &nodes, &crossing, options);
    if !options.overrides.stages.is_empty() {
        return Ok(vec![overridden(graph, &nodes, &crossing, options)?]);
    }
    let stages = options.stages.unwrap_or(MOST_STAGES).min(options.grid.width).max(1);
    if stages == 1 {
        return Ok(vec![single()?]);
    }
    let search = Search::new(graph, &nodes, &crossing, options)?;
    let mut choices = search.choices(stages);
    if !options.grid.width.is_multiple_of(search.unit) {
        for choice in &mut choices {
            choice.estimate = estimate(&stage_cycles(graph, &nodes, &crossing, options, &choice.stages)?);
        }
    }
    if let Some(wanted) = options.stages {
        // Too few places to cut: the next best to what was asked for.
        let most = choices.iter().map(|c| c.stages.len()).filter(|&n| n <= usize::from(wanted)).max();
        choices.retain(|c| Some(c.stages.len()) == most);
    }
    // Memory is estimated: the whole grid is worth a try in any case.
    if choices.is_empty() || options.stages.is_none() && choices.iter().all(|choice| choice.stages.len() > 1) {
        choices.push(single()?);
    }
    choices.sort_by_key(|choice| options.objective.rank(&choice.estimate));
    Ok(choices)
}

/// Everything on the whole grid.
fn single(
    graph: &Graph,
    nodes: &[NodeIndex],
    crossing: &[Vec<NodeIndex>],
    options: &Options,
) -> Result<Choice, CompileError> {
    let stages = vec![StageChoice { end: nodes.len(), width: options.grid.width }];
    let cycles = stage_cycles(graph, nodes, crossing, options, &stages)?;
    Ok(Choice { stages, estimate: estimate(&cycles) })
}

/// The stages of the user's choice.
fn overridden(
    graph: &Graph,
    nodes: &[NodeIndex],
    crossing: &[Vec<NodeIndex>],
    options: &Options,
) -> Result<Choice, CompileError> {
    let error = |problem: String, remedy: &str| CompileError::Override { problem, remedy: remedy.into() };
    let wanted = &options.overrides.stages;
    let columns: u32 = wanted.iter().map(|stage| u32::from(stage.columns)).sum();
    if columns != u32::from(options.grid.width) || wanted.iter().any(|stage| stage.columns == 0) {
        let problem = format!("its stages have {columns} columns, the grid {}", options.grid.width);
        return Err(error(problem, "give each stage one column at least, and all together those of the grid"));
    }
    let mut stages = Vec::with_capacity(wanted.len());
    let mut first = 0;
    for (index, stage) in wanted.iter().enumerate() {
        let place = nodes.iter().position(|&id| graph.node(id).name == stage.last);
        let Some(place) = place.filter(|&place| place >= first) else {
            let problem =
                format!("stage {index} ends with \"{}\", which no step behind the stage before computes", stage.last);
            return Err(error(problem, "take the name of a computed node from --explain"));
        };
        first = place + 1;
        stages.push(StageChoice { end: first, width: stage.columns });
    }
    if first != nodes.len() {
        let last = nodes.last().map_or("", |&id| &graph.node(id).name);
        return Err(error("nodes are left behind the last stage".into(), &format!("let it end with \"{last}\"")));
    }
    let cycles = stage_cycles(graph, nodes, crossing, options, &stages)?;
    let estimate = estimate(&cycles);
    Ok(Choice { stages, estimate })
}

/// Cycles of each stage.
fn stage_cycles(
    graph: &Graph,
    nodes: &[NodeIndex],
    crossing: &[Vec<NodeIndex>],
    options: &Options,
    stages: &[StageChoice],
) -> Result<Vec<u64>, CompileError> {
    let mut first = 0;
    let mut all = Vec::with_capacity(stages.len());
    for stage in stages {
        let grid = Extent { width: stage.width, ..options.grid };
        let mut cycles = 0;
        for &id in &nodes[first..stage.end] {
            cycles += node_cost(graph, id, grid, options)?.cycles;
        }
        for &place in &[first, stage.end] {
            let values = crossing.get(place).into_iter().flatten();
            cycles += values.map(|&id| handoff_cycles(graph, id, grid, options)).sum::<u64>();
        }
        first = stage.end;
        all.push(cycles);
    }
    Ok(all)
}

/// What the cost model says of stages with these cycles.
fn estimate(cycles: &[u64]) -> Alternative {
    Alternative {
        stages: cycles.len() as u16,
        interval_cycles: cycles.iter().max().copied().unwrap_or(0),
        latency_cycles: cycles.iter().sum(),
        fits: None,
    }
}

impl Objective {
    /// What comes first: less of what matters, then less of the rest.
    fn rank(self, estimate: &Alternative) -> (u64, u64) {
        match self {
            Objective::Throughput => (estimate.interval_cycles, estimate.latency_cycles),
            Objective::Latency => (estimate.latency_cycles, estimate.interval_cycles),
        }
    }
}

/// Cycles and bytes of everything that a stage may consist of.
struct Search<'a> {
    options: &'a Options,
    /// Places to cut: numbers of nodes before them.
    cuts: Vec<usize>,
    /// Columns of a unit of width.
    unit: u16,
    /// For each width, in units, from 1.
    widths: Vec<Width>,
}

/// Cycles and bytes on rectangles of one width.
struct Width {
    /// Sums over the nodes before each place.
    sums: Vec<Sums>,
    /// Cycles of the values that flow over each cut, and their bytes.
    flows: Vec<Sums>,
    /// Working memory of each node.
    working_bytes: Vec<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    cycles: u64,
    bytes: u64,
}

impl<'a> Search<'a> {
    fn new(
        graph: &Graph,
        nodes: &[NodeIndex],
        crossing: &[Vec<NodeIndex>],
        options: &'a Options,
    ) -> Result<Self, CompileError> {
        let cuts = places(graph, crossing, nodes.len());
        let unit = options.grid.width.div_ceil(MOST_WIDTHS);
        let units = options.grid.width / unit;
        let width = |unit_count: u16| {
            let grid = Extent { width: unit_count * unit, ..options.grid };
            Width::new(graph, nodes, crossing, &cuts, grid, options)
        };
        let widths = (1..=units).into_par_iter().map(width).collect::<Result<_, _>>()?;
        Ok(Self { options, cuts, unit, widths })
    }

    /// Cycles of a stage between two cuts; `None` where its weights and working memory are sure not to fit. Code and tables
    /// are not counted: layers may share them.
    fn stage_cycles(&self, from: usize, to: usize, units: usize) -> Option<u64> {
        let (first, end) = (self.cuts[from], self.cuts[to]);
        let Width { sums, flows, working_bytes } = &self.widths[units - 1];
        let working = working_bytes[first..end].iter().max().copied().unwrap_or(0);
        let bytes = sums[end].bytes - sums[first].bytes + working.max(flows[from].bytes).max(flows[to].bytes);
        let fits = bytes <= u64::from(self.options.machine.sram_bytes);
        fits.then(|| sums[end].cycles - sums[first].cycles + flows[from].cycles + flows[to].cycles)
    }

    /// The best choice of each number of stages.
    fn choices(&self, most: u16) -> Vec<Choice> {
        let table =
            Table::new(self.cuts.len(), self.widths.len(), |from, to, units| self.stage_cycles(from, to, units));
        let solutions = table.solve(self.options.objective, most.into());
        solutions.into_iter().flatten().map(|spans| self.choice(&spans)).collect()
    }

    fn choice(&self, spans: &[Span]) -> Choice {
        let mut stages: Vec<StageChoice> = spans
            .iter()
            .map(|span| StageChoice { end: self.cuts[span.to], width: span.units as u16 * self.unit })
            .collect();
        // Columns that are left, since the units do not divide the grid, go to the slowest.
        let left = self.options.grid.width - stages.iter().map(|stage| stage.width).sum::<u16>();
        if let Some(slowest) = (0..spans.len()).max_by_key(|&i| (spans[i].cycles, std::cmp::Reverse(i))) {
            stages[slowest].width += left;
        }
        let cycles: Vec<u64> = spans.iter().map(|span| span.cycles).collect();
        Choice { stages, estimate: estimate(&cycles) }
    }
}

impl Width {
    fn new(
        graph: &Graph,
        nodes: &[NodeIndex],
        crossing: &[Vec<NodeIndex>],
        cuts: &[usize],
        grid: Extent,
        options: &Options,
    ) -> Result<Self, CompileError> {
        let (mut sums, mut working_bytes) = (vec![Sums::default()], Vec::new());
        for &id in nodes {
            // Other constants, such as masks, may be those of many nodes.
            let holds_weights = matches!(graph.node(id).op, Op::MatMul | Op::Gather { .. });
            let (cost, before) = (node_cost(graph, id, grid, options)?, sums[sums.len() - 1]);
            sums.push(Sums {
                cycles: before.cycles + cost.cycles,
                bytes: before.bytes + if holds_weights { cost.constant_bytes } else { 0 },
            });
            working_bytes.push(cost.activation_bytes);
        }
        let flow = |&place: &usize| {
            let values = &crossing[place];
            let cycles = values.iter().map(|&id| handoff_cycles(graph, id, grid, options)).sum();
            let bytes = values.iter().map(|&id| value_bytes(graph, id, grid, options)).sum();
            Sums { cycles, bytes }
        };
        let flows = cuts.iter().map(flow).collect();
        Ok(Self { sums, flows, working_bytes })
    }
}

/// The values that flow over each place between two nodes.
fn crossing(graph: &Graph, nodes: usize) -> Vec<Vec<NodeIndex>> {
    let ends: Vec<usize> = (1..nodes).collect();
    let parts = cut::into_parts(graph, &ends);
    let leaving = |part: Part| part.leave;
    std::iter::once(Vec::new()).chain(parts.into_iter().map(leaving)).collect()
}

/// Where the graph may be cut: its ends, and the places over which the fewest elements flow.
fn places(graph: &Graph, crossing: &[Vec<NodeIndex>], nodes: usize) -> Vec<usize> {
    let elements =
        |place: usize| -> usize { crossing[place].iter().map(|&id| graph.shape(id).iter().product::<usize>()).sum() };
    let mut inner: Vec<usize> = (1..nodes).collect();
    inner.sort_by_key(|&place| (elements(place), place));
    inner.truncate(MOST_CUTS);
    let mut places = [vec![0, nodes], inner].concat();
    places.sort_unstable();
    places.dedup();
    places
}

/// Bytes of a value's tile.
fn value_bytes(graph: &Graph, id: NodeIndex, grid: Extent, options: &Options) -> u64 {
    let layout = crate::layout::default(graph.shape(id), grid, options.dtype);
    layout.tile_elements() as u64 * u64::from(options.dtype.bytes())
}
