//! The lock of the lines. Whoever has to make them safe comes before everybody who waits for it.
//!
//! A mutex gives itself to whoever happens to run, so among many busy clients the one thread that must not wait could
//! wait for long. It says so instead, and those who come to the lock step back and let it pass.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::Inner;
use super::engine::State;
use crate::rt::clock;

/// How often the one who must not wait looks by itself, should it not have been told that the lock is free.
const LOOK: Duration = Duration::from_millis(1);

thread_local! {
    static IN_HERE: Cell<bool> = const { Cell::new(false) };
}

/// Whether the calling thread has locked the lines: in a crash it is the one that keeps them from being made safe.
pub fn is_in_here() -> bool {
    IN_HERE.get()
}

/// Who must not wait.
pub struct Urgency {
    wanted: AtomicBool,
    /// Held by the urgent one while others wait for it.
    turn: Mutex<()>,
    freed: (Sender<()>, Receiver<()>),
}

impl Default for Urgency {
    fn default() -> Urgency {
        Urgency { wanted: AtomicBool::new(false), turn: Mutex::default(), freed: bounded(1) }
    }
}

/// The lock, held. The fields are dropped in their order: it is free before somebody is told so.
pub struct Locked<'a> {
    guard: MutexGuard<'a, State>,
    _leaving: Leaving<'a>,
}

struct Leaving<'a>(&'a Urgency);

/// The lock, held by the one who must not wait; the others go on when it is dropped.
pub struct First<'a> {
    locked: Locked<'a>,
    _turn: Turn<'a>,
}

struct Turn<'a> {
    urgency: &'a Urgency,
    _turn: MutexGuard<'a, ()>,
}

impl Inner {
    /// Read the clock after it: whoever waits here is overtaken by others, and their writes were earlier.
    pub fn lock(&self) -> Locked<'_> {
        loop {
            // A panic elsewhere leaves no line half set (each operation is the backend's own): the lock stays usable.
            let locked = self.locked(self.state.lock().unwrap_or_else(PoisonError::into_inner));
            if !self.urgency.wanted.load(Ordering::Acquire) {
                return locked;
            }
            drop(locked);
            drop(self.urgency.turn.lock());
        }
    }

    /// The lock before everybody who waits for it; `None` where its holder does not let go within `limit`.
    pub fn lock_first(&self, limit: Duration) -> Option<First<'_>> {
        let until = clock::now() + limit;
        let urgency = &self.urgency;
        let turn = Turn { urgency, _turn: urgency.turn.lock().unwrap_or_else(PoisonError::into_inner) };
        urgency.wanted.store(true, Ordering::Release);
        loop {
            match self.state.try_lock() {
                Ok(guard) => return Some(First { locked: self.locked(guard), _turn: turn }),
                Err(TryLockError::Poisoned(poisoned)) => {
                    return Some(First { locked: self.locked(poisoned.into_inner()), _turn: turn });
                }
                Err(TryLockError::WouldBlock) if clock::now() > until => return None,
                Err(TryLockError::WouldBlock) => drop(urgency.freed.1.recv_timeout(LOOK)),
            }
        }
    }

    /// The lock, before everybody who waits for it if that can be had within `limit`. Whoever waits goes on at once:
    /// they are behind the lock then, as behind anybody.
    pub fn lock_soon(&self, limit: Duration) -> Locked<'_> {
        match self.lock_first(limit) {
            Some(First { locked, _turn }) => locked,
            None => self.lock(),
        }
    }

    fn locked<'a>(&'a self, guard: MutexGuard<'a, State>) -> Locked<'a> {
        IN_HERE.set(true);
        Locked { guard, _leaving: Leaving(&self.urgency) }
    }
}

impl First<'_> {
    pub fn state(&mut self) -> &mut State {
        &mut self.locked
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        IN_HERE.set(false);
        if self.0.wanted.load(Ordering::Acquire) {
            let _ = self.0.freed.0.try_send(());
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.urgency.wanted.store(false, Ordering::Release);
    }
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.guard
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.guard
    }
}
