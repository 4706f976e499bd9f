//! The matrix product: bit for bit in its stated order of accumulation, and where its cycles go.

use super::{instance, run};
use std::collections::BTreeMap;
use waferloom_fabric::{Dtype, HostData, Payload, Program};
use waferloom_simulator::{Options, PeCounters, Run, simulate};

/// A product whose numbers make every change of the order show.
struct Case {
    p: usize,
    q: usize,
    m: usize,
    n: usize,
    k: usize,
    algorithm: &'static str,
    transpose: &'static str,
    dtype: &'static str,
}

/// Places on the interleaved ring, in its order.
fn interleaved(p: usize) -> Vec<usize> {
    let order: Vec<usize> =
        (0..p).step_by(2).chain((0..p).skip(1).step_by(2).collect::<Vec<_>>().into_iter().rev()).collect();
    (0..p).map(|at| order.iter().position(|&x| x == at).unwrap()).collect()
}

impl Case {
    fn settings(&self) -> String {
        let Case { p, q, m, n, k, algorithm, transpose, dtype } = self;
        format!("p={p} q={q} m={m} n={n} k={k} algorithm={algorithm} transpose={transpose} dtype={dtype}")
    }

    /// The inner block with which the PE in row `y` and column `x` starts.
    fn first_block(&self, y: usize, x: usize) -> usize {
        match self.algorithm {
            "summa" => 0,
            "cannon" => (y + x) % self.p,
            _ => {
                let ring = interleaved(self.p);
                (ring[y] + ring[x]) % self.p
            }
        }
    }

    /// An operand as a dense row-major matrix, gathered from the tiles of the program.
    fn matrix(&self, program: &Program, name: &str) -> Vec<f32> {
        let (rows, columns, depth) = (self.m.div_ceil(self.q), self.n.div_ceil(self.p), self.k.div_ceil(self.p));
        let constant = program.constants.iter().find(|c| c.name == name).unwrap();
        let tile = constant.distribution.shape[2] as usize;
        let values = decode(constant.dtype, &constant.payload);
        let (is_a, lines) = if name == "a" { (true, rows) } else { (false, columns) };
        let packed = if is_a { self.transpose != "a" } else { self.transpose == "b" };
        let slots = if is_a || self.algorithm != "summa" { 1 } else { self.k.div_ceil(depth).div_ceil(self.q) };
        let slot_tile = tile / slots;
        let size = if is_a { self.m * self.k } else { self.k * self.n };
        let mut matrix = vec![f32::NAN; size];
        for (y, x, slot) in (0..self.q).flat_map(|y| (0..self.p).flat_map(move |x| (0..slots).map(move |s| (y, x, s))))
        {
            let block = match (self.algorithm, is_a) {
                ("summa", true) => x,
                ("summa", false) => slot * self.q + y,
                _ => self.first_block(y, x),
            };
            for (line, inner) in (0..lines).flat_map(|l| (0..depth).map(move |i| (l, i))) {
                let at = if packed { line * (slot_tile / lines) + inner } else { inner * lines + line };
                let value = values[(y * self.p + x) * tile + slot * slot_tile + at];
                let inner = block * depth + inner;
                let (row, column, width) =
                    if is_a { (y * rows + line, inner, self.k) } else { (inner, x * columns + line, self.n) };
                if column < width && row * width + column < size {
                    matrix[row * width + column] = value;
                } else {
                    assert_eq!(value, 0.0, "padding of {name}");
                }
            }
        }
        assert!(matrix.iter().all(|v| !v.is_nan()), "{name} is not laid out in full");
        matrix
    }

    /// One element of C by fused multiply-adds: the blocks from `first` on and around, ascending within a block.
    fn element(&self, a: &[f32], b: &[f32], (i, j): (usize, usize), first: usize) -> f32 {
        let depth = self.k.div_ceil(self.p);
        let inner = (0..self.p).flat_map(|step| {
            let start = (first + step) % self.p * depth;
            start..(start + depth).min(self.k)
        });
        inner.fold(0.0, |sum, p| a[i * self.k + p].mul_add(b[p * self.n + j], sum))
    }

    /// Runs it with rough numbers and compares all of C.
    fn check(&self) -> Run {
        let settings = self.settings();
        let mut program = instance("gemm", &settings).unwrap().program;
        roughen(&mut program);
        let run = simulate(&program, &BTreeMap::default(), &Options::default()).unwrap();
        let (a, b) = (self.matrix(&program, "a"), self.matrix(&program, "b"));
        let HostData::F32(c) = &run.outputs["c"].data else { panic!("c is float") };
        let (rows, columns) = (self.m.div_ceil(self.q), self.n.div_ceil(self.p));
        let (mut shows, mut moved) = (0, 0);
        for (i, j) in (0..self.m).flat_map(|i| (0..self.n).map(move |j| (i, j))) {
            let first = self.first_block(i / rows, j / columns);
            let (found, expected) = (c[i * self.n + j], self.element(&a, &b, (i, j), first));
            assert_eq!(found.to_bits(), expected.to_bits(), "{settings} c[{i}][{j}]: {found} is not {expected}");
            moved += usize::from(first > 0);
            shows += usize::from(first > 0 && self.element(&a, &b, (i, j), 0).to_bits() != expected.to_bits());
        }
        assert!(moved == 0 || shows * 5 > moved, "{settings}: the order hardly shows ({shows} of {moved})");
        run
    }
}

