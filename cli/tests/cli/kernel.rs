//! Kernels on their own, sweeps of them, and the published rows.

use crate::rig::Bench;

fn json(said: &crate::rig::Said) -> serde_json::Value {
    assert_eq!(said.code, 0, "{}", said.stderr);
    serde_json::from_str(&said.stdout).unwrap_or_else(|e| panic!("{e}\n{}", said.stdout))
}

#[test]
fn a_kernel_says_its_cycles_estimate_and_error() {
    let bench = Bench::new();
    // A chain costs the start (8), 6 cycles a PE and one an element: 8 + 100 + 6 * 15.
    let arguments = "kernel reduce --set p=16 --set elements=100 --set algorithm=chain";
    let result = json(&bench.run(&format!("{arguments} --json")));
    assert_eq!(result["cycles"], 198);
    assert_eq!(result["estimate_cycles"], 198);
    assert_eq!(result["algorithm"], "chain");
    assert_eq!(result["settings"]["p"], "16");
    assert!(result["max_abs_error"].as_f64().unwrap() < 1e-5);
    assert_eq!(result["report"]["flops"]["total"], 1500);
    let said = bench.run(arguments);
    for word in ["198 cycles", "estimate", "SRAM", "links", "error"] {
        assert!(said.stdout.contains(word), "`{word}` is missing\n{}", said.stdout);
    }
}

#[test]
fn the_list_names_every_kernel_and_parameter() {
    let said = Bench::new().run("kernel --list");
    assert_eq!(said.code, 0, "{}", said.stderr);
    for kernel in waferloom_kernels::catalog::all() {
        assert!(said.stdout.lines().any(|line| line == kernel.name), "{}", kernel.name);
        for parameter in kernel.parameters {
            assert!(said.stdout.contains(&format!("{}={}", parameter.name, parameter.default)), "{}", parameter.name);
        }
    }
}

#[test]
fn a_sweep_is_a_table_and_a_file() {
    let bench = Bench::new();
    let said =
        bench.run("kernel reduce --sweep p=3..12:x2 --sweep algorithm=chain,tree --set elements=8 --csv out.csv");
    assert_eq!(said.code, 0, "{}", said.stderr);
    let csv = std::fs::read_to_string(bench.path("out.csv")).unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    // P = 3, 6 and 12, each as a chain and as a tree, which needs a power of two and is refused.
    assert_eq!(lines.len(), 1 + 6);
    assert!(lines[0].starts_with("p,algorithm,"));
    // 8 + 8 + 6 * 2
    assert!(lines[1].starts_with("3,chain,chain,28,28,"), "{csv}");
    assert!(lines[2].starts_with("3,tree,,") && lines[2].contains("power of two"), "{csv}");
    assert!(said.stdout.contains("without a run"), "{}", said.stdout);
}

#[test]
fn what_cannot_be_is_refused() {
    let bench = Bench::new();
    bench.refuses("kernel", &["no kernel was named", "--list"]);
    bench.refuses("kernel gemm --engine wavelet --check-twins", &["--check-twins", "--engine stream"]);
    bench.refuses("kernel nonsense", &["nonsense", "reduce"]);
    bench.refuses("kernel reduce --set q=3", &["no parameter `q`", "elements"]);
    bench.refuses("kernel reduce --set p=3 --set algorithm=tree", &["`p` cannot be 3", "power of two"]);
    bench.refuses("kernel reduce --set elements=20000", &["change `elements`", "49152"]);
    bench.refuses("kernel reduce --sweep q=1..3", &["no parameter `q`"]);
    bench.refuses("kernel reduce --sweep p=3..1", &["range"]);
    bench.refuses("kernel reduce --csv out.csv", &["--sweep"]);
    bench.refuses("kernel reduce --machine wse9", &["wse9", "bench16"]);
}

#[test]
fn the_published_rows_hold() {
    let said = Bench::new().run("validate --json --most-pes 64 --most-elements 1024");
    let rows = json(&said);
    let rows = rows.as_array().unwrap();
    let held: Vec<&str> = rows.iter().filter(|r| r["verdict"] == "holds").map(|r| r["id"].as_str().unwrap()).collect();
    let expected = ["bcast-1d", "reduce-chain", "reduce-star", "reduce-tree", "reduce-two-phase", "reduce-ranking"];
    assert_eq!(held, expected, "{}", said.stdout);
    assert!(rows.iter().all(|r| r["verdict"] != "fails" && !r["source"].as_str().unwrap().is_empty()));
    assert_eq!(rows[0]["points"].as_array().unwrap().len(), 5 * 6);
}

#[test]
fn the_time_alone_has_no_outputs_and_the_same_report() {
    let bench = Bench::new();
    let run = |more: &str| json(&bench.run(&format!("kernel gemm --set p=3 --engine stream --json {more}")));
    let (with, without) = (run(""), run("--no-numerics"));
    for key in ["/cycles", "/report/links", "/report/utilisation", "/report/heaviest_pes", "/report/flops"] {
        assert_eq!(with.pointer(key), without.pointer(key), "{key}");
    }
    assert!(with["max_abs_error"].is_number() && without["max_abs_error"].is_null());
    bench.refuses("simulate p.wlt --no-numerics --out out.npz", &["--no-numerics", "--out"]);
}

#[test]
fn a_kernel_is_simulated_as_often_as_is_said() {
    let bench = Bench::new();
    let reports = ["1", "3"].map(|runs| {
        let mut result = json(&bench.run(&format!("kernel reduce --set p=4 --runs {runs} --json")));
        let seconds = result["report"]["host_seconds"].take();
        assert!(seconds["simulate"].as_f64().is_some_and(|seconds| seconds > 0.0));
        result
    });
    assert_eq!(reports[0], reports[1]);
    bench.refuses("kernel reduce --runs 0", &["--runs", "0"]);
}
