//! Steps of the code, done for all members of a group at once.

use super::group::Group;
use super::liveness::bit;
use super::{Groups, Stop};
use crate::machine::decode::Step;
use crate::machine::operand::Number;
use crate::machine::steps;
use std::collections::BTreeMap;
use waferloom_fabric::{Compare, Dtype};

/// Steps that a group does at one go; then it is seen whether the run is to be stopped.
const MOST_STEPS: u32 = 4096;

impl Groups<'_> {
    /// Lets a group go on until it parts, waits, ends, or another one has to catch up.
    pub(super) fn go(&mut self, mut group: Group) -> Result<(), Stop> {
        let classes = self.shared.classes;
        let steps = &classes[usize::from(group.class)].tasks[0].steps;
        for _ in 0..MOST_STEPS {
            let Some(step) = steps.get(group.step as usize) else { return Err(Stop::Unfit) };
            let Some(rest) = self.step(group, step)? else { return Ok(()) };
            group = rest;
            let joins = &self.flows[usize::from(group.class)].joins;
            if joins.get(group.step as usize) == Some(&true) && self.schedule.has_before(&group.place()) {
                self.go_on(group);
                return Ok(());
            }
        }
        self.go_on(group);
        Ok(())
    }

    /// Does a step; gives the group behind it, or nothing when there is none that goes on at once as a whole.
    fn step(&mut self, mut group: Group, step: &Step) -> Result<Option<Group>, Stop> {
        let machine = self.shared.machine;
        let needs_unknown = group.unknown & self.flows[usize::from(group.class)].reads[group.step as usize] != 0;
        match step {
            Step::Scalar { dst, .. } if needs_unknown => group.unknown |= bit(*dst),
            _ if needs_unknown => return Err(Stop::Unfit),
            Step::Scalar { op, dst, a, b } => {
                self.scalar(&mut group, *dst, [*a, *b], |[a, b]| steps::scalar(*op, a, b));
            }
            Step::Load { dst, dtype, base, offset } => self.load(&mut group, *dst, *dtype, *base, *offset)?,
            Step::Store { src, dtype, base, offset } => self.store(&group, *src, *dtype, *base, *offset)?,
            Step::Jump(to) => {
                group.step = *to;
                return Ok(Some(group));
            }
            Step::Branch { compare, a, b, otherwise } => {
                return Ok(self.branch(group, *compare, [*a, *b], *otherwise));
            }
            Step::LoopEnter { counter, count, exit } => return Ok(self.enter_loop(group, *counter, *count, *exit)),
            Step::LoopNext { counter, body } => {
                group.worked += u64::from(machine.branch_cycles);
                next_turn(&mut group, *counter, *body).ok_or(Stop::Unfit)?;
                return Ok(Some(group));
            }
            Step::Mark { operator, plus } => {
                self.settle(&mut group);
                self.mark(&group, *operator, *plus)?;
                group.step += 1;
                return Ok(Some(group));
            }
            Step::ClaimBegin { claim, tiles } => {
                self.begin_claim(&group, *claim, tiles)?;
                group.step += 1;
                return Ok(Some(group));
            }
            Step::ClaimEnd => {
                self.end_claim(&group)?;
                group.step += 1;
                return Ok(Some(group));
            }
            Step::SendControl { queue, control, payload } => {
                return self.send_control(group, *queue, *control, *payload);
            }
            Step::Vector(vector) => return self.vector(group, vector),
            Step::End => {
                self.settle(&mut group);
                return Ok(None);
            }
            // Programs with these are not eligible.
            Step::ReadClock { .. }
            | Step::Activate(_)
            | Step::Block(_)
            | Step::Unblock(_)
            | Step::SetPosition { .. } => return Err(Stop::Unfit),
        }
        group.worked += u64::from(machine.scalar_cycles);
        group.step += 1;
        Ok(Some(group))
    }

    fn branch(&mut self, mut group: Group, compare: Compare, numbers: [Number; 2], otherwise: u32) -> Option<Group> {
        group.worked += u64::from(self.shared.machine.branch_cycles);
        let holds = |[a, b]: [i32; 2]| compare.holds(a, b);
        if let Some(numbers) = same(&group, numbers) {
            group.step = if holds(numbers) { group.step + 1 } else { otherwise };
            return Some(group);
        }
        let holds = |pe: &u32| holds(numbers.map(|number| self.value(&group, *pe, number)));
        let (then, other): (Vec<u32>, Vec<u32>) = group.members.iter().partition(|pe| holds(pe));
        self.settle(&mut group);
        self.go_on(Group { step: group.step + 1, ..group.with(then) });
        self.go_on(Group { step: otherwise, ..group.with(other) });
        None
    }

    fn enter_loop(&mut self, mut group: Group, counter: u32, count: Number, exit: u32) -> Option<Group> {
        group.worked += u64::from(self.shared.machine.branch_cycles);
        if let Some([turns, _]) = same(&group, [count; 2]) {
            enter(&mut group, counter, turns, exit);
            return Some(group);
        }
        self.settle(&mut group);
        let mut parts: BTreeMap<i32, Vec<u32>> = BTreeMap::new();
        for &pe in &group.members {
            parts.entry(self.value(&group, pe, count).max(0)).or_default().push(pe);
        }
        for (turns, members) in parts {
            let mut part = group.with(members);
            enter(&mut part, counter, turns, exit);
            self.go_on(part);
        }
        None
    }

    /// A number at one member.
    pub(super) fn value(&self, group: &Group, pe: u32, number: Number) -> i32 {
        if !group.is_varying(number.slot) {
            return number.get(&group.slots);
        }
        // A number that is in a slot has nothing added.
        self.registers.get(number.slot, pe)
    }

    fn scalar(&mut self, group: &mut Group, dst: u32, values: [Number; 2], compute: impl Fn([i32; 2]) -> i32) {
        if let Some(values) = same(group, values) {
            return set(group, dst, compute(values));
        }
        for i in 0..group.members.len() {
            let pe = group.members[i];
            let result = compute(values.map(|value| self.value(group, pe, value)));
            self.registers.set(dst, pe, result);
        }
        group.varies |= bit(dst);
        group.unknown &= !bit(dst);
    }

    fn load(&mut self, group: &mut Group, dst: u32, dtype: Dtype, base: Number, offset: i32) -> Result<(), Stop> {
        let mut all = None;
        let (mut differ, mut unknown) = (false, false);
        for i in 0..group.members.len() {
            let pe = group.members[i];
            let address = i64::from(self.value(group, pe, base)) + i64::from(offset);
            let state = &self.band.pes[pe as usize];
            let bits = state.read(address, dtype.bytes()).ok_or(Stop::Unfit)?;
            if self.shared.without_numbers {
                let (start, bytes) = (address as usize, dtype.bytes() as usize);
                unknown |= !self.all_know(group.class, start, bytes) && state.unknown.any(start, bytes);
            }
            let number = bits as i32;
            differ |= *all.get_or_insert(number) != number;
            self.loaded.push(number);
        }
        let numbers = std::mem::take(&mut self.loaded);
        if differ {
            for (&pe, &number) in group.members.iter().zip(&numbers) {
                self.registers.set(dst, pe, number);
            }
            group.varies |= bit(dst);
        } else if let Some(number) = all {
            set(group, dst, number);
        }
        self.loaded = numbers;
        self.loaded.clear();
        // Code may load what it does not use.
        group.unknown = if unknown { group.unknown | bit(dst) } else { group.unknown & !bit(dst) };
        Ok(())
    }

    /// Whether every PE of a class knows what lies there, as far as that has been worked out.
    fn all_know(&self, class: u16, start: usize, bytes: usize) -> bool {
        self.marks.get(usize::from(class)).is_some_and(|marks| marks.all_know(start, bytes))
    }

    fn store(&mut self, group: &Group, src: Number, dtype: Dtype, base: Number, offset: i32) -> Result<(), Stop> {
        for &pe in &group.members {
            let address = i64::from(self.value(group, pe, base)) + i64::from(offset);
            let bits = self.value(group, pe, src) as u32;
            let state = &mut self.band.pes[pe as usize];
            state.write(address, dtype.bytes(), bits).ok_or(Stop::Unfit)?;
            if self.shared.without_numbers {
                let (start, bytes) = (address as usize, dtype.bytes() as usize);
                state.unknown.set(start, bytes, false);
                if let Some(marks) = self.marks.get_mut(usize::from(group.class)) {
                    marks.doubt_word(start, bytes);
                }
            }
        }
        Ok(())
    }

    fn begin_claim(&mut self, group: &Group, claim: u32, tiles: &[(Number, i32); 3]) -> Result<(), Stop> {
        for &pe in &group.members {
            let address = |&(base, offset): &(Number, i32)| i64::from(self.value(group, pe, base)) + i64::from(offset);
            let tiles = [&tiles[0], &tiles[1], &tiles[2]].map(address);
            if let Some(twins) = &mut self.twins {
                twins.begin(&mut self.band.pes[pe as usize], claim, tiles).map_err(|_| Stop::Unfit)?;
            }
        }
        Ok(())
    }

    fn end_claim(&mut self, group: &Group) -> Result<(), Stop> {
        for &pe in &group.members {
            if let Some(twins) = &mut self.twins {
                let state = &mut self.band.pes[pe as usize];
                state.operator = self.clocks.operator(pe);
                twins.end(state).map_err(|_| Stop::Unfit)?;
                state.operator = None;
            }
        }
        Ok(())
    }

    fn mark(&mut self, group: &Group, operator: u32, plus: Number) -> Result<(), Stop> {
        for &pe in &group.members {
            let operator = i64::from(operator) + i64::from(self.value(group, pe, plus));
            let known = u32::try_from(operator).ok().filter(|&index| (index as usize) < self.shared.operators);
            let operator = known.ok_or(Stop::Unfit)?;
            self.close_span(pe);
            self.clocks.enter(pe, operator);
        }
        Ok(())
    }
}

