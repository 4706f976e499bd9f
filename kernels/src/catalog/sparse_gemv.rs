//! Product of a sparse matrix and a vector, y = A x, on a rectangle of PEs: only non-zeros take time and memory.
//!
//! A is dealt as in [`super::gemv`], and x and the sums go the same way ([`super::matvec`]). A PE's non-zeros lie in SRAM
//! one after another; its code is a list of short multiply-adds, each over a few non-zeros of one column (see
//! [`super::sparse_cover`]). All PEs share the code: what differs, the addresses, lengths and steps of the descriptors, are
//! parameters. So the positions of the non-zeros are in the descriptors, whose bytes count as code.
//!
//! Why not data tasks or a walk over indices: a task switch and the start of an instruction, or the loads of two indices,
//! cost several cycles a non-zero; at 90 % zeros nothing would be left of the gain. An instruction without an operand on the
//! fabric as an asynchronous one is a freedom of the program format.
//!
//! Order of accumulation in a PE: the order of its list; then as in `gemv`.

use super::data::{fits_host, numbers};
use super::matvec::Frame;
use super::sketch::Sketch;
use super::sparse_cover::{Boxed, Group, Threads, cover, schedule};
use super::{Instance, Kernel, KernelError, Parameter, Settings};
use crate::code::{Tile, memory};
use std::collections::BTreeMap;
use waferloom_fabric::code::{Async, Instruction, Operand};
use waferloom_fabric::{BufferKind, Distribution, Dtype, Extent, Machine, Param, ParamValues, Split, Value, VectorOp};

pub(super) const KERNEL: Kernel = Kernel {
    name: "sparse_gemv",
    summary: "y = A x with a sparse A of m x k in f32, dealt as for gemv. Only non-zeros take time: each PE runs short \
              multiply-adds over the affine groups into which its non-zeros fall.",
    parameters: &[
        Parameter::integer("p", "8", (1, 65535), "columns of PEs").tunable(),
        Parameter::integer("q", "8", (1, 65535), "rows of PEs").tunable(),
        Parameter::integer("m", "256", (1, 1 << 20), "rows of A, elements of y"),
        Parameter::integer("k", "256", (1, 1 << 20), "columns of A, elements of x"),
        Parameter::integer("zeros", "90", (0, 100), "percent of A that is zero, anywhere"),
    ],
    build,
};

/// Addresses modulo this many bytes that are tried for the values of a box: then the banks come around again.
const BANKS: u32 = 32;

/// Microthreads that are used, where the machine has so many.
const MOST_THREADS: u8 = 5;

/// The register that holds an element of x.
const X_REGISTER: u8 = 0;

/// Numbers of a descriptor: address in y, two lengths and steps, address of the values, length.
const FIELDS: usize = 7;

/// A box with the address of its values and the waits for memory of its elements.
#[derive(Clone, Copy, Debug, Default)]
struct Placed {
    boxed: Boxed,
    values: u32,
    waits: u32,
}

/// What a PE does: for each of its columns the boxes.
type List = Vec<(u32, Vec<Placed>)>;

fn build(settings: &Settings, machine: &Machine) -> Result<Instance, KernelError> {
    let grid = Extent { width: settings.pes("p"), height: settings.pes("q") };
    let (m, k) = (settings.integer("m"), settings.integer("k"));
    let chain = Frame { grid, m, k, dtype: Dtype::F32, group: grid.width.into() };
    let tree = Frame { group: chain.best_group(machine), ..chain };
    let frame = if tree.sum_cycles(machine) < chain.sum_cycles(machine) { tree } else { chain };
    let mut sketch = Sketch::new("sparse_gemv", machine, grid, ["p", "q"])?;
    fits(&frame, settings, machine)?;
    if machine.microthreads == 0 {
        return Err(settings.refuse("zeros", "the machine has no microthreads, on which sparse products run: use gemv"));
    }
    fits_host(settings, "m", u64::from(m) * u64::from(k))?;
    let a = matrix(&frame, settings.integer("zeros"));
    let vector = numbers(k as usize, 6);
    let (x, y) = frame.buffers(&mut sketch, 0);
    let start = sketch.next_address();
    let covers: Vec<Vec<Group>> = grid_order(grid).map(|(px, py)| groups(&frame, &a, px, py)).collect();
    let threads = Threads::new(machine.microthreads.min(MOST_THREADS).into(), &covers);
    let mut lists: Vec<List> = covers.into_iter().map(|groups| place(schedule(groups, &threads), y, start)).collect();
    let sizes = align(&mut lists, start);
    let placed = lists.iter().flatten().flat_map(|(_, boxes)| boxes);
    let end = placed.map(|b| b.values + b.boxed.len() * 4).max().unwrap_or(start).max(start + 4);
    let values = sketch.buffer("values", end - start, BufferKind::Weight);
    lay(&mut sketch, &frame, &a, &lists, values, (end - start) / 4);
    let code = instructions(&mut sketch, &lists, &sizes, &threads, (x, y));
    frame.emit(&mut sketch, (x, y), &vector, |all| code.iter().for_each(|one| all.push(one.clone())));
    let sum = |row: &[f32]| row.iter().zip(&vector).map(|(&a, &x)| f64::from(a) * f64::from(x)).sum();
    Ok(Instance {
        program: sketch.finish(larger(&frame))?,
        inputs: BTreeMap::new(),
        expected: BTreeMap::from([("y".into(), a.chunks_exact(k as usize).map(sum).collect())]),
        algorithm: if frame.group < u32::from(grid.width) { "tree".into() } else { "chain".into() },
        estimate_cycles: estimate(machine, &frame, &lists, &sizes),
        flops: 2 * a.iter().filter(|&&v| v != 0.0).count() as u64,
    })
}

