//! Words of 16 PEs, turned over from lines of one word of each PE to rows of the words of one PE, and back.
//!
//! Four lines at a time: their 64 words are 16 times four that lie side by side in a row, which vector instructions of x86 bring together.

#![allow(clippy::inline_always, reason = "what is not inlined is not compiled for the host's vector instructions")]

use super::SIDE;
use crate::machine::compute::HOST;

/// What the PEs of a bank have at an address.
pub(super) type Line = [u32; SIDE];

/// Lines that are turned over at once.
const FOUR: usize = 4;

/// Lines of words that become rows: the first one of the first row, how many a row has, and how far the next one of a row is and the
/// first one of the next row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines {
    pub(super) first: usize,
    pub(super) each: usize,
    pub(super) step: isize,
    pub(super) next: isize,
}

/// Lines become the rows of their PEs, one behind the other, those of all PEs again and again `pitch` words farther. Lines that there are not
/// are zeros.
pub(super) fn to_rows(lines: &[Line], from: Lines, rows: &mut [u32], pitch: usize) {
    dispatch(ToRows { lines, from, rows, pitch });
}

/// Rows of `each` words of the PEs, one behind the other, again and again, become lines that follow each other.
pub(super) fn to_lines(rows: &[u32], lines: &mut [Line], each: usize) {
    dispatch(ToLines { rows, lines, each });
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
    from: Lines,
    rows: &'a mut [u32],
    pitch: usize,
}

impl Work for ToRows<'_> {
    #[inline(always)]
    fn run(self, turn: impl Turn) {
        let Self { lines, from: Lines { first, each, step, next }, rows, pitch } = self;
        for (i, rows) in rows.chunks_mut(pitch.max(1)).enumerate() {
            let first = first.wrapping_add_signed(next * i as isize);
            let line = |i: usize| lines.get(first.wrapping_add_signed(step * i as isize)).copied().unwrap_or_default();
            // Of as few as there are as a rule it is known how many they are.
            match each {
                1 => some_to_rows::<1>(turn, line, rows),
                2 => some_to_rows::<2>(turn, line, rows),
                3 => some_to_rows::<3>(turn, line, rows),
                4 => some_to_rows::<4>(turn, line, rows),
                5 => some_to_rows::<5>(turn, line, rows),
                6 => some_to_rows::<6>(turn, line, rows),
                8 => some_to_rows::<8>(turn, line, rows),
                _ => many_to_rows(turn, line, rows, each),
            }
        }
    }
}

/// Rows of a known number of words.
#[inline(always)]
fn some_to_rows<const EACH: usize>(turn: impl Turn, line: impl Fn(usize) -> Line, rows: &mut [u32]) {
    let Some(rows) = rows.as_chunks_mut::<EACH>().0.first_chunk_mut::<SIDE>() else { return };
    let whole = EACH / FOUR * FOUR;
    for i in (0..whole).step_by(FOUR) {
        let four = turn.turn([line(i), line(i + 1), line(i + 2), line(i + 3)]);
        for (k, four) in four.iter().enumerate() {
            for (j, own) in four.as_chunks::<FOUR>().0.iter().enumerate() {
                rows[j * FOUR + k][i..i + FOUR].copy_from_slice(own);
            }
        }
    }
    for i in whole..EACH {
        for (row, word) in rows.iter_mut().zip(line(i)) {
            row[i] = word;
        }
    }
}

/// Rows of any number.
#[inline(always)]
fn many_to_rows(turn: impl Turn, line: impl Fn(usize) -> Line, rows: &mut [u32], each: usize) {
    let whole = each / FOUR * FOUR;
    for i in (0..whole).step_by(FOUR) {
        let four = turn.turn([line(i), line(i + 1), line(i + 2), line(i + 3)]);
        for (k, four) in four.iter().enumerate() {
            for (j, own) in four.as_chunks::<FOUR>().0.iter().enumerate() {
                let at = (j * FOUR + k) * each + i;
                if let Some(to) = rows.get_mut(at..at + FOUR) {
                    to.copy_from_slice(own);
                }
            }
        }
    }
    for i in whole..each {
        for (word, to) in line(i).iter().zip(rows.iter_mut().skip(i).step_by(each)) {
            *to = *word;
        }
    }
}

