//! Which steps do the same, but for the tensors that they work on.

use crate::plan::{KernelChoice, Stage, Step, StepKind};
use crate::view;
use petgraph::graph::NodeIndex;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use waferloom_models::Graph;

/// A number for each step: equal for steps of the same kind with operands and results of the same types and layouts. The
/// tables of equal steps are equal too, since they move the same elements.
pub(crate) fn of(graph: &Graph, stage: &Stage) -> Vec<u32> {
    let mut known: BTreeMap<Key, u32> = BTreeMap::new();
    let number = |step| {
        let next = known.len() as u32;
        *known.entry(key(graph, stage, step)).or_insert(next)
    };
    stage.steps.iter().map(number).collect()
}

/// What a step does in words, and for a relayout where the elements of each piece come from.
type Key = (String, Vec<Arc<[u32]>>);

fn key(graph: &Graph, stage: &Stage, step: &Step) -> Key {
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
    let mut maps = Vec::new();
    if let StepKind::Move { node, .. } = &mut kind {
        let view = view::of(graph, NodeIndex::new(std::mem::take(node)));
        maps.extend(view.pieces.iter().map(|piece| piece.map(view.elements)));
    }
    let bytes = |areas: &[crate::plan::Area]| areas.iter().map(|area| area.bytes).collect::<Vec<_>>();
    (format!("{kind:?} {layouts} {:?} {:?}", bytes(&step.scratch), bytes(&step.tables)), maps)
}
