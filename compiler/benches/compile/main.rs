//! How long a compilation takes: `cargo bench -p waferloom-compiler`. The figures are in docs/performance-log.md.

mod encoder;

use divan::Bencher;
use encoder::Encoder;
use waferloom_compiler::{Options, prepare};
use waferloom_fabric::{Dtype, Extent, Machine, to_bytes, verify};

fn main() {
    divan::main();
}

/// 50 million parameters in few wide layers, in f16 on 96x96 PEs: from the imported graph to the bytes of the program's file.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn wide_50m(bencher: Bencher) {
    let sizes = Encoder { words: 4096, layers: 2, width: 1536, heads: 24, inner: 4096, tokens: 128 };
    compile(bencher, sizes, (96, 96));
}

/// 53 million parameters in twelve layers of width 512, as Nucleotide Transformer v2 has them, with 512 tokens, in f16 on 128x128
/// PEs.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn deep_50m(bencher: Bencher) {
    let sizes = Encoder { words: 4107, layers: 12, width: 512, heads: 16, inner: 3072, tokens: 512 };
    compile(bencher, sizes, (128, 128));
}

fn compile(bencher: Bencher, sizes: Encoder, (width, height): (u16, u16)) {
    let graph = sizes.graph();
    let machine = Machine::builtin("wse2").expect("a built-in machine");
    let options = Options::new(machine, Extent { width, height }, Dtype::F16);
    bencher.bench_local(|| {
        let graph = prepare(&graph).unwrap_or_else(|e| panic!("{e}"));
        let (_, program) = waferloom_compiler::compile(&graph, &options).unwrap_or_else(|e| panic!("{e}"));
        assert!(!verify(&program).has_errors());
        to_bytes(&program).len()
    });
}
