//! Addresses in SRAM: one memory map for all PEs of a stage.
//!
//! Constants and tables lie at the bottom and stay for good, so that the program can be run again for the next input.
//! Results and working memory follow, first fit, and share bytes where their lives do not meet. An operation of each element
//! writes over an operand that nothing needs behind it, and a product's sums start in the banks in which they wait least.

use crate::error::{CompileError, DoesNotFit};
use crate::plan::{Stage, StepKind, Storage, TensorId};
use crate::select;
use std::collections::BTreeMap;
use waferloom_fabric::{Buffer, BufferKind, Dtype, Machine};
use waferloom_kernels::matmul::{self, MatMul};

/// A range of SRAM that needs an address.
struct Item {
    name: String,
    bytes: u64,
    /// First and last step between which it holds something; `None` for always.
    live: Option<(usize, usize)>,
    owner: Owner,
    /// The item whose bytes it takes over.
    over: Option<usize>,
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
    let addresses = place(&items, &banks(stage, &items));
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

/// For the items that hold a product's sums: their best place in the banks, by the addresses of the items before them.
fn banks<'a>(stage: &'a Stage, items: &'a [Item]) -> impl Fn(usize, &[u64]) -> Option<u32> + 'a {
    let item_of = |wanted: TensorId| {
        let (owner, _) = stage.storage(wanted);
        items.iter().position(|item| matches!(item.owner, Owner::Tensor(id) if id == owner))
    };
    let products: BTreeMap<usize, (MatMul, [Option<usize>; 2], Dtype)> = items
        .iter()
        .enumerate()
        .filter_map(|(index, item)| {
            let step = match item.owner {
                Owner::Scratch(step, 2) => step,
                Owner::Tensor(_) => item.live?.0,
                _ => return None,
            };
            let &StepKind::MatMul { left, right, result, .. } = &stage.steps[step].kind else { return None };
            let dtype = stage.tensors[result].dtype;
            let holds_sums = match item.owner {
                Owner::Tensor(id) => dtype == Dtype::F32 && id == result,
                _ => dtype != Dtype::F32,
            };
            let shape = select::matmul::shape(stage, left, right, result);
            holds_sums.then(|| (index, (shape, [item_of(left), item_of(right)], dtype)))
        })
        .collect();
    move |index, addresses| {
        let (shape, [left, right], dtype) = products.get(&index)?;
        Some(matmul::best_bank(shape, *dtype, [addresses[(*left)?] as u32, addresses[(*right)?] as u32]))
    }
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

/// For each result that is written over a source of its step: the tensor that owns the source's bytes.
fn written_over(stage: &Stage, lives: &[Option<(usize, usize)>]) -> BTreeMap<TensorId, TensorId> {
    let mut over = BTreeMap::new();
    for (index, step) in stage.steps.iter().enumerate() {
        let StepKind::Elementwise { result, .. } = step.kind else { continue };
        let written = &stage.tensors[result];
        // Each element must be read where it is written, and nowhere else.
        let in_place = |source: TensorId| {
            let read = &stage.tensors[source];
            read.distribution.tile() == written.distribution.tile() && read.dtype.bytes() == written.dtype.bytes()
        };
        let sources = step.kind.sources();
        let dies = |&owner: &TensorId| {
            let tensor = &stage.tensors[owner];
            matches!(tensor.storage, Storage::Computed { .. })
                && lives[owner].is_some_and(|(first, last)| first < index && last == index)
                && tensor.tile_bytes() == written.tile_bytes()
                && sources.iter().all(|&source| stage.storage(source).0 != owner || in_place(source))
        };
        if let Some(owner) = sources.iter().map(|&source| stage.storage(source).0).find(dies) {
            over.insert(result, owner);
        }
    }
    over
}

fn items(stage: &Stage) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let mut lives = lives(stage);
    let over = written_over(stage, &lives);
    // What is written over lives up to the step before: then the bytes are the result's.
    for &owner in over.values() {
        lives[owner] = lives[owner].map(|(first, last)| (first, last - 1));
    }
    let mut item_of = BTreeMap::new();
    for ((id, tensor), live) in stage.tensors.iter().enumerate().zip(lives) {
        let live = match tensor.storage {
            Storage::Alias(_) => continue,
            Storage::Constant { .. } => None,
            Storage::Computed { .. } if live.is_none() => continue,
            Storage::Computed { .. } => live,
        };
        let owner = Owner::Tensor(id);
        item_of.insert(id, items.len());
        items.push(Item { name: owner.name(stage), bytes: tensor.tile_bytes(), live, owner, over: None });
    }
    for (result, owner) in over {
        if let (Some(&result), owner) = (item_of.get(&result), item_of.get(&owner)) {
            items[result].over = owner.copied();
        }
    }
    for (index, step) in stage.steps.iter().enumerate() {
        let tables =
            step.tables.iter().enumerate().map(|(area, t)| (t.bytes, None, Owner::Table(index, area), "table"));
        let scratch = step.scratch.iter().enumerate();
        let scratch = scratch.map(|(area, s)| (s.bytes, Some((index, index)), Owner::Scratch(index, area), "scratch"));
        for (bytes, live, owner, what) in tables.chain(scratch) {
            let bytes = u64::from(bytes).next_multiple_of(4);
            items.push(Item { name: format!("{what} of {}", step.name), bytes, live, owner, over: None });
        }
    }
    items
}

/// The lowest address for each item that nothing else needs while it lives, in the bank that `bank` asks for.
///
/// What stays for good comes first, then the items by the start of their lives: those that take over bytes, then the larger
/// first.
fn place(items: &[Item], bank: &dyn Fn(usize, &[u64]) -> Option<u32>) -> Vec<u64> {
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(|&i| {
        let item = &items[i];
        (item.live.map(|(start, _)| start), item.over.is_none(), std::cmp::Reverse(item.bytes))
    });
    let mut addresses = vec![0u64; items.len()];
    // Ranges in use, with the end of their lives; all of them started before the item at hand.
    let mut taken: Vec<(u64, u64, usize)> = Vec::new();
    for i in order {
        let item = &items[i];
        if let Some((start, _)) = item.live {
            taken.retain(|&(.., end)| end >= start);
        }
        taken.sort_unstable();
        addresses[i] = match item.over {
            Some(over) => addresses[over],
            None => first_fit(&taken, item.bytes, bank(i, &addresses)),
        };
        if item.bytes > 0 {
            let end = item.live.map_or(usize::MAX, |(_, end)| end);
            taken.push((addresses[i], addresses[i] + item.bytes, end));
        }
    }
    addresses
}

/// The lowest address, in 8-byte words (an even start spares the ports of the banks) and with a given remainder by the bytes
/// after which banks that collide come around, at which so many bytes are free.
fn first_fit(taken: &[(u64, u64, usize)], bytes: u64, bank: Option<u32>) -> u64 {
    let around = u64::from(matmul::BANKS_BYTES);
    let align = |at: u64| match bank {
        None => at.next_multiple_of(8),
        Some(bank) => at + (u64::from(bank) + around - at % around) % around,
    };
    let mut at = align(0);
    for &(from, to, _) in taken {
        if from >= at + bytes {
            break;
        }
        at = at.max(align(to));
    }
    at
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
        Item { name: String::new(), bytes, live, owner: Owner::Tensor(0), over: None }
    }

