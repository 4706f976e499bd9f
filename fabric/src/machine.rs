//! The parameters of a machine. Facts live in RON files, never in code; `docs/machine.md` gives the source of each.

use crate::geometry::Extent;
use serde::{Deserialize, Serialize};

/// Everything that the compiler and the engines know of a machine.
///
/// Read from a RON file: `fabric/machines/*.ron` are built in (see [`Machine::builtin`]), users can write others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Short name, as `--machine` takes it.
    pub name: String,
    /// The largest rectangle that a program may use.
    pub fabric: Extent,
    /// Clock in hertz.
    pub clock_hz: f64,
    /// SRAM of a PE for code and data, in bytes.
    pub sram_bytes: u32,
    /// Banks of a PE's SRAM; consecutive 64-bit words lie in consecutive banks.
    pub sram_banks: u32,
    /// Two reads conflict when their bank numbers are equal modulo this.
    pub bank_conflict_modulo: u32,
    /// Vector operands that can be read from memory in one cycle.
    pub sram_reads_per_cycle: u32,
    /// Bytes of SRAM that one instruction takes.
    pub instruction_bytes: u32,
    /// Bytes of SRAM that each vector descriptor of an instruction takes beside it.
    pub descriptor_bytes: u32,
    /// Colours that the routers know: ids 0 to `colors - 1`.
    pub colors: u8,
    /// Capacity of each input queue of a PE, in wavelets, by queue id.
    pub input_queue_depths: Vec<u16>,
    /// Capacity of each output queue of a PE, in wavelets, by queue id.
    pub output_queue_depths: Vec<u16>,
    /// Capacity of the buffer of one colour at one input port of a router, in wavelets.
    pub router_queue_depth: u16,
    /// Microthreads of a PE for asynchronous vector instructions.
    pub microthreads: u8,
    /// Task ids 0 to `tasks - 1` may be used.
    pub tasks: u8,
    /// Scalar registers of a PE.
    pub registers: u8,
    /// Cycles between a PE's datapath and its router, each way.
    pub ramp_cycles: u32,
    /// Cycles that a wavelet takes from a router to the next one.
    pub hop_cycles: u32,
    /// Cycles before the first element of a vector instruction.
    pub vector_startup_cycles: u32,
    /// Cycles of one scalar instruction (arithmetic, load, store, activate, block, unblock).
    pub scalar_cycles: u32,
    /// Cycles of one branch: an `if`, or one turn of a loop.
    pub branch_cycles: u32,
    /// Cycles between the end of a task and the first instruction of the next one.
    pub task_switch_cycles: u32,
    /// Elements a cycle of a vector instruction whose operands are all 32 bits wide.
    pub lanes_32: u32,
    /// Elements a cycle when operands of 16 and 32 bits mix.
    pub lanes_mixed: u32,
    /// Elements a cycle when all operands are 16 bits wide.
    pub lanes_16: u32,
    /// Wavelets a cycle over all links between the fabric's edge and the host, each way.
    pub host_wavelets_per_cycle: f64,
}

/// The built-in machine files: name and RON text.
const BUILTIN: [(&str, &str); 3] = [
    ("wse2", include_str!("../machines/wse2.ron")),
    ("wse3", include_str!("../machines/wse3.ron")),
    ("bench16", include_str!("../machines/bench16.ron")),
];

/// Cycles of one thing: so few that arithmetic on times cannot overflow within a run.
const MOST_CYCLES: u32 = 1 << 20;

/// Why a machine file was refused.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// Not RON, or not the fields of [`Machine`].
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// Line of the fault, from 1.
        line: usize,
        /// Column of the fault, from 1.
        column: usize,
        /// What the parser says.
        message: String,
    },
    /// A field holds what no machine can be.
    #[error("`{field}` is {value}; it must be {must}")]
    Value {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: String,
        /// What it may hold.
        must: &'static str,
    },
}

