//! What the process may use: its descriptor limit.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft descriptor limit to the hard one and returns how many descriptors there may be.
pub fn raise_descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            log::debug!("descriptor limit stays at {:?}: {error}", limit.current);
        }
    }
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX))
}

/// Nice value of threads that must be punctual: below everything that has not asked for the same.
const PUNCTUAL: i32 = -15;

/// Asks that the calling thread be woken on time: without the 50 µs by which the kernel may let a sleeper oversleep,
/// and before threads of usual priority. The second needs root or `RLIMIT_NICE` (systemd's `LimitNICE=-15`); without
/// it the thread is as punctual as any other.
pub fn be_punctual() {
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
    // On Linux "this process" means the calling thread here.
    if let Err(error) = rustix::process::setpriority_process(None, PUNCTUAL) {
        log::debug!("no higher priority for this thread: {error}");
    }
}

/// How many descriptors are open now; `None` where `/proc` does not say.
pub fn open_descriptors() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count())
}

/// This process's address space, and how much of it is in memory, in bytes; `None` where `/proc` does not say.
pub fn memory_bytes() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = text.split_whitespace().map(str::parse::<u64>);
    let page = rustix::param::page_size() as u64;
    Some((pages.next()?.ok()?.saturating_mul(page), pages.next()?.ok()?.saturating_mul(page)))
}
