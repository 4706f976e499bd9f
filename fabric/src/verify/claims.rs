//! Claims: whether what they say can be so. Whether it is so only a run can tell.

use super::grid::region;
use super::{Findings, Place};
use crate::claim::{AllReduceClaim, Claim, ClaimKind, ProductClaim, TakesClaim};
use crate::code::{Instruction, MemDsd, Operand, VectorOp};
use crate::geometry::{Coord, Region};
use crate::program::{Placement, Program};
use std::collections::BTreeSet;

/// Products of a claim: more would take a list that no tile needs.
const MOST_PRODUCTS: u64 = 1 << 20;

/// Checks the claims by themselves.
pub(super) fn check(program: &Program, found: &mut Findings) {
    for (index, claim) in program.claims.iter().enumerate() {
        let place = || Place::item(format!("claim {index}"));
        region(program.grid, claim.region(), place(), found);
        if let Some((message, remedy)) = fault(claim) {
            found.error(place(), message, remedy);
        }
    }
}

fn fault(claim: &Claim) -> Option<(&'static str, &'static str)> {
    let region = claim.region();
    let is_empty = region.width == 0 || region.height == 0;
    let has_no_size = match claim {
        Claim::Product(claim) => {
            let sizes = [claim.rows, claim.columns, claim.inner, claim.block];
            sizes.contains(&0) || claim.batch.iter().any(|dim| dim.size == 0)
        }
        Claim::Takes(claim) => claim.words == 0 || claim.rank == 0,
        Claim::AllReduce(claim) => claim.count == 0,
    };
    if is_empty || has_no_size {
        return Some(("one of its sizes is 0", "remove the claim, or give it a size"));
    }
    if region.step_x != 1 || region.step_y != 1 {
        return Some(("its region has gaps", "give it the step 1x1"));
    }
    match claim {
        Claim::Product(claim) => product_fault(claim),
        Claim::Takes(claim) => takes_fault(claim),
        Claim::AllReduce(AllReduceClaim { op: VectorOp::Add | VectorOp::Max | VectorOp::Min, .. }) => None,
        Claim::AllReduce(_) => Some(("it combines by another operation than add, max or min", "use one of these")),
    }
}

fn takes_fault(claim: &TakesClaim) -> Option<(&'static str, &'static str)> {
    if claim.first >= claim.end || claim.end > claim.line.pes(&claim.region) {
        return Some(("its roots are not PEs of a line", "name the first one and the end of a part of the line"));
    }
    (usize::from(claim.rank) > MemDsd::MOST_DIMS)
        .then_some(("its copies have more than 4 dimensions", "use at most 4, as a vector has"))
}

