//! Locks and queues whose every step is shuttle's to order.

use std::collections::VecDeque;
pub use std::sync::{Arc, Weak};
use std::time::Duration;

pub use shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
pub use shuttle::sync::{Condvar, MutexGuard, PoisonError, TryLockError};
use shuttle::sync::{LockResult, TryLockResult};

/// Shuttle's, with what it lacks.
#[derive(Default)]
pub struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub fn new(value: T) -> Mutex<T> {
        Mutex(shuttle::sync::Mutex::new(value))
    }

    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        self.0.lock()
    }

    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        self.0.try_lock()
    }

    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        self.0.get_mut()
    }

    pub fn is_poisoned(&self) -> bool {
        false
    }
}

/// A bounded queue as crossbeam's, as far as it is used.
struct Queue<T> {
    items: Mutex<VecDeque<T>>,
    size: usize,
    filled: Condvar,
}

pub struct Sender<T>(Arc<Queue<T>>);
pub struct Receiver<T>(Arc<Queue<T>>);

#[derive(Debug)]
pub enum TrySendError<T> {
    Full(T),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "the hub knows it")]
pub enum RecvTimeoutError {
    Timeout,
    Disconnected,
}

pub fn bounded<T>(size: usize) -> (Sender<T>, Receiver<T>) {
    let queue = Arc::new(Queue { items: Mutex::default(), size, filled: Condvar::new() });
    (Sender(Arc::clone(&queue)), Receiver(queue))
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        Sender(Arc::clone(&self.0))
    }
}

impl<T> Sender<T> {
    pub fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        let mut items = self.0.lock();
        if items.len() == self.0.size {
            return Err(TrySendError::Full(item));
        }
        items.push_back(item);
        self.0.filled.notify_one();
        Ok(())
    }
}

impl<T> Receiver<T> {
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn try_iter(&self) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| self.0.lock().pop_front())
    }

    /// Nobody lets go of the other end here.
    pub fn recv(&self) -> Result<T, RecvTimeoutError> {
        let mut items = self.0.lock();
        loop {
            if let Some(item) = items.pop_front() {
                return Ok(item);
            }
            items = self.0.filled.wait(items).expect("nobody panics");
        }
    }

    /// What comes, comes in time.
    pub fn recv_timeout(&self, _: Duration) -> Result<T, RecvTimeoutError> {
        self.recv()
    }
}

impl<T> Queue<T> {
    fn lock(&self) -> MutexGuard<'_, VecDeque<T>> {
        self.items.lock().expect("nobody panics")
    }
}
