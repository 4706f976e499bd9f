//! A vector instruction in PEs side by side at once: the elements of all of them are computed with the host's vector
//! instructions, in blocks of some elements of all PEs of a bank. Their memories are planes ([`super::planes`]).
//!
//! The numbers are those of element by element: a block has more than one element only where none of them reads what an earlier one
//! writes.

#![allow(clippy::inline_always, reason = "what is not inlined is not compiled for the host's vector instructions")]

use super::abreast::{self, Abreast};
use super::bulk::{self, Place, cursor, place};
use super::compute::{self, HOST, Kernel, PIECE};
use super::floats;
use super::formats::Format;
use super::numerics::{self, Element};
use super::operand::{Cursor, Port};
use super::pe::VectorWork;
use super::planes::{Lanes, Planes, SIDE};
use waferloom_fabric::{Dtype, VectorOp};

/// Elements of a block.
const BLOCK: usize = 128;

type Block = [u32; BLOCK];

/// Where instructions are computed.
#[derive(Debug)]
pub(crate) struct Workbench {
    /// The blocks of sources and of results; what is in them means nothing from one instruction to the next.
    inputs: [Block; 3],
    results: Block,
    /// What PEs send: the first words of all PEs, then the second ones.
    pub(crate) sent: Vec<u32>,
}

impl Default for Workbench {
    fn default() -> Self {
        Self { inputs: [[0; BLOCK]; 3], results: [0; BLOCK], sent: Vec::new() }
    }
}

/// The words of wavelets that PEs side by side have received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received<'a> {
    pub(crate) words: &'a [u32],
    /// The first one of the first PE.
    pub(crate) start: usize,
    /// From a PE to the next one, and from a word to the next one.
    pub(crate) step: usize,
    pub(crate) pitch: usize,
}

/// Where an operand's elements are, in a segment in which all addresses are affine.
#[derive(Clone, Copy)]
enum Source<'a> {
    Number(Element),
    Memory(Place),
    Words(Received<'a>, Dtype),
}

/// Where the results go.
#[derive(Clone, Copy)]
enum Target {
    Memory(Place),
    /// Into wavelets of a type, from a place on the bench on.
    Sent(Dtype, usize),
}

/// What a block holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The bits of the operand's own type.
    Raw,
    Floats,
    Integers,
}

/// Whether all operands of an instruction that has just been prepared are what can be run here, and lie in `bytes` of memory.
pub(crate) fn can_run(work: &VectorWork, bytes: usize) -> bool {
    let inside = |port: &Port| match port {
        Port::Memory(cursor) => cursor.fits(bytes),
        _ => true,
    };
    let is_source = |port: &Port| matches!(port, Port::Memory(_) | Port::Scalar(_) | Port::FabIn { .. });
    let is_target = matches!(work.dst, Port::Memory(_) | Port::FabOut { .. } | Port::Null);
    let sources = &work.srcs[..work.arity];
    is_target && sources.iter().all(is_source) && sources.iter().chain([&work.dst]).all(inside)
}

