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
        let question = (source.clone(), target.clone(), Map(map), dtype, self.aim);
        if let Some(known) = self.known.get(&question) {
            return Ok(known.clone());
        }
        let made = Rc::new(relayout::plan(source, target, &question.2.0, dtype, (machine, self.aim))?);
        self.known.insert(question, made.clone());
        Ok(made)
    }
}
