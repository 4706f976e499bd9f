//! Products of a matrix and a vector: the algorithms against each other, and the sparse ones against the dense.

use super::gemm::{decode, roughen};
use super::{instance, run};
use std::collections::BTreeMap;
use waferloom_fabric::{Distribution, HostData, Machine, Payload, Program, text, verify};
use waferloom_kernels::catalog::find;
use waferloom_simulator::{Options, simulate};

#[test]
fn auto_takes_the_faster_sums() {
    for sizes in ["p=3 q=2", "p=8 q=8 m=64", "p=32 q=2 m=8 k=64", "p=50 q=1 m=100 k=100", "p=64 q=4 m=16 k=128"] {
        let cycles = |algorithm: &str| run("gemv", &format!("{sizes} algorithm={algorithm}")).0.cycles;
        let best = cycles("chain").min(cycles("tree"));
        let auto = cycles("auto");
        assert!(auto as f64 <= 1.05 * best as f64, "{sizes}: auto takes {auto} cycles, the best {best}");
    }
}

#[test]
fn a_tree_beats_a_chain_on_a_long_row_of_short_sums() {
    let cycles = |algorithm: &str| run("gemv", &format!("p=64 q=2 m=8 k=256 algorithm={algorithm}")).0.cycles;
    let (chain, tree) = (cycles("chain"), cycles("tree"));
    assert!(2 * tree < chain, "tree {tree} cycles, chain {chain}");
}

#[test]
fn at_90_percent_zeros_sparse_is_five_times_faster() {
    for sizes in ["p=8 q=8 m=768 k=768", "p=4 q=4 m=416 k=416"] {
        let dense = run("gemv", sizes).0.cycles;
        let (sparse, instance) = run("sparse_gemv", &format!("{sizes} zeros=90"));
        let flops = sparse_share(&instance.program);
        println!("{sizes}: dense {dense}, sparse {} cycles: {:.2}", sparse.cycles, dense as f64 / sparse.cycles as f64);
        assert!((0.09..0.11).contains(&flops), "{flops} of the matrix is not zero");
        assert!(dense >= 5 * sparse.cycles, "{sizes}: dense {dense} cycles, sparse {}", sparse.cycles);
    }
}

/// The part of the matrix that is not zero, as it lies in SRAM.
fn sparse_share(program: &Program) -> f64 {
    let values = program.constants.iter().find(|c| c.name == "values").unwrap();
    let Payload::Inline(bytes) = &values.payload else { panic!("inline") };
    let x = program.constants.iter().find(|c| c.name == "x").unwrap();
    let y = &program.readbacks[0];
    let filled = bytes.chunks(4).filter(|b| b.iter().any(|&b| b != 0)).count();
    filled as f64 / (x.distribution.elements() * y.distribution.elements()) as f64
}

#[test]
fn no_wavelet_is_left_over() {
    for (kernel, settings) in
        [("gemv", "algorithm=tree"), ("gemv", "algorithm=chain"), ("sparse_gemv", ""), ("gemm", "")]
    {
        assert_eq!(run(kernel, settings).0.leftover_wavelets, 0, "{kernel} {settings}");
    }
}

/// A constant, gathered from the PEs' tiles, with the given PE's part of it.
fn tile(program: &Program, name: &str, x: u16, y: u16) -> Vec<f32> {
    let constant = program.constants.iter().find(|c| c.name == name).unwrap();
    let values = decode(constant.dtype, &constant.payload);
    let place: &Distribution = &constant.distribution;
    place.tile_indices(x, y).into_iter().map(|index| index.map_or(0.0, |i| values[i])).collect()
}

/// What the row of PEs `py` gives for its row `i`: the sums of each PE, then from the east to the west in each group, and
/// over the groups.
fn element(program: &Program, (p, group): (u16, u16), py: u16, i: usize) -> f32 {
    let part = |px: u16| {
        let (a, x) = (tile(program, "a", px, py), tile(program, "x", px, 0));
        let pitch = program.constants[0].distribution.shape[2] as usize;
        x.iter().enumerate().fold(0f32, |sum, (j, &x)| a[i * pitch + j].mul_add(x, sum))
    };
    let east_to_west = |parts: Vec<f32>| parts.into_iter().rev().reduce(|from_east, own| from_east + own).unwrap();
    let heads = (0..p).step_by(group.into());
    east_to_west(heads.map(|head| east_to_west((head..p.min(head + group)).map(part).collect())).collect())
}

