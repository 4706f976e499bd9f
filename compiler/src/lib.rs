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
use relayouts::Relayouts;
use std::collections::BTreeSet;
use waferloom_fabric::{Coord, Dtype, Extent, Machine, Program};
use waferloom_kernels::relayout::Aim;
use waferloom_models::Graph;
use waferloom_models::graph::Op;

/// Plans that are laid out in full to see whether they fit: the best ones, and the whole grid as a single stage.
const MOST_TRIES: usize = 8;

/// What a graph is compiled for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The machine.
    pub machine: Machine,
    /// The rectangle of PEs, from the machine's north-west corner, of which the planner takes what is best.
    pub grid: Extent,
    /// Whether all PEs of the grid are taken, even where fewer would be faster.
    pub whole_grid: bool,
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
            whole_grid: false,
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

/// Goes through the planner's choices, the best first, until one passes; gives what was weighed, that one first.
fn first_that_fits<T>(
    graph: &Graph,
    options: &Options,
    pass: impl Fn(Plan, &mut Relayouts) -> Result<T, CompileError>,
) -> Result<(Vec<Alternative>, T), CompileError> {
    check(options)?;
    check_products(graph, options)?;
    let mut choices = planner::choices(graph, options)?;
    let (mut nearest, mut relayouts) = (None::<Box<DoesNotFit>>, Relayouts::default());
    let mut misses: Vec<Miss> = Vec::new();
    for index in 0..choices.len() {
        let choice = &choices[index];
        let is_last_resort = choice.stages.len() == 1 && choice.estimate.grid == options.grid;
        let is_hopeless = misses.len() >= MOST_TRIES || misses.iter().any(|miss| miss.tells_of(choice));
        if is_hopeless && !is_last_resort {
            continue;
        }
        let mut attempt = |aim| {
            relayouts.aim = aim;
            let plan = lay_out(graph, options, choice, &mut relayouts);
            plan.and_then(|plan| pass(plan, &mut relayouts))
        };
        let done = match attempt(Aim::Cycles) {
            Err(CompileError::DoesNotFit(_)) => attempt(Aim::Memory),
            done => done,
        };
        match done {
            Ok(done) => {
                choices[index].estimate.fits = Some(true);
                return Ok((weighed(&choices, index, options), done));
            }
            Err(CompileError::DoesNotFit(what)) => {
                misses.push(Miss {
                    bytes: choice.bytes,
                    lacking: what.needed_bytes.saturating_sub(what.available_bytes.into()),
                });
                choices[index].estimate.fits = Some(false);
                // The nearest miss is the one that the user can do most about.
                let nearer = |known: &DoesNotFit| what.needed_bytes < known.needed_bytes;
                if nearest.as_deref().is_none_or(nearer) {
                    nearest = Some(what);
                }
            }
            Err(other) => return Err(other),
        }
    }
    Err(nearest.map_or_else(|| CompileError::Mismatch { problem: "it has no stages".into() }, CompileError::DoesNotFit))
}

/// A choice that did not fit.
struct Miss {
    /// What the planner thought that a PE takes.
    bytes: u64,
    /// What a PE did not have.
    lacking: u64,
}

impl Miss {
    /// Whether a choice takes too much as well: the planner is wrong in the same way about all of them.
    fn tells_of(&self, choice: &planner::Choice) -> bool {
        choice.bytes + self.lacking > self.bytes
    }
}

/// What the plan says of the choices: the one that was taken, those that were tried, the best of each number of stages, and the
/// whole grid.
fn weighed(choices: &[planner::Choice], taken: usize, options: &Options) -> Vec<Alternative> {
    let mut all = vec![choices[taken].estimate];
    let mut numbers = BTreeSet::from([all[0].stages]);
    for (index, &planner::Choice { estimate, .. }) in choices.iter().enumerate() {
        let is_first = numbers.insert(estimate.stages);
        let is_whole = estimate.stages == 1 && estimate.grid == options.grid;
        if index != taken && (is_first || is_whole || estimate.fits.is_some()) {
            all.push(estimate);
        }
    }
    all
}

/// The plan with these stages.
fn lay_out(
    graph: &Graph,
    options: &Options,
    choice: &planner::Choice,
    relayouts: &mut Relayouts,
) -> Result<Plan, CompileError> {
    let (choices, rectangle) = (&choice.stages, choice.estimate.grid);
    let ends: Vec<usize> = choices[..choices.len() - 1].iter().map(|stage| stage.end).collect();
    let parts = cut::into_parts(graph, &ends);
    let mut stages = Vec::with_capacity(parts.len());
    let mut x = 0;
    for (index, (part, choice)) in parts.iter().zip(choices).enumerate() {
        let place = select::Place { first: index == 0, last: index + 1 == parts.len() };
        let grid = Extent { width: choice.width, ..rectangle };
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
        grid: rectangle,
        offered: options.grid,
        dtype: options.dtype,
        items: options.items,
        relayouts: relayouts.aim,
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
