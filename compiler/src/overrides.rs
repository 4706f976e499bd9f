//! Choices that a user makes instead of the planner, from a RON file.

use crate::plan::Algorithm;
use serde::{Deserialize, Serialize};

/// Choices that a user makes instead of the planner. What a file leaves out the planner chooses.
///
/// ```ron
/// (
///     rows: Some(16),
///     stages: [
///         (last: "layer 5 output", columns: 12),
///         (last: "logits", columns: 4),
///     ],
///     products: [(node: "head", algorithm: Summa)],
/// )
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Overrides {
    /// Rows of the stages' rectangles; `None` for the planner's, or with stages for those of the grid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u16>,
    /// The stages from west to east; none for the planner's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageOverride>,
    /// Kernels of products; those that are not here are the planner's to choose.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub products: Vec<ProductOverride>,
}

/// A product as a user wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProductOverride {
    /// Name of the node.
    pub node: String,
    /// The kernel.
    pub algorithm: Algorithm,
}

/// A stage as a user wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageOverride {
    /// Name of the last node that it computes.
    pub last: String,
    /// Columns of its rectangle.
    pub columns: u16,
}

impl Overrides {
    /// Reads a file's text.
    ///
    /// # Errors
    /// A sentence with the line and column of the first fault.
    pub fn from_ron(text: &str) -> Result<Self, String> {
        ron::from_str(text).map_err(|e| format!("line {}, column {}: {}", e.span.start.line, e.span.start.col, e.code))
    }

    /// The text of a file with these choices.
    ///
    /// # Panics
    /// Never: all choices have a RON form.
    pub fn to_ron(&self) -> String {
        let config = ron::ser::PrettyConfig::default().depth_limit(2);
        ron::ser::to_string_pretty(self, config).expect("choices have a RON form")
    }
}
