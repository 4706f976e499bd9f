//! Works out a relayout: who takes which element from whom, and the tables that say so.
//!
//! Everything here is linear in the elements that the PEs take; a program has few relayouts that differ, but each may move
//! millions.

use super::runs::{Run, best_runs};
use super::{NO_ROOT, NOWHERE, Relayout, Step, TooLarge, Words};
use crate::mesh::Axis;
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use waferloom_fabric::{Coord, Distribution, Dtype, Extent, Machine};

/// Works out the relayout to `target`, whose element `i` is element `map[i]` of the source; [`NOWHERE`] is left as it is.
///
/// # Errors
/// Tiles that 16-bit offsets do not reach over.
pub fn plan(
    source: &Distribution,
    target: &Distribution,
    map: &[u32],
    dtype: Dtype,
    machine: &Machine,
) -> Result<Relayout, TooLarge> {
    let grid = source.grid;
    let limit = |elements: usize| if elements > 0xFFFF { Err(TooLarge { elements }) } else { Ok(()) };
    limit(source.tile_elements())?;
    limit(target.tile_elements())?;
    let needs = needs(source, target, map);
    let moved = |f: fn(&Need, Coord) -> bool| {
        needs.iter().enumerate().any(|(i, list)| list.iter().any(|need| f(need, grid.coord(i))))
    };
    let (across, down) = (moved(|need, at| need.column != at.x), moved(|need, at| need.row != at.y));
    let tile = source.tile_elements() as u32;
    let direct = |axis: Option<Axis>| {
        let root = |need: &Need| match axis {
            Some(Axis::X) => u32::from(need.column),
            Some(Axis::Y) => u32::from(need.row),
            None => 0,
        };
        let take = |need: &Need| Run::single(root(need), need.from, need.to);
        let takes = needs.iter().map(|list| list.iter().map(take).collect()).collect();
        step(grid, axis, takes, |_, _| tile, dtype)
    };
    match (across, down) {
        (false, false) => Ok(Relayout { steps: vec![direct(None)], middle_elements: 0, grid }),
        (true, false) => Ok(Relayout { steps: vec![direct(Some(Axis::X))], middle_elements: 0, grid }),
        (false, true) => Ok(Relayout { steps: vec![direct(Some(Axis::Y))], middle_elements: 0, grid }),
        (true, true) => {
            let first = |axis| two_steps(grid, axis, &needs, tile, dtype);
            let (rows_first, columns_first) = rayon::join(|| first(Axis::X), || first(Axis::Y));
            let rows_first = rows_first?;
            let Ok(columns_first) = columns_first else { return Ok(rows_first) };
            let takes = |relayout: &Relayout| {
                (relayout.cycles(machine, dtype), relayout.panel_bytes() + relayout.middle_bytes(dtype))
            };
            Ok(if is_better(takes(&columns_first), takes(&rows_first)) { columns_first } else { rows_first })
        }
    }
}

/// What a way may take longer than the other one to spare working memory: 1 part of so many.
const SLOWER: u64 = 8;

/// Whether one way to do a relayout is better than another, of both of which cycles and bytes of working memory are given: it is
/// faster, unless it is hardly faster for more memory.
pub fn is_better(one: (u64, u32), other: (u64, u32)) -> bool {
    let saves =
        |(cycles, bytes): (u64, u32), (least, most): (u64, u32)| bytes < most && cycles <= least + least / SLOWER;
    if one.0 < other.0 { !saves(other, one) } else { saves(one, other) }
}

/// An element that a PE needs: where it lies, and its offset in the PE's own tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Need {
    column: u16,
    row: u16,
    from: u32,
    to: u32,
}

/// What each PE needs, in the order of its tile. An element that lies everywhere along an axis is taken from the PE's own
/// column or row.
fn needs(source: &Distribution, target: &Distribution, map: &[u32]) -> Vec<Vec<Need>> {
    let homes = homes(source);
    let of_pe = |at: Coord| {
        // On a large grid most PEs may have no part of a small dimension.
        if target.is_padding(at.x, at.y) {
            return Vec::new();
        }
        let wanted = target.tile_indices(at.x, at.y);
        let mut needs = Vec::with_capacity(wanted.len());
        needs.extend(wanted.into_iter().enumerate().filter_map(|(offset, index)| {
            let from = map[index?];
            let (column, row, from) = *homes.get(from as usize).filter(|_| from != NOWHERE)?;
            Some(Need { column: column.unwrap_or(at.x), row: row.unwrap_or(at.y), from, to: offset as u32 })
        }));
        needs
    };
    (0..source.grid.pes()).into_par_iter().map(|i| of_pe(source.grid.coord(i))).collect()
}

