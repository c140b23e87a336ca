//! A write on its way: made by any thread, done by the store's, answered to whoever waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::StoreError;
use super::error::is_damage;

/// How long a write may wait for its turn; once it is being done, the disk has as long again.
pub const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// Writes that may wait; one more is refused.
pub const WRITES: usize = 64;

/// Something to be done in a transaction of its own.
pub trait Job: Send {
    /// Does it, or says why it cannot be.
    fn attempt(&mut self, sql: Result<&mut Connection, StoreError>) -> Attempt;
}

/// What came of it.
pub enum Attempt {
    /// It is in the database; to be called once everybody knows who has to.
    Written(Box<dyn FnOnce() + Send>),
    /// The same, of what is no key's or user's affair.
    Kept(Box<dyn FnOnce() + Send>),
    /// Another process holds the database: to be tried again.
    Again,
    /// The database is at fault, not the job. It was answered.
    Unwritable { why: String, damaged: bool },
    /// Refused by a table's rule, or nobody waits any more. It was answered.
    Over,
}

const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const GIVEN_UP: u8 = 2;

/// The job for a closure, and where its answer will be.
pub fn job<T, F>(f: F) -> (Box<dyn Job>, Answer<T>)
where
    T: Send + 'static,
    F: FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
{
    let (sender, receiver) = bounded(1);
    let state = Arc::new(AtomicU8::new(WAITING));
    let write = Write { f: Some(f), answer: sender, state: Arc::clone(&state) };
    (Box::new(write), Answer { receiver, state })
}

/// Where the answer to a write will be.
pub struct Answer<T> {
    receiver: Receiver<Result<T, StoreError>>,
    state: Arc<AtomicU8>,
}

impl<T> Answer<T> {
    /// Waits for it. What has not begun within the limit is not done.
    pub fn wait(self) -> Result<T, StoreError> {
        let mut outcome = self.receiver.recv_timeout(WRITE_LIMIT);
        if outcome.as_ref().is_err_and(|error| *error == RecvTimeoutError::Timeout) && !self.give_up() {
            outcome = self.receiver.recv_timeout(WRITE_LIMIT);
            self.give_up();
        }
        match outcome {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => Err(StoreError::Busy),
            Err(RecvTimeoutError::Disconnected) => Err(ending()),
        }
    }

    /// Whether it is certain that it will not be done any more.
    pub fn give_up(&self) -> bool {
        self.state.compare_exchange(WAITING, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Said where there is no thread any more.
pub fn ending() -> StoreError {
    StoreError::Unwritable("the daemon is ending".into())
}

struct Write<T, F> {
    f: Option<F>,
    answer: Sender<Result<T, StoreError>>,
    state: Arc<AtomicU8>,
}

impl<T, F> Job for Write<T, F>
where
    T: Send + 'static,
    F: FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
{
    fn attempt(&mut self, sql: Result<&mut Connection, StoreError>) -> Attempt {
        if self.state.compare_exchange(WAITING, BEGUN, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return Attempt::Over;
        }
        let mut damaged = false;
        let written = sql.and_then(|sql| {
            // A job that has been done is not kept, so there is one.
            let Some(f) = self.f.take() else { return Err(StoreError::Busy) };
            let done = sql.transaction_with_behavior(TransactionBehavior::Immediate);
            let done = match done {
                Ok(write) => f(&write).and_then(|value| write.commit().map(|()| value)),
                Err(error) => {
                    self.f = Some(f);
                    Err(error)
                }
            };
            damaged = done.as_ref().is_err_and(is_damage);
            Ok(done?)
        });
        let failed = match written {
            Ok(value) => {
                let answer = self.answer.clone();
                return Attempt::Written(Box::new(move || {
                    // Who asked may have gone.
                    let _ = answer.try_send(Ok(value));
                }));
            }
            Err(StoreError::Busy) if self.f.is_some() => {
                self.state.store(WAITING, Ordering::Release);
                return Attempt::Again;
            }
            Err(error) => error,
        };
        let _ = self.answer.try_send(Err(failed.clone()));
        match failed {
            StoreError::Unwritable(why) => Attempt::Unwritable { why, damaged },
            _ => Attempt::Over,
        }
    }
}