/// Runs the next `count` elements of an instruction in PEs side by side. What they send is added to what is on the bench.
pub(crate) fn run(
    (planes, pe, n): (&mut Planes<'_>, u32, u32),
    work: &mut VectorWork,
    taken: &[Option<Received<'_>>; 3],
    count: u64,
    bench: &mut Workbench,
) {
    if taken.iter().all(Option::is_none)
        && let Some(abreast) = Abreast::new(work, count)
    {
        return abreast.run(planes, pe, n);
    }
    if let [Some(received), None, None] = *taken
        && abreast::put((&mut *planes, pe, n), work, received, count)
    {
        return;
    }
    let kernel = kernel(work);
    let sent_before = bench.sent.len();
    if matches!(work.dst, Port::FabOut { .. }) {
        bench.sent.resize(sent_before + count as usize * n as usize, 0);
    }
    let mut done = 0;
    while done < count {
        let cursors = work.srcs[..work.arity].iter().chain([&work.dst]).filter_map(cursor);
        let part = cursors.map(Cursor::row_rest).fold(count - done, u64::min);
        let mut sources = [Source::Number(Element::Int(0)); 3];
        for ((source, port), received) in sources.iter_mut().zip(&work.srcs[..work.arity]).zip(taken) {
            *source = match (port, received) {
                (Port::Memory(cursor), _) => Source::Memory(place(cursor)),
                (Port::Scalar(element), _) => Source::Number(*element),
                (Port::FabIn { dtype, .. }, Some(received)) => {
                    let start = received.start + received.pitch * done as usize;
                    Source::Words(Received { start, ..*received }, *dtype)
                }
                _ => Source::Number(Element::Int(0)),
            };
        }
        let target = match &work.dst {
            Port::Memory(cursor) => Some(Target::Memory(place(cursor))),
            Port::FabOut { dtype, .. } => Some(Target::Sent(*dtype, sent_before + done as usize * n as usize)),
            _ => None,
        };
        if let Some(target) = target {
            let (op, arity, count) = (work.op, work.arity, part as usize);
            let segment = Segment { op, kernel, sources, target, arity, count };
            HOST.dispatch(Computed { segment, planes: &mut *planes, pe, n, bench });
        }
        for port in work.srcs.iter_mut().chain([&mut work.dst]) {
            if let Port::Memory(cursor) = port {
                cursor.advance_in_row(part);
            }
        }
        done += part;
    }
    work.remaining -= count;
}

/// The loops for an instruction, if it has some of its own.
fn kernel(work: &VectorWork) -> Option<Kernel> {
    let mut types = [(Dtype::I32, false); 3];
    for (slot, port) in types.iter_mut().zip(&work.srcs) {
        *slot = match port {
            Port::Memory(cursor) => (cursor.dtype, true),
            Port::FabIn { dtype, .. } => (*dtype, true),
            Port::Scalar(Element::Float(_)) => (Dtype::F32, false),
            _ => (Dtype::I32, false),
        };
    }
    let target = match &work.dst {
        Port::Memory(cursor) => cursor.dtype,
        Port::FabOut { dtype, .. } => *dtype,
        _ => return None,
    };
    Kernel::of(work.op, target, &types[..work.arity])
}

/// Some elements of an instruction.
struct Segment<'a> {
    op: VectorOp,
    kernel: Option<Kernel>,
    sources: [Source<'a>; 3],
    target: Target,
    arity: usize,
    count: usize,
}

/// They are computed in PEs side by side: to be compiled for the host's instructions.
struct Computed<'a, 'p> {
    segment: Segment<'a>,
    planes: &'a mut Planes<'p>,
    pe: u32,
    n: u32,
    bench: &'a mut Workbench,
}

/// What is in a block: some elements in PEs of a bank.
struct Part<'a, 'm> {
    from: usize,
    elements: usize,
    lanes: &'a mut Lanes<'m>,
    /// The first of these PEs among all that do the same, and how many those are.
    lane: usize,
    all: usize,
}

impl pulp::NullaryFnOnce for Computed<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { segment, planes, pe, n, bench: Workbench { inputs, results, sent } } = self;
        let one_by_one = segment.reads_own_results();
        let (forms, form) = segment.forms();
        for (input, (source, form)) in inputs.iter_mut().zip(segment.sources.iter().zip(forms)) {
            if let Source::Number(element) = source {
                // Instructions without a kernel look at the number itself.
                let bits = if form == Form::Floats { element.float().to_bits() } else { element.to_bits(Dtype::I32) };
                let most = segment.count * (n as usize).min(SIDE);
                input[..most.next_multiple_of(PIECE).min(BLOCK)].fill(bits);
            }
        }
        let mut lane = 0;
        while lane < n {
            let mut lanes = planes.lanes(pe + lane, n - lane);
            let together = if one_by_one { 1 } else { BLOCK / lanes.count };
            for from in (0..segment.count).step_by(together) {
                let elements = together.min(segment.count - from);
                let part = &mut Part { from, elements, lanes: &mut lanes, lane: lane as usize, all: n as usize };
                for i in 0..segment.arity {
                    part.fill(&mut inputs[i], segment.sources[i], forms[i]);
                }
                let block = if segment.kernel == Some(Kernel::Copy) {
                    &inputs[0]
                } else {
                    segment.block(part.elements * part.lanes.count, inputs, results);
                    &*results
                };
                match segment.target {
                    Target::Memory(place) => part.put(block, place, form),
                    Target::Sent(dtype, first) => {
                        part.send(block, dtype, form, sent.get_mut(first..).unwrap_or_default());
                    }
                }
            }
            lane += lanes.count as u32;
        }
    }
}

