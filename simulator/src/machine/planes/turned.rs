//! Words of 16 PEs, turned over from lines of one word of each PE to rows of the words of one PE, and back.
//!
//! Four lines at a time: their 64 words are 16 times four that lie side by side in a row, which vector instructions of x86 bring together.

use super::SIDE;
use crate::machine::compute::HOST;

/// What the PEs of a bank have at an address.
pub(super) type Line = [u32; SIDE];

/// Lines that are turned over at once.
const FOUR: usize = 4;

/// Lines from one on, each some lines behind the one before it, become the rows of their PEs, one behind the other: words whose number
/// a row has room for. Lines that there are not stay out.
pub(super) fn to_rows(lines: &[Line], (first, step): (usize, isize), rows: &mut [u32]) {
    dispatch(ToRows { lines, first, step, rows });
}

/// Rows of the PEs, one behind the other, each with a word for each line, become lines that follow each other.
pub(super) fn to_lines(rows: &[u32], lines: &mut [Line]) {
    dispatch(ToLines { rows, lines });
}

/// Turns each four words of four lines over: the first of all four, and so on.
trait Turn: Copy {
    fn turn(self, four: [Line; FOUR]) -> [Line; FOUR];
}

/// Something to be done with it.
trait Work {
    fn run(self, turn: impl Turn);
}

/// Without vector instructions of the host.
#[derive(Clone, Copy)]
struct Plain;

impl Turn for Plain {
    fn turn(self, four: [Line; FOUR]) -> [Line; FOUR] {
        std::array::from_fn(|k| std::array::from_fn(|at| four[at % FOUR][at / FOUR * FOUR + k]))
    }
}

#[cfg(target_arch = "x86_64")]
impl Turn for pulp::x86::V4 {
    #[inline(always)]
    fn turn(self, four: [Line; FOUR]) -> [Line; FOUR] {
        use pulp::bytemuck::cast;
        let host = self.avx512f;
        let [a, b, c, d] = [cast(four[0]), cast(four[1]), cast(four[2]), cast(four[3])];
        let low = [host._mm512_unpacklo_epi32(a, b), host._mm512_unpacklo_epi32(c, d)];
        let high = [host._mm512_unpackhi_epi32(a, b), host._mm512_unpackhi_epi32(c, d)];
        [
            cast(host._mm512_unpacklo_epi64(low[0], low[1])),
            cast(host._mm512_unpackhi_epi64(low[0], low[1])),
            cast(host._mm512_unpacklo_epi64(high[0], high[1])),
            cast(host._mm512_unpackhi_epi64(high[0], high[1])),
        ]
    }
}

fn dispatch(work: impl Work) {
    #[cfg(target_arch = "x86_64")]
    if let pulp::Arch::V4(host) = *HOST {
        struct On<W>(W, pulp::x86::V4);

        impl<W: Work> pulp::NullaryFnOnce for On<W> {
            type Output = ();

            #[inline(always)]
            #[expect(
                clippy::inline_always,
                reason = "what is not inlined is not compiled for the host's vector instructions"
            )]
            fn call(self) {
                self.0.run(self.1);
            }
        }

        return pulp::Simd::vectorize(host, On(work, host));
    }
    work.run(Plain);
}

struct ToRows<'a> {
    lines: &'a [Line],
    first: usize,
    step: isize,
    rows: &'a mut [u32],
}

impl Work for ToRows<'_> {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is not inlined is not compiled for the host's vector instructions")]
    fn run(self, turn: impl Turn) {
        let Self { lines, first, step, rows } = self;
        let each = rows.len() / SIDE;
        let line = |i: usize| lines.get(first.wrapping_add_signed(step * i as isize)).copied().unwrap_or_default();
        let mut done = 0;
        while done + FOUR <= each {
            let four = turn.turn([line(done), line(done + 1), line(done + 2), line(done + 3)]);
            for (k, four) in four.iter().enumerate() {
                for (i, own) in four.as_chunks::<FOUR>().0.iter().enumerate() {
                    let at = (i * FOUR + k) * each + done;
                    if let Some(to) = rows.get_mut(at..at + FOUR) {
                        to.copy_from_slice(own);
                    }
                }
            }
            done += FOUR;
        }
        for i in done..each {
            for (word, to) in line(i).iter().zip(rows[i..].iter_mut().step_by(each)) {
                *to = *word;
            }
        }
    }
}

struct ToLines<'a> {
    rows: &'a [u32],
    lines: &'a mut [Line],
}

impl Work for ToLines<'_> {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is not inlined is not compiled for the host's vector instructions")]
    fn run(self, turn: impl Turn) {
        let Self { rows, lines } = self;
        let each = lines.len();
        let (fours, _) = lines.as_chunks_mut::<FOUR>();
        let whole = fours.len() * FOUR;
        for (i, four) in fours.iter_mut().enumerate() {
            let mut own = [[0; SIDE]; FOUR];
            for (k, own) in own.iter_mut().enumerate() {
                for (j, own) in own.as_chunks_mut::<FOUR>().0.iter_mut().enumerate() {
                    let at = (j * FOUR + k) * each + i * FOUR;
                    if let Some(from) = rows.get(at..at + FOUR) {
                        own.copy_from_slice(from);
                    }
                }
            }
            *four = turn.turn(own);
        }
        for (i, line) in lines.iter_mut().enumerate().skip(whole) {
            for (word, from) in line.iter_mut().zip(rows.get(i..).unwrap_or_default().iter().step_by(each)) {
                *word = *from;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_rows_and_rows_lines() {
        // Of PE 3 the word at line 7 is 307.
        let lines: Vec<Line> = (0..40).map(|line| std::array::from_fn(|pe| pe as u32 * 100 + line)).collect();
        for (first, step, each) in [(0, 1, 1), (2, 1, 4), (30, -3, 7), (5, 0, 5), (1, 2, 16), (0, 1, 40)] {
            let mut rows = vec![u32::MAX; each * SIDE];
            to_rows(&lines, (first, step), &mut rows);
            let word =
                |i: usize| (i / each * 100) as u32 + first.wrapping_add_signed(step * (i % each) as isize) as u32;
            assert_eq!(rows, (0..each * SIDE).map(word).collect::<Vec<_>>(), "{first} {step} {each}");
            let mut plain = vec![u32::MAX; each * SIDE];
            ToRows { lines: &lines, first, step, rows: &mut plain }.run(Plain);
            assert_eq!(plain, rows);
            let mut back = vec![[0; SIDE]; each];
            to_lines(&rows, &mut back);
            let line = |i: usize| lines[first.wrapping_add_signed(step * i as isize)];
            assert_eq!(back, (0..each).map(line).collect::<Vec<_>>());
        }
    }
}
