//! Aligned columns.

/// To which side the cells of a column go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows of equally many cells as lines with two spaces between columns, without spaces at the ends of lines.
pub(super) fn table(rows: Vec<Vec<String>>, align: &[Align]) -> String {
    let mut widths = vec![0; align.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut out = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).zip(align).map(|((cell, &width), align)| match align {
            Align::Left => format!("{cell:<width$}"),
            Align::Right => format!("{cell:>width$}"),
        });
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a", "µs"], ["bcd", "12345"]].map(|row| row.map(String::from).to_vec()).to_vec();
        assert_eq!(table(rows, &[Align::Left, Align::Right]), "a       µs\nbcd  12345\n");
    }
}
