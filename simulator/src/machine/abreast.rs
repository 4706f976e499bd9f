//! A vector instruction over words of memory in PEs of a bank abreast: what they have at an address is one vector of the host.
//!
//! Its elements follow each other as they do in a PE, each read when those before it have been written, so that operands may overlap.
//! Shapes are looked at once for all banks.

#![allow(clippy::inline_always, reason = "what is not inlined is not compiled for the host's vector instructions")]

use super::bulk::cursor;
use super::compute::{self, Each, HOST, Kernel};
use super::lockstep::Received;
use super::nest::OPERANDS;
use super::numerics::Element;
use super::operand::{Cursor, Port};
use super::pe::VectorWork;
use super::planes::{NUMBERS, Planes, SIDE};
use waferloom_fabric::{Dtype, VectorOp};

/// Elements whose sources are read before the first one of them is written, where nobody can tell.
const TOGETHER: usize = 4;

/// What the PEs of a bank have at an address.
type Line = [u32; SIDE];

/// An instruction, made ready to be run in any bank.
#[derive(Debug)]
pub(crate) struct Abreast {
    op: VectorOp,
    kernel: Kernel,
    /// Integers become floats behind the operation.
    to_floats: bool,
    /// The sources that are numbers, as the operation takes them.
    numbers: [u32; NUMBERS],
    rows: Vec<Row>,
}

/// Rows of words, all the same, that follow each other in memory from an address on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Repeated {
    /// Where the first one begins.
    pub(crate) target: i64,
    /// Words of a row, and how many rows there are.
    pub(crate) columns: usize,
    pub(crate) rows: usize,
    pub(crate) source: RowSource,
}

/// Where the words of a row come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum RowSource {
    /// All are this float.
    Number(f32),
    /// They lie in the PE's memory, from an address on.
    Memory(i64),
}

/// Elements on lines: of the target and of the sources the first one's line in the bank, and how many lines farther the next one is. A
/// number's is counted from the end of the bank.
#[derive(Clone, Copy, Debug)]
struct Row {
    count: u32,
    at: [i32; OPERANDS],
    steps: [i32; OPERANDS],
}

impl Abreast {
    /// The next `count` elements of an instruction, which then stands behind them; `None`, with nothing done, if it is no such one. Its
    /// operands lie in memory.
    pub(crate) fn new(work: &mut VectorWork, count: u64) -> Option<Self> {
        let sources = &work.srcs[..work.arity];
        let types = |port: &Port| match port {
            Port::Memory(cursor) => Some((cursor.dtype, true)),
            Port::Scalar(Element::Float(_)) => Some((Dtype::F32, false)),
            Port::Scalar(Element::Int(_)) => Some((Dtype::I32, false)),
            _ => None,
        };
        let mut known = [(Dtype::I32, false); NUMBERS];
        for (slot, port) in known.iter_mut().zip(sources) {
            *slot = types(port)?;
        }
        let target = cursor(&work.dst)?.dtype;
        let kernel = Kernel::of(work.op, target, &known[..work.arity])?;
        let (takes, gives) = forms(kernel, target);
        let is_own = |(&(dtype, in_memory), takes): (&(Dtype, bool), &Dtype)| !in_memory || dtype == *takes;
        let to_floats = gives == Dtype::I32 && target == Dtype::F32 && work.op == VectorOp::Mov;
        if !known[..work.arity].iter().zip(&takes).all(is_own) || (gives != target && !to_floats) {
            return None;
        }
        let mut numbers = [0; NUMBERS];
        for ((number, port), takes) in numbers.iter_mut().zip(sources).zip(takes) {
            if let Port::Scalar(element) = port {
                *number = element.to_bits(takes);
            }
        }
        let mut abreast = Self { op: work.op, kernel, to_floats, numbers, rows: Vec::new() };
        let mut done = 0;
        while done < count {
            done += abreast.add_row(work, count - done);
        }
        work.remaining -= count;
        Some(abreast)
    }