struct ToLines<'a> {
    rows: &'a [u32],
    lines: &'a mut [Line],
    each: usize,
}

impl Work for ToLines<'_> {
    #[inline(always)]
    fn run(self, turn: impl Turn) {
        let Self { rows, lines, each } = self;
        let each = each.max(1);
        for (rows, lines) in rows.chunks_exact(SIDE * each).zip(lines.chunks_mut(each)) {
            match each {
                1 => some_to_lines::<1>(turn, rows, lines),
                2 => some_to_lines::<2>(turn, rows, lines),
                3 => some_to_lines::<3>(turn, rows, lines),
                4 => some_to_lines::<4>(turn, rows, lines),
                5 => some_to_lines::<5>(turn, rows, lines),
                6 => some_to_lines::<6>(turn, rows, lines),
                8 => some_to_lines::<8>(turn, rows, lines),
                _ => many_to_lines(turn, rows, lines),
            }
        }
    }
}

/// Rows of a known number of words.
#[inline(always)]
fn some_to_lines<const EACH: usize>(turn: impl Turn, rows: &[u32], lines: &mut [Line]) {
    let Some(rows) = rows.as_chunks::<EACH>().0.first_chunk::<SIDE>() else { return };
    let Some(lines) = lines.first_chunk_mut::<EACH>() else { return };
    let whole = EACH / FOUR * FOUR;
    for i in (0..whole).step_by(FOUR) {
        let mut own = [[0; SIDE]; FOUR];
        for (k, own) in own.iter_mut().enumerate() {
            for (j, own) in own.as_chunks_mut::<FOUR>().0.iter_mut().enumerate() {
                own.copy_from_slice(&rows[j * FOUR + k][i..i + FOUR]);
            }
        }
        for (line, own) in lines[i..i + FOUR].iter_mut().zip(turn.turn(own)) {
            *line = own;
        }
    }
    for (i, line) in lines.iter_mut().enumerate().skip(whole) {
        for (word, row) in line.iter_mut().zip(rows) {
            *word = row[i];
        }
    }
}

/// Rows of any number.
#[inline(always)]
fn many_to_lines(turn: impl Turn, rows: &[u32], lines: &mut [Line]) {
    let each = lines.len();
    let whole = each / FOUR * FOUR;
    for (i, four) in lines.as_chunks_mut::<FOUR>().0.iter_mut().enumerate() {
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
        for (word, from) in line.iter_mut().zip(rows.iter().skip(i).step_by(each)) {
            *word = *from;
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
        for (first, step, each) in [
            (0, 1, 1),
            (2, 1, 4),
            (30, -3, 7),
            (5, 0, 5),
            (1, 2, 16),
            (0, 1, 38),
            (2, 1, 2),
            (3, 1, 3),
            (1, 3, 6),
            (0, 2, 8),
        ] {
            // Two rows of each PE, of which the second one begins a line farther, and a word behind them.
            let pitch = each * SIDE + 1;
            let mut rows = vec![u32::MAX; 2 * pitch - 1];
            let from = Lines { first, each, step, next: 1 };
            to_rows(&lines, from, &mut rows, pitch);
            let line = |row: usize, i: usize| first.wrapping_add_signed(step * i as isize) + row;
            for (i, &found) in rows.iter().enumerate() {
                let (row, pe, word) = (i / pitch, i % pitch / each, i % pitch % each);
                let expected = if pe == SIDE { u32::MAX } else { pe as u32 * 100 + line(row, word) as u32 };
                assert_eq!(found, expected, "{from:?}: {i}");
            }
            let mut plain = vec![u32::MAX; rows.len()];
            ToRows { lines: &lines, from, rows: &mut plain, pitch }.run(Plain);
            assert_eq!(plain, rows);
            rows.remove(each * SIDE);
            let mut back = vec![[0; SIDE]; 2 * each];
            to_lines(&rows, &mut back, each);
            assert_eq!(back, (0..2 * each).map(|i| lines[line(i / each, i % each)]).collect::<Vec<_>>());
        }
    }
}
