//! When tensors hold something, and which may be written over others.

use crate::plan::{Stage, StepKind, Storage, TensorId};
use std::collections::BTreeMap;

/// Lives of tensors, seen from the one that owns the bytes.
pub(crate) struct Lives {
    /// The first and last step that touch a tensor; `None` when nothing does.
    pub(crate) of: Vec<Option<(usize, usize)>>,
    /// For each result of an operation of each element: the operands that nothing needs behind it, over which it may be
    /// written.
    pub(crate) over: BTreeMap<TensorId, Vec<TensorId>>,
}

impl Lives {
    pub(crate) fn of(stage: &Stage) -> Self {
        let mut lives: Vec<Option<(usize, usize)>> = vec![None; stage.tensors.len()];
        for (index, step) in stage.steps.iter().enumerate() {
            for tensor in step.kind.sources().into_iter().chain(step.kind.result()) {
                let (owner, _) = stage.storage(tensor);
                let (first, _) = lives[owner].unwrap_or((index, index));
                lives[owner] = Some((first, index));
            }
        }
        let over = written_over(stage, &lives);
        Self { of: lives, over }
    }

    /// Whether a result may be written over an operand.
    pub(crate) fn takes_over(&self, result: TensorId, operand: TensorId) -> bool {
        self.over.get(&result).is_some_and(|operands| operands.contains(&operand))
    }

    /// Whether two tensors cannot be in one place: both hold something at a time, and neither is written over the other.
    pub(crate) fn meet(&self, a: TensorId, b: TensorId) -> bool {
        self.of[a].zip(self.of[b]).is_some_and(|(a, b)| a.0 <= b.1 && b.0 <= a.1)
            && !self.takes_over(a, b)
            && !self.takes_over(b, a)
    }
}

fn written_over(stage: &Stage, lives: &[Option<(usize, usize)>]) -> BTreeMap<TensorId, Vec<TensorId>> {
    let mut over = BTreeMap::new();
    for (index, step) in stage.steps.iter().enumerate() {
        let StepKind::Elementwise { result, .. } = step.kind else { continue };
        let written = &stage.tensors[result];
        // Each element must be read where it is written, and nowhere else.
        let in_place = |source: TensorId| {
            let read = &stage.tensors[source];
            read.distribution.tile() == written.distribution.tile() && read.dtype.bytes() == written.dtype.bytes()
        };
        let sources = step.kind.sources();
        let dies = |&owner: &TensorId| {
            let tensor = &stage.tensors[owner];
            matches!(tensor.storage, Storage::Computed { .. })
                && lives[owner].is_some_and(|(first, last)| first < index && last == index)
                && tensor.tile_bytes() == written.tile_bytes()
                && sources.iter().all(|&source| stage.storage(source).0 != owner || in_place(source))
        };
        let mut dying: Vec<TensorId> = sources.iter().map(|&source| stage.storage(source).0).filter(dies).collect();
        dying.sort_unstable();
        dying.dedup();
        if !dying.is_empty() {
            over.insert(result, dying);
        }
    }
    over
}
