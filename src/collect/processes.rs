//! The processes that need the most processor time and the most memory.
//!
//! | what | source | unit | without a value |
//! |---|---|---|---|
//! | name, state | `proc/<pid>/stat` | the kernel's 15 bytes; ChatOps' words | |
//! | share | the same, two readings; at first over its whole life, with `proc/uptime` | % of one core: more than 100 with several threads | it began just now |
//! | memory | the same: resident pages | MiB | |
//! | user | who owns `proc/<pid>`, named by `etc/passwd` | | not even a number is known |
//!
//! One reading opens one file per process, kernel threads included, and no more: whose they are is asked only of those
//! that are told of.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::hundredths;
use crate::types::fleet::Process;

/// How many are told of by processor time, and how many by memory; those of both count once.
const TOP: usize = 10;

/// Processes looked at in one reading, so that a machine gone wild cannot keep us busy. The kernel lists them by number:
/// the oldest are seen.
const MAX_PROCESSES: usize = 4096;

/// 52 numbers and a name of 15 bytes (64 for the kernel's own threads).
const STAT_BYTES: usize = 1024;

/// No account file is longer; of a longer one, no user gets a name.
const PASSWD_BYTES: u64 = 1 << 20;

/// Remembers the last reading.
pub struct Meter {
    root: PathBuf,
    ticks_per_second: f64,
    page_bytes: f64,
    last: Option<(Instant, HashMap<u32, Life>)>,
}

/// What of a process is remembered. Numbers are used again, so its start belongs to its name.
#[derive(Clone, Copy)]
struct Life {
    start: u64,
    ticks: u64,
}

struct Seen {
    process: Process,
    life: Life,
}

impl Meter {
    pub fn new(root: &Path) -> Meter {
        Meter {
            root: root.to_owned(),
            ticks_per_second: rustix::param::clock_ticks_per_second() as f64,
            page_bytes: rustix::param::page_size() as f64,
            last: None,
        }
    }

    /// The processes that stand out since the last reading, most processor time first.
    pub fn measure(&mut self, now: Instant) -> Option<Vec<Process>> {
        let entries = std::fs::read_dir(self.root.join("proc")).ok()?;
        let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        // A process may be gone before it is looked at.
        let mut seen: Vec<Seen> = numbers.take(MAX_PROCESSES).filter_map(|pid| self.look(pid)).collect();
        if let Some((then, before)) = &self.last {
            let seconds = now.saturating_duration_since(*then).as_secs_f64();
            for Seen { process, life } in &mut seen {
                // What was not there the last time has used all its time since.
                let known = before.get(&process.pid).filter(|known| known.start == life.start);
                let ticks = life.ticks.checked_sub(known.map_or(0, |known| known.ticks));
                let spent = ticks.filter(|_| seconds > 0.0).map(|ticks| ticks as f64 / self.ticks_per_second);
                process.cpu_percent = spent.map(|spent| hundredths(spent / seconds * 100.0));
            }
        } else if let Some(uptime) = self.uptime() {
            // As ChatOps' own agent tells it always; its page counts on a number.
            for Seen { process, life } in &mut seen {
                let [age, spent] = [uptime * self.ticks_per_second - life.start as f64, life.ticks as f64];
                process.cpu_percent = (age > 0.0).then(|| hundredths(spent / age * 100.0));
            }
        }
        self.last = Some((now, seen.iter().map(|seen| (seen.process.pid, seen.life)).collect()));
        let mut top = standing_out(seen.into_iter().map(|seen| seen.process).collect());
        self.name_users(&mut top);
        Some(top)
    }

    /// Seconds since the kernel started; `start` of a process counts from there.
    fn uptime(&self) -> Option<f64> {
        let text = std::fs::read_to_string(self.root.join("proc/uptime")).ok()?;
        text.split_ascii_whitespace().next()?.parse().ok()
    }

    fn look(&self, pid: u32) -> Option<Seen> {
        // One read: the line is whole, and asking for its length and its end would cost as much again.
        let mut line = [0; STAT_BYTES];
        let length = File::open(self.root.join(format!("proc/{pid}/stat"))).ok()?.read(&mut line).ok()?;
        // Not all names are text.
        let (mut process, life, pages) = parse(&String::from_utf8_lossy(line.get(..length)?))?;
        process.pid = pid;
        process.memory_mib = Some(hundredths(pages as f64 * self.page_bytes / f64::from(1 << 20)));
        Some(Seen { process, life })
    }

