//! Relayout: moves the elements of a tensor from one distribution to another, in another order.
//!
//! Transposes, head splits, slices, concatenations, patches: all are "element `i` of the destination is element `f(i)` of the
//! source". At compile time [`plan`] works out, for every PE, which elements it takes from whom; at run time the data take at
//! most two steps:
//!
//! 1. along the rows: each PE in turn broadcasts its tile; each PE keeps what PEs of its *column* need;
//! 2. along the columns: each PE in turn broadcasts what it kept; each PE takes what it needs itself;
//!
//! or the columns first, where that is faster on the machine. A step that would move nothing is left out. What a PE takes from a broadcast is a list of strided runs in its SRAM.

mod cycles;
mod plan;
mod runs;

use crate::code::{Code, Reg, Tile, memory};
use crate::line::{self, Turn};
use crate::mesh::{Axis, Mesh};
use runs::run_numbers;
use waferloom_fabric::{Distribution, Dtype, Extent, ScalarOp, Value, VectorOp};

pub use plan::plan;

/// In a map of elements: one that the relayout does not give.
pub const NOWHERE: u32 = u32::MAX;

/// One step: broadcasts along an axis, or copies on each PE alone.
#[derive(Clone, Debug)]
pub struct Step {
    /// Along which axis; `None` when no data leave their PE.
    axis: Option<Axis>,
    /// Turns of the broadcast.
    roots: u32,
    /// Dimensions of the runs.
    rank: usize,
    /// Words that each root sends, per PE of its line (all agree), then per root the number of runs and the runs.
    tables: Vec<Vec<u16>>,
    /// Most words that a root sends.
    panel_words: u32,
}

impl Step {
    /// Numbers of the table in each PE: an even number, so that tables fill whole words.
    fn table_numbers(&self) -> usize {
        self.tables.iter().map(Vec::len).max().unwrap_or(0).next_multiple_of(2).max(2)
    }
}

/// A relayout, worked out.
#[derive(Clone, Debug)]
pub struct Relayout {
    steps: Vec<Step>,
    /// Elements between the two steps, the most over all PEs.
    middle_elements: u32,
    grid: Extent,
}

/// Why a relayout cannot be done.
#[derive(Debug, thiserror::Error)]
#[error("a tile of {elements} elements is too large for a relayout's 16-bit tables; use a larger grid")]
pub struct TooLarge {
    /// Elements of the tile.
    pub elements: usize,
}

/// A table for every PE, as the constant that must lie in SRAM: rows of numbers, a row a PE. Where all PEs of a column, or of a row,
/// have the same, it is there once.
#[derive(Clone, Debug)]
pub struct Tables {
    /// How the numbers are dealt.
    pub distribution: Distribution,
    /// All numbers.
    pub numbers: Vec<u16>,
}

impl Relayout {
    /// Whether no element changes its PE or its place: the destination may then be the same memory as the source.
    pub fn is_identity(&self) -> bool {
        let [step @ Step { axis: None, .. }] = self.steps.as_slice() else { return false };
        // A table is the words sent, the number of runs, the runs.
        step.tables.iter().all(|table| {
            table.get(2..).unwrap_or(&[]).chunks(run_numbers(step.rank)).all(|run| {
                let stays = |dim: &[u16]| dim[0] == 1 || dim[1] == dim[2];
                run[0] == run[1] && run[2..].chunks(3).all(stays)
            })
        })
    }

    /// The series of broadcasts, in order: along which axis, and how many turns each has.
    pub fn series(&self) -> Vec<(Axis, u32)> {
        self.steps.iter().filter_map(|step| step.axis.map(|axis| (axis, step.roots))).collect()
    }

    /// Bytes of the buffer that receives broadcasts.
    pub fn panel_bytes(&self) -> u32 {
        self.steps.iter().filter(|s| s.axis.is_some()).map(|s| s.panel_words * 4).max().unwrap_or(0)
    }

    /// Bytes of the buffer between the two steps.
    pub fn middle_bytes(&self, dtype: Dtype) -> u32 {
        (self.middle_elements * dtype.bytes()).div_ceil(4) * 4
    }

    /// Bytes of each step's table in each PE.
    pub fn table_bytes(&self) -> Vec<u32> {
        self.steps.iter().map(|step| step.table_numbers() as u32 * 2).collect()
    }

    /// The tables of each step.
    pub fn tables(&self) -> Vec<Tables> {
        self.steps.iter().map(|step| self.step_tables(step)).collect()
    }

