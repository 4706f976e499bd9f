//! Rows of PEs that do the same, each at its own time: in a run for the time alone one of them is simulated.
//!
//! As long as the code has PEs tell each other something along their rows alone, rows have nothing to do with each other. When all PEs
//! stand where such a segment of the code begins, and nothing is under way, rows in which all that can be told is the same, only so many
//! cycles later, will also be so at its end: one of them goes on, the leader, and the others wait. At the end they become what the
//! leader has become, so much later, and have counted what it has.
//!
//! What a row loads from memory is only known when it does: whoever has something else there than its leader goes through the segment by
//! itself, as do all when their leaders do more than take time: compute numbers that are known, or store them. So does everybody when a
//! leader waits for somebody who waits for it.

mod rows;
mod segments;

use super::group::{Group, Place};
use super::members::Members;
use super::tables::Entry;
use super::{Groups, clocks};
use crate::machine::band::Band;
use crate::machine::operand::Port;
use crate::machine::steps::Shared;
use rows::{Rows, Switch};
use segments::{Queues, Segment};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Rows from which on some may wait for others.
const FEWEST_ROWS: usize = 4;

/// How often too few rows may be like others; then a segment is not looked at any more.
const MOST_MISSES: u8 = 3;

/// Rows that are like others.
#[derive(Debug, Default)]
pub(super) struct Alike {
    /// By class, in the order of their steps.
    segments: Vec<Vec<Known>>,
    /// Rows in which what never changes is the same, by the colours and the output queues that a segment uses.
    fixed: BTreeMap<(Vec<u8>, BTreeSet<u8>), Rows>,
    /// Some rows go through a segment, others wait.
    begun: Option<Box<Begun>>,
    /// How often a row has followed another one.
    followed: u64,
}

/// What is known of a segment.
#[derive(Debug, Default)]
struct Known {
    segment: Segment,
    /// Colours that it uses.
    colors: Vec<u8>,
    misses: u8,
}

/// Rows on their way through a segment.
#[derive(Debug)]
struct Begun {
    /// The number of the segment among those of the class.
    index: usize,
    /// What stands at its beginning, without members.
    group: Group,
    /// Where it ends.
    end: (u16, Place),
    /// PEs of a row.
    n: u32,
    leaders: Vec<Leader>,
    followers: Vec<Follower>,
    /// What leaders have loaded: from the same place (first byte, bytes), and each by itself (PE, first byte, bytes).
    tables: BTreeMap<(i64, u32), Entry>,
    loads: Vec<(u32, usize, usize)>,
    /// What leaders have put into memory without knowing it: where, how many elements, PEs.
    forgotten: Vec<(Port, u64, (u32, u32))>,
    /// How often memory, or what is known of it, may have been changed before.
    written: u64,
    /// They have done what others cannot be told to have done.
    is_spoiled: bool,
}

/// A row that goes on: its first PE, and what it was at the beginning.
#[derive(Debug)]
struct Leader {
    first: u32,
    counted: clocks::Counted,
    passed: [Vec<i64>; 5],
    switches: Vec<Switch>,
}

/// A row that waits: its first PE, the number of its leader, and by how much it is later.
#[derive(Clone, Copy, Debug)]
struct Follower {
    first: u32,
    leader: usize,
    cycles: i64,
}

impl Alike {
    /// What may be alike in a program.
    pub(super) fn new(shared: &Shared<'_>, band: &Band<'_>) -> Self {
        let queues = Queues::along_rows(shared, band);
        let of_class = |(class, queues): (usize, &Queues)| {
            let segments = segments::find(&shared.classes[class].tasks[0].steps, queues).into_iter();
            let known = |segment: Segment| {
                let set = queues.colors(&segment);
                let colors = (0..64).filter(|color| set >> color & 1 == 1).collect();
                Known { segment, colors, misses: 0 }
            };
            segments.map(known).collect()
        };
        Self { segments: queues.iter().enumerate().map(of_class).collect(), ..Self::default() }
    }

    /// The segment that begins at a step.
    fn begins_at(&self, class: u16, step: u32) -> Option<usize> {
        let segments = self.segments.get(usize::from(class))?;
        let index = segments.binary_search_by_key(&step, |known| known.segment.begin).ok()?;
        (segments[index].misses < MOST_MISSES).then_some(index)
    }

    /// Whether all should come to where a group stands before it goes on.
    #[inline]
    pub(super) fn gathers_at(&self, group: &Group) -> bool {
        match &self.begun {
            Some(begun) => (group.class, group.step) == (begun.end.0, begun.step()),
            None => self.begins_at(group.class, group.step).is_some(),
        }
    }

    /// Leaders have loaded what all PEs have in a table.
    pub(super) fn note_table(&mut self, address: i64, bytes: u32, entry: Entry) {
        if let Some(begun) = &mut self.begun {
            begun.is_spoiled |= begun.tables.get(&(address, bytes)).is_some_and(|known| !Rc::ptr_eq(known, &entry));
            begun.tables.insert((address, bytes), entry);
        }
    }

