//! Works out a relayout: who takes which element from whom, and the tables that say so.
//!
//! Everything here is linear in the elements that the PEs take; a program has few relayouts that differ, but each may move
//! millions.

use super::per_pe::{self, PerPe};
use super::runs::{Element, Run, best_runs};
use super::{NO_ROOT, NOWHERE, Relayout, Series, Step, TooLarge, Words};
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
    (machine, aim): (&Machine, Aim),
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
        let takes = needs.map_ref(|list| vec![list.iter().map(take).collect()]);
        let series = series_of(&takes);
        let step = step(grid, axis, series, takes, |_, _| tile, dtype);
        Ok(Relayout::new(vec![step], 0, grid, machine, dtype))
    };
    match (across, down) {
        (false, false) => direct(None),
        (true, false) => direct(Some(Axis::X)),
        (false, true) => direct(Some(Axis::Y)),
        (true, true) => {
            let ways = TwoSteps { grid, needs: &needs, tile, dtype, machine };
            let (rows_first, columns_first) = rayon::join(|| ways.along(Axis::X, 1), || ways.along(Axis::Y, 1));
            let rows_first = rows_first?;
            let is_better = |other: &Relayout| is_better(other.takes(dtype), rows_first.takes(dtype));
            let (axis, best) = match columns_first.ok().filter(is_better) {
                Some(columns_first) => (Axis::Y, columns_first),
                None => (Axis::X, rows_first),
            };
            Ok(if aim == Aim::Memory { ways.in_parts(axis, best) } else { best })
        }
    }
}

/// What a relayout is to take little of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Aim {
    /// Time; and of two ways that take almost the same, that with less memory.
    #[default]
    Cycles,
    /// Working memory: what comes together in a PE between two steps comes in parts.
    Memory,
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

impl Need {
    /// Positions of the PEs from which it comes in two steps, the first of which goes along an axis.
    fn roots(&self, first_axis: Axis) -> (u16, u16) {
        match first_axis {
            Axis::X => (self.column, self.row),
            Axis::Y => (self.row, self.column),
        }
    }
}

/// What each PE needs, in the order of its tile.
fn needs(source: &Distribution, target: &Distribution, map: &[u32]) -> PerPe<Vec<Need>> {
    let homes = Homes::new(source);
    PerPe::new(per_pe::kinds(target), |at| {
        // On a large grid most PEs may have no part of a small dimension.
        if target.is_padding(at.x, at.y) {
            return Vec::new();
        }
        let wanted = target.tile_indices(at.x, at.y);
        let mut needs = Vec::with_capacity(wanted.len());
        needs.extend(wanted.into_iter().enumerate().filter_map(|(offset, index)| {
            let from = map[index?];
            let (column, row, from) = homes.of(from as usize).filter(|_| from != NOWHERE)?;
            Some(Need { column: column.unwrap_or(0), row: row.unwrap_or(0), from, to: offset as u32 })
        }));
        needs
    })
}

/// Where an element of a tensor lies: column and row (`None` for everywhere along that axis) and offset.
type Home = (Option<u16>, Option<u16>, u32);

/// Where the elements of a tensor lie: told by its rows and its columns, which are few, while elements are millions.
struct Homes {
    /// By index of all dimensions but the last: of the first element there.
    rows: Vec<Home>,
    /// By index of the last dimension.
    columns: Vec<Home>,
}

impl Homes {
    fn new(source: &Distribution) -> Self {
        let (mut rows, mut columns): (Vec<Home>, _) = (vec![(None, None, 0)], vec![(None, None, 0)]);
        for (dim, (&size, &local)) in source.shape.iter().zip(&source.tile()).enumerate() {
            let here: Vec<Home> = (0..size).map(|index| source.locate_along(dim, index)).collect();
            rows = rows.iter().flat_map(|&row| columns.iter().map(move |&column| joined(row, column))).collect();
            for (_, _, offset) in &mut rows {
                *offset *= local;
            }
            columns = here;
        }
        Self { rows, columns }
    }

    /// That of an element, by its index in row-major order.
    fn of(&self, element: usize) -> Option<Home> {
        let row = *self.rows.get(element.checked_div(self.columns.len())?)?;
        Some(joined(row, self.columns[element % self.columns.len()]))
    }
}

/// Where an element lies, by what is known of it along some dimensions and along others.
fn joined((column, row, offset): Home, (c, r, within): Home) -> Home {
    (column.or(c), row.or(r), offset + within)
}

/// A relayout in two steps, in one of several ways.
struct TwoSteps<'a> {
    grid: Extent,
    needs: &'a PerPe<Vec<Need>>,
    /// Elements of a tile of the source.
    tile: u32,
    dtype: Dtype,
    machine: &'a Machine,
}

/// Working memory that is not worth doing a relayout in parts: 1 part of the SRAM of so many.
const LITTLE: u32 = 16;

/// Parts in which a relayout is done at most.
const MOST_PARTS: u32 = 8;

