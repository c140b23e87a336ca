//! When a record was made, on a machine whose wall clock may be years off until somebody sets it right.
//!
//! Every record has the kernel's boot clock, which is always right within its boot. A record made before the wall clock
//! was synchronised gets its wall time when it is sent: now, minus what the boot clock says has passed since.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::spool::{Entry, Run};
use crate::collect::clock_synchronised;
use crate::rt::clock;
use crate::types::fleet::ClockState;

/// This machine's clocks, all read at once.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub wall: SystemTime,
    /// CLOCK_BOOTTIME.
    pub boot_ns: u64,
    /// Whether the wall clock is kept right. Where nobody can say it counts as wrong.
    pub synchronised: bool,
}

impl Moment {
    /// `root` is where the machine's files are.
    pub fn now(root: &Path) -> Moment {
        Moment {
            wall: clock::wall(),
            boot_ns: clock::boot_ns(),
            synchronised: clock_synchronised(root).unwrap_or_default(),
        }
    }

    /// The wall time of a record where its own is wrong and this moment knows better; and how good its time is then.
    pub fn of(&self, boot_id: Option<&str>, run: &Run, entry: &Entry) -> (Option<SystemTime>, ClockState) {
        if entry.synchronised {
            return (None, ClockState::Synchronised);
        }
        let same_boot = boot_id.is_some() && boot_id == run.boot_id.as_deref();
        let passed = Duration::from_nanos(self.boot_ns.saturating_sub(entry.monotonic_ns));
        match self.wall.checked_sub(passed).filter(|_| same_boot && self.synchronised) {
            Some(at) => (Some(at), ClockState::Corrected),
            None => (None, ClockState::Unsynchronised),
        }
    }
}

/// The kernel's name for this boot.
pub fn boot_id(root: &Path) -> Option<Arc<str>> {
    let file: PathBuf = root.join("proc/sys/kernel/random/boot_id");
    let text = std::fs::read_to_string(file).ok()?;
    Some(Arc::from(text.trim())).filter(|id: &Arc<str>| !id.is_empty() && id.len() <= 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::remote::spool::Kind;
    use crate::wire::chatops::client::Packed;

    #[test]
    fn a_time_is_corrected_in_the_same_boot_only_once_the_clock_is_right() {
        let run = Run { stream: "s".into(), boot_id: Some("b1".into()) };
        let packed = Packed { text: Vec::new(), stamp_at: 0 };
        let entry = |synchronised| Entry {
            seq: 1,
            monotonic_ns: 10_000_000_000,
            synchronised,
            kind: Kind::Other,
            packed: packed.clone(),
        };
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let now = |synchronised| Moment { wall, boot_ns: 70_000_000_000, synchronised };
        let corrected = SystemTime::UNIX_EPOCH + Duration::from_secs(940);
        for (now, boot, entry, expected) in [
            (now(true), Some("b1"), entry(true), (None, ClockState::Synchronised)),
            (now(true), Some("b1"), entry(false), (Some(corrected), ClockState::Corrected)),
            (now(false), Some("b1"), entry(false), (None, ClockState::Unsynchronised)),
            (now(true), Some("b2"), entry(false), (None, ClockState::Unsynchronised)),
            (now(true), None, entry(false), (None, ClockState::Unsynchronised)),
        ] {
            assert_eq!(now.of(boot, &run, &entry), expected);
        }
    }
}
