//! The front door: one public port for everything.
//!
//! It accepts, caps connections, terminates TLS, reads the request head under one deadline and one size
//! limit, checks `Host` and `Origin`, and hands the connection on: to a WebSocket session, or as a relayed
//! byte stream to the private HTTP server. Nothing behind it ever owns a public socket.
//!
//! Full house: a connection beyond the caps is answered `503` (plain) or closed (TLS) at once. Descriptors
//! are counted per kind of connection, so that the process never meets `EMFILE` on its own; where something
//! else uses them up, `accept` is tried again after a pause.

mod head;
mod limits;
mod origin;
mod relay;
mod visit;

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;

use crate::auth::Gate;
use crate::config;
use crate::conn::{self, Conn, Shared, Tls};
use crate::http;
use crate::rt::pulse::{Asked, Pulse};
use crate::rt::socket::timespec;
use crate::rt::worker::{Worker, spawn_visitor};
use crate::rt::{clock, process};
use crate::session::Host;
use crate::systemd::{Fact, Notify};
use limits::Slots;
pub use origin::Origins;

/// How long `accept` pauses after an error such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections the kernel may queue before `accept`.
const LISTEN_BACKLOG: i32 = 1024;

/// What visits work with.
pub struct Door {
    limits: config::Front,
    send_buffer_bytes: usize,
    /// Unacknowledged data older than this ends a connection in the kernel (`TCP_USER_TIMEOUT`).
    user_timeout: Duration,
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
    pub fn new(limits: &config::Front, session: &config::Session, others: usize, rooms: Rooms) -> Arc<Door> {
        let descriptors = process::raise_descriptor_limit();
        let taken = process::open_descriptors().unwrap_or(limits::RESERVED_DESCRIPTORS) + others;
        let slots = Slots::new(limits.max_connections, limits.max_per_address, descriptors.saturating_sub(taken));
        Arc::new(Door {
            limits: limits.clone(),
            send_buffer_bytes: session.send_buffer_bytes,
            user_timeout: session.ping_interval + session.pong_deadline,
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

/// A public listener with its thread.
pub struct Listener {
    address: SocketAddr,
    shared: Arc<Accepting>,
    worker: Worker,
}

/// What a listener and its thread have in common.
struct Accepting {
    socket: TcpListener,
    bell: OwnedFd,
    stopping: AtomicBool,
    pulse: Pulse,
}

impl Accepting {
    /// Wakes the thread.
    fn ring(&self) {
        // Full is as good: it is awake then.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }
}

impl Listener {
    /// Binds and listens; nothing is accepted before [`Listener::open`].
    ///
    /// # Errors
    /// The system's, `AddrInUse` foremost.
    pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &address)?;
        listen(&socket, LISTEN_BACKLOG)?;
        let listener = TcpListener::from(socket);
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// Starts accepting.
    ///
    /// # Errors
    /// No thread or descriptor to be had.
    pub fn open(socket: TcpListener, door: Arc<Door>) -> io::Result<Listener> {
        let address = socket.local_addr()?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let shared = Accepting { socket, bell, stopping: AtomicBool::new(false), pulse: Pulse::default() };
        let shared = Arc::new(shared);
        let own = Arc::clone(&shared);
        let worker = Worker::spawn("accept", move || accept_until_told(&own, &door))?;
        Ok(Listener { address, shared, worker })
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its thread, to be asked whether it comes round.
    pub fn asked(&self) -> Asked {
        let shared = Arc::clone(&self.shared);
        let ask = move |answer| {
            shared.pulse.ask(answer);
            shared.ring();
        };
        Asked { name: "accept", ask: Box::new(ask) }
    }

    /// Stops accepting; connections that are in stay. Those that wait to be accepted are left to whoever else has the
    /// socket (a service manager, for the next process), and are reset where nobody has.
    pub fn close(self, limit: Duration) {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.ring();
        self.worker.join(limit);
    }
}

fn accept_until_told(shared: &Accepting, door: &Arc<Door>) {
    let Accepting { socket, bell, stopping, pulse } = shared;
    let mut failing = false;
    loop {
        let mut fds = [PollFd::new(socket, PollFlags::IN), PollFd::new(bell, PollFlags::IN)];
        if let Err(error) = poll(&mut fds, None)
            && error != Errno::INTR
        {
            log::error!("waiting for connections: {error}");
            crate::rt::worker::die();
        }
        let rung = !fds[1].revents().is_empty();
        if rung {
            let _ = rustix::io::read(bell, &mut [0; 8]);
        }
        if stopping.load(Ordering::Acquire) {
            return;
        }
        pulse.beat();
        match socket.accept() {
            Ok((stream, peer)) => {
                failing = false;
                admit(door, stream, peer);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The peer left between connecting and being accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if !failing {
                    log::error!("cannot accept connections for now: {error}");
                }
                failing = true;
                let mut fds = [PollFd::new(bell, PollFlags::IN)];
                let _ = poll(&mut fds, Some(&timespec(ACCEPT_PAUSE)));
            }
        }
    }
}

/// Counts the connection and gives it a thread, or turns it away.
fn admit(door: &Arc<Door>, stream: TcpStream, peer: SocketAddr) {
    let slot = match door.slots.enter(peer.ip()) {
        Ok(slot) => slot,
        Err(full) => {
            log::debug!("{peer} turned away: {full}");
            turn_away(&stream, door.tls.is_some());
            return;
        }
    };
    if let Err(error) = door.prepare(&stream) {
        log::debug!("{peer}: {error}");
        return;
    }
    let tls = match door.tls.as_ref().map(|tls| tls.session()).transpose() {
        Ok(tls) => tls,
        Err(error) => {
            log::warn!("{peer}: TLS: {error}");
            return;
        }
    };
    let is_tls = tls.is_some();
    let conn = Conn::new(stream, peer, tls, Arc::clone(&door.shared));
    let visitor = Visitor { conn: Arc::clone(&conn), stage: Stage::default() };
    door.visitors.enter(&visitor);
    let own = Arc::clone(door);
    let id = conn.id();
    let started = spawn_visitor(format!("c{id}"), move |stack| {
        // Dropped last, also when the visit crashes.
        let _leave = Leave(Arc::clone(&own), id);
        visit::run(&own, &visitor, is_tls, slot, stack);
    });
    if let Err(error) = started {
        log::error!("no thread for {peer}: {error}");
        door.visitors.leave(id);
    }
}

fn turn_away(stream: &TcpStream, tls: bool) {
    const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Type: text/plain\r\n\
        Content-Length: 54\r\nConnection: close\r\n\r\nToo many connections. Close some, or try again later.\n";
    if !tls {
        send_at_once(stream, FULL);
    }
}

/// One write, no waiting, and no more: who is not there to read it does not get it.
fn send_at_once(stream: &TcpStream, bytes: &[u8]) {
    let flags = rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL;
    let _ = rustix::net::send(stream, bytes, flags);
    let _ = stream.shutdown(std::net::Shutdown::Write);
}

impl Door {
    fn prepare(&self, stream: &TcpStream) -> io::Result<()> {
        use rustix::net::sockopt;
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        sockopt::set_socket_send_buffer_size(stream, self.send_buffer_bytes)?;
        let millis = u32::try_from(self.user_timeout.as_millis()).unwrap_or(u32::MAX);
        sockopt::set_tcp_user_timeout(stream, millis)?;
        Ok(())
    }
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
        self.gone.notify_all();
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
