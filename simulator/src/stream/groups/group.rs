//! Groups of PEs that stand at the same step with the same numbers in their registers, and the order in which they go on.

use super::Groups;
use super::drift::Drift;
use super::line::Line;
use super::liveness::bit;
use super::members::Members;
use super::registers::{Registers, each};
use super::strip::{Strip, along_if_equal};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// A place in the code: for each loop around it the step that entered it, the turns done and the turns in all; then the step.
///
/// Of two places in one pass through the code the smaller one comes first.
pub(super) type Place = Vec<u32>;

/// PEs at the same step of the same code.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) class: u16,
    /// PEs, ascending.
    pub(super) members: Members,
    pub(super) step: u32,
    /// Loops around the step, the outermost first: the step that entered it, turns done, turns.
    pub(super) loops: Vec<[u32; 3]>,
    /// What the slots (registers and parameters) hold that are the same in all members.
    pub(super) slots: Vec<i32>,
    /// Slots, a bit each, that differ from member to member: their numbers are in [`Registers`].
    pub(super) varies: u128,
    /// Whether they are in a claim, which gives what they would compute.
    pub(super) is_claimed: bool,
    /// Slots, a bit each, that hold numbers that nobody computed, in a run for the time alone.
    pub(super) unknown: u128,
    /// What the same in all members grows by from turn to turn of a loop that is watched.
    pub(super) drift: Drift,
    /// Cycles that each member has worked since its clock was set.
    pub(super) worked: u64,
    /// Cycles that it waited for memory in that time.
    pub(super) waited: u64,
    /// The number of the waiting group that its members have been taken from, or [`NOWHERE`].
    pub(super) home: u32,
}

impl Group {
    /// A group like this one of other members.
    pub(super) fn with(&self, members: Members) -> Self {
        Self { members, loops: self.loops.clone(), slots: self.slots.clone(), drift: self.drift.clone(), ..*self }
    }

    pub(super) fn place(&self) -> (u16, Place) {
        let mut place: Place = self.loops.iter().flatten().copied().collect();
        place.push(self.step);
        (self.class, place)
    }

    /// Whether a slot differs from member to member.
    pub(super) fn is_varying(&self, slot: u32) -> bool {
        self.varies & bit(slot) != 0
    }

    /// Whether the PEs of another group at the same place may join: what is still read is the same.
    fn agrees(&self, other: &Group, live: u128) -> bool {
        let differs = |(i, (a, b)): (usize, (&i32, &i32))| a != b && live & bit(i as u32) != 0;
        self.varies & live == other.varies & live
            && self.unknown & live == other.unknown & live
            && self.drift == other.drift
            && !self.slots.iter().zip(&other.slots).enumerate().any(differs)
    }

    /// Whether another group is the same one, but for its members.
    fn is_alike(&self, other: &Group) -> bool {
        let rest = |group: &Group| (group.class, group.step, group.varies, group.unknown);
        rest(self) == rest(other) && self.loops == other.loops && self.slots == other.slots && self.drift == other.drift
    }

    /// Takes in another group at the same place.
    fn join(&mut self, other: &Group) {
        self.members.append(&other.members);
    }
}

/// Groups that differ in their registers at one place; more of them are made one whose registers vary.
const MOST_APART: usize = 16;

/// Groups by their places.
#[derive(Debug)]
pub(super) struct Schedule {
    /// Groups that can go on.
    ready: BTreeMap<(u16, Place), Vec<Group>>,
    /// Groups that wait, by number; their members leave them one by one.
    waiting: Vec<Option<Group>>,
    unused: Vec<u32>,
    /// Of each waiting group: members that can go on, and how many still wait.
    woken: Vec<(Members, usize)>,
    /// Places of waiting groups with members that can go on, but for the one at hand.
    stirred: BTreeSet<((u16, Place), u32)>,
    /// Places whose groups do not go on although they can.
    held: BTreeSet<(u16, Place)>,
    /// The waiting group whose members are being looked at, or [`NOWHERE`].
    at_hand: u32,
    /// By PE: the group in which it waits.
    pub(super) waits_in: Strip<WaitsIn>,
}

