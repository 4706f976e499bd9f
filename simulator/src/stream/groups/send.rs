//! What PEs send: those of a row whose wavelets take the same way along their columns send together.

use super::super::run::{Run, Sender};
use super::super::values::Sent;
use super::clocks::Part;
use super::flight::LANDED;
use super::group::{Group, in_order};
use super::vector::Stage;
use super::way::Sending;
use super::{Groups, Stop};
use crate::machine::operand::Number;
use waferloom_fabric::SwitchCommand;

/// What has become of a member's step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// The PE waits for wavelets, a switch or room.
    Waits,
    /// It has sent what others beside it may send as well; then it is known what becomes of it.
    Sends,
}

/// Members of a group that send together, in ascending order.
#[derive(Debug, Default)]
pub(super) struct Senders {
    pes: Vec<u32>,
    sendings: Vec<Sending>,
    /// Those that are done with it.
    done: Vec<u32>,
    /// Those that wait for room.
    held_up: Vec<u32>,
}

impl Groups<'_> {
    /// Does something for each member of a group, in ascending order, and again for those that had to wait once they are
    /// woken. Gives those that are done with the step; others wait.
    pub(super) fn each_member(
        &mut self,
        mut group: Group,
        mut attempt: impl FnMut(&mut Self, &Group, u32) -> Result<Outcome, Stop>,
    ) -> Result<Option<Group>, Stop> {
        self.settle(&mut group);
        let members = std::mem::take(&mut group.members);
        let (mut done, mut todo, mut waits) = (Vec::with_capacity(members.len()), members, None);
        while !todo.is_empty() {
            let mut rest = todo.as_slice();
            while !rest.is_empty() {
                let (row, others) = rest.split_at(self.side_by_side(rest));
                rest = others;
                for (place, &pe) in row.iter().enumerate() {
                    self.beside = (row.len() - place) as u32;
                    match attempt(self, &group, pe)? {
                        Outcome::Done => done.push(pe),
                        Outcome::Waits => self.senders.held_up.push(pe),
                        Outcome::Sends => {}
                    }
                    self.sort_out(&group, &mut done, &mut waits);
                }
                self.send_together()?;
                self.sort_out(&group, &mut done, &mut waits);
            }
            todo = waits.map_or_else(Vec::new, |waits| self.schedule.take_woken(waits));
            in_order(&mut todo);
        }
        if let Some(waits) = waits {
            self.schedule.close_if_empty(waits);
        }
        in_order(&mut done);
        group.step += 1;
        Ok((!done.is_empty()).then_some(Group { members: done, ..group }))
    }

    /// How many of some PEs, from the first one on, stand side by side in a row.
    fn side_by_side(&self, pes: &[u32]) -> usize {
        let width = u32::from(self.band.grid.width);
        let is_beside = |pair: &&[u32]| pair[1] == pair[0] + 1 && !pair[1].is_multiple_of(width);
        1 + pes.windows(2).take_while(is_beside).count()
    }

    /// Lets members wait that are held up, and notes those that are done.
    #[inline]
    fn sort_out(&mut self, group: &Group, done: &mut Vec<u32>, waits: &mut Option<u32>) {
        if self.senders.done.is_empty() && self.senders.held_up.is_empty() {
            return;
        }
        done.append(&mut self.senders.done);
        while let Some(pe) = self.senders.held_up.pop() {
            let waits = *waits.get_or_insert_with(|| self.schedule.open(group));
            self.schedule.wait(waits, pe);
        }
    }

    /// Whether a PE can send into a lane now; else it waits for a switch.
    pub(super) fn can_send(&mut self, pe: u32, lane: u32, is_control: bool) -> bool {
        match self.find_way(lane, is_control) {
            Ok(()) => true,
            Err(closed) => {
                self.wait_for_switch.entry(closed).or_default().push(pe);
                false
            }
        }
    }

    /// Sends what a part of an instruction gives; `ends` says that it is the last part.
    pub(super) fn send(&mut self, pe: u32, part: &Part, data: Sent, lane: u32, ends: bool) -> Result<Outcome, Stop> {
        let delay = 1 + u64::from(self.shared.machine.ramp_cycles);
        let times = (part.began + delay, part.began + part.cycles - 1 + delay);
        let Some(run) = data.into_run(times, Sender::Pe(pe), &mut self.payloads) else { return Err(Stop::Unfit) };
        let flight = self.flights.begin(pe);
        self.flying[pe as usize] = Some(*part);
        self.launch(pe, Sending { lane, room: self.lanes.ramp_room(lane), run, flight, moves: 0 }, ends)
    }

    /// Sends a control wavelet from each member of a group.
    pub(super) fn send_control(
        &mut self,
        group: Group,
        queue: u8,
        control: u16,
        payload: Number,
    ) -> Result<Option<Group>, Stop> {
        let machine = self.shared.machine;
        // The last command is for all routers behind.
        let moves = match self.shared.controls[usize::from(control)].commands.as_slice() {
            [commands @ .., SwitchCommand::Nop] => commands.len() as u16,
            _ => u16::MAX,
        };
        self.each_member(group, |groups, group, pe| {
            let lane = groups.lanes.out(pe, queue).ok_or(Stop::Unfit)?;
            if !groups.can_send(pe, lane, true) {
                return Ok(Outcome::Waits);
            }
            let mut words = groups.payloads.empty();
            words.push(groups.value(group, pe, payload) as u32 & 0xFFFF);
            let payload = groups.payloads.keep(words);
            let ready = groups.clocks.time(pe) + 1 + u64::from(machine.ramp_cycles);
            groups.clocks.work(pe, machine.scalar_cycles.into(), 0);
            let run = Run::new(payload, 1, (ready, ready), control + 1, Sender::Pe(pe));
            let room = groups.lanes.ramp_room(lane);
            groups.launch(pe, Sending { lane, room, run, flight: LANDED, moves }, true)
        })
    }

    /// Sends a run at once, or with those of PEs beside when their ways are the same.
    fn launch(&mut self, pe: u32, sending: Sending, ends: bool) -> Result<Outcome, Stop> {
        let lane = sending.lane;
        let is_before = |last: &Sending| last.lane + 1 == lane && self.are_alike(last.lane);
        let joins = ends && self.senders.sendings.last().is_some_and(is_before);
        if !joins {
            self.send_together()?;
        }
        if joins || ends && self.are_alike(lane) {
            self.senders.pes.push(pe);
            self.senders.sendings.push(sending);
            return Ok(Outcome::Sends);
        }
        self.bring(&[sending])?;
        Ok(self.sent(pe, sending.flight, ends))
    }

    /// Sends what PEs side by side have to send.
    fn send_together(&mut self) -> Result<(), Stop> {
        if self.senders.pes.is_empty() {
            return Ok(());
        }
        let mut senders = std::mem::take(&mut self.senders);
        self.bring(&senders.sendings)?;
        for (pe, sending) in senders.pes.drain(..).zip(senders.sendings.drain(..)) {
            if self.sent(pe, sending.flight, true) == Outcome::Done {
                self.progress[pe as usize] = Stage::Fresh;
                senders.done.push(pe);
            } else {
                senders.held_up.push(pe);
            }
        }
        self.senders = senders;
        Ok(())
    }

    /// What becomes of a PE whose run is on its way.
    fn sent(&mut self, pe: u32, flight: u32, ends: bool) -> Outcome {
        if self.flights.is_open(flight) {
            if ends {
                self.progress[pe as usize] = Stage::Sent;
            }
            return Outcome::Waits;
        }
        if flight != LANDED {
            self.land(flight);
        }
        Outcome::Done
    }

    /// All receivers of a flight are known: its sender ends, and whoever waits for its last wavelet goes on.
    pub(super) fn land(&mut self, flight: u32) {
        let sender = self.flights.sender(flight);
        if let Some(part) = self.flying[sender as usize].take() {
            let end = part.began + part.cycles;
            let delay = (self.flights.bound(flight) + 1).saturating_sub(end);
            self.flights.set_delay(flight, delay);
            self.clocks.complete(sender, &part, delay);
        }
        self.schedule.wake(sender);
        for pe in self.flights.take_waiting(flight) {
            self.schedule.wake(pe);
        }
        self.flights.end(flight);
    }
}
