//! Matrix products: the kernel is the one that the cost model says is faster.

use super::Selection;
use super::sums::Sums;
use crate::plan::{Algorithm, KernelChoice, Source, StepKind, TensorId};
use crate::{CompileError, cost, layout, view};
use petgraph::graph::NodeIndex;
use waferloom_fabric::{Distribution, Dtype, Split};
use waferloom_kernels::matmul::{self, BatchDim, MatMul};
use waferloom_kernels::stationary::{self, Stationary};
use waferloom_models::graph::Op;

/// A kernel for a product with the layouts that it asks for.
struct Candidate {
    algorithm: Algorithm,
    left: Distribution,
    right: Distribution,
    /// With the relayouts of the operands.
    cycles: u64,
    /// Whether it takes little memory beside the operands, so that it may be chosen for its speed.
    is_small: bool,
}

/// Where the cycles of relayouts come from.
#[derive(Clone, Copy)]
enum Moves {
    /// From some elements.
    Estimated,
    /// From their tables.
    Planned,
}

/// The part of a PE's memory that a product may take to be faster: 1 of so many.
const MEMORY_SHARE: u32 = 8;

impl Selection<'_> {
    /// On the whole grid, with the product in its default layout.
    ///
    /// With sums (see [`super::sums`]) it takes the place of the last of them.
    pub(super) fn matmul(&mut self, id: NodeIndex, sums: Option<&Sums>) -> Result<(), CompileError> {
        let graph = self.graph;
        let operands = graph.operands(id);
        let product = layout::matrices(graph.shape(id), self.stage.grid, self.float);
        let (Candidate { algorithm, left, right, cycles, .. }, runner_up) = self.choose(id, &product)?;
        let choice = KernelChoice { algorithm, cycles, runner_up };
        let left = self.demand(operands[0], left)?;
        let right = self.demand(operands[1], right)?;
        let addends = sums.map_or(&[][..], |sums| &sums.addends);
        let start = addends.iter().map(|&addend| self.source(addend, &product)).collect::<Result<Vec<_>, _>>()?;
        let result = self.compute_tensor(sums.map_or(id, |sums| sums.last), product);
        let inner = graph.shape(operands[0]).last().copied().unwrap_or(1);
        let flops = graph.shape(id).iter().product::<usize>() * (2 * inner + start.len());
        let scratch = self.product_scratch(algorithm, [left, right, result], &start);
        let kind = StepKind::MatMul { choice, left, right, start, result };
        self.compute_step(id, kind, flops, &scratch);
        Ok(())
    }

    /// The fastest kernel, or the user's choice; and the next best one.
    fn choose(
        &mut self,
        id: NodeIndex,
        product: &Distribution,
    ) -> Result<(Candidate, Option<(Algorithm, u64)>), CompileError> {
        let graph = self.graph;
        let operands = graph.operands(id);
        let name = &graph.node(id).name;
        let wanted = self.overrides.products.iter().find(|product| product.node == *name).map(|p| p.algorithm);
        let mut candidates = self.candidates(&operands, product, wanted, Moves::Estimated);
        // An estimate may be off by a third: what it says is faster is looked at more closely.
        if candidates[0].algorithm != Algorithm::Summa && !self.estimate_only {
            candidates = self.candidates(&operands, product, wanted, Moves::Planned);
        }
        let runner_up = candidates.get(1).map(|other| (other.algorithm, other.cycles));
        let best = candidates.swap_remove(0);
        match wanted {
            Some(wanted) if wanted != best.algorithm => Err(CompileError::Override {
                problem: format!("the kernel {} cannot compute the product \"{name}\"", wanted.name()),
                remedy: format!("let it be {}", best.algorithm.name()),
            }),
            _ => Ok((best, runner_up)),
        }
    }

    /// The kernels that can compute a product, the wanted one first, then the faster.
    fn candidates(
        &mut self,
        operands: &[NodeIndex],
        product: &Distribution,
        wanted: Option<Algorithm>,
        moves: Moves,
    ) -> Vec<Candidate> {
        let mut candidates = vec![self.summa(operands[0], operands[1], product, moves)];
        let stationary = self.stationary(operands[0], operands[1], product, moves);
        candidates.extend(stationary.filter(|candidate| candidate.is_small || wanted.is_some()));
        candidates.sort_by_key(|candidate| (wanted.is_some_and(|w| w != candidate.algorithm), candidate.cycles));
        candidates
    }

    fn summa(&mut self, left: NodeIndex, right: NodeIndex, product: &Distribution, moves: Moves) -> Candidate {
        let left_layout = layout::matrices(self.graph.shape(left), self.stage.grid, self.float);
        let shape = self.sizes(right);
        let right_layout = matmul::right_distribution(&left_layout, &shape, columns(product, &shape));
        self.candidate(Algorithm::Summa, [left, right], [left_layout, right_layout], product, moves)
    }

    /// For one right matrix, and an inner dimension that can be dealt to several rows of the mesh.
    fn stationary(
        &mut self,
        left: NodeIndex,
        right: NodeIndex,
        product: &Distribution,
        moves: Moves,
    ) -> Option<Candidate> {
        let [left_shape, right_shape] = [left, right].map(|id| self.sizes(id));
        let one_matrix = right_shape.iter().rev().skip(2).all(|&n| n == 1);
        let inner = left_shape.last().copied().unwrap_or(1);
        if !one_matrix || inner < 2 || self.stage.grid.height < 2 {
            return None;
        }
        let left_layout = stationary::left_distribution(product, &left_shape);
        let right_layout = stationary::right_distribution(&left_layout, &right_shape, columns(product, &right_shape));
        let shape = stationary_shape([&left_layout, &right_layout, product]);
        let left_bytes = left_layout.tile_elements() as u64 * u64::from(self.node_dtype(left).bytes());
        let bytes = left_bytes + (u64::from(shape.matrices) * u64::from(shape.rows) * u64::from(shape.columns)) * 4;
        let candidate =
            self.candidate(Algorithm::Stationary, [left, right], [left_layout, right_layout], product, moves);
        let is_small = bytes <= u64::from(self.machine.sram_bytes / MEMORY_SHARE);
        (!shape.is_empty()).then_some(Candidate { is_small, ..candidate })
    }

    fn candidate(
        &mut self,
        algorithm: Algorithm,
        operands: [NodeIndex; 2],
        [left, right]: [Distribution; 2],
        product: &Distribution,
        moves: Moves,
    ) -> Candidate {
        let dtype = self.node_dtype(operands[0]);
        let own = cost::product_cycles(self.machine, algorithm, [&left, &right, product], dtype);
        let layouts = operands.into_iter().zip([&left, &right]);
        let moved: u64 = layouts.map(|(id, layout)| self.move_cycles(id, layout, moves)).sum();
        Candidate { algorithm, left, right, cycles: own + moved, is_small: true }
    }

    /// Cycles for bringing a value to a layout.
    fn move_cycles(&mut self, id: NodeIndex, wanted: &Distribution, moves: Moves) -> u64 {
        let held = self.holders.get(&id).is_some_and(|held| held.iter().any(|&t| self.distribution(t) == wanted));
        let constant = |node: NodeIndex| matches!(self.graph.node(node).op, Op::Constant(_));
        let origins = view::origins(self.graph, id);
        let whole = origins == [id] && layout::same_tiles(&self.default_layout(id), wanted);
        if held || whole || origins.into_iter().all(constant) {
            return 0;
        }
        match moves {
            Moves::Estimated => {
                cost::movement(self.machine, self.graph, id, wanted, self.float, self.node_dtype(id)).cycles
            }
            Moves::Planned => self.planned_move_cycles(id, wanted).unwrap_or(u64::from(u32::MAX)),
        }
    }

    /// Working memory in bytes, in the order in which lowering takes it.
    fn product_scratch(&self, algorithm: Algorithm, tensors: [TensorId; 3], start: &[Source]) -> Vec<u32> {
        let layouts = tensors.map(|id| self.distribution(id));
        let dtype = self.stage.tensors[tensors[2]].dtype;
        // The product is summed up in f32, in place where that is its type; integers are exact up to 2^24.
        let in_place = dtype == Dtype::F32;
        let accumulator = if in_place { 0 } else { layouts[2].tile_elements() as u32 * Dtype::F32.bytes() };
        match algorithm {
            Algorithm::Summa => {
                let [left, right] = summa_shape(layouts).panel_bytes(dtype);
                vec![left, right, accumulator]
            }
            Algorithm::Stationary => {
                vec![stationary_shape(layouts).sums_bytes(), if start.is_empty() { 0 } else { accumulator }]
            }
        }
    }

    fn sizes(&self, id: NodeIndex) -> Vec<u32> {
        self.graph.shape(id).iter().map(|&n| n as u32).collect()
    }
}

