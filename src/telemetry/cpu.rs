//! Processor time.
//!
//! | what | source | unit | range | without a value |
//! |---|---|---|---|---|
//! | ticks | `/proc/stat`, line `cpu` (proc_stat(5)) | 1/100 s, all processors together | growing | file missing or odd |
//! | own threads | `/proc/self/status`, `Threads:` | | 1 and up | file missing or odd |

use crate::types::reading::{Missing, Reading};

/// What a share of processor time is called where it is missing.
pub const WHAT: &str = "system processor time";

/// Processor time since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticks {
    pub busy: u64,
    pub idle: u64,
}

impl Ticks {
    /// Percentage of the time since `before` that was not idle; `None` when no tick has passed.
    pub fn busy_percent_since(self, before: Ticks) -> Option<f64> {
        let busy = self.busy.saturating_sub(before.busy);
        let total = busy + self.idle.saturating_sub(before.idle);
        (total > 0).then(|| 100.0 * busy as f64 / total as f64)
    }
}

/// Reads the first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal, and guest times
/// that user and nice contain already.
///
/// # Errors
/// [`Missing::Parse`] for a text of another form.
pub fn parse_stat(text: &str) -> Reading<Ticks> {
    let bad = Missing::Parse(WHAT);
    let line = text.lines().next().and_then(|line| line.strip_prefix("cpu ")).ok_or(bad)?;
    let numbers: Vec<u64> = line.split_ascii_whitespace().take(8).map_while(|n| n.parse().ok()).collect();
    let [user, nice, system, idle, rest @ ..] = numbers.as_slice() else { return Err(bad) };
    let iowait = rest.first().copied().unwrap_or(0);
    let interrupts: u64 = rest.iter().skip(1).sum();
    Ok(Ticks { busy: user + nice + system + interrupts, idle: idle + iowait })
}

/// Reads the number of threads from `/proc/self/status`.
pub fn parse_threads(text: &str) -> Option<u32> {
    text.lines().find_map(|line| line.strip_prefix("Threads:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_told_apart_from_idle_time() {
        let text = "cpu  100 5 20 800 40 1 2 3 0 0\ncpu0 1 2 3 4\n";
        let ticks = parse_stat(text).expect("a captured line");
        assert_eq!(ticks, Ticks { busy: 131, idle: 840 });
        let later = Ticks { busy: 156, idle: 915 };
        assert_eq!(later.busy_percent_since(ticks), Some(25.0));
        assert_eq!(ticks.busy_percent_since(ticks), None);
        assert_eq!(parse_stat("cpu 1 2 3 4\n").map(|t| t.idle), Ok(4));
        for bad in ["", "cpu0 1 2 3 4", "cpu  1 2 x 4", "cpu  1 2 3"] {
            assert_eq!(parse_stat(bad), Err(Missing::Parse(WHAT)), "{bad:?}");
        }
    }

    #[test]
    fn threads_are_counted_by_the_kernel() {
        assert_eq!(parse_threads("Name:\tpinwire\nThreads:\t12\n"), Some(12));
        assert_eq!(parse_threads("Name:\tx\n"), None);
    }
}
