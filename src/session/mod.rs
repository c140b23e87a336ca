//! A visitor on a WebSocket: the loop that reads, the keep-alive, and how it ends.
//!
//! One thread per visitor, and it waits in one place: `Stream::read`, where tungstenite asks for more
//! bytes. Before it waits there, everything that the messages so far have caused is sent: all answers in one
//! write, and all published events through the hub. So a client that pipelines gets its answers batched, and
//! a client that waits for each answer never waits for a batch.

mod burst;
mod echo;
mod endrpi;
mod events;
#[cfg_attr(not(feature = "hub"), path = "no_fleet.rs")]
mod fleet;
mod keepalive;
mod picloud;

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

use crate::alerts::Alerts;
use crate::auth::{Badge, Gate, Pass, Refused};
use crate::config;
use crate::conn::{self, Conn, Got, Reader, Wait};
use crate::dispatch::Desk;
use crate::fleet::Fleet;
use crate::hub::{Hub, Pulled, Replay};
use crate::rt::clock;
use crate::rt::worker::Stack;
use crate::store::Store;
use crate::types::rights::Rights;
use crate::types::topic::Pattern;
use crate::types::wants::Wants;
use burst::Burst;
use keepalive::KeepAlive;

/// What sessions work with; one for the daemon.
pub struct Host {
    pub hub: Arc<Hub>,
    pub desk: Arc<Desk>,
    pub gate: Arc<Gate>,
    pub fleet: Arc<Fleet>,
    pub store: Arc<Store>,
    pub alerts: Arc<Alerts>,
    pub limits: config::Session,
    pub picloud: config::Picloud,
}

/// Which conversation a visitor came for.
pub enum Kind {
    Endrpi,
    Events { types: Vec<Pattern>, wants: Wants },
    Subscribe { name: String },
    Publish { name: String },
    Info,
    Fleet(FleetKind),
    Echo,
}

pub use fleet::FleetKind;

/// tungstenite's read buffer, touched by every session: more would cost each idle connection, less would cost
/// more system calls for large messages (a request is some 50 bytes).
const READ_BYTES: usize = 2048;

/// By which share of itself the ping interval is shorter, at most: each session has its own.
const PING_SPREAD: f64 = 0.25;

/// How many bytes of answers are collected before they are sent without waiting for the next read.
const REPLIES_BYTES: usize = 16 * 1024;

/// A buffer larger than this is given back after use.
const KEEP_BYTES: usize = 4 * 1024;

/// Who came, and what for.
pub struct Visit {
    pub kind: Kind,
    /// `None` where a key is required and has yet to be shown, in the first message.
    pub badge: Option<Badge>,
}

/// What the own timeout of a session's socket is, from its beginning on.
pub fn quiet(limits: &config::Session) -> Duration {
    KeepAlive::quiet(limits)
}

/// Serves one visitor until it ends. The handshake is done; `early` is what came behind it.
#[inline(never)]
pub fn run(host: &Arc<Host>, conn: &Arc<Conn>, mut reader: Reader, early: Vec<u8>, visit: Visit, stack: Stack) {
    let limits = &host.limits;
    // Many who come together, after a restart say, shall not all be pinged together for ever.
    let ping_interval = limits.ping_interval.mul_f64(1.0 - PING_SPREAD * spread(conn.id()));
    let keepalive = KeepAlive::new(limits, ping_interval, clock::now());
    reader.set_steady_wait(quiet(limits));
    let mut stream = stream(host, conn, reader, keepalive, stack);
    if let Kind::Fleet(_) = visit.kind {
        // ChatOps' agents and pages know one code for it.
        stream.line.key_ended = conn::CLOSE_POLICY;
    }
    if let Some(badge) = visit.badge {
        stream.line.admit(&host.gate, badge);
    }
    let conversation = open(host, visit, conn);
    let mut guest = Guest { conversation, host: Arc::clone(host), conn: Arc::clone(conn) };
    let mut protocol = protocol(early, limits.message_bytes);
    let end = converse(&mut protocol, &mut stream, guest.conversation.as_mut());
    // The protocol's buffers are not needed for the goodbye.
    drop(protocol);
    part(&mut stream, guest.conversation.as_mut(), end, limits.close_deadline);
}

// While a session waits, its stack shall fit into two pages with room to spare, whatever the compiler makes of it: what it
// consists of is on the heap, and made in functions that are not inlined, whose frames are gone by then.

#[inline(never)]
fn stream(host: &Host, conn: &Arc<Conn>, reader: Reader, keepalive: KeepAlive, stack: Stack) -> Box<Stream> {
    let line = Line {
        conn: Arc::clone(conn),
        hub: Arc::clone(&host.hub),
        replies: Vec::new(),
        burst: Burst::default(),
        pass: None,
        rights: None,
        key_ended: conn::CLOSE_KEY,
    };
    Box::new(Stream { line, reader, keepalive, tick: None, stack, used: true })
}

#[inline(never)]
fn protocol(early: Vec<u8>, message_bytes: usize) -> Box<WebSocketContext> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(message_bytes + 1024)
        .max_message_size(Some(message_bytes))
        .max_frame_size(Some(message_bytes));
    Box::new(WebSocketContext::from_partially_read(early, Role::Server, Some(config)))
}

