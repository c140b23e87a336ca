//! The ground under every room: threads, clocks, the allocator's settings, what the kernel does for a
//! connection.
//!
//! Only this room spawns threads and reads clocks; pure code takes `now` as an argument.

pub mod clock;
pub mod kernel_clock;
pub mod memory;
pub mod process;
pub mod pulse;
pub mod random;
pub mod socket;
pub mod stderr;
pub mod sync;
pub mod worker;
