//! What members of a group do one after another, and what they send: PEs side by side together, as far as they do the same.

use super::clocks::Part;
use super::flight::{Goal, LANDED, Landing, Origin};
use super::group::Group;
use super::incoming::Words;
use super::lanes::Followed;
use super::line::Line;
use super::members::Members;
use super::vector::Stage;
use super::way::Sending;
use super::{Groups, Stop};
use crate::stream::payload::Payload;
use crate::stream::values::Sent;
use waferloom_fabric::SwitchCommand;

/// What has become of a step in PEs side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// They wait for wavelets, a switch or room.
    Waits,
    /// Some wait for room, others are done: [`Results`] says which.
    Sent,
}

/// Members of a group that have done a step, or wait.
#[derive(Debug, Default)]
pub(super) struct Results {
    done: Members,
    waiting: Members,
    /// Members that were waiting and are done by what others have done.
    landed: Members,
}

/// Rows of PEs of which what goes along them is simulated to its end before others begin: what is known of their PEs stays in the
/// host's caches meanwhile.
const ROWS_AT_ONCE: u32 = 16;

impl Groups<'_> {
    /// Does something for the members of a group, in ascending order, and again for those that had to wait once they are
    /// woken: `attempt` gets PEs side by side and says for how many it has done it. Gives those that are done with the step; others
    /// wait.
    pub(super) fn each_member(
        &mut self,
        mut group: Group,
        mut attempt: impl FnMut(&mut Self, &Group, u32, u32) -> Result<(u32, Outcome), Stop>,
    ) -> Result<Option<Group>, Stop> {
        self.settle(&mut group);
        let width = self.lanes.width;
        let members = std::mem::take(&mut group.members);
        let mut rows = members.in_rows(width).peekable();
        let (mut done, mut todo, mut waits) = (Members::default(), Members::default(), None);
        while let Some(&(first, _)) = rows.peek() {
            let end = (first / width / ROWS_AT_ONCE + 1) * ROWS_AT_ONCE * width;
            while let Some((first, count)) = rows.next_if(|&(first, _)| first < end) {
                todo.push(first, count);
            }
            done.append(&self.go_on_to_end(&group, &mut todo, &mut waits, &mut attempt)?);
        }
        if let Some(waits) = waits {
            self.schedule.close(waits);
        }
        done.sort();
        group.step += 1;
        Ok((!done.is_empty()).then_some(Group { members: done, ..group }))
    }

    /// Does something for some members of a group, and again for those that are woken meanwhile; gives those that are done with it. Nobody is
    /// left to do.
    fn go_on_to_end(
        &mut self,
        group: &Group,
        todo: &mut Members,
        waits: &mut Option<u32>,
        attempt: &mut impl FnMut(&mut Self, &Group, u32, u32) -> Result<(u32, Outcome), Stop>,
    ) -> Result<Members, Stop> {
        let mut done = Members::default();
        while !todo.is_empty() {
            for (first, count) in todo.in_rows(self.lanes.width) {
                let (mut pe, end) = (first, first + count);
                while pe < end {
                    let (n, outcome) = attempt(self, group, pe, end - pe)?;
                    match outcome {
                        Outcome::Done => done.push(pe, n),
                        Outcome::Waits => self.results.waiting.push(pe, n),
                        Outcome::Sent => done.append(&self.results.done),
                    }
                    self.results.done.clear();
                    pe += n;
                    self.let_wait(group, waits);
                }
            }
            done.append(&self.results.landed);
            self.results.landed.clear();
            match waits {
                Some(waits) => self.schedule.take_woken(*waits, todo),
                None => todo.clear(),
            }
            todo.sort();
        }
        done.sort();
        Ok(done)
    }

    /// Lets members wait that are held up.
    #[inline]
    fn let_wait(&mut self, group: &Group, waits: &mut Option<u32>) {
        if self.results.waiting.is_empty() {
            return;
        }
        let waits = *waits.get_or_insert_with(|| self.schedule.open(group));
        for (pe, n) in self.results.waiting.stretches() {
            self.schedule.wait(waits, pe, n);
        }
        self.results.waiting.clear();
    }

    /// Whether PEs side by side, as many as their ways are alike, can send into lanes now; else the first one waits for a switch.
    pub(super) fn can_send(&mut self, pe: u32, lane: u32, is_control: bool, n: &mut u32) -> bool {
        match self.find_way(lane, is_control, n) {
            Ok(()) => true,
            Err(closed) => {
                *n = 1;
                self.wait_for_switch.entry(closed).or_default().push((pe, 1));
                false
            }
        }
    }

    /// Sends what a part of an instruction gives from PEs side by side; `ends` says that it is the last part.
    pub(super) fn send(
        &mut self,
        (pe, n): (u32, u32),
        part: &Part,
        data: Sent,
        lane: u32,
        ends: bool,
    ) -> Result<Outcome, Stop> {
        let delay = 1 + i64::from(self.shared.machine.ramp_cycles);
        let (payload, start, count) = match data {
            Sent::Nothing => return Err(Stop::Unfit),
            Sent::New(words) => {
                let count = words.len();
                (self.payloads.keep(words), 0, count as i64)
            }
            Sent::Unknown(count) => (Payload::UNKNOWN, 0, count as i64),
            Sent::Same(run) => {
                self.payloads.share(run.payload);
                (run.payload, run.start, run.count as i64)
            }
        };
        let words = Words::same(payload, start);
        let flight = self.flights.begin(pe, n, *part);
        let (first, last) = (part.began.plus(delay), part.end().plus(delay - 1));
        let room = self.lanes.ramp_room(lane);
        self.bring(&Sending { lane, n, room, words, count, first, last, control: 0, flight, moves: 0 })?;
        self.payloads.release(payload);
        if self.is_held_up() {
            self.follow(lane, n, flight);
        }
        Ok(self.sent(pe, n, flight, ends))
    }

    /// Sends a control wavelet from each member of a group.
    pub(super) fn send_control(&mut self, group: Group, queue: u8, control: u16) -> Result<Option<Group>, Stop> {
        let machine = self.shared.machine;
        // The last command is for all routers behind.
        let moves = match self.shared.controls[usize::from(control)].commands.as_slice() {
            [commands @ .., SwitchCommand::Nop] => commands.len() as u16,
            _ => u16::MAX,
        };
        if self.planes.is_some() {
            return self.send_control_now(group, queue, control, moves);
        }
        self.each_member(group, |groups, _, pe, mut n| {
            let lane = groups.lanes.out(pe, queue, &mut n).ok_or(Stop::Unfit)?;
            if !groups.can_send(pe, lane, true, &mut n) {
                return Ok((n, Outcome::Waits));
            }
            // It comes behind all that has been sent before it.
            if groups.is_held_up() {
                let Followed { flight, room_from } = groups.lanes.followed.piece(lane, &mut n);
                if flight != LANDED {
                    groups.flights.wait(flight, pe, n);
                    return Ok((n, Outcome::Waits));
                }
                groups.clocks.wait_for_room(pe, n, room_from);
            }
            let ready = groups.clocks.times(pe, &mut n).plus(1 + i64::from(machine.ramp_cycles));
            groups.clocks.work(pe, n, machine.scalar_cycles.into(), 0);
            let room = groups.lanes.ramp_room(lane);
            let (words, control) = (Words::same(Payload::UNKNOWN, 0), control + 1);
            let (first, last) = (ready, ready);
            let flight = LANDED;
            groups.bring(&Sending { lane, n, room, words, count: 1, first, last, control, flight, moves })?;
            Ok((n, Outcome::Done))
        })
    }

    /// What becomes of PEs side by side whose runs are on their way.
    fn sent(&mut self, pe: u32, n: u32, flight: u32, ends: bool) -> Outcome {
        let mut from = 0;
        while from < n {
            let mut count = n - from;
            let origin = Origin { sender: from, step: 1 };
            if self.flights.is_open(flight, Goal::Sent, origin, &mut count) {
                if ends {
                    self.progress.set(pe + from, count, Stage::Sent);
                }
                self.results.waiting.push(pe + from, count);
            } else {
                if ends {
                    self.progress.set(pe + from, count, Stage::Fresh);
                }
                self.land(Landing { flight, from, count });
                self.results.done.push(pe + from, count);
            }
            from += count;
        }
        if self.results.waiting.is_empty() {
            self.results.done.clear();
            return Outcome::Done;
        }
        if self.results.done.is_empty() {
            self.results.waiting.clear();
            return Outcome::Waits;
        }
        Outcome::Sent
    }

    /// All receivers of some senders of a flight are known as far as it takes to send it: these end.
    pub(super) fn land(&mut self, Landing { flight, from, count }: Landing) {
        let (sender, part) = self.flights.sent(flight);
        let mut done = from;
        while done < from + count {
            let mut n = from + count - done;
            let bound = self.flights.bound(flight, done, &mut n);
            let part = part.from(done);
            let delay = (bound.plus(1) - part.end()).max(Line::flat(0), &mut n);
            self.flights.set_delay(flight, done, n, delay);
            self.clocks.complete(sender + done, n, part, delay);
            done += n;
        }
        self.end_or_wake(sender + from, count);
        if !self.is_held_up() {
            self.let_receivers_go_on(flight);
        }
        self.flights.end(flight, count);
    }

    /// It is known when all of some runs come: those who wait for that go on.
    pub(super) fn let_receivers_go_on(&mut self, flight: u32) {
        for (pe, n) in self.flights.take_waiting(flight).stretches() {
            self.schedule.wake(pe, n);
        }
    }

    /// Senders side by side are not held up any more. Those that have sent all are done with the step; others go on with it.
    fn end_or_wake(&mut self, sender: u32, count: u32) {
        let mut done = 0;
        while done < count {
            let (pe, mut n) = (sender + done, count - done);
            // Where their group is not at hand, they have to come up again.
            if self.progress.piece(pe, &mut n) == Stage::Sent && self.schedule.leave_hand(pe, &mut n) {
                self.finish_sending(pe, n);
                self.results.landed.push(pe, n);
            } else {
                self.schedule.wake(pe, n);
            }
            done += n;
        }
    }

    /// PEs side by side are done with an instruction that has sent all.
    pub(super) fn finish_sending(&mut self, pe: u32, n: u32) {
        self.progress.set(pe, n, Stage::Fresh);
        if self.owners > 0 {
            for pe in pe..pe + n {
                let own = self.take_own(pe);
                self.unused.extend(own);
            }
        }
    }
}
