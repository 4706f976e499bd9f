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

use super::data::numbers;
use super::matvec::Frame;
use super::sketch::Sketch;
use super::sparse_cover::{Boxed, THREADS, cover, schedule};
use super::{Instance, Kernel, KernelError, Parameter, Settings};
use crate::code::{Code, Tile, memory};
use std::collections::BTreeMap;
use waferloom_fabric::code::{Async, Instruction, Operand};
use waferloom_fabric::{BufferKind, Distribution, Dtype, Extent, Machine, Param, ParamValues, Split, Value, VectorOp};

pub(super) const KERNEL: Kernel = Kernel {
    name: "sparse_gemv",
    summary: "y = A x with a sparse A of m x k in f32, dealt as for gemv. Only non-zeros take time: each PE runs short \
              multiply-adds over the affine groups into which its non-zeros fall.",
    parameters: &[
        Parameter::integer("p", "8", (1, 65535), "columns of PEs"),
        Parameter::integer("q", "8", (1, 65535), "rows of PEs"),
        Parameter::integer("m", "256", (1, 1 << 20), "rows of A, elements of y"),
        Parameter::integer("k", "256", (1, 1 << 20), "columns of A, elements of x"),
        Parameter::integer("zeros", "90", (0, 100), "percent of A that is zero, anywhere"),
    ],
    build,
};

/// Addresses modulo this many bytes that are tried for the values of a box: then the banks come around again.
const BANKS: u32 = 32;

/// A box with the address of its values and the cycles that its elements take.
#[derive(Clone, Copy, Debug, Default)]
struct Placed {
    boxed: Boxed,
    values: u32,
    cycles: u64,
}

fn build(settings: &Settings, machine: &Machine) -> Result<Instance, KernelError> {
    let grid = Extent { width: settings.pes("p"), height: settings.pes("q") };
    let (m, k) = (settings.integer("m"), settings.integer("k"));
    let chain = Frame { grid, m, k, dtype: Dtype::F32, group: grid.width.into() };
    let tree = Frame { group: chain.best_group(machine), ..chain };
    let frame = if tree.sum_cycles(machine) < chain.sum_cycles(machine) { tree } else { chain };
    let mut sketch = Sketch::new("sparse_gemv", machine, grid, ["p", "q"])?;
    fits(&frame, settings, machine)?;
    let a = matrix(&frame, settings.integer("zeros"));
    let vector = numbers(k as usize, 6);
    let (x, y) = frame.buffers(&mut sketch, 0);
    let lists: Vec<Vec<Boxed>> = grid_order(grid).map(|(px, py)| schedule(boxes(&frame, &a, px, py))).collect();
    let slots = lists.iter().map(Vec::len).max().unwrap_or(0);
    let start = sketch.next_address();
    let lists: Vec<Vec<Placed>> = lists.iter().map(|list| place(list, y, start, slots, machine)).collect();
    let end = lists.iter().flatten().map(|b| b.values + b.boxed.len() * 4).max().unwrap_or(start).max(start + 4);
    let values = sketch.buffer("values", end - start, BufferKind::Weight);
    lay(&mut sketch, &frame, &a, &lists, values, (end - start) / 4);
    let bases: Vec<[Value; 8]> = (0..slots).map(|slot| descriptor(&mut sketch, &lists, slot, x, y)).collect();
    let list = |code: &mut Code| instructions(code, &bases, y);
    frame.emit(&mut sketch, (x, y), &vector, list);
    let sum = |row: &[f32]| row.iter().zip(&vector).map(|(&a, &x)| f64::from(a) * f64::from(x)).sum();
    Ok(Instance {
        program: sketch.finish(larger(&frame))?,
        inputs: BTreeMap::new(),
        expected: BTreeMap::from([("y".into(), a.chunks_exact(k as usize).map(sum).collect())]),
        algorithm: if frame.group < u32::from(grid.width) { "tree".into() } else { "chain".into() },
        estimate_cycles: estimate(machine, &frame, &lists),
        flops: 2 * a.iter().filter(|&&v| v != 0.0).count() as u64,
    })
}

fn grid_order(grid: Extent) -> impl Iterator<Item = (u32, u32)> {
    (0..u32::from(grid.height)).flat_map(move |y| (0..u32::from(grid.width)).map(move |x| (x, y)))
}

/// The parameter to change when a PE's part is too large.
fn larger(frame: &Frame) -> &'static str {
    if frame.m >= frame.k { "m" } else { "k" }
}

