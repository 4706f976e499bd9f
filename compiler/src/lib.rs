//! Graph to Program.
//!
//! ```text
//! Graph ──prepare──▶ Graph ──plan──▶ Plan ──lower──▶ Program
//!        (passes/)           (select/, allocate)    (lower/)
//! ```
//!
//! - [`prepare`] rewrites what no kernel computes into what one does ([`passes`]: one file a pass);
//! - the planner (`planner`) cuts the graph into stages (`cut`), each on a rectangle of its own, by the estimates of [`cost`];
//! - [`plan`] decides how each tensor lies on the mesh, which kernel computes each operator and where everything lies in
//!   SRAM, one file a family of operators in `select`;
//! - repeated layers are found and laid out so that one body of code runs for all of them (`repeat`);
//! - [`lower`] turns the decisions into code, constants and ports; [`compile`] does both, with the best plan that fits.
//!
//! Operators that only move elements (reshape, permute, slice, broadcast, concatenation) are not computed one by one: a
//! consumer asks for a tensor in its layout, and all movements up to the last computed tensor become one relayout.

mod allocate;
pub mod cost;
mod cut;
mod error;
pub mod layout;
mod lives;
mod lower;
mod overrides;
pub mod passes;
pub mod plan;
mod planner;
mod relayouts;
mod repeat;
mod select;
pub mod view;

pub use error::{CompileError, DoesNotFit, UnsupportedOperator};
pub use lower::lower;
pub use overrides::{Overrides, ProductOverride, StageOverride};
pub use passes::prepare;
pub use plan::Plan;
pub use planner::Objective;

use plan::Alternative;
use planner::StageChoice;
use relayouts::Relayouts;
use waferloom_fabric::{Coord, Dtype, Extent, Machine, Program};
use waferloom_models::Graph;
use waferloom_models::graph::Op;

/// Plans that are laid out in full to see whether they fit: the best ones, and the one of a single stage.
const MOST_TRIES: usize = 8;

/// What a graph is compiled for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The machine.
    pub machine: Machine,
    /// The rectangle of PEs, from the machine's north-west corner.
    pub grid: Extent,
    /// Type of floating-point tensors on the mesh.
    pub dtype: Dtype,
    /// Inputs of the model that one run works on, one behind another; at least 1.
    pub items: u32,
    /// Number of stages; `None` lets the planner choose.
    pub stages: Option<u16>,
    /// What the planner makes small.
    pub objective: Objective,
    /// What the planner may not choose.
    pub overrides: Overrides,
}

impl Options {
    /// One item a run, as many stages as are best for its latency.
    pub fn new(machine: Machine, grid: Extent, dtype: Dtype) -> Self {
        Self {
            machine,
            grid,
            dtype,
            items: 1,
            stages: None,
            objective: Objective::Latency,
            overrides: Overrides::default(),
        }
    }
}

/// Plans and lowers a prepared graph: the best plan whose data and code fit the PEs.
///
/// # Errors
/// See [`plan`] and [`lower`]. Where nothing fits, what the best plan lacks.
pub fn compile(graph: &Graph, options: &Options) -> Result<(Plan, Program), CompileError> {
    first_that_fits(graph, options, |plan, relayouts| {
        let program = lower::with_known(graph, &plan, relayouts)?;
        Ok((plan, program))
    })
    .map(|(alternatives, (plan, program))| (Plan { alternatives, ..plan }, program))
}

/// Decides how a prepared graph lies on the mesh: the best plan whose data fit the PEs.
///
/// # Errors
/// A grid or a model that is too large, and operators that no kernel computes.
pub fn plan(graph: &Graph, options: &Options) -> Result<Plan, CompileError> {
    let (alternatives, plan) = first_that_fits(graph, options, |plan, _| Ok(plan))?;
    Ok(Plan { alternatives, ..plan })
}

