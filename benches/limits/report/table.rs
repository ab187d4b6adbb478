//! Rows of text under a heading.

use std::fmt::Write as _;

/// Columns: name, width in the terminal. The first two stand to the left.
type Columns = &'static [(&'static str, usize)];

#[derive(Debug)]
pub(crate) struct Table {
    columns: Columns,
    rows: Vec<Vec<String>>,
}

// === impl Table ===

impl Table {
    pub(crate) fn new(columns: Columns) -> Self {
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    pub(crate) fn columns(&self) -> Columns {
        self.columns
    }

    pub(crate) fn heading(&self) -> String {
        self.plain(self.columns.iter().map(|(name, _)| *name))
    }

    /// Keeps it; how it is printed.
    pub(crate) fn add(&mut self, cells: Vec<String>) -> String {
        let text = self.plain(cells.iter().map(String::as_str));
        self.rows.push(cells);
        text
    }

    pub(crate) fn markdown(&self) -> String {
        let line = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
        let mut text = line(self.columns.iter().map(|(name, _)| *name).collect());
        text += &line(self.columns.iter().map(|_| "---").collect());
        for row in &self.rows {
            text += &line(row.iter().map(String::as_str).collect());
        }
        text
    }

    fn plain<'a>(&self, cells: impl Iterator<Item = &'a str>) -> String {
        let mut text = String::new();
        for (index, (cell, (_, width))) in cells.zip(self.columns).enumerate() {
            let _ = match index < 2 {
                true => write!(text, "{cell:<width$} "),
                false => write!(text, "{cell:>width$} "),
            };
        }
        text.trim_end().to_owned()
    }
}
