//! What claims give against their definition, element by element, whatever the order in which PEs begin and end.

use super::buffers::Buffers;
use super::instance::{Instance, place_in_group, shares_group};
use super::product::Group;
use super::sums::Column;
use super::{Operands, Unused};
use crate::machine::abreast::RowSource;
use crate::machine::numerics::{Element, multiply_add, sum};
use crate::machine::pe::Pe;
use crate::machine::planes::{Memory, Planes};
use proptest::prelude::*;
use waferloom_fabric::{Claim, ClaimBatch, ClaimKind, ClaimOperand, Dtype, ProductClaim, Region};

/// Memory of each PE, row by row.
type Memories = Vec<Vec<u8>>;

/// Where the tiles lie: the left operand from 8 on, the right one behind it, the result behind that.
fn addresses(claim: &ProductClaim) -> [i64; 3] {
    let [left, right] = claim.operand_bytes().map(|bytes| bytes.next_multiple_of(8) as i64);
    [8, 8 + left, 8 + left + right]
}

fn operand(memory: &[u8], at: i64, dtype: Dtype, element: u32) -> f32 {
    let start = at as usize + (element * dtype.bytes()) as usize;
    let bits = memory[start..start + dtype.bytes() as usize].iter().rev().fold(0, |bits, &b| bits << 8 | u32::from(b));
    Element::from_bits(bits, dtype).float()
}

/// The element of an operand that a PE at `place` of a line multiplies: the memory that holds it, and where.
fn element(
    shape: &ClaimOperand,
    claim: &ProductClaim,
    [matrix, line, inner]: [u32; 3],
    place: u32,
    pes: u32,
) -> (u32, u32) {
    let (block, within) = (inner / claim.block, inner % claim.block);
    let (holder, slot) = if shape.split { (block % pes, block / pes) } else { (place, block) };
    (holder, matrix * shape.matrix + slot * shape.slot + line * shape.line + within * shape.step)
}

/// A PE's tile of the result as [`ClaimKind::Product`] defines it.
fn product(claim: &ProductClaim, memories: &Memories, x: u32, y: u32) -> Vec<f32> {
    let (width, height) = (u32::from(claim.region.width), u32::from(claim.region.height));
    let at = addresses(claim);
    let mut tile = Vec::new();
    for (product, [left, right]) in claim.matrices().into_iter().enumerate() {
        for (i, j) in (0..claim.rows).flat_map(|i| (0..claim.columns).map(move |j| (i, j))) {
            let index = (product as u32 * claim.rows + i) * claim.columns + j;
            let start = operand(&memories[(y * width + x) as usize], at[2], Dtype::F32, index);
            tile.push((0..claim.inner).fold(start, |sum, p| {
                let (column, a) = element(&claim.left, claim, [left, i, p], x, width);
                let (row, b) = element(&claim.right, claim, [right, j, p], y, height);
                let a = operand(&memories[(y * width + column) as usize], at[0], claim.dtype, a);
                let b = operand(&memories[(row * width + x) as usize], at[1], claim.dtype, b);
                multiply_add(sum, a, b)
            }));
        }
    }
    tile
}

/// Dense operands as SUMMA has them, transposed ones as a kernel with the inner index inside has them.
fn claim() -> impl Strategy<Value = ProductClaim> {
    let sizes = [1u32..4, 1u32..5, 1u32..9, 1u32..4];
    let batch = prop::collection::vec((1u32..3, any::<bool>(), any::<bool>()), 0..3);
    let dtype = prop::sample::select(Dtype::ALL.to_vec());
    (1u16..4, 1u16..4, sizes, any::<(bool, bool, bool)>(), batch, dtype).prop_map(
        |(width, height, [rows, columns, inner, block], (left_split, right_split, inside), batch, dtype)| {
            let (mut left_matrices, mut right_matrices) = (1, 1);
            let dims = batch.into_iter().map(|(size, left, right)| {
                let dim = ClaimBatch {
                    size,
                    left: if left { left_matrices } else { 0 },
                    right: if right { right_matrices } else { 0 },
                };
                left_matrices *= if left { size } else { 1 };
                right_matrices *= if right { size } else { 1 };
                dim
            });
            let batch = dims.collect();
            let padded = inner.div_ceil(block) * block;
            let left = ClaimOperand { split: left_split, matrix: rows * padded, slot: block, line: padded, step: 1 };
            let right = if inside {
                ClaimOperand { split: right_split, matrix: columns * padded, slot: block, line: padded, step: 1 }
            } else {
                ClaimOperand {
                    split: right_split,
                    matrix: padded * columns,
                    slot: block * columns,
                    line: 1,
                    step: columns,
                }
            };
            let region = Region::rect(1, 2, width, height);
            ProductClaim { kind: ClaimKind::Product, region, dtype, rows, columns, inner, block, left, right, batch }
        },
    )
}

