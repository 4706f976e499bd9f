//! Attention over blocks of tokens, without the full matrix of scores: `softmax(q k^T / sqrt(width)) v` for each head.
//!
//! Tokens are dealt to the columns of the mesh and heads to its rows. Along each row the PEs broadcast their block of keys and
//! values in turn; every PE multiplies its queries with it and carries three things from block to block: the largest score of
//! each query, the sum of its exponentials and the sum of the values weighted by them, which are scaled down when a larger
//! score comes (M. Milakov and N. Gimelshein, *Online normalizer calculation for softmax*, 2018; T. Dao et al.,
//! *Flash attention*, 2022).
//!
//! Order of accumulation: blocks ascending; within a block scores by ascending index of the width, values by ascending
//! token, all fused, in f32.

use crate::code::{Code, Tile, float, memory};
use crate::functions::{self, Function};
use crate::line::{self, Turn};
use crate::mesh::{Axis, Mesh};
use crate::reduce::{Combine, Rows, per_row};
use crate::softmax::in_chunks;
use waferloom_fabric::{Compare, Dtype, Operand, ScalarOp, Value, VectorOp};

/// Sizes on a PE.
#[derive(Clone, Copy, Debug)]
pub struct Attention {
    /// Heads of a PE.
    pub heads: u32,
    /// Tokens of a PE: the block.
    pub block: u32,
    /// Tokens in all; the last blocks may be short or empty.
    pub tokens: u32,
    /// Elements of a query, a key and a value.
    pub width: u32,
    /// Whether a token sees only itself and those before it.
    pub causal: bool,
    /// Type of the operands and the result.
    pub dtype: Dtype,
}

/// Where keys and values, and the panel, start best: so many bytes behind a multiple of 32. With the working memory at a
/// multiple of 32, what an instruction reads together then lies in different banks of the SRAM, for widths that are multiples
/// of 8.
pub const KEYS_BANK: u32 = 24;

/// Addresses of a PE's memory.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Queries, `[heads, block, width]`.
    pub queries: u32,
    /// Keys and values, `[heads, 2, block, width]`.
    pub keys_values: u32,
    /// The result, like the queries.
    pub result: u32,
    /// `[block, block]` f32: 0 where a query sees a key of its own block, else negative infinity. Used when causal.
    pub mask: u32,
    /// Buffer of [`Attention::panel_bytes`].
    pub panel: u32,
    /// Buffer of [`Attention::scratch_bytes`].
    pub scratch: u32,
}

/// Working memory: scaled queries, scores, weighted values; a maximum, a new one, a factor and a sum a query; working vectors.
struct Work {
    queries: Tile,
    scores: Tile,
    values: Tile,
    /// Largest score so far, with the block at hand, the factor between, the sum, the block's sum.
    largest: Tile,
    larger: Tile,
    factor: Tile,
    sum: Tile,
    vectors: u32,
}

impl Attention {
    /// Bytes of the buffer that receives a block of keys and values.
    pub fn panel_bytes(&self) -> u32 {
        self.keys_values(0).bytes()
    }

    /// Bytes of working memory.
    pub fn scratch_bytes(&self) -> u32 {
        let (work, most) = (self.work(0), self.block.max(self.block * self.block));
        let of = |f: Function, elements| functions::map_scratch_bytes(elements, f.scratch_vectors());
        work.vectors + of(Function::Exp, most).max(of(Function::Reciprocal, self.block))
    }

    /// Keys and values of one head.
    fn keys_values(&self, address: u32) -> Tile {
        Tile { address, elements: 2 * self.block * self.width, dtype: self.dtype }
    }

    fn work(&self, scratch: u32) -> Work {
        let mut next = scratch;
        let mut tile = |elements: u32| {
            let tile = Tile { address: next, elements, dtype: Dtype::F32 };
            // A 64-bit word further on in the banks than the one before, so that neighbours do not collide.
            next += (elements * 4).next_multiple_of(32) + 8;
            tile
        };
        Work {
            queries: tile(self.block * self.width),
            scores: tile(self.block * self.block),
            values: tile(self.block * self.width),
            largest: tile(self.block),
            larger: tile(self.block),
            factor: tile(self.block),
            sum: tile(self.block),
            vectors: next,
        }
    }
}

/// Emits the attention of all heads of the PEs.
pub fn emit(code: &mut Code, mesh: &Mesh, shape: &Attention, memory: &Memory) {
    let work = shape.work(memory.scratch);
    let blocks = shape.tokens.div_ceil(shape.block);
    let bytes = shape.dtype.bytes();
    code.repeat(shape.heads, |code, head| {
        let mut part = |base: u32, elements: u32| {
            let at = code.register();
            code.scalar(ScalarOp::Mul, at, head, elements * bytes);
            code.scalar(ScalarOp::Add, at, at, base);
            Value::from(at)
        };
        let head_elements = shape.block * shape.width;
        let queries = part(memory.queries, head_elements);
        let source = part(memory.keys_values, 2 * head_elements);
        let result = part(memory.result, head_elements);
        start(code, shape, &work, queries);
        code.repeat(blocks, |code, root| {
            let place = code.register();
            let last = [(root, Value::Imm(blocks as i32 - 1))];
            let words = shape.keys_values(0).words().into();
            let turn = Turn { axis: Axis::X, root, last: &last, panel: memory.panel.into(), words };
            line::turn(code, mesh, &turn, place, |_| source);
            let x = mesh.position(Axis::X);
            if shape.causal {
                // Blocks behind the PE's own have nothing that its queries see.
                code.branch(
                    Compare::Le,
                    root,
                    x,
                    |code| block(code, mesh, shape, &work, memory.mask, root, place.into()),
                    |_| (),
                );
            } else {
                block(code, mesh, shape, &work, memory.mask, root, place.into());
            }
        });
        finish(code, shape, &work, result);
    });
}

