//! Which rectangles of the grid compute what.
//!
//! More PEs are not always faster: ways grow, and below some size tiles are all start-up. So the planner looks for the best
//! rectangle within the grid. The cost model gives cycles and memory of each node on rectangles of many sizes ([`sizes`]); for
//! several stages the search finds the best cuts and widths for some outlines ([`row`]), and the objective which of all these comes
//! first. Whether a choice fits is known for certain only when its memory is laid out: the compiler takes the first that does.

mod nodes;
mod row;
mod search;
mod sizes;

pub use search::Objective;

use crate::plan::Alternative;
use crate::{CompileError, Options};
use nodes::{Nodes, Sums};
use rayon::prelude::*;
use row::Row;
use sizes::Sizes;
use std::collections::BTreeSet;
use waferloom_fabric::Extent;

/// Stages that are tried.
const MOST_STAGES: u16 = 24;
/// For throughput stages in a row are tried on the whole grid's height, a half of it, a quarter and an eighth.
const MOST_HALVINGS: u32 = 3;

/// A stage is sure not to fit when it is estimated to take 1 part of so many more than there is.
const TOO_LARGE: u64 = 4;
/// For one item several stages must be faster by 1 part of so many: with widths of their own they gain some per cent by the
/// estimate, which it may be wrong about, and all but one of them are idle.
const HANDICAP: u64 = 8;

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
    /// Bytes that a PE takes, the most over the stages; code and tables count once for nodes that are alike.
    pub(crate) bytes: u64,
    /// What the plan says of it.
    pub(crate) estimate: Alternative,
}

/// What may be chosen, the best of all first: for one stage several rectangles, the whole grid among them unless stages were
/// asked for; for several stages some of each number.
pub(crate) fn choices(graph: &waferloom_models::Graph, options: &Options) -> Result<Vec<Choice>, CompileError> {
    let nodes = Nodes::new(graph, options);
    if !options.overrides.stages.is_empty() {
        return Ok(vec![overridden(&nodes)?]);
    }
    let heights = heights(options)?;
    let singles = singles(&nodes, heights.as_deref())?;
    let stages = options.stages.unwrap_or(MOST_STAGES).min(options.grid.width).max(1);
    if stages == 1 {
        return Ok(singles);
    }
    let mut choices = Vec::new();
    for outline in outlines(options, &singles, heights.as_deref()) {
        choices.extend(Row::new(&nodes, outline)?.choices(stages, options.whole_grid)?);
    }
    choices.retain(|choice| choice.stages.len() > 1);
    match options.stages {
        Some(wanted) => {
            // Too few places to cut: the next best to what was asked for.
            let most = choices.iter().map(|c| c.stages.len()).filter(|&n| n <= usize::from(wanted)).max();
            choices.retain(|c| Some(c.stages.len()) == most);
            if choices.is_empty() {
                choices = singles;
            }
        }
        None => choices.extend(singles),
    }
    choices.sort_by_key(|choice| options.objective.rank(&choice.estimate));
    Ok(choices)
}

/// The number of rows that the user wants; `None` leaves it to the planner.
fn heights(options: &Options) -> Result<Option<Vec<u16>>, CompileError> {
    match options.overrides.rows {
        Some(rows) if rows == 0 || rows > options.grid.height => Err(CompileError::Override {
            problem: format!("its stages have {rows} rows, the grid {}", options.grid.height),
            remedy: "give them one row at least, and at most those of the grid".into(),
        }),
        Some(rows) => Ok(Some(vec![rows])),
        None if options.whole_grid => Ok(Some(vec![options.grid.height])),
        None => Ok(None),
    }
}

/// Everything as one stage: the fastest rectangle, then those that are slower and take less of a PE, and the whole grid, whose memory
/// is worth a try in any case.
fn singles(nodes: &Nodes<'_>, heights: Option<&[u16]>) -> Result<Vec<Choice>, CompileError> {
    let (grid, sizes) = (nodes.options.grid, Sizes::new(nodes));
    let up_to = |sizes: Vec<u16>, most: u16| -> BTreeSet<u16> {
        sizes.into_iter().filter(|&size| size <= most).chain([most]).collect()
    };
    let columns =
        if nodes.options.whole_grid { BTreeSet::from([grid.width]) } else { up_to(sizes.columns, grid.width) };
    let rows = heights.map_or_else(|| up_to(sizes.rows, grid.height), |rows| rows.iter().copied().collect());
    let most = Extent { width: grid.width, height: rows.last().copied().unwrap_or(grid.height) };
    let all: Vec<Extent> =
        rows.iter().flat_map(|&height| columns.iter().map(move |&width| Extent { width, height })).collect();
    let single =
        |grid: &Extent| Choice::of(nodes, grid.height, vec![StageChoice { end: nodes.ids.len(), width: grid.width }]);
    let mut all: Vec<Choice> = all.par_iter().map(single).collect::<Result<_, _>>()?;
    // Of equal ones that on the fewest PEs.
    all.sort_by_key(|choice| (choice.estimate.latency_cycles, choice.estimate.grid.pes()));
    let sram = u64::from(nodes.options.machine.sram_bytes);
    let mut least = sram + sram / TOO_LARGE + 1;
    all.retain(|choice| {
        let worth = choice.bytes < least || choice.estimate.grid == most;
        least = least.min(choice.bytes);
        worth
    });
    Ok(all)
}

