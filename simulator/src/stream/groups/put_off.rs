//! In a run for the numbers alone: instructions over memory that are put off.
//!
//! Of thousands of PEs nothing stays in the host's caches from one instruction to the next. So those over memory are only noted down while
//! their group goes on, until a step looks at memory or at what others do, or the group parts. Then they are done: all of
//! them in some members before the next ones follow. Nobody can tell, as a member's memory is its own.

use super::code::same;
use super::group::Group;
use super::vector::Template;
use super::{Groups, Stop};
use crate::machine::abreast::Abreast;
use crate::machine::decode::{Step, Vector};
use crate::machine::lockstep::{self, Workbench};
use crate::machine::pe::VectorWork;
use crate::machine::planes::Planes;

/// Members in which they are done together: their operands fit a second cache.
const BLOCK: u32 = 16;

/// An instruction that is put off.
pub(super) struct PutOff {
    work: Box<VectorWork>,
    /// It, if it can be run in that way.
    abreast: Option<Abreast>,
}

impl PutOff {
    fn new(mut work: Box<VectorWork>) -> Self {
        let all = work.remaining;
        let abreast = if work.unknown { None } else { Abreast::new(&mut work, all) };
        work.remaining = all;
        Self { work, abreast }
    }

    /// Runs it in PEs side by side.
    fn run(&mut self, (planes, pe, n): (&mut Planes<'_>, u32, u32), bench: &mut Workbench) {
        if let Some(abreast) = &self.abreast {
            abreast.run(planes, pe, n);
        } else if !self.work.unknown {
            let all = self.work.remaining;
            lockstep::run((planes, pe, n), &mut self.work, &[None; 3], all, bench);
            // All its operands stand at their first elements again.
            self.work.remaining = all;
        }
    }
}

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
        self.put_off.push(PutOff::new(work));
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
                for put_off in &mut self.put_off {
                    put_off.run((planes, pe, here), &mut self.bench);
                }
                pe += here;
            }
        }
        self.unused.extend(self.put_off.drain(..).map(|put_off| put_off.work));
    }
}