impl Relayout {
    /// Whether its working memory is so little that it is the same relayout for [`Aim::Memory`] as for [`Aim::Cycles`].
    pub fn takes_little_memory(&self, machine: &Machine, dtype: Dtype) -> bool {
        self.steps.len() < 2 || self.takes(dtype).1 <= machine.sram_bytes / LITTLE
    }
}

impl TwoSteps<'_> {
    /// The same relayout, which goes along an axis first, in as many parts as make its working memory small.
    fn in_parts(&self, first_axis: Axis, whole: Relayout) -> Relayout {
        let bytes = |relayout: &Relayout| relayout.takes(self.dtype).1;
        let (mut best, mut parts) = (whole, 2);
        while parts <= MOST_PARTS && !best.takes_little_memory(self.machine, self.dtype) {
            match self.along(first_axis, parts) {
                Ok(other) if bytes(&other) < bytes(&best) => best = other,
                _ => break,
            }
            parts *= 2;
        }
        best
    }

    /// First along an axis, then along the other one, for some of the first roots after others.
    fn along(&self, first_axis: Axis, parts: u32) -> Result<Relayout, TooLarge> {
        let series = self.first_series(first_axis, parts);
        let (grid, dtype, kinds) = (self.grid, self.dtype, self.needs.kinds());
        let (second_axis, lines, keepers) = match first_axis {
            Axis::X => (Axis::Y, kinds.width, grid.height),
            Axis::Y => (Axis::X, kinds.height, grid.width),
        };
        let of_line = |line: u16| {
            let pes: Vec<Coord> = match first_axis {
                Axis::X => (0..kinds.height).map(|y| Coord { x: line, y }).collect(),
                Axis::Y => (0..kinds.width).map(|x| Coord { x, y: line }).collect(),
            };
            let needs: Vec<&[Need]> = pes.iter().map(|&at| self.needs.at(at).as_slice()).collect();
            line_of_two_steps(&needs, first_axis, series, keepers)
        };
        let (first, second): (Vec<_>, Vec<_>) = (0..lines).into_par_iter().map(of_line).unzip();
        let first = PerPe::from_lines(second_axis, first);
        let second = PerPe::from_lines(second_axis, second);
        let most = |kept: &Parts<Element>| kept.iter().map(|part| part.len() as u32).max().unwrap_or(0);
        let sizes = first.map_ref(most);
        let middle = sizes.values().iter().copied().max().unwrap_or(0);
        if middle > 0xFFFF {
            return Err(TooLarge { elements: middle as usize });
        }
        let kept = |pe: Coord, root: u32| match first_axis {
            Axis::X => *sizes.at(Coord { y: root as u16, ..pe }),
            Axis::Y => *sizes.at(Coord { x: root as u16, ..pe }),
        };
        let (tile, second_series) = (self.tile, series_of(&second));
        let steps = vec![
            step(grid, Some(first_axis), series, first, |_, _| tile, dtype),
            step(grid, Some(second_axis), second_series, second, kept, dtype),
        ];
        Ok(Relayout::new(steps, middle, grid, self.machine, dtype))
    }

    /// The turns of the first of two steps, in about so many parts, each of as many.
    fn first_series(&self, first_axis: Axis, parts: u32) -> Series {
        let roots = || self.needs.values().iter().flatten().map(|need| u32::from(need.roots(first_axis).0));
        let (first, end) = (roots().min().unwrap_or(0), roots().max().map_or(1, |last| last + 1));
        let turns = (end - first).div_ceil(parts);
        let parts = (end - first).div_ceil(turns);
        // PEs that send nothing fill the last part, or the first one.
        let length = if first_axis == Axis::X { self.grid.width } else { self.grid.height };
        let beyond = (first + turns * parts).saturating_sub(length.into());
        if beyond > first {
            return Series { first, turns: end - first, parts: 1, goes_on: true };
        }
        Series { first: first - beyond, turns, parts, goes_on: true }
    }
}

/// Lists by part of a relayout.
type Parts<T> = Vec<Vec<T>>;

/// A line of the second of two steps, whose PEs have these needs: what each of its `keepers` keeps in each part of the first one, in the
/// order in which it is first asked for, and what each PE takes from them.
fn line_of_two_steps(
    needs: &[&[Need]],
    first_axis: Axis,
    series: Series,
    keepers: u16,
) -> (Vec<Parts<Element>>, Vec<Parts<Element>>) {
    let parts = series.parts as usize;
    let mut kept = vec![vec![Vec::new(); parts]; usize::from(keepers)];
    let mut slots: FxHashMap<Need, u32> = FxHashMap::default();
    let taken = needs.iter().map(|list| {
        let mut taken = vec![Vec::new(); parts];
        for need in *list {
            let (first_root, second_root) = need.roots(first_axis);
            let part = (u32::from(first_root) - series.first) / series.turns;
            let kept = &mut kept[usize::from(second_root)][part as usize];
            let slot = *slots.entry(Need { to: 0, ..*need }).or_insert_with(|| {
                let slot = kept.len() as u32;
                kept.push(Element { root: first_root.into(), source: need.from, target: slot });
                slot
            });
            taken[part as usize].push(Element { root: second_root.into(), source: slot, target: need.to });
        }
        taken
    });
    let taken = taken.collect();
    (kept, taken)
}

