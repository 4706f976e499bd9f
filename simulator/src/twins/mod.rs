//! Host twins: the numbers of whole distributed kernels, worked out at once from what their claims say.
//!
//! While a PE is in a claim of a product its instructions take their time and compute nothing: results are marked as left out, and whoever
//! would need one outside of a claim ends the run. When a PE begins, its tiles are taken; when the first one ends, all have begun
//! on which its tile of the result depends (it has received from them), and the numbers of as many PEs as possible are worked
//! out in one host product. Each PE's tile is written when it ends, not before. Claims of what PEs take from each other or combine along a line are not looked at
//! there: to move words is what the simulation does.
//!
//! Where there is no time, PEs go from the beginning of any claim to its end at once, and wait there for all others of their group. What they
//! take from each other is moved when all of a line have begun ([`moves`]), and products take their weights from the program
//! ([`constant`]).
//!
//! With [`Claims::Check`](crate::Claims::Check) the PEs compute everything themselves, and their tiles are held against the
//! claims'.

mod all_reduce;
mod buffers;
pub(crate) mod check;
mod constant;
mod instance;
mod moves;
mod multiply;
mod product;
mod sums;
mod takes;
mod tiles;

#[cfg(test)]
mod tests;

use crate::machine::abreast::{Repeated, RowSource};
use crate::machine::element::Fault;
use crate::machine::pe::{Pe, Place};
use crate::machine::planes::Memory;
use buffers::Buffers;
use instance::Instance;
use moves::{Moved, Plans};
use std::collections::BTreeMap;
use std::ops::Range;
use waferloom_fabric::{AllReduceClaim, Claim, ClaimKind, ClaimLine, Constant, ProductClaim, Program, Region};

/// The claims at work in a run.
pub(crate) struct Twins<'a> {
    program: &'a Program,
    /// Whether PEs compute everything themselves, and the claims only look.
    checks: bool,
    on_threads: bool,
    /// By claim and place in its region: how often the PE has begun it.
    turns: Vec<Vec<u32>>,
    /// By claim and turn: those that some PE has begun and not all have ended.
    instances: BTreeMap<(u32, u32), Instance<'a>>,
    /// By PE: the claim that it is in.
    inside: Vec<Option<Inside>>,
    /// What the last PE has taken, or its tile.
    taken: Vec<(i64, u32)>,
    tile: Vec<f32>,
    unused: Unused,
    /// In a run for the numbers alone: what PEs take, and where it is moved.
    at_once: bool,
    plans: Plans,
    moved: Moved,
    /// Operators of which numbers were worked out as claims say.
    pub(crate) operators: Vec<bool>,
}

/// What claims have been worked out in.
#[derive(Default)]
struct Unused {
    matrices: Buffers<f32>,
}

/// A claim that a PE is in.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Inside {
    claim: u32,
    turn: u32,
    /// Addresses of its tiles.
    at: [i64; 3],
}

/// What PEs that begin a claim have.
#[derive(Clone, Copy)]
pub(crate) struct Operands<'a> {
    /// Addresses of the tiles.
    pub(crate) at: [i64; 3],
    /// The constant whose tiles those of the right operand of a product are, if it is known to be one.
    pub(crate) right: Option<&'a Constant>,
    /// What each row of a product's result starts from, if its tile is not written before the result is.
    pub(crate) start: Option<RowSource>,
}

impl Operands<'_> {
    /// Tiles that lie in memory.
    pub(crate) fn tiles(at: [i64; 3]) -> Self {
        Self { at, right: None, start: None }
    }
}

/// What PEs get that end a claim.
pub(crate) struct Ended<'t> {
    claim: u32,
    pub(crate) given: Given<'t>,
}

