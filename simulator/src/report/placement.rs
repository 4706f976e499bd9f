//! Which operator the memory of a PE belongs to.

use super::SramByKind;
use serde::{Deserialize, Serialize};
use waferloom_fabric::{BufferKind, Class, Instruction, Program, Value};

/// Bytes that an operator has in a PE, of the class in which it has most. Buffers that share bytes over time count for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorMemory {
    /// Constants that it is the first to use.
    pub weights: u64,
    /// Its descriptors and index lists.
    pub tables: u64,
    /// Its results.
    pub activations: u64,
    /// Its working memory.
    pub scratch: u64,
    /// Its instructions; code that a loop runs for several layers counts for those of the first turn.
    pub code: u64,
}

impl OperatorMemory {
    /// All of it.
    pub fn bytes(&self) -> u64 {
        self.weights + self.tables + self.activations + self.scratch + self.code
    }
}

/// Memory of the PEs of a class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassMemory {
    /// Name of the class.
    pub name: String,
    /// PEs of the class.
    pub pes: u64,
    /// The first of them, row by row.
    pub first_pe: [u16; 2],
    /// Bytes that each uses.
    pub used_bytes: u64,
    /// What each one's memory holds.
    pub holds: SramByKind,
}

/// The memory of each operator, in the program's order.
pub(super) fn of_operators(program: &Program) -> Vec<OperatorMemory> {
    let mut most = vec![OperatorMemory::default(); program.operators.len()];
    for class in &program.classes {
        for (most, here) in most.iter_mut().zip(of_class(program, class)) {
            if here.bytes() > most.bytes() {
                *most = here;
            }
        }
    }
    most
}

fn of_class(program: &Program, class: &Class) -> Vec<OperatorMemory> {
    let mut operators = vec![OperatorMemory::default(); program.operators.len()];
    for buffer in &class.buffers {
        let Some(memory) = buffer.owner.and_then(|owner| operators.get_mut(owner as usize)) else { continue };
        let kind = match buffer.kind {
            BufferKind::Weight => &mut memory.weights,
            BufferKind::Table => &mut memory.tables,
            BufferKind::Activation => &mut memory.activations,
            BufferKind::Scratch => &mut memory.scratch,
        };
        *kind += u64::from(buffer.bytes);
    }
    for task in &class.tasks {
        add_code(&task.body, program, &mut None, &mut operators);
    }
    operators
}

/// Adds the code of a body to the operators whose marks it follows; `current` is the one at hand.
fn add_code(body: &[Instruction], program: &Program, current: &mut Option<u32>, operators: &mut [OperatorMemory]) {
    for instruction in body {
        let inner: [&[Instruction]; 2] = match instruction {
            Instruction::Mark { operator, plus } => {
                let first_turn = if let Value::Imm(plus) = plus { *plus } else { 0 };
                *current = Some(operator.saturating_add_signed(first_turn));
                continue;
            }
            Instruction::Loop { body, .. } | Instruction::Claim { body, .. } => [body, &[]],
            Instruction::If { then, otherwise, .. } => [then, otherwise],
            _ => [&[], &[]],
        };
        let bytes = |instruction: &Instruction| u64::from(instruction.code_bytes(&program.machine));
        let own = bytes(instruction).saturating_sub(inner.into_iter().flatten().map(bytes).sum());
        if let Some(memory) = current.and_then(|operator| operators.get_mut(operator as usize)) {
            memory.code += own;
        }
        for body in inner {
            add_code(body, program, current, operators);
        }
    }
}