    fn name_users(&self, processes: &mut [Process]) {
        let passwd = self.root.join("etc/passwd");
        let short = std::fs::metadata(&passwd).is_ok_and(|file| file.len() <= PASSWD_BYTES);
        let names = if short { std::fs::read_to_string(passwd).unwrap_or_default() } else { String::new() };
        let names: HashMap<u32, &str> = names.lines().rev().filter_map(account).collect();
        for process in processes {
            let owner = std::fs::metadata(self.root.join(format!("proc/{}", process.pid))).ok();
            process.user = owner.map(|owner| match names.get(&owner.uid()) {
                Some(name) => (*name).to_owned(),
                None => owner.uid().to_string(),
            });
        }
    }
}

/// Those on top of either list.
fn standing_out(mut processes: Vec<Process>) -> Vec<Process> {
    let more = |a: Option<f64>, b: Option<f64>| b.unwrap_or(-1.0).total_cmp(&a.unwrap_or(-1.0));
    let by_memory = |a: &Process, b: &Process| more(a.memory_mib, b.memory_mib).then(a.pid.cmp(&b.pid));
    let by_time = |a: &Process, b: &Process| more(a.cpu_percent, b.cpu_percent).then_with(|| by_memory(a, b));
    processes.sort_unstable_by(by_time);
    // Who used no time stands on top of nothing.
    let busy = processes.iter().take(TOP).take_while(|p| p.cpu_percent.is_some_and(|percent| percent > 0.0)).count();
    let mut rest = processes.split_off(busy);
    let busy_and_large = {
        let mut all: Vec<&Process> = processes.iter().chain(&rest).collect();
        all.sort_unstable_by(|a, b| by_memory(a, b));
        let large: Vec<u32> = all.iter().take(TOP).map(|process| process.pid).collect();
        large
    };
    rest.retain(|process| busy_and_large.contains(&process.pid));
    processes.append(&mut rest);
    processes
}

/// `1 (name (may) hold anything) S 0 …`: the name ends at the last bracket. State, user and system time, start, pages.
fn parse(text: &str) -> Option<(Process, Life, u64)> {
    let (name, rest) = (text.split_once('(')?.1).rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().take(22).collect();
    // proc_pid_stat(5) counts from 1, and the state is its third.
    let number = |index: usize| fields.get(index - 3)?.parse::<u64>().ok();
    let ticks = number(14)?.saturating_add(number(15)?);
    let process = Process {
        name: name.to_owned(),
        status: fields.first().and_then(|state| word(state)).map(str::to_owned),
        ..Process::default()
    };
    Some((process, Life { start: number(22)?, ticks }, number(24)?))
}

/// The kernel's letter in ChatOps' words.
fn word(state: &str) -> Option<&'static str> {
    Some(match state {
        "R" => "running",
        "S" => "sleep",
        "D" => "blocked",
        "I" => "idle",
        "T" | "t" => "stop",
        "Z" => "zombie",
        "W" => "wait",
        _ => return None,
    })
}