/// A number from 0 to 1, far from those of the connections before and after this one: steps of the golden ratio.
fn spread(id: u64) -> f64 {
    let turns = id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    turns as f64 / f64::from(u32::MAX)
}

/// Ends a session: what was answered before still goes out, in order, and the Close after it.
#[inline(never)]
fn part(stream: &mut Stream, conversation: &mut dyn Conversation, end: End, limit: Duration) {
    let conn = Arc::clone(&stream.line.conn);
    log::debug!("{} ended: {}", conn.peer(), end.reason);
    let _ = stream.line.settle();
    match end.code {
        Some(code) => conn.close(code, &end.reason),
        None => conn.seal(),
    }
    conversation.leave();
    stream.line.hub.combine();
    conn.finish(&mut stream.reader, limit);
}

/// A conversation that leaves even when its thread panics: else its subscriptions and leases would outlive it.
struct Guest {
    conversation: Box<dyn Conversation>,
    host: Arc<Host>,
    conn: Arc<Conn>,
}

impl Drop for Guest {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.conn.end();
            self.conversation.leave();
            self.host.hub.combine();
        }
    }
}

#[inline(never)]
fn open(host: &Arc<Host>, visit: Visit, conn: &Arc<Conn>) -> Box<dyn Conversation> {
    let authorised = visit.badge.is_some();
    match visit.kind {
        Kind::Endrpi => Box::new(endrpi::Endrpi::new(host, conn, authorised)),
        Kind::Events { types, wants } => Box::new(events::Events::new(host, conn, authorised, types, wants)),
        Kind::Subscribe { name } => Box::new(picloud::Subscribe::new(host, conn, name)),
        Kind::Publish { name } => Box::new(picloud::Publish::new(host, conn, name)),
        Kind::Info => Box::new(picloud::Info::new(host)),
        Kind::Fleet(kind) => kind.open(host, conn),
        Kind::Echo => Box::new(echo::Echo),
    }
}

/// One dialect's side of a session.
trait Conversation {
    /// Before the first message.
    fn begin(&mut self, line: &mut Line) -> Result<(), End>;

    /// A whole message. `text` is false for binary frames.
    fn message(&mut self, line: &mut Line, payload: &[u8], text: bool) -> Result<(), End>;

    /// Largest message it takes from now on, where that is not the usual one.
    fn message_bytes(&self) -> Option<usize> {
        None
    }

    /// When [`Conversation::tick`] wants to be called next.
    fn next_tick(&self) -> Option<Instant> {
        None
    }

    fn tick(&mut self, _line: &mut Line, _now: Instant) -> Result<(), End> {
        Ok(())
    }

    /// The session is over: takes itself out of the hub.
    fn leave(&mut self) {}
}

/// Why a session ends.
struct End {
    /// The Close we send; `None` when the peer closed or is gone.
    code: Option<u16>,
    reason: Cow<'static, str>,
}

impl End {
    fn close(code: u16, reason: impl Into<Cow<'static, str>>) -> End {
        End { code: Some(code), reason: reason.into() }
    }

    /// The visitor's address showed too many wrong keys.
    fn slowed(wait: Duration) -> End {
        End::close(conn::CLOSE_POLICY, format!("Invalid API Key: {}", Refused::wait_text(wait)))
    }

    fn gone(reason: impl Into<Cow<'static, str>>) -> End {
        End { code: None, reason: reason.into() }
    }
}

fn converse(protocol: &mut WebSocketContext, stream: &mut Stream, conversation: &mut dyn Conversation) -> End {
    if let Err(end) = conversation.begin(&mut stream.line) {
        return end;
    }
    let mut allowed = None;
    loop {
        stream.tick = conversation.next_tick();
        let read = protocol.read(stream);
        let said = matches!(read, Ok(Message::Text(_) | Message::Binary(_)));
        let done = match read {
            // Between our Close and the peer's, nothing it says is acted on.
            Ok(_) if stream.line.conn.is_closing() => Ok(()),
            Ok(Message::Text(text)) => conversation.message(&mut stream.line, text.as_bytes(), true),
            Ok(Message::Binary(bytes)) => conversation.message(&mut stream.line, &bytes, false),
            Ok(_) => Ok(()),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                conversation.tick(&mut stream.line, clock::now())
            }
            Err(error) => Err(end_of(error)),
        };
        stream.keepalive.message_done(said);
        if let Err(end) = done {
            return end;
        }
        if conversation.message_bytes() != allowed {
            allowed = conversation.message_bytes();
            protocol.set_config(|config| {
                config.max_message_size = allowed.or(config.max_message_size);
                config.max_frame_size = allowed.or(config.max_frame_size);
            });
        }
        if stream.line.replies.len() > REPLIES_BYTES && stream.line.settle().is_err() {
            return End::gone("connection lost");
        }
    }
}

