//! One turn of a claim: what the PEs that have begun it gave, and what those get that end it.

use super::all_reduce;
use super::product::Group;
use super::sums::Column;
use super::takes::Line;
use super::{Operands, Unused};
use crate::machine::planes::Memory;
use waferloom_fabric::{AllReduceClaim, Claim, ClaimKind, ClaimLine, ProductClaim, Region, TakesClaim};

/// One turn of a claim.
pub(super) struct Instance<'a> {
    kernel: Kernel<'a>,
    /// PEs that have not ended it.
    pub(super) left: usize,
}

enum Kernel<'a> {
    /// By group, row by row.
    Products(Vec<Group<'a>>),
    /// From the west.
    ColumnSums(Vec<Column>),
    /// By line, from the north-west.
    Takes(Vec<Line>),
    /// The same.
    AllReduces(Vec<all_reduce::Line>),
}

/// A PE's place in a product's region: the index of its group, and its place there.
pub(super) fn place_in_group(claim: &ProductClaim, [x, y]: [usize; 2]) -> (usize, [usize; 2]) {
    let across = if claim.left.split { 1 } else { usize::from(claim.region.width) };
    let (column, x) = if claim.left.split { (0, x) } else { (x, 0) };
    let (row, y) = if claim.right.split { (0, y) } else { (y, 0) };
    (row * across + column, [x, y])
}

impl<'a> Instance<'a> {
    /// Before any PE has begun; `first` are the operands of the first one.
    pub(super) fn new(claim: &Claim, unused: &mut Unused, at_once: bool, first: &Operands<'a>) -> Self {
        let (width, height) = (usize::from(claim.region().width), usize::from(claim.region().height));
        let lines = |line: ClaimLine| 0..width * height / usize::from(line.pes(claim.region())).max(1);
        let kernel = match claim {
            Claim::Product(claim) if claim.kind == ClaimKind::Product => {
                let groups = if claim.left.split { 1 } else { width } * if claim.right.split { 1 } else { height };
                Kernel::Products((0..groups).map(|_| Group::new(claim, &mut unused.matrices, first)).collect())
            }
            Claim::Product(claim) => Kernel::ColumnSums((0..width).map(|_| Column::new(claim)).collect()),
            Claim::Takes(claim) => Kernel::Takes(lines(claim.line).map(|_| Line::new(claim, at_once)).collect()),
            Claim::AllReduce(claim) => {
                let new = |_| all_reduce::Line::new(claim, &mut unused.matrices);
                Kernel::AllReduces(lines(claim.line).map(new).collect())
            }
        };
        Self { kernel, left: width * height }
    }

    /// PEs side by side begin, the first one at a place, with the same operands; says whether all of the group of one of them have
    /// begun with it. `None` when the tiles do not lie in memory.
    pub(super) fn begin(
        &mut self,
        claim: &Claim,
        ([x, y], pes): ([usize; 2], usize),
        memory: Memory<'_>,
        operands: &Operands<'a>,
    ) -> Option<bool> {
        let at = operands.at;
        let together = if shares_group(claim) { pes } else { 1 };
        let mut is_ready = false;
        for i in (0..pes).step_by(together.max(1)) {
            let (place, memory) = ([x + i, y], memory.beside(i));
            match (claim, &mut self.kernel) {
                (Claim::Product(claim), Kernel::Products(groups)) => {
                    let (group, place) = place_in_group(claim, place);
                    groups[group].begin(claim, (place, together), memory, operands)?;
                }
                (Claim::Product(claim), Kernel::ColumnSums(columns)) => {
                    columns[x + i].begin(claim, y, memory, [at[0], at[1]])?;
                }
                (Claim::Takes(claim), Kernel::Takes(lines)) => {
                    let (line, place) = place_in_line(claim.line, &claim.region, place);
                    lines[line].begin(claim, place, memory, at[0])?;
                }
                (Claim::AllReduce(claim), Kernel::AllReduces(lines)) => {
                    let (line, place) = place_in_line(claim.line, &claim.region, place);
                    lines[line].begin(claim, (place, together), memory, at[0])?;
                }
                _ => return None,
            }
            is_ready |= self.is_ready(claim, place);
        }
        Some(is_ready)
    }

