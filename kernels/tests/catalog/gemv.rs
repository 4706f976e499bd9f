//! Products of a matrix and a vector: the algorithms against each other, and the sparse ones against the dense.

use super::run;

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
fn sparse_share(program: &waferloom_fabric::Program) -> f64 {
    let values = program.constants.iter().find(|c| c.name == "values").unwrap();
    let waferloom_fabric::Payload::Inline(bytes) = &values.payload else { panic!("inline") };
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
