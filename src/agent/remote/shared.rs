//! What the agent's threads share: the spool, what waits to be said, and the bell that wakes the link.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::event::{EventfdFlags, eventfd};

use super::spool::Spool;
use crate::rt::clock;

/// Messages that may wait to be said; one more takes the place of the oldest, whose order the hub gives up in time.
const MOST_MESSAGES: usize = 64;

pub struct Shared {
    spool: Mutex<Spool>,
    messages: Mutex<VecDeque<Vec<u8>>>,
    bell: OwnedFd,
    stopping: AtomicBool,
    /// Since when there has been no hub; `None` while there is one.
    away: Mutex<Option<Instant>>,
    /// Where the journal was when the feed ended.
    cursor: Mutex<Option<String>>,
}

impl Shared {
    /// # Errors
    /// No descriptor to be had.
    pub fn new(spool: Spool) -> std::io::Result<Shared> {
        Ok(Shared {
            spool: Mutex::new(spool),
            messages: Mutex::new(VecDeque::new()),
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            stopping: AtomicBool::new(false),
            away: Mutex::new(Some(clock::now())),
            cursor: Mutex::new(None),
        })
    }

    pub fn spool(&self) -> MutexGuard<'_, Spool> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says something beside the records: the answer to an order. Never waits.
    pub fn say(&self, message: Vec<u8>) {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        if messages.len() == MOST_MESSAGES {
            messages.pop_front();
        }
        messages.push_back(message);
        drop(messages);
        self.ring();
    }

    pub fn next_message(&self) -> Option<Vec<u8>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Wakes the link, if there is a hub to tell something.
    pub fn ring_if_connected(&self) {
        if self.away_since().is_none() {
            self.ring();
        }
    }

    /// Wakes the link.
    pub fn ring(&self) {
        // A bell that cannot be rung any more has been rung often enough.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    /// Becomes readable when the bell is rung.
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Silences the bell until it is rung again.
    pub fn heard(&self) {
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
    }

    pub fn set_cursor(&self, cursor: String) {
        *self.cursor.lock().unwrap_or_else(PoisonError::into_inner) = Some(cursor);
    }

    pub fn take_cursor(&self) -> Option<String> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.ring();
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub fn away_since(&self) -> Option<Instant> {
        *self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_connected(&self, connected: bool) {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        *away = match (connected, *away) {
            (true, _) => None,
            (false, None) => Some(clock::now()),
            (false, since) => since,
        };
    }
}