    /// Whether all have begun of the group of the PE at a place.
    pub(super) fn is_ready(&self, claim: &Claim, [x, y]: [usize; 2]) -> bool {
        match (claim, &self.kernel) {
            (Claim::Product(claim), Kernel::Products(groups)) => groups[place_in_group(claim, [x, y]).0].is_complete(),
            (_, Kernel::ColumnSums(columns)) => columns[x].is_complete(),
            (Claim::Takes(claim), Kernel::Takes(lines)) => {
                lines[place_in_line(claim.line, &claim.region, [x, y]).0].is_complete()
            }
            (Claim::AllReduce(claim), Kernel::AllReduces(lines)) => {
                lines[place_in_line(claim.line, &claim.region, [x, y]).0].is_complete()
            }
            _ => false,
        }
    }

    /// Adds the tiles of the result of PEs side by side, the first one at a place, to `tile`: the first row of each, then the next one. `None`
    /// when a PE on which one depends has not begun, or they end one by one ([`shares_group`]).
    pub(super) fn result(
        &mut self,
        claim: &Claim,
        (at_place, pes): ([usize; 2], usize),
        on_threads: bool,
        tile: &mut Vec<f32>,
    ) -> Option<()> {
        match (claim, &mut self.kernel) {
            (Claim::Product(claim), Kernel::Products(groups)) => {
                let (group, place) = place_in_group(claim, at_place);
                groups[group].end(claim, (place, pes), on_threads, tile)
            }
            (Claim::Product(claim), Kernel::ColumnSums(columns)) if pes == 1 => {
                columns[at_place[0]].end(claim, on_threads, tile)
            }
            (Claim::AllReduce(claim), Kernel::AllReduces(lines)) => {
                lines[place_in_line(claim.line, &claim.region, at_place).0].end(claim, pes, tile)
            }
            _ => None,
        }
    }

    /// Gives back what it has been worked out in.
    pub(super) fn give_back(self, unused: &mut Unused) {
        match self.kernel {
            Kernel::Products(groups) => groups.into_iter().for_each(|group| group.give_back(&mut unused.matrices)),
            Kernel::AllReduces(lines) => lines.into_iter().for_each(|line| line.give_back(&mut unused.matrices)),
            Kernel::ColumnSums(_) | Kernel::Takes(_) => {}
        }
    }

    /// Adds what the PE at a place takes; `None` when its list is wrong, or names a PE that has not begun.
    pub(super) fn take(
        &self,
        claim: &TakesClaim,
        at_place: [usize; 2],
        memory: Memory<'_>,
        at: [i64; 3],
        taken: &mut Vec<(i64, u32)>,
    ) -> Option<()> {
        let Kernel::Takes(lines) = &self.kernel else { return None };
        lines[place_in_line(claim.line, &claim.region, at_place).0].take(claim, memory, [at[1], at[2]], taken)
    }
}

/// Whether PEs side by side are of one group, and can begin and end at once.
pub(super) fn shares_group(claim: &Claim) -> bool {
    match claim {
        Claim::Product(claim) => claim.kind == ClaimKind::Product && claim.left.split,
        Claim::AllReduce(claim) => claim.line == ClaimLine::Row,
        Claim::Takes(_) => false,
    }
}

/// The PEs of a claim that wait for each other where its code is passed over, by the place of one of them.
pub(super) fn group(claim: &Claim, [x, y]: [usize; 2]) -> Region {
    let region = claim.region();
    let (is_wide, is_high) = match claim {
        Claim::Product(claim) if claim.kind == ClaimKind::ColumnSums => (false, true),
        Claim::Product(claim) => (claim.left.split, claim.right.split),
        Claim::Takes(TakesClaim { line, .. }) | Claim::AllReduce(AllReduceClaim { line, .. }) => {
            (*line == ClaimLine::Row, *line == ClaimLine::Column)
        }
    };
    let (x, width) = if is_wide { (region.x, region.width) } else { (region.x + x as u16, 1) };
    let (y, height) = if is_high { (region.y, region.height) } else { (region.y + y as u16, 1) };
    Region::rect(x, y, width, height)
}

/// The line of a PE, and its place there.
fn place_in_line(line: ClaimLine, region: &Region, [x, y]: [usize; 2]) -> (usize, usize) {
    match line {
        ClaimLine::Row => (y, x),
        ClaimLine::Column => (x, y),
        ClaimLine::Own => (y * usize::from(region.width) + x, 0),
    }
}
