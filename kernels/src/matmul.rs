//! Matrix product by SUMMA: the blocks of the inner dimension are broadcast one after another, the left operand's along the
//! rows, the right operand's along the columns, and every PE adds their product to its tile of the result.
//!
//! Source: R. van de Geijn and J. Watts, *SUMMA: Scalable Universal Matrix Multiplication Algorithm* (1997).
//!
//! Order of accumulation: each element of the result is the sequence of fused multiply-adds over the inner index, ascending,
//! from 0 (or from the element's bias), in f32.

use crate::code::{Code, Reg, Tile, float, memory};
use crate::line::{self, Turn};
use crate::mesh::{Axis, Mesh};
use waferloom_fabric::{
    ClaimBatch, ClaimKind, ClaimOperand, Compare, Distribution, Dtype, ProductClaim, Region, ScalarOp, Split, Value,
    VectorOp,
};

/// A batch dimension: its size and, per operand, the matrices between two of its indices (0 repeats the same one).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchDim {
    /// Number of products.
    pub size: u32,
    /// Stride of the left operand, in matrices.
    pub left: u32,
    /// Stride of the right operand, in matrices.
    pub right: u32,
}

/// Local sizes of a distributed product `[.., m, k] x [.., k, n]`.
#[derive(Clone, Debug)]
pub struct MatMul {
    /// Batch dimensions, the outermost first.
    pub batch: Vec<BatchDim>,
    /// Matrices of the left and of the right operand.
    pub matrices: [u32; 2],
    /// Rows of a PE's tile of the result.
    pub rows: u32,
    /// Columns of it.
    pub columns: u32,
    /// The inner dimension.
    pub inner: u32,
    /// Indices in a block of the inner dimension.
    pub block: u32,
    /// Whether the left operand's inner dimension is dealt to the columns of the mesh; else every PE has all of it.
    pub left_split: bool,
    /// Whether the right operand's inner dimension is dealt to the rows of the mesh.
    pub right_split: bool,
    /// Rows of the right operand's tile.
    pub right_rows: u32,
}

/// How the right operand must lie for a left operand that lies as `left`: blocks of the inner dimension as wide as the left
/// operand's, dealt round robin to the rows, so that both have the same blocks on a mesh of any shape.
///
/// Blocks travel as whole words: in 16 bits, rows of the right operand's tile times rows of a block must be even, which they
/// are when the left operand's blocks are.
pub fn right_distribution(left: &Distribution, shape: &[u32], columns: Option<Split>) -> Distribution {
    let inner = shape.len() as u32 - 2;
    let y = left.x.map(|split| Split { dim: inner, block: split.block });
    Distribution { grid: left.grid, shape: shape.to_vec(), x: columns, y }
}

impl MatMul {
    /// Blocks of the inner dimension.
    pub fn blocks(&self) -> u32 {
        self.inner.div_ceil(self.block)
    }

    /// Whether there is nothing to multiply: some size is 0.
    pub fn is_empty(&self) -> bool {
        let batch = self.batch.iter().map(|dim| dim.size);
        batch.chain(self.matrices).chain([self.rows, self.columns, self.inner]).any(|size| size == 0)
    }

    /// Vector instructions a block: more than one where the batch dimensions do not merge.
    pub fn vector_instructions(&self) -> u32 {
        let batch = merged_batch(&self.batch);
        batch.iter().rev().skip(1).map(|dim| dim.size).product()
    }

    /// Elements from a row of the left operand's tile to the next one: who has all of the inner dimension walks along it.
    fn left_row(&self) -> u32 {
        if self.left_split { self.block } else { self.inner }
    }

