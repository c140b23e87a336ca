//! The vocabulary every room shares: lines, readings, events, topics.
//!
//! No I/O, no serialisation, no clocks: a value here means the same to everyone.

pub mod caller;
pub mod debug;
pub mod durable;
pub mod event;
pub mod features;
pub mod fingerprint;
pub mod fleet;
pub mod line;
pub mod mac;
pub mod output;
pub mod plain;
pub mod position;
pub mod reading;
pub mod rights;
pub mod snapshot;
pub mod token;
pub mod topic;
pub mod wants;
