//! Relayouts that were worked out once: the layers of a model ask for the same ones.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use waferloom_fabric::{Distribution, Dtype, Machine};
use waferloom_kernels::relayout::{self, Relayout, TooLarge};

/// What a relayout follows from: source, destination, the map of elements, and the type of the elements.
type Question = (Distribution, Distribution, Arc<[u32]>, Dtype);

/// All relayouts so far.
#[derive(Default)]
pub(crate) struct Relayouts {
    known: HashMap<Question, Rc<Relayout>>,
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
        let question = (source.clone(), target.clone(), map, dtype);
        if let Some(known) = self.known.get(&question) {
            return Ok(known.clone());
        }
        let made = Rc::new(relayout::plan(source, target, &question.2, dtype, machine)?);
        self.known.insert(question, made.clone());
        Ok(made)
    }
}
