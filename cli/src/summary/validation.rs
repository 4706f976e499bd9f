//! The table of `validate`, for people.

use super::table::{Align, table as aligned};
use super::wrapped;
use crate::commands::validate::{Row, Verdict};
use std::fmt::Write as _;

/// One line a row, then what the rows need to be understood.
pub(crate) fn table(rows: &[Row], points: bool) -> String {
    let heading = ["row", "here", "off", ""].map(String::from).to_vec();
    let cells =
        rows.iter().map(|row| vec![row.id.clone(), row.found.clone(), row.off.clone(), word(row.verdict).into()]);
    let align = [Align::Left, Align::Left, Align::Right, Align::Left];
    let mut out = aligned(std::iter::once(heading).chain(cells).collect(), &align);
    out.push_str("\nwhat is published, and where\n");
    for row in rows {
        out.push_str(&wrapped(&format!("{}: {}", row.id, row.published), "  "));
        for text in [&row.note, &row.source] {
            if !text.is_empty() {
                out.push_str(&wrapped(text, "      "));
            }
        }
        if points {
            out.push_str(&point_table(row));
        }
    }
    let count = |v: Verdict| rows.iter().filter(|row| row.verdict == v).count();
    let (holds, fails, shown) = (count(Verdict::Holds), count(Verdict::Fails), count(Verdict::Shown));
    let _ = writeln!(out, "\n{holds} rows hold, {fails} fail, {shown} are shown only");
    out
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "holds",
        Verdict::Fails => "FAILS",
        Verdict::Shown => "shown",
    }
}

fn point_table(row: &Row) -> String {
    if row.points.is_empty() {
        return String::new();
    }
    let heading = ["    P", "B", "low", "high", "here", "off", ""].map(String::from).to_vec();
    let cells = row.points.iter().map(|p| {
        vec![
            p.pes.to_string(),
            p.elements.to_string(),
            format!("{:.0}", p.low),
            format!("{:.0}", p.high),
            p.cycles.to_string(),
            format!("{:+.1} %", p.error_percent),
            if p.holds { "" } else { "FAILS" }.to_string(),
        ]
    });
    aligned(std::iter::once(heading).chain(cells).collect(), &[Align::Right; 7])
}
