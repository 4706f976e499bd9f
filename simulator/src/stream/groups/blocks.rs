//! Instructions over memory, in few PEs at a time.
//!
//! Of thousands of PEs nothing stays in the host's caches from one instruction to the next. So where several instructions over memory
//! follow each other, some members of a group do all of them before the next ones begin. Nobody can tell, as PEs
//! may be simulated in any order.

use super::code::MOST_STEPS;
use super::group::Group;
use super::liveness::jumps;
use super::{Groups, Stop};
use crate::machine::decode::Step;

/// PEs that go on together: their operands fit a second cache, and what is worked out once for all of them is little beside
/// their numbers.
const BLOCK: usize = 256;

/// By step of a task: whether at least two instructions over memory are done from there on, itself included, before others have to
/// be waited for.
pub(super) fn worth(steps: &[Step]) -> Vec<bool> {
    let mut counts = vec![0; steps.len()];
    let mut changed = true;
    while changed {
        changed = false;
        for at in (0..steps.len()).rev() {
            let falls = if matches!(steps[at], Step::Jump(_)) { None } else { Some(at as u32 + 1) };
            let behind = jumps(&steps[at]).into_iter().chain(falls);
            let most = behind.filter_map(|next| counts.get(next as usize)).max().copied().unwrap_or(0);
            let is_vector = matches!(steps[at], Step::Vector(_));
            let count = if meets_others(&steps[at]) { 0 } else { (most + u8::from(is_vector)).min(2) };
            changed |= count != counts[at];
            counts[at] = count;
        }
    }
    let is_worth = |(step, &count): (&Step, &u8)| count == 2 && matches!(step, Step::Vector(_));
    steps.iter().zip(&counts).map(is_worth).collect()
}

/// Whether a step sends or receives, or changes what the PE has in common with others.
fn meets_others(step: &Step) -> bool {
    match step {
        Step::Vector(vector) => vector.uses_fabric(),
        Step::SendControl { .. } | Step::ClaimBegin { .. } | Step::ClaimEnd | Step::End => true,
        _ => false,
    }
}

impl Groups<'_> {
    /// Whether members of a group should go on some at a time.
    pub(super) fn goes_in_blocks(&self, group: &Group) -> bool {
        let worth = &self.flows[usize::from(group.class)].worth;
        // In a claim nothing is computed, nor in a run for the time alone; one for the numbers alone puts them off.
        worth.get(group.step as usize) == Some(&true)
            && !self.shared.without_numbers
            && group.members.count() > BLOCK
            && !group.is_claimed
            && self.planes.is_none()
    }

    /// Lets members go on, some at a time, as far as they need no others.
    pub(super) fn go_in_blocks(&mut self, group: &Group) -> Result<(), Stop> {
        let classes = self.shared.classes;
        let steps = &classes[usize::from(group.class)].tasks[0].steps;
        for members in group.members.blocks(BLOCK) {
            let mut part = Some(group.with(members));
            for _ in 0..MOST_STEPS {
                let Some(group) = part.take_if(|part| !self.has_to_wait(part, steps)) else { break };
                let step = steps.get(group.step as usize).ok_or(Stop::Unfit)?;
                part = self.step(group, step)?;
            }
            if let Some(part) = part {
                self.go_on(part);
            }
        }
        Ok(())
    }

    /// Whether a part of a group stands where it meets others.
    fn has_to_wait(&self, part: &Group, steps: &[Step]) -> bool {
        let joins = &self.flows[usize::from(part.class)].joins;
        steps.get(part.step as usize).is_some_and(meets_others)
            || joins.get(part.step as usize) == Some(&true) && self.schedule.has_before(&part.place())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::decode::Decoder;

    #[test]
    fn blocks_pay_where_instructions_over_memory_follow_each_other() {
        // Two before a wavelet is sent; one behind it and a second in the loop, whose next turn begins with the same again; behind the
        // last wavelet there is one.
        let text = "program p machine bench16 grid 2x1
route c0 at 0,0 { pos RAMP -> EAST } route c0 at 1,0 { pos WEST -> RAMP }
class c { buffer all at 0 bytes 16 scratch out q2 = c0 task 8 main local activated {
mov [0 : f32 ; 2] <- f32 0.0 r2 = add r2, 1 mov [8 : f32 ; 2] <- f32 1.0
mov out q2 f32[2] <- [0 : f32 ; 2] mov [0 : f32 ; 2] <- f32 0.0
loop r1 in 3 { mov [8 : f32 ; 2] <- f32 1.0 }
mov out q2 f32[2] <- [8 : f32 ; 2] mov [0 : f32 ; 2] <- f32 0.0 } }
place c at 0,0";
        let program = waferloom_fabric::text::parse(text).expect("valid");
        let code = Decoder::new(&program, false).class(&program.classes[0]);
        let steps = &code.tasks[0].steps;
        let is_vector = |(step, _): &(&Step, bool)| matches!(step, Step::Vector(_));
        let vectors: Vec<bool> = steps.iter().zip(worth(steps)).filter(is_vector).map(|(_, worth)| worth).collect();
        assert_eq!(vectors, [true, false, false, true, true, false, false]);
    }
}
