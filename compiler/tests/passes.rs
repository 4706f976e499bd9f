//! Each pass leaves what a graph computes as it was.

use proptest::prelude::*;
use std::collections::BTreeMap;
use waferloom_compiler::passes::default_passes;
use waferloom_models::graph::{BinaryOp, ConstantData, ElementType, Node, Op, ReduceOp, TensorType, UnaryOp, Window};
use waferloom_models::passes::run;
use waferloom_models::{Graph, Tensor, evaluate, verify};

type Id = petgraph::graph::NodeIndex;

fn ty(shape: &[usize]) -> TensorType {
    TensorType { element: ElementType::Float, shape: shape.to_vec() }
}

fn add(graph: &mut Graph, op: Op, output: TensorType, operands: &[Id]) -> Id {
    let name = if op == Op::Input { "x".into() } else { format!("n{}", graph.dag.node_count()) };
    graph.add(Node { name, op, output }, operands)
}

fn numbers(count: usize) -> Vec<f32> {
    // Small integers: sums are exact in any order.
    (0..count).map(|i| (i * 7 % 11) as f32 - 5.0).collect()
}

/// Runs all passes and holds the results against each other; gives the graph that they made.
fn same(mut graph: Graph, output: Id) -> Graph {
    graph.outputs.push(("y".into(), output));
    verify(&graph).unwrap();
    let shape = graph.shape(graph.inputs[0]).to_vec();
    let x = Tensor::from_f32(&shape, numbers(shape.iter().product())).unwrap();
    let inputs = BTreeMap::from([("x".to_string(), x)]);
    let expected = evaluate(&graph, &inputs).unwrap();
    let passed = run(&graph, &default_passes()).unwrap();
    assert_eq!(evaluate(&passed, &inputs).unwrap(), expected);
    passed
}

fn count(graph: &Graph, wanted: fn(&Op) -> bool) -> usize {
    graph.nodes().filter(|&id| wanted(&graph.node(id).op)).count()
}

