//! Relayout: moves the elements of a tensor from one distribution to another, in another order.
//!
//! Transposes, head splits, slices, concatenations, patches: all are "element `i` of the destination is element `f(i)` of the
//! source". At compile time [`plan`] works out, for every PE, which elements it takes from whom; at run time the data take at
//! most two steps:
//!
//! 1. along the rows: each PE in turn broadcasts its tile; each PE keeps what PEs of its *column* need;
//! 2. along the columns: each PE in turn broadcasts what it kept; each PE takes what it needs itself;
//!
//! or the columns first, where that is faster on the machine. A step that would move nothing is left out, and so are
//! the turns of PEs in front of the first that has something to send. What a PE takes from the broadcasts is a list of roots
//! and strided runs in its SRAM. In a transposition all that a column needs may come together in one PE between the two steps. Where memory is
//! short ([`Aim::Memory`]) both are done for some roots of the first one after others, so that less of it is there at a time.

mod cycles;
mod per_pe;
mod plan;
mod runs;

use crate::code::{Code, Reg, Tile, memory};
use crate::line::{self, Turn};
use crate::mesh::{Axis, Mesh};
use per_pe::PerPe;
use waferloom_fabric::{
    Address, ClaimLine, Compare, Coord, Distribution, Dtype, Extent, Machine, Region, ScalarOp, TakesClaim, Value,
    VectorOp,
};

pub use plan::{Aim, is_better, plan};

/// In a map of elements: one that the relayout does not give.
pub const NOWHERE: u32 = u32::MAX;

/// One step: broadcasts along an axis, or copies on each PE alone; in each part of the relayout some of them.
#[derive(Clone, Debug)]
pub struct Step {
    /// Along which axis; `None` when no data leave their PE.
    axis: Option<Axis>,
    series: Series,
    /// Dimensions of the runs.
    rank: usize,
    /// Words that each root sends.
    words: Words,
    /// For each PE a list of what it takes (see [`Take`]) in each part, with [`NO_ROOT`] at its end.
    lists: PerPe<Vec<u16>>,
    /// Numbers of a part's list: an even number, so that tables fill whole words.
    list_numbers: usize,
}

/// The turns of a step.
#[derive(Clone, Copy, Debug)]
struct Series {
    /// The first PE of a line that sends anything.
    first: u32,
    /// Turns in each part of the relayout.
    turns: u32,
    parts: u32,
    /// Whether it goes on in a part where it was in the one before, instead of beginning anew: as the first of two steps does.
    goes_on: bool,
}

impl Series {
    /// The root of the first turn in a part.
    fn root(self, part: u32) -> u32 {
        self.first + if self.goes_on { part * self.turns } else { 0 }
    }

    /// One more than the last PE of a line that sends anything.
    fn end(self) -> u32 {
        self.root(self.parts - 1) + self.turns
    }

    /// How many roots there are in all parts.
    fn roots(self) -> u32 {
        self.end() - self.first
    }
}

/// Words that the roots of a step send, from the first that sends anything on.
#[derive(Clone, Debug)]
enum Words {
    /// All of them, in all lines, the same.
    Even(u16),
    /// By line and root: the most over all parts.
    Uneven(Vec<Vec<u16>>),
}

/// Where a list of runs ends: no PE has this position, for a line is shorter.
const NO_ROOT: u16 = TakesClaim::END;

impl Step {
    /// What the step does, as a whole, with tiles of a number of words.
    fn claim(&self, region: Region, dtype: Dtype, words: u32) -> TakesClaim {
        let line = match self.axis {
            None => ClaimLine::Own,
            Some(Axis::X) => ClaimLine::Row,
            Some(Axis::Y) => ClaimLine::Column,
        };
        let [first, end] = [self.series.first, self.series.end()].map(|place| place as u16);
        TakesClaim { region, line, dtype, first, end, words, rank: self.rank as u8 }
    }

