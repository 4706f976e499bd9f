//! Element-wise operations and elementary functions.

use crate::rig::{GRIDS, Rig, assert_same, floats, layout, numbers, stored};
use half::f16;
use waferloom_fabric::{Dtype, VectorOp};
use waferloom_kernels::elementwise::{self, DIVIDE_VECTORS, Source};
use waferloom_kernels::functions::{self, Function};

const LINE: (u16, u16) = (16, 1);

/// `f` of every value, from a type, as f32.
fn mapped(function: Function, values: &[f32], dtype: Dtype, result: Dtype) -> Vec<f32> {
    let mut rig = Rig::new(LINE);
    let shape = [values.len() as u32];
    let from = layout(LINE, &shape, Dtype::F16);
    let source = rig.constant(&from, dtype, values);
    let target = rig.tile(&from, result);
    let bytes = functions::map_scratch_bytes(source.elements, function.scratch_vectors() + 1);
    let scratch = rig.reserve(bytes);
    functions::map(&mut rig.code, function, target, source, scratch);
    rig.output("f", &from, target);
    floats(&rig.run(), "f")
}

/// Every sign, exponent and some mantissas, 0, infinities, NaN; then values of everyday size.
fn samples() -> Vec<f32> {
    let mut values = vec![0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1.0, -1.0];
    let mantissas = numbers(20, 256 * 8, Dtype::F32);
    for exponent in 0..=254u32 {
        for (i, m) in mantissas[exponent as usize * 8..][..8].iter().enumerate() {
            let mantissa = if i < 2 { i as u32 * 0x7F_FFFF } else { m.to_bits() & 0x7F_FFFF };
            let bits = exponent << 23 | mantissa;
            values.extend([f32::from_bits(bits), -f32::from_bits(bits)]);
        }
    }
    values.extend(numbers(21, 4000, Dtype::F32).iter().map(|x| x * 100.0));
    values.extend(numbers(22, 4000, Dtype::F32).iter().map(|x| x * 5.0));
    values
}

/// All finite and infinite numbers of 16 bits, and a NaN.
fn halves() -> Vec<f32> {
    (0..=u16::MAX).map(|bits| f16::from_bits(bits).to_f32()).collect()
}

/// Distance in units of the last place of the expected f32.
fn ulps(got: f32, expected: f64) -> f64 {
    let near = (expected as f32).abs().max(f32::MIN_POSITIVE);
    let unit = f64::from(near) - f64::from(f32::from_bits(near.to_bits() - 1));
    (f64::from(got) - expected).abs() / unit
}

/// How far a result may be from the exact one.
#[derive(Clone, Copy)]
enum Bound {
    Ulps(f64),
    Absolute(f64),
}

/// Holds a function against f64 over `values`; `in_domain` says where the table of `functions` makes a promise.
fn check(function: Function, exact: fn(f64) -> f64, bound: Bound, in_domain: fn(f32) -> bool) {
    for (values, dtype) in [(samples(), Dtype::F32), (halves(), Dtype::F16)] {
        let got = mapped(function, &values, dtype, Dtype::F32);
        let mut worst = (0.0, 0.0f32, 0.0f32);
        for (&x, &y) in values.iter().zip(&got).filter(|(x, _)| x.is_nan() || in_domain(**x)) {
            let expected = exact(f64::from(x));
            let what = format!("{function:?}({x:e}) is {y:e}, not {expected:e}");
            // In f32 the exact value may be out of range.
            if (expected as f32).is_nan() || (expected as f32).is_infinite() {
                assert!(y == expected as f32 || y.is_nan() && expected.is_nan(), "{what}");
                continue;
            }
            let error = match bound {
                Bound::Ulps(_) => ulps(y, expected),
                Bound::Absolute(_) => (f64::from(y) - expected).abs(),
            };
            assert!(!error.is_nan(), "{what}");
            if error > worst.0 {
                worst = (error, x, y);
            }
        }
        let (Bound::Ulps(limit) | Bound::Absolute(limit)) = bound;
        let (error, x, y) = worst;
        println!("{function:?} in {dtype:?}: {error:.3e} at {x:e}");
        assert!(error <= limit, "{function:?}({x:e}) is {y:e}: off by {error:.3e}, more than {limit}");
    }
}

