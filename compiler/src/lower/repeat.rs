//! The steps of a stage in order; repeats become loops.

use super::Lowering;
use super::roll::roll;
use crate::CompileError;
use crate::plan::Repeat;
use std::ops::Range;
use waferloom_fabric::{Constant, Instruction};
use waferloom_kernels::Code;

impl Lowering<'_> {
    /// Emits all steps, of which the first is the program's operator `first_operator`; gives the tables that they need.
    /// `registers` are those of the machine.
    pub(super) fn steps(&mut self, first_operator: usize, registers: u8) -> Result<Vec<Constant>, CompileError> {
        let mut tables = Vec::new();
        let mut next = 0;
        for repeat in &self.stage.repeats {
            let range = repeat.range();
            if repeat.steps == 0 || range.start < next || range.end > self.stage.steps.len() {
                let problem = format!("its steps {} to {} cannot be a repeat", range.start, range.end);
                return Err(CompileError::Mismatch { problem });
            }
            tables.extend(self.straight(next..range.start, first_operator)?);
            next = range.end;
            tables.extend(self.repeat(repeat, first_operator, registers)?);
        }
        tables.extend(self.straight(next..self.stage.steps.len(), first_operator)?);
        once(tables)
    }

    /// Emits steps with code of their own.
    fn straight(&mut self, steps: Range<usize>, first_operator: usize) -> Result<Vec<Constant>, CompileError> {
        let stage = self.stage;
        let mut tables = Vec::new();
        for (index, step) in stage.steps.iter().enumerate().take(steps.end).skip(steps.start) {
            let operator = (first_operator + index) as u32;
            self.code.push(Instruction::Mark { operator, plus: 0.into() });
            tables.extend(self.step(step)?);
        }
        Ok(tables)
    }

    /// Emits the turns as a loop, or one after another where the plan's addresses do not allow it.
    fn repeat(&mut self, repeat: &Repeat, first_operator: usize, registers: u8) -> Result<Vec<Constant>, CompileError> {
        let mut tables = Vec::new();
        let mut turns: Vec<Code> = Vec::with_capacity(repeat.turns);
        for turn in 0..repeat.turns {
            let first = repeat.first + turn * repeat.steps;
            let apart = self.code.fork();
            let outer = std::mem::replace(&mut self.code, apart);
            let emitted = self.straight(first..first + repeat.steps, first_operator);
            turns.push(std::mem::replace(&mut self.code, outer));
            tables.extend(emitted?);
        }
        let bodies: Vec<&[Instruction]> = turns.iter().map(Code::instructions).collect();
        let free = turns.iter().map(Code::registers).max().unwrap_or(0);
        if let Some(rolled) = roll(&bodies, free, registers) {
            self.code.push(rolled);
        } else {
            for turn in turns {
                self.code.append(turn);
            }
        }
        Ok(tables)
    }
}

/// The tables without those that several steps share.
fn once(tables: Vec<Constant>) -> Result<Vec<Constant>, CompileError> {
    let mut kept: Vec<Constant> = Vec::new();
    for table in tables {
        match kept.iter().find(|known| known.address == table.address) {
            None => kept.push(table),
            Some(known) if known.payload == table.payload && known.distribution == table.distribution => {}
            Some(known) => {
                let problem = format!("\"{}\" and \"{}\" differ, but lie at {}", known.name, table.name, table.address);
                return Err(CompileError::Mismatch { problem });
            }
        }
    }
    Ok(kept)
}
