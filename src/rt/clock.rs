//! The two clocks: wall time for people, monotonic time for deadlines.
#![allow(clippy::disallowed_methods)] // the one place

use std::time::{Instant, SystemTime};

/// Wall clock, for timestamps. A Pi without a clock chip may be years off; never compute with it.
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// Monotonic clock, for deadlines.
pub fn now() -> Instant {
    Instant::now()
}

/// CLOCK_MONOTONIC in nanoseconds, as the kernel stamps edges with it.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // Neither is negative: the clock starts at 0 when the machine does.
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
