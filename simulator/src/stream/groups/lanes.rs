//! The switches of all routers as ways need them, in little memory: a step may touch those of a whole mesh.

use super::super::nodes::{End, NONE, Nodes};
use super::queue::Queues;
use super::way::Head;
use crate::machine::band::Band;
use crate::machine::pe::Pe;
use crate::machine::router::Router;
use waferloom_fabric::{Direction, PortSet};

/// The ports of a colour at a router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ports {
    /// The position in force: where wavelets are taken from, and where they go.
    rx: PortSet,
    pub(super) tx: PortSet,
    /// Outputs behind which there is a lane; the ramp, if there is an input queue below it.
    linked: PortSet,
    /// Outputs that are booked: those that other colours use as well, and those to the host.
    booked: PortSet,
}

impl Ports {
    /// Outputs in force that lead to other routers.
    pub(super) fn onward(self) -> u8 {
        self.tx.0 & self.linked.0 & !RAMP
    }

    /// Whether wavelets go down the ramp into a queue.
    pub(super) fn goes_down(self) -> bool {
        self.tx.0 & self.linked.0 & RAMP != 0
    }

    /// Outputs in force that are booked.
    pub(super) fn books(self) -> PortSet {
        PortSet(self.tx.0 & self.booked.0)
    }

    /// Outputs in force that lead to the host.
    pub(super) fn to_host(self) -> PortSet {
        PortSet(self.tx.0 & self.booked.0 & !self.linked.0)
    }

    /// Whether a run that comes in at a port can go on to where it has to. Only control wavelets may go down a ramp without a queue:
    /// nobody would take data there.
    fn takes(self, port: u8, is_control: bool) -> bool {
        let known = self.linked.0 | self.booked.0 | if is_control { RAMP } else { 0 };
        self.rx.0 >> port & 1 == 1 && !self.tx.is_empty() && self.tx.0 & !known == 0
    }
}

const RAMP: u8 = 1 << Direction::Ramp as u8;

const ALONG_ROWS: u8 = 1 << Direction::West as u8 | 1 << Direction::East as u8;

/// The lanes (colours at routers) of all routers: those of a colour together, whether a router has it or not, so that neighbours
/// are found by counting. Each part is a list of its own, since the search for a way needs the ports alone.
#[derive(Debug)]
pub(super) struct Lanes {
    pub(super) ports: Vec<Ports>,
    /// By lane: the first cycle in which the next wavelet may leave.
    pub(super) free: Vec<u64>,
    /// By lane: wavelets that have left it through the ports in force.
    passed: Vec<u64>,
    /// By lane: the input queue below the ramp, or [`NONE`].
    pub(super) inputs: Vec<u32>,
    /// By lane: room in the output queue above the ramp.
    ramp_room: Vec<u32>,
    /// By lane: its number at its router.
    numbers: Vec<u8>,
    /// By output queue and PE: the lane that it leads into, or [`NONE`].
    outputs: Vec<u32>,
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
    pub(super) fn new(band: &Band, nodes: &Nodes, queues: &Queues) -> Self {
        let routers = band.routers.len();
        let mut colors: Vec<u8> = band.routers.iter().flat_map(|r| r.lanes.iter()).map(|lane| lane.color).collect();
        colors.sort_unstable();
        colors.dedup();
        let width = i32::from(band.grid.width);
        let count = colors.len() * routers;
        let mut lanes = Self {
            ports: vec![Ports::default(); count],
            free: vec![0; count],
            passed: vec![0; count],
            inputs: vec![NONE; count],
            ramp_room: vec![0; count],
            numbers: vec![0; count],
            outputs: Vec::new(),
            colors,
            routers,
            steps: [-1, 1, -width, width],
            moves: 0,
            parts: Vec::new(),
        };
        for node in &nodes.list {
            let lane = &band.routers[node.router as usize].lanes[usize::from(node.lane)];
            let Some(at) = lanes.at(node.router as usize, lane.color).map(|at| at as usize) else { continue };
            let is_linked = |out: &usize| matches!(node.next[*out], End::Node(_));
            let links = (0..4).filter(is_linked).fold(0, |set, out| set | 1 << out);
            let input = lane.input.and_then(|queue| queues.at(node.router, queue));
            let linked = PortSet(links | if input.is_some() { RAMP } else { 0 });
            lanes.ports[at] = Ports { rx: node.rx, tx: node.tx, linked, booked: PortSet(node.booked.0 & !RAMP) };
            lanes.inputs[at] = input.map_or(NONE, |input| input as u32);
            lanes.ramp_room[at] = node.ramp_capacity as u32;
            lanes.numbers[at] = node.lane;
        }
        for number in 0..band.pes.iter().map(|pe| pe.outputs.len()).max().unwrap_or(0) {
            let lane = |(router, pe): (usize, &Pe)| {
                let queue = pe.outputs.get(number)?.as_ref()?;
                queue.lane.and_then(|_| lanes.at(router, queue.color))
            };
            let outputs: Vec<u32> = band.pes.iter().enumerate().map(|pe| lane(pe).unwrap_or(NONE)).collect();
            lanes.outputs.extend(outputs);
        }
        lanes
    }