/// The number of the group in which a PE waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WaitsIn(u32);

along_if_equal!(WaitsIn);

/// A PE that waits in no group.
pub(super) const NOWHERE: u32 = u32::MAX;

impl Schedule {
    pub(super) fn new(pes: usize, width: u32) -> Self {
        Self {
            ready: BTreeMap::new(),
            waiting: Vec::new(),
            unused: Vec::new(),
            woken: Vec::new(),
            stirred: BTreeSet::new(),
            held: BTreeSet::new(),
            at_hand: NOWHERE,
            waits_in: Strip::uniform(WaitsIn(NOWHERE), pes, width),
        }
    }

    /// Whether a place before this one has a group that can go on, or this very one.
    pub(super) fn has_before(&self, place: &(u16, Place)) -> bool {
        let ready = self.first_ready().is_some_and(|first| first <= place);
        ready || self.stirred.first().is_some_and(|(first, _)| first <= place)
    }

    /// The first place of a group that is not held.
    fn first_ready(&self) -> Option<&(u16, Place)> {
        self.ready.keys().find(|place| !self.held.contains(place))
    }

    /// Holds the groups at a place.
    pub(super) fn hold(&mut self, place: (u16, Place)) {
        self.held.insert(place);
    }

    /// Takes all groups that are held, in the order of their places.
    pub(super) fn take_held(&mut self) -> Vec<Group> {
        let places = std::mem::take(&mut self.held);
        places.iter().flat_map(|place| self.take_at(place)).collect()
    }

    /// Adds a group that can go on.
    pub(super) fn add(&mut self, group: Group, live: u128, registers: &mut Registers) {
        let slot = self.ready.entry(group.place()).or_default();
        match slot.iter_mut().find(|g| g.agrees(&group, live)) {
            Some(same) => same.join(&group),
            None => slot.push(group),
        }
        if slot.len() > MOST_APART {
            let groups = std::mem::take(slot);
            slot.extend(merge(groups, live, registers));
        }
    }

    /// Prepares for members of the group at hand to wait where it is; gives the number with which they do.
    pub(super) fn open(&mut self, group: &Group) -> u32 {
        let home = self.waiting.get(group.home as usize).and_then(Option::as_ref);
        if let Some(home) = home.filter(|home| home.is_alike(group)) {
            if !self.woken[group.home as usize].0.is_empty() {
                self.stirred.remove(&(home.place(), group.home));
            }
            self.at_hand = group.home;
            return group.home;
        }
        let index = self.unused.pop().unwrap_or_else(|| {
            self.waiting.push(None);
            self.woken.push((Members::default(), 0));
            self.waiting.len() as u32 - 1
        });
        self.woken[index as usize] = (Members::default(), 0);
        self.waiting[index as usize] = Some(group.with(Members::default()));
        self.at_hand = index;
        index
    }

    /// Lets PEs side by side wait until they are woken.
    pub(super) fn wait(&mut self, index: u32, pe: u32, n: u32) {
        self.waits_in.set(pe, n, WaitsIn(index));
        self.woken[index as usize].1 += n as usize;
    }

    /// Puts members of the group at hand that have been woken in the meantime in the place of others.
    pub(super) fn take_woken(&mut self, index: u32, members: &mut Members) {
        members.clear();
        std::mem::swap(&mut self.woken[index as usize].0, members);
    }

    /// The group is not at hand any more; there is no waiting one if nobody waits.
    pub(super) fn close(&mut self, index: u32) {
        self.at_hand = NOWHERE;
        if self.woken[index as usize].1 == 0 && self.waiting[index as usize].take().is_some() {
            self.unused.push(index);
        }
    }

    /// Lets PEs side by side go on, those that wait.
    pub(super) fn wake(&mut self, pe: u32, n: u32) {
        let mut done = 0;
        while done < n {
            let mut here = n - done;
            let WaitsIn(index) = self.waits_in.piece(pe + done, &mut here);
            if index != NOWHERE {
                self.waits_in.set(pe + done, here, WaitsIn(NOWHERE));
                self.wake_in(index, pe + done, here);
            }
            done += here;
        }
    }