/// Goes through the planner's choices, the best first, until one passes; gives all of them, that one first.
fn first_that_fits<T>(
    graph: &Graph,
    options: &Options,
    pass: impl Fn(Plan, &mut Relayouts) -> Result<T, CompileError>,
) -> Result<(Vec<Alternative>, T), CompileError> {
    check(options)?;
    check_products(graph, options)?;
    let choices = planner::choices(graph, options)?;
    let mut alternatives: Vec<Alternative> = choices.iter().map(|choice| choice.estimate).collect();
    let (mut error, mut relayouts) = (None::<Box<DoesNotFit>>, Relayouts::default());
    let tries = |&(index, choice): &(usize, &planner::Choice)| index < MOST_TRIES || choice.stages.len() == 1;
    for (index, choice) in choices.iter().enumerate().filter(tries) {
        let plan = lay_out(graph, options, &choice.stages, &mut relayouts);
        match plan.and_then(|plan| pass(plan, &mut relayouts)) {
            Ok(done) => {
                alternatives[index].fits = Some(true);
                alternatives[..=index].rotate_right(1);
                return Ok((alternatives, done));
            }
            Err(CompileError::DoesNotFit(what)) => {
                alternatives[index].fits = Some(false);
                // The nearest miss is the one that the user can do most about.
                let nearer = |known: &DoesNotFit| what.needed_bytes < known.needed_bytes;
                if error.as_deref().is_none_or(nearer) {
                    error = Some(what);
                }
            }
            Err(other) => return Err(other),
        }
    }
    Err(error.map_or_else(|| CompileError::Mismatch { problem: "it has no stages".into() }, CompileError::DoesNotFit))
}

/// The plan with these stages.
fn lay_out(
    graph: &Graph,
    options: &Options,
    choices: &[StageChoice],
    relayouts: &mut Relayouts,
) -> Result<Plan, CompileError> {
    let ends: Vec<usize> = choices[..choices.len() - 1].iter().map(|stage| stage.end).collect();
    let parts = cut::into_parts(graph, &ends);
    let mut stages = Vec::with_capacity(parts.len());
    let mut x = 0;
    for (index, (part, choice)) in parts.iter().zip(choices).enumerate() {
        let place = select::Place { first: index == 0, last: index + 1 == parts.len() };
        let grid = Extent { width: choice.width, ..options.grid };
        let mut stage = select::run(graph, part, place, Coord { x, y: 0 }, grid, options, relayouts)?;
        let mut signatures = repeat::signature::of(graph, &stage);
        repeat::run(&mut stage, &mut signatures);
        cost::record(&mut stage, &options.machine);
        allocate::run(&mut stage, &signatures, &options.machine)?;
        stages.push(stage);
        x += choice.width;
    }
    Ok(Plan {
        model: graph.name.clone(),
        machine: options.machine.clone(),
        grid: options.grid,
        dtype: options.dtype,
        items: options.items,
        alternatives: Vec::new(),
        stages,
    })
}

/// Checks that the products whose kernels the user chooses are there.
fn check_products(graph: &Graph, options: &Options) -> Result<(), CompileError> {
    let is_product =
        |name: &str| graph.nodes().any(|id| graph.node(id).name == name && graph.node(id).op == Op::MatMul);
    match options.overrides.products.iter().find(|wanted| !is_product(&wanted.node)) {
        None => Ok(()),
        Some(ProductOverride { node, .. }) => Err(CompileError::Override {
            problem: format!("there is no product \"{node}\""),
            remedy: "take the name of a matmul from --explain".into(),
        }),
    }
}

/// Checks that the machine has the grid and the queues that the kernels' plumbing takes. Colours are counted when they are given out.
fn check(options: &Options) -> Result<(), CompileError> {
    use waferloom_kernels::mesh;
    let (machine, grid) = (&options.machine, options.grid);
    let most = machine.fabric;
    if grid.width > most.width || grid.height > most.height || grid.pes() == 0 {
        return Err(CompileError::GridTooLarge { grid, machine: machine.name.clone(), most });
    }
    let needs = [
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
