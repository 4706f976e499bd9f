//! The cost model against the simulator: whole reference models, step by step.

use petgraph::graph::NodeIndex;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use waferloom_compiler::cost::node_cost;
use waferloom_compiler::plan::{Algorithm, Elementwise, StepKind};
use waferloom_compiler::{Options, Overrides, ProductOverride, lower, plan, prepare};
use waferloom_fabric::{Dtype, Extent, HostData, HostTensor, Machine};
use waferloom_models::graph::{ConstantData, ElementType, Node, Op, TensorType};
use waferloom_models::{Graph, ImportOptions, Tensor, TensorData, import_onnx, read_npz};
use waferloom_simulator::{Facts, Report, Totals, simulate};

fn import(name: &str) -> (Graph, BTreeMap<String, HostTensor>) {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/models")).join(name);
    let inputs = read_npz(&folder.join("inputs.npz")).unwrap();
    let input_shapes = inputs.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect();
    let options = ImportOptions { input_shapes, dims: BTreeMap::new() };
    let model = import_onnx(&folder.join("model.onnx"), &options).unwrap();
    let host = |t: Tensor| match t.data {
        TensorData::F32(v) => HostTensor { shape: t.shape, data: HostData::F32(v) },
        TensorData::I64(v) => HostTensor { shape: t.shape, data: HostData::I64(v) },
    };
    (prepare(&model.graph).unwrap(), inputs.into_iter().map(|(n, t)| (n, host(t))).collect())
}

/// Cycles by the model and by the simulator.
#[derive(Clone, Copy, Default)]
struct Pair {
    estimate: u64,
    simulated: u64,
}

impl Pair {
    fn add(&mut self, estimate: u64, simulated: u64) {
        self.estimate += estimate;
        self.simulated += simulated;
    }

    fn ratio(self) -> f64 {
        self.estimate as f64 / self.simulated.max(1) as f64
    }

    fn is_near(self, share: f64) -> bool {
        (1.0 - share..=1.0 + share).contains(&self.ratio())
    }
}

/// The kind of a step as the cost model knows it. An instruction that reads two tiles takes up to twice as long where their
/// banks collide, which only the addresses tell: such steps hold together, not one by one.
fn kind(step: &StepKind) -> String {
    match step {
        StepKind::Elementwise { op: Elementwise::Vector(_) | Elementwise::Not(_), .. } => "vector".into(),
        _ => step.name(),
    }
}

/// A machine on which everything takes longer, and nothing by the same factor.
fn slow() -> Machine {
    Machine {
        name: "slow".into(),
        vector_startup_cycles: 11,
        hop_cycles: 2,
        ramp_cycles: 4,
        scalar_cycles: 2,
        branch_cycles: 3,
        ..Machine::builtin("wse2").unwrap()
    }
}

/// Model, machine, grid, type.
fn cases() -> Vec<(&'static str, Machine, (u16, u16), Dtype)> {
    let builtin = |name| Machine::builtin(name).unwrap();
    vec![
        ("dnabert", builtin("bench16"), (16, 16), Dtype::F32),
        ("dnabert", builtin("wse3"), (11, 7), Dtype::F16),
        ("vit", builtin("wse2"), (24, 24), Dtype::F32),
        ("vit", builtin("wse3"), (7, 11), Dtype::F32),
        ("rad_dino", builtin("wse2"), (13, 19), Dtype::Bf16),
        ("decoder_step", builtin("wse2"), (16, 16), Dtype::F32),
        ("nucleotide_v2", slow(), (16, 12), Dtype::F32),
        ("dnabert2", builtin("wse2"), (16, 16), Dtype::F16),
    ]
}

#[test]
fn estimates_are_within_15_percent() {
    let mut kinds: BTreeMap<String, Pair> = BTreeMap::new();
    let mut table = String::new();
    let mut wrong = Vec::new();
    for (name, machine, (width, height), dtype) in cases() {
        let (graph, inputs) = import(name);
        let grid = Extent { width, height };
        let options = Options { stages: Some(1), whole_grid: true, ..Options::new(machine, grid, dtype) };
        let plan = plan(&graph, &options).unwrap();
        let program = lower(&graph, &plan).unwrap();
        let run = simulate(&program, &inputs, &waferloom_simulator::Options::default()).unwrap();
        let report = Report::new(&program, &Totals::from(&run), Facts::default());
        let mut whole = Pair::default();
        for (step, operator) in plan.steps().zip(&report.operators) {
            whole.add(step.estimate_cycles, operator.cycles);
            kinds.entry(kind(&step.kind)).or_default().add(step.estimate_cycles, operator.cycles);
        }
        // The same without a plan, but for the outputs, which are no nodes.
        let nodes: Vec<_> = graph.nodes().map(|id| node_cost(&graph, id, options.grid, &options).unwrap()).collect();
        let sent = plan.steps().filter(|s| matches!(s.kind, StepKind::Send { .. })).map(|s| s.estimate_cycles);
        let sketched =
            Pair { estimate: nodes.iter().map(|cost| cost.cycles).chain(sent).sum(), simulated: report.cycles };
        // Each layer by itself.
        let mut unrolled = plan.clone();
        unrolled.stages[0].repeats.clear();
        let class = &lower(&graph, &unrolled).unwrap().classes[0];
        let code = Pair {
            estimate: nodes.iter().map(|cost| cost.code_bytes).sum(),
            simulated: class.code_bytes(&program.machine).into(),
        };
        let case = format!("{name} on {width}x{height} of {} in {}", options.machine.name, dtype.name());
        for (what, pair) in [("cycles", whole), ("cycles without a plan", sketched), ("bytes of code", code)] {
            let line =
                format!("{case}: {} {what}, estimate {}, ratio {:.3}", pair.simulated, pair.estimate, pair.ratio());
            writeln!(table, "{line}").unwrap();
            if !pair.is_near(0.15) {
                wrong.push(line);
            }
        }
    }
    for (kind, pair) in &kinds {
        let line = format!("{kind}: {} cycles, estimate {}, ratio {:.3}", pair.simulated, pair.estimate, pair.ratio());
        writeln!(table, "{line}").unwrap();
        if !pair.is_near(0.15) {
            wrong.push(line);
        }
    }
    println!("{table}");
    assert!(wrong.is_empty(), "{}\n\nAll:\n{table}", wrong.join("\n"));
}