impl Segment<'_> {
    /// Whether an element may read what an earlier one of the segment writes.
    fn reads_own_results(&self) -> bool {
        let Target::Memory(target) = self.target else { return false };
        self.sources[..self.arity].iter().any(|source| {
            let Source::Memory(place) = *source else { return false };
            let source = bulk::Source::Memory(place);
            !floats::is_apart(source, target, self.count as u64) && !floats::is_itself(source, target)
        })
    }

    /// What the blocks of the sources and of the results hold.
    #[inline(always)]
    fn forms(&self) -> ([Form; 3], Form) {
        use Form::{Floats, Integers, Raw};
        match self.kernel {
            None | Some(Kernel::Copy) => ([Raw; 3], Raw),
            Some(Kernel::Integers) => ([Integers; 3], Integers),
            Some(Kernel::Floats | Kernel::SelectFloats) => ([Floats; 3], Floats),
            Some(Kernel::FloatsToIntegers) => ([Floats; 3], Integers),
            // Of an integer the float is 0 exactly when it is.
            Some(Kernel::SelectIntegers) => ([Floats, Integers, Integers], Integers),
        }
    }

    /// Computes a block.
    #[inline(always)]
    fn block(&self, count: usize, inputs: &[Block; 3], results: &mut Block) {
        match self.kernel {
            Some(kernel) => compute::compute(kernel, self.op, inputs, results, count.div_ceil(PIECE)),
            None => self.one_by_one(inputs, &mut results[..count]),
        }
    }

    /// Any operation on any types.
    fn one_by_one(&self, inputs: &[Block; 3], results: &mut [u32]) {
        let dtype = match self.target {
            Target::Memory(place) => place.dtype,
            Target::Sent(dtype, _) => dtype,
        };
        for (i, result) in results.iter_mut().enumerate() {
            let mut operands = [Element::Int(0); 3];
            for ((operand, source), input) in operands.iter_mut().zip(&self.sources).zip(inputs) {
                *operand = match source {
                    Source::Number(element) => *element,
                    Source::Memory(Place { dtype, .. }) | Source::Words(_, dtype) => {
                        Element::from_bits(input[i], *dtype)
                    }
                };
            }
            *result = numerics::apply(self.op, operands).to_bits(dtype);
        }
    }
}

impl Part<'_, '_> {
    /// Reads a part of a source; a number stands in the block already.
    #[inline(always)]
    fn fill(&self, block: &mut Block, source: Source<'_>, form: Form) {
        let lanes = self.lanes.count;
        match source {
            Source::Number(_) => {}
            Source::Memory(place) => {
                let (run, apart) = self.runs(place);
                let count = self.elements * lanes;
                for (first, row) in self.firsts(place).step_by(run).zip(block[..count].chunks_mut(run * lanes)) {
                    let words = self.lanes.words.get(first.0..).unwrap_or_default();
                    if apart == 1 {
                        read(row, words.iter(), first.1, place.dtype, form);
                    } else {
                        read(row, words.iter().step_by(apart), first.1, place.dtype, form);
                    }
                }
            }
            Source::Words(Received { words, start, step, pitch }, dtype) => {
                let first = start + self.lane * step;
                if lanes == 1 || (step == 1 && pitch == lanes) {
                    let words = words.get(first + self.from * pitch..).unwrap_or_default();
                    let row = &mut block[..self.elements * lanes];
                    return if pitch == lanes {
                        read(row, words.iter(), 0, dtype, form);
                    } else {
                        read(row, words.iter().step_by(pitch.max(1)), 0, dtype, form);
                    };
                }
                for (element, row) in (self.from..).zip(block.chunks_mut(lanes).take(self.elements)) {
                    let words = words.get(first + element * pitch..).unwrap_or_default();
                    match step {
                        0 => row.fill(from_bits(words.first().copied().unwrap_or(0), dtype, form)),
                        1 => read(row, words.iter(), 0, dtype, form),
                        _ => read(row, words.iter().step_by(step), 0, dtype, form),
                    }
                }
            }
        }
    }

    /// Of the elements of a part, how many are read or written at once, and how many words apart they are: all those of a single PE, or of
    /// all PEs of a bank whose words follow each other; else those of the PEs at one address.
    #[inline(always)]
    fn runs(&self, place: Place) -> (usize, usize) {
        let is_whole = self.lanes.count == SIDE && place.step == 4 && place.dtype.bytes() == 4;
        if is_whole {
            (self.elements, 1)
        } else if self.lanes.count == 1 && place.step > 0 && place.step % 4 == 0 {
            (self.elements, (place.step / 4) as usize * SIDE)
        } else {
            (1, 1)
        }
    }

    /// Of each element of a part: its word in the first PE, and by how many bits it is shifted there.
    #[inline(always)]
    fn firsts(&self, place: Place) -> impl Iterator<Item = (usize, u32)> + use<> {
        let first = self.lanes.first;
        (self.from..self.from + self.elements).map(move |element| {
            let at = place.nth(element as u64);
            (at / 4 * SIDE + first, (at % 4 * 8) as u32)
        })
    }

