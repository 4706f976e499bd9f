//! Graph to Program.
//!
//! ```text
//! Graph ──prepare──▶ Graph ──plan──▶ Plan ──lower──▶ Program
//!        (passes/)           (select/, allocate)    (lower/)
//! ```
//!
//! - [`prepare`] rewrites what no kernel computes into what one does ([`passes`]: one file a pass);
//! - [`plan`] decides how each tensor lies on the mesh, which kernel computes each operator and where everything lies in
//!   SRAM, one file a family of operators in `select`;
//! - [`lower`] turns the decisions into code, constants and ports.
//!
//! Operators that only move elements (reshape, permute, slice, broadcast, concatenation) are not computed one by one: a
//! consumer asks for a tensor in its layout, and all movements up to the last computed tensor become one relayout.

mod allocate;
mod error;
pub mod layout;
mod lower;
pub mod passes;
pub mod plan;
mod relayouts;
mod select;
pub mod view;

pub use error::{CompileError, DoesNotFit, UnsupportedOperator};
pub use lower::lower;
pub use passes::prepare;
pub use plan::Plan;

use waferloom_fabric::{Dtype, Extent, Machine};
use waferloom_models::Graph;

/// What a graph is compiled for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The machine.
    pub machine: Machine,
    /// The rectangle of PEs, from the machine's north-west corner.
    pub grid: Extent,
    /// Type of floating-point tensors on the mesh.
    pub dtype: Dtype,
}

/// Decides how a prepared graph lies on the mesh.
///
/// # Errors
/// A grid or a model that is too large, and operators that no kernel computes.
pub fn plan(graph: &Graph, options: &Options) -> Result<Plan, CompileError> {
    check(options)?;
    let mut stage = select::run(graph, options)?;
    allocate::run(&mut stage, &options.machine)?;
    Ok(Plan {
        model: graph.name.clone(),
        machine: options.machine.clone(),
        grid: options.grid,
        dtype: options.dtype,
        stages: vec![stage],
    })
}

/// Checks that the machine has the grid and what the kernels' plumbing needs.
fn check(options: &Options) -> Result<(), CompileError> {
    use waferloom_kernels::mesh;
    let (machine, grid) = (&options.machine, options.grid);
    let most = machine.fabric;
    if grid.width > most.width || grid.height > most.height || grid.pes() == 0 {
        return Err(CompileError::GridTooLarge { grid, machine: machine.name.clone(), most });
    }
    let needs = [
        ("colours", u32::from(machine.colors), mesh::COLORS),
        ("input queues", machine.input_queue_depths.len() as u32, mesh::INPUT_QUEUES),
        ("output queues", machine.output_queue_depths.len() as u32, mesh::OUTPUT_QUEUES),
    ];
    for (what, available, needed) in needs {
        if available < needed {
            return Err(CompileError::Machine { machine: machine.name.clone(), what, available, needed });
        }
    }
    Ok(())
}
