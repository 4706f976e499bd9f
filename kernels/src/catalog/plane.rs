//! Kernels on their own around code for a whole [`Mesh`]: one class of PEs, tensors dealt by rows and columns.

use super::KernelError;
use super::sketch::Sketch;
use crate::code::{Code, Tile};
use crate::cost::{self, Place};
use crate::mesh::{self, Axis, Mesh};
use crate::reduce::Rows;
use waferloom_fabric::{
    BufferKind, ColorRef, ColorRoute, Coord, Distribution, Dtype, Extent, Machine, Program, QueueBinding, Region, Split,
};

/// A program of one class under construction.
pub(super) struct Plane {
    pub(super) sketch: Sketch,
    pub(super) mesh: Mesh,
    pub(super) code: Code,
    /// The parameter that makes the data of a PE smaller.
    change: &'static str,
    /// Elements over all PEs.
    elements: u64,
    /// What steers the code: the tables of all PEs, each with its address and its bytes a PE.
    tables: Vec<(u32, usize, Vec<u8>)>,
}

/// Lines whose code is followed for an estimate, about.
const MOST_LINES: u16 = 16;

/// Columns, and rows, of the single PEs whose code is followed for one, about.
const MOST_PLACES: u16 = 5;

/// The north-west PE.
const ORIGIN: Coord = Coord { x: 0, y: 0 };

