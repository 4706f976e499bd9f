//! Addresses in SRAM: one memory map for all PEs of a stage.
//!
//! Constants and tables lie at the bottom and stay for good, so that the program can be run again for the next input.
//! Results and working memory follow, first fit, and share bytes where their lives do not meet; an operation of each element
//! writes over an operand that nothing needs behind it. What corresponds in the turns of a repeat lies in one place or at equal
//! distances ([`groups`]), so that one body of code can run for all of them. Sums of products start in the banks in which they
//! wait least ([`banks`]).

mod banks;
mod groups;

use crate::error::{CompileError, DoesNotFit};
use crate::lives::Lives;
use crate::plan::{Stage, Storage};
use banks::Banks;
use groups::Group;
use std::collections::BTreeSet;
use waferloom_fabric::{Buffer, BufferKind, Machine};

/// Bytes after which the banks that can collide come around again: kernels choose by what remains of an address.
const BANKS_BYTES: u64 = waferloom_kernels::matmul::BANKS_BYTES as u64;

/// Whose range of SRAM it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Tensor(usize),
    /// Step and area.
    Scratch(usize, usize),
    /// Step and area.
    Table(usize, usize),
}

/// A range of SRAM.
#[derive(Clone, Copy, Debug)]
struct Range {
    bytes: u64,
    /// First and last step between which it holds something; `None` for always.
    live: Option<(usize, usize)>,
}

/// The range of an owner; `None` when it never holds anything.
fn range(stage: &Stage, lives: &Lives, owner: Owner) -> Option<Range> {
    let area = |bytes: u32, live| Range { bytes: u64::from(bytes).next_multiple_of(4), live };
    Some(match owner {
        Owner::Tensor(id) => {
            let tensor = &stage.tensors[id];
            let live = match tensor.storage {
                Storage::Alias(_) => return None,
                Storage::Constant { .. } => None,
                Storage::Computed { .. } => Some(lives.of[id]?),
            };
            Range { bytes: tensor.tile_bytes(), live }
        }
        Owner::Scratch(step, index) => area(stage.steps[step].scratch[index].bytes, Some((step, step))),
        Owner::Table(step, index) => area(stage.steps[step].tables[index].bytes, None),
    })
}

/// Gives every tensor, working area and table its address. Tables of steps with equal `signatures` are one table.
pub(crate) fn run(stage: &mut Stage, signatures: &[u32], machine: &Machine) -> Result<(), CompileError> {
    let groups = groups::of(stage, signatures);
    let banks = Banks::of(stage, &groups);
    let addresses = place(&groups, |group, addresses| banks.best(group, addresses));
    let end = groups.iter().zip(&addresses).map(|(group, &at)| at + group.bytes).max().unwrap_or(0);
    if end > u64::from(machine.sram_bytes) {
        let names: Vec<(String, u64)> = groups.iter().map(|group| (group_name(stage, group), group.bytes)).collect();
        let sizes = names.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
        return Err(does_not_fit(stage, machine, end, 0, sizes));
    }
    for (group, &start) in groups.iter().zip(&addresses) {
        for &(owner, distance) in &group.members {
            let at = (start + distance) as u32;
            match owner {
                Owner::Tensor(id) => match &mut stage.tensors[id].storage {
                    Storage::Computed { address } | Storage::Constant { address, .. } => *address = at,
                    Storage::Alias(_) => {}
                },
                Owner::Scratch(step, area) => stage.steps[step].scratch[area].address = at,
                Owner::Table(step, area) => stage.steps[step].tables[area].address = at,
            }
        }
    }
    Ok(())
}

/// The name of what lies in a range.
fn name(stage: &Stage, owner: Owner) -> String {
    match owner {
        Owner::Tensor(id) => stage.tensors[id].name.clone(),
        Owner::Scratch(step, _) => format!("scratch of {}", stage.steps[step].name),
        Owner::Table(step, _) => format!("table of {}", stage.steps[step].name),
    }
}

fn group_name(stage: &Stage, group: &Group) -> String {
    let first = group.members.first().map(|&(owner, _)| name(stage, owner)).unwrap_or_default();
    match group.members.len() {
        0 | 1 => first,
        several => format!("{first} and {} more", several - 1),
    }
}

/// The memory map of a stage whose ranges have addresses; `first` is the program's operator that is its first step.
pub(crate) fn buffers(stage: &Stage, first: usize) -> Vec<Buffer> {
    let mut lives = Lives::of(stage);
    // What is written over lives up to the step before: then the bytes are the result's.
    for (&result, operands) in &lives.over {
        for &operand in operands.iter().filter(|&&operand| stage.storage(operand).1 == stage.storage(result).1) {
            lives.of[operand] = lives.of[operand].map(|(first, last)| (first, last - 1));
        }
    }
    let mut tables = BTreeSet::new();
    let buffer = |owner: Owner| {
        let range = range(stage, &lives, owner).filter(|range| range.bytes > 0)?;
        let (address, kind) = match owner {
            Owner::Tensor(id) => match stage.tensors[id].storage {
                Storage::Constant { .. } => (stage.storage(id).1, BufferKind::Weight),
                _ => (stage.storage(id).1, BufferKind::Activation),
            },
            Owner::Scratch(step, area) => (stage.steps[step].scratch[area].address, BufferKind::Scratch),
            Owner::Table(step, area) => (stage.steps[step].tables[area].address, BufferKind::Table),
        };
        // A table that several steps use is there once.
        if kind == BufferKind::Table && !tables.insert((address, range.bytes)) {
            return None;
        }
        let live = range.live.map(|(from, to)| ((first + from) as u32, (first + to) as u32));
        let user = match owner {
            Owner::Tensor(id) => lives.of[id].map(|(first, _)| first),
            Owner::Scratch(step, _) | Owner::Table(step, _) => Some(step),
        };
        let counted_for = user.map(|user| (first + user) as u32);
        Some(Buffer { name: name(stage, owner), address, bytes: range.bytes as u32, kind, owner: counted_for, live })
    };
    groups::all(stage).into_iter().filter_map(buffer).collect()
}

