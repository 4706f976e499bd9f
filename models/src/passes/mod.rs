//! Passes from graph to graph: one file a pass. [`default_passes`] is the list of what the importer runs, in order.

use crate::graph::Graph;
use crate::infer::{GraphError, verify};

/// A pass: its name and what it does.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// Name, as in `explain` listings.
    pub name: &'static str,
    /// The transformation.
    pub run: fn(&Graph) -> Result<Graph, String>,
}

/// The importer's passes, in order.
pub fn default_passes() -> Vec<Pass> {
    Vec::new()
}

/// Runs passes one after another; debug builds verify the graph after each.
///
/// # Errors
/// When a pass fails or leaves a malformed graph.
pub fn run(graph: &Graph, passes: &[Pass]) -> Result<Graph, GraphError> {
    let mut graph = graph.clone();
    for pass in passes {
        let failed = |problem| GraphError { index: 0, name: pass.name.into(), problem };
        graph = (pass.run)(&graph).map_err(failed)?;
        if cfg!(debug_assertions) {
            verify(&graph)?;
        }
    }
    verify(&graph)?;
    Ok(graph)
}
