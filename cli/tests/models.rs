//! Whole models through the built binary: `run`, `compile` and `simulate`, `verify`.

#[path = "cli/rig.rs"]
mod rig;

use rig::{Bench, fixture};
use serde_json::Value;
use waferloom_models::{read_npz, write_npz};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn model(name: &str) -> String {
    format!("{} --inputs {}", fixture(name, "model.onnx"), fixture(name, "inputs.npz"))
}

#[test]
fn models_equal_what_pytorch_computes() {
    let bench = Bench::new();
    for name in ["dnabert", "dnabert_dynamo", "vit", "rad_dino"] {
        let said = bench.run(&format!("verify {} --expect {}", model(name), fixture(name, "expected.npz")));
        assert_eq!(said.code, 0, "{name}\n{}\n{}", said.stdout, said.stderr);
        assert!(said.stdout.contains("\nequal (rtol 0.0001, atol 0.00001)"), "{}", said.stdout);
    }
    // Half precision does not reach the tolerance of single precision; the same command must be able to say so.
    let said = bench.run(&format!("verify {} --expect {} --dtype f16", model("vit"), fixture("vit", "expected.npz")));
    assert_eq!(said.code, 1, "{}\n{}", said.stdout, said.stderr);
    assert!(said.stdout.contains("DIFFERS") && said.stdout.contains("worst of logits"), "{}", said.stdout);
}

#[test]
fn a_changed_expectation_is_noticed() {
    let bench = Bench::new();
    let mut expected = read_npz(fixture("vit", "expected.npz").as_ref()).expect("a fixture");
    let logits = expected.get_mut("logits").expect("an output");
    let mut values = logits.to_f32();
    values[4] += 0.01;
    logits.data = waferloom_models::TensorData::F32(values);
    write_npz(&bench.path("expected.npz"), &expected).expect("written");
    let said = bench.run(&format!("verify {} --expect expected.npz", model("vit")));
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stdout.contains("DIFFERS in 1 of 10") && said.stdout.contains("at [0, 4]"), "{}", said.stdout);
}

#[test]
fn compile_and_simulate_give_what_run_gives() {
    let bench = Bench::new();
    let vit = model("vit");
    let said = bench.run(&format!("run {vit} --grid 8x8 --out run.npz --json"));
    assert_eq!(said.code, 0, "{}", said.stderr);
    let run = json(&said.stdout);
    for file in ["vit.wlp", "vit.wlt"] {
        let said = bench.run(&format!("compile {vit} --grid 8x8 -o {file} --json"));
        assert_eq!(said.code, 0, "{}", said.stderr);
        // What is known before a run is the same as after it.
        let compiled = json(&said.stdout);
        for key in ["sram", "machine", "grid", "dtype", "model"] {
            assert_eq!(compiled[key], run[key], "{key}");
        }
        let inputs = fixture("vit", "inputs.npz");
        let said = bench.run(&format!("simulate {file} --inputs {inputs} --threads 2 --out simulated.npz --json"));
        assert_eq!(said.code, 0, "{}", said.stderr);
        let simulated = json(&said.stdout);
        for key in ["cycles", "sram", "utilisation", "links", "operators", "machine", "grid", "dtype", "model"] {
            assert_eq!(run[key], simulated[key], "{key} of {file}");
        }
        let read = |name| read_npz(&bench.path(name)).expect("outputs");
        assert_eq!(read("run.npz"), read("simulated.npz"));
    }
}

#[test]
fn the_summary_says_what_matters_in_100_columns() {
    let bench = Bench::new();
    let said = bench.run(&format!("run {} --expect {}", model("dnabert"), fixture("dnabert", "expected.npz")));
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    for words in ["dnabert in f32 on 16x16", "sequences/s", "bound by", "weights", "logits", "equal:", "matmul"] {
        assert!(said.stdout.contains(words), "{words}\n{}", said.stdout);
    }
    assert!(said.stdout.lines().all(|line| line.chars().count() <= 100), "{}", said.stdout);
}