/// Bytes for a claim's tiles in a PE: floats of all kinds but few that are not numbers.
fn memory(claim: &ProductClaim) -> impl Strategy<Value = Vec<u8>> + use<> {
    let [start, _, result] = addresses(claim);
    let operands = (result - start) as usize / claim.dtype.bytes() as usize;
    let (dtype, results) = (claim.dtype, claim.result_bytes() as usize / 4);
    let number = || prop_oneof![20 => -2f32..2.0, 1 => any::<u32>().prop_map(f32::from_bits), 1 => Just(-0.0)];
    let list = |count| prop::collection::vec(number(), count);
    (list(operands), list(results)).prop_map(move |(operands, results)| {
        let mut bytes = vec![0; start as usize];
        for x in operands {
            let x = if dtype.is_float() { x } else { x * 1000.0 };
            bytes.extend(&Element::Float(x).to_bits(dtype).to_le_bytes()[..dtype.bytes() as usize]);
        }
        bytes.extend(results.iter().flat_map(|x| x.to_le_bytes()));
        bytes
    })
}

fn bits(tile: &[f32]) -> Vec<u32> {
    tile.iter().map(|x| x.to_bits()).collect()
}

/// A claim, the memories of its PEs, and numbers for the order of things.
fn case() -> impl Strategy<Value = (ProductClaim, Memories, Vec<u32>)> {
    claim().prop_flat_map(|claim| {
        let pes = usize::from(claim.region.width) * usize::from(claim.region.height);
        let memories = prop::collection::vec(memory(&claim), pes);
        (Just(claim), memories, prop::collection::vec(any::<u32>(), pes))
    })
}

