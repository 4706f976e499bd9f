//! Product of a sparse matrix and a dense one, C = A B, on a rectangle of PEs: only non-zeros of A take time and memory.
//!
//! A is dealt in tiles as in [`super::gemv`]. The rows of B go the way of x and the sums of C that of y ([`super::matvec`]):
//! B is multicast down the columns of PEs, and C is added up towards the west. A non-zero `A[i, j]` is one multiply-add
//! `C[i, :] += A[i, j] * B[j, :]` over the `n` columns: a row times a scalar, the sparse product row by row of F. Gustavson,
//! *Two Fast Algorithms for Sparse Matrices: Multiplication and Permuted Transposition* (1978).
//!
//! Two forms of a PE's list of non-zeros, of which the one with the least estimate is taken among those that fit:
//! `unrolled`, an instruction a non-zero, whose addresses, length and factor are parameters (an issue each, 28 bytes on
//! `wse2`); and `table`, a loop over entries in SRAM, which loads them into registers first (three loads more, 12 bytes).
//!
//! The multiply-adds run on microthreads, so that the start of one overlaps with the elements of others. Those under way at
//! once are of different rows. Asynchronous instructions without an operand on the fabric are a freedom of the program format.
//!
//! Order of accumulation: in a PE, each element of C is a sequence of fused multiply-adds in f32 from 0 over the non-zeros
//! of its row of A in ascending order of the columns; then as in `gemv`.

use super::data::{fits_host, numbers};
use super::matvec::Frame;
use super::sketch::Sketch;
use super::sparse_gemv::{grid_order, matrix};
use super::{Instance, Kernel, KernelError, Parameter, Settings};
use crate::code::{Code, Reg, Tile, memory};
use std::collections::{BTreeMap, VecDeque};
use waferloom_fabric::code::{Async, Instruction, Operand, ScalarOp};
use waferloom_fabric::{
    BufferKind, Coord, Distribution, Dtype, Extent, Machine, Param, ParamValues, Split, Value, VectorOp,
};

pub(super) const KERNEL: Kernel = Kernel {
    name: "sparse_gemm",
    summary: "C = A B in f32 with a sparse A of m x k, dealt as for gemv, and a dense B of k x n. Only non-zeros take time: \
              each is a multiply-add over a row of B (the row-wise product of Gustavson 1978).",
    parameters: &[
        Parameter::integer("p", "4", (1, 65535), "columns of PEs").tunable(),
        Parameter::integer("q", "4", (1, 65535), "rows of PEs").tunable(),
        Parameter::integer("m", "128", (1, 1 << 20), "rows of A and C"),
        Parameter::integer("k", "128", (1, 1 << 20), "columns of A, rows of B"),
        Parameter::integer("n", "32", (1, 1 << 20), "columns of B and C; with a multiple of 8 no banks collide"),
        Parameter::integer("zeros", "90", (0, 100), "percent of A that is zero, anywhere"),
    ],
    build,
};

/// Microthreads that are used at most.
const MOST_THREADS: u32 = 8;

/// Bytes of an entry of the table: factor, address in C, address in B.
const ENTRY: u32 = 12;

/// B and C start in banks that never collide: 16 bytes apart modulo 32.
const B_PHASE: u32 = 0;
const C_PHASE: u32 = 16;

/// Sizes of the product.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// A's tiles.
    a: Frame,
    /// The way of B's and C's elements: a row of either is `n` elements of a vector.
    ways: Frame,
    n: u32,
    /// Microthreads.
    threads: usize,
}

/// A non-zero of a tile.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Entry {
    row: u32,
    column: u32,
    value: f32,
}

/// What a PE does, in order; `None` lets a place pass, so that a row is done before it is used again.
type List = Vec<Option<Entry>>;

/// How the lists are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Unrolled,
    Table,
}

/// A form of the program on its way.
struct Parts<'a> {
    shape: &'a Shape,
    lists: &'a [List],
    b: Tile,
    c: Tile,
}