/// Where an element of a tensor lies: column and row (`None` for everywhere along that axis) and offset.
type Home = (Option<u16>, Option<u16>, u32);

/// Where each element of a tensor lies, in row-major order.
fn homes(source: &Distribution) -> Vec<Home> {
    let mut homes: Vec<Home> = vec![(None, None, 0)];
    for (dim, (&size, &local)) in source.shape.iter().zip(&source.tile()).enumerate() {
        let here: Vec<Home> = (0..size).map(|index| source.locate_along(dim, index)).collect();
        let join = |&(column, row, outer): &Home| {
            let inner = here.iter();
            inner.map(move |&(c, r, within)| (column.or(c), row.or(r), outer * local + within))
        };
        homes = homes.iter().flat_map(join).collect();
    }
    homes
}

/// First along `first_axis`, then along the other one.
fn two_steps(
    grid: Extent,
    first_axis: Axis,
    needs: &[Vec<Need>],
    tile: u32,
    dtype: Dtype,
) -> Result<Relayout, TooLarge> {
    // A line of the second step, and the PEs of it.
    let (second_axis, lines, length) = match first_axis {
        Axis::X => (Axis::Y, grid.width, grid.height),
        Axis::Y => (Axis::X, grid.height, grid.width),
    };
    let at = |line: u16, place: u16| match first_axis {
        Axis::X => Coord { x: line, y: place },
        Axis::Y => Coord { x: place, y: line },
    };
    let roots = |need: &Need| match first_axis {
        Axis::X => (need.column, need.row),
        Axis::Y => (need.row, need.column),
    };
    // What each PE keeps for its line, in the order in which it is first asked for.
    let mut first: Vec<Vec<Run>> = vec![Vec::new(); grid.pes()];
    let mut second: Vec<Vec<Run>> = vec![Vec::new(); grid.pes()];
    for line in 0..lines {
        let mut slots: FxHashMap<Need, u32> = FxHashMap::default();
        for place in 0..length {
            let pe = grid.index(at(line, place));
            let take = |need: &Need| {
                let (first_root, second_root) = roots(need);
                let kept = &mut first[grid.index(at(line, second_root))];
                let slot = *slots.entry(Need { to: 0, ..*need }).or_insert_with(|| {
                    let slot = kept.len() as u32;
                    kept.push(Run::single(u32::from(first_root), need.from, slot));
                    slot
                });
                Run::single(u32::from(second_root), slot, need.to)
            };
            second[pe] = needs[pe].iter().map(take).collect();
        }
    }
    let sizes: Vec<u32> = first.iter().map(|kept| kept.len() as u32).collect();
    let middle = sizes.iter().copied().max().unwrap_or(0);
    if middle > 0xFFFF {
        return Err(TooLarge { elements: middle as usize });
    }
    let kept = |pe: Coord, root: u32| {
        let keeper = match first_axis {
            Axis::X => Coord { y: root as u16, ..pe },
            Axis::Y => Coord { x: root as u16, ..pe },
        };
        sizes[grid.index(keeper)]
    };
    let steps = vec![
        step(grid, Some(first_axis), first, |_, _| tile, dtype),
        step(grid, Some(second_axis), second, kept, dtype),
    ];
    Ok(Relayout { steps, middle_elements: middle, grid })
}

/// Tables of one step. `takes` lists, for each PE, the elements that it takes; `size` gives the elements that a root sends.
fn step(
    grid: Extent,
    axis: Option<Axis>,
    mut takes: Vec<Vec<Run>>,
    size: impl Fn(Coord, u32) -> u32,
    dtype: Dtype,
) -> Step {
    let roots = takes.iter().flatten().map(|take| take.root + 1).max().unwrap_or(0);
    let line = |at: Coord| usize::from(if axis == Some(Axis::Y) { at.x } else { at.y });
    let mut wanted = vec![vec![false; roots as usize]; usize::from(grid.width.max(grid.height))];
    for (i, list) in takes.iter_mut().enumerate() {
        list.sort_by_key(|take| take.root);
        for take in list {
            wanted[line(grid.coord(i))][take.root as usize] = true;
        }
    }
    let first = (0..roots).find(|&root| wanted.iter().any(|line| line[root as usize])).unwrap_or(0);
    let (rank, runs) = best_runs(takes);
    let lists = runs.par_iter().map(|runs| list(runs, rank)).collect();
    let words = if axis.is_none() { Words::Even(0) } else { words(grid, axis, first, &wanted, size, dtype) };
    Step { axis, first, roots, rank, words, lists }
}

