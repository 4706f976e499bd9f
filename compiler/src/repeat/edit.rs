//! Changes to the steps of a stage that make it fit for a repeat.

use crate::plan::{Elementwise, Repeat, Source, Stage, Step, StepKind, Storage, TensorId, TensorPlan};
use std::collections::BTreeMap;
use std::ops::Range;
use waferloom_fabric::VectorOp;

/// A stage whose repeats are being looked for.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(super) stage: Stage,
    /// A number for each step, equal for those that do the same.
    pub(super) signatures: Vec<u32>,
}

impl Draft {
    /// The steps that are in no repeat.
    pub(super) fn gaps(&self) -> Vec<Range<usize>> {
        let mut gaps = Vec::new();
        let mut start = 0;
        for repeat in &self.stage.repeats {
            gaps.push(start..repeat.first);
            start = repeat.range().end;
        }
        gaps.push(start..self.stage.steps.len());
        gaps
    }

    /// The tensors that a step reads, as those that own the bytes.
    pub(super) fn sources(&self, step: usize) -> impl Iterator<Item = TensorId> {
        self.stage.steps[step].kind.sources().into_iter().map(|source| self.stage.storage(source).0)
    }

    /// The step that makes each tensor.
    pub(super) fn makers(&self) -> BTreeMap<TensorId, usize> {
        let results = self.stage.steps.iter().enumerate();
        results.filter_map(|(index, step)| Some((self.stage.storage(step.kind.result()?).0, index))).collect()
    }

    /// Whether a step may run earlier: what comes from outside and goes there keeps its order.
    pub(super) fn is_movable(&self, step: usize) -> bool {
        let kind = &self.stage.steps[step].kind;
        kind.result().is_some() && !kind.sources().is_empty()
    }

    /// The same with some steps moved in front of another that they lie behind.
    pub(super) fn hoisted(&self, early: &[usize], first: usize) -> Self {
        let last = early.last().map_or(first, |&last| last + 1);
        let rest = (first..last).filter(|step| !early.contains(step));
        let order: Vec<usize> =
            (0..first).chain(early.iter().copied()).chain(rest).chain(last..self.stage.steps.len()).collect();
        let mut draft = self.clone();
        draft.stage.steps = order.iter().map(|&step| self.stage.steps[step].clone()).collect();
        draft.signatures = order.iter().map(|&step| self.signatures[step]).collect();
        draft
    }

    /// Copies the result of a step at the end of each turn; the next turn reads the copy.
    pub(super) fn with_copies_of(&self, repeat: Repeat, step: usize) -> (Self, Repeat) {
        let mut draft = self.clone();
        let signature = draft.new_signature();
        for turn in (0..repeat.turns).rev() {
            let end = repeat.first + (turn + 1) * repeat.steps;
            let Some(result) = draft.stage.steps[end - repeat.steps + step].kind.result() else { continue };
            let copy = draft.copy(result, end, signature);
            // The copies of the turns behind have moved those by one step each.
            let next = end + 1..(end + 1 + repeat.steps).min(draft.stage.steps.len());
            if turn + 1 < repeat.turns {
                draft.replace(next, result, copy);
            }
        }
        (draft, Repeat { steps: repeat.steps + 1, ..repeat })
    }

    /// Copies what enters the first turn in the place of the step's result of the turn before.
    pub(super) fn with_copied_entry(&self, repeat: Repeat, step: usize) -> Option<(Self, Repeat)> {
        let mut draft = self.clone();
        let made = |turn: usize| {
            let result = self.stage.steps[repeat.first + turn * repeat.steps + step].kind.result()?;
            Some(self.stage.storage(result).0)
        };
        let previous = made(0)?;
        let second = repeat.first + repeat.steps..repeat.first + 2 * repeat.steps;
        let (user, operand) = second.clone().find_map(|user| {
            let operand = self.sources(user).position(|source| source == previous)?;
            Some((user - repeat.steps, operand))
        })?;
        let entry = self.sources(user).nth(operand)?;
        let signature = draft.new_signature();
        let copy = draft.copy(entry, repeat.first, signature);
        let users: Vec<(usize, usize)> = second
            .flat_map(|user| self.sources(user).enumerate().map(move |(operand, source)| (user, operand, source)))
            .filter(|&(.., source)| source == previous)
            .map(|(user, operand, _)| (user - repeat.steps + 1, operand))
            .collect();
        for (user, operand) in users {
            draft.replace_operand(user, operand, entry, copy);
        }
        Some((draft, Repeat { first: repeat.first + 1, ..repeat }))
    }

