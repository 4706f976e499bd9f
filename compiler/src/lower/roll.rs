//! One loop for the turns of a repeat: their codes must be equal but for numbers that grow by the same distance from turn to
//! turn, as the addresses of the layers' weights do.
//!
//! ```text
//! mark first                               loop r20 in 2 {
//! add [64 : f32 ; 8] <- [64 …], [512 …]      r21 = mul r20, 96
//! mark second                                mark first + r20
//! add [64 : f32 ; 8] <- [64 …], [608 …]      add [64 : f32 ; 8] <- [64 …], [r21 + 512 …]
//!                                          }
//! ```

use waferloom_fabric::code::{Control, Dim, Instruction, MemDsd, Operand, ScalarOp};
use waferloom_fabric::{Address, Dtype, Value};

/// Joins the codes of all turns into a loop that does the same; `None` when they differ otherwise, or registers run out.
///
/// The codes use registers below `free` only, the loop those from there on up to `registers`.
pub(super) fn roll(turns: &[&[Instruction]], free: u8, registers: u8) -> Option<Instruction> {
    let count = Value::Imm(i32::try_from(turns.len()).ok()?);
    let mut roll = Roll { turns: turns.len(), free, registers, distances: Vec::new(), scratch: 0, body: Vec::new() };
    roll.body(turns)?;
    let mul = |(place, distance): (usize, &i32)| Instruction::Scalar {
        op: ScalarOp::Mul,
        dst: free + 1 + place as u8,
        a: Value::Reg(free),
        b: Value::Imm(*distance),
    };
    let mut body: Vec<Instruction> = roll.distances.iter().enumerate().map(mul).collect();
    body.append(&mut roll.body);
    Some(Instruction::Loop { counter: free, count, body })
}

/// A number of an instruction over the turns: `first + distance * turn`.
#[derive(Clone, Copy)]
struct Line {
    first: i32,
    distance: i32,
}

struct Roll {
    turns: usize,
    /// The register that counts the turns; behind it those that hold the distances times the turn.
    free: u8,
    /// Registers of the machine. The last ones are for numbers of one instruction.
    registers: u8,
    distances: Vec<i32>,
    /// Registers that the instruction at hand has taken from the end.
    scratch: u8,
    body: Vec<Instruction>,
}

/// What all turns have in common; `None` when they differ.
fn common<T: PartialEq>(turns: &[T]) -> Option<&T> {
    let (first, rest) = turns.split_first()?;
    rest.iter().all(|other| other == first).then_some(first)
}

/// One field of each turn's instruction, all of which are of one kind.
macro_rules! fields {
    ($turns:expr, $pattern:pat => $field:expr) => {
        $turns.iter().map(|turn| if let $pattern = *turn { Some($field) } else { None }).collect::<Option<Vec<_>>>()
    };
}

impl Roll {
    fn body(&mut self, turns: &[&[Instruction]]) -> Option<()> {
        let length = *common(&turns.iter().map(|turn| turn.len()).collect::<Vec<_>>())?;
        for i in 0..length {
            self.scratch = 0;
            let instruction = self.instruction(&turns.iter().map(|turn| &turn[i]).collect::<Vec<_>>())?;
            self.body.push(instruction);
        }
        Some(())
    }

    /// A body inside another.
    fn nested(&mut self, turns: &[&[Instruction]]) -> Option<Vec<Instruction>> {
        let outer = std::mem::take(&mut self.body);
        self.body(turns)?;
        Some(std::mem::replace(&mut self.body, outer))
    }

    /// The register that holds the turn times a distance.
    fn distance(&mut self, distance: i32) -> Option<u8> {
        if distance == 1 {
            return self.fits(self.free);
        }
        let place = self.distances.iter().position(|&known| known == distance).unwrap_or_else(|| {
            self.distances.push(distance);
            self.distances.len() - 1
        });
        self.fits(self.free.checked_add(1)?.checked_add(u8::try_from(place).ok()?)?)
    }

