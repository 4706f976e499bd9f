//! Builds graphs operator by operator: shapes and types follow from the operands, choices that change nothing but the graph's
//! form are drawn at random.

use petgraph::graph::NodeIndex;
use waferloom_models::Graph;
use waferloom_models::graph::{BinaryOp, ConstantData, ElementType, Node, Op, ReduceOp, TensorType, UnaryOp, Window};

pub(crate) type Id = NodeIndex;

/// The next number of Steele's `SplitMix64`.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A graph under construction, with its source of numbers.
pub(crate) struct Net {
    pub(crate) graph: Graph,
    state: u64,
    /// Decides between forms of the same thing.
    pub(crate) coins: u64,
}

impl Net {
    pub(crate) fn new(seed: u64) -> Self {
        Self { graph: Graph::new("random"), state: seed, coins: seed }
    }

    fn next(&mut self) -> u64 {
        split_mix(&mut self.state)
    }

    pub(crate) fn coin(&mut self) -> bool {
        split_mix(&mut self.coins) & 1 == 1
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Numbers in `-scale..scale`.
    pub(crate) fn floats(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| ((self.next() >> 40) as f32 / (1u32 << 23) as f32 - 1.0) * scale).collect()
    }

    pub(crate) fn shape(&self, id: Id) -> Vec<usize> {
        self.graph.shape(id).to_vec()
    }

    pub(crate) fn element(&self, id: Id) -> ElementType {
        self.graph.node(id).output.element
    }

    fn add(&mut self, op: Op, element: ElementType, shape: Vec<usize>, operands: &[Id]) -> Id {
        let name = format!("n{}", self.graph.dag.node_count());
        self.graph.add(Node { name, op, output: TensorType { element, shape } }, operands)
    }

    pub(crate) fn input(&mut self, name: &str, element: ElementType, shape: &[usize]) -> Id {
        self.graph
            .add(Node { name: name.into(), op: Op::Input, output: TensorType { element, shape: shape.to_vec() } }, &[])
    }

    pub(crate) fn constant(&mut self, shape: &[usize], values: Vec<f32>) -> Id {
        self.add(Op::Constant(ConstantData::Float(values.into())), ElementType::Float, shape.to_vec(), &[])
    }

    pub(crate) fn integers(&mut self, shape: &[usize], values: Vec<i64>) -> Id {
        self.constant_of(ElementType::Int, shape, values)
    }

    /// A constant of integers or truth values.
    pub(crate) fn constant_of(&mut self, element: ElementType, shape: &[usize], values: Vec<i64>) -> Id {
        self.add(Op::Constant(ConstantData::Int(values.into())), element, shape.to_vec(), &[])
    }

    /// Random weights.
    pub(crate) fn weight(&mut self, shape: &[usize], scale: f32) -> Id {
        let values = self.floats(shape.iter().product(), scale);
        self.constant(shape, values)
    }

    /// A number of a tensor's rank.
    pub(crate) fn scalar(&mut self, like: Id, value: f32) -> Id {
        let shape = vec![1; self.shape(like).len()];
        self.constant(&shape, vec![value])
    }

    pub(crate) fn unary(&mut self, op: UnaryOp, a: Id) -> Id {
        let element = if op == UnaryOp::IsNan { ElementType::Bool } else { self.element(a) };
        let shape = self.shape(a);
        self.add(Op::Unary(op), element, shape, &[a])
    }

    pub(crate) fn cast(&mut self, a: Id, element: ElementType) -> Id {
        let shape = self.shape(a);
        self.add(Op::Unary(UnaryOp::Cast), element, shape, &[a])
    }

    pub(crate) fn broadcast_shape(&self, operands: &[Id]) -> Vec<usize> {
        let mut shape = self.shape(operands[0]);
        for &other in &operands[1..] {
            for (size, n) in shape.iter_mut().zip(self.shape(other)) {
                *size = if *size == 1 { n } else { *size };
            }
        }
        shape
    }

    /// An operation of two tensors of one rank; the operands of symmetric ones come in any order.
    pub(crate) fn binary(&mut self, op: BinaryOp, a: Id, b: Id) -> Id {
        let (mut element, shape) = (self.element(a), self.broadcast_shape(&[a, b]));
        if matches!(op, BinaryOp::Eq | BinaryOp::Lt | BinaryOp::Le) {
            element = ElementType::Bool;
        }
        let swap = !matches!(op, BinaryOp::Sub | BinaryOp::Div | BinaryOp::Lt | BinaryOp::Le) && self.coin();
        let operands = if swap { [b, a] } else { [a, b] };
        self.add(Op::Binary(op), element, shape, &operands)
    }

