//! The way of a run: the routers that it passes from a port to all its ends.

use super::nodes::{End, Nodes};
use super::run::Run;
use waferloom_fabric::Direction;

/// A node on a way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leg {
    pub(super) node: u32,
    /// Port at which it is entered.
    port: u8,
    /// Index of the leg before, for all but the first.
    before: u32,
    /// Links from the first node.
    pub(super) hops: u16,
    /// Wavelets that the way up to here holds, those in this node's queue included.
    pub(super) capacity: u64,
    /// When the first and the last wavelet of the run at hand leave it.
    pub(super) times: (u64, u64),
}

impl Nodes {
    /// Finds the way from a port of a node to all its ends, into `legs`, if the switches stand so that a run may go there at
    /// once and nothing is before it. The error is a node where it may not.
    pub(super) fn find_way(
        &mut self,
        node: usize,
        port: usize,
        link_capacity: u64,
        legs: &mut Vec<Leg>,
    ) -> Result<(), u32> {
        self.search += 1;
        legs.clear();
        let capacity = match self.list.get(node) {
            Some(first) if port == Direction::Ramp as usize => first.ramp_capacity,
            Some(_) => link_capacity,
            None => return Err(node as u32),
        };
        legs.push(Leg { node: node as u32, port: port as u8, before: 0, hops: 0, capacity, times: (0, 0) });
        let mut index = 0;
        while let Some(&leg) = legs.get(index) {
            let node = &mut self.list[leg.node as usize];
            let blocked = index > 0 && node.waiting >> leg.port & 1 == 1;
            if blocked
                || !node.determinate
                || node.seen == self.search
                || node.rx.0 >> leg.port & 1 == 0
                || node.tx.is_empty()
            {
                return Err(leg.node);
            }
            node.seen = self.search;
            for out in (0..4).filter(|out| node.tx.0 >> out & 1 == 1) {
                match node.next[out] {
                    End::Node(next) => legs.push(Leg {
                        node: next,
                        port: Direction::ALL[out].opposite() as u8,
                        before: index as u32,
                        hops: leg.hops + 1,
                        capacity: leg.capacity + link_capacity,
                        times: (0, 0),
                    }),
                    End::Sink(_) => {}
                    End::Nothing => return Err(leg.node),
                }
            }
            index += 1;
        }
        Ok(())
    }

    /// When the first and the last wavelet of a run can leave a leg, by the legs before it.
    pub(super) fn leaving(&self, legs: &[Leg], index: usize, run: &Run, hop_cycles: u64) -> (u64, u64) {
        let leg = &legs[index];
        let (first, last) = if index == 0 {
            (run.first, run.last)
        } else {
            let (first, last) = legs[leg.before as usize].times;
            (first + hop_cycles, last + hop_cycles)
        };
        let first = first.max(self.list[leg.node as usize].free);
        (first, last.max(first + run.count - 1))
    }
}
