//! Periods in the row of steps.

use super::edit::Draft;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Steps that a repeat must save at least; a loop has some instructions of its own.
const LEAST_SAVED_STEPS: usize = 4;

/// Steps that are moved in front of the first turn at most.
const MOST_EARLY: usize = 16;

/// Turns of steps that do the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The first step of the first turn.
    pub(super) first: usize,
    /// Steps of a turn.
    pub(super) steps: usize,
    pub(super) turns: usize,
    /// Steps by which `first` may lie further behind.
    pub(super) slack: usize,
    /// Steps in the first turn that the others do not have, in order: they must go before `first`.
    pub(super) early: Vec<usize>,
}

impl Candidate {
    pub(super) fn saved_steps(&self) -> usize {
        self.steps * (self.turns - 1)
    }
}

/// All periods in a part of the steps.
pub(super) fn candidates(draft: &Draft, within: Range<usize>) -> Vec<Candidate> {
    let makers = draft.makers();
    let same = |i: usize, steps: usize| draft.signatures[i] == draft.signatures[i + steps];
    let mut candidates = Vec::new();
    for steps in 1..=within.len() / 2 {
        let mut end = within.end - steps;
        while end > within.start {
            if !same(end - 1, steps) {
                end -= 1;
                continue;
            }
            let mut start = end;
            while start > within.start && same(start - 1, steps) {
                start -= 1;
            }
            candidates.extend(extended(draft, &makers, within.start, start..end, steps));
            end = start;
        }
    }
    candidates
}

/// Extends steps that equal those a period later to the front, past steps that can be done earlier.
fn extended(
    draft: &Draft,
    makers: &BTreeMap<usize, usize>,
    floor: usize,
    equal: Range<usize>,
    steps: usize,
) -> Option<Candidate> {
    let mut early = BTreeSet::new();
    // The start at which everything that was passed can go before it, with what was passed until then.
    let mut best = (equal.start, equal.len(), 0);
    let (mut matched, mut last) = (equal.len(), equal.start + steps);
    for i in (floor..equal.start).rev() {
        last -= 1;
        while early.contains(&last) {
            last -= 1;
        }
        if draft.signatures[i] == draft.signatures[last] {
            matched += 1;
            let inputs = early.iter().flat_map(|&step| draft.sources(step)).filter_map(|tensor| makers.get(&tensor));
            if inputs.filter(|maker| !early.contains(maker)).all(|&maker| maker < i) {
                best = (i, matched, early.len());
            }
        } else if draft.is_movable(i) && early.len() < MOST_EARLY {
            early.insert(i);
            last += 1;
        } else {
            break;
        }
    }
    let (first, matched, passed) = best;
    let early = early.into_iter().rev().take(passed).collect::<BTreeSet<_>>().into_iter().collect();
    let candidate = Candidate { first, steps, turns: matched / steps + 1, slack: matched % steps, early };
    (candidate.turns > 1 && candidate.saved_steps() >= LEAST_SAVED_STEPS).then_some(candidate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repeat::edit::tests::chain;

    #[test]
    fn the_layers_of_a_model_are_a_period() {
        // a, then three times b c d e, then b c: the first turn may start at b or at c, but not with four turns.
        let draft = chain(&[0, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2]);
        let best = candidates(&draft, 0..15).into_iter().max_by_key(Candidate::saved_steps);
        assert_eq!(best, Some(Candidate { first: 1, steps: 4, turns: 3, slack: 2, early: vec![] }));
        // Nothing else saves four steps.
        assert_eq!(candidates(&draft, 0..15).len(), 1);
    }

    #[test]
    fn what_only_the_first_turn_does_goes_before_it() {
        // Steps 9 read the input, which nothing makes; all others read what the step before has made.
        let mut draft = chain(&[1, 2, 9, 3, 4, 1, 2, 3, 4]);
        assert_eq!(candidates(&draft, 0..9), []);
        draft.read(2, 0);
        draft.read(3, 2);
        let found = candidates(&draft, 0..9);
        assert_eq!(found, [Candidate { first: 0, steps: 4, turns: 2, slack: 0, early: vec![2] }]);
    }
}
