//! The closed forms against the simulated cycles.

use super::run_on;
use waferloom_fabric::Machine;
use waferloom_kernels::catalog::all;

/// Settings of each kernel over which the estimate must hold.
pub(super) const SWEEPS: &[(&str, &[&str])] = &[
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
            "p=4 rows=6 words=600 width=64 tokens=18 part=512",
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
        "gemm",
        &[
            "algorithm=summa",
            "algorithm=cannon",
            "algorithm=mesh-gemm",
            "p=8 m=112 n=112 k=112 algorithm=summa",
            "p=8 m=112 n=112 k=112 algorithm=cannon",
            "p=8 m=112 n=112 k=112 algorithm=mesh-gemm transpose=a",
            "p=16 m=32 n=32 k=32 algorithm=summa",
            "p=16 m=32 n=32 k=32 algorithm=cannon",
            "p=16 m=32 n=32 k=32 algorithm=mesh-gemm transpose=b",
            "p=7 m=50 n=61 k=90 algorithm=cannon dtype=f16",
            "p=7 m=50 n=61 k=90 algorithm=mesh-gemm dtype=f16",
            "p=7 m=50 n=61 k=90 algorithm=summa dtype=f16",
            "p=4 q=2 m=100 n=40 k=60 algorithm=summa",
            "p=3 q=8 m=64 n=40 k=64 algorithm=summa transpose=b",
            "p=12 m=60 n=60 k=12 algorithm=cannon",
            "p=1 m=20 n=20 k=20",
            "p=64 m=64 n=64 k=64 algorithm=cannon",
            "p=64 m=64 n=64 k=64 algorithm=mesh-gemm",
            "p=40 m=40 n=40 k=40 algorithm=summa",
            "p=17 m=68 n=68 k=17 algorithm=mesh-gemm",
            "p=17 m=17 n=17 k=340 algorithm=cannon",
            "p=17 m=17 n=17 k=340 algorithm=mesh-gemm",
            "p=17 m=17 n=17 k=340 algorithm=summa",
        ],
    ),
    (
        "gemv",
        &[
            "algorithm=chain",
            "algorithm=tree",
            "p=16 q=16 m=64 k=64 algorithm=chain",
            "p=16 q=16 m=64 k=64 algorithm=tree",
            "p=64 q=4 m=16 k=640 algorithm=chain",
            "p=64 q=4 m=16 k=640 algorithm=tree",
            "p=30 q=3 m=100 k=100 algorithm=tree dtype=f16",
            "p=13 q=5 m=300 k=333 algorithm=chain dtype=f16",
            "p=48 q=2 m=200 k=48 algorithm=tree",
            "p=1 q=9 m=30 k=30",
            "p=7 q=1 m=30 k=30",
        ],
    ),
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
    (
        "sparse_gemm",
        &[
            "",
            "zeros=50",
            "p=2 q=2 m=160 k=160 n=16 zeros=70",
            "p=8 q=4 m=100 k=300 n=20 zeros=95",
            "p=3 q=2 m=40 k=60 n=5",
            "p=16 q=1 m=12 k=320 n=8",
            "p=2 q=5 m=5 k=200 n=24 zeros=50",
            "p=1 q=1 m=20 k=20 n=1 zeros=0",
            "p=2 q=3 m=17 k=23 zeros=100",
        ],
    ),
    (
        "sparse_gemv",
        &[
            "",
            "p=4 q=4 m=256 k=256",
            "p=8 q=8 m=768 k=768",
            "p=4 q=2 m=96 k=200 zeros=70",
            "p=16 q=3 m=300 k=320 zeros=95",
            "p=2 q=2 m=80 k=80 zeros=50",
            "p=3 q=1 m=30 k=40 zeros=0",
            "p=5 q=5 m=17 k=23 zeros=100",
        ],
    ),
];

/// Few and many elements a PE, in both types.
const ELEMENTWISE: &[&str] = &["", "m=4 n=4", "p=3 rows=2 m=40 n=50 dtype=f16", "p=1 rows=1 m=9 n=100"];

#[test]
fn estimates_are_within_15_percent() {
    let mut swept: Vec<&str> = SWEEPS.iter().map(|sweep| sweep.0).collect();
    let known: Vec<&str> = all().iter().map(|kernel| kernel.name).collect();
    swept.sort_unstable();
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
