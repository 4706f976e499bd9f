//! In a run for the numbers alone: what all PEs of a line take ([`TakesClaim`]), moved at once when all of them have begun.
//!
//! They pass over the claim's code, so that their memories are still as they were when they began. What lists say is the same whenever they
//! are read, since nobody writes to them; PEs that take the same have one plan. PEs of a bank that do the same in lines
//! of their own, columns or themselves, move their words together.

use super::takes::Plan;
use super::{Inside, Twins};
use crate::machine::element::Fault;
use crate::machine::pe::Place;
use crate::machine::planes::{Moves, Planes};
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::rc::Rc;
use waferloom_fabric::{Claim, ClaimLine, TakesClaim};

/// What the lists of PEs say.
#[derive(Default)]
pub(super) struct Plans {
    /// By claim and address of the list: by PE, once they have been read. The ones that were asked for last lie apart.
    lists: BTreeMap<(u32, i64), Lists>,
    last: Option<((u32, i64), Lists)>,
    known: HashSet<Rc<Plan>>,
}

/// What lists say, by PE.
type Lists = Vec<Option<Rc<Plan>>>;

/// What is moved: words of all PEs that move together, element by element.
#[derive(Default)]
pub(super) struct Moved {
    words: Vec<u32>,
    /// The PEs of the line, and what they take.
    takers: Vec<Taker>,
    /// By claim, addresses and plan of the first PE of a row.
    rows: BTreeMap<(u32, [i64; 3], *const Plan), Row>,
}

/// A PE of a line, and what it takes.
type Taker = (u32, Inside, Rc<Plan>);

/// What the PEs of a row take, word by word: the same in other rows whose PEs have their tiles and lists alike, and in other turns.
struct Row {
    takers: Vec<Taker>,
    moves: BTreeMap<[u32; 2], Moves>,
}

impl Plans {
    /// That of a PE's list, which lies at an address.
    fn of(
        &mut self,
        (index, claim): (u32, &TakesClaim),
        planes: &mut Planes<'_>,
        pe: u32,
        list: i64,
    ) -> Option<Rc<Plan>> {
        if self.last.as_ref().is_none_or(|(place, _)| *place != (index, list)) {
            let own = ((index, list), self.lists.remove(&(index, list)).unwrap_or_default());
            self.lists.extend(self.last.replace(own));
        }
        let (_, lists) = self.last.as_mut()?;
        if let Some(Some(plan)) = lists.get(pe as usize) {
            return Some(plan.clone());
        }
        // Where the list ends is known when it has been read.
        planes.ask_for(list..list + 1);
        let (mut plan, mut end) = Plan::read(claim, planes.memory(pe), list)?;
        while planes.ask_for(list..end) {
            (plan, end) = Plan::read(claim, planes.memory(pe), list)?;
        }
        // As a rule the PE to the west or the one to the north takes the same.
        let near = [1, planes.width() as u32].map(|apart| lists.get(pe.checked_sub(apart)? as usize)?.clone());
        let plan = if let Some(near) = near.into_iter().flatten().find(|near| **near == plan) {
            near
        } else {
            let read = Rc::new(plan);
            let plan = self.known.get(&read).cloned().unwrap_or_else(|| read.clone());
            self.known.insert(read);
            plan
        };
        if lists.len() <= pe as usize {
            lists.resize(pe as usize + 1, None);
        }
        lists[pe as usize] = Some(plan.clone());
        Some(plan)
    }
}

