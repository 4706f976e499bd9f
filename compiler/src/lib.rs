//! Graph to Program.

use waferloom_fabric::{Dtype, Extent, Machine, Program};
use waferloom_models::Graph;

/// What a graph is compiled for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The machine.
    pub machine: Machine,
    /// The rectangle of PEs, from the machine's north-west corner.
    pub grid: Extent,
    /// Type of floating-point tensors on the mesh: `F32` or `F16`.
    pub dtype: Dtype,
}

/// The compiler's decisions.
#[derive(Clone, Debug)]
pub struct Plan {}

/// Why a graph cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The grid is larger than the machine.
    #[error("a grid of {}x{} is larger than {machine}, which has {}x{} PEs; give --grid at most that", grid.width, grid.height, most.width, most.height)]
    GridTooLarge {
        /// What was asked for.
        grid: Extent,
        /// The machine's name.
        machine: String,
        /// Its largest rectangle.
        most: Extent,
    },
}

/// Decides how a graph lies on the mesh.
///
/// # Errors
/// See [`CompileError`].
pub fn plan(_graph: &Graph, options: &Options) -> Result<Plan, CompileError> {
    let most = options.machine.fabric;
    Err(CompileError::GridTooLarge { grid: options.grid, machine: options.machine.name.clone(), most })
}

/// Turns the decisions into code.
///
/// # Errors
/// See [`CompileError`].
pub fn lower(graph: &Graph, plan: &Plan) -> Result<Program, CompileError> {
    let _ = (graph, plan);
    unreachable!()
}
