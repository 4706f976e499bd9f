//! The state of a compute element: memory, registers, queues, tasks and threads.

use super::lent::Lent;
use super::operand::Port;
use super::planes::Memory;
use super::unknown::Unknown;
use std::collections::VecDeque;
use std::ops::Range;
use waferloom_fabric::{Completion, Coord, VectorOp};

/// A vector instruction at work.
#[derive(Clone, Debug)]
pub(crate) struct VectorWork {
    pub(crate) op: VectorOp,
    pub(crate) dst: Port,
    pub(crate) srcs: [Port; 3],
    pub(crate) arity: usize,
    pub(crate) remaining: u64,
    /// First cycle in which an element may run.
    pub(crate) ready: u64,
    pub(crate) then: Option<Completion>,
    /// Where it stands in the code, for error messages: task index and step.
    pub(crate) at: (u16, u32),
    /// Elements that may run in one cycle.
    pub(crate) lanes: u32,
    /// Nobody computes its results: in a run for the time alone, or in a claim.
    pub(crate) unknown: bool,
}

impl Default for VectorWork {
    /// No instruction.
    fn default() -> Self {
        Self {
            op: VectorOp::Mov,
            dst: Port::Null,
            srcs: [Port::Null, Port::Null, Port::Null],
            arity: 0,
            remaining: 0,
            ready: 0,
            then: None,
            at: (0, 0),
            lanes: 1,
            unknown: false,
        }
    }
}

/// An input queue of a PE.
#[derive(Clone, Debug, Default)]
pub(crate) struct InputQueue {
    pub(crate) color: u8,
    /// Wavelets that the router may put in: the queue's depth and the ramp's pipeline.
    pub(crate) capacity: u32,
    /// Wavelets in it when a run has ended, for messages.
    pub(crate) held: u32,
}

/// An output queue of a PE: its wavelets lie in the router's queue at the ramp.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OutputQueue {
    pub(crate) color: u8,
    /// Index of the colour's lane in the router; `None` when the colour has no route here.
    pub(crate) lane: Option<u8>,
    pub(crate) capacity: u32,
}

/// A circular buffer at work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FifoState {
    pub(crate) address: u32,
    pub(crate) words: u32,
    pub(crate) head: u32,
    pub(crate) filled: u32,
}

/// The running task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Running {
    /// Index into the class's tasks.
    pub(crate) task: u16,
    pub(crate) step: u32,
}

/// What a PE does in the cycles until it is looked at again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Activity {
    #[default]
    Idle,
    Busy,
    FabricIn,
    FabricOut,
}

/// Where a PE's cycles went. The five sum to the cycles of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeCounters {
    /// The datapath executed something: elements, scalars, start-up, task switches.
    pub busy: u64,
    /// Threads waited for wavelets.
    pub fabric_in: u64,
    /// Threads waited for room in a queue.
    pub fabric_out: u64,
    /// The datapath waited for memory (bank conflicts, too many operands).
    pub memory: u64,
    /// Nothing to do.
    pub idle: u64,
}

/// A compute element. What it has many of lies in [`super::store::Store`], side by side with that of others.
#[derive(Debug, Default)]
pub(crate) struct Pe<'s> {
    pub(crate) at: Place,
    /// Index of the class; `None` runs nothing.
    pub(crate) class: Option<u16>,
    /// Empty as long as it is [`Pe::lent`].
    pub(crate) memory: &'s mut [u8],
    /// Its memory, as long as nobody has asked for all of it.
    pub(crate) lent: Option<Lent<'s>>,
    /// What of it holds nothing, in a run for the time alone.
    pub(crate) unknown: Unknown,
    /// 0, the registers, then the parameters: see [`super::operand::Number`].
    pub(crate) slots: &'s mut [i32],
    pub(crate) inputs: &'s mut [Option<InputQueue>],
    pub(crate) outputs: &'s mut [Option<OutputQueue>],
    pub(crate) fifos: Vec<FifoState>,
    pub(crate) activated: u64,
    pub(crate) blocked: u64,
    /// Control tasks that wait: (task id, payload).
    pub(crate) controls: VecDeque<(u8, u32)>,
    /// Colours whose teardown task waits.
    pub(crate) teardowns: u64,
    pub(crate) running: Option<Running>,
    /// Turns left of the loops that have been entered: (turns done, turns).
    pub(crate) loops: Vec<(i32, i32)>,
    /// The main thread's vector instruction.
    pub(crate) main: Option<Box<VectorWork>>,
    /// The main thread's next vector instruction, when it waits for another one to let go of a queue or a microthread.
    pub(crate) pending: Option<Box<VectorWork>>,
    pub(crate) microthreads: &'s mut [Option<Box<VectorWork>>],
    /// First cycle in which the datapath is free.
    pub(crate) free: u64,
    /// Thread that is asked first in the next cycle: 0 the main thread, then microthreads.
    pub(crate) turn: usize,
    pub(crate) counters: PeCounters,
    /// Cycles before this are in the counters.
    pub(crate) accounted: u64,
    pub(crate) activity: Activity,
    /// End of the last cycle in which it did something.
    pub(crate) last: u64,
    /// Operator of the code at hand.
    pub(crate) operator: Option<InOperator>,
}

