//! Transpose of a matrix that lies on a grid in equal blocks, by the kernel of [`crate::relayout`].

use super::plane::matrix;
use super::relayout::moved;
use super::settings::{FLOATS, float_type};
use super::{Instance, Kernel, KernelError, Parameter, Settings};
use waferloom_fabric::{Extent, Machine};

pub(super) const KERNEL: Kernel = Kernel {
    name: "transpose",
    summary: "The transpose of an m x n matrix; both lie in equal blocks, one a PE.",
    parameters: &[
        Parameter::integer("p", "4", (1, 65535), "PEs in a row").tunable(),
        Parameter::integer("rows", "4", (1, 65535), "rows of PEs").tunable(),
        Parameter::integer("m", "64", (1, 65535), "rows of the matrix"),
        Parameter::integer("n", "64", (1, 65535), "columns of the matrix"),
        Parameter::choice("dtype", "f32", FLOATS, "type of the elements"),
    ],
    build,
};

fn build(settings: &Settings, machine: &Machine) -> Result<Instance, KernelError> {
    let grid = Extent { width: settings.pes("p"), height: settings.pes("rows") };
    let (m, n) = (settings.integer("m"), settings.integer("n"));
    let dtype = float_type(settings.word("dtype"));
    let (source, target) = (matrix(grid, &[m, n], dtype), matrix(grid, &[n, m], dtype));
    moved("transpose", machine, settings, [&source, &target], |i| i % m * n + i / m)
}
