//! The memory map of a class: code at the top of SRAM, buffers and FIFOs below it, none over another.

use super::{Findings, Place};
use crate::program::{Class, Program};

/// A range of bytes that something occupies.
struct Range {
    start: u64,
    end: u64,
    what: String,
    /// Operators between which it holds something; `None` for always.
    live: Option<(u32, u32)>,
}

pub(super) fn check(program: &Program, class: &Class, found: &mut Findings) {
    let place = || Place::class(&class.name);
    let mut ranges = Vec::new();
    for buffer in &class.buffers {
        let what = format!("buffer {:?}", buffer.name);
        if !buffer.address.is_multiple_of(4) {
            let message = format!("{what} begins at {}, which is not a multiple of 4", buffer.address);
            found.error(place(), message, "move it to a whole word");
        }
        if let Some((first, last)) = buffer.live
            && (first > last || last as usize >= program.operators.len())
        {
            let message = format!("{what} lives from operator {first} to {last} of {}", program.operators.len());
            found.error(place(), message, "name two operators of the program, the first one first");
        }
        let start = u64::from(buffer.address);
        ranges.push(Range { start, end: start + u64::from(buffer.bytes), what, live: buffer.live });
    }
    for (index, fifo) in class.fifos.iter().enumerate() {
        let what = format!("FIFO {index}");
        if fifo.words == 0 || !fifo.address.is_multiple_of(4) {
            let message = format!("{what} holds {} words from {} on", fifo.words, fifo.address);
            found.error(place(), message, "give it at least one word, and an address that is a multiple of 4");
        }
        let start = u64::from(fifo.address);
        ranges.push(Range { start, end: start + u64::from(fifo.words) * 4, what, live: None });
    }
    fits(program, class, &ranges, found);
    overlaps(class, ranges, found);
}

fn fits(program: &Program, class: &Class, ranges: &[Range], found: &mut Findings) {
    let sram = u64::from(program.machine.sram_bytes);
    let code = u64::from(class.code_bytes(&program.machine));
    let Some(highest) = ranges.iter().max_by_key(|r| r.end) else {
        if code > sram {
            let message = format!("its code takes {code} bytes of SRAM, there are {sram}");
            found.error(Place::class(&class.name), message, "split the code over several classes");
        }
        return;
    };
    if highest.end + code > sram {
        let message = format!(
            "{} ends at {}, and the code takes the {code} bytes at the top of {sram} bytes of SRAM",
            highest.what, highest.end
        );
        let remedy = "make buffers smaller, let those share bytes that do not live at the same time, or use more PEs";
        found.error(Place::class(&class.name), message, remedy);
    }
}

fn overlaps(class: &Class, mut ranges: Vec<Range>, found: &mut Findings) {
    ranges.retain(|r| r.start < r.end);
    ranges.sort_by_key(|r| (r.start, r.end));
    for (index, first) in ranges.iter().enumerate() {
        let meeting = ranges[index + 1..].iter().take_while(|r| r.start < first.end);
        if found.omitted > 0 {
            // Enough has been said; each of many could lie over each other.
            return;
        }
        for second in meeting.filter(|second| both_alive(first.live, second.live)) {
            let message = format!(
                "{} and {} share the bytes {} to {}, and live at the same time",
                first.what,
                second.what,
                second.start,
                first.end.min(second.end)
            );
            found.error(Place::class(&class.name), message, "move one of them, or give lives that do not meet");
        }
    }
}

fn both_alive(a: Option<(u32, u32)>, b: Option<(u32, u32)>) -> bool {
    match (a, b) {
        (Some((a_first, a_last)), Some((b_first, b_last))) => a_first <= b_last && b_first <= a_last,
        _ => true,
    }
}
