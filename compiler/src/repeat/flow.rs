//! The data flow of a repeat: which tensors of its turns correspond, and how they must lie in memory for one body of code.

use crate::lives::Lives;
use crate::plan::{Repeat, Stage, Storage, TensorId};
use std::collections::{BTreeMap, BTreeSet};

/// Where the tensors of a repeat must lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flow {
    /// Tensors in one place: the results of corresponding steps, and what a turn takes over from the one before.
    pub(crate) shared: Vec<Vec<TensorId>>,
    /// Tensors at equal distances, one a turn: what each turn has for itself.
    pub(crate) spread: Vec<Vec<TensorId>>,
    /// Bytes of a PE that go from turn to turn.
    pub(crate) carried_bytes: u64,
}

/// Tensors whose places other repeats decide.
#[derive(Clone, Debug, Default)]
pub(crate) struct Placed {
    shared: Vec<Vec<TensorId>>,
    spread: BTreeSet<TensorId>,
}

impl Placed {
    pub(crate) fn add(&mut self, flow: &Flow) {
        self.shared.extend(flow.shared.iter().cloned());
        self.spread.extend(flow.spread.iter().flatten());
    }

    /// Whether tensors can be in one place, together with those that other repeats put there.
    fn takes(&self, together: &[TensorId], lives: &Lives) -> bool {
        let joined = self.shared.iter().filter(|others| others.iter().any(|tensor| together.contains(tensor)));
        together.iter().all(|tensor| !self.spread.contains(tensor))
            && joined
                .flatten()
                .all(|&other| together.iter().all(|&tensor| tensor == other || !lives.meet(tensor, other)))
    }

    fn contains(&self, tensor: TensorId) -> bool {
        self.spread.contains(&tensor) || self.shared.iter().flatten().any(|&other| other == tensor)
    }
}

/// Why the turns cannot share their code as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// The result of this step of a turn is needed in the next turn while it is made anew: it must be copied at the end of
    /// the turn.
    Overtaken(usize),
    /// What enters the first turn in the place of this step's result must keep its own: it must be copied before.
    Entry(usize),
    /// The turns do not correspond.
    Other,
}

/// What an operand of a step is in each turn.
enum Role {
    /// The same tensor.
    Fixed,
    /// The result of a step of the same turn.
    Inside,
    /// The result of a step of the turn before.
    Carried {
        step: usize,
        /// What stands in its place in the first turn.
        entry: TensorId,
    },
    /// A tensor of its own that no step of the repeat makes.
    Own,
}

/// Works out the data flow of a repeat whose steps do the same in every turn. `placed` are tensors whose places another repeat
/// decides.
pub(crate) fn of(stage: &Stage, repeat: &Repeat, placed: &Placed) -> Result<Flow, Obstacle> {
    let results = results(stage, repeat).ok_or(Obstacle::Other)?;
    let mut entries: BTreeMap<usize, TensorId> = BTreeMap::new();
    let mut own: BTreeSet<Vec<TensorId>> = BTreeSet::new();
    for step in 0..repeat.steps {
        for operands in operands(stage, repeat, step).ok_or(Obstacle::Other)? {
            match role(&operands, &results) {
                Some(Role::Fixed | Role::Inside) => {}
                Some(Role::Carried { step, entry }) => {
                    if *entries.entry(step).or_insert(entry) != entry {
                        return Err(Obstacle::Other);
                    }
                }
                Some(Role::Own) => {
                    own.insert(operands);
                }
                None => return Err(Obstacle::Other),
            }
        }
    }
    let mut flow = Flow::default();
    let lives = Lives::of(stage);
    for (step, made) in results.made.iter().enumerate() {
        place_results(stage, &lives, placed, &mut flow, made, step, entries.get(&step).copied())?;
    }
    flow.spread.extend(own);
    let mut all = BTreeSet::new();
    let distinct = flow.shared.iter().chain(&flow.spread).flatten().all(|&tensor| all.insert(tensor));
    let fits = flow.shared.iter().all(|tensors| placed.takes(tensors, &lives))
        && flow.spread.iter().flatten().all(|&tensor| !placed.contains(tensor));
    if distinct && fits { Ok(flow) } else { Err(Obstacle::Other) }
}

