//! Waits for memory: more reads in a cycle than there are ports, and reads that meet in a bank.

use waferloom_fabric::Machine;

/// Loops of an instruction over memory, the innermost first.
pub(crate) const LOOPS: usize = 4;

/// A vector that is read: where it begins, and the bytes from an element to the next one of each loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Walk {
    pub(crate) at: i64,
    pub(crate) steps: [i64; LOOPS],
}

impl Walk {
    /// Address of a row's first element.
    #[inline]
    pub(crate) fn start(&self, [i1, i2, i3]: [i64; 3]) -> i64 {
        self.at + self.steps[1] * i1 + self.steps[2] * i2 + self.steps[3] * i3
    }
}

/// The counters of the outer loops at each row.
pub(crate) struct Rows {
    lens: [i64; 3],
    next: [i64; 3],
}

impl Rows {
    /// Of a nest of loops that are all entered.
    #[inline]
    pub(crate) fn new(lens: [u32; LOOPS]) -> Self {
        let [_, l1, l2, l3] = lens.map(i64::from);
        Self { lens: [l1, l2, l3], next: [0; 3] }
    }
}

impl Iterator for Rows {
    type Item = [i64; 3];

    #[inline]
    fn next(&mut self) -> Option<[i64; 3]> {
        let row = self.next;
        if row[2] == self.lens[2] {
            return None;
        }
        self.next[0] += 1;
        if self.next[0] == self.lens[0] {
            self.next[0] = 0;
            self.next[1] += 1;
            if self.next[1] == self.lens[1] {
                self.next[1] = 0;
                self.next[2] += 1;
            }
        }
        Some(row)
    }
}

/// Waits of nests that have been counted. The power of two that the table's length is.
const REMEMBERED: u32 = 12;

/// What a nest waited.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// Its number; 0 for none.
    nest: u32,
    phases: u64,
    stall: u64,
}

/// Counts waits for memory, and remembers those of nests. They are the same when all vectors lie where they lay modulo the
/// bytes after which banks repeat, as long as no two of them share a word.
pub(crate) struct Conflicts {
    pub(crate) banks: Banks,
    known: Vec<Known>,
}

impl Conflicts {
    pub(crate) fn new(machine: &Machine) -> Self {
        Self { banks: Banks::new(machine), known: Vec::new() }
    }

    /// Whether an element with a single read never waits.
    #[inline]
    pub(crate) fn single_reads_are_free(&self) -> bool {
        self.banks.reads_per_cycle > 0
    }

    /// What the reads of all elements of a nest wait. `nest`: its number, if its loops and steps are always the same.
    /// `spans`: the bytes that each of the vectors lies in.
    pub(crate) fn nest(
        &mut self,
        nest: Option<u32>,
        lens: [u32; LOOPS],
        lanes: u64,
        reads: &[Walk],
        spans: &[(i64, i64)],
    ) -> u64 {
        let Some((nest, phases)) = nest.zip(self.banks.phases(reads, spans)) else {
            return self.banks.count(lens, lanes, reads);
        };
        if self.known.is_empty() {
            self.known = vec![Known::default(); 1 << REMEMBERED];
        }
        let hash = (phases ^ u64::from(nest) << 52 ^ u64::from(nest) >> 12).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let place = (hash >> (64 - REMEMBERED)) as usize;
        let found = self.known[place];
        if found.nest == nest && found.phases == phases {
            return found.stall;
        }
        let stall = self.banks.count(lens, lanes, reads);
        self.known[place] = Known { nest, phases, stall };
        stall
    }
}

/// Waits for memory, added up over groups of elements that share a cycle: the longest of a group counts.
pub(crate) struct Stalls {
    lanes: u64,
    in_group: u64,
    worst: u64,
    total: u64,
}

impl Stalls {
    pub(crate) fn new(lanes: u64) -> Self {
        Self { lanes, in_group: 0, worst: 0, total: 0 }
    }

    fn push(&mut self, stall: u64) {
        self.worst = self.worst.max(stall);
        self.in_group += 1;
        if self.in_group == self.lanes {
            self.total += self.worst;
            (self.in_group, self.worst) = (0, 0);
        }
    }

    /// `count` elements that all wait as long.
    fn push_many(&mut self, stall: u64, mut count: u64) {
        while count > 0 && self.in_group != 0 {
            self.push(stall);
            count -= 1;
        }
        self.total += count / self.lanes * stall;
        for _ in 0..count % self.lanes {
            self.push(stall);
        }
    }

    pub(crate) fn finish(self) -> u64 {
        self.total + self.worst
    }
}

/// How reads of memory get into each other's way.
pub(crate) struct Banks {
    reads_per_cycle: u64,
    count: u32,
    modulo: u32,
    /// Both are powers of two: a mask does for both remainders.
    mask: Option<u32>,
    /// Bytes after which banks repeat, if that fits 16 bits.
    period: Option<i64>,
}

