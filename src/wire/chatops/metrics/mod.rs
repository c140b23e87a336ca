//! Samples in every form: nested (ChatOps' code, `/latest`), flat (the documentation, `GET /metrics/{id}`), and
//! both in one object for browsers.
//!
//! What the forms of ChatOps do not have (cores, swap, every disk and interface, load, temperature, throttling, uptime,
//! whether the clock is kept right) stands beside theirs under names they do not use.

mod read;
mod write;

#[cfg(test)]
mod tests;

pub use read::sample;
pub use write::{Absent, containers, flat_members, merged, nested};

/// ChatOps' GB is 2^30 bytes.
const GIB: f64 = (1u64 << 30) as f64;