/// Puts the results of a step of all turns in one place where their lives allow it.
fn place_results(
    stage: &Stage,
    lives: &Lives,
    placed: &Placed,
    flow: &mut Flow,
    made: &[TensorId],
    step: usize,
    entry: Option<TensorId>,
) -> Result<(), Obstacle> {
    let overtaken = made.windows(2).any(|pair| lives.meet(pair[0], pair[1]));
    let Some(entry) = entry else {
        if overtaken {
            flow.spread.push(made.to_vec());
        } else if !made.is_empty() {
            flow.shared.push(made.to_vec());
        }
        return Ok(());
    };
    if overtaken {
        return Err(Obstacle::Overtaken(step));
    }
    let is_constant = matches!(stage.tensors[entry].storage, Storage::Constant { .. });
    let elsewhere = flow.shared.iter().any(|tensors| tensors.contains(&entry));
    let together: Vec<TensorId> = [entry].iter().chain(made).copied().collect();
    let free = made.iter().all(|&result| !lives.meet(entry, result));
    if is_constant || elsewhere || !free || !placed.takes(&together, lives) {
        return Err(Obstacle::Entry(step));
    }
    flow.carried_bytes += stage.tensors[made[0]].tile_bytes();
    flow.shared.push(together);
    Ok(())
}

/// Results of the steps of a repeat.
struct Results {
    /// For each step of a turn its result in every turn; nothing for steps without one.
    made: Vec<Vec<TensorId>>,
    /// Turn and step that make a tensor.
    makers: BTreeMap<TensorId, (usize, usize)>,
}

fn results(stage: &Stage, repeat: &Repeat) -> Option<Results> {
    let mut results = Results { made: vec![Vec::new(); repeat.steps], makers: BTreeMap::new() };
    for (index, step) in stage.steps.get(repeat.range())?.iter().enumerate() {
        if let Some(result) = step.kind.result() {
            let (turn, step) = (index / repeat.steps, index % repeat.steps);
            let (owner, _) = stage.storage(result);
            results.made[step].push(owner);
            results.makers.insert(owner, (turn, step));
        }
    }
    results.made.iter().all(|made| made.is_empty() || made.len() == repeat.turns).then_some(results)
}

/// The tensors that own the bytes of each operand of a step: per operand one a turn.
fn operands(stage: &Stage, repeat: &Repeat, step: usize) -> Option<Vec<Vec<TensorId>>> {
    let sources = |turn: usize| stage.steps[repeat.first + turn * repeat.steps + step].kind.sources();
    let mut operands: Vec<Vec<TensorId>> = vec![Vec::new(); sources(0).len()];
    for turn in 0..repeat.turns {
        let sources = sources(turn);
        if sources.len() != operands.len() {
            return None;
        }
        for (operand, source) in operands.iter_mut().zip(sources) {
            operand.push(stage.storage(source).0);
        }
    }
    Some(operands)
}