/// Refuses what cannot fit, before the matrix is made: x, y and the values with their share of descriptors, four to one.
fn fits(frame: &Frame, settings: &Settings, machine: &Machine) -> Result<(), KernelError> {
    let (rows, columns) = (u64::from(frame.rows()), u64::from(frame.columns()));
    let values = rows * columns * u64::from(100 - settings.integer("zeros")) / 100;
    let instruction = u64::from(machine.instruction_bytes + 4 * machine.descriptor_bytes);
    let needed = (rows + columns + values) * 4 + values / 4 * instruction;
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
fn matrix(frame: &Frame, zeros: u32) -> Vec<f32> {
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
fn boxes(frame: &Frame, a: &[f32], px: u32, py: u32) -> Vec<Boxed> {
    let first = py * frame.rows();
    let rows = frame.rows().min(frame.m.saturating_sub(first));
    let columns = frame.columns().min(frame.k.saturating_sub(px * frame.columns()));
    let mut all = Vec::new();
    for column in 0..columns {
        let global = (px * frame.columns() + column) as usize;
        let at = |row: u32| a[(first + row) as usize * frame.k as usize + global];
        let filled: Vec<u32> = (0..rows).filter(|&row| at(row) != 0.0).collect();
        all.extend(cover(column, &filled));
    }
    all
}

/// Gives each box of a list an address for its values, where they collide least with the elements of y that they go to.
/// The list is filled up to `slots`.
fn place(list: &[Boxed], y: Tile, start: u32, slots: usize, machine: &Machine) -> Vec<Placed> {
    let mut next = start;
    let mut placed = Vec::with_capacity(slots);
    for &boxed in list {
        let collisions = |address: u32| {
            let collide = |a: u32, b: u32| a / 8 != b / 8 && a / 8 % 4 == b / 8 % 4;
            // The first element waits for its third operand anyway: x, which then stays in a register.
            let elements = boxed.rows().enumerate().skip(1);
            elements.filter(|&(i, row)| collide(address + i as u32 * 4, y.address + row * 4)).count()
        };
        let values = (next..next + BANKS).step_by(4).min_by_key(|&a| collisions(a)).unwrap_or(next);
        let third = usize::from(machine.sram_reads_per_cycle < 3 && boxed.len() > 0);
        placed.push(Placed { boxed, values, cycles: u64::from(boxed.len()) + (third + collisions(values)) as u64 });
        if boxed.len() > 0 {
            next = values + boxed.len() * 4;
        }
    }
    placed.resize(slots, Placed { values: start, ..Placed::default() });
    placed
}

/// Lays the values into SRAM, in the order of each PE's list.
fn lay(sketch: &mut Sketch, frame: &Frame, a: &[f32], lists: &[Vec<Placed>], address: u32, words: u32) {
    let Extent { width, height } = frame.grid;
    let mut values = vec![0f32; lists.len() * words as usize];
    for (((px, py), list), tile) in grid_order(frame.grid).zip(lists).zip(values.chunks_exact_mut(words as usize)) {
        for Placed { boxed, values, .. } in list {
            let column = (px * frame.columns() + boxed.column) as usize;
            for (i, row) in boxed.rows().enumerate() {
                let row = (py * frame.rows() + row) as usize;
                tile[(values - address) as usize / 4 + i] = a[row * frame.k as usize + column];
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

/// A slot's descriptors: address in y, two lengths and steps, address in x, address of the values, length.
fn descriptor(sketch: &mut Sketch, lists: &[Vec<Placed>], slot: usize, x: Tile, y: Tile) -> [Value; 8] {
    let field = |b: &Placed| {
        let Boxed { column, row, outer, inner } = b.boxed;
        let (to, from) = (y.address + row * 4, x.address + column * 4);
        [to, outer.0, outer.1, inner.0, inner.1, from, b.values, b.boxed.len()]
    };
    std::array::from_fn(|i| {
        let values: Vec<i32> = lists.iter().map(|list| field(&list[slot])[i] as i32).collect();
        let params = &mut sketch.program.params;
        params.push(Param { name: format!("s{slot}_{i}"), values: ParamValues::PerPe(values) });
        Value::Param(params.len() as u32 - 1)
    })
}

/// One multiply-add a slot, on the microthreads in turn. Then a read that goes nowhere on each: it is not issued before the
/// microthread is done, so that all sums are complete behind the last.
fn instructions(code: &mut Code, slots: &[[Value; 8]], y: Tile) {
    let start = |code: &mut Code, slot: usize, [to, m, step_m, n, step_n, from, values, len]: [Value; 8]| {
        let y = memory(to, 0, Dtype::F32, &[(m, step_m), (n, step_n)]);
        let x = memory(from, 0, Dtype::F32, &[(len, 0.into())]);
        let a = memory(values, 0, Dtype::F32, &[(len, 1.into())]);
        let run_async = Some(Async { microthread: (slot % THREADS) as u8, then: None });
        code.push(Instruction::Vector { op: VectorOp::Mac, dst: y.clone(), srcs: vec![y, a, x], run_async });
    };
    for (slot, &fields) in slots.iter().enumerate() {
        start(code, slot, fields);
    }
    for microthread in 0..THREADS.min(slots.len()) {
        let src = memory(y.address, 0, Dtype::F32, &[(1.into(), 1.into())]);
        let run_async = Some(Async { microthread: microthread as u8, then: None });
        code.push(Instruction::Vector { op: VectorOp::Mov, dst: Operand::Null, srcs: vec![src], run_async });
    }
}

/// Cycles by the closed form of `docs/cost-model.md`: an issue a slot, and what its elements take; the slowest PE counts.
fn estimate(machine: &Machine, frame: &Frame, lists: &[Vec<Placed>]) -> u64 {
    let work = |list: &Vec<Placed>| {
        list.len() as u64 * u64::from(machine.scalar_cycles) + list.iter().map(|b| b.cycles).sum::<u64>()
    };
    let start = u64::from(machine.vector_startup_cycles);
    // At the end the start of the last one shows, and the reads that wait for it.
    let products = lists.iter().map(work).max().unwrap_or(0) + start + 2 * THREADS as u64;
    frame.spread_cycles(machine) + frame.clear_cycles(machine) + products + frame.sum_cycles(machine)
}
