//! Graphs of any operators in any order, on tensors of any rank: what no model writes today, an exporter may tomorrow.

use crate::net::{Id, Net};
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeMap;
use std::fmt;
use waferloom_models::graph::{BinaryOp, ElementType, ReduceOp, UnaryOp};
use waferloom_models::{Graph, Tensor};

/// A decision: which family of operators, on which nodes, in which form.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    family: Index,
    picks: [Index; 3],
    number: usize,
}

/// Sizes of the inputs and what is computed from them.
#[derive(Clone)]
pub(crate) struct Operators {
    pub(crate) seed: u64,
    pub(crate) shape: Vec<usize>,
    pub(crate) steps: Vec<Step>,
}

/// The graph: the decisions say nothing to a reader.
impl fmt::Debug for Operators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (graph, inputs) = build(self);
        write!(f, "{}{inputs:?}", waferloom_models::text::print(&graph))
    }
}

pub(crate) fn operators() -> impl Strategy<Value = Operators> {
    let step = (any::<Index>(), any::<[Index; 3]>(), 0usize..1 << 16);
    let steps = prop::collection::vec(step.prop_map(|(family, picks, number)| Step { family, picks, number }), 2..20);
    let size = prop_oneof![1 => Just(0), 30 => 1usize..8];
    (any::<u64>(), prop::collection::vec(size, 0..4), steps).prop_map(|(seed, shape, steps)| Operators {
        seed,
        shape,
        steps,
    })
}

/// The largest tensor that is made.
const MOST_ELEMENTS: usize = 1 << 10;

const FAMILIES: [fn(&mut Maker, &Step) -> Option<Id>; 16] = [
    Maker::unary,
    Maker::sharp,
    Maker::whole,
    Maker::binary,
    Maker::binary,
    Maker::repeated,
    Maker::compare,
    Maker::select,
    Maker::rows,
    Maker::reduce,
    Maker::matmul,
    Maker::gather,
    Maker::reshape,
    Maker::permute,
    Maker::slice,
    Maker::concat,
];

/// Functions that not every number has, or that are steep somewhere.
const SHARP: [UnaryOp; 5] = [UnaryOp::Log, UnaryOp::Sqrt, UnaryOp::Rsqrt, UnaryOp::Recip, UnaryOp::Exp];

struct Maker {
    net: Net,
}

/// The graph, with every node that nothing uses as an output, and values for its inputs.
pub(crate) fn build(case: &Operators) -> (Graph, BTreeMap<String, Tensor>) {
    let mut maker = Maker { net: Net::new(case.seed) };
    let count = case.shape.iter().product();
    let floats = maker.net.floats(count, 1.0);
    let integers = (0..count).map(|_| maker.net.below(7) as i64 - 3).collect();
    maker.net.input("x", ElementType::Float, &case.shape);
    maker.net.input("n", ElementType::Int, &case.shape);
    let inputs = BTreeMap::from([
        ("x".to_string(), Tensor::from_f32(&case.shape, floats).unwrap()),
        ("n".to_string(), Tensor::from_i64(&case.shape, integers).unwrap()),
    ]);
    for step in &case.steps {
        // The family itself, or the first one behind it that can do something with what is there.
        let first = step.family.index(FAMILIES.len());
        let _ = (0..FAMILIES.len()).find_map(|i| FAMILIES[(first + i) % FAMILIES.len()](&mut maker, step));
    }
    let mut net = maker.net;
    let ends: Vec<Id> = net.graph.nodes().filter(|&id| net.graph.users(id).is_empty()).collect();
    for id in ends {
        net.output(id);
    }
    (net.graph, inputs)
}

impl Maker {
    /// A node of the wanted type: one of the last two, every other time.
    fn pick(&self, index: Index, element: ElementType) -> Option<Id> {
        let of_type = |id: &Id| self.net.element(*id) == element;
        let nodes: Vec<Id> = self.net.graph.nodes().filter(of_type).collect();
        let at = (!nodes.is_empty()).then(|| index.index(2 * nodes.len()))?;
        Some(if at < nodes.len() { nodes[at] } else { nodes[nodes.len() - 1 - (at % 2).min(nodes.len() - 1)] })
    }

    /// A node of any type.
    fn any(&self, index: Index) -> Id {
        Id::new(index.index(self.net.graph.dag.node_count()))
    }

    fn float(&self, step: &Step) -> Option<Id> {
        self.pick(step.picks[0], ElementType::Float)
    }

