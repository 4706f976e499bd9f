//! The bands in step: one host thread a band, one meeting a cycle.

use super::part::{Message, Part};
use crate::machine::band::{Band, PlacedFault};
use crate::machine::setup::{Fabric, LayOut};
use crate::machine::stall;
use crate::machine::steps::Shared;
use crate::machine::store::Store;
use crate::{Options, Progress, SimulateError};
use crossbeam::utils::{Backoff, CachePadded};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Cycles between two looks at the progress bar and at the wish to stop.
const REPORT_EVERY: u64 = 4096;

/// Runs until nothing can happen any more; gives the bands, how many wavelets nobody has taken, and the cycle in which
/// it stopped.
pub(super) fn run<'s>(
    fabric: &Fabric<'_>,
    store: &'s mut Store,
    options: &Options<'_>,
) -> Result<(Vec<Band<'s>>, u64, u64), SimulateError> {
    let rows = usize::from(fabric.program.grid.height).max(1);
    let threads = match options.threads {
        // One thread: a meeting a cycle costs more than a second thread gains on grids that this engine is for.
        0 => 1,
        n => n.min(rows),
    };
    let shared = fabric.shared();
    let mut parts: Vec<Part<'s>> =
        fabric.bands(store, LayOut::AtOnce, threads)?.into_iter().map(|band| Part::new(band, &shared)).collect();
    let meeting = Meeting::new(threads, options);
    if threads == 1 {
        part_loop(&shared, &meeting, &mut parts[0], 0);
    } else {
        std::thread::scope(|scope| {
            for (index, part) in parts.iter_mut().enumerate() {
                let (meeting, shared) = (&meeting, &shared);
                scope.spawn(move || part_loop(shared, meeting, part, index));
            }
        });
    }
    let end = meeting.end.load(Ordering::Acquire);
    let faults = meeting.faults.into_inner().unwrap_or_default();
    let (bands, waiting): (Vec<Band<'s>>, Vec<usize>) = parts.into_iter().map(Part::finish).unzip();
    // The first in the order of PEs, at every number of threads: all bands stop after the same cycle.
    if let Some(fault) = faults.into_iter().min_by_key(|f| f.pe) {
        return Err(stall::fault(fabric, &bands, fault, end));
    }
    match meeting.stop.load(Ordering::Acquire) {
        STOP_CANCELLED => Err(SimulateError::Cancelled { cycle: end }),
        STOP_LIMIT => Err(SimulateError::CycleLimit { cycles: end }),
        _ => Ok((bands, waiting.into_iter().sum::<usize>() as u64, end)),
    }
}

const STOP_CANCELLED: usize = 1;
const STOP_LIMIT: usize = 2;

/// Where the bands meet: mail between them, and the next cycle.
struct Meeting<'a> {
    options: &'a Options<'a>,
    threads: usize,
    /// Two sets of letter boxes, used in turn, so that one meeting a cycle is enough.
    mail: [Vec<Mutex<Vec<Message>>>; 2],
    /// The next event of any band, for three meetings in turn: one in use, one being filled, one being cleared.
    next: [AtomicU64; 3],
    /// Each on a cache line of its own: all threads look at them in every cycle.
    arrived: CachePadded<AtomicUsize>,
    round: CachePadded<AtomicUsize>,
    faults: Mutex<Vec<PlacedFault>>,
    stop: AtomicUsize,
    end: AtomicU64,
    received: Vec<AtomicU64>,
}

impl<'a> Meeting<'a> {
    fn new(threads: usize, options: &'a Options<'a>) -> Self {
        let boxes = || (0..threads).map(|_| Mutex::new(Vec::new())).collect();
        Self {
            options,
            threads,
            mail: [boxes(), boxes()],
            next: std::array::from_fn(|_| AtomicU64::new(u64::MAX)),
            arrived: CachePadded::new(AtomicUsize::new(0)),
            round: CachePadded::new(AtomicUsize::new(0)),
            faults: Mutex::default(),
            stop: AtomicUsize::new(0),
            end: AtomicU64::new(0),
            received: (0..threads).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Waits until all bands are here; gives the first of their next events.
    fn meet(&self, turn: usize, next: u64) -> u64 {
        self.next[turn % 3].fetch_min(next, Ordering::AcqRel);
        self.wait_for_all();
        let next = self.next[turn % 3].load(Ordering::Acquire);
        // Everyone has read the slot of the turn before by now.
        self.next[(turn + 2) % 3].store(u64::MAX, Ordering::Release);
        next
    }

    fn wait_for_all(&self) {
        let round = self.round.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.threads {
            self.arrived.store(0, Ordering::Release);
            self.round.store(round.wrapping_add(1), Ordering::Release);
            return;
        }
        // Spins a little, then lets others run: with fewer cores than threads they need this one.
        let backoff = Backoff::new();
        while self.round.load(Ordering::Acquire) == round {
            backoff.snooze();
        }
    }

    fn post(&self, turn: usize, part: &mut Part, index: usize) {
        for message in part.messages.drain(..) {
            let neighbour = if message.to() < part.band.first { index - 1 } else { index + 1 };
            if let Ok(mut letters) = self.mail[turn % 2][neighbour].lock() {
                letters.push(message);
            }
        }
    }

    /// Now and then: tells of the progress, and looks whether to stop.
    fn housekeeping(&self, now: u64) {
        if let Some(progress) = self.options.progress {
            let received = self.received.iter().map(|r| r.load(Ordering::Relaxed)).sum();
            progress(Progress { cycle: now, received_wavelets: received });
        }
        if self.options.cancel.is_some_and(|c| c.load(Ordering::Relaxed)) {
            self.stop.store(STOP_CANCELLED, Ordering::Release);
        }
    }
}

fn part_loop(shared: &Shared<'_>, meeting: &Meeting<'_>, part: &mut Part, index: usize) {
    let (mut now, mut reported) = (0, 0);
    // The first cycle after the last one in which something happened.
    let mut idle_from = 0;
    for turn in 0.. {
        let mut next = match part.cycle(shared, now) {
            Ok(happened) => {
                idle_from = if happened { now + 1 } else { idle_from };
                part.next_event(now, happened)
            }
            Err(fault) => {
                if let Ok(mut faults) = meeting.faults.lock() {
                    faults.push(fault);
                }
                // The others stop in the same cycle: 0 is before every cycle to come.
                0
            }
        };
        meeting.post(turn, part, index);
        if now >= reported + REPORT_EVERY {
            reported = now;
            let received = part.band.sinks.iter().map(|s| s.data.len() as u64).sum();
            meeting.received[index].store(received, Ordering::Relaxed);
            if index == 0 {
                meeting.housekeeping(now);
                if meeting.stop.load(Ordering::Acquire) != 0 {
                    next = 0;
                }
            }
        }
        if index == 0 && meeting.options.max_cycles.is_some_and(|limit| now >= limit) {
            meeting.stop.store(STOP_LIMIT, Ordering::Release);
            next = 0;
        }
        if meeting.threads > 1 {
            next = meeting.meet(turn, next);
            let letters = meeting.mail[turn % 2][index].lock().map(|mut l| std::mem::take(&mut *l)).unwrap_or_default();
            part.receive(letters);
        }
        if next == 0 || next == u64::MAX {
            meeting.end.fetch_max(if next == 0 { now } else { idle_from }, Ordering::AcqRel);
            return;
        }
        now = next;
    }
}
