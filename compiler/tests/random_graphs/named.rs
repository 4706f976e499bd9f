//! Graphs that were compiled wrongly once, or that no generator draws often.

use crate::net::Net;
use crate::{Target, check};
use std::collections::BTreeMap;
use waferloom_compiler::{Options, plan, prepare};
use waferloom_fabric::{Dtype, Extent, Machine};
use waferloom_models::Tensor;
use waferloom_models::graph::{BinaryOp, ElementType, Node, Op, ReduceOp, UnaryOp};

fn integers(shape: &[usize], values: &[i64]) -> BTreeMap<String, Tensor> {
    BTreeMap::from([("n".to_string(), Tensor::from_i64(shape, values.to_vec()).unwrap())])
}

/// Token numbers of a real vocabulary do not fit 11 bits.
#[test]
fn integers_are_reduced_exactly_in_half_precision() {
    for op in [ReduceOp::Sum, ReduceOp::Max, ReduceOp::Min] {
        let mut net = Net::new(0);
        let n = net.input("n", ElementType::Int, &[2, 3]);
        let reduced = net.reduce(op, n, &[0]);
        net.output(reduced);
        let inputs = integers(&[2, 3], &[2049, 30521, -4097, 100_001, 30523, -2051]);
        check(&net.graph, &inputs, Target::single((2, 2), Dtype::F16));
    }
}

/// A cache that holds nothing yet is joined with the first token.
#[test]
fn tensors_without_elements_are_joined() {
    for dtype in [Dtype::F32, Dtype::F16] {
        let mut net = Net::new(0);
        let x = net.input("x", ElementType::Float, &[2, 0, 3]);
        let y = net.input("y", ElementType::Float, &[2, 1, 3]);
        let joined = net.concat(&[x, y], 1);
        let doubled = net.binary(BinaryOp::Add, joined, joined);
        net.output(doubled);
        let nothing = net.unary(UnaryOp::Tanh, x);
        net.output(nothing);
        let inputs = BTreeMap::from([
            ("x".to_string(), Tensor::from_f32(&[2, 0, 3], vec![]).unwrap()),
            ("y".to_string(), Tensor::from_f32(&[2, 1, 3], vec![1., 2., 3., 4., 5., 6.]).unwrap()),
        ]);
        check(&net.graph, &inputs, Target::single((2, 2), dtype));
    }
}

/// A sum over nothing is zero, as is a product; the largest of nothing is the lowest number.
#[test]
fn reductions_over_nothing_are_neutral() {
    for dtype in [Dtype::F32, Dtype::F16] {
        let mut net = Net::new(0);
        let x = net.input("x", ElementType::Float, &[3, 0]);
        for op in [ReduceOp::Sum, ReduceOp::Max] {
            let reduced = net.reduce(op, x, &[1]);
            net.output(reduced);
        }
        let weights = net.constant(&[0, 4], vec![]);
        let product = net.matmul(x, weights);
        net.output(product);
        let inputs = BTreeMap::from([("x".to_string(), Tensor::from_f32(&[3, 0], vec![]).unwrap())]);
        check(&net.graph, &inputs, Target::single((2, 2), dtype));
    }
}

/// Every operator on tensors without elements: batches that are empty, tokens that are not there.
#[test]
fn operators_of_nothing_give_nothing() {
    for shape in [[0, 3, 4], [2, 0, 4], [2, 3, 0]] {
        let mut net = Net::new(0);
        let x = net.input("x", ElementType::Float, &shape);
        let turned = net.transpose(x);
        let made = [
            net.matmul(x, turned),
            net.matmul(turned, x),
            net.softmax(x),
            net.normalize(x, 0.1),
            net.unary(UnaryOp::Gelu, x),
            net.binary(BinaryOp::Div, x, x),
            net.reduce(ReduceOp::Sum, x, &[0, 1]),
            net.concat(&[x, x], 2),
            turned,
        ];
        for id in made {
            net.output(id);
        }
        let inputs = BTreeMap::from([("x".to_string(), Tensor::from_f32(&shape, vec![]).unwrap())]);
        for grid in [(1, 1), (3, 2)] {
            check(&net.graph, &inputs, Target::single(grid, Dtype::F32));
            check(&net.graph, &inputs, Target::single(grid, Dtype::F16));
        }
    }
}

/// Rows of a table that no index names, and indices of nothing.
#[test]
fn look_ups_of_nothing_give_nothing() {
    let mut net = Net::new(0);
    let n = net.input("n", ElementType::Int, &[2, 0]);
    let table = net.weight(&[3, 5], 1.0);
    let rows = net.gather(table, n, 0);
    net.output(rows);
    let columns = net.gather(table, n, 1);
    net.output(columns);
    for grid in [(1, 1), (3, 2)] {
        check(&net.graph, &integers(&[2, 0], &[]), Target::single(grid, Dtype::F32));
        check(&net.graph, &integers(&[2, 0], &[]), Target::single(grid, Dtype::F16));
    }
}

/// As in ONNX; a number in its place would hide the fault.
#[test]
fn nan_wins_every_comparison() {
    for dtype in [Dtype::F32, Dtype::F16] {
        let mut net = Net::new(0);
        let x = net.input("x", ElementType::Float, &[2, 2]);
        let made = [
            net.reduce(ReduceOp::Max, x, &[1]),
            net.reduce(ReduceOp::Min, x, &[0]),
            net.with(BinaryOp::Max, x, 0.0),
            net.with(BinaryOp::Min, x, 0.0),
            net.unary(UnaryOp::Relu, x),
        ];
        for id in made {
            net.output(id);
        }
        let inputs =
            BTreeMap::from([("x".to_string(), Tensor::from_f32(&[2, 2], vec![1.0, f32::NAN, -2.0, 3.0]).unwrap())]);
        check(&net.graph, &inputs, Target::single((2, 1), dtype));
    }
}

#[test]
fn sizes_that_look_like_colours_stay_sizes() {
    // On two columns the valid elements of a row, 3 and 2, are the numbers of the plumbing's colours too.
    let text =
        "graph \"g\"\n%0 = input : f[5] \"x\"\n%1 = softmax %0 axis=0 : f[5] \"y\"\ninputs %0\noutput %1 \"y\"\n";
    let graph = waferloom_models::text::parse(text).unwrap();
    let inputs = BTreeMap::from([("x".to_string(), Tensor::from_f32(&[5], vec![0.7, -0.1, -0.9, 0.9, -0.8]).unwrap())]);
    check(&graph, &inputs, Target::single((2, 2), Dtype::F32));
}

/// What no kernel computes is named, with its shapes and the nearest form that is.
#[test]
fn operators_without_a_kernel_name_themselves() {
    let refused = |op: Op, operands: usize, nearest: &str| {
        let mut net = Net::new(0);
        let x = net.input("x", ElementType::Float, &[2, 3]);
        let output = net.graph.node(x).output.clone();
        let odd = net.graph.add(Node { name: "odd".into(), op, output }, &vec![x; operands]);
        net.output(odd);
        let machine = Machine::builtin("bench16").unwrap();
        let options = Options::new(machine, Extent { width: 2, height: 2 }, Dtype::F32);
        let error = plan(&prepare(&net.graph).unwrap(), &options).unwrap_err().to_string();
        for part in ["\"odd\"", "Float[2, 3]", nearest] {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
    };
    refused(Op::Binary(BinaryOp::Pow), 2, "exp(b * log(a))");
    refused(Op::Softmax { axis: 0 }, 1, "along the last axis");
}
