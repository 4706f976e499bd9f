//! What registers hold, where that follows from the code: numbers, and straight lines over the turns of a loop.

use crate::code::{Instruction, ScalarOp, Value};
use std::collections::{BTreeMap, BTreeSet};

/// `first + step * turn` of a loop; a number has one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    first: i64,
    step: i64,
    /// Of the loop, at least 1.
    turns: i64,
    /// Which loop, counted in the order in which they are entered; 0 for numbers.
    of: usize,
}

impl Line {
    fn number(n: i64) -> Self {
        Self { first: n, step: 0, turns: 1, of: 0 }
    }

    /// The values in the first and in the last turn.
    fn ends(self) -> [i64; 2] {
        [self.first, self.first + self.step * (self.turns - 1)]
    }

    /// `None` where the result is no line, or wraps.
    fn combine(op: ScalarOp, a: Self, b: Self) -> Option<Self> {
        if a.of != 0 && b.of != 0 && a.of != b.of {
            return None;
        }
        let along = if a.of == 0 { b } else { a };
        let line = match op {
            ScalarOp::Add => Self { first: a.first + b.first, step: a.step + b.step, ..along },
            ScalarOp::Sub => Self { first: a.first - b.first, step: a.step - b.step, ..along },
            ScalarOp::Mul if b.of == 0 => Self { first: a.first * b.first, step: a.step * b.first, ..along },
            ScalarOp::Mul if a.of == 0 => Self { first: a.first * b.first, step: a.first * b.step, ..along },
            _ => return None,
        };
        line.ends().iter().all(|&end| i32::try_from(end).is_ok()).then_some(line)
    }
}

/// The registers whose contents are known at some place of the code. Every turn of a line's loop comes to that place.
#[derive(Clone, Debug, Default)]
pub(super) struct Registers {
    known: BTreeMap<u8, Line>,
    /// Loops entered so far.
    loops: usize,
}

impl Registers {
    fn line(&self, value: Value) -> Option<Line> {
        match value {
            Value::Imm(n) => Some(Line::number(i64::from(n))),
            Value::Reg(register) => self.known.get(&register).copied(),
            Value::Param(_) => None,
        }
    }

    /// What a value is in the first and in the last turn of its loop; it is never below or above both.
    pub(super) fn ends(&self, value: Value) -> Option<[i64; 2]> {
        self.line(value).map(Line::ends)
    }

    fn set(&mut self, register: u8, line: Option<Line>) {
        match line {
            Some(line) => self.known.insert(register, line),
            None => self.known.remove(&register),
        };
    }

    /// Follows an instruction without a body.
    pub(super) fn run(&mut self, instruction: &Instruction) {
        match instruction {
            Instruction::Scalar { op, dst, a, b } => {
                let line = self.line(*a).zip(self.line(*b)).and_then(|(a, b)| Line::combine(*op, a, b));
                self.set(*dst, line);
            }
            Instruction::Load { dst, .. } | Instruction::ReadClock { dst } => self.set(*dst, None),
            _ => {}
        }
    }

    /// Where a turn of a loop starts.
    pub(super) fn enter(&mut self, counter: u8, count: Value, body: &[Instruction]) {
        self.forget(body);
        self.loops += 1;
        let turns = match count {
            Value::Imm(turns) if turns > 0 => Some(i64::from(turns)),
            _ => None,
        };
        let of = self.loops;
        self.set(counter, turns.map(|turns| Line { first: 0, step: 1, turns, of }));
    }

    /// Behind a loop.
    pub(super) fn leave(&mut self, counter: u8, body: &[Instruction]) {
        self.forget(body);
        self.set(counter, None);
    }

    /// Where one of two bodies starts: if registers decide, not every turn may come here.
    pub(super) fn branch(&self, a: Value, b: Value) -> Self {
        let decides = |value| matches!(value, Value::Reg(_));
        if decides(a) || decides(b) { Self { known: BTreeMap::new(), loops: self.loops } } else { self.clone() }
    }

    /// Behind two bodies of which one has run.
    pub(super) fn join(&mut self, bodies: [&[Instruction]; 2]) {
        for body in bodies {
            self.forget(body);
        }
    }

    /// Forgets what a body writes.
    fn forget(&mut self, body: &[Instruction]) {
        let mut written = BTreeSet::new();
        collect(body, &mut written);
        self.known.retain(|register, _| !written.contains(register));
    }
}

/// The registers that a body writes.
fn collect(body: &[Instruction], written: &mut BTreeSet<u8>) {
    for instruction in body {
        match instruction {
            Instruction::Scalar { dst, .. } | Instruction::Load { dst, .. } | Instruction::ReadClock { dst } => {
                written.insert(*dst);
            }
            Instruction::Loop { counter, body, .. } => {
                written.insert(*counter);
                collect(body, written);
            }
            Instruction::Claim { body, .. } => collect(body, written),
            Instruction::If { then, otherwise, .. } => {
                collect(then, written);
                collect(otherwise, written);
            }
            _ => {}
        }
    }
}
