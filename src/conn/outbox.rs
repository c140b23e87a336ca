//! What waits to be sent on one connection, and the TLS state that sending and receiving share.

use std::collections::VecDeque;
use std::io::{self, Write};

use super::tls::Session;
use super::{Bell, Budget};
use crate::rt::socket::{self, Socket};
use crate::rt::sync::Arc;

/// The connection has ended, or is ending and takes nothing more.
#[derive(Debug, PartialEq, Eq)]
pub struct Gone;

/// Whether there was room for what could not be sent at once.
#[derive(Debug, PartialEq, Eq)]
pub enum Room {
    Enough,
    Full,
}

/// The bounds a send is held to.
pub struct Limits<'a> {
    pub backlog_bytes: usize,
    pub budget: &'a Budget,
}

impl Limits<'_> {
    /// The same, with room for at least `bytes`.
    pub fn at_least(mut self, bytes: usize) -> Self {
        self.backlog_bytes = self.backlog_bytes.max(bytes);
        self
    }

    /// The same, with room for at most `bytes`.
    pub fn at_most(mut self, bytes: usize) -> Self {
        self.backlog_bytes = self.backlog_bytes.min(bytes);
        self
    }
}

/// Plaintext handed to rustls in one go; a TLS record carries at most 16 KiB.
const TLS_CHUNK: usize = 16 * 1024;

/// What frames share that wait.
const ENTRY_BYTES: usize = 4096;

/// See the module's text. All methods are called under the connection's lock and none blocks.
pub struct Outbox {
    /// What the kernel has not taken: each entry whole frames (the first may be partly sent).
    queue: VecDeque<Vec<u8>>,
    /// How much of the first entry is sent.
    head_sent: usize,
    /// The first entry begins inside a frame: its beginning went out before it was queued.
    head_torn: bool,
    /// Bytes in the queue, less `head_sent`; exactly what is taken from the budget, less `head_sent`.
    waiting: usize,
    tls: Option<Session>,
    state: State,
    /// Who is told when there is room again.
    asking: Vec<(Arc<dyn Bell>, u64)>,
}

#[derive(PartialEq, Eq)]
enum State {
    Open,
    /// Sends what it has and takes nothing more.
    Sealed,
    Dead,
}

impl Outbox {
    pub fn new(tls: Option<Session>) -> Outbox {
        Outbox {
            queue: VecDeque::new(),
            head_sent: 0,
            head_torn: false,
            waiting: 0,
            tls,
            state: State::Open,
            asking: Vec::new(),
        }
    }

    /// Bytes that wait, counting TLS records the kernel has not taken as one byte: "not empty".
    pub fn waiting(&self) -> usize {
        let records = self.tls.as_ref().is_some_and(|tls| tls.wants_send()) && self.state != State::Dead;
        self.waiting.max(usize::from(records))
    }

    /// Sends `bytes`, or queues what the kernel does not take. On [`Room::Full`] nothing of `bytes` was sent or
    /// kept.
    pub fn send(&mut self, socket: &Socket, bytes: &[u8], limits: Limits) -> Result<Room, Gone> {
        if self.state != State::Open {
            return Err(Gone);
        }
        let mut rest = bytes;
        if self.waiting() == 0 {
            let sent = self.send_now(socket, bytes).map_err(|_| self.fail(limits.budget))?;
            rest = &bytes[sent..];
        }
        if rest.is_empty() {
            return Ok(Room::Enough);
        }
        let partly_sent = rest.len() < bytes.len();
        if partly_sent {
            // Part of a frame may be out: without the rest the stream would be broken.
            limits.budget.overdraw(rest.len());
        } else if self.waiting.saturating_add(rest.len()) > limits.backlog_bytes || !limits.budget.take(rest.len()) {
            return Ok(Room::Full);
        }
        self.head_torn |= partly_sent;
        self.waiting += rest.len();
        self.enqueue(rest);
        Ok(Room::Enough)
    }

    /// Small frames share an entry: each for itself would cost more memory than its bytes, and a send of its own.
    fn enqueue(&mut self, frames: &[u8]) {
        match self.queue.back_mut() {
            Some(entry) if entry.len() + frames.len() <= ENTRY_BYTES => {
                entry.reserve_exact(ENTRY_BYTES - entry.len());
                entry.extend_from_slice(frames);
            }
            _ => self.queue.push_back(frames.to_vec()),
        }
    }

