//! Which process has something open, as far as this user may see.

use std::fs;
use std::path::Path;

/// A process with a descriptor that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub pid: u32,
    /// The kernel's name for it, at most 15 bytes.
    pub name: String,
    /// What `/proc/PID/fdinfo` says of the descriptor.
    pub info: String,
}

/// All that have a descriptor whose link is `wanted`'s; each descriptor is one. Others' processes are seen only by root.
pub fn holders(wanted: impl Fn(&str) -> bool) -> Vec<Holder> {
    let own = std::process::id();
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).filter(|pid| *pid != own);
    let mut found = Vec::new();
    for pid in pids {
        let process = Path::new("/proc").join(pid.to_string());
        for entry in fs::read_dir(process.join("fd")).into_iter().flatten().flatten() {
            let Ok(link) = fs::read_link(entry.path()) else { continue };
            if wanted(&link.to_string_lossy()) {
                let name = fs::read_to_string(process.join("comm")).unwrap_or_default().trim().to_owned();
                let info = fs::read_to_string(process.join("fdinfo").join(entry.file_name())).unwrap_or_default();
                found.push(Holder { pid, name, info });
            }
        }
    }
    found
}
