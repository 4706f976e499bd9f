//! Softmax of each row of a matrix, by the kernel of [`crate::softmax`].

use super::rows::{Matrix, PARAMETERS, float_rows};
use super::settings::float_type;
use super::{Instance, Kernel, KernelError, Settings};
use crate::softmax;
use waferloom_fabric::Machine;

pub(super) const KERNEL: Kernel = Kernel {
    name: "softmax",
    summary: "exp(a - max) / sum over each row of an m x n matrix; rows are dealt to the columns of the grid.",
    parameters: PARAMETERS,
    build,
};

fn build(settings: &Settings, machine: &Machine) -> Result<Instance, KernelError> {
    let dtype = float_type(settings.word("dtype"));
    let mut matrix = Matrix::new("softmax", settings, machine, dtype)?;
    let [rows, elements] = [matrix.rows.rows, matrix.source.elements];
    let scratch = matrix.scratch(softmax::scratch_bytes(rows, elements))?;
    let Matrix { plane, target, rows, spread, .. } = &mut matrix;
    softmax::emit(&mut plane.code, &mut plane.mesh, *target, rows, *spread, scratch);
    matrix.instance(2, 5, |values, n| {
        float_rows(values, n, |row| {
            let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let powers: Vec<f64> = row.iter().map(|x| (x - most).exp()).collect();
            let sum: f64 = powers.iter().sum();
            powers.iter().map(|x| x / sum).collect()
        })
    })
}