/// Numbers that are the same in all members of a group; `None` where they may differ.
fn same(group: &Group, numbers: [Number; 2]) -> Option<[i32; 2]> {
    let [a, b] = numbers.map(|number| (!group.is_varying(number.slot)).then(|| number.get(&group.slots)));
    Some([a?, b?])
}

/// Gives a slot the same number in all members.
fn set(group: &mut Group, slot: u32, number: i32) {
    if let Some(place) = group.slots.get_mut(slot as usize) {
        *place = number;
    }
    group.varies &= !bit(slot);
    group.unknown &= !bit(slot);
}

/// Enters a loop, or passes over one without turns.
fn enter(group: &mut Group, counter: u32, turns: i32, exit: u32) {
    if turns > 0 {
        group.loops.push([group.step, 0, turns as u32]);
        set(group, counter, 0);
        group.step += 1;
    } else {
        group.step = exit;
    }
}

/// Ends a turn of a loop; `None` outside of any.
fn next_turn(group: &mut Group, counter: u32, body: u32) -> Option<()> {
    let [_, done, turns] = group.loops.last_mut()?;
    *done += 1;
    if *done < *turns {
        let done = *done;
        set(group, counter, done as i32);
        group.step = body;
    } else {
        group.loops.pop();
        group.step += 1;
    }
    Some(())
}