fn build(settings: &Settings, machine: &Machine) -> Result<Instance, KernelError> {
    let grid = Extent { width: settings.pes("p"), height: settings.pes("q") };
    let sketch = Sketch::new("sparse_gemm", machine, grid, ["p", "q"])?;
    let shape = shape(settings, machine, grid)?;
    let (m, k, n) = (shape.a.m as usize, shape.a.k as usize, shape.n as usize);
    let a = matrix(&shape.a, settings.integer("zeros"));
    let b = numbers(k * n, 6);
    let lists: Vec<List> = grid_order(grid).map(|pe| schedule(tile(&shape.a, &a, pe), shape.threads)).collect();
    let [unrolled, table] = [Form::Unrolled, Form::Table].map(|form| emit(sketch.clone(), &shape, &lists, &b, form));
    let (program, estimate_cycles, form) = match (unrolled, table) {
        (Ok(unrolled), Ok(table)) => {
            if unrolled.1 <= table.1 {
                unrolled
            } else {
                table
            }
        }
        (Ok(fits), Err(_)) | (Err(_), Ok(fits)) => fits,
        // The table is the smaller one: what it lacks is what there is to say.
        (Err(_), Err(error)) => return Err(error),
    };
    let mut expected = vec![0f64; m * n];
    for (row, sums) in a.chunks_exact(k).zip(expected.chunks_exact_mut(n)) {
        for (&left, right) in row.iter().zip(b.chunks_exact(n)).filter(|(a, _)| **a != 0.0) {
            sums.iter_mut().zip(right).for_each(|(sum, &right)| *sum += f64::from(left) * f64::from(right));
        }
    }
    Ok(Instance {
        program,
        inputs: BTreeMap::new(),
        expected: BTreeMap::from([("c".into(), expected)]),
        algorithm: if form == Form::Unrolled { "unrolled".into() } else { "table".into() },
        estimate_cycles,
        flops: 2 * u64::from(shape.n) * a.iter().filter(|&&v| v != 0.0).count() as u64,
    })
}

/// The sizes; refuses what cannot fit a PE or the host, before the matrix is made.
fn shape(settings: &Settings, machine: &Machine, grid: Extent) -> Result<Shape, KernelError> {
    if machine.microthreads == 0 {
        return Err(settings.refuse("zeros", "the machine has no microthreads, on which sparse products run: use gemm"));
    }
    let (m, k, n) = (settings.integer("m"), settings.integer("k"), settings.integer("n"));
    let a = Frame { grid, m, k, dtype: Dtype::F32, group: grid.width.into() };
    let zeros = settings.integer("zeros");
    let [rows, columns, wide] = [a.rows(), a.columns(), n].map(u64::from);
    let filled = rows * columns * u64::from(100 - zeros) / 100;
    let needed = (rows + columns) * wide * 4 + filled * u64::from(ENTRY);
    // A draw may give a few less than their share.
    if needed * 9 / 10 > u64::from(machine.sram_bytes) {
        return Err(KernelError::TooLarge {
            what: format!("a tile of {rows} x {columns}, {zeros} % of it zero, times {n} columns,"),
            needed,
            unit: "bytes of SRAM in a PE",
            machine: machine.name.clone(),
            available: machine.sram_bytes.into(),
            change: larger(&a, n),
        });
    }
    fits_host(settings, if m >= k { "m" } else { "k" }, u64::from(m) * u64::from(k))?;
    let (all_rows, all_columns) = (rows * u64::from(grid.height), columns * u64::from(grid.width));
    fits_host(settings, larger(&a, n), all_rows.max(all_columns) * wide)?;
    let chain = Frame { m: (all_rows * wide) as u32, k: (all_columns * wide) as u32, ..a };
    let tree = Frame { group: chain.best_group(machine), ..chain };
    let ways = if tree.sum_cycles(machine) < chain.sum_cycles(machine) { tree } else { chain };
    // As many as hide the start of one behind the elements of the others; and three more, since those that are ready
    // share the datapath in turn and thus tend to end together, and then start together.
    let busy = n.div_ceil(machine.lanes_32.max(1)) + machine.scalar_cycles;
    let hide = 4 + (machine.vector_startup_cycles + 1).div_ceil(busy.max(1));
    let threads = hide.min(MOST_THREADS).min(machine.microthreads.into()).min(a.rows());
    Ok(Shape { a, ways, n, threads: threads as usize })
}

/// The parameter to change when a PE's part is too large.
fn larger(a: &Frame, n: u32) -> &'static str {
    match a.m.max(a.k) {
        most if n > most => "n",
        most if a.m == most => "m",
        _ => "k",
    }
}