    /// An operation of a tensor and a number.
    pub(crate) fn with(&mut self, op: BinaryOp, a: Id, number: f32) -> Id {
        let number = self.scalar(a, number);
        self.binary(op, a, number)
    }

    pub(crate) fn select(&mut self, condition: Id, a: Id, b: Id) -> Id {
        let shape = self.broadcast_shape(&[condition, a, b]);
        let element = self.element(a);
        self.add(Op::Select, element, shape, &[condition, a, b])
    }

    pub(crate) fn matmul(&mut self, a: Id, b: Id) -> Id {
        let (mut shape, left, right) = (self.broadcast_shape(&[a, b]), self.shape(a), self.shape(b));
        let rank = shape.len();
        shape[rank - 2] = left[rank - 2];
        shape[rank - 1] = right[rank - 1];
        let element = self.element(a);
        self.add(Op::MatMul, element, shape, &[a, b])
    }

    pub(crate) fn softmax(&mut self, a: Id) -> Id {
        let shape = self.shape(a);
        self.add(Op::Softmax { axis: shape.len() - 1 }, ElementType::Float, shape, &[a])
    }

    pub(crate) fn normalize(&mut self, a: Id, epsilon: f32) -> Id {
        let shape = self.shape(a);
        self.add(Op::Normalize { epsilon }, ElementType::Float, shape, &[a])
    }

    pub(crate) fn reduce(&mut self, op: ReduceOp, a: Id, axes: &[usize]) -> Id {
        let (element, mut shape) = (self.element(a), self.shape(a));
        for &axis in axes {
            shape[axis] = 1;
        }
        self.add(Op::Reduce { op, axes: axes.to_vec() }, element, shape, &[a])
    }

    pub(crate) fn reshape(&mut self, a: Id, shape: &[usize]) -> Id {
        let element = self.element(a);
        self.add(Op::Reshape, element, shape.to_vec(), &[a])
    }

    pub(crate) fn permute(&mut self, a: Id, axes: &[usize]) -> Id {
        let (element, from) = (self.element(a), self.shape(a));
        let shape = axes.iter().map(|&axis| from[axis]).collect();
        self.add(Op::Permute { axes: axes.to_vec() }, element, shape, &[a])
    }

    /// The last two axes exchanged.
    pub(crate) fn transpose(&mut self, a: Id) -> Id {
        let rank = self.shape(a).len();
        let mut axes: Vec<usize> = (0..rank).collect();
        axes.swap(rank - 2, rank - 1);
        self.permute(a, &axes)
    }

    /// `length` indices of an axis from `start` on.
    pub(crate) fn slice(&mut self, a: Id, axis: usize, start: usize, length: usize) -> Id {
        self.slice_by(a, axis, start, length, 1)
    }

    pub(crate) fn slice_by(&mut self, a: Id, axis: usize, start: usize, length: usize, step: usize) -> Id {
        let (element, mut shape) = (self.element(a), self.shape(a));
        shape[axis] = length;
        self.add(Op::Slice { axis, start, step }, element, shape, &[a])
    }

    pub(crate) fn concat(&mut self, parts: &[Id], axis: usize) -> Id {
        let (element, mut shape) = (self.element(parts[0]), self.shape(parts[0]));
        shape[axis] = parts.iter().map(|&p| self.graph.shape(p)[axis]).sum();
        self.add(Op::Concat { axis }, element, shape, parts)
    }

    pub(crate) fn broadcast(&mut self, a: Id, shape: &[usize]) -> Id {
        let element = self.element(a);
        self.add(Op::Broadcast, element, shape.to_vec(), &[a])
    }

    pub(crate) fn gather(&mut self, table: Id, indices: Id, axis: usize) -> Id {
        let (element, from, picks) = (self.element(table), self.shape(table), self.shape(indices));
        let shape = [&from[..axis], &picks, &from[axis + 1..]].concat();
        self.add(Op::Gather { axis }, element, shape, &[table, indices])
    }

    pub(crate) fn conv(&mut self, a: Id, kernel: Id, window: Window, groups: usize) -> Id {
        let (input, weights) = (self.shape(a), self.shape(kernel));
        let mut shape = vec![input[0], weights[0]];
        for (d, &size) in input[2..].iter().enumerate() {
            let reach = (window.kernel[d] - 1) * window.dilation[d] + 1;
            shape.push((size + window.pad_before[d] + window.pad_after[d] - reach) / window.stride[d] + 1);
        }
        self.add(Op::Conv { window, groups }, ElementType::Float, shape, &[a, kernel])
    }

    pub(crate) fn output(&mut self, id: Id) {
        let name = format!("out{}", self.graph.outputs.len());
        self.graph.outputs.push((name, id));
    }
}
