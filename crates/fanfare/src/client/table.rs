//! A table for people: numbers to the right, words to the left, by the columns that they take in a
//! terminal.

use super::amount::width;

/// A table that is written page by page; its columns may grow from one to the next.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    columns: [Column; N],
    widths: [usize; N],
}

/// One column.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column {
    /// Of words.
    Left(&'static str),
    /// Of numbers.
    Right(&'static str),
}

impl<const N: usize> Table<N> {
    /// A table with these columns and no rows.
    pub(crate) fn new(columns: [Column; N]) -> Self {
        Self { columns, widths: columns.map(|column| width(column.title())) }
    }

    /// The line above the rows. The rows are told so that it is as wide as they are.
    pub(crate) fn head(&mut self, rows: &[[String; N]]) -> String {
        self.widen(rows);
        self.line(&self.columns.map(|column| column.title().to_owned()))
    }

    /// A line for each of these rows.
    pub(crate) fn page(&mut self, rows: &[[String; N]]) -> String {
        self.widen(rows);
        rows.iter().map(|row| self.line(row)).collect()
    }

    fn widen(&mut self, rows: &[[String; N]]) {
        for row in rows {
            for (widest, cell) in self.widths.iter_mut().zip(row) {
                *widest = width(cell).max(*widest);
            }
        }
    }

    fn line(&self, cells: &[String; N]) -> String {
        let mut line = String::new();
        for ((column, widest), cell) in self.columns.iter().zip(self.widths).zip(cells) {
            let padding = " ".repeat(widest.saturating_sub(width(cell)));
            let separator = if line.is_empty() { "" } else { "  " };
            line.push_str(separator);
            match column {
                Column::Left(_) => line.extend([cell, padding.as_str()]),
                Column::Right(_) => line.extend([padding.as_str(), cell]),
            }
        }
        format!("{}\n", line.trim_end())
    }
}

impl Column {
    fn title(&self) -> &'static str {
        match self {
            Self::Left(title) | Self::Right(title) => title,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_a_terminal_shows_them() {
        let mut table = Table::new([Column::Right("N"), Column::Left("NAME"), Column::Right("X")]);
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        let rows = [row(["1", "新聞", "7"]), row(["1,000", "größe", ""])];
        let expected = "    N  NAME   X\n    1  新聞   7\n1,000  größe\n";
        assert_eq!(table.head(&rows) + &table.page(&rows), expected);
        assert_eq!(table.page(&[row(["2", "b", "3"])]), "    2  b      3\n");
    }
}
