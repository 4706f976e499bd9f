//! Programs written by hand.

use crate::rig::{Bench, floats};
use waferloom_models::read_npz;

/// A column of four PEs: numbers come in from the north, each PE adds 1, they leave to the south.
pub(crate) const COLUMN: &str = "program column machine bench16 grid 1x4
param into = rows [0, 1, 0, 1]
param from = rows [1, 0, 1, 0]
operator step add at 0,0 size 1x4 flops 200 bytes 400
route c0 at 0,0 size 1x4 step 1x2 { pos NORTH -> RAMP }
route c1 at 0,0 size 1x4 step 1x2 { pos RAMP -> SOUTH }
route c1 at 0,1 size 1x3 step 1x2 { pos NORTH -> RAMP }
route c0 at 0,1 size 1x3 step 1x2 { pos RAMP -> SOUTH }
class w {
  in q0 = $into
  out q2 = $from
  buffer spare at 0 bytes 1024 scratch
  task 8 main local activated { mark step add out q2 f32[50] <- in q0 f32[50], f32 1.0 }
}
place w at 0,0 size 1x4
input x : f32[50] on 1x1 edge NORTH at 0,0 color c0
output y : f32[50] on 1x1 edge SOUTH at 0,3 color c0";

/// PE 1 waits for two wavelets that nobody sends.
const DEADLOCK: &str = "program stuck machine bench16 grid 2x1
route c0 at 0,0 size 1x1 { pos RAMP -> EAST }
route c0 at 1,0 size 1x1 { pos WEST -> RAMP }
class a { out q2 = c0 task 8 main local activated { loop r1 in 3 { mov out q2 f32[1] <- f32 1.5 } } }
class b { in q0 = c0 task 8 main local activated { loop r1 in 5 { mov null <- in q0 f32[1] } } }
place a at 0,0 size 1x1
place b at 1,0 size 1x1";

/// Runs for ever.
const ENDLESS: &str = "program endless machine bench16 grid 1x1
class w { task 8 main local activated { activate 8 } }
place w at 0,0 size 1x1";

fn column() -> Bench {
    let bench = Bench::new();
    bench.file("column.wlt", COLUMN);
    bench.npz("in.npz", &[("x", floats(&[50], (0..50).map(|i| i as f32).collect()))]);
    bench.npz("good.npz", &[("y", floats(&[50], (4..54).map(|i| i as f32).collect()))]);
    bench
}

#[test]
fn a_text_program_runs_and_its_outputs_are_written() {
    let bench = column();
    let said = bench.run("simulate column.wlt --inputs in.npz -o out.npz --expect good.npz --report r.json");
    assert_eq!(said.code, 0, "{}", said.stderr);
    for words in ["column in f32 on 1x4", "4 of 4 run code", "equal: max error 0", "y ", "[50]", "step", "scratch 1.0,"]
    {
        assert!(said.stdout.contains(words), "{words}\n{}", said.stdout);
    }
    assert!(said.stdout.lines().all(|line| line.chars().count() <= 100), "{}", said.stdout);
    let outputs = read_npz(&bench.path("out.npz")).expect("outputs");
    assert_eq!(outputs["y"], floats(&[50], (4..54).map(|i| i as f32).collect()));
    let said = bench.run("inspect column.wlt");
    assert_eq!(said.code, 0);
    bench.file("again.wlt", &said.stdout);
    let again = bench.run("simulate again.wlt --inputs in.npz --json");
    let (one, two) = (json(&std::fs::read_to_string(bench.path("r.json")).expect("report")), json(&again.stdout));
    assert_eq!(one["cycles"], two["cycles"]);
}

