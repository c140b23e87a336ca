//! The two clocks: wall time for people, monotonic time for deadlines.
#![allow(clippy::disallowed_methods)] // the one place

use std::time::{Duration, Instant, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// Wall clock, for timestamps. A Pi without a clock chip may be years off; never compute with it.
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// The same to the millisecond: what is kept so must not be another time once it is read again.
pub fn wall_millis() -> SystemTime {
    let wall = wall();
    let since = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(since.as_millis() as u64)).unwrap_or(wall)
}

/// Monotonic clock, for deadlines.
pub fn now() -> Instant {
    Instant::now()
}

/// CLOCK_MONOTONIC in nanoseconds: the clock of the kernel's edge stamps, and the one behind [`now`].
pub fn monotonic_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    // It counts from the boot: never negative, and 584 years fit.
    (time.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64)
}

/// CLOCK_BOOTTIME in nanoseconds: since the kernel's start, also while it slept.
pub fn boot_ns() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    (time.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64)
}
