//! One value for several threads, one at a time; who waits for it does so with a limit.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

/// See the module's text.
pub struct Turn<T> {
    value: Mutex<T>,
    /// Holds one ticket while nobody has the value; only who took it locks.
    free: (Sender<()>, Receiver<()>),
}

impl<T> Turn<T> {
    pub fn new(value: T) -> Turn<T> {
        let free = bounded(1);
        // There is room for it.
        let _ = free.0.try_send(());
        Turn { value: Mutex::new(value), free }
    }

    /// The value, if it is free within `limit`.
    pub fn take(&self, limit: Duration) -> Option<Taken<'_, T>> {
        self.free.1.recv_timeout(limit).ok()?;
        Some(self.taken())
    }

    /// The value, for the one thread that cannot do without. Others give it back within their own limits.
    pub fn wait(&self) -> Taken<'_, T> {
        // Both ends are here, so there is nothing but tickets to be received.
        let _ = self.free.1.recv();
        self.taken()
    }

    fn taken(&self) -> Taken<'_, T> {
        Taken { value: self.value.lock().unwrap_or_else(PoisonError::into_inner), free: &self.free.0 }
    }
}

/// The value, until it is dropped.
pub struct Taken<'a, T> {
    value: MutexGuard<'a, T>,
    free: &'a Sender<()>,
}

impl<T> Deref for Taken<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Taken<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        let _ = self.free.try_send(());
    }
}