#[test]
fn the_report_adds_up() {
    let bench = Bench::new();
    let said = bench.run(&format!("run {} --grid 8x8 --json --per-pe", model("vit")));
    assert_eq!(said.code, 0, "{}", said.stderr);
    let report = json(&said.stdout);
    let number = |value: &Value| value.as_f64().expect("a number");
    let shares: f64 = report["utilisation"].as_object().expect("shares").values().map(number).sum();
    assert!((shares - 1.0).abs() < 1e-9, "{shares}");
    let operators = report["operators"].as_array().expect("a list");
    assert_eq!(operators.iter().map(|o| number(&o["cycles"])).sum::<f64>(), number(&report["cycles"]));
    let kinds: f64 = report["sram"]["fullest"].as_object().expect("kinds").values().map(number).sum();
    assert_eq!(kinds, number(&report["sram"]["capacity_bytes"]));
    assert_eq!(report["per_pe"].as_array().map(Vec::len), Some(64));
}

#[test]
fn a_model_that_does_not_fit_says_how_much_is_missing() {
    let bench = Bench::new();
    bench.refuses(&format!("run {} --grid 1x1 --out out.npz", model("dnabert")), &["1x1", "bytes", "larger --grid"]);
}

#[test]
fn decisions_and_models_can_be_read() {
    let bench = Bench::new();
    let said = bench.run(&format!("compile {} -o vit.wlp --explain", model("vit")));
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stdout.contains("matmul") && said.stdout.contains("vit.wlp"), "{}", said.stdout);
    let said = bench.run(&format!("inspect {}", fixture("vit", "model.onnx")));
    assert_eq!(said.code, 0, "{}", said.stderr);
    for words in ["pixel_values: float32 [1, 3, 32, 32]", "logits: float32 [1, 10]", "MatMul"] {
        assert!(said.stdout.contains(words), "{words}\n{}", said.stdout);
    }
}

/// 40 letters of N, then 90 known bases: with words of 3 letters and 16 tokens a window covers 16 bases, so that the first
/// two windows hold nothing but N and the third half of it.
fn dna(bench: &Bench) {
    let known = "ACGTTGCAAGCTTACCGGATATCGCGATTAGGCATCCA";
    let bases: String = known.chars().cycle().take(90).collect();
    bench.file("some.fa", format!(">chrT test\n{}\n{bases}\n", "N".repeat(40)));
}

#[test]
fn windows_of_dna_are_run_in_batches() {
    let bench = Bench::new();
    dna(&bench);
    let bert = fixture("dnabert", "model.onnx");
    let fasta = format!("run {bert} --fasta some.fa --grid 8x8");
    let said = bench.run(&format!("{fasta} --shape input_ids=2x16 --windows 5 --out two.npz --report r.json"));
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{}", said.stdout);
    for words in
        ["5 windows of 16 tokens (3-mers)", "chrT:33-112", "skipped: 2 windows of N", "in 3 batches", "windows/s"]
    {
        assert!(said.stdout.contains(words), "{words}\n{}", said.stdout);
    }
    let report = json(&std::fs::read_to_string(bench.path("r.json")).expect("report"));
    assert_eq!((&report["runs"], &report["throughput"]["items"]), (&Value::from(3), &Value::from(5)));
    assert_eq!(report["sequence"]["windows"][4]["start"], 96);
    // Whatever the batch, a window has the same result, but for the order of sums, which the layout decides.
    let said = bench.run(&format!("{fasta} --shape input_ids=1x16 --windows 5 --out one.npz --json"));
    assert_eq!(said.code, 0, "{}", said.stderr);
    let (one, two) = (read_npz(&bench.path("one.npz")), read_npz(&bench.path("two.npz")));
    let (one, two) = (&one.expect("outputs")["logits"], &two.expect("outputs")["logits"]);
    assert_eq!((&one.shape, &two.shape), (&vec![5, 16, 72], &vec![5, 16, 72]));
    for (a, b) in one.to_f32().iter().zip(two.to_f32()) {
        assert!((a - b).abs() < 1e-4, "{a} is not {b}");
    }
    // Rows of different windows differ, so that the order is held as well.
    assert_ne!(one.to_f32()[..16 * 72], one.to_f32()[16 * 72..2 * 16 * 72]);
}

