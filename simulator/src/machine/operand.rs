//! Operands of a vector instruction while it runs: cursors over memory, queues and FIFOs.

use super::numerics::Element;
use waferloom_fabric::{Dtype, Operand, Program, Value};

/// A number in decoded code: what a slot of the PE holds, plus a constant. A slot is a register or a parameter; slot 0 always
/// holds 0, for numbers that are constants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Number {
    pub(crate) slot: u32,
    plus: i32,
}

impl Number {
    /// The number with a PE's slots.
    #[inline]
    pub(crate) fn get(self, slots: &[i32]) -> i32 {
        // One of the two is 0.
        slots.get(self.slot as usize).copied().unwrap_or(0) | self.plus
    }

    /// The number, if it is the same at any time.
    pub(crate) fn constant(self) -> Option<i32> {
        (self.slot == 0).then_some(self.plus)
    }
}

/// Where registers and parameters lie among the slots of a PE.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slots {
    pub(crate) registers: u32,
    pub(crate) params: u32,
}

impl Slots {
    /// Those of a program's PEs.
    pub(crate) fn of(program: &Program) -> Self {
        Self { registers: program.machine.registers.into(), params: program.params.len() as u32 }
    }

    /// How many there are.
    pub(crate) fn count(self) -> usize {
        1 + self.registers as usize + self.params as usize
    }

    /// A register's; one that no PE has when there is no such register (the verifier refuses such programs).
    pub(crate) fn register(self, register: u8) -> u32 {
        if u32::from(register) < self.registers { 1 + u32::from(register) } else { u32::MAX }
    }

    /// A value as a number; what does not exist is 0.
    pub(crate) fn number(self, value: Value) -> Number {
        match value {
            Value::Imm(plus) => Number { slot: 0, plus },
            Value::Reg(register) => Number { slot: self.register(register), plus: 0 },
            Value::Param(param) if param < self.params => Number { slot: 1 + self.registers + param, plus: 0 },
            Value::Param(_) => Number::default(),
        }
    }

    /// An operand, decoded.
    pub(crate) fn access(self, operand: &Operand) -> Access {
        match operand {
            Operand::Mem(dsd) => {
                let mut dims = [(Number { slot: 0, plus: 1 }, Number::default()); 4];
                for (slot, dim) in dims.iter_mut().zip(dsd.dims.iter().rev()) {
                    *slot = (self.number(dim.len), self.number(dim.stride));
                }
                let (base, offset, rank) = (self.number(dsd.base), dsd.offset, dsd.dims.len().min(4) as u8);
                Access::Memory(Affine { dtype: dsd.dtype, base, offset, dims, rank })
            }
            Operand::FabIn { queue, dtype, len } => {
                Access::FabIn { queue: *queue, dtype: *dtype, len: self.number(*len) }
            }
            Operand::FabOut { queue, dtype, len } => {
                Access::FabOut { queue: *queue, dtype: *dtype, len: self.number(*len) }
            }
            Operand::Fifo { fifo, dtype, len } => Access::Fifo { fifo: *fifo, dtype: *dtype, len: self.number(*len) },
            Operand::Scalar { value, dtype } => Access::Scalar { value: self.number(*value), dtype: *dtype },
            Operand::Null => Access::Null,
        }
    }
}

/// A vector in memory, in decoded code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Affine {
    pub(crate) dtype: Dtype,
    pub(crate) base: Number,
    offset: i32,
    /// Length and stride in elements of each dimension, the innermost first; 1 and 0 for those that it does not have.
    pub(crate) dims: [(Number, Number); 4],
    pub(crate) rank: u8,
}

impl Affine {
    /// Address of its first element.
    #[inline]
    pub(crate) fn address(&self, slots: &[i32]) -> i64 {
        i64::from(self.base.get(slots)) + i64::from(self.offset)
    }

    /// Length and stride in bytes of a dimension. A stride that does not fit leads out of any memory, as the largest does.
    #[inline]
    pub(crate) fn dim(&self, dim: usize, slots: &[i32]) -> (u32, i32) {
        let (len, stride) = self.dims[dim];
        let bytes = i64::from(stride.get(slots)) * i64::from(self.dtype.bytes());
        (len.get(slots).max(0) as u32, bytes.clamp(i32::MIN.into(), i32::MAX.into()) as i32)
    }
}

/// An operand in decoded code.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Access {
    Memory(Affine),
    FabIn { queue: u8, dtype: Dtype, len: Number },
    FabOut { queue: u8, dtype: Dtype, len: Number },
    Fifo { fifo: u8, dtype: Dtype, len: Number },
    Scalar { value: Number, dtype: Dtype },
    Null,
}

impl Access {
    /// Bytes of an element; `None` for what has no type of its own.
    pub(crate) fn bytes(&self) -> Option<u32> {
        match self {
            Access::Memory(Affine { dtype, .. })
            | Access::FabIn { dtype, .. }
            | Access::FabOut { dtype, .. }
            | Access::Fifo { dtype, .. } => Some(dtype.bytes()),
            Access::Scalar { .. } | Access::Null => None,
        }
    }
}

