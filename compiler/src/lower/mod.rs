//! From a plan to a program: one class of PEs for each stage, whose only task runs the stage's steps in order.

mod colors;
mod constants;
pub(crate) mod elementwise;
mod matmul;
mod movement;
mod repeat;
mod roll;
mod rows;

use crate::plan::{Algorithm, Plan, Stage, Step, StepKind, TensorId};
use crate::relayouts::Relayouts;
use crate::{CompileError, allocate, layout};
use std::collections::BTreeMap;
use std::rc::Rc;
use waferloom_fabric::{Class, Coord, Direction, Distribution, Machine, Operator, Placement, Port, PortKind, Program};
use waferloom_kernels::handoff::{self, Columns, Share};
use waferloom_kernels::relayout::Relayout;
use waferloom_kernels::{Code, Mesh, Tile, edge, gather, mesh};
use waferloom_models::Graph;

/// Id of the task that runs the steps.
const MAIN_TASK: u8 = 8;

/// A stage's class under construction.
struct Lowering<'a> {
    graph: &'a Graph,
    stage: &'a Stage,
    machine: &'a Machine,
    /// Where results leave the fabric: at the far end of several stages.
    edge_out: Direction,
    mesh: Mesh,
    code: Code,
    relayouts: &'a mut Relayouts,
    /// Relayouts whose tables are in the program, by the addresses of these.
    tables: BTreeMap<Vec<u32>, Rc<Relayout>>,
}

/// Turns the decisions into code, constants and ports.
///
/// # Errors
/// A plan that was made for another graph, and code that does not fit beside the data.
pub fn lower(graph: &Graph, plan: &Plan) -> Result<Program, CompileError> {
    with_known(graph, plan, &mut Relayouts::default())
}

/// The same with the relayouts that planning has worked out.
pub(crate) fn with_known(graph: &Graph, plan: &Plan, relayouts: &mut Relayouts) -> Result<Program, CompileError> {
    relayouts.aim = plan.relayouts;
    let mut program = Program {
        name: plan.model.clone(),
        machine: plan.machine.clone(),
        grid: plan.grid,
        items: plan.items,
        params: Vec::new(),
        classes: Vec::new(),
        placements: Vec::new(),
        routes: Vec::new(),
        constants: Vec::new(),
        ports: Vec::new(),
        readbacks: Vec::new(),
        operators: Vec::new(),
        claims: Vec::new(),
    };
    let widths: Vec<u16> = plan.stages.iter().map(|stage| stage.grid.width).collect();
    let mut mesh = Mesh::westernmost(&widths, plan.grid.height);
    for (index, stage) in plan.stages.iter().enumerate() {
        if index > 0 {
            mesh = mesh.eastern_neighbour(stage.grid.width);
        }
        mesh = add_stage(&mut program, graph, plan, index, mesh, relayouts)?;
    }
    (program.params, program.claims) = mesh.into_parts();
    colors::allocate(&mut program)?;
    Ok(program)
}

/// Adds a stage to the program; gives back its mesh.
fn add_stage(
    program: &mut Program,
    graph: &Graph,
    plan: &Plan,
    index: usize,
    mesh: Mesh,
    relayouts: &mut Relayouts,
) -> Result<Mesh, CompileError> {
    let stage = &plan.stages[index];
    let first_operator = program.operators.len();
    let edge_out = if plan.stages.len() > 1 { Direction::East } else { Direction::West };
    let machine = &plan.machine;
    let mut lowering =
        Lowering { graph, stage, machine, edge_out, mesh, code: Code::new(), relayouts, tables: BTreeMap::new() };
    let item = (plan.items > 1).then(|| lowering.code.register());
    let tables = lowering.steps(first_operator, plan.machine.registers)?;
    if let Some(item) = item {
        lowering.code.repeat_all(item, plan.items);
    }
    let registers = u32::from(lowering.code.registers());
    if registers > u32::from(plan.machine.registers) {
        return Err(CompileError::Machine {
            machine: plan.machine.name.clone(),
            what: "registers",
            available: u32::from(plan.machine.registers),
            needed: registers,
        });
    }
    program.ports.extend(stage.steps.iter().filter_map(|step| lowering.port(step)));
    let class = Class {
        name: if plan.stages.len() == 1 { "worker".into() } else { format!("stage {index}") },
        input_queues: lowering.mesh.input_queues(),
        output_queues: lowering.mesh.output_queues(),
        fifos: Vec::new(),
        buffers: allocate::buffers(stage, first_operator),
        tasks: vec![std::mem::take(&mut lowering.code).into_main_task(MAIN_TASK)],
    };
    // Weights are laid out when the code is known to fit: that is most of the work.
    fits(stage, &plan.machine, &class)?;
    for tensor in 0..stage.tensors.len() {
        program.constants.extend(lowering.constant(tensor)?);
    }
    program.constants.extend(tables);
    program.classes.push(class);
    program.placements.push(Placement { region: stage.region(), class: index as u32 });
    program.routes.extend(lowering.mesh.routes());
    if index + 1 < plan.stages.len() {
        program.routes.extend(lowering.mesh.route_to_east());
    } else {
        program.routes.extend(lowering.mesh.routes_out(edge_out));
    }
    program.operators.extend(stage.steps.iter().map(|step| operator(stage, step)));
    Ok(lowering.mesh)
}