/// The lowest address for each group that nothing else needs while it lives, with the remainder by [`BANKS_BYTES`] that `bank`
/// asks for.
///
/// What stays for good comes first, then the groups by the start of their lives, the larger first.
fn place(groups: &[Group], bank: impl Fn(usize, &[u64]) -> Option<u32>) -> Vec<u64> {
    let mut order: Vec<usize> = (0..groups.len()).collect();
    let start = |i: usize| groups[i].lives.as_ref().and_then(|lives| lives.first()).map(|&(start, _)| start);
    order.sort_by_key(|&i| (start(i), std::cmp::Reverse(groups[i].bytes)));
    let mut addresses = vec![0u64; groups.len()];
    let mut placed: Vec<usize> = Vec::new();
    for i in order {
        let group = &groups[i];
        let meeting = placed.iter().filter(|&&other| groups[other].meets(group));
        let mut taken: Vec<(u64, u64)> =
            meeting.map(|&other| (addresses[other], addresses[other] + groups[other].bytes)).collect();
        taken.sort_unstable();
        let bank = bank(i, &addresses).map(u64::from);
        let align = |at: u64| match bank {
            // 8-byte words: an even start spares the ports of the banks.
            None => at.next_multiple_of(8),
            Some(bank) => at + (bank + BANKS_BYTES - at % BANKS_BYTES) % BANKS_BYTES,
        };
        let mut at = align(0);
        for (from, to) in taken {
            if from >= at + group.bytes {
                break;
            }
            at = at.max(align(to));
        }
        addresses[i] = at;
        if group.bytes > 0 {
            placed.push(i);
        }
    }
    addresses
}

/// The error for a PE that needs more than it has: `sizes` are names and bytes of what lies in it.
pub(crate) fn does_not_fit(
    stage: &Stage,
    machine: &Machine,
    data_bytes: u64,
    code_bytes: u64,
    mut sizes: Vec<(&str, u64)>,
) -> CompileError {
    sizes.sort_by_key(|&(_, bytes)| std::cmp::Reverse(bytes));
    CompileError::DoesNotFit(Box::new(DoesNotFit {
        grid: stage.grid,
        needed_bytes: data_bytes + code_bytes,
        data_bytes,
        code_bytes,
        available_bytes: machine.sram_bytes,
        largest: sizes.iter().take(5).map(|(name, bytes)| format!("\"{name}\" ({bytes} bytes)")).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(bytes: u64, live: Option<(usize, usize)>) -> Group {
        Group { members: Vec::new(), bytes, lives: live.map(|live| vec![live]) }
    }

    fn anywhere(_: usize, _: &[u64]) -> Option<u32> {
        None
    }

    #[test]
    fn sums_start_in_their_bank() {
        // Behind the first 16 bytes the next address with a remainder of 8 by 32 is 40; the gap before it takes the third.
        let items = [item(16, None), item(24, Some((0, 0))), item(16, Some((0, 0)))];
        let bank = |index: usize, _: &[u64]| (index == 1).then_some(8);
        assert_eq!(place(&items, bank), [0, 40, 16]);
    }

    #[test]
    fn ranges_are_shared_when_lives_do_not_meet() {
        // The constant stays at 0; the second result starts after the first one's end and takes its place; the third
        // meets both.
        let items = [item(16, None), item(32, Some((0, 1))), item(24, Some((2, 3))), item(8, Some((1, 2)))];
        assert_eq!(place(&items, anywhere), [0, 16, 16, 48]);
    }

    #[test]
    fn a_gap_that_is_too_small_is_left() {
        // 0..8 frees after step 0, 8..16 lives on: 16 bytes do not fit below it, 8 do.
        let items = [item(8, Some((0, 0))), item(8, Some((0, 5))), item(16, Some((1, 1))), item(8, Some((1, 1)))];
        let placed = place(&items, anywhere);
        assert_eq!(placed, [0, 8, 16, 0]);
    }

    #[test]
    fn what_lives_again_and_again_leaves_room_in_between() {
        // The first is there in steps 0, 4 and 8, the second in 2 and 6, the third in 6 to 8.
        let again = |bytes, lives: &[(usize, usize)]| Group { lives: Some(lives.to_vec()), ..item(bytes, None) };
        let groups = [again(16, &[(0, 0), (4, 4), (8, 8)]), again(8, &[(2, 3), (6, 6)]), again(24, &[(6, 8)])];
        assert_eq!(place(&groups, anywhere), [0, 0, 16]);
    }
}