    fn anywhere(_: usize, _: &[u64]) -> Option<u32> {
        None
    }

    #[test]
    fn ranges_are_shared_when_lives_do_not_meet() {
        // The constant stays at 0; the second result starts after the first one's end and takes its place; the third
        // meets both.
        let items = [item(16, None), item(32, Some((0, 1))), item(24, Some((2, 3))), item(8, Some((1, 2)))];
        assert_eq!(place(&items, &anywhere), [0, 16, 16, 48]);
    }

    #[test]
    fn a_gap_that_is_too_small_is_left() {
        // 0..8 frees after step 0, 8..16 lives on: 16 bytes do not fit below it, 8 do.
        let items = [item(8, Some((0, 0))), item(8, Some((0, 5))), item(16, Some((1, 1))), item(8, Some((1, 1)))];
        let placed = place(&items, &anywhere);
        assert_eq!(placed, [0, 8, 16, 0]);
    }
    #[test]
    fn bytes_are_taken_over_and_banks_are_kept() {
        // The second result takes the first one's bytes, though the larger scratch of its step would come before it; the sums
        // start at the next address with a remainder of 24 by 32.
        let taker = Item { over: Some(0), ..item(16, Some((1, 2))) };
        let items = [item(16, Some((0, 0))), taker, item(32, Some((1, 1))), item(8, Some((2, 2)))];
        let bank = |index: usize, _: &[u64]| (index == 3).then_some(24);
        assert_eq!(place(&items, &bank), [0, 0, 16, 24]);
    }
}
