//! Programs whose PEs can be simulated in any order, many at once.
//!
//! Where each PE does one thing after another and each colour is a channel between two of them, a program is a Kahn process
//! network (G. Kahn, *The semantics of a simple language for parallel programming*, 1974): what comes out, and when, does not
//! depend on the order in which PEs are simulated. So PEs have clocks of their own here, and PEs that stand at the same step of
//! the same code with the same numbers in their registers go on together: what a step does, and how long it takes, is worked out
//! once for all of them. Where something differs (the root of a broadcast, an edge, a ragged tile) the group parts, and
//! its parts become one again where their ways through the code meet.
//!
//! Members side by side in a row are not looked at one by one: what each of them has (its clock, the head of its queue, when its
//! link is free) is the same in all, or grows evenly from one to the next, as a wavelet that passes them does. So it is kept as a value
//! and a slope for a stretch of PEs ([`strip`]), and worked out for the stretch at once ([`line`]). Where a decision would differ
//! along it (which of two is later, whether there is room) it is cut; where values have come to lie on a line again, it is one
//! when it is looked at next. Only numbers of the program are computed PE by PE.
//!
//! - [`eligible`]: which programs
//! - [`liveness`]: which registers of a group still count
//! - [`registers`]: those in which members of a group differ
//! - [`tables`]: what members load from the same place
//! - [`line`], [`strip`]: what PEs side by side have in common, told by one value
//! - [`members`], [`group`]: groups, and which goes on next
//! - [`code`]: steps but for vector instructions
//! - [`vector`], [`transfer`]: vector instructions over the fabric
//! - [`send`]: what members do one after another, and what they send
//! - [`memory`]: those over memory alone
//! - [`blocks`]: several of them in few PEs at a time
//! - [`apart`]: time and numbers, each alone
//! - [`numbers`], [`put_off`]: vector instructions where there is no time
//! - [`marks`]: what is known in a run for the time alone
//! - [`clocks`]: what each PE's time is
//! - [`way`]: ways of wavelets
//! - [`lanes`]: the switches that they pass
//! - [`incoming`], [`queue`]: the runs and the queues at their ends
//! - [`link`]: links that colours share
//! - [`flight`], [`held`]: senders, and what follows them, that are held up by receivers
//! - [`alike`]: rows that take as long as another one
//! - [`repeat`], [`drift`]: turns of a loop that take as long as the one before
//!
//! Whatever does not go well (a fault, a deadlock, a need for a number that nobody computed) ends all this without a result, and
//! the program is run event by event, which knows what to say.

mod alike;
mod apart;
mod blocks;
mod claims;
mod clocks;
mod code;
mod drift;
mod eligible;
mod flight;
mod group;
mod held;
mod incoming;
mod lanes;
mod line;
mod link;
mod liveness;
mod marks;
mod members;
mod memory;
mod numbers;
mod put_off;
mod queue;
mod registers;
mod repeat;
mod send;
mod strip;
mod tables;
mod transfer;
mod vector;
mod way;

use super::payload::Payloads;
use crate::machine::band::Band;
use crate::machine::collect::{Counted, collect};
use crate::machine::conflicts::Conflicts;
use crate::machine::lockstep::Workbench;
use crate::machine::pe::{PeCounters, VectorWork};
use crate::machine::planes::Planes;
use crate::machine::setup::{Fabric, LayOut, link_room};
use crate::machine::steps::Shared;
use crate::twins::Twins;
use crate::{Claims, Inputs, Method, Options, Progress, SimulateError};
use alike::Alike;
use clocks::Clocks;
use drift::Drift;
use flight::{Flights, Goal, Landing};
use group::{Group, NOWHERE, Schedule};
use held::Held;
use lanes::Lanes;
use line::Line;
use link::Links;
use liveness::Flow;
use marks::Marks;
use members::Members;
use queue::Queues;
use registers::Registers;
use repeat::Repeats;
use send::Results;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use strip::Strip;
use tables::Tables;
use vector::Stage;
use waferloom_fabric::{PortKind, Program};
use way::{Head, Ways};

