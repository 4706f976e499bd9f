//! What a PE does in a step, as a list of numbers in its SRAM: visits to the roots of which it takes something, and its own turn
//! as a root. What the roots between two visits send it throws away at once, however many they are.
//!
//! A list is the number of visits, then each of them: [`HEADER`] numbers and the runs. When the PE itself is the root, the
//! first number is the words that it sends, and the number of roots is 0.

use super::runs::{Run, run_numbers};

/// Numbers of a visit before its runs.
pub(super) const HEADER: usize = 6;

/// Places of a visit's numbers in a list.
pub(super) mod place {
    /// Words to throw away before; of an own turn, words to send.
    pub(in super::super) const NUMBER: usize = 0;
    /// Roots one behind another that have the same runs; 0 for an own turn.
    pub(in super::super) const ROOTS: usize = 1;
    /// Words that each of them sends.
    pub(in super::super) const WORDS: usize = 2;
    /// Where they come: 0 for the panel, or one more than words of the target, of which they are then the whole.
    pub(in super::super) const INTO: usize = 3;
    /// Elements that a root's runs go farther in the target than those of the root before.
    pub(in super::super) const ADVANCE: usize = 4;
    /// Runs.
    pub(in super::super) const RUNS: usize = 5;
}

/// One visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Visit<'a> {
    pub(super) number: u16,
    pub(super) roots: u16,
    pub(super) words: u16,
    pub(super) into: u16,
    pub(super) runs: &'a [u16],
}

impl Visit<'_> {
    /// Whether the PE itself is the root.
    pub(super) fn is_own(&self) -> bool {
        self.roots == 0
    }

    /// Words that must go through the panel.
    pub(super) fn panel_words(&self) -> u32 {
        if self.into == 0 { self.words.into() } else { 0 }
    }
}

/// The visits of a list.
pub(super) fn visits(list: &[u16], rank: usize) -> impl Iterator<Item = Visit<'_>> {
    let mut rest = list.get(1..).unwrap_or(&[]);
    std::iter::from_fn(move || {
        let &[number, roots, words, into, _, count, ref behind @ ..] = rest else { return None };
        let (runs, behind) = behind.split_at(usize::from(count) * run_numbers(rank));
        rest = behind;
        Some(Visit { number, roots, words, into, runs })
    })
}

/// What lists of one step have in common.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    /// The first root that sends anything.
    pub(super) first: u32,
    pub(super) rank: usize,
    /// Bytes of an element.
    pub(super) bytes: u32,
}

/// The list of a PE at a position of its line, whose roots send `words` from the first one on, of which it takes `runs`.
pub(super) fn list(frame: Frame, position: u32, words: &[u16], runs: &[Run]) -> Vec<u16> {
    let mut list = List { frame, numbers: vec![0] };
    let (mut skip, mut rest, mut root) = (0u32, runs, frame.first);
    while let Some(&sent) = words.get((root - frame.first) as usize) {
        let (own, behind) = rest.split_at(rest.partition_point(|run| run.root <= root));
        if root == position {
            list.skip(std::mem::take(&mut skip));
            list.visit([sent, 0, 0, 0, 0], own);
            (rest, root) = (behind, root + 1);
        } else if own.is_empty() {
            (skip, root) = (skip + u32::from(sent), root + 1);
        } else {
            let alike =
                words[(root - frame.first) as usize..].iter().take_while(|&&other| other == sent).count() as u32;
            let most = if root < position { alike.min(position - root) } else { alike };
            let (roots, advance, behind) = repeated(own, behind, most);
            let number = list.skip_but_last(std::mem::take(&mut skip));
            match frame.whole(own, sent).filter(|elements| roots == 1 || advance == *elements) {
                Some(_) if u32::from(sent) * roots <= 0xFFFF => {
                    let into = own[0].target * frame.bytes / 4 + 1;
                    list.visit([number, 1, sent * roots as u16, into as u16, 0], &[]);
                }
                _ => list.visit([number, roots as u16, sent, 0, advance as u16], own),
            }
            (rest, root) = (behind, root + roots);
        }
    }
    list.skip(skip);
    list.numbers
}