    fn fits(&self, register: u8) -> Option<u8> {
        (register < self.registers.checked_sub(MOST_SCRATCH)?).then_some(register)
    }

    /// `a + b` in a register that the instruction at hand has for itself.
    fn sum(&mut self, a: Value, b: Value) -> Option<Value> {
        self.scratch = Some(self.scratch + 1).filter(|&taken| taken <= MOST_SCRATCH)?;
        let dst = self.registers - self.scratch;
        self.body.push(Instruction::Scalar { op: ScalarOp::Add, dst, a, b });
        Some(Value::Reg(dst))
    }

    /// Numbers as a line; they wrap as registers do.
    fn line(&self, numbers: &[i32]) -> Option<Line> {
        let first = *numbers.first()?;
        let distance = numbers.get(1).map_or(0, |second| second.wrapping_sub(first));
        debug_assert_eq!(numbers.len(), self.turns);
        let on_line = |(turn, &n): (usize, &i32)| n == first.wrapping_add(distance.wrapping_mul(turn as i32));
        numbers.iter().enumerate().all(on_line).then_some(Line { first, distance })
    }

    /// A value that is the same in all turns, or else the line of its numbers.
    fn value_or_line(&self, values: &[Value]) -> Option<Result<Value, Line>> {
        if let Some(&value) = common(values) {
            return Some(Ok(value));
        }
        let numbers = fields!(values.iter().collect::<Vec<_>>(), Value::Imm(n) => *n)?;
        self.line(&numbers).map(Err)
    }

    fn value(&mut self, values: &[Value]) -> Option<Value> {
        match self.value_or_line(values)? {
            Ok(value) => Some(value),
            Err(line) => {
                let distance = self.distance(line.distance)?;
                self.sum(Value::Reg(distance), Value::Imm(line.first))
            }
        }
    }

    /// An address `base + offset`.
    fn address(&mut self, bases: &[Value], offsets: &[i32]) -> Option<(Value, i32)> {
        match (self.value_or_line(bases)?, self.line(offsets)?) {
            (Ok(base), Line { first, distance: 0 }) => Some((base, first)),
            (Ok(Value::Imm(base)), Line { first, distance }) => {
                Some((Value::Reg(self.distance(distance)?), base.checked_add(first)?))
            }
            (Ok(base), Line { first, distance }) => {
                let distance = self.distance(distance)?;
                Some((self.sum(base, Value::Reg(distance))?, first))
            }
            (Err(base), offset) => {
                let distance = self.distance(base.distance.wrapping_add(offset.distance))?;
                Some((Value::Reg(distance), base.first.checked_add(offset.first)?))
            }
        }
    }

    fn place(&mut self, turns: &[&Address]) -> Option<Address> {
        let bases: Vec<Value> = turns.iter().map(|at| at.base).collect();
        let offsets: Vec<i32> = turns.iter().map(|at| at.offset).collect();
        let (base, offset) = self.address(&bases, &offsets)?;
        Some(Address { base, offset })
    }

