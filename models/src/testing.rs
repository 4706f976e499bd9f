//! Small random graphs for the property tests.

use petgraph::graph::NodeIndex;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::graph::{BinaryOp, ConstantData, ElementType, Graph, Node, Op, ReduceOp, TensorType, UnaryOp, Window};
use crate::infer::infer;
use crate::tensor::count;

/// What graphs are for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Any operator, any bits in constants, any characters in names.
    Printable,
    /// Operators that are continuous and keep moderate numbers moderate, so that roundings stay small.
    Tame,
}

/// A decision of the generator.
#[derive(Clone, Debug)]
struct Step {
    family: usize,
    picks: [Index; 3],
    number: u32,
    name: String,
}

/// Graphs of up to 14 nodes and their operands.
pub(crate) fn graphs(kind: Kind) -> impl Strategy<Value = Graph> {
    let step = (0..FAMILIES.len(), any::<[Index; 3]>(), any::<u32>(), any::<String>())
        .prop_map(|(family, picks, number, name)| Step { family, picks, number, name });
    prop::collection::vec(step, 1..14).prop_map(move |steps| build(kind, &steps))
}

struct Maker {
    kind: Kind,
    graph: Graph,
}

type Family = fn(&mut Maker, &Step);

const FAMILIES: [Family; 13] = [
    Maker::source,
    Maker::unary,
    Maker::binary,
    Maker::binary,
    Maker::select,
    Maker::along_axis,
    Maker::matmul,
    Maker::gather,
    Maker::conv,
    Maker::reshape,
    Maker::permute,
    Maker::part,
    Maker::broadcast,
];

const UNARY: [UnaryOp; 21] = [
    UnaryOp::Neg,
    UnaryOp::Abs,
    UnaryOp::Square,
    UnaryOp::Erf,
    UnaryOp::Tanh,
    UnaryOp::Sigmoid,
    UnaryOp::Silu,
    UnaryOp::Gelu,
    UnaryOp::Relu,
    UnaryOp::IsNan,
    UnaryOp::Not,
    UnaryOp::Cast,
    UnaryOp::Exp,
    UnaryOp::Log,
    UnaryOp::Sqrt,
    UnaryOp::Rsqrt,
    UnaryOp::Recip,
    UnaryOp::Sin,
    UnaryOp::Cos,
    UnaryOp::Floor,
    UnaryOp::Round,
];
/// The first so many of them are tame.
const TAME_UNARY: usize = 12;

const BINARY: [BinaryOp; 13] = [
    BinaryOp::Add,
    BinaryOp::Sub,
    BinaryOp::Mul,
    BinaryOp::Max,
    BinaryOp::Min,
    BinaryOp::And,
    BinaryOp::Or,
    BinaryOp::Xor,
    BinaryOp::Eq,
    BinaryOp::Lt,
    BinaryOp::Le,
    BinaryOp::Div,
    BinaryOp::Pow,
];
const TAME_BINARY: usize = 8;

fn build(kind: Kind, steps: &[Step]) -> Graph {
    let name = if kind == Kind::Printable { steps[0].name.clone() } else { "tame".into() };
    let mut maker = Maker { kind, graph: Graph::new(name) };
    for element in [ElementType::Float, ElementType::Int] {
        maker.add("first", Op::Input, &[], &TensorType { element, shape: vec![2, 3, 4] });
    }
    for step in steps {
        FAMILIES[step.family](&mut maker, step);
    }
    let mut graph = maker.graph;
    // What nothing uses is an output, so that every node matters.
    let ends: Vec<_> = graph.nodes().filter(|&id| graph.users(id).is_empty()).collect();
    graph.outputs = ends.into_iter().enumerate().map(|(i, id)| (format!("out{i}"), id)).collect();
    graph
}

impl Maker {
    /// Adds a node when it is well formed.
    fn add(&mut self, name: &str, op: Op, operands: &[NodeIndex], wanted: &TensorType) -> Option<NodeIndex> {
        let types: Vec<_> = operands.iter().map(|&o| &self.graph.node(o).output).collect();
        let output = infer(&op, &types, wanted).ok()?;
        if count(&output.shape) > 1 << 12 {
            return None;
        }
        let printable = if self.kind == Kind::Printable { name } else { "" };
        let name = format!("{printable}#{}", self.graph.dag.node_count());
        Some(self.graph.add(Node { name, op, output }, operands))
    }

    /// A node, every other time one of the last two: the patterns of the passes are chains.
    fn pick(&self, index: Index) -> NodeIndex {
        let nodes = self.graph.dag.node_count();
        let at = index.index(2 * nodes);
        NodeIndex::new(if at < nodes { at } else { nodes - 1 - at % 2 })
    }

