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
//!
//! Where PEs are of several classes, each of these has a segment of its own code: those that come to its beginning or its end are held there
//! until nobody else can go on. Then all of them stand so, or what is held goes on by itself.

mod rows;
mod segments;

use super::group::{Group, Place};
use super::members::Members;
use super::tables::Entry;
use super::{Groups, clocks};
use crate::machine::band::Band;
use crate::machine::operand::Port;
use crate::machine::steps::Shared;
use rows::{Piece, Rows, Switch};
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
    /// How many classes PEs are of.
    classes: usize,
    /// Rows by what never changes in them, by what segments use.
    fixed: BTreeMap<Used, Rc<Rows>>,
    /// Some rows go through a segment, others wait.
    begun: Option<Box<Begun>>,
    /// Groups that have been held, or have waited, and go on by themselves.
    released: Vec<Group>,
    /// How often a row has followed another one.
    followed: u64,
}

/// The colours and, class by class, the output queues that segments use.
type Used = (Vec<u8>, Vec<BTreeSet<u8>>);

/// What is known of a segment.
#[derive(Debug)]
struct Known {
    segment: Rc<Segment>,
    /// Colours that it uses, a bit each.
    colors: u64,
    misses: u8,
}

/// A segment that the PEs of a class go through.
#[derive(Debug)]
struct Course {
    /// Its number among those of the class.
    index: usize,
    segment: Rc<Segment>,
    /// What stands at its beginning, without members.
    group: Group,
    /// Where it ends.
    end: (u16, Place),
}

