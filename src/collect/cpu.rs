//! Processor time, all together and each core.
//!
//! | what | source | unit | without a value |
//! |---|---|---|---|
//! | share | `proc/stat`, lines `cpu` and `cpu<n>`, two readings | % of the time that was not idle | no tick passed, a counter went backwards, the first reading |
//! | each core | the same | the same, in the order of the file | the same; cores came or went |
//! | cores | the number of `cpu<n>` lines: those that are on | | file missing |
//! | frequency | `cpufreq` of core 0, as requested | MHz | no `cpufreq` |

use std::path::Path;

use super::{hundredths, read};
use crate::telemetry::cpu::Ticks;
use crate::types::fleet::Cpu;

/// More cores than any board has.
const MAX_CORES: usize = 1024;

/// Remembers the last reading.
#[derive(Default)]
pub struct Meter {
    last: Option<Reading>,
}

#[derive(PartialEq)]
struct Reading {
    all: Ticks,
    /// With the kernel's number of the core.
    cores: Vec<(u32, Ticks)>,
}

impl Meter {
    /// The share since the last reading. The frequency is left to the caller.
    pub fn measure(&mut self, root: &Path) -> Cpu {
        let now = read(root, "proc/stat").and_then(|text| parse(&text));
        let before = std::mem::replace(&mut self.last, now);
        let Some(now) = &self.last else { return Cpu::default() };
        let percent = before.as_ref().and_then(|before| share(now.all, before.all));
        let cores = before.filter(|before| before.cores.len() == now.cores.len() && !now.cores.is_empty());
        let per_core = cores.and_then(|before| {
            let pairs = now.cores.iter().zip(&before.cores);
            pairs.map(|(now, before)| if now.0 == before.0 { share(now.1, before.1) } else { None }).collect()
        });
        Cpu {
            percent,
            cores: u32::try_from(now.cores.len()).ok().filter(|cores| *cores > 0),
            per_core_percent: per_core,
            frequency_mhz: None,
        }
    }
}

/// What was not idle. Busy time only grows, but idle time may step back by some ticks, as proc_stat(5) says of its
/// `iowait`: then none was idle.
fn share(now: Ticks, before: Ticks) -> Option<f64> {
    if now.busy < before.busy || now.busy + now.idle < before.busy + before.idle {
        return None;
    }
    now.busy_percent_since(before).map(hundredths)
}

fn parse(text: &str) -> Option<Reading> {
    let mut lines = text.lines().take_while(|line| line.starts_with("cpu"));
    let all = ticks(lines.next()?.strip_prefix("cpu ")?)?;
    let core = |line: &str| {
        let (number, ticks_of_it) = line.strip_prefix("cpu")?.split_once(' ')?;
        Some((number.parse().ok()?, ticks(ticks_of_it)?))
    };
    Some(Reading { all, cores: lines.take(MAX_CORES).map_while(core).collect() })
}

/// user, nice, system, idle, iowait, irq, softirq, steal, and guest times that user and nice contain already. The last
/// ones came with later kernels.
fn ticks(numbers: &str) -> Option<Ticks> {
    let mut numbers = numbers.split_ascii_whitespace().take(8).map(|number| number.parse::<u64>().ok());
    let mut next = || numbers.next().flatten();
    let (user, nice, system, idle) = (next()?, next()?, next()?, next()?);
    let iowait = next().unwrap_or(0);
    let interrupts = [next(), next(), next()].into_iter().flatten();
    let busy = interrupts.fold(user.saturating_add(nice).saturating_add(system), u64::saturating_add);
    Some(Ticks { busy, idle: idle.saturating_add(iowait) })
}

/// The clock rate the kernel asked for, which the firmware of a Pi with a weak supply does not give.
pub fn requested_mhz(root: &Path) -> Option<f64> {
    let text = read(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")?;
    let kilohertz: u32 = text.trim_end().parse().ok()?;
    (kilohertz > 0).then(|| f64::from(kilohertz) / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::tests::Tree;

    const BEFORE: &str = "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 50 0 50 400 0 0 0 0 0 0\n\
        cpu1 50 0 50 400 0 0 0 0 0 0\nintr 5 4 3\nctxt 7\n";

    fn measured(readings: &[&str]) -> Cpu {
        let tree = Tree::new();
        let mut meter = Meter::default();
        let mut last = Cpu::default();
        for text in readings {
            tree.write("proc/stat", text);
            last = meter.measure(tree.path());
        }
        last
    }

    #[test]
    fn a_share_is_what_was_not_idle_since_the_last_reading() {
        let after = "cpu  130 0 110 860 0 0 0 0 0 0\ncpu0 80 0 60 410 0 0 0 0 0 0\ncpu1 50 0 50 450 0 0 0 0 0 0\n";
        let cpu = measured(&[BEFORE, after]);
        assert_eq!(cpu.percent, Some(40.0));
        assert_eq!((cpu.cores, cpu.per_core_percent), (Some(2), Some(vec![80.0, 0.0])));
    }

    #[test]
    fn without_a_reading_before_there_is_no_share() {
        for readings in [&[BEFORE][..], &[BEFORE, BEFORE], &["", BEFORE], &["cpu 1 x 3 4\n", BEFORE]] {
            let cpu = measured(readings);
            assert_eq!((cpu.percent, cpu.per_core_percent, cpu.cores), (None, None, Some(2)), "{readings:?}");
        }
        assert_eq!(measured(&[BEFORE, ""]), Cpu::default());
    }

    #[test]
    fn cores_that_come_and_go_and_counters_that_go_back_give_no_share() {
        let one = "cpu  130 0 110 860 0 0 0 0\ncpu1 60 0 60 450 0 0 0 0\n";
        let cpu = measured(&[BEFORE, one]);
        assert_eq!((cpu.percent, cpu.per_core_percent, cpu.cores), (Some(40.0), None, Some(1)));
        let back = "cpu  90 0 110 860 0 0 0 0\ncpu0 40 0 50 450 0 0 0 0\ncpu1 60 0 60 450 0 0 0 0\n";
        assert_eq!(measured(&[BEFORE, back]).per_core_percent, None);
        // The idle time of a core that waits for its disk may step back a little.
        let idle_back = "cpu  120 0 100 799 0 0 0 0\ncpu0 60 0 50 399 0 0 0 0\ncpu1 60 0 50 400 0 0 0 0\n";
        assert_eq!(measured(&[BEFORE, idle_back]).percent, Some(100.0));
    }

    #[test]
    fn cpufreq_speaks_in_kilohertz() {
        let tree = Tree::new();
        assert_eq!(requested_mhz(tree.path()), None);
        for (text, expected) in [("1500000\n", Some(1500.0)), ("0\n", None), ("<unknown>\n", None)] {
            tree.write("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", text);
            assert_eq!(requested_mhz(tree.path()), expected, "{text}");
        }
    }
}
