//! The nodes of a graph and what they cost: asked once for all that are alike, such as those of an encoder's layers.

use crate::cost::{NodeCost, handoff_cycles, node_cost};
use crate::cut::{self, Part};
use crate::view::known;
use crate::{CompileError, Options, layout, select};
use petgraph::graph::NodeIndex;
use std::collections::HashMap;
use std::fmt::Write as _;
use waferloom_fabric::Extent;
use waferloom_models::Graph;
use waferloom_models::graph::{ConstantData, Op};

/// The nodes that must be computed.
pub(super) struct Nodes<'a> {
    pub(super) graph: &'a Graph,
    pub(super) options: &'a Options,
    /// Operands first.
    pub(super) ids: Vec<NodeIndex>,
    /// The values that flow over each place between two nodes.
    pub(super) crossing: Vec<Vec<NodeIndex>>,
    /// For each node the place among the kinds of what is like it.
    kinds: Vec<usize>,
    /// A node of each kind.
    examples: Vec<NodeIndex>,
}

/// Cycles and bytes of a PE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) cycles: u64,
    pub(super) bytes: u64,
}

/// What one node takes of a PE.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    pub(super) cycles: u64,
    /// Bytes of weights.
    pub(super) weight_bytes: u64,
    /// Bytes while it is computed.
    pub(super) working_bytes: u64,
    /// Bytes of code and of tables, which nodes that are alike share where their layers repeat.
    pub(super) shared_bytes: u64,
}

impl<'a> Nodes<'a> {
    pub(super) fn new(graph: &'a Graph, options: &'a Options) -> Self {
        let ids = cut::computed(graph);
        let mut known: HashMap<String, usize> = HashMap::new();
        let (mut kinds, mut examples) = (Vec::with_capacity(ids.len()), Vec::new());
        for &id in &ids {
            kinds.push(*known.entry(kind(graph, id, options)).or_insert_with(|| {
                examples.push(id);
                examples.len() - 1
            }));
        }
        Self { graph, options, crossing: crossing(graph, ids.len()), ids, kinds, examples }
    }

    /// What each node takes on a rectangle.
    pub(super) fn shares(&self, grid: Extent) -> Result<Vec<Share>, CompileError> {
        let share = |&id: &NodeIndex| {
            let cost = node_cost(self.graph, id, grid, self.options)?;
            let NodeCost { cycles, constant_bytes, activation_bytes, .. } = cost;
            let shared_bytes = cost.table_bytes + cost.code_bytes;
            // Other constants, such as masks, may be those of many nodes.
            let holds_weights = matches!(self.graph.node(id).op, Op::MatMul | Op::Gather { .. });
            let weight_bytes = if holds_weights { constant_bytes } else { 0 };
            Ok(Share { cycles, weight_bytes, working_bytes: activation_bytes, shared_bytes })
        };
        let shares: Vec<Share> = self.examples.iter().map(share).collect::<Result<_, CompileError>>()?;
        Ok(self.kinds.iter().map(|&kind| shares[kind]).collect())
    }

    /// Bytes of code and tables of the nodes from `first` up to each place behind it, once for nodes that are alike; `shares` are
    /// those of all nodes.
    pub(super) fn shared_bytes(&self, first: usize, shares: &[Share]) -> Vec<u64> {
        let mut is_new = vec![true; self.examples.len()];
        let mut sum = 0;
        let nodes = self.kinds.iter().zip(shares).skip(first);
        let sums = nodes.map(|(&kind, share)| {
            sum += if std::mem::take(&mut is_new[kind]) { share.shared_bytes } else { 0 };
            sum
        });
        std::iter::once(0).chain(sums).collect()
    }

    /// What the values that flow over a place take of a stage beside it.
    pub(super) fn flow(&self, place: usize, grid: Extent) -> Sums {
        let values = self.crossing.get(place).into_iter().flatten();
        values.fold(Sums::default(), |sums, &id| Sums {
            cycles: sums.cycles + handoff_cycles(self.graph, id, grid, self.options),
            bytes: sums.bytes + value_bytes(self.graph, id, grid, self.options),
        })
    }
}

/// The values that flow over each place between two nodes.
fn crossing(graph: &Graph, nodes: usize) -> Vec<Vec<NodeIndex>> {
    let ends: Vec<usize> = (1..nodes).collect();
    let parts = cut::into_parts(graph, &ends);
    let leaving = |part: Part| part.leave;
    std::iter::once(Vec::new()).chain(parts.into_iter().map(leaving)).collect()
}

/// Bytes of a value's tile.
fn value_bytes(graph: &Graph, id: NodeIndex, grid: Extent, options: &Options) -> u64 {
    let layout = layout::of(graph, id, grid, options.dtype);
    layout.tile_elements() as u64 * u64::from(options.dtype.bytes())
}