    fn step_tables(&self, step: &Step) -> Tables {
        let length = step.table_numbers();
        let Extent { width, height } = self.grid;
        let table = |x: u16, y: u16| &step.tables[usize::from(y) * usize::from(width) + usize::from(x)];
        let each = |alike: &dyn Fn(u16, u16) -> bool| (0..height).all(|y| (0..width).all(|x| alike(x, y)));
        let rows = if each(&|x, y| table(x, y) == table(x, 0)) { 1 } else { height };
        let columns = if each(&|x, y| table(x, y) == table(0, y)) { 1 } else { width };
        let mut numbers = Vec::with_capacity(length * usize::from(rows) * usize::from(columns));
        for (x, y) in (0..rows).flat_map(|y| (0..columns).map(move |x| (x, y))) {
            let start = numbers.len();
            numbers.extend_from_slice(table(x, y));
            numbers.resize(start + length, 0);
        }
        let dealt = |dim, count: u16| (count > 1).then_some(waferloom_fabric::Split { dim, block: 1 });
        Tables {
            distribution: Distribution {
                grid: self.grid,
                shape: vec![u32::from(rows), u32::from(columns), length as u32],
                x: dealt(1, columns),
                y: dealt(0, rows),
            },
            numbers,
        }
    }
}

/// Addresses of a relayout's working memory.
#[derive(Clone, Debug)]
pub struct Memory {
    /// One table a step.
    pub tables: Vec<u32>,
    /// Buffer of [`Relayout::panel_bytes`].
    pub panel: u32,
    /// Buffer of [`Relayout::middle_bytes`].
    pub middle: u32,
}

/// Emits the data movement. Elements of `dst` that the map leaves out keep their value.
pub fn emit(code: &mut Code, mesh: &Mesh, relayout: &Relayout, dst: Tile, src: Tile, memory: &Memory) {
    let count = relayout.steps.len();
    for (i, (step, &table)) in relayout.steps.iter().zip(&memory.tables).enumerate() {
        let from = if i == 0 { src.address } else { memory.middle };
        let to = if i + 1 == count { dst.address } else { memory.middle };
        code.scope(|code| emit_step(code, mesh, step, src.dtype, [from, to, memory.panel, table]));
    }
}

fn emit_step(code: &mut Code, mesh: &Mesh, step: &Step, dtype: Dtype, [from, to, panel, table]: [u32; 4]) {
    let list = code.register();
    code.set(list, table + step.roots * 2);
    code.repeat(step.roots, |code, root| {
        let place = code.register();
        match step.axis {
            None => code.set(place, from),
            Some(axis) => {
                let (words, flag) = (code.register(), code.register());
                code.scalar(ScalarOp::Shl, words, root, 1);
                code.load_u16(words, words, table as i32);
                let last = line::equal(code, flag, root, Value::Imm(step.roots as i32 - 1));
                let turn = Turn { axis, root, last, source: from.into(), panel: panel.into(), words: words.into() };
                line::turn(code, mesh, &turn, place);
            }
        }
        copy_runs(code, list, place, to, dtype, step.rank);
    });
}

/// Copies the runs that `list` points at, and moves it behind them.
fn copy_runs(code: &mut Code, list: Reg, place: Reg, to: u32, dtype: Dtype, rank: usize) {
    let (element, shift) = if dtype.bytes() == 2 { (Dtype::U16, 1) } else { (Dtype::I32, 2) };
    let count = code.register();
    code.load_u16(count, list, 0);
    code.scalar(ScalarOp::Add, list, list, 2);
    code.repeat_value(count.into(), |code, _| {
        let numbers: Vec<Reg> = (0..run_numbers(rank))
            .map(|i| {
                let register = code.register();
                code.load_u16(register, list, i as i32 * 2);
                register
            })
            .collect();
        let (source, target) = (numbers[0], numbers[1]);
        code.scalar(ScalarOp::Shl, source, source, shift);
        code.scalar(ScalarOp::Add, source, source, place);
        code.scalar(ScalarOp::Shl, target, target, shift);
        let dims = |step: usize| -> Vec<(Value, Value)> {
            numbers[2..].chunks(3).map(|dim| (dim[0].into(), dim[step].into())).collect()
        };
        let from = memory(source, 0, element, &dims(1));
        code.vector(VectorOp::Mov, memory(target, to as i32, element, &dims(2)), &[from]);
        code.scalar(ScalarOp::Add, list, list, run_numbers(rank) as i32 * 2);
    });
}