/// The product's columns as the last dimension of a right operand of this shape.
fn columns(product: &Distribution, shape: &[u32]) -> Option<Split> {
    product.x.map(|split| Split { dim: shape.len() as u32 - 1, ..split })
}

/// The local sizes of a product by SUMMA with operands and a result that lie so.
pub(crate) fn summa_shape([left, right, result]: [&Distribution; 3]) -> MatMul {
    let rank = result.shape.len();
    let (left_tile, right_tile, tile) = (left.tile(), right.tile(), result.tile());
    // Matrices between two indices of a batch dimension; 0 where the operand has a single index.
    let strides = |shape: &[u32]| -> Vec<u32> {
        let after = |dim: usize| shape[dim + 1..rank - 2].iter().product::<u32>();
        (0..rank - 2).map(|dim| if shape[dim] == 1 { 0 } else { after(dim) }).collect()
    };
    let (left_strides, right_strides) = (strides(&left.shape), strides(&right.shape));
    let batch = (0..rank - 2)
        .map(|dim| BatchDim { size: result.shape[dim], left: left_strides[dim], right: right_strides[dim] })
        .collect();
    let matrices = [&left.shape, &right.shape].map(|shape| shape[..rank - 2].iter().product());
    let inner = left.shape[rank - 1];
    MatMul {
        batch,
        matrices,
        rows: tile[rank - 2],
        columns: tile[rank - 1],
        inner,
        block: left.x.map_or(left_tile[rank - 1], |split| split.block),
        left_split: left.x.is_some(),
        right_split: right.y.is_some(),
        right_rows: right_tile[rank - 2],
    }
}

/// The local sizes of a product whose right operand stays, with operands and a result that lie so.
pub(crate) fn stationary_shape([left, right, result]: [&Distribution; 3]) -> Stationary {
    let rank = result.shape.len();
    Stationary {
        matrices: left.shape[..rank - 2].iter().product(),
        rows: left.shape[rank - 2],
        own_rows: result.tile()[rank - 2],
        columns: right.tile()[rank - 1],
        inner: left.shape[rank - 1],
        block: left.tile()[rank - 1],
        rows_split: result.y.is_some(),
    }
}
