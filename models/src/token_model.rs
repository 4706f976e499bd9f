//! [`TokenModel`]: what a model over tokens takes as inputs, and windows of DNA as these inputs.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::graph::NodeIndex;

use crate::fasta::Window;
use crate::graph::{ElementType, Graph, Op, UnaryOp};
use crate::tensor::{Tensor, TensorData};

const IDS: &str = "input_ids";
const MASK: &str = "attention_mask";
const TYPES: &str = "token_type_ids";

/// The inputs of a model over tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenModel {
    /// Windows that the model takes at once.
    pub batch: usize,
    /// Tokens of a window.
    pub tokens: usize,
    /// Entries of the table in which the model looks tokens up; `None` when it does something else with them.
    pub vocabulary: Option<usize>,
    /// Names of the inputs.
    inputs: Vec<String>,
}

/// Why windows cannot be a model's inputs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenModelError {
    /// The model takes something else.
    #[error(
        "the model's inputs are not those of a model over tokens: {problem}; its inputs are {}, wanted are {IDS} [batch, tokens] and, if it likes, {MASK} and {TYPES} of the same shape: give --inputs instead",
        .inputs.join(", ")
    )]
    Inputs {
        /// What does not fit.
        problem: String,
        /// Names, types and shapes.
        inputs: Vec<String>,
    },
    /// Too few or too many windows.
    #[error("{found} windows do not make a batch; the model takes 1 to {batch} windows at once")]
    Batch {
        /// Windows given.
        found: usize,
        /// Windows that fit.
        batch: usize,
    },
    /// A window of another length.
    #[error(
        "the window of \"{record}\" from base {start} has {found} tokens; the model takes {tokens}: cut windows of that length"
    )]
    Length {
        /// Record of the window.
        record: String,
        /// Its first base.
        start: u64,
        /// Its tokens.
        found: usize,
        /// Tokens that the model takes.
        tokens: usize,
    },
}

impl TokenModel {
    /// The token inputs of a model.
    ///
    /// # Errors
    /// When the model has other inputs, or these in other shapes.
    pub fn of(graph: &Graph) -> Result<Self, TokenModelError> {
        let say = |id: &NodeIndex| {
            let node = graph.node(*id);
            format!("{} {:?} {:?}", node.name, node.output.element, node.output.shape)
        };
        let fault =
            |problem: String| TokenModelError::Inputs { problem, inputs: graph.inputs.iter().map(say).collect() };
        let node = |id: &NodeIndex| graph.node(*id);
        let ids = graph.inputs.iter().find(|id| node(id).name == IDS);
        let Some(&ids) = ids else { return Err(fault(format!("there is no {IDS}"))) };
        let output = &node(&ids).output;
        let (&[batch, tokens], ElementType::Int) = (output.shape.as_slice(), output.element) else {
            return Err(fault(format!("{IDS} is no [batch, tokens] of integers")));
        };
        for id in &graph.inputs {
            let input = node(id);
            if ![IDS, MASK, TYPES].contains(&input.name.as_str()) {
                return Err(fault(format!("what to give for {} is not known", input.name)));
            }
            if input.output.shape != output.shape {
                return Err(fault(format!("{} and {IDS} differ in shape", input.name)));
            }
        }
        let inputs = graph.inputs.iter().map(|id| node(id).name.clone()).collect();
        Ok(Self { batch, tokens, vocabulary: vocabulary(graph, ids), inputs })
    }

    /// The model's inputs for a batch of windows. Fewer windows than the model takes are filled up with copies of the last
    /// one; leave out their results.
    ///
    /// # Errors
    /// When there are no windows or too many, or a window has another length.
    pub fn batch(&self, windows: &[Window]) -> Result<BTreeMap<String, Tensor>, TokenModelError> {
        let wrong_number = TokenModelError::Batch { found: windows.len(), batch: self.batch };
        let Some(last) = windows.last().filter(|_| windows.len() <= self.batch) else { return Err(wrong_number) };
        if let Some(window) = windows.iter().find(|w| w.ids.len() != self.tokens || w.mask.len() != self.tokens) {
            return Err(TokenModelError::Length {
                record: window.record.clone(),
                start: window.start,
                found: window.ids.len(),
                tokens: self.tokens,
            });
        }
        let rows: Vec<&Window> = windows.iter().chain(std::iter::repeat(last)).take(self.batch).collect();
        let tensor = |name: &String| {
            let data = match name.as_str() {
                IDS => rows.iter().flat_map(|w| w.ids.clone()).collect(),
                MASK => rows.iter().flat_map(|w| w.mask.clone()).collect(),
                _ => vec![0; self.batch * self.tokens],
            };
            (name.clone(), Tensor { shape: vec![self.batch, self.tokens], data: TensorData::I64(data) })
        };
        Ok(self.inputs.iter().map(tensor).collect())
    }
}

/// Entries of the tables that tokens index; the smallest when there are several.
fn vocabulary(graph: &Graph, ids: NodeIndex) -> Option<usize> {
    // The tokens themselves, also in another shape: operands come before their users.
    let mut tokens = BTreeSet::from([ids]);
    let mut sizes = Vec::new();
    for id in graph.nodes() {
        let operands = graph.operands(id);
        match (&graph.node(id).op, operands.as_slice()) {
            (Op::Gather { axis }, [table, indices]) if tokens.contains(indices) => {
                sizes.push(graph.shape(*table)[*axis]);
            }
            (Op::Reshape | Op::Permute { .. } | Op::Broadcast | Op::Unary(UnaryOp::Cast), [a])
                if tokens.contains(a) =>
            {
                tokens.insert(id);
            }
            _ => {}
        }
    }
    sizes.into_iter().min()
}
