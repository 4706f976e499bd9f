//! Relayouts that nobody has planned: an estimate from some elements of some PEs.
//!
//! The corners, the middles of the edges and the middle of the PEs that hold data are asked for up to [`SAMPLE`] elements of their tiles:
//! from which PE each comes. That tells along which axes data move, how many PEs of a line take turns, and from how many of them
//! one PE takes. The words of a turn follow from the layouts. What is not seen is into how many runs a PE's elements fall:
//! one from each root is reckoned with.

use super::Clock;
use crate::{layout, view};
use petgraph::graph::NodeIndex;
use std::collections::{BTreeMap, BTreeSet};
use waferloom_fabric::{Distribution, Dtype, Machine, Split};
use waferloom_kernels::cost;
use waferloom_kernels::mesh::Axis;
use waferloom_kernels::relayout;
use waferloom_models::Graph;

/// Elements of a PE's tile that are looked at.
const SAMPLE: usize = 64;
/// Dimensions of a run, about.
const RANK: u64 = 2;

/// What a relayout takes, estimated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Movement {
    /// Cycles.
    pub(crate) cycles: u64,
    /// Whether no element changes its PE or its place, as far as was seen.
    pub(crate) identity: bool,
    /// Bytes of the tables.
    pub(crate) table_bytes: u32,
    /// Bytes of the buffers.
    pub(crate) scratch_bytes: u32,
}

/// From which PEs of its line each PE (column, row) takes something.
type Roots = BTreeMap<(u16, u16), BTreeSet<u16>>;

/// What some PEs take from the tensor of one node.
#[derive(Default)]
struct Takes {
    /// Columns and rows from which each PE takes something.
    columns: Roots,
    rows: Roots,
    /// Whether something comes from another column, from another row.
    across: bool,
    down: bool,
    /// Whether everything stays in its PE and its place.
    stays: bool,
    /// Elements that were looked at.
    seen: u64,
    /// Elements of a tile for each of them.
    step: u64,
}

/// Estimates the relayout of a node's value to a layout; the nodes that it is made of lie in their default layouts. `float` is
/// the type of the program's floats, `dtype` that of the value.
pub(crate) fn movement(
    machine: &Machine,
    graph: &Graph,
    id: NodeIndex,
    wanted: &Distribution,
    float: Dtype,
    dtype: Dtype,
) -> Movement {
    let clock = Clock { machine };
    let source = |node: NodeIndex| layout::of(graph, node, wanted.grid, float);
    let mut takes: BTreeMap<NodeIndex, (Distribution, Takes)> = BTreeMap::new();
    let mut asked = 0u64;
    for (x, y) in places(wanted) {
        let tile = wanted.tile_elements();
        // An odd step meets all remainders of sizes that are powers of two.
        let step = tile.div_ceil(SAMPLE) | 1;
        let offsets = (0..tile).step_by(step);
        for offset in offsets {
            let Some(index) = element_of(wanted, x, y, offset) else { continue };
            asked += 1;
            let Some((node, element)) = view::origin(graph, id, index) else { continue };
            let (layout, takes) = takes.entry(node).or_insert_with(|| (source(node), Takes::new(step)));
            let (column, row, from) = layout.locate(&coordinates(&layout.shape, element));
            takes.take((x, y), (column, row), from == offset);
        }
    }
    // A part that few elements come from may not have been seen.
    let several = view::origins(graph, id).len() > 1;
    let zeros = takes.values().map(|(_, t)| t.seen).sum::<u64>() < asked;
    let mut all = Movement { identity: !several && !zeros, ..Movement::default() };
    for (layout, takes) in takes.values() {
        let share = takes.seen as f64 / asked.max(1) as f64;
        all.identity &= takes.stays && wanted.tile_elements() <= layout.tile_elements();
        all.add(takes.relayout(clock, layout, wanted, dtype, share));
    }
    if zeros {
        all.cycles += clock.vector(wanted.tile_elements() as u64, &[dtype]);
    }
    if all.identity { Movement { identity: true, ..Movement::default() } } else { all }
}

