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
//! - [`chunk`]: some elements of a vector instruction at once
//! - [`values`]: their numbers
//! - [`turns`]: threads that share a datapath
//! - [`host`]: streams over the edge
//!
//! The state of PEs and routers, and the code's decoding, are shared with the `wavelet` engine; its queues are not used.

mod chunk;
mod fabric;
mod host;
mod pe;
mod run;
mod turns;
mod values;

use crate::machine::band::{Band, PlacedFault};
use crate::machine::collect::collect;
use crate::machine::setup::Fabric;
use crate::machine::stall;
use crate::machine::steps::Shared;
use crate::{Options, Progress, SimulateError};
use run::Queue;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::atomic::Ordering;
use waferloom_fabric::{HostTensor, Program};

/// Events between two looks at the progress bar and at the wish to stop.
const REPORT_EVERY: u64 = 4096;

/// What is looked at; within a cycle in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Pe(u32),
    Router(u32),
    Source(u32),
}

/// The state of a simulation.
struct Stream<'a> {
    shared: Shared<'a>,
    /// PEs, routers and links to the host.
    band: Band,
    /// Runs at the routers: by router, lane and port.
    queues: Vec<Vec<[Queue; 5]>>,
    /// Bit `lane * 5 + port` of a router: that queue is not empty.
    occupied: Vec<u128>,
    /// By router and direction: first cycle in which everything that the link has been given will have crossed.
    links: Vec<[u64; 5]>,
    /// Runs at the PEs: by PE and input queue.
    inputs: Vec<Vec<Queue>>,
    /// PEs of which a thread waits for room on its way.
    lacks_room: Vec<bool>,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    /// The event of a router that counts; others are stale.
    router_wakes: Vec<u64>,
    source_wakes: Vec<u64>,
    now: u64,
    /// Marks PEs that a search for room has been at.
    seen: Vec<u64>,
    search: u64,
    /// Room that a search looks for; it ends when it has found as much.
    need: i64,
}

/// Runs a program.
pub(crate) fn run(
    program: &Program,
    inputs: &BTreeMap<String, HostTensor>,
    options: &Options<'_>,
) -> Result<crate::Run, SimulateError> {
    let fabric = Fabric::new(program, inputs, options)?;
    let Some(band) = fabric.bands(1)?.pop() else {
        return Err(SimulateError::Invalid { findings: "the program has no PEs".into() });
    };
    let mut stream = Stream::new(fabric.shared(), band);
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
    let complete = bands[0].sinks.iter().all(|s| s.data.len() >= s.expected);
    if !complete || stall::has_unfinished_work(&bands[0]) {
        return Err(stall::deadlock(program, &fabric, &bands, now));
    }
    let last = bands[0].pes.iter().map(|pe| pe.last).chain(bands[0].sinks.iter().map(|s| s.last));
    let cycles = last.max().unwrap_or(0);
    let mut bands = bands;
    bands[0].finish(cycles);
    let waiting = |queues: &[Queue]| queues.iter().map(|q| q.wavelets).sum::<u64>();
    let routers: u64 = stream.queues.iter().flatten().map(|ports| waiting(ports)).sum();
    let inputs: u64 = stream.inputs.iter().map(|queues| waiting(queues)).sum();
    let host: u64 = bands[0].sources.iter().map(|s| (s.data.len() - s.next) as u64).sum();
    Ok(collect(program, &fabric, bands, cycles, routers + inputs + host))
}

/// Why the events end before there are no more.
enum Stop {
    Fault(PlacedFault),
    Cancelled,
    Limit,
}

impl<'a> Stream<'a> {
    fn new(shared: Shared<'a>, band: Band) -> Self {
        let pes = band.pes.len();
        let mut stream = Self {
            queues: band.routers.iter().map(|r| vec![Default::default(); r.lanes.len()]).collect(),
            occupied: vec![0; pes],
            links: vec![[0; 5]; pes],
            inputs: band.pes.iter().map(|pe| vec![Queue::default(); pe.inputs.len()]).collect(),
            lacks_room: vec![false; pes],
            events: BinaryHeap::new(),
            router_wakes: vec![u64::MAX; pes],
            source_wakes: vec![u64::MAX; band.sources.len()],
            now: 0,
            seen: vec![0; pes],
            search: 0,
            need: 0,
            shared,
            band,
        };
        for pe in 0..pes {
            stream.band.pes[pe].wake = u64::MAX;
            if stream.band.pes[pe].class.is_some() {
                stream.wake_pe(pe, 0);
            }
        }
        for source in 0..stream.band.sources.len() {
            stream.wake_source(source, 0);
        }
        stream
    }

    fn wake_pe(&mut self, pe: usize, cycle: u64) {
        if cycle < self.band.pes[pe].wake {
            self.band.pes[pe].wake = cycle;
            self.events.push(Reverse((cycle, Event::Pe(pe as u32))));
        }
    }

    fn wake_router(&mut self, router: usize, cycle: u64) {
        if cycle < self.router_wakes[router] {
            self.router_wakes[router] = cycle;
            self.events.push(Reverse((cycle, Event::Router(router as u32))));
        }
    }

    fn wake_source(&mut self, source: usize, cycle: u64) {
        if cycle < self.source_wakes[source] {
            self.source_wakes[source] = cycle;
            self.events.push(Reverse((cycle, Event::Source(source as u32))));
        }
    }

    /// Handles events until there are no more.
    fn events(&mut self, options: &Options<'_>) -> Result<(), Stop> {
        let mut handled = 0u64;
        while let Some(Reverse((cycle, event))) = self.events.pop() {
            let wake = match event {
                Event::Pe(pe) => &mut self.band.pes[pe as usize].wake,
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

    /// Shows in the queues of the `wavelet` engine what waits where, for the message about a deadlock.
    fn mirror(&mut self) {
        for (pe, queues) in self.inputs.iter().enumerate() {
            for (input, queue) in self.band.pes[pe].inputs.iter_mut().zip(queues) {
                if let (Some(input), Some(head)) = (input, queue.head()) {
                    input.wavelets.push_back((head.first, 0, head.control));
                }
            }
        }
        for router in 0..self.queues.len() {
            for lane in 0..self.queues[router].len() {
                for direction in &waferloom_fabric::Direction::ALL[..4] {
                    if self.band.routers[router].lanes[lane].credits[*direction as usize] > 0
                        && !self.link_has_room(router, lane, *direction)
                    {
                        self.band.routers[router].lanes[lane].credits[*direction as usize] = 0;
                    }
                }
            }
        }
    }
}