    fn instruction(&mut self, turns: &[&Instruction]) -> Option<Instruction> {
        if let Some(&same) = common(turns) {
            return Some(same.clone());
        }
        match turns[0] {
            Instruction::Vector { op, run_async, .. } => {
                let parts =
                    fields!(turns, Instruction::Vector { op, run_async, srcs, .. } => (op, run_async, srcs.len()))?;
                let (_, _, sources) = *common(&parts)?;
                let dst = self.operand(&fields!(turns, Instruction::Vector { dst, .. } => dst)?)?;
                let mut srcs = Vec::with_capacity(sources);
                for i in 0..sources {
                    srcs.push(self.operand(&fields!(turns, Instruction::Vector { srcs, .. } => &srcs[i])?)?);
                }
                Some(Instruction::Vector { op: *op, dst, srcs, run_async: *run_async })
            }
            Instruction::Scalar { op, dst, .. } => {
                common(&fields!(turns, Instruction::Scalar { op, dst, .. } => (op, dst))?)?;
                let a = fields!(turns, Instruction::Scalar { a, .. } => *a)?;
                let b = fields!(turns, Instruction::Scalar { b, .. } => *b)?;
                self.scalar(*op, *dst, &a, &b)
            }
            Instruction::Load { dst, dtype, .. } => {
                common(&fields!(turns, Instruction::Load { dst, dtype, .. } => (dst, dtype))?)?;
                let (base, offset) = self.address(
                    &fields!(turns, Instruction::Load { base, .. } => *base)?,
                    &fields!(turns, Instruction::Load { offset, .. } => *offset)?,
                )?;
                Some(Instruction::Load { dst: *dst, dtype: *dtype, base, offset })
            }
            Instruction::Store { dtype, .. } => {
                common(&fields!(turns, Instruction::Store { dtype, .. } => dtype)?)?;
                let src = self.value(&fields!(turns, Instruction::Store { src, .. } => *src)?)?;
                let (base, offset) = self.address(
                    &fields!(turns, Instruction::Store { base, .. } => *base)?,
                    &fields!(turns, Instruction::Store { offset, .. } => *offset)?,
                )?;
                Some(Instruction::Store { src, dtype: *dtype, base, offset })
            }
            Instruction::Loop { counter, .. } => {
                common(&fields!(turns, Instruction::Loop { counter, .. } => counter)?)?;
                let count = self.value(&fields!(turns, Instruction::Loop { count, .. } => *count)?)?;
                let body = self.nested(&fields!(turns, Instruction::Loop { body, .. } => &body[..])?)?;
                Some(Instruction::Loop { counter: *counter, count, body })
            }
            Instruction::Claim { claim, .. } => {
                common(&fields!(turns, Instruction::Claim { claim, .. } => claim)?)?;
                let body = self.nested(&fields!(turns, Instruction::Claim { body, .. } => &body[..])?)?;
                // The body uses the same addresses, so that their distances are in registers already.
                let left = self.place(&fields!(turns, Instruction::Claim { left, .. } => left)?)?;
                let right = self.place(&fields!(turns, Instruction::Claim { right, .. } => right)?)?;
                let result = self.place(&fields!(turns, Instruction::Claim { result, .. } => result)?)?;
                Some(Instruction::Claim { claim: *claim, left, right, result, body })
            }
            Instruction::If { compare, .. } => {
                common(&fields!(turns, Instruction::If { compare, .. } => compare)?)?;
                let a = self.value(&fields!(turns, Instruction::If { a, .. } => *a)?)?;
                let b = self.value(&fields!(turns, Instruction::If { b, .. } => *b)?)?;
                let then = self.nested(&fields!(turns, Instruction::If { then, .. } => &then[..])?)?;
                let otherwise = self.nested(&fields!(turns, Instruction::If { otherwise, .. } => &otherwise[..])?)?;
                Some(Instruction::If { compare: *compare, a, b, then, otherwise })
            }
            Instruction::SendControl { queue, control } => {
                let parts = fields!(turns, Instruction::SendControl { queue, control } =>
                    (queue, &control.commands, control.task))?;
                common(&parts)?;
                let payload =
                    self.value(&fields!(turns, Instruction::SendControl { control, .. } => control.payload)?)?;
                Some(Instruction::SendControl { queue: *queue, control: Control { payload, ..control.clone() } })
            }
            Instruction::Mark { .. } => {
                let operators =
                    fields!(turns, Instruction::Mark { operator, plus: Value::Imm(0) } => *operator as i32)?;
                let line = self.line(&operators)?;
                let plus = Value::Reg(self.distance(line.distance)?);
                Some(Instruction::Mark { operator: line.first as u32, plus })
            }
            _ => None,
        }
    }