/// Groups between two looks at the progress bar.
const REPORT_EVERY: u64 = 256;

/// PEs from which on late receivers hold up senders only in models, neither each other nor what follows: in large meshes that takes as
/// long as all the rest, and changes their times by half a percent. A kernel on its own may be little else.
const MANY_PES: usize = 1024;

/// The state of a simulation by groups.
struct Groups<'a> {
    shared: Shared<'a>,
    band: Band<'a>,
    lanes: Lanes,
    conflicts: Conflicts,
    payloads: Payloads,
    /// The claims at work, when the code has steps of them.
    twins: Option<Twins<'a>>,
    schedule: Schedule,
    flights: Flights,
    /// By class.
    flows: Vec<Flow>,
    registers: Registers,
    tables: Tables,
    clocks: Clocks,
    queues: Queues,
    /// Links that several colours use, and those to the host.
    links: Links,
    /// Wavelets that a link takes.
    link_room: u64,
    /// By PE: how far it is with an instruction over the fabric.
    progress: Strip<Stage>,
    /// PEs with an instruction of their own at work.
    owners: u32,
    /// PEs of each class.
    class_sizes: Vec<usize>,
    /// By class, in a run for the time alone.
    marks: Vec<Marks>,
    /// Senders whose receivers have become known.
    landings: Vec<Landing>,
    /// What has to be known of a run before its receivers end.
    awaited: Goal,
    /// When the last wavelets of a flight leave its lanes.
    held: Held,
    /// PEs that wait for a switch, by its lane: the first one and how many.
    wait_for_switch: BTreeMap<u32, Vec<(u32, u32)>>,
    /// The memories of some PEs may not have been laid out.
    is_lent: bool,
    /// In a run for the numbers alone: all memories.
    planes: Option<Planes<'a>>,
    /// The same: claims whose code is not passed over.
    run_claims: BTreeSet<u32>,
    /// The same: of how many senders side by side the ways run together.
    open: Vec<u32>,
    /// The same: instructions that the group at hand has still to do.
    put_off: Vec<put_off::PutOff>,
    /// The same: where instructions are computed.
    bench: Workbench,
    /// The same: parts of a way that have still to be gone.
    posts: Vec<numbers::Post>,
    /// In a run for the time alone: nothing that the host sends need be known.
    floats_come_in: bool,
    /// The ways that have been found last.
    ways: Ways,
    /// What has become of the members at hand.
    results: Results,
    /// Where a way parts: the parts that a run has still to be brought along.
    heads: Vec<Head>,
    /// Instructions that are done, to be filled again.
    #[expect(clippy::vec_box, reason = "PEs take the boxes and give them back")]
    unused: Vec<Box<VectorWork>>,
    /// In a run for the time alone: turns of loops that are like others.
    repeats: Repeats,
    /// The same: rows that are like others.
    alike: Alike,
    /// What the slots of a PE hold.
    slots: Vec<i32>,
    /// Numbers that the members of a group have loaded.
    loaded: Vec<i32>,
    /// The same from tables, for members side by side.
    found: Vec<(u32, u32, Line)>,
}

/// Why a simulation ends early.
enum Stop {
    /// It has to be done event by event.
    Unfit,
    Cancelled(u64),
    Limit(u64),
    /// Nobody needs the result any more.
    Unneeded,
    /// The program cannot be loaded.
    Invalid(SimulateError),
}

/// What is computed in an attempt at a program.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Nothing in floating point: what is known is marked for each class.
    TimeByClass,
    /// What is known, as each PE's marks say.
    TimeByPe,
    /// What no claim covers, and what claims say.
    Claimed,
    /// Everything, in the PEs.
    Computed,
    /// What no claim covers, what claims say, and no time.
    Numbers,
}

