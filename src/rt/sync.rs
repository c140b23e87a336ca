//! What threads share, for the rooms between which events change hands: their locks, counters and queues come from here,
//! so that a test can build the same rooms on others, whose every step it puts in every order (`tests/orders`).

pub use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
pub use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};

pub use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