    /// Sums take one instruction more at most, and often none.
    fn scalar(&mut self, op: ScalarOp, dst: u8, a: &[Value], b: &[Value]) -> Option<Instruction> {
        let sum = |a, b| Instruction::Scalar { op: ScalarOp::Add, dst, a, b };
        match (op, self.value_or_line(a)?, self.value_or_line(b)?) {
            (ScalarOp::Add, Ok(Value::Imm(n)), Err(line)) | (ScalarOp::Add, Err(line), Ok(Value::Imm(n))) => {
                let distance = self.distance(line.distance)?;
                Some(sum(Value::Reg(distance), Value::Imm(line.first.wrapping_add(n))))
            }
            (ScalarOp::Add, Ok(value), Err(line)) | (ScalarOp::Add, Err(line), Ok(value)) => {
                let distance = self.distance(line.distance)?;
                self.body.push(sum(value, Value::Imm(line.first)));
                Some(sum(Value::Reg(dst), Value::Reg(distance)))
            }
            _ => Some(Instruction::Scalar { op, dst, a: self.value(a)?, b: self.value(b)? }),
        }
    }

    fn operand(&mut self, turns: &[&Operand]) -> Option<Operand> {
        if let Some(&same) = common(turns) {
            return Some(same.clone());
        }
        match turns[0] {
            Operand::Mem(_) => {
                let memory = fields!(turns, Operand::Mem(dsd) => dsd)?;
                self.memory(&memory).map(Operand::Mem)
            }
            Operand::Scalar { dtype, .. } => {
                common(&fields!(turns, Operand::Scalar { dtype, .. } => dtype)?)?;
                let value = self.value(&fields!(turns, Operand::Scalar { value, .. } => *value)?)?;
                Some(Operand::Scalar { value, dtype: *dtype })
            }
            // What a layer sends and receives, and how much, does not change from layer to layer.
            Operand::FabIn { .. } | Operand::FabOut { .. } | Operand::Fifo { .. } | Operand::Null => None,
        }
    }

    fn memory(&mut self, turns: &[&MemDsd]) -> Option<MemDsd> {
        let shape = |dsd: &&MemDsd| -> (Dtype, usize) { (dsd.dtype, dsd.dims.len()) };
        let (dtype, rank) = *common(&turns.iter().map(shape).collect::<Vec<_>>())?;
        let bases: Vec<Value> = turns.iter().map(|dsd| dsd.base).collect();
        let offsets: Vec<i32> = turns.iter().map(|dsd| dsd.offset).collect();
        let (base, offset) = self.address(&bases, &offsets)?;
        let mut dims = Vec::with_capacity(rank);
        for i in 0..rank {
            let len = self.value(&turns.iter().map(|dsd| dsd.dims[i].len).collect::<Vec<_>>())?;
            let stride = self.value(&turns.iter().map(|dsd| dsd.dims[i].stride).collect::<Vec<_>>())?;
            dims.push(Dim { len, stride });
        }
        Some(MemDsd { base, offset, dtype, dims })
    }
}

