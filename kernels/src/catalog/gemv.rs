//! Product of a dense matrix and a vector, y = A x, on a rectangle of PEs.
//!
//! See [`super::matvec`] for the way of x and of the sums, and their source. Order of accumulation: in a PE fused
//! multiply-adds in f32 from 0 in ascending order of the columns; then, in a group, what comes from the east plus the PE's
//! own sum, and so again over the groups' heads.

use super::data::{fits_host, numbers};
use super::matvec::Frame;
use super::settings::{FLOATS, float_type};
use super::sketch::Sketch;
use super::{Instance, Kernel, KernelError, Parameter, Settings};
use crate::code::{Code, Tile, memory};
use std::collections::BTreeMap;
use waferloom_fabric::{BufferKind, Distribution, Dtype, Extent, Machine, Split, VectorOp};

pub(super) const KERNEL: Kernel = Kernel {
    name: "gemv",
    summary: "y = A x, with A of m x k dealt to a rectangle of PEs in tiles; x comes in along the northernmost row, y ends \
              in the westernmost column. Sums along chains, or along a tree of groups (MeshGEMV of He et al., WaferLLM 2025).",
    parameters: &[
        Parameter::integer("p", "8", (1, 65535), "columns of PEs").tunable(),
        Parameter::integer("q", "8", (1, 65535), "rows of PEs").tunable(),
        Parameter::integer("m", "256", (1, 1 << 20), "rows of A, elements of y"),
        Parameter::integer("k", "256", (1, 1 << 20), "columns of A, elements of x"),
        Parameter::choice(
            "algorithm",
            "auto",
            &["auto", "chain", "tree"],
            "how the partial sums of a row meet; auto takes the least by estimate",
        )
        .tunable(),
        Parameter::choice("dtype", "f32", FLOATS, "type of A and x; sums are f32"),
    ],
    build,
};

/// Bytes after which the banks that collide come around again.
pub(super) const BANKS: u32 = 32;

fn build(settings: &Settings, machine: &Machine) -> Result<Instance, KernelError> {
    let (frame, algorithm) = frame(settings, machine)?;
    let mut sketch = Sketch::new("gemv", machine, frame.grid, ["p", "q"])?;
    fits(&frame, machine)?;
    fits_host(settings, larger(&frame), u64::from(frame.m) * u64::from(frame.k))?;
    let pitch = pitch(&frame);
    // The rows of A and x start in banks that never collide.
    let matrix = sketch.phased_buffer("a", frame.rows() * pitch * frame.dtype.bytes(), BufferKind::Weight, 0);
    let (x, y) = frame.buffers(&mut sketch, BANKS / 2);
    let a = numbers(frame.m as usize * frame.k as usize, 5);
    let vector = numbers(frame.k as usize, 6);
    place(&mut sketch, &frame, matrix, pitch, &a);
    frame.emit(&mut sketch, (x, y), &vector, |code| multiply(code, &frame, matrix, pitch, x, y));
    let change = larger(&frame);
    let sum = |row: &[f32]| row.iter().zip(&vector).map(|(&a, &x)| f64::from(a) * f64::from(x)).sum();
    Ok(Instance {
        program: sketch.finish(change)?,
        inputs: BTreeMap::new(),
        expected: BTreeMap::from([("y".into(), a.chunks_exact(frame.k as usize).map(sum).collect())]),
        algorithm: algorithm.into(),
        estimate_cycles: estimate(machine, &frame),
        flops: 2 * u64::from(frame.m) * u64::from(frame.k),
    })
}

/// The rectangle, with the groups of the algorithm that is set, or of the better one.
fn frame(settings: &Settings, machine: &Machine) -> Result<(Frame, &'static str), KernelError> {
    let grid = Extent { width: settings.pes("p"), height: settings.pes("q") };
    let dtype = float_type(settings.word("dtype"));
    let chain = Frame { grid, m: settings.integer("m"), k: settings.integer("k"), dtype, group: u32::from(grid.width) };
    let tree = Frame { group: chain.best_group(machine), ..chain };
    match settings.word("algorithm") {
        "chain" => Ok((chain, "chain")),
        "tree" if grid.width < 3 => Err(settings.refuse("p", "a tree needs at least 3 columns")),
        "tree" => Ok((tree, "tree")),
        _ if tree.sum_cycles(machine) < chain.sum_cycles(machine) => Ok((tree, "tree")),
        _ => Ok((chain, "chain")),
    }
}

