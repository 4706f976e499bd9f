//! Root-mean-square normalisation of each row of a matrix, without scale, by the kernel of [`crate::normalize`].

use super::rows::{EPSILON, Matrix, PARAMETERS, float_rows};
use super::settings::float_type;
use super::{Instance, Kernel, KernelError, Settings};
use crate::normalize;
use waferloom_fabric::Machine;

pub(super) const KERNEL: Kernel = Kernel {
    name: "rmsnorm",
    summary: "a / sqrt(mean of squares + 1e-5) over each row of an m x n matrix (B. Zhang and R. Sennrich, 2019).",
    parameters: PARAMETERS,
    build,
};

fn build(settings: &Settings, machine: &Machine) -> Result<Instance, KernelError> {
    let dtype = float_type(settings.word("dtype"));
    let mut matrix = Matrix::new("rmsnorm", settings, machine, dtype)?;
    let scratch = matrix.scratch(normalize::rms_scratch_bytes(matrix.rows.rows, matrix.source.elements))?;
    let length = settings.integer("n");
    let Matrix { plane, target, rows, spread, .. } = &mut matrix;
    normalize::emit_rms(&mut plane.code, &mut plane.mesh, *target, rows, length, EPSILON, *spread, scratch);
    matrix.instance(1, 3, |values, n| {
        float_rows(values, n, |row| {
            let square = row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64;
            let scale = 1.0 / (square + f64::from(EPSILON)).sqrt();
            row.iter().map(|x| x * scale).collect()
        })
    })
}