    /// Adds the elements up to where an operand's row ends, as many as `most`; gives how many these are.
    fn add_row(&mut self, work: &mut VectorWork, most: u64) -> u64 {
        let cursors = || work.srcs[..work.arity].iter().chain([&work.dst]).filter_map(cursor);
        let count = cursors().map(Cursor::row_rest).fold(most, u64::min);
        let mut row = Row { count: count as u32, at: [-1, -1, -2, -3], steps: [0; OPERANDS] };
        for (i, port) in [&work.dst].into_iter().chain(&work.srcs[..work.arity]).enumerate() {
            if let Some(cursor) = cursor(port) {
                row.at[i] = (cursor.address() / 4) as i32;
                row.steps[i] = (cursor.row_step() / 4) as i32;
            }
        }
        if !self.rows.last_mut().is_some_and(|last| last.join(&row)) {
            self.rows.push(row);
        }
        for port in work.srcs.iter_mut().chain([&mut work.dst]) {
            if let Port::Memory(cursor) = port {
                cursor.advance_in_row(count);
            }
        }
        count
    }

    /// The same rows of floats that it puts into memory one behind the other, if that is what it does.
    pub(crate) fn repeated(&self) -> Option<Repeated> {
        let first = self.rows.first()?;
        let number = f32::from_bits(self.numbers[0]);
        let source = match self.kernel {
            Kernel::Copy if first.steps[1] == 1 => RowSource::Memory(i64::from(first.at[1]) * 4),
            Kernel::Floats if first.at[1] < 0 && !number.is_nan() => RowSource::Number(number),
            _ => return None,
        };
        let follows = |(i, row): (i32, &Row)| {
            let is_like = (row.count, row.at[1], row.steps) == (first.count, first.at[1], first.steps);
            is_like && row.at[0] == first.at[0] + i * first.count as i32
        };
        let is_one = self.op == VectorOp::Mov && !self.to_floats && first.steps[0] == 1;
        (is_one && (0..).zip(&self.rows).all(follows)).then(|| Repeated {
            target: i64::from(first.at[0]) * 4,
            columns: first.count as usize,
            rows: self.rows.len(),
            source,
        })
    }

    /// Runs it in PEs side by side.
    pub(crate) fn run(&self, planes: &mut Planes<'_>, pe: u32, n: u32) {
        HOST.dispatch(Dispatched { abreast: self, planes, pe, n });
    }
}

