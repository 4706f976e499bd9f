//! Steps of the main thread that concern nobody but its PE, one after the other without a look at anything else.

use super::Stream;
use super::chunk::MOST_AT_ONCE;
use super::pe::account;
use crate::machine::band::{Span, close_span};
use crate::machine::decode::{Step, TaskCode};
use crate::machine::element::Fault;
use crate::machine::pe::{Activity, InOperator, Pe, Running};
use crate::machine::{steps as execute, unknown};

impl Stream<'_> {
    /// Does such steps until there is another one, the limit is reached, or none are left to be done at this go; gives the time
    /// then. The PE has no asynchronous instruction at work.
    pub(super) fn straight(
        &mut self,
        pe: usize,
        tasks: &[TaskCode],
        mut time: u64,
        limit: u64,
        left: &mut u32,
    ) -> Result<u64, Fault> {
        let (shared, now, spans) = (&self.shared, self.now, &mut self.band.spans);
        let state = &mut self.band.pes[pe];
        let Some(Running { task, mut step }) = state.running.filter(|_| state.main.is_none()) else {
            return Ok(time);
        };
        let (startup, scalar) = (shared.machine.vector_startup_cycles, u64::from(shared.machine.scalar_cycles));
        let steps = &tasks[task as usize].steps;
        while *left > 0 && (time <= limit || time == now) {
            let code = &steps[step as usize];
            // For the message about a fault.
            state.running = Some(Running { task, step });
            if shared.without_numbers {
                unknown::step(state, code)?;
            }
            match code {
                Step::Vector(vector) => {
                    let Some(nest) = &vector.nest else { break };
                    let run = if shared.without_numbers { unknown::nest } else { execute::nest };
                    let Some((elements, (busy, stall))) = run(state, nest, &mut self.conflicts, MOST_AT_ONCE) else {
                        break;
                    };
                    let busy = if elements == 0 { scalar } else { u64::from(startup) + busy };
                    book(state, time, busy, stall);
                    time += busy + stall;
                    step += 1;
                }
                Step::Jump(to) => step = *to,
                Step::Mark { operator, plus } => {
                    let operator = i64::from(*operator) + i64::from(execute::value(state, *plus));
                    mark(state, spans, operator, time)?;
                    step += 1;
                }
                Step::End
                | Step::SendControl { .. }
                | Step::SetPosition { .. }
                | Step::ClaimBegin { .. }
                | Step::ClaimEnd => break,
                code => {
                    let local = execute::local_step(shared.machine, state, code, step, time)?;
                    let (cycles, next) = local.unwrap_or((0, step + 1));
                    book(state, time, cycles.into(), 0);
                    time += u64::from(cycles);
                    step = next;
                }
            }
            *left -= 1;
        }
        state.running = Some(Running { task, step });
        Ok(time)
    }
}

/// Books work of the main thread, and waits for memory.
#[inline]
pub(super) fn book(pe: &mut Pe, time: u64, busy: u64, memory: u64) {
    let end = time + busy + memory;
    if pe.accounted != time {
        return account(pe, (time, end), busy, memory, Activity::Busy);
    }
    // The same when nothing has been booked beyond, and nothing is to be booked before.
    pe.counters.busy += busy;
    pe.counters.memory += memory;
    pe.activity = Activity::Busy;
    pe.accounted = end;
    pe.last = pe.last.max(end);
}

/// Enters an operator.
pub(super) fn mark(pe: &mut Pe, spans: &mut [Span], operator: i64, time: u64) -> Result<(), Fault> {
    let index = u32::try_from(operator).ok().filter(|&index| (index as usize) < spans.len());
    let index = index.ok_or_else(|| Fault(format!("mark of operator {operator}, the program has {}", spans.len())))?;
    close_span(spans, pe, time);
    let span = &mut spans[index as usize];
    span.start = span.start.min(time);
    pe.operator = Some(InOperator { operator: index, since: time, busy: pe.counters.busy });
    Ok(())
}
