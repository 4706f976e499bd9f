//! Passes from graph to graph that rewrite what no kernel computes into what one does, and what one does into what costs less:
//! one file a pass, and [`default_passes`] is the list of what runs, in order.

mod conv_to_matmul;
mod fold_affine;
mod gather_rows;
mod merge_products;
mod reduce_last_axis;
mod rewrite;
mod sink_movement;
mod skip_masked;

use crate::CompileError;
use waferloom_models::Graph;
use waferloom_models::passes::{COMMON, Pass, run};

/// The compiler's passes, in order.
pub fn default_passes() -> Vec<Pass> {
    vec![
        Pass { name: "conv-to-matmul", run: |graph| Ok(conv_to_matmul::run(graph)) },
        Pass { name: "reduce-last-axis", run: |graph| Ok(reduce_last_axis::run(graph)) },
        Pass { name: "gather-rows", run: |graph| Ok(gather_rows::run(graph)) },
        Pass { name: "skip-masked", run: |graph| Ok(skip_masked::run(graph)) },
        Pass { name: "sink-movement", run: |graph| Ok(sink_movement::run(graph)) },
        // Tensors that were moved back may be those that others use.
        COMMON,
        // Once scales and shifts stand next to the norms, and biases next to the products.
        Pass { name: "fold-affine", run: |graph| Ok(fold_affine::run(graph)) },
        Pass { name: "merge-products", run: |graph| Ok(merge_products::run(graph)) },
    ]
}

/// Brings an imported graph into the operators that the kernels compute.
///
/// # Errors
/// A pass that leaves a malformed graph: a fault of the compiler.
pub fn prepare(graph: &Graph) -> Result<Graph, CompileError> {
    Ok(run(graph, &default_passes())?)
}