impl Banks {
    fn new(machine: &Machine) -> Self {
        let (count, modulo) = (machine.sram_banks, machine.bank_conflict_modulo);
        let mask = (count.is_power_of_two() && modulo.is_power_of_two()).then(|| count.min(modulo) - 1);
        let period = Some(8 * mask.map_or(i64::from(count), |mask| i64::from(mask) + 1)).filter(|&p| p <= 1 << 16);
        Self { reads_per_cycle: machine.sram_reads_per_cycle.into(), count, modulo, mask, period }
    }

    /// What the waits of a nest depend on besides its loops and steps: where each vector begins within a period, and which
    /// ones are the same. `None` when two others share a word.
    fn phases(&self, reads: &[Walk], spans: &[(i64, i64)]) -> Option<u64> {
        let period = self.period?;
        let mut phases = 0;
        for (i, (read, span)) in reads.iter().zip(spans).enumerate() {
            // Each is less than the period: 16 bits; 3 vectors leave 16 bits for their pairs.
            phases |= (read.at.rem_euclid(period) as u64) << (16 * i);
            for (j, (other, extent)) in reads[..i].iter().zip(spans).enumerate() {
                if read == other {
                    phases |= 1 << (48 + i + j);
                } else if span.0 >> 3 <= (extent.1 - 1) >> 3 && extent.0 >> 3 <= (span.1 - 1) >> 3 {
                    return None;
                }
            }
        }
        Some(phases)
    }

    /// What the reads of all elements of a nest wait, row by row.
    fn count(&self, lens: [u32; LOOPS], lanes: u64, reads: &[Walk]) -> u64 {
        let mut stalls = Stalls::new(lanes);
        for outer in Rows::new(lens) {
            let mut row = [(0, 0); 3];
            for (slot, walk) in row.iter_mut().zip(reads) {
                *slot = (walk.start(outer), walk.steps[0]);
            }
            self.row(&row[..reads.len()], u64::from(lens[0]), &mut stalls);
        }
        stalls.finish()
    }

    /// Waits of a row from its first element on; `reads` are the addresses and steps of the sources in memory.
    fn row(&self, reads: &[(i64, i64)], count: u64, stalls: &mut Stalls) {
        let mut first = [0; 3];
        let mut moving = [(0, 0); 3];
        let mut streams = 0;
        for (slot, &(at, step)) in first.iter_mut().zip(reads) {
            *slot = at;
            if step != 0 {
                moving[streams] = (at, step);
                streams += 1;
            }
        }
        self.segment(&first[..reads.len()], &moving[..streams], count, stalls);
    }

    /// Waits of a segment: what its first element reads, and those of its vectors that move on (address and step). What is
    /// repeated along a row is read only with the row's first element.
    pub(crate) fn segment(&self, first: &[i64], moving: &[(i64, i64)], count: u64, stalls: &mut Stalls) {
        stalls.push(self.stall(first));
        self.count_moving(moving, count, stalls);
    }

    /// Whether reads of two 64-bit words collide.
    fn collide(&self, a: i64, b: i64) -> bool {
        let (a, b) = ((a / 8) as u32, (b / 8) as u32);
        let same = match self.mask {
            Some(mask) => (a ^ b) & mask == 0,
            None => a % self.count % self.modulo == b % self.count % self.modulo,
        };
        same && a != b
    }

    /// What a cycle's reads wait: more operands than ports, and two reads of the same bank.
    fn stall(&self, reads: &[i64]) -> u64 {
        let ports = (reads.len() as u64).div_ceil(self.reads_per_cycle).saturating_sub(1);
        if ports > 0 {
            return ports;
        }
        let collides = |(i, &a): (usize, &i64)| reads[..i].iter().any(|&b| self.collide(a, b));
        u64::from(reads.iter().enumerate().any(collides))
    }

    /// Waits of the elements behind a segment's first one.
    fn count_moving(&self, moving: &[(i64, i64)], count: u64, stalls: &mut Stalls) {
        let streams = moving.len();
        let ports = (streams as u64).div_ceil(self.reads_per_cycle).saturating_sub(1);
        if ports > 0 || streams < 2 {
            return stalls.push_many(ports, count - 1);
        }
        let (a, b) = (moving[0], moving[1]);
        if streams == 2 && a.1 == b.1 && (a.0 - b.0) % 8 == 0 {
            // The two stay equally far apart, in whole words.
            return stalls.push_many(u64::from(self.collide(a.0, b.0)), count - 1);
        }
        let collides = |i: i64| u64::from(self.collide(a.0 + i * a.1, b.0 + i * b.1));
        if streams == 2 && stalls.lanes == 1 {
            stalls.total += (1..count as i64).map(collides).sum::<u64>();
        } else if streams == 2 {
            (1..count as i64).for_each(|i| stalls.push(collides(i)));
        } else {
            let mut places = [0; 3];
            for i in 1..count as i64 {
                for (place, (at, step)) in places.iter_mut().zip(moving) {
                    *place = at + i * step;
                }
                stalls.push(self.stall(&places[..streams]));
            }
        }
    }
}
