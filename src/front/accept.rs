//! Accepting: who waits for a visitor is who serves it.
//!
//! A few threads wait in one `epoll`, which wakes one of them for a connection, the one that came last and whose stack is
//! warm. It accepts, and serves the visitor itself: nobody else is woken for it. Before that it sees to it that somebody
//! goes on waiting, and afterwards it waits again unless enough others do. Who has waited for a while in vain ends, but
//! for the last.
//!
//! The socket is reported once, to one thread, until that has accepted and asks for the next report: so no two run for
//! the same connection, and none is forgotten.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;

use super::limits::Slot;
use super::{Door, Leave, Stage, Visitor, send_at_once, visit};
use crate::config;
use crate::conn::Conn;
use crate::rt::clock;
use crate::rt::pulse::{Asked, Pulse};
use crate::rt::socket::timespec;
use crate::rt::worker::{self, Stack, spawn_visitor};
use crate::session;

/// How long nothing is accepted after an error such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections the kernel may queue before they are accepted.
const LISTEN_BACKLOG: i32 = 1024;

/// Threads that wait, at most; and how long, unless they are the last. Making a thread and its stack costs more than all
/// the rest of a short visit; more than a few wait only behind a burst of visitors.
const WAITING_THREADS: usize = 32;
const WAITING_TIME: Duration = Duration::from_secs(1);

/// The marks of what is waited for.
const VISITOR: u64 = 0;
const BELL: u64 = 1;

/// What every connection is set to.
pub struct Settings {
    send_buffer_bytes: usize,
    /// Unacknowledged data older than this ends a connection in the kernel (`TCP_USER_TIMEOUT`), in ms.
    user_timeout: u32,
    /// What a session's read waits for by itself.
    quiet: Duration,
}

impl Settings {
    pub fn new(session: &config::Session) -> Settings {
        Settings {
            send_buffer_bytes: session.send_buffer_bytes,
            user_timeout: u32::try_from((session.ping_interval + session.pong_deadline).as_millis())
                .unwrap_or(u32::MAX),
            quiet: session::quiet(session),
        }
    }

    fn set(&self, socket: &impl std::os::fd::AsFd) -> io::Result<()> {
        use rustix::net::sockopt;
        sockopt::set_tcp_nodelay(socket, true)?;
        sockopt::set_socket_send_buffer_size(socket, self.send_buffer_bytes)?;
        sockopt::set_tcp_user_timeout(socket, self.user_timeout)?;
        sockopt::set_socket_timeout(socket, sockopt::Timeout::Recv, Some(self.quiet))?;
        Ok(())
    }
}

/// A socket that listens.
pub struct Bound {
    socket: TcpListener,
    /// It had the settings before the first connection came: Linux gives each connection those of its listener.
    hands_on: bool,
}

impl Bound {
    /// Binds and listens; nothing is accepted before [`Listener::open`].
    ///
    /// # Errors
    /// The system's, `AddrInUse` foremost.
    pub fn new(address: SocketAddr, session: &config::Session) -> io::Result<Bound> {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        Settings::new(session).set(&socket)?;
        bind(&socket, &address)?;
        listen(&socket, LISTEN_BACKLOG)?;
        Ok(Bound { socket: socket.into(), hands_on: true })
    }

    /// One that a service manager has opened, where connections may wait already.
    pub fn passed(socket: TcpListener) -> Bound {
        Bound { socket, hands_on: false }
    }
}

/// A public listener with its threads.
pub struct Listener {
    address: SocketAddr,
    shared: Arc<Accepting>,
}

/// What the threads of a listener have in common.
struct Accepting {
    door: Arc<Door>,
    socket: TcpListener,
    /// For sockets that do not hand them on.
    settings: Option<Settings>,
    epoll: OwnedFd,
    bell: OwnedFd,
    stopping: AtomicBool,
    /// It was said that nothing can be accepted.
    failing: AtomicBool,
    pulse: Pulse,
    /// Threads that wait or let somebody in.
    waiting: Mutex<usize>,
    none_waits: Condvar,
}

impl Listener {
    /// Starts accepting.
    ///
    /// # Errors
    /// No thread or descriptor to be had.
    pub fn open(bound: Bound, session: &config::Session, door: Arc<Door>) -> io::Result<Listener> {
        let Bound { socket, hands_on } = bound;
        let address = socket.local_addr()?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &bell, EventData::new_u64(BELL), EventFlags::IN)?;
        epoll::add(&epoll, &socket, EventData::new_u64(VISITOR), ONCE)?;
        let shared = Arc::new(Accepting {
            door,
            socket,
            settings: (!hands_on).then(|| Settings::new(session)),
            epoll,
            bell,
            stopping: AtomicBool::new(false),
            failing: AtomicBool::new(false),
            pulse: Pulse::default(),
            waiting: Mutex::new(1),
            none_waits: Condvar::new(),
        });
        shared.start_thread()?;
        Ok(Listener { address, shared })
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its threads, to be asked whether one of them comes round.
    pub fn asked(&self) -> Asked {
        let shared = Arc::downgrade(&self.shared);
        let ask = move |answer| {
            if let Some(shared) = shared.upgrade() {
                shared.pulse.ask(answer);
                shared.ring();
            }
        };
        Asked { name: "accept", ask: Box::new(ask) }
    }

