//! HTTP between a visitor and the private HTTP server.
//!
//! Requests go through whole: each head is read and checked here as strictly as the first one, and its body
//! is collected under a deadline and a size limit before the HTTP server sees a byte of it. So a slow head
//! or body holds this thread and nothing else. Answers are passed back as they come.
//!
//! Each request has a private connection of its own, and one at a time is under way. tiny_http gives every
//! connection a thread and does not always make one for a new connection while the others are held: a visitor
//! that keeps its connection open for the next request must not hold one of those. So each request is marked as
//! the last one, and the server closes behind its answer. (It must be the one that closes first: the other way
//! round the port at our end would stay taken for a minute.)
//!
//! The limits are those of `[front]`: the head's, the body's, the answer's, and the idle connection's.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::head::{self, Head};
use super::limits::Slot;
use super::visit::{Refusal, check, refuse};
use super::{Door, Visitor};
use crate::conn::{Conn, Got, Reader, Wait};
use crate::http::{Publish, Upstream};
use crate::rt::clock;
use crate::rt::socket::timespec;

/// Read from either side at once.
const CHUNK: usize = 8 * 1024;

/// Read at once where a request is to begin: most are smaller.
const REQUEST: usize = 2 * 1024;

/// With more than this waiting for the visitor, nothing more is taken from either side.
const BACKLOG: usize = 64 * 1024;

/// Relays until the visitor is done. `bytes` is what was read so far: a whole head, and what came behind it.
#[inline(never)]
pub fn run(door: &Arc<Door>, visitor: &Visitor, mut reader: Reader, bytes: Vec<u8>, slot: Slot) {
    let conn = &visitor.conn;
    let mut relay = Relay {
        door,
        conn,
        visitor,
        reader: &mut reader,
        slot,
        input: bytes,
        request: None,
        under_way: None,
        since: clock::now(),
        last: false,
        visitor_done: false,
        quiet: false,
    };
    let end = relay.run();
    // What a goodbye may take is its own place, not that of a request.
    relay.end_request();
    match end {
        Ok(()) => conn.finish(&mut reader, door.shared.close_deadline),
        Err(Some(refusal)) => refuse(door, conn, &mut reader, &refusal),
        Err(None) => conn.end(),
    }
}

struct Relay<'a> {
    door: &'a Arc<Door>,
    conn: &'a Arc<Conn>,
    visitor: &'a Visitor,
    reader: &'a mut Reader,
    slot: Slot,
    /// What the visitor sent and nobody has read.
    input: Vec<u8>,
    /// The head of the request that is being collected.
    request: Option<Head>,
    /// The request that the HTTP server is answering.
    under_way: Option<UnderWay>,
    /// When what we are waiting for began.
    since: Instant,
    /// The request under way is the visitor's last.
    last: bool,
    /// The visitor sends nothing more.
    visitor_done: bool,
    /// The socket's own timeout has passed since the last request.
    quiet: bool,
}

/// A whole request, on its way to the HTTP server or there.
struct UnderWay {
    upstream: Upstream,
    /// What of it the server has not taken.
    outgoing: Vec<u8>,
    /// Something has come back.
    answered: bool,
}

/// `Err(None)` ends the connection without a word.
type Ended = Result<(), Option<Refusal>>;