#[test]
fn the_bits_are_those_of_the_stated_order() {
    // With 7 columns the tree has groups of 3, 3 and 1, or of 2, 2, 2 and 1: whichever, the chain adds in another order.
    let mut differ = 0;
    for (algorithm, groups) in [("chain", vec![7]), ("tree", vec![2, 3, 4])] {
        let mut program = instance("gemv", &format!("p=7 q=2 m=12 k=90 algorithm={algorithm}")).unwrap().program;
        roughen(&mut program);
        let run = simulate(&program, &BTreeMap::default(), &Options::default()).unwrap();
        let HostData::F32(found) = &run.outputs["y"].data else { panic!("y is float") };
        let expected = |group: u16| -> Vec<u32> {
            (0..12).map(|i| element(&program, (7, group), (i / 6) as u16, i % 6).to_bits()).collect()
        };
        let found: Vec<u32> = found.iter().map(|v| v.to_bits()).collect();
        assert!(groups.iter().any(|&group| expected(group) == found), "{algorithm}");
        differ += usize::from(algorithm == "tree" && expected(7) != found);
    }
    assert_eq!(differ, 1, "the order does not show");
}

/// Two lanes in f32, four in mixed precision.
#[test]
fn products_and_estimates_hold_on_the_third_engine() {
    let cases = [
        ("gemm", "p=4 algorithm=summa"),
        ("gemm", "p=5 m=61 n=50 k=63 algorithm=cannon"),
        ("gemm", "p=5 m=61 n=50 k=63 algorithm=mesh-gemm dtype=f16"),
        ("gemv", "p=8 q=3 dtype=f16"),
        ("gemv", "p=30 q=3 m=99"),
        ("sparse_gemv", ""),
        ("sparse_gemv", "p=4 q=4 m=400 k=400"),
    ];
    for (kernel, sizes) in cases {
        let settings: Vec<(String, String)> =
            sizes.split_whitespace().filter_map(|s| s.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect();
        let instance = find(kernel).unwrap().instance(&settings, &Machine::builtin("wse3").unwrap()).unwrap();
        let run = simulate(&instance.program, &instance.inputs, &Options::default()).unwrap();
        let (name, expected) = instance.expected.first_key_value().unwrap();
        let HostData::F32(found) = &run.outputs[name].data else { panic!("{kernel} is not float") };
        let near = |(&a, &b): (&f32, &f64)| (f64::from(a) - b).abs() <= 1e-5 + 1e-5 * b.abs();
        assert!(found.len() == expected.len() && found.iter().zip(expected).all(near), "{kernel} {sizes}");
        let ratio = instance.estimate_cycles as f64 / run.cycles as f64;
        println!("wse3 {kernel} {sizes}: {} cycles, estimate ratio {ratio:.3}", run.cycles);
        assert!((0.85..=1.15).contains(&ratio), "{kernel} {sizes}: {} cycles, ratio {ratio}", run.cycles);
    }
}

#[test]
fn programs_read_back_and_give_no_warnings() {
    let cases = [
        ("gemm", "algorithm=summa"),
        ("gemm", "algorithm=cannon"),
        ("gemm", "p=5 algorithm=mesh-gemm"),
        ("gemv", "p=9 algorithm=chain"),
        ("gemv", "p=9 algorithm=tree"),
        ("gemv", "q=1"),
        ("gemv", "p=1"),
        ("sparse_gemv", ""),
        ("sparse_gemv", "p=1 q=1 m=20 k=20"),
    ];
    for (kernel, settings) in cases {
        let program = instance(kernel, settings).unwrap().program;
        assert_eq!(verify(&program).to_string(), "", "{kernel} {settings}");
        assert_eq!(text::parse(&text::print(&program)).unwrap(), program, "{kernel} {settings}");
    }
}
