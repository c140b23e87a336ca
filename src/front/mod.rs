//! The front door: one public port for everything.
//!
//! It accepts, caps connections, terminates TLS, reads the request head under one deadline and one size
//! limit, checks `Host` and `Origin`, and hands the connection on: to a WebSocket session, or as a relayed
//! byte stream to the private HTTP server. Nothing behind it ever owns a public socket.
//!
//! Full house: a connection beyond the caps is answered `503` (plain) or closed (TLS) at once. Descriptors
//! are counted per kind of connection, so that the process never meets `EMFILE` on its own; where something
//! else uses them up, `accept` is tried again after a pause.

mod accept;
mod head;
mod limits;
mod origin;
mod relay;
mod visit;

use std::collections::HashMap;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::auth::Gate;
use crate::config;
use crate::conn::{self, Conn, Shared, Tls};
use crate::http;
use crate::rt::{clock, process};
use crate::session::Host;
use crate::systemd::{Fact, Notify};
pub use accept::{Bound, Listener};
use limits::Slots;
pub use origin::Origins;

/// What visits work with.
pub struct Door {
    limits: config::Front,
    origins: Arc<Origins>,
    gate: Arc<Gate>,
    host: Arc<Host>,
    shared: Arc<Shared>,
    http: Arc<http::Private>,
    tls: Option<Arc<Tls>>,
    slots: Arc<Slots>,
    visitors: Visitors,
    notify: Arc<Notify>,
}

/// Rooms the door leads to.
pub struct Rooms {
    pub origins: Arc<Origins>,
    pub gate: Arc<Gate>,
    pub host: Arc<Host>,
    pub shared: Arc<Shared>,
    pub http: Arc<http::Private>,
    pub tls: Option<Arc<Tls>>,
    pub notify: Arc<Notify>,
}

impl Door {
    /// `others` is how many descriptors other rooms may come to need besides those that are open now.
    pub fn new(limits: &config::Front, others: usize, rooms: Rooms) -> Arc<Door> {
        let descriptors = process::raise_descriptor_limit();
        let taken = process::open_descriptors().unwrap_or(limits::RESERVED_DESCRIPTORS) + others;
        let slots = Slots::new(limits.max_connections, limits.max_per_address, descriptors.saturating_sub(taken));
        Arc::new(Door {
            limits: limits.clone(),
            origins: rooms.origins,
            gate: rooms.gate,
            host: rooms.host,
            shared: rooms.shared,
            http: rooms.http,
            tls: rooms.tls,
            slots: Arc::new(slots),
            visitors: Visitors::default(),
            notify: rooms.notify,
        })
    }

    /// Tells the service manager how many are in to stay.
    pub fn tell_clients(&self) {
        self.notify.tell(Fact::Clients, || match self.visitors.websockets.load(Ordering::SeqCst) {
            1 => "1 WebSocket connection".to_owned(),
            number => format!("{number} WebSocket connections"),
        });
    }

    /// Says Close 1001 to every WebSocket and ends idle HTTP connections, then waits until all are gone, at
    /// most until `deadline`; ends the rest. Who was accepted and has asked nothing yet has `grace` to do so, and is
    /// answered: who comes a moment later is too, by the next process, where a service manager keeps the socket.
    pub fn close_all(&self, grace: Duration, deadline: Instant) {
        self.visitors.closing.store(true, Ordering::SeqCst);
        let all = self.visitors.all();
        all.iter().filter(|visitor| visitor.stage.get() != Stage::NEW).for_each(Visitor::close);
        drop(all);
        self.visitors.wait_until_no(|stage| stage == Stage::NEW, deadline.min(clock::now() + grace));
        self.visitors.all().iter().for_each(Visitor::close);
        if !self.visitors.wait_until_no(|_| true, deadline) {
            let rest = self.visitors.all();
            log::warn!("{} connections did not close in time; ended", rest.len());
            for visitor in rest {
                visitor.conn.abort();
            }
            self.visitors.wait_until_no(|_| true, clock::now() + Duration::from_millis(200));
        }
    }
}