    /// What the product claims.
    fn claim(&self, region: Region, dtype: Dtype) -> ProductClaim {
        let Self { rows, columns, inner, block, left_split, right_split, .. } = *self;
        let left_row = self.left_row();
        let batch = self.batch.iter().map(|&BatchDim { size, left, right }| ClaimBatch { size, left, right });
        ProductClaim {
            kind: ClaimKind::Product,
            region,
            dtype,
            rows,
            columns,
            inner,
            block,
            left: ClaimOperand { split: left_split, matrix: rows * left_row, slot: block, line: left_row, step: 1 },
            right: ClaimOperand {
                split: right_split,
                matrix: self.right_rows * columns,
                slot: block * columns,
                line: 1,
                step: columns,
            },
            batch: batch.collect(),
        }
    }

    /// Bytes of the panels that receive the left and the right operand's blocks: some are kept back, so that the blocks
    /// can start in banks of the SRAM in which they do not collide.
    pub fn panel_bytes(&self, dtype: Dtype) -> [u32; 2] {
        let words = |elements: u32| (elements * dtype.bytes()).next_multiple_of(4) + MOST_SHIFT;
        [words(self.matrices[0] * self.rows * self.block), words(self.matrices[1] * self.block * self.columns)]
    }
}

/// Emits `accumulator += left x right`; the accumulator (f32) is not cleared.
///
/// Tiles are dense and row-major: left `[matrices, rows, block]` (`inner` in the place of `block` where it is not split),
/// right `[matrices, right_rows, columns]`, accumulator `[batch.., rows, columns]`. `panels` are addresses of buffers of [`MatMul::panel_bytes`].
pub fn emit(
    code: &mut Code,
    mesh: &mut Mesh,
    shape: &MatMul,
    left: Tile,
    right: Tile,
    accumulator: u32,
    panels: [u32; 2],
) {
    if shape.is_empty() {
        return;
    }
    let blocks = shape.blocks();
    let Choice { order, shifts, .. } = choose(shape, left, right, accumulator, panels);
    let panels = [panels[0] + shifts[0], panels[1] + shifts[1]];
    // Who has all of the inner dimension walks along it.
    let left_row = shape.left_row();
    let height = mesh.size(Axis::Y);
    let claim = mesh.claim(shape.claim(mesh.region(), left.dtype));
    code.claim(claim, [left.address, right.address, accumulator], |code| {
        let rounds = (blocks > height).then(|| Rounds { root: code.register(), slot: code.register(), height });
        if let Some(rounds) = rounds {
            code.set(rounds.root, 0);
            code.set(rounds.slot, 0);
        }
        code.repeat(blocks, |code, block| {
            let left_at = fetch_left(code, mesh, shape, left, panels[0], block);
            let right_at = fetch_right(code, mesh, shape, right, panels[1], block, rounds);
            let depth = block_depth(code, shape, block);
            multiply(code, shape, left.dtype, order, accumulator, [left_at, right_at], left_row, depth);
            if let Some(rounds) = rounds {
                rounds.next(code);
            }
        });
    });
}

/// Address of a block of a replicated operand whose blocks lie `elements` apart.
fn own_block(code: &mut Code, tile: Tile, block: Value, elements: u32) -> Value {
    let bytes = elements * tile.dtype.bytes();
    if let Value::Imm(block) = block {
        return Value::Imm(tile.address as i32 + block * bytes as i32);
    }
    let place = code.register();
    code.scalar(ScalarOp::Mul, place, block, bytes);
    code.scalar(ScalarOp::Add, place, place, tile.address);
    place.into()
}

/// On a mesh with more blocks than rows the turns of the right operand's roots go around.
#[derive(Clone, Copy)]
struct Rounds {
    /// Row of the root.
    root: Reg,
    /// Its slot: a block of its tile.
    slot: Reg,
    /// Rows of the mesh.
    height: u32,
}

impl Rounds {
    fn next(self, code: &mut Code) {
        code.scalar(ScalarOp::Add, self.root, self.root, 1);
        let around = |code: &mut Code| {
            code.set(self.root, 0);
            code.scalar(ScalarOp::Add, self.slot, self.slot, 1);
        };
        code.branch(Compare::Eq, self.root, self.height as i32, around, |_| ());
    }
}

