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