    /// The type of a picked node, which most operators keep.
    fn like(&self, id: NodeIndex) -> TensorType {
        self.graph.node(id).output.clone()
    }

    fn source(&mut self, step: &Step) {
        let mut like = self.like(self.pick(step.picks[0]));
        let n = step.number as usize;
        if let Some(axis) = n.checked_rem(like.shape.len()) {
            // Many constants are repeated along an axis.
            like.shape[axis] = if n & 16 == 0 { 1 } else { like.shape[axis] };
        }
        let size = count(&like.shape);
        let op = match like.element {
            _ if n & 7 == 7 => Op::Input,
            ElementType::Bool => Op::Constant(ConstantData::Int(vec![(n >> 8) as i64 & 1; size].into())),
            ElementType::Int => {
                Op::Constant(ConstantData::Int((0..size).map(|i| ((n >> (i % 8)) & 3) as i64).collect()))
            }
            ElementType::Float => Op::Constant(ConstantData::Float((0..size).map(|i| self.number(step, i)).collect())),
        };
        self.add(&step.name, op, &[], &like);
    }

    fn number(&self, step: &Step, i: usize) -> f32 {
        let splat = step.number & 32 == 0;
        let i = if splat { 0 } else { i as u32 };
        match self.kind {
            Kind::Printable => f32::from_bits(step.number.wrapping_mul(2 * i + 1)),
            Kind::Tame => [1.0, 0.0, 0.5, -2.0, 1.5, -0.7, 3.0, 0.25][(step.number.wrapping_add(i) % 8) as usize],
        }
    }

    fn unary(&mut self, step: &Step) {
        let a = self.pick(step.picks[0]);
        let choices = if self.kind == Kind::Tame { TAME_UNARY } else { UNARY.len() };
        let op = UNARY[step.number as usize % choices];
        let mut like = self.like(a);
        if op == UnaryOp::Cast {
            let truncates = self.kind == Kind::Tame && like.element == ElementType::Float;
            let to = [ElementType::Float, ElementType::Int, ElementType::Bool][step.picks[1].index(3)];
            like.element = if truncates { ElementType::Float } else { to };
        }
        self.add(&step.name, Op::Unary(op), &[a], &like);
    }

    fn binary(&mut self, step: &Step) {
        let choices = if self.kind == Kind::Tame { TAME_BINARY } else { BINARY.len() };
        let op = BINARY[step.number as usize % choices];
        let a = self.pick(step.picks[0]);
        // The first that fits, from a random one on.
        for offset in 0..self.graph.dag.node_count() {
            let b = NodeIndex::new((step.picks[1].index(100) + offset) % self.graph.dag.node_count());
            let (a, b) = if step.number & 64 == 0 { (a, b) } else { (b, a) };
            if self.add(&step.name, Op::Binary(op), &[a, b], &self.like(a)).is_some() {
                return;
            }
        }
    }

    fn select(&mut self, step: &Step) {
        let [a, b] = [self.pick(step.picks[0]), self.pick(step.picks[1])];
        let mut like = self.like(self.pick(step.picks[2]));
        like.element = ElementType::Bool;
        let name = format!("{}.condition", step.name);
        let condition = self.add(&name, Op::Unary(UnaryOp::Cast), &[self.pick(step.picks[2])], &like);
        if let Some(condition) = condition.filter(|_| self.kind == Kind::Printable || self.is_discrete(step.picks[2])) {
            self.add(&step.name, Op::Select, &[condition, a, b], &self.like(a));
        }
    }

    fn is_discrete(&self, index: Index) -> bool {
        self.like(self.pick(index)).element != ElementType::Float
    }

    fn along_axis(&mut self, step: &Step) {
        let a = self.pick(step.picks[0]);
        let like = self.like(a);
        let axis = step.picks[1].index(like.shape.len().max(1));
        if like.element == ElementType::Bool {
            return;
        }
        let reduce = |op| Op::Reduce { op, axes: vec![axis] };
        let op = match step.number % 5 {
            0 => reduce(ReduceOp::Sum),
            1 => reduce(ReduceOp::Max),
            2 => reduce(ReduceOp::Min),
            3 if like.element == ElementType::Float => Op::Softmax { axis },
            _ if like.element == ElementType::Float => Op::Normalize { epsilon: 0.1 },
            _ => return,
        };
        self.add(&step.name, op, &[a], &like);
    }

