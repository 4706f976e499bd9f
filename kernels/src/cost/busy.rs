//! Cycles of a body of code on one PE, were every wavelet there and every queue free.
//!
//! Registers and parameters are followed, so that loops, conditions and lengths are known; elements are not computed: a
//! vector instruction costs its start-up, its elements (one a cycle and lane) and its waits for memory.

use waferloom_fabric::code::{Instruction, MemDsd, Operand, ScalarOp};
use waferloom_fabric::{Coord, Extent, Machine, Param, Value};

/// The PE whose cycles are counted.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Where it lies.
    pub at: Coord,
    /// The grid that it is part of.
    pub grid: Extent,
    /// The parameters of the program.
    pub params: &'a [Param],
    /// What lies in the PE's memory from the start and steers its code: addresses and bytes.
    pub tables: &'a [(u32, Vec<u8>)],
}

/// Elements of an instruction whose addresses are looked at; the rest is taken to collide as often as these.
const SAMPLE: u64 = 256;

/// Counts the cycles of `body` on a PE. A [`Instruction::Load`] from outside of the tables gives 0: what vector instructions
/// write is not followed.
pub fn busy(machine: &Machine, place: Place<'_>, body: &[Instruction]) -> u64 {
    busy_by_turns(machine, place, body).iter().sum()
}

/// The same, cut where a turn of a loop ends that lies in no other loop: what PEs that take turns as the roots of broadcasts
/// do between two of them.
pub fn busy_by_turns(machine: &Machine, place: Place<'_>, body: &[Instruction]) -> Vec<u64> {
    let registers = vec![0; usize::from(u8::MAX) + 1];
    let mut pe = Pe { machine, place, registers, cycles: 0, depth: 0, turns: Vec::new() };
    pe.run(body);
    pe.turns.push(pe.cycles);
    pe.turns
}

struct Pe<'a> {
    machine: &'a Machine,
    place: Place<'a>,
    registers: Vec<i32>,
    /// Cycles since the last cut.
    cycles: u64,
    /// Loops around the instruction at hand.
    depth: u32,
    turns: Vec<u64>,
}

impl Pe<'_> {
    fn value(&self, value: Value) -> i32 {
        match value {
            Value::Imm(n) => n,
            Value::Reg(r) => self.registers[usize::from(r)],
            Value::Param(p) => {
                self.place.params.get(p as usize).map_or(0, |p| p.values.at(self.place.at, self.place.grid))
            }
        }
    }

    fn run(&mut self, body: &[Instruction]) {
        let (scalar, branch) = (u64::from(self.machine.scalar_cycles), u64::from(self.machine.branch_cycles));
        for instruction in body {
            match instruction {
                Instruction::Vector { dst, srcs, .. } => self.cycles += self.vector(dst, srcs),
                Instruction::Scalar { op, dst, a, b } => {
                    self.registers[usize::from(*dst)] = arithmetic(*op, self.value(*a), self.value(*b));
                    self.cycles += scalar;
                }
                Instruction::Load { dst, dtype, base, offset } => {
                    let address = i64::from(self.value(*base)) + i64::from(*offset);
                    self.registers[usize::from(*dst)] = self.load(address, dtype.bytes() as usize);
                    self.cycles += scalar;
                }
                Instruction::Loop { counter, count, body } => {
                    self.cycles += branch;
                    for turn in 0..self.value(*count) {
                        self.registers[usize::from(*counter)] = turn;
                        self.depth += 1;
                        self.run(body);
                        self.depth -= 1;
                        self.cycles += branch;
                        if self.depth == 0 {
                            self.turns.push(std::mem::take(&mut self.cycles));
                        }
                    }
                }
                Instruction::If { compare, a, b, then, otherwise } => {
                    self.cycles += branch;
                    let (a, b) = (self.value(*a), self.value(*b));
                    self.run(if compare.holds(a, b) { then } else { otherwise });
                }
                Instruction::Claim { body, .. } => self.run(body),
                Instruction::Mark { .. } => {}
                _ => self.cycles += scalar,
            }
        }
    }

    fn load(&self, address: i64, bytes: usize) -> i32 {
        let found = self.place.tables.iter().find_map(|(start, table)| {
            let first = usize::try_from(address - i64::from(*start)).ok()?;
            table.get(first..first.checked_add(bytes)?)
        });
        found.map_or(0, |bytes| bytes.iter().rev().fold(0, |number, &byte| number << 8 | i32::from(byte)))
    }

    fn vector(&self, dst: &Operand, srcs: &[Operand]) -> u64 {
        let all = || srcs.iter().chain([dst]);
        let elements = all().find_map(|operand| self.length(operand)).unwrap_or(0);
        if elements == 0 {
            return u64::from(self.machine.scalar_cycles);
        }
        let in_memory = all().all(|o| matches!(o, Operand::Mem(_) | Operand::Scalar { .. } | Operand::Null));
        let has = |bytes: u32| all().filter_map(width).any(|w| w == bytes);
        let lanes = match (has(2), has(4)) {
            _ if !in_memory => 1,
            (true, false) => self.machine.lanes_16,
            (true, true) => self.machine.lanes_mixed,
            _ => self.machine.lanes_32,
        };
        let lanes = u64::from(lanes.max(1));
        super::vector(self.machine, elements, lanes as u32) + self.waits(srcs, elements, lanes)
    }

    fn length(&self, operand: &Operand) -> Option<u64> {
        let length = |len: Value| self.value(len).max(0) as u64;
        match operand {
            Operand::Mem(dsd) => Some(dsd.dims.iter().map(|dim| length(dim.len)).product()),
            Operand::FabIn { len, .. } | Operand::FabOut { len, .. } | Operand::Fifo { len, .. } => Some(length(*len)),
            Operand::Scalar { .. } | Operand::Null => None,
        }
    }

    /// Cycles in which the datapath waits for memory: more operands than ports, or two words in banks that collide.
    fn waits(&self, srcs: &[Operand], elements: u64, lanes: u64) -> u64 {
        let mut streams: Vec<Reader> = srcs
            .iter()
            .filter_map(|o| if let Operand::Mem(dsd) = o { Some(Reader::new(self, dsd)) } else { None })
            .collect();
        if streams.len() < 2 {
            return 0;
        }
        let sample = elements.min(SAMPLE.next_multiple_of(lanes));
        let (mut waits, mut worst) = (0, 0);
        for element in 0..sample {
            let reads: Vec<i64> = streams.iter_mut().filter_map(Reader::next).collect();
            worst = worst.max(self.stall(&reads));
            if (element + 1) % lanes == 0 || element + 1 == sample {
                waits += std::mem::take(&mut worst);
            }
        }
        waits * elements / sample
    }

    fn stall(&self, reads: &[i64]) -> u64 {
        let machine = self.machine;
        let ports = (reads.len() as u64).div_ceil(u64::from(machine.sram_reads_per_cycle.max(1))).saturating_sub(1);
        let bank = |address: i64| (address / 8) as u32 % machine.sram_banks % machine.bank_conflict_modulo;
        let collide = |(i, &a): (usize, &i64)| reads[..i].iter().any(|&b| a / 8 != b / 8 && bank(a) == bank(b));
        ports.max(u64::from(reads.iter().enumerate().any(collide)))
    }
}

