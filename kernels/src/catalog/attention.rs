//! Attention on its own, by the kernel of [`crate::attention`].

use super::data::numbers;
use super::plane::Plane;
use super::settings::{FLOATS, float_type};
use super::{Instance, Kernel, KernelError, Parameter, Settings};
use crate::attention::{self, Attention, Memory};
use crate::cost;
use std::collections::BTreeMap;
use waferloom_fabric::{BufferKind, Distribution, Dtype, Extent, Machine, Split};

pub(super) const KERNEL: Kernel = Kernel {
    name: "attention",
    summary: "softmax(q k^T / sqrt(width)) v for each head, block by block with a running maximum and sum (T. Dao et al., \
              FlashAttention, 2022). Tokens are dealt to the columns of the grid, heads to its rows.",
    parameters: &[
        Parameter::integer("p", "4", (1, 65535), "PEs in a row, among which tokens are dealt").tunable(),
        Parameter::integer("q", "2", (1, 65535), "rows of PEs, among which heads are dealt").tunable(),
        Parameter::integer("heads", "4", (1, 65535), "heads"),
        Parameter::integer("tokens", "64", (1, 1 << 20), "tokens"),
        Parameter::integer("width", "16", (1, 65535), "elements of a query, a key and a value"),
        Parameter::choice("causal", "no", &["no", "yes"], "whether a token sees only itself and those before it"),
        Parameter::choice("dtype", "f32", FLOATS, "type of the elements; arithmetic is f32"),
    ],
    build,
};

fn build(settings: &Settings, machine: &Machine) -> Result<Instance, KernelError> {
    let dtype = float_type(settings.word("dtype"));
    let grid = Extent { width: settings.pes("p"), height: settings.pes("q") };
    let [heads, tokens, width] = ["heads", "tokens", "width"].map(|name| settings.integer(name));
    let causal = settings.word("causal") == "yes";
    let x = Split::even(1, tokens, grid.width.into());
    let dealt = Distribution {
        grid,
        shape: vec![heads, tokens, width],
        x: Some(x),
        y: Some(Split::even(0, heads, grid.height.into())),
    };
    let pairs = Distribution { shape: vec![heads, 2, tokens, width], x: Some(Split { dim: 2, ..x }), ..dealt.clone() };
    let square = Distribution { grid, shape: vec![x.block, x.block], x: None, y: None };
    let mut plane = Plane::new("attention", machine, grid, ["p", "q"], "tokens")?;
    let queries = plane.tile("queries", &dealt, dtype, BufferKind::Activation);
    plane.sketch.align(attention::KEYS_BANK);
    let keys_values = plane.tile("keys and values", &pairs, dtype, BufferKind::Activation);
    let result = plane.tile("result", &dealt, dtype, BufferKind::Activation);
    let mask_tile = causal.then(|| plane.tile("mask", &square, Dtype::F32, BufferKind::Weight));
    plane.check()?;
    if u64::from(x.block) * u64::from(x.block) * 4 > u64::from(machine.sram_bytes) {
        return Err(settings.refuse("tokens", "the scores of one block must fit a PE: give fewer, or more PEs by `p`"));
    }
    let local = dealt.tile();
    let shape = Attention { heads: local[0], block: local[1], tokens, width, causal, dtype };
    plane.sketch.align(attention::KEYS_BANK);
    let panel = plane.scratch("panel", shape.panel_bytes());
    plane.sketch.align(0);
    let scratch = plane.scratch("scratch", shape.scratch_bytes());
    let mask = mask_tile.map_or(0, |tile| tile.address);
    let (queries_at, keys_at) = (queries.address, keys_values.address);
    let memory = Memory { queries: queries_at, keys_values: keys_at, result: result.address, mask, panel, scratch };
    plane.check()?;
    attention::emit(&mut plane.code, &plane.mesh, &shape, &memory);

    let data = [14, 15, 16].map(|seed| numbers(dealt.elements(), seed));
    let both = data[1].chunks((tokens * width) as usize).zip(data[2].chunks((tokens * width) as usize));
    let both: Vec<f32> = both.flat_map(|(k, v)| k.iter().chain(v).copied()).collect();
    plane.fill("queries", &dealt, queries, &data[0]);
    plane.fill("keys and values", &pairs, keys_values, &both);
    if let Some(mask) = mask_tile {
        let at = |i: u32| if i % x.block <= i / x.block { 0.0 } else { f32::NEG_INFINITY };
        plane.fill("mask", &square, mask, &(0..x.block * x.block).map(at).collect::<Vec<_>>());
    }
    plane.result("result", &dealt, result);
    let turns = u64::from(tokens.div_ceil(x.block)) * u64::from(shape.heads);
    let products = 4 * u64::from(heads) * u64::from(tokens) * u64::from(tokens) * u64::from(width);
    Ok(Instance {
        estimate_cycles: plane.busy(&[]) + cost::turns_wait(machine, grid.width.into(), turns),
        expected: BTreeMap::from([("result".into(), reference(&data, tokens as usize, width as usize, causal))]),
        program: plane.finish("attention")?,
        inputs: BTreeMap::new(),
        algorithm: "running maximum and sum".into(),
        flops: if causal { products / 2 } else { products },
    })
}

/// The same in double precision, with all scores at once.
fn reference<'a>([q, k, v]: &'a [Vec<f32>; 3], tokens: usize, width: usize, causal: bool) -> Vec<f64> {
    let mut result = Vec::with_capacity(q.len());
    for (query, i) in q.chunks(width).zip(0..) {
        let (head, token) = (i / tokens * tokens, i % tokens);
        let seen = if causal { token + 1 } else { tokens };
        let row = |of: &'a [f32], j: usize| of[(head + j) * width..][..width].iter().map(|&x| f64::from(x));
        let score = |j: usize| {
            let products = row(k, j).zip(query).map(|(a, &b)| a * f64::from(b));
            products.sum::<f64>() / (width as f64).sqrt()
        };
        let scores: Vec<f64> = (0..seen).map(score).collect();
        let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|s| (s - most).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let mut mean = vec![0.0; width];
        for (j, weight) in weights.iter().enumerate() {
            for (m, value) in mean.iter_mut().zip(row(v, j)) {
                *m += weight / sum * value;
            }
        }
        result.extend(mean);
    }
    result
}