    /// A tensor that broadcasts with `a`: one of the graph, or a constant of which some sizes are 1.
    fn partner(&mut self, a: Id, step: &Step) -> Id {
        let (shape, element) = (self.net.shape(a), self.net.element(a));
        let fits = |other: &[usize]| {
            other.len() == shape.len() && other.iter().zip(&shape).all(|(&n, &m)| n == m || n == 1 || m == 1)
        };
        if let Some(other) = self.pick(step.picks[1], element)
            && fits(&self.net.shape(other))
        {
            return other;
        }
        let shape: Vec<usize> =
            shape.iter().enumerate().map(|(d, &n)| if step.number >> d & 1 == 0 { n } else { 1 }).collect();
        if element == ElementType::Float {
            return self.net.weight(&shape, 1.0);
        }
        let bound = if element == ElementType::Bool { 2 } else { 5 + step.number % 2 * 500 };
        let values = (0..shape.iter().product()).map(|_| self.net.below(bound) as i64).collect();
        self.net.constant_of(element, &shape, values)
    }

    fn unary(&mut self, step: &Step) -> Option<Id> {
        const TAME: [UnaryOp; 11] = [
            UnaryOp::Neg,
            UnaryOp::Abs,
            UnaryOp::Erf,
            UnaryOp::Tanh,
            UnaryOp::Sigmoid,
            UnaryOp::Silu,
            UnaryOp::Gelu,
            UnaryOp::Relu,
            UnaryOp::Sin,
            UnaryOp::Cos,
            UnaryOp::IsNan,
        ];
        let a = self.float(step)?;
        Some(self.net.unary(TAME[step.number % TAME.len()], a))
    }

    /// Functions that not every number has, where they have a value and are not steep.
    fn sharp(&mut self, step: &Step) -> Option<Id> {
        let a = self.float(step)?;
        let bounded = self.net.unary(UnaryOp::Tanh, a);
        let positive = self.net.with(BinaryOp::Add, bounded, 2.0);
        Some(self.net.unary(SHARP[step.number % SHARP.len()], positive))
    }

    /// Casts, and operators of integers and truth values.
    fn whole(&mut self, step: &Step) -> Option<Id> {
        let element = [ElementType::Int, ElementType::Bool][step.number % 2];
        let a = self.pick(step.picks[0], element)?;
        Some(match step.number % 10 {
            0..2 if element == ElementType::Bool => self.net.cast(a, ElementType::Float),
            0..2 => self.small(a),
            2..4 if element == ElementType::Bool => self.net.unary(UnaryOp::Not, a),
            2..4 => self.net.cast(a, ElementType::Bool),
            _ if element == ElementType::Bool => self.net.cast(a, ElementType::Int),
            4 => self.net.unary(UnaryOp::Neg, a),
            5 => self.net.unary(UnaryOp::Relu, a),
            6 => {
                let a = self.small(a);
                // Halves among them, which go to the even number.
                let quarter = self.net.with(BinaryOp::Mul, a, 0.25);
                self.net.unary(UnaryOp::Round, quarter)
            }
            7 => {
                let divisor = if self.net.coin() { 1 } else { -1 } * (1 + self.net.below(9) as i64);
                let divisor = self.net.integers(&vec![1; self.net.shape(a).len()], vec![divisor]);
                self.net.binary(BinaryOp::Div, a, divisor)
            }
            8 => self.whole_product(a)?,
            _ => {
                // Between two integers, so that no rounding decides.
                let a = self.small(a);
                let quarter = self.net.with(BinaryOp::Mul, a, 0.25);
                let between = self.net.with(BinaryOp::Add, quarter, 0.125);
                let down = self.net.unary(UnaryOp::Floor, between);
                let toward_zero = self.net.cast(between, ElementType::Int);
                let toward_zero = self.net.cast(toward_zero, ElementType::Float);
                self.net.binary(BinaryOp::Sub, down, toward_zero)
            }
        })
    }

    /// Integers as floats, cut off where halves are no longer exact.
    fn small(&mut self, n: Id) -> Id {
        let n = self.bounded(n);
        self.net.cast(n, ElementType::Float)
    }

    fn bounded(&mut self, n: Id) -> Id {
        let ones = vec![1; self.net.shape(n).len()];
        let (low, high) = (self.net.integers(&ones, vec![-100]), self.net.integers(&ones, vec![100]));
        let n = self.net.binary(BinaryOp::Max, n, low);
        self.net.binary(BinaryOp::Min, n, high)
    }

