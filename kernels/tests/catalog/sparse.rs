//! The product of a sparse matrix and a dense one: its order of accumulation, its two forms, its gain.

use super::gemm::decode;
use super::{instance, run};
use std::collections::BTreeMap;
use waferloom_fabric::{Dtype, HostData, Payload, text, verify};
use waferloom_simulator::{Options, simulate};

/// C for the B that a function of (row, column) gives.
fn product(settings: &str, n: usize, b: impl Fn(usize, usize) -> f32) -> Vec<f32> {
    let mut program = instance("sparse_gemm", settings).unwrap().program;
    let constant = program.constants.iter_mut().find(|c| c.name == "b").unwrap();
    let count = decode(Dtype::F32, &constant.payload).len();
    let values = (0..count).flat_map(|i| b(i / n, i % n).to_le_bytes());
    constant.payload = Payload::Inline(values.collect());
    let run = simulate(&program, &BTreeMap::default(), &Options::default()).unwrap();
    let HostData::F32(c) = &run.outputs["c"].data else { panic!("c is float") };
    c.clone()
}

/// A row of A in parts of `columns`: the sums of each from the westernmost, then from the east to the west.
fn element(a: &[f32], columns: usize, b: impl Fn(usize) -> f32) -> f32 {
    let part = |(px, part): (usize, &[f32])| {
        let filled = part.iter().enumerate().filter(|(_, a)| **a != 0.0);
        filled.fold(0f32, |sum, (j, &a)| a.mul_add(b(px * columns + j), sum))
    };
    let parts: Vec<f32> = a.chunks(columns).enumerate().map(part).collect();
    parts.into_iter().rev().reduce(|from_east, own| from_east + own).unwrap()
}

#[test]
fn the_bits_are_those_of_the_stated_order() {
    let rough = |j: usize, column: usize| ((j * 31 + column * 17 + 5) as f32 * 0.618).sin();
    // With 13 rows on 3 rows of PEs, and with one row a PE; in two columns of PEs, which make a chain.
    for (grid, m, k, n, zeros) in [("p=2 q=3", 13, 40, 10, 60), ("p=2 q=4", 4, 30, 8, 30), ("p=1 q=1", 9, 21, 3, 0)] {
        let sizes = format!("{grid} m={m} k={k} zeros={zeros}");
        // The product with the unit matrix is A.
        let a = product(&format!("{sizes} n={k}"), k, |row, column| if row == column { 1.0 } else { 0.0 });
        let c = product(&format!("{sizes} n={n}"), n, rough);
        let columns = if grid.starts_with("p=2") { k / 2 } else { k };
        let (mut shows, mut checked) = (0, 0);
        for (row, sums) in a.chunks_exact(k).zip(c.chunks_exact(n)) {
            for (column, found) in sums.iter().enumerate() {
                let expected = element(row, columns, |j| rough(j, column));
                assert_eq!(found.to_bits(), expected.to_bits(), "{sizes}: {found} is not {expected}");
                let backwards: Vec<f32> = row.iter().rev().copied().collect();
                let other = element(&backwards, k, |j| rough(k - 1 - j, column));
                shows += usize::from(other.to_bits() != expected.to_bits());
                checked += 1;
            }
        }
        assert!(checked == m * n && shows * 5 > checked, "{sizes}: the order hardly shows ({shows} of {checked})");
    }
}

/// Against the same kernel without zeros, and against SUMMA, which is made for dense matrices.
#[test]
fn at_90_percent_zeros_it_takes_less_than_a_third_of_the_dense_products() {
    for sizes in ["p=4 q=4 m=128 k=128 n=32", "p=4 q=4 m=160 k=160 n=16"] {
        let sparse = run("sparse_gemm", &format!("{sizes} zeros=90")).0.cycles;
        let full = run("sparse_gemm", &format!("{sizes} zeros=0")).0.cycles;
        let summa = run("gemm", &format!("{sizes} algorithm=summa")).0.cycles;
        println!("{sizes}: sparse {sparse}, without zeros {full}, summa {summa} cycles");
        assert!(3 * sparse < full && 3 * sparse < summa, "{sizes}: {sparse}, {full}, {summa}");
    }
}

#[test]
fn what_has_no_room_for_an_instruction_each_is_kept_in_a_table() {
    for (settings, form) in [("", "unrolled"), ("p=2 q=2 m=160 k=160 n=16 zeros=70", "table")] {
        let (run, instance) = run("sparse_gemm", settings);
        assert_eq!((instance.algorithm.as_str(), run.leftover_wavelets), (form, 0), "{settings}");
        assert_eq!(verify(&instance.program).to_string(), "", "{settings}");
        assert_eq!(text::parse(&text::print(&instance.program)).unwrap(), instance.program, "{settings}");
    }
}

#[test]
fn what_it_cannot_do_is_refused_by_name() {
    let cases = [
        ("p=751", "change `p`"),
        ("q=995", "change `q`"),
        ("m=2000", "change `m`"),
        ("k=2000", "change `k`"),
        ("n=1000", "change `n`"),
        ("n=1048576 m=1048576 k=1048576 p=1", "change `m`"),
        ("zeros=101", "`zeros` cannot be 101"),
        ("p=700 q=900 m=1000000 k=1000000 n=1 zeros=100", "`m` cannot be 1000000"),
    ];
    for (settings, expected) in cases {
        let error = instance("sparse_gemm", settings).unwrap_err().to_string();
        assert!(error.contains(expected), "{settings}: {error}");
    }
}
