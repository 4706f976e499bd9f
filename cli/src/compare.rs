//! Holds outputs against expected ones.

use crate::args::ToleranceArgs;
use crate::errors::Error;
use crate::inputs::{self, Tensors};
use std::path::Path;
use waferloom_models::{Tensor, TensorData};
use waferloom_simulator::report::OutputReport;

/// How two tensors of one shape differ.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Difference {
    /// Largest `|found - expected|`; none when one is not finite.
    pub(crate) max_abs: Option<f64>,
    /// Largest `|found - expected| / |expected|` over expected values other than 0; none when one is not finite.
    pub(crate) max_rel: Option<f64>,
    /// Elements beyond the tolerance.
    pub(crate) mismatches: u64,
    /// The element that is furthest beyond the tolerance: row-major index, found, expected.
    pub(crate) worst: Option<(usize, f64, f64)>,
}

/// Reads expected outputs and checks that they can be compared: the names and shapes of `outputs`, and no NaN.
pub(crate) fn read_expected(path: &Path, outputs: &[(String, Vec<usize>)]) -> Result<Tensors<Tensor>, Error> {
    let bad = |problem: String, help: &str| Err(Error::new(format!("{}: {problem}", path.display()), help));
    let expected = inputs::read(path)?;
    for (name, shape) in outputs {
        let Some(tensor) = expected.get(name) else {
            return bad(format!("the output `{name}` is missing"), "add it to the file: every output is compared");
        };
        if tensor.shape != *shape {
            return bad(
                format!("the output `{name}` has shape {:?}, the program gives {shape:?}", tensor.shape),
                "expect the outputs of the same inputs",
            );
        }
        if let TensorData::F32(values) = &tensor.data
            && let Some(at) = values.iter().position(|x| x.is_nan())
        {
            return bad(
                format!("the output `{name}` holds NaN at index {:?}", index(at, shape)),
                "nothing equals NaN: correct the file",
            );
        }
    }
    if let Some(name) = expected.keys().find(|name| outputs.iter().all(|(known, _)| known != *name)) {
        let known: Vec<&str> = outputs.iter().map(|(name, _)| name.as_str()).collect();
        return bad(
            format!("there is no output `{name}`; the outputs are {}", known.join(", ")),
            "rename the entry or leave it out",
        );
    }
    Ok(expected)
}

/// Compares element by element: equal when `|found - expected| <= atol + rtol * |expected|`.
pub(crate) fn compare(found: &Tensor, expected: &Tensor, tolerance: &ToleranceArgs) -> Difference {
    let (mut max_abs, mut max_rel, mut excess) = (0.0f64, 0.0f64, 0.0f64);
    let mut difference = Difference::default();
    for (at, (a, b)) in values(found).zip(values(expected)).enumerate() {
        // Equal infinities are equal, though their difference is NaN.
        let distance = if a == b { 0.0 } else { (a - b).abs() };
        max_abs = larger(max_abs, distance);
        if b != 0.0 && distance != 0.0 {
            max_rel = larger(max_rel, distance / b.abs());
        }
        let beyond = distance - (tolerance.atol + tolerance.rtol * b.abs());
        if beyond > 0.0 || beyond.is_nan() || distance.is_infinite() {
            difference.mismatches += 1;
            let beyond = if beyond.is_nan() { f64::INFINITY } else { beyond };
            if difference.worst.is_none() || beyond > excess {
                excess = beyond;
                difference.worst = Some((at, a, b));
            }
        }
    }
    difference.max_abs = Some(max_abs).filter(|x| x.is_finite());
    difference.max_rel = Some(max_rel).filter(|x| x.is_finite());
    difference
}

/// The larger number; once there is a NaN it stays, which `f64::max` would lose.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

fn values(tensor: &Tensor) -> Box<dyn Iterator<Item = f64> + '_> {
    match &tensor.data {
        TensorData::F32(values) => Box::new(values.iter().map(|&x| f64::from(x))),
        TensorData::I64(values) => Box::new(values.iter().map(|&x| x as f64)),
    }
}

/// Row-major index to one index a dimension.
pub(crate) fn index(mut at: usize, shape: &[usize]) -> Vec<usize> {
    let mut indices: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&size| {
            let here = at % size.max(1);
            at /= size.max(1);
            here
        })
        .collect();
    indices.reverse();
    indices
}

/// What the report says of each output.
pub(crate) fn reports(outputs: &Tensors<Tensor>, differences: &Tensors<Difference>) -> Vec<OutputReport> {
    let report = |(name, tensor): (&String, &Tensor)| {
        let difference = differences.get(name);
        OutputReport {
            name: name.clone(),
            shape: tensor.shape.clone(),
            max_abs_error: difference.and_then(|d| d.max_abs),
            max_rel_error: difference.and_then(|d| d.max_rel),
            mismatches: difference.map(|d| d.mismatches),
        }
    };
    outputs.iter().map(report).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32]) -> Tensor {
        Tensor { shape: vec![values.len()], data: TensorData::F32(values.to_vec()) }
    }

    const TOLERANCE: ToleranceArgs = ToleranceArgs { rtol: 0.25, atol: 0.5 };

    #[test]
    fn the_tolerance_grows_with_the_expected_value() {
        // 4 may be off by 0.5 + 0.25 * 4 = 1.5, and 0 by 0.5.
        let d = compare(&tensor(&[5.5, 0.5]), &tensor(&[4.0, 0.0]), &TOLERANCE);
        assert_eq!((d.max_abs, d.max_rel, d.mismatches, d.worst), (Some(1.5), Some(0.375), 0, None));
        let d = compare(&tensor(&[5.625, -1.0]), &tensor(&[4.0, 0.0]), &TOLERANCE);
        assert_eq!((d.mismatches, d.worst), (2, Some((1, -1.0, 0.0))));
    }

    #[test]
    fn what_is_not_finite_is_never_near() {
        let d = compare(&tensor(&[f32::NAN, 1.0]), &tensor(&[1.0, 1.0]), &TOLERANCE);
        assert_eq!((d.max_abs, d.mismatches), (None, 1));
        let d = compare(&tensor(&[1.0]), &tensor(&[f32::INFINITY]), &TOLERANCE);
        assert_eq!((d.max_abs, d.mismatches), (None, 1));
        let d = compare(&tensor(&[f32::INFINITY]), &tensor(&[f32::INFINITY]), &TOLERANCE);
        assert_eq!((d.max_abs, d.mismatches), (Some(0.0), 0));
        let d = compare(&tensor(&[f32::NAN, 9.0]), &tensor(&[1.0, 1.0]), &TOLERANCE);
        assert!(matches!(d.worst, Some((0, found, _)) if found.is_nan()) && d.max_abs.is_none());
    }

    #[test]
    fn indices_are_row_major() {
        assert_eq!(index(7, &[2, 3, 2]), [1, 0, 1]);
        assert_eq!(index(0, &[]), Vec::<usize>::new());
    }
}
