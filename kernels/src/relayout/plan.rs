//! Works out a relayout: who takes which element from whom, and the tables that say so.
//!
//! Everything here is linear in the elements that the PEs take; a program has few relayouts that differ, but each may move
//! millions.

use super::per_pe::{self, PerPe};
use super::runs::{Element, Run, best_runs};
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
    let kinds = needs.kinds();
    let any = |of: &dyn Fn(&Need, Coord) -> bool| needs.iter().any(|(at, list)| list.iter().any(|need| of(need, at)));
    // Of PEs that are alike in different columns only those of one have the element.
    let across = source.x.is_some() && any(&|need, at| kinds.width < grid.width || need.column != at.x);
    let down = source.y.is_some() && any(&|need, at| kinds.height < grid.height || need.row != at.y);
    let tile = source.tile_elements() as u32;
    let direct = |axis: Option<Axis>| {
        let root = |need: &Need| match axis {
            Some(Axis::X) => need.column.into(),
            Some(Axis::Y) => need.row.into(),
            None => 0,
        };
        let take = |need: &Need| Element { root: root(need), source: need.from, target: need.to };
        let takes = needs.map_ref(|list| list.iter().map(take).collect());
        let step = step(grid, axis, takes, |_, _| tile, dtype);
        Ok(Relayout::new(vec![step], 0, grid, machine, dtype))
    };
    match (across, down) {
        (false, false) => direct(None),
        (true, false) => direct(Some(Axis::X)),
        (false, true) => direct(Some(Axis::Y)),
        (true, true) => {
            let first = |axis| {
                let (steps, middle_elements) = two_steps(grid, axis, &needs, tile, dtype)?;
                Ok(Relayout::new(steps, middle_elements, grid, machine, dtype))
            };
            let (rows_first, columns_first) = rayon::join(|| first(Axis::X), || first(Axis::Y));
            let rows_first = rows_first?;
            let Ok(columns_first) = columns_first else { return Ok(rows_first) };
            let takes = |relayout: &Relayout| (relayout.cycles, relayout.panel_bytes() + relayout.middle_bytes(dtype));
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

/// An element that a PE needs: where it lies, and its offset in the PE's own tile. Column and row are 0 where it lies everywhere along
/// that axis: it is then taken from the PE's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Need {
    column: u16,
    row: u16,
    from: u32,
    to: u32,
}

/// What each PE needs, in the order of its tile.
fn needs(source: &Distribution, target: &Distribution, map: &[u32]) -> PerPe<Vec<Need>> {
    let homes = homes(source);
    PerPe::new(per_pe::kinds(target), |at| {
        // On a large grid most PEs may have no part of a small dimension.
        if target.is_padding(at.x, at.y) {
            return Vec::new();
        }
        let wanted = target.tile_indices(at.x, at.y);
        let mut needs = Vec::with_capacity(wanted.len());
        needs.extend(wanted.into_iter().enumerate().filter_map(|(offset, index)| {
            let from = map[index?];
            let (column, row, from) = *homes.get(from as usize).filter(|_| from != NOWHERE)?;
            Some(Need { column: column.unwrap_or(0), row: row.unwrap_or(0), from, to: offset as u32 })
        }));
        needs
    })
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

/// First along `first_axis`, then along the other one: the steps, and the elements between them.
fn two_steps(
    grid: Extent,
    first_axis: Axis,
    needs: &PerPe<Vec<Need>>,
    tile: u32,
    dtype: Dtype,
) -> Result<(Vec<Step>, u32), TooLarge> {
    let kinds = needs.kinds();
    let (second_axis, lines, keepers) = match first_axis {
        Axis::X => (Axis::Y, kinds.width, grid.height),
        Axis::Y => (Axis::X, kinds.height, grid.width),
    };
    let (first, second): (Vec<_>, Vec<_>) = (0..lines)
        .into_par_iter()
        .map(|line| match first_axis {
            Axis::X => {
                line_of_two_steps((0..kinds.height).map(|y| needs.at(Coord { x: line, y })), first_axis, keepers)
            }
            Axis::Y => line_of_two_steps((0..kinds.width).map(|x| needs.at(Coord { x, y: line })), first_axis, keepers),
        })
        .unzip();
    let first = PerPe::from_lines(second_axis, first);
    let second = PerPe::from_lines(second_axis, second);
    let sizes = first.map_ref(|kept: &Vec<Element>| kept.len() as u32);
    let middle = sizes.values().iter().copied().max().unwrap_or(0);
    if middle > 0xFFFF {
        return Err(TooLarge { elements: middle as usize });
    }
    let kept = |pe: Coord, root: u32| match first_axis {
        Axis::X => *sizes.at(Coord { y: root as u16, ..pe }),
        Axis::Y => *sizes.at(Coord { x: root as u16, ..pe }),
    };
    let steps = vec![
        step(grid, Some(first_axis), first, |_, _| tile, dtype),
        step(grid, Some(second_axis), second, kept, dtype),
    ];
    Ok((steps, middle))
}

/// A line of the second of two steps, whose PEs have these needs: what each of its `keepers` keeps, in the order in which it is
/// first asked for, and what each PE takes from them.
fn line_of_two_steps<'a>(
    needs: impl Iterator<Item = &'a Vec<Need>>,
    first_axis: Axis,
    keepers: u16,
) -> (Vec<Vec<Element>>, Vec<Vec<Element>>) {
    let mut kept = vec![Vec::new(); usize::from(keepers)];
    let mut slots: FxHashMap<Need, u32> = FxHashMap::default();
    let mut take = |need: &Need| {
        let (first_root, second_root) = match first_axis {
            Axis::X => (need.column, need.row),
            Axis::Y => (need.row, need.column),
        };
        let kept = &mut kept[usize::from(second_root)];
        let slot = *slots.entry(Need { to: 0, ..*need }).or_insert_with(|| {
            let slot = kept.len() as u32;
            kept.push(Element { root: first_root.into(), source: need.from, target: slot });
            slot
        });
        Element { root: second_root.into(), source: slot, target: need.to }
    };
    let taken = needs.map(|list| list.iter().map(&mut take).collect()).collect();
    (kept, taken)
}

/// Tables of one step. `takes` lists, for each PE, the elements that it takes; `size` gives the elements that a root sends.
fn step(
    grid: Extent,
    axis: Option<Axis>,
    takes: PerPe<Vec<Element>>,
    size: impl Fn(Coord, u32) -> u32,
    dtype: Dtype,
) -> Step {
    let roots = takes.values().iter().flatten().map(|take| take.root + 1).max().unwrap_or(0);
    // By line whether anybody takes something from a root.
    let lines = if axis == Some(Axis::Y) { takes.kinds().width } else { takes.kinds().height };
    let mut wanted = vec![vec![false; roots as usize]; usize::from(lines)];
    for (at, list) in takes.iter() {
        let line = &mut wanted[usize::from(if axis == Some(Axis::Y) { at.x } else { at.y })];
        for take in list {
            line[take.root as usize] = true;
        }
    }
    let first = (0..roots).find(|&root| wanted.iter().any(|line| line[root as usize])).unwrap_or(0);
    let words = axis.map_or(Words::Even(0), |axis| words(grid, axis, first, &wanted, size, dtype));
    let sorted = takes.map(|mut list| {
        list.sort_by_key(|take| take.root);
        list
    });
    let (rank, runs) = best_runs(sorted);
    Step { axis, first, roots, rank, words, lists: runs.map(|runs| list(&runs, rank)) }
}

/// Words that the roots send, from the first one on; `wanted` says by line and root whether anybody takes something, once if all
/// lines are alike.
fn words(
    grid: Extent,
    axis: Axis,
    first: u32,
    wanted: &[Vec<bool>],
    size: impl Fn(Coord, u32) -> u32,
    dtype: Dtype,
) -> Words {
    let count = if axis == Axis::Y { grid.width } else { grid.height };
    let of_line = |(line, wanted): (u16, &Vec<bool>)| {
        let at = if axis == Axis::Y { Coord { x: line, y: 0 } } else { Coord { x: 0, y: line } };
        let roots = (0..).zip(wanted).skip(first as usize);
        roots.map(|(root, &any)| if any { (size(at, root) * dtype.bytes()).div_ceil(4) as u16 } else { 0 }).collect()
    };
    let lines: Vec<Vec<u16>> = (0..count).zip(wanted.iter().cycle()).map(of_line).collect();
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
    use waferloom_fabric::Split;

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
    fn pes_that_want_the_same_have_one_list() {
        // 3 columns and 4 rows of PEs; the target lies everywhere along the rows, so that PEs differ from row to row alone. What they
        // keep for their columns in a first step along the rows is for all columns the same, and differs from row to row.
        let grid = Extent { width: 3, height: 4 };
        let split = |dim, block| Some(Split { dim, block });
        let source = Distribution { grid, shape: vec![8, 6], x: split(1, 2), y: split(0, 2) };
        let target = Distribution { grid, shape: vec![8, 6], x: None, y: split(0, 1) };
        let map: Vec<u32> = (0..48).collect();
        let needs = needs(&source, &target, &map);
        assert_eq!(needs.kinds(), Extent { width: 1, height: 4 });
        let kinds = |first: Axis| -> Vec<Extent> {
            let (steps, _) = two_steps(grid, first, &needs, 4, Dtype::F32).expect("small tiles");
            steps.iter().map(|step| step.lists.kinds()).collect()
        };
        assert_eq!(kinds(Axis::X), [Extent { width: 1, height: 4 }; 2]);
        // The other way round each PE keeps what PEs of its row need of its column.
        assert_eq!(kinds(Axis::Y), [grid, Extent { width: 1, height: 4 }]);
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
