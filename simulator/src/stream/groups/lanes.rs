//! The switches of all routers as ways need them, in little memory: a step may touch those of a whole mesh.

use super::super::nodes::{End, NONE, Nodes};
use super::way::Head;
use crate::machine::band::Band;
use crate::machine::router::Router;
use waferloom_fabric::{Direction, PortSet};

/// A colour at a router. Whoever is below its ramp is in the same place in the list of PEs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lane {
    /// First cycle in which the next wavelet may leave.
    pub(super) free: u64,
    /// Wavelets that have left it through the ports in force.
    passed: u64,
    /// The input queue below the ramp, or [`NONE`].
    pub(super) input: u32,
    /// The ports in force.
    rx: PortSet,
    pub(super) tx: PortSet,
    /// Outputs behind which there is a lane.
    linked: PortSet,
    /// Outputs that are booked: those that other colours use as well, and those to the host.
    pub(super) booked: PortSet,
}

impl Lane {
    /// Whether a run that comes in at the same port passes it as it passes another lane.
    fn is_like(&self, other: &Self) -> bool {
        let ports = |lane: &Self| [lane.rx.0, lane.tx.0, lane.linked.0, lane.booked.0];
        ports(self) == ports(other) && (self.input == NONE) == (other.input == NONE)
    }

    /// Outputs in force that lead to other routers.
    pub(super) fn onward(&self) -> u8 {
        self.tx.0 & self.linked.0
    }

    /// Outputs in force that are booked.
    pub(super) fn books(&self) -> PortSet {
        PortSet(self.tx.0 & self.booked.0)
    }

    /// Outputs in force that lead to the host.
    pub(super) fn to_host(&self) -> PortSet {
        PortSet(self.tx.0 & self.booked.0 & !self.linked.0)
    }

    /// Wavelets leave it, the last one in some cycle.
    pub(super) fn pass(&mut self, count: u64, last: u64) {
        self.passed += count;
        self.free = last + 1;
    }

    /// Whether a run that comes in at a port can go on to where it has to.
    fn takes(&self, port: u8, is_control: bool) -> bool {
        let into_nothing = self.tx.0 & !(self.linked.0 | self.booked.0 | RAMP) != 0;
        // Nobody takes what goes down a ramp without a queue.
        let is_stuck = self.tx.0 & RAMP != 0 && self.input == NONE && !is_control;
        self.rx.0 >> port & 1 == 1 && !self.tx.is_empty() && !into_nothing && !is_stuck
    }
}

const RAMP: u8 = 1 << Direction::Ramp as u8;

const ALONG_ROWS: u8 = 1 << Direction::West as u8 | 1 << Direction::East as u8;

/// The lanes of all routers: those of a colour together, whether a router has it or not, so that neighbours are found by counting.
#[derive(Debug)]
pub(super) struct Lanes {
    pub(super) list: Vec<Lane>,
    /// By lane: room in the output queue above the ramp.
    ramp_room: Vec<u32>,
    /// The colours.
    colors: Vec<u8>,
    routers: usize,
    /// From a lane to its neighbours.
    steps: [i32; 4],
    /// How often switches have moved.
    pub(super) moves: u64,
    /// Where a way parts, in a search: lanes and ports that remain.
    parts: Vec<(u32, u8)>,
}

impl Lanes {
    pub(super) fn new(band: &Band, nodes: &Nodes) -> Self {
        let routers = band.routers.len();
        let mut colors: Vec<u8> = band.routers.iter().flat_map(|r| &r.lanes).map(|lane| lane.color).collect();
        colors.sort_unstable();
        colors.dedup();
        let width = i32::from(band.grid.width);
        let (list, ramp_room) = (vec![Lane::default(); colors.len() * routers], vec![0; colors.len() * routers]);
        let steps = [-1, 1, -width, width];
        let mut lanes = Self { list, ramp_room, colors, routers, steps, moves: 0, parts: Vec::new() };
        for node in &nodes.list {
            let color = band.routers[node.router as usize].lanes[usize::from(node.lane)].color;
            let Some(at) = lanes.at(node.router as usize, color) else { continue };
            let is_linked = |out: &usize| matches!(node.next[*out], End::Node(_));
            let linked = PortSet((0..4).filter(is_linked).fold(0, |set, out| set | 1 << out));
            let (rx, tx, input, booked) = (node.rx, node.tx, node.input, PortSet(node.booked.0 & !RAMP));
            lanes.list[at as usize] = Lane { free: 0, passed: 0, input, rx, tx, linked, booked };
            lanes.ramp_room[at as usize] = node.ramp_capacity as u32;
        }
        lanes
    }