    /// Lets PEs side by side wait no longer, and not go on either, if they wait in the group at hand; `n` becomes how many wait in the
    /// same one.
    pub(super) fn leave_hand(&mut self, pe: u32, n: &mut u32) -> bool {
        let WaitsIn(index) = self.waits_in.piece(pe, n);
        if index == NOWHERE || index != self.at_hand {
            return false;
        }
        self.waits_in.set(pe, *n, WaitsIn(NOWHERE));
        self.woken[index as usize].1 -= *n as usize;
        true
    }

    fn wake_in(&mut self, index: u32, pe: u32, n: u32) {
        let (woken, left) = &mut self.woken[index as usize];
        if woken.is_empty()
            && index != self.at_hand
            && let Some(group) = &self.waiting[index as usize]
        {
            self.stirred.insert((group.place(), index));
        }
        woken.push(pe, n);
        *left -= n as usize;
    }

    /// The group that comes first, for which the other PEs need not wait.
    pub(super) fn next(&mut self) -> Option<Group> {
        let stirred = self.stirred.first().map(|(place, _)| place);
        let ready = self.first_ready();
        let mut group = match (stirred, ready) {
            (None, None) => return None,
            (Some(stirred), Some(ready)) if stirred > ready => self.next_ready()?,
            (None, Some(_)) => self.next_ready()?,
            (Some(_), _) => self.next_stirred()?,
        };
        group.members.sort();
        Some(group)
    }

    fn next_ready(&mut self) -> Option<Group> {
        let held = (!self.held.is_empty()).then(|| self.first_ready().cloned());
        let mut entry = match held {
            None => self.ready.first_entry()?,
            Some(place) => match self.ready.entry(place?) {
                Entry::Occupied(entry) => entry,
                Entry::Vacant(_) => return None,
            },
        };
        let group = entry.get_mut().pop();
        if entry.get().is_empty() {
            entry.remove();
        }
        group
    }

    fn next_stirred(&mut self) -> Option<Group> {
        let (_, index) = self.stirred.pop_first()?;
        let (woken, left) = &mut self.woken[index as usize];
        let members = std::mem::take(woken);
        if *left > 0 {
            return self.waiting[index as usize].as_ref().map(|group| Group { home: index, ..group.with(members) });
        }
        self.unused.push(index);
        let group = self.waiting[index as usize].take()?;
        Some(Group { members, ..group })
    }

    /// Whether no group can go on or waits but at one place.
    pub(super) fn is_only_at(&self, place: &(u16, Place)) -> bool {
        self.waiting.iter().all(Option::is_none) && self.ready.keys().all(|other| other == place)
    }

    /// Whether no group can go on or waits.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.waiting.iter().all(Option::is_none)
    }

    /// Takes all groups that can go on at a place.
    pub(super) fn take_at(&mut self, place: &(u16, Place)) -> Vec<Group> {
        self.ready.remove(place).unwrap_or_default()
    }

    /// Puts groups at one place back, which differ from each other.
    pub(super) fn put_back(&mut self, groups: Vec<Group>) {
        if let Some(group) = groups.first() {
            self.ready.insert(group.place(), groups);
        }
    }

    /// Whether some PE waits for something that has not come.
    pub(super) fn is_stuck(&self) -> bool {
        self.waits_in.pieces().any(|(waits_in, _)| *waits_in != WaitsIn(NOWHERE))
    }
}

/// Makes groups at one place one: registers in which they differ become numbers of each PE.
fn merge(groups: Vec<Group>, live: u128, registers: &mut Registers) -> Option<Group> {
    let first = groups.first()?.clone();
    let mut varies = groups.iter().fold(0, |set, g| set | g.varies) & live;
    for (i, &number) in first.slots.iter().enumerate() {
        let differs = groups.iter().any(|g| g.slots[i] != number || g.drift.of(i as u32) != first.drift.of(i as u32));
        varies |= if differs { live & bit(i as u32) } else { 0 };
    }
    let unknown = groups.iter().fold(0, |set, g| set | g.unknown);
    let mut drift = first.drift.clone();
    for group in &groups {
        drift.join(&group.drift);
    }
    let mut members = Members::default();
    for group in groups {
        for slot in each(varies & !group.varies) {
            let number = group.slots.get(slot as usize).copied().unwrap_or(0);
            for (pe, n) in group.members.in_rows(registers.width) {
                registers.set(slot, pe, n, Line::flat(number.into()));
            }
        }
        members.append(&group.members);
    }
    Some(Group { members, varies, unknown, drift, ..first })
}

