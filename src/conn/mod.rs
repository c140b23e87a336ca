//! A connection: one socket, plain or TLS, with one reader and any number of writers.
//!
//! Writers never block. Each write goes through the connection's **outbox**, a short lock around a
//! non-blocking send; what the kernel does not take waits in a bounded backlog, and the one [`Flusher`]
//! thread waits for writability of exactly the sockets that have a backlog. So bytes are written by the
//! thread that has them, a stalled peer costs its own backlog and nothing else, and frames never interleave.
//!
//! The reader is one thread that blocks in the kernel. With TLS both sides share one rustls connection under
//! the outbox lock, which is never held across a blocking call.
//!
//! Policy when a backlog is full: an event's receiver is **cut** (its unsent frames are dropped, it is told
//! why in a Close frame, and the socket ends a moment later) or does not get the event and is told how many it missed,
//! as its subscriber wishes; a request's sender is **made to wait** (its thread stops reading until there is room, with
//! a deadline).

mod budget;
pub mod client;
mod fault;
mod flusher;
mod outbox;
mod reader;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

pub use budget::Budget;
pub use flusher::Flusher;
pub use outbox::Gone;
pub use reader::{Got, Reader, Wait};
pub use tls::{Tls, TlsError};

use crate::rt::clock;
use crate::rt::socket::{self, For, Socket};
use crate::rt::sync::{Arc, AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, PoisonError};
use crate::wire::frame;
use outbox::{Outbox, Room};

/// RFC 6455 close code: the daemon is going away.
pub const CLOSE_GOING_AWAY: u16 = 1001;
/// RFC 6455 close code: the peer broke the protocol.
pub const CLOSE_PROTOCOL: u16 = 1002;
/// RFC 6455 close code: a message that cannot be what this socket speaks.
pub const CLOSE_UNSUPPORTED: u16 = 1003;
/// RFC 6455 close code: text that is not UTF-8, or data that does not fit its type.
pub const CLOSE_BAD_DATA: u16 = 1007;
/// RFC 6455 close code: not allowed.
pub const CLOSE_POLICY: u16 = 1008;
/// RFC 6455 close code: message too big.
pub const CLOSE_TOO_BIG: u16 = 1009;
/// RFC 6455's registry: come again. With the reason `resend`, to hand over again what is not stored.
pub const CLOSE_AGAIN: u16 = 1012;
/// Ours: another agent of the same server has taken this one's place. It is not to come back at once.
pub const CLOSE_REPLACED: u16 = 4001;
/// Ours: the subscriber reads too slowly. Reconnecting is fine.
pub const CLOSE_SLOW: u16 = 4008;
/// Ours: from here on reconnecting is of no use, until somebody has changed something.
pub const CLOSE_FOR_GOOD: u16 = 4500;
/// Ours: no key was shown, or one that opens nothing, or nothing any more.
pub const CLOSE_KEY: u16 = 4501;
/// Ours: the key does not allow what the connection was opened for.
pub const CLOSE_FORBIDDEN: u16 = 4503;

/// Rung when a connection has room again for somebody whose frames were not taken; see [`Conn::offer`].
pub trait Bell: Send + Sync {
    /// Must not wait.
    fn ring(&self, whose: u64);
}

/// What became of frames that were offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    Taken,
    /// There was no room; the bell rings when there is.
    Full,
}

/// What every connection of the daemon shares.
pub struct Shared {
    pub flusher: Flusher,
    pub budget: Budget,
    /// Bytes that may wait for one connection.
    pub backlog_bytes: usize,
    /// From our Close to the end of the socket.
    pub close_deadline: Duration,
    /// How long a request's sender may take to read the answers that wait for it.
    pub reply_deadline: Duration,
    next_id: AtomicU64,
}

impl Shared {
    /// # Errors
    /// The flusher's thread or descriptors cannot be had.
    pub fn new(limits: &crate::config::Session) -> io::Result<Shared> {
        Ok(Shared {
            flusher: Flusher::start()?,
            budget: Budget::new(limits.total_backlog_bytes),
            backlog_bytes: limits.backlog_bytes,
            close_deadline: limits.close_deadline,
            reply_deadline: limits.message_deadline,
            next_id: AtomicU64::new(1),
        })
    }
}

/// One connection; see the module's text.
pub struct Conn {
    id: u64,
    socket: Socket,
    peer: SocketAddr,
    shared: Arc<Shared>,
    /// Set with the first Close we send: from then on nothing the peer says is acted on.
    closing: AtomicBool,
    outbox: Mutex<Outbox>,
}