    fn new_signature(&self) -> u32 {
        self.signatures.iter().max().map_or(0, |most| most + 1)
    }

    /// Adds a step at an index that copies a tensor; gives the copy.
    fn copy(&mut self, tensor: TensorId, at: usize, signature: u32) -> TensorId {
        let original = &self.stage.tensors[tensor];
        let mut name = format!("{}~carried", original.name);
        while self.stage.tensors.iter().any(|known| known.name == name) {
            name.push('~');
        }
        let storage = Storage::Computed { address: 0 };
        self.stage.tensors.push(TensorPlan { name: name.clone(), storage, ..original.clone() });
        let result = self.stage.tensors.len() - 1;
        let kind = StepKind::Elementwise {
            op: Elementwise::Vector(VectorOp::Mov),
            sources: vec![Source::Tensor(tensor)],
            result,
        };
        self.stage
            .steps
            .insert(at, Step { name, kind, flops: 0, estimate_cycles: 0, scratch: Vec::new(), tables: Vec::new() });
        self.signatures.insert(at, signature);
        for repeat in &mut self.stage.repeats {
            if repeat.first >= at {
                repeat.first += 1;
            }
        }
        result
    }

    /// Lets steps read a copy instead of a tensor.
    fn replace(&mut self, steps: Range<usize>, tensor: TensorId, copy: TensorId) {
        for step in steps {
            let sources: Vec<TensorId> = self.sources(step).collect();
            for (operand, _) in sources.iter().enumerate().filter(|&(_, &source)| source == tensor) {
                self.replace_operand(step, operand, tensor, copy);
            }
        }
    }

    /// Lets an operand of a step read a copy; one that sees the tensor in another layout sees the copy so.
    fn replace_operand(&mut self, step: usize, operand: usize, tensor: TensorId, copy: TensorId) {
        let source = self.stage.steps[step].kind.sources()[operand];
        let seen = if source == tensor {
            copy
        } else {
            let alias = TensorPlan { storage: Storage::Alias(copy), ..self.stage.tensors[source].clone() };
            let name = format!("{}~{}", alias.name, self.stage.tensors.len());
            self.stage.tensors.push(TensorPlan { name, ..alias });
            self.stage.tensors.len() - 1
        };
        let mut number = 0;
        self.stage.steps[step].kind.for_each_tensor(|id| {
            if number == operand {
                *id = seen;
            }
            number += 1;
        });
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use waferloom_fabric::{Coord, Distribution, Dtype, Extent};

    const GRID: Extent = Extent { width: 1, height: 1 };

    /// Steps with signatures of which each reads what the one before has made; the first reads tensor 0, which nothing makes.
    /// Step `i` makes tensor `i + 1`.
    pub(in crate::repeat) fn chain(signatures: &[u32]) -> Draft {
        let tensor = |id: usize| TensorPlan {
            name: format!("t{id}"),
            dtype: Dtype::F32,
            distribution: Distribution { grid: GRID, shape: vec![8], x: None, y: None },
            storage: Storage::Computed { address: 0 },
        };
        let step = |id: usize| Step {
            name: format!("s{id}"),
            kind: StepKind::Elementwise {
                op: Elementwise::Vector(VectorOp::Abs),
                sources: vec![Source::Tensor(id)],
                result: id + 1,
            },
            flops: 0,
            estimate_cycles: 0,
            scratch: Vec::new(),
            tables: Vec::new(),
        };
        let stage = Stage {
            origin: Coord { x: 0, y: 0 },
            grid: GRID,
            last: String::new(),
            tensors: (0..=signatures.len()).map(tensor).collect(),
            steps: (0..signatures.len()).map(step).collect(),
            repeats: Vec::new(),
        };
        Draft { stage, signatures: signatures.to_vec() }
    }

    impl Draft {
        /// Lets a step read another tensor than the one that the step before has made.
        pub(in crate::repeat) fn read(&mut self, step: usize, tensor: TensorId) {
            self.replace_operand(step, 0, step, tensor);
        }
    }
}
