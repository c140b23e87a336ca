//! Giving way to other sessions when many are busy.
//!
//! A session that has answered waits for its client. With many busy sessions on few cores, others have work at
//! that very moment, and by the time they have had their turn the client's next request is often there: then
//! falling asleep and being woken, which costs more than answering, can be saved by standing in line again
//! instead. Measured with 16 clients on one core: a tenth to a seventh less processor time for a round trip.
//! A client that has the daemon to itself never waits.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Reads of all sessions, ever. Only differences matter, and wrapping does not disturb them.
static READS: AtomicUsize = AtomicUsize::new(0);

/// Reads of others since a session's own last one from which on it counts as one of many.
const BUSY: usize = 4;

/// One session's place among the others.
#[derive(Default)]
pub struct Turn {
    last: usize,
}

impl Turn {
    /// Lets others go first if there are any. Called before each read, with everything sent.
    pub fn give_way(&mut self) {
        let now = READS.fetch_add(1, Ordering::Relaxed);
        if now.wrapping_sub(self.last) >= BUSY {
            std::thread::yield_now();
        }
        self.last = now;
    }
}
