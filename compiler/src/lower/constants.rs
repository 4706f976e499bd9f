//! Constant tensors: the values of nodes that depend on constants alone, in the mesh's types.

use super::Lowering;
use crate::CompileError;
use crate::plan::{Storage, TensorId};
use crate::view::Piece;
use petgraph::graph::NodeIndex;
use rayon::prelude::*;
use waferloom_fabric::{Constant, Dtype, Payload};
use waferloom_models::graph::{ConstantData, Op};

/// Elements of a constant that one thread converts at a time.
const PARALLEL_ELEMENTS: usize = 1 << 14;

impl Lowering<'_> {
    /// The constant of a tensor, or `None` when it is none.
    pub(super) fn constant(&mut self, id: TensorId) -> Result<Option<Constant>, CompileError> {
        let tensor = &self.stage.tensors[id];
        let Storage::Constant { node, address } = tensor.storage else { return Ok(None) };
        let bytes = self.constant_bytes(NodeIndex::new(node), tensor.dtype)?;
        Ok(Some(Constant {
            name: tensor.name.clone(),
            dtype: tensor.dtype,
            distribution: tensor.distribution.clone(),
            origin: self.stage.origin,
            address,
            payload: Payload::Inline(bytes),
        }))
    }

    /// The elements of a constant value in the mesh's type, little-endian.
    fn constant_bytes(&mut self, id: NodeIndex, dtype: Dtype) -> Result<Vec<u8>, CompileError> {
        let mismatch = |problem: String| CompileError::Mismatch { problem };
        if id.index() >= self.graph.dag.node_count() {
            return Err(mismatch(format!("it names node {}, which is not there", id.index())));
        }
        let view = self.relayouts.views.of(self.graph, id);
        let mut bytes = vec![0u8; view.elements * dtype.bytes() as usize];
        for piece in &view.pieces {
            let node = self.graph.node(piece.node);
            match &node.op {
                // A value that the graph says is a float lies on the mesh as one. Finite numbers stay finite.
                // In their own type as they are.
                Op::Constant(ConstantData::Float(values)) if dtype == Dtype::F32 => {
                    write(&mut bytes, dtype, piece, |from| values[from].to_bits());
                }
                Op::Constant(ConstantData::Float(values)) if dtype.is_float() => {
                    write(&mut bytes, dtype, piece, |from| dtype.narrow_finite(values[from]).unwrap_or_default());
                }
                Op::Constant(ConstantData::Float(_)) => {
                    let (name, dtype) = (&node.name, dtype.name());
                    return Err(mismatch(format!("the constant \"{name}\" holds floats, its tensor {dtype}")));
                }
                Op::Constant(ConstantData::Int(values)) => {
                    let used = (0..view.elements).filter_map(|i| piece.source(i));
                    if let Some(value) = used.map(|from| values[from]).find(|&value| i32::try_from(value).is_err()) {
                        let name = &node.name;
                        return Err(mismatch(format!(
                            "the constant \"{name}\" holds {value}, which does not fit 32 bits"
                        )));
                    }
                    write(&mut bytes, dtype, piece, |from| values[from] as u32);
                }
                _ => return Err(mismatch(format!("node \"{}\" is not constant", node.name))),
            }
        }
        Ok(bytes)
    }
}

/// Writes the elements of a piece: `bits` gives those of an element of the piece's node, 16-bit types in the low half.
fn write(bytes: &mut [u8], dtype: Dtype, piece: &Piece, bits: impl Fn(usize) -> u32 + Sync) {
    match dtype.bytes() {
        2 => write_sized::<2>(bytes, piece, bits),
        _ => write_sized::<4>(bytes, piece, bits),
    }
}

/// The same, for elements of `SIZE` bytes.
fn write_sized<const SIZE: usize>(bytes: &mut [u8], piece: &Piece, bits: impl Fn(usize) -> u32 + Sync) {
    // Each element is converted by itself, so that the bits do not depend on the threads.
    let places = bytes.par_chunks_mut(PARALLEL_ELEMENTS * SIZE).enumerate();
    places.for_each(|(chunk, bytes)| {
        for (i, element) in bytes.chunks_exact_mut(SIZE).enumerate() {
            if let Some(from) = piece.source(chunk * PARALLEL_ELEMENTS + i) {
                element.copy_from_slice(&bits(from).to_le_bytes()[..SIZE]);
            }
        }
    });
}
