//! One connection, from its first byte to the room it leads to.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tungstenite::handshake::derive_accept_key;
use tungstenite::http;

use super::head::{self, BadHead, Head, Upgrade};
use super::limits::Slot;
use super::{Door, Stage, Visitor, relay, send_at_once};
use crate::auth::{self, PicloudRefusal, Refused, Verdict};
use crate::conn::{Conn, Got, Reader, Wait};
use crate::rt::clock;
use crate::rt::worker::Stack;
use crate::session::{self, FleetKind, Kind, Visit};
use crate::types::rights::Verb;
use crate::types::topic::Pattern;

/// Bytes read at once while the head is not whole.
const READ_BYTES: usize = 2048;

/// What a client draws for its handshake (RFC 6455 §4.1).
const NONCE_BYTES: usize = 16;

/// Serves the connection until it ends. `slot` is its place, given back at the end.
///
/// Each step is a function that is not inlined, so that the deep frames of a handshake are gone, and their
/// pages given back, while a session waits for months in a shallow one.
pub fn run(door: &Arc<Door>, visitor: &Visitor, tls: bool, slot: Slot, stack: Stack) {
    let conn = &visitor.conn;
    let mut reader = Reader::new(Arc::clone(conn), tls);
    match receive(door, visitor, &mut reader, tls) {
        Some(Next::Http(bytes)) => relay::run(door, visitor, reader, bytes, slot),
        Some(Next::Session(visit, early)) => {
            session::run(&door.host, conn, reader, early, visit, stack);
            drop(slot);
        }
        None => {}
    }
}

/// For who speaks plain HTTP to a TLS port.
const TLS_ONLY: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 51\r\n\
    Connection: close\r\n\r\nThis port speaks TLS: use https:// or wss:// here.\n";

/// What a connection turned out to be, with the bytes that were read so far.
enum Next {
    /// The whole request head, and what came behind it.
    Http(Vec<u8>),
    /// What came behind the handshake.
    Session(Visit, Vec<u8>),
}

/// TLS handshake, request head, checks and WebSocket handshake; `None` when the connection has ended.
#[inline(never)]
fn receive(door: &Door, visitor: &Visitor, reader: &mut Reader, tls: bool) -> Option<Next> {
    let conn = &visitor.conn;
    let deadline = clock::now() + door.limits.head_deadline;
    if tls && let Err(error) = reader.handshake(deadline) {
        log::debug!("{}: TLS handshake: {error}", conn.peer());
        if error.kind() == io::ErrorKind::InvalidInput {
            send_at_once(conn.socket(), TLS_ONLY);
            reader.drain(deadline);
        } else if error.kind() == io::ErrorKind::InvalidData {
            // The alert that says why is on its way; a reset must not overtake it.
            conn.finish(reader, door.shared.close_deadline);
        }
        conn.end();
        return None;
    }
    let ended = |refusal: Refusal, reader: &mut Reader| {
        refuse(door, conn, reader, &refusal);
        None
    };
    let (head, bytes) = match read_head(door, reader, deadline) {
        Ok(Some(found)) => found,
        Ok(None) => {
            conn.end();
            return None;
        }
        Err(refusal) => return ended(refusal, reader),
    };
    match check(door, conn, &head).and_then(|()| route(door, conn, &head)) {
        Ok(Route::Http) => Some(Next::Http(bytes)),
        Ok(Route::Socket(visit, response)) => {
            if conn.reply(&response).is_err() {
                conn.end();
                return None;
            }
            // Either the shutdown sees the mark, or we see that it has passed us by: each writes its own before it
            // reads the other's, which only sequential consistency keeps in order.
            visitor.stage.set(Stage::WEBSOCKET);
            door.visitors.websockets.fetch_add(1, Ordering::SeqCst);
            door.tell_clients();
            if door.visitors.closing.load(Ordering::SeqCst) {
                visitor.close();
            }
            Some(Next::Session(visit, bytes[head.length..].to_vec()))
        }
        Err(refusal) => ended(refusal, reader),
    }
}

