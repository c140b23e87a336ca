//! How many edges the kernel took, and what of them has been told.
//!
//! sysfs wakes a reader once for any number of edges, without a number or a time. But the kernel counts: every line
//! whose `edge` is set has a row in `/proc/interrupts`, with the words of its chip, its number and `gpiolib`. What
//! it has counted beyond what was told is a loss, and is told as one with the next edge.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::types::line::{Edge, Level};

const INTERRUPTS: &str = "/proc/interrupts";

/// What the kernel gives an interrupt of sysfs as its user's name.
const USER: &str = "gpiolib";

/// More than any machine's table, so that reading ends.
const MAX_BYTES: usize = 1024 * 1024;

/// The interrupts of sysfs lines by number: how often each came (modulo 2³²), and the rest of its row.
pub type Counts = BTreeMap<u32, (u32, String)>;

/// The table, kept open.
pub struct Interrupts {
    file: File,
    buffer: Vec<u8>,
}

impl Interrupts {
    pub fn open() -> io::Result<Interrupts> {
        Ok(Interrupts { file: File::open(INTERRUPTS)?, buffer: vec![0; 4096] })
    }

    pub fn read(&mut self) -> io::Result<Counts> {
        let mut length = 0;
        loop {
            match self.file.read_at(&mut self.buffer[length..], length as u64)? {
                0 => break,
                more => length += more,
            }
            if length == self.buffer.len() {
                if length >= MAX_BYTES {
                    return Err(io::Error::other("the table of interrupts has no end"));
                }
                self.buffer.resize(length * 2, 0);
            }
        }
        Ok(counts(&String::from_utf8_lossy(&self.buffer[..length])))
    }
}

/// The rows of sysfs lines: ` 64:   12   30   pinctrl-bcm2835  17 Edge   gpiolib`, with a number per processor.
fn counts(table: &str) -> Counts {
    let mut lines = table.lines();
    let processors = lines.next().map_or(0, |header| header.split_whitespace().count());
    lines.filter_map(|line| row(line, processors)).collect()
}

fn row(line: &str, processors: usize) -> Option<(u32, (u32, String))> {
    let (number, mut rest) = line.split_once(':')?;
    let number = number.trim().parse().ok()?;
    let mut count = 0u32;
    for _ in 0..processors {
        let trimmed = rest.trim_start();
        let (word, after) = trimmed.split_at(trimmed.find(char::is_whitespace).unwrap_or(trimmed.len()));
        count = count.wrapping_add(word.parse().ok()?);
        rest = after;
    }
    words(rest).any(|word| word == USER).then(|| (number, (count, rest.trim().to_owned())))
}

/// Several users of one interrupt are separated by commas.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', ',']).filter(|word| !word.is_empty())
}

/// The interrupt that has come with a line's `edge`: the one row that is new. Should somebody else have set an edge
/// at the same moment, the line's number on its chip decides; `None` where that does not help either.
pub fn newcomer(before: &Counts, after: &Counts, offset: u32) -> Option<(u32, u32)> {
    let new: Vec<_> = after.iter().filter(|(number, _)| !before.contains_key(number)).collect();
    let offset = offset.to_string();
    let numbered: Vec<_> = new.iter().filter(|(_, (_, row))| words(row).any(|word| word == offset)).collect();
    match (&new[..], &numbered[..]) {
        ([(number, (count, _))], _) | (_, [(number, (count, _))]) => Some((**number, *count)),
        _ => None,
    }
}

/// One line's account: what the kernel counted, and what was told of it.
#[derive(Debug)]
pub struct Ledger {
    kinds: Edge,
    /// The level that was last told.
    told: Level,
    /// The level that was last read.
    seen: Level,
    /// What has been told up to, as the kernel counts; `None` where it does not.
    counted: Option<u32>,
}

/// An edge to tell of: the level after it, and how many were lost just before it.
pub type Told = (Level, u32);

impl Ledger {
    pub fn new(kinds: Edge, level: Level, counted: Option<u32>) -> Ledger {
        Ledger { kinds, told: level, seen: level, counted }
    }

    /// The level that was last read.
    pub fn seen(&self) -> Level {
        self.seen
    }

    /// The kernel has woken us, and `level` was read. `count` must have been read *before* that: an edge between
    /// the two is then found by [`Ledger::settle`], whereas the other way round it would be told twice.
    pub fn wake(&mut self, level: Level, count: Option<u32>) -> Option<Told> {
        self.seen = level;
        match self.counted {
            Some(_) => self.counted_edges(count),
            // Without a count: a change is an edge, and no change means that it went there and back.
            None if self.kinds == Edge::Both => {
                let lost = u32::from(level == self.told);
                Some((self.tell(), lost))
            }
            None => Some((self.tell(), 0)),
        }
    }

