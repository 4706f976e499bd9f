//! Registers and parameters in which the members of a group differ.

use super::line::Line;
use super::liveness::bit;
use super::members::Members;
use super::strip::Strip;
use crate::machine::pe::Pe;

/// The numbers of each PE in slots that differ. Each slot's stand together, since code goes through the PEs slot by slot.
#[derive(Debug)]
pub(super) struct Registers {
    /// By slot and PE; nothing as long as no PE differs from others there.
    slots: Vec<Option<Strip<Line>>>,
    pes: usize,
    /// PEs in a row.
    pub(super) width: u32,
    /// The slots of all parameters, a bit each.
    pub(super) params: u128,
}

impl Registers {
    /// Those of PEs in rows of `width` before the first cycle: parameters have their numbers, from slot `first_param` on.
    pub(super) fn new(pes: &[Pe], width: u32, first_param: usize) -> Self {
        let count = pes.iter().map(|pe| pe.slots.len()).max().unwrap_or(0);
        let number = |pe: &Pe, slot: usize| Line::flat(pe.slots.get(slot).copied().unwrap_or(0).into());
        let numbers = |slot: usize| Strip::new(pes.iter().map(|pe| number(pe, slot)).collect(), width);
        let slots = (0..count).map(|slot| (slot >= first_param).then(|| numbers(slot))).collect();
        let params = (first_param..count).fold(0, |set, slot| set | bit(slot as u32));
        Self { slots, pes: pes.len(), width, params }
    }

    /// What a slot of a PE holds.
    pub(super) fn get(&self, slot: u32, pe: u32) -> i32 {
        self.slots.get(slot as usize).and_then(Option::as_ref).map_or(0, |numbers| numbers.get(pe).at as i32)
    }

    /// The same of PEs side by side.
    pub(super) fn along(&mut self, slot: u32, pe: u32, n: &mut u32) -> Line {
        let numbers = self.slots.get_mut(slot as usize).and_then(Option::as_mut);
        numbers.map_or(Line::flat(0), |numbers| numbers.piece(pe, n))
    }

    /// Puts numbers into a slot of PEs side by side.
    pub(super) fn set(&mut self, slot: u32, pe: u32, n: u32, numbers: Line) {
        let (pes, width) = (self.pes, self.width);
        let Some(of_slot) = self.slots.get_mut(slot as usize) else { return };
        of_slot.get_or_insert_with(|| Strip::uniform(Line::flat(0), pes, width)).set(pe, n, numbers);
    }

    /// Whether PEs have the same numbers as others in some slots.
    pub(super) fn are_alike(&mut self, slots: u128, pes: [u32; 2], n: u32) -> bool {
        let same = |a: &Line, b: &Line, n: u32| a.at == b.at && (n == 1 || a.slope == b.slope);
        each(slots).all(|slot| {
            let numbers = self.slots.get_mut(slot as usize).and_then(Option::as_mut);
            numbers.is_none_or(|numbers| numbers.agree(pes, n, same))
        })
    }

    /// Gives PEs the numbers of others in some slots.
    pub(super) fn follow(&mut self, slots: u128, pes: [u32; 2], n: u32) {
        for slot in each(slots) {
            if let Some(numbers) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) {
                numbers.copy(pes, n, |number| number);
            }
        }
    }

    /// How many PEs side by side have the same numbers in all of some slots.
    pub(super) fn alike(&mut self, slots: u128, pe: u32, n: &mut u32) {
        for slot in each(slots) {
            if self.along(slot, pe, n).slope != 0 {
                *n = 1;
            }
        }
    }

    /// Slots of parameters in which some PEs differ.
    pub(super) fn differing(&self, members: &Members) -> u128 {
        let mut differing = 0;
        for slot in each(self.params) {
            let mut numbers = members.pes().map(|pe| self.get(slot, pe));
            let first = numbers.next();
            if numbers.any(|number| Some(number) != first) {
                differing |= bit(slot);
            }
        }
        differing
    }
}

/// The slots of a set.
pub(super) fn each(mut set: u128) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let slot = set.trailing_zeros();
        set &= set.checked_sub(1)?;
        Some(slot)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_differ_where_some_member_has_another_number() {
        // Slot 0, a register, and two parameters.
        let mut slots = [[0, 0, 5, 1], [0, 0, 5, 2], [0, 0, 5, 2]];
        let pes = slots.each_mut().map(|slots| Pe { slots, ..Pe::default() });
        let mut registers = Registers::new(&pes, 3, 2);
        assert_eq!(registers.params, 0b1100);
        assert_eq!((registers.differing(&(0..3).collect()), registers.differing(&(1..3).collect())), (0b1000, 0));
        registers.set(1, 2, 1, Line::flat(-7));
        assert_eq!([0, 1, 2].map(|pe| registers.get(1, pe)), [0, 0, -7]);
        // PEs 1 and 2 have the same in slot 3; in slot 1 PE 2 alone differs.
        let mut n = 2;
        registers.alike(0b1000, 1, &mut n);
        assert_eq!(n, 2);
        registers.alike(0b1010, 1, &mut n);
        assert_eq!(n, 1);
        assert_eq!(each(0b1010).collect::<Vec<_>>(), [1, 3]);
    }
}
