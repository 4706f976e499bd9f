//! What PEs and routers have many of: one list a kind for all of them, of which each borrows its part. So a fabric takes few
//! allocations, whatever its size, and what a PE has lies in the order of the PEs.

use super::decode::{ClassCode, Step};
use super::operand::Slots;
use super::pe::{InputQueue, OutputQueue, VectorWork};
use super::router::Lane;
use crate::SimulateError;
use memmap2::MmapMut;
use std::sync::Mutex;
use waferloom_fabric::{Class, Program};

/// Lanes whose queues, one per port, fit a bit mask.
const MOST_LANES: u8 = 128 / 5;

/// Bytes at whose multiples the memory of a PE begins: a cache line.
const LINE: usize = 64;

/// No class.
const NONE: u32 = u32::MAX;

/// The lists.
#[derive(Debug)]
pub(crate) struct Store {
    /// By PE: its class.
    classes: Vec<u32>,
    /// By router: how many lanes it has, and the colours of these, a bit each.
    lane_counts: Vec<u8>,
    pub(super) colors: Vec<u64>,
    sizes: Sizes,
    /// Bytes of a PE's memory, by class.
    bytes: Vec<usize>,
    memory: Memory,
    slots: Vec<i32>,
    inputs: Vec<Option<InputQueue>>,
    outputs: Vec<Option<OutputQueue>>,
    microthreads: Vec<Option<Box<VectorWork>>>,
    lanes: Vec<Lane>,
}

/// What the memories of a fabric hold at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Zeros,
    /// Zeros, most of which will not be touched.
    Sparse,
    /// Anything: each is laid out when it is needed.
    Anything,
}

/// The memories of all PEs.
#[derive(Debug)]
struct Memory {
    host: Host,
    bytes: usize,
    /// Whether the next fabric may take it over.
    is_spared: bool,
}

/// Where memories lie on the host.
#[derive(Debug)]
enum Host {
    List(Vec<u8>),
    /// Pages that the system gives when they are touched.
    Pages(MmapMut),
}

/// The memories of a fabric that is no more, for the next one: to clear them takes a fraction of what the system takes to give pages
/// for the first time, and small fabrics are simulated again and again, by sweeps and tuners.
static SPARE: Mutex<Option<Host>> = Mutex::new(None);

/// Bytes that are kept at most.
const MOST_SPARE: usize = 1 << 26;

/// Bytes from which on the system is asked for large pages: where memory has been given back a moment ago, as from run to run of a sweep, one of
/// 2 MiB takes it far less than 512 small ones (docs/performance-log.md).
const WORTH_LARGE_PAGES: usize = 1 << 22;

impl Host {
    /// Zeros, all of which will be touched.
    fn dense(bytes: usize) -> Self {
        if bytes < WORTH_LARGE_PAGES {
            return Self::List(vec![0; bytes]);
        }
        let Ok(pages) = MmapMut::map_anon(bytes) else { return Self::List(vec![0; bytes]) };
        #[cfg(target_os = "linux")]
        if let Err(reason) = pages.advise(memmap2::Advice::HugePage) {
            tracing::debug!("memories lie in small pages: {reason}");
        }
        Self::Pages(pages)
    }

    fn bytes(&mut self) -> &mut [u8] {
        match self {
            Self::List(bytes) => bytes,
            Self::Pages(bytes) => bytes,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::List(bytes) => bytes.len(),
            Self::Pages(bytes) => bytes.len(),
        }
    }
}

impl Memory {
    fn new(bytes: usize, start: Start) -> Self {
        if start == Start::Sparse
            && let Ok(pages) = MmapMut::map_anon(bytes)
        {
            return Self { host: Host::Pages(pages), bytes, is_spared: false };
        }
        let spare = SPARE.lock().ok().and_then(|mut spare| spare.take());
        let Some(host) = spare.filter(|spare| spare.len() >= bytes) else {
            return Self { host: Host::dense(bytes), bytes, is_spared: bytes <= MOST_SPARE };
        };
        let mut memory = Self { host, bytes, is_spared: true };
        if start != Start::Anything {
            memory.bytes().fill(0);
        }
        memory
    }

    fn bytes(&mut self) -> &mut [u8] {
        self.host.bytes().get_mut(..self.bytes).unwrap_or_default()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.is_spared
            && let Ok(mut spare) = SPARE.lock()
            && spare.as_ref().is_none_or(|spare| spare.len() < self.host.len())
        {
            *spare = Some(std::mem::replace(&mut self.host, Host::List(Vec::new())));
        }
    }
}

