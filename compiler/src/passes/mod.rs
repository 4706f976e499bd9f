//! Passes from graph to graph that rewrite what no kernel computes into what one does: one file a pass, and
//! [`default_passes`] is the list of what runs, in order.

mod conv_to_matmul;
mod gather_rows;
mod reduce_last_axis;
mod rewrite;
mod sink_movement;

use crate::CompileError;
use waferloom_models::Graph;
use waferloom_models::passes::{Pass, run};

/// The compiler's passes, in order.
pub fn default_passes() -> Vec<Pass> {
    vec![
        Pass { name: "conv-to-matmul", run: conv_to_matmul::run },
        Pass { name: "reduce-last-axis", run: reduce_last_axis::run },
        Pass { name: "gather-rows", run: gather_rows::run },
        Pass { name: "sink-movement", run: sink_movement::run },
    ]
}

/// Brings an imported graph into the operators that the kernels compute.
///
/// # Errors
/// A pass that leaves a malformed graph: a fault of the compiler.
pub fn prepare(graph: &Graph) -> Result<Graph, CompileError> {
    Ok(run(graph, &default_passes())?)
}
