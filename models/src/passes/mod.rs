//! Passes from graph to graph: one file a pass. [`default_passes`] is the list of what the importer runs, in order.
//!
//! A pass keeps what the graph computes up to a few roundings in single precision, its inputs and its outputs with their
//! names and types; every one of them may be run alone.

mod activations;
mod arithmetic;
mod broadcasts;
mod common;
mod dead;
mod identities;
mod look;
mod normalize;
mod rewrite;
mod scales;
mod softmax;
#[cfg(test)]
mod tests;

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

/// Removes what changes nothing and merges what follows itself.
const IDENTITIES: Pass = Pass { name: "identities", run: identities::run };
/// Makes one node of those that compute the same.
pub const COMMON: Pass = Pass { name: "common", run: common::run };
/// Repeats elements as late as possible.
const BROADCASTS: Pass = Pass { name: "broadcasts", run: broadcasts::run };
/// Cheaper forms of the same arithmetic.
const ARITHMETIC: Pass = Pass { name: "arithmetic", run: arithmetic::run };
/// Recognises activation functions.
const ACTIVATIONS: Pass = Pass { name: "activations", run: activations::run };
/// Recognises softmax and brings it to the last axis.
const SOFTMAX: Pass = Pass { name: "softmax", run: softmax::run };
/// Recognises layer norms.
const NORMALIZE: Pass = Pass { name: "normalize", run: normalize::run };
/// Multiplies constant factors into weights.
const SCALES: Pass = Pass { name: "scales", run: scales::run };
/// Leaves out what no output needs.
const DEAD: Pass = Pass { name: "dead", run: dead::run };

/// The importer's passes, in order.
pub fn default_passes() -> Vec<Pass> {
    vec![
        IDENTITIES,
        // The patterns below compare operands: what is equal must be the same node.
        BROADCASTS,
        COMMON,
        ARITHMETIC,
        // Arithmetic brings different spellings of the same to one form.
        COMMON,
        ACTIVATIONS,
        SOFTMAX,
        NORMALIZE,
        // After the patterns, whose constants it would hide.
        SCALES,
        // What the passes above left behind, and what came together by it.
        IDENTITIES,
        COMMON,
        DEAD,
    ]
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
