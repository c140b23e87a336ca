//! This device, connected to a hub.

mod memory;
mod orders;
mod spool;

pub use orders::{Orders, Reply};
