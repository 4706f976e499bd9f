//! The cost model against the simulator: whole reference models, step by step.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use waferloom_compiler::cost::node_cost;
use waferloom_compiler::plan::{Elementwise, StepKind};
use waferloom_compiler::{Options, lower, plan, prepare};
use waferloom_fabric::{Dtype, Extent, HostData, HostTensor, Machine};
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
        let options = Options::new(machine, Extent { width, height }, dtype);
        let plan = plan(&graph, &options).unwrap();
        println!("{plan}");
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
