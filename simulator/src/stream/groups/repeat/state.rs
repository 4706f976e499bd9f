//! What can be told of all PEs at once, and what it becomes when turns are passed over.

use super::super::Groups;
use super::super::clocks::Clocks;
use super::super::drift::Drift;
use super::super::group::{Group, NOWHERE};
use super::super::lanes::Lanes;
use super::super::link::Links;
use super::super::marks::Marks;
use super::super::members::Members;
use super::super::queue::Queues;
use super::super::tables::Places;
use super::watch::{Watch, join_later};
use super::{Turn, all, first_clock};

/// What can be told when all PEs stand at one place.
pub(super) struct State {
    pub(super) groups: Vec<Group>,
    pub(super) clocks: Clocks,
    lanes: Lanes,
    links: Links,
    queues: Queues,
    /// Positions of all switches.
    switches: Vec<(u8, bool)>,
    marks: Vec<Marks>,
    tables: Places,
    /// How often PEs' memory or what is known of it may have been changed.
    written: u64,
    /// What has come from the host and gone there.
    exchanged: usize,
}

impl Groups<'_> {
    pub(super) fn state(&self, groups: &[&mut Group]) -> State {
        let lanes = self.band.routers.iter().flat_map(|router| router.lanes.iter());
        State {
            groups: groups.iter().map(|group| Group::clone(group)).collect(),
            clocks: self.clocks.clone(),
            lanes: self.lanes.clone(),
            links: self.links.clone(),
            queues: self.queues.clone(),
            switches: lanes.map(|lane| (lane.position(), lane.closed)).collect(),
            marks: self.marks.clone(),
            tables: self.tables.places.clone(),
            written: self.repeats.written,
            exchanged: self.exchanged(),
        }
    }

    fn exchanged(&self) -> usize {
        let sent = self.band.sources.iter().map(|source| source.item_starts.len());
        sent.chain(self.band.sinks.iter().map(|sink| sink.data.len())).sum()
    }

    /// Whether all but the groups is as it was a turn before.
    pub(super) fn is_as_before(&self, watch: &Watch, before: &State, turn: Turn, members: &Members) -> bool {
        let mut switches = self.band.routers.iter().flat_map(|router| router.lanes.iter()).zip(&before.switches);
        let checks = [
            before.written == self.repeats.written && before.exchanged == self.exchanged(),
            self.is_known_as_before(watch, before),
            switches.all(|(lane, &before)| (lane.position(), lane.closed) == before),
            self.clocks.repeat(&before.clocks, turn, members, watch.operators.unwrap_or(0)),
            self.lanes.repeat(&before.lanes, turn),
            self.links.repeat(&before.links, turn),
            self.queues.repeat(&before.queues, turn, self.longest_way()),
        ];
        checks.iter().all(|&holds| holds)
    }

    /// Whether PEs know what they knew a turn before, as far as a turn asks: what is not known and written over something that is not known is
    /// marked when that is done for the first time, which only loads can tell.
    fn is_known_as_before(&self, watch: &Watch, before: &State) -> bool {
        let mut marks = self.marks.iter().zip(&before.marks);
        let is_same = |(&(class, start, bytes), &untouched): (&(u16, usize, usize), &bool)| {
            self.marks[usize::from(class)].is_untouched(start, bytes) == untouched
        };
        before.tables == self.tables.places
            && marks.all(|(marks, before)| marks.are_but_touched(before))
            && watch.loads.iter().all(is_same)
    }

    /// Cycles after which nothing tells any more that a wavelet was taken, wherever it came from.
    pub(in super::super) fn longest_way(&self) -> i64 {
        let grid = self.band.grid;
        i64::from(self.shared.machine.hop_cycles) * (i64::from(grid.width) + i64::from(grid.height))
            + i64::from(self.shared.machine.ramp_cycles)
    }

    /// From the end of a turn on: passes over `turns` that are like the one since a post.
    pub(super) fn pass_over(&mut self, watch: &Watch, post: u32, turn: Turn, turns: u32, groups: &mut [&mut Group]) {
        let before = &watch.posts[&post];
        let (state, members) = (&before.state, all(groups.iter().map(|group| &**group)));
        tracing::info!("{turns} turns of a loop take {} cycles each, as the one before them", turn.cycles);
        self.repeats.passed_over += turns;
        let operators = watch.operators.unwrap_or(0);
        self.clocks.pass_over(&state.clocks, turn, turns, &members, operators);
        self.lanes.pass_over(&state.lanes, turn, turns);
        self.links.pass_over(turn, turns);
        self.queues.pass_over(turn, turns);
        join_later(&mut self.band.spans, &watch.spans[before.spans..], (operators, turn.cycles), 1..=turns);
        for group in groups {
            group.skip_turns(turns);
            group.drift = Drift::default();
        }
    }

    /// From a place within a turn on, where all is as it was at a post in the turn before: all becomes what it was at the end of that one, with
    /// `turns` whole ones between this one and the last one. Gives the groups.
    pub(super) fn go_to_end(&mut self, watch: &Watch, [post, end]: [u32; 2], turn: Turn, turns: u32) -> Vec<Group> {
        let (before, behind) = (&watch.posts[&post], &watch.posts[&end]);
        let (start, end) = (&before.state, &behind.state);
        let (members, operators, later) = (all(end.groups.iter()), watch.operators.unwrap_or(0), turns + 1);
        tracing::info!("{later} turns of a loop take {} cycles each, as the one before them", turn.cycles);
        self.repeats.passed_over += later;
        self.clocks.go_to([&start.clocks, &end.clocks], turn, turns, &members, operators);
        // What is past at the end of a turn stays so.
        let began = first_clock(&end.clocks, &members).map_or(0, |clock| clock - turn.cycles);
        let last = Turn { cycles: turn.cycles, began };
        self.lanes.go_to([&start.lanes, &end.lanes], last, turns);
        self.links = end.links.clone();
        self.links.pass_over(last, later);
        self.queues = end.queues.clone();
        self.queues.put_off(turn.cycles * i64::from(later));
        let lanes = self.band.routers.iter_mut().flat_map(|router| router.lanes.iter_mut());
        for (lane, &(position, closed)) in lanes.zip(&end.switches) {
            lane.set_position(position, self.shared.routes);
            lane.closed = closed;
        }
        let (spans, further) = (&mut self.band.spans, (operators, turn.cycles));
        join_later(spans, &watch.spans[before.spans..], further, 1..=turns);
        join_later(spans, &watch.spans[before.spans..behind.spans], further, later..=later);
        let mut groups = end.groups.clone();
        for group in &mut groups {
            group.skip_turns(later);
            (group.drift, group.home) = (Drift::default(), NOWHERE);
        }
        groups
    }
}

impl Group {
    /// What it holds so many turns later, of the innermost loop.
    fn skip_turns(&mut self, turns: u32) {
        self.loops.last_mut().into_iter().for_each(|[_, done, _]| *done += turns);
        self.drift.grow(&mut self.slots, turns);
    }
}
