//! Numbers in registers that grow evenly from turn to turn of a loop, as the addresses of the weights of layers do: by how much, worked
//! out beside the numbers themselves.

use super::liveness::bit;
use waferloom_fabric::code::ScalarOp;

/// Slots of a group that hold another number in each turn of the loop that is watched, and what it grows by from one turn to the
/// next; modulo 2³², as numbers in registers are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Drift(Vec<(u32, i32)>);

impl Drift {
    /// What a slot grows by.
    pub(super) fn of(&self, slot: u32) -> i32 {
        self.0.iter().find(|&&(other, _)| other == slot).map_or(0, |&(_, growth)| growth)
    }

    /// Sets what a slot grows by.
    pub(super) fn set(&mut self, slot: u32, growth: i32) {
        self.0.retain(|&(other, _)| other != slot);
        if growth != 0 {
            self.0.push((slot, growth));
            self.0.sort_unstable();
        }
    }

    /// Takes in what grows in PEs that join: where it differs, the slot has to be one in which members differ.
    pub(super) fn join(&mut self, other: &Self) {
        for &(slot, growth) in &other.0 {
            if self.of(slot) == 0 {
                self.set(slot, growth);
            }
        }
    }

    /// Forgets the slots that are not in a set.
    pub(super) fn keep(&mut self, slots: u128) {
        self.0.retain(|&(slot, _)| slots & bit(slot) != 0);
    }

    /// The slots that grow, a bit each.
    pub(super) fn slots(&self) -> u128 {
        self.0.iter().fold(0, |set, &(slot, _)| set | bit(slot))
    }

    /// What slots hold so many turns later.
    pub(super) fn grow(&self, slots: &mut [i32], turns: u32) {
        for &(slot, growth) in &self.0 {
            if let Some(number) = slots.get_mut(slot as usize) {
                *number = number.wrapping_add(growth.wrapping_mul(turns as i32));
            }
        }
    }
}

/// What the result of a scalar instruction grows by, from its operands and what these grow by; `None` where it does not grow evenly.
pub(super) fn growth(op: ScalarOp, [a, b]: [i32; 2], grows: [i32; 2]) -> Option<i32> {
    match (op, grows) {
        (_, [0, 0]) => Some(0),
        (ScalarOp::Add, [x, y]) => Some(x.wrapping_add(y)),
        (ScalarOp::Sub, [x, y]) => Some(x.wrapping_sub(y)),
        (ScalarOp::Mul, [x, 0]) => Some(x.wrapping_mul(b)),
        (ScalarOp::Mul, [0, y]) => Some(a.wrapping_mul(y)),
        (ScalarOp::Shl, [x, 0]) => u32::try_from(b).ok().map(|shift| x.checked_shl(shift).unwrap_or(0)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::steps::scalar;
    use proptest::prelude::*;

    #[test]
    fn slots_grow_until_they_are_set_anew() {
        let mut drift = Drift::default();
        drift.set(3, 480);
        drift.set(1, 1);
        assert_eq!((drift.of(3), drift.of(2), drift.slots()), (480, 0, 0b1010));
        // Three turns later: 7 + 3, and 100 + 3 * 480.
        let mut slots = [0, 7, 5, 100];
        drift.grow(&mut slots, 3);
        assert_eq!(slots, [0, 10, 5, 1540]);
        drift.set(3, 0);
        drift.keep(0b100);
        assert_eq!(drift, Drift::default());
    }

    proptest! {
        /// What is said to grow evenly does so in every turn.
        #[test]
        fn results_grow_as_is_said(
            (a, b) in (any::<i32>(), prop_oneof![-40i32..40, any::<i32>()]),
            grows in (prop_oneof![Just(0), any::<i32>()], prop_oneof![Just(0), any::<i32>()]),
            turns in 0i32..20,
        ) {
            use ScalarOp::{Add, And, Div, Max, Min, Mul, Or, Rem, Shl, Shr, Sub, Xor};
            for op in [Add, Sub, Mul, Div, Rem, Min, Max, And, Or, Xor, Shl, Shr] {
                let Some(more) = growth(op, [a, b], [grows.0, grows.1]) else { continue };
                let at = |turn: i32| {
                    scalar(op, a.wrapping_add(grows.0.wrapping_mul(turn)), b.wrapping_add(grows.1.wrapping_mul(turn)))
                };
                prop_assert_eq!(at(turns), at(0).wrapping_add(more.wrapping_mul(turns)));
            }
        }
    }
}
