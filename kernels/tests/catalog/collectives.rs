//! Reduce and broadcast against the published model.

use super::run;

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
                let sizes = format!("p={p} elements={b}");
                let (run, _) = match algorithm {
                    "broadcast" => run("broadcast", &sizes),
                    _ => run("reduce", &format!("{sizes} algorithm={algorithm}")),
                };
                let bounds = published(algorithm, f64::from(p), f64::from(b));
                let line = format!("{algorithm} P {p} B {b}: {} cycles, published {bounds:?}", run.cycles);
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
            let cycles = |algorithm: &str| run("reduce", &format!("p={p} elements={b} algorithm={algorithm}")).0.cycles;
            let best = ["chain", "star", "tree", "two-phase"].map(cycles).into_iter().min().unwrap();
            let auto = cycles("auto");
            assert!(auto as f64 <= 1.05 * best as f64, "P {p} B {b}: auto takes {auto} cycles, the best {best}");
        }
    }
}
