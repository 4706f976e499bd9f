//! Gather, convolution, pooling and attention: results on grids of every kind, what they rely on, refusals.

use super::{instance, run};

fn everywhere(kernel: &str, settings: &[&str], grids: &[&str]) {
    for grid in grids {
        for settings in settings {
            for dtype in ["f32", "f16"] {
                run(kernel, &format!("{grid} {settings} dtype={dtype}"));
            }
        }
    }
}

const GRIDS: [&str; 5] = ["p=1 rows=1", "p=3 rows=1", "p=1 rows=4", "p=2 rows=2", "p=5 rows=3"];

#[test]
fn rows_of_a_table_are_chosen() {
    let shapes = [
        "words=1 width=1 tokens=1",
        "words=7 width=5 tokens=20",
        "words=40 width=9 tokens=6",
        // Parts of two or three rows; in 16 bits an odd row is no whole number of words.
        "words=40 width=9 tokens=6 part=60",
        "words=41 width=5 tokens=9 part=16 dtype=f16",
        "words=23 width=4 tokens=7 part=4",
    ];
    everywhere("gather", &shapes, &GRIDS);
}

#[test]
fn windows_are_pooled() {
    let shapes = [
        "channels=1 h=1 w=1 window=1",
        "channels=3 h=5 w=7 window=2",
        "channels=2 h=6 w=4 window=3 of=average",
        "channels=1 h=3 w=9 window=4 of=average",
    ];
    everywhere("pool", &shapes, &GRIDS);
}

#[test]
fn images_are_convolved_across_the_edges_of_blocks() {
    let shapes = ["h=12 w=15 kernel=1", "h=12 w=15 inputs=2 outputs=3", "h=9 w=20 inputs=1 outputs=1 kernel=5"];
    everywhere("conv2d", &shapes, &GRIDS);
    let lines = ["length=20 kernel=3", "length=31 inputs=3 outputs=2 kernel=7", "length=8 inputs=1 outputs=5 kernel=1"];
    everywhere("conv1d", &lines, &["p=1", "p=2", "p=4"]);
}

#[test]
fn heads_attend_to_all_tokens_or_to_those_before() {
    for grid in ["p=1 q=1", "p=4 q=1", "p=1 q=3", "p=3 q=2"] {
        for shape in ["heads=1 tokens=1 width=1", "heads=3 tokens=10 width=4", "heads=2 tokens=5 width=7"] {
            for causal in ["no", "yes"] {
                for dtype in ["f32", "f16"] {
                    run("attention", &format!("{grid} {shape} causal={causal} dtype={dtype}"));
                }
            }
        }
    }
}

#[test]
fn attention_keeps_no_full_matrix_of_scores() {
    // 2048 tokens on 128 PEs: a PE's rows of all scores would be 131072 bytes, more than its whole SRAM.
    let long = instance("attention", "p=128 q=1 heads=1 tokens=2048 width=16").unwrap();
    let class = &long.program.classes[0];
    assert!(class.data_bytes() < 16 * 1024, "{} bytes of data", class.data_bytes());
}

#[test]
fn what_these_kernels_cannot_do_is_refused_by_name() {
    let cases = [
        ("gather", "p=800", "change `p`"),
        ("gather", "words=5000 width=1000", "change `width`"),
        ("gather", "words=1048576 width=1048576 tokens=1048576", "change `width`"),
        ("pool", "window=65", "`window` cannot be 65"),
        ("pool", "rows=1000", "change `rows`"),
        ("pool", "channels=1000", "change `channels`"),
        ("pool", "channels=65535 h=65535 w=65535 window=64", "change `channels`"),
        ("conv1d", "kernel=4", "`kernel` cannot be 4"),
        ("conv1d", "p=128 kernel=5", "`p` cannot be 128"),
        ("conv1d", "p=1000", "change `p`"),
        ("conv2d", "inputs=1000", "change `inputs`"),
        ("conv2d", "inputs=65535 outputs=65535 h=65535 w=65535 kernel=255", "`inputs`"),
        ("conv2d", "rows=2000", "change `rows`"),
        ("attention", "tokens=1000", "change `tokens`"),
        ("attention", "width=65535 heads=65535 tokens=1048576", "change `tokens`"),
        ("attention", "tokens=600 width=1 heads=1", "`tokens`"),
        ("attention", "q=1000", "change `q`"),
        ("attention", "causal=maybe", "`causal` cannot be maybe"),
    ];
    for (name, settings, expected) in cases {
        let error = instance(name, settings).unwrap_err().to_string();
        assert!(error.contains(expected), "{name} {settings}: {error}");
    }
}
