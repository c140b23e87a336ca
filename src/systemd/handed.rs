//! What a service manager hands over with the environment, taken out of it: nothing we start may believe it is meant.
//!
//! This file may use `unsafe`: the environment is the process's own memory, so changing it is unsafe beside other
//! threads, and a descriptor that comes by its number has no owner in Rust's eyes. Each use says why it holds.
#![allow(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

/// The first descriptor that is handed over (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;

/// More sockets than anybody listens on; a larger number is a mistake.
const MOST_SOCKETS: RawFd = 64;

/// Everything of the protocol that stands in the environment.
const VARIABLES: [&str; 7] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID"];

/// What was meant for this process.
#[derive(Debug, Default)]
pub struct Handed {
    /// Where to tell what becomes of us.
    pub notify: Option<OsString>,
    /// The longest time without a word before we are taken for dead.
    pub watchdog: Option<Duration>,
    /// Descriptors with the names the manager has for them.
    pub descriptors: Vec<(String, OwnedFd)>,
    /// What made no sense, for the log once there is one.
    pub complaints: Vec<String>,
}

/// Takes it, and clears it from the environment. Descriptors are not inherited any further. The first call counts, and
/// only in a process that has one thread.
pub fn take() -> Handed {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::AcqRel) || !is_alone() {
        return Handed::default();
    }
    let [notify, watchdog, watchdog_pid, count, pid, names, _] = VARIABLES.map(std::env::var_os);
    for name in VARIABLES {
        // SAFETY: there is no other thread that could read the environment meanwhile: the kernel says so.
        unsafe { std::env::remove_var(name) };
    }
    let own = std::process::id().to_string();
    let is_ours = |pid: &Option<OsString>| pid.as_deref() == Some(OsStr::new(&own));
    let mut handed = Handed { notify: notify.filter(|name| !name.is_empty()), ..Handed::default() };
    // Without a process's number it is for whoever has it.
    if let Some(text) = watchdog.filter(|_| watchdog_pid.is_none() || is_ours(&watchdog_pid)) {
        match text.to_str().and_then(|text| text.parse().ok()).filter(|micros| *micros > 0) {
            Some(micros) => handed.watchdog = Some(Duration::from_micros(micros)),
            None => handed.complaints.push(format!("WATCHDOG_USEC={text:?} is no time in µs: the watchdog is not fed")),
        }
    }
    if let Some(text) = count.filter(|_| is_ours(&pid)) {
        match text.to_str().and_then(|text| text.parse().ok()).filter(|count| (0..=MOST_SOCKETS).contains(count)) {
            Some(count) => descriptors(&mut handed, count, &names.unwrap_or_default()),
            None => handed.complaints.push(format!("LISTEN_FDS={text:?} is no number of sockets: none is used")),
        }
    }
    handed
}

/// Whether this process has one thread.
fn is_alone() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

fn descriptors(handed: &mut Handed, count: RawFd, names: &OsStr) {
    let names = names.to_string_lossy();
    let mut names = names.split(':');
    for number in FIRST..FIRST + count {
        let name = names.next().unwrap_or_default().to_owned();
        // SAFETY: it is looked at in this block only, by a call that says whether it is open; nothing closes it here.
        let there = fcntl_getfd(unsafe { BorrowedFd::borrow_raw(number) });
        match there {
            Ok(flags) => {
                // SAFETY: it is open, LISTEN_PID says that it is this process's, and it is taken once. Nobody in here
                // has opened it: what is open with these numbers is older than the program.
                let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
                if let Err(error) = fcntl_setfd(&descriptor, flags | FdFlags::CLOEXEC) {
                    handed.complaints.push(format!("LISTEN_FDS: descriptor {number} will be inherited: {error}"));
                }
                handed.descriptors.push((name, descriptor));
            }
            Err(error) => handed.complaints.push(format!("LISTEN_FDS: descriptor {number} is not there: {error}")),
        }
    }
}