/// Reads until the head is whole. `None`: the peer left, or did not finish in time.
fn read_head(door: &Door, reader: &mut Reader, deadline: Instant) -> Result<Option<(Head, Vec<u8>)>, Refusal> {
    let mut bytes = Vec::new();
    let mut buf = [0; READ_BYTES];
    // Most requests are there as soon as their connection is.
    let mut wait = Wait::No;
    loop {
        match reader.read(&mut buf, std::mem::replace(&mut wait, Wait::Until(deadline))) {
            Ok(Got::Data(n)) => bytes.extend_from_slice(&buf[..n]),
            Ok(Got::Nothing) if clock::now() < deadline => continue,
            // Silence gets no answer: a port scanner has not asked anything.
            Ok(Got::Nothing) if bytes.is_empty() => return Ok(None),
            Ok(Got::Nothing) => {
                return Err(Refusal::text(408, "the request head did not arrive within front.head_deadline\n"));
            }
            Ok(Got::End) | Err(_) => return Ok(None),
        }
        let head = head::parse(&bytes)?;
        // The last read may bring the end of a head that is too large all the same.
        if head.as_ref().map_or(bytes.len(), |head| head.length) > door.limits.head_bytes {
            return Err(Refusal::text(431, "the request head is larger than front.head_bytes allows\n"));
        }
        if let Some(head) = head {
            return Ok(Some((head, bytes)));
        }
    }
}

/// The checks every request goes through, whatever it wants.
pub fn check(door: &Door, conn: &Conn, head: &Head) -> Result<(), Refusal> {
    if let Some(host) = &head.host {
        door.origins.check_host(host).map_err(|reason| Refusal::json(403, &reason))?;
    }
    let peer = conn.peer().ip();
    if let Some(origin) = &head.origin
        && !door.gate.shows_key(peer, &head.shown)
        && let Err(reason) = door.origins.check_origin(origin, head.host.as_deref())
    {
        // Counts what was shown, so that nobody finds a key out this way.
        return Err(match door.gate.check(peer, &head.shown) {
            Verdict::Slowed(wait) => Refusal::wait(wait),
            _ => Refusal::json(403, &reason),
        });
    }
    Ok(())
}

enum Route {
    Http,
    /// The conversation, and the answer that begins it.
    Socket(Visit, Vec<u8>),
}

fn route(door: &Door, conn: &Conn, head: &Head) -> Result<Route, Refusal> {
    let Some(upgrade) = &head.upgrade else { return Ok(Route::Http) };
    let (gate, peer) = (&door.gate, conn.peer().ip());
    let picloud = || auth::picloud_client(gate, peer, &head.shown, head.client_name.as_deref());
    // Browsers cannot set headers, so these two take the key in the first message as well.
    let not_wrong = || match gate.check(peer, &head.shown) {
        Verdict::Wrong => Err(Refusal::json(401, "Invalid API Key")),
        Verdict::Slowed(wait) => Err(Refusal::wait(wait)),
        verdict => Ok(verdict.badge()),
    };
    let (kind, badge) = match head.path.as_str() {
        "/" => (Kind::Endrpi, not_wrong()?),
        "/ws" => {
            let badge = not_wrong()?;
            let types = patterns(&head.types)?;
            let wants = head.wants().map_err(|error| Refusal::json(400, &error))?;
            // Who has yet to show a key is told then.
            if let Some(rights) = badge.and_then(|badge| gate.rights(badge)) {
                let allowed = types.iter().try_for_each(|pattern| rights.subscribe(pattern));
                allowed.map_err(|lacks| Refusal::json(403, &lacks.to_string()))?;
            }
            (Kind::Events { types, wants }, badge)
        }
        "/subscribe" => picloud().map(|(badge, name)| (Kind::Subscribe { name }, Some(badge)))?,
        "/publish" => picloud().map(|(badge, name)| (Kind::Publish { name }, Some(badge)))?,
        "/info" => {
            let badge = auth::picloud_visitor(gate, peer, &head.shown)?;
            if let Some(rights) = gate.rights(badge) {
                rights.verb(Verb::Admin).map_err(|lacks| Refusal::text(403, &format!("Forbidden: {lacks}\n")))?;
            }
            (Kind::Info, Some(badge))
        }
        "/echo" if door.limits.debug_echo => match gate.check(peer, &head.shown).badge() {
            Some(badge) => (Kind::Echo, Some(badge)),
            None => return Err(Refusal::json(401, "Invalid API Key")),
        },
        path => match FleetKind::at(path, head.shown.key(), head.user_agent.as_deref()) {
            // Who it is, is asked there.
            Some(kind) => (Kind::Fleet(kind), None),
            None => {
                let there = format!("there are /, /ws, /subscribe, /publish{}", FleetKind::PATHS);
                return Err(Refusal::json(404, &format!("no WebSocket at '{path}'; {there}")));
            }
        },
    };
    Ok(Route::Socket(Visit { kind, badge }, answer_upgrade(upgrade)?))
}

