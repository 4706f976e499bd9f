//! The rows as a table.

use super::row::{Row, significant};

const HEAD: [&str; 7] = ["group", "what", "seconds", "CPU seconds", "peak MiB", "cycles", "result"];

/// A table in Markdown whose columns are straight in plain text too.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut cells = vec![HEAD.map(String::from)];
    cells.extend(rows.iter().map(cells_of));
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; HEAD.len()] = std::array::from_fn(width);
    let line = |row: &[String; HEAD.len()]| {
        let padded = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            if (2..=5).contains(&column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        format!("| {} |", padded.collect::<Vec<_>>().join(" | "))
    };
    let rule = widths.iter().map(|w| "-".repeat(*w)).collect::<Vec<_>>().join(" | ");
    let mut lines: Vec<String> = cells.iter().map(line).collect();
    lines.insert(1, format!("| {rule} |"));
    lines.join("\n")
}

fn cells_of(row: &Row) -> [String; HEAD.len()] {
    let number = |value: Option<f64>| value.map(significant).unwrap_or_default();
    let mut results: Vec<String> = row.figures.iter().map(ToString::to_string).collect();
    results.extend(row.reason.clone());
    [
        row.group.into(),
        row.what.clone(),
        number(row.seconds),
        number(row.cpu_seconds),
        number(row.peak_bytes.map(|b| b as f64 / f64::from(1 << 20))),
        row.cycles.map(|c| c.to_string()).unwrap_or_default(),
        // A bar would end the cell.
        results.join("; ").replace('|', "/"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_without_a_result_says_why() {
        let mut rows = [Row::new("a", "first".into()), Row::new("a", "second".into())];
        rows[0].figure(7.0, "s", None);
        rows[1].reason = Some("does not fit".into());
        let table = markdown(&rows);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[2].ends_with("| 7 s          |"), "{}", lines[2]);
        assert!(lines[3].ends_with("| does not fit |"), "{}", lines[3]);
        assert!(lines.iter().all(|l| l.chars().count() == lines[0].len()));
    }
}
