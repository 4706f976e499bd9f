//! [`Plan`]: what the compiler has decided, with a text form (RON) that prints and parses back to the same value.

mod print;
mod step;

pub use step::{Elementwise, Source, Step, StepKind};

use serde::{Deserialize, Serialize};
use waferloom_fabric::{Coord, Distribution, Dtype, Extent, Machine, Region};

/// The compiler's decisions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Name of the model.
    pub model: String,
    /// The machine.
    pub machine: Machine,
    /// The PEs of all stages.
    pub grid: Extent,
    /// Type of floating-point tensors.
    pub dtype: Dtype,
    /// Inputs of the model that flow through the stages in one run, one behind another.
    pub items: u32,
    /// The stages, from west to east.
    pub stages: Vec<Stage>,
}

/// Consecutive operators that run one after another on a rectangle of PEs of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// The rectangle's north-west corner.
    pub origin: Coord,
    /// Its size.
    pub grid: Extent,
    /// Everything that lies on the rectangle as a tensor.
    pub tensors: Vec<TensorPlan>,
    /// What its PEs do, in order.
    pub steps: Vec<Step>,
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

    /// The PEs of the stage.
    pub fn region(&self) -> Region {
        Region::rect(self.origin.x, self.origin.y, self.grid.width, self.grid.height)
    }
}

impl Plan {
    /// Steps of all stages.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.stages.iter().flat_map(|stage| &stage.steps)
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// A sentence with the line and column of the first fault.
    pub fn from_ron(text: &str) -> Result<Self, String> {
        ron::from_str(text).map_err(|e| format!("line {}, column {}: {}", e.span.start.line, e.span.start.col, e.code))
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
