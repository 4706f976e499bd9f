//! A vector instruction in PEs side by side at once: the elements of all of them are computed with the host's vector
//! instructions, in blocks of some elements of all PEs, or of one element of some. Their memories are planes ([`super::planes`]).
//!
//! The numbers are those of element by element: a block has more than one element only where none of them reads what an earlier one
//! writes.

#![allow(clippy::inline_always, reason = "what is not inlined is not compiled for the host's vector instructions")]

use super::bulk::Place;
use super::compute::{self, HOST, Kernel, PIECE};
use super::formats::Format;
use super::numerics::{self, Element};
use super::operand::{Cursor, Port};
use super::pe::VectorWork;
use super::planes::Lanes;
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
    /// Into wavelets of a type.
    Sent(Dtype),
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

/// Runs the next `count` elements of an instruction. What PEs send is added to what is on the bench.
pub(crate) fn run(
    lanes: &mut Lanes<'_>,
    work: &mut VectorWork,
    taken: &[Option<Received<'_>>; 3],
    count: u64,
    bench: &mut Workbench,
) {
    let kernel = kernel(work);
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
            Port::FabOut { dtype, .. } => Some(Target::Sent(*dtype)),
            _ => None,
        };
        if let Some(target) = target {
            let count = part as usize;
            let segment = Segment { op: work.op, kernel, sources, target, arity: work.arity, count, lanes };
            HOST.dispatch(Computed { segment, bench });
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

fn cursor(port: &Port) -> Option<&Cursor> {
    if let Port::Memory(cursor) = port { Some(cursor) } else { None }
}

fn place(cursor: &Cursor) -> Place {
    Place { at: cursor.address(), step: cursor.row_step(), dtype: cursor.dtype }
}

/// Some elements of an instruction.
struct Segment<'a, 'm> {
    op: VectorOp,
    kernel: Option<Kernel>,
    sources: [Source<'a>; 3],
    target: Target,
    arity: usize,
    count: usize,
    lanes: &'a mut Lanes<'m>,
}

/// They are computed: to be compiled for the host's instructions.
struct Computed<'a, 'm> {
    segment: Segment<'a, 'm>,
    bench: &'a mut Workbench,
}

/// The part of a segment that is in a block: elements and PEs.
#[derive(Clone, Copy)]
struct Part {
    from: usize,
    elements: usize,
    lane: usize,
    lanes: usize,
}

impl pulp::NullaryFnOnce for Computed<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { mut segment, bench: Workbench { inputs, results, sent } } = self;
        let together = if segment.reads_own_results() { 1 } else { (BLOCK / segment.lanes.count).max(1) };
        let (forms, form) = segment.forms();
        for (input, (source, form)) in inputs.iter_mut().zip(segment.sources.iter().zip(forms)) {
            if let Source::Number(element) = source {
                // Instructions without a kernel look at the number itself.
                let bits = if form == Form::Floats { element.float().to_bits() } else { element.to_bits(Dtype::I32) };
                let filled = together.min(segment.count) * segment.lanes.count;
                input[..filled.next_multiple_of(PIECE).min(BLOCK)].fill(bits);
            }
        }
        for from in (0..segment.count).step_by(together) {
            let elements = together.min(segment.count - from);
            for lane in (0..segment.lanes.count).step_by(BLOCK) {
                let part = Part { from, elements, lane, lanes: BLOCK.min(segment.lanes.count - lane) };
                for i in 0..segment.arity {
                    segment.fill(&mut inputs[i], segment.sources[i], forms[i], part);
                }
                if segment.kernel == Some(Kernel::Copy) {
                    segment.give(part, &inputs[0], form, sent);
                } else {
                    segment.block(part, inputs, results);
                    segment.give(part, results, form, sent);
                }
            }
        }
    }
}

impl Segment<'_, '_> {
    /// Whether an element may read what an earlier one of the segment writes.
    fn reads_own_results(&self) -> bool {
        let Target::Memory(target) = self.target else { return false };
        let range = |place: Place| {
            let last = place.at + place.step * (self.count as i64 - 1);
            (place.at.min(last), place.at.max(last) + i64::from(place.dtype.bytes()))
        };
        let goal = range(target);
        self.sources[..self.arity].iter().any(|source| {
            let Source::Memory(place) = *source else { return false };
            let (start, end) = range(place);
            let is_itself = place.at == target.at
                && place.step == target.step
                && place.step != 0
                && place.dtype.bytes() == target.dtype.bytes();
            !(end <= goal.0 || goal.1 <= start || is_itself)
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
    fn block(&self, part: Part, inputs: &[Block; 3], results: &mut Block) {
        let count = part.elements * part.lanes;
        match self.kernel {
            Some(kernel) => compute::compute(kernel, self.op, inputs, results, count.div_ceil(PIECE)),
            None => self.one_by_one(inputs, &mut results[..count]),
        }
    }

    /// Gives the results where they go.
    #[inline(always)]
    fn give(&mut self, part: Part, results: &Block, form: Form, sent: &mut Vec<u32>) {
        let count = part.elements * part.lanes;
        match self.target {
            Target::Sent(dtype) if form == Form::Raw || own_form(dtype) == Some(form) => {
                sent.extend_from_slice(&results[..count]);
            }
            Target::Sent(dtype) => sent.extend(results[..count].iter().map(|&bits| to_bits(bits, form, dtype))),
            Target::Memory(place) => self.put(results, place, form, part),
        }
    }

    /// Any operation on any types.
    fn one_by_one(&self, inputs: &[Block; 3], results: &mut [u32]) {
        let dtype = match self.target {
            Target::Memory(place) => place.dtype,
            Target::Sent(dtype) => dtype,
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

    /// Reads a part of a source; a number stands in the block already.
    #[inline(always)]
    fn fill(&self, block: &mut Block, source: Source<'_>, form: Form, part: Part) {
        match source {
            Source::Number(_) => {}
            Source::Memory(place) => {
                if let Some(column) = self.column(place, part) {
                    let words = self.lanes.words.get(column.first..).unwrap_or_default();
                    let words = words.iter().step_by(column.step).take(part.elements);
                    return read(block, words, column.shift, place.dtype, form);
                }
                for (element, row) in (part.from as u64..).zip(block.chunks_mut(part.lanes).take(part.elements)) {
                    let at = place.nth(element);
                    let words = self.lanes.words.get(self.first(at, part)..).unwrap_or_default();
                    read(row, words.iter(), (at % 4 * 8) as u32, place.dtype, form);
                }
            }
            Source::Words(Received { words, start, step, pitch }, dtype) => {
                if part.lanes == 1 {
                    let words = words.get(start + part.from * pitch + part.lane * step..).unwrap_or_default();
                    return read(&mut block[..part.elements], words.iter().step_by(pitch.max(1)), 0, dtype, form);
                }
                for (element, row) in (part.from..).zip(block.chunks_mut(part.lanes).take(part.elements)) {
                    let words = words.get(start + element * pitch + part.lane * step..).unwrap_or_default();
                    match step {
                        0 => row.fill(from_bits(words.first().copied().unwrap_or(0), dtype, form)),
                        1 => read(row, words.iter(), 0, dtype, form),
                        _ => read(row, words.iter().step_by(step), 0, dtype, form),
                    }
                }
            }
        }
    }

    /// The word at an address in the first PE of a part.
    #[inline(always)]
    fn first(&self, at: usize, part: Part) -> usize {
        at / 4 * self.lanes.width + self.lanes.first + part.lane
    }

    /// Where the words of a part are that is in one PE alone, if they are equally far apart.
    #[inline(always)]
    fn column(&self, place: Place, part: Part) -> Option<Column> {
        if part.lanes > 1 || place.step <= 0 || place.step % 4 != 0 {
            return None;
        }
        let at = place.nth(part.from as u64);
        let step = (place.step / 4) as usize * self.lanes.width;
        Some(Column { first: self.first(at, part), step, shift: (at % 4 * 8) as u32 })
    }

    /// Writes a part of the results.
    #[inline(always)]
    fn put(&mut self, block: &Block, place: Place, form: Form, part: Part) {
        if let Some(column) = self.column(place, part) {
            let words = self.lanes.words.get_mut(column.first..).unwrap_or_default();
            return write(
                words.iter_mut().step_by(column.step),
                &block[..part.elements],
                column.shift,
                place.dtype,
                form,
            );
        }
        for (element, row) in (part.from as u64..).zip(block.chunks(part.lanes).take(part.elements)) {
            let at = place.nth(element);
            let first = self.first(at, part);
            let words = self.lanes.words.get_mut(first..).unwrap_or_default();
            write(words.iter_mut(), row, (at % 4 * 8) as u32, place.dtype, form);
        }
    }
}

/// Words of a single PE: the first one, how far they are apart, and by how many bits the elements are shifted in them.
struct Column {
    first: usize,
    step: usize,
    shift: u32,
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
        _ => pairs.for_each(|(word, &bits)| *word = *word & !mask | (to_bits(bits, form, dtype) << shift & mask)),
    }
}

#[cfg(test)]
mod tests;
