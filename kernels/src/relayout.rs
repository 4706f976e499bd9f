//! Relayout: moves the elements of a tensor from one distribution to another, in another order.
//!
//! Transposes, head splits, slices, concatenations, patches: all are "element `i` of the destination is element `f(i)` of the
//! source". At compile time [`plan`] works out, for every PE, which elements it takes from whom; at run time the data take at
//! most two steps:
//!
//! 1. along the rows: each PE in turn broadcasts its tile; each PE keeps what PEs of its *column* need;
//! 2. along the columns: each PE in turn broadcasts what it kept; each PE takes what it needs itself;
//!
//! or first along the columns, where that is faster on the machine. A step that would move nothing is left out. What a PE takes from a broadcast is a list of strided runs in its SRAM.

mod cycles;
mod order;

use crate::code::{Code, Reg, Tile, memory};
use crate::line::{self, Turn};
use crate::mesh::{Axis, Mesh};
use std::collections::BTreeMap;
use waferloom_fabric::{Coord, Distribution, Dtype, Extent, Machine, ScalarOp, Value, VectorOp};

/// A copy of a box of elements: from `source` on to `target` on, over up to three dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    source: u32,
    target: u32,
    /// The innermost first; those beyond the rank at hand have one turn.
    dims: [RunDim; MAX_RANK],
}

/// One dimension of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RunDim {
    count: u32,
    source_step: u32,
    target_step: u32,
}

/// Dimensions of a run at most.
const MAX_RANK: usize = 3;

/// Cycles that a run takes beside its elements, about: loads of its numbers, addresses, start-up.
fn run_overhead(rank: usize) -> usize {
    13 + 3 * rank
}

/// Elements to copy, as (source, target), in runs of one element.
fn single_runs(pairs: &[(u32, u32)]) -> Vec<Run> {
    let once = RunDim { count: 1, source_step: 0, target_step: 0 };
    pairs.iter().map(|&(source, target)| Run { source, target, dims: [once; MAX_RANK] }).collect()
}

/// Joins neighbouring runs that are equal but for where they start, and start at equal distances, along dimension `dim`.
fn join(runs: &[Run], dim: usize) -> Vec<Run> {
    let mut joined: Vec<Run> = Vec::new();
    for run in runs {
        if let Some(last) = joined.last_mut()
            && last.dims[..dim] == run.dims[..dim]
        {
            let RunDim { count, source_step, target_step } = last.dims[dim];
            if count == 1 && run.source >= last.source && run.target >= last.target {
                let (source_step, target_step) = (run.source - last.source, run.target - last.target);
                last.dims[dim] = RunDim { count: 2, source_step, target_step };
                continue;
            }
            if count > 1
                && run.source == last.source + source_step * count
                && run.target == last.target + target_step * count
            {
                last.dims[dim].count += 1;
                continue;
            }
        }
        joined.push(*run);
    }
    joined
}

/// Runs of each PE from each root, all of one rank.
type Ranked = (usize, Vec<Vec<Vec<Run>>>);

/// Cuts the elements that each PE takes from each root into runs, of the rank that costs the slowest PE least.
fn best_runs(pairs: &[Vec<Vec<(u32, u32)>>]) -> Ranked {
    let lines = |pairs: &Vec<(u32, u32)>| join(&single_runs(pairs), 0);
    let mut runs: Vec<Vec<Vec<Run>>> = pairs.iter().map(|roots| roots.iter().map(lines).collect()).collect();
    let mut best: Option<(usize, Ranked)> = None;
    for rank in 1..=MAX_RANK {
        if rank > 1 {
            for list in runs.iter_mut().flatten() {
                *list = join(list, rank - 1);
            }
        }
        let most = runs.iter().map(|roots| roots.iter().map(Vec::len).sum::<usize>()).max().unwrap_or(0);
        let cost = most * run_overhead(rank);
        if best.as_ref().is_none_or(|&(least, _)| cost < least) {
            best = Some((cost, (rank, runs.clone())));
        }
    }
    best.map_or((1, Vec::new()), |(_, best)| best)
}

/// Numbers of a run in a table.
fn run_numbers(rank: usize) -> usize {
    2 + 3 * rank
}

