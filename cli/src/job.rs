//! A program with its inputs, run, compared and published: what `run`, `simulate` and `verify` share.

use crate::args::{EngineArgs, OutputArgs, ToleranceArgs};
use crate::compare::{self, Difference};
use crate::errors::{Error, Exit};
use crate::execute;
use crate::inputs::{Tensors, Work};
use crate::progress::Progress;
use crate::{summary, write};
use std::path::Path;
use waferloom_fabric::{Program, TensorSpec};
use waferloom_models::{Tensor, write_npz};
use waferloom_simulator::report::HostSeconds;
use waferloom_simulator::{Facts, Report};

/// What is run, and how.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    /// The program.
    pub(crate) program: &'a Program,
    /// What the report calls it.
    pub(crate) name: String,
    /// Precision on the mesh.
    pub(crate) dtype: String,
    /// Folder to which the program's paths are relative.
    pub(crate) base_dir: Option<&'a Path>,
    /// How it is simulated.
    pub(crate) engine: &'a EngineArgs,
    /// The file with the expected outputs.
    pub(crate) expect: Option<&'a Path>,
    /// How far outputs may be from them.
    pub(crate) tolerance: &'a ToleranceArgs,
    /// Whether the report lists every PE.
    pub(crate) per_pe: bool,
}

/// What came out.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The report.
    pub(crate) report: Report,
    /// The outputs.
    pub(crate) outputs: Tensors<Tensor>,
    /// There are none, because only the time was computed.
    pub(crate) timing_only: bool,
    /// How they differ from the expected ones; empty without any.
    pub(crate) differences: Tensors<Difference>,
    /// What the summary says of the inputs.
    pub(crate) notes: Vec<String>,
}

impl Finished {
    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        if self.differences.values().all(|d| d.mismatches == 0) { Exit::Done } else { Exit::Differs }
    }
}

impl Job<'_> {
    /// Runs the program once a batch, and compares.
    pub(crate) fn run(&self, work: &Work, mut clock: HostSeconds, progress: &Progress) -> Result<Finished, Error> {
        let shapes: Vec<_> = self.program.outputs().into_iter().map(|o| joined_shape(o, work)).collect();
        // Before the simulation: nobody wants to wait minutes for the news of a wrong file.
        let expected = self.expect.map(|path| compare::read_expected(path, &shapes)).transpose()?.unwrap_or_default();
        let (unit, mut notes) = (work.unit.clone(), work.notes.clone());
        let mut items = work.items as u64;
        if self.program.items > 1 && work.batches.len() == 1 {
            items *= u64::from(self.program.items);
            notes.push(format!("the same input {} times, one behind another", self.program.items));
        }
        let sequence = work.sequence.clone();
        let results = execute::run(self.program, work, self.engine, self.base_dir, &mut clock, progress)?;
        let outputs = results.outputs;
        let differences = expected
            .iter()
            .filter_map(|(name, tensor)| {
                Some((name.clone(), compare::compare(outputs.get(name)?, tensor, self.tolerance)))
            })
            .collect();
        let facts = Facts {
            model: self.name.clone(),
            engine: self.engine.engine.simulated().name().into(),
            dtype: self.dtype.clone(),
            host_seconds: clock,
            items,
            unit,
            sequence,
            outputs: compare::reports(&outputs, &differences),
            per_pe: self.per_pe,
        };
        let report = Report::new(self.program, &results.totals, facts);
        if report.leftover_wavelets > 0 {
            tracing::warn!(
                "{} wavelets were left over that nobody took: a sign of a mistake in the program",
                report.leftover_wavelets
            );
        }
        Ok(Finished { report, outputs, timing_only: self.engine.no_numerics, differences, notes })
    }
}

/// The shape of an output when the runs of all batches are side by side on axis 0.
fn joined_shape(output: TensorSpec, work: &Work) -> (String, Vec<usize>) {
    let (count, mut shape) = (work.batches.len(), output.shape);
    if count > 1 {
        match shape.first_mut() {
            Some(rows) if *rows == work.batch => *rows = work.items,
            Some(rows) => *rows *= count,
            None => shape.push(count),
        }
    }
    (output.name, shape)
}

/// Writes the files that were asked for, and prints the report or its summary.
pub(crate) fn publish(finished: &Finished, program: &Program, output: &OutputArgs) -> Result<Exit, Error> {
    if let Some(path) = &output.out {
        write_npz(path, &finished.outputs)?;
    }
    // Serialising numbers, texts and lists cannot fail.
    let json = serde_json::to_string_pretty(&finished.report).unwrap_or_default() + "\n";
    if let Some(path) = &output.report {
        write::text(path, &json)?;
    }
    if output.json {
        write::stdout(&json)?;
    } else {
        write::stdout(&summary::summary(finished, &program.machine))?;
    }
    Ok(finished.exit())
}
