//! The ways of each colour: what lies behind each output of a router, and on which ways a run may be brought to its ends at
//! once.

use super::queues::PeQueues;
use super::run::Queue;
use crate::machine::band::Band;
use crate::machine::decode::{ClassCode, Step, TaskCode};
use crate::machine::steps::Shared;
use waferloom_fabric::{ColorRoute, Direction, PortSet, SwitchCommand};

/// No node, no input queue.
pub(super) const NONE: u32 = u32::MAX;

/// What lies at the other end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Nothing,
    Node(u32),
    /// A sink of the host.
    Sink(u32),
}

/// A colour at a router: a lane of it.
pub(super) struct Node {
    pub(super) router: u32,
    pub(super) lane: u8,
    /// The ports in force.
    pub(super) rx: PortSet,
    pub(super) tx: PortSet,
    /// What its position is, and what may come in, depends on the order of what came in before, and on nothing else.
    ///
    /// Then runs may be moved on in any order in which they can be moved, as in a Kahn process network: nobody can tell.
    pub(super) determinate: bool,
    /// A filter stands before the ramp.
    pub(super) filtered: bool,
    /// Outputs that other colours use as well, and those to the host: what crosses them is booked.
    pub(super) booked: PortSet,
    /// Ports at which something waits.
    pub(super) waiting: u8,
    /// The input queue below the ramp, or [`NONE`].
    pub(super) input: u32,
    /// Room in the output queue above the ramp.
    pub(super) ramp_capacity: u64,
    pub(super) next: [End; 4],
    /// First cycle in which the next wavelet of a determinate node may leave.
    pub(super) free: u64,
    /// The search that has been here last.
    pub(super) seen: u64,
    /// What waits at each port; there is none before something does.
    pub(super) queues: Option<Box<[Queue; 5]>>,
}

/// What the positions of a route do, worked out once for all its nodes.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// All outputs.
    outputs: u8,
    /// By port: the outputs of positions that take from it.
    through: [u8; 5],
    /// A bit for each set of ports: whether some position takes from several of them.
    merges: u32,
}

/// The outputs of those positions of a route whose ports to take from are of a kind.
fn outputs_where(route: &ColorRoute, takes: impl Fn(u8) -> bool) -> u8 {
    route.positions.iter().filter(|p| takes(p.rx.0)).fold(0, |set, position| set | position.tx.0)
}

/// All outputs of a route.
pub(super) fn outputs(route: &ColorRoute) -> u8 {
    outputs_where(route, |_| true)
}

/// The outputs that several lanes of a router use, by the outputs of each.
pub(super) fn shared_outputs(lanes: impl Iterator<Item = u8>) -> u8 {
    lanes.fold((0, 0), |(once, twice), used| (once | used, twice | once & used)).1
}

impl Shape {
    fn of(route: &ColorRoute) -> Self {
        let merge = |ports: &u8| route.positions.iter().any(|p| (p.rx.0 & ports).count_ones() > 1);
        Self {
            outputs: outputs(route),
            through: Direction::ALL.map(|port| outputs_where(route, |rx| rx >> port as u8 & 1 == 1)),
            merges: (0..32).filter(merge).fold(0, |set, ports| set | 1 << ports),
        }
    }
}

/// All nodes.
pub(super) struct Nodes {
    pub(super) list: Vec<Node>,
    /// By node: the shape of its route.
    routes: Vec<u32>,
    /// By route.
    shapes: Vec<Shape>,
    /// The first node of each router; its lanes follow each other.
    first: Vec<u32>,
    /// Searches for ways so far.
    pub(super) search: u64,
}

