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
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;

use crate::auth::Gate;
use crate::config;
use crate::conn::{self, Conn, Shared, Tls};
use crate::http;
use crate::rt::worker::{Worker, spawn_visitor};
use crate::rt::{clock, process};
use crate::session::Host;
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
}

/// Rooms the door leads to.
pub struct Rooms {
    pub origins: Arc<Origins>,
    pub gate: Arc<Gate>,
    pub host: Arc<Host>,
    pub shared: Arc<Shared>,
    pub http: Arc<http::Private>,
    pub tls: Option<Arc<Tls>>,
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
        })
    }

    /// Says Close 1001 to every WebSocket and ends idle HTTP connections, then waits until all are gone, at
    /// most until `deadline`; ends the rest.
    pub fn close_all(&self, deadline: Instant) {
        self.visitors.closing.store(true, Ordering::SeqCst);
        for conn in self.visitors.all() {
            conn.0.close(conn.1);
        }
        if !self.visitors.wait_until_gone(deadline) {
            let rest = self.visitors.all();
            log::warn!("{} connections did not close in time; ended", rest.len());
            for (visitor, _) in rest {
                visitor.conn.abort();
            }
            self.visitors.wait_until_gone(clock::now() + Duration::from_millis(200));
        }
    }
}

/// A public listener with its thread.
pub struct Listener {
    address: SocketAddr,
    stop: Arc<rustix::fd::OwnedFd>,
    worker: Worker,
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
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let stopped = Arc::clone(&stop);
        let worker = Worker::spawn("accept", move || accept_until(&socket, &stopped, &door))?;
        Ok(Listener { address, stop, worker })
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting; connections that are in stay.
    pub fn close(self, limit: Duration) {
        let _ = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
        self.worker.join(limit);
    }
}

fn accept_until(socket: &TcpListener, stop: &rustix::fd::OwnedFd, door: &Arc<Door>) {
    let mut failing = false;
    loop {
        let mut fds = [PollFd::new(socket, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
        if let Err(error) = poll(&mut fds, None)
            && error != Errno::INTR
        {
            log::error!("waiting for connections: {error}");
            crate::rt::worker::die();
        }
        if !fds[1].revents().is_empty() {
            return;
        }
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
                let mut fds = [PollFd::new(stop, PollFlags::IN)];
                let _ = poll(&mut fds, Some(&conn::timespec(ACCEPT_PAUSE)));
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
    let visitor = Visitor { conn: Arc::clone(&conn), websocket: Arc::new(AtomicBool::new(false)) };
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

struct Leave(Arc<Door>, u64);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.visitors.leave(self.1);
    }
}

/// A connection that is in.
struct Visitor {
    conn: Arc<Conn>,
    /// Set once it speaks WebSocket: then its end is a Close frame, not just the end of the stream.
    websocket: Arc<AtomicBool>,
}

impl Visitor {
    /// Begins the end: a Close frame, or the end of the stream for one that has not asked for anything yet.
    fn close(&self, websocket: bool) {
        if websocket {
            self.conn.close(conn::CLOSE_GOING_AWAY, "the daemon is shutting down");
        } else {
            // HTTP answers under way are short: the read side ends, the write side finishes.
            let _ = self.conn.socket().shutdown(std::net::Shutdown::Read);
        }
    }
}

/// By connection id: the connection, and whether it has become a WebSocket.
type Inside = HashMap<u64, (Weak<Conn>, Arc<AtomicBool>)>;

/// Everyone who is in, for the shutdown.
#[derive(Default)]
struct Visitors {
    inside: Mutex<Inside>,
    gone: Condvar,
    closing: AtomicBool,
}

impl Visitors {
    fn enter(&self, visitor: &Visitor) {
        let entry = (Arc::downgrade(&visitor.conn), Arc::clone(&visitor.websocket));
        self.lock().insert(visitor.conn.id(), entry);
    }

    fn leave(&self, id: u64) {
        self.lock().remove(&id);
        self.gone.notify_all();
    }

    fn all(&self) -> Vec<(Visitor, bool)> {
        let inside = self.lock();
        let live = inside.values().filter_map(|(conn, websocket)| {
            let visitor = Visitor { conn: conn.upgrade()?, websocket: Arc::clone(websocket) };
            let is_websocket = websocket.load(Ordering::SeqCst);
            Some((visitor, is_websocket))
        });
        live.collect()
    }

    fn wait_until_gone(&self, deadline: Instant) -> bool {
        let mut inside = self.lock();
        while !inside.is_empty() {
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