fn zero_or_normal(x: f32) -> bool {
    x == 0.0 || x.abs() >= f32::MIN_POSITIVE
}

fn anywhere(_: f32) -> bool {
    true
}

#[test]
fn exp() {
    // Results below the smallest normal number are 0: off by at most 2^23 units of it, so they are looked at apart.
    check(Function::Exp, libm::exp, Bound::Ulps(2.0), |x| x >= -86.9);
    check(Function::Exp, libm::exp, Bound::Absolute(f64::from(f32::MIN_POSITIVE) * 2.0), |x| x < -86.9);
    let zeros = mapped(Function::Exp, &[f32::NEG_INFINITY, -1e30, -104.0, -90.0], Dtype::F32, Dtype::F32);
    assert_same(&zeros, &[0.0; 4], "exp of what is far below 0");
}

#[test]
fn reciprocal() {
    check(
        Function::Reciprocal,
        |x| 1.0 / x.abs() * if x < 0.0 { -1.0 } else { 1.0 },
        Bound::Ulps(2.0),
        |x| x == 0.0 || (f32::MIN_POSITIVE..=8e37).contains(&x.abs()),
    );
    check(Function::Reciprocal, |x| 1.0 / x, Bound::Absolute(1.3e-38), |x| x.abs() > 8e37);
}

#[test]
fn roots() {
    check(
        Function::Rsqrt,
        |x| 1.0 / if x == 0.0 { 0.0 } else { x.sqrt() },
        Bound::Ulps(3.0),
        |x| x < f32::INFINITY && zero_or_normal(x),
    );
    check(Function::Rsqrt, |x| 1.0 / x.sqrt(), Bound::Absolute(6e-20), |x| x == f32::INFINITY);
    check(Function::Sqrt, f64::sqrt, Bound::Ulps(3.0), zero_or_normal);
}

#[test]
fn erf_and_tanh() {
    check(Function::Erf, libm::erf, Bound::Absolute(1e-6), anywhere);
    check(Function::Tanh, libm::tanh, Bound::Absolute(1e-6), anywhere);
}

#[test]
fn sigmoid_and_silu() {
    let sigmoid = |x: f64| 1.0 / (1.0 + libm::exp(-x));
    check(Function::Sigmoid, sigmoid, Bound::Absolute(3e-7), anywhere);
    check(Function::Silu, |x| x / (1.0 + libm::exp(-x)), Bound::Ulps(8.0), |x| x.abs() < 80.0);
    check(Function::Silu, |x| x / (1.0 + libm::exp(-x)), Bound::Absolute(1e-7), |x| (-1e30..-80.0).contains(&x));
    check(Function::Silu, |x| x, Bound::Ulps(1.0), |x| (80.0..1e38).contains(&x));
}

#[test]
fn gelu() {
    let exact = |x: f64| x * 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2);
    check(Function::Gelu, exact, Bound::Absolute(2e-6), |x| x.abs() < 6.0);
    check(Function::Gelu, exact, Bound::Ulps(2.0), |x| (6.0..1e38).contains(&x));
    check(Function::Gelu, exact, Bound::Absolute(4e-7), |x| (-1e38..-6.0).contains(&x));
}

#[test]
fn floor() {
    check(Function::Floor, libm::floor, Bound::Absolute(0.0), anywhere);
}

#[test]
fn round() {
    check(Function::Round, libm::rint, Bound::Absolute(0.0), anywhere);
}