/// A product of an input with constant weights, `[rows, inner] x [inner, columns]`.
fn product(rows: usize, inner: usize, columns: usize) -> Graph {
    let mut graph = Graph::new("product");
    let mut add = |name: &str, op, shape: &[usize], operands: &[NodeIndex]| {
        let output = TensorType { element: ElementType::Float, shape: shape.to_vec() };
        graph.add(Node { name: name.into(), op, output }, operands)
    };
    let left = add("x", Op::Input, &[rows, inner], &[]);
    let weights = (0..inner * columns).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
    let right = add("w", Op::Constant(ConstantData::Float(weights)), &[inner, columns], &[]);
    let product = add("y", Op::MatMul, &[rows, columns], &[left, right]);
    graph.outputs.push(("y".into(), product));
    graph
}

#[test]
fn the_faster_kernel_is_chosen() {
    use Algorithm::{Stationary, Summa};
    // One row, a head for a few classes, as many rows as the mesh has; then many rows and a short inner dimension.
    let cases = [
        (1, 256, 256, (16, 16), Stationary),
        (4, 300, 10, (5, 9), Stationary),
        (16, 256, 256, (8, 16), Stationary),
        (96, 24, 32, (8, 8), Summa),
        (64, 16, 64, (16, 4), Summa),
    ];
    for (rows, inner, columns, (width, height), expected) in cases {
        let graph = product(rows, inner, columns);
        let grid = Extent { width, height };
        let options = Options { whole_grid: true, ..Options::new(Machine::builtin("wse2").unwrap(), grid, Dtype::F32) };
        let values = (0..rows * inner).map(|i| (i % 13) as f32 / 8.0 - 0.75).collect();
        let inputs = BTreeMap::from([("x".to_string(), HostTensor::f32(&[rows, inner], values))]);
        let run = |algorithm: Option<Algorithm>| {
            let products = algorithm.map(|algorithm| ProductOverride { node: "y".into(), algorithm });
            let overrides = Overrides { products: products.into_iter().collect(), ..Overrides::default() };
            let options = Options { stages: Some(1), overrides, ..options.clone() };
            let plan = plan(&graph, &options).unwrap();
            let program = lower(&graph, &plan).unwrap();
            let run = simulate(&program, &inputs, &waferloom_simulator::Options::default()).unwrap();
            let chosen = plan.steps().find_map(|step| match step.kind {
                StepKind::MatMul { choice, .. } => Some(choice.algorithm),
                _ => None,
            });
            (chosen.unwrap(), run.cycles, run.outputs)
        };
        let what = format!("{rows} x {inner} x {columns} on {width}x{height}");
        let (chosen, cycles, found) = run(None);
        assert_eq!(chosen, expected, "{what}");
        let other = if expected == Summa { Stationary } else { Summa };
        let (forced, slower, same) = run(Some(other));
        assert_eq!(forced, other, "{what}");
        assert!(cycles < slower, "{what}: {cycles} cycles by {expected:?}, {slower} by {other:?}");
        // All sums are of multiples of 1/64 below 2^24 of them: exact in any order.
        assert_eq!(found, same, "{what}");
    }
}

#[test]
fn a_kernel_that_cannot_compute_a_product_is_refused() {
    let graph = product(4, 8, 8);
    let wanted = |node: &str, height: u16| {
        let products = vec![ProductOverride { node: node.into(), algorithm: Algorithm::Stationary }];
        let overrides = Overrides { products, ..Overrides::default() };
        let options = Options::new(Machine::builtin("wse2").unwrap(), Extent { width: 4, height }, Dtype::F32);
        plan(&graph, &Options { overrides, ..options }).unwrap_err().to_string()
    };
    // One row of PEs has nobody to share the inner dimension with.
    assert!(wanted("y", 1).contains("the kernel stationary cannot compute the product \"y\""));
    assert!(wanted("z", 4).contains("there is no product \"z\""));
}
