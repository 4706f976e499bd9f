//! The numbers of a program, without any time.
//!
//! What a Kahn network computes does not depend on when; so its numbers can be worked out by PEs without clocks, on ways that
//! take no time and queues that are never full, while the time alone is worked out elsewhere (see [`super::apart`]). PEs side by
//! side stay together then, whatever their times would be: an instruction waits until all that it will receive has come, and is run
//! in as many of them as have the same operands at once ([`lockstep`]), over memories that lie side by side as well
//! ([`crate::machine::planes`]).
//!
//! An instruction that receives what depends on what it sends itself would wait for ever: then the program is run in another way.

use super::group::Group;
use super::incoming::{Incoming, Words};
use super::lanes::{ALONG_ROWS, first_of};
use super::send::Outcome;
use super::vector::Template;
use super::{Groups, Stop};
use crate::machine::decode::Vector;
use crate::machine::lockstep::{self, Received};
use crate::machine::operand::Port;
use crate::machine::pe::VectorWork;
use crate::stream::payload::Payload;
use waferloom_fabric::{Coord, Direction, Program};

/// Words that may be under way: 2 GiB.
const MOST_WORDS: u64 = 1 << 29;

/// Runs on their way: of senders side by side along their columns, or one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Post {
    /// The first of the lanes that they come to, and its router.
    lane: u32,
    router: u32,
    n: u32,
    /// Links up to there.
    hops: u16,
    words: Words,
    count: u32,
    /// 0 for data, else 1 + index into the controls of the program.
    control: u16,
    /// How many routers, from the first one on, may have to obey it, when it is a control wavelet.
    moves: u16,
}

