//! Relayouts that were worked out once: the layers of a model ask for the same ones.

use crate::view::known::Views;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use waferloom_fabric::{Distribution, Dtype, Machine};
use waferloom_kernels::relayout::{self, Aim, Relayout, TooLarge};

/// What a relayout follows from: source, destination, the map of elements, the type of the elements, and what it is to take little of.
type Question = (Distribution, Distribution, Map, Dtype, Aim);

/// A map of elements of which only some are hashed: that tells apart those that one model has.
#[derive(PartialEq, Eq)]
struct Map(Arc<[u32]>);

/// Elements of a map that are hashed, about.
const HASHED: usize = 64;

impl Hash for Map {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.len().hash(state);
        // An odd step meets all remainders of sizes that are powers of two.
        self.0.iter().step_by((self.0.len() / HASHED) | 1).for_each(|place| place.hash(state));
    }
}

/// All relayouts so far, and the views that they follow from.
#[derive(Default)]
pub(crate) struct Relayouts {
    pub(crate) views: Views,
    known: HashMap<Question, Rc<Relayout>>,
    /// What those of the plan at hand are to take little of.
    pub(crate) aim: Aim,
}

impl Relayouts {
    /// The relayout that [`relayout::plan`] gives; always for the same machine.
    pub(crate) fn plan(
        &mut self,
        source: &Distribution,
        target: &Distribution,
        map: Arc<[u32]>,
        dtype: Dtype,
        machine: &Machine,
    ) -> Result<Rc<Relayout>, TooLarge> {
        let mut question = (source.clone(), target.clone(), Map(map), dtype, Aim::Cycles);
        let is_for_both = |known: &&Rc<Relayout>| known.takes_little_memory(machine, dtype);
        let known = self.known.get(&question).filter(|known| self.aim == Aim::Cycles || is_for_both(known));
        question.4 = self.aim;
        if let Some(known) = known.or_else(|| self.known.get(&question)) {
            return Ok(known.clone());
        }
        let made = Rc::new(relayout::plan(source, target, &question.2.0, dtype, (machine, self.aim))?);
        self.known.insert(question, made.clone());
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waferloom_fabric::{Extent, Split};

    #[test]
    fn what_is_the_same_for_both_aims_is_worked_out_once() {
        // 16x16 elements turned around on 4x4 PEs take 512 bytes of working memory, 8x8 elements 128; little is a sixteenth of 4096.
        let machine = Machine { sram_bytes: 4096, ..Machine::builtin("wse2").expect("a built-in machine") };
        let grid = Extent { width: 4, height: 4 };
        let mut relayouts = Relayouts::default();
        let mut turned = |side: u32, aim| {
            let split = |dim| Some(Split { dim, block: side / 4 });
            let layout = Distribution { grid, shape: vec![side, side], x: split(1), y: split(0) };
            let map: Vec<u32> = (0..side * side).map(|i| i % side * side + i / side).collect();
            relayouts.aim = aim;
            relayouts.plan(&layout, &layout, map.into(), Dtype::F32, &machine).expect("small tiles")
        };
        assert!(Rc::ptr_eq(&turned(8, Aim::Cycles), &turned(8, Aim::Memory)));
        let (fast, small) = (turned(16, Aim::Cycles), turned(16, Aim::Memory));
        assert!(small.middle_bytes(Dtype::F32) < fast.middle_bytes(Dtype::F32));
        // What each aim gave stays.
        assert!(Rc::ptr_eq(&fast, &turned(16, Aim::Cycles)) && Rc::ptr_eq(&small, &turned(16, Aim::Memory)));
    }
}
