//! Where the queues of PEs stand: input queues in one list for all PEs, output queues as the nodes that they lead into.

use super::nodes::{NONE, Nodes};
use crate::machine::band::Band;
use std::ops::Range;
use waferloom_fabric::Machine;

/// The input and output queues of all PEs.
#[derive(Debug, Default)]
pub(super) struct PeQueues {
    /// By PE: its first input queue; and, at the end, how many there are.
    first_input: Vec<u32>,
    /// The nodes of the output queues of all PEs, or [`NONE`]; each PE has as many as the machine.
    outputs: Vec<u32>,
    /// Output queues of the machine.
    output_queues: usize,
}

impl PeQueues {
    /// Those of a band, without output queues before its nodes are there; and the room in each input queue.
    pub(super) fn new(band: &Band) -> (Self, Vec<u64>) {
        let (mut room, mut first_input) = (Vec::new(), Vec::with_capacity(band.pes.len() + 1));
        first_input.push(0);
        for pe in &band.pes {
            let bound = pe.inputs.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
            room.extend(pe.inputs[..bound].iter().map(|queue| queue.as_ref().map_or(0, |q| q.capacity.into())));
            first_input.push(room.len() as u32);
        }
        (Self { first_input, ..Self::default() }, room)
    }

    /// Finds the nodes into which output queues lead.
    pub(super) fn connect(&mut self, machine: &Machine, band: &Band, nodes: &Nodes) {
        self.output_queues = machine.output_queue_depths.len();
        for (router, pe) in band.pes.iter().enumerate() {
            let lanes = (0..self.output_queues).map(|queue| pe.outputs.get(queue)?.as_ref()?.lane);
            let node = |lane: Option<u8>| lane.map_or(NONE, |lane| nodes.at(router, lane.into()) as u32);
            self.outputs.extend(lanes.map(node));
        }
    }

    /// The number of a PE's first input queue.
    pub(super) fn first_input(&self, pe: usize) -> u32 {
        self.first_input[pe]
    }

    /// The numbers of a PE's input queues.
    pub(super) fn inputs(&self, pe: usize) -> Range<usize> {
        self.first_input[pe] as usize..self.first_input[pe + 1] as usize
    }

    /// The number of an input queue of a PE.
    pub(super) fn input(&self, pe: usize, queue: u8) -> Option<usize> {
        self.inputs(pe).nth(queue.into())
    }

    /// The node into which an output queue of a PE leads.
    pub(super) fn out(&self, pe: usize, queue: u8) -> Option<usize> {
        let node = self.outputs[pe * self.output_queues..][..self.output_queues].get(usize::from(queue));
        node.filter(|&&node| node != NONE).map(|&node| node as usize)
    }
}