impl Groups<'_> {
    /// Runs an instruction, in whose registers `varying` PEs may differ, or puts it off; gives the group of those that are done with it, if
    /// any are.
    pub(super) fn compute_vector(
        &mut self,
        mut group: Group,
        vector: &Vector,
        varying: u128,
    ) -> Result<Option<Group>, Stop> {
        if self.put_off(&group, vector, varying)? {
            group.step += 1;
            return Ok(Some(group));
        }
        self.catch_up(&group);
        let mut template: Option<Template> = None;
        let rest = self.each_member(group, |groups, group, pe, mut n| {
            let known = groups.template_for(template.take(), group, vector, varying, (pe, n))?;
            n = n.min(known.members.end - pe);
            let known = template.insert(known);
            let outcome = groups.compute_together((pe, &mut n), &mut known.work)?;
            Ok((n, outcome))
        });
        self.unused.extend(template.map(|template| template.work));
        rest
    }

    /// Runs an instruction in PEs side by side, as many as can do it together; `n` becomes how many these are.
    fn compute_together(&mut self, (pe, n): (u32, &mut u32), work: &mut VectorWork) -> Result<Outcome, Stop> {
        let all = work.remaining;
        if all == 0 {
            return Ok(Outcome::Done);
        }
        for port in &work.srcs[..work.arity] {
            let Port::FabIn { queue, .. } = port else { continue };
            let input = self.queues.at(pe, *queue).ok_or(Stop::Unfit)?;
            if self.queues.available(input, n) < all {
                self.queues.wait(input, *n);
                return Ok(Outcome::Waits);
            }
        }
        let lane = match work.dst {
            Port::FabOut { queue, .. } => {
                let lane = self.lanes.out(pe, queue, n).ok_or(Stop::Unfit)?;
                if !self.open_ways((pe, n), lane) {
                    return Ok(Outcome::Waits);
                }
                Some(lane)
            }
            _ => None,
        };
        let bytes = self.planes.as_ref().map_or(0, |planes| planes.bytes(pe));
        if !lockstep::can_run(work, bytes) {
            return Err(Stop::Unfit);
        }
        if lane.is_some() && !work.unknown {
            // Nothing holds senders up here: who sends without end is simulated in another way.
            let more = all.saturating_mul(u64::from(*n));
            if more.saturating_add(self.payloads.held() as u64) > MOST_WORDS {
                return Err(Stop::Unfit);
            }
            self.bench.sent = self.payloads.empty();
        }
        while work.remaining > 0 {
            self.compute_part((pe, *n), work)?;
        }
        // All its operands stand at their first elements again.
        work.remaining = all;
        let Some(lane) = lane else { return Ok(Outcome::Done) };
        let payload =
            if work.unknown { Payload::UNKNOWN } else { self.payloads.keep(std::mem::take(&mut self.bench.sent)) };
        let ways = std::mem::take(&mut self.open);
        let mut done = 0;
        for &here in &ways {
            let step = u32::from(here > 1);
            let words = Words { payload, start: done, step, pitch: *n };
            self.deliver(Post { words, count: all as u32, ..self.post(lane + done, here) })?;
            done += here;
        }
        self.open = ways;
        self.payloads.release(payload);
        Ok(Outcome::Done)
    }

    /// Runs as many elements of an instruction as the runs at the heads of its queues have wavelets, all when it receives
    /// nothing.
    fn compute_part(&mut self, (pe, n): (u32, u32), work: &mut VectorWork) -> Result<(), Stop> {
        let mut inputs = [None; 3];
        let mut count = work.remaining;
        for (input, port) in inputs.iter_mut().zip(&work.srcs[..work.arity]) {
            let Port::FabIn { queue, .. } = port else { continue };
            let from = self.queues.at(pe, *queue).ok_or(Stop::Unfit)?;
            count = count.min(self.queues.head_count(from));
            *input = Some(from);
        }
        let mut taken: [Option<Incoming>; 3] = [None; 3];
        for (taken, input) in taken.iter_mut().zip(inputs) {
            let Some(input) = input else { continue };
            let (run, is_part) = self.queues.take_untimed(input, n, count).ok_or(Stop::Unfit)?;
            if is_part {
                self.payloads.share_among(run.words.payload, n);
            }
            *taken = Some(run);
        }
        if work.unknown || matches!(work.dst, Port::Null) {
            work.remaining -= count;
        } else if taken.iter().flatten().any(Incoming::is_unknown) {
            return Err(Stop::Unfit);
        } else if let Some(planes) = &mut self.planes {
            let received = taken.each_ref().map(|run| {
                let words = run.as_ref()?.words;
                let [start, step, pitch] = [words.start, words.step, words.pitch].map(|number| number as usize);
                Some(Received { words: self.payloads.words(words.payload), start, step, pitch })
            });
            lockstep::run((planes, pe, n), work, &received, count, &mut self.bench);
        }
        for run in taken.iter().flatten() {
            self.payloads.release_from(run.words.payload, n);
        }
        Ok(())
    }

    /// Finds the ways from lanes side by side, those along columns together; `n` becomes for how many PEs they are open. When the
    /// first one is not, it has to wait for a switch.
    fn open_ways(&mut self, (pe, n): (u32, &mut u32), lane: u32) -> bool {
        self.open.clear();
        let mut done = 0;
        while done < *n {
            let mut here = *n - done;
            match self.find_way(lane + done, false, &mut here) {
                Ok(()) => {
                    self.open.push(here);
                    done += here;
                }
                Err(closed) if done == 0 => {
                    *n = 1;
                    self.wait_for_switch.entry(closed).or_default().push((pe, 1));
                    return false;
                }
                Err(_) => break,
            }
        }
        *n = done;
        true
    }

    /// Sends a control wavelet from each member of a group.
    pub(super) fn send_control_now(
        &mut self,
        group: Group,
        queue: u8,
        control: u16,
        moves: u16,
    ) -> Result<Option<Group>, Stop> {
        self.each_member(group, |groups, _, pe, mut n| {
            let lane = groups.lanes.out(pe, queue, &mut n).ok_or(Stop::Unfit)?;
            if !groups.can_send(pe, lane, true, &mut n) {
                return Ok((n, Outcome::Waits));
            }
            groups.deliver(Post { control: control + 1, moves, ..groups.post(lane, n) })?;
            Ok((n, Outcome::Done))
        })
    }

    /// A post at the beginning of its way, of a word that nobody knows.
    fn post(&self, lane: u32, n: u32) -> Post {
        let router = self.lanes.place(lane).0 as u32;
        Post { lane, router, n, hops: 0, words: Words::same(Payload::UNKNOWN, 0), count: 1, control: 0, moves: 0 }
    }

    /// Brings runs to all ends of their ways, which have been found.
    fn deliver(&mut self, post: Post) -> Result<(), Stop> {
        let mut posts = std::mem::take(&mut self.posts);
        posts.push(post);
        while let Some(mut post) = posts.pop() {
            let ports = self.lanes.ports.get(post.lane);
            let mut outs = ports.onward();
            let obeys = post.control != 0 && post.hops < post.moves;
            let is_straight = outs.is_power_of_two() && outs & ALONG_ROWS != 0 && post.hops > 0 && !obeys;
            if post.n == 1 && is_straight && ports.to_host().is_empty() {
                self.deliver_along(&mut post, outs)?;
            } else {
                if ports.goes_down() {
                    self.drop_off(&post, (post.router, post.n), ports.input)?;
                }
                if obeys {
                    (0..post.n).for_each(|i| self.obey((post.lane + i, post.router + i), post.hops, post.control));
                }
                for out in ports.to_host().iter() {
                    (0..post.n).for_each(|i| self.give_to_host(&post, i, out as u8));
                }
                post.hops += 1;
            }
            while outs != 0 {
                let out = first_of(&mut outs);
                let (lane, router) = (self.lanes.behind(post.lane, out), self.lanes.behind(post.router, out));
                posts.push(Post { lane, router, ..post });
            }
        }
        self.posts = posts;
        Ok(())
    }

    /// A run passes lanes in its row in which the ports are the same.
    fn deliver_along(&mut self, post: &mut Post, outs: u8) -> Result<(), Stop> {
        let (is_back, mut n) = (outs == 1 << Direction::West as u8, self.lanes.width);
        let ports = self.lanes.ports_on(post.lane, is_back, &mut n);
        let first = if is_back { post.router + 1 - n } else { post.router };
        if ports.goes_down() {
            self.drop_off(post, (first, n), ports.input)?;
        }
        let way = if is_back { 1 - n as i32 } else { n as i32 - 1 };
        (post.lane, post.router) = (post.lane.wrapping_add_signed(way), post.router.wrapping_add_signed(way));
        post.hops += n as u16;
        Ok(())
    }

    /// Puts data into the input queues of PEs side by side.
    fn drop_off(&mut self, post: &Post, (pe, n): (u32, u32), queue: u8) -> Result<(), Stop> {
        if post.control != 0 {
            return Ok(());
        }
        let input = self.queues.at(pe, queue).ok_or(Stop::Unfit)?;
        self.payloads.share_among(post.words.payload, n);
        self.push(input, pe, n, &Incoming::untimed(post.words, post.count))
    }

    /// The host takes data; a control wavelet ends there without a trace.
    fn give_to_host(&mut self, post: &Post, i: u32, out: u8) {
        let Some(sink) = self.sink(post.lane + i, out).filter(|_| post.control == 0) else { return };
        let (sink, words) = (&mut self.band.sinks[sink], post.words.along(i));
        let all = self.payloads.words(words.payload);
        sink.left_out |= words.payload == Payload::UNKNOWN;
        let word = |k: u32| all.get((words.start + words.pitch * k) as usize).copied().unwrap_or(0);
        sink.data.extend((0..post.count).map(word));
    }

    /// Sends what the host has to send.
    pub(super) fn feed_now(&mut self) -> Result<(), Stop> {
        for index in 0..self.band.sources.len() {
            let words = std::mem::take(&mut self.band.sources[index].data);
            let count = words.len() as u32;
            if count == 0 {
                continue;
            }
            let lane = self.source_lane(index)?;
            let payload = self.payloads.keep(words);
            self.deliver(Post { words: Words::same(payload, 0), count, ..self.post(lane, 1) })?;
            self.payloads.release(payload);
        }
        Ok(())
    }

    /// What lies in memory where the program says that the host reads it at the end.
    pub(super) fn read_back(&mut self, program: &Program) {
        let Some(planes) = &mut self.planes else { return };
        for readback in &program.readbacks {
            let (start, grid) = (readback.address as usize, readback.distribution.grid);
            let bytes = readback.distribution.tile_elements() * readback.dtype.bytes() as usize;
            for y in 0..grid.height {
                for x in 0..grid.width {
                    let at = Coord { x: readback.origin.x.saturating_add(x), y: readback.origin.y.saturating_add(y) };
                    let pe = program.grid.index(at);
                    if let Some(state) = self.band.pes.get_mut(pe) {
                        planes.give_back(pe as u32, state.memory, &(start..start + bytes));
                    }
                }
            }
        }
    }
}
