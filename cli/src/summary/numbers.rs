//! Numbers for people.

/// `1234567` as `1 234 567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// A share of 1, in percent.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Bytes in KiB or MiB.
pub(super) fn bytes(bytes: f64) -> String {
    match bytes {
        b if b < 1024.0 => format!("{b:.0} B"),
        b if b < 1024.0 * 1024.0 => format!("{:.1} KiB", b / 1024.0),
        b => format!("{:.1} MiB", b / (1024.0 * 1024.0)),
    }
}

/// Seconds in a unit that fits.
pub(super) fn duration(seconds: f64) -> String {
    match seconds {
        0.0 => "0 s".into(),
        s if s < 1e-6 => format!("{:.0} ns", s * 1e9),
        s if s < 1e-3 => format!("{:.1} µs", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

/// A number with the prefix that fits, and a space before it: `850 M`.
pub(super) fn si(number: f64) -> String {
    const PREFIXES: [(&str, f64); 5] = [("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)];
    let (prefix, unit) = PREFIXES.into_iter().find(|(_, unit)| number >= *unit).unwrap_or(("", 1.0));
    // Three digits are enough.
    let scaled = number / unit;
    let decimals = match scaled {
        s if s >= 100.0 || s.fract() == 0.0 => 0,
        s if s >= 10.0 => 1,
        _ => 2,
    };
    format!("{scaled:.decimals$} {prefix}")
}

/// A name of at most so many characters; the end says more than the start.
pub(crate) fn short(name: &str, most: usize) -> String {
    let count = name.chars().count();
    if count <= most {
        return name.into();
    }
    let end: String = name.chars().skip(count + 1 - most).collect();
    format!("…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([grouped(0), grouped(999), grouped(1000), grouped(1_234_567)], ["0", "999", "1 000", "1 234 567"]);
        assert_eq!([bytes(10.0), bytes(1536.0), bytes(3.0 * 1024.0 * 1024.0)], ["10 B", "1.5 KiB", "3.0 MiB"]);
        assert_eq!(
            [duration(0.0), duration(5e-8), duration(1.25e-4), duration(2.5)],
            ["0 s", "50 ns", "125.0 µs", "2.50 s"]
        );
        assert_eq!([si(850e6), si(1.1e9), si(12.0), si(25_600.0)], ["850 M", "1.10 G", "12 ", "25.6 k"]);
        assert_eq!(percent(0.1234), "12.3 %");
        assert_eq!([short("abcdef", 6), short("abcdefg", 6)], ["abcdef", "…cdefg"]);
    }
}