fn role(operands: &[TensorId], results: &Results) -> Option<Role> {
    let (&first, rest) = operands.split_first()?;
    if rest.iter().all(|&other| other == first) {
        return Some(Role::Fixed);
    }
    let maker = |tensor: &TensorId| results.makers.get(tensor).copied();
    let from = |step: usize, behind: usize| {
        let made_there = |(turn, tensor)| maker(tensor) == Some((turn - behind, step));
        operands.iter().enumerate().skip(behind).all(made_there)
    };
    match (maker(&first), rest.first().and_then(maker)) {
        (None, None) if rest.iter().all(|tensor| maker(tensor).is_none()) => Some(Role::Own),
        (Some((0, step)), _) if from(step, 0) => Some(Role::Inside),
        (None, Some((0, step))) if from(step, 1) => Some(Role::Carried { step, entry: first }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repeat::edit::tests::chain;
    use crate::repeat::fitted;

    fn repeat(first: usize, steps: usize, turns: usize) -> Repeat {
        Repeat { first, steps, turns }
    }

    #[test]
    fn corresponding_results_lie_together() {
        // Tensor 0 enters; three turns of two steps make 1 to 6.
        let draft = chain(&[0, 1, 0, 1, 0, 1]);
        let flow = of(&draft.stage, &repeat(0, 2, 3), &Placed::default()).unwrap();
        assert_eq!(flow.shared, [vec![1, 3, 5], vec![0, 2, 4, 6]]);
        assert_eq!((flow.spread, flow.carried_bytes), (vec![], 32));
    }

    #[test]
    fn what_each_turn_has_for_itself_is_spread() {
        let mut draft = chain(&[7, 8, 9, 6, 0, 1, 0, 1, 0, 1]);
        // The second steps of the turns read tensors 1, 2 and 3, which no turn makes.
        for (turn, step) in [5, 7, 9].into_iter().enumerate() {
            draft.read(step, turn + 1);
        }
        let flow = of(&draft.stage, &repeat(4, 2, 3), &Placed::default()).unwrap();
        assert_eq!(flow.spread, [vec![1, 2, 3]]);
        // One of them in two turns is neither the same in all nor one a turn.
        draft.read(9, 2);
        assert_eq!(of(&draft.stage, &repeat(4, 2, 3), &Placed::default()), Err(Obstacle::Other));
    }

    #[test]
    fn results_that_are_needed_for_longer_are_copied() {
        // Both steps of a turn read the first one's result of the turn before.
        let mut draft = chain(&[0, 1, 0, 1, 0, 1]);
        for (step, tensor) in [(1, 0), (2, 1), (3, 1), (4, 3), (5, 3)] {
            draft.read(step, tensor);
        }
        assert_eq!(of(&draft.stage, &repeat(0, 2, 3), &Placed::default()), Err(Obstacle::Overtaken(0)));
        let fit = fitted(&draft, repeat(0, 2, 3)).unwrap();
        assert_eq!((fit.copies, fit.repeat), (1, repeat(0, 3, 3)));
        // Tensors 7 to 9 are the copies, the last turn's first.
        let flow = of(&fit.edited.unwrap().stage, &fit.repeat, &Placed::default()).unwrap();
        assert_eq!(flow.shared, [vec![1, 3, 5], vec![2, 4, 6], vec![0, 9, 8, 7]]);
    }

    #[test]
    fn a_result_may_be_written_over_the_one_of_the_turn_before() {
        // One step a turn, behind one that makes what enters.
        let draft = chain(&[9, 0, 0, 0, 0]);
        let flow = of(&draft.stage, &repeat(1, 1, 4), &Placed::default()).unwrap();
        assert_eq!(flow.shared, [[1, 2, 3, 4, 5]]);
    }

    #[test]
    fn what_enters_and_lives_on_is_copied_before() {
        // Tensor 0 enters, and is read behind the last turn again.
        let mut draft = chain(&[0, 1, 0, 1, 9]);
        draft.read(4, 0);
        assert_eq!(of(&draft.stage, &repeat(0, 2, 2), &Placed::default()), Err(Obstacle::Entry(1)));
        let fit = fitted(&draft, repeat(0, 2, 2)).unwrap();
        assert_eq!((fit.copies, fit.repeat), (1, repeat(1, 2, 2)));
        let stage = fit.edited.unwrap().stage;
        assert_eq!(stage.steps[1].kind.sources(), [6], "the first turn reads the copy");
        let flow = of(&stage, &fit.repeat, &Placed::default()).unwrap();
        assert_eq!(flow.shared, [vec![1, 3], vec![6, 2, 4]]);
    }

    #[test]
    fn results_of_all_turns_that_are_needed_at_the_end_are_spread() {
        let mut draft = chain(&[0, 1, 0, 1, 8, 9]);
        // Tensors 1 and 3 are the first steps' results.
        draft.read(4, 1);
        draft.read(5, 3);
        let flow = of(&draft.stage, &repeat(0, 2, 2), &Placed::default()).unwrap();
        assert_eq!((flow.shared, flow.spread), (vec![vec![0, 2, 4]], vec![vec![1, 3]]));
    }

    #[test]
    fn one_repeat_may_enter_another() {
        // The last result of the first, tensor 4, enters the second.
        let draft = chain(&[0, 1, 0, 1, 2, 3, 2, 3]);
        for order in [[0, 4], [4, 0]] {
            let mut placed = Placed::default();
            for first in order {
                placed.add(&of(&draft.stage, &repeat(first, 2, 2), &placed).unwrap());
            }
        }
    }
}