/// PEs that are asked, among those that hold more than padding.
fn places(wanted: &Distribution) -> Vec<(u16, u16)> {
    let some = |split: Option<Split>, pes: u16| {
        let n = split.map_or(pes, |split| filled(split, wanted).min(pes.into()) as u16);
        BTreeSet::from([0, n / 2, n.saturating_sub(1)])
    };
    let (columns, rows) = (some(wanted.x, wanted.grid.width), some(wanted.y, wanted.grid.height));
    rows.into_iter().flat_map(|y| columns.iter().map(move |&x| (x, y))).collect()
}

/// PEs of an axis that hold more than padding, where each has one block.
fn filled(split: Split, layout: &Distribution) -> u32 {
    split.blocks(layout.shape.get(split.dim as usize).copied().unwrap_or(1))
}

/// The element of the tensor at an offset of a PE's tile; `None` for padding.
fn element_of(layout: &Distribution, x: u16, y: u16, offset: usize) -> Option<usize> {
    let (mut index, mut rest, mut stride) = (0, offset as u32, 1usize);
    for (dim, (&size, &local)) in layout.shape.iter().zip(&layout.tile()).enumerate().rev() {
        let at = rest % local;
        rest /= local;
        let split = |split: Option<Split>| split.filter(|s| s.dim as usize == dim);
        let global = match (split(layout.x), split(layout.y)) {
            (Some(s), _) => s.global(x.into(), at, layout.grid.width.into()),
            (_, Some(s)) => s.global(y.into(), at, layout.grid.height.into()),
            _ => at,
        };
        if global >= size {
            return None;
        }
        index += global as usize * stride;
        stride *= size as usize;
    }
    Some(index)
}

fn coordinates(shape: &[u32], mut element: usize) -> Vec<u32> {
    let mut index = vec![0; shape.len()];
    for (at, &size) in index.iter_mut().zip(shape).rev() {
        *at = (element % size as usize) as u32;
        element /= size as usize;
    }
    index
}

impl Takes {
    fn new(step: usize) -> Self {
        Self { stays: true, step: step as u64, ..Self::default() }
    }

    fn take(&mut self, at: (u16, u16), (column, row): (Option<u16>, Option<u16>), in_place: bool) {
        self.seen += 1;
        let home = (column.unwrap_or(at.0), row.unwrap_or(at.1));
        self.across |= home.0 != at.0;
        self.down |= home.1 != at.1;
        self.stays &= home == at && in_place;
        self.columns.entry(at).or_default().insert(home.0);
        self.rows.entry(at).or_default().insert(home.1);
    }

    /// One series of broadcasts for each axis along which something moves, as `relayout::plan` would do it. `share` of the
    /// value's elements come from here.
    fn relayout(
        &self,
        clock: Clock<'_>,
        source: &Distribution,
        wanted: &Distribution,
        dtype: Dtype,
        share: f64,
    ) -> Movement {
        let words = |elements: u64| (elements * u64::from(dtype.bytes())).div_ceil(4);
        let elements = (wanted.tile_elements() as f64 * share).ceil() as u64;
        let tile = source.tile_elements() as u64;
        let (width, height) = (u64::from(wanted.grid.width), u64::from(wanted.grid.height));
        let series = |axis, pes, from| Series { axis, pes, from, words: words(tile), elements, step: self.step, dtype };
        let across = series(Axis::X, width, &self.columns);
        let down = series(Axis::Y, height, &self.rows);
        match (self.across, self.down) {
            (false, false) => {
                Movement { cycles: copies(clock, 1, elements, dtype), table_bytes: 24, ..Movement::default() }
            }
            (true, false) => across.cost(clock),
            (false, true) => down.cost(clock),
            (true, true) => {
                // What the PEs of a column (or of a row) need goes along it once.
                let all_of = |split: Option<Split>| elements * split.map_or(1, |split| filled(split, wanted).into());
                let [column, row] = [all_of(wanted.y), all_of(wanted.x)];
                let rows_first = across.then(clock, down, column);
                let columns_first = down.then(clock, across, row);
                let is_better = relayout::is_better(
                    (columns_first.cycles, columns_first.scratch_bytes),
                    (rows_first.cycles, rows_first.scratch_bytes),
                );
                if is_better { columns_first } else { rows_first }
            }
        }
    }
}

