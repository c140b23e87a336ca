//! This device, connected to a hub.

mod spool;
