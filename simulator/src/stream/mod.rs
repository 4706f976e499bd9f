//! The `stream` engine: events are vector instructions and runs of wavelets, not cycles.
//!
//! A [`run::Run`] is a payload with the times of its first and its last wavelet. It leaves a PE when an instruction sends as
//! many elements as there is room for on the way, goes from router to router as one event a hop (the first wavelet leaves
//! before the last one has arrived), and is consumed piece by piece by the instructions that receive.
//!
//! The numbers are those of the `wavelet` engine, because the order of the wavelets of a colour at a port is. The times are
//! approximate where things meet: colours that share a link or threads that share a datapath are slowed down from the moment
//! of their meeting on, and what has been announced by then is not taken back.
//!
//! - [`fabric`]: runs at the routers; how much room there is on a way
//! - [`pe`]: threads and tasks
//! - [`straight`]: steps of the main thread that nobody else notices
//! - [`chunk`]: some elements of a vector instruction at once
//! - [`values`]: their numbers
//! - [`turns`]: threads that share a datapath
//! - [`host`]: streams over the edge
//!
//! The state of PEs and routers, and the code's decoding, are shared with the `wavelet` engine; its queues are not used.

mod calendar;
mod chunk;
mod express;
mod fabric;
mod groups;
mod host;
mod nodes;
mod payload;
mod pe;
mod queues;
mod room;
mod rows;
mod run;
mod straight;
mod turns;
mod values;

use crate::machine::band::{Band, PlacedFault};
use crate::machine::collect::{Counted, collect};
use crate::machine::conflicts::Conflicts;
use crate::machine::pe::VectorWork;
use crate::machine::setup::{Fabric, LayOut, link_room};
use crate::machine::stall;
use crate::machine::steps::Shared;
use crate::twins::{self, Twins};
use crate::{Claims, Inputs, Method, Options, Progress, SimulateError};
use calendar::{Calendar, Event};
use express::Leg;
use fabric::Link;
use nodes::{Node, Nodes};
use payload::Payloads;
use queues::PeQueues;
use run::Queue;
use std::sync::atomic::Ordering;
use waferloom_fabric::Program;

/// Events between two looks at the progress bar and at the wish to stop.
const REPORT_EVERY: u64 = 4096;

/// The state of a simulation.
struct Stream<'a> {
    shared: Shared<'a>,
    /// PEs, routers and links to the host.
    band: Band<'a>,
    payloads: Payloads,
    conflicts: Conflicts,
    /// Instructions that have ended, with memory for others.
    #[expect(clippy::vec_box, reason = "they are moved in and out of PEs, and are large")]
    spare: Vec<Box<VectorWork>>,
    /// Colours at routers, and the runs that wait there.
    nodes: Nodes,
    /// Bit `lane * 5 + port` of a router: something waits there.
    occupied: Vec<u128>,
    /// By router and direction.
    links: Vec<[Link; 5]>,
    /// Wavelets that a link and the queue at its end hold.
    link_capacity: u64,
    /// The input queues of all PEs.
    inputs: Vec<Queue>,
    /// Where each PE's queues are.
    queues: PeQueues,
    /// Bits of the input queues in which a wavelet is news to a PE.
    listens: Vec<u32>,
    /// Whether some control wavelet starts a task: then all that comes is news.
    has_control_tasks: bool,
    /// Asynchronous instructions at work on each PE.
    threads_at_work: Vec<u8>,
    /// PEs of which a thread waits for room on its way.
    lacks_room: Vec<bool>,
    calendar: Calendar,
    /// The event of a PE, and of a router, that counts; others are stale.
    pe_wakes: Vec<u64>,
    router_wakes: Vec<u64>,
    source_wakes: Vec<u64>,
    now: u64,
    /// Marks PEs that a search for room has been at.
    seen: Vec<u64>,
    search: u64,
    /// The way that has been found last.
    legs: Vec<Leg>,
    /// The claims at work, when the code has steps of them.
    twins: Option<Twins<'a>>,
}

/// Runs a program.
pub(crate) fn run(program: &Program, inputs: &Inputs<'_>, options: &Options<'_>) -> Result<crate::Run, SimulateError> {
    let fabric = Fabric::new(program, inputs, options)?;
    if options.method != Method::Events
        && let Some(run) = groups::run(program, inputs, &fabric, options)?
    {
        return Ok(run);
    }
    let mut store = fabric.store(LayOut::AtOnce)?;
    let Some(mut band) = fabric.bands(&mut store, LayOut::AtOnce, 1)?.pop() else {
        return Err(SimulateError::Invalid { findings: "the program has no PEs".into() });
    };
    if fabric.without_numbers {
        fabric.mark_constants(&mut band);
    }
    let mut stream = Stream::new(fabric.shared(), band);
    if fabric.heeds_claims {
        stream.twins = Some(Twins::new(program, options.claims == Claims::Check, options.threads != 1, false));
    }
    let end = stream.events(options);
    let now = stream.now;
    stream.mirror();
    let bands = vec![stream.band];
    match end {
        Err(Stop::Fault(fault)) => return Err(stall::fault(&fabric, &bands, fault, now)),
        Err(Stop::Cancelled) => return Err(SimulateError::Cancelled { cycle: now }),
        Err(Stop::Limit) => return Err(SimulateError::CycleLimit { cycles: now }),
        Ok(()) => {}
    }
    if fabric.heeds_claims && bands[0].sinks.iter().any(|sink| sink.left_out) {
        let fault = twins::left_out("a number that the host received");
        return Err(stall::fault(&fabric, &bands, PlacedFault { pe: 0, fault }, now));
    }
    let complete = bands[0].sinks.iter().all(|s| s.data.len() >= s.expected);
    if !complete || stall::has_unfinished_work(&bands[0]) {
        return Err(stall::deadlock(program, &fabric, &bands, now));
    }
    let last = bands[0].pes.iter().map(|pe| pe.last).chain(bands[0].sinks.iter().map(|s| s.last));
    let cycles = last.max().unwrap_or(0);
    let mut bands = bands;
    bands[0].finish(cycles);
    let waiting = |queues: &[Queue]| queues.iter().map(|q| q.wavelets).sum::<u64>();
    let routers: u64 =
        stream.nodes.list.iter().filter_map(|n| n.queues.as_ref()).map(|ports| waiting(&ports[..])).sum();
    let inputs = waiting(&stream.inputs);
    let host: u64 = bands[0].sources.iter().map(|s| (s.data.len() - s.next) as u64).sum();
    let counted = Counted::by(&bands);
    let mut run = collect(program, &fabric, bands, counted, cycles, routers + inputs + host);
    if let Some(twins) = stream.twins {
        run.claimed = twins.operators;
    }
    Ok(run)
}

