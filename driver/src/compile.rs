//! From a model to a program.

use crate::Error;
use crate::load::check_grid;
use std::time::Instant;
use waferloom_compiler::{Objective, Options, Overrides, Plan, prepare};
use waferloom_fabric::{Dtype, Extent, Machine, Program};
use waferloom_models::Graph;

/// Side of the square of PEs that is used when nobody says otherwise: large enough that the small models of the examples fit
/// in single precision, small enough that the simulation takes seconds.
const DEFAULT_SIDE: u16 = 16;

/// What a model is compiled for, as users say it: what they leave open has a default.
#[derive(Clone, Debug)]
pub struct Target {
    /// The machine.
    pub machine: Machine,
    /// The PEs that may be taken; 16x16 by default, or less on a smaller machine.
    pub grid: Option<Extent>,
    /// Whether all of them are taken, even where fewer would be faster.
    pub whole_grid: bool,
    /// Precision of floating-point numbers on the mesh.
    pub dtype: Dtype,
    /// Inputs of the model that one run works on, at least 1.
    pub items: u32,
    /// What the planner makes small; by default throughput with several items, else latency.
    pub objective: Option<Objective>,
    /// Number of stages; the planner's choice by default.
    pub stages: Option<u16>,
    /// Choices made instead of the planner.
    pub overrides: Overrides,
}

impl Target {
    /// The compiler's options. A grid that the machine does not have is refused here, before anything slow; `what` names it.
    ///
    /// # Errors
    /// A grid that is too large.
    pub fn options(self, what: &str) -> Result<Options, Error> {
        let most = self.machine.fabric;
        let default = Extent { width: DEFAULT_SIDE.min(most.width), height: DEFAULT_SIDE.min(most.height) };
        let grid = self.grid.unwrap_or(default);
        check_grid(grid, &self.machine, what)?;
        let by_items = if self.items > 1 { Objective::Throughput } else { Objective::Latency };
        let options = Options::new(self.machine, grid, self.dtype);
        Ok(Options {
            items: self.items,
            stages: self.stages,
            whole_grid: self.whole_grid,
            objective: self.objective.unwrap_or(by_items),
            overrides: self.overrides,
            ..options
        })
    }
}

/// A compiled model.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The compiler's decisions.
    pub plan: Plan,
    /// The program.
    pub program: Program,
    /// Seconds that it took.
    pub seconds: f64,
}

/// Compiles a graph.
///
/// # Errors
/// What the compiler refuses, and programs of its own that the verifier refuses: a bug.
pub fn compile(graph: &Graph, options: &Options) -> Result<Compiled, Error> {
    let start = Instant::now();
    let graph = prepare(graph)?;
    let (plan, program) = waferloom_compiler::compile(&graph, options)?;
    let seconds = start.elapsed().as_secs_f64();
    tracing::info!("planned {} steps in {} stages", plan.steps().count(), plan.stages.len());
    let findings = waferloom_fabric::verify(&program);
    if findings.has_errors() {
        return Err(Error::bug(format!("the compiler made a program that is not valid:\n{findings}")));
    }
    tracing::info!("made {} classes, {} routes in {seconds:.2} s", program.classes.len(), program.routes.len());
    Ok(Compiled { plan, program, seconds })
}