/// Words that the roots send, from the first one on; `wanted` says by line and root whether anybody takes something.
fn words(
    grid: Extent,
    axis: Option<Axis>,
    first: u32,
    wanted: &[Vec<bool>],
    size: impl Fn(Coord, u32) -> u32,
    dtype: Dtype,
) -> Words {
    let of_line = |line: usize| {
        let at = match axis {
            Some(Axis::Y) => Coord { x: line as u16, y: 0 },
            _ => Coord { x: 0, y: line as u16 },
        };
        let roots = (0..).zip(&wanted[line]).skip(first as usize);
        roots.map(|(root, &any)| if any { (size(at, root) * dtype.bytes()).div_ceil(4) as u16 } else { 0 }).collect()
    };
    let count = if axis == Some(Axis::Y) { grid.width } else { grid.height };
    let lines: Vec<Vec<u16>> = (0..usize::from(count)).map(of_line).collect();
    match lines.first().and_then(|line| line.first()) {
        Some(&words) if lines.iter().flatten().all(|&other| other == words) => Words::Even(words),
        _ => Words::Uneven(lines),
    }
}

/// A PE's list: runs that roots one behind another have alike are there once.
fn list(runs: &[Run], rank: usize) -> Vec<u16> {
    let mut list = Vec::new();
    let mut rest = runs;
    while let Some(Run { root, .. }) = rest.first() {
        let (first, mut behind) = rest.split_at(rest.partition_point(|run| run.root == *root));
        let (mut roots, mut advance) = (1, 0);
        while let Some((next, further)) = behind.split_at_checked(first.len())
            && further.first().is_none_or(|run| run.root != root + roots)
            && let Some(shift) = shift(first, next, roots)
            && (roots == 1 || shift == advance * roots)
        {
            (roots, advance, behind) = (roots + 1, shift / roots, further);
        }
        list.extend([*root as u16, roots as u16, advance as u16, first.len() as u16]);
        list.extend(first.iter().flat_map(|run| run.encode(rank)));
        rest = behind;
    }
    list.push(NO_ROOT);
    list
}

/// By how much the runs of another root, `roots` further on, go farther in the target; `None` when they differ otherwise.
fn shift(first: &[Run], other: &[Run], roots: u32) -> Option<u32> {
    let shift = other.first()?.target.checked_sub(first.first()?.target)?;
    let follows = |(a, b): (&Run, &Run)| *b == Run { root: a.root + roots, target: a.target + shift, ..*a };
    first.iter().zip(other).all(follows).then_some(shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_spared_for_few_cycles() {
        // 800 cycles and an eighth are 900.
        assert!(is_better((900, 10), (800, 20)) && !is_better((800, 20), (900, 10)));
        assert!(!is_better((901, 10), (800, 20)) && is_better((800, 20), (901, 10)));
        // With the same memory the faster one, and the other one where there is no difference.
        assert!(is_better((800, 10), (801, 10)) && !is_better((801, 10), (800, 10)));
        assert!(!is_better((800, 10), (800, 10)));
    }

    #[test]
    fn roots_with_equal_runs_are_one_take() {
        // Roots 2, 3 and 4 give their element 7 for elements 0, 5 and 10 of the target; root 5 gives another one, root 7 comes
        // later. Of rank 1 a run is source, target, and once, 0, 0.
        let runs = [(2, 7, 0), (3, 7, 5), (4, 7, 10), (5, 6, 15), (7, 6, 20)];
        let runs = runs.map(|(root, source, target)| Run::single(root, source, target));
        let expected = [
            [2, 3, 5, 1].as_slice(),
            &[7, 0, 1, 0, 0],
            &[5, 1, 0, 1],
            &[6, 15, 1, 0, 0],
            &[7, 1, 0, 1],
            &[6, 20, 1, 0, 0],
            &[NO_ROOT],
        ];
        assert_eq!(list(&runs, 1), expected.concat());
    }

    #[test]
    fn roots_with_different_numbers_of_runs_stay_apart() {
        // Root 1 has the run of root 0, and one more.
        let runs = [(0, 7, 0), (1, 7, 5), (1, 9, 6)].map(|(root, source, target)| Run::single(root, source, target));
        let expected =
            [[0, 1, 0, 1].as_slice(), &[7, 0, 1, 0, 0], &[1, 1, 0, 2], &[7, 5, 1, 0, 0], &[9, 6, 1, 0, 0], &[NO_ROOT]];
        assert_eq!(list(&runs, 1), expected.concat());
    }
}
