//! Nodes in flow: they do the same cycle after cycle, and nobody looks whether they can.
//!
//! In a cycle a node depends on its own queues and PE, and on whether the queues that it fills have room. So when in one cycle
//! all that it did was to move data on plain ways and perhaps to run an element of a row, when a wavelet was put into and
//! one taken from each queue that it took part in, and when those in these queues are ready in time, then the next cycle
//! is the same, until
//!
//! - its row is at the last element, or its PE wakes up: both are known beforehand;
//! - something comes into another queue of its router: that puts the node on the agenda;
//! - a neighbour does not put a wavelet into a queue, or does not take one: of the queues between nodes, those with a node in
//!   flow at one end and one that is not at the other are looked at in every cycle (the *border*).
//!
//! What happens in a cycle is seen by others in the next one. So a node leaves the flow after the cycle in which a neighbour
//! did something else. Numbers move cycle by cycle; all else is booked when a node leaves the flow: the heads of queues
//! inside of the flow, counters, whose turn it is.

use super::network::{Node, arbitration};
use super::part::Part;
use super::queues::{Moving, NONE, Queue, Queues, Wavelet, Way};
use crate::machine::steps::Shared;
use waferloom_fabric::{Direction, Machine};

/// Visits in which a node did the same before it is asked whether it will go on so.
const STREAK: u8 = 12;

/// Fewer cycles are not worth the trouble.
const SHORTEST: u64 = 16;

/// Words of a line of the host's caches.
const LINE: u64 = 16;

/// Wavelets that a node in flow moves in a cycle, at most.
const MOVES: usize = 4;

/// A wavelet that a router moves in each cycle.
#[derive(Clone, Copy, Debug)]
struct Move {
    from: Moving,
    /// In the queue at the other end of a link, and in that of the PE below; one of them may be missing.
    to: Moving,
    below: Moving,
}

/// A node in flow.
#[derive(Clone, Debug)]
struct Flow {
    node: u32,
    /// Whether the PE runs an element of its row in each cycle.
    runs: bool,
    /// How many of `moves` and `queues` there are.
    count: u8,
    /// Where the row takes and puts wavelets.
    input: Moving,
    output: Moving,
    moves: [Move; MOVES],
    /// The router's queues that move: nothing is in another one.
    queues: [u32; MOVES],
    occupied: [u64; 2],
    /// The last cycle before it was in flow.
    since: u64,
}

impl Flow {
    /// A node that is in flow after cycle `since`, and moves nothing yet.
    fn new(node: usize, runs: bool, occupied: [u64; 2], since: u64) -> Self {
        let none = Move { from: Moving::NONE, to: Moving::NONE, below: Moving::NONE };
        Self {
            node: node as u32,
            runs,
            count: 0,
            input: Moving::NONE,
            output: Moving::NONE,
            moves: [none; MOVES],
            queues: [NONE; MOVES],
            occupied,
            since,
        }
    }

    /// Adds a queue of the node's router, if it goes on as in the cycle before; the row takes from and puts into the queues
    /// `row_ends`.
    fn add(&mut self, queues: &mut Queues, number: u32, row_ends: [u32; 2], machine: &Machine) -> Option<()> {
        let now = self.since;
        let [ramp, hop] = [machine.ramp_cycles, machine.hop_cycles].map(|cycles| now + u64::from(cycles));
        let Queue { way, taken, to, below, port, .. } = queues.queues[number as usize];
        let is_ramp = port == Direction::Ramp as u8;
        let ready = if is_ramp { ramp + 1 } else { hop };
        let place = usize::from(self.count);
        if place == MOVES || way != Way::Plain || taken != now || !queues.is_steady(number, ready, now) {
            return None;
        }
        let [from, last] = queues.moving(number, now)?;
        let step = &mut self.moves[place];
        step.from = from;
        if is_ramp {
            if number != row_ends[1] {
                return None;
            }
            self.output = last;
        }
        if to != NONE {
            if queues.queues[to as usize].taken != now || !queues.is_steady(to, hop, now) {
                return None;
            }
            step.to = queues.moving(to, now)?[1];
        }
        if below != NONE {
            if below != row_ends[0] || self.input.exists() || !queues.is_steady(below, ramp, now) {
                return None;
            }
            [self.input, step.below] = queues.moving(below, now)?;
        }
        self.queues[place] = number;
        self.count += 1;
        Some(())
    }
}

/// All nodes in flow.
#[derive(Debug)]
pub(super) struct Flows {
    allowed: bool,
    list: Vec<Flow>,
    /// The last cycle in which they moved.
    done: u64,
    /// Queues with a node in flow at one end, and the nodes whose routers take from them.
    border: Vec<(u32, u32)>,
    /// Nodes that may be in flow from the next cycle on.
    candidates: Vec<u32>,
}

impl Flows {
    /// No node in flow.
    pub(super) fn new(allowed: bool) -> Self {
        Self { allowed, list: Vec::new(), done: 0, border: Vec::new(), candidates: Vec::new() }
    }

