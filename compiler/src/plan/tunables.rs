//! What of a plan is worth a search: the choices that the planner makes by estimates alone.

use super::{Algorithm, KernelChoice, Plan, StepKind};

/// A choice of the planner's that may be made otherwise; the program computes the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tunable {
    /// The number of stages; one of those that the planner has weighed.
    Stages(Vec<u16>),
    /// The kernel of a product that several could compute.
    Product {
        /// Name of the node.
        node: String,
        /// The kernels.
        algorithms: Vec<Algorithm>,
    },
}

impl Plan {
    /// The choices that this plan has left to estimates.
    pub fn tunables(&self) -> Vec<Tunable> {
        let mut stages: Vec<u16> = self.alternatives.iter().map(|alternative| alternative.stages).collect();
        stages.sort_unstable();
        stages.dedup();
        let product = |step: &super::Step| match &step.kind {
            StepKind::MatMul { choice: KernelChoice { algorithm, runner_up: Some((other, _)), .. }, .. } => {
                Some(Tunable::Product { node: step.name.clone(), algorithms: vec![*algorithm, *other] })
            }
            _ => None,
        };
        std::iter::once(Tunable::Stages(stages)).chain(self.steps().filter_map(product)).collect()
    }
}
