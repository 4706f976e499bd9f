//! Which programs can be run by groups: those whose outcome does not depend on the order in which PEs are looked at.

use super::super::nodes::{NONE, Nodes};
use crate::machine::band::Band;
use crate::machine::decode::{ClassCode, Step};
use crate::machine::operand::Access;
use crate::machine::steps::Shared;
use waferloom_fabric::TaskKind;

/// Whether all PEs run one task without threads, from the first cycle to its end.
pub(super) fn is_sequential(shared: &Shared<'_>) -> bool {
    let is_plain_class = |class: &ClassCode| {
        let [task] = class.tasks.as_slice() else { return false };
        let is_started = Some(class.activated) == 1u64.checked_shl(task.id.into()) && class.blocked == 0;
        is_started && task.kind == TaskKind::Local && task.steps.iter().all(is_plain)
    };
    shared.controls.iter().all(|control| control.task.is_none()) && shared.classes.iter().all(is_plain_class)
}

/// Whether each queue has one writer at a time, in an order that the program decides.
///
/// If PEs are sequential as well, the program is a Kahn process network: each PE is a process, each colour a channel, and what
/// comes out, and when, does not depend on who is simulated first.
pub(super) fn is_determinate(shared: &Shared<'_>, band: &Band) -> bool {
    // A group has a bit for each slot.
    let slots = band.pes.iter().map(|pe| pe.slots.len()).max().unwrap_or(0);
    slots <= u128::BITS as usize
        && band.routers.len() < NONE as usize
        && shared.routes.iter().all(|route| route.filter.is_none())
        && Nodes::are_determinate(shared, band)
}

fn is_plain(step: &Step) -> bool {
    match step {
        Step::Vector(vector) => {
            let fifo = |access: &Access| matches!(access, Access::Fifo { .. });
            vector.run_async.is_none()
                && !fifo(&vector.dst)
                && !vector.srcs.iter().any(fifo)
                && !reads_twice(&vector.srcs)
        }
        Step::ReadClock { .. } | Step::Activate(_) | Step::Block(_) | Step::Unblock(_) | Step::SetPosition { .. } => {
            false
        }
        Step::Scalar { .. }
        | Step::Load { .. }
        | Step::Store { .. }
        | Step::LoopEnter { .. }
        | Step::LoopNext { .. }
        | Step::Branch { .. }
        | Step::Jump(_)
        | Step::SendControl { .. }
        | Step::Mark { .. }
        | Step::ClaimBegin { .. }
        | Step::ClaimEnd
        | Step::End => true,
    }
}

/// Whether two sources take from the same queue.
fn reads_twice(srcs: &[Access]) -> bool {
    let queue = |access: &Access| if let Access::FabIn { queue, .. } = access { Some(*queue) } else { None };
    srcs.iter().enumerate().any(|(i, a)| queue(a).is_some() && srcs[..i].iter().any(|b| queue(a) == queue(b)))
}
