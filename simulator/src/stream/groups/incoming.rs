//! Runs that have come to input queues: those of queues side by side as one.

use super::super::payload::Payload;
use super::super::run::{Run, Sender};
use super::flight::{LANDED, Origin};
use super::line::Line;
use super::strip::Along;

/// The words of runs in queues side by side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words {
    pub(super) payload: Payload,
    /// The first word in the payload.
    pub(super) start: u32,
    /// How much further on it is in the queue beside.
    pub(super) step: u32,
    /// From a word of a run to its next one.
    pub(super) pitch: u32,
}

impl Words {
    /// The same words in all queues, from one of a payload on.
    pub(super) fn same(payload: Payload, start: u32) -> Self {
        Self { payload, start, step: 0, pitch: 1 }
    }

    /// Those of the queues from one on.
    pub(super) fn along(&self, i: u32) -> Self {
        Self { start: self.start.wrapping_add(self.step.wrapping_mul(i)), ..*self }
    }

    /// Those behind the first few of each run.
    pub(super) fn behind(&self, count: u32) -> Self {
        Self { start: self.start + self.pitch * count, ..*self }
    }

    /// What tells those of `n` queues and of `m` behind them.
    fn joined(&self, n: u32, next: &Self, m: u32) -> Option<Self> {
        if (self.payload, self.pitch) != (next.payload, next.pitch) {
            return None;
        }
        let step = if n > 1 { self.step } else { next.start.wrapping_sub(self.start) };
        let both = Self { step, ..*self };
        (both.along(n).start == next.start && (m == 1 || next.step == step)).then_some(both)
    }
}

/// A run in an input queue; or one in each of queues side by side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming {
    pub(super) words: Words,
    /// Wavelets.
    pub(super) count: u32,
    /// The flight that it belongs to, which may end later than the run says, and where it comes from.
    pub(super) flight: u32,
    pub(super) origin: Origin,
    /// Cycles in which the first one and the last one can be taken; those between lie on a line.
    pub(super) first: Line,
    pub(super) last: Line,
    /// Cycles by which the last one is later than if nothing but its sender held it up, and the sender nothing.
    hindered: Line,
}

/// What an instruction asks of the run that it waits for: all of an [`Incoming`] but for its words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ahead {
    pub(super) count: u32,
    pub(super) flight: u32,
    pub(super) origin: Origin,
    pub(super) first: Line,
    pub(super) last: Line,
}

impl Incoming {
    /// Nothing.
    pub(super) const NONE: Self = Self {
        words: Words { payload: Payload::UNKNOWN, start: 0, step: 0, pitch: 1 },
        count: 0,
        flight: LANDED,
        origin: Origin { sender: 0, step: 0 },
        first: Line { at: 0, slope: 0 },
        last: Line { at: 0, slope: 0 },
        hindered: Line { at: 0, slope: 0 },
    };

    /// What an instruction that waits for it asks, of the run of a queue so many places on.
    #[inline]
    pub(super) fn ahead(&self, i: u32) -> Ahead {
        let Self { count, flight, .. } = *self;
        Ahead { count, flight, origin: self.origin.from(i), first: self.first.from(i), last: self.last.from(i) }
    }

    /// `count` words that have come, `unhindered` being when the last would be there if nothing but the sender held it up.
    pub(super) fn new(
        (words, count): (Words, u32),
        (first, last): (Line, Line),
        (flight, origin): (u32, Origin),
        unhindered: Line,
    ) -> Self {
        let origin = if flight == LANDED { Origin::default() } else { origin };
        Self { words, count, flight, origin, first, last, hindered: last - unhindered }
    }

    /// The same where there is no time.
    pub(super) fn untimed(words: Words, count: u32) -> Self {
        Self { words, count, ..Self::NONE }
    }

    /// Cycles by which the last one, of queues so many places on, is later than it says when its flight has landed some cycles late.
    pub(super) fn lateness(&self, i: u32, delay: Line, n: &mut u32) -> Line {
        (delay - self.hindered.from(i)).max(Line::flat(0), n)
    }

    /// Its flight has landed, and its last one is so many cycles late.
    pub(super) fn land(&mut self, late: Line) {
        self.last = self.last + late;
        (self.flight, self.origin) = (LANDED, Origin::default());
    }

    /// The last one comes no sooner than in a cycle.
    pub(super) fn hold(&mut self, last: Line, n: &mut u32) {
        let late = (last - self.last).max(Line::flat(0), n);
        (self.last, self.hindered) = (self.last + late, self.hindered + late);
    }

    pub(super) fn is_unknown(&self) -> bool {
        self.words.payload == Payload::UNKNOWN
    }

    /// That of the first queue, as it would be if it came from a queue of the other kind.
    pub(super) fn run(&self) -> Run {
        let times = (self.first.at as u64, self.last.at as u64);
        let run = Run::new(self.words.payload, self.count as usize, times, 0, Sender::Pe(0));
        Run { start: self.words.start, ..run }
    }

    /// Whether the wavelets of all queues come at the same pace.
    pub(super) fn is_even(&self) -> bool {
        self.first.slope == self.last.slope
    }

    /// The first `count` wavelets, which are fewer than all, and the others, of a single queue or of several at the same pace.
    pub(super) fn split(&self, count: u32) -> (Self, Self) {
        let span = self.last.at - self.first.at;
        let after = |wavelets: u32| self.first.plus(span * i64::from(wavelets) / i64::from(self.count - 1));
        let part = Self { count, last: after(count - 1), ..*self };
        let (words, left) = (self.words.behind(count), self.count - count);
        (part, Self { words, count: left, first: after(count), ..*self })
    }
}

impl Along for Incoming {
    fn along(&self, i: u32) -> Self {
        let [first, last, hindered] = [self.first, self.last, self.hindered].map(|line| line.from(i));
        Self { words: self.words.along(i), origin: self.origin.from(i), first, last, hindered, ..*self }
    }

    fn back(&self) -> Self {
        let [first, last, hindered] = [self.first, self.last, self.hindered].map(|line| line.back());
        Self { first, last, hindered, ..*self }
    }

    fn joined(&self, n: u32, next: &Self, m: u32) -> Option<Self> {
        if (self.count, self.flight) != (next.count, next.flight) {
            return None;
        }
        Some(Self {
            words: self.words.joined(n, &next.words, m)?,
            origin: self.origin.joined(n, next.origin, m)?,
            first: self.first.joined(n, next.first, m)?,
            last: self.last.joined(n, next.last, m)?,
            hindered: self.hindered.joined(n, next.hindered, m)?,
            ..*self
        })
    }
}
