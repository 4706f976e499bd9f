//! Which nodes (a PE and its router) are to be looked at in which cycle.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Cycles ahead for which there is a list each; what is later lies in a heap.
const AHEAD: u64 = 256;

/// Nodes of a block.
const BLOCK: usize = 64;

/// A set of nodes: a byte each, and one for each block with a node. Bytes are written without being read, which bits are not.
#[derive(Debug)]
struct Set {
    nodes: Vec<u8>,
    blocks: Vec<u8>,
}

impl Set {
    fn new(nodes: usize) -> Self {
        let blocks = nodes.div_ceil(BLOCK);
        Self { nodes: vec![0; blocks * BLOCK], blocks: vec![0; blocks.next_multiple_of(8)] }
    }

    #[inline]
    fn insert(&mut self, node: usize) {
        self.nodes[node] = 1;
        self.blocks[node / BLOCK] = 1;
    }

    /// The first block from a given one on that has a node.
    fn find(&self, from: usize) -> Option<usize> {
        Some(from + self.blocks.get(from..)?.iter().position(|&block| block != 0)?)
    }

    /// Takes the nodes of a block: a bit each.
    fn take(&mut self, block: usize) -> u64 {
        self.blocks[block] = 0;
        let mut bits = 0;
        for (i, bytes) in self.nodes[block * BLOCK..][..BLOCK].as_chunks_mut::<8>().0.iter_mut().enumerate() {
            // The product brings the lowest bit of each byte into the highest byte.
            let eight = u64::from_le_bytes(std::mem::take(bytes)).wrapping_mul(0x0102_0408_1020_4080) >> 56;
            bits |= eight << (i * 8);
        }
        bits
    }
}

/// The agenda of some nodes. To be on it without need does no harm.
#[derive(Debug)]
pub(super) struct Agenda {
    /// The cycle at hand.
    now: u64,
    today: Set,
    /// Blocks before this one have been taken.
    block: usize,
    /// Of the cycle after `now`, which most are.
    next: Set,
    /// By cycle modulo [`AHEAD`].
    soon: Vec<Vec<u32>>,
    later: BinaryHeap<Reverse<(u64, u32)>>,
}

impl Agenda {
    /// The agenda before cycle 0.
    pub(super) fn new(nodes: usize) -> Self {
        Self {
            now: 0,
            today: Set::new(nodes),
            block: 0,
            next: Set::new(nodes),
            soon: vec![Vec::new(); AHEAD as usize],
            later: BinaryHeap::new(),
        }
    }

    /// Has a node looked at in the cycle after the one at hand.
    #[inline]
    pub(super) fn look_next(&mut self, node: usize) {
        self.next.insert(node);
    }

    /// Has a node looked at in a cycle, the one after the one at hand at the earliest.
    #[inline]
    pub(super) fn look(&mut self, node: usize, cycle: u64) {
        if cycle <= self.now + 1 {
            self.next.insert(node);
        } else if cycle < self.now + AHEAD {
            self.soon[(cycle % AHEAD) as usize].push(node as u32);
        } else {
            self.later.push(Reverse((cycle, node as u32)));
        }
    }

    /// Begins the first cycle of a run with some nodes.
    pub(super) fn start(&mut self, nodes: impl Iterator<Item = usize>) {
        nodes.for_each(|node| self.today.insert(node));
    }

    /// Goes on to a cycle; none before it is on the agenda.
    pub(super) fn advance(&mut self, cycle: u64) {
        if cycle == self.now {
            return;
        }
        (self.now, self.block) = (cycle, 0);
        std::mem::swap(&mut self.today, &mut self.next);
        for node in self.soon[(cycle % AHEAD) as usize].drain(..) {
            self.today.insert(node as usize);
        }
        while let Some(&Reverse((due, node))) = self.later.peek()
            && due <= cycle
        {
            self.later.pop();
            self.today.insert(node as usize);
        }
    }

    /// Takes up to 64 nodes of the cycle at hand, in the order of their numbers: the number of the first, and a bit each.
    pub(super) fn take(&mut self) -> Option<(usize, u64)> {
        let block = self.today.find(self.block)?;
        self.block = block + 1;
        Some((block * BLOCK, self.today.take(block)))
    }

    /// The next cycle with an entry; `u64::MAX` when there is none.
    pub(super) fn next_cycle(&self) -> u64 {
        if self.next.find(0).is_some() {
            return self.now + 1;
        }
        let listed = |cycle: &u64| !self.soon[(*cycle % AHEAD) as usize].is_empty();
        let soon = (self.now + 1..self.now + AHEAD).find(listed).unwrap_or(u64::MAX);
        self.later.peek().map_or(soon, |&Reverse((cycle, _))| soon.min(cycle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All nodes of the cycle at hand.
    fn taken(agenda: &mut Agenda) -> Vec<usize> {
        let mut nodes = Vec::new();
        while let Some((first, bits)) = agenda.take() {
            nodes.extend((0..64).filter(|i| bits >> i & 1 == 1).map(|i| first + i));
        }
        nodes
    }

    #[test]
    fn nodes_come_once_in_their_cycle_and_in_order() {
        let mut agenda = Agenda::new(10_000);
        agenda.start([7, 3].into_iter());
        agenda.advance(0);
        assert_eq!(taken(&mut agenda), [3, 7]);
        assert_eq!(agenda.next_cycle(), u64::MAX);
        // Far away, near, near again, and next.
        for (node, cycle) in [(9999, 1000), (64, 20), (4500, 20), (64, 20), (63, 1)] {
            agenda.look(node, cycle);
        }
        assert_eq!(agenda.next_cycle(), 1);
        agenda.advance(1);
        assert_eq!(taken(&mut agenda), [63]);
        assert_eq!(agenda.next_cycle(), 20);
        agenda.advance(20);
        assert_eq!(taken(&mut agenda), [64, 4500]);
        // 20 + 256 has the list that 20 had: it is too far away for it.
        agenda.look(1, 276);
        assert_eq!(agenda.next_cycle(), 276);
        agenda.advance(276);
        assert_eq!(taken(&mut agenda), [1]);
        assert_eq!(agenda.next_cycle(), 1000);
        agenda.advance(1000);
        assert_eq!(taken(&mut agenda), [9999]);
        assert_eq!(agenda.next_cycle(), u64::MAX);
    }
}