/// Puts words that PEs side by side have received into their memories: the next `count` elements of a move that keeps their bits. Says
/// whether it is one; else nothing is done.
pub(super) fn put(
    (planes, pe, n): (&mut Planes<'_>, u32, u32),
    work: &mut VectorWork,
    received: Received<'_>,
    count: u64,
) -> bool {
    let (Port::FabIn { dtype, .. }, Port::Memory(cursor)) = (&work.srcs[0], &mut work.dst) else { return false };
    let kernel = Kernel::of(work.op, cursor.dtype, &[(*dtype, true)][..work.arity.min(1)]);
    if work.op != VectorOp::Mov || kernel != Some(Kernel::Copy) || dtype.bytes() != 4 {
        return false;
    }
    let (mut start, mut left) = (received.start, count);
    while left > 0 {
        let part = cursor.row_rest().min(left);
        let (at, step) = (cursor.address() / 4, cursor.row_step() / 4);
        let mut done = 0;
        while done < n {
            let lanes = planes.lanes(pe + done, n - done);
            let first = start + received.step * done as usize;
            for i in 0..part as usize {
                let line = (at + step * i as i64) as usize * SIDE + lanes.first;
                let line = lanes.words.get_mut(line..line + lanes.count).unwrap_or_default();
                let words = received.words.get(first + received.pitch * i..).unwrap_or_default();
                // Whole lines, without a loop that does not know how long they are.
                if let (Ok(line), Some(words)) = (<&mut Line>::try_from(&mut *line), words.first_chunk::<SIDE>())
                    && received.step < 2
                {
                    *line = if received.step == 0 { [words[0]; SIDE] } else { *words };
                    continue;
                }
                match (received.step, words) {
                    (0, [word, ..]) => line.fill(*word),
                    (1, words) => line.iter_mut().zip(words).for_each(|(to, &word)| *to = word),
                    (step, words) => {
                        let own = words.iter().step_by(step.max(1));
                        line.iter_mut().zip(own).for_each(|(to, &word)| *to = word);
                    }
                }
            }
            done += lanes.count as u32;
        }
        cursor.advance_in_row(part);
        (start, left) = (start + received.pitch * part as usize, left - part);
    }
    work.remaining -= count;
    true
}

impl Row {
    /// Takes elements in that lie on the same lines behind its own.
    fn join(&mut self, next: &Self) -> bool {
        let behind: [i32; OPERANDS] = std::array::from_fn(|i| next.at[i] - self.at[i]);
        let steps = if self.count == 1 { behind } else { self.steps };
        let is_next = (0..OPERANDS).all(|i| i64::from(behind[i]) == i64::from(steps[i]) * i64::from(self.count));
        let joins = is_next && (next.count == 1 || next.steps == steps);
        if joins {
            (self.count, self.steps) = (self.count + next.count, steps);
        }
        joins
    }
}

/// Works out elements on lines that follow each other; says whether these are lines of the bank, else nothing is done.
#[inline(always)]
fn together(
    lines: &mut [Line],
    at: [usize; OPERANDS],
    steps: [i32; OPERANDS],
    operation: &impl Fn(u32, u32, u32) -> u32,
    put: &impl Fn(&mut Line, Line),
) -> bool {
    let source = |i: usize| match steps[i] {
        0 => lines.get(at[i]).map(|&line| [line; TOGETHER]),
        _ => lines.get(at[i]..)?.first_chunk::<TOGETHER>().copied(),
    };
    let (Some(a), Some(b), Some(c)) = (source(1), source(2), source(3)) else { return false };
    let Some(targets) = lines.get_mut(at[0]..).and_then(|lines| lines.first_chunk_mut::<TOGETHER>()) else {
        return false;
    };
    for (((target, a), b), c) in targets.iter_mut().zip(a).zip(b).zip(c) {
        let mut results = [0; SIDE];
        for (((result, a), b), c) in results.iter_mut().zip(a).zip(b).zip(c) {
            *result = operation(a, b, c);
        }
        put(target, results);
    }
    true
}

/// The types of an operation's sources and of its results.
fn forms(kernel: Kernel, target: Dtype) -> ([Dtype; NUMBERS], Dtype) {
    use Dtype::{F32, I32};
    match kernel {
        Kernel::Copy => ([target; NUMBERS], target),
        Kernel::Floats | Kernel::SelectFloats => ([F32; NUMBERS], F32),
        Kernel::FloatsToIntegers => ([F32; NUMBERS], I32),
        Kernel::Integers => ([I32; NUMBERS], I32),
        // Of an integer the float is 0 exactly when it is.
        Kernel::SelectIntegers => ([F32, I32, I32], I32),
    }
}

/// An instruction and its PEs: to be compiled for the host's instructions.
struct Dispatched<'a, 'p> {
    abreast: &'a Abreast,
    planes: &'a mut Planes<'p>,
    pe: u32,
    n: u32,
}

impl pulp::NullaryFnOnce for Dispatched<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn call(mut self) {
        let Abreast { op, kernel, to_floats, .. } = *self.abreast;
        if to_floats {
            self.each_bits(|a, _, _| (a as i32 as f32).to_bits());
        } else {
            compute::with_operation(kernel, op, &mut self);
        }
    }
}