fn product_fault(claim: &ProductClaim) -> Option<(&'static str, &'static str)> {
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
            let inside = |placement: &Placement| corners(&placement.region).all(|at| claim.region().contains(at));
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

/// What in a claim's body may depend on numbers that are not worked out there, or outlive it. What takes elements has its list to load.
pub(super) fn foreign(body: &[Instruction], claim: Option<&Claim>) -> Option<&'static str> {
    let fifo = |operand: &Operand| matches!(operand, Operand::Fifo { .. });
    body.iter().find_map(|instruction| match instruction {
        Instruction::Vector { run_async: Some(_), .. } => Some("an asynchronous instruction"),
        Instruction::Vector { dst, srcs, .. } if srcs.iter().chain([dst]).any(fifo) => Some("a FIFO"),
        Instruction::Load { .. } if !matches!(claim, Some(Claim::Takes(_))) => Some("a load"),
        Instruction::Store { .. } => Some("a store"),
        Instruction::Claim { .. } => Some("another claim"),
        Instruction::Activate(_) | Instruction::Block(_) | Instruction::Unblock(_) => Some("a change of tasks"),
        Instruction::Loop { body, .. } => foreign(body, claim),
        Instruction::If { then, otherwise, .. } => foreign(then, claim).or_else(|| foreign(otherwise, claim)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use crate::text::parse;
    use crate::verify::{Findings, verify};

    const BODY: &str = "mac [8 : f32 ; 1] <- [8 : f32 ; 1], [0 : f32 ; 1], [4 : f32 ; 1]";

    /// Two PEs, each of which multiplies two numbers; `from` in the text is replaced by `to`.
    fn found(from: &str, to: &str) -> Findings {
        let text = format!(
            "program p machine bench16 grid 2x1
claim product f32 at 0,0 size 2x1 rows 1 columns 1 inner 1 block 1 left matrix 0 slot 0 line 1 step 1 right matrix 0 slot 0 line 1 step 1
class c {{ buffer all at 0 bytes 16 scratch fifo f0 at 16 words 4 task 8 main local activated {{ claim #0 [0], [4] -> [8] {{ {BODY} }} }} }}
place c at 0,0 size 2x1"
        );
        assert!(text.contains(from), "nothing to replace: {from}");
        verify(&parse(&text.replacen(from, to, 1)).unwrap_or_else(|e| panic!("{e}")))
    }

    #[track_caller]
    fn refused(from: &str, to: &str, why: &str) {
        holds(&found(from, to), why);
    }

    #[test]
    fn what_a_claim_says_must_be_possible() {
        assert!(found("", "").is_empty(), "{}", found("", ""));
        refused("inner 1", "inner 0", "one of its sizes is 0");
        refused("inner 1 block 1", "inner 1 block 0", "one of its sizes is 0");
        refused("\nclass", " batch 0 by 1, 1\nclass", "one of its sizes is 0");
        refused("\nclass", " batch 2000000 by 0, 0\nclass", "more than a million products");
    }

    #[test]
    fn its_region_is_a_rectangle_of_the_grid_that_holds_its_code() {
        refused("size 2x1 rows", "size 3x1 rows", "leaves the grid");
        refused("size 2x1 rows", "size 2x1 step 2x1 rows", "has gaps");
        refused("size 2x1 rows", "size 1x1 rows", "outside of the claim's region");
    }

    #[test]
    fn columns_are_added_up_of_one_block_each() {
        refused("claim product", "claim column_sums", "do not have one block each");
    }

    #[test]
    fn its_tiles_lie_in_memory() {
        refused("-> [8]", "-> [30]", "not a multiple of 4");
        // 28 + 4 are the 32 bytes of buffer and FIFO.
        assert!(!found("-> [8]", "-> [28]").has_errors());
        refused("-> [8]", "-> [32]", "reaches the bytes 32 to 36");
        // Eight rows of the left operand end with the memory; those of the result, from 8 on, do not.
        refused("rows 1", "rows 8", "reaches the bytes 8 to 40");
        // Two of the right operand's matrices, seven elements apart, begin at 4 and at 32.
        refused(
            "right matrix 0 slot 0 line 1 step 1",
            "right matrix 7 slot 0 line 1 step 1 batch 2 by 0, 1",
            "4 to 36",
        );
        refused("claim #0", "claim #1", "there is no claim #1");
    }

    /// Two PEs of a row with 16 bytes that run code in a claim.
    fn row(claim: &str, code: &str) -> Findings {
        let text = format!(
            "program p machine bench16 grid 2x1
claim {claim}
class c {{ buffer all at 0 bytes 16 scratch task 8 main local activated {{ claim #0 {code} }} }}
place c at 0,0 size 2x1"
        );
        verify(&parse(&text).unwrap_or_else(|e| panic!("{e}")))
    }

    #[track_caller]
    fn holds(found: &Findings, why: &str) {
        assert!(found.has_errors() && found.to_string().contains(why), "expected {why:?}, got:\n{found}");
    }

    #[test]
    fn what_is_taken_comes_from_a_line_and_is_named_by_a_list_in_memory() {
        // They take a word from the first one.
        let (claim, code) =
            ("takes row f32 at 0,0 size 2x1 first 0 end 1 words 1 rank 1", "[0], [4] -> [8] { r1 = load u16 [4] }");
        assert!(!row(claim, code).has_errors(), "{}", row(claim, code));
        for (from, to, why) in [
            ("words 1", "words 0", "one of its sizes is 0"),
            ("rank 1", "rank 5", "more than 4 dimensions"),
            ("first 0 end 1", "first 1 end 1", "not PEs of a line"),
            ("first 0 end 1", "first 0 end 3", "not PEs of a line"),
            ("words 1", "words 5", "reaches the bytes 0 to 20"),
            ("[4] -> [8]", "[16] -> [8]", "reaches the bytes 16 to 18"),
            ("[0], [4]", "[2], [4]", "not a multiple of 4"),
            ("r1 = load u16 [4]", "store 0 -> i32 [4]", "a store in the body of a claim"),
        ] {
            assert!(claim.contains(from) || code.contains(from), "nothing to replace: {from}");
            holds(&row(&claim.replacen(from, to, 1), &code.replacen(from, to, 1)), why);
        }
    }

    #[test]
    fn vectors_are_combined_by_operations_of_two() {
        let found = |claim: &str, addresses: &str| row(&format!("all_reduce {claim}"), &format!("{addresses} {{ }}"));
        for op in ["add", "max", "min"] {
            let found = found(&format!("row {op} at 0,0 size 2x1 count 2"), "[0], [0] -> [8]");
            assert!(!found.has_errors(), "{found}");
        }
        for (claim, addresses, why) in [
            ("row mul at 0,0 size 2x1 count 2", "[0], [0] -> [8]", "another operation than add, max or min"),
            ("row add at 0,0 size 2x1 count 0", "[0], [0] -> [8]", "one of its sizes is 0"),
            ("row add at 0,0 size 2x1 count 3", "[0], [0] -> [8]", "reaches the bytes 8 to 20"),
            ("row add at 0,0 size 2x1 count 1", "[2], [0] -> [8]", "not a multiple of 4"),
        ] {
            holds(&found(claim, addresses), why);
        }
    }

    #[test]
    fn its_body_depends_on_no_numbers_and_leaves_nothing_behind() {
        for (code, what) in [
            ("r1 = load i32 [0]", "a load"),
            ("store 0 -> i32 [0]", "a store"),
            ("mov fifo f0 f32[1] <- [0 : f32 ; 1]", "a FIFO"),
            ("mov [8 : f32 ; 1] <- [0 : f32 ; 1] async u0", "an asynchronous instruction"),
            ("loop r1 in 2 { activate 8 }", "a change of tasks"),
            ("if r1 == 1 { claim #0 [0], [4] -> [8] { } }", "another claim"),
        ] {
            refused(BODY, code, what);
        }
    }
}