/// How many of a kind a PE with a class has.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    slots: usize,
    inputs: usize,
    outputs: usize,
    microthreads: usize,
}

impl Sizes {
    /// As many as some code of the program needs.
    fn of(program: &Program, code: &[ClassCode]) -> Self {
        let classes = || program.classes.iter();
        let most = |numbers: &mut dyn Iterator<Item = u8>| numbers.max().map_or(0, |last| usize::from(last) + 1);
        let steps = code.iter().flat_map(|class| &class.tasks).flat_map(|task| &task.steps);
        let mut microthreads = steps.filter_map(|step| match step {
            Step::Vector(vector) => vector.run_async.map(|run_async| run_async.microthread),
            _ => None,
        });
        Self {
            slots: Slots::of(program).count(),
            inputs: most(&mut classes().flat_map(|c| &c.input_queues).map(|binding| binding.queue)),
            outputs: most(&mut classes().flat_map(|c| &c.output_queues).map(|binding| binding.queue)),
            microthreads: most(&mut microthreads),
        }
    }
}

/// What one PE and its router have.
pub(super) struct Parts<'s> {
    pub(super) class: Option<u16>,
    pub(super) memory: &'s mut [u8],
    pub(super) slots: &'s mut [i32],
    pub(super) inputs: &'s mut [Option<InputQueue>],
    pub(super) outputs: &'s mut [Option<OutputQueue>],
    pub(super) microthreads: &'s mut [Option<Box<VectorWork>>],
    pub(super) lanes: &'s mut [Lane],
}

impl Store {
    /// Memories, and lanes as they stand in the first cycle but for their surroundings. `start` says what memories hold.
    pub(super) fn new(program: &Program, code: &[ClassCode], start: Start) -> Result<Self, SimulateError> {
        let mut classes = vec![NONE; program.grid.pes()];
        for placement in &program.placements {
            placement.region.coords().for_each(|at| classes[program.grid.index(at)] = placement.class);
        }
        let bytes: Vec<usize> = program.classes.iter().map(bytes).collect();
        let placed = || classes.iter().filter(|&&class| class != NONE);
        let all_bytes: usize = placed().map(|&class| bytes[class as usize].next_multiple_of(LINE)).sum();
        let (pes, sizes) = (placed().count(), Sizes::of(program, code));
        let (lane_counts, colors) = count_lanes(program)?;
        Ok(Self {
            lanes: lanes(program, &lane_counts),
            lane_counts,
            colors,
            memory: Memory::new(all_bytes + LINE, start),
            slots: vec![0; pes * sizes.slots],
            inputs: vec![None; pes * sizes.inputs],
            outputs: vec![None; pes * sizes.outputs],
            microthreads: vec![None; pes * sizes.microthreads],
            classes,
            sizes,
            bytes,
        })
    }

    /// Deals the lists out to the PEs, in their order.
    pub(super) fn deal(&mut self) -> impl Iterator<Item = Parts<'_>> {
        let memory = self.memory.bytes();
        let begins = memory.as_ptr().align_offset(LINE).min(LINE);
        let mut memory = Rest(memory.get_mut(begins..).unwrap_or_default());
        let (mut slots, mut inputs) = (Rest(&mut self.slots), Rest(&mut self.inputs));
        let (mut outputs, mut microthreads) = (Rest(&mut self.outputs), Rest(&mut self.microthreads));
        let mut lanes = Rest(&mut self.lanes);
        let (sizes, bytes) = (self.sizes, &self.bytes);
        self.classes.iter().zip(&self.lane_counts).map(move |(&class, &lane_count)| {
            let there = usize::from(class != NONE);
            let bytes = bytes.get(class as usize).copied().unwrap_or(0);
            Parts {
                class: (class != NONE).then_some(class as u16),
                memory: memory.first(bytes.next_multiple_of(LINE)).get_mut(..bytes).unwrap_or_default(),
                slots: slots.first(there * sizes.slots),
                inputs: inputs.first(there * sizes.inputs),
                outputs: outputs.first(there * sizes.outputs),
                microthreads: microthreads.first(there * sizes.microthreads),
                lanes: lanes.first(lane_count.into()),
            }
        })
    }
}

/// What is left of a list.
struct Rest<'s, T>(&'s mut [T]);

impl<'s, T> Rest<'s, T> {
    /// Takes the first `count`, of which there are as many.
    fn first(&mut self, count: usize) -> &'s mut [T] {
        self.0.split_off_mut(..count).unwrap_or_default()
    }
}

