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

/// The same clock as a number, as the kernel stamps edges: CLOCK_MONOTONIC in nanoseconds.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // Both are positive: the clock starts at boot.
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
