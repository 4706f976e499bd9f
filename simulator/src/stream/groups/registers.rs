//! Registers and parameters in which the members of a group differ.

use super::liveness::bit;
use crate::machine::pe::Pe;

/// The numbers of each PE in slots that differ. Each slot's stand together, since code goes through the PEs slot by slot.
#[derive(Debug)]
pub(super) struct Registers {
    /// By slot and PE; nothing as long as no PE differs from others there.
    slots: Vec<Vec<i32>>,
    pes: usize,
    /// The slots of all parameters, a bit each.
    pub(super) params: u128,
}

impl Registers {
    /// Those of PEs before the first cycle: parameters have their numbers, from slot `first_param` on.
    pub(super) fn new(pes: &[Pe], first_param: usize) -> Self {
        let count = pes.iter().map(|pe| pe.slots.len()).max().unwrap_or(0);
        let numbers = |slot: usize| pes.iter().map(|pe| pe.slots.get(slot).copied().unwrap_or(0)).collect();
        let slots = (0..count).map(|slot| if slot < first_param { Vec::new() } else { numbers(slot) }).collect();
        let params = (first_param..count).fold(0, |set, slot| set | bit(slot as u32));
        Self { slots, pes: pes.len(), params }
    }

    /// What a slot of a PE holds.
    pub(super) fn get(&self, slot: u32, pe: u32) -> i32 {
        self.slots.get(slot as usize).and_then(|numbers| numbers.get(pe as usize)).copied().unwrap_or(0)
    }

    /// Puts a number into a slot of a PE.
    pub(super) fn set(&mut self, slot: u32, pe: u32, number: i32) {
        let Some(numbers) = self.slots.get_mut(slot as usize) else { return };
        if numbers.is_empty() {
            numbers.resize(self.pes, 0);
        }
        if let Some(place) = numbers.get_mut(pe as usize) {
            *place = number;
        }
    }

    /// Slots of parameters in which some PEs differ.
    pub(super) fn differing(&self, members: &[u32]) -> u128 {
        let mut differing = 0;
        for slot in each(self.params) {
            let mut numbers = members.iter().map(|&pe| self.get(slot, pe));
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
        let mut registers = Registers::new(&pes, 2);
        assert_eq!(registers.params, 0b1100);
        assert_eq!((registers.differing(&[0, 1, 2]), registers.differing(&[1, 2])), (0b1000, 0));
        registers.set(1, 2, -7);
        assert_eq!([0, 1, 2].map(|pe| registers.get(1, pe)), [0, 0, -7]);
        assert_eq!(each(0b1010).collect::<Vec<_>>(), [1, 3]);
    }
}