/// Bytes that a class uses.
fn bytes(class: &Class) -> usize {
    let fifo_end = class.fifos.iter().map(|f| f.address.saturating_add(f.words.saturating_mul(4))).max();
    class.data_bytes().max(fifo_end.unwrap_or(0)) as usize
}

/// By router: how many lanes it has, and the colours of these, a bit each.
fn count_lanes(program: &Program) -> Result<(Vec<u8>, Vec<u64>), SimulateError> {
    let grid = program.grid;
    let (mut counts, mut colors) = (vec![0u8; grid.pes()], vec![0u64; grid.pes()]);
    for route in &program.routes {
        route.region.coords().for_each(|at| {
            let router = grid.index(at);
            counts[router] = counts[router].saturating_add(1);
            colors[router] |= 1 << (route.color.0 % 64);
        });
    }
    match counts.iter().position(|&count| count > MOST_LANES) {
        None => Ok((counts, colors)),
        Some(router) => {
            let at = grid.coord(router);
            let findings = format!("PE ({}, {}) has routes for more than {MOST_LANES} colours; use fewer", at.x, at.y);
            Err(SimulateError::Invalid { findings })
        }
    }
}

/// The lanes of all routers, those of a router in the order of the routes.
fn lanes(program: &Program, counts: &[u8]) -> Vec<Lane> {
    if program.routes.is_empty() {
        return Vec::new();
    }
    let mut next = Vec::with_capacity(counts.len());
    let total = counts.iter().fold(0u32, |before, &count| {
        next.push(before);
        before + u32::from(count)
    });
    let mut lanes = vec![Lane::new(0, &program.routes); total as usize];
    for (index, route) in program.routes.iter().enumerate() {
        let lane = Lane::new(index, &program.routes);
        route.region.coords().for_each(|at| {
            let place = &mut next[program.grid.index(at)];
            lanes[*place as usize] = lane.clone();
            *place += 1;
        });
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_are_zeros_whoever_had_them_before() {
        use Start::{Anything, Sparse, Zeros};
        let starts = [(300, Zeros), (200, Zeros), (300, Anything), (300, Zeros), (300, Sparse)];
        for (bytes, start) in starts.into_iter().chain([(MOST_SPARE + 1, Zeros), (0, Zeros)]) {
            let mut memory = Memory::new(bytes, start);
            assert_eq!(memory.bytes().len(), bytes);
            if start == Anything {
                continue;
            }
            assert_eq!((memory.bytes().len(), memory.bytes().iter().all(|&byte| byte == 0)), (bytes, true));
            memory.bytes().fill(7);
        }
        assert!(SPARE.lock().is_ok_and(|spare| spare.as_ref().is_none_or(|spare| spare.len() <= MOST_SPARE)));
    }

    #[test]
    fn each_pe_gets_what_its_class_needs() {
        // Of three PEs the first two have classes, with 20 and 8 bytes, and the last two routers have two lanes and one.
        let text = "program p machine bench16 grid 3x1
route c1 at 1,0 size 2x1 { pos RAMP -> EAST } route c0 at 1,0 { pos WEST -> RAMP }
class a { buffer all at 0 bytes 20 scratch in q1 = c0 task 8 main local activated { } }
class b { buffer all at 0 bytes 8 scratch task 8 main local activated { } }
place a at 0,0 place b at 1,0";
        let program = waferloom_fabric::text::parse(text).expect("valid");
        let code = Vec::new();
        let mut store = Store::new(&program, &code, Start::Zeros).expect("few lanes");
        assert_eq!(store.colors, [0, 0b11, 0b10]);
        let parts: Vec<Parts<'_>> = store.deal().collect();
        assert_eq!(parts.iter().map(|part| part.class).collect::<Vec<_>>(), [Some(0), Some(1), None]);
        assert_eq!(parts.iter().map(|part| part.memory.len()).collect::<Vec<_>>(), [20, 8, 0]);
        // Some class has a queue 1, none has one that sends, and no code has threads.
        let queues = parts.iter().map(|part| (part.inputs.len(), part.outputs.len(), part.microthreads.len()));
        assert_eq!(queues.collect::<Vec<_>>(), [(2, 0, 0), (2, 0, 0), (0, 0, 0)]);
        let colors = parts.iter().map(|part| part.lanes.iter().map(|lane| lane.color).collect::<Vec<_>>());
        assert_eq!(colors.collect::<Vec<_>>(), [vec![], vec![1, 0], vec![1]]);
        // Memories begin where lines do.
        assert!(parts[..2].iter().all(|part| part.memory.as_ptr().align_offset(LINE) == 0));
    }
}