impl Relay<'_> {
    fn run(&mut self) -> Ended {
        loop {
            if self.under_way.is_none() {
                self.collect().map_err(Some)?;
                if self.under_way.is_none() && (self.last || self.visitor_done) {
                    return Ok(());
                }
            }
            if self.is_idle() && self.read_next()? {
                continue;
            }
            let patience = self.under_way.as_ref().and_then(|under_way| under_way.upstream.patience());
            let deadline = (self.since + self.limit()).max(patience.unwrap_or(self.since));
            let now = clock::now();
            if now >= deadline {
                return self.out_of_time();
            }
            let (from_visitor, from_server) = self.wait(deadline - now).map_err(|_| None)?;
            if from_visitor {
                self.read_visitor()?;
            }
            if from_server {
                self.serve()?;
            }
        }
    }

    /// Nothing is under way in either direction: the next request is all that can come.
    fn is_idle(&self) -> bool {
        let begun = self.under_way.is_some() || self.request.is_some() || !self.input.is_empty();
        // The socket's own timeout, at most half a second, must not make a limit much longer than it is.
        let long = self.door.limits.idle_deadline >= Duration::from_secs(5);
        long && !begun && !self.visitor_done && self.conn.waiting() == 0
    }

    /// Waits for the next request in the read itself, for the socket's own short while: a program that publishes one
    /// event after the other is spared a system call for each. `false` when nothing came; the next wait is the precise one.
    fn read_next(&mut self) -> Result<bool, Option<Refusal>> {
        if std::mem::take(&mut self.quiet) {
            return Ok(false);
        }
        let mut buf = [0; REQUEST];
        match self.reader.read(&mut buf, Wait::Steady) {
            Ok(Got::Data(n)) => {
                self.since = clock::now();
                self.input.extend_from_slice(&buf[..n]);
                if n == buf.len() {
                    self.read_visitor()?;
                }
            }
            Ok(Got::End) => self.visitor_done = true,
            Ok(Got::Nothing) => self.quiet = true,
            Err(_) => return Err(None),
        }
        Ok(true)
    }

    /// Answers what can be answered at once, and sends the next whole request of the input to the HTTP server, if there
    /// is one.
    fn collect(&mut self) -> Result<(), Refusal> {
        while self.collect_one()? {}
        Ok(())
    }

    /// Whether a request was answered.
    fn collect_one(&mut self) -> Result<bool, Refusal> {
        if self.last {
            return Ok(false);
        }
        if self.request.is_none() {
            let head = head::parse(&self.input)?;
            if head.as_ref().map_or(self.input.len(), |head| head.length) > self.door.limits.head_bytes {
                return Err(Refusal::text(431, "the request head is larger than front.head_bytes allows\n"));
            }
            let Some(head) = head else { return Ok(false) };
            check(self.door, self.conn, &head)?;
            // The first head leads elsewhere if it asks for a WebSocket; a later one is too late.
            if head.upgrade.is_some() {
                return Err(Refusal::text(400, "open a new connection for a WebSocket\n"));
            }
            self.since = clock::now();
            self.request = Some(head);
        }
        let Some(head) = &mut self.request else { return Ok(false) };
        let body = &self.input[head.length..];
        let Some(length) = head::body_length(head.body, body, self.door.limits.body_bytes)? else {
            if head.expects_continue && body.is_empty() {
                let _ = self.conn.reply(b"HTTP/1.1 100 Continue\r\n\r\n");
                head.expects_continue = false;
            }
            return Ok(false);
        };
        let (head_length, end) = (head.length, head.length + length);
        self.door.has_asked(self.visitor);
        self.last = !head.keep_alive;
        if let Some(answer) = self.publish(head_length, end) {
            self.request = None;
            self.input.drain(..end);
            self.since = clock::now();
            // Whoever is gone is noticed at the next read.
            let _ = self.conn.reply(&answer);
            self.door.http.combine();
            return Ok(true);
        }
        self.request = None;
        let upstream = self.connect()?;
        let mut outgoing = Vec::with_capacity(end);
        forward(&self.input[..end], head_length, &mut outgoing);
        self.input.drain(..end);
        self.since = clock::now();
        self.under_way = Some(UnderWay { upstream, outgoing, answered: false });
        Ok(false)
    }

    /// Answers a request to publish at once. Those of other pages and those in chunks go the usual way.
    fn publish(&mut self, head: usize, end: usize) -> Option<Vec<u8>> {
        let quick = |asked: &&mut Head| {
            let whole = matches!(asked.body, head::Body::Length(_) | head::Body::None);
            asked.is_post && whole && asked.path == "/publish" && asked.origin.is_none()
        };
        let asked = self.request.as_mut().filter(quick)?;
        Some(self.door.http.publish(Publish {
            peer: self.conn.peer(),
            query: &asked.query,
            shown: std::mem::take(&mut asked.shown),
            client_name: asked.client_name.take(),
            body: &self.input[head..end],
            is_last: self.last,
        }))
    }

    fn connect(&mut self) -> Result<Upstream, Refusal> {
        if let Err(full) = self.slot.widen() {
            log::debug!("{} turned away: {full}", self.conn.peer());
            return Err(Refusal::text(503, "Too many connections. Close some, or try again later.\n"));
        }
        let connected = self.door.http.connect(self.conn.peer());
        let connected = connected.and_then(|upstream| upstream.stream.set_nonblocking(true).map(|()| upstream));
        connected.map_err(|error| {
            self.slot.narrow();
            log::error!("no connection to the HTTP server: {error}");
            Refusal::text(503, "The HTTP server is not available.\n")
        })
    }

    fn end_request(&mut self) {
        if self.under_way.take().is_some() {
            self.slot.narrow();
        }
    }

    /// The limit on what is being waited for.
    fn limit(&self) -> Duration {
        let limits = &self.door.limits;
        if self.under_way.is_some() || self.conn.waiting() > BACKLOG {
            limits.response_deadline
        } else if self.request.is_some() {
            limits.body_deadline
        } else if self.input.is_empty() {
            limits.idle_deadline
        } else {
            limits.head_deadline
        }
    }

    fn out_of_time(&self) -> Ended {
        // The visitor does not read.
        if self.conn.waiting() > 0 {
            return Err(None);
        }
        if let Some(under_way) = &self.under_way {
            // The HTTP server may be gone, and that must not go unnoticed.
            self.door.http.probe();
            let late = || Refusal::text(504, "no answer within front.response_deadline\n");
            return Err((!under_way.answered).then(late));
        }
        if self.request.is_some() {
            return Err(Some(Refusal::text(408, "the request body did not arrive within front.body_deadline\n")));
        }
        if self.input.is_empty() {
            Ok(())
        } else {
            Err(Some(Refusal::text(408, "the request head did not arrive within front.head_deadline\n")))
        }
    }

    /// Waits until either side has something, or room for something.
    fn wait(&mut self, limit: Duration) -> io::Result<(bool, bool)> {
        let backlog = self.conn.waiting() > BACKLOG;
        let from_visitor = match &self.under_way {
            _ if backlog => PollFlags::OUT,
            None if !self.visitor_done => PollFlags::IN,
            _ => PollFlags::empty(),
        };
        let mut fds = vec![PollFd::new(self.conn.socket(), from_visitor)];
        if let Some(UnderWay { upstream, outgoing, .. }) = &self.under_way {
            let room = if outgoing.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            let answer = if backlog { PollFlags::empty() } else { PollFlags::IN };
            fds.push(PollFd::new(&upstream.stream, room | answer));
        }
        match poll(&mut fds, Some(&timespec(limit))) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let visitor = fds[0].revents();
        let server = fds.get(1).map_or(PollFlags::empty(), PollFd::revents);
        if backlog && visitor.intersects(PollFlags::OUT) {
            self.conn.flush();
        }
        if visitor.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let readable = visitor.intersects(PollFlags::IN) && from_visitor.intersects(PollFlags::IN);
        Ok((readable, !backlog && !server.is_empty() || server.intersects(PollFlags::OUT)))
    }

    fn read_visitor(&mut self) -> Ended {
        let mut buf = [0; CHUNK];
        loop {
            match self.reader.read(&mut buf, Wait::No) {
                Ok(Got::Data(n)) => {
                    if self.input.is_empty() && self.request.is_none() {
                        self.since = clock::now();
                    }
                    self.input.extend_from_slice(&buf[..n]);
                    // A pipelining visitor is read no further than a request or two ahead.
                    let enough = self.input.len() > self.door.limits.head_bytes + self.door.limits.body_bytes;
                    // Where there was room for more, there is no more yet, neither at the kernel nor decrypted.
                    if enough || n < buf.len() {
                        return Ok(());
                    }
                }
                Ok(Got::Nothing) => return Ok(()),
                Ok(Got::End) => {
                    self.visitor_done = true;
                    return Ok(());
                }
                Err(_) => return Err(None),
            }
        }
    }

    /// Moves the request under way on: its bytes to the server, the answer's bytes to the visitor.
    fn serve(&mut self) -> Ended {
        let Some(UnderWay { upstream, outgoing, answered }) = &mut self.under_way else { return Ok(()) };
        while !outgoing.is_empty() {
            match upstream.stream.write(outgoing) {
                Ok(n) => {
                    outgoing.drain(..n);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(None),
            }
        }
        let mut buf = [0; CHUNK];
        match upstream.stream.read(&mut buf) {
            Ok(0) if *answered => {
                self.end_request();
                self.since = clock::now();
                Ok(())
            }
            Ok(0) => Err(None),
            Ok(n) => {
                *answered = true;
                self.since = clock::now();
                self.conn.reply(&buf[..n]).map_err(|_| None)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(()),
            Err(_) => Err(None),
        }
    }
}

/// Copies a request as the last one of its connection, and without `Expect`: that one is answered here, and
/// tiny_http would answer it again. With the visitor's own `Connection` goes the offer of another protocol, for
/// whose bytes tiny_http would wait. Lines end as tiny_http needs it: it would wait for ever for the end of a line
/// that has no carriage return, which httparse takes.
fn forward(request: &[u8], head: usize, out: &mut Vec<u8>) {
    for line in request[..head].split_inclusive(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let name = line.split(|b| *b == b':').next().unwrap_or_default();
        if line.is_empty() {
            out.extend_from_slice(b"Connection: close\r\n");
        }
        if !name.eq_ignore_ascii_case(b"expect") && !name.eq_ignore_ascii_case(b"connection") {
            out.extend_from_slice(line);
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(&request[head..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(request: &str) -> String {
        let (head, _) = request.split_once("\r\n\r\n").or(request.split_once("\n\n")).expect("a head");
        let end = head.len() + if request.contains("\r\n") { 4 } else { 2 };
        let mut out = Vec::new();
        forward(request.as_bytes(), end, &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_request_is_forwarded_as_the_last_one_and_without_an_offer_of_another_protocol() {
        let request = "GET / HTTP/1.1\r\nHost: a\r\nCONNECTION: keep-alive, Upgrade\r\nA: upgrade\r\n\r\n";
        assert_eq!(forwarded(request), "GET / HTTP/1.1\r\nHost: a\r\nA: upgrade\r\nConnection: close\r\n\r\n");
        let request = "GET / HTTP/1.1\nHost: a\n\n";
        assert_eq!(forwarded(request), "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    }

    #[test]
    fn a_request_is_forwarded_without_expect() {
        let request = "POST /publish HTTP/1.1\r\nEXPECT: 100-continue\r\nContent-Length: 9\r\n\r\nExpect: x";
        let expected = "POST /publish HTTP/1.1\r\nContent-Length: 9\r\nConnection: close\r\n\r\nExpect: x";
        assert_eq!(forwarded(request), expected);
    }
}
