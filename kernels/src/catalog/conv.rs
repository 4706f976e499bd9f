//! Convolution with stride 1 and zeros around the image ("same"), in one or two dimensions, directly.
//!
//! The image is dealt to the grid in blocks of positions; every PE has all channels of its block and all weights. Neighbours
//! exchange the edges of their blocks (east and west first, then north and south with the corners that came), then each PE adds,
//! for every input channel and place in the kernel, weight times the shifted block to all output channels in one
//! instruction. Against patches and a product this moves only the edges, and no element is stored `kernel^2` times.
//!
//! Order of accumulation: input channel, row of the kernel, column of the kernel; from 0, in f32, fused.

use super::data::numbers;
use super::halo::{self, Edge};
use super::plane::{Plane, matrix};
use super::settings::{FLOATS, float_type};
use super::{Instance, Kernel, KernelError, Parameter, Settings};
use crate::code::{Code, Tile, float, memory};
use crate::cost;
use crate::mesh::Axis;
use std::collections::BTreeMap;
use waferloom_fabric::{BufferKind, Distribution, Dtype, Extent, Machine, Operand, ScalarOp, Value, VectorOp};

pub(super) const CONV1D: Kernel = Kernel {
    name: "conv1d",
    summary: "Convolution along a sequence, stride 1, zeros around it: neighbours exchange edges, each PE adds shifted blocks.",
    parameters: &[
        Parameter::integer("p", "8", (1, 65535), "PEs in the row").tunable(),
        Parameter::integer("length", "128", (1, 1 << 20), "positions of the sequence"),
        INPUTS,
        OUTPUTS,
        KERNEL_SIZE,
        DTYPE,
    ],
    build: build_1d,
};

pub(super) const CONV2D: Kernel = Kernel {
    name: "conv2d",
    summary: "Convolution of an image, stride 1, zeros around it: neighbours exchange edges, each PE adds shifted blocks.",
    parameters: &[
        Parameter::integer("p", "4", (1, 65535), "PEs in a row").tunable(),
        Parameter::integer("rows", "4", (1, 65535), "rows of PEs").tunable(),
        Parameter::integer("h", "32", (1, 65535), "rows of the image"),
        Parameter::integer("w", "32", (1, 65535), "columns of the image"),
        INPUTS,
        OUTPUTS,
        KERNEL_SIZE,
        DTYPE,
    ],
    build: build_2d,
};

const INPUTS: Parameter = Parameter::integer("inputs", "4", (1, 65535), "input channels");
const OUTPUTS: Parameter = Parameter::integer("outputs", "4", (1, 65535), "output channels");
const KERNEL_SIZE: Parameter = Parameter::integer("kernel", "3", (1, 255), "places of the kernel in a row, odd");
const DTYPE: Parameter = Parameter::choice("dtype", "f32", FLOATS, "type of the elements; sums are f32");

/// Sizes of the whole convolution.
#[derive(Clone, Copy)]
struct Conv {
    grid: Extent,
    /// Rows and columns of the image.
    image: [u32; 2],
    inputs: u32,
    outputs: u32,
    /// Rows and columns of the kernel.
    kernel: [u32; 2],
    dtype: Dtype,
}

/// Sizes on a PE.
#[derive(Clone, Copy)]
struct Block {
    inputs: u32,
    outputs: u32,
    kernel: [u32; 2],
    /// Rows and columns of the block, and with its edges.
    rows: u32,
    columns: u32,
    high: u32,
    wide: u32,
}

fn build_1d(settings: &Settings, machine: &Machine) -> Result<Instance, KernelError> {
    let grid = Extent { width: settings.pes("p"), height: 1 };
    build(settings, machine, grid, [1, settings.integer("length")], [1, settings.integer("kernel")], ["p", "p"])
}

fn build_2d(settings: &Settings, machine: &Machine) -> Result<Instance, KernelError> {
    let grid = Extent { width: settings.pes("p"), height: settings.pes("rows") };
    let (image, kernel) = ([settings.integer("h"), settings.integer("w")], settings.integer("kernel"));
    build(settings, machine, grid, image, [kernel, kernel], ["p", "rows"])
}