/// Numbers for a PE's memory.
pub(crate) enum Given<'t> {
    /// From an address on: rows of a number of columns, the first one of each PE, then the next one.
    Tile(i64, usize, &'t [f32]),
    /// Elements of a number of bytes, each with its address.
    Elements(u32, &'t [(i64, u32)]),
}

impl<'a> Twins<'a> {
    /// For a program of which the verifier has found no error. `untimed`: PEs go from the beginning of a claim to its end at once.
    pub(crate) fn new(program: &'a Program, checks: bool, on_threads: bool, untimed: bool) -> Self {
        let pes = |claim: &Claim| vec![0; usize::from(claim.region().width) * usize::from(claim.region().height)];
        Self {
            program,
            checks,
            on_threads,
            turns: program.claims.iter().map(pes).collect(),
            instances: BTreeMap::new(),
            inside: vec![None; program.grid.pes()],
            taken: Vec::new(),
            tile: Vec::new(),
            unused: Unused::default(),
            at_once: untimed,
            plans: Plans::default(),
            moved: Moved::default(),
            operators: vec![false; program.operators.len()],
        }
    }

    /// Whether PEs in a claim need not compute anything.
    pub(crate) fn gives_numbers(&self, index: u32) -> bool {
        !self.checks && matches!(self.program.claims[index as usize], Claim::Product(_))
    }

    /// A PE begins a claim with tiles at these addresses.
    pub(crate) fn begin(&mut self, pe: &mut Pe, index: u32, at: [i64; 3]) -> Result<(), Fault> {
        let gives_numbers = self.gives_numbers(index);
        if gives_numbers || self.checks {
            self.begin_with((pe.at, 1), Memory::Pe(pe.memory), index, &Operands::tiles(at))?;
        }
        pe.unknown.operand = gives_numbers;
        Ok(())
    }

    /// Between which addresses the tiles of a PE lie that begins a claim with tiles at these addresses; only where a list begins is known.
    pub(crate) fn tiles(&self, index: u32, at: [i64; 3]) -> [Range<i64>; 3] {
        let bytes = self.program.claims[index as usize].tiles().map(|(bytes, _)| bytes as i64);
        std::array::from_fn(|i| at[i]..at[i].saturating_add(bytes[i]))
    }

    /// Whether a constant is the right operand of a claim that has its tiles where those of the constant are, in the same PEs.
    pub(crate) fn takes_right(&self, index: u32, right: &Constant) -> bool {
        match &self.program.claims[index as usize] {
            Claim::Product(claim) => constant::is_right(claim, right),
            _ => false,
        }
    }

    /// Whether a row that is written again and again is the whole tile of a claim's result, and lies elsewhere itself, as the operands do; the
    /// tiles lie at these addresses.
    pub(crate) fn starts_from(&self, index: u32, at: [i64; 3], row: &Repeated) -> bool {
        let Claim::Product(claim) = &self.program.claims[index as usize] else { return false };
        let (rows, columns) = (claim.products() as usize * claim.rows as usize, claim.columns as usize);
        let [left, right, result] = self.tiles(index, at);
        let is_apart = |other: &Range<i64>| other.end <= result.start || result.end <= other.start;
        claim.kind == ClaimKind::Product
            && row.target == result.start
            && [left, right].iter().all(is_apart)
            && match row.source {
                RowSource::Number(_) => row.rows * row.columns == rows * columns,
                RowSource::Memory(from) => {
                    let own = from..from + (columns * size_of::<f32>()) as i64;
                    (row.rows, row.columns) == (rows, columns) && is_apart(&own)
                }
            }
    }

    /// The same of PEs side by side, the first one at a place, whose memories may lie elsewhere, in one bank. Says how many have begun at once,
    /// and whether all of the group of one of them have.
    pub(crate) fn begin_with(
        &mut self,
        (pe, pes): (Place, usize),
        memory: Memory<'_>,
        index: u32,
        operands: &Operands<'a>,
    ) -> Result<(usize, bool), Fault> {
        let at = operands.at;
        let claim = &self.program.claims[index as usize];
        let [x, y] = place(claim, pe);
        let turns = &mut self.turns[index as usize][y * usize::from(claim.region().width) + x..][..pes];
        let turn = turns[0];
        let pes = turns.iter().take_while(|&&other| other == turn).count();
        turns[..pes].fill(turn + 1);
        self.inside[self.program.grid.index(pe.0)..][..pes].fill(Some(Inside { claim: index, turn, at }));
        let instance = self
            .instances
            .entry((index, turn))
            .or_insert_with(|| Instance::new(claim, &mut self.unused, self.at_once, operands));
        let is_ready = instance.begin(claim, ([x, y], pes), memory, operands).ok_or_else(|| {
            Fault(format!(
                "claim {index} names tiles at {}, {} and {} that do not lie in the {} bytes of data",
                at[0],
                at[1],
                at[2],
                memory.len()
            ))
        })?;
        Ok((pes, is_ready))
    }

    /// Whether all PEs have begun a claim of the group of one that is in it, if it is in one.
    pub(crate) fn is_ready(&self, pe: Place) -> bool {
        let Some(Inside { claim: index, turn, .. }) = self.inside[self.program.grid.index(pe.0)] else { return true };
        let claim = &self.program.claims[index as usize];
        self.instances.get(&(index, turn)).is_none_or(|instance| instance.is_ready(claim, place(claim, pe)))
    }

    /// Of PEs side by side, the first one at a place, how many are in the same turn of the same claim, as a rule with tiles at the same
    /// addresses, and can end it at once if they are ready.
    pub(crate) fn alike(&self, pe: Place, pes: usize) -> usize {
        let inside = &self.inside[self.program.grid.index(pe.0)..][..pes];
        let Some(first) = inside[0] else { return 1 };
        let claim = &self.program.claims[first.claim as usize];
        let is_moved = |other: &Inside| (other.claim, other.turn) == (first.claim, first.turn);
        match claim {
            // They have all that they take.
            Claim::Takes(claim) if self.at_once && claim.line == ClaimLine::Row => {
                inside.iter().map_while(|other| other.filter(is_moved)).count()
            }
            // The same of those whose lines have.
            Claim::Takes(_) if self.at_once => {
                let Some(instance) = self.instances.get(&(first.claim, first.turn)) else { return 1 };
                let [x, y] = place(claim, pe);
                let is_ready = |(i, other): &(usize, &Option<Inside>)| {
                    other.as_ref().is_some_and(is_moved) && instance.is_ready(claim, [x + i, y])
                };
                inside.iter().enumerate().take_while(is_ready).count().max(1)
            }
            _ if instance::shares_group(claim) => inside.iter().take_while(|&&other| other == inside[0]).count(),
            _ => 1,
        }
    }

    /// The PEs of the group of one that is in a claim.
    pub(crate) fn group(&self, pe: Place) -> Option<Region> {
        let Inside { claim, .. } = self.inside[self.program.grid.index(pe.0)]?;
        let claim = &self.program.claims[claim as usize];
        Some(instance::group(claim, place(claim, pe)))
    }

    /// PEs side by side that are [alike](Self::alike), the first one at a place, at work on an operator, end the claim that they are in, if
    /// they are in one.
    pub(crate) fn end_with(
        &mut self,
        (pe, pes): (Place, usize),
        memory: Memory<'_>,
        operator: Option<u32>,
    ) -> Result<Option<Ended<'_>>, Fault> {
        let inside = &mut self.inside[self.program.grid.index(pe.0)..][..pes];
        let Some(Inside { claim: index, turn, at }) = inside[0] else { return Ok(None) };
        inside.fill(None);
        let claim = &self.program.claims[index as usize];
        let Some(instance) = self.instances.get_mut(&(index, turn)) else { return Ok(None) };
        let place = place(claim, pe);
        let early =
            || Fault(format!("claim {index} is false: a PE on whose tiles the result here depends has not begun it"));
        let given = match claim {
            Claim::Product(ProductClaim { columns, .. }) | Claim::AllReduce(AllReduceClaim { count: columns, .. }) => {
                self.tile.clear();
                instance.result(claim, (place, pes), self.on_threads, &mut self.tile).ok_or_else(early)?;
                Given::Tile(at[2], *columns as usize, &self.tile)
            }
            Claim::Takes(claim) => {
                self.taken.clear();
                instance.take(claim, place, memory, at, &mut self.taken).ok_or_else(|| {
                    Fault(format!(
                        "claim {index} is false: the list at {} takes what is not there, from a PE that has not begun the claim, \
                         or leads out of memory",
                        at[1]
                    ))
                })?;
                Given::Elements(claim.dtype.bytes(), &self.taken)
            }
        };
        instance.left -= pes;
        if instance.left == 0
            && let Some(instance) = self.instances.remove(&(index, turn))
        {
            instance.give_back(&mut self.unused);
        }
        let operator = operator.filter(|_| matches!(claim, Claim::Product(_)));
        if let Some(claimed) = operator.and_then(|operator| self.operators.get_mut(operator as usize)) {
            *claimed = true;
        }
        Ok(Some(Ended { claim: index, given }))
    }

    /// A PE ends the claim that it is in; gives where the result has been written.
    pub(crate) fn end(&mut self, pe: &mut Pe) -> Result<Range<usize>, Fault> {
        pe.unknown.operand = false;
        let (operator, checks, program) = (pe.operator.map(|inside| inside.operator), self.checks, self.program);
        let Some(Ended { claim, given }) = self.end_with((pe.at, 1), Memory::Pe(pe.memory), operator)? else {
            return Ok(0..0);
        };
        let differs = |address: i64, found: String, said: String| {
            let name = operator.and_then(|operator| program.operators.get(operator as usize));
            let name = name.map_or_else(String::new, |operator| format!("operator `{}`: ", operator.name));
            Fault(format!(
                "{name}claim {claim} is false: PE ({}, {}) has {found} at address {address}, the claim says {said}",
                pe.at.0.x, pe.at.0.y
            ))
        };
        let (result, tile) = match given {
            Given::Tile(result, _, tile) => (result, tile),
            // Only a check asks for these.
            Given::Elements(bytes, elements) => {
                for &(address, said) in elements {
                    match pe.read(address, bytes) {
                        Some(found) if found == said => {}
                        Some(found) => {
                            return Err(differs(address, format!("the bits {found:08x}"), format!("{said:08x}")));
                        }
                        None => return Err(differs(address, "no memory".into(), format!("{said:08x}"))),
                    }
                }
                return Ok(0..0);
            }
        };
        let bytes = size_of_val(tile);
        let start = usize::try_from(result).unwrap_or(usize::MAX / 2);
        let Some(memory) = pe.memory.get_mut(start..start + bytes) else {
            return Err(Fault(format!("claim {claim} names a result at {result} that does not lie in memory")));
        };
        if !checks {
            for (cell, x) in memory.as_chunks_mut().0.iter_mut().zip(tile) {
                *cell = x.to_le_bytes();
            }
            return Ok(start..start + bytes);
        }
        let cells = memory.as_chunks().0.iter().map(|&cell| f32::from_le_bytes(cell));
        match cells.zip(tile).enumerate().find(|(_, (found, said))| found.to_bits() != said.to_bits()) {
            None => Ok(start..start + bytes),
            Some((i, (found, said))) => {
                let with_bits = |number: f32| format!("{number} (bits {:08x})", number.to_bits());
                Err(differs(result + (i * size_of::<f32>()) as i64, with_bits(found), with_bits(*said)))
            }
        }
    }
}

/// A PE's column and row in a claim's region.
fn place(claim: &Claim, Place(at): Place) -> [usize; 2] {
    [at.x - claim.region().x, at.y - claim.region().y].map(usize::from)
}

/// The fault of a run that needs a number that a claim has left out.
pub(crate) fn left_out(what: &str) -> Fault {
    Fault(format!(
        "{what} was left out by a claim: what its code computes beside the result is used. Remove the claim, or run without \
         claims"
    ))
}