/// Elements from one row of a tile to the next.
fn pitch(frame: &Frame) -> u32 {
    frame.columns().next_multiple_of(BANKS / frame.dtype.bytes())
}

/// The parameter to change when a PE's part is too large.
fn larger(frame: &Frame) -> &'static str {
    if frame.m >= frame.k { "m" } else { "k" }
}

/// Refuses tiles that SRAM cannot hold, before anything is reckoned in 32 bits.
fn fits(frame: &Frame, machine: &Machine) -> Result<(), KernelError> {
    let [rows, pitch, bytes] = [frame.rows(), pitch(frame), frame.dtype.bytes()].map(u64::from);
    let needed = (rows + 1) * pitch * bytes + rows * 4;
    if needed <= machine.sram_bytes.into() {
        return Ok(());
    }
    Err(KernelError::TooLarge {
        what: format!("a tile of {rows} x {}", frame.columns()),
        needed,
        unit: "bytes of SRAM in a PE",
        machine: machine.name.clone(),
        available: machine.sram_bytes.into(),
        change: larger(frame),
    })
}

/// Lays the matrix into SRAM: a tile a PE, its rows padded to the pitch.
fn place(sketch: &mut Sketch, frame: &Frame, address: u32, pitch: u32, a: &[f32]) {
    let (rows, columns) = (frame.rows() as usize, frame.columns() as usize);
    let (m, k, pitch) = (frame.m as usize, frame.k as usize, pitch as usize);
    let Extent { width, height } = frame.grid;
    let mut placed = vec![0f32; height as usize * rows * width as usize * pitch];
    // The whole tensor is [rows, columns of PEs, pitch].
    for (row, line) in a.chunks_exact(k).enumerate() {
        for (pe, part) in line.chunks(columns).enumerate() {
            let at = (row * usize::from(width) + pe) * pitch;
            placed[at..at + part.len()].copy_from_slice(part);
        }
    }
    placed.truncate(m * usize::from(width) * pitch);
    let dealt = Distribution {
        grid: frame.grid,
        shape: vec![frame.m, width.into(), pitch as u32],
        x: Some(Split { dim: 1, block: 1 }),
        y: Some(Split { dim: 0, block: rows as u32 }),
    };
    sketch.constant("a", frame.dtype, dealt, address, &placed);
}

/// `y += A x`, one instruction over (row, column): an element of y stays in a register.
fn multiply(code: &mut Code, frame: &Frame, matrix: u32, pitch: u32, x: Tile, y: Tile) {
    let dims =
        |row: u32, column: u32| [(frame.rows(), row), (frame.columns(), column)].map(|(n, s)| (n.into(), s.into()));
    let sum = memory(y.address, 0, Dtype::F32, &dims(1, 0));
    let a = memory(matrix, 0, frame.dtype, &dims(pitch, 1));
    let x = memory(x.address, 0, frame.dtype, &dims(0, 1));
    code.vector(VectorOp::Mac, sum.clone(), &[sum, a, x]);
}

/// Cycles by the closed form of `docs/cost-model.md`.
fn estimate(machine: &Machine, frame: &Frame) -> u64 {
    let lanes = u64::from(if frame.dtype == Dtype::F16 { machine.lanes_mixed } else { machine.lanes_32 });
    let rows = u64::from(frame.rows());
    let products = (rows * u64::from(frame.columns())).div_ceil(lanes);
    let third_reads = if machine.sram_reads_per_cycle < 3 { rows.min(products) } else { 0 };
    let multiply = u64::from(machine.vector_startup_cycles) + products + third_reads;
    frame.spread_cycles(machine) + frame.clear_cycles(machine) + multiply + frame.sum_cycles(machine)
}