/// Bytes of an operand's elements; `None` for what has no type of its own.
fn width(operand: &Operand) -> Option<u32> {
    match operand {
        Operand::Mem(dsd) => Some(dsd.dtype.bytes()),
        Operand::FabIn { dtype, .. } | Operand::FabOut { dtype, .. } | Operand::Fifo { dtype, .. } => {
            Some(dtype.bytes())
        }
        Operand::Scalar { .. } | Operand::Null => None,
    }
}

/// The addresses that a source reads, element by element.
struct Reader {
    address: i64,
    /// Length, stride in bytes and index, the innermost first.
    dims: Vec<(i64, i64, i64)>,
}

impl Reader {
    fn new(pe: &Pe<'_>, dsd: &MemDsd) -> Self {
        let bytes = i64::from(dsd.dtype.bytes());
        let dim =
            |dim: &waferloom_fabric::Dim| (i64::from(pe.value(dim.len)), i64::from(pe.value(dim.stride)) * bytes, 0);
        let address = i64::from(pe.value(dsd.base)) + i64::from(dsd.offset);
        Self { address, dims: dsd.dims.iter().rev().map(dim).collect() }
    }

    /// The address of the next element; `None` when it is still in the datapath, since the innermost stride is 0.
    fn next(&mut self) -> Option<i64> {
        let held = self.dims.first().is_some_and(|&(_, stride, index)| stride == 0 && index != 0);
        let address = self.address;
        for (len, stride, index) in &mut self.dims {
            *index += 1;
            self.address += *stride;
            if *index < *len {
                break;
            }
            self.address -= *stride * *len;
            *index = 0;
        }
        (!held).then_some(address)
    }
}

/// Integer arithmetic of registers, as [`ScalarOp`] defines it.
fn arithmetic(op: ScalarOp, a: i32, b: i32) -> i32 {
    let shift = u32::try_from(b).ok().filter(|&s| s < 32);
    match op {
        ScalarOp::Add => a.wrapping_add(b),
        ScalarOp::Sub => a.wrapping_sub(b),
        ScalarOp::Mul => a.wrapping_mul(b),
        ScalarOp::Div => {
            if b == 0 {
                0
            } else {
                a.wrapping_div(b)
            }
        }
        ScalarOp::Rem => {
            if b == 0 {
                0
            } else {
                a.wrapping_rem(b)
            }
        }
        ScalarOp::Min => a.min(b),
        ScalarOp::Max => a.max(b),
        ScalarOp::And => a & b,
        ScalarOp::Or => a | b,
        ScalarOp::Xor => a ^ b,
        ScalarOp::Shl => shift.map_or(0, |s| a << s),
        ScalarOp::Shr => a >> shift.unwrap_or(31),
    }
}