/// `pi:x:1000:1000:…`
fn account(line: &str) -> Option<(u32, &str)> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    Some((fields.nth(1)?.parse().ok()?, name))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::collect::tests::Tree;
    use crate::rt::clock;

    /// A line of the kernel's: user time, system time, start and pages.
    fn stat(tree: &Tree, pid: u32, name: &str, times: (u64, u64), start: u64, pages: u64) {
        let (user, system) = times;
        let zeros = "0 ".repeat(9);
        let line = format!("{pid} ({name}) S 1 {zeros}{user} {system} 0 0 20 0 1 0 {start} 1000 {pages} 184 1\n");
        tree.write(&format!("proc/{pid}/stat"), &line);
    }

    #[test]
    fn at_first_a_share_is_that_of_a_life() {
        let tree = Tree::new();
        tree.write("proc/uptime", "11.00 1\n");
        stat(&tree, 7, "old", (10, 5), 100, 1);
        stat(&tree, 8, "born now", (10, 5), 1100, 1);
        let mut meter = Meter { ticks_per_second: 100.0, ..Meter::new(tree.path()) };
        let first = meter.measure(clock::now()).expect("processes");
        let shares: Vec<_> = first.iter().map(|process| (process.pid, process.cpu_percent)).collect();
        assert_eq!(shares, [(7, Some(1.5)), (8, None)]);
    }

    #[test]
    fn time_memory_and_name() {
        let tree = Tree::new();
        tree.write("proc/uptime", "1 1\n");
        stat(&tree, 7, "tmux: server) (x", (10, 5), 100, 256);
        let mut meter = Meter { ticks_per_second: 100.0, page_bytes: 4096.0, ..Meter::new(tree.path()) };
        let start = clock::now();
        let first = meter.measure(start).expect("processes");
        assert_eq!(first.len(), 1);
        let process = &first[0];
        assert_eq!((process.pid, process.name.as_str()), (7, "tmux: server) (x"));
        assert_eq!(
            (process.memory_mib, process.cpu_percent, process.status.as_deref()),
            (Some(1.0), None, Some("sleep"))
        );
        stat(&tree, 7, "tmux", (100, 115), 100, 256);
        stat(&tree, 8, "new", (50, 0), 900, 1);
        let second = meter.measure(start + Duration::from_secs(10)).expect("processes");
        let shares: Vec<_> = second.iter().map(|process| (process.pid, process.cpu_percent)).collect();
        assert_eq!(shares, [(7, Some(20.0)), (8, Some(5.0))]);
        // Another process under the same number, and one whose time went backwards.
        stat(&tree, 7, "other", (10, 0), 5000, 256);
        stat(&tree, 8, "new", (40, 0), 900, 1);
        let third = meter.measure(start + Duration::from_secs(20)).expect("processes");
        let shares: Vec<_> = third.iter().map(|process| (process.pid, process.cpu_percent)).collect();
        assert_eq!(shares, [(7, Some(1.0)), (8, None)]);
    }

    #[test]
    fn the_top_ten_of_each_and_no_one_twice() {
        let process = |pid: u32, cpu: f64, memory: f64| Process {
            pid,
            cpu_percent: Some(cpu),
            memory_mib: Some(memory),
            ..Process::default()
        };
        // 1 to 20 use time, 15 to 40 use memory.
        let time = |pid: u32| if pid <= 20 { f64::from(pid) } else { 0.0 };
        let all = (1..=40).map(|pid| process(pid, time(pid), f64::from(pid))).collect();
        let top: Vec<u32> = standing_out(all).iter().map(|process| process.pid).collect();
        let expected: Vec<u32> = (11..=20).rev().chain((31..=40).rev()).collect();
        assert_eq!(top, expected);
        let idle = (1..=40).map(|pid| process(pid, 0.0, f64::from(pid))).collect();
        assert_eq!(standing_out(idle).len(), TOP);
        assert_eq!(standing_out(vec![process(1, 1.0, 1.0)]).len(), 1);
    }

    #[test]
    fn what_the_kernel_does_not_write_is_no_process() {
        for text in ["", "7", "7 (x", "7 (x)", "7 (x) S 1 2 3", "7 (x) S 1 0 0 0 0 0 0 0 0 0 a b 0 0 0 0 0 0 5 0 1"] {
            assert!(parse(text).is_none(), "{text}");
        }
        assert_eq!(account("pi:x:1000:1000:,,,:/home/pi:/bin/bash"), Some((1000, "pi")));
        for line in ["", ":x:1", "pi:x", "pi:x:-1", "# pi:x:none"] {
            assert_eq!(account(line), None, "{line}");
        }
    }

    #[test]
    fn users_are_named_where_the_accounts_are_known() {
        let tree = Tree::new();
        stat(&tree, 7, "x", (0, 0), 1, 1);
        let own = std::fs::metadata(tree.path()).expect("the tree").uid();
        let user = || Meter::new(tree.path()).measure(clock::now()).expect("processes")[0].user.clone();
        assert_eq!(user(), Some(own.to_string()));
        tree.write("etc/passwd", &format!("me:x:{own}:1::/:/bin/sh\nagain:x:{own}:1::/:/bin/sh\n"));
        assert_eq!(user().as_deref(), Some("me"));
    }
}
