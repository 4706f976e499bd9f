//! Which programs can be run by groups: those whose outcome does not depend on the order in which PEs are looked at.

use super::super::nodes::{NONE, Nodes};
use crate::machine::band::Band;
use crate::machine::decode::{ClassCode, Step};
use crate::machine::operand::Access;
use crate::machine::steps::Shared;
use waferloom_fabric::TaskKind;

/// Whether all PEs run one task without threads, on ways on which each queue has one writer at a time.
///
/// Such a program is a Kahn process network: each PE is a sequential process, each colour a channel, and what comes out, and
/// when, does not depend on who is simulated first.
pub(super) fn is_eligible(shared: &Shared<'_>, band: &Band, nodes: &Nodes) -> bool {
    // A bit for each slot.
    let slots = band.pes.iter().map(|pe| pe.slots.len()).max().unwrap_or(0);
    slots <= u128::BITS as usize
        && band.routers.len() < NONE as usize
        && shared.controls.iter().all(|control| control.task.is_none())
        && shared.classes.iter().all(is_sequential)
        && nodes.list.iter().all(|node| node.determinate && !node.filtered)
}

/// Whether a class has a single task, which runs from the first cycle to its end and does one thing after another.
fn is_sequential(class: &ClassCode) -> bool {
    let [task] = class.tasks.as_slice() else { return false };
    let started = class.activated == 1 << task.id && class.blocked == 0;
    started && task.kind == TaskKind::Local && task.steps.iter().all(is_plain)
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
