//! Routers, their lanes and all queues of a band, side by side.

use super::queues::{Queues, Wavelet};
use crate::machine::band::Band;
use crate::machine::router::{self, each_port};
use waferloom_fabric::{Direction, Machine, PortSet};

/// No such queue, or no such link.
pub(super) const NONE: u32 = u32::MAX;

/// The queues of a lane, one per port, in the order in which they are asked when they want the same output in the same
/// cycle: the ramp first, then west, east, north, south. Which one a real router prefers is not published; a program that
/// relies on it is warned by the verifier.
pub(super) const PORTS: [Direction; 5] =
    [Direction::Ramp, Direction::West, Direction::East, Direction::North, Direction::South];

/// Place of a port among [`PORTS`].
pub(super) fn rank(port: Direction) -> usize {
    (port as usize + 1) % 5
}

/// A link that leaves a lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    /// The queue at its other end; `NONE` outside of the band.
    pub(super) queue: u32,
    /// Room in that queue.
    pub(super) room: u32,
}

/// One colour at one router: what is looked at for every wavelet.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Lane {
    /// By direction.
    pub(super) links: [Link; 4],
    /// Wavelets that it has passed on since its outputs changed.
    moved: u64,
    /// The PE's input queue that listens, and its capacity; `NONE` when there is none.
    pub(super) input: u32,
    pub(super) capacity: u32,
    /// The ports in force: none when a teardown has closed the route.
    pub(super) inputs: PortSet,
    pub(super) outputs: PortSet,
    /// Whether the route has a filter.
    pub(super) filters: bool,
}

/// One colour at one router: what is looked at now and then.
#[derive(Debug)]
pub(super) struct Switch {
    pub(super) state: router::Lane,
    /// Wavelets sent, by direction, before the outputs in force.
    sent: [u64; 5],
}

/// A PE's place in the network: its router.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Its lanes are side by side.
    pub(super) first_lane: u32,
    pub(super) lanes: u8,
    /// Lane at which the next arbitration starts.
    pub(super) turn: u8,
    /// Bit `lane * 5 + rank`: that queue is not empty.
    pub(super) occupied: u128,
    /// First of the PE's input queues.
    pub(super) inputs: u32,
    /// The next cycle in which the PE is to be looked at; `u64::MAX` until something arrives.
    pub(super) wake: u64,
}

impl Node {
    /// The first of the router's queues.
    #[inline]
    pub(super) fn first_queue(&self) -> usize {
        self.first_lane as usize * 5
    }

    /// Queues that hold something, in the order of this cycle's arbitration: lanes from `turn` on, each port in turn.
    #[inline]
    pub(super) fn arbitration(&self) -> impl Iterator<Item = usize> + use<> {
        let before = (1u128 << (u32::from(self.turn) * 5)) - 1;
        let (mut bits, mut then) = (self.occupied & !before, self.occupied & before);
        std::iter::from_fn(move || {
            if bits == 0 {
                (bits, then) = (then, 0);
            }
            let bit = bits.trailing_zeros();
            bits &= bits.checked_sub(1)?;
            Some(bit as usize)
        })
    }
}

/// The network of a band.
pub(super) struct Network {
    pub(super) nodes: Vec<Node>,
    pub(super) lanes: Vec<Lane>,
    /// Of each lane.
    pub(super) switches: Vec<Switch>,
    /// Those of the routers, five a lane, then those of the PEs.
    pub(super) queues: Queues,
    /// Nodes in a row.
    width: usize,
    /// Input queues of a PE.
    pub(super) inputs: u8,
    /// Links, `lane * 4 + direction`, that have room for one more wavelet from the next cycle on.
    freed: Vec<u32>,
}

impl Network {
    /// Takes the lanes out of a band's routers.
    pub(super) fn new(band: &mut Band, machine: &Machine, routes: &[waferloom_fabric::ColorRoute]) -> Self {
        let mut nodes = Vec::with_capacity(band.routers.len());
        let mut lanes: Vec<Lane> = Vec::new();
        let mut switches = Vec::new();
        let count = band.routers.iter().map(|r| r.lanes.len()).sum::<usize>();
        let mut queues = count * 5;
        for (router, pe) in band.routers.iter_mut().zip(&band.pes) {
            nodes.push(Node {
                first_lane: lanes.len() as u32,
                lanes: router.lanes.len() as u8,
                turn: 0,
                occupied: 0,
                inputs: queues as u32,
                wake: if pe.class.is_some() { 0 } else { u64::MAX },
            });
            for state in router.lanes.drain(..) {
                let input = state.input.map(usize::from).and_then(|q| Some((q, pe.inputs.get(q)?.as_ref()?)));
                let (inputs, outputs) = state.ports();
                lanes.push(Lane {
                    links: state.credits.map(|room| Link { queue: NONE, room: room.into() }),
                    moved: 0,
                    input: input.map_or(NONE, |(q, _)| (queues + q) as u32),
                    capacity: input.map_or(0, |(_, input)| input.capacity as u32),
                    inputs,
                    outputs,
                    filters: routes[state.route as usize].filter.is_some(),
                });
                switches.push(Switch { state, sent: [0; 5] });
            }
            queues += machine.input_queue_depths.len();
        }
        let (queues, width) = (Queues::new(queues), band.grid.width.into());
        let inputs = machine.input_queue_depths.len() as u8;
        let mut network = Self { nodes, lanes, switches, queues, width, inputs, freed: Vec::new() };
        network.connect(band);
        network
    }

