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
    /// For how many settlings in a row a change of the level has been there that was not counted.
    doubts: u32,
}

/// How many settlings an interrupt gets to follow the change of level it is for. Told before, its edge would be told
/// twice; it comes within microseconds on a Pi, within some ticks on a simulated chip of a busy machine.
const MAX_DOUBTS: u32 = 100;

/// An edge to tell of: the level after it, and how many were lost just before it.
pub type Told = (Level, u32);

impl Ledger {
    pub fn new(kinds: Edge, level: Level, counted: Option<u32>) -> Ledger {
        Ledger { kinds, told: level, seen: level, counted, doubts: 0 }
    }

    /// Whether the kernel has counted more than was told: then the level is to be read, and [`Ledger::wake`] told.
    pub fn is_behind(&self, count: Option<u32>) -> bool {
        self.counted.zip(count).is_some_and(|(counted, count)| counted != count)
    }

    /// There are edges to tell of, and `level` was read. `count` must have been read *before* that: an edge between
    /// the two is then counted the next time, whereas the other way round its level would be told without it.
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

    /// Nothing has happened for a moment. A level that changed without being counted is told once it is certain that
    /// nothing comes any more.
    pub fn settle(&mut self) -> Option<Told> {
        if self.is_settled() {
            return None;
        }
        self.doubts += 1;
        (self.doubts > MAX_DOUBTS).then(|| (self.tell(), 0))
    }

    /// The line is watched no longer, and `level` was read: what is left to tell.
    pub fn close(&mut self, level: Level, count: Option<u32>) -> Option<Told> {
        let changed = self.kinds == Edge::Both && level != self.told;
        (changed || self.is_behind(count)).then(|| self.wake(level, count))?
    }

    /// Whether what was read has been told; if not, it has to be settled once more.
    pub fn is_settled(&self) -> bool {
        self.counted.is_none() || self.kinds != Edge::Both || self.seen == self.told
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
        self.doubts = 0;
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
        assert!(!ledger.is_behind(Some(2)));
        assert_eq!(ledger.wake(Low, Some(2)), None, "read before it was counted");
        assert_eq!(ledger.settle(), None);
        assert!(ledger.is_behind(Some(3)) && !ledger.is_settled());
        assert_eq!(ledger.wake(Low, Some(3)), Some((Low, 0)));
        assert_eq!(ledger.wake(Low, Some(3)), None, "woken by one that was told already");
        assert_eq!(ledger.wake(Low, Some(7)), Some((Low, 3)), "counted while the level was read");
        assert!(ledger.is_settled());
        assert_eq!(ledger.wake(High, Some(7)), None);
        assert!((0..MAX_DOUBTS).all(|_| ledger.settle().is_none() && !ledger.is_settled()));
        assert_eq!(ledger.settle(), Some((High, 0)), "a change that nobody counts");
        assert!(ledger.is_settled());
        assert_eq!(ledger.close(High, Some(7)), None);
        assert_eq!(ledger.close(High, Some(9)), Some((High, 1)));
    }

    #[test]
    fn one_kind_of_edge_tells_the_level_after_it() {
        let mut ledger = Ledger::new(Edge::Rising, Low, Some(0));
        assert_eq!(ledger.wake(Low, Some(1)), Some((High, 0)), "a pulse");
        assert_eq!(ledger.wake(High, Some(4)), Some((High, 2)));
        assert!(ledger.is_settled());
        let mut ledger = Ledger::new(Edge::Falling, Low, None);
        assert_eq!(ledger.wake(High, None), Some((Low, 0)));
    }

    #[test]
    fn without_a_count_an_unchanged_level_is_two_edges() {
        let mut ledger = Ledger::new(Edge::Both, Low, None);
        assert_eq!(ledger.wake(High, None), Some((High, 0)));
        assert_eq!(ledger.wake(High, None), Some((High, 1)));
        assert!(ledger.is_settled() && !ledger.is_behind(None));
        assert_eq!(ledger.close(High, None), None);
        let mut ledger = Ledger::new(Edge::Both, Low, Some(1));
        assert_eq!(ledger.wake(High, None), Some((High, 0)), "the row has gone");
        assert_eq!(ledger.wake(High, None), Some((High, 1)));
    }
}
