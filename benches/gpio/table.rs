//! A table of texts, as Markdown with columns that line up.

use std::fmt;

pub struct Table {
    lines: Vec<Vec<String>>,
    /// How it was measured.
    below: String,
}

impl Table {
    pub fn new(headings: &[&str]) -> Table {
        Table { lines: vec![headings.iter().map(|text| (*text).to_owned()).collect()], below: String::new() }
    }

    /// A row with a cell for each heading.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.lines[0].len());
        self.lines.push(cells.into());
    }

    pub fn below(mut self, text: impl Into<String>) -> Table {
        self.below = text.into();
        self
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = |column: usize| self.lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.lines[0].len()).map(widest).collect();
        for (number, line) in self.lines.iter().enumerate() {
            for (cell, &width) in line.iter().zip(&widths) {
                write!(out, "| {cell:width$} ")?;
            }
            writeln!(out, "|")?;
            if number == 0 {
                widths.iter().try_for_each(|&width| write!(out, "|{}", "-".repeat(width + 2)))?;
                writeln!(out, "|")?;
            }
        }
        writeln!(out, "{}", self.below)
    }
}
