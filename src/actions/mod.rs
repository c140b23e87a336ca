//! What clients may do, one file per room: no wire, no threads.

pub mod gpio;
pub mod load;
pub mod snapshot;
pub mod topics;
