//! Constant tensors: the values of nodes that depend on constants alone, in the mesh's types.

use super::Lowering;
use crate::plan::{Storage, TensorId};
use crate::{CompileError, view};
use petgraph::graph::NodeIndex;
use waferloom_fabric::{Constant, Dtype, Payload};
use waferloom_models::graph::{ConstantData, Op};

impl Lowering<'_> {
    /// The constant of a tensor, or `None` when it is none.
    pub(super) fn constant(&self, id: TensorId) -> Result<Option<Constant>, CompileError> {
        let tensor = &self.stage.tensors[id];
        let Storage::Constant { node, address } = tensor.storage else { return Ok(None) };
        let bits = self.constant_bits(NodeIndex::new(node), tensor.dtype)?;
        let bytes = bits.iter().flat_map(|b| b.to_le_bytes().into_iter().take(tensor.dtype.bytes() as usize)).collect();
        Ok(Some(Constant {
            name: tensor.name.clone(),
            dtype: tensor.dtype,
            distribution: tensor.distribution.clone(),
            origin: self.stage.origin,
            address,
            payload: Payload::Inline(bytes),
        }))
    }

    /// The elements of a constant value as bits of the mesh's type.
    fn constant_bits(&self, id: NodeIndex, dtype: Dtype) -> Result<Vec<u32>, CompileError> {
        let mismatch = |problem: String| CompileError::Mismatch { problem };
        if id.index() >= self.graph.dag.node_count() {
            return Err(mismatch(format!("it names node {}, which is not there", id.index())));
        }
        let view = view::of(self.graph, id);
        let mut bits = vec![0u32; view.elements];
        for piece in &view.pieces {
            let node = self.graph.node(piece.node);
            let Op::Constant(data) = &node.op else {
                return Err(mismatch(format!("node \"{}\" is not constant", node.name)));
            };
            let element = |i: usize| match data {
                // A value that the graph says is a float lies on the mesh as one. Finite numbers stay finite.
                ConstantData::Float(values) => dtype.narrow_finite(values[i]).ok_or_else(|| {
                    mismatch(format!("the constant \"{}\" holds floats, its tensor {}", node.name, dtype.name()))
                }),
                ConstantData::Int(values) => i32::try_from(values[i]).map(|n| n as u32).map_err(|_| {
                    mismatch(format!("the constant \"{}\" holds {}, which does not fit 32 bits", node.name, values[i]))
                }),
            };
            for (bits, from) in bits.iter_mut().zip(piece.map(view.elements)) {
                if let Some(from) = from {
                    *bits = element(from as usize)?;
                }
            }
        }
        Ok(bits)
    }
}