#[test]
fn the_report_on_stdout_is_json_and_nothing_else() {
    let bench = column();
    let said = bench.run("simulate column.wlt --inputs in.npz --expect good.npz --json --per-pe --threads 2");
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    let report = json(&said.stdout);
    let keys = [
        "/model",
        "/machine",
        "/engine",
        "/dtype",
        "/grid/width",
        "/grid/height",
        "/cycles",
        "/seconds",
        "/host_seconds/import",
        "/host_seconds/compile",
        "/host_seconds/simulate",
        "/throughput/items_per_second",
        "/throughput/unit",
        "/pes_used",
        "/sram/capacity_bytes",
        "/sram/peak_bytes",
        "/sram/mean_bytes",
        "/sram/per_pe/3/0",
        "/utilisation/busy",
        "/utilisation/fabric_in",
        "/utilisation/fabric_out",
        "/utilisation/memory",
        "/utilisation/idle",
        "/links/peak_load",
        "/links/mean_load",
        "/operators/0/name",
        "/operators/0/kind",
        "/operators/0/region/width",
        "/operators/0/cycles",
        "/operators/0/flops",
        "/operators/0/bytes",
        "/operators/0/utilisation",
        "/outputs/0/name",
        "/outputs/0/shape/0",
        "/outputs/0/max_abs_error",
        "/outputs/0/max_rel_error",
        "/bound_by",
        "/per_pe/3/busy",
    ];
    for key in keys {
        assert!(report.pointer(key).is_some_and(|v| !v.is_null()), "{key}\n{}", said.stdout);
    }
    assert_eq!(report["pes_used"], 4);
    assert_eq!(report["operators"][0]["cycles"], report["cycles"], "the only operator takes all the time");
    assert_eq!(report["host_link"]["sent_wavelets"], 50);
}

#[test]
fn outputs_that_differ_are_said_and_exit_with_1() {
    let bench = column();
    let mut wrong: Vec<f32> = (4..54).map(|i| i as f32).collect();
    wrong[7] = 12.0;
    bench.npz("wrong.npz", &[("y", floats(&[50], wrong))]);
    let said = bench.run("simulate column.wlt --inputs in.npz --expect wrong.npz");
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stdout.contains("DIFFERS in 1 of 50"), "{}", said.stdout);
    // 11 instead of 12 is within a tenth.
    let said = bench.run("simulate column.wlt --inputs in.npz --expect wrong.npz --rtol 0.1");
    assert_eq!(said.code, 0, "{}", said.stdout);
}

#[test]
fn a_program_that_fails_exits_with_3_and_leaves_no_file() {
    let bench = Bench::new();
    bench.file("stuck.wlt", DEADLOCK);
    bench.file("endless.wlt", ENDLESS);
    let said = bench.run("simulate stuck.wlt --out out.npz --report r.json");
    assert_eq!(said.code, 3, "{}", said.stderr);
    assert!(said.stderr.contains("deadlock") && said.stderr.contains("PE (1, 0)"), "{}", said.stderr);
    let said = bench.run("simulate endless.wlt --max-cycles 10000 --out out.npz");
    assert_eq!((said.code, said.stdout.as_str()), (3, ""), "{}", said.stderr);
    assert!(said.stderr.contains("--max-cycles"), "{}", said.stderr);
    assert_eq!(bench.files(), ["endless.wlt", "stuck.wlt"]);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    use std::io::Read as _;
    use std::process::{Command, Stdio};
    let bench = Bench::new();
    // More text than a pipe holds, so that the writer meets the closed end.
    let tasks: Vec<String> = (0..20_000).map(|i| format!("    r1 = add r1, {i}\n")).collect();
    let text =
        format!("program long machine bench16 grid 1x1 class w {{ task 8 main local {{ {} }} }}", tasks.concat());
    let mut child = Command::new(env!("CARGO_BIN_EXE_waferloom"))
        .arg("inspect")
        .arg(bench.file("long.wlt", text))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut first = [0; 16];
    let mut stdout = child.stdout.take().expect("piped");
    stdout.read_exact(&mut first).expect("some text");
    drop(stdout);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}
