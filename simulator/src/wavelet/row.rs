//! A row of a vector instruction between the fabric and memory, in the few bytes that an element of it needs.
//!
//! Most elements that meet the fabric move a word or combine two floats, and the instruction is the only one at work on its PE.
//! Such a row is taken out of the instruction, runs an element a cycle, and is put back when it is done. What an element does,
//! waits for and costs is what [`super::element`] says for any.

use super::network::Network;
use super::queues::{NONE, Wavelet};
use crate::machine::bulk::{load, store};
use crate::machine::numerics;
use crate::machine::operand::{Cursor, Port};
use crate::machine::pe::{Activity, Pe, VectorWork};
use waferloom_fabric::{Dtype, VectorOp};

/// Fewer elements are not worth the trouble.
const FEWEST: u64 = 2;

/// Where an operand comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Source {
    #[default]
    Number,
    Input,
    Memory,
}

/// A vector in memory: where its next element lies, and how far it is to the one after that.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    at: u32,
    step: i32,
}

impl Place {
    /// The place of the next element; goes on to the one after it.
    fn next(&mut self) -> usize {
        let at = self.at;
        self.at = at.wrapping_add_signed(self.step);
        at as usize
    }
}

/// A row at work. A cache line.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Row {
    /// Elements to come; 0 when there is no row.
    pub(super) left: u32,
    done: u32,
    /// First cycle in which an element may run.
    ready: u64,
    /// The PE's input queue; `NONE` when there is none.
    pub(super) input: u32,
    /// The router's queue at the ramp, and what it may hold; `NONE` when there is none.
    pub(super) output: u32,
    capacity: u32,
    op: VectorOp,
    operands: [Source; 2],
    number: u32,
    source: Place,
    /// `None` when the results are not stored.
    target: Option<Place>,
}

const _: () = assert!(size_of::<Row>() == 64, "a cache line");

impl Default for Row {
    /// No row.
    fn default() -> Self {
        Self {
            left: 0,
            done: 0,
            ready: 0,
            input: NONE,
            output: NONE,
            capacity: 0,
            op: VectorOp::Mov,
            operands: [Source::Number; 2],
            number: 0,
            source: Place::default(),
            target: None,
        }
    }
}

impl Row {
    /// Whether there is one.
    #[inline]
    pub(super) fn is_at_work(&self) -> bool {
        self.left > 0
    }

    /// The next row of the PE's main instruction, if it is one of those that this is for. The PE has no other at work.
    pub(super) fn take(pe: &Pe, network: &Network, node: usize) -> Option<Self> {
        let work = pe.main.as_ref()?;
        if !is_simple(work.op) || !types_fit(work) {
            return None;
        }
        let cursors = || work.srcs[..work.arity].iter().chain([&work.dst]).filter_map(cursor);
        let left = cursors().map(Cursor::row_rest).fold(work.remaining, u64::min).min(u64::from(u32::MAX));
        if left < FEWEST || !cursors().all(|c| stays_inside(c, left, pe.memory.len())) {
            return None;
        }
        let mut row = Self { left: left as u32, ready: work.ready, op: work.op, ..Self::default() };
        for (i, port) in work.srcs[..work.arity].iter().enumerate() {
            row.operands[i] = match port {
                Port::FabIn { queue, .. } if row.input == NONE => {
                    row.input = network.input(node, *queue)?;
                    Source::Input
                }
                Port::Memory(cursor) if !row.operands[..i].contains(&Source::Memory) => {
                    row.source = place(cursor);
                    Source::Memory
                }
                Port::Scalar(element) if i == 0 || row.operands[0] != Source::Number => {
                    let dtype = if work.op == VectorOp::Mov { dtype(&work.dst)? } else { Dtype::F32 };
                    row.number = element.to_bits(dtype);
                    Source::Number
                }
                _ => return None,
            };
        }
        match &work.dst {
            Port::FabOut { queue, .. } => {
                let out = pe.outputs.get(*queue as usize)?.as_ref()?;
                row.output = network.ramp(node, out.lane?);
                row.capacity = out.capacity;
            }
            Port::Memory(cursor) => row.target = Some(place(cursor)),
            Port::Null => {}
            _ => return None,
        }
        (row.input != NONE || row.output != NONE).then_some(row)
    }

    /// Lets the PE use its datapath in cycle `now`; gives the cycle in which it is to be looked at again. What it sends can
    /// leave the router in cycle `departs`.
    #[inline]
    pub(super) fn cycle(&mut self, pe: &mut Pe, network: &mut Network, node: usize, now: u64, departs: u64) -> u64 {
        pe.account(now);
        if now < self.ready {
            pe.activity = Activity::Busy;
            return self.ready;
        }
        let mut word = 0;
        if self.input != NONE {
            match network.queues.front(self.input) {
                Some(head) if head.ready <= now => word = head.word(),
                head => {
                    pe.activity = Activity::FabricIn;
                    return head.map_or(u64::MAX, |head| head.ready);
                }
            }
        }
        if self.output != NONE && network.queues.len(self.output) >= self.capacity {
            pe.activity = Activity::FabricOut;
            return u64::MAX;
        }
        if self.input != NONE {
            network.queues.queues[self.input as usize].advance();
        }
        let result = self.element(pe.memory, word);
        if self.output != NONE {
            network.push(node, self.output, Wavelet::data(departs, result));
        }
        self.left -= 1;
        self.done += 1;
        pe.work(now, 1, 0);
        pe.activity = Activity::Idle;
        now + 1
    }