fn build(
    settings: &Settings,
    machine: &Machine,
    grid: Extent,
    image: [u32; 2],
    kernel: [u32; 2],
    names: [&'static str; 2],
) -> Result<Instance, KernelError> {
    let dtype = float_type(settings.word("dtype"));
    let conv =
        Conv { grid, image, inputs: settings.integer("inputs"), outputs: settings.integer("outputs"), kernel, dtype };
    if kernel[1].is_multiple_of(2) {
        return Err(settings.refuse("kernel", "give an odd number, so that the kernel has a middle"));
    }
    let source = matrix(grid, &[conv.inputs, image[0], image[1]], dtype);
    let result = matrix(grid, &[conv.outputs, image[0], image[1]], dtype);
    let [_, rows, columns] = [source.tile()[0], source.tile()[1], source.tile()[2]];
    let (edge_y, edge_x) = (kernel[0] / 2, kernel[1] / 2);
    let short = (grid.width > 1 && edge_x > columns) || (grid.height > 1 && edge_y > rows);
    if short {
        let least = edge_x.max(edge_y);
        return Err(
            settings.refuse(names[0], format!("take fewer PEs: blocks must be as long as half a kernel, {least}"))
        );
    }
    let (high, wide) = (rows + 2 * edge_y, columns + 2 * edge_x);
    let block = Block { inputs: conv.inputs, outputs: conv.outputs, kernel, rows, columns, high, wide };
    let mut plane = Plane::new(settings.kernel(), machine, grid, names, "inputs")?;
    let tiles = tiles(&mut plane, &conv, &block, [&source, &result]);
    plane.check()?;
    let wires = halo::wires(&mut plane.mesh);
    emit(&mut plane, &block, &tiles);
    data(&mut plane, &conv, &tiles, [&source, &result]);
    finish(plane, settings.kernel(), &conv, wires)
}

/// Tiles of a PE.
struct Tiles {
    source: Tile,
    padded: Tile,
    weights: Tile,
    sums: Tile,
    result: Tile,
}

/// Weights lie as `[input, row, column, output]`, the same in every PE.
fn weights_of(conv: &Conv) -> Distribution {
    let shape = vec![conv.inputs, conv.kernel[0], conv.kernel[1], conv.outputs];
    Distribution { grid: conv.grid, shape, x: None, y: None }
}

fn tiles(plane: &mut Plane, conv: &Conv, block: &Block, [source, result]: [&Distribution; 2]) -> Tiles {
    let dtype = conv.dtype;
    let padded = Distribution { grid: conv.grid, shape: vec![block.inputs, block.high, block.wide], x: None, y: None };
    let result_tile = plane.tile("result", result, dtype, BufferKind::Activation);
    let sums =
        if dtype == Dtype::F32 { result_tile } else { plane.tile("sums", result, Dtype::F32, BufferKind::Scratch) };
    Tiles {
        source: plane.tile("image", source, dtype, BufferKind::Activation),
        padded: plane.tile("padded", &padded, dtype, BufferKind::Scratch),
        weights: plane.tile("weights", &weights_of(conv), dtype, BufferKind::Weight),
        sums,
        result: result_tile,
    }
}

fn data(plane: &mut Plane, conv: &Conv, tiles: &Tiles, [source, result]: [&Distribution; 2]) {
    plane.fill("image", source, tiles.source, &image_of(conv));
    plane.fill("weights", &weights_of(conv), tiles.weights, &kernel_of(conv));
    plane.result("result", result, tiles.result);
}

fn image_of(conv: &Conv) -> Vec<f32> {
    numbers((conv.inputs * conv.image[0] * conv.image[1]) as usize, 12)
}

fn kernel_of(conv: &Conv) -> Vec<f32> {
    numbers(weights_of(conv).elements(), 13)
}

fn finish(plane: Plane, name: &'static str, conv: &Conv, wires: halo::Wires) -> Result<Instance, KernelError> {
    let machine = &plane.sketch.program.machine;
    let exchanges = u64::from(conv.grid.width > 1) + u64::from(conv.grid.height > 1 && conv.kernel[0] > 1);
    // What a neighbour sends first comes one flight later; the rest of the exchange keeps every datapath busy.
    let estimate_cycles = plane.busy(&[]) + exchanges * cost::neighbour(machine);
    let places = u64::from(conv.kernel[0] * conv.kernel[1]) * u64::from(conv.inputs) * u64::from(conv.outputs);
    Ok(Instance {
        estimate_cycles,
        program: plane.finish_wired(name, wires.routes, &wires.inputs, &wires.outputs)?,
        inputs: BTreeMap::new(),
        expected: BTreeMap::from([("result".into(), reference(conv))]),
        algorithm: "direct".into(),
        flops: 2 * places * u64::from(conv.image[0]) * u64::from(conv.image[1]),
    })
}

impl Block {
    /// A box of the padded block: all input channels, from a row and a column on.
    fn padded(&self, tile: Tile, (y, x): (u32, u32), rows: Value, columns: Value) -> Operand {
        let offset = (y * self.wide + x) * tile.dtype.bytes();
        let dims =
            [(self.inputs.into(), (self.high * self.wide).into()), (rows, self.wide.into()), (columns, 1.into())];
        memory(tile.address, offset as i32, tile.dtype, &dims)
    }
}

fn emit(plane: &mut Plane, block: &Block, tiles: &Tiles) {
    let (edge_y, edge_x) = (block.kernel[0] / 2, block.kernel[1] / 2);
    let Tiles { padded, .. } = *tiles;
    let (code, mesh) = (&mut plane.code, &mut plane.mesh);
    let zero = |code: &mut Code, tile: Tile| code.mov(tile.vector(), float(0.0));
    zero(code, padded);
    let inside = block.padded(padded, (edge_y, edge_x), block.rows.into(), block.columns.into());
    code.mov(inside, tiles.source.vector());
    if edge_x > 0 {
        let part = |x: u32| move |cut: Value| block.padded(padded, (edge_y, x), block.rows.into(), cut);
        let others = block.inputs * block.rows;
        let (first, behind_last) = (part(edge_x), part(edge_x + block.columns));
        let (last, before_first) = (part(block.columns), part(0));
        let edge = |up, sent, received| Edge {
            axis: Axis::X,
            up,
            thickness: edge_x,
            others,
            dtype: padded.dtype,
            sent,
            received,
        };
        halo::exchange(code, mesh, &[edge(true, &last, &before_first), edge(false, &first, &behind_last)]);
    }
    if edge_y > 0 {
        let part = |y: u32| move |cut: Value| block.padded(padded, (y, 0), cut, block.wide.into());
        let others = block.inputs * block.wide;
        let (first, behind_last) = (part(edge_y), part(edge_y + block.rows));
        let (last, before_first) = (part(block.rows), part(0));
        let edge = |up, sent, received| Edge {
            axis: Axis::Y,
            up,
            thickness: edge_y,
            others,
            dtype: padded.dtype,
            sent,
            received,
        };
        halo::exchange(code, mesh, &[edge(true, &last, &before_first), edge(false, &first, &behind_last)]);
    }
    zero(code, tiles.sums);
    multiply(code, block, tiles);
    if tiles.sums != tiles.result {
        code.mov(tiles.result.vector(), tiles.sums.vector());
    }
}

/// One instruction for each input channel and place in the kernel, over (output channel, row, column).
fn multiply(code: &mut Code, block: &Block, tiles: &Tiles) {
    let Block { inputs, outputs, kernel, rows, columns, high, wide } = *block;
    let (image, weights) = (tiles.padded, tiles.weights);
    let weight = code.register();
    code.set(weight, weights.address);
    code.repeat(inputs, |code, channel| {
        code.repeat(kernel[0], |code, i| {
            code.repeat(kernel[1], |code, j| {
                let at = code.register();
                code.scalar(ScalarOp::Mul, at, channel, high);
                code.scalar(ScalarOp::Add, at, at, i);
                code.scalar(ScalarOp::Mul, at, at, wide);
                code.scalar(ScalarOp::Add, at, at, j);
                code.scalar(ScalarOp::Mul, at, at, image.dtype.bytes());
                code.scalar(ScalarOp::Add, at, at, image.address);
                let view = |base: Value, dtype: Dtype, strides: [u32; 3]| {
                    let dims = [(outputs, strides[0]), (rows, strides[1]), (columns, strides[2])];
                    memory(base, 0, dtype, &dims.map(|(len, stride)| (len.into(), stride.into())))
                };
                let sums = view(tiles.sums.address.into(), Dtype::F32, [rows * columns, columns, 1]);
                let factors = [
                    sums.clone(),
                    view(weight.into(), weights.dtype, [1, 0, 0]),
                    view(at.into(), image.dtype, [0, wide, 1]),
                ];
                code.vector(VectorOp::Mac, sums, &factors);
                code.scalar(ScalarOp::Add, weight, weight, outputs * weights.dtype.bytes());
            });
        });
    });
}

/// The same in double precision.
fn reference(conv: &Conv) -> Vec<f64> {
    let (image, weights) = (image_of(conv), kernel_of(conv));
    let [h, w] = conv.image.map(|n| n as i64);
    let [kh, kw] = conv.kernel.map(|n| n as i64);
    let (inputs, outputs) = (i64::from(conv.inputs), i64::from(conv.outputs));
    let mut result = vec![0.0; (outputs * h * w) as usize];
    for (slot, sum) in result.iter_mut().enumerate() {
        let (o, y, x) = (slot as i64 / (h * w), slot as i64 / w % h, slot as i64 % w);
        for (c, i, j) in (0..inputs).flat_map(|c| (0..kh).flat_map(move |i| (0..kw).map(move |j| (c, i, j)))) {
            let (row, column) = (y + i - kh / 2, x + j - kw / 2);
            if (0..h).contains(&row) && (0..w).contains(&column) {
                let weight = weights[(((c * kh + i) * kw + j) * outputs + o) as usize];
                *sum += f64::from(weight) * f64::from(image[((c * h + row) * w + column) as usize]);
            }
        }
    }
    result
}