impl Run {
    /// As it lies in the table: starts, then count and steps of each dimension, the outermost first.
    fn encode(&self, rank: usize) -> impl Iterator<Item = u16> + use<> {
        let dims = self.dims;
        let starts = [self.source as u16, self.target as u16];
        let dims = dims.into_iter().take(rank).rev();
        starts.into_iter().chain(dims.flat_map(|d| [d.count, d.source_step, d.target_step].map(|n| n as u16)))
    }
}

/// One step: broadcasts along an axis, or copies on each PE alone.
#[derive(Clone, Debug)]
pub struct Step {
    /// Along which axis; `None` when no data leave their PE.
    axis: Option<Axis>,
    /// Turns of the broadcast.
    roots: u32,
    /// Dimensions of the runs.
    rank: usize,
    /// Words that each root sends, per PE of its line (all agree), then per root the number of runs and the runs.
    tables: Vec<Vec<u16>>,
    /// Most words that a root sends.
    panel_words: u32,
}

/// A relayout, worked out.
#[derive(Clone, Debug)]
pub struct Relayout {
    steps: Vec<Step>,
    /// Elements between the two steps, the most over all PEs.
    middle_elements: u32,
    grid: Extent,
}

/// Why a relayout cannot be done.
#[derive(Debug, thiserror::Error)]
#[error("a tile of {elements} elements is too large for a relayout's 16-bit tables; use a larger grid")]
pub struct TooLarge {
    /// Elements of the tile.
    pub elements: usize,
}

/// An element that a PE needs: the PE that has it, its offset there, and the offset where it goes.
type Need = (Coord, u32, u32);

/// An element's place in a step: (position of its root in the line, offset in the root's panel).
type Place = (u32, u32);

/// Works out the relayout to `target`, whose element `i` is element `map[i]` of the source; `None` is left as it is.
///
/// # Errors
/// Tiles that 16-bit offsets do not reach over.
pub fn plan(
    source: &Distribution,
    target: &Distribution,
    map: &[Option<u32>],
    dtype: Dtype,
    machine: &Machine,
) -> Result<Relayout, TooLarge> {
    let grid = source.grid;
    let limit = |elements: usize| if elements > 0xFFFF { Err(TooLarge { elements }) } else { Ok(()) };
    limit(source.tile_elements())?;
    limit(target.tile_elements())?;
    let homes = homes(source);
    // For every PE: the source's column, row and offset of each element it needs, with the element's offset in its own tile.
    let mut needs: Vec<Vec<Need>> = Vec::with_capacity(grid.pes());
    for at in (0..grid.pes()).map(|i| grid.coord(i)) {
        let wanted = target.tile_indices(at.x, at.y).into_iter().enumerate();
        let found = wanted.filter_map(|(offset, index)| {
            let (column, row, from) = homes[map[index?]? as usize];
            let home = Coord { x: column.unwrap_or(at.x), y: row.unwrap_or(at.y) };
            Some((home, from, offset as u32))
        });
        needs.push(found.collect());
    }
    let moved = |f: &dyn Fn(Coord, Coord) -> bool| {
        needs.iter().enumerate().any(|(i, list)| list.iter().any(|&(home, ..)| f(home, grid.coord(i))))
    };
    let (across, down) = (moved(&|home, at| home.x != at.x), moved(&|home, at| home.y != at.y));
    let tile = source.tile_elements() as u32;
    let direct = |axis: Option<Axis>| {
        let pick = |home: Coord| match axis {
            Some(Axis::X) => u32::from(home.x),
            Some(Axis::Y) => u32::from(home.y),
            None => 0,
        };
        let takes: Vec<Vec<(Place, u32)>> =
            needs.iter().map(|list| list.iter().map(|&(home, from, to)| ((pick(home), from), to)).collect()).collect();
        step(grid, axis, &takes, |_, _| tile, dtype)
    };
    match (across, down) {
        (false, false) => Ok(Relayout { steps: vec![direct(None)], middle_elements: 0, grid }),
        (true, false) => Ok(Relayout { steps: vec![direct(Some(Axis::X))], middle_elements: 0, grid }),
        (false, true) => Ok(Relayout { steps: vec![direct(Some(Axis::Y))], middle_elements: 0, grid }),
        (true, true) => {
            let rows_first = two_steps(grid, Axis::X, &needs, tile, dtype)?;
            // Worth a look only where less is sent.
            if order::words(grid, Axis::Y, &needs, tile) >= order::words(grid, Axis::X, &needs, tile) {
                return Ok(rows_first);
            }
            let columns_first = two_steps(grid, Axis::Y, &needs, tile, dtype)?;
            let is_faster = columns_first.cycles(machine, dtype) < rows_first.cycles(machine, dtype);
            Ok(if is_faster { columns_first } else { rows_first })
        }
    }
}