impl Lowering<'_> {
    fn tile(&self, id: TensorId) -> Tile {
        let tensor = &self.stage.tensors[id];
        let (_, address) = self.stage.storage(id);
        Tile { address, elements: tensor.distribution.tile_elements() as u32, dtype: tensor.dtype }
    }

    fn distribution(&self, id: TensorId) -> &Distribution {
        &self.stage.tensors[id].distribution
    }

    /// Emits a step; gives the tables that it needs.
    fn step(&mut self, step: &Step) -> Result<Vec<waferloom_fabric::Constant>, CompileError> {
        match &step.kind {
            StepKind::Receive { result, .. } => {
                let tile = self.tile(*result);
                edge::receive(&mut self.code, &self.mesh, tile);
            }
            StepKind::Send { source, .. } => {
                let tile = self.tile(*source);
                edge::send(&mut self.code, &self.mesh, tile, self.edge_out);
            }
            StepKind::Arrive { result, .. } => {
                let share = self.share(*result);
                handoff::receive(&mut self.code, &mut self.mesh, &share);
            }
            StepKind::Leave { source, .. } => {
                let share = self.share(*source);
                handoff::send(&mut self.code, &mut self.mesh, &share);
            }
            StepKind::Move { node, sources, clear, result } => {
                return self.movement(step, *node, sources, *clear, *result);
            }
            StepKind::MatMul { choice, left, right, start, result } => {
                let tensors = [*left, *right, *result];
                match choice.algorithm {
                    Algorithm::Summa => self.summa(step, tensors, start),
                    Algorithm::Stationary => self.stationary(step, tensors, start),
                }
            }
            StepKind::Gather { table, indices, result } => self.gather(step, *table, *indices, *result),
            StepKind::Softmax { .. } | StepKind::Normalize { .. } | StepKind::Reduce { .. } => self.rows(step),
            StepKind::Elementwise { op, sources, result } => self.elementwise(step, *op, sources, *result),
        }
        Ok(Vec::new())
    }

    /// How a tensor lies, for its way to another stage.
    fn share(&self, id: TensorId) -> Share {
        let distribution = self.distribution(id);
        let (rows, stride) = layout::rows(distribution);
        let columns = distribution.x.map(|_| Columns { rows, stride, valid: layout::valid_columns(distribution) });
        Share { tile: self.tile(id), columns }
    }

    fn gather(&mut self, step: &Step, table: TensorId, indices: TensorId, result: TensorId) {
        let shape = crate::select::gather::shape(self.stage, table, indices);
        let (table, indices, result) = (self.tile(table), self.tile(indices), self.tile(result));
        self.code.scope(|code| {
            gather::emit(code, &self.mesh, &shape, result, table, indices, step.scratch[0].address);
        });
    }

    /// The port of an input or output step.
    fn port(&self, step: &Step) -> Option<Port> {
        let last = self.mesh.grid.width - 1;
        let (name, kind, tensor, edge, x, color) = match &step.kind {
            StepKind::Receive { input, result } => (input, PortKind::Input, *result, Direction::West, 0, mesh::EDGE[0]),
            StepKind::Send { output, source } => {
                let x = if self.edge_out == Direction::East { last } else { 0 };
                (output, PortKind::Output, *source, self.edge_out, x, self.mesh.color_out())
            }
            _ => return None,
        };
        let tensor = &self.stage.tensors[tensor];
        Some(Port {
            name: name.clone(),
            kind,
            dtype: tensor.dtype,
            distribution: tensor.distribution.clone(),
            edge,
            at: Coord { x: self.stage.origin.x + x, y: self.stage.origin.y },
            color,
        })
    }
}

/// Checks that the code fits above the data.
fn fits(stage: &Stage, machine: &Machine, class: &Class) -> Result<(), CompileError> {
    let (data, code) = (u64::from(class.data_bytes()), u64::from(class.code_bytes(machine)));
    if data + code <= u64::from(machine.sram_bytes) {
        return Ok(());
    }
    let sizes = class.buffers.iter().map(|b| (b.name.as_str(), u64::from(b.bytes))).collect();
    Err(allocate::does_not_fit(stage, machine, data, code, sizes))
}

fn operator(stage: &Stage, step: &Step) -> Operator {
    let tensors = step.kind.sources().into_iter().chain(step.kind.result());
    let bytes: u64 = tensors.map(|id| stage.tensors[id].tile_bytes()).sum();
    Operator {
        name: step.name.clone(),
        kind: step.kind.name(),
        region: stage.region(),
        flops: step.flops,
        bytes: bytes * stage.grid.pes() as u64,
    }
}
