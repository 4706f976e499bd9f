//! Operations on two whole rows of singles, with the host's vector instructions.
//!
//! Results are written over one of the sources, a copy of it, or the very words that were received where nobody else needs
//! them: so a long vector that goes from PE to PE stays in the host's first cache.

use super::payload::Payloads;
use super::run::Run;
use super::values::Sent;
use crate::machine::bulk::cursor;
use crate::machine::compute::HOST;
use crate::machine::numerics::Element;
use crate::machine::operand::{Cursor, Port};
use crate::machine::pe::{Pe, VectorWork};
use std::ops::Range;
use waferloom_fabric::Dtype;

/// The singles of a source.
#[derive(Clone, Copy)]
enum Floats<'a> {
    Number(f32),
    Words(&'a [u32]),
    Row(&'a [[u8; 4]]),
}

/// The next singles of a source; `row` is what the one in memory has.
fn floats_of<'a>(port: &Port, run: Option<&Run>, row: &'a [u8], payloads: &'a Payloads) -> Option<Floats<'a>> {
    match (port, run) {
        (Port::Scalar(Element::Float(number)), _) => Some(Floats::Number(*number)),
        (Port::FabIn { dtype: Dtype::F32, .. }, Some(run)) => Some(Floats::Words(run.words(payloads))),
        (Port::Memory(_), _) => Some(Floats::Row(row.as_chunks().0)),
        _ => None,
    }
}

/// Where the next elements of a vector of singles lie, if they do so side by side.
fn row(cursor: &Cursor, count: u64) -> Option<Range<usize>> {
    let start = usize::try_from(cursor.address()).ok().filter(|at| at.is_multiple_of(4))?;
    let side_by_side = cursor.dtype == Dtype::F32 && cursor.row_step() == 4 && cursor.row_rest() >= count;
    side_by_side.then_some(start..start.checked_add(count as usize * 4)?)
}

/// The words of a run, taken out of the payload if nobody else needs them, else copied.
fn words_of(run: &Run, payloads: &mut Payloads) -> Vec<u32> {
    if let Some(words) = payloads.take_out(run.payload, run.count as usize) {
        return words;
    }
    let mut words = payloads.empty();
    words.extend_from_slice(run.words(payloads));
    words
}

/// `operation` of each value and the single beside it, in its place.
fn combine(values: &mut [u32], other: Floats<'_>, operation: impl Fn(f32, f32) -> f32) {
    HOST.dispatch(
        #[inline(always)]
        || match other {
            Floats::Number(number) => {
                for value in values {
                    *value = operation(f32::from_bits(*value), number).to_bits();
                }
            }
            Floats::Words(words) => {
                for (value, &word) in values.iter_mut().zip(words) {
                    *value = operation(f32::from_bits(*value), f32::from_bits(word)).to_bits();
                }
            }
            Floats::Row(row) => {
                for (value, &bytes) in values.iter_mut().zip(row) {
                    *value = operation(f32::from_bits(*value), f32::from_le_bytes(bytes)).to_bits();
                }
            }
        },
    );
}

/// An operation on the next elements of two vectors of singles of which at most one lies in memory, so that no read waits; `None`,
/// with nothing done, for everything else.
pub(super) fn floats(
    pe: &mut Pe<'_>,
    work: &VectorWork,
    taken: &[Option<Run>; 3],
    count: u64,
    payloads: &mut Payloads,
    operation: impl Fn(f32, f32) -> f32 + Copy,
) -> Option<Sent> {
    let target = match &work.dst {
        Port::Memory(cursor) => Some(row(cursor, count).filter(|range| range.end <= pe.bytes())?),
        Port::FabOut { dtype: Dtype::F32, .. } => None,
        _ => return None,
    };
    let mut in_memory = work.srcs[..2].iter().filter_map(cursor);
    let (read, another) = (in_memory.next(), in_memory.next());
    if another.is_some() {
        return None;
    }
    let read = match read {
        Some(cursor) => Some(row(cursor, count)?),
        None => None,
    };
    // An element may read what an earlier one wrote, but not when each reads only what it writes itself.
    let overlap = |a: &Range<usize>, b: &Range<usize>| a != b && a.start < b.end && b.start < a.end;
    if target.as_ref().zip(read.as_ref()).is_some_and(|(target, read)| overlap(target, read)) {
        return None;
    }
    let lent = read.as_ref().filter(|_| target.is_none()).and_then(|read| pe.lent_row(read));
    if target.is_some() || read.is_some() && lent.is_none() {
        pe.lay_out();
    }
    let row = match (lent, read) {
        (Some(row), _) => row,
        (None, Some(read)) => pe.row(read)?,
        (None, None) => &[],
    };
    let source = |i: usize, payloads| floats_of(&work.srcs[i], taken[i].as_ref(), row, payloads);
    // The source that holds the results: one that was received, if there is any.
    let held = match (source(0, payloads)?, source(1, payloads)?) {
        (Floats::Number(_), Floats::Number(_)) => return None,
        (Floats::Words(_), _) | (Floats::Row(_), Floats::Number(_)) => 0,
        (Floats::Number(_) | Floats::Row(_), _) => 1,
    };
    let mut results = if let Some(run) = &taken[held] {
        words_of(run, payloads)
    } else {
        let mut words = payloads.empty();
        words.extend(row.as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes)));
        words
    };
    let other = floats_of(&work.srcs[1 - held], taken[1 - held].as_ref(), row, payloads)?;
    if held == 0 {
        combine(&mut results, other, operation);
    } else {
        combine(&mut results, other, |value, other| operation(other, value));
    }
    let Some(target) = target else { return Some(Sent::New(results)) };
    for (slot, bits) in pe.memory[target].as_chunks_mut().0.iter_mut().zip(&results) {
        *slot = bits.to_le_bytes();
    }
    payloads.put_back(results);
    Some(Sent::Nothing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::numerics;
    use crate::stream::run::Sender;

    #[test]
    fn results_stand_where_one_source_did() {
        let bits = |values: [f32; 2]| values.map(f32::to_bits);
        let mut values = bits([5.0, 1.0]);
        combine(&mut values, Floats::Words(&bits([2.0, f32::NAN])), |value, other| numerics::difference(other, value));
        assert_eq!(values, bits([-3.0, f32::NAN]));
        combine(&mut values, Floats::Number(4.0), numerics::sum);
        assert_eq!(values, bits([1.0, f32::NAN]));
        combine(&mut values, Floats::Row(&[1.5f32, 7.0].map(f32::to_le_bytes)), numerics::product);
        assert_eq!(values, bits([1.5, f32::NAN]));
    }

    #[test]
    fn words_that_somebody_else_needs_stay() {
        let mut payloads = Payloads::default();
        let payload = payloads.keep(vec![1, 2, 3]);
        let run = Run::new(payload, 3, (0, 2), 0, Sender::Pe(0));
        payloads.share(payload);
        assert_eq!((words_of(&run, &mut payloads), payloads.words(payload)), (vec![1, 2, 3], &[1, 2, 3][..]));
        payloads.release(payload);
        let first = run.head(2);
        assert_eq!((words_of(&first, &mut payloads), payloads.words(payload)), (vec![1, 2], &[1, 2, 3][..]));
        assert_eq!((words_of(&run, &mut payloads), payloads.words(payload)), (vec![1, 2, 3], &[][..]));
    }
}