impl Way {
    /// What it is called in messages.
    fn name(self) -> &'static str {
        match self {
            Way::TimeByClass => "the time alone by classes",
            Way::TimeByPe => "the time alone by PEs",
            Way::Claimed => "with claims",
            Way::Computed => "all computed by PEs",
            Way::Numbers => "the numbers alone",
        }
    }
}

/// Runs a program by groups; `None` where only events will do.
///
/// The faster way is tried first. It may need a float of which another one knows that it is known; or a PE may end a claim
/// before others that belong to it begin, which they may in this order. What claims say is held against what PEs compute on
/// one way only: what is wrong there the events have to say.
pub(super) fn run(
    program: &Program,
    inputs: &Inputs<'_>,
    fabric: &Fabric<'_>,
    options: &Options<'_>,
) -> Result<Option<crate::Run>, SimulateError> {
    let checks = fabric.heeds_claims && options.claims == Claims::Check;
    let is_apart = !fabric.without_numbers && !checks && apart::is_wanted(program, options);
    let is_sequential = eligible::is_sequential(&fabric.shared());
    if is_apart
        && is_sequential
        && let Some(run) = apart::run(program, inputs, fabric, options)?
    {
        return Ok(Some(run));
    }
    if is_apart && options.method == Method::Apart {
        return Err(SimulateError::Inseparable);
    }
    if !is_sequential {
        return Ok(None);
    }
    let ways: &[Way] = match (fabric.without_numbers, fabric.heeds_claims) {
        (true, _) => &[Way::TimeByClass, Way::TimeByPe],
        (false, true) if checks => &[Way::Claimed],
        (false, true) => &[Way::Claimed, Way::Computed],
        (false, false) => &[Way::Computed],
    };
    for &way in ways {
        if let Some(run) = result(way, attempt(program, fabric, options, way, None))? {
            return Ok(Some(run));
        }
    }
    Ok(None)
}

/// Runs a program in one way; `is_over` says when nobody needs the result any more.
fn attempt(
    program: &Program,
    fabric: &Fabric<'_>,
    options: &Options<'_>,
    way: Way,
    is_over: Option<&AtomicBool>,
) -> Result<crate::Run, Stop> {
    // Where numbers are computed PE by PE; what nobody computes has few constants, and without time all numbers are elsewhere.
    let lends = matches!(way, Way::Claimed | Way::Computed);
    let constants = if lends { Some(fabric.constants().map_err(Stop::Invalid)?) } else { None };
    let lay_out = match &constants {
        Some(constants) => LayOut::WhenNeeded(constants),
        None if way == Way::Numbers => LayOut::Never,
        None => LayOut::AtOnce,
    };
    let mut store = fabric.store(lay_out).map_err(Stop::Invalid)?;
    let mut band = fabric.bands(&mut store, lay_out, 1).map_err(Stop::Invalid)?.pop().ok_or(Stop::Unfit)?;
    let planes = if way == Way::Numbers { Some(fabric.planes(&band.pes).map_err(Stop::Invalid)?) } else { None };
    if way == Way::TimeByPe {
        fabric.mark_constants(&mut band);
    }
    let mut groups = Groups::new(fabric.shared(), band).ok_or(Stop::Unfit)?;
    groups.is_lent = lends;
    groups.planes = planes;
    groups.prepare_way(way, program, options);
    groups.run(options, is_over)?;
    Ok(groups.finish(program, fabric))
}

/// What becomes of an attempt: nothing when it has to be done in another way.
fn result(way: Way, attempt: Result<crate::Run, Stop>) -> Result<Option<crate::Run>, SimulateError> {
    match attempt {
        Ok(run) => Ok(Some(run)),
        Err(Stop::Unfit | Stop::Unneeded) => {
            tracing::info!("simulation in groups, {}: ended without a result", way.name());
            Ok(None)
        }
        Err(Stop::Cancelled(cycle)) => Err(SimulateError::Cancelled { cycle }),
        Err(Stop::Limit(cycles)) => Err(SimulateError::CycleLimit { cycles }),
        Err(Stop::Invalid(error)) => Err(error),
    }
}