/// What a protocol or socket error means for the peer.
#[cold]
#[inline(never)]
fn end_of(error: Error) -> End {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => End::gone("closed by the peer"),
        Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => End::gone("peer left"),
        Error::Protocol(error) => End::close(conn::CLOSE_PROTOCOL, error.to_string()),
        Error::Utf8(_) => End::close(conn::CLOSE_BAD_DATA, "text that is not UTF-8"),
        Error::Capacity(error) => End::close(conn::CLOSE_TOO_BIG, error.to_string()),
        Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
            End::close(conn::CLOSE_POLICY, error.to_string())
        }
        error => End::gone(error.to_string()),
    }
}

/// What a conversation may touch of its session.
struct Line {
    conn: Arc<Conn>,
    hub: Arc<Hub>,
    /// Frames to send before the next wait.
    replies: Vec<u8>,
    /// What was published and is not yet sent, and what may come with it.
    burst: Burst,
    /// While the visitor is in with a key that may end before it leaves.
    pass: Option<Pass>,
    /// What that key allows; `None`: everything.
    rights: Option<Arc<Rights>>,
    /// The Close when that key is no longer good.
    key_ended: u16,
}

impl Line {
    /// Notes with what the visitor is in; it is closed when that ends, which may be now.
    fn admit(&mut self, gate: &Gate, badge: Badge) {
        self.rights = gate.rights(badge);
        self.pass = gate.enter(badge, self.turn_out());
    }

    /// What ends the session when what the visitor came with is no longer good.
    fn turn_out(&self) -> impl Fn(&'static str) + Send + Sync + 'static {
        let (conn, code) = (Arc::downgrade(&self.conn), self.key_ended);
        move |why| {
            if let Some(conn) = conn.upgrade() {
                log::info!("{} closed: {why}", conn.peer());
                conn.close(code, why);
            }
        }
    }

    /// Sends what was answered, then what the client has missed, and makes its subscription live.
    fn replay(&mut self, mut replay: Replay) -> Result<(), End> {
        let gone = |_| End::gone("connection lost");
        loop {
            self.settle().map_err(gone)?;
            if replay.pull(&mut self.replies) == Pulled::Live {
                return Ok(());
            }
        }
    }

    /// Sends all answers, then everything that waits in the hub.
    fn settle(&mut self) -> Result<(), conn::Gone> {
        if !self.replies.is_empty() {
            let sent = self.conn.reply(&self.replies);
            self.replies.clear();
            self.replies.shrink_to(KEEP_BYTES);
            sent?;
        }
        let hub = &self.hub;
        self.burst.send(|| hub.combine());
        Ok(())
    }

    /// Until when to wait for more before everything is sent. Answers are not kept waiting.
    fn wait_for_more(&mut self) -> Option<Instant> {
        if self.replies.is_empty() { self.burst.wait() } else { None }
    }
}

/// The connection as tungstenite sees it.
struct Stream {
    line: Line,
    reader: Reader,
    keepalive: KeepAlive,
    tick: Option<Instant>,
    stack: Stack,
    /// Something came or went since memory was last given back.
    used: bool,
}

impl Stream {
    /// Waits for what may come with what was published, before that is sent; `None` when nothing does.
    fn rest_of_burst(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(until) = self.line.wait_for_more() else { return Ok(None) };
        let mut looks = 0;
        loop {
            // The next one is mostly a microsecond away: to be woken for it would cost its sender, too, more than that.
            let wait = if looks < burst::LOOKS { Wait::No } else { Wait::Until(until) };
            match self.reader.read(buf, wait)? {
                Got::Data(n) => {
                    self.keepalive.heard();
                    return Ok(Some(n));
                }
                Got::End => return Ok(Some(0)),
                Got::Nothing if looks == burst::LOOKS || clock::now() >= until => break,
                Got::Nothing => std::thread::yield_now(),
            }
            looks += 1;
        }
        self.line.burst.no_more();
        Ok(None)
    }
}

impl io::Read for Stream {
    /// The session's one wait point. `WouldBlock` means: a tick is due.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if let Some(more) = self.rest_of_burst(buf)? {
            return Ok(more);
        }
        self.line.settle().map_err(|_| io::Error::from(io::ErrorKind::ConnectionAborted))?;
        loop {
            let wait = self.keepalive.wait(self.tick);
            if self.used && self.keepalive.is_idle() {
                self.used = false;
                self.line.replies = Vec::new();
                self.stack.give_back_unused();
            }
            match self.reader.read(buf, wait)? {
                Got::Data(n) => {
                    self.keepalive.heard();
                    self.used = true;
                    return Ok(n);
                }
                Got::End => return Ok(0),
                Got::Nothing => match self.keepalive.silence(self.tick, clock::now())? {
                    keepalive::Next::WaitOn => {}
                    keepalive::Next::Tick => return Err(io::ErrorKind::WouldBlock.into()),
                    keepalive::Next::Ping => {
                        self.used = true;
                        let mut frame = Vec::new();
                        crate::wire::frame::ping(&mut frame);
                        if self.line.conn.reply(&frame).is_err() {
                            return Ok(0);
                        }
                    }
                },
            }
        }
    }
}

impl io::Write for Stream {
    /// tungstenite's own frames (pongs, the echo of a Close) queue behind the answers before them.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.replies.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