fn dense(base: Value, dtype: Dtype, elements: u32) -> Operand {
    memory(base, 0, dtype, &[(elements.into(), 1.into())])
}

/// Scales the queries and clears what is carried along.
fn start(code: &mut Code, shape: &Attention, work: &Work, queries: Value) {
    let scale = float(1.0 / (shape.width as f32).sqrt());
    let own = dense(queries, shape.dtype, work.queries.elements);
    code.vector(VectorOp::Mul, work.queries.vector(), &[own, scale]);
    code.mov(work.values.vector(), float(0.0));
    code.mov(work.largest.vector(), float(f32::NEG_INFINITY));
    code.mov(work.sum.vector(), float(0.0));
}

/// Takes in one block of keys and values that lies at `place`.
fn block(code: &mut Code, mesh: &Mesh, shape: &Attention, work: &Work, mask: u32, root: Value, place: Value) {
    let (t, d) = (shape.block, shape.width);
    let valid = valid_tokens(code, shape, root);
    let dims = |rows: u32, middle: (Value, u32), inner: (Value, u32)| {
        [(t.into(), rows.into()), (middle.0, middle.1.into()), (inner.0, inner.1.into())]
    };
    let view = |tile: Tile, dims: &[(Value, Value)]| memory(tile.address, 0, Dtype::F32, dims);

    // Scores: a sum stays in a register while the width goes by.
    code.mov(work.scores.vector(), float(0.0));
    let (keys, wide) = ((valid, 1), Value::from(d));
    let sums = view(work.scores, &dims(t, keys, (wide, 0)));
    let queries = view(work.queries, &dims(d, (valid, 0), (wide, 1)));
    let key = memory(place, 0, shape.dtype, &dims(0, (valid, d), (wide, 1)));
    code.vector(VectorOp::Mac, sums.clone(), &[sums, queries, key]);
    if shape.causal {
        let square = Tile { address: mask, ..work.scores };
        let add = |code: &mut Code| {
            code.vector(VectorOp::Add, work.scores.vector(), &[work.scores.vector(), square.vector()]);
        };
        code.branch(Compare::Eq, root, mesh.position(Axis::X), add, |_| ());
    }

    let scores = Rows { tile: work.scores, rows: t, stride: t, valid };
    code.mov(work.larger.vector(), work.largest.vector());
    accumulate(code, Combine::Max, &scores, work.larger);
    code.vector(VectorOp::Sub, scores.all(), &[scores.all(), per_row(work.larger.address, t, t.into())]);
    in_chunks(code, Function::Exp, work.scores, work.vectors);
    code.vector(VectorOp::Sub, work.factor.vector(), &[work.largest.vector(), work.larger.vector()]);
    in_chunks(code, Function::Exp, work.factor, work.vectors);
    code.mov(work.largest.vector(), work.larger.vector());

    code.vector(VectorOp::Mul, work.sum.vector(), &[work.sum.vector(), work.factor.vector()]);
    accumulate(code, Combine::Sum, &scores, work.sum);
    let values = Rows { tile: work.values, rows: t, stride: d, valid: d.into() };
    code.vector(VectorOp::Mul, values.all(), &[values.all(), per_row(work.factor.address, t, d.into())]);
    let sums = view(work.values, &dims(d, (valid, 0), (wide, 1)));
    let weights = view(work.scores, &dims(t, keys, (wide, 0)));
    let offset = (t * d * shape.dtype.bytes()) as i32;
    let value = memory(place, offset, shape.dtype, &dims(0, (valid, d), (wide, 1)));
    code.vector(VectorOp::Mac, sums.clone(), &[sums, weights, value]);
}

/// `target = combine(target, elements of each row)`.
fn accumulate(code: &mut Code, combine: Combine, rows: &Rows, target: Tile) {
    let target = per_row(target.address, rows.rows, rows.valid);
    code.vector(combine.op(), target.clone(), &[target, rows.valid()]);
}

/// Tokens of the block of a root: all but in the last block.
fn valid_tokens(code: &mut Code, shape: &Attention, root: Value) -> Value {
    let t = shape.block;
    if shape.tokens.is_multiple_of(t) {
        return t.into();
    }
    let valid = code.register();
    code.scalar(ScalarOp::Mul, valid, root, t);
    code.scalar(ScalarOp::Sub, valid, shape.tokens, valid);
    code.scalar(ScalarOp::Min, valid, valid, t);
    valid.into()
}

/// Divides the weighted values by the sum of the weights, which lies between 1 and the number of tokens.
fn finish(code: &mut Code, shape: &Attention, work: &Work, result: Value) {
    let (t, d) = (shape.block, shape.width);
    functions::in_place(
        code,
        work.sum,
        Function::Reciprocal.scratch_vectors(),
        work.vectors,
        functions::positive_reciprocal,
    );
    let values = Rows { tile: work.values, rows: t, stride: d, valid: d.into() };
    let rows = memory(result, 0, shape.dtype, &[(t.into(), d.into()), (d.into(), 1.into())]);
    code.vector(VectorOp::Mul, rows, &[values.all(), per_row(work.sum.address, t, d.into())]);
}