impl Groups<'_> {
    /// Brings the members' clocks up to date.
    pub(super) fn settle(&mut self, group: &mut Group) {
        let (worked, waited) = (std::mem::take(&mut group.worked), std::mem::take(&mut group.waited));
        if worked + waited == 0 || self.planes.is_some() {
            return;
        }
        for (pe, n) in group.members.in_rows(self.lanes.width) {
            self.clocks.work(pe, n, worked, waited);
        }
    }

    /// Adds a group that can go on.
    pub(super) fn go_on(&mut self, mut group: Group) {
        if group.members.is_empty() {
            return;
        }
        self.settle(&mut group);
        let live = self.flows[usize::from(group.class)].live.get(group.step as usize).copied().unwrap_or(0);
        // Parameters are read at any time.
        let live = live | self.registers.params;
        group.varies &= live;
        group.unknown &= live;
        group.drift.keep(live);
        self.schedule.add(group, live, &mut self.registers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(members: Members) -> Group {
        let (loops, slots) = (vec![[1, 0, 3]], vec![0, 7]);
        let drift = Drift::default();
        let (varies, unknown, worked, waited) = (0, 0, 0, 0);
        Group {
            is_claimed: false,
            class: 0,
            members,
            step: 2,
            loops,
            slots,
            varies,
            unknown,
            drift,
            worked,
            waited,
            home: NOWHERE,
        }
    }

    fn taken(schedule: &mut Schedule, index: u32) -> Vec<u32> {
        let mut members = Members::default();
        schedule.take_woken(index, &mut members);
        members.pes().collect()
    }

    #[test]
    fn who_has_to_wait_again_goes_back_to_the_others() {
        let mut schedule = Schedule::new(8, 8);
        let all = group((0..4).collect());
        let first = schedule.open(&all);
        schedule.wait(first, 0, 4);
        // Who is woken while the group is at hand is taken at once, and never comes as a group of its own.
        schedule.wake(3, 1);
        assert_eq!(taken(&mut schedule, first), [3]);
        schedule.close(first);
        assert!(schedule.next().is_none());
        // PE 1 comes alone; PE 2 is woken before PE 1 waits again, and goes on with it.
        schedule.wake(1, 1);
        let one = schedule.next().expect("one is woken");
        assert_eq!(one.members.pes().collect::<Vec<_>>(), [1]);
        schedule.wake(2, 1);
        assert_eq!(schedule.open(&one), first);
        schedule.wait(first, 1, 1);
        assert_eq!(taken(&mut schedule, first), [2]);
        schedule.close(first);
        assert!(schedule.next().is_none() && schedule.is_stuck());
        // At another step it waits by itself.
        schedule.wake(0, 1);
        let other = schedule.next().expect("one is woken");
        assert_ne!(schedule.open(&Group { step: 3, ..other }), first);
    }

    #[test]
    fn who_is_done_at_hand_does_not_come_again() {
        let mut schedule = Schedule::new(8, 8);
        let index = schedule.open(&group((0..3).collect()));
        schedule.wait(index, 0, 2);
        // Of PEs 1 and 2 the first one waits in the group at hand.
        let mut n = 2;
        assert_eq!((schedule.leave_hand(1, &mut n), n), (true, 1));
        assert!(!schedule.leave_hand(1, &mut 1) && taken(&mut schedule, index).is_empty());
        schedule.close(index);
        // Where it is not at hand nobody leaves: PE 0 comes, alone, and nobody is left.
        assert!(!schedule.leave_hand(0, &mut 1));
        schedule.wake(0, 1);
        assert_eq!(schedule.next().map(|group| group.members.pes().collect()), Some(vec![0]));
        assert!(schedule.next().is_none() && !schedule.is_stuck());
    }
}
