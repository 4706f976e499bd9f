//! Routers, their lanes and all queues of a band, side by side.

use super::queues::{NONE, Queue, Queues, Wavelet, Way};
use crate::machine::band::Band;
use crate::machine::router;
use crate::machine::setup::link_room;
use waferloom_fabric::{ColorRoute, Direction, Machine, PortSet};

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

/// A link that leaves a lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    /// The queue at its other end; `NONE` outside of the band.
    pub(super) queue: u32,
    /// The node at its other end; `NONE` outside of the band.
    pub(super) node: u32,
    /// Room at its other end, when that is outside of the band.
    pub(super) room: u16,
}

/// One colour at one router.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) state: router::Lane,
    /// By rank of the port; `NONE` where nothing can come.
    pub(super) queues: [u32; 5],
    /// By direction.
    pub(super) links: [Link; 4],
    /// The PE's queue that listens.
    pub(super) input: u32,
    /// Whether the route has a filter.
    pub(super) filters: bool,
    /// Wavelets sent, by direction, but for those that the queues have counted since.
    sent: [u64; 5],
}

/// A PE's place in the network: its router. A cache line.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Node {
    /// The next cycle in which the PE is to be looked at; `u64::MAX` until something arrives.
    pub(super) wake: u64,
    /// Bit of each of its queues that is not empty, 64 a word.
    pub(super) occupied: [u64; 2],
    /// The router's queues are side by side: lane by lane, in the order of [`PORTS`].
    pub(super) first_queue: u32,
    /// First of the PE's input queues.
    inputs: u32,
    /// Its lanes are side by side.
    pub(super) first_lane: u32,
    pub(super) lanes: u8,
    /// Queue at which the next arbitration starts: the first of a lane.
    pub(super) turn: u8,
    /// Visits one after another in which all its queues that held something moved on.
    pub(super) streak: u8,
    /// Its place among those in flow; `NONE` when it is none of them.
    pub(super) flow: u32,
}

impl Node {
    /// Whether its router holds a wavelet.
    #[inline]
    pub(super) fn holds_any(&self) -> bool {
        self.occupied[0] | self.occupied[1] != 0
    }

    /// Whether it is in flow.
    #[inline]
    pub(super) fn is_in_flow(&self) -> bool {
        self.flow != NONE
    }

    #[inline]
    pub(super) fn occupy(&mut self, queue: u32) {
        let place = queue - self.first_queue;
        self.occupied[place as usize / 64 % 2] |= 1 << (place % 64);
    }

    #[inline]
    fn vacate(&mut self, queue: u32) {
        let place = queue - self.first_queue;
        self.occupied[place as usize / 64 % 2] &= !(1 << (place % 64));
    }

    /// Queues that hold something in the order of this cycle's arbitration, lanes from `turn` on, each port in turn: the place of
    /// the first of 64, and a bit each.
    #[inline]
    pub(super) fn arbitration(&self) -> [(u32, u64); 4] {
        arbitration(self.occupied, self.turn)
    }
}

/// Some queues of a router in the order in which they are asked when lane `turn` is the first.
#[inline]
pub(super) fn arbitration([low, high]: [u64; 2], turn: u8) -> [(u32, u64); 4] {
    // Places before `turn` in each word.
    let before = |from: u8| match turn.saturating_sub(from) {
        places @ 0..64 => (1 << places) - 1,
        _ => u64::MAX,
    };
    let before = [before(0), before(64)];
    [(0, low & !before[0]), (64, high & !before[1]), (0, low & before[0]), (64, high & before[1])]
}

/// The network of a band.
pub(super) struct Network {
    pub(super) nodes: Vec<Node>,
    pub(super) lanes: Vec<Lane>,
    /// Those of a router, then those of its PE.
    pub(super) queues: Queues,
    /// Input queues of a PE.
    pub(super) inputs: u8,
}

