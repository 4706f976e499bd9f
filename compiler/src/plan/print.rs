//! A plan for people.

use super::{Plan, Stage, StepKind, Storage, TensorId};
use std::fmt;
use waferloom_fabric::{Coord, Extent, Split};
use waferloom_kernels::relayout::Aim;

/// Alternatives that are listed.
const MOST_ALTERNATIVES: usize = 8;

/// The plan for people: one line a step.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Extent { width, height } = self.grid;
        write!(f, "{} in {} on {width}x{height} PEs of ", self.model, self.dtype.name())?;
        if self.offered != self.grid {
            write!(f, "{}x{} of ", self.offered.width, self.offered.height)?;
        }
        writeln!(f, "{}", self.machine.name)?;
        self.print_alternatives(f)?;
        if self.relayouts == Aim::Memory {
            writeln!(f, "relayouts go in parts, which takes less memory: it would not fit otherwise")?;
        }
        let mut first = 0;
        for (number, stage) in self.stages.iter().enumerate() {
            if self.stages.len() > 1 {
                let (Coord { x, y }, Extent { width, height }) = (stage.origin, stage.grid);
                writeln!(f, "stage {number} on {width}x{height} PEs from ({x}, {y})")?;
            }
            stage.print(f, first)?;
            first += stage.steps.len();
        }
        Ok(())
    }
}

impl Plan {
    /// Why there are as many stages as there are, and as many PEs.
    fn print_alternatives(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.alternatives.len() < 2 {
            return Ok(());
        }
        writeln!(f, "stages        PEs  between items  of one item   (estimated cycles)")?;
        for (index, of) in self.alternatives.iter().enumerate().take(MOST_ALTERNATIVES) {
            let word = match (index, of.fits) {
                (0, _) => "  chosen",
                (_, Some(false)) => "  does not fit the PEs",
                _ => "",
            };
            let pes = format!("{}x{}", of.grid.width, of.grid.height);
            writeln!(f, "{:6}  {pes:>9}  {:13}  {:11}{word}", of.stages, of.interval_cycles, of.latency_cycles)?;
        }
        if let Some(more) = self.alternatives.len().checked_sub(MOST_ALTERNATIVES).filter(|&n| n > 0) {
            writeln!(f, "and {more} more")?;
        }
        writeln!(f)
    }
}

impl Stage {
    /// A line a step; the numbers are those of the program's operators.
    fn print(&self, f: &mut fmt::Formatter<'_>, first: usize) -> fmt::Result {
        for (index, step) in self.steps.iter().enumerate() {
            if let Some(repeat) = self.repeats.iter().find(|repeat| repeat.first == index) {
                let (steps, turns) = (repeat.steps, repeat.turns);
                writeln!(f, "      {turns} turns of {steps} steps that share their code:")?;
            }
            let places = |ids: Vec<TensorId>| ids.iter().map(|&id| self.place(id)).collect::<Vec<_>>().join(", ");
            write!(f, "{:4}  {:12} ", first + index, step.kind.name())?;
            if let Some(result) = step.kind.result() {
                write!(f, "{} <- ", self.place(result))?;
            }
            write!(f, "{}  \"{}\"", places(step.kind.sources()), step.name)?;
            if let StepKind::MatMul { choice, .. } = &step.kind {
                write!(f, "  {} {} cycles", choice.algorithm.name(), choice.cycles)?;
                if let Some((other, cycles)) = choice.runner_up {
                    write!(f, " ({} {cycles})", other.name())?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }

    /// A tensor in short: shape, and by which blocks its dimensions are dealt to the columns (x) and rows (y).
    fn place(&self, id: TensorId) -> String {
        let tensor = &self.tensors[id];
        let d = &tensor.distribution;
        let dims = d.shape.iter().enumerate().map(|(dim, size)| {
            let by = |axis: &str, split: Option<Split>| {
                split.filter(|s| s.dim as usize == dim).map(|s| format!("/{axis}{}", s.block))
            };
            format!("{size}{}{}", by("x", d.x).unwrap_or_default(), by("y", d.y).unwrap_or_default())
        });
        let kind = match tensor.storage {
            Storage::Constant { .. } => "const ",
            _ => "",
        };
        format!("{kind}{}[{}]@{}", tensor.dtype.name(), dims.collect::<Vec<_>>().join(" "), self.storage(id).1)
    }
}
