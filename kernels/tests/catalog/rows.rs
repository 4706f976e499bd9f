//! Kernels over rows: softmax and normalisations, on grids and matrices of every kind.

use super::{instance, run};

#[test]
fn rows_are_what_they_must_be() {
    for kernel in ["softmax", "layernorm", "rmsnorm"] {
        for (p, rows) in [(1, 1), (4, 1), (1, 3), (3, 2), (7, 5)] {
            for (m, n) in [(1, 1), (3, 2), (9, 20), (2, 61)] {
                for dtype in ["f32", "f16"] {
                    run(kernel, &format!("p={p} rows={rows} m={m} n={n} dtype={dtype}"));
                }
            }
        }
    }
}

#[test]
fn what_these_kernels_cannot_do_is_refused_by_name() {
    for kernel in ["softmax", "layernorm", "rmsnorm"] {
        let cases = [
            ("p=800", "change `p`"),
            ("rows=1000", "change `rows`"),
            ("m=400 n=400", "change `n`"),
            ("m=1048576 n=1048576", "change `n`"),
            ("dtype=i8", "`dtype` cannot be i8"),
            ("m=0", "`m` cannot be 0"),
        ];
        for (settings, expected) in cases {
            let error = instance(kernel, settings).unwrap_err().to_string();
            assert!(error.contains(expected), "{kernel} {settings}: {error}");
        }
    }
}