pub(super) fn decode(dtype: Dtype, payload: &Payload) -> Vec<f32> {
    let Payload::Inline(bytes) = payload else { panic!("inline") };
    match dtype {
        Dtype::F16 | Dtype::Bf16 | Dtype::Cb16 => {
            bytes.chunks(2).filter_map(|b| dtype.widen(u32::from(u16::from_le_bytes([b[0], b[1]])))).collect()
        }
        _ => bytes.chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
    }
}

/// Gives the operands full mantissas, so that sums round; what is zero stays zero.
pub(super) fn roughen(program: &mut Program) {
    for constant in &mut program.constants {
        let values = decode(constant.dtype, &constant.payload).into_iter().enumerate();
        let rough = values.map(|(i, v)| v * (1.0 + (i as f32 * 0.618).sin() / 3.0));
        constant.payload = Payload::Inline(match constant.dtype {
            dtype @ (Dtype::F16 | Dtype::Bf16 | Dtype::Cb16) => {
                rough.filter_map(|v| dtype.narrow(v)).flat_map(|bits| (bits as u16).to_le_bytes()).collect()
            }
            _ => rough.flat_map(f32::to_le_bytes).collect(),
        });
    }
}

#[test]
fn every_algorithm_gives_the_bits_of_its_order() {
    let sizes = [(1, 1, 5, 6, 7), (2, 2, 8, 6, 10), (3, 3, 12, 15, 9), (5, 5, 11, 12, 23), (6, 6, 30, 30, 30)];
    for (p, q, m, n, k) in sizes {
        for algorithm in ["summa", "cannon", "mesh-gemm"] {
            for transpose in ["none", "a", "b"] {
                for dtype in ["f32", "f16"] {
                    Case { p, q, m, n, k, algorithm, transpose, dtype }.check();
                }
            }
        }
    }
    for (p, q, m, n, k) in [(4, 2, 9, 10, 30), (2, 5, 9, 10, 13), (1, 3, 7, 4, 9), (3, 1, 7, 8, 20), (7, 3, 5, 9, 25)] {
        for transpose in ["none", "a", "b"] {
            Case { p, q, m, n, k, algorithm: "summa", transpose, dtype: "f32" }.check();
        }
    }
}

/// Tiles of 14 x 14: where the cycles go, and how many of them make a product.
fn busy_with_products(p: usize) {
    for (algorithm, least) in [("summa", 0.80), ("cannon", 0.73), ("mesh-gemm", 0.73)] {
        let size = p * 14;
        let case = Case { p, q: p, m: size, n: size, k: size, algorithm, transpose: "none", dtype: "f32" };
        let run = case.check();
        let products = 14u64.pow(3) * p as u64;
        for pe in &run.pes {
            let parts = [pe.busy, pe.fabric_in, pe.fabric_out, pe.memory, pe.idle];
            assert_eq!(parts.iter().sum::<u64>(), run.cycles, "{algorithm}: {pe:?}");
            // Waits for memory: one cycle an element of C and step, for the third operand; banks never collide.
            assert_eq!(pe.memory, 14 * 14 * p as u64, "{algorithm}: {pe:?}");
            assert!(pe.busy >= products, "{algorithm}: {pe:?}");
        }
        let mean = |part: fn(&PeCounters) -> u64| {
            run.pes.iter().map(part).sum::<u64>() as f64 / run.pes.len() as f64 / run.cycles as f64
        };
        let rate = products as f64 / run.cycles as f64;
        println!(
            "{algorithm}: {} cycles, {rate:.3} products a cycle; busy {:.3}, fabric {:.3}, memory {:.3}, idle {:.3}",
            run.cycles,
            mean(|pe| pe.busy),
            mean(|pe| pe.fabric_in + pe.fabric_out),
            mean(|pe| pe.memory),
            mean(|pe| pe.idle),
        );
        assert!(rate > least, "{algorithm}: {rate} products a cycle");
    }
}

#[test]
fn a_mesh_is_busy_with_products() {
    busy_with_products(8);
}

#[test]
fn a_large_mesh_is_busy_with_products() {
    busy_with_products(32);
}

#[test]
fn auto_takes_what_is_fastest() {
    for sizes in ["p=4 m=8 n=8 k=8", "p=4 m=56 n=56 k=56", "p=8 m=16 n=16 k=16", "p=6 m=6 n=6 k=120", "p=5 q=3"] {
        let cycles = |algorithm: &str| {
            instance("gemm", &format!("{sizes} algorithm={algorithm}"))
                .ok()
                .map(|_| run("gemm", &format!("{sizes} algorithm={algorithm}")).0.cycles)
        };
        let best = ["summa", "cannon", "mesh-gemm"].into_iter().filter_map(cycles).min().unwrap();
        let auto = cycles("auto").unwrap();
        assert!(auto as f64 <= 1.05 * best as f64, "{sizes}: auto takes {auto} cycles, the best {best}");
    }
}
