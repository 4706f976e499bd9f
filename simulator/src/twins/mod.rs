//! Host twins: the numbers of whole distributed kernels, worked out at once from what their claims say.
//!
//! While a PE is in a claim its instructions take their time and compute nothing: results are marked as left out, and whoever
//! would need one outside of a claim ends the run. When a PE begins, its tiles are taken; when the first one ends, all have begun
//! on which its tile of the result depends (it has received from them), and the numbers of as many PEs as possible are worked
//! out in one host product. Each PE's tile is written when it ends, not before.
//!
//! With [`Claims::Check`](crate::Claims::Check) the PEs compute everything themselves, and their tiles are held against the
//! claims'.

pub(crate) mod check;
mod multiply;
mod product;
mod sums;
mod tiles;

#[cfg(test)]
mod tests;

use crate::machine::element::Fault;
use crate::machine::pe::{Pe, Place};
use crate::machine::planes::Memory;
use product::Group;
use std::collections::BTreeMap;
use std::ops::Range;
use sums::Column;
use waferloom_fabric::{Claim, ClaimKind, Program};

/// The claims at work in a run.
pub(crate) struct Twins<'a> {
    program: &'a Program,
    /// Whether PEs compute everything themselves, and the claims only look.
    checks: bool,
    on_threads: bool,
    /// By claim and place in its region: how often the PE has begun it.
    turns: Vec<Vec<u32>>,
    /// By claim and turn: those that some PE has begun and not all have ended.
    instances: BTreeMap<(u32, u32), Instance>,
    /// By PE: the claim that it is in.
    inside: Vec<Option<Inside>>,
    /// Operators of which numbers were worked out as claims say.
    pub(crate) operators: Vec<bool>,
}

/// A claim that a PE is in.
#[derive(Clone, Copy)]
struct Inside {
    claim: u32,
    turn: u32,
    /// Address of its tile of the result.
    result: i64,
}

/// One turn of a claim.
struct Instance {
    kernel: Kernel,
    /// PEs that have not ended it.
    left: usize,
}

enum Kernel {
    /// By group, row by row.
    Products(Vec<Group>),
    /// From the west.
    ColumnSums(Vec<Column>),
}

/// A PE's place in a claim's region: the index of its group, and its place there.
fn place_in_group(claim: &Claim, [x, y]: [usize; 2]) -> (usize, [usize; 2]) {
    let across = if claim.left.split { 1 } else { usize::from(claim.region.width) };
    let (column, x) = if claim.left.split { (0, x) } else { (x, 0) };
    let (row, y) = if claim.right.split { (0, y) } else { (y, 0) };
    (row * across + column, [x, y])
}

impl Instance {
    fn new(claim: &Claim) -> Self {
        let (width, height) = (usize::from(claim.region.width), usize::from(claim.region.height));
        let kernel = match claim.kind {
            ClaimKind::Product => {
                let groups = if claim.left.split { 1 } else { width } * if claim.right.split { 1 } else { height };
                Kernel::Products((0..groups).map(|_| Group::new(claim)).collect())
            }
            ClaimKind::ColumnSums => Kernel::ColumnSums((0..width).map(|_| Column::new(claim)).collect()),
        };
        Self { kernel, left: width * height }
    }
}

/// What a PE has that ends a claim.
pub(crate) struct Ended {
    claim: u32,
    /// Address of its tile of the result.
    pub(crate) result: i64,
    /// The tile, row-major.
    pub(crate) tile: Vec<f32>,
}

impl<'a> Twins<'a> {
    /// For a program of which the verifier has found no error.
    pub(crate) fn new(program: &'a Program, checks: bool, on_threads: bool) -> Self {
        let pes = |claim: &Claim| vec![0; usize::from(claim.region.width) * usize::from(claim.region.height)];
        Self {
            program,
            checks,
            on_threads,
            turns: program.claims.iter().map(pes).collect(),
            instances: BTreeMap::new(),
            inside: vec![None; program.grid.pes()],
            operators: vec![false; program.operators.len()],
        }
    }

    /// A PE begins a claim with tiles of the left operand, the right operand and the result at these addresses.
    pub(crate) fn begin(&mut self, pe: &mut Pe, index: u32, at: [i64; 3]) -> Result<(), Fault> {
        self.begin_with(pe.at, Memory::Pe(pe.memory), index, at)?;
        pe.unknown.operand = !self.checks;
        Ok(())
    }