/// Outlines of several stages in a row. For one item's latency several stages are worth something where one does not fit: then
/// they take what there is. For throughput narrow ones may be better.
fn outlines(options: &Options, singles: &[Choice], heights: Option<&[u16]>) -> Vec<Extent> {
    let grid = options.grid;
    let rows: BTreeSet<u16> = match (heights, options.objective) {
        (Some(rows), _) => rows.iter().copied().collect(),
        (None, Objective::Throughput) => (0..=MOST_HALVINGS).map(|halvings| (grid.height >> halvings).max(1)).collect(),
        (None, Objective::Latency) => {
            singles.iter().take(1).map(|best| best.estimate.grid.height).chain([grid.height]).collect()
        }
    };
    rows.into_iter().map(|height| Extent { height, ..grid }).collect()
}

/// The stages of the user's choice.
fn overridden(nodes: &Nodes<'_>) -> Result<Choice, CompileError> {
    let (graph, options) = (nodes.graph, nodes.options);
    let error = |problem: String, remedy: &str| CompileError::Override { problem, remedy: remedy.into() };
    let wanted = &options.overrides.stages;
    let columns: u32 = wanted.iter().map(|stage| u32::from(stage.columns)).sum();
    if columns > u32::from(options.grid.width) || wanted.iter().any(|stage| stage.columns == 0) {
        let problem = format!("its stages have {columns} columns, the grid {}", options.grid.width);
        return Err(error(problem, "give each stage one column at least, and all together at most those of the grid"));
    }
    let mut stages = Vec::with_capacity(wanted.len());
    let mut first = 0;
    for (index, stage) in wanted.iter().enumerate() {
        let place = nodes.ids.iter().position(|&id| graph.node(id).name == stage.last);
        let Some(place) = place.filter(|&place| place >= first) else {
            let problem =
                format!("stage {index} ends with \"{}\", which no step behind the stage before computes", stage.last);
            return Err(error(problem, "take the name of a computed node from --explain"));
        };
        first = place + 1;
        stages.push(StageChoice { end: first, width: stage.columns });
    }
    if first != nodes.ids.len() {
        let last = nodes.ids.last().map_or("", |&id| &graph.node(id).name);
        return Err(error("nodes are left behind the last stage".into(), &format!("let it end with \"{last}\"")));
    }
    let rows = heights(options)?.and_then(|rows| rows.first().copied());
    Choice::of(nodes, rows.unwrap_or(options.grid.height), stages)
}

impl Choice {
    /// Stages on so many rows.
    fn of(nodes: &Nodes<'_>, height: u16, stages: Vec<StageChoice>) -> Result<Self, CompileError> {
        let mut first = 0;
        let mut all = Vec::with_capacity(stages.len());
        for stage in &stages {
            let grid = Extent { width: stage.width, height };
            let shares = nodes.shares(grid)?;
            let own = &shares[first..stage.end];
            let flows = [first, stage.end].map(|place| nodes.flow(place, grid));
            let working = own.iter().map(|share| share.working_bytes).chain(flows.map(|flow| flow.bytes)).max();
            all.push(Sums {
                cycles: own.iter().map(|share| share.cycles).chain(flows.map(|flow| flow.cycles)).sum(),
                bytes: own.iter().map(|share| share.weight_bytes).sum::<u64>()
                    + working.unwrap_or(0)
                    + nodes.shared_bytes(first, &shares)[stage.end - first],
            });
            first = stage.end;
        }
        Ok(Self::with(height, stages, &all))
    }

    /// Stages that take so much each.
    fn with(height: u16, stages: Vec<StageChoice>, sums: &[Sums]) -> Self {
        let width = stages.iter().map(|stage| stage.width).sum();
        let estimate = Alternative {
            stages: stages.len() as u16,
            grid: Extent { width, height },
            interval_cycles: sums.iter().map(|sums| sums.cycles).max().unwrap_or(0),
            latency_cycles: sums.iter().map(|sums| sums.cycles).sum(),
            fits: None,
        };
        Self { stages, bytes: sums.iter().map(|sums| sums.bytes).max().unwrap_or(0), estimate }
    }
}

impl Objective {
    /// What comes first: less of what matters, then less of the rest, then fewer PEs.
    fn rank(self, estimate: &Alternative) -> (u64, u64, usize) {
        let (interval, latency) = (estimate.interval_cycles, estimate.latency_cycles);
        let handicap = if estimate.stages > 1 { latency / HANDICAP } else { 0 };
        match self {
            Objective::Throughput => (interval, latency, estimate.grid.pes()),
            Objective::Latency => (latency + handicap, interval, estimate.grid.pes()),
        }
    }
}
