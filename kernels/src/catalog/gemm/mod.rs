//! Matrix product C = A B on a rectangle of PEs: SUMMA, Cannon, mesh-gemm.
//!
//! Sources: R. van de Geijn and J. Watts, *SUMMA: Scalable Universal Matrix Multiplication Algorithm* (1997); L. E. Cannon,
//! *A cellular computer to implement the Kalman filter algorithm* (1969); C. He et al., *`WaferLLM`: Large Language Model
//! Inference at Wafer Scale* (2025, arXiv 2502.04563), whose `MeshGEMM` is the third.
//!
//! A PE holds one tile of each operand and of the result; what the tiles lack is zero. `transpose` says which operand lies
//! transposed. Numbers of `dtype` are multiplied, sums and the result are f32.
//!
//! Order of accumulation: an element of C is a sequence of fused multiply-adds in f32 from 0. SUMMA takes the inner index in
//! ascending order; the other two take the inner blocks from `(i + j) mod p` on, around the ring, where `i` and `j` are the
//! places of the PE's row and column on it, and ascend within a block.

mod local;
mod ring;
mod summa;

use super::data::{fits_host, numbers};
use super::sketch::Sketch;
use super::{Instance, Kernel, KernelError, Parameter, Settings};
use crate::catalog::settings::FLOATS;
use local::Shape;
use std::collections::BTreeMap;
use waferloom_fabric::{Coord, Distribution, Dtype, Extent, Machine, Split};

pub(super) const KERNEL: Kernel = Kernel {
    name: "gemm",
    summary: "C = A B, with A of m x k and B of k x n dealt to a rectangle of PEs in tiles. SUMMA (van de Geijn and Watts \
              1997), Cannon (1969), mesh-gemm (He et al., WaferLLM 2025).",
    parameters: &[
        Parameter::integer("p", "4", (1, 65535), "columns of PEs").tunable(),
        Parameter::integer("q", "0", (0, 65535), "rows of PEs; 0 is as many as columns, others are for summa")
            .tunable(),
        Parameter::integer("m", "56", (1, 1 << 20), "rows of A and C"),
        Parameter::integer("n", "56", (1, 1 << 20), "columns of B and C"),
        Parameter::integer("k", "56", (1, 1 << 20), "columns of A, rows of B"),
        Parameter::choice(
            "algorithm",
            "auto",
            &["auto", "summa", "cannon", "mesh-gemm"],
            "how the tiles meet; auto takes the least by estimate",
        )
        .tunable(),
        Parameter::choice("transpose", "none", &["none", "a", "b"], "the operand that lies transposed in SRAM"),
        Parameter::choice("dtype", "f32", FLOATS, "type of A and B; sums are f32"),
    ],
    build,
};

/// How the tiles meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Summa,
    Ring(ring::Ring),
}

const CANNON: Algorithm = Algorithm::Ring(ring::Ring::Torus);
const MESH_GEMM: Algorithm = Algorithm::Ring(ring::Ring::Interleaved);

fn build(settings: &Settings, machine: &Machine) -> Result<Instance, KernelError> {
    let shape = Shape::new(settings);
    let mut sketch =
        Sketch::new("gemm", machine, shape.grid, ["p", if settings.integer("q") == 0 { "p" } else { "q" }])?;
    let algorithm = choose(settings, machine, &shape)?;
    let [m, n, k] = [shape.m, shape.n, shape.k].map(u64::from);
    fits_host(settings, shape.largest(), (m * k).max(k * n).max(m * n))?;
    let [a, b] = [(shape.m, shape.k, 3), (shape.k, shape.n, 4)]
        .map(|(rows, columns, seed)| numbers(rows as usize * columns as usize, seed));
    let c = match algorithm {
        Algorithm::Summa => summa::emit(&mut sketch, &shape, &a, &b),
        Algorithm::Ring(ring) => ring::emit(&mut sketch, &shape, ring, &a, &b),
    };
    let result = Distribution {
        grid: shape.grid,
        shape: vec![shape.m, shape.n],
        x: Some(Split { dim: 1, block: shape.columns }),
        y: Some(Split { dim: 0, block: shape.rows }),
    };
    sketch.result("c", Dtype::F32, result, Coord { x: 0, y: 0 }, c);
    let expected = settings.wants_reference().then(|| ("c".to_string(), product(&shape, &a, &b)));
    Ok(Instance {
        program: sketch.finish(shape.largest())?,
        inputs: BTreeMap::new(),
        expected: expected.into_iter().collect(),
        algorithm: name(algorithm).into(),
        estimate_cycles: estimate(machine, &shape, algorithm),
        flops: 2 * u64::from(shape.m) * u64::from(shape.n) * u64::from(shape.k),
    })
}

fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Summa => "summa",
        CANNON => "cannon",
        MESH_GEMM => "mesh-gemm",
    }
}

/// The algorithm that is set; `auto` takes the feasible one with the least estimate.
fn choose(settings: &Settings, machine: &Machine, shape: &Shape) -> Result<Algorithm, KernelError> {
    let Extent { width, height } = shape.grid;
    let feasible = |algorithm| match algorithm {
        Algorithm::Ring(_) if width != height => {
            let must = format!("{} needs as many rows as columns: give q = p = {width}, or 0", name(algorithm));
            Err(settings.refuse("q", must))
        }
        Algorithm::Ring(_) if machine.microthreads < ring::MICROTHREADS => Err(KernelError::TooLarge {
            what: name(algorithm).into(),
            needed: ring::MICROTHREADS.into(),
            unit: "microthreads",
            machine: machine.name.clone(),
            available: machine.microthreads.into(),
            change: "algorithm",
        }),
        _ => shape.fits(machine, name(algorithm), algorithm == Algorithm::Summa).map(|()| algorithm),
    };
    match settings.word("algorithm") {
        "summa" => feasible(Algorithm::Summa),
        "cannon" => feasible(CANNON),
        "mesh-gemm" => feasible(MESH_GEMM),
        _ => {
            let candidates = [Algorithm::Summa, MESH_GEMM, CANNON].map(feasible);
            let best = candidates.iter().flatten().min_by_key(|&&a| estimate(machine, shape, a)).copied();
            best.map_or_else(|| feasible(Algorithm::Summa), Ok)
        }
    }
}

fn estimate(machine: &Machine, shape: &Shape, algorithm: Algorithm) -> u64 {
    match algorithm {
        Algorithm::Summa => summa::estimate(machine, shape),
        Algorithm::Ring(_) => ring::estimate(machine, shape),
    }
}

/// The product in double precision.
fn product(shape: &Shape, a: &[f32], b: &[f32]) -> Vec<f64> {
    let (k, n) = (shape.k as usize, shape.n as usize);
    let mut c = vec![0f64; shape.m as usize * n];
    for (row, sums) in a.chunks_exact(k).zip(c.chunks_exact_mut(n)) {
        for (&left, right) in row.iter().zip(b.chunks_exact(n)) {
            sums.iter_mut().zip(right).for_each(|(sum, &right)| *sum += f64::from(left) * f64::from(right));
        }
    }
    c
}