    /// A product of integers with constant ones.
    fn whole_product(&mut self, a: Id) -> Option<Id> {
        let mut shape = self.net.shape(a);
        let rank = shape.len().checked_sub(2)?;
        let a = self.bounded(a);
        let inner = shape[rank + 1];
        shape[rank..].copy_from_slice(&[inner, 1 + inner % 3]);
        let values = (0..shape.iter().product()).map(|_| self.net.below(41) as i64 - 20).collect();
        let right = self.net.integers(&shape, values);
        Some(self.net.matmul(a, right))
    }

    fn binary(&mut self, step: &Step) -> Option<Id> {
        let a = self.any(step.picks[0]);
        let b = self.partner(a, step);
        let sizes = self.net.broadcast_shape(&[a, b]).iter().product::<usize>();
        let ops = match self.net.element(a) {
            ElementType::Bool => [BinaryOp::And, BinaryOp::Or, BinaryOp::Xor],
            ElementType::Int => [BinaryOp::Add, BinaryOp::Sub, BinaryOp::Max],
            ElementType::Float => {
                [[BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul][step.number / 3 % 3], BinaryOp::Min, BinaryOp::Max]
            }
        };
        (sizes <= MOST_ELEMENTS).then(|| self.net.binary(ops[step.number % 3], a, b))
    }

    /// A tensor twice in one operator, or repeated.
    fn repeated(&mut self, step: &Step) -> Option<Id> {
        let a = self.any(step.picks[0]);
        let mut shape = self.net.shape(a);
        if step.number.is_multiple_of(2) && self.net.element(a) == ElementType::Float {
            let bounded = self.net.unary(UnaryOp::Tanh, a);
            return Some(self.net.binary(BinaryOp::Mul, bounded, bounded));
        }
        let axis = shape.iter().position(|&n| n == 1)?;
        shape[axis] = 1 + step.number % 5;
        (shape.iter().product::<usize>() <= MOST_ELEMENTS).then(|| self.net.broadcast(a, &shape))
    }

    fn compare(&mut self, step: &Step) -> Option<Id> {
        let a = self.pick(step.picks[0], ElementType::Int)?;
        let b = self.partner(a, step);
        let op = [BinaryOp::Eq, BinaryOp::Lt, BinaryOp::Le][step.number % 3];
        let sizes = self.net.broadcast_shape(&[a, b]).iter().product::<usize>();
        (sizes <= MOST_ELEMENTS).then(|| self.net.binary(op, a, b))
    }

    fn select(&mut self, step: &Step) -> Option<Id> {
        let condition = self.pick(step.picks[0], ElementType::Bool)?;
        let shape = self.net.shape(condition);
        let a = self.pick(step.picks[1], ElementType::Float)?;
        let a = if self.net.shape(a) == shape { a } else { self.net.weight(&shape, 1.0) };
        let b = self.partner(a, step);
        let sizes = self.net.broadcast_shape(&[a, b]).iter().product::<usize>();
        (sizes <= MOST_ELEMENTS).then(|| self.net.select(condition, a, b))
    }

    fn rows(&mut self, step: &Step) -> Option<Id> {
        let a = self.float(step).filter(|&a| !self.net.shape(a).is_empty())?;
        Some(if step.number.is_multiple_of(2) { self.net.softmax(a) } else { self.net.normalize(a, 0.5) })
    }

    fn reduce(&mut self, step: &Step) -> Option<Id> {
        let a = self.any(step.picks[0]);
        let axes: Vec<usize> = (0..self.net.shape(a).len()).filter(|d| step.number >> d & 1 == 1).collect();
        let op = [ReduceOp::Sum, ReduceOp::Max, ReduceOp::Min][step.number / 16 % 3];
        let op = if self.net.element(a) == ElementType::Bool { ReduceOp::Max } else { op };
        // The largest of no integers is a number that 32 bits do not hold, that of no floats an infinity, where functions end.
        if self.net.shape(a).contains(&0) && op != ReduceOp::Sum {
            return None;
        }
        let bounded = if self.net.element(a) == ElementType::Float { self.net.unary(UnaryOp::Tanh, a) } else { a };
        (!axes.is_empty()).then(|| self.net.reduce(op, bounded, &axes))
    }