    /// A leader has loaded something.
    #[inline]
    pub(super) fn note_load(&mut self, pe: u32, start: usize, bytes: usize) {
        if let Some(begun) = &mut self.begun {
            begun.loads.push((pe, start, bytes));
        }
    }

    /// Leaders have put what they do not know into memory.
    pub(super) fn note_forgotten(&mut self, dst: &Port, count: u64, pes: (u32, u32)) {
        if let Some(begun) = &mut self.begun {
            begun.forgotten.push((dst.clone(), count, pes));
        }
    }

    /// Leaders have, if so, done what others cannot be told to have done.
    pub(super) fn spoil(&mut self, if_so: bool) {
        if let Some(begun) = &mut self.begun {
            begun.is_spoiled |= if_so;
        }
    }
}

impl Begun {
    /// The step behind the segment.
    fn step(&self) -> u32 {
        self.end.1.last().copied().unwrap_or(0)
    }

    /// The group of the followers, where they wait.
    fn waiting(&self, followers: &[Follower]) -> Group {
        let mut members = Members::default();
        for follower in followers {
            members.push(follower.first, self.n);
        }
        self.group.with(members)
    }
}

impl Groups<'_> {
    /// When all PEs stand where a segment begins: those of rows that are like others wait, and the group becomes the rest.
    pub(super) fn begin_alike(&mut self, group: &mut Group) {
        if self.alike.begun.is_some() {
            return;
        }
        let Some(index) = self.alike.begins_at(group.class, group.step) else { return };
        let is_all = group.members.count() == self.class_sizes[usize::from(group.class)];
        if !is_all || !self.schedule.is_only_at(&group.place()) || !self.is_still() {
            return;
        }
        let Some((firsts, n)) = rows::of(&group.members, self.lanes.width) else { return };
        if firsts.len() < FEWEST_ROWS {
            return;
        }
        let known = std::mem::take(&mut self.alike.segments[usize::from(group.class)][index]);
        let like = self.built_alike(&known, &firsts, n);
        let (leaders, followers) = self.lead(group, &known, (&firsts, &like), n);
        self.alike.segments[usize::from(group.class)][index] = known;
        let known = &mut self.alike.segments[usize::from(group.class)][index];
        if 2 * followers.len() < firsts.len() {
            known.misses += 1;
            return;
        }
        let mut end = group.place();
        end.1.last_mut().into_iter().for_each(|step| *step = known.segment.end);
        let leaders = self.leaders((group.class, index), &leaders, n);
        let mut going = Members::default();
        for leader in &leaders {
            going.push(leader.first, n);
        }
        self.alike.begun = Some(Box::new(Begun {
            index,
            group: group.with(Members::default()),
            end,
            n,
            leaders,
            followers,
            tables: BTreeMap::new(),
            loads: Vec::new(),
            forgotten: Vec::new(),
            written: self.repeats.written,
            is_spoiled: false,
        }));
        group.members = going;
    }

    /// When all leaders stand where a segment ends: those that wait for them become like them, and the group takes them in.
    pub(super) fn end_alike(&mut self, group: &mut Group) {
        let place = group.place();
        let Some(begun) = self.alike.begun.take_if(|begun| begun.end == place) else { return };
        let mut others = self.schedule.take_at(&place);
        let mut groups: Vec<&mut Group> = others.iter_mut().chain([&mut *group]).collect();
        let members: usize = groups.iter().map(|group| group.members.count()).sum();
        let changes = self.repeats.written - begun.written;
        let is_over = members == begun.leaders.len() * begun.n as usize
            && self.schedule.is_only_at(&place)
            && changes == begun.forgotten.len() as u64
            && !begun.is_spoiled
            && self.is_still()
            && self.have_taken_all(&begun);
        let (following, left) =
            if is_over { self.become_like(&begun, &groups) } else { (Vec::new(), begun.followers.clone()) };
        for group in &mut groups {
            let of_leaders = std::mem::take(&mut group.members);
            for (pe, n) in of_leaders.in_rows(self.lanes.width) {
                group.members.push(pe, n);
                for follower in &following {
                    let first = begun.leaders[follower.leader].first;
                    if (first..first + begun.n).contains(&pe) {
                        group.members.push(follower.first + (pe - first), n);
                    }
                }
            }
            group.members.sort();
        }
        self.schedule.put_back(others);
        self.alike.followed += following.len() as u64;
        // Leaders that computed what is known do so again, as a rule.
        if 2 * following.len() < begun.followers.len() {
            self.alike.segments[usize::from(begun.group.class)][begun.index].misses += 1;
        }
        self.go_on(begun.waiting(&left));
    }

    /// Rows that wait for others go on by themselves.
    pub(super) fn leave_alike(&mut self) {
        if let Some(begun) = self.alike.begun.take() {
            self.go_on(begun.waiting(&begun.followers));
        }
    }
}

#[cfg(test)]
mod tests;