pub(super) fn grid_order(grid: Extent) -> impl Iterator<Item = (u32, u32)> {
    (0..u32::from(grid.height)).flat_map(move |y| (0..u32::from(grid.width)).map(move |x| (x, y)))
}

/// The parameter to change when a PE's part is too large.
fn larger(frame: &Frame) -> &'static str {
    if frame.m >= frame.k { "m" } else { "k" }
}

/// Refuses what cannot fit, before the matrix is made: x, y and the values with their share of descriptors, at most six to one.
fn fits(frame: &Frame, settings: &Settings, machine: &Machine) -> Result<(), KernelError> {
    let (rows, columns) = (u64::from(frame.rows()), u64::from(frame.columns()));
    let values = rows * columns * u64::from(100 - settings.integer("zeros")) / 100;
    let instruction = u64::from(machine.instruction_bytes + 3 * machine.descriptor_bytes);
    let needed = (rows + columns + values) * 4 + values / 6 * instruction;
    // A draw may give a few less than their share.
    if needed * 9 / 10 <= u64::from(machine.sram_bytes) {
        return Ok(());
    }
    Err(KernelError::TooLarge {
        what: format!("a tile of {rows} x {columns}, {} % of it zero,", settings.integer("zeros")),
        needed,
        unit: "bytes of SRAM in a PE",
        machine: machine.name.clone(),
        available: machine.sram_bytes.into(),
        change: larger(frame),
    })
}

/// A matrix of which about `zeros` percent are zero.
pub(super) fn matrix(frame: &Frame, zeros: u32) -> Vec<f32> {
    let size = frame.m as usize * frame.k as usize;
    let mut a = numbers(size, 7);
    // Between -1 and 1, evenly.
    let threshold = zeros as f32 / 50.0 - 1.0;
    for (value, draw) in a.iter_mut().zip(numbers(size, 8)) {
        if draw < threshold || zeros == 100 {
            *value = 0.0;
        }
    }
    a
}

/// The boxes that cover a PE's non-zeros, column by column.
fn groups(frame: &Frame, a: &[f32], px: u32, py: u32) -> Vec<Group> {
    let first = py * frame.rows();
    let rows = frame.rows().min(frame.m.saturating_sub(first));
    let columns = frame.columns().min(frame.k.saturating_sub(px * frame.columns()));
    let filled = |column: u32| {
        let global = (px * frame.columns() + column) as usize;
        let at = move |row: u32| a[(first + row) as usize * frame.k as usize + global];
        (0..rows).filter(|&row| at(row) != 0.0).collect::<Vec<_>>()
    };
    (0..columns).map(|column| cover(column, &filled(column))).collect()
}

/// Gives each box an address for its values, where they collide least with the elements of y that they go to.
fn place(groups: Vec<Group>, y: Tile, start: u32) -> List {
    let mut next = start;
    let mut place = |boxed: Boxed| {
        let collide = |a: u32, b: u32| a / 8 != b / 8 && a / 8 % 4 == b / 8 % 4;
        let waits = |address: u32| {
            let elements = boxed.rows().zip((address..).step_by(4));
            elements.filter(|&(row, value)| collide(value, y.address + row * 4)).count() as u32
        };
        let values = (next..next + BANKS).step_by(4).min_by_key(|&a| waits(a)).unwrap_or(next);
        if boxed.len() > 0 {
            next = values + boxed.len() * 4;
        }
        Placed { boxed, values, waits: waits(values) }
    };
    groups.into_iter().map(|group| (group.column, group.boxes.into_iter().map(&mut place).collect())).collect()
}

/// Fills all lists up to the same groups of the same sizes; gives the sizes.
fn align(lists: &mut [List], start: u32) -> Vec<usize> {
    let groups = lists.iter().map(Vec::len).max().unwrap_or(0);
    let empty = Placed { values: start, ..Placed::default() };
    for list in lists.iter_mut() {
        list.resize(groups, (0, Vec::new()));
    }
    let size = |i: usize| lists.iter().map(|list| list[i].1.len()).max().unwrap_or(0);
    let sizes: Vec<usize> = (0..groups).map(size).collect();
    for list in lists {
        for ((_, boxes), &size) in list.iter_mut().zip(&sizes) {
            boxes.resize(size, empty);
        }
    }
    sizes
}

