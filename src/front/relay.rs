//! HTTP between a visitor and the private HTTP server.
//!
//! Requests go through whole: each head is read and checked here as strictly as the first one, and its body
//! is collected under a deadline and a size limit before the HTTP server sees a byte of it. So a slow head
//! or body holds this thread and nothing else. Answers are passed back as they come.
//!
//! The limits are those of `[front]`: the head's, the body's, the answer's, and the idle connection's.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::Door;
use super::head::{self, Head};
use super::limits::Slot;
use super::visit::{Refusal, check, refuse};
use crate::conn::{Conn, Got, Reader, Wait, timespec};
use crate::rt::clock;

/// Read from either side at once.
const CHUNK: usize = 8 * 1024;

/// With more than this waiting for the visitor, nothing more is taken from the HTTP server.
const BACKLOG: usize = 64 * 1024;

/// Relays until either side is done. `bytes` is what was read so far: a whole head, and what came behind it.
#[inline(never)]
pub fn run(door: &Arc<Door>, conn: &Arc<Conn>, mut reader: Reader, bytes: Vec<u8>, mut slot: Slot) {
    if let Err(full) = slot.widen() {
        log::debug!("{} turned away: {full}", conn.peer());
        return refuse(
            door,
            conn,
            &mut reader,
            &Refusal::text(503, "Too many connections. Close some, or try again later.\n"),
        );
    }
    let upstream = match door.http.connect(conn.peer()) {
        Ok(upstream) => upstream,
        Err(error) => {
            log::error!("no connection to the HTTP server: {error}");
            return refuse(door, conn, &mut reader, &Refusal::text(503, "The HTTP server is not available.\n"));
        }
    };
    let mut relay = Relay {
        door,
        conn,
        reader: &mut reader,
        upstream: &upstream.stream,
        input: bytes,
        request: None,
        outgoing: Vec::new(),
        since: clock::now(),
        waiting_for_answer: false,
        visitor_done: false,
    };
    let end = relay.run();
    match end {
        Ok(()) => conn.finish(&mut reader, door.shared.close_deadline),
        Err(Some(refusal)) => refuse(door, conn, &mut reader, &refusal),
        Err(None) => conn.end(),
    }
}

struct Relay<'a> {
    door: &'a Arc<Door>,
    conn: &'a Arc<Conn>,
    reader: &'a mut Reader,
    upstream: &'a TcpStream,
    /// What the visitor sent and nobody has read.
    input: Vec<u8>,
    /// The head of the request that is being collected.
    request: Option<Head>,
    /// A whole request on its way to the HTTP server.
    outgoing: Vec<u8>,
    /// When what we are waiting for began.
    since: Instant,
    /// A request is with the HTTP server and nothing has come back since.
    waiting_for_answer: bool,
    /// The visitor sends nothing more.
    visitor_done: bool,
}

/// `Err(None)` ends the connection without a word.
type Ended = Result<(), Option<Refusal>>;