impl Plane {
    /// A program for a grid; `names` are the parameters of its width and its height, `change` the one that makes the data of a
    /// PE smaller.
    ///
    /// # Errors
    /// A grid that is larger than the machine.
    pub(super) fn new(
        name: &str,
        machine: &Machine,
        grid: Extent,
        names: [&'static str; 2],
        change: &'static str,
    ) -> Result<Self, KernelError> {
        let sketch = Sketch::new(name, machine, grid, names)?;
        Ok(Self { sketch, mesh: Mesh::new(grid), code: Code::new(), change, elements: 0, tables: Vec::new() })
    }

    /// Reserves a tile; nothing is refused before [`Plane::check`].
    pub(super) fn tile(&mut self, name: &str, distribution: &Distribution, dtype: Dtype, kind: BufferKind) -> Tile {
        let elements = tile_elements(distribution);
        self.elements = self.elements.saturating_add(elements.saturating_mul(distribution.grid.pes() as u64));
        let elements = elements.min(MOST_TILE) as u32;
        let mut tile = Tile { address: 0, elements, dtype };
        tile.address = self.sketch.buffer(name, tile.bytes(), kind);
        tile
    }

    /// Reserves working memory.
    pub(super) fn scratch(&mut self, name: &str, bytes: u32) -> u32 {
        self.sketch.buffer(name, bytes, BufferKind::Scratch)
    }

    /// Counts elements that the host has to work on, beside those of the tiles.
    pub(super) fn burden(&mut self, elements: u64) {
        self.elements = self.elements.saturating_add(elements);
    }

    /// Refuses buffers that do not fit a PE, before any data are made.
    pub(super) fn check(&self) -> Result<(), KernelError> {
        self.sketch.check(self.elements, self.change)
    }

    /// Gives a tile its numbers.
    pub(super) fn fill(&mut self, name: &str, distribution: &Distribution, tile: Tile, values: &[f32]) {
        self.sketch.constant(name, tile.dtype, distribution.clone(), tile.address, values);
    }

    /// Makes a tile a result.
    pub(super) fn result(&mut self, name: &str, distribution: &Distribution, tile: Tile) {
        self.sketch.result(name, tile.dtype, distribution.clone(), ORIGIN, tile.address);
    }

    /// The rows of a matrix that [`matrix`] deals.
    pub(super) fn rows(&mut self, distribution: &Distribution, tile: Tile) -> Rows {
        let local = distribution.tile();
        let (rows, stride) = (local[0], local[1]);
        let valid = distribution.x.map_or_else(
            || stride.into(),
            |split| {
                let pes = u32::from(distribution.grid.width);
                let size = distribution.shape[split.dim as usize];
                let counts = (0..pes).map(|x| size.saturating_sub(x * stride).min(stride) as i32).collect();
                self.mesh.param_along(Axis::X, "valid", counts)
            },
        );
        Rows { tile, rows, stride, valid }
    }

    /// Bytes that lie in memory and steer the code: `bytes` of them a PE, for all PEs row by row.
    pub(super) fn steer(&mut self, address: u32, bytes: usize, all: Vec<u8>) {
        self.tables.push((address, bytes, all));
    }

    /// Cycles in which a datapath is busy with the code so far, and the start of the task. The code begins with `series` of
    /// broadcasts in turn, each along an axis and with so many turns: in each turn all PEs of a line wait for the one that has
    /// most to do in it, and the line that takes longest counts. In what follows the PE that has most to do counts.
    pub(super) fn busy(&self, series: &[(Axis, u32)]) -> u64 {
        let machine = &self.sketch.program.machine;
        let mut cycles = u64::from(machine.task_switch_cycles);
        let mut first = 0;
        // A single turn is no loop.
        for &(axis, turns) in series.iter().filter(|&&(_, turns)| turns > 1) {
            let end = first + turns as usize;
            let line = |line: Vec<Coord>| {
                let mut worst = vec![0; turns as usize];
                for at in line {
                    for (most, &turn) in worst.iter_mut().zip(self.busy_at(at).get(first..end).unwrap_or(&[])) {
                        *most = turn.max(*most);
                    }
                }
                worst.iter().sum::<u64>()
            };
            cycles += self.lines(axis).into_iter().map(line).max().unwrap_or(0);
            first = end;
        }
        let rest = |at: Coord| self.busy_at(at).iter().skip(first).sum::<u64>();
        cycles + self.places().into_iter().map(rest).max().unwrap_or(0)
    }

    /// Some PEs from everywhere in the grid, the corners among them.
    fn places(&self) -> Vec<Coord> {
        let Extent { width, height } = self.mesh.grid;
        let some = |count: u16| {
            let step = usize::from(count.div_ceil(MOST_PLACES).max(1));
            (0..count).step_by(step).chain([count - 1])
        };
        some(height).flat_map(|y| some(width).map(move |x| Coord { x, y })).collect()
    }

    /// Some of the lines along an axis, the first and the last among them.
    fn lines(&self, axis: Axis) -> Vec<Vec<Coord>> {
        let Extent { width, height } = self.mesh.grid;
        let (length, count) = if axis == Axis::X { (width, height) } else { (height, width) };
        let at = |line: u16, i: u16| if axis == Axis::X { Coord { x: i, y: line } } else { Coord { x: line, y: i } };
        let step = count.div_ceil(MOST_LINES).max(1);
        let chosen = (0..count).step_by(usize::from(step)).chain([count - 1]);
        chosen.map(|line| (0..length).map(|i| at(line, i)).collect()).collect()
    }

    fn busy_at(&self, at: Coord) -> Vec<u64> {
        let machine = &self.sketch.program.machine;
        let own = |(address, bytes, all): &(u32, usize, Vec<u8>)| {
            let first = self.mesh.grid.index(at) * bytes;
            (*address, all.get(first..first + bytes).unwrap_or(&[]).to_vec())
        };
        let tables: Vec<(u32, Vec<u8>)> = self.tables.iter().map(own).collect();
        let place = Place { at, grid: self.mesh.grid, params: self.mesh.params(), tables: &tables };
        cost::busy_by_turns(machine, place, self.code.instructions())
    }

    /// The program, with the routes and queues of the mesh.
    ///
    /// # Errors
    /// Code and data that do not fit a PE.
    pub(super) fn finish(self, name: &str) -> Result<Program, KernelError> {
        let grid = self.mesh.grid;
        // Nothing comes in or goes out.
        let routes = self.mesh.routes().into_iter().filter(|route| !mesh::EDGE.contains(&route.color)).collect();
        let bound = |bindings: Vec<QueueBinding>, edges: &[u8], chain: u8, row: u8| {
            let open = |b: &QueueBinding| match b.queue {
                q if edges.contains(&q) => false,
                q if q == chain || q == row => grid.width > 1,
                _ => grid.height > 1,
            };
            bindings.into_iter().filter(open).map(|b| (b.queue, b.color)).collect::<Vec<_>>()
        };
        let inputs = bound(self.mesh.input_queues(), &[mesh::input::EDGE], mesh::input::CHAIN, mesh::input::ROW);
        let outputs = {
            use mesh::output::{CHAIN, EDGE, OUT, ROW};
            bound(self.mesh.output_queues(), &[EDGE, OUT], CHAIN, ROW)
        };
        self.finish_wired(name, routes, &inputs, &outputs)
    }

    /// The program, with routes and queues of its own.
    ///
    /// # Errors
    /// Code and data that do not fit a PE.
    pub(super) fn finish_wired(
        mut self,
        name: &str,
        routes: Vec<ColorRoute>,
        inputs: &[(u8, ColorRef)],
        outputs: &[(u8, ColorRef)],
    ) -> Result<Program, KernelError> {
        self.sketch.program.routes = routes;
        let grid = self.mesh.grid;
        (self.sketch.program.params, self.sketch.program.claims) = self.mesh.into_parts();
        self.sketch.class(name, &[Region::all(grid)], inputs, outputs, self.code);
        self.sketch.finish(self.change)
    }
}

/// Elements that a tile is reckoned with at most: more than any SRAM holds, few enough for 32-bit sums.
const MOST_TILE: u64 = 1 << 24;

fn tile_elements(distribution: &Distribution) -> u64 {
    distribution.tile().iter().map(|&n| u64::from(n)).fold(1, u64::saturating_mul)
}

/// A tensor whose second to last dimension is dealt to the rows of a grid and whose last one to its columns, in blocks as
/// equal as can be; blocks of 16-bit columns are even, so that rows fill whole words.
pub(super) fn matrix(grid: Extent, shape: &[u32], dtype: Dtype) -> Distribution {
    let rank = shape.len() as u32;
    let even = 4 / dtype.bytes();
    let split = |dim: u32, pes: u16, multiple: u32| {
        let block = Split::even(dim, shape[dim as usize], u32::from(pes)).block.next_multiple_of(multiple);
        Some(Split { dim, block })
    };
    Distribution {
        grid,
        shape: shape.to_vec(),
        x: split(rank - 1, grid.width, even),
        y: split(rank - 2, grid.height, 1),
    }
}