impl Twins<'_> {
    /// Whether all PEs of a line take what they take at once when they have begun a claim.
    pub(crate) fn moves_at_once(&self, index: u32) -> bool {
        self.at_once && matches!(self.program.claims[index as usize], Claim::Takes(_))
    }

    /// The lines of PEs side by side, in one bank, have begun a claim; their PEs take what they take. `written` gets the classes of those
    /// PEs and between which bytes of their memories they have.
    pub(crate) fn move_all(
        &mut self,
        (pe, pes): (Place, usize),
        planes: &mut Planes<'_>,
        mut written: impl FnMut(u16, Range<i64>),
    ) -> Result<(), Fault> {
        let first = self.program.grid.index(pe.0);
        let Some(Inside { claim: index, .. }) = self.inside[first] else { return Ok(()) };
        let Claim::Takes(claim) = &self.program.claims[index as usize] else { return Ok(()) };
        let mut moved = std::mem::take(&mut self.moved);
        let width = usize::from(self.program.grid.width);
        let mut done = 0;
        while done < pes {
            let lane = first + done;
            let line: Range<usize> = match claim.line {
                ClaimLine::Row => {
                    let row = lane - lane % width;
                    row + usize::from(claim.region.x)..row + usize::from(claim.region.x + claim.region.width)
                }
                ClaimLine::Column => {
                    let column = lane % width;
                    let y = usize::from(claim.region.y);
                    y * width + column..(y + usize::from(claim.region.height) - 1) * width + column + 1
                }
                ClaimLine::Own => lane..lane + 1,
            };
            let apart = if claim.line == ClaimLine::Column { width } else { 1 };
            let n = if claim.line == ClaimLine::Row { 1 } else { pes - done };
            let line = line.step_by(apart);
            let together = self.find_takers((index, claim), planes, line, n, &mut moved.takers);
            let n = together.ok_or_else(|| {
                Fault(format!("claim {index} is false: a list takes what is not there, or leads out of memory"))
            })?;
            moved
                .run(claim, planes, n, &mut written)
                .ok_or_else(|| Fault(format!("claim {index} is false: a list leads out of memory")))?;
            done += if claim.line == ClaimLine::Row { pes } else { n as usize };
        }
        self.moved = moved;
        Ok(())
    }

    /// Finds what the PEs of a line take, and how many lines there are side by side, of `most`, that take the same.
    fn find_takers(
        &mut self,
        (index, claim): (u32, &TakesClaim),
        planes: &mut Planes<'_>,
        line: impl Iterator<Item = usize>,
        mut most: usize,
        takers: &mut Vec<Taker>,
    ) -> Option<u32> {
        takers.clear();
        for pe in line {
            let inside = self.inside[pe]?;
            let plan = self.plans.of((index, claim), planes, pe as u32, inside.at[1])?;
            for beside in 1..most {
                let other = self.inside[pe + beside]?;
                let is_like = other == inside
                    && planes.bytes((pe + beside) as u32) == planes.bytes(pe as u32)
                    && Rc::ptr_eq(&self.plans.of((index, claim), planes, (pe + beside) as u32, other.at[1])?, &plan);
                if !is_like {
                    most = beside;
                    break;
                }
            }
            takers.push((pe as u32, inside, plan));
        }
        Some(most as u32)
    }
}

impl Moved {
    /// Moves what the PEs of a line take, and those of the lines beside it, `n` in all.
    fn run(
        &mut self,
        claim: &TakesClaim,
        planes: &mut Planes<'_>,
        n: u32,
        written: &mut impl FnMut(u16, Range<i64>),
    ) -> Option<()> {
        if self.is_apart(claim) {
            if claim.line != ClaimLine::Row || !self.move_row(claim, planes)? {
                self.move_words(claim, planes, n)?;
            }
        } else {
            self.copy_words(claim, planes, n)?;
        }
        for (pe, inside, plan) in &self.takers {
            let classes = (*pe..pe + n).filter_map(|pe| planes.class(pe));
            classes.for_each(|class| written(class, target(inside, plan)));
        }
        self.takers.clear();
        Some(())
    }

    /// Whether nobody takes something to where somebody has what is taken.
    fn is_apart(&self, claim: &TakesClaim) -> bool {
        let all = |all: Range<i64>, own: Range<i64>| all.start.min(own.start)..all.end.max(own.end);
        let roots = self.takers.get(claim.first.into()..claim.end.into()).unwrap_or_default();
        let tile = |(_, inside, _): &Taker| inside.at[0]..inside.at[0] + i64::from(claim.words) * 4;
        let targets = self.takers.iter().map(|(_, inside, plan)| target(inside, plan));
        let (Some(from), Some(to)) = (roots.iter().map(tile).reduce(all), targets.reduce(all)) else { return true };
        from.end <= to.start || to.end <= from.start
    }