/// Where each element of a tensor lies: column and row (`None` for everywhere along that axis) and offset.
fn homes(source: &Distribution) -> Vec<(Option<u16>, Option<u16>, u32)> {
    let mut index = vec![0u32; source.shape.len()];
    (0..source.elements())
        .map(|_| {
            let (column, row, offset) = source.locate(&index);
            for (i, &size) in index.iter_mut().zip(&source.shape).rev() {
                *i += 1;
                if *i < size {
                    break;
                }
                *i = 0;
            }
            (column, row, offset as u32)
        })
        .collect()
}

fn two_steps(
    grid: Extent,
    first_axis: Axis,
    needs: &[Vec<Need>],
    tile: u32,
    dtype: Dtype,
) -> Result<Relayout, TooLarge> {
    // What each PE keeps for its line of the second step: (root, offset there) in the order in which it is first asked for.
    let mut kept: Vec<BTreeMap<Place, u32>> = vec![BTreeMap::new(); grid.pes()];
    let mut second: Vec<Vec<(Place, u32)>> = Vec::with_capacity(grid.pes());
    for (i, list) in needs.iter().enumerate() {
        let at = grid.coord(i);
        let takes = list.iter().map(|&(home, from, to)| {
            let (keeper, first_root, second_root) = match first_axis {
                Axis::X => (Coord { x: at.x, y: home.y }, home.x, home.y),
                Axis::Y => (Coord { x: home.x, y: at.y }, home.y, home.x),
            };
            let keeper = &mut kept[grid.index(keeper)];
            let next = keeper.len() as u32;
            let slot = *keeper.entry((u32::from(first_root), from)).or_insert(next);
            ((u32::from(second_root), slot), to)
        });
        second.push(takes.collect());
    }
    let middle = kept.iter().map(BTreeMap::len).max().unwrap_or(0);
    if middle > 0xFFFF {
        return Err(TooLarge { elements: middle });
    }
    let first: Vec<Vec<(Place, u32)>> = kept
        .iter()
        .map(|keeper| {
            let mut takes: Vec<(Place, u32)> = keeper.iter().map(|(&place, &slot)| (place, slot)).collect();
            takes.sort_by_key(|&(_, slot)| slot);
            takes
        })
        .collect();
    let sizes: Vec<u32> = kept.iter().map(|k| k.len() as u32).collect();
    let (second_axis, keeper): (Axis, fn(Coord, u32) -> Coord) = match first_axis {
        Axis::X => (Axis::Y, |at, root| Coord { x: at.x, y: root as u16 }),
        Axis::Y => (Axis::X, |at, root| Coord { x: root as u16, y: at.y }),
    };
    let steps = vec![
        step(grid, Some(first_axis), &first, |_, _| tile, dtype),
        step(grid, Some(second_axis), &second, |at, root| sizes[grid.index(keeper(at, root))], dtype),
    ];
    Ok(Relayout { steps, middle_elements: middle as u32, grid })
}

