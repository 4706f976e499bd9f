//! From a case to a graph and the values of its inputs.

use crate::case::{Block, Case, End, Front, Positions};
use crate::net::{Id, Net};
use std::collections::BTreeMap;
use waferloom_models::graph::{BinaryOp, ElementType, ReduceOp, UnaryOp, Window};
use waferloom_models::{Graph, Tensor};

/// Added to a variance: large enough that rows of nearly equal numbers do not make every rounding large.
const EPSILON: f32 = 0.1;

/// A model under construction.
pub(super) struct Maker<'a> {
    pub(super) case: &'a Case,
    pub(super) net: Net,
    pub(super) inputs: BTreeMap<String, Tensor>,
    /// The first input.
    input: Id,
    /// 1 for tokens that count, `[batch, tokens]`.
    pub(super) mask: Id,
    pub(super) tokens: usize,
}

/// The graph of a case and values for its inputs.
pub(crate) fn build(case: &Case) -> (Graph, BTreeMap<String, Tensor>) {
    let none = Id::new(0);
    let mut maker =
        Maker { case, net: Net::new(case.seed), inputs: BTreeMap::new(), input: none, mask: none, tokens: case.tokens };
    let mut x = maker.front();
    maker.tokens = maker.net.shape(x)[1];
    maker.mask_input();
    x = maker.positions(x);
    for block in &case.blocks {
        let coins = maker.net.coins;
        for _ in 0..case.layers {
            // Layers differ in nothing but their weights.
            maker.net.coins = coins;
            x = maker.block(x, block);
        }
    }
    for &end in &case.ends {
        let made = maker.end(x, end);
        maker.net.output(made);
        if matches!(end, End::Twice) {
            maker.net.output(made);
        }
    }
    (maker.net.graph, maker.inputs)
}

