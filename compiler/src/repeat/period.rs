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

    /// The candidate, and with a turn less at one of the ends: what enters the first turn may differ from what enters the
    /// others, and what leaves the last one too.
    fn with_shorter(self) -> Vec<Self> {
        let turns = self.turns - 1;
        let first = self.first + self.early.len() + self.steps;
        let shorter = [Self { first, turns, early: Vec::new(), ..self.clone() }, Self { turns, ..self.clone() }];
        let shorter = shorter.into_iter().filter(Self::is_worth_it);
        [self.clone()].into_iter().chain(shorter).collect()
    }

    fn is_worth_it(&self) -> bool {
        self.turns > 1 && self.saved_steps() >= LEAST_SAVED_STEPS
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
            let longest = extended(draft, &makers, within.start, start..end, steps);
            candidates.extend(longest.into_iter().flat_map(Candidate::with_shorter));
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
    candidate.is_worth_it().then_some(candidate)
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
        // Beside it there are two turns of it, at both ends; nothing else saves four steps.
        let mut all = candidates(&draft, 0..15);
        all.sort_by_key(|c| (c.turns, c.first));
        let short = |c: &Candidate| (c.first, c.steps, c.turns);
        assert_eq!(all.iter().map(short).collect::<Vec<_>>(), [(1, 4, 2), (5, 4, 2), (1, 4, 3)]);
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