    /// Whether an element of it ran in cycle `now`.
    pub(super) fn ran(&self, pe: &Pe, now: u64) -> bool {
        self.is_at_work() && self.done > 0 && pe.free == now + 1
    }

    /// Books elements that ran in the last cycles, the last one in cycle `last`.
    pub(super) fn book(&mut self, pe: &mut Pe, elements: u64, last: u64) {
        self.left -= elements as u32;
        self.done += elements as u32;
        pe.counters.busy += elements;
        (pe.accounted, pe.free) = (last + 1, last + 1);
        pe.last = pe.last.max(last + 1);
    }

    /// A byte of the vector that is read, `elements` further on than the next element; 0 where there is none.
    pub(super) fn ahead(&self, memory: &[u8], elements: i32) -> u8 {
        let at = self.source.at.wrapping_add_signed(self.source.step.wrapping_mul(elements));
        memory.get(at as usize).copied().unwrap_or(0)
    }

    /// The result of the next element, whose wavelet holds `word`.
    #[inline]
    pub(super) fn element(&mut self, memory: &mut [u8], word: u32) -> u32 {
        let stored =
            if self.operands.contains(&Source::Memory) { load(memory, self.source.next(), Dtype::F32) } else { 0 };
        let [a, b] = self.operands.map(|source| match source {
            Source::Number => self.number,
            Source::Input => word,
            Source::Memory => stored,
        });
        let result = result(self.op, [a, b]);
        if let Some(target) = &mut self.target {
            store(memory, target.next(), Dtype::F32, result);
        }
        result
    }

    /// Puts the row back into the PE's instruction, which ends with its last element.
    pub(super) fn put_back(&mut self, pe: &mut Pe) {
        let done = u64::from(std::mem::take(self).done);
        let Some(work) = &mut pe.main else { return };
        if done == 0 {
            return;
        }
        for port in work.srcs.iter_mut().chain([&mut work.dst]) {
            if let Port::Memory(cursor) = port {
                cursor.advance_in_row(done);
            }
        }
        work.remaining -= done;
        if work.remaining == 0 {
            pe.main = None;
        }
        // The next cycle's first thread, as after any element of the main thread.
        pe.turn = 1 % (1 + pe.microthreads.len());
    }
}

fn cursor(port: &Port) -> Option<&Cursor> {
    match port {
        Port::Memory(cursor) => Some(cursor),
        _ => None,
    }
}

fn place(cursor: &Cursor) -> Place {
    Place { at: cursor.address() as u32, step: cursor.row_step() as i32 }
}

/// Whether the next elements of a vector lie inside of memory, and where words may lie.
fn stays_inside(cursor: &Cursor, count: u64, bytes: usize) -> bool {
    let (first, step) = (i128::from(cursor.address()), i128::from(cursor.row_step()));
    let last = first + step * (i128::from(count) - 1);
    first % 4 == 0 && step % 4 == 0 && first.min(last) >= 0 && first.max(last) + 4 <= bytes.min(1 << 31) as i128
}

/// The result of an operation; those that are not for rows move the first operand.
#[inline]
fn result(op: VectorOp, [a, b]: [u32; 2]) -> u32 {
    let (x, y) = (f32::from_bits(a), f32::from_bits(b));
    match op {
        VectorOp::Add => numerics::sum(x, y).to_bits(),
        VectorOp::Sub => numerics::difference(x, y).to_bits(),
        VectorOp::Mul => numerics::product(x, y).to_bits(),
        VectorOp::Max => numerics::largest(x, y).to_bits(),
        VectorOp::Min => numerics::smallest(x, y).to_bits(),
        _ => a,
    }
}

/// Whether an operation is for rows.
fn is_simple(op: VectorOp) -> bool {
    use VectorOp::{Add, Max, Min, Mov, Mul, Sub};
    matches!(op, Mov | Add | Sub | Mul | Max | Min)
}

/// Whether the types are such that words need no conversion: a move from a type to itself, or floats of 32 bits throughout.
fn types_fit(work: &VectorWork) -> bool {
    let mut types = work.srcs[..work.arity].iter().chain([&work.dst]).filter_map(dtype);
    let Some(first) = types.next() else { return false };
    let known = if work.op == VectorOp::Mov { first.bytes() == 4 } else { first == Dtype::F32 };
    known && types.all(|other| other == first)
}

fn dtype(port: &Port) -> Option<Dtype> {
    match port {
        Port::Memory(cursor) => Some(cursor.dtype),
        Port::FabIn { dtype, .. } | Port::FabOut { dtype, .. } | Port::Fifo { dtype, .. } => Some(*dtype),
        Port::Scalar(_) | Port::Null => None,
    }
}