    /// Notes who is to be told when there is room again, once each.
    pub fn ask_for_room(&mut self, bell: &Arc<dyn Bell>, whose: u64) {
        if !self.asking.iter().any(|(_, asking)| *asking == whose) {
            self.asking.push((Arc::clone(bell), whose));
        }
    }

    /// Who has asked; they are told now.
    pub fn take_asking(&mut self) -> Vec<(Arc<dyn Bell>, u64)> {
        std::mem::take(&mut self.asking)
    }

    /// Sends what waits as far as the kernel takes it.
    ///
    /// # Errors
    /// The socket is broken; the outbox is dead then.
    pub fn flush(&mut self, socket: &Socket, budget: &Budget) -> Result<(), Gone> {
        if self.state == State::Dead {
            return Err(Gone);
        }
        if self.tls.is_some() && !self.write_records(socket).map_err(|_| self.fail(budget))? {
            return Ok(());
        }
        while let Some(head) = self.queue.pop_front() {
            let sent = match self.send_now(socket, &head[self.head_sent..]) {
                Ok(sent) => sent,
                Err(_) => {
                    self.queue.push_front(head);
                    return Err(self.fail(budget));
                }
            };
            self.head_sent += sent;
            self.waiting -= sent;
            if self.head_sent < head.len() {
                self.queue.push_front(head);
                break;
            }
            budget.give(head.len());
            self.head_sent = 0;
            self.head_torn = false;
        }
        Ok(())
    }

    /// Drops every queued entry of which no byte is out.
    pub fn drop_unsent(&mut self, budget: &Budget) {
        let keep = usize::from(self.head_sent > 0 || self.head_torn);
        for entry in self.queue.drain(keep.min(self.queue.len())..) {
            self.waiting -= entry.len();
            budget.give(entry.len());
        }
    }

    /// Takes nothing more.
    pub fn seal(&mut self) {
        if self.state == State::Open {
            self.state = State::Sealed;
        }
    }

    /// Drops everything.
    pub fn kill(&mut self, budget: &Budget) {
        budget.give(self.queue.drain(..).map(|entry| entry.len()).sum());
        self.waiting = 0;
        self.head_sent = 0;
        self.state = State::Dead;
        self.asking = Vec::new();
    }

    /// TLS's own end-of-stream (`close_notify`), as far as the kernel takes it.
    pub fn goodbye(&mut self, socket: &Socket) {
        if let Some(tls) = &mut self.tls {
            tls.goodbye();
            let _ = self.write_records(socket);
        }
    }

    /// Takes ciphertext from the network; alerts and handshake records that result are sent at once.
    ///
    /// # Errors
    /// The peer broke the TLS protocol.
    pub fn receive(&mut self, socket: &Socket, ciphertext: &[u8]) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        let result = tls.receive(ciphertext);
        self.write_records(socket)?;
        result
    }

    /// Reads decrypted bytes: `None` when more ciphertext is needed, `Some(0)` at the end of the stream.
    pub fn plaintext(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(tls) = &mut self.tls else { return Ok(None) };
        match tls.read(buf) {
            Ok(n) => Ok(Some(n)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            // The peer left without TLS's goodbye; every message we care for carries its own length.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Some(0)),
            Err(error) => Err(error),
        }
    }

    /// Whether a TLS handshake is still under way.
    pub fn handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Hands bytes to the kernel (through rustls where there is TLS); returns how many are no longer ours.
    fn send_now(&mut self, socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
        if self.tls.is_none() {
            return socket::send(socket, bytes);
        }
        let mut taken = 0;
        while taken < bytes.len() && self.write_records(socket)? {
            let Some(tls) = &mut self.tls else { break };
            let chunk = &bytes[taken..bytes.len().min(taken + TLS_CHUNK)];
            taken += tls.write(chunk)?;
        }
        self.write_records(socket)?;
        Ok(taken)
    }

    /// Writes finished TLS records; `false` when the kernel takes no more.
    fn write_records(&mut self, socket: &Socket) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else { return Ok(true) };
        while tls.wants_send() {
            match tls.send(&mut NonBlocking(socket)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn fail(&mut self, budget: &Budget) -> Gone {
        self.kill(budget);
        Gone
    }
}

/// The socket as rustls wants to write it.
struct NonBlocking<'a>(&'a Socket);

impl Write for NonBlocking<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match socket::send(self.0, bytes)? {
            0 if !bytes.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            sent => Ok(sent),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