    /// What a PE takes in a part, as its list says.
    fn list<'a>(&self, lists: &'a [u16], part: u32) -> &'a [u16] {
        let behind = &lists[(part as usize * self.list_numbers).min(lists.len())..];
        &behind[..self.list_numbers.min(behind.len())]
    }

    /// Most words that a root sends.
    fn panel_words(&self) -> u32 {
        match &self.words {
            Words::Even(words) => (*words).into(),
            Words::Uneven(lines) => lines.iter().flatten().copied().max().unwrap_or(0).into(),
        }
    }

    /// What a list says.
    fn takes<'a>(&self, list: &'a [u16]) -> impl Iterator<Item = Take<'a>> + use<'a> {
        let numbers = TakesClaim::copy_numbers(self.rank);
        let mut rest = list;
        std::iter::from_fn(move || {
            let &[root, roots, _, count, ref behind @ ..] = rest else { return None };
            if root == NO_ROOT {
                return None;
            }
            let (runs, behind) = behind.split_at(usize::from(count) * numbers);
            rest = behind;
            Some(Take { root, roots, runs: runs.chunks(numbers) })
        })
    }
}

/// The same runs from one root or several. In a list: the first root, the number of roots, the elements that a root's runs go
/// farther in the target than those of the root before, the number of runs, and the runs.
struct Take<'a> {
    root: u16,
    /// Roots one behind another.
    roots: u16,
    runs: std::slice::Chunks<'a, u16>,
}

/// A relayout, worked out.
#[derive(Clone, Debug)]
pub struct Relayout {
    steps: Vec<Step>,
    /// Elements between the two steps, the most over all PEs and parts.
    middle_elements: u32,
    grid: Extent,
    /// Cycles of [`emit`], estimated.
    cycles: u64,
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
    fn new(steps: Vec<Step>, middle_elements: u32, grid: Extent, machine: &Machine, dtype: Dtype) -> Self {
        let cycles = steps.iter().map(|step| cycles::of_step(step, grid, machine, dtype)).sum();
        Self { steps, middle_elements, grid, cycles }
    }

    /// How often all steps are done, each time for other elements.
    fn parts(&self) -> u32 {
        self.steps.first().map_or(1, |step| step.series.parts)
    }

    /// Cycles of [`emit`], estimated, for the machine and the type of elements of the plan.
    pub fn cycles(&self) -> u64 {
        self.cycles
    }

    /// Cycles, and bytes of working memory.
    fn takes(&self, dtype: Dtype) -> (u64, u32) {
        (self.cycles, self.panel_bytes() + self.middle_bytes(dtype))
    }

    /// Whether no element changes its PE or its place: the destination may then be the same memory as the source.
    pub fn is_identity(&self) -> bool {
        let [step @ Step { axis: None, .. }] = self.steps.as_slice() else { return false };
        step.lists.values().iter().flat_map(|lists| step.takes(lists)).flat_map(|take| take.runs).all(|run| {
            let stays = |dim: &[u16]| dim[0] == 1 || dim[1] == dim[2];
            run[0] == run[1] && run[2..].chunks(3).all(stays)
        })
    }

    /// The series of broadcasts, in order: along which axis, and how many turns each has.
    pub fn series(&self) -> Vec<(Axis, u32)> {
        let of_part = || self.steps.iter().filter_map(|step| step.axis.map(|axis| (axis, step.series.turns)));
        (0..self.parts()).flat_map(|_| of_part()).collect()
    }

    /// Bytes of the buffer that receives broadcasts.
    pub fn panel_bytes(&self) -> u32 {
        self.steps.iter().map(|step| step.panel_words() * 4).max().unwrap_or(0)
    }

    /// Bytes of the buffer between the two steps.
    pub fn middle_bytes(&self, dtype: Dtype) -> u32 {
        (self.middle_elements * dtype.bytes()).div_ceil(4) * 4
    }

    /// Bytes of each table in each PE, in the order of [`Relayout::tables`].
    pub fn table_bytes(&self) -> Vec<u32> {
        self.steps.iter().flat_map(table_bytes).collect()
    }

    /// The tables: of each step the PEs' lists, then the words of the roots if they differ.
    pub fn tables(&self) -> Vec<Tables> {
        self.steps.iter().flat_map(|step| [Some(self.lists(step)), self.words(step)]).flatten().collect()
    }

    fn lists(&self, step: &Step) -> Tables {
        self.dealt(list_numbers(step), step.lists.kinds(), |at| step.lists.at(at))
    }

    fn words(&self, step: &Step) -> Option<Tables> {
        let Words::Uneven(lines) = &step.words else { return None };
        let (kinds, line): (_, fn(Coord) -> u16) = match step.axis {
            Some(Axis::Y) => (Extent { height: 1, ..self.grid }, |at| at.x),
            _ => (Extent { width: 1, ..self.grid }, |at| at.y),
        };
        Some(self.dealt(word_numbers(step), kinds, |at| &lines[usize::from(line(at))]))
    }

