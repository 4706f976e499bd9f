//! Which steps do the same, but for the tensors that they work on.

use crate::plan::{KernelChoice, Stage, Step, StepKind};
use crate::view::known;
use petgraph::graph::NodeIndex;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use waferloom_models::Graph;

/// A number for each step: equal for steps of the same kind with operands and results of the same types and layouts. The
/// tables of equal steps are equal too, since they move the same elements.
pub(crate) fn of(graph: &Graph, stage: &Stage) -> Vec<u32> {
    let mut known: BTreeMap<String, u32> = BTreeMap::new();
    let number = |step| {
        let next = known.len() as u32;
        *known.entry(key(graph, stage, step)).or_insert(next)
    };
    stage.steps.iter().map(number).collect()
}

/// What a step does in words.
fn key(graph: &Graph, stage: &Stage, step: &Step) -> String {
    let mut kind = step.kind.clone();
    let mut layouts = String::new();
    kind.for_each_tensor(|id| {
        let tensor = &stage.tensors[std::mem::take(id)];
        let _ = write!(layouts, "{:?} {:?};", tensor.dtype, tensor.distribution);
    });
    if let StepKind::MatMul { choice, .. } = &mut kind {
        // Why it was chosen does not matter.
        *choice = KernelChoice { cycles: 0, runner_up: None, ..*choice };
    }
    let mut movement = String::new();
    if let StepKind::Move { node, .. } = &mut kind {
        movement = known::description(graph, NodeIndex::new(std::mem::take(node))).0;
    }
    let bytes = |areas: &[crate::plan::Area]| areas.iter().map(|area| area.bytes).collect::<Vec<_>>();
    format!("{kind:?} {movement} {layouts} {:?} {:?}", bytes(&step.scratch), bytes(&step.tables))
}