/// One write, no waiting, and no more: who is not there to read it does not get it.
fn send_at_once(stream: &TcpStream, bytes: &[u8]) {
    let flags = rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL;
    let _ = rustix::net::send(stream, bytes, flags);
    let _ = stream.shutdown(std::net::Shutdown::Write);
}

impl Door {
    /// The visitor's first request is whole. At the end of the daemon it is also the last, with those that have come with
    /// it: what was read is answered, and nothing more is read.
    fn has_asked(&self, visitor: &Visitor) {
        if visitor.stage.get() != Stage::NEW {
            return;
        }
        // Either the shutdown sees the mark, or we see that it has passed us by.
        visitor.stage.set(Stage::HTTP);
        if self.visitors.closing.load(Ordering::SeqCst) {
            visitor.close();
            // Whoever waits has either seen the mark or waits by now.
            drop(self.visitors.lock());
            self.visitors.gone.notify_all();
        }
    }
}

struct Leave(Arc<Door>, u64);

impl Drop for Leave {
    fn drop(&mut self) {
        if self.0.visitors.leave(self.1) {
            self.0.tell_clients();
        }
    }
}

/// A connection that is in.
struct Visitor {
    conn: Arc<Conn>,
    stage: Stage,
}

/// How far it has come.
#[derive(Clone, Default)]
struct Stage(Arc<AtomicU8>);

impl Stage {
    /// It has not asked for anything yet, or not completely.
    const NEW: u8 = 0;
    /// Its first request is whole, and being answered.
    const HTTP: u8 = 1;
    /// Its end is a Close frame, not just the end of the stream.
    const WEBSOCKET: u8 = 2;

    fn set(&self, stage: u8) {
        self.0.store(stage, Ordering::SeqCst);
    }

    fn get(&self) -> u8 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Visitor {
    /// Begins the end: a Close frame, or the end of the stream for one that has not asked for anything yet.
    fn close(&self) {
        if self.stage.get() == Stage::WEBSOCKET {
            self.conn.close(conn::CLOSE_GOING_AWAY, "the daemon is shutting down");
        } else {
            // HTTP answers under way are short: the read side ends, the write side finishes.
            let _ = self.conn.socket().shutdown(std::net::Shutdown::Read);
        }
    }
}

/// By connection id.
type Inside = HashMap<u64, (Weak<Conn>, Stage)>;

/// Everyone who is in, for the shutdown.
#[derive(Default)]
struct Visitors {
    inside: Mutex<Inside>,
    gone: Condvar,
    closing: AtomicBool,
    /// How many speak WebSocket.
    websockets: AtomicUsize,
}

impl Visitors {
    fn enter(&self, visitor: &Visitor) {
        let entry = (Arc::downgrade(&visitor.conn), visitor.stage.clone());
        self.lock().insert(visitor.conn.id(), entry);
    }

    /// Says whether one less speaks WebSocket.
    fn leave(&self, id: u64) -> bool {
        let websocket = self.lock().remove(&id).is_some_and(|(_, stage)| stage.get() == Stage::WEBSOCKET);
        if websocket {
            self.websockets.fetch_sub(1, Ordering::SeqCst);
        }
        // Nobody waits before that, and telling nobody is a system call all the same.
        if self.closing.load(Ordering::SeqCst) {
            self.gone.notify_all();
        }
        websocket
    }

    fn all(&self) -> Vec<Visitor> {
        let inside = self.lock();
        inside
            .values()
            .filter_map(|(conn, stage)| Some(Visitor { conn: conn.upgrade()?, stage: stage.clone() }))
            .collect()
    }

    /// Until nobody is in any of these stages; `false` when that is not so at `deadline`.
    fn wait_until_no(&self, stages: impl Fn(u8) -> bool, deadline: Instant) -> bool {
        let mut inside = self.lock();
        while inside.values().any(|(_, stage)| stages(stage.get())) {
            let left = deadline.saturating_duration_since(clock::now());
            if left.is_zero() {
                return false;
            }
            inside = self.gone.wait_timeout(inside, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
