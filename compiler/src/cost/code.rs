//! Bytes of code, before it is emitted. Kernels are loops: their code hardly depends on sizes.

use crate::plan::{Elementwise, Source, Step, StepKind};
use waferloom_fabric::Machine;
use waferloom_kernels::functions::{Function, Length};

/// Bytes of SRAM that the code of a step takes, about: instructions and descriptors as counted in the code of the kernels,
/// without what only some shapes need.
pub(crate) fn code_bytes(machine: &Machine, step: &Step) -> u64 {
    let (instructions, descriptors) = match &step.kind {
        StepKind::Receive { .. } | StepKind::Send { .. } => (4, 4),
        StepKind::Arrive { .. } | StepKind::Leave { .. } => (5, 4),
        // A series of broadcasts a table, about: where the roots send different amounts, it has two.
        StepKind::Move { .. } => (52 * step.tables.len() as u64, 9 * step.tables.len() as u64),
        // The two kernels are about equally long.
        StepKind::MatMul { start, .. } => (24 + start.len() as u64 / 3, 18 + start.len() as u64),
        StepKind::Gather { .. } => (25, 9),
        StepKind::Softmax { .. } => (53, 104),
        StepKind::Normalize { .. } => (44, 80),
        StepKind::Reduce { .. } => (11, 17),
        StepKind::Elementwise { op, sources, .. } => elementwise(*op, sources),
    };
    instructions * u64::from(machine.instruction_bytes) + descriptors * u64::from(machine.descriptor_bytes)
}

/// Instructions and descriptors of an element-wise step.
fn elementwise(op: Elementwise, sources: &[Source]) -> (u64, u64) {
    let tensors = sources.iter().filter_map(Source::tensor).count() as u64;
    match op {
        Elementwise::Vector(_) => (1, 1 + tensors),
        Elementwise::Not(_) => (2, 3 + tensors),
        Elementwise::Function(function) => long(Length::of_function(function).instructions + 2),
        Elementwise::Divide => long(Length::of_function(Function::Reciprocal).instructions + 10),
    }
}

/// A sequence of vector instructions on working vectors: most have one or two sources in memory.
fn long(instructions: u64) -> (u64, u64) {
    (instructions, instructions * 12 / 5)
}
