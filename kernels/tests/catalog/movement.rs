//! All-reduce, all-gather, reduce-scatter, shift, transpose, relayout: results on grids of every kind, times against bounds
//! that no algorithm can pass, refusals.

use super::{instance, run};

/// Sums and moves are checked element by element in `run`.
fn all_right(kernel: &str, settings: &[String]) {
    for settings in settings {
        run(kernel, settings);
    }
}

#[test]
fn sums_reach_every_pe_with_every_algorithm() {
    let mut settings = Vec::new();
    for algorithm in ["auto", "chain", "star", "tree", "two-phase"] {
        for (p, rows) in [(1, 1), (2, 1), (8, 1), (1, 4), (4, 2), (2, 8), (16, 16)] {
            for elements in [1, 3, 50] {
                settings.push(format!("p={p} rows={rows} elements={elements} algorithm={algorithm}"));
            }
        }
    }
    all_right("allreduce", &settings);
    all_right("allreduce", &["p=7 rows=5 elements=9".into(), "p=6 rows=9 group=3 algorithm=two-phase".into()]);
}

#[test]
fn gathering_and_scattering_are_near_what_a_datapath_can_take_in() {
    for kernel in ["allgather", "reduce_scatter"] {
        for p in [1u64, 2, 3, 5, 16, 33] {
            for elements in [1u64, 7, 64] {
                let (run, _) = run(kernel, &format!("p={p} elements={elements}"));
                // A datapath takes in p - 1 blocks, one element a cycle; then there is the way from end to end and back.
                let bound = (p - 1) * elements;
                let most = (p + 1) * elements + 20 * p + 20;
                assert!((bound..=most).contains(&run.cycles), "{kernel} p {p} n {elements}: {} cycles", run.cycles);
            }
        }
    }
}

#[test]
fn vectors_come_to_the_pe_that_far_away() {
    let mut settings = Vec::new();
    for p in [1, 2, 5, 9, 16, 17, 40] {
        for distance in 1..=8 {
            for elements in [1, 20] {
                settings.push(format!("p={p} distance={distance} elements={elements}"));
                if p >= 2 * distance {
                    settings.push(format!("p={p} distance={distance} elements={elements} wrap=yes"));
                }
            }
        }
    }
    all_right("shift", &settings);
}

#[test]
fn shifts_do_not_wait_for_each_other_along_the_row() {
    let cycles = |p: u32| run("shift", &format!("p={p} elements=100 distance=2")).0.cycles;
    assert_eq!(cycles(12), cycles(96));
}

#[test]
fn blocks_come_to_where_they_belong() {
    let mut settings = Vec::new();
    for (p, rows) in [(1, 1), (3, 1), (1, 4), (4, 3)] {
        for (m, n) in [(1, 1), (7, 5), (12, 16), (1, 40)] {
            for dtype in ["f32", "f16"] {
                settings.push(format!("p={p} rows={rows} m={m} n={n} dtype={dtype}"));
            }
        }
    }
    all_right("transpose", &settings);
    all_right("relayout", &settings);
    all_right("relayout", &["p=3 rows=2 m=20 n=20 from_m=2 from_n=3 to_m=3 to_n=2".into()]);
}

#[test]
fn what_these_kernels_cannot_do_is_refused_by_name() {
    let cases = [
        ("allreduce", "p=8 rows=6 algorithm=tree", "`rows` cannot be 6"),
        ("allreduce", "p=6 rows=4 group=3 algorithm=two-phase", "divisor of rows = 4"),
        ("allreduce", "rows=2000", "change `rows`"),
        ("allreduce", "elements=12500", "change `elements`"),
        ("allreduce", "p=700 rows=900 elements=1000", "change `elements`"),
        ("allgather", "p=751", "change `p`"),
        ("allgather", "p=100 elements=200", "change `elements`"),
        ("allgather", "elements=1048576", "change `elements`"),
        ("reduce_scatter", "p=100 elements=130", "change `elements`"),
        ("reduce_scatter", "p=1000", "change `p`"),
        ("shift", "distance=9", "`distance` cannot be 9"),
        ("shift", "p=5 distance=3 wrap=yes", "`p` cannot be 5"),
        ("shift", "elements=10000", "change `elements`"),
        ("transpose", "p=1000", "change `p`"),
        ("transpose", "m=1000 n=1000", "change `m`"),
        ("transpose", "m=65535 n=65535", "change `m`"),
        ("relayout", "to_m=65535 to_n=65535", "change `m`"),
        ("relayout", "dtype=f64", "`dtype` cannot be f64"),
    ];
    for (name, settings, expected) in cases {
        let error = instance(name, settings).unwrap_err().to_string();
        assert!(error.contains(expected), "{name} {settings}: {error}");
    }
}
