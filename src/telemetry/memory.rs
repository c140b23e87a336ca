//! Memory.
//!
//! | | |
//! |---|---|
//! | source | `proc/meminfo`: MemTotal, MemFree, MemAvailable |
//! | unit | KiB (which the file calls kB) |
//! | range | as the kernel says |
//! | failure | `Query`: the file cannot be read · `Parse`: a figure is missing (MemAvailable before Linux 3.14) or no number |
//!
//! This is the most expensive of the plain files, some microseconds, and clients ask for it often. Sharing a
//! reading for a tenth of a second loses nothing: the kernel sums up its per-CPU counters only about once a
//! second (`vm.stat_interval`), so the figures do not move more often than that anyway.

use std::path::Path;

use super::kept_file::KeptFile;
use crate::types::reading::{Memory, Missing, Reading};

const WHAT: &str = "system memory";

/// The three figures are the file's first three lines, 28 bytes each; the rest is not even copied.
const BUFFER_BYTES: usize = 512;

/// `proc/meminfo`.
pub struct Source(KeptFile);

impl Source {
    pub fn new(root: &Path) -> Source {
        Source(KeptFile::new(root.join("proc/meminfo")))
    }

    /// Reads the figures, without allocating.
    pub fn read(&self) -> Reading<Memory> {
        let mut buffer = [0; BUFFER_BYTES];
        let text = self.0.read(&mut buffer).map_err(|_| Missing::Query(WHAT))?;
        parse(text).ok_or(Missing::Parse(WHAT))
    }
}

/// Takes the beginning of the file: a last line that was cut off is not mistaken for a figure, because its unit
/// is missing.
fn parse(text: &[u8]) -> Option<Memory> {
    let (mut total, mut free, mut available) = (None, None, None);
    for line in text.split(|byte| *byte == b'\n') {
        if let Some(figure) = line.strip_prefix(b"MemTotal:") {
            total = Some(kib(figure)?);
        } else if let Some(figure) = line.strip_prefix(b"MemFree:") {
            free = Some(kib(figure)?);
        } else if let Some(figure) = line.strip_prefix(b"MemAvailable:") {
            available = Some(kib(figure)?);
        }
        if let (Some(total_kib), Some(free_kib), Some(available_kib)) = (total, free, available) {
            return Some(Memory { total_kib, free_kib, available_kib });
        }
    }
    None
}

/// `         441776 kB` → 441776
fn kib(figure: &[u8]) -> Option<u64> {
    let digits = figure.trim_ascii().strip_suffix(b" kB")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PI_ZERO: &str = "MemTotal:         441776 kB\nMemFree:          158204 kB\nMemAvailable:     325736 kB\n\
                           Buffers:           22812 kB\n";

    #[test]
    fn the_three_figures() {
        let memory = Memory { total_kib: 441_776, free_kib: 158_204, available_kib: 325_736 };
        assert_eq!(parse(PI_ZERO.as_bytes()), Some(memory));
        let reversed: Vec<&str> = PI_ZERO.lines().rev().collect();
        assert_eq!(parse(reversed.join("\n").as_bytes()), Some(memory));
    }

    #[test]
    fn a_missing_or_broken_figure_is_refused() {
        assert_eq!(parse(b""), None);
        for (good, bad) in [
            ("MemAvailable", "MemObtainable"),
            ("441776", "-1"),
            ("441776", "+1"),
            ("441776", ""),
            ("441776", "4e5"),
            ("441776", "99999999999999999999999"),
            ("441776 kB", "441776"),
            ("441776 kB", "431 MB"),
        ] {
            assert_eq!(parse(PI_ZERO.replacen(good, bad, 1).as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_cut_off_line_is_no_figure() {
        let end = PI_ZERO.find("736 kB").unwrap();
        assert_eq!(parse(&PI_ZERO.as_bytes()[..end]), None);
    }
}