/// Memories in which the results of PEs hold what all their rows start from, if it is told.
fn started(claim: &ProductClaim, memories: &Memories, start: impl Fn(usize) -> Option<RowSource>) -> Memories {
    let mut memories = memories.clone();
    for (pe, memory) in memories.iter_mut().enumerate() {
        let result = addresses(claim)[2] as usize..;
        let row = match start(pe) {
            None => continue,
            Some(RowSource::Number(number)) => number.to_le_bytes().repeat(claim.columns as usize),
            Some(RowSource::Memory(at)) => memory[at as usize..][..claim.columns as usize * 4].to_vec(),
        };
        memory[result].chunks_exact_mut(row.len()).for_each(|to| to.copy_from_slice(&row));
    }
    memories
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// PEs begin in any order; each ends as soon as it can, after as many others have begun as chance says, and loses its tiles.
    #[test]
    fn products_are_as_defined_in_any_order((claim, memories, order) in case()) {
        let (width, pes, at) = (u32::from(claim.region.width), memories.len(), addresses(&claim));
        // Some have the first row of their results for all rows, some a number.
        let start = |pe: usize| [None, Some(RowSource::Memory(at[2])), Some(RowSource::Number(1.5))][order[pe] as usize % 3];
        let operands = |pe: usize| Operands { start: start(pe), ..Operands::tiles(at) };
        let expected = started(&claim, &memories, start);
        let groups = if claim.left.split { 1 } else { width }
            * if claim.right.split { 1 } else { u32::from(claim.region.height) };
        // What is in the matrices in the beginning does not matter.
        let mut buffers = Buffers::default();
        (0..14).flat_map(|size| [1 << size; 3]).for_each(|size| buffers.give(vec![f32::NAN; size]));
        let mut groups: Vec<Group> = (0..groups).map(|_| Group::new(&claim, &mut buffers, &operands(0))).collect();
        let mut begin: Vec<usize> = (0..pes).collect();
        begin.sort_by_key(|&pe| order[pe]);
        let place = |pe: usize| [pe % width as usize, pe / width as usize];
        let mut open: Vec<usize> = Vec::new();
        for (turn, &pe) in begin.iter().enumerate() {
            let (group, at) = place_in_group(&claim, place(pe));
            groups[group].begin(&claim, (at, 1), Memory::Pe(&memories[pe]), &operands(pe)).expect("the tiles lie in memory");
            open.push(pe);
            if order[turn] % 3 == 0 || turn + 1 == pes {
                open.retain(|&pe| {
                    let (group, at) = place_in_group(&claim, place(pe));
                    let mut tile = Vec::new();
                    if groups[group].end(&claim, (at, 1), false, &mut tile).is_none() { return true }
                    let [x, y] = place(pe).map(|n| n as u32);
                    assert_eq!(bits(&tile), bits(&product(&claim, &expected, x, y)), "PE ({x}, {y})");
                    false
                });
            }
        }
        prop_assert!(open.is_empty(), "{open:?} of {pes} PEs cannot end");
    }

    /// As in a run for the numbers alone: memories are turned over, and PEs side by side begin and end at once where they can.
    #[test]
    fn products_side_by_side_are_as_defined((claim, mut memories, order) in case()) {
        let (width, at) = (usize::from(claim.region.width), addresses(&claim));
        let start = (order[0] % 2 == 0).then_some(RowSource::Memory(at[2]));
        let operands = Operands { start, ..Operands::tiles(at) };
        let starting = started(&claim, &memories, |_| start);
        let expected: Vec<Vec<f32>> = (0..memories.len())
            .map(|pe| product(&claim, &starting, (pe % width) as u32, (pe / width) as u32))
            .collect();
        let pes: Vec<Pe<'_>> = memories.iter_mut().map(|memory| Pe { memory, ..Pe::default() }).collect();
        let mut planes = Planes::new(&pes, width);
        (0..).zip(&pes).for_each(|(index, pe)| planes.lay_out(index, 0, pe.memory));
        let all = Claim::Product(claim.clone());
        let mut instance = Instance::new(&all, &mut Unused::default(), true, &operands);
        // Runs end where a row does, and where chance says.
        let begins = |&pe: &usize| pe % width == 0 || order[pe] % 2 == 0;
        let firsts: Vec<usize> = (0..expected.len()).filter(begins).collect();
        let ends = firsts.iter().skip(1).copied().chain([expected.len()]);
        let mut runs: Vec<(usize, usize)> = firsts.iter().copied().zip(ends).collect();
        runs.sort_by_key(|run| order[run.0]);
        let place = |pe: usize| [pe % width, pe / width];
        for &(first, end) in &runs {
            instance.begin(&all, (place(first), end - first), planes.memory(first as u32), &operands).expect("the tiles lie in memory");
        }
        let columns = claim.columns as usize;
        for (first, end) in runs {
            let together = if shares_group(&all) { end - first } else { 1 };
            for first in (first..end).step_by(together) {
                let mut tiles = Vec::new();
                instance.result(&all, (place(first), together), false, &mut tiles).expect("all have begun");
                for pe in first..first + together {
                    let lines = tiles.chunks(together * columns);
                    let own: Vec<f32> =
                        lines.flat_map(|line| &line[(pe - first) * columns..][..columns]).copied().collect();
                    prop_assert_eq!(bits(&own), bits(&expected[pe]), "PE {}", pe);
                }
            }
        }
    }

    #[test]
    fn column_sums_are_as_defined((claim, memories, _) in case()) {
        let (width, height) = (u32::from(claim.region.width), u32::from(claim.region.height));
        let block = claim.inner.div_ceil(height);
        let split = ClaimOperand { split: true, matrix: 0, slot: 0, line: 1, step: 1 };
        let claim = ProductClaim {
            kind: ClaimKind::ColumnSums,
            block,
            left: ClaimOperand { line: block, ..split },
            right: ClaimOperand { step: claim.columns, ..split },
            batch: Vec::new(),
            ..claim
        };
        let at = [8, 8 + i64::from((claim.rows * block * claim.dtype.bytes()).next_multiple_of(8))];
        for x in 0..width {
            let mut column = Column::new(&claim);
            // As much memory as both operands may need.
            let memory = |y: u32| {
                let bytes = &memories[(y * width + x) as usize];
                bytes.iter().copied().chain(std::iter::repeat(0)).take(bytes.len() + 512).collect::<Vec<u8>>()
            };
            for y in 0..height {
                prop_assert!(column.end(&claim, false, &mut Vec::new()).is_none());
                column.begin(&claim, y as usize, Memory::Pe(&memory(y)), at).expect("the tiles lie in memory");
            }
            let own = |y: u32, i: u32, j: u32| {
                let memory = memory(y);
                let depth = claim.inner.saturating_sub(y * block).min(block);
                (0..depth).fold(0.0, |sum, p| {
                    let a = operand(&memory, at[0], claim.dtype, i * block + p);
                    multiply_add(sum, a, operand(&memory, at[1], claim.dtype, p * claim.columns + j))
                })
            };
            let element = |(i, j)| (0..height).rev().map(|y| own(y, i, j)).reduce(sum).expect("a row of PEs");
            let expected: Vec<f32> =
                (0..claim.rows).flat_map(|i| (0..claim.columns).map(move |j| (i, j))).map(element).collect();
            let mut sums = Vec::new();
            column.end(&claim, false, &mut sums).expect("all have begun");
            prop_assert_eq!(bits(&sums), bits(&expected));
        }
    }
}