/// Rows on their way through a segment.
#[derive(Debug)]
struct Begun {
    /// By class, ascending.
    courses: Vec<Course>,
    /// Colours that they use.
    colors: Vec<u8>,
    /// PEs of a row.
    n: u32,
    leaders: Vec<Leader>,
    followers: Vec<Follower>,
    /// What leaders have loaded: from the same place (class, first byte, bytes), and each by itself (PE, first byte, bytes).
    tables: BTreeMap<(u16, i64, u32), Entry>,
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
    pieces: Rc<[Piece]>,
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
            let known =
                |segment: Segment| Known { colors: queues.colors(&segment), segment: segment.into(), misses: 0 };
            segments.map(known).collect()
        };
        let classes: BTreeSet<u16> = band.pes.iter().filter_map(|pe| pe.class).collect();
        let segments: Vec<Vec<Known>> = queues.iter().enumerate().map(of_class).collect();
        let has_none = classes.iter().any(|&class| segments[usize::from(class)].is_empty());
        Self { segments: if has_none { Vec::new() } else { segments }, classes: classes.len(), ..Self::default() }
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
            Some(begun) => begun.courses.iter().any(|course| course.stops_at(group.class, group.step)),
            None => self.begins_at(group.class, group.step).is_some(),
        }
    }

    /// The segment that begins where a group stands.
    fn course(&self, group: &Group) -> Option<Course> {
        let index = self.begins_at(group.class, group.step)?;
        let segment = self.segments[usize::from(group.class)][index].segment.clone();
        let mut end = group.place();
        end.1.last_mut().into_iter().for_each(|step| *step = segment.end);
        Some(Course { index, segment, group: group.with(Members::default()), end })
    }

    /// The colours that segments use.
    fn colors(&self, courses: &[Course]) -> Vec<u8> {
        let of = |course: &Course| self.segments[usize::from(course.class())][course.index].colors;
        let set = courses.iter().map(of).fold(0, |set, colors| set | colors);
        (0..64).filter(|color| set >> color & 1 == 1).collect()
    }

    /// Too few rows of all that have gone through segments were like others.
    fn miss(&mut self, courses: &[Course]) {
        for course in courses {
            self.segments[usize::from(course.class())][course.index].misses += 1;
        }
    }

    /// Leaders have loaded what all PEs of a class have in a table.
    pub(super) fn note_table(&mut self, (class, address, bytes): (u16, i64, u32), entry: Entry) {
        if let Some(begun) = &mut self.begun {
            let place = (class, address, bytes);
            begun.is_spoiled |= begun.tables.get(&place).is_some_and(|known| !Rc::ptr_eq(known, &entry));
            begun.tables.insert(place, entry);
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

impl Course {
    fn class(&self) -> u16 {
        self.group.class
    }

    /// Whether it ends at a step, whatever loops are around that.
    fn stops_at(&self, class: u16, step: u32) -> bool {
        (class, Some(&step)) == (self.end.0, self.end.1.last())
    }
}

impl Begun {
    /// Whether it is over for a group.
    fn ends_at(&self, group: &Group) -> bool {
        self.courses.iter().any(|course| course.stops_at(group.class, group.step) && course.end == group.place())
    }

    /// The groups of followers, where they wait.
    fn waiting(&self, followers: &[Follower]) -> Vec<Group> {
        let rows = || followers.iter().map(|follower| (follower.first, &*self.leaders[follower.leader].pieces));
        let of = |course: &Course| course.group.with(rows::members_of(course.class(), rows()));
        self.courses.iter().map(of).filter(|group| !group.members.is_empty()).collect()
    }
}

impl Groups<'_> {
    /// When all PEs, of one class, stand where a segment begins: those of rows that are like others wait, and the group becomes the rest.
    pub(super) fn begin_alike(&mut self, group: &mut Group) {
        let is_first = self.alike.classes == 1 && self.alike.begun.is_none();
        if is_first && self.alike.begins_at(group.class, group.step).is_some() && self.are_all(&[group]) {
            self.begin_segments(&mut [group]);
        }
    }

    /// When all leaders, of one class, stand where a segment ends: those that wait for them become like them, and the group takes them in.
    pub(super) fn end_alike(&mut self, group: &mut Group) {
        let is_over = |begun: &mut Box<Begun>| begun.courses.len() == 1 && begun.ends_at(group);
        let Some(begun) = self.alike.begun.take_if(is_over) else { return };
        let place = group.place();
        let mut others = self.schedule.take_at(&place);
        self.end_segments(&begun, &mut others.iter_mut().chain([&mut *group]).collect::<Vec<_>>());
        self.schedule.put_back(others);
    }

    /// Holds a group where segments of several classes begin or end; gives it back if it does not stand there.
    pub(super) fn hold(&mut self, group: Group) -> Option<Group> {
        if self.alike.classes < 2 || !self.alike.gathers_at(&group) {
            return Some(group);
        }
        self.schedule.hold(group.place());
        self.go_on(group);
        None
    }

    /// The next group of those that go on by themselves.
    pub(super) fn next_released(&mut self) -> Option<Group> {
        self.alike.released.pop()
    }

    /// Nobody can go on: groups that are held do, behind a beginning or an end if all stand there, and rows that wait for others. Says whether
    /// there are any.
    pub(super) fn meet(&mut self) -> bool {
        let mut held = self.schedule.take_held();
        let mut groups: Vec<&mut Group> = held.iter_mut().collect();
        if let Some(begun) = self.alike.begun.take() {
            self.end_segments(&begun, &mut groups);
            for group in held {
                self.go_on(group);
            }
            return true;
        }
        if self.are_all(&groups) {
            self.begin_segments(&mut groups);
        } else {
            let courses: Vec<Course> = groups.iter().filter_map(|group| self.alike.course(group)).collect();
            self.alike.miss(&courses);
        }
        self.alike.released.extend(held);
        !self.alike.released.is_empty()
    }

    /// Whether groups are all PEs, those of each class in one, and nothing is under way.
    fn are_all(&self, groups: &[&mut Group]) -> bool {
        groups.len() == self.alike.classes
            && groups.iter().all(|group| group.members.count() == self.class_sizes[usize::from(group.class)])
            && self.schedule.is_empty()
            && self.is_still()
    }

    /// Groups at the beginnings of segments are all there are: if most rows are like others, these wait, and the groups become the rest.
    fn begin_segments(&mut self, groups: &mut [&mut Group]) {
        let Some(courses) = groups.iter().map(|group| self.alike.course(group)).collect::<Option<Vec<_>>>() else {
            return;
        };
        let colors = self.alike.colors(&courses);
        let rows = rows::of(groups, self.lanes.width).filter(|(firsts, _)| firsts.len() >= FEWEST_ROWS);
        let rows = rows.map(|(firsts, n)| self.built_alike((&courses, &colors), firsts, n));
        let roles = rows.map(|rows| (self.lead((&courses, &colors), &rows), rows));
        let Some(((leaders, followers), rows)) =
            roles.filter(|((leaders, followers), _)| followers.len() >= leaders.len())
        else {
            return self.alike.miss(&courses);
        };
        let leaders: Vec<Leader> = leaders.into_iter().map(|row| self.leader(&colors, &rows, row)).collect();
        for group in groups {
            let leading = leaders.iter().map(|leader| (leader.first, &*leader.pieces));
            group.members = rows::members_of(group.class, leading);
        }
        self.alike.begun = Some(Box::new(Begun {
            courses,
            colors,
            n: rows.n,
            leaders,
            followers,
            tables: BTreeMap::new(),
            loads: Vec::new(),
            forgotten: Vec::new(),
            written: self.repeats.written,
            is_spoiled: false,
        }));
    }

    /// When groups at the ends of segments are all leaders: rows that wait for them become like them, and the groups take them in; all others go
    /// on by themselves.
    fn end_segments(&mut self, begun: &Begun, groups: &mut [&mut Group]) {
        let members: usize = groups.iter().map(|group| group.members.count()).sum();
        let changes = self.repeats.written - begun.written;
        let is_over = members == begun.leaders.len() * begun.n as usize
            && groups.iter().all(|group| begun.ends_at(group))
            && self.schedule.is_empty()
            && changes == begun.forgotten.len() as u64
            && !begun.is_spoiled
            && self.is_still()
            && self.have_taken_all(begun);
        let (following, left) =
            if is_over { self.become_like(begun, groups) } else { (Vec::new(), begun.followers.clone()) };
        for group in groups {
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
        self.alike.followed += following.len() as u64;
        // Leaders that computed what is known do so again, as a rule.
        if 2 * following.len() < begun.followers.len() {
            self.alike.miss(&begun.courses);
        }
        self.alike.released.extend(begun.waiting(&left));
    }
}

#[cfg(test)]
mod tests;