#[test]
fn logarithm() {
    let normal = |x: f32| x == 0.0 || x <= -f32::MIN_POSITIVE || x >= f32::MIN_POSITIVE;
    // 0 of either sign gives -infinity.
    check(Function::Log, |x| libm::log(if x == 0.0 { 0.0 } else { x }), Bound::Ulps(1.0), normal);
}

#[test]
fn sines() {
    let in_range = |x: f32| x.abs() <= 1e5;
    check(Function::Sin, libm::sin, Bound::Absolute(1e-7), in_range);
    check(Function::Cos, libm::cos, Bound::Absolute(1e-7), in_range);
    check(Function::Sin, libm::sin, Bound::Ulps(1.0), |x| x.abs() < 0.75);
    for function in [Function::Sin, Function::Cos] {
        let far = mapped(function, &[1.1e5, -1e30, f32::INFINITY, f32::NEG_INFINITY], Dtype::F32, Dtype::F32);
        assert!(far.iter().all(|y| y.is_nan()), "{function:?} beyond its range: {far:?}");
    }
}

#[test]
fn results_in_16_bits_are_rounded_once() {
    let values: Vec<f32> = halves().into_iter().filter(|x| x.abs() < 10.0).collect();
    let long = mapped(Function::Exp, &values, Dtype::F16, Dtype::F32);
    let short = mapped(Function::Exp, &values, Dtype::F16, Dtype::F16);
    let rounded: Vec<f32> = long.iter().map(|&y| stored(Dtype::F16, y)).collect();
    assert_same(&short, &rounded, "exp in f16");
}

/// `op` over tensors of one rank with numpy's broadcast, in the compiler's layout.
fn combined(grid: (u16, u16), dtype: Dtype, shapes: [&[u32]; 2], divide: bool) {
    let size = |i: usize| shapes[0][i].max(shapes[1][i]);
    let shape: Vec<u32> = (0..shapes[0].len()).map(size).collect();
    let mut rig = Rig::new(grid);
    let target = layout(grid, &shape, dtype);
    let mut data = Vec::new();
    let sources: Vec<Source> = shapes
        .iter()
        .enumerate()
        .map(|(i, shape)| {
            let distribution = layout(grid, shape, dtype);
            let mut values = numbers(30 + i as u64, distribution.elements(), dtype);
            if divide && i == 1 {
                for x in &mut values {
                    *x = stored(dtype, x.abs() + 0.125);
                }
            }
            let tile = rig.constant(&distribution, dtype, &values);
            data.push(values);
            Source::Tile { tile, shape: distribution.tile() }
        })
        .collect();
    let result = rig.tile(&target, dtype);
    let sizes = target.tile();
    if divide {
        let scratch = rig.reserve(functions::map_scratch_bytes(result.elements, DIVIDE_VECTORS));
        let spread = rig.reserve(result.elements * 8);
        elementwise::divide(&mut rig.code, result, &sizes, [&sources[0], &sources[1]], scratch, spread);
    } else {
        elementwise::emit(&mut rig.code, VectorOp::Sub, result, &sizes, &sources);
    }
    rig.output("d", &target, result);
    let got = floats(&rig.run(), "d");
    let count: u32 = shape.iter().product();
    let expected: Vec<f32> = (0..count)
        .map(|flat| {
            let at = |source: usize| {
                let (mut rest, mut index, mut stride) = (flat, 0, 1);
                for (&size, &own) in shape.iter().zip(shapes[source]).rev() {
                    index += if own == 1 { 0 } else { rest % size * stride };
                    stride *= own;
                    rest /= size;
                }
                data[source][index as usize]
            };
            stored(dtype, if divide { at(0) / at(1) } else { at(0) - at(1) })
        })
        .collect();
    let what = format!("{shapes:?} on {grid:?} in {dtype:?}");
    if !divide {
        return assert_same(&got, &expected, &what);
    }
    for (g, e) in got.iter().zip(&expected) {
        assert!((g - e).abs() <= e.abs() * if dtype == Dtype::F16 { 1e-3 } else { 1.2e-7 }, "{what}: {g}, not {e}");
    }
}