    /// The lane into which an output queue of a PE leads.
    pub(super) fn out(&self, pe: u32, queue: u8) -> Option<u32> {
        let lane = self.outputs.get(usize::from(queue) * self.routers + pe as usize)?;
        (*lane != NONE).then_some(*lane)
    }

    /// Wavelets leave a lane, the last one in some cycle.
    pub(super) fn pass(&mut self, lane: u32, count: u64, last: u64) {
        self.passed[lane as usize] += count;
        self.free[lane as usize] = last + 1;
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

    /// Its number at its router.
    pub(super) fn number(&self, lane: u32) -> usize {
        self.numbers[lane as usize].into()
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
    pub(super) fn go_on(&self, head: &mut Head, out: u8) {
        (head.lane, head.router) = (self.behind(head.lane, out), self.behind(head.router, out));
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
            let here = *self.ports.get(lane as usize).ok_or(lane)?;
            if !here.takes(port, is_control) {
                return Err(lane);
            }
            let mut outs = here.onward();
            if outs & ALONG_ROWS != 0 {
                alike = 1;
            } else if alike > 1 {
                let beside = self.ports[lane as usize..].iter().take(alike as usize);
                alike = beside.take_while(|&&ports| ports == here).count() as u32;
            }
            if outs == 0 {
                match self.parts.pop() {
                    Some(part) => (lane, port) = part,
                    None => return Ok(alike),
                }
                continue;
            }
            let out = first_of(&mut outs);
            let is_straight = outs == 0 && port == opposite(out) && alike == 1;
            while outs != 0 {
                let other = first_of(&mut outs);
                self.parts.push((self.behind(lane, other), opposite(other)));
            }
            (lane, port) = (self.behind(lane, out), opposite(out));
            // Lanes like this one, where a way goes straight on, need no second look.
            while is_straight && self.ports.get(lane as usize) == Some(&here) {
                lane = self.behind(lane, out);
            }
        }
    }

    /// A switch has moved; gives the wavelets that have passed since it did so before, and the outputs they took.
    pub(super) fn switch(&mut self, lane: u32, (rx, tx): (PortSet, PortSet)) -> (u64, PortSet) {
        self.moves += 1;
        let ports = &mut self.ports[lane as usize];
        let before = (std::mem::take(&mut self.passed[lane as usize]), ports.tx);
        (ports.rx, ports.tx) = (rx, tx);
        before
    }

    /// Counts at the routers what has passed since their switches moved for the last time.
    pub(super) fn count(&self, routers: &mut [Router]) {
        for (lane, (&passed, ports)) in self.passed.iter().zip(&self.ports).enumerate() {
            routers[lane % self.routers].count(passed, ports.tx);
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
