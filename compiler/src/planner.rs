//! Where a graph is cut into stages, and how wide each stage's rectangle is.

use crate::Options;
use crate::cut;
use waferloom_models::Graph;

/// A stage that the planner has chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StageChoice {
    /// The computed nodes before this place, from where the stage before ends, are its own.
    pub(crate) end: usize,
    /// Columns of its rectangle.
    pub(crate) width: u16,
}

/// Chooses the stages.
pub(crate) fn choose(graph: &Graph, options: &Options) -> Vec<StageChoice> {
    let nodes = cut::computed(graph).len();
    let count = usize::from(options.stages.unwrap_or(1)).clamp(1, nodes.max(1)).min(options.grid.width.into());
    let width = usize::from(options.grid.width);
    (0..count)
        .map(|i| StageChoice {
            end: nodes * (i + 1) / count,
            width: (width * (i + 1) / count - width * i / count) as u16,
        })
        .collect()
}