    /// Deals each PE its numbers, filled up to `length`; columns and rows beyond `kinds` have the same as the first.
    fn dealt<'a>(&self, length: usize, kinds: Extent, of: impl Fn(Coord) -> &'a [u16]) -> Tables {
        let pes = |kinds: Extent| (0..kinds.pes()).map(move |pe| kinds.coord(pe));
        let rows = if pes(kinds).all(|at| of(at) == of(Coord { y: 0, ..at })) { 1 } else { kinds.height };
        let columns = if pes(kinds).all(|at| of(at) == of(Coord { x: 0, ..at })) { 1 } else { kinds.width };
        let mut numbers = Vec::with_capacity(length * usize::from(rows) * usize::from(columns));
        for at in pes(Extent { width: columns, height: rows }) {
            let start = numbers.len();
            numbers.extend_from_slice(of(at));
            numbers.resize(start + length, 0);
        }
        let split = |dim, count: u16| (count > 1).then_some(waferloom_fabric::Split { dim, block: 1 });
        Tables {
            distribution: Distribution {
                grid: self.grid,
                shape: vec![u32::from(rows), u32::from(columns), length as u32],
                x: split(1, columns),
                y: split(0, rows),
            },
            numbers,
        }
    }
}

/// Numbers of the table of lists in each PE.
fn list_numbers(step: &Step) -> usize {
    step.list_numbers * step.series.parts as usize
}

/// Numbers of the table of words in each PE: an even number.
fn word_numbers(step: &Step) -> usize {
    (step.series.roots() as usize).next_multiple_of(2)
}

/// Bytes of a step's tables.
fn table_bytes(step: &Step) -> impl Iterator<Item = u32> {
    let words = matches!(step.words, Words::Uneven(_)).then(|| word_numbers(step));
    [Some(list_numbers(step)), words].into_iter().flatten().map(|numbers| numbers as u32 * 2)
}

/// Addresses of a relayout's working memory.
#[derive(Clone, Debug)]
pub struct Memory {
    /// Those of [`Relayout::tables`].
    pub tables: Vec<u32>,
    /// Buffer of [`Relayout::panel_bytes`].
    pub panel: u32,
    /// Buffer of [`Relayout::middle_bytes`].
    pub middle: u32,
}

/// Emits the data movement. Elements of `dst` that the map leaves out keep their value.
pub fn emit(code: &mut Code, mesh: &mut Mesh, relayout: &Relayout, dst: Tile, src: Tile, memory: &Memory) {
    let count = relayout.steps.len();
    code.repeat(relayout.parts(), |code, part| {
        let mut tables = memory.tables.as_slice();
        for (i, step) in relayout.steps.iter().enumerate() {
            let (own, rest) = tables.split_at(table_bytes(step).count());
            tables = rest;
            let from = if i == 0 { src.address } else { memory.middle };
            let to = if i + 1 == count { dst.address } else { memory.middle };
            if step.series.turns == 0 {
                continue;
            }
            let words = match (step.axis, i) {
                (Some(_), _) => step.panel_words(),
                (None, 0) => src.words(),
                (None, _) => relayout.middle_bytes(src.dtype) / 4,
            };
            let claim = mesh.claim(step.claim(mesh.region(), src.dtype, words));
            code.scope(|code| {
                let list = scaled_sum(code, part, step.list_numbers as u32 * 2, own[0]);
                code.claim(claim, [from.into(), Address { base: list, offset: 0 }, to.into()], |code| {
                    emit_step(code, mesh, step, src.dtype, [from, to, memory.panel], (part, list, own));
                });
            });
        }
    });
}

/// A part of a step, whose list lies at an address.
fn emit_step(
    code: &mut Code,
    mesh: &Mesh,
    step: &Step,
    dtype: Dtype,
    [from, to, panel]: [u32; 3],
    (part, start, tables): (Value, Value, &[u32]),
) {
    let series = step.series;
    let list = List { take: code.register(), root: code.register(), left: code.register(), shift: code.register() };
    code.set(list.take, start);
    list.begin_take(code);
    if let Some(axis) = step.axis {
        line::skip(code, mesh, axis, series.first, if series.goes_on { part } else { Value::Imm(0) });
    }
    // How many roots have had their turn in the parts before.
    let before = if series.goes_on { scaled_sum(code, part, series.turns, 0) } else { Value::Imm(0) };
    code.repeat(series.turns, |code, turn| {
        let place = code.register();
        let done = sum(code, turn, before);
        let root = sum(code, done, (series.first as i32).into());
        match step.axis {
            None => code.set(place, from),
            Some(axis) => {
                let words = match step.words {
                    Words::Even(words) => i32::from(words).into(),
                    Words::Uneven(_) => {
                        let words = code.register();
                        code.scalar(ScalarOp::Shl, words, done, 1);
                        code.load_u16(words, words, tables[1] as i32);
                        words.into()
                    }
                };
                let last = [(root, Value::Imm(series.end() as i32 - 1))];
                let turn = Turn { axis, root, last: &last, panel: panel.into(), words };
                line::turn(code, mesh, &turn, place, |_| from.into());
            }
        }
        code.branch(Compare::Eq, list.root, root, |code| list.copy_runs(code, place, to, dtype, step.rank), |_| {});
    });
}

