//! From a plan to a program: one class of PEs for the whole grid, whose only task runs the steps in order.

mod constants;
pub(crate) mod elementwise;
mod movement;
mod rows;

use crate::plan::{Plan, Step, StepKind, TensorId};
use crate::{CompileError, allocate};
use waferloom_fabric::{
    Class, Coord, Direction, Distribution, Dtype, Operator, Placement, Port, PortKind, Program, Region,
};
use waferloom_kernels::{Code, Mesh, Tile, edge, gather, matmul, mesh};
use waferloom_models::Graph;

/// Id of the task that runs the steps.
const MAIN_TASK: u8 = 8;

/// A program under construction.
struct Lowering<'a> {
    graph: &'a Graph,
    plan: &'a Plan,
    mesh: Mesh,
    code: Code,
}

/// Turns the decisions into code, constants and ports.
///
/// # Errors
/// A plan that was made for another graph, and code that does not fit beside the data.
pub fn lower(graph: &Graph, plan: &Plan) -> Result<Program, CompileError> {
    let mut lowering = Lowering { graph, plan, mesh: Mesh::new(plan.grid), code: Code::new() };
    let mut constants = Vec::new();
    for tensor in 0..plan.tensors.len() {
        constants.extend(lowering.constant(tensor)?);
    }
    for (index, step) in plan.steps.iter().enumerate() {
        lowering.code.push(waferloom_fabric::Instruction::Mark { operator: index as u32, plus: 0.into() });
        constants.extend(lowering.step(step)?);
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
    let class = Class {
        name: "worker".into(),
        input_queues: Mesh::input_queues(),
        output_queues: Mesh::output_queues(),
        fifos: Vec::new(),
        buffers: allocate::buffers(plan),
        tasks: vec![lowering.code.into_main_task(MAIN_TASK)],
    };
    fits(plan, &class)?;
    Ok(Program {
        name: plan.model.clone(),
        machine: plan.machine.clone(),
        grid: plan.grid,
        routes: lowering.mesh.routes(),
        params: lowering.mesh.into_params(),
        classes: vec![class],
        placements: vec![Placement { region: Region::all(plan.grid), class: 0 }],
        constants,
        ports: plan.steps.iter().filter_map(|step| port(plan, step)).collect(),
        readbacks: Vec::new(),
        operators: plan.steps.iter().map(|step| operator(plan, step)).collect(),
    })
}

impl Lowering<'_> {
    fn tile(&self, id: TensorId) -> Tile {
        let tensor = &self.plan.tensors[id];
        let (_, address) = self.plan.storage(id);
        Tile { address, elements: tensor.distribution.tile_elements() as u32, dtype: tensor.dtype }
    }

    fn distribution(&self, id: TensorId) -> &Distribution {
        &self.plan.tensors[id].distribution
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
                edge::send(&mut self.code, &self.mesh, tile);
            }
            StepKind::Move { node, sources, clear, result } => {
                return self.movement(step, *node, sources, *clear, *result);
            }
            StepKind::MatMul { left, right, result } => self.matmul(step, *left, *right, *result),
            StepKind::Gather { table, indices, result } => self.gather(step, *table, *indices, *result),
            StepKind::Softmax { .. } | StepKind::Normalize { .. } | StepKind::Reduce { .. } => self.rows(step),
            StepKind::Elementwise { op, sources, result } => self.elementwise(step, *op, sources, *result),
        }
        Ok(Vec::new())
    }

    fn matmul(&mut self, step: &Step, left: TensorId, right: TensorId, result: TensorId) {
        let shape = crate::select::matmul::shape(self.plan, left, right, result);
        let (left, right, result) = (self.tile(left), self.tile(right), self.tile(result));
        let sums = match result.dtype {
            Dtype::F32 => result,
            _ => Tile { address: step.scratch[2].address, dtype: Dtype::F32, ..result },
        };
        let panels = [step.scratch[0].address, step.scratch[1].address];
        matmul::clear(&mut self.code, sums);
        matmul::emit(&mut self.code, &self.mesh, &shape, left, right, sums.address, panels);
        if sums != result {
            self.code.mov(result.vector(), sums.vector());
        }
    }

    fn gather(&mut self, step: &Step, table: TensorId, indices: TensorId, result: TensorId) {
        let layout = self.distribution(table);
        let tile = layout.tile();
        let shape = gather::Gather {
            table_rows: layout.shape[0],
            tile_rows: tile[0],
            split: layout.y.is_some(),
            columns: tile[1],
            indices: self.distribution(indices).tile_elements() as u32,
        };
        let (table, indices, result) = (self.tile(table), self.tile(indices), self.tile(result));
        self.code.scope(|code| {
            gather::emit(code, &self.mesh, &shape, result, table, indices, step.scratch[0].address);
        });
    }
}

/// Checks that the code fits above the data.
fn fits(plan: &Plan, class: &Class) -> Result<(), CompileError> {
    let (data, code) = (u64::from(class.data_bytes()), u64::from(class.code_bytes(&plan.machine)));
    if data + code <= u64::from(plan.machine.sram_bytes) {
        return Ok(());
    }
    let sizes = class.buffers.iter().map(|b| (b.name.as_str(), u64::from(b.bytes))).collect();
    Err(allocate::does_not_fit(plan, data, code, sizes))
}

fn port(plan: &Plan, step: &Step) -> Option<Port> {
    let (name, kind, tensor, color) = match &step.kind {
        StepKind::Receive { input, result } => (input, PortKind::Input, *result, mesh::EDGE[0]),
        StepKind::Send { output, source } => (output, PortKind::Output, *source, mesh::CHAIN[0]),
        _ => return None,
    };
    let tensor = &plan.tensors[tensor];
    Some(Port {
        name: name.clone(),
        kind,
        dtype: tensor.dtype,
        distribution: tensor.distribution.clone(),
        edge: Direction::West,
        at: Coord { x: 0, y: 0 },
        color,
    })
}

fn operator(plan: &Plan, step: &Step) -> Operator {
    let tensors = step.kind.sources().into_iter().chain(step.kind.result());
    let bytes: u64 = tensors.map(|id| plan.tensors[id].tile_bytes()).sum();
    Operator {
        name: step.name.clone(),
        kind: step.kind.name(),
        region: Region::all(plan.grid),
        flops: step.flops,
        bytes: bytes * plan.grid.pes() as u64,
    }
}