    /// Stops accepting; connections that are in stay. Those that wait to be accepted are left to whoever else has the
    /// socket (a service manager, for the next process), and are reset where nobody has.
    pub fn close(self, limit: Duration) {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.ring();
        let until = clock::now() + limit;
        let mut waiting = self.shared.waiting();
        while *waiting > 0 {
            let left = until.saturating_duration_since(clock::now());
            if left.is_zero() {
                log::warn!("{waiting} threads that accept did not end within {}", humantime::format_duration(limit));
                return;
            }
            waiting = self.shared.none_waits.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The socket is reported to one thread, and then no more until it is asked for again.
const ONCE: EventFlags = EventFlags::IN.union(EventFlags::ONESHOT);

/// A visitor who is in, and its place.
struct Admitted {
    visitor: Visitor,
    is_tls: bool,
    slot: Slot,
    leave: Leave,
}

impl Accepting {
    /// Starts a thread that waits, and is counted already.
    fn start_thread(self: &Arc<Accepting>) -> io::Result<()> {
        // While it serves, the listener may be closed: its socket is not to stay open for that.
        let own = Arc::downgrade(self);
        spawn_visitor("visitor", move |stack| serve(&own, stack))
    }

    /// Waits for a visitor and lets it in; somebody else waits from then on. `None`: this thread is no longer needed.
    #[inline(never)]
    fn next(self: &Arc<Accepting>, stack: Stack) -> Option<Admitted> {
        let mut limit = Some(WAITING_TIME);
        loop {
            let news = self.wait(limit);
            if self.stopping.load(Ordering::Acquire) {
                self.leave(&mut self.waiting());
                return None;
            }
            match news {
                Some(VISITOR) => {
                    if let Some(admitted) = self.accept().and_then(|(stream, peer)| self.admit(stream, peer))
                        && self.is_replaced(&admitted)
                    {
                        return Some(admitted);
                    }
                }
                Some(_) => {
                    let _ = rustix::io::read(&self.bell, &mut [0; 8]);
                    self.pulse.beat();
                }
                None => {
                    let mut waiting = self.waiting();
                    if *waiting > 1 {
                        self.leave(&mut waiting);
                        return None;
                    }
                    limit = None;
                }
            }
            if limit.is_none() {
                stack.give_back_unused();
            }
        }
    }

    /// Waits for a report, at most this long.
    fn wait(&self, limit: Option<Duration>) -> Option<u64> {
        let limit = limit.map(timespec);
        let mut events = [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }];
        loop {
            match epoll::wait(&self.epoll, &mut events[..], limit.as_ref()) {
                Ok(0) => return None,
                Ok(_) => return Some(events[0].data.u64()),
                Err(Errno::INTR) => {}
                Err(error) => {
                    log::error!("waiting for connections: {error}");
                    worker::die();
                }
            }
        }
    }

    /// Accepts a connection and asks for the next report.
    fn accept(&self) -> Option<(TcpStream, SocketAddr)> {
        let accepted = self.socket.accept();
        let accepted = match accepted {
            Ok(accepted) => {
                self.failing.store(false, Ordering::Relaxed);
                Some(accepted)
            }
            // The peer left between connecting and being accepted.
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted) => None,
            Err(error) => {
                self.pause(&error);
                None
            }
        };
        if let Err(error) = epoll::modify(&self.epoll, &self.socket, EventData::new_u64(VISITOR), ONCE) {
            log::error!("waiting for connections: {error}");
            worker::die();
        }
        accepted
    }

    /// Nothing can be accepted now: nobody tries for a while.
    #[cold]
    fn pause(&self, error: &io::Error) {
        if !self.failing.swap(true, Ordering::Relaxed) {
            log::error!("cannot accept connections for now: {error}");
        }
        let mut fds = [PollFd::new(&self.bell, PollFlags::IN)];
        let _ = poll(&mut fds, Some(&timespec(ACCEPT_PAUSE)));
    }

    /// Counts the connection and lets it in, or turns it away.
    fn admit(&self, stream: TcpStream, peer: SocketAddr) -> Option<Admitted> {
        let door = &self.door;
        let slot = match door.slots.enter(peer.ip()) {
            Ok(slot) => slot,
            Err(full) => {
                log::debug!("{peer} turned away: {full}");
                turn_away(&stream, door.tls.is_some());
                return None;
            }
        };
        if let Some(settings) = &self.settings
            && let Err(error) = settings.set(&stream)
        {
            log::debug!("{peer}: {error}");
            return None;
        }
        let tls = match door.tls.as_ref().map(|tls| tls.session()).transpose() {
            Ok(tls) => tls,
            Err(error) => {
                log::warn!("{peer}: TLS: {error}");
                return None;
            }
        };
        let is_tls = tls.is_some();
        let conn = Conn::new(stream, peer, tls, Arc::clone(&door.shared));
        let leave = Leave(Arc::clone(door), conn.id());
        let visitor = Visitor { conn, stage: Stage::default() };
        door.visitors.enter(&visitor);
        Some(Admitted { visitor, is_tls, slot, leave })
    }

    /// Whether somebody else waits in this thread's place, which has a visitor now; else it has to wait on.
    fn is_replaced(self: &Arc<Accepting>, admitted: &Admitted) -> bool {
        {
            let mut waiting = self.waiting();
            if *waiting > 1 || self.stopping.load(Ordering::Acquire) {
                self.leave(&mut waiting);
                return true;
            }
        }
        match self.start_thread() {
            Ok(()) => true,
            Err(error) => {
                log::error!("no thread for {}: {error}", admitted.visitor.conn.peer());
                false
            }
        }
    }

    /// This thread waits no more.
    fn leave(&self, waiting: &mut usize) {
        *waiting -= 1;
        if *waiting == 0 {
            self.none_waits.notify_all();
        }
    }

    /// Whether this thread waits again.
    fn come_back(&self) -> bool {
        let mut waiting = self.waiting();
        let needed = *waiting < WAITING_THREADS && !self.stopping.load(Ordering::Acquire);
        *waiting += usize::from(needed);
        needed
    }

    /// Wakes who waits.
    fn ring(&self) {
        // Full is as good: they are awake then.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    fn waiting(&self) -> MutexGuard<'_, usize> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread's life: one visitor after the other.
fn serve(own: &Weak<Accepting>, stack: Stack) {
    loop {
        let Some(admitted) = own.upgrade().and_then(|accepting| accepting.next(stack)) else { return };
        let Admitted { visitor, is_tls, slot, leave } = admitted;
        worker::visit(visitor.conn.id(), || {
            // Dropped last, also when the visit crashes.
            let leave = leave;
            visit::run(&leave.0, &visitor, is_tls, slot, stack);
        });
        drop(visitor);
        if !own.upgrade().is_some_and(|accepting| accepting.come_back()) {
            return;
        }
    }
}

fn turn_away(stream: &TcpStream, tls: bool) {
    const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Type: text/plain\r\n\
        Content-Length: 54\r\nConnection: close\r\n\r\nToo many connections. Close some, or try again later.\n";
    if !tls {
        send_at_once(stream, FULL);
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::sockopt;

    use super::*;

    fn session() -> config::Session {
        config::Session {
            message_bytes: 1,
            message_deadline: Duration::from_secs(1),
            ping_interval: Duration::from_secs(16),
            pong_deadline: Duration::from_secs(4),
            auth_deadline: Duration::from_secs(1),
            close_deadline: Duration::from_secs(1),
            backlog_bytes: 1,
            total_backlog_bytes: 1,
            send_buffer_bytes: 32 * 1024,
            slow_events: config::SlowEvents::Drop,
        }
    }

    #[test]
    fn connections_have_their_listeners_settings() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(bound) = Bound::new(address.parse().expect("an address"), &session()) else {
                continue; // a machine without IPv6
            };
            let address = bound.socket.local_addr().expect("its address");
            // Said before anybody accepts, as for visitors who come while the daemon starts.
            let _visitor = TcpStream::connect(address).expect("connects");
            let mut fds = [PollFd::new(&bound.socket, PollFlags::IN)];
            assert_eq!(poll(&mut fds, Some(&timespec(Duration::from_secs(10)))), Ok(1));
            let (stream, _) = bound.socket.accept().expect("a connection");
            assert_eq!(sockopt::tcp_nodelay(&stream), Ok(true));
            // The kernel counts its own needs as well: twice what was asked for.
            assert_eq!(sockopt::socket_send_buffer_size(&stream), Ok(64 * 1024));
            assert_eq!(sockopt::tcp_user_timeout(&stream), Ok(20_000));
            let quiet = sockopt::socket_timeout(&stream, sockopt::Timeout::Recv).expect("a timeout");
            // Rounded to the kernel's ticks.
            let wanted = session::quiet(&session());
            assert!(quiet.is_some_and(|quiet| quiet.abs_diff(wanted) <= Duration::from_millis(10)), "{quiet:?}");
            assert!(!rustix::fs::fcntl_getfl(&stream).expect("flags").contains(rustix::fs::OFlags::NONBLOCK));
        }
    }
}
