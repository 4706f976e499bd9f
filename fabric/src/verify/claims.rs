//! Claims: whether what they say can be so. Whether it is so only a run can tell.

use super::grid::region;
use super::{Findings, Place};
use crate::claim::{Claim, ClaimKind};
use crate::code::{Instruction, Operand};
use crate::geometry::{Coord, Region};
use crate::program::{Placement, Program};
use std::collections::BTreeSet;

/// Products of a claim: more would take a list that no tile needs.
const MOST_PRODUCTS: u64 = 1 << 20;

/// Checks the claims by themselves.
pub(super) fn check(program: &Program, found: &mut Findings) {
    for (index, claim) in program.claims.iter().enumerate() {
        let place = || Place::item(format!("claim {index}"));
        region(program.grid, &claim.region, place(), found);
        if let Some((message, remedy)) = fault(claim) {
            found.error(place(), message, remedy);
        }
    }
}

fn fault(claim: &Claim) -> Option<(&'static str, &'static str)> {
    let sizes = [claim.rows, claim.columns, claim.inner, claim.block, claim.region.width.into()];
    if sizes.contains(&0) || claim.region.height == 0 || claim.batch.iter().any(|dim| dim.size == 0) {
        return Some(("one of its sizes is 0", "remove the claim, or give it a size"));
    }
    if claim.region.step_x != 1 || claim.region.step_y != 1 {
        return Some(("its region has gaps", "give it the step 1x1"));
    }
    if !claim.dtype.is_float() {
        return Some(("its operands are integers", "claim products of floats only"));
    }
    if claim.products() > MOST_PRODUCTS {
        return Some(("it has more than a million products", "use smaller batch dimensions"));
    }
    let [left, right] = [claim.left.split, claim.right.split];
    let one_each = left && right && claim.batch.is_empty() && claim.blocks() <= claim.region.height.into();
    if claim.kind == ClaimKind::ColumnSums && !one_each {
        let remedy = "split both operands, without batch dimensions, in at most as many blocks as rows of PEs";
        return Some(("it adds up columns of PEs that do not have one block each", remedy));
    }
    None
}

/// Checks that the PEs that run code with a claim are those of the claim.
pub(super) fn check_placements(program: &Program, found: &mut Findings) {
    for (class, code) in program.classes.iter().enumerate() {
        let mut claims = BTreeSet::new();
        code.tasks.iter().for_each(|task| collect(&task.body, &mut claims));
        for index in claims {
            let Some(claim) = program.claims.get(index as usize) else { continue };
            let inside = |placement: &Placement| corners(&placement.region).all(|at| claim.region.contains(at));
            let placements = program.placements.iter().filter(|p| p.class as usize == class);
            if !placements.into_iter().all(inside) {
                let message = format!("it runs code of claim {index} outside of the claim's region");
                found.error(Place::class(&code.name), message, "make the claim's region larger, or remove the claim");
            }
        }
    }
}

/// The PEs of a region that are furthest to the north-west and to the south-east.
fn corners(region: &Region) -> impl Iterator<Item = Coord> {
    let Region { x, y, width, height, step_x, step_y } = *region;
    let last = |first: u16, size: u16, step: u16| first + (size - 1) / step.max(1) * step.max(1);
    let there = width > 0 && height > 0;
    let corners = there.then(|| [Coord { x, y }, Coord { x: last(x, width, step_x), y: last(y, height, step_y) }]);
    corners.into_iter().flatten()
}

fn collect(body: &[Instruction], claims: &mut BTreeSet<u32>) {
    for instruction in body {
        match instruction {
            Instruction::Claim { claim, body, .. } => {
                claims.insert(*claim);
                collect(body, claims);
            }
            Instruction::Loop { body, .. } => collect(body, claims),
            Instruction::If { then, otherwise, .. } => {
                collect(then, claims);
                collect(otherwise, claims);
            }
            _ => {}
        }
    }
}

/// What in a claim's body may depend on numbers that are not worked out there, or outlive it.
pub(super) fn foreign(body: &[Instruction]) -> Option<&'static str> {
    let fifo = |operand: &Operand| matches!(operand, Operand::Fifo { .. });
    body.iter().find_map(|instruction| match instruction {
        Instruction::Vector { run_async: Some(_), .. } => Some("an asynchronous instruction"),
        Instruction::Vector { dst, srcs, .. } if srcs.iter().chain([dst]).any(fifo) => Some("a FIFO"),
        Instruction::Load { .. } => Some("a load"),
        Instruction::Store { .. } => Some("a store"),
        Instruction::Claim { .. } => Some("another claim"),
        Instruction::Activate(_) | Instruction::Block(_) | Instruction::Unblock(_) => Some("a change of tasks"),
        Instruction::Loop { body, .. } => foreign(body),
        Instruction::If { then, otherwise, .. } => foreign(then).or_else(|| foreign(otherwise)),
        _ => None,
    })
}