#[test]
fn broadcasts() {
    let shapes: [[&[u32]; 2]; 9] = [
        [&[6, 9], &[6, 9]],
        [&[6, 9], &[1, 9]],
        [&[6, 9], &[6, 1]],
        [&[1, 9], &[6, 1]],
        [&[6, 9], &[1, 1]],
        [&[2, 3, 4, 5], &[1, 3, 1, 5]],
        [&[2, 1, 4, 1], &[1, 3, 1, 5]],
        // More dimensions than a descriptor has.
        [&[2, 1, 3, 1, 4, 5], &[1, 2, 1, 3, 4, 1]],
        [&[2, 2, 2, 2, 2, 2, 6], &[1, 2, 1, 2, 1, 2, 1]],
    ];
    for grid in GRIDS {
        for dtype in [Dtype::F32, Dtype::F16] {
            for pair in shapes {
                combined(grid, dtype, pair, false);
                combined(grid, dtype, [pair[1], pair[0]], false);
                combined(grid, dtype, pair, true);
            }
        }
    }
}

/// `a / b` of two lists.
fn quotients(a: &[f32], b: &[f32]) -> Vec<f32> {
    let mut rig = Rig::new(LINE);
    let distribution = layout(LINE, &[a.len() as u32], Dtype::F32);
    let shape = distribution.tile();
    let mut source =
        |values| Source::Tile { tile: rig.constant(&distribution, Dtype::F32, values), shape: shape.clone() };
    let (a, b) = (source(a), source(b));
    let result = rig.tile(&distribution, Dtype::F32);
    let scratch = rig.reserve(functions::map_scratch_bytes(result.elements, DIVIDE_VECTORS));
    let spread = rig.reserve(result.elements * 8);
    elementwise::divide(&mut rig.code, result, &shape, [&a, &b], scratch, spread);
    rig.output("q", &distribution, result);
    floats(&rig.run(), "q")
}

#[test]
fn division_is_right_to_the_last_place() {
    let a: Vec<f32> = numbers(40, 8000, Dtype::F32).iter().map(|x| x * 1e3).collect();
    let b: Vec<f32> = numbers(41, 8000, Dtype::F32).iter().map(|x| if *x == 0.0 { 1.0 } else { x * 7.0 }).collect();
    let got = quotients(&a, &b);
    let mut wrong = 0;
    for ((&a, &b), &q) in a.iter().zip(&b).zip(&got) {
        assert!(ulps(q, f64::from(a) / f64::from(b)) < 1.0, "{a} / {b} is {q}");
        wrong += usize::from(q != a / b);
    }
    assert!(wrong <= 8, "{wrong} of 8000 are not rounded to nearest");
}

#[test]
fn division_at_the_ends_of_the_range() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let cases = [
        (1.0, 0.0, inf),
        (-1.0, 0.0, -inf),
        (0.0, 0.0, nan),
        (inf, 2.0, inf),
        (-inf, 8.0, -inf),
        (inf, 0.0, inf),
        (nan, 2.0, nan),
        (2.0, nan, nan),
        (1e38, 1e-3, inf),
        (-1e38, 1e-3, -inf),
        (0.0, 5.0, 0.0),
        (6.0, 3.0, 2.0),
        (1.0, 8e37, 1.25e-38),
    ];
    let (a, b): (Vec<f32>, Vec<f32>) = cases.iter().map(|&(a, b, _)| (a, b)).unzip();
    let expected: Vec<f32> = cases.iter().map(|c| c.2).collect();
    assert_same(&quotients(&a, &b), &expected, "quotients");
    // What is divided by infinity is as good as 0.
    assert!(quotients(&[1.0, -3.0], &[inf, -inf]).iter().all(|q| q.abs() < 1e-37));
}
