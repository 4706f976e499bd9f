//! Addresses in SRAM: one memory map for all PEs of a stage.
//!
//! Constants and tables lie at the bottom and stay for good, so that the program can be run again for the next input.
//! Results and working memory follow, first fit, and share bytes where their lives do not meet.

use crate::error::{CompileError, DoesNotFit};
use crate::plan::{Stage, Storage};
use waferloom_fabric::{Buffer, BufferKind, Machine};

/// A range of SRAM that needs an address.
struct Item {
    name: String,
    bytes: u64,
    /// First and last step between which it holds something; `None` for always.
    live: Option<(usize, usize)>,
    owner: Owner,
}

/// Whose range it is.
#[derive(Clone, Copy)]
enum Owner {
    Tensor(usize),
    Scratch(usize, usize),
    Table(usize, usize),
}

impl Owner {
    /// A name that is unique in the stage.
    fn name(self, stage: &Stage) -> String {
        let of =
            |what: &str, step: usize, area: usize| format!("{what} {area} of step {step}, {}", stage.steps[step].name);
        match self {
            Owner::Tensor(id) => stage.tensors[id].name.clone(),
            Owner::Scratch(step, area) => of("scratch", step, area),
            Owner::Table(step, area) => of("table", step, area),
        }
    }
}

/// Gives every tensor, working area and table its address.
pub(crate) fn run(stage: &mut Stage, machine: &Machine) -> Result<(), CompileError> {
    let items = items(stage);
    let addresses = place(&items);
    let end = items.iter().zip(&addresses).map(|(item, &at)| at + item.bytes).max().unwrap_or(0);
    if end > u64::from(machine.sram_bytes) {
        let sizes = items.iter().map(|item| (item.name.as_str(), item.bytes)).collect();
        return Err(does_not_fit(stage, machine, end, 0, sizes));
    }
    for (item, &at) in items.iter().zip(&addresses) {
        let at = at as u32;
        match item.owner {
            Owner::Tensor(id) => match &mut stage.tensors[id].storage {
                Storage::Computed { address } | Storage::Constant { address, .. } => *address = at,
                Storage::Alias(_) => {}
            },
            Owner::Scratch(step, area) => stage.steps[step].scratch[area].address = at,
            Owner::Table(step, area) => stage.steps[step].tables[area].address = at,
        }
    }
    Ok(())
}

/// First and last step that touch each tensor, seen from the one that owns the bytes; `None` for tensors that nothing touches.
fn lives(stage: &Stage) -> Vec<Option<(usize, usize)>> {
    let mut lives: Vec<Option<(usize, usize)>> = vec![None; stage.tensors.len()];
    for (index, step) in stage.steps.iter().enumerate() {
        for tensor in step.kind.sources().into_iter().chain(step.kind.result()) {
            let (owner, _) = stage.storage(tensor);
            let (first, _) = lives[owner].unwrap_or((index, index));
            lives[owner] = Some((first, index));
        }
    }
    lives
}

/// The memory map of a stage whose ranges have addresses; `first` is the program's operator that is its first step.
pub(crate) fn buffers(stage: &Stage, first: usize) -> Vec<Buffer> {
    let buffer = |item: Item| {
        let (address, kind) = match item.owner {
            Owner::Tensor(id) => match stage.tensors[id].storage {
                Storage::Constant { .. } => (stage.storage(id).1, BufferKind::Weight),
                _ => (stage.storage(id).1, BufferKind::Activation),
            },
            Owner::Scratch(step, area) => (stage.steps[step].scratch[area].address, BufferKind::Scratch),
            Owner::Table(step, area) => (stage.steps[step].tables[area].address, BufferKind::Table),
        };
        let live = item.live.map(|(from, to)| ((first + from) as u32, (first + to) as u32));
        Buffer { name: item.name, address, bytes: item.bytes as u32, kind, live }
    };
    items(stage).into_iter().filter(|item| item.bytes > 0).map(buffer).collect()
}

fn items(stage: &Stage) -> Vec<Item> {
    let mut items = Vec::new();
    for ((id, tensor), live) in stage.tensors.iter().enumerate().zip(lives(stage)) {
        let live = match tensor.storage {
            Storage::Alias(_) => continue,
            Storage::Constant { .. } => None,
            Storage::Computed { .. } if live.is_none() => continue,
            Storage::Computed { .. } => live,
        };
        let owner = Owner::Tensor(id);
        items.push(Item { name: owner.name(stage), bytes: tensor.tile_bytes(), live, owner });
    }
    for (index, step) in stage.steps.iter().enumerate() {
        let tables =
            step.tables.iter().enumerate().map(|(area, t)| (t.bytes, None, Owner::Table(index, area), "table"));
        let scratch = step.scratch.iter().enumerate();
        let scratch = scratch.map(|(area, s)| (s.bytes, Some((index, index)), Owner::Scratch(index, area), "scratch"));
        for (bytes, live, owner, what) in tables.chain(scratch) {
            let bytes = u64::from(bytes).next_multiple_of(4);
            items.push(Item { name: format!("{what} of {}", step.name), bytes, live, owner });
        }
    }
    items
}

/// The lowest address for each item that nothing else needs while it lives.
///
/// What stays for good comes first, then the items by the start of their lives, the larger first.
fn place(items: &[Item]) -> Vec<u64> {
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(|&i| (items[i].live.map(|(start, _)| start), std::cmp::Reverse(items[i].bytes)));
    let mut addresses = vec![0u64; items.len()];
    // Ranges in use, with the end of their lives; all of them started before the item at hand.
    let mut taken: Vec<(u64, u64, usize)> = Vec::new();
    for i in order {
        let item = &items[i];
        if let Some((start, _)) = item.live {
            taken.retain(|&(.., end)| end >= start);
        }
        taken.sort_unstable();
        // 8-byte words: an even start spares the ports of the banks.
        let mut at = 0u64;
        for &(from, to, _) in &taken {
            if from >= at + item.bytes {
                break;
            }
            at = at.max(to.next_multiple_of(8));
        }
        addresses[i] = at;
        if item.bytes > 0 {
            taken.push((at, at + item.bytes, item.live.map_or(usize::MAX, |(_, end)| end)));
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

    fn item(bytes: u64, live: Option<(usize, usize)>) -> Item {
        Item { name: String::new(), bytes, live, owner: Owner::Tensor(0) }
    }

    #[test]
    fn ranges_are_shared_when_lives_do_not_meet() {
        // The constant stays at 0; the second result starts after the first one's end and takes its place; the third
        // meets both.
        let items = [item(16, None), item(32, Some((0, 1))), item(24, Some((2, 3))), item(8, Some((1, 2)))];
        assert_eq!(place(&items), [0, 16, 16, 48]);
    }

    #[test]
    fn a_gap_that_is_too_small_is_left() {
        // 0..8 frees after step 0, 8..16 lives on: 16 bytes do not fit below it, 8 do.
        let items = [item(8, Some((0, 0))), item(8, Some((0, 5))), item(16, Some((1, 1))), item(8, Some((1, 1)))];
        let placed = place(&items);
        assert_eq!(placed, [0, 8, 16, 0]);
    }
}
