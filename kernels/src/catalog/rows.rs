//! What kernels over the rows of a matrix share: the matrix on its grid, and the instance around the kernel.

use super::data::numbers;
use super::plane::{Plane, matrix};
use super::settings::FLOATS;
use super::{Instance, KernelError, Parameter, Settings};
use crate::code::Tile;
use crate::cost;
use crate::reduce::Rows;
use std::collections::BTreeMap;
use waferloom_fabric::{BufferKind, Distribution, Dtype, Extent, Machine};

/// Parameters of a kernel over rows.
pub(super) const PARAMETERS: &[Parameter] = &[
    Parameter::integer("p", "4", (1, 65535), "PEs in a row").tunable(),
    Parameter::integer("rows", "4", (1, 65535), "rows of PEs").tunable(),
    Parameter::integer("m", "64", (1, 1 << 20), "rows of the matrix"),
    Parameter::integer("n", "64", (1, 1 << 20), "columns of the matrix"),
    Parameter::choice("dtype", "f32", FLOATS, "type of the elements; sums are f32"),
];

/// What normalisations add to the variance.
pub(super) const EPSILON: f32 = 1e-5;

/// A matrix on a grid, and room for the result.
pub(super) struct Matrix {
    pub(super) plane: Plane,
    pub(super) source: Tile,
    pub(super) target: Tile,
    pub(super) rows: Rows,
    /// Whether a row is dealt to several PEs.
    pub(super) spread: bool,
    distribution: Distribution,
    name: &'static str,
}

impl Matrix {
    /// The matrix of the settings.
    ///
    /// # Errors
    /// A grid that is larger than the machine.
    pub(super) fn new(
        name: &'static str,
        settings: &Settings,
        machine: &Machine,
        dtype: Dtype,
    ) -> Result<Self, KernelError> {
        let grid = Extent { width: settings.pes("p"), height: settings.pes("rows") };
        let distribution = matrix(grid, &[settings.integer("m"), settings.integer("n")], dtype);
        let mut plane = Plane::new(name, machine, grid, ["p", "rows"], "n")?;
        let source = plane.tile("source", &distribution, dtype, BufferKind::Activation);
        let target = plane.tile("target", &distribution, dtype, BufferKind::Activation);
        plane.check()?;
        let rows = plane.rows(&distribution, source);
        Ok(Self { plane, source, target, rows, spread: grid.width > 1, distribution, name })
    }

    /// Working memory of the kernel.
    ///
    /// # Errors
    /// Tiles that do not fit a PE with it.
    pub(super) fn scratch(&mut self, bytes: u32) -> Result<u32, KernelError> {
        let address = self.plane.scratch("scratch", bytes);
        self.plane.check()?;
        Ok(address)
    }

    /// The kernel with its data, with so many all-reduces in its code, about `flops` operations an element, and the function
    /// of all elements and the length of a row that it computes.
    pub(super) fn instance(
        mut self,
        all_reduces: u64,
        flops: u64,
        exact: impl FnOnce(&[f32], usize) -> Vec<f64>,
    ) -> Result<Instance, KernelError> {
        let values = numbers(self.distribution.elements(), 8);
        self.plane.fill("source", &self.distribution, self.source, &values);
        self.plane.result("target", &self.distribution, self.target);
        let width = u64::from(self.distribution.grid.width);
        let machine = &self.plane.sketch.program.machine;
        let estimate_cycles = self.plane.busy(&[]) + all_reduces * cost::all_reduce_wait(machine, width);
        Ok(Instance {
            expected: BTreeMap::from([("target".into(), exact(&values, self.distribution.shape[1] as usize))]),
            program: self.plane.finish(self.name)?,
            inputs: BTreeMap::new(),
            algorithm: "chain and broadcast".into(),
            estimate_cycles,
            flops: flops * values.len() as u64,
        })
    }
}

/// `f` of each row of `n` elements.
pub(super) fn float_rows(values: &[f32], n: usize, f: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    values.chunks(n).flat_map(|row| f(&row.iter().map(|&x| f64::from(x)).collect::<Vec<_>>())).collect()
}
