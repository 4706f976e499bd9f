//! Where wavelets can get to.

use super::map::Map;
use crate::geometry::Direction;
use crate::program::Program;

/// A queue of a router: colour, PE and port, as an index into [`Direction::ALL`].
pub(super) type Node = (u8, usize, Direction);

/// Router queues that wavelets can come into, and PEs at which they can come down the ramp, over all switch positions.
///
/// Grows as sources are added, so that work is done once per queue.
pub(super) struct Reach<'a> {
    program: &'a Program,
    map: &'a Map,
    /// Whether to pass only routers whose switch has a single position.
    fixed_only: bool,
    /// By colour and PE: a bit per port.
    queues: Vec<Vec<u8>>,
    /// By PE: a bit per colour that comes down its ramp.
    down: Vec<u64>,
    work: Vec<Node>,
}

impl<'a> Reach<'a> {
    pub(super) fn new(program: &'a Program, map: &'a Map, fixed_only: bool) -> Self {
        let pes = program.grid.pes();
        let queues = vec![Vec::new(); usize::from(program.machine.colors)];
        Self { program, map, fixed_only, queues, down: vec![0; pes], work: Vec::with_capacity(pes) }
    }

    /// Wavelets come into a queue; [`Reach::run`] follows them.
    pub(super) fn add(&mut self, node: Node) {
        if self.enter(node) {
            self.work.push(node);
        }
    }

    /// Wavelets come into a queue; says whether none did before.
    fn enter(&mut self, (color, pe, port): Node) -> bool {
        let slots = &mut self.queues[usize::from(color)];
        if slots.is_empty() {
            slots.resize(self.program.grid.pes(), 0);
        }
        let bit = 1 << port as u8;
        let is_new = slots[pe] & bit == 0;
        slots[pe] |= bit;
        is_new
    }

    /// Follows all wavelets; tells of each colour that comes down a ramp for the first time.
    pub(super) fn run(&mut self, mut arrived: impl FnMut(&mut Self, u8, usize)) {
        let grid = self.program.grid;
        // Most ways do not part: what comes next need not be put down.
        let mut next = None;
        while let Some((color, pe, port)) = next.take().or_else(|| self.work.pop()) {
            let Some(ways) = self.map.ways(color, pe) else { continue };
            if self.fixed_only && !ways.is_fixed {
                continue;
            }
            for out in ways.through(port).iter() {
                if out == Direction::Ramp {
                    if self.down[pe] >> color & 1 == 0 {
                        self.down[pe] |= 1 << color;
                        arrived(self, color, pe);
                    }
                } else if let Some(to) = grid.beside(pe, out) {
                    let node = (color, to, out.opposite());
                    if self.enter(node) {
                        self.work.extend(next.replace(node));
                    }
                }
            }
        }
    }

    /// Ports of a router at which wavelets of a colour come in, as bits.
    pub(super) fn ports(&self, color: u8, pe: usize) -> u8 {
        self.queues[usize::from(color)].get(pe).copied().unwrap_or(0)
    }
}