    /// A product with a constant, or with the tensor's own transpose.
    fn matmul(&mut self, step: &Step) -> Option<Id> {
        let a = self.float(step).filter(|&a| self.net.shape(a).len() >= 2)?;
        let a = self.net.unary(UnaryOp::Tanh, a);
        let mut shape = self.net.shape(a);
        let rank = shape.len();
        if step.number.is_multiple_of(3) {
            let turned = self.net.transpose(a);
            let operands = if step.number.is_multiple_of(2) { [a, turned] } else { [turned, a] };
            return Some(self.net.matmul(operands[0], operands[1]));
        }
        if step.number % 3 == 1 {
            shape[..rank - 2].fill(1);
        }
        let inner = shape[rank - 1];
        shape[rank - 2..].copy_from_slice(&[inner, 1 + step.number / 3 % 7]);
        let weights = self.net.weight(&shape, 1.0 / (inner as f32).sqrt());
        Some(self.net.matmul(a, weights))
    }

    /// Indices of any rank into any axis, constant or computed.
    fn gather(&mut self, step: &Step) -> Option<Id> {
        let a = self.any(step.picks[0]);
        let shape = self.net.shape(a);
        let axis = step.number.checked_rem(shape.len())?;
        if shape[axis] == 0 {
            return None;
        }
        let size = shape[axis] as i64;
        let picks = if step.number.is_multiple_of(2) {
            let places: Vec<usize> = [vec![], vec![3], vec![1, 2]][step.number / 8 % 3].clone();
            let values = (0..places.iter().product()).map(|_| self.net.below(2 * shape[axis]) as i64 - size).collect();
            self.net.integers(&places, values)
        } else {
            let n = self.pick(step.picks[1], ElementType::Int)?;
            let ones = vec![1; self.net.shape(n).len()];
            let (low, high) = (self.net.integers(&ones, vec![-size]), self.net.integers(&ones, vec![size - 1]));
            let n = self.net.binary(BinaryOp::Max, n, low);
            self.net.binary(BinaryOp::Min, n, high)
        };
        let made = shape.iter().product::<usize>() * self.net.shape(picks).iter().product::<usize>();
        let rank = shape.len() + self.net.shape(picks).len();
        (made <= MOST_ELEMENTS && rank <= 6).then(|| self.net.gather(a, picks, axis))
    }

    /// Sizes joined, split, or with ones among them.
    fn reshape(&mut self, step: &Step) -> Option<Id> {
        let a = self.any(step.picks[0]);
        let mut shape = self.net.shape(a);
        let axis = step.number % (shape.len() + 1);
        match step.number / 8 % 3 {
            0 if axis + 1 < shape.len() => {
                shape[axis] *= shape[axis + 1];
                shape.remove(axis + 1);
            }
            1 if axis < shape.len() => {
                let part = (2..=shape[axis]).find(|n| shape[axis].is_multiple_of(*n))?;
                shape[axis] /= part;
                shape.insert(axis, part);
            }
            _ => shape.insert(axis, 1),
        }
        (shape.len() <= 6).then(|| self.net.reshape(a, &shape))
    }

    fn permute(&mut self, step: &Step) -> Option<Id> {
        let a = self.any(step.picks[0]);
        let mut axes: Vec<usize> = (0..self.net.shape(a).len()).collect();
        let by = step.number.checked_rem(axes.len())?;
        axes.rotate_left(by);
        axes.swap(0, step.number / 8 % self.net.shape(a).len());
        Some(self.net.permute(a, &axes))
    }

    fn slice(&mut self, step: &Step) -> Option<Id> {
        let a = self.any(step.picks[0]);
        let shape = self.net.shape(a);
        let axis = step.number.checked_rem(shape.len())?;
        let start = (step.number / 8).checked_rem(shape[axis])?;
        let by = 1 + step.number / 64 % 3;
        Some(self.net.slice_by(a, axis, start, (shape[axis] - start).div_ceil(by), by))
    }

    /// Two tensors side by side, zeros or the same tensor among them.
    fn concat(&mut self, step: &Step) -> Option<Id> {
        let a = self.float(step)?;
        let mut shape = self.net.shape(a);
        let axis = step.number.checked_rem(shape.len())?;
        let other = match step.number / 8 % 3 {
            0 => a,
            1 => self.net.unary(UnaryOp::Neg, a),
            _ => {
                shape[axis] = 1 + step.number / 32 % 3;
                let scale = (step.number / 128 % 2) as f32;
                self.net.weight(&shape, scale)
            }
        };
        let parts = if self.net.coin() { vec![a, other] } else { vec![other, a, other] };
        let sizes = 3 * self.net.shape(a).iter().product::<usize>();
        (sizes <= MOST_ELEMENTS).then(|| self.net.concat(&parts, axis))
    }
}
