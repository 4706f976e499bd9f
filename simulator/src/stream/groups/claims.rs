//! Claims. In a run for the numbers alone PEs go from the beginning of one to its end at once, and wait there for the others of their group, when the
//! code between leaves nothing in registers that is read behind it.

use super::group::Group;
use super::send::Outcome;
use super::{Groups, Stop};
use crate::machine::abreast::RowSource;
use crate::machine::decode::Step;
use crate::machine::operand::Number;
use crate::machine::pe::Place;
use crate::twins::{Given, Operands};
use std::collections::BTreeSet;
use std::ops::Range;

impl Groups<'_> {
    /// All members begin a claim.
    pub(super) fn begin_claim(
        &mut self,
        group: &mut Group,
        claim: u32,
        tiles: &[(Number, i32); 3],
    ) -> Result<(), Stop> {
        let end = self.end_of_claim(group, claim);
        if self.planes.is_some() {
            let start = end.and_then(|_| self.take_start(group, claim, tiles));
            self.catch_up(group);
            if end.is_some() || self.twins.as_ref().is_some_and(|twins| twins.gives_numbers(claim)) {
                self.begin_claim_together(group, claim, (tiles, start))?;
            }
        } else {
            for pe in group.members.pes() {
                let tiles = self.tiles(group, pe, tiles);
                let (Some(twins), state) = (&mut self.twins, &mut self.band.pes[pe as usize]) else { continue };
                state.lay_out();
                twins.begin(state, claim, tiles).map_err(|_| Stop::Unfit)?;
            }
        }
        group.is_claimed = end.is_none() && self.twins.as_ref().is_some_and(|twins| twins.gives_numbers(claim));
        group.step = end.unwrap_or(group.step + 1);
        Ok(())
    }

    /// The addresses of a member's tiles.
    fn tiles(&self, group: &Group, pe: u32, tiles: &[(Number, i32); 3]) -> [i64; 3] {
        tiles.map(|(base, offset)| i64::from(self.value(group, pe, base)) + i64::from(offset))
    }

    /// If all that the last instruction that was put off does is to write what each row of a claim's result starts from: that, and it need
    /// not be done, since the result is written there at the claim's end.
    fn take_start(&mut self, group: &Group, claim: u32, tiles: &[(Number, i32); 3]) -> Option<RowSource> {
        let row = self.put_off.last()?.repeated()?;
        let at = self.tiles(group, group.members.first()?, tiles);
        if may_differ(group, tiles) || !self.twins.as_ref()?.starts_from(claim, at, &row) {
            return None;
        }
        let done = self.put_off.pop()?;
        self.unused.extend(done.works());
        Some(row.source)
    }

    /// Begins a claim in a run for the numbers alone: in PEs of a bank at once that have their tiles at the same addresses.
    fn begin_claim_together(
        &mut self,
        group: &Group,
        claim: u32,
        (tiles, start): (&[(Number, i32); 3], Option<RowSource>),
    ) -> Result<(), Stop> {
        let may_differ = may_differ(group, tiles);
        for (first, count) in group.members.in_rows(self.lanes.width) {
            let (mut pe, end) = (first, first + count);
            while pe < end {
                let most = self.planes.as_ref().map_or(1, |planes| planes.beside(pe, end - pe));
                let own = self.tiles(group, pe, tiles);
                let is_like = |&pe: &u32| !may_differ || self.tiles(group, pe, tiles) == own;
                let n = (pe..pe + most).take_while(is_like).count();
                let (Some(planes), Some(twins)) = (&mut self.planes, &mut self.twins) else { return Ok(()) };
                let at = Place(planes.at(pe));
                let right = planes.kept(own[1]).filter(|right| twins.takes_right(claim, right));
                for (operand, range) in twins.tiles(claim, own).into_iter().enumerate() {
                    if operand != 1 || right.is_none() {
                        planes.ask_for(range);
                    }
                }
                let memory = planes.memory(pe);
                let operands = Operands { at: own, right, start };
                let begun = twins.begin_with((at, n), memory, claim, &operands).map_err(|_| Stop::Unfit)?;
                let (n, is_ready) = (begun.0 as u32, begun.1);
                if is_ready {
                    self.move_at_once(claim, pe, n)?;
                    self.wake_groups(pe, n);
                }
                pe += n;
            }
        }
        Ok(())
    }

    /// PEs side by side, in one bank, are the last ones of their lines, or some of them, to begin a claim: if it is of what PEs take, those
    /// of these lines do.
    fn move_at_once(&mut self, claim: u32, pe: u32, n: u32) -> Result<(), Stop> {
        let (Some(twins), Some(planes)) = (&mut self.twins, &mut self.planes) else { return Ok(()) };
        if !twins.moves_at_once(claim) {
            return Ok(());
        }
        let mut last = None;
        let tables = &mut self.tables;
        let mut written = |class: u16, range: Range<i64>| {
            let written = Some((class, range.clone()));
            if written != last {
                tables.overwrite(class, range);
                last = written;
            }
        };
        let mut done = 0;
        while done < n {
            let is_ready = |&pe: &u32| twins.is_ready(Place(planes.at(pe)));
            let ready = (pe + done..pe + n).take_while(is_ready).count();
            if ready > 0 {
                let first = Place(planes.at(pe + done));
                twins.move_all((first, ready), planes, &mut written).map_err(|_| Stop::Unfit)?;
            }
            done += ready.max(1) as u32;
        }
        Ok(())
    }

    /// Where the claim ends that begins at a group's step, if its code may be passed over: by all PEs, since those that do send nothing.
    fn end_of_claim(&self, group: &Group, claim: u32) -> Option<u32> {
        let may = self.planes.is_some() && !self.run_claims.contains(&claim);
        may.then(|| self.flows[usize::from(group.class)].passes.get(&group.step).copied()).flatten()
    }

    /// The claims of which some code may not be passed over.
    pub(super) fn claims_to_run(&self) -> BTreeSet<u32> {
        let mut claims = BTreeSet::new();
        for (class, flow) in self.shared.classes.iter().zip(&self.flows) {
            for (at, step) in (0..).zip(&class.tasks[0].steps) {
                if let Step::ClaimBegin { claim, .. } = step
                    && !flow.passes.contains_key(&at)
                {
                    claims.insert(*claim);
                }
            }
        }
        claims
    }

    /// PEs side by side have begun a claim: where all of a group have, those go on that wait at its end.
    fn wake_groups(&mut self, pe: u32, n: u32) {
        let (Some(planes), Some(twins)) = (&self.planes, &self.twins) else { return };
        let width = self.lanes.width;
        let mut last = None;
        for at in (pe..pe + n).map(|pe| Place(planes.at(pe))) {
            let Some(group) = twins.group(at).filter(|group| last.as_ref() != Some(group)) else { continue };
            if twins.is_ready(at) {
                for y in group.y..group.y + group.height {
                    self.schedule.wake(u32::from(y) * width + u32::from(group.x), group.width.into());
                }
            }
            last = Some(group);
        }
    }

    /// All members end a claim; without time each one as soon as its group has begun it.
    pub(super) fn end_claim(&mut self, mut group: Group) -> Result<Option<Group>, Stop> {
        group.is_claimed = false;
        if self.planes.is_some() {
            return self.each_member(group, Self::end_claim_together);
        }
        for pe in group.members.pes() {
            let Some(twins) = &mut self.twins else { continue };
            let state = &mut self.band.pes[pe as usize];
            state.lay_out();
            state.operator = self.clocks.operator(pe);
            let written = twins.end(state).map_err(|_| Stop::Unfit)?;
            state.operator = None;
            self.tables.overwrite(group.class, written.start as i64..written.end as i64);
        }
        group.step += 1;
        Ok(Some(group))
    }

    /// Ends a claim in PEs side by side, as many as are alike in that they can or have to wait.
    fn end_claim_together(&mut self, group: &Group, pe: u32, n: u32) -> Result<(u32, Outcome), Stop> {
        let (Some(twins), Some(planes)) = (&mut self.twins, &mut self.planes) else {
            return Ok((n, Outcome::Done));
        };
        let is_ready = twins.is_ready(Place(planes.at(pe)));
        let mut alike = 0;
        while alike < n {
            let at = Place(planes.at(pe + alike));
            if twins.is_ready(at) != is_ready {
                break;
            }
            alike += twins.alike(at, (n - alike) as usize) as u32;
        }
        if !is_ready {
            return Ok((alike, Outcome::Waits));
        }
        let mut done = 0;
        while done < alike {
            let pe = pe + done;
            let (at, most) = (Place(planes.at(pe)), planes.beside(pe, alike - done));
            let n = twins.alike(at, most as usize);
            done += n as u32;
            let operator = self.clocks.operator(pe).map(|inside| inside.operator);
            let ended = twins.end_with((at, n), planes.memory(pe), operator).map_err(|_| Stop::Unfit)?;
            let Some(ended) = ended else { continue };
            let written = match ended.given {
                Given::Tile(address, columns, tile) => planes.write_floats((pe, n), address, columns, tile),
                Given::Elements(bytes, elements) => planes.write_elements(pe, bytes, elements),
            };
            let written = written.ok_or(Stop::Unfit)?;
            self.tables.overwrite(group.class, written.start as i64..written.end as i64);
        }
        Ok((alike, Outcome::Done))
    }
}

/// Whether the addresses of tiles may differ from member to member.
fn may_differ(group: &Group, tiles: &[(Number, i32); 3]) -> bool {
    tiles.iter().any(|(base, _)| group.is_varying(base.slot))
}