    /// Nothing has happened for a moment. What the kernel counted while the level was read is told now; so is a
    /// level that changed without being counted.
    pub fn settle(&mut self, count: Option<u32>) -> Option<Told> {
        self.counted?;
        let edges = self.counted_edges(count);
        let unexplained = edges.is_none() && self.kinds == Edge::Both && self.seen != self.told;
        if unexplained { Some((self.tell(), 0)) } else { edges }
    }

    /// Where the row has gone (another program has changed `edge`) counting is over.
    fn counted_edges(&mut self, count: Option<u32>) -> Option<Told> {
        let new = match (count, self.counted) {
            (Some(count), Some(counted)) => count.wrapping_sub(counted),
            _ => u32::from(self.seen != self.told),
        };
        self.counted = count;
        let lost = new.checked_sub(1)?;
        Some((self.tell(), lost))
    }

    /// After a rising edge a line is high, however low it may be by the time somebody looks.
    fn tell(&mut self) -> Level {
        self.told = match self.kinds {
            Edge::Rising => Level::High,
            Edge::Falling => Level::Low,
            Edge::Both | Edge::None => self.seen,
        };
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Level::{High, Low};

    const PI: &str = "           CPU0       CPU1       CPU2       CPU3       \n \
        26:       1000       2000          0          5     GICv2 153 Level     Arch Timer\n\
        181:          3          4          0          1  pinctrl-bcm2835  17 Edge      gpiolib\n\
        182:          9          0          0          0  pinctrl-bcm2835  27 Edge      foo, gpiolib\n\
        183:          9          0          0          0  pinctrl-bcm2835  22 Edge      gpiolib-like\n\
        IPI0:        10         20         30         40       Rescheduling interrupts\n\
        Err:          0\n";
    const UML: &str =
        "           CPU0       \n  0:       1971   SIGALRM      hr timer\n 64:          1   irq_sim  17  gpiolib\n";

    #[test]
    fn the_rows_of_sysfs_lines_are_found_and_summed_up() {
        let pi = counts(PI);
        assert_eq!(pi.keys().copied().collect::<Vec<_>>(), [181, 182]);
        assert_eq!((pi[&181].0, pi[&182].0), (8, 9));
        assert_eq!(counts(UML).into_iter().map(|(number, (count, _))| (number, count)).collect::<Vec<_>>(), [(64, 1)]);
        assert_eq!(counts(""), Counts::new());
        assert_eq!(counts(" CPU0\n 64: x gpiolib\n65:\n"), Counts::new());
    }

    #[test]
    fn the_new_row_is_the_lines_own() {
        let (none, pi) = (Counts::new(), counts(PI));
        let mut one = pi.clone();
        one.remove(&181);
        assert_eq!(newcomer(&one, &pi, 5), Some((181, 8)), "the only new one, whatever its words");
        assert_eq!(newcomer(&none, &pi, 27), Some((182, 9)), "two are new, its number decides");
        assert_eq!(newcomer(&none, &pi, 5), None);
        assert_eq!(newcomer(&pi, &pi, 17), None);
    }

    #[test]
    fn told_and_lost_are_what_the_kernel_counted() {
        let mut ledger = Ledger::new(Edge::Both, Low, Some(u32::MAX));
        assert_eq!(ledger.wake(High, Some(0)), Some((High, 0)), "the count wraps");
        assert_eq!(ledger.wake(High, Some(2)), Some((High, 1)), "there and back");
        assert_eq!(ledger.wake(Low, Some(2)), None, "read before it was counted");
        assert_eq!(ledger.settle(Some(3)), Some((Low, 0)));
        assert_eq!(ledger.settle(Some(3)), None);
        assert_eq!(ledger.wake(Low, Some(3)), None, "woken by one that was told already");
        assert_eq!(ledger.settle(Some(7)), Some((Low, 3)), "counted while the level was read");
        assert_eq!(ledger.wake(High, Some(7)), None);
        assert_eq!(ledger.settle(Some(7)), Some((High, 0)), "a change that nobody counted");
    }

    #[test]
    fn one_kind_of_edge_tells_the_level_after_it() {
        let mut ledger = Ledger::new(Edge::Rising, Low, Some(0));
        assert_eq!(ledger.wake(Low, Some(1)), Some((High, 0)), "a pulse");
        assert_eq!(ledger.wake(High, Some(4)), Some((High, 2)));
        assert_eq!(ledger.settle(Some(4)), None);
        let mut ledger = Ledger::new(Edge::Falling, Low, None);
        assert_eq!(ledger.wake(High, None), Some((Low, 0)));
    }

    #[test]
    fn without_a_count_an_unchanged_level_is_two_edges() {
        let mut ledger = Ledger::new(Edge::Both, Low, None);
        assert_eq!(ledger.wake(High, None), Some((High, 0)));
        assert_eq!(ledger.wake(High, None), Some((High, 1)));
        assert_eq!(ledger.settle(None), None);
        let mut ledger = Ledger::new(Edge::Both, Low, Some(1));
        assert_eq!(ledger.wake(High, None), Some((High, 0)), "the row has gone");
        assert_eq!(ledger.wake(High, None), Some((High, 1)));
    }
}