    /// Takes note of a router's visit: whether all that it held moved on plain ways.
    #[inline]
    pub(super) fn watch(&mut self, node: &mut Node, number: usize, steady: bool) {
        node.streak = if steady { node.streak + 1 } else { 0 };
        if node.streak >= STREAK {
            node.streak = 0;
            if self.allowed {
                self.candidates.push(number as u32);
            }
        }
    }

    /// The last cycle before a node was in flow; 0 when it is not.
    fn since(&self, node: &Node) -> u64 {
        self.list.get(node.flow as usize).map_or(0, |flow| flow.since)
    }
}

impl Part<'_> {
    /// Lets a node that is on the agenda leave the flow if there is something else to do in cycle `now`; says whether it did.
    #[inline]
    pub(super) fn leave_flow(&mut self, node: usize, now: u64) -> bool {
        let Node { wake, occupied, flow, .. } = self.network.nodes[node];
        let leaves = wake <= now || occupied != self.flows.list[flow as usize].occupied;
        if leaves {
            self.end_flow(node);
        }
        leaves
    }

    /// A cycle of all nodes in flow, after all others have had theirs; says whether there are any.
    pub(super) fn run_flows(&mut self, shared: &Shared<'_>, now: u64) -> bool {
        self.flows.done = now;
        self.move_flows(shared, now);
        self.look_along_border(shared, now);
        let mut candidates = std::mem::take(&mut self.flows.candidates);
        for node in candidates.drain(..) {
            self.begin_flow(shared, node as usize, now);
        }
        self.flows.candidates = candidates;
        !self.flows.list.is_empty()
    }

    /// Moves the numbers. The order does not matter: what is put in is taken in a later cycle.
    fn move_flows(&mut self, shared: &Shared<'_>, now: u64) {
        if now.is_multiple_of(LINE) {
            self.touch_lines();
        }
        let ramp = now + u64::from(shared.machine.ramp_cycles);
        let hop = now + u64::from(shared.machine.hop_cycles);
        let queues = &mut self.network.queues;
        for flow in &self.flows.list {
            if flow.runs {
                let node = flow.node as usize;
                let word = if flow.input.exists() { queues.at(flow.input, now).word() } else { 0 };
                let result = self.rows[node].element(self.band.pes[node].memory, word);
                if flow.output.exists() {
                    queues.put(flow.output, now, Wavelet::data(ramp + 1, result));
                }
            }
            for step in &flow.moves[..usize::from(flow.count)] {
                let wavelet = queues.at(step.from, now);
                if step.to.exists() {
                    queues.put(step.to, now, wavelet.at(hop));
                }
                if step.below.exists() {
                    queues.put(step.below, now, wavelet.at(ramp));
                }
            }
        }
    }

    /// Has the host's caches fetch the operands of the next cycles: all at once, since they are far apart, and each would be
    /// waited for on its own.
    fn touch_lines(&self) {
        let running = self.flows.list.iter().filter(|flow| flow.runs).map(|flow| flow.node as usize);
        let ahead = running.map(|node| self.rows[node].ahead(self.band.pes[node].memory, LINE as i32));
        std::hint::black_box(ahead.fold(0, u8::wrapping_add));
    }

    /// Books what nodes in flow did to the queues between them and others, and lets those leave the flow whose neighbours did
    /// something else than before.
    fn look_along_border(&mut self, shared: &Shared<'_>, now: u64) {
        let ready = now + u64::from(shared.machine.hop_cycles);
        let mut border = std::mem::take(&mut self.flows.border);
        let mut leaving = Vec::new();
        border.retain(|&(number, owner)| {
            let queue = &mut self.network.queues.queues[number as usize];
            let filler = queue.filler;
            match queue.in_flow {
                [true, false] => {
                    queue.len += 1;
                    if queue.taken != now {
                        leaving.push(filler);
                    }
                    self.network.nodes[owner as usize].occupy(number);
                    self.agenda.look(owner as usize, ready);
                }
                [false, true] => {
                    let put_in = |last: &Wavelet| last.ready == ready && last.is_data();
                    if !self.network.queues.last(number).is_some_and(put_in) {
                        leaving.push(owner);
                    }
                    self.network.advance(owner as usize, number, now);
                    self.agenda.look_next(filler as usize);
                }
                _ => {
                    queue.at_border = false;
                    return false;
                }
            }
            true
        });
        // Nodes that leave put queues on the list.
        border.append(&mut self.flows.border);
        self.flows.border = border;
        for node in leaving {
            self.end_flow(node as usize);
            self.agenda.look_next(node as usize);
        }
    }

    /// Puts a node into flow after cycle `now`, if it will go on doing what it did in it.
    fn begin_flow(&mut self, shared: &Shared<'_>, node: usize, now: u64) {
        let Some(flow) = self.flow_of(shared, node, now) else { return };
        if flow.runs {
            // Before the last element.
            let end = now + u64::from(self.rows[node].left);
            self.network.nodes[node].wake = end;
            self.agenda.look(node, end);
        }
        for &number in &flow.queues[..usize::from(flow.count)] {
            let Queue { to, to_node, filler, .. } = self.network.queues.queues[number as usize];
            if filler as usize != node {
                self.network.queues.queues[number as usize].in_flow[1] = true;
                self.add_to_border(number, node);
            }
            if to != NONE {
                self.network.queues.queues[to as usize].in_flow[0] = true;
                self.add_to_border(to, to_node as usize);
            }
        }
        self.network.nodes[node].flow = self.flows.list.len() as u32;
        self.flows.list.push(flow);
    }

    fn add_to_border(&mut self, number: u32, owner: usize) {
        let queue = &mut self.network.queues.queues[number as usize];
        if !queue.at_border {
            queue.at_border = true;
            self.flows.border.push((number, owner as u32));
        }
    }

    /// What a node does in each cycle after `now`, if it is what it did in cycle `now`.
    fn flow_of(&mut self, shared: &Shared<'_>, node: usize, now: u64) -> Option<Flow> {
        let (row, place) = (&self.rows[node], &self.network.nodes[node]);
        let runs = row.ran(&self.band.pes[node], now);
        let end = if runs { now + u64::from(row.left) } else { place.wake };
        if end < now + SHORTEST {
            return None;
        }
        let row_ends = if runs { [row.input, row.output] } else { [NONE; 2] };
        let (occupied, first) = (place.occupied, place.first_queue);
        let mut flow = Flow::new(node, runs, occupied, now);
        for (place, mut bits) in arbitration(occupied, 0) {
            while bits != 0 {
                let number = first + place + bits.trailing_zeros();
                bits &= bits - 1;
                flow.add(&mut self.network.queues, number, row_ends, shared.machine)?;
            }
        }
        // What the row takes and sends has to be what the router delivers and moves. Where nothing is left, nothing goes on.
        let complete = [flow.input, flow.output].map(Moving::exists) == row_ends.map(|queue| queue != NONE);
        (complete && flow.count > 0).then_some(flow)
    }

    /// Takes a node out of the flow after the last cycle in which it moved.
    fn end_flow(&mut self, node: usize) {
        let place = self.network.nodes[node].flow as usize;
        if place >= self.flows.list.len() {
            return;
        }
        let flow = self.flows.list.swap_remove(place);
        if let Some(moved) = self.flows.list.get(place) {
            self.network.nodes[moved.node as usize].flow = place as u32;
        }
        (self.network.nodes[node].flow, self.network.nodes[node].streak) = (NONE, 0);
        let last = self.flows.done;
        let cycles = last - flow.since;
        let queues = &flow.queues[..usize::from(flow.count)];
        for &number in queues {
            let Queue { to, to_node, filler, .. } = self.network.queues.queues[number as usize];
            if filler as usize == node {
                self.network.queues.queues[number as usize].pass(cycles, last);
            } else {
                self.end_inside(number, node, 1, flow.since);
            }
            if to != NONE {
                self.end_inside(to, to_node as usize, 0, flow.since);
            }
        }
        if flow.runs {
            let row = &mut self.rows[node];
            if row.input != NONE {
                self.network.queues.queues[row.input as usize].pass(cycles, last);
            }
            row.book(&mut self.band.pes[node], cycles, last);
            self.network.nodes[node].wake = last + 1;
            self.agenda.look(node, last + 1);
        }
        self.give_turns(&flow, cycles);
    }

    /// Books whose turn it is in the arbitration of a node that was in flow for some cycles: lanes have theirs one after another.
    fn give_turns(&mut self, flow: &Flow, cycles: u64) {
        let Some(before) = cycles.checked_sub(1) else { return };
        for _ in 0..=before % u64::from(flow.count).max(1) {
            let node = &mut self.network.nodes[flow.node as usize];
            let first = arbitration(flow.occupied, node.turn).into_iter().find(|&(_, bits)| bits != 0);
            if let Some((place, bits)) = first {
                let number = node.first_queue + place + bits.trailing_zeros();
                node.turn = self.network.queues.queues[number as usize].next_turn;
            }
        }
    }

    /// One end of a queue leaves the flow: when the other one is in flow, the queue is on the border from now on.
    fn end_inside(&mut self, number: u32, owner: usize, end: usize, since: u64) {
        let queue = &mut self.network.queues.queues[number as usize];
        queue.in_flow[end] = false;
        if queue.in_flow[1 - end] {
            let peer = if end == 0 { owner } else { queue.filler as usize };
            let inside_since = self.flows.since(&self.network.nodes[peer]).max(since);
            let last = self.flows.done;
            queue.pass(last - inside_since, last);
            self.add_to_border(number, owner);
        }
    }

    /// Takes all nodes out of the flow.
    pub(super) fn end_flows(&mut self) {
        while let Some(flow) = self.flows.list.last() {
            self.end_flow(flow.node as usize);
        }
    }
}