impl Relay<'_> {
    fn run(&mut self) -> Ended {
        self.upstream.set_nonblocking(true).map_err(|_| None)?;
        loop {
            self.collect().map_err(Some)?;
            let deadline = self.since + self.limit();
            let now = clock::now();
            if now >= deadline {
                return self.out_of_time();
            }
            let (from_visitor, from_server) = self.wait(deadline - now).map_err(|_| None)?;
            if from_visitor {
                self.read_visitor()?;
            }
            self.write_server().map_err(|_| None)?;
            if from_server && !self.read_server()? {
                return Ok(());
            }
        }
    }

    /// Moves whole requests from the input to the way out.
    fn collect(&mut self) -> Result<(), Refusal> {
        while self.outgoing.is_empty() {
            if self.request.is_none() {
                let head = head::parse(&self.input)?;
                if head.as_ref().map_or(self.input.len(), |head| head.length) > self.door.limits.head_bytes {
                    return Err(Refusal::text(431, "the request head is larger than front.head_bytes allows\n"));
                }
                let Some(head) = head else { return Ok(()) };
                check(self.door, &head)?;
                if head.upgrade.is_some() && self.waiting_for_answer {
                    return Err(Refusal::text(400, "open a new connection for a WebSocket\n"));
                }
                self.since = clock::now();
                self.request = Some(head);
            }
            let Some(head) = &self.request else { return Ok(()) };
            let body = &self.input[head.length..];
            let Some(length) = head::body_length(head.body, body, self.door.limits.body_bytes)? else {
                if head.expects_continue && body.is_empty() && !self.waiting_for_answer {
                    let _ = self.conn.reply(b"HTTP/1.1 100 Continue\r\n\r\n");
                    self.request = self.request.take().map(|head| Head { expects_continue: false, ..head });
                }
                return Ok(());
            };
            let end = head.length + length;
            forward(&self.input[..end], head.length, &mut self.outgoing);
            self.input.drain(..end);
            self.request = None;
            self.waiting_for_answer = true;
            self.since = clock::now();
        }
        Ok(())
    }

    /// The limit on what is being waited for.
    fn limit(&self) -> Duration {
        let limits = &self.door.limits;
        if self.waiting_for_answer {
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
        if self.waiting_for_answer {
            // Either the visitor does not read, or the HTTP server is gone; the latter must not go unnoticed.
            if self.conn.waiting() == 0 {
                self.door.http.probe();
                return Err(Some(Refusal::text(504, "no answer within front.response_deadline\n")));
            }
            return Err(None);
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
        // TLS may hold decrypted bytes that no poll would report.
        let mut from_visitor = PollFlags::empty();
        if !self.visitor_done && self.outgoing.is_empty() {
            from_visitor |= PollFlags::IN;
        }
        let backlog = self.conn.waiting() > BACKLOG;
        if backlog {
            from_visitor |= PollFlags::OUT;
        }
        let mut from_server = if backlog { PollFlags::empty() } else { PollFlags::IN };
        if !self.outgoing.is_empty() {
            from_server |= PollFlags::OUT;
        }
        let mut fds = [PollFd::new(self.conn.socket(), from_visitor), PollFd::new(self.upstream, from_server)];
        match poll(&mut fds, Some(&timespec(limit))) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let (visitor, server) = (fds[0].revents(), fds[1].revents());
        if backlog && visitor.intersects(PollFlags::OUT) {
            self.conn.flush();
        }
        if visitor.intersects(PollFlags::ERR | PollFlags::NVAL) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let ended = PollFlags::IN | PollFlags::HUP;
        Ok((visitor.intersects(ended) && !self.visitor_done, server.intersects(ended | PollFlags::ERR)))
    }

    fn read_visitor(&mut self) -> Ended {
        let mut buf = [0; CHUNK];
        loop {
            match self.reader.read(&mut buf, Wait::No) {
                Ok(Got::Data(n)) => {
                    if self.input.is_empty() && self.request.is_none() && !self.waiting_for_answer {
                        self.since = clock::now();
                    }
                    self.input.extend_from_slice(&buf[..n]);
                    // A pipelining visitor is read no further than a request or two ahead.
                    if self.input.len() > self.door.limits.head_bytes + self.door.limits.body_bytes {
                        return Ok(());
                    }
                }
                Ok(Got::Nothing) => return Ok(()),
                Ok(Got::End) => {
                    self.visitor_done = true;
                    // Answers under way are still delivered; without any there is nothing left to do.
                    if !self.waiting_for_answer && self.outgoing.is_empty() {
                        return Err(None);
                    }
                    return Ok(());
                }
                Err(_) => return Err(None),
            }
        }
    }

    fn write_server(&mut self) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            match self.upstream.write(&self.outgoing) {
                Ok(n) => {
                    self.outgoing.drain(..n);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.visitor_done {
            let _ = self.upstream.shutdown(std::net::Shutdown::Write);
        }
        Ok(())
    }

    /// `false` when the HTTP server has closed the connection.
    fn read_server(&mut self) -> Result<bool, Option<Refusal>> {
        let mut buf = [0; CHUNK];
        match self.upstream.read(&mut buf) {
            Ok(0) => Ok(false),
            Ok(n) => {
                self.waiting_for_answer = false;
                self.since = clock::now();
                self.conn.reply(&buf[..n]).map_err(|_| None)?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(_) => Err(None),
        }
    }
}

/// Copies a request, without `Expect`: that one is answered here, and tiny_http would answer it again.
fn forward(request: &[u8], head: usize, out: &mut Vec<u8>) {
    for line in request[..head].split_inclusive(|b| *b == b'\n') {
        let is_expect = line.len() > 7 && line[..7].eq_ignore_ascii_case(b"expect:");
        if !is_expect {
            out.extend_from_slice(line);
        }
    }
    out.extend_from_slice(&request[head..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_forwarded_without_expect() {
        let request =
            b"POST /publish HTTP/1.1\r\nHost: a\r\nEXPECT: 100-continue\r\nContent-Length: 3\r\n\r\nExpect: x";
        let head = request.len() - 9;
        let mut out = Vec::new();
        forward(request, head, &mut out);
        assert_eq!(out, b"POST /publish HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nExpect: x");
    }
}