/// All that a node's cost follows from, in words: nodes with the same words cost the same on every rectangle.
fn kind(graph: &Graph, id: NodeIndex, options: &Options) -> String {
    let node = graph.node(id);
    let mut text = format!("{:?} {:?}", node.op, node.output);
    let wanted = options.overrides.products.iter().find(|product| product.node == node.name);
    let operands = graph.operands(id);
    let addend = select::addend(graph, id).and_then(|addend| operands.iter().position(|&operand| operand == addend));
    // Writing into a string does not fail.
    let _ = write!(text, " {addend:?} {:?}", wanted.map(|product| product.algorithm));
    // What is asked for twice is moved once.
    let mut met: Vec<NodeIndex> = Vec::new();
    for operand in operands {
        let (movements, origins) = known::description(graph, operand);
        let _ = write!(text, " ({movements}");
        for id in std::iter::once(operand).chain(unrepeated(graph, operand)).chain(origins) {
            let place = met.iter().position(|&known| known == id).unwrap_or_else(|| {
                met.push(id);
                met.len() - 1
            });
            let constant = match &graph.node(id).op {
                Op::Constant(ConstantData::Float(values)) => Some(values.len() == 1),
                Op::Constant(ConstantData::Int(values)) => Some(values.len() == 1),
                _ => None,
            };
            let _ = write!(text, " {place} {constant:?} {:?}", graph.node(id).output);
        }
        text.push(')');
    }
    text
}

/// What is repeated along some dimensions to make a value: element-wise operators take it as it is.
fn unrepeated(graph: &Graph, mut id: NodeIndex) -> Option<NodeIndex> {
    while graph.node(id).op == Op::Broadcast {
        id = *graph.operands(id).first()?;
    }
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use waferloom_fabric::{Dtype, Machine};
    use waferloom_models::text;

    /// Two layers that are alike but for their weights; the second one's sum is of a product with itself in another order.
    const GRAPH: &str = r#"graph "g"
%0 = input : f[4, 6] "x"
%1 = constant random : f[6, 6] "w"
%2 = matmul %0, %1 : f[4, 6] "first"
%3 = permute %2 axes=[1, 0] : f[6, 4] "turned"
%4 = permute %3 axes=[1, 0] : f[4, 6] "back"
%5 = mul %2, %4 : f[4, 6] "one"
%6 = constant random : f[6, 6] "v"
%7 = matmul %5, %6 : f[4, 6] "second"
%8 = mul %7, %7 : f[4, 6] "square"
inputs %0
output %8 "y"
"#;

    #[test]
    fn nodes_that_are_alike_cost_the_same() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/models");
        let (mut nodes, mut kinds) = (0, 0);
        for name in ["dnabert2", "nucleotide_v2", "vit", "rad_dino", "cxr_change"] {
            let inputs = waferloom_models::read_npz(&folder.join(name).join("inputs.npz")).expect("inputs");
            let input_shapes = inputs.into_iter().map(|(name, tensor)| (name, tensor.shape)).collect();
            let options = waferloom_models::ImportOptions { input_shapes, dims: std::collections::BTreeMap::default() };
            let model =
                waferloom_models::import_onnx(&folder.join(name).join("model.onnx"), &options).expect("a model");
            let graph = crate::prepare(&model.graph).expect("a graph");
            for (width, height) in [(1, 1), (3, 5), (16, 16), (40, 9)] {
                let machine = Machine::builtin("wse2").expect("built in");
                let grid = Extent { width, height };
                let options = Options::new(machine, grid, Dtype::F16);
                let of = Nodes::new(&graph, &options);
                (nodes, kinds) = (nodes + of.ids.len(), kinds + of.examples.len());
                for (&id, &kind) in of.ids.iter().zip(&of.kinds) {
                    let cost = |id| node_cost(&graph, id, grid, &options).expect("it can be computed");
                    assert_eq!(cost(id), cost(of.examples[kind]), "{name} {grid:?} {}", graph.node(id).name);
                }
            }
        }
        assert!(kinds * 5 < nodes * 4, "{kinds} kinds of {nodes} nodes: layers are alike");
    }

    #[test]
    fn products_of_the_same_sizes_are_alike_and_a_square_is_no_product_of_two() {
        let graph = text::parse(&GRAPH.replace("random", &format!("{{{}}}", ["0.5"; 36].join(", ")))).expect("valid");
        let machine = Machine::builtin("wse2").expect("built in");
        let options = Options::new(machine, Extent { width: 3, height: 2 }, Dtype::F32);
        let nodes = Nodes::new(&graph, &options);
        assert_eq!(nodes.kinds, [0, 1, 0, 2]);
    }
}