/// The non-zeros of a PE, row by row.
fn tile(frame: &Frame, a: &[f32], (px, py): (u32, u32)) -> Vec<VecDeque<Entry>> {
    let (first, left) = (py * frame.rows(), px * frame.columns());
    let rows = frame.rows().min(frame.m.saturating_sub(first));
    let columns = frame.columns().min(frame.k.saturating_sub(left));
    let at = |row: u32, column: u32| a[(first + row) as usize * frame.k as usize + (left + column) as usize];
    let of = |row| (0..columns).map(move |column| Entry { row, column, value: at(row, column) });
    (0..rows).map(|row| of(row).filter(|entry| entry.value != 0.0).collect()).collect()
}

/// An order in which any `threads` neighbours are of different rows: always the next of the fullest row that may follow.
fn schedule(mut rows: Vec<VecDeque<Entry>>, threads: usize) -> List {
    let mut list = List::new();
    let mut left: usize = rows.iter().map(VecDeque::len).sum();
    while left > 0 {
        let recent = &list[list.len().saturating_sub(threads - 1)..];
        let free = |row: usize| !recent.iter().flatten().any(|entry| entry.row as usize == row);
        let may = (0..rows.len()).filter(|&row| !rows[row].is_empty() && free(row));
        let next = may.min_by_key(|&row| std::cmp::Reverse(rows[row].len())).and_then(|row| rows[row].pop_front());
        left -= usize::from(next.is_some());
        list.push(next);
    }
    list
}

/// The whole program in one form, with its estimate.
fn emit(
    mut sketch: Sketch,
    shape: &Shape,
    lists: &[List],
    b_values: &[f32],
    form: Form,
) -> Result<(waferloom_fabric::Program, u64, Form), KernelError> {
    let Shape { a, ways, n, .. } = *shape;
    let change = larger(&a, n);
    let [b, c] = [(ways.columns(), "b", B_PHASE), (ways.rows(), "c", C_PHASE)].map(|(elements, name, phase)| {
        // The table lets the places that pass go to a row of their own behind C.
        let bytes = (elements + if name == "c" { n } else { 0 }) * 4;
        let address = sketch.phased_buffer(name, bytes, BufferKind::Activation, phase);
        Tile { address, elements, dtype: Dtype::F32 }
    });
    let parts = Parts { shape, lists, b, c };
    sketch.check(0, change)?;
    match form {
        Form::Unrolled => {
            let code = parts.unrolled(&mut sketch, change)?;
            ways.classes(&mut sketch, (b, c), |all| code.iter().for_each(|one| all.push(one.clone())));
        }
        Form::Table => {
            let (address, turns) = parts.table(&mut sketch, change)?;
            ways.classes(&mut sketch, (b, c), |code| parts.walk(code, address, turns));
        }
    }
    let split = |block| Some(Split { dim: 0, block });
    let north = Extent { width: a.grid.width, height: 1 };
    let dealt = Distribution { grid: north, shape: vec![a.k, n], x: split(a.columns()), y: None };
    sketch.constant("b", Dtype::F32, dealt, b.address, b_values);
    let west = Extent { width: 1, height: a.grid.height };
    let dealt = Distribution { grid: west, shape: vec![a.m, n], x: None, y: split(a.rows()) };
    sketch.result("c", Dtype::F32, dealt, Coord { x: 0, y: 0 }, c.address);
    let estimate = parts.estimate(&sketch.program.machine, form);
    Ok((sketch.finish(change)?, estimate, form))
}