impl Maker<'_> {
    fn float_input(&mut self, shape: &[usize]) -> Id {
        let values = self.net.floats(shape.iter().product(), 1.0);
        self.inputs.insert("x".into(), Tensor::from_f32(shape, values).unwrap());
        self.input = self.net.input("x", ElementType::Float, shape);
        self.input
    }

    fn front(&mut self) -> Id {
        let &Case { batch, tokens, width, front, .. } = self.case;
        match front {
            Front::States => self.float_input(&[batch, tokens, width]),
            Front::Words(words) => {
                // Negative numbers count from the end.
                let ids = (0..batch * tokens).map(|_| self.net.below(2 * words) as i64 - words as i64).collect();
                self.inputs.insert("x".into(), Tensor::from_i64(&[batch, tokens], ids).unwrap());
                self.input = self.net.input("x", ElementType::Int, &[batch, tokens]);
                let table = self.net.weight(&[words, width], 1.0);
                self.net.gather(table, self.input, 0)
            }
            Front::Patches { channels, size, overlap } => self.patches(channels, size, overlap),
            Front::Convolution { reach, groups } => {
                let x = self.float_input(&[batch, tokens, width * groups]);
                let x = self.net.transpose(x);
                let kernel = self.net.weight(&[width * groups, width, reach], 0.5);
                let after = (reach - 1) / 2;
                let window = Window {
                    kernel: vec![reach],
                    stride: vec![1],
                    dilation: vec![1],
                    pad_before: vec![reach - 1 - after],
                    pad_after: vec![after],
                };
                let x = self.net.conv(x, kernel, window, groups);
                let x = self.net.slice(x, 1, width * (groups - 1), width);
                self.net.transpose(x)
            }
        }
    }

    /// Patches of an image of about as many places as there are tokens, behind a token of their own.
    fn patches(&mut self, channels: usize, size: usize, overlap: bool) -> Id {
        let &Case { batch, tokens, width, .. } = self.case;
        let (rows, columns) = if tokens > 3 { (2, tokens / 2) } else { (1, tokens) };
        let reach = if overlap { size + 1 } else { size };
        let x = self.float_input(&[batch, channels, rows * size, columns * size]);
        let kernel = self.net.weight(&[width, channels, reach, reach], 0.5);
        let window = Window {
            kernel: vec![reach; 2],
            stride: vec![size; 2],
            dilation: vec![1; 2],
            pad_before: vec![usize::from(overlap); 2],
            pad_after: vec![0; 2],
        };
        let x = self.net.conv(x, kernel, window, 1);
        let x = self.net.reshape(x, &[batch, width, rows * columns]);
        let x = self.net.transpose(x);
        let first = self.net.weight(&[1, 1, width], 1.0);
        let first = self.net.broadcast(first, &[batch, 1, width]);
        self.net.concat(&[first, x], 1)
    }

    /// Ones, then zeros; rows without any one occur.
    fn mask_input(&mut self) {
        let shape = [self.case.batch, self.tokens];
        let mut values = Vec::new();
        for _ in 0..shape[0] {
            let ones = self.net.below(self.tokens + 1);
            values.extend((0..self.tokens).map(|i| i64::from(i < ones)));
        }
        self.inputs.insert("attention_mask".into(), Tensor::from_i64(&shape, values).unwrap());
        self.mask = self.net.input("attention_mask", ElementType::Int, &shape);
    }

    fn positions(&mut self, x: Id) -> Id {
        let (tokens, width) = (self.tokens, self.case.width);
        match self.case.positions {
            Positions::Learned => {
                let table = self.net.weight(&[1, tokens + 2, width], 0.5);
                let table = self.net.slice(table, 1, 1, tokens);
                self.net.binary(BinaryOp::Add, x, table)
            }
            Positions::Counted => {
                let table = self.net.weight(&[tokens + 2, width], 0.5);
                let mask = self.net.cast(self.mask, ElementType::Float);
                let ones = (0..tokens * tokens).map(|i| f32::from(i / tokens <= i % tokens)).collect();
                let ones = self.net.constant(&[tokens, tokens], ones);
                let counts = self.net.matmul(mask, ones);
                let counts = self.net.cast(counts, ElementType::Int);
                let counts = self.net.binary(BinaryOp::Mul, counts, self.mask);
                let one = self.net.integers(&[1, 1], vec![1]);
                let places = self.net.binary(BinaryOp::Add, counts, one);
                let rows = self.net.gather(table, places, 0);
                self.net.binary(BinaryOp::Add, x, rows)
            }
            Positions::Sinusoidal => self.sinusoidal(x),
            _ => x,
        }
    }

    /// Sines and cosines of the number of tokens that count so far, at halved frequencies.
    fn sinusoidal(&mut self, x: Id) -> Id {
        let (batch, tokens, width) = (self.case.batch, self.tokens, self.case.width);
        let ones = (0..tokens * tokens).map(|i| i64::from(i / tokens <= i % tokens)).collect();
        let ones = self.net.integers(&[tokens, tokens], ones);
        let counts = self.net.matmul(self.mask, ones);
        let counts = self.net.reshape(counts, &[batch, tokens, 1]);
        let counts = self.net.cast(counts, ElementType::Float);
        let half = width.div_ceil(2);
        let frequencies = self.net.constant(&[1, 1, half], (0..half).map(|i| 0.5f32.powi(i as i32)).collect());
        let angles = self.net.binary(BinaryOp::Mul, counts, frequencies);
        let waves = [UnaryOp::Sin, UnaryOp::Cos].map(|op| self.net.unary(op, angles));
        let waves = self.net.concat(&waves, 2);
        let waves = self.net.slice(waves, 2, 0, width);
        self.net.binary(BinaryOp::Add, x, waves)
    }

    fn norm(&mut self, x: Id, rms: bool) -> Id {
        let width = self.net.shape(x)[2];
        let normal = if rms {
            let square = self.net.unary(UnaryOp::Square, x);
            let sum = self.net.reduce(ReduceOp::Sum, square, &[2]);
            let mean = self.net.with(BinaryOp::Mul, sum, 1.0 / width as f32);
            let mean = self.net.with(BinaryOp::Add, mean, EPSILON);
            if self.net.coin() {
                let scale = self.net.unary(UnaryOp::Rsqrt, mean);
                self.net.binary(BinaryOp::Mul, x, scale)
            } else {
                let root = self.net.unary(UnaryOp::Sqrt, mean);
                self.net.binary(BinaryOp::Div, x, root)
            }
        } else {
            self.net.normalize(x, EPSILON)
        };
        let scale = self.net.weight(&[1, 1, width], 1.0);
        let shift = self.net.weight(&[1, 1, width], 0.5);
        let scaled = self.net.binary(BinaryOp::Mul, normal, scale);
        self.net.binary(BinaryOp::Add, scaled, shift)
    }

    fn block(&mut self, x: Id, block: &Block) -> Id {
        let mut x = x;
        for part in [Self::attention, Self::feed_forward] {
            let inner = if block.norm_first { self.norm(x, block.rms) } else { x };
            let made = part(self, inner, block);
            x = self.net.binary(BinaryOp::Add, x, made);
            if !block.norm_first {
                x = self.norm(x, block.rms);
            }
        }
        x
    }

    /// `x · weights + bias`, with a product of three dimensions or of two.
    pub(super) fn linear(&mut self, x: Id, out: usize) -> Id {
        let [batch, tokens, width] = self.net.shape(x)[..] else { panic!("three dimensions") };
        let scale = 1.0 / (width as f32).sqrt();
        let bias = self.net.weight(&[1, 1, out], 0.2);
        let product = if self.net.coin() {
            let weights = self.net.weight(&[1, width, out], scale);
            self.net.matmul(x, weights)
        } else {
            let weights = self.net.weight(&[out, width], scale);
            let weights = self.net.transpose(weights);
            let rows = self.net.reshape(x, &[batch * tokens, width]);
            let product = self.net.matmul(rows, weights);
            self.net.reshape(product, &[batch, tokens, out])
        };
        self.net.binary(BinaryOp::Add, product, bias)
    }

    fn feed_forward(&mut self, x: Id, block: &Block) -> Id {
        let &Block { hidden, gated, .. } = block;
        let mut inner = self.linear(x, if gated { 2 * hidden } else { hidden });
        if gated {
            let gate = self.net.slice(inner, 2, 0, hidden);
            let gate = self.activate(gate, block.activation);
            let value = self.net.slice(inner, 2, hidden, hidden);
            inner = self.net.binary(BinaryOp::Mul, gate, value);
        } else {
            inner = self.activate(inner, block.activation);
        }
        self.linear(inner, self.case.width)
    }

    fn activate(&mut self, x: Id, activation: Option<UnaryOp>) -> Id {
        if let Some(op) = activation {
            return self.net.unary(op, x);
        }
        let scaled = self.net.with(BinaryOp::Mul, x, std::f32::consts::FRAC_1_SQRT_2);
        let erf = self.net.unary(UnaryOp::Erf, scaled);
        let one = self.net.with(BinaryOp::Add, erf, 1.0);
        let product = self.net.binary(BinaryOp::Mul, x, one);
        self.net.with(BinaryOp::Mul, product, 0.5)
    }

    fn end(&mut self, x: Id, end: End) -> Id {
        let (batch, tokens, width) = (self.case.batch, self.tokens, self.case.width);
        match end {
            End::States | End::Twice => x,
            End::FirstToken => {
                let first = self.net.slice(x, 1, 0, 1);
                self.net.reshape(first, &[batch, width])
            }
            End::Pooler => {
                let first = self.net.slice(x, 1, tokens - 1, 1);
                let dense = self.linear(first, width);
                let pooled = self.net.unary(UnaryOp::Tanh, dense);
                self.net.reshape(pooled, &[batch, width])
            }
            End::MaskedMean => self.masked_mean(x),
            End::Max(axis) => self.net.reduce(ReduceOp::Max, x, &[axis]),
            End::Padded(by) => {
                let zeros = self.net.constant(&[batch, by, width], vec![0.0; batch * by * width]);
                let x = self.net.concat(&[zeros, x], 1);
                let bias = self.net.weight(&[1, 1, width], 1.0);
                self.net.binary(BinaryOp::Mul, x, bias)
            }
            End::Rotated => {
                let x = self.net.permute(x, &[2, 0, 1]);
                self.net.unary(UnaryOp::Abs, x)
            }
            End::Picked => self.picked(x),
            End::Logits(labels) => {
                let logits = self.linear(x, labels);
                self.net.softmax(logits)
            }
            End::Sum => {
                let sum = self.net.reduce(ReduceOp::Sum, x, &[0, 1, 2]);
                self.net.reshape(sum, &[])
            }
            End::Input => self.input,
            End::TurnedInput => self.net.transpose(self.input),
            End::MaskInput => self.net.reshape(self.mask, &[batch * tokens]),
            End::Best => self.best(),
            End::MaskCounts => self.net.reduce(ReduceOp::Sum, self.mask, &[1]),
            End::Small => {
                // Far from any number of the model, so that no rounding decides.
                let far = self.net.scalar(x, 2e4);
                self.net.binary(BinaryOp::Lt, x, far)
            }
            End::Constant => self.net.weight(&[tokens, width], 1.0),
        }
    }

    /// The first place of the largest of numbers that the mask chooses from.
    fn best(&mut self) -> Id {
        let tokens = self.tokens;
        let values = (0..tokens).map(|_| self.net.below(4) as i64 - 1).collect();
        let values = self.net.integers(&[1, tokens], values);
        let values = self.net.binary(BinaryOp::Mul, self.mask, values);
        let largest = self.net.reduce(ReduceOp::Max, values, &[1]);
        let smaller = self.net.binary(BinaryOp::Lt, values, largest);
        let places = self.net.integers(&[1, tokens], (0..tokens as i64).collect());
        let behind = self.net.integers(&[1, 1], vec![tokens as i64]);
        let places = self.net.select(smaller, behind, places);
        self.net.reduce(ReduceOp::Min, places, &[1])
    }

    /// The mean of the tokens that count.
    fn masked_mean(&mut self, x: Id) -> Id {
        let mask = self.net.reshape(self.mask, &[self.case.batch, self.tokens, 1]);
        let mask = self.net.cast(mask, ElementType::Float);
        let kept = self.net.binary(BinaryOp::Mul, x, mask);
        let sum = self.net.reduce(ReduceOp::Sum, kept, &[1]);
        let count = self.net.reduce(ReduceOp::Sum, mask, &[1]);
        let count = self.net.with(BinaryOp::Max, count, 1.0);
        self.net.binary(BinaryOp::Div, sum, count)
    }

    /// Tokens at places that the mask gives: the first or the second.
    fn picked(&mut self, x: Id) -> Id {
        let last = self.net.integers(&[1, 1], vec![self.tokens as i64 - 1]);
        let places = self.net.binary(BinaryOp::Min, self.mask, last);
        let some = self.net.slice(places, 0, 0, 1);
        let some = self.net.reshape(some, &[self.tokens]);
        self.net.gather(x, some, 1)
    }
}
