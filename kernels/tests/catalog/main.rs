//! Kernels on their own: their results, their published times, their estimates.

mod arbitrary;
mod collectives;
mod elementary;
mod engines;
mod estimates;
mod gemm;
mod gemv;
mod models;
mod movement;
mod rows;
mod sparse;

use waferloom_fabric::{HostData, Machine, verify};
use waferloom_kernels::catalog::{Instance, KernelError, all, find};
use waferloom_simulator::{Options, Run, simulate};

/// Builds a kernel from settings such as `p=4 elements=16`.
fn instance(name: &str, settings: &str) -> Result<Instance, KernelError> {
    instance_on(&Machine::builtin("wse2").unwrap(), name, settings)
}

fn instance_on(machine: &Machine, name: &str, settings: &str) -> Result<Instance, KernelError> {
    let settings: Vec<(String, String)> =
        settings.split_whitespace().filter_map(|s| s.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect();
    find(name).unwrap().instance(&settings, machine)
}

/// Builds, verifies and runs a kernel, and holds its results against the reference.
fn run(name: &str, settings: &str) -> (Run, Instance) {
    run_on(&Machine::builtin("wse2").unwrap(), name, settings)
}

fn run_on(machine: &Machine, name: &str, settings: &str) -> (Run, Instance) {
    let instance = instance_on(machine, name, settings).unwrap_or_else(|e| panic!("{name} {settings}: {e}"));
    let findings = verify(&instance.program);
    assert!(findings.errors.is_empty(), "{name} {settings}: {findings}");
    let run = simulate(&instance.program, &instance.inputs, &Options::default())
        .unwrap_or_else(|e| panic!("{name} {settings}: {e}"));
    assert_eq!(run.outputs.keys().collect::<Vec<_>>(), instance.expected.keys().collect::<Vec<_>>());
    let tolerance = tolerance(settings);
    for (result, expected) in &instance.expected {
        let HostData::F32(found) = &run.outputs[result].data else { panic!("{name} {result} is not float") };
        assert_eq!(found.len(), expected.len(), "{name} {settings} {result}");
        for (i, (&a, &b)) in found.iter().zip(expected).enumerate() {
            let error = (f64::from(a) - b).abs();
            assert!(error <= tolerance + tolerance * b.abs(), "{name} {settings} {result}[{i}]: {a} is not {b}");
        }
    }
    (run, instance)
}

/// Results in 16 bits are rounded to 11 (f16), 10 (cb16) or 8 (bf16) significant bits, intermediate ones of some kernels too:
/// two units of the last place.
fn tolerance(settings: &str) -> f64 {
    match settings.split("dtype=").nth(1).and_then(|rest| rest.split_whitespace().next()) {
        Some("f16") => 1e-3,
        Some("cb16") => 2e-3,
        Some("bf16") => 8e-3,
        _ => 1e-5,
    }
}

/// Every kernel that has a type to choose, in each of the 16-bit types.
#[test]
fn all_formats_are_computed_in() {
    let kernels = all().iter().filter(|k| k.parameters.iter().any(|p| p.name == "dtype"));
    for kernel in kernels {
        for dtype in ["f16", "bf16", "cb16"] {
            run(kernel.name, &format!("dtype={dtype}"));
        }
    }
}

#[test]
fn what_a_kernel_cannot_do_is_refused_by_name() {
    let cases = [
        ("reduce", "p=12 algorithm=tree", "`p` cannot be 12"),
        ("reduce", "p=12 algorithm=two-phase group=5", "`group` cannot be 5"),
        ("reduce", "p=800", "change `p`"),
        ("reduce", "elements=20000", "change `elements`"),
        ("broadcast", "rows=1000", "change `rows`"),
        ("gemm", "p=4 q=3 algorithm=cannon", "`q` cannot be 3"),
        ("gemm", "p=4 q=3 algorithm=mesh-gemm", "`q` cannot be 3"),
        ("gemm", "p=751", "change `p`"),
        ("gemm", "p=2 q=995", "change `q`"),
        ("gemm", "m=4000 algorithm=summa", "change `m`"),
        ("gemm", "n=4000 algorithm=cannon", "change `n`"),
        ("gemm", "m=1048576 n=1048576 k=1048576 p=1", "change `m`"),
        ("gemv", "p=751", "change `p`"),
        ("gemv", "q=995", "change `q`"),
        ("gemv", "p=1 q=1 m=300 k=200", "change `m`"),
        ("gemv", "p=1 q=1 m=100 k=1048576", "change `k`"),
        ("gemv", "p=2 algorithm=tree", "`p` cannot be 2"),
        ("sparse_gemv", "p=751", "change `p`"),
        ("sparse_gemv", "p=1 q=1 m=300 k=500", "change `k`"),
        ("sparse_gemv", "p=1 q=1 m=1048576 k=1048576", "change `m`"),
        ("sparse_gemv", "zeros=101", "`zeros` cannot be 101"),
        ("sparse_gemv", "p=700 q=900 m=1000000 k=1000000 zeros=100", "`m` cannot be 1000000"),
        ("gemv", "p=700 q=900 m=60000 k=60000", "`m` cannot be 60000"),
        ("gemm", "p=700 m=20000 n=20000 k=20000 algorithm=summa", "`m` cannot be 20000"),
        ("broadcast", "color=3", "no parameter `color`"),
    ];
    for (name, settings, expected) in cases {
        let error = instance(name, settings).unwrap_err().to_string();
        assert!(error.contains(expected), "{name} {settings}: {error}");
    }
}