impl Conn {
    /// Wraps an accepted socket. The socket stays blocking; only writes are made non-blocking, one by one.
    pub fn new(socket: Socket, peer: SocketAddr, tls: Option<tls::Session>, shared: Arc<Shared>) -> Arc<Conn> {
        // An IPv4 peer of a dual-stack listener is shown and counted as what it is.
        let peer = match peer.ip() {
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(peer, |v4| SocketAddr::new(v4.into(), peer.port())),
            IpAddr::V4(_) => peer,
        };
        Arc::new(Conn {
            id: shared.next_id.fetch_add(1, Ordering::Relaxed),
            socket,
            peer,
            shared,
            closing: AtomicBool::new(false),
            outbox: Mutex::new(Outbox::new(tls)),
        })
    }

    /// Unique in this process.
    pub fn id(&self) -> u64 {
        self.id
    }

    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether we have begun to close it.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Looks at the outbox's lock, which takes nothing and says nothing: it brings the lock into the processor's cache.
    pub fn peek(&self) -> bool {
        self.outbox.is_poisoned()
    }

    /// Sends an event's frames, never waiting. A receiver whose backlog is full is cut with [`CLOSE_SLOW`].
    ///
    /// # Errors
    /// [`Gone`] when the connection has ended or is closing.
    pub fn send(self: &Arc<Conn>, frames: &[u8]) -> Result<(), Gone> {
        let mut outbox = self.lock();
        let before = outbox.waiting();
        match outbox.send(&self.socket, frames, self.room())? {
            Room::Enough => {
                self.watch_if_new(before, &outbox);
                Ok(())
            }
            Room::Full => {
                drop(outbox);
                log::info!("{} reads too slowly: {} bytes wait for it; cut", self.peer, before);
                self.close(CLOSE_SLOW, "slow: the backlog is full");
                Err(Gone)
            }
        }
    }

    /// Sends an event's frames, never waiting, or none of them where the backlog is full: then `bell` is rung once for
    /// `whose` when half of the backlog is free again.
    ///
    /// # Errors
    /// [`Gone`] when the connection has ended or is closing.
    pub fn offer(self: &Arc<Conn>, frames: &[u8], bell: &Arc<dyn Bell>, whose: u64) -> Result<Offered, Gone> {
        let mut outbox = self.lock();
        let before = outbox.waiting();
        // Who is not cut holds its backlog for longer: a part of the budget is left to the others.
        let room = if self.shared.budget.is_tight() { self.room().at_most(0) } else { self.room() };
        match outbox.send(&self.socket, frames, room)? {
            Room::Enough => {
                self.watch_if_new(before, &outbox);
                Ok(Offered::Taken)
            }
            Room::Full => {
                outbox.ask_for_room(bell, whose);
                // Others use the whole budget: nothing waits here, so nobody watches for room yet.
                if before == 0 {
                    self.shared.flusher.watch(self);
                }
                Ok(Offered::Full)
            }
        }
    }

    /// Sends the answers to this connection's own requests; waits for room, at most the reply deadline. Only
    /// the connection's reader thread calls this: while it waits it reads no further requests.
    ///
    /// # Errors
    /// [`Gone`] when the connection has ended or is closing, or did not make room in time.
    pub fn reply(self: &Arc<Conn>, bytes: &[u8]) -> Result<(), Gone> {
        // Mostly there is room, and then no clock is read.
        let mut deadline = None;
        loop {
            {
                let mut outbox = self.lock();
                let before = outbox.waiting();
                if before == 0 || before + bytes.len() <= self.shared.backlog_bytes {
                    match outbox.send(&self.socket, bytes, self.room().at_least(bytes.len()))? {
                        Room::Enough => {
                            self.watch_if_new(before, &outbox);
                            return Ok(());
                        }
                        Room::Full => {} // the global budget is used up; wait for some of it
                    }
                }
            }
            let deadline = *deadline.get_or_insert_with(|| clock::now() + self.shared.reply_deadline);
            if !self.wait_writable(deadline)? {
                log::info!("{} does not read its answers; cut", self.peer);
                self.close(CLOSE_SLOW, "slow: answers are not read");
                return Err(Gone);
            }
            self.flush();
        }
    }