struct List {
    frame: Frame,
    numbers: Vec<u16>,
}

impl List {
    fn visit(&mut self, header: [u16; HEADER - 1], runs: &[Run]) {
        self.numbers[0] += 1;
        self.numbers.extend(header);
        self.numbers.push(runs.len() as u16);
        self.numbers.extend(runs.iter().flat_map(|run| run.encode(self.frame.rank)));
    }

    /// Throws so many words away.
    fn skip(&mut self, words: u32) {
        let last = self.skip_but_last(words);
        if last > 0 {
            self.visit([last, 1, 0, 0, 0], &[]);
        }
    }

    /// Throws words away but for so many as one visit can, which it gives.
    fn skip_but_last(&mut self, mut words: u32) -> u16 {
        while words > 0xFFFF {
            self.visit([0xFFFF, 1, 0, 0, 0], &[]);
            words -= 0xFFFF;
        }
        words as u16
    }
}

impl Frame {
    /// The elements of what a root sends, when `runs` take all of it as it is to whole words of the target.
    fn whole(self, runs: &[Run], words: u16) -> Option<u32> {
        let elements = u32::from(words) * 4 / self.bytes;
        let &[run] = runs else { return None };
        let starts_words = run.target * self.bytes % 4 == 0 && run.target * self.bytes / 4 < 0xFFFF;
        (run.source == 0 && starts_words && run.is_dense(elements)).then_some(elements)
    }
}

/// How many roots one behind another, up to `most`, have the runs of the first one, by how much these go farther in the target
/// from one to the next, and the runs behind them.
fn repeated<'a>(first: &[Run], mut behind: &'a [Run], most: u32) -> (u32, u32, &'a [Run]) {
    let (mut roots, mut advance) = (1, 0);
    while roots < most
        && let Some((next, further)) = behind.split_at_checked(first.len())
        && further.first().is_none_or(|run| run.root != first[0].root + roots)
        && let Some(shift) = shift(first, next, roots)
        && (roots == 1 || shift == advance * roots)
    {
        (roots, advance, behind) = (roots + 1, shift / roots, further);
    }
    (roots, advance, behind)
}

