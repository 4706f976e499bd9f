//! How long a compilation takes: `cargo bench -p waferloom-compiler`. The figures are in docs/performance.md.

mod encoder;

use divan::Bencher;
use encoder::Encoder;
use waferloom_compiler::{Options, lower, plan, prepare};
use waferloom_fabric::{Dtype, Extent, Machine, to_bytes, verify};

fn main() {
    divan::main();
}

/// 50 million parameters in few wide layers, in f16 on 128x128 PEs: from the imported graph to the bytes of the program's file.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn wide_50m(bencher: Bencher) {
    let sizes = Encoder { words: 4096, layers: 2, width: 1536, heads: 24, inner: 4096, tokens: 512 };
    compile(bencher, sizes, (128, 128));
}

fn compile(bencher: Bencher, sizes: Encoder, (width, height): (u16, u16)) {
    let graph = sizes.graph();
    let machine = Machine::builtin("wse2").expect("a built-in machine");
    let options = Options::new(machine, Extent { width, height }, Dtype::F16);
    bencher.bench_local(|| {
        let graph = prepare(&graph).unwrap_or_else(|e| panic!("{e}"));
        let plan = plan(&graph, &options).unwrap_or_else(|e| panic!("{e}"));
        let program = lower(&graph, &plan).unwrap_or_else(|e| panic!("{e}"));
        assert!(!verify(&program).has_errors());
        to_bytes(&program).len()
    });
}