#[test]
fn sequences_that_are_none() {
    let bench = Bench::new();
    dna(&bench);
    bench.file("letters.fa", ">a\nACGT\nACGJACGT\n");
    bench.file("plain.fa", "ACGTACGT\n");
    bench.file("gap.fa", format!(">a\n{}\n", "N".repeat(100)));
    let bert = format!("run {} --shape input_ids=2x16", fixture("dnabert", "model.onnx"));
    bench.refuses(&format!("{bert} --fasta none.fa"), &["none.fa", "cannot be read"]);
    bench.refuses(&format!("{bert} --fasta letters.fa"), &["letters.fa", "\"a\"", "base 8", "'J'", "correct the file"]);
    bench.refuses(&format!("{bert} --fasta plain.fa"), &["plain.fa", "not a FASTA file", "`>`"]);
    bench.refuses(&format!("{bert} --fasta gap.fa"), &["gap.fa", "no window of 16 tokens", "known bases"]);
    bench.refuses(&format!("{bert} --fasta some.fa --windows 0"), &["--windows", "0"]);
    bench.refuses(&format!("{bert} --fasta some.fa --inputs x.npz"), &["--fasta", "--inputs"]);
    bench.refuses(&format!("{bert} --windows 3"), &["--fasta"]);
    bench.refuses(
        &format!("run {} --fasta some.fa", fixture("dnabert", "model.onnx")),
        &["dimension 0 of \"input_ids\"", "--shape input_ids=4x64"],
    );
    let vit = fixture("vit", "model.onnx");
    bench.refuses(&format!("run {vit} --fasta some.fa"), &["input_ids", "pixel_values", "--inputs"]);
}

#[test]
fn items_flow_through_stages() {
    let bench = Bench::new();
    let vit = model("vit");
    let expect = fixture("vit", "expected.npz");
    let said = bench.run(&format!("run {vit} --expect {expect} --grid 8x4 --items 3 --stages 2 --out run.npz --json"));
    assert_eq!(said.code, 0, "{}", said.stderr);
    let run = json(&said.stdout);
    let number = |pointer: &str| run.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer}"));
    assert_eq!((number("/pipeline/items_per_run"), number("/throughput/items")), (3.0, 3.0));
    assert_eq!(run["pipeline"]["stages"].as_array().map(Vec::len), Some(2));
    // The first item is out after the fill, two more follow in the steady state; a control wavelet behind them ends the run.
    let ends = number("/pipeline/fill_cycles") + 2.0 * number("/pipeline/interval_cycles");
    assert!((ends + 1.0 - number("/cycles")).abs() < 0.1, "{run}");
    // The same item three times has one output.
    assert_eq!(run["outputs"][0]["shape"], serde_json::json!([1, 10]));
    // The program takes three inputs, or one that it repeats.
    let said = bench.run(&format!("compile {vit} --grid 8x4 --items 3 --stages 2 --explain -o vit.wlp"));
    assert_eq!(said.code, 0, "{}", said.stderr);
    let choices = said.stdout.split_once("--plan:").map_or("", |(_, after)| after);
    let choices = choices.split_inclusive("\n)\n").next().expect("a plan file");
    bench.file("plan.ron", choices);
    let inputs = read_npz(fixture("vit", "inputs.npz").as_ref()).expect("a fixture");
    let stacked = inputs.into_iter().map(|(name, tensor)| {
        let shape = [&[3], tensor.shape.as_slice()].concat();
        (name, waferloom_models::Tensor::from_f32(&shape, tensor.to_f32().repeat(3)).expect("three times as many"))
    });
    write_npz(&bench.path("three.npz"), &stacked.collect()).expect("written");
    for inputs in [fixture("vit", "inputs.npz"), "three.npz".into()] {
        let said = bench.run(&format!("simulate vit.wlp --inputs {inputs} --json"));
        assert_eq!(said.code, 0, "{}", said.stderr);
        assert_eq!(json(&said.stdout)["cycles"], run["cycles"]);
    }
    // What was chosen can be asked for.
    let said = bench.run(&format!("run {vit} --grid 8x4 --items 3 --plan plan.ron --json"));
    assert_eq!((said.code, &json(&said.stdout)["cycles"]), (0, &run["cycles"]), "{}", said.stderr);
}