/// The operator that a PE is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InOperator {
    /// Index of the operator.
    pub(crate) operator: u32,
    /// Cycle in which it was entered.
    pub(crate) since: u64,
    /// The PE's busy cycles then.
    pub(crate) busy: u64,
}

/// A PE's place, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(pub(crate) Coord);

impl Default for Place {
    fn default() -> Self {
        Self(Coord { x: 0, y: 0 })
    }
}

impl<'s> Pe<'s> {
    /// Bytes of its memory.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.lent.as_ref().map_or(self.memory.len(), Lent::len)
    }

    /// Sees to it that its memory is there.
    #[inline]
    pub(crate) fn lay_out(&mut self) {
        if let Some(lent) = self.lent.take() {
            self.memory = lent.lay_out(self.at.0);
        }
    }

    /// A range of its memory; `None` outside of it, and where it has to be laid out first.
    #[inline]
    pub(crate) fn row(&self, range: Range<usize>) -> Option<&[u8]> {
        match &self.lent {
            None => self.memory.get(range),
            Some(lent) => lent.read(self.at.0, &range),
        }
    }

    /// A range of its memory as long as that is lent, if it can be read so.
    #[inline]
    pub(crate) fn lent_row(&self, range: &Range<usize>) -> Option<&'s [u8]> {
        self.lent.as_ref()?.read(self.at.0, range)
    }

    /// Books the cycles up to `now` on what the PE was doing.
    #[inline]
    pub(crate) fn account(&mut self, now: u64) {
        let cycles = now.saturating_sub(self.accounted);
        *match self.activity {
            Activity::Idle => &mut self.counters.idle,
            Activity::Busy => &mut self.counters.busy,
            Activity::FabricIn => &mut self.counters.fabric_in,
            Activity::FabricOut => &mut self.counters.fabric_out,
        } += cycles;
        self.accounted = self.accounted.max(now);
    }

    /// Books work of the datapath from `now` on: busy cycles and, after them, waits for memory.
    #[inline]
    pub(crate) fn work(&mut self, now: u64, busy: u64, memory: u64) {
        self.account(now);
        self.counters.busy += busy;
        self.counters.memory += memory;
        self.accounted = now + busy + memory;
        self.free = self.accounted;
        self.last = self.last.max(self.free);
    }

    /// Reads `bytes` (2 or 4) from memory; `None` outside of it or unaligned.
    #[inline]
    pub(crate) fn read(&self, address: i64, bytes: u32) -> Option<u32> {
        Memory::Pe(self.memory).read(address, bytes)
    }

    /// Writes the low `bytes` (2 or 4) of a word to memory; `None` outside of it or unaligned.
    #[inline]
    pub(crate) fn write(&mut self, address: i64, bytes: u32, bits: u32) -> Option<()> {
        let start = usize::try_from(address).ok()?;
        if !start.is_multiple_of(bytes as usize) {
            return None;
        }
        let slice = self.memory.get_mut(start..start.checked_add(bytes as usize)?)?;
        slice.copy_from_slice(&bits.to_le_bytes()[..bytes as usize]);
        Some(())
    }
}
