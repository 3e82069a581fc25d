//! Tables for people: aligned columns, two spaces between, no lines.

/// Rows under a header. Numbers are aligned to the right, text to the left.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column titles.
    pub(crate) fn new(titles: &[&str]) -> Table {
        Table {
            rows: vec![titles.iter().map(|title| title.to_string()).collect()],
        }
    }

    /// Adds a row with as many cells as there are titles.
    pub(crate) fn row<const N: usize>(&mut self, cells: [&dyn std::fmt::Display; N]) {
        self.rows
            .push(cells.iter().map(|cell| printable(&cell.to_string())).collect());
    }

    /// True when no row was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }
}

/// Names come from a configuration: no control character of theirs reaches the terminal.
fn printable(cell: &str) -> String {
    if cell.is_empty() {
        return "-".into();
    }
    cell.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.first().map_or(0, Vec::len);
        let cells = |column: usize| self.rows.iter().filter_map(move |row| row.get(column));
        let width = |column: usize| cells(column).map(|cell| cell.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let is_number = |cell: &String| cell == "-" || cell.bytes().all(|byte| byte.is_ascii_digit());
        let numeric: Vec<bool> = (0..columns)
            .map(|column| cells(column).skip(1).all(is_number))
            .collect();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, &width), &numeric) in row.iter().zip(&widths).zip(&numeric) {
                let padding = " ".repeat(width - cell.chars().count());
                let (before, after) = if numeric {
                    (padding.as_str(), "")
                } else {
                    ("", padding.as_str())
                };
                line.push_str(&format!("{before}{cell}{after}  "));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["PORT", "PACKETS"]);
        assert!(table.is_empty());
        table.row([&"uplink", &7]);
        table.row([&"cloud\u{1b}-prod", &1234]);
        assert_eq!(
            table.to_string(),
            "PORT         PACKETS\nuplink             7\ncloud?-prod     1234\n"
        );
    }
}