/// The turns of a step that begins anew in each part, in which each PE takes some elements.
fn series_of(takes: &PerPe<Parts<Element>>) -> Series {
    let roots = || takes.values().iter().flatten().flatten().map(|take| take.root);
    let (first, end) = (roots().min().unwrap_or(0), roots().max().map_or(0, |last| last + 1));
    let parts = takes.values().first().map_or(1, Vec::len) as u32;
    Series { first, turns: end - first, parts, goes_on: false }
}

/// Tables of one step. `takes` lists, for each PE and part, the elements that it takes; `size` gives the elements that a root sends, the most
/// over all parts.
fn step(
    grid: Extent,
    axis: Option<Axis>,
    series: Series,
    takes: PerPe<Parts<Element>>,
    size: impl Fn(Coord, u32) -> u32,
    dtype: Dtype,
) -> Step {
    // By line and root whether anybody takes something.
    let lines = if axis == Some(Axis::Y) { takes.kinds().width } else { takes.kinds().height };
    let mut wanted = vec![vec![false; series.roots() as usize]; usize::from(lines)];
    for (at, parts) in takes.iter() {
        let line = &mut wanted[usize::from(if axis == Some(Axis::Y) { at.x } else { at.y })];
        parts.iter().flatten().for_each(|take| line[(take.root - series.first) as usize] = true);
    }
    let words = axis.map_or(Words::Even(0), |axis| words(grid, axis, series, &wanted, size, dtype));
    let sorted = takes.map(|mut parts| {
        for takes in &mut parts {
            takes.sort_by_key(|take| take.root);
        }
        parts
    });
    let (rank, runs) = best_runs(sorted);
    let lists: PerPe<Parts<u16>> = runs.map(|parts| parts.iter().map(|runs| list(runs, rank)).collect());
    let most = lists.values().iter().flatten().map(Vec::len).max().unwrap_or(0);
    let list_numbers = most.next_multiple_of(2).max(2);
    let lists = lists.map(|parts| one_behind_another(&parts, list_numbers));
    Step { axis, series, rank, words, lists, list_numbers }
}

/// The lists of all parts, each of which but the last takes so many numbers.
fn one_behind_another(parts: &[Vec<u16>], numbers: usize) -> Vec<u16> {
    let mut all = Vec::new();
    for (part, list) in parts.iter().enumerate() {
        all.resize(part * numbers, 0);
        all.extend(list);
    }
    all
}

/// Words that the roots send; `wanted` says by line and root whether anybody takes something, once if all lines are alike.
fn words(
    grid: Extent,
    axis: Axis,
    series: Series,
    wanted: &[Vec<bool>],
    size: impl Fn(Coord, u32) -> u32,
    dtype: Dtype,
) -> Words {
    let count = if axis == Axis::Y { grid.width } else { grid.height };
    let of_line = |(line, wanted): (u16, &Vec<bool>)| {
        let at = if axis == Axis::Y { Coord { x: line, y: 0 } } else { Coord { x: 0, y: line } };
        let words = |root| (size(at, root) * dtype.bytes()).div_ceil(4) as u16;
        (series.first..).zip(wanted).map(|(root, &any)| if any { words(root) } else { 0 }).collect()
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
    fn rows_and_columns_tell_where_elements_lie() {
        let grid = Extent { width: 3, height: 2 };
        let split = |dim, block| Some(Split { dim, block });
        let cases: [(&[u32], _, _); 6] = [
            (&[2, 5, 7], split(2, 2), split(1, 1)),
            (&[4, 3, 5], split(0, 1), split(2, 3)),
            (&[6, 4], None, split(0, 2)),
            (&[7], split(0, 1), None),
            (&[], None, None),
            (&[3, 0], None, None),
        ];
        for (shape, x, y) in cases {
            let source = Distribution { grid, shape: shape.to_vec(), x, y };
            let homes = Homes::new(&source);
            let elements = shape.iter().product::<u32>();
            for element in 0..elements {
                let mut rest = element;
                let mut index: Vec<u32> = shape
                    .iter()
                    .rev()
                    .map(|&size| {
                        let at = rest % size;
                        rest /= size;
                        at
                    })
                    .collect();
                index.reverse();
                let (column, row, offset) = source.locate(&index);
                assert_eq!(homes.of(element as usize), Some((column, row, offset as u32)), "{index:?} of {shape:?}");
            }
            assert_eq!(homes.of(elements as usize), None);
        }
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
        let machine = Machine::builtin("wse2").expect("a built-in machine");
        let kinds = |first: Axis| -> Vec<Extent> {
            let ways = TwoSteps { grid, needs: &needs, tile: 4, dtype: Dtype::F32, machine: &machine };
            ways.along(first, 1).expect("small tiles").steps.iter().map(|step| step.lists.kinds()).collect()
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
