//! What a PE sees of the network in a cycle: the heads of its input queues, and room in its output queues.

use super::network::Network;
use super::queues::Wavelet;
use crate::machine::conflicts::Conflicts;
use crate::machine::pe::Pe;
use waferloom_fabric::ColorRoute;

/// The ends of the network at a PE.
pub(super) struct Ports<'a> {
    network: &'a mut Network,
    node: usize,
    /// First cycle in which what is sent now can leave the router.
    departs: u64,
    /// Waits for memory.
    pub(super) conflicts: &'a mut Conflicts,
}

impl<'a> Ports<'a> {
    /// The ports of a node; what is sent can leave the router in cycle `departs`.
    pub(super) fn new(network: &'a mut Network, node: usize, departs: u64, conflicts: &'a mut Conflicts) -> Self {
        Self { network, node, departs, conflicts }
    }

    /// The wavelet of an input queue with so many before it.
    pub(super) fn get(&self, queue: u8, place: usize) -> Option<&Wavelet> {
        self.network.queues.get(self.network.input(self.node, queue)?, place)
    }

    /// The head of an input queue.
    pub(super) fn front(&self, queue: u8) -> Option<&Wavelet> {
        self.get(queue, 0)
    }

    /// Takes the head of an input queue.
    pub(super) fn pop(&mut self, queue: u8) -> Option<Wavelet> {
        self.network.queues.pop(self.network.input(self.node, queue)?)
    }

    /// When the first of the heads that are still under way will be there; `u64::MAX` when there is none.
    pub(super) fn next_arrival(&self, now: u64) -> u64 {
        let heads = (0..self.network.inputs).filter_map(|queue| self.front(queue));
        heads.map(|head| head.ready).filter(|&ready| ready > now).min().unwrap_or(u64::MAX)
    }

    /// Whether an output queue takes another wavelet.
    pub(super) fn has_room(&self, pe: &Pe, queue: u8) -> bool {
        let out = pe.outputs.get(queue as usize).and_then(Option::as_ref);
        out.is_some_and(|out| {
            out.lane.is_some_and(|lane| self.network.queues.len(self.network.ramp(self.node, lane)) < out.capacity)
        })
    }

    /// Puts a word into an output queue that has room.
    pub(super) fn send(&mut self, pe: &Pe, queue: u8, word: u32) {
        self.push(pe, queue, Wavelet::data(self.departs, word));
    }

    /// Puts a control wavelet, 1 + its index, into an output queue that has room.
    pub(super) fn send_control(&mut self, pe: &Pe, queue: u8, control: u16, payload: u32) {
        self.push(pe, queue, Wavelet::control(self.departs, control, payload));
    }

    fn push(&mut self, pe: &Pe, queue: u8, wavelet: Wavelet) {
        if let Some(Some(out)) = pe.outputs.get(queue as usize)
            && let Some(lane) = out.lane
        {
            self.network.push(self.node, self.network.ramp(self.node, lane), wavelet);
        }
    }

    /// Puts the switch of a colour into a position.
    pub(super) fn set_position(&mut self, color: u8, position: u8, routes: &[ColorRoute]) {
        if let Some(lane) = self.network.lane_of(self.node, color) {
            self.network.switch(lane, |state| {
                state.set_position(position, routes);
                state.closed = false;
            });
        }
    }
}
