//! What lies together: ranges of SRAM that are one and the same for the turns of a repeat, or at equal distances.

use super::{BANKS_BYTES, Owner, range};
use crate::lives::Lives;
use crate::plan::{Repeat, Stage, Storage, TensorId};
use crate::repeat::flows;
use std::collections::{BTreeMap, BTreeSet};

/// Ranges of SRAM that get one address together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// The ranges, each with its distance in bytes from the group's address.
    pub(super) members: Vec<(Owner, u64)>,
    pub(super) bytes: u64,
    /// First and last steps between which it holds something, in order; `None` for always.
    pub(super) lives: Option<Vec<(usize, usize)>>,
}

impl Group {
    /// Whether both hold something at the same time.
    pub(super) fn meets(&self, other: &Self) -> bool {
        let (Some(mine), Some(theirs)) = (&self.lives, &other.lives) else { return true };
        let (mut i, mut j) = (0, 0);
        while let (Some(a), Some(b)) = (mine.get(i), theirs.get(j)) {
            if a.0 <= b.1 && b.0 <= a.1 {
                return true;
            }
            if a.1 < b.1 { i += 1 } else { j += 1 }
        }
        false
    }
}

/// The groups of a stage. `signatures` has a number for each step: the tables of equal steps are equal, and there once.
pub(super) fn of(stage: &Stage, signatures: &[u32]) -> Vec<Group> {
    let mut grouping = Grouping { stage, lives: Lives::of(stage), groups: Vec::new(), done: BTreeSet::new() };
    let mut shared = Together::default();
    for (repeat, flow) in stage.repeats.iter().zip(flows(stage)) {
        let Some(flow) = flow else { continue };
        for tensors in &flow.shared {
            shared.join(tensors);
        }
        grouping.spread(&flow.spread);
        grouping.scratch(repeat);
    }
    for (&result, operands) in &grouping.lives.over {
        let free = |id: &TensorId| !grouping.done.contains(&Owner::Tensor(*id));
        let over =
            |operand: &&TensorId| free(operand) && free(&result) && shared.fit(result, **operand, &grouping.lives);
        if let Some(&operand) = operands.iter().find(over) {
            shared.join(&[result, operand]);
        }
    }
    for tensors in shared.0 {
        grouping.together(tensors.into_iter().map(Owner::Tensor));
    }
    grouping.tables(signatures);
    for owner in all(stage) {
        grouping.together([owner]);
    }
    grouping.groups
}

/// All ranges of a stage that need an address.
pub(super) fn all(stage: &Stage) -> Vec<Owner> {
    let owns = |&id: &TensorId| !matches!(stage.tensors[id].storage, Storage::Alias(_));
    let mut owners: Vec<Owner> = (0..stage.tensors.len()).filter(owns).map(Owner::Tensor).collect();
    for (index, step) in stage.steps.iter().enumerate() {
        owners.extend((0..step.tables.len()).map(|area| Owner::Table(index, area)));
        owners.extend((0..step.scratch.len()).map(|area| Owner::Scratch(index, area)));
    }
    owners
}

/// Lists of tensors that are in one place.
#[derive(Default)]
struct Together(Vec<Vec<TensorId>>);

impl Together {
    /// Puts tensors in one place: lists that have one in common become one.
    fn join(&mut self, tensors: &[TensorId]) {
        let meets = |list: &Vec<TensorId>| list.iter().any(|id| tensors.contains(id));
        let (joined, rest): (Vec<_>, Vec<_>) = self.0.drain(..).partition(meets);
        let mut list: Vec<TensorId> = joined.into_iter().flatten().chain(tensors.iter().copied()).collect();
        list.sort_unstable();
        list.dedup();
        self.0 = rest;
        self.0.push(list);
    }

    /// Whether two tensors can be in one place, together with those that are where they are.
    fn fit(&self, a: TensorId, b: TensorId, lives: &Lives) -> bool {
        let around = |id: TensorId| self.0.iter().find(|list| list.contains(&id)).cloned().unwrap_or_else(|| vec![id]);
        let (first, second) = (around(a), around(b));
        first.iter().all(|&a| second.iter().all(|&b| a == b || !lives.meet(a, b)))
    }
}

struct Grouping<'a> {
    stage: &'a Stage,
    lives: Lives,
    groups: Vec<Group>,
    done: BTreeSet<Owner>,
}

impl Grouping<'_> {
    /// Adds a group of ranges in one place; those that are in another one, or never hold anything, are left out.
    fn together(&mut self, owners: impl IntoIterator<Item = Owner>) {
        let members = owners.into_iter().map(|owner| (owner, 0)).collect();
        self.add(members);
    }

    fn add(&mut self, mut members: Vec<(Owner, u64)>) {
        let ranges: BTreeMap<Owner, _> =
            members.iter().filter_map(|&(owner, _)| Some((owner, range(self.stage, &self.lives, owner)?))).collect();
        members.retain(|&(owner, _)| ranges.contains_key(&owner) && self.done.insert(owner));
        if members.is_empty() {
            return;
        }
        let bytes = members.iter().map(|(owner, at)| at + ranges[owner].bytes).max().unwrap_or(0);
        let lives: Option<Vec<(usize, usize)>> = members.iter().map(|(owner, _)| ranges[owner].live).collect();
        let lives = lives.map(|mut lives| {
            lives.sort_unstable();
            lives
        });
        self.groups.push(Group { members, bytes, lives });
    }

    /// Blocks at equal distances, one a turn, of tensors that each turn has for itself: one for constants, one for others.
    fn spread(&mut self, families: &[Vec<TensorId>]) {
        let is_constant = |id: TensorId| matches!(self.stage.tensors[id].storage, Storage::Constant { .. });
        let (constant, computed): (Vec<_>, Vec<_>) =
            families.iter().partition(|tensors| tensors.iter().any(|&id| is_constant(id)));
        for mut families in [constant, computed] {
            let bytes = |tensors: &Vec<TensorId>| {
                tensors.iter().map(|&id| self.stage.tensors[id].tile_bytes()).max().unwrap_or(0).next_multiple_of(8)
            };
            families.sort_by_key(|tensors| std::cmp::Reverse(bytes(tensors)));
            // Kernels choose by the banks, and must choose alike in all turns.
            let distance = families.iter().map(|tensors| bytes(tensors)).sum::<u64>().next_multiple_of(BANKS_BYTES);
            let mut members = Vec::new();
            let mut at = 0;
            for tensors in families {
                let places = tensors.iter().enumerate();
                members.extend(places.map(|(turn, &id)| (Owner::Tensor(id), at + turn as u64 * distance)));
                at += bytes(tensors);
            }
            self.add(members);
        }
    }

    fn scratch(&mut self, repeat: &Repeat) {
        for step in repeat.first..repeat.first + repeat.steps {
            for area in 0..self.stage.steps[step].scratch.len() {
                self.together((0..repeat.turns).map(|turn| Owner::Scratch(step + turn * repeat.steps, area)));
            }
        }
    }

    fn tables(&mut self, signatures: &[u32]) {
        let mut tables: BTreeMap<(u32, usize), Vec<Owner>> = BTreeMap::new();
        for (index, step) in self.stage.steps.iter().enumerate() {
            for area in 0..step.tables.len() {
                tables.entry((signatures[index], area)).or_default().push(Owner::Table(index, area));
            }
        }
        for owners in tables.into_values() {
            self.together(owners);
        }
    }
}
