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
#[inline]
pub(super) fn rank(port: Direction) -> usize {
    (port as usize + 1) % 5
}

/// A link of a lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    /// The colour's lane at its other end; `NONE` outside of the band.
    pub(super) lane: u32,
    /// Room in the queue at its other end.
    pub(super) room: u32,
    /// The cycle in which some of the room was given back last: that is to be had from the next cycle on.
    given: u64,
}

impl Link {
    /// Whether it takes a wavelet in cycle `now`.
    #[inline]
    pub(super) fn has_room(&self, now: u64) -> bool {
        self.room > u32::from(self.given == now)
    }

    /// Gives back the room of a wavelet that leaves the queue in cycle `now`.
    #[inline]
    pub(super) fn give_back(&mut self, now: u64) {
        self.room += 1;
        self.given = now;
    }
}

/// One colour at one router: what is looked at for every wavelet.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    /// By direction.
    pub(super) links: [Link; 4],
    /// Wavelets that it has passed on since its outputs changed.
    pub(super) moved: u64,
    /// The PE's input queue that listens, and its capacity; `NONE` when there is none.
    pub(super) input: u32,
    pub(super) capacity: u32,
    /// Bit `rank`: that queue is not empty.
    pub(super) occupied: u8,
    /// Bit `rank`: the switch takes wavelets from that queue, and has somewhere to send them.
    pub(super) takes: u8,
    /// The outputs in force.
    pub(super) outputs: PortSet,
    /// Whether the route has a filter.
    pub(super) filters: bool,
    /// Whether data wavelets go to other nodes of the band and to the PE, all of them.
    pub(super) plain: bool,
}

impl Lane {
    /// Puts the ports of a switch in force: none when a teardown has closed the route.
    fn follow(&mut self, state: &router::Lane) {
        let (inputs, outputs) = if state.closed { Default::default() } else { state.ports() };
        self.outputs = outputs;
        self.takes = if outputs.is_empty() { 0 } else { each_port(inputs).map(|port| 1 << rank(port)).sum() };
        let leads_on = |out| match out {
            Direction::Ramp => self.input != NONE,
            _ => self.links[out as usize].lane != NONE,
        };
        self.plain = !self.filters && each_port(outputs).all(leads_on);
    }
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
    /// The next cycle in which the PE is to be looked at; `u64::MAX` until something arrives.
    pub(super) wake: u64,
    /// Its lanes are side by side.
    pub(super) first_lane: u32,
    /// First of the PE's input queues.
    inputs: u32,
    /// Bit of each lane with a queue that is not empty.
    pub(super) occupied: u32,
    pub(super) lanes: u8,
    /// Lane at which the next arbitration starts.
    pub(super) turn: u8,
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
                let lane = Lane {
                    links: state.credits.map(|room| Link { lane: NONE, room: room.into(), given: u64::MAX }),
                    moved: 0,
                    input: input.map_or(NONE, |(q, _)| (queues + q) as u32),
                    capacity: input.map_or(0, |(_, input)| input.capacity as u32),
                    occupied: 0,
                    takes: 0,
                    outputs: PortSet(0),
                    filters: routes[state.route as usize].filter.is_some(),
                    plain: false,
                };
                lanes.push(lane);
                switches.push(Switch { state, sent: [0; 5] });
            }
            queues += machine.input_queue_depths.len();
        }
        let (queues, width) = (Queues::new(queues), band.grid.width.into());
        let inputs = machine.input_queue_depths.len() as u8;
        let mut network = Self { nodes, lanes, switches, queues, width, inputs };
        network.connect(band);
        network
    }

    fn connect(&mut self, band: &Band) {
        for node in 0..self.nodes.len() {
            let Node { first_lane, lanes, .. } = self.nodes[node];
            for lane in first_lane as usize..first_lane as usize + usize::from(lanes) {
                for &direction in &Direction::ALL[..4] {
                    let color = self.switches[lane].state.color;
                    let peer = band.neighbour(node, direction).map(|peer| (peer as usize).wrapping_sub(band.first));
                    let peer = peer.filter(|&peer| peer < self.nodes.len());
                    if let Some(peer) = peer.and_then(|peer| self.lane_of(peer, color)) {
                        self.lanes[lane].links[direction as usize].lane = peer as u32;
                    }
                }
                self.lanes[lane].follow(&self.switches[lane].state);
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

    /// An input queue of a PE.
    #[inline]
    pub(super) fn input(&self, node: usize, queue: u8) -> Option<usize> {
        (queue < self.inputs).then(|| self.nodes[node].inputs as usize + usize::from(queue))
    }

    /// Wavelets in a lane's queue at the ramp.
    #[inline]
    pub(super) fn at_ramp(&self, lane: usize) -> usize {
        self.queues.len(lane * 5)
    }

    /// Puts a wavelet into the queue of a node's lane at a port.
    #[inline]
    pub(super) fn push(&mut self, node: usize, lane: usize, port: Direction, wavelet: Wavelet) {
        let rank = rank(port);
        self.queues.push(lane * 5 + rank, wavelet);
        self.lanes[lane].occupied |= 1 << rank;
        let node = &mut self.nodes[node];
        node.occupied |= 1 << (lane as u32 - node.first_lane);
    }

    /// Takes the head of the queue of a node's lane at a port.
    #[inline]
    pub(super) fn pop(&mut self, node: usize, lane: usize, port: Direction) -> Option<Wavelet> {
        let rank = rank(port);
        let wavelet = self.queues.pop(lane * 5 + rank);
        if self.queues.len(lane * 5 + rank) == 0 {
            self.lanes[lane].occupied &= !(1 << rank);
            if self.lanes[lane].occupied == 0 {
                let node = &mut self.nodes[node];
                node.occupied &= !(1 << (lane as u32 - node.first_lane));
            }
        }
        wavelet
    }

    /// Changes a switch, and puts it in force.
    pub(super) fn switch<T>(&mut self, lane: usize, change: impl FnOnce(&mut router::Lane) -> T) -> T {
        self.count(lane);
        let (lane, state) = (&mut self.lanes[lane], &mut self.switches[lane].state);
        let result = change(state);
        lane.follow(state);
        result
    }

    /// Books what a lane has passed on.
    fn count(&mut self, lane: usize) {
        let (lane, switch) = (&mut self.lanes[lane], &mut self.switches[lane]);
        let moved = std::mem::take(&mut lane.moved);
        each_port(lane.outputs).for_each(|out| switch.sent[out as usize] += moved);
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
