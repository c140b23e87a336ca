//! Everything that descends from a process, by what `/proc` says of parents.

use std::collections::BTreeMap;
use std::fs;

use rustix::process::{Pid, Signal, getpid, kill_process};

/// A process that has not ended.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    pub pid: Pid,
    /// Whether it does nothing until it is told to go on.
    pub stopped: bool,
}

/// Sends a signal; one that has ended in the meantime is no fault.
pub fn signal(member: Member, signal: Signal) {
    let _ = kill_process(member.pid, signal);
}

/// All that descend from this process and have not ended. Those that appear meanwhile may be missing.
pub fn descendants() -> Vec<Member> {
    let mut children: BTreeMap<i32, Vec<(i32, char)>> = BTreeMap::new();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let stat = fs::read(entry.path().join("stat")).unwrap_or_default();
        if let Some((state, parent)) = parse(&stat) {
            children.entry(parent).or_default().push((pid, state));
        }
    }
    let mut found = Vec::new();
    let mut open = vec![getpid().as_raw_nonzero().get()];
    while let Some(parent) = open.pop() {
        for (pid, state) in children.remove(&parent).unwrap_or_default() {
            open.push(pid);
            if matches!(state, 'Z' | 'X') {
                continue;
            }
            found.extend(Pid::from_raw(pid).map(|pid| Member { pid, stopped: matches!(state, 'T' | 't') }));
        }
    }
    found
}

/// State and parent. The name before them may hold anything, also brackets.
fn parse(stat: &[u8]) -> Option<(char, i32)> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(stat.get(end + 1..)?).ok()?.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_anything() {
        assert_eq!(parse(b"12 (a) b) (c) S 34 12 12 0"), Some(('S', 34)));
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"12 (a)"), None);
    }
}
