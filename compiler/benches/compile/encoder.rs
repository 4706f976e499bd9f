//! An encoder of any size, built natively: learned positions, pre-norm blocks of attention and a GELU feed-forward.

use petgraph::graph::NodeIndex;
use waferloom_models::Graph;
use waferloom_models::graph::{BinaryOp, ConstantData, ElementType, Node, Op, TensorType, UnaryOp};

/// Sizes of an encoder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoder {
    pub(crate) words: usize,
    pub(crate) layers: usize,
    pub(crate) width: usize,
    pub(crate) heads: usize,
    pub(crate) inner: usize,
    pub(crate) tokens: usize,
}

impl Encoder {
    /// The model as the compiler gets it: a batch of one sequence.
    pub(crate) fn graph(self) -> Graph {
        let mut net = Net { graph: Graph::new("encoder") };
        let shape = [1, self.tokens];
        let ids = net.add("input_ids", Op::Input, ElementType::Int, &shape, &[]);
        let table = net.weight("words", &[self.words, self.width]);
        let mut x = net.float("embed", Op::Gather { axis: 0 }, &[1, self.tokens, self.width], &[table, ids]);
        let positions = net.weight("positions", &[1, self.tokens, self.width]);
        x = net.sum("embed.positions", x, positions);
        for layer in 0..self.layers {
            let normal = net.normalize(&format!("{layer}.norm1"), x);
            let made = self.attention(&mut net, &format!("{layer}.attention"), normal);
            x = net.sum(&format!("{layer}.residual1"), x, made);
            let normal = net.normalize(&format!("{layer}.norm2"), x);
            let made = net.linear(&format!("{layer}.up"), normal, self.inner);
            let made = net.float(&format!("{layer}.gelu"), Op::Unary(UnaryOp::Gelu), &net.shape(made), &[made]);
            let made = net.linear(&format!("{layer}.down"), made, self.width);
            x = net.sum(&format!("{layer}.residual2"), x, made);
        }
        let x = net.normalize("norm", x);
        net.graph.outputs.push(("hidden".into(), x));
        net.graph
    }

    fn attention(self, net: &mut Net, name: &str, x: NodeIndex) -> NodeIndex {
        let Self { width, heads, tokens, .. } = self;
        let head = width / heads;
        // [1, tokens, width] to [1, heads, tokens, head], or with the last two exchanged.
        let mut part = |what: &str, axes: &[usize], shape: &[usize]| {
            let name = format!("{name}.{what}");
            let made = net.linear(&name, x, width);
            let split = net.float(&format!("{name}.heads"), Op::Reshape, &[1, tokens, heads, head], &[made]);
            net.float(&format!("{name}.turned"), Op::Permute { axes: axes.to_vec() }, shape, &[split])
        };
        let query = part("query", &[0, 2, 1, 3], &[1, heads, tokens, head]);
        let key = part("key", &[0, 2, 3, 1], &[1, heads, head, tokens]);
        let value = part("value", &[0, 2, 1, 3], &[1, heads, tokens, head]);
        let square = [1, heads, tokens, tokens];
        let scores = net.float(&format!("{name}.scores"), Op::MatMul, &square, &[query, key]);
        let weights = net.float(&format!("{name}.softmax"), Op::Softmax { axis: 3 }, &square, &[scores]);
        let mixed = net.float(&format!("{name}.mixed"), Op::MatMul, &[1, heads, tokens, head], &[weights, value]);
        let turned = Op::Permute { axes: vec![0, 2, 1, 3] };
        let turned = net.float(&format!("{name}.back"), turned, &[1, tokens, heads, head], &[mixed]);
        let joined = net.float(&format!("{name}.joined"), Op::Reshape, &[1, tokens, width], &[turned]);
        net.linear(&format!("{name}.out"), joined, width)
    }
}

struct Net {
    graph: Graph,
}

impl Net {
    fn add(&mut self, name: &str, op: Op, element: ElementType, shape: &[usize], operands: &[NodeIndex]) -> NodeIndex {
        let output = TensorType { element, shape: shape.to_vec() };
        self.graph.add(Node { name: name.into(), op, output }, operands)
    }

    fn float(&mut self, name: &str, op: Op, shape: &[usize], operands: &[NodeIndex]) -> NodeIndex {
        self.add(name, op, ElementType::Float, shape, operands)
    }

    fn shape(&self, id: NodeIndex) -> Vec<usize> {
        self.graph.shape(id).to_vec()
    }

    /// Numbers that differ, as trained weights do.
    fn weight(&mut self, name: &str, shape: &[usize]) -> NodeIndex {
        let count: usize = shape.iter().product();
        let number = |i: usize| (i as u32).wrapping_mul(2_654_435_761) as f32 / u32::MAX as f32 - 0.5;
        let values = (0..count).map(number).collect();
        self.float(name, Op::Constant(ConstantData::Float(values)), shape, &[])
    }

    fn sum(&mut self, name: &str, a: NodeIndex, b: NodeIndex) -> NodeIndex {
        self.float(name, Op::Binary(BinaryOp::Add), &self.shape(a), &[a, b])
    }

    fn normalize(&mut self, name: &str, a: NodeIndex) -> NodeIndex {
        let shape = self.shape(a);
        let normal = self.float(name, Op::Normalize { epsilon: 1e-5 }, &shape, &[a]);
        let affine = [1, 1, shape[2]];
        let scale = self.weight(&format!("{name}.scale"), &affine);
        let shift = self.weight(&format!("{name}.shift"), &affine);
        let scaled = self.float(&format!("{name}.scaled"), Op::Binary(BinaryOp::Mul), &shape, &[normal, scale]);
        self.sum(&format!("{name}.shifted"), scaled, shift)
    }

    /// `x · weights + bias`.
    fn linear(&mut self, name: &str, x: NodeIndex, out: usize) -> NodeIndex {
        let shape = self.shape(x);
        let weights = self.weight(&format!("{name}.weights"), &[1, shape[2], out]);
        let made = self.float(name, Op::MatMul, &[1, shape[1], out], &[x, weights]);
        let bias = self.weight(&format!("{name}.bias"), &[1, 1, out]);
        self.sum(&format!("{name}.biased"), made, bias)
    }
}