/// By how much the runs of another root, `roots` further on, go farther in the target; `None` when they differ otherwise.
fn shift(first: &[Run], other: &[Run], roots: u32) -> Option<u32> {
    let shift = other.first()?.target.checked_sub(first.first()?.target)?;
    let follows = |(a, b): (&Run, &Run)| *b == Run { root: a.root + roots, target: a.target + shift, ..*a };
    first.iter().zip(other).all(follows).then_some(shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of rank 1 a run is source, target, and once, 0, 0.
    fn frame(bytes: u32) -> Frame {
        Frame { first: 0, rank: 1, bytes }
    }

    #[test]
    fn roots_with_equal_runs_are_one_visit() {
        // 9 words from each of 10 roots. Roots 2, 3 and 4 give their element 7 for elements 0, 5 and 10 of the target; root 5 gives another
        // one, root 7 comes later. The PE itself is beyond the roots.
        let runs = [(2, 7, 0), (3, 7, 5), (4, 7, 10), (5, 6, 15), (7, 6, 20)];
        let runs = runs.map(|(root, source, target)| Run::single(root, source, target));
        let expected = [
            [4].as_slice(),
            // 18 words of roots 0 and 1 are thrown away.
            &[18, 3, 9, 0, 5, 1],
            &[7, 0, 1, 0, 0],
            &[0, 1, 9, 0, 0, 1],
            &[6, 15, 1, 0, 0],
            &[9, 1, 9, 0, 0, 1],
            &[6, 20, 1, 0, 0],
            // Those of roots 8 and 9.
            &[18, 1, 0, 0, 0, 0],
        ];
        assert_eq!(list(frame(4), 12, &[9; 10], &runs), expected.concat());
    }

    #[test]
    fn a_list_is_cut_where_the_pe_itself_is_the_root() {
        // Of roots 0 to 3, with 1, 2, 3 and 4 words, PE 2 takes its own element only.
        let own = [Run::single(2, 1, 0)];
        let expected =
            [[3].as_slice(), &[3, 1, 0, 0, 0, 0], &[3, 0, 0, 0, 0, 1], &[1, 0, 1, 0, 0], &[4, 1, 0, 0, 0, 0]];
        assert_eq!(list(frame(4), 2, &[1, 2, 3, 4], &own), expected.concat());
        // Equal runs on both sides of it are two visits.
        let all = [0, 1, 2].map(|root| Run::single(root, 1, root));
        let expected = [
            [3].as_slice(),
            &[0, 1, 2, 0, 0, 1, 1, 0, 1, 0, 0],
            &[2, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0],
            &[0, 1, 2, 0, 0, 1, 1, 2, 1, 0, 0],
        ];
        assert_eq!(list(frame(4), 1, &[2; 3], &all), expected.concat());
    }

    #[test]
    fn roots_with_different_numbers_of_runs_stay_apart() {
        // Root 1 has the run of root 0, and one more.
        let runs = [(0, 7, 0), (1, 7, 5), (1, 9, 6)].map(|(root, source, target)| Run::single(root, source, target));
        let expected =
            [[2].as_slice(), &[0, 1, 9, 0, 0, 1, 7, 0, 1, 0, 0], &[0, 1, 9, 0, 0, 2, 7, 5, 1, 0, 0, 9, 6, 1, 0, 0]];
        assert_eq!(list(frame(4), 5, &[9; 2], &runs), expected.concat());
    }

    #[test]
    fn what_is_taken_as_a_whole_comes_to_its_place() {
        // Two roots send two elements each, which follow each other from element 4 of the target on: four words in one go to word 4 of f32;
        // two words in one go to word 2 of f16.
        let runs: Vec<Run> = [0, 1]
            .into_iter()
            .flat_map(|root| super::super::runs::joined((0..2).map(|i| Run::single(root, i, 4 + 2 * root + i))))
            .collect();
        assert_eq!(list(frame(4), 5, &[2; 2], &runs), [1, 0, 1, 4, 5, 0, 0]);
        assert_eq!(list(frame(2), 5, &[1; 2], &runs), [1, 0, 1, 2, 3, 0, 0]);
        // From an odd element of f16 on they are copied.
        let runs: Vec<Run> = runs.into_iter().map(|run| Run { target: run.target + 1, ..run }).collect();
        assert_eq!(list(frame(2), 5, &[1; 2], &runs), [1, 0, 2, 1, 0, 2, 1, 0, 5, 2, 1, 1]);
    }

    #[test]
    fn more_words_than_a_number_holds_are_thrown_away_in_parts() {
        // 2 * 40000 words are 65535 and 14465.
        let expected = [2, 0xFFFF, 1, 0, 0, 0, 0, 14465, 1, 0, 0, 0, 0];
        assert_eq!(list(frame(4), 9, &[40000; 2], &[]), expected);
    }

    #[test]
    fn visits_are_read_as_they_were_written() {
        let runs = [Run::single(2, 7, 0)];
        let list = list(frame(4), 3, &[9; 4], &runs);
        let found: Vec<Visit<'_>> = visits(&list, 1).collect();
        let visit = |number, roots, words, runs| Visit { number, roots, words, into: 0, runs };
        assert_eq!(found, [visit(18, 1, 9, &[7, 0, 1, 0, 0][..]), visit(9, 0, 0, &[])]);
        assert!(found[1].is_own() && !found[0].is_own());
    }
}
