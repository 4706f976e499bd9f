//! Attention: over the tokens themselves, behind a cache, over another sequence, or inside windows.

use crate::case::{Block, Mask, Positions, Sight};
use crate::model::Maker;
use crate::net::Id;
use waferloom_models::Tensor;
use waferloom_models::graph::{BinaryOp, ElementType, UnaryOp};

impl Maker<'_> {
    pub(super) fn attention(&mut self, x: Id, block: &Block) -> Id {
        match block.sight {
            Sight::Tokens => self.own(x, block, 0),
            Sight::Past(past) => self.own(x, block, past),
            Sight::Memory(tokens) => {
                let memory = self.memory(tokens);
                let [q, k, v] = self.apart(x, memory, block);
                self.mix([q, k, v], block, |maker, scores| maker.net.softmax(scores))
            }
            Sight::Windows { size, shift } => self.windows(x, block, size, shift),
        }
    }

    /// The sequence of so many tokens, one for all blocks.
    fn memory(&mut self, tokens: usize) -> Id {
        let name = format!("memory of {tokens}");
        let known = self.net.graph.inputs.iter().copied().find(|&id| self.net.graph.node(id).name == name);
        known.unwrap_or_else(|| self.further_input(&name, &[self.case.batch, tokens, self.case.width]))
    }

    fn further_input(&mut self, name: &str, shape: &[usize]) -> Id {
        let values = self.net.floats(shape.iter().product(), 1.0);
        self.inputs.insert(name.into(), Tensor::from_f32(shape, values).unwrap());
        self.net.input(name, ElementType::Float, shape)
    }

    /// Queries of one sequence, keys and values of another, as `[batch, heads, tokens, head]`.
    fn apart(&mut self, x: Id, other: Id, block: &Block) -> [Id; 3] {
        let (heads, head) = (block.key_heads * block.group, block.head);
        [(x, heads), (other, block.key_heads), (other, block.key_heads)].map(|(from, count)| {
            let made = self.linear(from, count * head);
            self.split(made, count, head)
        })
    }

    /// The same of one sequence, out of one product or three.
    fn together(&mut self, x: Id, block: &Block) -> [Id; 3] {
        let &Block { key_heads, group, head, .. } = block;
        let heads = key_heads * group;
        if !self.net.coin() {
            return self.apart(x, x, block);
        }
        let all = self.linear(x, (heads + 2 * key_heads) * head);
        [(0, heads), (heads, key_heads), (heads + key_heads, key_heads)].map(|(first, count)| {
            let part = self.net.slice(all, 2, first * head, count * head);
            self.split(part, count, head)
        })
    }

    /// Attention of the tokens to themselves and to `past` earlier ones, whose keys and values are inputs; the longer keys and
    /// values are outputs then.
    fn own(&mut self, x: Id, block: &Block, past: usize) -> Id {
        let [mut q, mut k, mut v] = self.together(x, block);
        if self.case.positions == Positions::Rotary {
            (q, k) = (self.rotate(q, past), self.rotate(k, past));
        }
        if past > 0 {
            let shape = [self.case.batch, block.key_heads, past, block.head];
            [k, v] = [(k, "keys"), (v, "values")].map(|(new, name)| {
                let before = self.further_input(&format!("{name} {}", self.inputs.len()), &shape);
                let all = self.net.concat(&[before, new], 2);
                self.net.output(all);
                all
            });
        }
        self.mix([q, k, v], block, |maker, scores| maker.weights(scores, past))
    }

    /// Tokens rolled by `shift`, filled up to whole windows of `size`, each of which sees itself alone, but for what the roll
    /// brought there from the other end.
    fn windows(&mut self, x: Id, block: &Block, size: usize, shift: usize) -> Id {
        let (batch, tokens, width) = (self.case.batch, self.tokens, self.case.width);
        let shift = shift % tokens;
        let count = tokens.div_ceil(size);
        let rolled = self.roll(x, shift);
        let missing = count * size - tokens;
        let filled = if missing > 0 {
            let zeros = self.net.constant(&[batch, missing, width], vec![0.0; batch * missing * width]);
            self.net.concat(&[rolled, zeros], 1)
        } else {
            rolled
        };
        let parts = self.net.reshape(filled, &[batch * count, size, width]);
        let qkv = self.together(parts, block);
        let heads = block.key_heads * block.group;
        // Tokens of different regions do not see each other.
        let region = |place: usize| if place < tokens - shift { 0 } else { 1 + usize::from(place >= tokens) };
        let apart = (0..count * size * size).map(|i| {
            let (window, query, key) = (i / (size * size), i / size % size, i % size);
            if region(window * size + query) == region(window * size + key) { 0.0 } else { -100.0 }
        });
        let apart = self.net.constant(&[1, count, 1, size, size], apart.collect());
        let mixed = self.mix(qkv, block, |maker, scores| {
            let scores = maker.net.reshape(scores, &[batch, count, heads, size, size]);
            let masked = maker.net.binary(BinaryOp::Add, scores, apart);
            let weights = maker.net.softmax(masked);
            maker.net.reshape(weights, &[batch * count, heads, size, size])
        });
        let mixed = self.net.reshape(mixed, &[batch, count * size, width]);
        let mixed = self.net.slice(mixed, 1, 0, tokens);
        self.roll(mixed, (tokens - shift) % tokens)
    }

    /// Token `shift` becomes the first one, those before it the last ones.
    fn roll(&mut self, x: Id, shift: usize) -> Id {
        if shift == 0 {
            return x;
        }
        let front = self.net.slice(x, 1, shift, self.tokens - shift);
        let back = self.net.slice(x, 1, 0, shift);
        self.net.concat(&[front, back], 1)
    }

    /// Values mixed by the weights that follow from the scores, back in the model's width.
    fn mix(&mut self, [q, k, v]: [Id; 3], block: &Block, weights: impl FnOnce(&mut Self, Id) -> Id) -> Id {
        let (mut q, mut k, mut v) = (q, k, v);
        if block.group > 1 {
            (k, v) = (self.repeat(k, block.group), self.repeat(v, block.group));
        }
        let scale = 1.0 / (block.head as f32).sqrt();
        let scaled = self.net.coin();
        if scaled {
            q = self.net.with(BinaryOp::Mul, q, scale);
        }
        let keys = self.net.transpose(k);
        let mut scores = self.net.matmul(q, keys);
        if !scaled {
            scores = self.net.with(BinaryOp::Div, scores, 1.0 / scale);
        }
        let weights = weights(self, scores);
        let mixed = self.net.matmul(weights, v);
        let mixed = self.net.permute(mixed, &[0, 2, 1, 3]);
        let [batch, tokens, heads, head] = self.net.shape(mixed)[..] else { panic!("four dimensions") };
        let mixed = self.net.reshape(mixed, &[batch, tokens, heads * head]);
        self.linear(mixed, self.case.width)
    }

    /// `[batch, tokens, heads · head]` to `[batch, heads, tokens, head]`.
    fn split(&mut self, x: Id, heads: usize, head: usize) -> Id {
        let [batch, tokens, _] = self.net.shape(x)[..] else { panic!("three dimensions") };
        let x = self.net.reshape(x, &[batch, tokens, heads, head]);
        self.net.permute(x, &[0, 2, 1, 3])
    }

    /// Each head of keys or values for a group of queries.
    fn repeat(&mut self, x: Id, group: usize) -> Id {
        let [batch, heads, tokens, head] = self.net.shape(x)[..] else { panic!("four dimensions") };
        let x = self.net.reshape(x, &[batch, heads, 1, tokens, head]);
        let x = self.net.broadcast(x, &[batch, heads, group, tokens, head]);
        self.net.reshape(x, &[batch, heads * group, tokens, head])
    }

    /// Turns pairs of a head's numbers by angles that grow with the position, from `first` on; an odd one out stays.
    fn rotate(&mut self, x: Id, first: usize) -> Id {
        let (tokens, head) = (self.tokens, self.net.shape(x)[3]);
        let half = head / 2;
        if half == 0 {
            return x;
        }
        let angle = |i: usize| (first + i / (2 * half)) as f32 * 0.5f32.powi((i % half) as i32);
        let angles = self.net.constant(&[1, 1, tokens, 2 * half], (0..tokens * 2 * half).map(angle).collect());
        let [cos, sin] = [UnaryOp::Cos, UnaryOp::Sin].map(|op| self.net.unary(op, angles));
        let turned = self.net.slice(x, 3, 0, 2 * half);
        let [low, high] = [0, half].map(|start| self.net.slice(turned, 3, start, half));
        let minus = self.net.unary(UnaryOp::Neg, high);
        let other = self.net.concat(&[minus, low], 3);
        let a = self.net.binary(BinaryOp::Mul, turned, cos);
        let b = self.net.binary(BinaryOp::Mul, other, sin);
        let turned = self.net.binary(BinaryOp::Add, a, b);
        if head == 2 * half {
            return turned;
        }
        let rest = self.net.slice(x, 3, 2 * half, 1);
        self.net.concat(&[turned, rest], 3)
    }

    /// Scores of tokens behind `past` others, with positions and mask, through the softmax.
    fn weights(&mut self, scores: Id, past: usize) -> Id {
        let (tokens, heads, keys) = (self.tokens, self.net.shape(scores)[1], past + self.tokens);
        let mut scores = scores;
        if self.case.positions == Positions::Linear {
            let distance = |i: usize| (i % keys) as f32 - (past + i / keys) as f32;
            let distances = self.net.constant(&[1, 1, tokens, keys], (0..tokens * keys).map(distance).collect());
            let slopes = self.net.constant(&[1, heads, 1, 1], (1..=heads).map(|h| 0.5f32.powi(h as i32)).collect());
            let bias = self.net.binary(BinaryOp::Mul, slopes, distances);
            scores = self.net.binary(BinaryOp::Add, scores, bias);
        }
        let masked = self.masked(scores, past);
        let weights = self.net.softmax(masked);
        if !matches!(self.case.mask, Mask::Infinite | Mask::Causal) {
            return weights;
        }
        let zero = self.net.scalar(weights, 0.0);
        let bad = self.net.unary(UnaryOp::IsNan, weights);
        self.net.select(bad, zero, weights)
    }

    fn masked(&mut self, scores: Id, past: usize) -> Id {
        let (batch, tokens, keys) = (self.case.batch, self.tokens, past + self.tokens);
        let mut mask = self.net.reshape(self.mask, &[batch, 1, 1, tokens]);
        if past > 0 {
            let ones = self.net.integers(&[batch, 1, 1, past], vec![1; batch * past]);
            mask = self.net.concat(&[ones, mask], 3);
        }
        let mask = if self.net.coin() { self.net.broadcast(mask, &[batch, 1, tokens, keys]) } else { mask };
        match self.case.mask {
            Mask::None => scores,
            Mask::Added => {
                let mask = self.net.cast(mask, ElementType::Float);
                let one = self.net.scalar(mask, 1.0);
                let hidden = self.net.binary(BinaryOp::Sub, one, mask);
                let bias = self.net.with(BinaryOp::Mul, hidden, f32::MIN);
                self.net.binary(BinaryOp::Add, scores, bias)
            }
            Mask::Replaced => {
                let zero = self.net.integers(&[1; 4], vec![0]);
                let hidden = self.net.binary(BinaryOp::Eq, mask, zero);
                let low = self.net.scalar(scores, f32::MIN);
                self.net.select(hidden, low, scores)
            }
            Mask::Infinite | Mask::Causal => {
                let mut seen = self.net.cast(mask, ElementType::Bool);
                if self.case.mask == Mask::Causal {
                    let all = self.net.integers(&[1, 1, 1, keys], (0..keys as i64).collect());
                    let queries = self.net.integers(&[1, 1, tokens, 1], (past as i64..keys as i64).collect());
                    let before = self.net.binary(BinaryOp::Le, all, queries);
                    seen = self.net.binary(BinaryOp::And, seen, before);
                }
                let low = self.net.scalar(scores, f32::NEG_INFINITY);
                if self.net.coin() {
                    return self.net.select(seen, scores, low);
                }
                let hidden = self.net.unary(UnaryOp::Not, seen);
                self.net.select(hidden, low, scores)
            }
        }
    }
}
