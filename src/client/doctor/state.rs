//! Whether another daemon has the state directory, by the kernel's list of locks: trying for the lock oneself could keep a
//! daemon that starts at that moment from its directory.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::report::Finding;
use super::{Patient, port};

/// Nothing where nobody has it.
pub fn taken(patient: &Patient, dir: &Path) -> Option<Finding> {
    let meta = fs::metadata(dir).ok().filter(|meta| meta.is_dir())?;
    let text = fs::read_to_string("/proc/locks").unwrap_or_default();
    let pid = text.lines().find_map(|line| lock(line, meta.dev(), meta.ino()))?;
    let name = dir.display();
    let listen = &patient.config.listen;
    // The daemon that this configuration is of, or its agent, which listens nowhere.
    if listen.is_empty() || listen.iter().any(|address| port::is_held_by(patient, *address, pid)) {
        return Some(Finding::ok("disk", format!("state_dir {name} is in use by the running pinwire (pid {pid})")));
    }
    let what = format!(
        "state_dir {name} is in use by another pinwire (pid {pid}), which does not listen where this one would: the \
         daemon does not start"
    );
    let fix = format!(
        "stop that (`sudo systemctl status {pid}` shows its unit), or give this one a directory of its own in state_dir"
    );
    Some(Finding::problem("disk", what, &fix))
}

/// `1: FLOCK  ADVISORY  WRITE 708 fe:00:6349454 0 EOF`: who holds it, if it is on this file.
fn lock(line: &str, device: u64, inode: u64) -> Option<u32> {
    let mut fields = line.split_whitespace().skip(1);
    // One who waits has an arrow there.
    if fields.next()? != "FLOCK" {
        return None;
    }
    let pid = fields.nth(2)?.parse().ok()?;
    let mut place = fields.next()?.split(':');
    let (major, minor) = (place.next()?, place.next()?);
    let (major, minor) = (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
    let here = place.next()?.parse::<u64>().ok()? == inode && rustix::fs::makedev(major, minor) == device;
    here.then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_locks_are_read() {
        let device = rustix::fs::makedev(0xfe, 0x1a);
        let line = "3: FLOCK  ADVISORY  WRITE 26766 fe:1a:6316585 0 EOF";
        assert_eq!(lock(line, device, 6_316_585), Some(26766));
        assert_eq!(lock(line, device, 6_316_586), None);
        assert_eq!(lock(line, rustix::fs::makedev(0xfe, 0), 6_316_585), None);
        for other in
            ["", "3:", "3: -> FLOCK  ADVISORY  WRITE 26766 fe:1a:6316585 0 EOF", "3: FLOCK A W x fe", "3: POSIX"]
        {
            assert_eq!(lock(other, device, 6_316_585), None, "{other}");
        }
    }
}