impl<'a> Groups<'a> {
    /// Whether late receivers hold up other ones, and what follows.
    fn is_held_up(&self) -> bool {
        self.awaited == Goal::Gone
    }

    /// The state before the first cycle; `None` where the order of events may be told from what comes out.
    fn new(shared: Shared<'a>, band: Band<'a>) -> Option<Self> {
        let pes = band.pes.len();
        let machine = shared.machine;
        if !eligible::is_determinate(&shared, &band) {
            return None;
        }
        let width = u32::from(band.grid.width);
        let queues = Queues::new(&band.pes, width)?;
        let mut lanes = Lanes::new(&shared, &band);
        // A late receiver holds up other ones, and what follows.
        let is_counted = pes < MANY_PES || shared.operators <= 1;
        let holds = is_counted && (lanes.have_parting_ways() || !shared.controls.is_empty());
        if holds {
            lanes.follow();
        }
        let first_param = 1 + usize::from(machine.registers);
        Some(Self {
            flows: shared.classes.iter().map(|class| Flow::new(&class.tasks[0].steps)).collect(),
            registers: Registers::new(&band.pes, width, first_param),
            conflicts: Conflicts::new(machine),
            schedule: Schedule::new(pes, width),
            flights: Flights::default(),
            payloads: Payloads::default(),
            twins: None,
            clocks: Clocks::new(pes, width),
            queues,
            tables: Tables::default(),
            links: Links::new(pes, width),
            link_room: link_room(machine).into(),
            progress: Strip::uniform(Stage::Fresh, pes, width),
            owners: 0,
            class_sizes: Vec::new(),
            marks: Vec::new(),
            landings: Vec::new(),
            awaited: if holds { Goal::Gone } else { Goal::Sent },
            held: Held::default(),
            wait_for_switch: BTreeMap::new(),
            planes: None,
            run_claims: BTreeSet::new(),
            is_lent: false,
            open: Vec::new(),
            put_off: Vec::new(),
            bench: Workbench::default(),
            posts: Vec::new(),
            floats_come_in: false,
            ways: Ways::default(),
            results: Results::default(),
            heads: Vec::new(),
            unused: Vec::new(),
            repeats: Repeats::default(),
            alike: Alike::default(),
            slots: Vec::new(),
            loaded: Vec::new(),
            found: Vec::new(),
            lanes,
            shared,
            band,
        })
    }

    fn prepare_way(&mut self, way: Way, program: &'a Program, options: &Options<'_>) {
        self.tables = Tables::new(program);
        if way == Way::TimeByClass {
            self.marks = Marks::new(program, &mut self.band, program.classes.len());
            let mut inputs = program.ports.iter().filter(|port| port.kind == PortKind::Input);
            self.repeats = Repeats::new(self.shared.classes);
            self.alike = Alike::new(&self.shared, &self.band);
            self.floats_come_in = inputs.all(|port| port.dtype.is_float());
        }
        if way == Way::Numbers {
            self.run_claims = self.claims_to_run();
        }
        if matches!(way, Way::Claimed | Way::Numbers) {
            let (checks, on_threads) = (options.claims == Claims::Check, options.threads != 1);
            self.twins = Some(Twins::new(program, checks, on_threads, way == Way::Numbers));
        }
    }