/// Why the events end before there are no more.
enum Stop {
    Fault(PlacedFault),
    Cancelled,
    Limit,
}

impl<'a> Stream<'a> {
    fn new(shared: Shared<'a>, band: Band<'a>) -> Self {
        let pes = band.pes.len();
        let machine = shared.machine;
        let (mut queues, room) = PeQueues::new(&band);
        let nodes = Nodes::new(&shared, &band, &queues);
        queues.connect(machine, &band, &nodes);
        let mut stream = Self {
            payloads: Payloads::default(),
            conflicts: Conflicts::new(machine),
            spare: Vec::new(),
            nodes,
            occupied: vec![0; pes],
            links: vec![Default::default(); pes],
            link_capacity: link_room(machine).into(),
            inputs: room.into_iter().map(Queue::with_capacity).collect(),
            queues,
            listens: vec![u32::MAX; pes],
            has_control_tasks: shared.controls.iter().any(|control| control.task.is_some()),
            threads_at_work: vec![0; pes],
            lacks_room: vec![false; pes],
            calendar: Calendar::new(),
            pe_wakes: vec![u64::MAX; pes],
            router_wakes: vec![u64::MAX; pes],
            source_wakes: vec![u64::MAX; band.sources.len()],
            now: 0,
            seen: vec![0; pes],
            search: 0,
            legs: Vec::new(),
            twins: None,
            shared,
            band,
        };
        for pe in 0..pes {
            if stream.band.pes[pe].class.is_some() {
                stream.wake_pe(pe, 0);
            }
        }
        for source in 0..stream.band.sources.len() {
            stream.wake_source(source, 0);
        }
        stream
    }

    /// An input queue of a PE.
    fn input(&self, pe: usize, queue: u8) -> Option<&Queue> {
        self.queues.input(pe, queue).map(|index| &self.inputs[index])
    }

    /// Handles events until there are no more.
    fn events(&mut self, options: &Options<'_>) -> Result<(), Stop> {
        let mut handled = 0u64;
        while let Some((cycle, event)) = self.calendar.pop() {
            let wake = match event {
                Event::Pe(pe) => &mut self.pe_wakes[pe as usize],
                Event::Router(router) => &mut self.router_wakes[router as usize],
                Event::Source(source) => &mut self.source_wakes[source as usize],
            };
            if *wake != cycle {
                continue;
            }
            *wake = u64::MAX;
            self.now = cycle;
            if options.max_cycles.is_some_and(|limit| cycle > limit) {
                return Err(Stop::Limit);
            }
            match event {
                Event::Pe(pe) => {
                    let fault = self.run_pe(pe as usize, options.max_cycles.unwrap_or(u64::MAX));
                    fault.map_err(|fault| Stop::Fault(PlacedFault { pe: pe as usize, fault }))?;
                }
                Event::Router(router) => self.run_router(router as usize),
                Event::Source(source) => self.run_source(source as usize),
            }
            handled += 1;
            if handled.is_multiple_of(REPORT_EVERY) {
                if let Some(progress) = options.progress {
                    let received_wavelets = self.band.sinks.iter().map(|s| s.data.len() as u64).sum();
                    progress(Progress { cycle, received_wavelets });
                }
                if options.cancel.is_some_and(|c| c.load(Ordering::Relaxed)) {
                    return Err(Stop::Cancelled);
                }
            }
        }
        Ok(())
    }

    /// Shows in the state that both engines share what has been sent and what waits where, for the report and for the message
    /// about a deadlock.
    fn mirror(&mut self) {
        for (router, links) in self.band.routers.iter_mut().zip(&self.links) {
            router.sent = links.map(|link| link.sent);
        }
        for pe in 0..self.band.pes.len() {
            let queues = &self.inputs[self.queues.inputs(pe)];
            for (input, queue) in self.band.pes[pe].inputs.iter_mut().zip(queues) {
                if let (Some(input), Some(_)) = (input, queue.head()) {
                    input.held = 1;
                }
            }
        }
        for node in 0..self.nodes.list.len() {
            let Node { router, lane, .. } = self.nodes.list[node];
            for direction in &waferloom_fabric::Direction::ALL[..4] {
                let credits = self.band.routers[router as usize].lanes[lane as usize].credits[*direction as usize];
                if credits > 0 && !self.link_has_room(node, *direction) {
                    self.band.routers[router as usize].lanes[lane as usize].credits[*direction as usize] = 0;
                }
            }
        }
    }
}