impl Network {
    /// Takes the lanes out of a band's routers.
    pub(super) fn new(band: &mut Band<'_>, machine: &Machine, routes: &[ColorRoute]) -> Self {
        let inputs = band.pes.iter().map(|pe| pe.inputs.len()).max().unwrap_or(0) as u8;
        let mut network = Self {
            nodes: Vec::with_capacity(band.pes.len()),
            lanes: Vec::with_capacity(band.routers.iter().map(|router| router.lanes.len()).sum()),
            queues: Queues::default(),
            inputs,
        };
        for router in &mut band.routers {
            network.nodes.push(Node {
                wake: u64::MAX,
                occupied: [0; 2],
                first_queue: 0,
                inputs: 0,
                first_lane: network.lanes.len() as u32,
                lanes: router.lanes.len() as u8,
                turn: 0,
                streak: 0,
                flow: NONE,
            });
            network.lanes.extend(router.lanes.iter().cloned().map(|state| Lane {
                queues: [NONE; 5],
                links: state.credits.map(|room| Link { queue: NONE, node: NONE, room }),
                input: NONE,
                filters: routes[state.route as usize].filter.is_some(),
                sent: [0; 5],
                state,
            }));
        }
        let limit = u32::from(link_room(machine));
        for node in 0..network.nodes.len() {
            network.add_router_queues(band, node, routes, limit);
            network.add_inputs(band, node);
        }
        network.connect(band);
        network.queues.reserve();
        network
    }

    /// The lanes of a node.
    fn lanes_of(&self, node: usize) -> std::ops::Range<usize> {
        let Node { first_lane, lanes, .. } = self.nodes[node];
        first_lane as usize..first_lane as usize + usize::from(lanes)
    }

    /// Adds a queue for each port of each lane of a node through which something may come.
    fn add_router_queues(&mut self, band: &Band, node: usize, routes: &[ColorRoute], limit: u32) {
        let first = self.queues.queues.len();
        self.nodes[node].first_queue = first as u32;
        for lane in self.lanes_of(node) {
            let before = self.queues.queues.len();
            for (rank, &port) in PORTS.iter().enumerate() {
                let filler = match port {
                    Direction::Ramp => Some(node),
                    _ => self.beside(band, node, port),
                };
                let fills = match filler {
                    _ if port == Direction::Ramp => {
                        let here = (lane - self.nodes[node].first_lane as usize) as u8;
                        band.pes[node].outputs.iter().flatten().any(|out| out.lane == Some(here))
                    }
                    Some(peer) => self.sends(peer, self.lanes[lane].state.color, port.opposite(), routes),
                    None => true,
                };
                if fills {
                    self.lanes[lane].queues[rank] = self.queues.queues.len() as u32;
                    let filler = filler.map_or(NONE, |node| node as u32);
                    self.queues.queues.push(Queue::new(limit, filler, port));
                }
            }
            let next_turn = (self.queues.queues.len() - first) as u8;
            self.queues.queues[before..].iter_mut().for_each(|queue| queue.next_turn = next_turn);
        }
    }

    /// Whether some position of a colour's switch sends in a direction.
    fn sends(&self, node: usize, color: u8, direction: Direction, routes: &[ColorRoute]) -> bool {
        self.lane_of(node, color).is_some_and(|lane| {
            let positions = &routes[self.lanes[lane].state.route as usize].positions;
            positions.iter().any(|position| position.tx.contains(direction))
        })
    }

    /// Adds a PE's input queues.
    fn add_inputs(&mut self, band: &Band, node: usize) {
        let (pe, first) = (&band.pes[node], self.queues.queues.len() as u32);
        self.nodes[node].inputs = first;
        self.nodes[node].wake = if pe.class.is_some() { 0 } else { u64::MAX };
        for queue in 0..usize::from(self.inputs) {
            let capacity = pe.inputs.get(queue).and_then(Option::as_ref).map_or(0, |input| input.capacity);
            self.queues.queues.push(Queue::new(capacity, NONE, Direction::Ramp));
        }
        for lane in self.lanes_of(node) {
            let lane = &mut self.lanes[lane];
            lane.input = lane.state.input.map_or(NONE, |queue| first + u32::from(queue));
        }
    }

    fn connect(&mut self, band: &Band) {
        for node in 0..self.nodes.len() {
            for lane in self.lanes_of(node) {
                for &direction in &Direction::ALL[..4] {
                    let color = self.lanes[lane].state.color;
                    let Some(peer) = self.beside(band, node, direction) else { continue };
                    let queues = self.lane_of(peer, color).map(|lane| self.lanes[lane].queues);
                    let link = &mut self.lanes[lane].links[direction as usize];
                    link.node = peer as u32;
                    link.queue = queues.map_or(NONE, |queues| queues[rank(direction.opposite())]);
                }
                self.put_in_force(lane);
            }
        }
    }

    /// The node beside another one; `None` when it is outside of the band.
    fn beside(&self, band: &Band, node: usize, direction: Direction) -> Option<usize> {
        let peer = (band.neighbour(node, direction)? as usize).checked_sub(band.first)?;
        (peer < self.nodes.len()).then_some(peer)
    }