fn fetch_left(code: &mut Code, mesh: &Mesh, shape: &MatMul, tile: Tile, panel: u32, block: Value) -> Value {
    if !shape.left_split {
        return own_block(code, tile, block, shape.block);
    }
    let place = code.register();
    let last = [(block, Value::Imm(shape.blocks() as i32 - 1))];
    let turn = Turn { axis: Axis::X, root: block, last: &last, panel: panel.into(), words: tile.words().into() };
    line::turn(code, mesh, &turn, place, |_| Value::Imm(tile.address as i32));
    place.into()
}

/// The right operand's blocks lie in slots of `block` rows. With one matrix a block is contiguous and travels from where it
/// lies; with more the root gathers it from its matrices first.
fn fetch_right(
    code: &mut Code,
    mesh: &Mesh,
    shape: &MatMul,
    tile: Tile,
    panel: u32,
    block: Value,
    rounds: Option<Rounds>,
) -> Value {
    if !shape.right_split {
        return own_block(code, tile, block, shape.block * shape.columns);
    }
    let place = code.register();
    let block_bytes = shape.block * shape.columns * tile.dtype.bytes();
    let source = |code: &mut Code| {
        let source = rounds.map_or(Value::Imm(tile.address as i32), |rounds| {
            let source = code.register();
            code.scalar(ScalarOp::Mul, source, rounds.slot, block_bytes);
            code.scalar(ScalarOp::Add, source, source, tile.address);
            source.into()
        });
        if shape.matrices[1] == 1 || shape.right_rows == shape.block {
            return source;
        }
        let matrices = Value::from(shape.matrices[1]);
        let words = Value::from(block_bytes / 4);
        let apart = Value::from(shape.right_rows * shape.columns * tile.dtype.bytes() / 4);
        let from = memory(source, 0, Dtype::I32, &[(matrices, apart), (words, 1.into())]);
        code.mov(memory(panel, 0, Dtype::I32, &[(matrices, words), (words, 1.into())]), from);
        panel.into()
    };
    // Each round but the last ends with its own reset.
    let end = (block, Value::Imm(shape.blocks() as i32 - 1));
    let (root, last) = match rounds {
        None => (block, vec![end]),
        Some(rounds) => {
            let root = Value::from(rounds.root);
            (root, vec![end, (root, Value::Imm(rounds.height as i32 - 1))])
        }
    };
    let words = (block_bytes * shape.matrices[1]).div_ceil(4).into();
    line::turn(code, mesh, &Turn { axis: Axis::Y, root, last: &last, panel: panel.into(), words }, place, source);
    place.into()
}

/// Inner indices of the block at hand: the last block may be short.
fn block_depth(code: &mut Code, shape: &MatMul, block: Value) -> Value {
    let last = shape.blocks() - 1;
    let short = shape.inner - last * shape.block;
    if short == shape.block {
        return shape.block.into();
    }
    let depth = code.register();
    code.set(depth, shape.block);
    code.branch(Compare::Eq, block, last as i32, |code| code.set(depth, short), |_| ());
    depth.into()
}

/// Which of the two innermost loops of a block runs inside; the order of accumulation is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// The inner index: an element of the result stays in a register.
    DepthInside,
    /// The columns: an element of the left operand stays in a register.
    ColumnInside,
}

/// Bytes after which the banks that can collide come around again.
pub const BANKS_BYTES: u32 = 32;
/// Bytes by which a panel may be shifted.
pub(crate) const MOST_SHIFT: u32 = BANKS_BYTES - 8;