/// Tables of one step. `takes` lists, for each PE, what it takes from which root; `size` gives the elements that a root sends.
fn step(
    grid: Extent,
    axis: Option<Axis>,
    takes: &[Vec<(Place, u32)>],
    size: impl Fn(Coord, u32) -> u32,
    dtype: Dtype,
) -> Step {
    let roots = takes.iter().flatten().map(|((root, _), _)| root + 1).max().unwrap_or(0);
    let line = |at: Coord| if axis == Some(Axis::Y) { at.x } else { at.y };
    let mut wanted = vec![vec![false; roots as usize]; usize::from(grid.width.max(grid.height))];
    for (i, list) in takes.iter().enumerate() {
        for ((root, _), _) in list {
            wanted[usize::from(line(grid.coord(i)))][*root as usize] = true;
        }
    }
    let by_root = |list: &Vec<(Place, u32)>| {
        let mut pairs = vec![Vec::new(); roots as usize];
        for &((root, from), to) in list {
            pairs[root as usize].push((from, to));
        }
        pairs
    };
    let (rank, runs) = best_runs(&takes.iter().map(by_root).collect::<Vec<_>>());
    let mut panel_words = 0;
    let mut tables = Vec::with_capacity(takes.len());
    for (i, runs) in runs.iter().enumerate() {
        let at = grid.coord(i);
        let mut table = Vec::new();
        for root in 0..roots {
            let sent = if wanted[usize::from(line(at))][root as usize] { size(at, root) } else { 0 };
            let words = (sent * dtype.bytes()).div_ceil(4);
            panel_words = panel_words.max(words);
            table.push(words as u16);
        }
        for runs in runs {
            table.push(runs.len() as u16);
            table.extend(runs.iter().flat_map(|run| run.encode(rank)));
        }
        tables.push(table);
    }
    Step { axis, roots, rank, tables, panel_words }
}

/// A table for every PE, as the constant that must lie in SRAM: one row of `length` numbers a PE.
#[derive(Clone, Debug)]
pub struct Tables {
    /// How the numbers are dealt.
    pub distribution: Distribution,
    /// All numbers.
    pub numbers: Vec<u16>,
}

impl Relayout {
    /// Whether no element changes its PE or its place: the destination may then be the same memory as the source.
    pub fn is_identity(&self) -> bool {
        let [step @ Step { axis: None, .. }] = self.steps.as_slice() else { return false };
        // A table is the words sent, the number of runs, the runs.
        step.tables.iter().all(|table| {
            table.get(2..).unwrap_or(&[]).chunks(run_numbers(step.rank)).all(|run| {
                let stays = |dim: &[u16]| dim[0] == 1 || dim[1] == dim[2];
                run[0] == run[1] && run[2..].chunks(3).all(stays)
            })
        })
    }

    /// The series of broadcasts, in order: along which axis, and how many turns each has.
    pub fn series(&self) -> Vec<(Axis, u32)> {
        self.steps.iter().filter_map(|step| step.axis.map(|axis| (axis, step.roots))).collect()
    }

    /// Bytes of the buffer that receives broadcasts.
    pub fn panel_bytes(&self) -> u32 {
        self.steps.iter().filter(|s| s.axis.is_some()).map(|s| s.panel_words * 4).max().unwrap_or(0)
    }

    /// Bytes of the buffer between the two steps.
    pub fn middle_bytes(&self, dtype: Dtype) -> u32 {
        (self.middle_elements * dtype.bytes()).div_ceil(4) * 4
    }

    /// The tables of each step.
    pub fn tables(&self) -> Vec<Tables> {
        self.steps.iter().map(|step| self.step_tables(step)).collect()
    }

    fn step_tables(&self, step: &Step) -> Tables {
        // An even number of entries, so that tables fill whole words.
        let length = step.tables.iter().map(Vec::len).max().unwrap_or(0).next_multiple_of(2).max(2);
        let mut numbers = Vec::with_capacity(length * step.tables.len());
        for (i, table) in step.tables.iter().enumerate() {
            numbers.extend_from_slice(table);
            numbers.resize((i + 1) * length, 0);
        }
        let one = |dim| Some(waferloom_fabric::Split { dim, block: 1 });
        Tables {
            distribution: Distribution {
                grid: self.grid,
                shape: vec![u32::from(self.grid.height), u32::from(self.grid.width), length as u32],
                x: one(1),
                y: one(0),
            },
            numbers,
        }
    }
}

/// Addresses of a relayout's working memory.
#[derive(Clone, Debug)]
pub struct Memory {
    /// One table a step.
    pub tables: Vec<u32>,
    /// Buffer of [`Relayout::panel_bytes`].
    pub panel: u32,
    /// Buffer of [`Relayout::middle_bytes`].
    pub middle: u32,
}