    /// Moves words in a row as they were moved in one before it, if there is one in which all was the same, or none with the same first PE;
    /// says whether they are moved.
    fn move_row(&mut self, claim: &TakesClaim, planes: &mut Planes<'_>) -> Option<bool> {
        let Some((pe, inside, plan)) = self.takers.first().filter(|_| claim.dtype.bytes() == 4 && planes.are_alike())
        else {
            return Some(false);
        };
        let (pe, first) = (*pe, (inside.claim, inside.at, Rc::as_ptr(plan)));
        if !self.rows.contains_key(&first) {
            let moves = self.moves_of_row(claim, planes)?;
            self.rows.insert(first, Row { takers: self.takers.clone(), moves });
        }
        let Some(row) = self.rows.get(&first) else { return Some(false) };
        let is_like =
            |((_, inside, plan), (_, other, its)): (&Taker, &Taker)| inside.at == other.at && Rc::ptr_eq(plan, its);
        if row.takers.len() != self.takers.len() || !self.takers.iter().zip(&row.takers).all(is_like) {
            return Some(false);
        }
        planes.move_in_row(pe, &row.moves)?;
        Some(true)
    }

    /// The words that the PEs of a row take, between any two banks; somebody has asked for where they go.
    fn moves_of_row(&self, claim: &TakesClaim, planes: &mut Planes<'_>) -> Option<BTreeMap<[u32; 2], Moves>> {
        let mut moves = BTreeMap::new();
        for (pe, inside, plan) in &self.takers {
            planes.ask_for(target(inside, plan));
            for run in &plan.runs {
                let (root, from, _) = self.takers.get(usize::from(claim.first) + run.root)?;
                for i in 0..i64::from(run.count) {
                    let source = from.at[0] + (run.source + run.source_step * i) * 4;
                    let target = inside.at[2] + (run.target + run.target_step * i) * 4;
                    planes.add_move([(*root, source), (*pe, target)], &mut moves)?;
                }
            }
        }
        Some(moves)
    }

    /// Moves words from where they lie to where they are taken.
    fn move_words(&mut self, claim: &TakesClaim, planes: &mut Planes<'_>, n: u32) -> Option<()> {
        let bytes = claim.dtype.bytes();
        let size = i64::from(bytes);
        let mut asked = 0..0;
        for (pe, inside, plan) in &self.takers {
            let range = target(inside, plan);
            if range != asked {
                planes.ask_for(range.clone());
                asked = range;
            }
            for run in &plan.runs {
                let (root, from, _) = self.takers.get(usize::from(claim.first) + run.root)?;
                let places = [
                    (from.at[0] + run.source * size, run.source_step * size),
                    (inside.at[2] + run.target * size, run.target_step * size),
                ];
                planes.move_elements(([*root, *pe], n as usize), places, run.count, bytes)?;
            }
        }
        Some(())
    }

    /// The same by way of a list: all is read before anything is written.
    fn copy_words(&mut self, claim: &TakesClaim, planes: &mut Planes<'_>, n: u32) -> Option<()> {
        let bytes = claim.dtype.bytes();
        let size = i64::from(bytes);
        self.words.clear();
        for (_, _, plan) in &self.takers {
            for run in &plan.runs {
                let (root, inside, _) = self.takers.get(usize::from(claim.first) + run.root)?;
                let place = (inside.at[0] + run.source * size, run.source_step * size, run.count);
                planes.gather((*root, n), place, bytes, &mut self.words)?;
            }
        }
        let mut words = self.words.as_slice();
        for (pe, inside, plan) in &self.takers {
            planes.ask_for(target(inside, plan));
            for run in &plan.runs {
                let own = words.split_off(..(run.count * n) as usize)?;
                let place = (inside.at[2] + run.target * size, run.target_step * size, run.count);
                planes.scatter((*pe, n), place, bytes, own)?;
            }
        }
        Some(())
    }
}

/// Between which addresses all lies that a PE takes.
fn target(inside: &Inside, plan: &Plan) -> Range<i64> {
    inside.at[2] + plan.written.start..inside.at[2] + plan.written.end
}