/// The remainder by [`BANKS_BYTES`] of the accumulator's address with which the blocks wait least for memory, with tiles of the
/// left and the right operand in `dtype` at these addresses.
pub fn best_bank(shape: &MatMul, dtype: Dtype, [left, right]: [u32; 2]) -> u32 {
    if shape.is_empty() {
        return 0;
    }
    let [left, right] = [left, right].map(|address| Tile { address, elements: 0, dtype });
    // Panels are shifted to where they wait least; where they start does not matter.
    let waits = |bank: &u32| choose(shape, left, right, *bank, [0, 0]).waits;
    (0..BANKS_BYTES).step_by(8).min_by_key(waits).unwrap_or(0)
}

/// How a block is multiplied.
struct Choice {
    /// Waits for memory, per 1024 products.
    waits: u64,
    order: Order,
    /// Bytes by which the panels are shifted.
    shifts: [u32; 2],
}

/// The order of loops and the shifts of the panels with the fewest waits for memory.
fn choose(shape: &MatMul, left: Tile, right: Tile, accumulator: u32, panels: [u32; 2]) -> Choice {
    let mut best = Choice { waits: u64::MAX, order: Order::ColumnInside, shifts: [0; 2] };
    for order in [Order::ColumnInside, Order::DepthInside] {
        for shifts in (0..=MOST_SHIFT).step_by(8).flat_map(|l| (0..=MOST_SHIFT).step_by(8).map(move |r| [l, r])) {
            // A root works on its own tiles, the others on what they received; all wait for the slowest.
            let places = |split: bool, panel: u32, shift: u32, tile: Tile| {
                if split { vec![tile.address, panel + shift] } else { vec![tile.address] }
            };
            let lefts = places(shape.left_split, panels[0], shifts[0], left);
            let rights = places(shape.right_split, panels[1], shifts[1], right);
            let pairs = lefts.iter().flat_map(|&l| rights.iter().map(move |&r| [accumulator, l, r]));
            let waits = pairs.map(|at| block_waits(shape, order, left.dtype.bytes(), at)).max().unwrap_or(0);
            if waits < best.waits {
                best = Choice { waits, order, shifts };
            }
        }
    }
    best
}

/// Waits for memory in (a part of) a block with operands at these addresses, per 1024 products: two reads of one 64-bit
/// word in a cycle are one, two of words 32 bytes apart (or a multiple) collide, a third read takes a cycle of its own. In
/// 16 bits two products share a cycle and its wait.
pub(crate) fn block_waits(shape: &MatMul, order: Order, bytes: u32, [acc, left, right]: [u32; 3]) -> u64 {
    let left_row = shape.left_row();
    let collide = |a: u32, b: u32| a / 8 != b / 8 && a / 8 % 4 == b / 8 % 4;
    let waits = |i: u32, j: u32, p: u32| {
        let acc = acc + (i * shape.columns + j) * 4;
        let left = left + (i * left_row + p) * bytes;
        let right = right + (p * shape.columns + j) * bytes;
        match order {
            Order::DepthInside => p == 0 || collide(left, right),
            Order::ColumnInside => j == 0 || collide(acc, right),
        }
    };
    // The pattern repeats itself: a part of the loops outside tells enough.
    let rows = shape.rows.min(8);
    let (outside, inside) = match order {
        Order::DepthInside => (shape.columns.min(16), shape.block),
        Order::ColumnInside => (shape.block.min(16), shape.columns),
    };
    let lanes = (4 / bytes) as usize;
    let mut total = 0;
    for (i, o) in (0..rows).flat_map(|i| (0..outside).map(move |o| (i, o))) {
        let turns: Vec<bool> = (0..inside)
            .map(|t| match order {
                Order::DepthInside => waits(i, o, t),
                Order::ColumnInside => waits(i, t, o),
            })
            .collect();
        total += turns.chunks(lanes).filter(|cycle| cycle.contains(&true)).count() as u64;
    }
    total * 1024 / (u64::from(rows) * u64::from(outside) * u64::from(inside)).max(1)
}