    /// Writes a part of the results.
    #[inline(always)]
    fn put(&mut self, block: &Block, place: Place, form: Form) {
        let (run, apart) = self.runs(place);
        let count = self.elements * self.lanes.count;
        for (first, row) in self.firsts(place).step_by(run).zip(block[..count].chunks(run * self.lanes.count)) {
            let words = self.lanes.words.get_mut(first.0..).unwrap_or_default();
            if apart == 1 {
                write(words.iter_mut(), row, first.1, place.dtype, form);
            } else {
                write(words.iter_mut().step_by(apart), row, first.1, place.dtype, form);
            }
        }
    }

    /// Puts a part of the results into wavelets: those of all PEs for an element, then for the next one.
    #[inline(always)]
    fn send(&self, block: &Block, dtype: Dtype, form: Form, sent: &mut [u32]) {
        let is_raw = form == Form::Raw || own_form(dtype) == Some(form);
        let lanes = self.lanes.count;
        // Words of all PEs for all elements follow each other when these are all that send.
        let together = if self.all == lanes { self.elements.max(1) } else { 1 };
        let rows = block[..self.elements * lanes].chunks(lanes * together);
        for (element, row) in (self.from..).zip(rows) {
            let words = sent.get_mut(element * self.all + self.lane..).unwrap_or_default();
            let pairs = words.iter_mut().zip(row);
            if is_raw {
                pairs.for_each(|(word, &bits)| *word = bits);
            } else {
                pairs.for_each(|(word, &bits)| *word = to_bits(bits, form, dtype));
            }
        }
    }
}

/// The form of a type's own bits.
#[inline(always)]
fn own_form(dtype: Dtype) -> Option<Form> {
    match dtype {
        Dtype::F32 => Some(Form::Floats),
        Dtype::I32 => Some(Form::Integers),
        _ => None,
    }
}

/// Bits of a type in a form.
#[inline(always)]
fn from_bits(bits: u32, dtype: Dtype, form: Form) -> u32 {
    match form {
        Form::Raw => bits & mask(dtype),
        Form::Floats => Element::from_bits(bits, dtype).float().to_bits(),
        Form::Integers => Element::from_bits(bits, dtype).to_bits(Dtype::I32),
    }
}

/// The other way.
#[inline(always)]
fn to_bits(bits: u32, form: Form, dtype: Dtype) -> u32 {
    match form {
        Form::Raw => bits,
        Form::Floats => Element::Float(f32::from_bits(bits)).to_bits(dtype),
        Form::Integers => Element::Int(bits as i32).to_bits(dtype),
    }
}

#[inline(always)]
fn mask(dtype: Dtype) -> u32 {
    if dtype.bytes() == 4 { u32::MAX } else { 0xFFFF }
}

/// Reads elements out of words, in which they lie `shift` bits up.
#[inline(always)]
fn read<'w>(row: &mut [u32], words: impl Iterator<Item = &'w u32>, shift: u32, dtype: Dtype, form: Form) {
    let pairs = row.iter_mut().zip(words);
    match Format::of(dtype) {
        _ if own_form(dtype) == Some(form) || (form == Form::Raw && dtype.bytes() == 4) => {
            pairs.for_each(|(slot, &word)| *slot = word);
        }
        Some(format) if form == Form::Floats => {
            pairs.for_each(|(slot, &word)| *slot = format.widen((word >> shift) as u16).to_bits());
        }
        _ if form == Form::Floats && dtype == Dtype::I32 => {
            pairs.for_each(|(slot, &word)| *slot = (word as i32 as f32).to_bits());
        }
        _ => pairs.for_each(|(slot, &word)| *slot = from_bits(word >> shift & mask(dtype), dtype, form)),
    }
}

/// Writes elements into words, `shift` bits up.
#[inline(always)]
fn write<'w>(words: impl Iterator<Item = &'w mut u32>, row: &[u32], shift: u32, dtype: Dtype, form: Form) {
    let pairs = words.zip(row);
    let mask = mask(dtype) << shift;
    match Format::of(dtype) {
        _ if own_form(dtype) == Some(form) || (form == Form::Raw && dtype.bytes() == 4) => {
            pairs.for_each(|(word, &bits)| *word = bits);
        }
        Some(format) if form == Form::Floats => pairs.for_each(|(word, &bits)| {
            *word = *word & !mask | u32::from(format.narrow(f32::from_bits(bits))) << shift;
        }),
        _ if form == Form::Integers && dtype == Dtype::F32 => {
            pairs.for_each(|(word, &bits)| *word = (bits as i32 as f32).to_bits());
        }
        _ => pairs.for_each(|(word, &bits)| *word = *word & !mask | (to_bits(bits, form, dtype) << shift & mask)),
    }
}

#[cfg(test)]
mod tests;