/// Emits the data movement. Elements of `dst` that the map leaves out keep their value.
pub fn emit(code: &mut Code, mesh: &Mesh, relayout: &Relayout, dst: Tile, src: Tile, memory: &Memory) {
    let count = relayout.steps.len();
    for (i, (step, &table)) in relayout.steps.iter().zip(&memory.tables).enumerate() {
        let from = if i == 0 { src.address } else { memory.middle };
        let to = if i + 1 == count { dst.address } else { memory.middle };
        code.scope(|code| emit_step(code, mesh, step, src.dtype, [from, to, memory.panel, table]));
    }
}

fn emit_step(code: &mut Code, mesh: &Mesh, step: &Step, dtype: Dtype, [from, to, panel, table]: [u32; 4]) {
    let list = code.register();
    code.set(list, table + step.roots * 2);
    code.repeat(step.roots, |code, root| {
        let place = code.register();
        match step.axis {
            None => code.set(place, from),
            Some(axis) => {
                let (words, flag) = (code.register(), code.register());
                code.scalar(ScalarOp::Shl, words, root, 1);
                code.load_u16(words, words, table as i32);
                let last = line::equal(code, flag, root, Value::Imm(step.roots as i32 - 1));
                let turn = Turn { axis, root, last, source: from.into(), panel: panel.into(), words: words.into() };
                line::turn(code, mesh, &turn, place);
            }
        }
        copy_runs(code, list, place, to, dtype, step.rank);
    });
}

/// Copies the runs that `list` points at, and moves it behind them.
fn copy_runs(code: &mut Code, list: Reg, place: Reg, to: u32, dtype: Dtype, rank: usize) {
    let (element, shift) = if dtype.bytes() == 2 { (Dtype::U16, 1) } else { (Dtype::I32, 2) };
    let count = code.register();
    code.load_u16(count, list, 0);
    code.scalar(ScalarOp::Add, list, list, 2);
    code.repeat_value(count.into(), |code, _| {
        let numbers: Vec<Reg> = (0..run_numbers(rank))
            .map(|i| {
                let register = code.register();
                code.load_u16(register, list, i as i32 * 2);
                register
            })
            .collect();
        let (source, target) = (numbers[0], numbers[1]);
        code.scalar(ScalarOp::Shl, source, source, shift);
        code.scalar(ScalarOp::Add, source, source, place);
        code.scalar(ScalarOp::Shl, target, target, shift);
        let dims = |step: usize| -> Vec<(Value, Value)> {
            numbers[2..].chunks(3).map(|dim| (dim[0].into(), dim[step].into())).collect()
        };
        let from = memory(source, 0, element, &dims(1));
        code.vector(VectorOp::Mov, memory(target, to as i32, element, &dims(2)), &[from]);
        code.scalar(ScalarOp::Add, list, list, run_numbers(rank) as i32 * 2);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dim(count: u32, source_step: u32, target_step: u32) -> RunDim {
        RunDim { count, source_step, target_step }
    }

    #[test]
    fn runs_join_equal_steps() {
        // 0, 2, 4 to 5, 6, 7 is one run of three; 9 to 1 goes backwards in the target and starts another.
        let once = dim(1, 0, 0);
        let expected = [
            Run { source: 0, target: 5, dims: [dim(3, 2, 1), once, once] },
            Run { source: 9, target: 1, dims: [once; MAX_RANK] },
        ];
        assert_eq!(join(&single_runs(&[(0, 5), (2, 6), (4, 7), (9, 1)]), 0), expected);
    }

    #[test]
    fn a_transposed_block_is_one_run() {
        // 3 rows of 4 elements become 4 rows of 3 in a tile with rows of 8.
        let pairs: Vec<(u32, u32)> = (0..12).map(|i| (i % 3 * 4 + i / 3, i / 3 * 8 + i % 3)).collect();
        let (rank, runs) = best_runs(&[vec![pairs]]);
        let expected = Run { source: 0, target: 0, dims: [dim(3, 4, 1), dim(4, 1, 8), dim(1, 0, 0)] };
        assert_eq!((rank, runs), (2, vec![vec![vec![expected]]]));
    }
}