    /// The lane of a colour at a node.
    pub(super) fn lane_of(&self, node: usize, color: u8) -> Option<usize> {
        self.lanes_of(node).find(|&lane| self.lanes[lane].state.color == color)
    }

    /// An input queue of a PE.
    #[inline]
    pub(super) fn input(&self, node: usize, queue: u8) -> Option<u32> {
        (queue < self.inputs).then(|| self.nodes[node].inputs + u32::from(queue))
    }

    /// A router's queue at the ramp.
    pub(super) fn ramp(&self, node: usize, lane: u8) -> u32 {
        self.lanes[self.nodes[node].first_lane as usize + usize::from(lane)].queues[0]
    }

    /// Puts a wavelet into a queue of a node's router.
    #[inline]
    pub(super) fn push(&mut self, node: usize, queue: u32, wavelet: Wavelet) {
        self.queues.push(queue, wavelet);
        self.nodes[node].occupy(queue);
    }

    /// Takes away the head of a queue of a node's router.
    #[inline]
    pub(super) fn advance(&mut self, node: usize, queue: u32, now: u64) {
        let ring = &mut self.queues.queues[queue as usize];
        ring.advance_at(now);
        if ring.len == 0 {
            self.nodes[node].vacate(queue);
        }
    }

    /// Changes a switch, and puts it in force.
    pub(super) fn switch<T>(&mut self, lane: usize, change: impl FnOnce(&mut router::Lane) -> T) -> T {
        self.count(lane);
        let result = change(&mut self.lanes[lane].state);
        self.put_in_force(lane);
        result
    }

    /// Tells a lane's queues the way of their wavelets.
    fn put_in_force(&mut self, lane: usize) {
        let lane = &self.lanes[lane];
        let (inputs, outputs) = if lane.state.closed { Default::default() } else { lane.state.ports() };
        let mut links = outputs.iter().filter(|&out| out != Direction::Ramp);
        let (link, others) = (links.next(), links.next());
        let link = link.map(|out| lane.links[out as usize]);
        let below = outputs.contains(Direction::Ramp).then_some(lane.input);
        let leads_on = link.is_none_or(|link| link.queue != NONE) && below != Some(NONE);
        let is_plain = leads_on && others.is_none() && !lane.filters;
        for &queue in lane.queues.iter().filter(|&&queue| queue != NONE) {
            let queue = &mut self.queues.queues[queue as usize];
            queue.outputs = outputs.0;
            queue.way = if outputs.is_empty() || !inputs.contains(Direction::ALL[usize::from(queue.port)]) {
                Way::Closed
            } else if is_plain && queue.filler != NONE {
                Way::Plain
            } else {
                Way::Special
            };
            (queue.to, queue.to_node) = link.map_or((NONE, NONE), |link| (link.queue, link.node));
            queue.below = below.unwrap_or(NONE);
        }
    }

    /// Books what a lane's queues have passed on.
    fn count(&mut self, lane: usize) {
        let lane = &mut self.lanes[lane];
        for &queue in lane.queues.iter().filter(|&&queue| queue != NONE) {
            let queue = &mut self.queues.queues[queue as usize];
            let moved = std::mem::take(&mut queue.moved);
            PortSet(queue.outputs).iter().for_each(|out| lane.sent[out as usize] += moved);
        }
    }

    /// Wavelets in all queues.
    pub(super) fn wavelets(&self) -> usize {
        self.queues.queues.iter().map(|queue| queue.len as usize).sum()
    }

    /// Gives the lanes back to the routers, with the state of the run's end.
    pub(super) fn restore(mut self, band: &mut Band<'_>) {
        for (pe, node) in band.pes.iter_mut().zip(&self.nodes) {
            for (queue, input) in (node.inputs..).zip(pe.inputs.iter_mut()) {
                if let Some(input) = input {
                    input.held = self.queues.len(queue);
                }
            }
        }
        (0..self.lanes.len()).for_each(|lane| self.count(lane));
        let queues = self.queues.queues;
        let mut lanes = self.lanes.into_iter();
        for router in &mut band.routers {
            for (state, mut lane) in router.lanes.iter_mut().zip(lanes.by_ref()) {
                lane.state.credits = lane.links.map(|link| match queues.get(link.queue as usize) {
                    Some(queue) => queue.limit.saturating_sub(queue.len) as u16,
                    None => link.room,
                });
                *state = lane.state;
                (0..5).for_each(|out| router.sent[out] += lane.sent[out]);
            }
        }
    }
}