/// A position in an affine vector in memory.
#[derive(Clone, Debug)]
pub(crate) struct Cursor {
    pub(crate) dtype: Dtype,
    address: i64,
    /// Length, stride in bytes and index of each dimension, the innermost first. A stride that does not fit leads out of any
    /// memory, as the largest does.
    dims: [(u32, i32, u32); 4],
    rank: u8,
}

impl Cursor {
    /// Address of the current element.
    pub(crate) fn address(&self) -> i64 {
        self.address
    }

    /// Bytes between which all elements lie, counted from the current one on as if it were the first.
    pub(crate) fn bounds(&self) -> std::ops::Range<i64> {
        let ways = self.dims[..usize::from(self.rank)]
            .iter()
            .map(|&(len, stride, _)| i64::from(len.max(1) - 1) * i64::from(stride));
        let (back, on) = ways.fold((0, 0), |(back, on), way| (back + way.min(0), on + way.max(0)));
        self.address + back..self.address + on + i64::from(self.dtype.bytes())
    }

    /// Whether the current element need not be read again: the innermost stride is 0 and this is not the row's first.
    pub(crate) fn held(&self) -> bool {
        self.dims[0].1 == 0 && self.dims[0].2 != 0
    }

    /// Bytes from an element to the next one of its row (the innermost dimension).
    pub(crate) fn row_step(&self) -> i64 {
        self.dims[0].1.into()
    }

    /// Elements that are left in the row, the current one included.
    pub(crate) fn row_rest(&self) -> u64 {
        u64::from(self.dims[0].0.saturating_sub(self.dims[0].2)).max(1)
    }

    /// Advances by as many elements as are left in the row, or fewer.
    pub(crate) fn advance_in_row(&mut self, count: u64) {
        let before = count as u32 - 1;
        self.dims[0].2 += before;
        self.address += self.row_step() * i64::from(before);
        self.advance();
    }

    /// Whether a cursor that has not moved yet stays inside of `bytes` bytes of memory, all its elements aligned.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        let size = i128::from(self.dtype.bytes());
        let (mut first, mut last) = (i128::from(self.address), i128::from(self.address));
        for &(len, stride, _) in &self.dims {
            let way = i128::from(stride) * (i128::from(len) - 1);
            first += way.min(0);
            last += way.max(0);
        }
        first >= 0 && last + size <= bytes as i128 && self.address % i64::from(self.dtype.bytes()) == 0
    }

    pub(crate) fn advance(&mut self) {
        for (len, stride, index) in &mut self.dims[..self.rank.into()] {
            *index += 1;
            self.address += i64::from(*stride);
            if *index < *len {
                return;
            }
            self.address -= i64::from(*stride) * i64::from(*len);
            *index = 0;
        }
    }
}

/// An operand at work.
#[derive(Clone, Debug, Default)]
pub(crate) enum Port {
    Memory(Cursor),
    FabIn {
        queue: u8,
        dtype: Dtype,
    },
    FabOut {
        queue: u8,
        dtype: Dtype,
    },
    Fifo {
        fifo: u8,
        dtype: Dtype,
    },
    Scalar(Element),
    #[default]
    Null,
}

impl Port {
    /// Becomes an operand with the PE's slots; gives its length, where it has one.
    #[inline]
    pub(crate) fn resolve(&mut self, access: &Access, slots: &[i32]) -> Option<u64> {
        let length = |len: &Number| Some(len.get(slots).max(0) as u64);
        match access {
            Access::Memory(vector) => {
                let mut dims = [(1, 0, 0); 4];
                let mut total = 1u64;
                for (dim, slot) in dims.iter_mut().enumerate().take(vector.rank.into()) {
                    let (len, stride) = vector.dim(dim, slots);
                    *slot = (len, stride, 0);
                    total = total.saturating_mul(u64::from(len));
                }
                let (dtype, address, rank) = (vector.dtype, vector.address(slots), vector.rank);
                *self = Port::Memory(Cursor { dtype, address, dims, rank });
                Some(total)
            }
            Access::FabIn { queue, dtype, len } => {
                *self = Port::FabIn { queue: *queue, dtype: *dtype };
                length(len)
            }
            Access::FabOut { queue, dtype, len } => {
                *self = Port::FabOut { queue: *queue, dtype: *dtype };
                length(len)
            }
            Access::Fifo { fifo, dtype, len } => {
                *self = Port::Fifo { fifo: *fifo, dtype: *dtype };
                length(len)
            }
            Access::Scalar { value, dtype } => {
                *self = Port::Scalar(Element::from_bits(value.get(slots) as u32, *dtype));
                None
            }
            Access::Null => {
                *self = Port::Null;
                None
            }
        }
    }

    /// Bytes of an element; `None` for what has no type of its own.
    pub(crate) fn bytes(&self) -> Option<u32> {
        match self {
            Port::Memory(cursor) => Some(cursor.dtype.bytes()),
            Port::FabIn { dtype, .. } | Port::FabOut { dtype, .. } | Port::Fifo { dtype, .. } => Some(dtype.bytes()),
            Port::Scalar(_) | Port::Null => None,
        }
    }
}
