//! Flat combining's hand-over: who leaves something in the inbox, who does it, and why nothing is ever left there.
//!
//! Whoever leaves something tries the lock. If it is held, its holder does what was left: it looks into the inbox once
//! more after letting go, and so meets whatever came while others found the lock held. Who cannot look for itself wakes
//! the hub's thread, which does.
//!
//! A test puts every thread's every step in every order, of this and of what is around it: see `rt::sync`.

use crate::rt::sync::{Mutex, MutexGuard, PoisonError, Receiver, Sender, TryLockError, TrySendError, bounded};

/// What only one does at a time.
pub trait Work {
    type Command;

    /// Takes at most [`Work::BATCH`] commands from the inbox and does them.
    fn work(&mut self, inbox: &Receiver<Self::Command>);

    /// Commands in a batch.
    const BATCH: usize;
}

/// See the file's text.
pub struct Handover<W: Work> {
    inbox: (Sender<W::Command>, Receiver<W::Command>),
    size: usize,
    core: Mutex<W>,
    /// Wakes the hub's own thread; one pending wake-up is as good as many.
    nudge: Sender<()>,
}

impl<W: Work> Handover<W> {
    /// The inbox holds `size` commands; `nudge` wakes a thread that then calls [`Handover::serve`].
    pub fn new(core: W, size: usize, nudge: Sender<()>) -> Handover<W> {
        Handover { inbox: bounded(size), size, core: Mutex::new(core), nudge }
    }

    /// Wakes the hub's thread.
    pub fn wake(&self) {
        let _ = self.nudge.try_send(());
    }

    /// Leaves a command if there is room. Somebody has to combine, or to wake the hub's thread.
    pub fn leave(&self, command: W::Command) -> bool {
        self.inbox.0.try_send(command).is_ok()
    }

    /// Leaves a command; where there is no room, helps until there is.
    pub fn put(&self, command: W::Command) {
        let Err(TrySendError::Full(mut command)) = self.inbox.0.try_send(command) else { return };
        // Terminates because helping makes room.
        loop {
            self.lock().work(&self.inbox.1);
            match self.inbox.0.try_send(command) {
                Err(TrySendError::Full(back)) => command = back,
                _ => return,
            }
        }
    }

    /// Does all that waits, unless somebody else is at it (who then does it for us). After `most` batches the hub's
    /// thread goes on with it.
    pub fn combine(&self, most: usize) {
        let mut batches = 0;
        // Looking again after letting go is what makes it safe to walk away from a held lock: whoever holds it will
        // look after we left our event.
        while !self.inbox.1.is_empty() {
            if batches == most {
                return self.wake();
            }
            let Some(mut core) = self.try_lock() else { return };
            core.work(&self.inbox.1);
            drop(core);
            batches += 1;
        }
    }

    /// Does what waits if that is little and `may` says so; else wakes the hub's thread for it. Never waits.
    pub fn combine_few(&self, may: impl FnOnce(&W) -> bool) {
        if self.inbox.1.is_empty() {
            return;
        }
        // The lock's holder looks again, but may have much to do; the hub's thread has nothing else to do.
        let Some(mut core) = self.try_lock() else { return self.look_again() };
        if self.inbox.1.len() <= W::BATCH && may(&core) {
            core.work(&self.inbox.1);
        }
        drop(core);
        self.look_again();
    }

    /// Does all that waits now, and waits for whoever is at it: afterwards everything left before this call is done.
    pub fn drain(&self) {
        // The inbox is in order and bounded, so this many batches reach past what is in it; more may be coming.
        for _ in 0..=self.size / W::BATCH {
            let mut core = self.lock();
            if self.inbox.1.is_empty() {
                break;
            }
            core.work(&self.inbox.1);
        }
        self.look_again();
    }

    /// The hub's thread's part, once it was woken: works until nothing is left, and calls `between` without the lock.
    pub fn serve(&self, between: impl Fn()) {
        loop {
            self.lock().work(&self.inbox.1);
            between();
            if self.inbox.1.is_empty() {
                return;
            }
        }
    }

    /// Does something with what is locked; waits for the lock.
    pub fn with<T>(&self, act: impl FnOnce(&mut W) -> T) -> T {
        let done = act(&mut self.lock());
        self.look_again();
        done
    }

    /// After letting go of the lock, by whoever does not look for more itself: those who met it held have left their
    /// events to its holder.
    fn look_again(&self) {
        if !self.inbox.1.is_empty() {
            self.wake();
        }
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, W>> {
        match self.core.try_lock() {
            Ok(core) => Some(core),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, W> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