fn patterns(types: &[String]) -> Result<Vec<Pattern>, Refusal> {
    types.iter().map(|t| Pattern::new(t).map_err(|error| Refusal::json(400, &format!("types: {error}")))).collect()
}

/// The 101, or what is wrong with the request for it. That it asks for a WebSocket was seen in its head.
fn answer_upgrade(upgrade: &Upgrade) -> Result<Vec<u8>, Refusal> {
    if upgrade.version != "13" {
        let mut refusal = Refusal::json(426, "the only Sec-WebSocket-Version spoken here is 13");
        refusal.headers = "Sec-WebSocket-Version: 13\r\n".into();
        return Err(refusal);
    }
    if !STANDARD.decode(&upgrade.key).is_ok_and(|nonce| nonce.len() == NONCE_BYTES) {
        return Err(Refusal::json(400, "Sec-WebSocket-Key must be 16 bytes in base64"));
    }
    let accept = derive_accept_key(upgrade.key.as_bytes());
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n"
    );
    // A client that offers subprotocols expects one of them back; any is fine with us, as with the originals.
    if let Some(first) = upgrade.protocols.first() {
        answer.extend(["Sec-WebSocket-Protocol: ", first, "\r\n"]);
    }
    answer.push_str("\r\n");
    Ok(answer.into_bytes())
}

/// An answer of the front door's own; the connection ends with it.
pub struct Refusal {
    status: u16,
    kind: &'static str,
    headers: Cow<'static, str>,
    body: String,
}

impl Refusal {
    pub fn text(status: u16, body: &str) -> Refusal {
        Refusal { status, kind: "text/plain; charset=utf-8", headers: "".into(), body: body.to_owned() }
    }

    /// In the form most clients of the merged port look for: `detail` and `message` say the same.
    pub fn json(status: u16, message: &str) -> Refusal {
        let text = serde_json::Value::from(message);
        let body = format!("{{\"detail\":{text},\"message\":{text}}}");
        Refusal { status, kind: "application/json", headers: "".into(), body }
    }

    /// Too many wrong keys came from the visitor's address.
    fn wait(wait: Duration) -> Refusal {
        let mut refusal = Refusal::json(429, &format!("Invalid API Key: {}", Refused::wait_text(wait)));
        refusal.headers = retry_after(Refused::wait_seconds(wait));
        refusal
    }
}

fn retry_after(seconds: u64) -> Cow<'static, str> {
    format!("Retry-After: {seconds}\r\n").into()
}

impl From<PicloudRefusal> for Refusal {
    fn from(refusal: PicloudRefusal) -> Refusal {
        let headers = refusal.retry_after.map_or("".into(), retry_after);
        Refusal { headers, ..Refusal::text(refusal.status, &refusal.body) }
    }
}

impl From<BadHead> for Refusal {
    fn from(bad: BadHead) -> Refusal {
        Refusal::text(bad.status, &format!("{}\n", bad.reason))
    }
}

/// Answers and ends the connection, so that the answer arrives.
pub fn refuse(door: &Door, conn: &Arc<Conn>, reader: &mut Reader, refusal: &Refusal) {
    let Refusal { status, kind, headers, body } = refusal;
    log::debug!("{} refused with {status}: {}", conn.peer(), body.trim_end());
    let reason = http::StatusCode::from_u16(*status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Refused");
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nX-Content-Type-Options: nosniff\r\n{headers}\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    let _ = conn.reply(text.as_bytes());
    conn.finish(reader, door.shared.close_deadline);
}
