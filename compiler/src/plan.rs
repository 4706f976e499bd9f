//! [`Plan`]: what the compiler has decided, with a text form (RON) that prints and parses back to the same value.

mod print;
mod step;
mod tunables;

pub use step::{Algorithm, Elementwise, KernelChoice, Source, Step, StepKind};
pub use tunables::Tunable;

use crate::overrides::{Overrides, ProductOverride, StageOverride};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use waferloom_fabric::{Coord, Distribution, Dtype, Extent, Machine, Region};
use waferloom_kernels::relayout::Aim;

/// The compiler's decisions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Name of the model.
    pub model: String,
    /// The machine.
    pub machine: Machine,
    /// The PEs of all stages: the grid that the program runs on.
    pub grid: Extent,
    /// The PEs that the planner could take.
    pub offered: Extent,
    /// Type of floating-point tensors.
    pub dtype: Dtype,
    /// Inputs of the model that flow through the stages in one run, one behind another.
    pub items: u32,
    /// What relayouts take little of: memory, where the model would not fit otherwise.
    #[serde(default)]
    pub relayouts: Aim,
    /// What the planner has weighed, what was chosen first: the best of each number of stages, what was tried before that, and
    /// the whole grid as one stage.
    pub alternatives: Vec<Alternative>,
    /// The stages, from west to east.
    pub stages: Vec<Stage>,
}

/// What the cost model says of stages on a rectangle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alternative {
    /// The stages.
    pub stages: u16,
    /// The PEs of all stages.
    pub grid: Extent,
    /// Cycles of the slowest stage: between two items in the steady state.
    pub interval_cycles: u64,
    /// Cycles of all stages, one after another: of one item.
    pub latency_cycles: u64,
    /// Whether it fits the PEs; `None` when nobody had to find out.
    pub fits: Option<bool>,
}

/// Consecutive operators that run one after another on a rectangle of PEs of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// The rectangle's north-west corner.
    pub origin: Coord,
    /// Its size.
    pub grid: Extent,
    /// Name of the last node of the model that it computes.
    pub last: String,
    /// Everything that lies on the rectangle as a tensor.
    pub tensors: Vec<TensorPlan>,
    /// What its PEs do, in order.
    pub steps: Vec<Step>,
    /// Steps that share their code, in order; without an entry each step has code of its own.
    #[serde(default)]
    pub repeats: Vec<Repeat>,
}

/// Steps that are the same turn after turn, but for the tensors that they work on, such as the layers of an encoder: where the
/// addresses of the tensors allow it, one body of code runs for all turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repeat {
    /// The first step of the first turn.
    pub first: usize,
    /// Steps of a turn, at least 1.
    pub steps: usize,
    /// Turns, at least 2.
    pub turns: usize,
}

impl Repeat {
    /// The steps of all turns.
    pub fn range(&self) -> Range<usize> {
        self.first..self.first.saturating_add(self.steps.saturating_mul(self.turns))
    }
}

/// Index of a tensor in [`Stage::tensors`].
pub type TensorId = usize;

/// A tensor on the mesh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorPlan {
    /// Name, unique in its stage.
    pub name: String,
    /// Type of its elements.
    pub dtype: Dtype,
    /// How it lies on the mesh.
    pub distribution: Distribution,
    /// Where its bytes come from.
    pub storage: Storage,
}

/// Where the bytes of a tensor come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Storage {
    /// A step writes them.
    Computed {
        /// Address of the tile in each PE.
        address: u32,
    },
    /// They lie in SRAM before the first cycle: the value of a graph node that only depends on constants.
    Constant {
        /// Index of the node.
        node: usize,
        /// Address of the tile in each PE.
        address: u32,
    },
    /// They are those of another tensor that looks the same in every PE.
    Alias(TensorId),
}

impl TensorPlan {
    /// Bytes of a tile: whole words.
    pub fn tile_bytes(&self) -> u64 {
        (self.distribution.tile_elements() as u64 * u64::from(self.dtype.bytes())).next_multiple_of(4)
    }
}

/// Memory of one step beside its tensors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Area {
    /// Length in bytes.
    pub bytes: u32,
    /// Address in each PE.
    pub address: u32,
}

impl Area {
    /// An area that has no address yet.
    pub fn of(bytes: u32) -> Self {
        Self { bytes, address: 0 }
    }
}

impl Stage {
    /// The tensor that owns a tensor's bytes, and their address.
    pub fn storage(&self, tensor: TensorId) -> (TensorId, u32) {
        match self.tensors[tensor].storage {
            Storage::Computed { address } | Storage::Constant { address, .. } => (tensor, address),
            Storage::Alias(other) => self.storage(other),
        }
    }

    /// Checks that repeats have two turns, follow each other and end with the steps.
    fn check_repeats(&self) -> Result<(), String> {
        let mut end = 0;
        for repeat in &self.repeats {
            let Repeat { first, steps, turns } = *repeat;
            if steps == 0 || turns < 2 {
                return Err(format!(
                    "a repeat of {steps} steps and {turns} turns; give it 1 and 2 at least, or delete it"
                ));
            }
            if first < end || repeat.range().end > self.steps.len() {
                let range = repeat.range();
                return Err(format!(
                    "a repeat takes the steps {} to {}, but those from {end} to {} are left; delete it",
                    range.start,
                    range.end,
                    self.steps.len()
                ));
            }
            end = repeat.range().end;
        }
        Ok(())
    }

    /// The PEs of the stage.
    pub fn region(&self) -> Region {
        Region::rect(self.origin.x, self.origin.y, self.grid.width, self.grid.height)
    }
}

impl Plan {
    /// The choices of this plan, as a plan file would ask for them.
    pub fn choices(&self) -> Overrides {
        let stages = self.stages.iter().map(|s| StageOverride { last: s.last.clone(), columns: s.grid.width });
        let product = |step: &Step| match &step.kind {
            StepKind::MatMul { choice: KernelChoice { algorithm, runner_up: Some(_), .. }, .. } => {
                Some(ProductOverride { node: step.name.clone(), algorithm: *algorithm })
            }
            _ => None,
        };
        Overrides {
            rows: Some(self.grid.height),
            stages: stages.collect(),
            products: self.steps().filter_map(product).collect(),
        }
    }

    /// Steps of all stages.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.stages.iter().flat_map(|stage| &stage.steps)
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// A sentence with the line and column of the first fault, or that names the stage whose repeats are wrong.
    pub fn from_ron(text: &str) -> Result<Self, String> {
        let plan: Self = ron::from_str(text)
            .map_err(|e| format!("line {}, column {}: {}", e.span.start.line, e.span.start.col, e.code))?;
        for (index, stage) in plan.stages.iter().enumerate() {
            stage.check_repeats().map_err(|fault| format!("stage {index}: {fault}"))?;
        }
        Ok(plan)
    }

    /// The text form.
    ///
    /// # Panics
    /// Never: every plan has a RON form.
    pub fn to_ron(&self) -> String {
        let config = ron::ser::PrettyConfig::default().depth_limit(4);
        ron::ser::to_string_pretty(self, config).expect("a plan has a RON form")
    }
}
