//! Steps of the code, done for all members of a group at once.

use super::group::Group;
use super::line::Line;
use super::liveness::bit;
use super::members::Members;
use super::tables::{self, Entry};
use super::{Groups, Stop};
use crate::machine::decode::Step;
use crate::machine::operand::Number;
use crate::machine::pe::Pe;
use crate::machine::steps;
use std::collections::BTreeMap;
use waferloom_fabric::{Compare, Dtype};

/// Steps that a group does at one go; then it is seen whether the run is to be stopped.
pub(super) const MOST_STEPS: u32 = 4096;

impl Groups<'_> {
    /// Lets a group go on until it parts, waits, ends, or another one has to catch up.
    pub(super) fn go(&mut self, mut group: Group) -> Result<(), Stop> {
        let classes = self.shared.classes;
        let steps = &classes[usize::from(group.class)].tasks[0].steps;
        for _ in 0..MOST_STEPS {
            if self.goes_in_blocks(&group) {
                return self.go_in_blocks(&group);
            }
            let Some(step) = steps.get(group.step as usize) else { return Err(Stop::Unfit) };
            if !self.put_off.is_empty() && !Self::can_wait_behind(&group, step) {
                self.catch_up(&group);
            }
            let Some(rest) = self.step(group, step)? else { return Ok(()) };
            group = rest;
            let joins = &self.flows[usize::from(group.class)].joins;
            let meets = joins.get(group.step as usize) == Some(&true) && self.schedule.has_before(&group.place());
            let gathers = self.repeats.gathers_at(group.class, group.step) || self.alike.gathers_at(&group);
            if meets || gathers {
                break;
            }
        }
        self.catch_up(&group);
        self.go_on(group);
        Ok(())
    }

    /// Does a step; gives the group behind it, or nothing when there is none that goes on at once as a whole.
    pub(super) fn step(&mut self, mut group: Group, step: &Step) -> Result<Option<Group>, Stop> {
        let machine = self.shared.machine;
        if matches!(step, Step::LoopEnter { .. }) {
            self.enter_watch(&mut group);
        }
        if self.repeats.is_watching() {
            self.watch_step(&mut group, step);
        }
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
                self.begin_claim(&mut group, *claim, tiles)?;
                return Ok(Some(group));
            }
            Step::ClaimEnd => return self.end_claim(group),
            Step::SendControl { queue, control, .. } => return self.send_control(group, *queue, *control),
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
        if let Some(numbers) = same(&group, numbers) {
            group.step = if compare.holds(numbers[0], numbers[1]) { group.step + 1 } else { otherwise };
            return Some(group);
        }
        let (mut then, mut other) = (Members::default(), Members::default());
        for (first, count) in group.members.in_rows(self.lanes.width) {
            let mut done = 0;
            while done < count {
                let (pe, mut n) = (first + done, count - done);
                let [a, b] = numbers.map(|number| self.along(&group, pe, number, &mut n));
                let part = if holds_along(compare, a, b, &mut n) { &mut then } else { &mut other };
                part.push(pe, n);
                done += n;
            }
        }
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
        let mut parts: BTreeMap<i32, Members> = BTreeMap::new();
        for pe in group.members.pes() {
            parts.entry(self.value(&group, pe, count).max(0)).or_default().push(pe, 1);
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

    /// The same at members side by side.
    fn along(&mut self, group: &Group, pe: u32, number: Number, n: &mut u32) -> Line {
        if group.is_varying(number.slot) {
            self.registers.along(number.slot, pe, n)
        } else {
            Line::flat(number.get(&group.slots).into())
        }
    }

    fn scalar(&mut self, group: &mut Group, dst: u32, values: [Number; 2], compute: impl Fn([i32; 2]) -> i32) {
        if let Some(values) = same(group, values) {
            return set(group, dst, compute(values));
        }
        for (first, count) in group.members.in_rows(self.lanes.width) {
            let mut done = 0;
            while done < count {
                let (pe, mut n) = (first + done, count - done);
                let lines = values.map(|value| self.along(group, pe, value, &mut n));
                if lines.iter().any(|line| line.slope != 0) {
                    n = 1;
                }
                let result = compute(lines.map(|line| line.at as i32));
                self.registers.set(dst, pe, n, Line::flat(result.into()));
                done += n;
            }
        }
        group.varies |= bit(dst);
        group.unknown &= !bit(dst);
    }

    fn load(&mut self, group: &mut Group, dst: u32, dtype: Dtype, base: Number, offset: i32) -> Result<(), Stop> {
        if self.is_lent {
            // What is loaded is looked up in all PEs of a class.
            self.band.pes.iter_mut().for_each(Pe::lay_out);
            self.is_lent = false;
        }
        if let Some([base, _]) = same(group, [base; 2]) {
            let (address, bytes) = (i64::from(base) + i64::from(offset), dtype.bytes());
            self.watch_load(group.class, address, bytes);
            let entry =
                self.table_entry(group.class, address, bytes).or_else(|| self.known_entry(group, address, bytes));
            if let Some(entry) = entry
                && self.load_entry(group, dst, &entry)
            {
                self.alike.note_table((group.class, address, bytes), entry);
                return Ok(());
            }
        }
        let mut all = None;
        let (mut differ, mut unknown) = (false, false);
        for pe in group.members.pes() {
            let address = i64::from(self.value(group, pe, base)) + i64::from(offset);
            self.watch_load(group.class, address, dtype.bytes());
            let state = &self.band.pes[pe as usize];
            let bits = match &mut self.planes {
                Some(planes) => planes.read(pe, address, dtype.bytes()),
                None => state.read(address, dtype.bytes()),
            };
            let bits = bits.ok_or(Stop::Unfit)?;
            self.alike.note_load(pe, address as usize, dtype.bytes() as usize);
            if self.shared.without_numbers {
                let (start, bytes) = (address as usize, dtype.bytes() as usize);
                unknown |= !self.all_know(group.class, start, bytes)
                    && state.unknown.any(start, bytes)
                    && !self.marks.get(usize::from(group.class)).is_some_and(|marks| marks.is_untouched(start, bytes));
            }
            let number = bits as i32;
            differ |= *all.get_or_insert(number) != number;
            self.loaded.push(number);
        }
        let numbers = std::mem::take(&mut self.loaded);
        if differ {
            for (pe, &number) in group.members.pes().zip(&numbers) {
                self.registers.set(dst, pe, 1, Line::flat(number.into()));
            }
            group.varies |= bit(dst);
        } else if let Some(number) = all {
            set(group, dst, number);
        }
        self.loaded = numbers;
        self.loaded.clear();
        self.alike.spoil(unknown);
        // Code may load what it does not use.
        group.unknown = if unknown { group.unknown | bit(dst) } else { group.unknown & !bit(dst) };
        Ok(())
    }

    /// What all PEs of a class have at an address of a table, if they know it.
    fn table_entry(&mut self, class: u16, address: i64, bytes: u32) -> Option<Entry> {
        let start = usize::try_from(address).ok()?;
        if self.planes.is_some() {
            // The PEs themselves have no constants there.
            return None;
        }
        if self.shared.without_numbers && !self.all_know(class, start, bytes as usize) {
            return None;
        }
        self.tables.entry(class, address, bytes, (&self.band.pes, self.lanes.width))
    }

    /// Where time and numbers are worked out apart: what PEs have elsewhere, if they know it. When most of a class load it, others may as well.
    fn known_entry(&mut self, group: &Group, address: i64, bytes: u32) -> Option<Entry> {
        let (class, start, size) = (group.class, usize::try_from(address).ok()?, bytes as usize);
        if !self.shared.without_numbers && self.planes.is_none() {
            return None;
        }
        let marked = self.all_know(class, start, size)
            || self.marks.get(usize::from(class)).is_some_and(|marks| marks.is_untouched(start, size));
        let (pes, width, planes) = (&self.band.pes, self.lanes.width, &mut self.planes);
        let are_most = 2 * group.members.count() > self.class_sizes[usize::from(class)];
        self.tables.other_entry((class, start, bytes), || {
            if !are_most {
                return None;
            }
            if let Some(planes) = planes {
                planes.ask_for(address..address + i64::from(bytes));
                return tables::look_up_each(class, (pes, width), |pe| planes.memory(pe).read(address, bytes));
            }
            let knows = |pe: &Pe| pe.class != Some(class) || !pe.unknown.any(start, size);
            let all_know = marked || pes.iter().all(knows);
            all_know.then(|| tables::look_up(class, &[start], bytes, (pes, width)).pop().flatten()).flatten()
        })
    }

    /// Loads what has been looked up for all PEs of the class; says whether it could.
    fn load_entry(&mut self, group: &mut Group, dst: u32, entry: &Entry) -> bool {
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        for (first, count) in group.members.in_rows(self.lanes.width) {
            let mut at = entry.partition_point(|&(start, n, _)| start + n <= first);
            let mut pe = first;
            while pe < first + count {
                let Some(&(start, n, number)) = entry.get(at).filter(|(start, ..)| *start <= pe) else { return false };
                let here = (start + n).min(first + count) - pe;
                found.push((pe, here, number));
                (pe, at) = (pe + here, at + 1);
            }
        }
        let all = found.first().map(|&(_, _, number)| number);
        if found.iter().all(|&(_, _, number)| Some(number) == all) {
            set(group, dst, all.map_or(0, |number| number.at as i32));
        } else {
            for &(pe, n, number) in &found {
                self.registers.set(dst, pe, n, number);
            }
            group.varies |= bit(dst);
        }
        self.found = found;
        group.unknown &= !bit(dst);
        true
    }

    /// Whether every PE of a class knows what lies there, as far as that has been worked out.
    fn all_know(&self, class: u16, start: usize, bytes: usize) -> bool {
        self.marks.get(usize::from(class)).is_some_and(|marks| marks.all_know(start, bytes))
    }

    fn store(&mut self, group: &Group, src: Number, dtype: Dtype, base: Number, offset: i32) -> Result<(), Stop> {
        self.repeats.written += 1;
        let mut last = None;
        for pe in group.members.pes() {
            let address = i64::from(self.value(group, pe, base)) + i64::from(offset);
            let bits = self.value(group, pe, src) as u32;
            if last != Some(address) {
                self.tables.overwrite(group.class, address..address + i64::from(dtype.bytes()));
                last = Some(address);
            }
            if let Some(planes) = &mut self.planes {
                planes.write(pe, address, dtype.bytes(), bits).ok_or(Stop::Unfit)?;
                continue;
            }
            let state = &mut self.band.pes[pe as usize];
            state.lay_out();
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

    fn mark(&mut self, group: &Group, operator: u32, plus: Number) -> Result<(), Stop> {
        for (first, n) in group.members.in_rows(self.lanes.width) {
            let operators: Vec<u32> = (first..first + n)
                .map(|pe| {
                    let operator = i64::from(operator) + i64::from(self.value(group, pe, plus));
                    u32::try_from(operator).ok().filter(|&index| (index as usize) < self.shared.operators)
                })
                .collect::<Option<_>>()
                .ok_or(Stop::Unfit)?;
            let spans = &mut self.band.spans;
            let next = |pe: u32| operators.get((pe - first) as usize).copied();
            self.clocks.change(first, n, next, |operator, span| spans[operator as usize].join(&span));
        }
        Ok(())
    }
}

/// Numbers that are the same in all members of a group; `None` where they may differ.
pub(super) fn same(group: &Group, numbers: [Number; 2]) -> Option<[i32; 2]> {
    let [a, b] = numbers.map(|number| (!group.is_varying(number.slot)).then(|| number.get(&group.slots)));
    Some([a?, b?])
}

/// Whether a comparison holds between numbers side by side; `n` becomes for how many it is the same.
fn holds_along(compare: Compare, a: Line, b: Line, n: &mut u32) -> bool {
    match compare {
        Compare::Eq => a.equals(b, n),
        Compare::Ne => !a.equals(b, n),
        Compare::Lt => a.is_below(b, n),
        Compare::Le => !b.is_below(a, n),
    }
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