    /// Lets all groups go on until there is nothing left to do.
    fn run(&mut self, options: &Options<'_>, is_over: Option<&AtomicBool>) -> Result<(), Stop> {
        self.feed()?;
        self.start();
        let limit = options.max_cycles.unwrap_or(u64::MAX);
        let mut handled = 0u64;
        while let Some(mut group) = self.next() {
            self.end_alike(&mut group);
            self.end_turn(&mut group);
            self.begin_alike(&mut group);
            let time = group.members.first().map_or(0, |pe| self.clocks.time(pe) as u64);
            if time > limit {
                return Err(Stop::Limit(limit));
            }
            self.go(group)?;
            handled += 1;
            if handled.is_multiple_of(REPORT_EVERY)
                && let Some(progress) = options.progress
            {
                let received_wavelets = self.band.sinks.iter().map(|s| s.data.len() as u64).sum();
                progress(Progress { cycle: time, received_wavelets });
            }
            if options.cancel.is_some_and(|c| c.load(Ordering::Relaxed)) {
                return Err(Stop::Cancelled(time));
            }
            if is_over.is_some_and(|over| over.load(Ordering::Relaxed)) {
                return Err(Stop::Unneeded);
            }
        }
        let complete = self.band.sinks.iter().all(|s| s.data.len() >= s.expected);
        let left_out = self.twins.is_some() && self.band.sinks.iter().any(|sink| sink.left_out);
        if self.schedule.is_stuck() || !complete || left_out { Err(Stop::Unfit) } else { self.check_limit(limit) }
    }

    /// The group that goes on next: those that are held where segments begin and end, and rows that wait for others, do so when nobody else
    /// can.
    fn next(&mut self) -> Option<Group> {
        loop {
            if let Some(group) = self.next_released() {
                return Some(group);
            }
            match self.schedule.next() {
                Some(group) => {
                    if let Some(group) = self.hold(group) {
                        return Some(group);
                    }
                }
                None if self.meet() => {}
                None => return None,
            }
        }
    }

    fn check_limit(&self, limit: u64) -> Result<(), Stop> {
        if self.clocks.last() as u64 > limit { Err(Stop::Limit(limit)) } else { Ok(()) }
    }

    /// All PEs of a class begin their task as one group.
    fn start(&mut self) {
        let mut of_classes = vec![Members::default(); self.shared.classes.len()];
        for (pe, state) in self.band.pes.iter().enumerate() {
            if let Some(class) = state.class {
                of_classes[usize::from(class)].push(pe as u32, 1);
            }
        }
        self.class_sizes = of_classes.iter().map(Members::count).collect();
        for (class, members) in (0..).zip(of_classes) {
            let Some(first) = members.first() else { continue };
            let slots = self.band.pes[first as usize].slots.to_vec();
            let varies = self.registers.differing(&members);
            let worked = self.shared.machine.task_switch_cycles.into();
            self.go_on(Group {
                class,
                members,
                step: 0,
                loops: Vec::new(),
                slots,
                varies,
                is_claimed: false,
                unknown: 0,
                drift: Drift::default(),
                worked,
                waited: 0,
                home: NOWHERE,
            });
        }
    }

    /// What the run gave.
    fn finish(mut self, program: &Program, fabric: &Fabric<'_>) -> crate::Run {
        self.end_watch();
        let (pes, width) = (self.band.pes.len() as u32, self.lanes.width);
        let spans = &mut self.band.spans;
        for row in (0..if spans.is_empty() { 0 } else { pes }).step_by(width as usize) {
            self.clocks.change(row, width, |_| None, |operator, span| spans[operator as usize].join(&span));
        }
        self.read_back(program);
        let last = self.band.sinks.iter().map(|s| s.last).max();
        let cycles = (self.clocks.last() as u64).max(last.unwrap_or(0));
        let counters = self.clocks.counters().zip(self.clocks.all());
        let counted = Counted {
            pes: counters.map(|(of, time)| PeCounters { idle: cycles.saturating_sub(time), ..of }).collect(),
            links: self.lanes.sent(),
        };
        let leftover = self.queues.wavelets();
        let mut run = collect(program, fabric, vec![self.band], counted, cycles, leftover);
        if let Some(twins) = self.twins {
            run.claimed = twins.operators;
        }
        run
    }
}

#[cfg(test)]
mod tests;