    fn matmul(&mut self, step: &Step) {
        let a = self.pick(step.picks[0]);
        let mut like = self.like(a);
        let rank = like.shape.len();
        if like.element != ElementType::Float || rank < 2 {
            return;
        }
        like.shape = [vec![1; rank - 2], vec![like.shape[rank - 1], 3]].concat();
        let values = (0..count(&like.shape)).map(|i| self.number(step, i)).collect();
        let Some(weight) = self.add("weight", Op::Constant(ConstantData::Float(values)), &[], &like) else {
            return;
        };
        let Some(product) = self.add(&step.name, Op::MatMul, &[a, weight], &like) else { return };
        // Scaled, as a projection of attention is.
        like.shape = vec![1; rank];
        let factor = [1.0, 0.125, 0.3][step.picks[1].index(3)];
        let factor = self.add("factor", Op::Constant(ConstantData::Float([factor].into())), &[], &like);
        if let Some(factor) = factor {
            self.add("scaled", Op::Binary(BinaryOp::Mul), &[product, factor], &like);
        }
    }

    fn gather(&mut self, step: &Step) {
        let a = self.pick(step.picks[0]);
        let like = self.like(a);
        let axis = step.picks[1].index(like.shape.len().max(1));
        if like.shape.get(axis).is_none_or(|&size| size == 0) {
            return;
        }
        let indices = (0..4).map(|i| (step.number >> i) as i64 % like.shape[axis] as i64).collect();
        let wanted = TensorType { element: ElementType::Int, shape: vec![2, 2] };
        if let Some(indices) = self.add("indices", Op::Constant(ConstantData::Int(indices)), &[], &wanted) {
            self.add(&step.name, Op::Gather { axis }, &[a, indices], &like);
        }
    }

    fn conv(&mut self, step: &Step) {
        let a = self.pick(step.picks[0]);
        let like = self.like(a);
        let (&[_, channels, _], ElementType::Float) = (like.shape.as_slice(), like.element) else { return };
        let window = Window {
            kernel: vec![2],
            stride: vec![1 + step.picks[1].index(2)],
            dilation: vec![1],
            pad_before: vec![step.picks[2].index(2)],
            pad_after: vec![1],
        };
        let wanted = TensorType { element: ElementType::Float, shape: vec![2, channels, 2] };
        let kernel = (0..4 * channels).map(|i| self.number(step, i)).collect();
        if let Some(kernel) = self.add("kernel", Op::Constant(ConstantData::Float(kernel)), &[], &wanted) {
            self.add(&step.name, Op::Conv { window, groups: 1 }, &[a, kernel], &like);
        }
    }

    fn reshape(&mut self, step: &Step) {
        let a = self.pick(step.picks[0]);
        let mut like = self.like(a);
        let shape = &mut like.shape;
        let axis = step.picks[1].index(shape.len().max(1));
        match step.number % 4 {
            0 => shape.insert(axis.min(shape.len()), 1),
            1 => *shape = vec![count(shape)],
            2 if axis + 1 < shape.len() => {
                let merged = shape.remove(axis);
                shape[axis] *= merged;
            }
            _ => shape.reverse(),
        }
        self.add(&step.name, Op::Reshape, &[a], &like);
    }

    fn permute(&mut self, step: &Step) {
        let a = self.pick(step.picks[0]);
        let like = self.like(a);
        let mut axes: Vec<usize> = (0..like.shape.len()).collect();
        if !axes.is_empty() {
            let (i, j) = (step.picks[1].index(axes.len()), step.picks[2].index(axes.len()));
            axes.swap(i, j);
        }
        self.add(&step.name, Op::Permute { axes }, &[a], &like);
    }

    fn part(&mut self, step: &Step) {
        let [a, b] = [self.pick(step.picks[0]), self.pick(step.picks[2])];
        let mut like = self.like(a);
        let axis = step.picks[1].index(like.shape.len().max(1));
        let Some(size) = like.shape.get_mut(axis) else { return };
        if step.number & 1 == 0 {
            let b = if step.number & 2 == 0 { a } else { b };
            self.add(&step.name, Op::Concat { axis }, &[a, b], &like);
            return;
        }
        let start = step.number as usize / 4 % (*size).max(1);
        let stride = 1 + step.number as usize / 32 % 2;
        *size = (*size - start).div_ceil(stride);
        self.add(&step.name, Op::Slice { axis, start, step: stride }, &[a], &like);
    }

    fn broadcast(&mut self, step: &Step) {
        let a = self.pick(step.picks[0]);
        let mut like = self.like(a);
        like.shape.iter_mut().filter(|size| **size == 1).for_each(|size| *size = 2 + step.picks[1].index(2));
        self.add(&step.name, Op::Broadcast, &[a], &like);
    }
}
