//! Layer normalisation of each row of a matrix, without scale and shift, by the kernel of [`crate::normalize`].

use super::rows::{EPSILON, Matrix, PARAMETERS, float_rows};
use super::settings::float_type;
use super::{Instance, Kernel, KernelError, Settings};
use crate::normalize;
use waferloom_fabric::Machine;

pub(super) const KERNEL: Kernel = Kernel {
    name: "layernorm",
    summary: "(a - mean) / sqrt(variance + 1e-5) over each row of an m x n matrix (J. L. Ba et al., 2016).",
    parameters: PARAMETERS,
    build,
};

fn build(settings: &Settings, machine: &Machine) -> Result<Instance, KernelError> {
    let dtype = float_type(settings.word("dtype"));
    let mut matrix = Matrix::new("layernorm", settings, machine, dtype)?;
    let scratch = matrix.scratch(normalize::scratch_bytes(matrix.rows.rows, matrix.source.elements))?;
    let length = settings.integer("n");
    let Matrix { plane, target, rows, spread, .. } = &mut matrix;
    normalize::emit(&mut plane.code, &mut plane.mesh, *target, rows, length, EPSILON, *spread, scratch);
    matrix.instance(2, 5, |values, n| {
        float_rows(values, n, |row| {
            let mean = row.iter().sum::<f64>() / row.len() as f64;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / row.len() as f64;
            let scale = 1.0 / (variance + f64::from(EPSILON)).sqrt();
            row.iter().map(|x| (x - mean) * scale).collect()
        })
    })
}
