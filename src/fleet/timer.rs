//! The `fleet` thread: everything that is due, and sleep where nothing is.

use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::*;

/// Wakes the thread when something is due before it would look by itself.
pub(super) struct Timer {
    /// When it looks next; `None`: when it is woken. Set to `None` before it looks, so that nothing is missed.
    planned: Mutex<Option<Instant>>,
    bell: (Sender<()>, Receiver<()>),
    stopping: AtomicBool,
}

impl Timer {
    pub fn new() -> Timer {
        Timer { planned: Mutex::default(), bell: bounded(1), stopping: AtomicBool::new(false) }
    }

    pub fn wake(&self) -> Receiver<()> {
        self.bell.1.clone()
    }

    /// To be called after something that is due at this moment was noted.
    pub fn expect(&self, at: Instant) {
        if self.lock().is_none_or(|planned| at < planned) {
            let _ = self.bell.0.try_send(());
        }
    }

    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        let _ = self.bell.0.try_send(());
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn run(fleet: &Weak<Fleet>, bell: &Receiver<()>) {
    loop {
        // Not held while it waits: who drops the last handle ends the thread with it.
        let next = {
            let Some(fleet) = fleet.upgrade() else { return };
            if fleet.timer.is_stopping() {
                return fleet.note_seen();
            }
            *fleet.timer.lock() = None;
            let now = clock::now();
            let next = [fleet.end_late_orders(now), fleet.hear_silence(now)].into_iter().flatten().min();
            fleet.hub.combine();
            *fleet.timer.lock() = next;
            next
        };
        match next {
            Some(at) => drop(bell.recv_deadline(at)),
            None if bell.recv().is_err() => return,
            None => {}
        }
    }
}
