//! Operands of a vector instruction while it runs: cursors over memory, queues and FIFOs.

use super::numerics::Element;
use waferloom_fabric::{Dtype, Operand, Value};

/// Registers and parameters of a PE, for the values that code uses.
pub(crate) struct Values<'a> {
    pub(crate) registers: &'a [i32],
    pub(crate) params: &'a [i32],
}

impl Values<'_> {
    /// The number that a value stands for; what does not exist is 0 (the verifier refuses such programs).
    pub(crate) fn get(&self, value: Value) -> i32 {
        match value {
            Value::Imm(n) => n,
            Value::Reg(r) => self.registers.get(r as usize).copied().unwrap_or(0),
            Value::Param(p) => self.params.get(p as usize).copied().unwrap_or(0),
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

    /// Whether the current element need not be read again: the innermost stride is 0 and this is not the row's first.
    pub(crate) fn held(&self) -> bool {
        self.dims[0].1 == 0 && self.dims[0].2 != 0
    }

    /// Lengths of its dimensions, the innermost first; 1 for those that it does not have.
    pub(crate) fn lens(&self) -> [u32; 4] {
        self.dims.map(|(len, ..)| len)
    }

    /// Bytes from an element to the next one of each dimension.
    pub(crate) fn steps(&self) -> [i64; 4] {
        self.dims.map(|(_, stride, _)| i64::from(stride))
    }

    /// Whether it has not moved yet.
    pub(crate) fn is_new(&self) -> bool {
        self.dims.iter().all(|&(_, _, index)| index == 0)
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
#[derive(Clone, Debug)]
pub(crate) enum Port {
    Memory(Cursor),
    FabIn { queue: u8, dtype: Dtype },
    FabOut { queue: u8, dtype: Dtype },
    Fifo { fifo: u8, dtype: Dtype },
    Scalar(Element),
    Null,
}

impl Port {
    /// Resolves an operand with the PE's values; also gives its length, where it has one.
    pub(crate) fn resolve(operand: &Operand, values: &Values<'_>) -> (Self, Option<u64>) {
        let length = |len: Value| Some(values.get(len).max(0) as u64);
        match operand {
            Operand::Mem(dsd) => {
                let mut dims = [(1, 0, 0); 4];
                let mut total = 1u64;
                let rank = dsd.dims.len().min(4);
                for (slot, dim) in dims.iter_mut().zip(dsd.dims.iter().rev()) {
                    let len = values.get(dim.len).max(0) as u32;
                    let stride = i64::from(values.get(dim.stride)) * i64::from(dsd.dtype.bytes());
                    *slot = (len, stride.clamp(i32::MIN.into(), i32::MAX.into()) as i32, 0);
                    total = total.saturating_mul(u64::from(len));
                }
                let address = i64::from(values.get(dsd.base)) + i64::from(dsd.offset);
                (Port::Memory(Cursor { dtype: dsd.dtype, address, dims, rank: rank as u8 }), Some(total))
            }
            Operand::FabIn { queue, dtype, len } => (Port::FabIn { queue: *queue, dtype: *dtype }, length(*len)),
            Operand::FabOut { queue, dtype, len } => (Port::FabOut { queue: *queue, dtype: *dtype }, length(*len)),
            Operand::Fifo { fifo, dtype, len } => (Port::Fifo { fifo: *fifo, dtype: *dtype }, length(*len)),
            Operand::Scalar { value, dtype } => {
                (Port::Scalar(Element::from_bits(values.get(*value) as u32, *dtype)), None)
            }
            Operand::Null => (Port::Null, None),
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