/// One block: all its products as a single vector instruction over (matrix, row, column, inner index), with loops for batch
/// dimensions that do not merge.
#[expect(clippy::too_many_arguments, reason = "each is one fact of the block")]
pub(crate) fn multiply(
    code: &mut Code,
    shape: &MatMul,
    dtype: Dtype,
    order: Order,
    accumulator: u32,
    [left, right]: [Value; 2],
    left_row: u32,
    depth: Value,
) {
    let (m, n, k) = (shape.rows, shape.columns, shape.block);
    let right_matrix = if shape.right_split { k * n } else { shape.right_rows * n };
    let batch = merged_batch(&shape.batch);
    let (outer, inner) = batch.split_at(batch.len().saturating_sub(1));
    let inner = inner.first().copied().unwrap_or(BatchDim { size: 1, left: 0, right: 0 });
    let results: u32 = batch.iter().map(|b| b.size).product();
    let bases = [Value::Imm(accumulator as i32), left, right];
    let bytes = [m * n * 4, m * left_row * dtype.bytes(), right_matrix * dtype.bytes()];
    batch_loops(code, outer, results, bases, bytes, |code, [acc, left, right]| {
        let dims = |matrix: u32, row: u32, column: u32, depth_stride: u32| {
            let mut dims = vec![(inner.size.into(), matrix.into()), (m.into(), row.into())];
            let column = (n.into(), column.into());
            let depth = (depth, depth_stride.into());
            dims.extend(match order {
                Order::DepthInside => [column, depth],
                Order::ColumnInside => [depth, column],
            });
            dims.retain(|&(len, _)| len != Value::Imm(1));
            if dims.is_empty() {
                dims.push((1.into(), 1.into()));
            }
            dims
        };
        let acc = memory(acc, 0, Dtype::F32, &dims(m * n, n, 1, 0));
        let left = memory(left, 0, dtype, &dims(inner.left * m * left_row, left_row, 0, 1));
        let right = memory(right, 0, dtype, &dims(inner.right * right_matrix, 0, 1, n));
        code.vector(VectorOp::Mac, acc.clone(), &[acc, left, right]);
    });
}

/// Neighbouring batch dimensions whose strides continue each other become one; dimensions of one index vanish.
fn merged_batch(batch: &[BatchDim]) -> Vec<BatchDim> {
    let mut merged: Vec<BatchDim> = Vec::new();
    for &dim in batch.iter().filter(|b| b.size != 1) {
        match merged.last_mut() {
            Some(outer) if outer.left == dim.left * dim.size && outer.right == dim.right * dim.size => {
                *outer = BatchDim { size: outer.size * dim.size, ..dim };
            }
            _ => merged.push(dim),
        }
    }
    merged
}

/// Loops over batch dimensions; `bases` are moved by (results, left matrices, right matrices) of `bytes` each.
fn batch_loops(
    code: &mut Code,
    dims: &[BatchDim],
    results: u32,
    bases: [Value; 3],
    bytes: [u32; 3],
    body: impl FnOnce(&mut Code, [Value; 3]),
) {
    let Some((dim, rest)) = dims.split_first() else { return body(code, bases) };
    let results = results / dim.size;
    let steps = [results * bytes[0], dim.left * bytes[1], dim.right * bytes[2]];
    code.repeat(dim.size, |code, counter| {
        let mut moved = bases;
        for (base, step) in moved.iter_mut().zip(steps) {
            if step != 0 {
                let at = code.register();
                code.scalar(ScalarOp::Mul, at, counter, step);
                code.scalar(ScalarOp::Add, at, at, *base);
                *base = at.into();
            }
        }
        batch_loops(code, rest, results, moved, bytes, body);
    });
}

/// Clears an accumulator of f32.
pub fn clear(code: &mut Code, tile: Tile) {
    let zero = if tile.dtype.is_float() { float(0.0) } else { crate::code::int(0) };
    code.mov(tile.vector(), zero);
}