    fn connect(&mut self, band: &Band) {
        for local in 0..self.nodes.len() {
            for lane in self.nodes[local].first_lane..self.nodes[local].first_lane + u32::from(self.nodes[local].lanes)
            {
                for &direction in &Direction::ALL[..4] {
                    let peer =
                        band.neighbour(local, direction).and_then(|peer| (peer as usize).checked_sub(band.first));
                    let color = self.switches[lane as usize].state.color;
                    let queue = peer.filter(|&peer| peer < self.nodes.len());
                    let queue = queue.and_then(|peer| self.queue_of(peer, color, direction.opposite()));
                    if let Some(queue) = queue {
                        self.lanes[lane as usize].links[direction as usize].queue = queue as u32;
                        self.queues.set_filler(queue, lane * 4 + direction as u32);
                    }
                }
            }
        }
    }

    /// The node at the other end of a link that does not leave the band.
    #[inline]
    pub(super) fn beside(&self, node: usize, direction: Direction) -> usize {
        match direction {
            Direction::West => node - 1,
            Direction::East => node + 1,
            Direction::North => node - self.width,
            Direction::South => node + self.width,
            Direction::Ramp => node,
        }
    }

    /// The lane of a colour at a node.
    pub(super) fn lane_of(&self, node: usize, color: u8) -> Option<usize> {
        let Node { first_lane, lanes, .. } = self.nodes[node];
        let of_node = first_lane as usize..first_lane as usize + usize::from(lanes);
        of_node.into_iter().find(|&lane| self.switches[lane].state.color == color)
    }

    /// The queue of a colour at a port of a node.
    pub(super) fn queue_of(&self, node: usize, color: u8, port: Direction) -> Option<usize> {
        Some(self.lane_of(node, color)? * 5 + rank(port))
    }

    /// An input queue of a PE.
    #[inline]
    pub(super) fn input(&self, node: usize, queue: u8) -> Option<usize> {
        (queue < self.inputs).then(|| self.nodes[node].inputs as usize + usize::from(queue))
    }

    /// A router's queue at the ramp.
    #[inline]
    pub(super) fn ramp(&self, node: usize, lane: u8) -> usize {
        self.nodes[node].first_queue() + usize::from(lane) * 5
    }

    /// Puts a wavelet into a queue of a router.
    #[inline]
    pub(super) fn push(&mut self, node: usize, queue: usize, wavelet: Wavelet) {
        self.queues.push(queue, wavelet);
        let node = &mut self.nodes[node];
        node.occupied |= 1 << (queue - node.first_queue());
    }

    /// Takes the head of a queue of a router.
    #[inline]
    pub(super) fn pop(&mut self, node: usize, queue: usize) -> Option<Wavelet> {
        let wavelet = self.queues.pop(queue);
        if self.queues.len(queue) == 0 {
            let node = &mut self.nodes[node];
            node.occupied &= !(1 << (queue - node.first_queue()));
        }
        wavelet
    }

    /// Changes a switch, and puts it in force.
    pub(super) fn switch<T>(&mut self, lane: usize, change: impl FnOnce(&mut router::Lane) -> T) -> T {
        self.count(lane);
        let (lane, state) = (&mut self.lanes[lane], &mut self.switches[lane].state);
        let result = change(state);
        (lane.inputs, lane.outputs) = if state.closed { Default::default() } else { state.ports() };
        result
    }

    /// Notes that a lane has passed on a wavelet.
    #[inline]
    pub(super) fn passed(&mut self, lane: usize) {
        self.lanes[lane].moved += 1;
    }

    /// Books what a lane has passed on.
    fn count(&mut self, lane: usize) {
        let (lane, switch) = (&mut self.lanes[lane], &mut self.switches[lane]);
        let moved = std::mem::take(&mut lane.moved);
        each_port(lane.outputs).for_each(|out| switch.sent[out as usize] += moved);
    }

    /// Gives a link room for one more wavelet, from the next cycle on.
    #[inline]
    pub(super) fn free(&mut self, link: u32) {
        self.freed.push(link);
    }

    /// Ends a cycle: what has been freed in it is to be had.
    pub(super) fn end_cycle(&mut self) {
        for link in self.freed.drain(..) {
            self.lanes[link as usize / 4].links[link as usize % 4].room += 1;
        }
    }

    /// Wavelets in all queues.
    pub(super) fn wavelets(&self) -> usize {
        (0..self.queues.count()).map(|queue| self.queues.len(queue)).sum()
    }

    /// Gives the lanes back to the routers, with the state of the run's end.
    pub(super) fn restore(mut self, band: &mut Band) {
        for (pe, node) in band.pes.iter_mut().zip(&self.nodes) {
            for (queue, input) in pe.inputs.iter_mut().enumerate() {
                if let Some(input) = input {
                    input.held = self.queues.len(node.inputs as usize + queue);
                }
            }
        }
        (0..self.lanes.len()).for_each(|lane| self.count(lane));
        let mut lanes = self.lanes.into_iter().zip(self.switches);
        for (router, node) in band.routers.iter_mut().zip(&self.nodes) {
            for (lane, mut switch) in lanes.by_ref().take(node.lanes.into()) {
                switch.state.credits = lane.links.map(|link| link.room as u16);
                router.lanes.push(switch.state);
                (0..5).for_each(|out| router.sent[out] += switch.sent[out]);
            }
        }
    }
}