    /// The same of a PE at a place whose memory may lie elsewhere.
    pub(crate) fn begin_with(&mut self, pe: Place, memory: Memory<'_>, index: u32, at: [i64; 3]) -> Result<(), Fault> {
        let claim = &self.program.claims[index as usize];
        let [x, y] = place(claim, pe);
        let turns = &mut self.turns[index as usize][y * usize::from(claim.region.width) + x];
        let turn = *turns;
        *turns += 1;
        self.inside[self.program.grid.index(pe.0)] = Some(Inside { claim: index, turn, result: at[2] });
        let instance = self.instances.entry((index, turn)).or_insert_with(|| Instance::new(claim));
        let inside = match &mut instance.kernel {
            Kernel::Products(groups) => {
                let (group, place) = place_in_group(claim, [x, y]);
                groups[group].begin(claim, place, memory, at)
            }
            Kernel::ColumnSums(columns) => columns[x].begin(claim, y, memory, [at[0], at[1]]),
        };
        inside.ok_or_else(|| {
            Fault(format!(
                "claim {index} names tiles at {}, {} and {} that do not lie in the {} bytes of data",
                at[0],
                at[1],
                at[2],
                memory.len()
            ))
        })
    }

    /// A PE, at work on an operator, ends the claim that it is in, if it is in one.
    pub(crate) fn end_with(&mut self, pe: Place, operator: Option<u32>) -> Result<Option<Ended>, Fault> {
        let Some(inside) = self.inside[self.program.grid.index(pe.0)].take() else { return Ok(None) };
        let Inside { claim: index, turn, result } = inside;
        let claim = &self.program.claims[index as usize];
        let Some(instance) = self.instances.get_mut(&(index, turn)) else { return Ok(None) };
        let [x, y] = place(claim, pe);
        let tile = match &mut instance.kernel {
            Kernel::Products(groups) => {
                let (group, place) = place_in_group(claim, [x, y]);
                groups[group].end(claim, place, self.on_threads)
            }
            Kernel::ColumnSums(columns) => columns[x].end(claim, self.on_threads),
        };
        let tile = tile.ok_or_else(|| {
            Fault(format!("claim {index} is false: a PE on whose tiles the result here depends has not begun it"))
        })?;
        instance.left -= 1;
        if instance.left == 0 {
            self.instances.remove(&(index, turn));
        }
        if let Some(claimed) = operator.and_then(|operator| self.operators.get_mut(operator as usize)) {
            *claimed = true;
        }
        Ok(Some(Ended { claim: index, result, tile }))
    }

    /// A PE ends the claim that it is in; gives where the result has been written.
    pub(crate) fn end(&mut self, pe: &mut Pe) -> Result<Range<usize>, Fault> {
        pe.unknown.operand = false;
        let operator = pe.operator.map(|inside| inside.operator);
        let Some(Ended { claim: index, result, tile }) = self.end_with(pe.at, operator)? else { return Ok(0..0) };
        let bytes = tile.len() * size_of::<f32>();
        let start = usize::try_from(result).unwrap_or(usize::MAX / 2);
        let Some(memory) = pe.memory.get_mut(start..start + bytes) else {
            return Err(Fault(format!("claim {index} names a result at {result} that does not lie in memory")));
        };
        if !self.checks {
            for (cell, x) in memory.as_chunks_mut().0.iter_mut().zip(&tile) {
                *cell = x.to_le_bytes();
            }
            return Ok(start..start + bytes);
        }
        let cells = memory.as_chunks().0.iter().map(|&cell| f32::from_le_bytes(cell));
        match cells.zip(&tile).enumerate().find(|(_, (found, said))| found.to_bits() != said.to_bits()) {
            None => Ok(start..start + bytes),
            Some((i, (found, said))) => {
                let name = operator.and_then(|operator| self.program.operators.get(operator as usize));
                let name = name.map_or_else(String::new, |operator| format!("operator `{}`: ", operator.name));
                let address = start + i * size_of::<f32>();
                Err(Fault(format!(
                    "{name}claim {index} is false: PE ({}, {}) has {found} (bits {:08x}) at address {address}, the claim says \
                     {said} (bits {:08x})",
                    pe.at.0.x,
                    pe.at.0.y,
                    found.to_bits(),
                    said.to_bits()
                )))
            }
        }
    }
}

/// A PE's column and row in a claim's region.
fn place(claim: &Claim, Place(at): Place) -> [usize; 2] {
    [at.x - claim.region.x, at.y - claim.region.y].map(usize::from)
}

/// The fault of a run that needs a number that a claim has left out.
pub(crate) fn left_out(what: &str) -> Fault {
    Fault(format!(
        "{what} was left out by a claim: what its code computes beside the result is used. Remove the claim, or run without \
         claims"
    ))
}
