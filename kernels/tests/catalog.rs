//! Kernels on their own: their results, their published times, their estimates.

use waferloom_fabric::{HostData, Machine, verify};
use waferloom_kernels::catalog::{Instance, KernelError, all, find};
use waferloom_simulator::{Options, Run, simulate};

fn instance(name: &str, settings: &[(&str, &str)]) -> Result<Instance, KernelError> {
    let settings: Vec<_> = settings.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect();
    find(name).unwrap().instance(&settings, &Machine::builtin("wse2").unwrap())
}

/// Builds, verifies and runs a kernel, and holds its results against the reference.
fn run(name: &str, settings: &[(&str, &str)]) -> (Run, Instance) {
    let instance = instance(name, settings).unwrap_or_else(|e| panic!("{name} {settings:?}: {e}"));
    let findings = verify(&instance.program);
    assert!(findings.errors.is_empty(), "{name} {settings:?}: {findings}");
    let run = simulate(&instance.program, &instance.inputs, &Options::default())
        .unwrap_or_else(|e| panic!("{name} {settings:?}: {e}"));
    assert_eq!(run.outputs.keys().collect::<Vec<_>>(), instance.expected.keys().collect::<Vec<_>>());
    for (result, expected) in &instance.expected {
        let HostData::F32(found) = &run.outputs[result].data else { panic!("{name} {result} is not float") };
        assert_eq!(found.len(), expected.len(), "{name} {settings:?} {result}");
        for (i, (&a, &b)) in found.iter().zip(expected).enumerate() {
            let error = (f64::from(a) - b).abs();
            assert!(error <= 1e-5 + 1e-5 * b.abs(), "{name} {settings:?} {result}[{i}]: {a} is not {b}");
        }
    }
    (run, instance)
}

/// Low and high cycles of a published row for P PEs and B wavelets; see `published.json`.
fn published(algorithm: &str, p: f64, b: f64) -> (f64, f64) {
    let (t, s, levels) = (2.0, p.sqrt(), p.log2());
    match algorithm {
        "broadcast" => (b + p + 2.0 * t, b + p + 2.0 * t),
        "chain" => (b + (2.0 * t + 2.0) * (p - 1.0), b + (2.0 * t + 2.0) * (p - 1.0)),
        "star" => {
            let high = (b * (p - 1.0)).max(b * p / 2.0 + p - 1.0) + 2.0 * t + 1.0;
            (b * (p - 1.0) + 2.0 * t + 1.0, high)
        }
        "tree" => {
            let depth = (2.0 * t + 1.0) * levels;
            let low = (b * levels).max(b * (p / 2.0) * levels / (p - 1.0) + p - 1.0) + depth;
            (low, b * levels + p - 1.0 + depth)
        }
        _ => {
            let depth = (2.0 * t + 1.0) * 2.0 * (s - 1.0);
            ((2.0 * b).max(2.0 * b * (p - s) / (p - 1.0) + p - 1.0) + depth, 2.0 * b + p - 1.0 + depth)
        }
    }
}

fn within(algorithm: &str, p: u32, b: u32, cycles: u64) -> bool {
    let (low, high) = published(algorithm, f64::from(p), f64::from(b));
    let slack = |bound: f64| (0.04 * bound).max(12.0);
    let cycles = cycles as f64;
    low - slack(low) <= cycles && cycles <= high + slack(high)
}

#[test]
fn reductions_and_broadcasts_take_the_published_time() {
    let mut wrong = Vec::new();
    for p in [4u32, 8, 16, 32, 64] {
        for b in [1u32, 4, 16, 64, 256] {
            for algorithm in ["broadcast", "chain", "star", "tree", "two-phase"] {
                if algorithm == "two-phase" && p.isqrt().pow(2) != p {
                    continue;
                }
                let (ps, bs) = (p.to_string(), b.to_string());
                let mut settings = vec![("p", ps.as_str()), ("elements", bs.as_str())];
                let name = if algorithm == "broadcast" { "broadcast" } else { "reduce" };
                if name == "reduce" {
                    settings.push(("algorithm", algorithm));
                }
                let (run, instance) = run(name, &settings);
                let bounds = published(algorithm, f64::from(p), f64::from(b));
                let line = format!(
                    "{algorithm} P {p} B {b}: {} cycles, published {bounds:?}, estimate {}",
                    run.cycles, instance.estimate_cycles
                );
                println!("{line}");
                if !within(algorithm, p, b, run.cycles) {
                    wrong.push(line);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
#[test]
fn auto_is_never_far_behind_the_best() {
    for p in ["4", "16", "64"] {
        for b in ["1", "16", "256", "1024"] {
            let cycles =
                |algorithm: &str| run("reduce", &[("p", p), ("elements", b), ("algorithm", algorithm)]).0.cycles;
            let best = ["chain", "star", "tree", "two-phase"].map(cycles).into_iter().min().unwrap();
            let auto = cycles("auto");
            assert!(auto as f64 <= 1.05 * best as f64, "P {p} B {b}: auto takes {auto} cycles, the best {best}");
        }
    }
}

#[test]
fn estimates_are_within_15_percent() {
    let sweeps: &[(&str, &[&[(&str, &str)]])] = &[
        (
            "broadcast",
            &[&[("p", "8")], &[("p", "64"), ("elements", "16")], &[("p", "12"), ("rows", "7"), ("elements", "100")]],
        ),
        (
            "reduce",
            &[
                &[("p", "37"), ("algorithm", "chain")],
                &[("p", "16"), ("elements", "33"), ("algorithm", "star")],
                &[("p", "32"), ("elements", "64"), ("algorithm", "tree")],
                &[("p", "48"), ("elements", "100"), ("algorithm", "two-phase")],
                &[("p", "48"), ("group", "3"), ("algorithm", "two-phase")],
            ],
        ),
    ];
    assert_eq!(sweeps.iter().map(|s| s.0).collect::<Vec<_>>(), all().iter().map(|k| k.name).collect::<Vec<_>>());
    let mut wrong = Vec::new();
    for (name, settings) in sweeps {
        for settings in *settings {
            let (run, instance) = run(name, settings);
            let ratio = instance.estimate_cycles as f64 / run.cycles as f64;
            let line = format!(
                "{name} {settings:?}: {} cycles, estimate {}, ratio {ratio:.3}",
                run.cycles, instance.estimate_cycles
            );
            println!("{line}");
            if !(0.85..=1.15).contains(&ratio) {
                wrong.push(line);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_a_kernel_cannot_do_is_refused_by_name() {
    let cases: [(&str, &[(&str, &str)], &str); 6] = [
        ("reduce", &[("p", "12"), ("algorithm", "tree")], "`p` cannot be 12"),
        ("reduce", &[("p", "12"), ("algorithm", "two-phase"), ("group", "5")], "`group` cannot be 5"),
        ("reduce", &[("p", "800")], "change `p`"),
        ("reduce", &[("elements", "20000")], "change `elements`"),
        ("broadcast", &[("rows", "1000")], "change `rows`"),
        ("broadcast", &[("color", "3")], "no parameter `color`"),
    ];
    for (name, settings, expected) in cases {
        let error = instance(name, settings).unwrap_err().to_string();
        assert!(error.contains(expected), "{name} {settings:?}: {error}");
    }
}