impl Each for Dispatched<'_, '_> {
    #[inline(always)]
    fn each_bits(&mut self, operation: impl Fn(u32, u32, u32) -> u32) {
        let mut done = 0;
        while done < self.n {
            let lanes = self.planes.lanes(self.pe + done, self.n - done);
            done += lanes.count as u32;
            let own = lanes.first..lanes.first + lanes.count;
            let lines = lanes.words.as_chunks_mut().0;
            let end = lines.len();
            for (line, &number) in lines.iter_mut().rev().zip(&self.abreast.numbers) {
                *line = [number; SIDE];
            }
            if own.len() == SIDE {
                for row in &self.abreast.rows {
                    row.run(lines, end, &operation, |line, results| *line = results);
                }
            } else {
                let is_own: [bool; SIDE] = std::array::from_fn(|lane| own.contains(&lane));
                for row in &self.abreast.rows {
                    row.run(lines, end, &operation, |line, results| {
                        for ((word, result), is_own) in line.iter_mut().zip(results).zip(is_own) {
                            *word = if is_own { result } else { *word };
                        }
                    });
                }
            }
        }
    }
}

impl Row {
    #[inline(always)]
    fn run(
        &self,
        lines: &mut [Line],
        end: usize,
        operation: &impl Fn(u32, u32, u32) -> u32,
        put: impl Fn(&mut Line, Line),
    ) {
        let mut at = self.at.map(|at| if at < 0 { end.wrapping_add_signed(at as isize) } else { at as usize });
        if self.adds_up() {
            return self.add_up(lines, at, operation, put);
        }
        let mut left = self.count;
        if self.may_go_together() {
            while left >= TOGETHER as u32 && together(lines, at, self.steps, operation, &put) {
                for (at, step) in at.iter_mut().zip(self.steps) {
                    *at += step as usize * TOGETHER;
                }
                left -= TOGETHER as u32;
            }
        }
        for _ in 0..left {
            let [a, b, c] = [at[1], at[2], at[3]].map(|at| lines.get(at).copied().unwrap_or_default());
            let mut results = [0; SIDE];
            for (((result, a), b), c) in results.iter_mut().zip(a).zip(b).zip(c) {
                *result = operation(a, b, c);
            }
            if let Some(line) = lines.get_mut(at[0]) {
                put(line, results);
            }
            for (at, step) in at.iter_mut().zip(self.steps) {
                *at = at.wrapping_add_signed(step as isize);
            }
        }
    }

    /// Whether elements may be read some at a time before they are written: their lines follow each other, or are one, and none of them is
    /// one that an earlier element has just written.
    #[inline(always)]
    fn may_go_together(&self) -> bool {
        let end = self.at[0] + self.count as i32;
        let is_apart = |i: usize| match self.steps[i] {
            0 => self.at[i] < self.at[0] || self.at[i] >= end,
            1 => self.at[i] >= self.at[0] || self.at[i] <= self.at[0] - TOGETHER as i32,
            _ => false,
        };
        self.steps[0] == 1 && is_apart(1) && is_apart(2) && is_apart(3)
    }

    /// Whether all elements are written to one line, which is the first source and no other one.
    #[inline(always)]
    fn adds_up(&self) -> bool {
        let is_one = self.count > 1 && self.at[0] == self.at[1] && self.steps[..2] == [0; 2];
        let is_apart = |i: usize| {
            let (first, last) = (self.at[i], self.at[i] + self.steps[i] * (self.count as i32 - 1));
            first < 0 || self.at[0] < first.min(last) || self.at[0] > first.max(last)
        };
        is_one && is_apart(2) && is_apart(3)
    }