    /// Says Close once, drops what waits behind a half-sent frame, and makes sure that the socket ends within
    /// the close deadline whatever the peer does. The reader goes on reading until then, so that the peer's
    /// own Close is seen and no reset destroys ours on its way.
    pub fn close(self: &Arc<Conn>, code: u16, reason: &str) {
        if self.closing.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut bytes = Vec::new();
        frame::close(&mut bytes, code, reason);
        let mut outbox = self.lock();
        let before = outbox.waiting();
        // A slow peer's events are worth nothing to it any more; going away, everything queued still counts.
        if code == CLOSE_SLOW {
            outbox.drop_unsent(&self.shared.budget);
        }
        // A Close finds room behind any backlog: it is the last thing that needs some.
        let _ = outbox.send(&self.socket, &bytes, self.room().at_least(usize::MAX));
        outbox.seal();
        self.watch_if_new(if code == CLOSE_SLOW { 0 } else { before }, &outbox);
        drop(outbox);
        self.shared.flusher.end_at(clock::now() + self.shared.close_deadline, self);
    }

    /// Lets nothing more be sent (the peer's Close was answered) without saying anything.
    pub fn seal(&self) {
        self.closing.store(true, Ordering::Release);
        self.lock().seal();
    }

    /// Ends the socket at once; the reader wakes with end-of-file.
    pub fn end(&self) {
        self.drop_all();
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }

    /// Nothing is sent any more, and nobody waits for the socket.
    fn drop_all(&self) {
        self.lock().kill(&self.shared.budget);
        self.shared.flusher.forget(self);
    }

    /// Sends what waits, then tells the peer that nothing more comes, and reads until it has ended too (or
    /// `limit` is over): closing a socket with unread input would reset it and destroy what is on its way.
    pub fn finish(self: &Arc<Conn>, reader: &mut Reader, limit: Duration) {
        let deadline = clock::now() + limit;
        self.send_all(deadline);
        self.lock().goodbye(&self.socket);
        // Without it a TLS client takes what it has for cut off.
        self.send_all(deadline);
        // A peer that has reset the connection neither hears nor says anything more.
        if self.socket.shutdown(std::net::Shutdown::Write).is_err() {
            return self.drop_all();
        }
        reader.drain(deadline);
        if clock::now() < deadline { self.end() } else { self.abort() }
    }

    /// Ends the socket of a peer that does not end its own: with a reset, because one that is stuck in sending
    /// would otherwise learn of it a minute later. What it has received it can still read.
    pub fn abort(&self) {
        socket::end_with_reset(&self.socket);
        self.end();
    }

    /// Bytes that wait for the kernel to take them.
    pub fn waiting(&self) -> usize {
        self.lock().waiting()
    }

    /// Sends what waits, as far as the kernel takes it. Called by the flusher and by waiting readers.
    pub fn flush(&self) {
        let mut outbox = self.lock();
        if outbox.flush(&self.socket, &self.shared.budget).is_err() {
            drop(outbox);
            self.end();
        } else {
            let waiting = outbox.waiting();
            if waiting == 0 {
                self.shared.flusher.forget(self);
            } else {
                self.shared.flusher.rearm(self);
            }
            let asking = if waiting <= self.shared.backlog_bytes / 2 { outbox.take_asking() } else { Vec::new() };
            // Whoever hears of it may send at once.
            drop(outbox);
            for (bell, whose) in asking {
                bell.ring(whose);
            }
        }
    }

    /// The descriptor, for `poll`.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Waits for writability; `Ok(false)` when the deadline has passed.
    fn wait_writable(&self, deadline: Instant) -> Result<bool, Gone> {
        loop {
            let left = deadline.saturating_duration_since(clock::now());
            match socket::wait(&self.socket, For::Room, left) {
                Ok(has_room) => return Ok(has_room),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Gone),
            }
        }
    }

    /// Sends what waits, until nothing does.
    fn send_all(&self, deadline: Instant) {
        while self.waiting() > 0 && self.wait_writable(deadline) == Ok(true) {
            self.flush();
        }
    }

    fn watch_if_new(self: &Arc<Conn>, before: usize, outbox: &Outbox) {
        if before == 0 && outbox.waiting() > 0 {
            self.shared.flusher.watch(self);
        }
    }

    fn room(&self) -> outbox::Limits<'_> {
        outbox::Limits { backlog_bytes: self.shared.backlog_bytes, budget: &self.shared.budget }
    }

    /// The lock guards bytes only; a holder that panicked leaves at worst a torn frame on its own socket.
    fn lock(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        let outbox = self.outbox.get_mut().unwrap_or_else(PoisonError::into_inner);
        outbox.kill(&self.shared.budget);
        self.shared.flusher.forget(self);
    }
}