impl Parts<'_> {
    fn places(&self) -> usize {
        self.lists.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// Address of the entry's row of C and of B.
    fn rows_of(&self, entry: Entry) -> [u32; 2] {
        [self.c.address + entry.row * self.shape.n * 4, self.b.address + entry.column * self.shape.n * 4]
    }

    /// `C[i, :] += value * B[j, :]` on the microthread of a place.
    fn multiply(&self, place: usize, [value, to, from]: [Value; 3], len: Value) -> Instruction {
        let row = |base| memory(base, 0, Dtype::F32, &[(len, 1.into())]);
        let factor = Operand::Scalar { value, dtype: Dtype::F32 };
        let microthread = (place % self.shape.threads) as u8;
        Instruction::Vector {
            op: VectorOp::Mac,
            dst: row(to),
            srcs: vec![row(to), row(from), factor],
            run_async: Some(Async { microthread, then: None }),
        }
    }

    /// A read that goes nowhere on each microthread: it is not issued before the microthread is done.
    fn wait(&self) -> Vec<Instruction> {
        let used = if self.places() == 0 { 0 } else { self.shape.threads };
        let read = |microthread: usize| Instruction::Vector {
            op: VectorOp::Mov,
            dst: Operand::Null,
            srcs: vec![memory(self.c.address, 0, Dtype::F32, &[(1.into(), 1.into())])],
            run_async: Some(Async { microthread: microthread as u8, then: None }),
        };
        (0..used).map(read).collect()
    }

    /// An instruction a place.
    fn unrolled(&self, sketch: &mut Sketch, change: &'static str) -> Result<Vec<Instruction>, KernelError> {
        let machine = &sketch.program.machine;
        let bytes = u64::from(machine.instruction_bytes + 3 * machine.descriptor_bytes) * self.places() as u64;
        if bytes > machine.sram_bytes.into() {
            return Err(KernelError::TooLarge {
                what: format!("an instruction for each of {} non-zeros", self.places()),
                needed: bytes,
                unit: "bytes of SRAM in a PE",
                machine: machine.name.clone(),
                available: machine.sram_bytes.into(),
                change,
            });
        }
        let mut code = Vec::new();
        for place in 0..self.places() {
            let mut param = |field: &str, of: &dyn Fn(Entry) -> u32, passes: u32| {
                let value = |list: &List| list.get(place).copied().flatten().map_or(passes, of) as i32;
                let values = ParamValues::PerPe(self.lists.iter().map(value).collect());
                sketch.program.params.push(Param { name: format!("{field}{place}"), values });
                Value::Param(sketch.program.params.len() as u32 - 1)
            };
            let value = param("value", &|entry| entry.value.to_bits(), 0);
            let to = param("to", &|entry| self.rows_of(entry)[0], self.c.address);
            let from = param("from", &|entry| self.rows_of(entry)[1], self.b.address);
            let full = self.lists.iter().all(|list| list.get(place).is_some_and(Option::is_some));
            let len = if full { self.shape.n.into() } else { param("len", &|_| self.shape.n, 0) };
            code.push(self.multiply(place, [value, to, from], len));
        }
        code.extend(self.wait());
        Ok(code)
    }

    /// Turns of a PE's loop: each takes a place on every microthread.
    fn turns(&self, list: &List) -> u32 {
        list.len().div_ceil(self.shape.threads) as u32
    }

    /// Lays the entries into SRAM; gives their address and the number of turns.
    fn table(&self, sketch: &mut Sketch, change: &'static str) -> Result<(u32, Value), KernelError> {
        let entries = self.places().next_multiple_of(self.shape.threads);
        let words = (entries as u32 * (ENTRY / 4)).max(1);
        let address = sketch.buffer("table", words * 4, BufferKind::Weight);
        sketch.check(u64::from(words) * self.lists.len() as u64, change)?;
        // A place that passes adds nothing to the row behind C.
        let passes = [0, self.c.address + self.c.bytes(), self.b.address];
        let mut bytes = Vec::with_capacity(self.lists.len() * words as usize * 4);
        for list in self.lists {
            let end = bytes.len() + words as usize * 4;
            for place in 0..entries {
                let entry = list.get(place).copied().flatten();
                let fields = entry.map_or(passes, |entry| {
                    let [to, from] = self.rows_of(entry);
                    [entry.value.to_bits(), to, from]
                });
                bytes.extend(fields.into_iter().flat_map(u32::to_le_bytes));
            }
            bytes.resize(end, 0);
        }
        let Extent { width, height } = self.shape.a.grid;
        let dealt = Distribution {
            grid: self.shape.a.grid,
            shape: vec![height.into(), width.into(), words],
            x: Some(Split { dim: 1, block: 1 }),
            y: Some(Split { dim: 0, block: 1 }),
        };
        sketch.bytes("table", Dtype::I32, dealt, address, bytes);
        let turns = ParamValues::PerPe(self.lists.iter().map(|list| self.turns(list) as i32).collect());
        sketch.program.params.push(Param { name: "turns".into(), values: turns });
        Ok((address, Value::Param(sketch.program.params.len() as u32 - 1)))
    }

    /// The loop over the table.
    fn walk(&self, code: &mut Code, address: u32, turns: Value) {
        if self.places() == 0 {
            return;
        }
        let next = code.register();
        code.set(next, address);
        code.repeat_value(turns, |code, _| {
            let fields: [Reg; 3] = std::array::from_fn(|_| code.register());
            for place in 0..self.shape.threads {
                for (field, Reg(dst)) in fields.into_iter().enumerate() {
                    let offset = (place as u32 * ENTRY) as i32 + field as i32 * 4;
                    code.push(Instruction::Load { dst, dtype: Dtype::I32, base: next.into(), offset });
                }
                code.push(self.multiply(place, fields.map(Value::from), self.shape.n.into()));
            }
            code.scalar(ScalarOp::Add, next, next, self.shape.threads as u32 * ENTRY);
        });
        self.wait().into_iter().for_each(|one| code.push(one));
    }

    /// Cycles of an entry's elements: two reads, a cycle more where their banks are equal.
    fn elements(&self, machine: &Machine, entry: Entry) -> u64 {
        let [to, from] = self.rows_of(entry);
        let modulo = machine.bank_conflict_modulo.max(1);
        let collide = |i: &u32| {
            let (a, b) = ((to + i * 4) / 8, (from + i * 4) / 8);
            a != b && a % modulo == b % modulo
        };
        let waits = (0..self.shape.n).filter(collide).count() as u32;
        let lanes = machine.lanes_32.max(1);
        u64::from(self.shape.n.div_ceil(lanes) + waits.div_ceil(lanes))
    }

    /// Cycles by the closed form of `docs/cost-model.md`; the slowest PE counts.
    fn estimate(&self, machine: &Machine, form: Form) -> u64 {
        let [c, s, branch] =
            [machine.scalar_cycles, machine.vector_startup_cycles, machine.branch_cycles].map(u64::from);
        let threads = self.shape.threads as u64;
        let passing = if form == Form::Table { u64::from(self.shape.n.div_ceil(machine.lanes_32.max(1))) } else { 0 };
        let issue = if form == Form::Table { 4 * c } else { c };
        // Either the datapath is always busy, or each microthread with a start and its elements.
        let place = |entry: Option<Entry>| {
            let elements = entry.map_or(passing, |entry| self.elements(machine, entry));
            (issue + elements).max((s + elements + c).div_ceil(threads))
        };
        let product = |list: &List| {
            let own = list.iter().map(|&entry| place(entry)).sum::<u64>();
            match form {
                Form::Unrolled => own + (self.places() - list.len()) as u64 * c,
                Form::Table => {
                    let turns = u64::from(self.turns(list));
                    own + turns * (branch + c) + (turns * threads - list.len() as u64) * place(None)
                }
            }
        };
        let most = self.lists.iter().map(product).max().unwrap_or(0);
        let end = if most == 0 { 0 } else { s + threads };
        let ways = &self.shape.ways;
        ways.spread_cycles(machine) + ways.clear_cycles(machine) + most + end + ways.sum_cycles(machine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_of_different_rows_and_rows_in_order() {
        for (filled, threads) in [(vec![9, 1, 0, 4], 2), (vec![3; 7], 5), (vec![20], 1), (vec![6, 5], 4), (vec![], 3)] {
            let row = |(row, &count): (usize, &u32)| {
                (0..count).map(|column| Entry { row: row as u32, column, value: 1.0 }).collect()
            };
            let rows: Vec<VecDeque<Entry>> = filled.iter().enumerate().map(row).collect();
            let list = schedule(rows.clone(), threads);
            for under_way in list.windows(threads) {
                let mut used: Vec<u32> = under_way.iter().flatten().map(|entry| entry.row).collect();
                let all = used.len();
                used.sort_unstable();
                used.dedup();
                assert_eq!(used.len(), all, "{filled:?}: {under_way:?}");
            }
            for (index, row) in rows.iter().enumerate() {
                let found: Vec<Entry> = list.iter().flatten().filter(|e| e.row as usize == index).copied().collect();
                assert_eq!(found, *row.iter().copied().collect::<Vec<_>>(), "row {index} of {filled:?}");
            }
        }
    }
}