impl Nodes {
    pub(super) fn new(shared: &Shared<'_>, band: &Band, queues: &PeQueues) -> Self {
        let count = band.routers.iter().map(|router| router.lanes.len()).sum();
        let mut nodes = Self {
            list: Vec::with_capacity(count),
            routes: Vec::with_capacity(count),
            shapes: shared.routes.iter().map(Shape::of).collect(),
            first: Vec::with_capacity(band.routers.len()),
            search: 0,
        };
        for (router, state) in band.routers.iter().enumerate() {
            nodes.first.push(nodes.list.len() as u32);
            for (lane, state) in state.lanes.iter().enumerate() {
                let (rx, tx) = state.ports();
                let above = band.pes[router].outputs.iter().flatten().find(|out| out.lane == Some(lane as u8));
                nodes.routes.push(state.route);
                nodes.list.push(Node {
                    router: router as u32,
                    lane: lane as u8,
                    rx,
                    tx,
                    determinate: true,
                    filtered: shared.routes[state.route as usize].filter.is_some(),
                    booked: PortSet::default(),
                    waiting: 0,
                    input: state.input.map_or(NONE, |queue| queues.first_input(router) + u32::from(queue)),
                    ramp_capacity: above.map_or(0, |out| out.capacity.into()),
                    next: [End::Nothing; 4],
                    free: 0,
                    seen: 0,
                    queues: None,
                });
            }
        }
        nodes.link(band);
        nodes.find_shared_links(band);
        nodes.find_determinate(shared, band);
        nodes
    }

    /// Whether all nodes would be determinate.
    pub(super) fn are_determinate(shared: &Shared<'_>, band: &Band) -> bool {
        let merges = |route: &ColorRoute| route.positions.iter().any(|position| position.rx.0.count_ones() > 1);
        let moves = |class: &ClassCode| movers(shared, &class.tasks) != (Vec::new(), Vec::new());
        if !shared.routes.iter().any(merges) && !shared.classes.iter().any(moves) {
            return true;
        }
        Self::new(shared, band, &PeQueues::new(band).0).list.iter().all(|node| node.determinate)
    }

    /// The node of a router's lane.
    pub(super) fn at(&self, router: usize, lane: usize) -> usize {
        self.first[router] as usize + lane
    }

    /// Fills in what lies behind each output.
    fn link(&mut self, band: &Band) {
        // By colour, for all routers: its node.
        let mut by_color: Vec<Vec<u32>> = vec![Vec::new(); 256];
        let mut index = 0;
        for (router, state) in band.routers.iter().enumerate() {
            for lane in state.lanes.iter() {
                let of_color = &mut by_color[usize::from(lane.color)];
                if of_color.is_empty() {
                    of_color.resize(band.routers.len(), NONE);
                }
                of_color[router] = index;
                index += 1;
            }
        }
        let mut nodes = self.list.iter_mut();
        for (router, state) in band.routers.iter().enumerate() {
            let at = band.grid.coord(router);
            let neighbours = [Direction::West, Direction::East, Direction::North, Direction::South]
                .map(|out| out.neighbour(at, band.grid).map(|to| band.grid.index(to)));
            for (lane, node) in state.lanes.iter().zip(nodes.by_ref()) {
                let of_color = &by_color[usize::from(lane.color)];
                for (out, (next, neighbour)) in node.next.iter_mut().zip(neighbours).enumerate() {
                    *next = match neighbour.map(|to| of_color[to]) {
                        Some(NONE) => End::Nothing,
                        Some(next) => End::Node(next),
                        None if band.sink_at.is_empty() => End::Nothing,
                        None => {
                            let sink = band.sink_at.get(&(node.router, out as u8, lane.color));
                            sink.map_or(End::Nothing, |&sink| End::Sink(sink as u32))
                        }
                    };
                }
            }
        }
    }

    fn shape(&self, node: usize) -> &Shape {
        &self.shapes[self.routes[node] as usize]
    }

    fn find_shared_links(&mut self, band: &Band) {
        for router in 0..band.routers.len() {
            let nodes = self.at(router, 0)..self.at(router, band.routers[router].lanes.len());
            let shared = shared_outputs(nodes.clone().map(|node| self.shape(node).outputs));
            for node in &mut self.list[nodes] {
                let sinks = node.next.iter().enumerate().filter(|(_, end)| matches!(end, End::Sink(_)));
                node.booked = PortSet(sinks.fold(shared, |set, (out, _)| set | 1 << out));
            }
        }
    }