/// Registers that one instruction may need for numbers that change: those of a vector instruction's four operands.
const MOST_SCRATCH: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use waferloom_fabric::{Machine, Program, text};

    /// The instructions of a text.
    fn code(body: &str) -> Vec<Instruction> {
        let text = format!(
            "program p machine bench16 grid 1x1 param x = rows [1] operator a mov at 0,0 size 1x1 flops 0 bytes 0
             class w {{ in q0 = c0 out q1 = c1 task 8 main local activated {{ {body} }} }}"
        );
        let program: Program = text::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        program.classes[0].tasks[0].body.clone()
    }

    /// Rolls the turns with registers from r8 up to r31.
    fn rolled(turns: &[&str]) -> Option<Instruction> {
        let turns: Vec<_> = turns.iter().map(|turn| code(turn)).collect();
        roll(&turns.iter().map(Vec::as_slice).collect::<Vec<_>>(), 8, Machine::builtin("bench16").unwrap().registers)
    }

    #[track_caller]
    fn check(turns: &[&str], expected: &str) {
        assert_eq!(vec![rolled(turns).expect("one loop")], code(expected));
    }

    #[test]
    fn addresses_grow_from_turn_to_turn() {
        // Weights 96 bytes apart, operators one apart; what is equal stays.
        let turn = |operator: u32, weights: u32| {
            format!("mark #{operator} add [64 : f32 ; 8] <- [64 : f32 ; 8], [{weights} + 4 : f32 ; 8]")
        };
        check(
            &[&turn(3, 512), &turn(4, 608), &turn(5, 704)],
            "loop r8 in 3 { r9 = mul r8, 96 mark #3 + r8 add [64 : f32 ; 8] <- [64 : f32 ; 8], [r9 + 516 : f32 ; 8] }",
        );
    }

    #[test]
    fn sums_and_loads_take_the_distance_in() {
        check(
            &[
                "r1 = add 100, 0 r2 = add r1, 7 r3 = load u16 [r1 + 20]",
                "r1 = add 132, 0 r2 = add r1, 39 r3 = load u16 [r1 + 52]",
            ],
            "loop r8 in 2 { r9 = mul r8, 32 r1 = add r9, 100 r2 = add r1, 7 r2 = add r2, r9 r31 = add r1, r9 r3 = load u16 [r31 + 20] }",
        );
    }

    #[test]
    fn bodies_inside_are_rolled_too() {
        let turn = |n: u32| {
            format!(
                "loop r1 in {n} {{ if r1 == {n} {{ store {n} -> i32 [{}] }} else {{ mov out q1 f32[1] <- f32 {n}.0 }} }}",
                n * 4
            )
        };
        // 1.0 and 2.0 are 0x3f800000 and 0x40000000, 0x800000 apart.
        check(
            &[&turn(1), &turn(2)],
            "loop r8 in 2 { r9 = mul r8, 4 r10 = mul r8, 8388608
               r31 = add r8, 1
               loop r1 in r31 { r31 = add r8, 1 if r1 == r31 { r31 = add r8, 1 store r31 -> i32 [r9 + 4] }
                 else { r31 = add r10, 1065353216 mov out q1 f32[1] <- f32 r31 } } }",
        );
    }

    #[test]
    fn turns_that_differ_otherwise_are_left() {
        let differ: [&[&str]; 8] = [
            &["r1 = add 1, 0", "r1 = add 2, 0", "r1 = add 4, 0"],
            &["r1 = add 1, 0", "r2 = add 1, 0"],
            &["r1 = add 1, 0", "r1 = sub 1, 0"],
            &["r1 = add 1, 0", "r1 = add $x, 0"],
            &["r1 = clock", "r1 = clock r1 = clock"],
            &["mov [0 : f32 ; 2] <- f32 0.0", "mov [0 : f32 ; 1, 2] <- f32 0.0"],
            &["mov [0 : f32 ; 2] <- in q0 f32[2]", "mov [0 : f32 ; 3] <- in q0 f32[3]"],
            &["position c0 = 0", "position c0 = 1"],
        ];
        for turns in differ {
            assert_eq!(rolled(turns), None, "{turns:?}");
        }
    }

    #[test]
    fn registers_run_out() {
        // 24 registers from r8 on, of which the last four are for single instructions: the counter and 19 distances.
        let stores = |turn: i32, many: i32| -> String {
            let store = |i| format!("store 0 -> i32 [{}]", 4 * (i + 2) * turn);
            (0..many).map(store).collect::<Vec<_>>().join(" ")
        };
        assert!(rolled(&[&stores(0, 19), &stores(1, 19)]).is_some());
        assert!(rolled(&[&stores(0, 20), &stores(1, 20)]).is_none());
    }
}
