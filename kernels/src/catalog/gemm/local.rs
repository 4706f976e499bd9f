//! What a PE holds, and its share of the product.
//!
//! The multiply-add walks along the inner index in both operands while the element of C stays in a register: so it needs the
//! inner index inside for A (`[rows, depth]`) and for B (`[columns, depth]`, that is, transposed). Rows start every 32 bytes
//! or a multiple, A's at an address of 0 modulo 32 and B's at 16: the two reads of a cycle then never meet in a bank. An
//! operand that lies the other way is copied into this form once, before the first step.

use super::super::sketch::Sketch;
use super::super::{KernelError, Settings};
use crate::catalog::settings::float_type;
use crate::code::{Code, Tile, memory};
use crate::matmul::clear;
use waferloom_fabric::{BufferKind, Distribution, Dtype, Extent, Machine, Operand, Split, Value, VectorOp};

/// Bytes after which the banks that collide come around again.
const BANKS: u32 = 32;

/// Sizes of a product and of a PE's part of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) grid: Extent,
    pub(super) m: u32,
    pub(super) n: u32,
    pub(super) k: u32,
    /// Rows of a tile of A and C.
    pub(super) rows: u32,
    /// Columns of a tile of B and C.
    pub(super) columns: u32,
    /// Inner indices of a block.
    pub(super) depth: u32,
    /// Elements from one row of a packed tile to the next.
    pub(super) pitch: u32,
    /// Type of A and B.
    pub(super) dtype: Dtype,
    /// Whether A lies as k x m.
    a_transposed: bool,
    /// Whether B lies as n x k.
    b_transposed: bool,
}

/// One of the two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    A,
    B,
}

impl Shape {
    pub(super) fn new(settings: &Settings) -> Self {
        let width = settings.pes("p");
        let height = match settings.pes("q") {
            0 => width,
            height => height,
        };
        let [m, n, k] = ["m", "n", "k"].map(|name| settings.integer(name));
        let dtype = float_type(settings.word("dtype"));
        let depth = k.div_ceil(width.into());
        Self {
            grid: Extent { width, height },
            m,
            n,
            k,
            rows: m.div_ceil(height.into()),
            columns: n.div_ceil(width.into()),
            depth,
            pitch: depth.next_multiple_of(BANKS / dtype.bytes()),
            dtype,
            a_transposed: settings.word("transpose") == "a",
            b_transposed: settings.word("transpose") == "b",
        }
    }

    /// Blocks of the inner dimension that hold something.
    pub(super) fn blocks(&self) -> u32 {
        self.k.div_ceil(self.depth)
    }

    /// Blocks of B that a PE of a SUMMA holds: they are dealt to the rows of PEs in turn.
    pub(super) fn slots(&self) -> u32 {
        self.blocks().div_ceil(self.grid.height.into())
    }

    /// Rows of a packed tile.
    pub(super) fn lines(&self, side: Side) -> u32 {
        match side {
            Side::A => self.rows,
            Side::B => self.columns,
        }
    }

    /// Bytes of a packed tile.
    pub(super) fn tile_bytes(&self, side: Side) -> u32 {
        self.lines(side) * self.pitch * self.dtype.bytes()
    }

    /// Whether an operand lies in SRAM as the multiply-add wants it.
    pub(super) fn packed(&self, side: Side) -> bool {
        match side {
            Side::A => !self.a_transposed,
            Side::B => self.b_transposed,
        }
    }

    /// Words of a packed tile that travel.
    pub(super) fn travel_words(&self, side: Side) -> u32 {
        self.lines(side) * self.row_words()
    }

    fn row_words(&self) -> u32 {
        (self.depth * self.dtype.bytes()).div_ceil(4)
    }

    /// A packed tile as the words that travel.
    pub(super) fn words(&self, side: Side, base: impl Into<Value>) -> Operand {
        let pitch = self.pitch * self.dtype.bytes() / 4;
        memory(base, 0, Dtype::I32, &[(self.lines(side).into(), pitch.into()), (self.row_words().into(), 1.into())])
    }

