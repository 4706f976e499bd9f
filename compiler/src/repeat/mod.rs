//! Repeated layers: finds the steps of a stage that are the same turn after turn, so that they can share their code.
//!
//! A model's layers are a period in its row of steps. What only the first layer does, since the others use its result (the mask
//! of the scores, say), is moved in front of it. What a turn takes over from the one before must lie in one place at the end
//! of each turn; where it does not, a copy is added. Then the tensors' places follow ([`flow`], [`crate::allocate`]), and
//! lowering makes a loop of the turns' codes (`lower/roll.rs`).

pub(crate) mod edit;
pub(crate) mod flow;
mod period;
pub(crate) mod signature;

use crate::plan::{Repeat, Stage};
use edit::Draft;
use flow::{Flow, Obstacle, Placed};
use period::Candidate;
/// Copies that are added to a repeat at most.
const MOST_COPIES: usize = 4;
/// First steps that are tried for a period, and periods that are tried, at most.
const MOST_TRIES: usize = 32;

/// Finds the repeats of a stage, those that save most steps first, and makes its steps fit for them. `signatures` has a number
/// for each step, equal for those that do the same, and is kept up to date.
pub(crate) fn run(stage: &mut Stage, signatures: &mut Vec<u32>) {
    let mut draft = Draft { stage: stage.clone(), signatures: signatures.clone() };
    while let Some(better) = add_best(&draft) {
        draft = better;
    }
    *stage = draft.stage;
    *signatures = draft.signatures;
}

/// Adds the repeat that saves most.
fn add_best(draft: &Draft) -> Option<Draft> {
    let mut candidates: Vec<Candidate> =
        draft.gaps().into_iter().flat_map(|gap| period::candidates(draft, gap)).collect();
    candidates.sort_by_key(|c| (std::cmp::Reverse(c.saved_steps()), c.steps, c.first));
    candidates.iter().take(MOST_TRIES).find_map(|candidate| {
        let hoisted = draft.hoisted(&candidate.early, candidate.first);
        let first = candidate.first + candidate.early.len();
        let starts = first..=first + candidate.slack.min(MOST_TRIES);
        let fits = starts
            .filter_map(|first| fitted(&hoisted, Repeat { first, steps: candidate.steps, turns: candidate.turns }));
        let best = fits.min_by_key(|fit| (fit.copies, fit.carried_bytes))?;
        let mut draft = best.edited.unwrap_or(hoisted);
        draft.stage.repeats.push(best.repeat);
        draft.stage.repeats.sort_by_key(|repeat| repeat.first);
        Some(draft)
    })
}

/// A repeat whose turns can share their code.
struct Fit {
    repeat: Repeat,
    /// The draft with copies, when some are needed.
    edited: Option<Draft>,
    copies: usize,
    carried_bytes: u64,
}

/// Adds the copies that a repeat needs.
fn fitted(draft: &Draft, mut repeat: Repeat) -> Option<Fit> {
    let mut edited = None;
    for copies in 0..=MOST_COPIES {
        let now = edited.as_ref().unwrap_or(draft);
        let (next, moved) = match flow::of(&now.stage, &repeat, &placed(&now.stage)) {
            Ok(flow) => return Some(Fit { repeat, edited, copies, carried_bytes: flow.carried_bytes }),
            Err(Obstacle::Overtaken(step)) => now.with_copies_of(repeat, step),
            Err(Obstacle::Entry(step)) => now.with_copied_entry(repeat, step)?,
            Err(Obstacle::Other) => return None,
        };
        (edited, repeat) = (Some(next), moved);
    }
    None
}

/// The data flow of each repeat of a stage, in order; `None` for those whose turns do not correspond.
pub(crate) fn flows(stage: &Stage) -> Vec<Option<Flow>> {
    let mut placed = Placed::default();
    let mut flows = Vec::with_capacity(stage.repeats.len());
    for repeat in &stage.repeats {
        let flow = flow::of(stage, repeat, &placed).ok();
        if let Some(flow) = &flow {
            placed.add(flow);
        }
        flows.push(flow);
    }
    flows
}

/// The tensors whose places the repeats so far decide.
fn placed(stage: &Stage) -> Placed {
    let mut placed = Placed::default();
    for flow in flows(stage).iter().flatten() {
        placed.add(flow);
    }
    placed
}
