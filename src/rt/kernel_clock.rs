//! Whether the kernel holds its clock for right.
//!
//! This file may use `unsafe`: `adjtimex` is a C call without a safe wrapper in the crates we use. It is only asked,
//! nothing is adjusted, which needs no privilege.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_long, c_uint};

/// The error in µs at which the kernel itself gives up on its clock, where it begins after a boot, and where it
/// arrives some hours after the last correction (`NTP_PHASE_LIMIT`).
const UNSYNCHRONISED_MICROS: c_long = 16_000_000;

/// The beginning of `struct timex`, which is the same in every C library, and more room than the longest has.
#[repr(C)]
struct Timex {
    /// What to set: nothing.
    modes: c_uint,
    offset: c_long,
    frequency: c_long,
    max_error: c_long,
    est_error: c_long,
    status: c_int,
    rest: [c_long; 64],
}

/// Whether somebody keeps the clock right, by the largest error the kernel reckons with. `STA_UNSYNC` says less: some
/// time daemons leave it set on purpose, so that the kernel does not write the clock chip. `None` where a sandbox
/// forbids the question.
pub fn synchronised() -> Option<bool> {
    unsafe extern "C" {
        fn adjtimex(timex: *mut Timex) -> c_int;
    }
    let mut timex = Timex { modes: 0, offset: 0, frequency: 0, max_error: 0, est_error: 0, status: 0, rest: [0; 64] };
    // SAFETY: the buffer is longer than `struct timex` of any C library here, and the call fills nothing else; with
    // `modes` 0 it changes nothing.
    let state = unsafe { adjtimex(&raw mut timex) };
    (state >= 0).then_some(timex.max_error < UNSYNCHRONISED_MICROS)
}

#[cfg(test)]
mod tests {
    #[test]
    fn anybody_may_ask() {
        // Either answer is right here; what counts is that the kernel gave one.
        assert!(super::synchronised().is_some());
    }
}
