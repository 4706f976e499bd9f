//! In a run for the numbers alone: instructions over memory that are put off.
//!
//! Of thousands of PEs nothing stays in the host's caches from one instruction to the next. So those over memory are only noted down while
//! their group goes on, until a step looks at memory or at what others do, or the group parts. Then they are done: all of
//! them in some members before the next ones follow. Nobody can tell, as a member's memory is its own.

use super::code::same;
use super::group::Group;
use super::vector::Template;
use super::{Groups, Stop};
use crate::machine::decode::{Step, Vector};
use crate::machine::lockstep;

/// Members in which they are done together: their operands fit a second cache.
const BLOCK: u32 = 64;

impl Groups<'_> {
    /// Whether a group may go on with a step while instructions are put off: it stays whole and looks at no memory, or sees to it itself.
    pub(super) fn can_wait_behind(group: &Group, step: &Step) -> bool {
        match step {
            Step::Scalar { .. } | Step::Jump(_) | Step::LoopNext { .. } | Step::Vector(_) => true,
            Step::LoopEnter { count, .. } => same(group, [*count; 2]).is_some(),
            Step::Branch { a, b, .. } => same(group, [*a, *b]).is_some(),
            _ => false,
        }
    }

    /// Puts an instruction off whose operands are the same in all members, if it is one over memory; says whether it has.
    pub(super) fn put_off(&mut self, group: &Group, vector: &Vector) -> Result<bool, Stop> {
        let Some(first) = group.members.first().filter(|_| !vector.uses_fabric()) else { return Ok(false) };
        let Template { work, .. } = self.template_for(None, group, vector, 0, (first, 1))?;
        let bytes = self.planes.as_ref().map_or(0, |planes| planes.bytes(first));
        if !lockstep::can_run(&work, bytes) {
            return Err(Stop::Unfit);
        }
        self.put_off.push(work);
        Ok(true)
    }

    /// Does what has been put off for a group.
    pub(super) fn catch_up(&mut self, group: &Group) {
        let Some(planes) = self.planes.as_mut().filter(|_| !self.put_off.is_empty()) else { return };
        for (first, n) in group.members.in_rows(self.lanes.width) {
            let mut pe = first;
            while pe < first + n {
                let column = pe % self.lanes.width;
                let here = (BLOCK - column % BLOCK).min(first + n - pe);
                for work in self.put_off.iter_mut().filter(|work| !work.unknown) {
                    let all = work.remaining;
                    lockstep::run((planes, pe, here), work, &[None; 3], all, &mut self.bench);
                    // All its operands stand at their first elements again.
                    work.remaining = all;
                }
                pe += here;
            }
        }
        self.unused.append(&mut self.put_off);
    }
}