impl Movement {
    fn add(&mut self, other: Self) {
        self.cycles += other.cycles;
        self.table_bytes += other.table_bytes;
        self.scratch_bytes = self.scratch_bytes.max(other.scratch_bytes);
    }
}

/// PEs of a line that take turns.
#[derive(Clone, Copy)]
struct Series<'a> {
    /// Along which axis.
    axis: Axis,
    /// PEs of the line.
    pes: u64,
    from: &'a Roots,
    /// Words that a PE sends in its turn.
    words: u64,
    /// Elements that a PE takes in all.
    elements: u64,
    /// Elements of a tile for each that was looked at.
    step: u64,
    dtype: Dtype,
}

impl Series<'_> {
    /// Turns: up to the last PE that sends something.
    fn roots(self) -> u64 {
        self.from.values().filter_map(BTreeSet::last).max().map_or(0, |&last| u64::from(last) + 1)
    }

    /// Roots from which one PE was seen to take something.
    fn most_seen(self) -> u64 {
        self.from.values().map(BTreeSet::len).max().unwrap_or(0) as u64
    }

    /// Roots from which one PE takes something. Where nearly each element that was looked at comes from another root, those
    /// between them come from others still.
    fn most(self) -> u64 {
        let (seen, looked_at) = (self.most_seen(), self.elements.div_ceil(self.step));
        if seen * 2 > looked_at { (seen * self.step).min(self.roots()).min(self.elements).max(seen) } else { seen }
    }

    /// Roots from which some PE of the line takes something: the same ones if the PEs that were asked are of one mind, else
    /// each PE has its own.
    fn wanted(self) -> u64 {
        let mut lines: BTreeMap<u16, BTreeSet<u16>> = BTreeMap::new();
        for (&(x, y), roots) in self.from {
            lines.entry(if self.axis == Axis::X { y } else { x }).or_default().extend(roots);
        }
        let together = lines.values().map(BTreeSet::len).max().unwrap_or(0) as u64;
        if together <= self.most_seen() { self.most() } else { self.roots().min(self.most() * self.pes) }
    }

    /// This series with what PEs keep for another one behind it, along whose lines `elements` go in all.
    fn then(self, clock: Clock<'_>, other: Self, elements: u64) -> Movement {
        let kept = elements.div_ceil(other.wanted().max(1));
        let words = (kept * u64::from(self.dtype.bytes())).div_ceil(4);
        let mut both = Self { elements: kept, ..self }.cost(clock);
        both.add(Self { words, ..other }.cost(clock));
        both.scratch_bytes += words as u32 * 4;
        both
    }

    fn cost(self, clock: Clock<'_>) -> Movement {
        let (roots, most, wanted) = (self.roots(), self.most(), self.wanted());
        let silent = clock.branches(3) + clock.scalars(2);
        let cycles = roots * silent
            + wanted * clock.words(self.words)
            + copies(clock, most, self.elements, self.dtype)
            + cost::turns_wait(clock.machine, self.pes, wanted);
        let numbers = most * (6 + 3 * RANK) + 1;
        Movement { cycles, identity: false, table_bytes: numbers as u32 * 2, scratch_bytes: self.words as u32 * 4 }
    }
}

/// `runs` copies of `elements` in all.
fn copies(clock: Clock<'_>, runs: u64, elements: u64, dtype: Dtype) -> u64 {
    let word = if dtype.bytes() == 2 { Dtype::U16 } else { Dtype::I32 };
    let numbers = 2 + 3 * RANK;
    runs * (clock.branches(3) + clock.scalars(numbers + 13) + cost::startup(clock.machine))
        + elements.div_ceil(clock.lanes(&[word]))
}