    /// Such elements: what is added up stays in a register.
    #[inline(always)]
    fn add_up(
        &self,
        lines: &mut [Line],
        [target, _, mut b, mut c]: [usize; OPERANDS],
        operation: &impl Fn(u32, u32, u32) -> u32,
        put: impl Fn(&mut Line, Line),
    ) {
        let Some(mut sums) = lines.get(target).copied() else { return };
        for _ in 0..self.count {
            let [b_line, c_line] = [b, c].map(|at| lines.get(at).copied().unwrap_or_default());
            let mut results = [0; SIDE];
            for (((result, a), b), c) in results.iter_mut().zip(sums).zip(b_line).zip(c_line) {
                *result = operation(a, b, c);
            }
            sums = results;
            (b, c) = (b.wrapping_add_signed(self.steps[2] as isize), c.wrapping_add_signed(self.steps[3] as isize));
        }
        if let Some(line) = lines.get_mut(target) {
            put(line, sums);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some are read before others are written, and sums stay in a register, only where nobody can tell.
    #[test]
    fn elements_follow_each_other() {
        let start: Vec<Line> = (0..64).map(|line| std::array::from_fn(|lane| line * 31 + lane as u32)).collect();
        let operation = |a: u32, b: u32, c: u32| a.wrapping_mul(3).wrapping_add(b ^ c.rotate_left(5));
        let places = (0..9).flat_map(|a| (0..9).flat_map(move |b| [0, 1, 2].map(|step| (a, b, step))));
        for (a, b, step) in places {
            for (count, target_step) in [(1, 1), (11, 1), (11, 0), (3, 2)] {
                let row = Row { count, at: [24, 20 + a, 20 + b, -3], steps: [target_step, step, 1, 0] };
                let row = if a == 4 && step == 2 { Row { steps: [target_step, 0, 1, 0], ..row } } else { row };
                let (mut found, mut expected) = (start.clone(), start.clone());
                row.run(&mut found, start.len(), &operation, |line, results| *line = results);
                for i in 0..count as usize {
                    let [a, b] = [1, 2].map(|k| expected[row.at[k] as usize + row.steps[k] as usize * i]);
                    let c = expected[start.len() - 3];
                    let result = std::array::from_fn(|lane| operation(a[lane], b[lane], c[lane]));
                    expected[24 + target_step as usize * i] = result;
                }
                assert_eq!(found, expected, "{row:?}");
            }
        }
    }

    #[test]
    fn rows_that_repeat_one_are_told() {
        let row = |i: i32, from: i32| Row { count: 3, at: [8 + 3 * i, from, -2, -3], steps: [1, 1, 0, 0] };
        let of = |kernel, rows| {
            let numbers = [2f32.to_bits(), 0, 0];
            Abreast { op: VectorOp::Mov, kernel, to_floats: false, numbers, rows }.repeated()
        };
        // Words 20 to 22 into words 8 to 13, addresses in bytes.
        let twice = Repeated { target: 32, columns: 3, rows: 2, source: RowSource::Memory(80) };
        assert_eq!(of(Kernel::Copy, vec![row(0, 20), row(1, 20)]), Some(twice));
        // Other words, or not one behind the other.
        assert_eq!(of(Kernel::Copy, vec![row(0, 20), row(1, 23)]), None);
        assert_eq!(of(Kernel::Copy, vec![row(0, 20), row(2, 20)]), None);
        // A number, which is no NaN: that might become another one.
        let number = || Row { steps: [1, 0, 0, 0], ..row(0, -1) };
        let all = Repeated { target: 32, columns: 3, rows: 1, source: RowSource::Number(2.0) };
        assert_eq!(of(Kernel::Floats, vec![number()]), Some(all));
        let rows = vec![number()];
        let nan = Abreast { op: VectorOp::Mov, kernel: Kernel::Floats, to_floats: false, numbers: [u32::MAX; 3], rows };
        assert_eq!(nan.repeated(), None);
    }

    #[test]
    fn elements_on_a_line_are_one_row() {
        let row = |count, first: i32, step: i32| Row { count, at: [first, 0, 0, 0], steps: [step, 0, 0, 0] };
        let joined = |rows: [Row; 3]| {
            let [mut all, second, third] = rows;
            [all.join(&second), all.join(&third)].map(|joins| (joins, all.count, all.steps[0]))[1]
        };
        // Single ones give the step of a row; a row behind them has to have the same.
        assert_eq!(joined([row(1, 5, 0), row(1, 3, 0), row(2, 1, -2)]), (true, 4, -2));
        assert_eq!(joined([row(2, 5, 1), row(1, 7, 9), row(2, 8, 2)]), (false, 3, 1));
        assert_eq!(joined([row(2, 5, 1), row(2, 8, 1), row(2, 7, 1)]), (true, 4, 1));
    }
}