    /// Finds the nodes whose switches nothing moves but what comes in, one port at a time.
    fn find_determinate(&mut self, shared: &Shared<'_>, band: &Band) {
        let mut open = Vec::new();
        if self.shapes.iter().any(|shape| shape.merges != 0) {
            let live = self.live_ports(band);
            open.extend((0..live.len()).filter(|&node| self.shape(node).merges >> live[node] & 1 == 1));
        }
        self.moved_by_code(shared, band, &mut open);
        // What is connected with such a node is like it.
        for &node in &open {
            self.list[node].determinate = false;
        }
        while let Some(node) = open.pop() {
            let used = self.shape(node).outputs;
            for direction in &Direction::ALL[..4] {
                let out = *direction as usize;
                let End::Node(next) = self.list[node].next[out] else { continue };
                let back = self.shape(next as usize).outputs >> (direction.opposite() as u8) & 1;
                if (used >> out & 1 | back) == 1 && self.list[next as usize].determinate {
                    self.list[next as usize].determinate = false;
                    open.push(next as usize);
                }
            }
        }
    }

    /// By node: the ports at which something may come in, whatever positions the switches are in.
    fn live_ports(&self, band: &Band) -> Vec<u8> {
        let mut live = vec![0u8; self.list.len()];
        let ramps = band.pes.iter().enumerate().flat_map(|(router, pe)| {
            let lanes = pe.outputs.iter().flatten().filter_map(|out| out.lane);
            lanes.map(move |lane| (self.at(router, lane.into()), Direction::Ramp))
        });
        let edges = band.sources.iter().map(|s| (self.at(s.local, s.lane), s.direction));
        let mut open: Vec<(u32, Direction)> = Vec::new();
        for (start, port) in ramps.chain(edges) {
            live[start] |= 1 << port as u8;
            open.push((start as u32, port));
            while let Some((node, port)) = open.pop() {
                let used = self.shape(node as usize).through[port as usize];
                for direction in Direction::ALL[..4].iter().filter(|d| used >> **d as u8 & 1 == 1) {
                    let End::Node(next) = self.list[node as usize].next[*direction as usize] else { continue };
                    let port = direction.opposite();
                    if live[next as usize] >> port as u8 & 1 == 0 {
                        live[next as usize] |= 1 << port as u8;
                        open.push((next, port));
                    }
                }
            }
        }
        live
    }

    /// Adds nodes whose switches the code sets at a time of its own, and those that a teardown may close.
    fn moved_by_code(&self, shared: &Shared<'_>, band: &Band, open: &mut Vec<usize>) {
        let movers: Vec<(Vec<u8>, Vec<u8>)> = shared.classes.iter().map(|class| movers(shared, &class.tasks)).collect();
        if movers.iter().all(|(colors, queues)| colors.is_empty() && queues.is_empty()) {
            return;
        }
        for (router, pe) in band.pes.iter().enumerate() {
            let Some(class) = pe.class else { continue };
            let (colors, queues) = &movers[class as usize];
            let set = colors.iter().filter_map(|&color| band.routers[router].lane_of(color));
            let closed = queues.iter().filter_map(|&queue| pe.outputs.get(queue as usize)?.as_ref()?.lane);
            open.extend(set.chain(closed.map(usize::from)).map(|lane| self.at(router, lane)));
        }
    }
}

/// Colours of which the code sets positions, and output queues into which it puts teardowns.
fn movers(shared: &Shared<'_>, tasks: &[TaskCode]) -> (Vec<u8>, Vec<u8>) {
    let (mut colors, mut queues) = (Vec::new(), Vec::new());
    for step in tasks.iter().flat_map(|task| &task.steps) {
        match step {
            Step::SetPosition { color, .. } => colors.push(*color),
            Step::SendControl { queue, control, .. }
                if shared.controls[*control as usize].commands.contains(&SwitchCommand::Teardown) =>
            {
                queues.push(*queue);
            }
            _ => {}
        }
    }
    for list in [&mut colors, &mut queues] {
        list.sort_unstable();
        list.dedup();
    }
    (colors, queues)
}