    /// The lane of a colour at a router.
    pub(super) fn at(&self, router: usize, color: u8) -> Option<u32> {
        let place = self.colors.binary_search(&color).ok()?;
        Some((place * self.routers + router) as u32)
    }

    /// The router and the colour of a lane.
    pub(super) fn place(&self, lane: u32) -> (usize, u8) {
        (lane as usize % self.routers, self.colors[lane as usize / self.routers])
    }

    /// Room in the output queue above the ramp of a lane.
    pub(super) fn ramp_room(&self, lane: u32) -> u64 {
        self.ramp_room[lane as usize].into()
    }

    /// The lane behind an output.
    fn behind(&self, lane: u32, out: u8) -> u32 {
        lane.wrapping_add_signed(self.steps[usize::from(out)])
    }

    /// A run goes on to the lane behind an output.
    pub(super) fn go_on(&self, head: &mut Head, out: u8, hop_cycles: u64) {
        head.lane = self.behind(head.lane, out);
        head.hops += 1;
        head.first += hop_cycles;
        head.last += hop_cycles;
    }

    /// Whether a run that comes in at a port of a lane can go to all ends of its way at once; gives how many of the lanes side by
    /// side from there on, `most` of them, have the same way along their columns. The error is a lane whose switch does not
    /// stand so.
    ///
    /// No way comes to a lane twice: it would do so by two ports, of which one that is determinate never takes from both.
    pub(super) fn find_ways(&mut self, lane: u32, port: Direction, is_control: bool, most: u32) -> Result<u32, u32> {
        self.parts.clear();
        let (mut lane, mut port, mut alike) = (lane, port as u8, most);
        loop {
            let here = self.list.get(lane as usize).ok_or(lane)?;
            if !here.takes(port, is_control) {
                return Err(lane);
            }
            let mut outs = here.onward();
            if outs & ALONG_ROWS != 0 {
                alike = 1;
            } else if alike > 1 {
                let beside = self.list[lane as usize..].iter().take(alike as usize);
                alike = beside.take_while(|lane| lane.is_like(here)).count() as u32;
            }
            if outs == 0 {
                match self.parts.pop() {
                    Some(part) => (lane, port) = part,
                    None => return Ok(alike),
                }
                continue;
            }
            let out = first_of(&mut outs);
            while outs != 0 {
                let other = first_of(&mut outs);
                self.parts.push((self.behind(lane, other), opposite(other)));
            }
            (lane, port) = (self.behind(lane, out), opposite(out));
        }
    }

    /// A switch has moved; gives the wavelets that have passed since it did so before, and the outputs they took.
    pub(super) fn switch(&mut self, lane: u32, (rx, tx): (PortSet, PortSet)) -> (u64, PortSet) {
        self.moves += 1;
        let lane = &mut self.list[lane as usize];
        let before = (std::mem::take(&mut lane.passed), lane.tx);
        (lane.rx, lane.tx) = (rx, tx);
        before
    }

    /// Counts at the routers what has passed since their switches moved for the last time.
    pub(super) fn count(&self, routers: &mut [Router]) {
        for (index, lane) in self.list.iter().enumerate() {
            routers[index % self.routers].count(lane.passed, lane.tx);
        }
    }
}

/// Takes the first output out of a set that has one.
pub(super) fn first_of(outs: &mut u8) -> u8 {
    let first = outs.trailing_zeros() as u8;
    *outs &= *outs - 1;
    first
}

/// The port at the other end of a link: directions stand in pairs.
pub(super) fn opposite(out: u8) -> u8 {
    out ^ 1
}
