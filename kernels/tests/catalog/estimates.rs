//! The closed forms against the simulated cycles.

use super::run_on;
use waferloom_fabric::Machine;
use waferloom_kernels::catalog::all;

/// Settings of each kernel over which the estimate must hold.
const SWEEPS: &[(&str, &[&str])] = &[
    (
        "allgather",
        &[
            "p=2 elements=40",
            "p=8 elements=1",
            "p=16 elements=16",
            "p=64 elements=8",
            "p=24 elements=100",
            "p=5 elements=400",
        ],
    ),
    (
        "allreduce",
        &[
            "p=2 elements=16",
            "p=37 algorithm=chain",
            "p=64 elements=1",
            "p=16 elements=33 algorithm=star",
            "p=32 elements=64 algorithm=tree",
            "p=48 elements=100 algorithm=two-phase",
            "p=1 rows=9 elements=100",
            "p=8 rows=8 elements=256 algorithm=chain",
            "p=16 rows=4 elements=32 algorithm=tree",
            "p=12 rows=20 elements=64 algorithm=two-phase",
            "p=24 rows=10 elements=4",
        ],
    ),
    (
        "attention",
        &[
            "",
            "causal=yes",
            "p=1 q=1 heads=2 tokens=9 causal=yes",
            "p=5 q=3 heads=7 tokens=33 width=8",
            "p=8 q=4 heads=4 tokens=64 width=32 dtype=f16",
        ],
    ),
    ("broadcast", &["p=8", "p=64 elements=16", "p=12 rows=7 elements=100"]),
    (
        "conv1d",
        &[
            "",
            "p=1 kernel=7",
            "p=5 length=33 kernel=5 dtype=f16",
            "kernel=1",
            "p=30 length=300 inputs=1 outputs=16 kernel=9",
        ],
    ),
    (
        "conv2d",
        &[
            "",
            "p=3 rows=5 h=17 w=20 kernel=5 inputs=2 outputs=6 dtype=f16",
            "p=1 rows=1 h=8 w=8",
            "p=8 rows=1 h=8",
            "p=1 rows=8 w=9 inputs=1",
            "p=8 rows=8 h=48 w=56 inputs=1 outputs=2 kernel=7",
        ],
    ),
    ("cos", ELEMENTWISE),
    ("erf", ELEMENTWISE),
    ("exp", ELEMENTWISE),
    (
        "gather",
        &[
            "",
            "rows=1",
            "p=1 rows=7 words=100 tokens=50 width=33",
            "p=8 rows=8 words=256 width=128 tokens=64 dtype=f16",
            "p=3 rows=4 words=5 width=10 tokens=3",
        ],
    ),
    ("gelu", ELEMENTWISE),
    (
        "layernorm",
        &[
            "",
            "p=8 rows=1 m=4 n=300",
            "p=1 rows=3 m=20 n=30",
            "p=12 rows=2 m=7 n=100",
            "p=16 rows=16 m=128 n=128 dtype=f16",
            "p=5 rows=2 m=40 n=50 dtype=f16",
        ],
    ),
    ("log", ELEMENTWISE),
    (
        "pool",
        &["", "of=average dtype=f16", "p=3 rows=5 channels=3 h=17 w=10 window=3", "p=1 rows=1 window=1 of=average"],
    ),
    (
        "reduce",
        &[
            "p=37 algorithm=chain",
            "p=16 elements=33 algorithm=star",
            "p=32 elements=64 algorithm=tree",
            "p=48 elements=100 algorithm=two-phase",
            "p=48 group=3 algorithm=two-phase",
        ],
    ),
    (
        "reduce_scatter",
        &[
            "p=2 elements=40",
            "p=8 elements=1",
            "p=16 elements=16",
            "p=64 elements=8",
            "p=24 elements=100",
            "p=5 elements=400",
        ],
    ),
    (
        "relayout",
        &[
            "",
            "p=8 rows=1 m=8 n=256 to_n=3",
            "p=1 rows=8 m=64 n=24 to_m=2 dtype=f16",
            "p=6 rows=5 m=90 n=60 from_m=4 from_n=7 to_m=0 to_n=0",
            "p=8 rows=8 m=128 n=64 to_m=2 to_n=2 dtype=f16",
        ],
    ),
    (
        "rmsnorm",
        &[
            "",
            "p=8 rows=1 m=4 n=300",
            "p=1 rows=3 m=20 n=30",
            "p=12 rows=2 m=7 n=100",
            "p=16 rows=16 m=128 n=128 dtype=f16",
            "p=5 rows=2 m=40 n=50 dtype=f16",
        ],
    ),
    ("rsqrt", ELEMENTWISE),
    (
        "shift",
        &[
            "elements=1",
            "p=40 elements=300",
            "p=7 distance=3",
            "p=64 distance=8 elements=50",
            "p=30 distance=4 wrap=yes",
            "p=16 wrap=yes elements=200",
            "p=3 distance=2 elements=500",
        ],
    ),
    ("sigmoid", ELEMENTWISE),
    ("silu", ELEMENTWISE),
    ("sin", ELEMENTWISE),
    (
        "softmax",
        &[
            "",
            "p=8 rows=1 m=4 n=300",
            "p=1 rows=3 m=20 n=30",
            "p=12 rows=2 m=7 n=100",
            "p=16 rows=16 m=128 n=128 dtype=f16",
            "p=5 rows=2 m=40 n=50 dtype=f16",
        ],
    ),
    ("tanh", ELEMENTWISE),
    (
        "transpose",
        &[
            "",
            "p=8 rows=1 m=8 n=256",
            "p=1 rows=8 dtype=f16",
            "p=6 rows=5 m=90 n=60",
            "p=8 rows=8 m=128 n=64 dtype=f16",
        ],
    ),
];

/// Few and many elements a PE, in both types.
const ELEMENTWISE: &[&str] = &["", "m=4 n=4", "p=3 rows=2 m=40 n=50 dtype=f16", "p=1 rows=1 m=9 n=100"];

#[test]
fn estimates_are_within_15_percent() {
    let swept: Vec<&str> = SWEEPS.iter().map(|sweep| sweep.0).collect();
    let known: Vec<&str> = all().iter().map(|kernel| kernel.name).collect();
    assert_eq!(swept, known, "each kernel has a sweep");
    check(&Machine::builtin("wse2").unwrap());
}

/// The closed forms follow from the parameters of the machine: they hold on others as well.
#[test]
fn estimates_follow_the_machine() {
    check(&Machine::builtin("wse3").unwrap());
    let slow = Machine {
        name: "slow".into(),
        vector_startup_cycles: 11,
        hop_cycles: 2,
        ramp_cycles: 4,
        scalar_cycles: 2,
        branch_cycles: 3,
        task_switch_cycles: 9,
        ..Machine::builtin("wse2").unwrap()
    };
    check(&slow);
}

fn check(machine: &Machine) {
    let mut wrong = Vec::new();
    for (name, settings) in SWEEPS.iter().flat_map(|(name, list)| list.iter().map(move |s| (name, s))) {
        let (run, instance) = run_on(machine, name, settings);
        let ratio = instance.estimate_cycles as f64 / run.cycles as f64;
        let line = format!(
            "{} {name} {settings}: {} cycles, estimate {}, ratio {ratio:.3}",
            machine.name, run.cycles, instance.estimate_cycles
        );
        println!("{line}");
        if !(0.85..=1.15).contains(&ratio) {
            wrong.push(line);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
