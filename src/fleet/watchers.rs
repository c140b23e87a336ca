//! Who watches a server and has to hear at once that it is no more.

use super::*;

/// Called once, when the server is removed. It must not wait.
pub(super) type Goodbye = Box<dyn FnOnce() + Send>;

/// Somebody watches a server, until dropped.
pub struct Watching {
    fleet: Arc<Fleet>,
    server_id: Arc<str>,
    number: u64,
}

impl Drop for Watching {
    fn drop(&mut self) {
        if let Some(entry) = self.fleet.entry(&self.server_id) {
            entry.lock().watchers.remove(&self.number);
        }
    }
}

impl Fleet {
    /// Calls `goodbye` when this server is removed, without any lock. `None`: there is no such server (any more).
    pub fn watch(self: &Arc<Fleet>, server_id: &str, goodbye: impl FnOnce() + Send + 'static) -> Option<Watching> {
        let entry = self.entry(server_id)?;
        let number = self.next_seat();
        {
            let mut state = entry.lock();
            if state.removed {
                return None;
            }
            state.watchers.insert(number, Box::new(goodbye));
        }
        Some(Watching { fleet: Arc::clone(self), server_id: Arc::clone(&entry.id), number })
    }
}
