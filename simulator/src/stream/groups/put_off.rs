//! In a run for the numbers alone: instructions over memory that are put off.
//!
//! Of thousands of PEs nothing stays in the host's caches from one instruction to the next. So those over memory are only noted down while
//! their group goes on, until a step looks at memory or at what others do, or the group parts. Then they are done: all of
//! them in some members before the next ones follow. Nobody can tell, as a member's memory is its own.

use super::code::same;
use super::group::Group;
use super::registers::each;
use super::vector::Template;
use super::{Groups, Stop};
use crate::machine::abreast::{Abreast, Repeated};
use crate::machine::decode::{Step, Vector};
use crate::machine::lockstep::{self, Workbench};
use crate::machine::pe::VectorWork;
use crate::machine::planes::Planes;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Members in which they are done together: their operands fit a second cache.
const BLOCK: u32 = 16;

/// Kinds of members, by their operands, for which an instruction is put off at most: more are not worth the memory.
const MOST_KINDS: usize = 256;

/// An instruction that is put off.
pub(super) struct PutOff {
    /// It, as it is in members that have the same operands.
    kinds: Vec<Kind>,
    /// Which kind members side by side are of: the first member behind them, and its place; in the order of the members. Nothing if all are
    /// of the first kind.
    parts: Vec<(u32, u16)>,
}

/// An instruction with some operands.
struct Kind {
    work: Box<VectorWork>,
    /// It, if it can be run in that way.
    abreast: Option<Abreast>,
}

impl PutOff {
    /// The same rows that it puts into the memories of all members, if that is what it does.
    pub(super) fn repeated(&self) -> Option<Repeated> {
        let [kind] = &self.kinds[..] else { return None };
        kind.abreast.as_ref()?.repeated()
    }

    /// It, to be used for another instruction.
    pub(super) fn works(self) -> impl Iterator<Item = Box<VectorWork>> {
        self.kinds.into_iter().map(|kind| kind.work)
    }

    /// Runs it in PEs side by side, all of them members.
    fn run(&mut self, (planes, pe, n): (&mut Planes<'_>, u32, u32), bench: &mut Workbench) {
        let (mut at, end) = (pe, pe + n);
        let mut parts = self.parts[self.parts.partition_point(|&(behind, _)| behind <= pe)..].iter();
        while at < end {
            let (behind, kind) = parts.next().copied().unwrap_or((end, 0));
            let here = behind.min(end) - at;
            self.kinds[usize::from(kind)].run((planes, at, here), bench);
            at += here;
        }
    }
}

impl Kind {
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
        } else if !self.work.unknown && self.work.remaining > 0 {
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
            Step::Scalar { .. } | Step::Jump(_) | Step::LoopNext { .. } | Step::Vector(_) | Step::ClaimBegin { .. } => {
                true
            }
            Step::LoopEnter { count, .. } => same(group, [*count; 2]).is_some(),
            Step::Branch { a, b, .. } => same(group, [*a, *b]).is_some(),
            _ => false,
        }
    }

    /// Puts an instruction off, if it is one over memory, and operands differ in few ways between members, in whose registers `varying` they
    /// may; says whether it has.
    pub(super) fn put_off(&mut self, group: &Group, vector: &Vector, varying: u128) -> Result<bool, Stop> {
        if vector.uses_fabric() {
            return Ok(false);
        }
        let mut put_off = PutOff { kinds: Vec::new(), parts: Vec::new() };
        // By the numbers in these registers.
        let mut known: BTreeMap<Vec<i32>, u16> = BTreeMap::new();
        for (first, count) in group.members.in_rows(self.lanes.width) {
            let (mut pe, end) = (first, first + count);
            while pe < end {
                let mut n = end - pe;
                self.registers.alike(varying, pe, &mut n);
                let numbers = each(varying).map(|slot| self.registers.get(slot, pe)).collect();
                let kind = match known.entry(numbers) {
                    Entry::Occupied(known) => *known.get(),
                    Entry::Vacant(new) => {
                        if put_off.kinds.len() == MOST_KINDS {
                            return Ok(false);
                        }
                        let Template { work, .. } = self.template_for(None, group, vector, varying, (pe, n))?;
                        let bytes = self.planes.as_ref().map_or(0, |planes| planes.bytes(pe));
                        // Some members may have nothing to do, and no place for it.
                        if work.remaining > 0 && !lockstep::can_run(&work, bytes) {
                            return Err(Stop::Unfit);
                        }
                        put_off.kinds.push(Kind::new(work));
                        *new.insert(put_off.kinds.len() as u16 - 1)
                    }
                };
                pe += n;
                put_off.parts.push((pe, kind));
            }
            if varying == 0 {
                put_off.parts.clear();
                break;
            }
        }
        self.put_off.push(put_off);
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
        self.unused.extend(self.put_off.drain(..).flat_map(PutOff::works));
    }
}
