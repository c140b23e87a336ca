//! The one thread that waits for slow sockets: for room to send, and for the end of those being closed.
//!
//! It waits in `epoll` on exactly the sockets that have a backlog (one-shot, re-armed while there is more)
//! and on an eventfd that tells it of a new deadline. With nobody slow it sleeps without waking.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use super::Conn;
use crate::rt::clock;
use crate::rt::socket::{NOTICE, Seen, Watch};
use crate::rt::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use crate::rt::worker::Worker;

/// A handle to the thread.
pub struct Flusher {
    inner: Arc<Inner>,
    worker: Mutex<Option<Worker>>,
}

struct Inner {
    watch: Watch,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Connections with a backlog, by id.
    watched: HashMap<u64, Weak<Conn>>,
    /// Connections that must be over at a given moment. Few at a time: a list is fine.
    ending: Vec<(Instant, Weak<Conn>)>,
    stopped: bool,
}

impl Flusher {
    /// # Errors
    /// No descriptors or no thread to be had.
    pub fn start() -> io::Result<Flusher> {
        let inner = Arc::new(Inner { watch: Watch::new()?, state: Mutex::default() });
        let thread = Arc::clone(&inner);
        let worker = Worker::spawn("flusher", move || thread.run())?;
        Ok(Flusher { inner, worker: Mutex::new(Some(worker)) })
    }

    /// Waits for `conn` to become writable and flushes it. Called when its backlog begins.
    pub fn watch(&self, conn: &Arc<Conn>) {
        self.inner.lock().watched.insert(conn.id, Arc::downgrade(conn));
        if let Err(error) = self.inner.watch.add(&conn.socket, conn.id) {
            // Without the flusher its backlog would wait for ever; the peer reconnects.
            log::warn!("cannot watch {}: {error}; ended", conn.peer);
            let _ = conn.socket.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Waits once more. Called while a watched connection's backlog lasts.
    pub(super) fn rearm(&self, conn: &Conn) {
        let _ = self.inner.watch.again(&conn.socket, conn.id);
    }

    /// Stops watching. Called when a backlog is empty and when a connection ends.
    pub(super) fn forget(&self, conn: &Conn) {
        if self.inner.lock().watched.remove(&conn.id).is_some() {
            self.inner.watch.remove(&conn.socket);
        }
    }

    /// Ends `conn` at `deadline` unless it is gone by then.
    pub fn end_at(&self, deadline: Instant, conn: &Arc<Conn>) {
        self.inner.lock().ending.push((deadline, Arc::downgrade(conn)));
        self.inner.watch.notify();
    }

    /// Stops the thread and waits for it, at most `limit`.
    pub fn stop(&self, limit: Duration) {
        self.inner.lock().stopped = true;
        self.inner.watch.notify();
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(worker) = worker {
            worker.join(limit);
        }
    }
}

impl Inner {
    fn run(&self) {
        let mut seen = Seen::default();
        loop {
            let Some(wait) = self.end_what_is_due() else { return };
            if let Err(error) = self.watch.wait(&mut seen, wait) {
                log::error!("epoll_wait: {error}");
                return;
            }
            for id in seen.marks().filter(|mark| *mark != NOTICE) {
                // The lock is let go before the connection is touched: it takes its own, and from under its own it calls
                // back here.
                let conn = self.lock().watched.get(&id).and_then(Weak::upgrade);
                if let Some(conn) = conn {
                    conn.flush();
                }
            }
        }
    }

    /// Ends connections whose time is up; returns how long to wait for the next one, or `None` to stop.
    fn end_what_is_due(&self) -> Option<Option<Duration>> {
        let now = clock::now();
        let mut due = Vec::new();
        let wait = {
            let mut state = self.lock();
            if state.stopped {
                return None;
            }
            state.ending.retain(|(deadline, conn)| {
                if *deadline <= now {
                    due.push(conn.clone());
                }
                *deadline > now && conn.strong_count() > 0
            });
            state.ending.iter().map(|(deadline, _)| deadline.saturating_duration_since(now)).min()
        };
        for conn in due.iter().filter_map(Weak::upgrade) {
            conn.abort();
        }
        Some(wait)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
