//! Where connections say that there is room again, for the hub to tell what it has dropped for them.

use super::member::MemberId;
use crate::conn::Bell;
use crate::rt::sync::{AtomicBool, Mutex, Ordering, PoisonError, Sender};

/// See the file's text.
pub struct Lobby {
    /// Whether anybody waits, so that the combiner need not lock to see that nobody does.
    any: AtomicBool,
    waiting: Mutex<Vec<MemberId>>,
    /// Wakes the hub's thread.
    nudge: Sender<()>,
}

impl Lobby {
    pub fn new(nudge: Sender<()>) -> Lobby {
        Lobby { any: AtomicBool::new(false), waiting: Mutex::default(), nudge }
    }

    /// Who has come since the last time.
    pub fn take(&self) -> Vec<MemberId> {
        // Before the list is read: whoever comes later is seen the next time.
        if !self.any.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Bell for Lobby {
    fn ring(&self, id: MemberId) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(id);
        self.any.store(true, Ordering::Release);
        let _ = self.nudge.try_send(());
    }
}