    /// The largest dimension: the parameter to change when a PE's part is too large.
    pub(super) fn largest(&self) -> &'static str {
        let sizes = [("m", self.m), ("n", self.n), ("k", self.k)];
        sizes.into_iter().rev().max_by_key(|&(_, size)| size).map_or("k", |(name, _)| name)
    }

    /// Refuses tiles that SRAM cannot hold, before anything is reckoned in 32 bits.
    pub(super) fn fits(&self, machine: &Machine, name: &str, summa: bool) -> Result<(), KernelError> {
        let [rows, columns, pitch] = [self.rows, self.columns, self.pitch].map(u64::from);
        let raw = if summa && !self.packed(Side::B) { self.slots() } else { 0 };
        let tiles_of_b = if summa { self.slots() + 1 } else { 2 };
        let elements = 2 * rows * pitch + u64::from(tiles_of_b + raw) * columns * pitch;
        let needed = elements * u64::from(self.dtype.bytes()) + rows * columns * 4;
        if needed <= machine.sram_bytes.into() {
            return Ok(());
        }
        Err(KernelError::TooLarge {
            what: format!("{name} with tiles of {rows} x {} and {} x {columns}", self.depth, self.depth),
            needed,
            unit: "bytes of SRAM in a PE",
            machine: machine.name.clone(),
            available: machine.sram_bytes.into(),
            change: self.largest(),
        })
    }

    /// Reserves a buffer for `tiles` packed tiles, at the address modulo 32 that its side wants.
    pub(super) fn buffer(&self, sketch: &mut Sketch, name: &str, side: Side, tiles: u32, kind: BufferKind) -> u32 {
        let phase = if side == Side::A { 0 } else { BANKS / 2 };
        sketch.phased_buffer(name, self.tile_bytes(side) * tiles, kind, phase)
    }

    /// Lays an operand into SRAM: in each PE `block(y, x, slot)` of the inner dimension for each of its slots.
    pub(super) fn place(
        &self,
        sketch: &mut Sketch,
        side: Side,
        address: u32,
        values: &[f32],
        slots: u32,
        block: impl Fn(u32, u32, u32) -> u32,
    ) {
        let (lines, packed) = (self.lines(side), self.packed(side));
        let tile = if packed { lines * self.pitch } else { self.depth * lines };
        let [width, height] = [self.grid.width, self.grid.height].map(u32::from);
        let mut placed = Vec::with_capacity(self.grid.pes() * (tile * slots) as usize);
        for (y, x, slot) in (0..height).flat_map(|y| (0..width).flat_map(move |x| (0..slots).map(move |s| (y, x, s)))) {
            let block = block(y, x, slot);
            for at in 0..tile {
                let (line, inner) = if packed { (at / self.pitch, at % self.pitch) } else { (at % lines, at / lines) };
                let (first, end) = if side == Side::A { (y * self.rows, self.m) } else { (x * self.columns, self.n) };
                let (line, inside) = (first + line, inner < self.depth);
                let inner = u64::from(block) * u64::from(self.depth) + u64::from(inner);
                let there = inside && line < end && inner < u64::from(self.k);
                let index = match side {
                    Side::A => line as usize * self.k as usize + inner as usize,
                    Side::B => inner as usize * self.n as usize + line as usize,
                };
                placed.push(if there { values[index] } else { 0.0 });
            }
        }
        let dealt = Distribution {
            grid: self.grid,
            shape: vec![height, width, tile * slots],
            x: Some(Split { dim: 1, block: 1 }),
            y: Some(Split { dim: 0, block: 1 }),
        };
        let name = if side == Side::A { "a" } else { "b" };
        sketch.constant(name, self.dtype, dealt, address, &placed);
    }

    /// Emits the copy of a tile that lies as `[depth, lines]` into a packed one.
    pub(super) fn pack(&self, code: &mut Code, side: Side, to: u32, from: u32) {
        let (lines, depth) = (Value::from(self.lines(side)), Value::from(self.depth));
        let to = memory(to, 0, self.dtype, &[(lines, self.pitch.into()), (depth, 1.into())]);
        code.mov(to, memory(from, 0, self.dtype, &[(lines, 1.into()), (depth, lines)]));
    }

    /// Emits `c = 0`.
    pub(super) fn clear(&self, code: &mut Code, c: u32) {
        clear(code, Tile { address: c, elements: self.rows * self.columns, dtype: Dtype::F32 });
    }

    /// Emits `c += a b`, as one instruction over (row, column, inner index).
    pub(super) fn multiply(&self, code: &mut Code, c: u32, a: impl Into<Value>, b: impl Into<Value>) {
        let dims = |row: u32, column: u32, inner: u32| {
            [(self.rows, row), (self.columns, column), (self.depth, inner)].map(|(len, step)| (len.into(), step.into()))
        };
        let c = memory(c, 0, Dtype::F32, &dims(self.columns, 1, 0));
        let a = memory(a, 0, self.dtype, &dims(self.pitch, 0, 1));
        let b = memory(b, 0, self.dtype, &dims(0, self.pitch, 1));
        code.vector(VectorOp::Mac, c.clone(), &[c, a, b]);
    }

    /// Cycles of [`Shape::multiply`] without its start: as many products a cycle as there are lanes, and a cycle more for
    /// each element of C, which is a third operand to read.
    pub(super) fn multiply_cycles(&self, machine: &Machine) -> u64 {
        let lanes = u64::from(if self.dtype == Dtype::F16 { machine.lanes_mixed } else { machine.lanes_32 });
        let results = u64::from(self.rows) * u64::from(self.columns);
        let products = (results * u64::from(self.depth)).div_ceil(lanes);
        products + if machine.sram_reads_per_cycle < 3 { results.min(products) } else { 0 }
    }

    /// Cycles before the first step: the start, the copies of what does not lie packed, the clearing of C.
    pub(super) fn prepare_cycles(&self, machine: &Machine, slots_of_b: u32) -> u64 {
        let copy_lanes = u64::from(if self.dtype == Dtype::F16 { machine.lanes_16 } else { machine.lanes_32 });
        let start = u64::from(machine.vector_startup_cycles);
        let mut cycles = u64::from(machine.task_switch_cycles) + start;
        cycles += (u64::from(self.rows) * u64::from(self.columns)).div_ceil(machine.lanes_32.into());
        for (side, copies) in [(Side::A, 1), (Side::B, slots_of_b)].into_iter().filter(|&(side, _)| !self.packed(side))
        {
            let elements = u64::from(self.lines(side)) * u64::from(self.depth);
            cycles += u64::from(copies) * (elements.div_ceil(copy_lanes) + start);
        }
        cycles
    }
}
