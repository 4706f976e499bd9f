//! Elementary functions on grids and matrices of every kind. How exact they are is tested with the kernels themselves.

use super::{instance, run};

const FUNCTIONS: [&str; 10] = ["cos", "erf", "exp", "gelu", "log", "rsqrt", "sigmoid", "silu", "sin", "tanh"];

#[test]
fn all_elements_are_mapped() {
    for function in FUNCTIONS {
        for (p, rows) in [(1, 1), (5, 1), (2, 3)] {
            for (m, n) in [(1, 1), (3, 7), (20, 31)] {
                for dtype in ["f32", "f16"] {
                    run(function, &format!("p={p} rows={rows} m={m} n={n} dtype={dtype}"));
                }
            }
        }
    }
}

#[test]
fn without_wavelets_the_cycles_are_counted_exactly() {
    for function in FUNCTIONS {
        for settings in ["p=1 rows=1 m=1 n=1", "p=2 rows=2 m=10 n=30", "p=1 rows=1 m=20 n=31 dtype=f16"] {
            let (run, instance) = run(function, settings);
            assert_eq!(instance.estimate_cycles, run.cycles, "{function} {settings}");
        }
    }
}

#[test]
fn what_these_kernels_cannot_do_is_refused_by_name() {
    for function in FUNCTIONS {
        for (settings, expected) in
            [("p=800", "change `p`"), ("m=500 n=500", "change `n`"), ("rows=2000", "change `rows`")]
        {
            let error = instance(function, settings).unwrap_err().to_string();
            assert!(error.contains(expected), "{function} {settings}: {error}");
        }
    }
}