impl Machine {
    /// Names of the built-in machines.
    pub fn builtin_names() -> impl Iterator<Item = &'static str> {
        BUILTIN.iter().map(|(name, _)| *name)
    }

    /// A built-in machine, or `None` when there is none of that name.
    ///
    /// # Panics
    /// Never: a test parses every built-in file.
    pub fn builtin(name: &str) -> Option<Self> {
        let (_, text) = BUILTIN.iter().find(|(known, _)| *known == name)?;
        Some(Self::from_ron(text).expect("built-in machine files are valid"))
    }

    /// Reads the text of a machine file.
    ///
    /// # Errors
    /// Text that is not RON, fields that are unknown or missing, and values that no machine can have.
    pub fn from_ron(text: &str) -> Result<Self, MachineError> {
        let machine: Self = ron::from_str(text).map_err(|e| MachineError::Syntax {
            line: e.span.start.line,
            column: e.span.start.col,
            message: e.code.to_string(),
        })?;
        machine.check()?;
        Ok(machine)
    }

    /// The text of a machine file that reads back as this machine.
    ///
    /// # Panics
    /// Never: every field has a RON form.
    pub fn to_ron(&self) -> String {
        ron::ser::to_string_pretty(self, ron::ser::PrettyConfig::default()).expect("a machine has a RON form")
    }

    /// Checks the values that arithmetic elsewhere relies on.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn check(&self) -> Result<(), MachineError> {
        let bad = |field, value: &dyn std::fmt::Display, must| {
            Err(MachineError::Value { field, value: value.to_string(), must })
        };
        let at_least_one = [
            ("fabric.width", u32::from(self.fabric.width)),
            ("fabric.height", u32::from(self.fabric.height)),
            ("sram_bytes", self.sram_bytes),
            ("sram_banks", self.sram_banks),
            ("bank_conflict_modulo", self.bank_conflict_modulo),
            ("sram_reads_per_cycle", self.sram_reads_per_cycle),
            ("colors", u32::from(self.colors)),
            ("router_queue_depth", u32::from(self.router_queue_depth)),
            ("hop_cycles", self.hop_cycles),
            ("scalar_cycles", self.scalar_cycles),
            ("branch_cycles", self.branch_cycles),
            ("lanes_32", self.lanes_32),
            ("lanes_mixed", self.lanes_mixed),
            ("lanes_16", self.lanes_16),
        ];
        for (field, value) in at_least_one {
            if value == 0 {
                return bad(field, &value, "at least 1");
            }
        }
        if !(self.clock_hz > 0.0 && self.clock_hz.is_finite()) {
            return bad("clock_hz", &self.clock_hz, "a positive number");
        }
        if !(self.host_wavelets_per_cycle > 0.0 && self.host_wavelets_per_cycle.is_finite()) {
            return bad("host_wavelets_per_cycle", &self.host_wavelets_per_cycle, "a positive number");
        }
        let at_most = [
            ("sram_bytes", self.sram_bytes, 1 << 24, "at most 16 MiB"),
            ("colors", self.colors.into(), 64, "at most 64"),
            ("tasks", self.tasks.into(), 64, "at most 64"),
            ("hop_cycles", self.hop_cycles, 1 << 15, "at most 32768"),
            ("ramp_cycles", self.ramp_cycles, MOST_CYCLES, "at most 1048576"),
            ("vector_startup_cycles", self.vector_startup_cycles, MOST_CYCLES, "at most 1048576"),
            ("scalar_cycles", self.scalar_cycles, MOST_CYCLES, "at most 1048576"),
            ("branch_cycles", self.branch_cycles, MOST_CYCLES, "at most 1048576"),
            ("task_switch_cycles", self.task_switch_cycles, MOST_CYCLES, "at most 1048576"),
        ];
        for (field, value, most, must) in at_most {
            if value > most {
                return bad(field, &value, must);
            }
        }
        if self.host_wavelets_per_cycle < 1e-6 {
            return bad("host_wavelets_per_cycle", &self.host_wavelets_per_cycle, "at least one in a million cycles");
        }
        for (field, depths) in
            [("input_queue_depths", &self.input_queue_depths), ("output_queue_depths", &self.output_queue_depths)]
        {
            if depths.is_empty() || depths.len() > 32 || depths.contains(&0) {
                return bad(field, &format!("{depths:?}"), "1 to 32 depths, each at least 1");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_builtin_parses_and_prints_back() {
        for name in Machine::builtin_names() {
            let machine = Machine::builtin(name).expect("built in");
            assert_eq!(machine.name, name);
            assert_eq!(Machine::from_ron(&machine.to_ron()).expect("own text"), machine);
        }
    }

    #[test]
    fn values_that_time_cannot_be_reckoned_with_are_refused() {
        let text = Machine::builtin("bench16").expect("built in").to_ron();
        let cases = [
            ("hop_cycles: 1,", "hop_cycles: 65536,"),
            ("tasks: 31", "tasks: 65"),
            ("host_wavelets_per_cycle: 44.1", "host_wavelets_per_cycle: 1e-300"),
        ];
        for (from, to) in cases {
            let broken = text.replace(from, to);
            assert_ne!(text, broken);
            let error = Machine::from_ron(&broken).expect_err(to).to_string();
            assert!(error.contains(&to[..5]), "{error}");
        }
    }

    #[test]
    fn a_zero_clock_is_refused_by_name() {
        let text = Machine::builtin("bench16").expect("built in").to_ron();
        let broken = text.replace("clock_hz: 850000000.0", "clock_hz: 0.0");
        assert_ne!(text, broken);
        assert!(Machine::from_ron(&broken).expect_err("no clock").to_string().contains("clock_hz"));
    }
}
