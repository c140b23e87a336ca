//! What the hub keeps of what was published, for those who come back.

use std::time::Duration;

/// Bounds; whatever is over one of them, the oldest goes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Events of one topic; 0: there is no history.
    pub count: usize,
    /// Their age. A topic's last event is kept beyond it.
    pub age: Duration,
    /// Bytes in all, about.
    pub bytes: usize,
    /// Topics in all.
    pub topics: usize,
}

impl Default for History {
    fn default() -> History {
        History { count: 1000, age: Duration::from_secs(5 * 60), bytes: 8 * 1024 * 1024, topics: 10_000 }
    }
}

/// What becomes of an event for which a client has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowEvents {
    /// The client does not get it, and is told so.
    Drop,
    /// The client is cut.
    Cut,
}
