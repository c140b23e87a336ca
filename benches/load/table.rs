//! The table at the end: one line per kind of work, next to what the project set out to reach.

use std::fmt;

const HEADINGS: [&str; 7] =
    ["work", "measured", "against", "rate: min / median / max", "CPU µs per unit", "CPU: min / median / max", "target"];

#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
}

/// One line; what does not apply is empty.
#[derive(Default)]
pub struct Row {
    pub work: String,
    pub daemon: String,
    pub reference: String,
    pub ratio: String,
    /// CPU time per unit of work, of both.
    pub cpu: String,
    pub cpu_ratio: String,
    pub target: Target,
}

/// What was to be reached, and whether it was.
#[derive(Default)]
pub struct Target(String);

impl Table {
    pub fn extend(&mut self, rows: impl IntoIterator<Item = Row>) {
        self.rows.extend(rows);
    }
}

impl Row {
    pub fn failed(work: String) -> Self {
        Self { work, daemon: "not measured".to_owned(), ..Self::default() }
    }

    fn cells(&self) -> [&str; HEADINGS.len()] {
        [&self.work, &self.daemon, &self.reference, &self.ratio, &self.cpu, &self.cpu_ratio, &self.target.0]
    }
}

impl Target {
    pub fn none() -> Self {
        Self::default()
    }

    /// For a rate, as a ratio.
    pub fn at_least(value: f64, target: f64) -> Self {
        Self(format!("rate ≥ {target} {}", verdict(value >= target)))
    }

    /// For a cost, as a ratio.
    pub fn at_most_times(value: f64, target: f64) -> Self {
        Self(format!("CPU ≤ {target} {}", verdict(value <= target)))
    }

    /// Ahead of a peer.
    pub fn ahead(own: f64, peer: f64) -> Self {
        Self(format!("daemon {:.2}× of it {}", own / peer, verdict(own > peer)))
    }

    /// For a cost.
    pub fn at_most(value: f64, target: f64, unit: &str) -> Self {
        Self(format!("≤ {target} {unit} {}", verdict(value <= target)))
    }
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = [HEADINGS].into_iter().chain(self.rows.iter().map(Row::cells)).collect();
        let mut widths = [0; HEADINGS.len()];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for (number, line) in lines.iter().enumerate() {
            write_line(out, line, widths)?;
            if number == 0 {
                let rules = widths.map(|width| "-".repeat(width));
                write_line(out, &rules.each_ref().map(String::as_str), widths)?;
            }
        }
        Ok(())
    }
}

fn write_line(out: &mut fmt::Formatter<'_>, cells: &[&str], widths: [usize; HEADINGS.len()]) -> fmt::Result {
    for (cell, width) in cells.iter().zip(widths) {
        write!(out, "| {cell:width$} ")?;
    }
    writeln!(out, "|")
}