/// A value that may not be known yet, so many times, and an offset.
fn scaled_sum(code: &mut Code, value: Value, factor: u32, offset: u32) -> Value {
    match value {
        Value::Imm(known) => Value::Imm(known * factor as i32 + offset as i32),
        value => {
            let scaled = code.register();
            code.scalar(ScalarOp::Mul, scaled, value, factor);
            code.scalar(ScalarOp::Add, scaled, scaled, offset);
            scaled.into()
        }
    }
}

/// The sum of two values that may not be known yet.
fn sum(code: &mut Code, a: Value, b: Value) -> Value {
    match (a, b) {
        (a, Value::Imm(0)) => a,
        (Value::Imm(a), Value::Imm(b)) => Value::Imm(a + b),
        (a, b) => {
            let sum = code.register();
            code.scalar(ScalarOp::Add, sum, a, b);
            sum.into()
        }
    }
}

/// Registers with which the code goes through a PE's list.
#[derive(Clone, Copy)]
struct List {
    /// Address of the [`Take`] at hand.
    take: Reg,
    /// The next root from which something is taken.
    root: Reg,
    /// Roots of the take that are left.
    left: Reg,
    /// Bytes that have been added up from advances.
    shift: Reg,
}

impl List {
    /// Loads what the take at hand starts with.
    fn begin_take(self, code: &mut Code) {
        code.load_u16(self.root, self.take, 0);
        code.load_u16(self.left, self.take, 2);
        code.set(self.shift, 0);
    }

    /// Copies the runs of a root, and goes on to the next one.
    fn copy_runs(self, code: &mut Code, place: Reg, to: u32, dtype: Dtype, rank: usize) {
        let (element, shift) = if dtype.bytes() == 2 { (Dtype::U16, 1) } else { (Dtype::I32, 2) };
        let (count, at) = (code.register(), code.register());
        code.load_u16(count, self.take, 6);
        code.scalar(ScalarOp::Add, at, self.take, 8);
        code.repeat_value(count.into(), |code, _| {
            let numbers: Vec<Reg> = (0..TakesClaim::copy_numbers(rank))
                .map(|i| {
                    let register = code.register();
                    code.load_u16(register, at, i as i32 * 2);
                    register
                })
                .collect();
            let (source, target) = (numbers[0], numbers[1]);
            code.scalar(ScalarOp::Shl, source, source, shift);
            code.scalar(ScalarOp::Add, source, source, place);
            code.scalar(ScalarOp::Shl, target, target, shift);
            code.scalar(ScalarOp::Add, target, target, self.shift);
            let dims = |step: usize| -> Vec<(Value, Value)> {
                numbers[2..].chunks(3).map(|dim| (dim[0].into(), dim[step].into())).collect()
            };
            let from = memory(source, 0, element, &dims(1));
            code.vector(VectorOp::Mov, memory(target, to as i32, element, &dims(2)), &[from]);
            code.scalar(ScalarOp::Add, at, at, TakesClaim::copy_numbers(rank) as i32 * 2);
        });
        code.scalar(ScalarOp::Sub, self.left, self.left, 1);
        let next_take = |code: &mut Code| {
            code.set(self.take, at);
            self.begin_take(code);
        };
        let next_root = |code: &mut Code| {
            code.scalar(ScalarOp::Add, self.root, self.root, 1);
            code.load_u16(count, self.take, 4);
            code.scalar(ScalarOp::Shl, count, count, shift);
            code.scalar(ScalarOp::Add, self.shift, self.shift, count);
        };
        code.branch(Compare::Eq, self.left, 0, next_take, next_root);
    }
}