/// Lays the values into SRAM, in the order of each PE's list.
fn lay(sketch: &mut Sketch, frame: &Frame, a: &[f32], lists: &[List], address: u32, words: u32) {
    let Extent { width, height } = frame.grid;
    let mut values = vec![0f32; lists.len() * words as usize];
    for (((px, py), list), tile) in grid_order(frame.grid).zip(lists).zip(values.chunks_exact_mut(words as usize)) {
        for (column, placed) in list.iter().flat_map(|(column, boxes)| boxes.iter().map(move |b| (column, b))) {
            let column = (px * frame.columns() + column) as usize;
            for (i, row) in placed.boxed.rows().enumerate() {
                let row = (py * frame.rows() + row) as usize;
                tile[(placed.values - address) as usize / 4 + i] = a[row * frame.k as usize + column];
            }
        }
    }
    let dealt = Distribution {
        grid: frame.grid,
        shape: vec![height.into(), width.into(), words],
        x: Some(Split { dim: 1, block: 1 }),
        y: Some(Split { dim: 0, block: 1 }),
    };
    sketch.constant("values", Dtype::F32, dealt, address, &values);
}

/// The code that all PEs share: for each group its element of x into a register, and one multiply-add a box.
///
/// Then a read that goes nowhere on each microthread: it is not issued before the microthread is done, so that all sums
/// are complete behind the last.
fn instructions(
    sketch: &mut Sketch,
    lists: &[List],
    sizes: &[usize],
    threads: &Threads,
    (x, y): (Tile, Tile),
) -> Vec<Instruction> {
    let mut param = |name: String, value: &dyn Fn(&List) -> u32| {
        let values = lists.iter().map(|list| value(list) as i32).collect();
        sketch.program.params.push(Param { name, values: ParamValues::PerPe(values) });
        Value::Param(sketch.program.params.len() as u32 - 1)
    };
    let on = |microthread: usize| Some(Async { microthread: microthread as u8, then: None });
    let mut code = Vec::new();
    for (group, &size) in sizes.iter().enumerate() {
        let base = param(format!("g{group}"), &|list| x.address + list[group].0 * 4);
        code.push(Instruction::Load { dst: X_REGISTER, dtype: Dtype::F32, base, offset: 0 });
        for place in 0..size {
            let [to, m, step_m, n, step_n, from, len]: [Value; FIELDS] = std::array::from_fn(|field| {
                let name = format!("g{group}_{place}_{field}");
                param(name, &|list| fields(list[group].1[place], y)[field])
            });
            let sum = memory(to, 0, Dtype::F32, &[(m, step_m), (n, step_n)]);
            let a = memory(from, 0, Dtype::F32, &[(len, 1.into())]);
            let x = Operand::Scalar { value: Value::Reg(X_REGISTER), dtype: Dtype::F32 };
            let srcs = vec![sum.clone(), a, x];
            let run_async = on(threads.of(group, place));
            code.push(Instruction::Vector { op: VectorOp::Mac, dst: sum, srcs, run_async });
        }
    }
    for microthread in 0..if sizes.is_empty() { 0 } else { threads.count() } {
        let srcs = vec![memory(y.address, 0, Dtype::F32, &[(1.into(), 1.into())])];
        let run_async = on(microthread);
        code.push(Instruction::Vector { op: VectorOp::Mov, dst: Operand::Null, srcs, run_async });
    }
    code
}

fn fields(b: Placed, y: Tile) -> [u32; FIELDS] {
    let Boxed { row, outer, inner } = b.boxed;
    [y.address + row * 4, outer.0, outer.1, inner.0, inner.1, b.values, b.boxed.len()]
}

/// Cycles by the closed form of `docs/cost-model.md`: a load a group, an issue a box, and what the elements take; the
/// slowest PE counts.
fn estimate(machine: &Machine, frame: &Frame, lists: &[List], sizes: &[usize]) -> u64 {
    let scalars = (sizes.len() + sizes.iter().sum::<usize>()) as u64 * u64::from(machine.scalar_cycles);
    let lanes = machine.lanes_32;
    let elements = |list: &List| {
        let boxes = list.iter().flat_map(|(_, boxes)| boxes);
        boxes.map(|b| u64::from(b.boxed.len().div_ceil(lanes) + b.waits.div_ceil(lanes))).sum::<u64>()
    };
    // At the end the start of the last one shows, and the reads that wait for it.
    let end = match lists.iter().map(elements).max().unwrap_or(0) {
        0 => 0,
        most => most + u64::from(machine.vector_startup_cycles) + u64::from(machine.microthreads.min(MOST_THREADS)),
    };
    frame.spread_cycles(machine) + frame.clear_cycles(machine) + scalars + end + frame.sum_cycles(machine)
}