proptest! {
    #[test]
    fn convolutions_become_products(
        spatial in prop::collection::vec((3usize..7, 1usize..4, 1usize..3, 1usize..3, 0usize..3, 0usize..2), 1..3),
        batch in 1usize..3,
        groups in 1usize..3,
        channels in 1usize..3,
        out in 1usize..3,
    ) {
        let window = Window {
            kernel: spatial.iter().map(|s| s.1).collect(),
            stride: spatial.iter().map(|s| s.2).collect(),
            dilation: spatial.iter().map(|s| s.3).collect(),
            pad_before: spatial.iter().map(|s| s.4).collect(),
            pad_after: spatial.iter().map(|s| s.5).collect(),
        };
        let sizes: Vec<usize> = spatial.iter().map(|s| s.0).collect();
        let places: Option<Vec<usize>> = spatial
            .iter()
            .map(|&(size, kernel, stride, dilation, before, after)| {
                Some((size + before + after).checked_sub((kernel - 1) * dilation + 1)? / stride + 1)
            })
            .collect();
        prop_assume!(places.is_some());
        let places = places.unwrap();
        let mut g = Graph::new("g");
        let x = add(&mut g, Op::Input, ty(&[vec![batch, groups * channels], sizes].concat()), &[]);
        let kernel = [vec![groups * out, channels], window.kernel.clone()].concat();
        let weights = numbers(kernel.iter().product());
        let w = add(&mut g, Op::Constant(ConstantData::Float(weights.into())), ty(&kernel), &[]);
        let shape = [vec![batch, groups * out], places].concat();
        let y = add(&mut g, Op::Conv { window, groups }, ty(&shape), &[x, w]);
        let passed = same(g, y);
        prop_assert_eq!(count(&passed, |op| matches!(op, Op::Conv { .. })), 0);
        prop_assert_eq!(count(&passed, |op| *op == Op::MatMul), 1);
    }

    #[test]
    fn reductions_run_along_the_last_axis(
        shape in prop::collection::vec(1usize..5, 1..4),
        chosen in prop::collection::vec(any::<bool>(), 4),
        op in prop::sample::select(vec![ReduceOp::Sum, ReduceOp::Max, ReduceOp::Min]),
        integers in any::<bool>(),
    ) {
        let axes: Vec<usize> = (0..shape.len()).filter(|&axis| chosen[axis]).collect();
        prop_assume!(!axes.is_empty());
        let element = if integers { ElementType::Int } else { ElementType::Float };
        let mut g = Graph::new("g");
        let x = add(&mut g, Op::Input, ty(&shape), &[]);
        let of = |shape: &[usize]| TensorType { element, shape: shape.to_vec() };
        let x = if integers { add(&mut g, Op::Unary(UnaryOp::Cast), of(&shape), &[x]) } else { x };
        let mut reduced = shape.clone();
        for &axis in &axes {
            reduced[axis] = 1;
        }
        let y = add(&mut g, Op::Reduce { op, axes }, of(&reduced), &[x]);
        let passed = same(g, y);
        for id in passed.nodes() {
            if let Op::Reduce { axes, .. } = &passed.node(id).op {
                prop_assert_eq!(axes.as_slice(), &[passed.shape(id).len() - 1]);
            }
        }
    }

    #[test]
    fn look_ups_become_rows(shape in prop::collection::vec(2usize..5, 1..4), at in 0usize..3, picks in prop::sample::select(vec![vec![], vec![2], vec![2, 3]])) {
        let axis = at % shape.len();
        let mut g = Graph::new("g");
        let x = add(&mut g, Op::Input, ty(&shape), &[]);
        // Indices that the model computes: 0 and 1 from the input's signs.
        let n: usize = picks.iter().product();
        prop_assume!(n <= shape.iter().product());
        let flat = add(&mut g, Op::Reshape, ty(&[shape.iter().product()]), &[x]);
        let some = add(&mut g, Op::Slice { axis: 0, start: 0, step: 1 }, ty(&[n]), &[flat]);
        let zero = add(&mut g, Op::Constant(ConstantData::Float([0.0].into())), ty(&[1]), &[]);
        let typed = |element, shape: &[usize]| TensorType { element, shape: shape.to_vec() };
        let less = add(&mut g, Op::Binary(BinaryOp::Lt), typed(ElementType::Bool, &[n]), &[some, zero]);
        let index = add(&mut g, Op::Unary(UnaryOp::Cast), typed(ElementType::Int, &[n]), &[less]);
        let index = add(&mut g, Op::Reshape, typed(ElementType::Int, &picks), &[index]);
        let result = [&shape[..axis], &picks, &shape[axis + 1..]].concat();
        let y = add(&mut g, Op::Gather { axis }, ty(&result), &[x, index]);
        let passed = same(g, y);
        for id in passed.nodes() {
            if let Op::Gather { axis } = passed.node(id).op {
                prop_assert_eq!(axis, 0);
                prop_assert_eq!(passed.shape(passed.operands(id)[0]).len(), 2);
            }
        }
    }
}

#[test]
fn a_scale_behind_reshapes_runs_before_them() {
    let mut g = Graph::new("g");
    let x = add(&mut g, Op::Input, ty(&[4, 6]), &[]);
    let split = add(&mut g, Op::Reshape, ty(&[4, 2, 3]), &[x]);
    let turned = add(&mut g, Op::Permute { axes: vec![1, 0, 2] }, ty(&[2, 4, 3]), &[split]);
    let scale = add(&mut g, Op::Constant(ConstantData::Float([0.5].into())), ty(&[1, 1, 1]), &[]);
    let y = add(&mut g, Op::Binary(BinaryOp::Mul), ty(&[2, 4, 3]), &[turned, scale]);
    let passed = same(g, y);
    let product = passed.nodes().find(|&id| passed.node(id).op == Op::Binary(BinaryOp::Mul)).unwrap();
    // The product is as the input lies; reshape and permutation follow.
    assert_eq!(passed.shape(product), [4, 6]);
}
