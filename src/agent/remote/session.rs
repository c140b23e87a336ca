//! One connection to the hub, from the first message to its end. One thread, which waits in one place for the socket and
//! for the bell; nothing here blocks.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

use super::link::{End, Link};
use super::moment::Moment;
use super::spool::Kind;
use crate::agent::actions::Actions;
use crate::auth::proof;
use crate::config::HubProtocol;
use crate::conn::client::Stream;
use crate::conn::{CLOSE_AGAIN, CLOSE_FOR_GOOD, CLOSE_POLICY};
use crate::rt::{clock, random};
use crate::systemd::Fact;
use crate::types::fleet::{Order, Outcome, Protocol};
use crate::wire::chatops::client::{self, Signature, Told};

/// From the handshake to the hub's proof, and from the key to its welcome.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// After so long without a word to the hub, a ping; it counts as a sign of life there.
const PING_AFTER: Duration = Duration::from_secs(10);

/// After so long without a word from the hub it counts as gone: three pings went unanswered.
const SILENCE: Duration = Duration::from_secs(30);

/// Samples the hub has not acknowledged yet; of other records, what the socket takes.
const IN_FLIGHT: usize = 64;

/// After so long there is no acknowledgement to come: a hub that finds fault with a sample does not give one.
const ACKNOWLEDGED: Duration = Duration::from_secs(60);

/// Bytes that are handed to the socket at once.
const SEND_BYTES: usize = 64 * 1024;

/// How long the last words may take when the agent ends.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// The Close code of a session whose place another one has taken.
const CLOSE_REPLACED: u16 = 4001;

/// The protocol's form in which this agent wants to be spoken to.
const FORM: Protocol = Protocol::Code;

enum Stage {
    /// The hub has to prove that it knows the key.
    Proof {
        nonce: [u8; proof::NONCE_BYTES],
        by: Instant,
    },
    /// It has the key.
    Welcome {
        by: Instant,
    },
    Ready,
}

pub struct Session<'a> {
    link: &'a Link,
    socket: WebSocket<Stream>,
    stage: Stage,
    /// The socket takes no more for now.
    blocked: bool,
    heard: Instant,
    said: Instant,
    /// Samples without acknowledgement, oldest first, and when they were sent.
    in_flight: VecDeque<(Arc<str>, u64, Instant)>,
    /// What the hub said before it closed.
    complaint: Option<String>,
    /// It has found fault with something since it let us in.
    complained: bool,
    actions: Actions,
    /// When the hub let us in.
    pub welcomed: Option<Instant>,
}

impl<'a> Session<'a> {
    /// The handshake is done, and the socket does not block any more.
    pub fn new(link: &'a Link, socket: WebSocket<Stream>) -> Session<'a> {
        let now = clock::now();
        Session {
            link,
            socket,
            stage: Stage::Welcome { by: now + ANSWER_DEADLINE },
            blocked: false,
            heard: now,
            said: now,
            in_flight: VecDeque::new(),
            complaint: None,
            complained: false,
            actions: Actions::new(&link.desk, link.config.actions),
            welcomed: None,
        }
    }

    /// Says who we are, and goes on until the connection ends.
    pub fn run(&mut self) -> End {
        let ended = self.begin().and_then(|()| self.go_on());
        match ended {
            Err(end) => end,
            Ok(()) => End::Stopped,
        }
    }

    fn begin(&mut self) -> Result<(), End> {
        let by = clock::now() + ANSWER_DEADLINE;
        match self.link.config.protocol {
            HubProtocol::Pinwire => {
                let nonce = random::bytes().map_err(|error| End::Failed(format!("no random numbers: {error}")))?;
                let mut hello = Vec::new();
                client::hello(&mut hello, self.link.key_id(), &nonce);
                self.stage = Stage::Proof { nonce, by };
                self.send(hello)
            }
            HubProtocol::Chatops => {
                let mut auth = Vec::new();
                client::auth(&mut auth, &self.link.config.key, None);
                self.send(auth)
            }
        }
    }

    fn go_on(&mut self) -> Result<(), End> {
        loop {
            if self.link.shared.is_stopping() {
                self.last_words();
                return Ok(());
            }
            self.say_what_waits()?;
            let now = clock::now();
            let until = self.deadline(now)?;
            let (socket_ready, rung) = self.wait(until.saturating_duration_since(now))?;
            if rung {
                self.link.shared.heard();
            }
            if socket_ready {
                self.flush()?;
                self.hear()?;
            }
        }
    }

    /// What has to be done by when; an error where it is too late.
    fn deadline(&mut self, now: Instant) -> Result<Instant, End> {
        match &self.stage {
            Stage::Proof { by, .. } | Stage::Welcome { by } if now >= *by => {
                let limit = humantime::format_duration(ANSWER_DEADLINE);
                Err(End::Failed(format!("the hub did not answer within {limit}")))
            }
            Stage::Proof { by, .. } | Stage::Welcome { by } => Ok(*by),
            Stage::Ready if now >= self.heard + SILENCE => {
                let limit = humantime::format_duration(SILENCE);
                Err(End::Failed(format!("the hub has not been heard of for {limit}")))
            }
            Stage::Ready => {
                if now >= self.said + PING_AFTER && !self.blocked {
                    let mut ping = Vec::new();
                    client::ping(&mut ping);
                    self.send(ping)?;
                }
                let ping = if self.blocked { now } else { self.said } + PING_AFTER;
                Ok(ping.min(self.heard + SILENCE))
            }
        }
    }

    /// Waits for the socket and the bell: whether each has something.
    fn wait(&self, limit: Duration) -> Result<(bool, bool), End> {
        let wanted = if self.blocked { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let bell = self.link.shared.bell();
        let mut fds = [PollFd::new(self.socket.get_ref().tcp(), wanted), PollFd::new(&bell, PollFlags::IN)];
        // Rounded up, so that the deadline has passed when nothing came.
        let limit = limit + Duration::from_millis(1);
        let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
        match poll(&mut fds, Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(End::Failed(error.to_string())),
        }
        Ok((!fds[0].revents().is_empty(), !fds[1].revents().is_empty()))
    }

    /// Answers first, then records, until there is nothing more, or the socket or the hub has enough.
    fn say_what_waits(&mut self) -> Result<(), End> {
        if !matches!(self.stage, Stage::Ready) {
            return Ok(());
        }
        let moment = Moment::now(&self.link.root);
        while !self.blocked {
            let mut bytes = 0;
            while bytes < SEND_BYTES {
                let next = self.link.shared.next_message().or_else(|| self.next_record(&moment));
                let Some(message) = next else { break };
                bytes += message.len();
                self.write(message)?;
            }
            if bytes == 0 {
                break;
            }
            self.flush()?;
        }
        Ok(())
    }

    fn next_record(&mut self, moment: &Moment) -> Option<Vec<u8>> {
        let now = clock::now();
        while self.in_flight.front().is_some_and(|(_, _, sent)| *sent + ACKNOWLEDGED <= now) {
            self.in_flight.pop_front();
        }
        if self.in_flight.len() >= IN_FLIGHT {
            return None;
        }
        let (run, entry) = self.link.shared.spool().next()?;
        let (corrected, clock) = moment.of(self.link.boot_id.as_deref(), &run, &entry);
        let mut out = Vec::with_capacity(entry.packed.text.len() + 256);
        let signature = Signature {
            stream: &run.stream,
            seq: entry.seq,
            boot_id: run.boot_id.as_deref(),
            monotonic_ns: entry.monotonic_ns,
            clock,
        };
        client::numbered(&mut out, &entry.packed, corrected, &signature);
        if entry.kind == Kind::Sample {
            self.in_flight.push_back((run.stream, entry.seq, now));
        }
        Some(out)
    }

    /// Sends a message at once.
    fn send(&mut self, message: Vec<u8>) -> Result<(), End> {
        self.write(message)?;
        self.flush()
    }

    fn write(&mut self, message: Vec<u8>) -> Result<(), End> {
        self.said = clock::now();
        // All that is written here comes out of texts.
        let text = String::from_utf8(message).map_err(|_| End::Failed("a record is not UTF-8".into()))?;
        let written = self.socket.write(Message::text(text));
        self.taken(written)
    }

    fn flush(&mut self) -> Result<(), End> {
        self.blocked = false;
        let flushed = self.socket.flush();
        self.taken(flushed)
    }

    /// What waits in a full socket is in tungstenite's buffer.
    fn taken(&mut self, result: Result<(), Error>) -> Result<(), End> {
        match result {
            Ok(()) => Ok(()),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                self.blocked = true;
                Ok(())
            }
            // The hub's Close is still to be read, and says why.
            Err(Error::ConnectionClosed | Error::Protocol(_)) if self.complaint.is_some() => Ok(()),
            Err(error) => Err(self.lost(&error)),
        }
    }

    fn hear(&mut self) -> Result<(), End> {
        loop {
            match self.socket.read() {
                Ok(message) => {
                    self.heard = clock::now();
                    match message {
                        Message::Text(text) => self.told(text.as_bytes())?,
                        Message::Close(frame) => return Err(self.closed(frame)),
                        _ => {}
                    }
                }
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(self.lost(&error)),
            }
        }
    }

    fn lost(&self, error: &Error) -> End {
        match &self.complaint {
            Some(complaint) => End::Failed(format!("the hub said '{complaint}' and closed the connection")),
            None => End::Failed(format!("the connection was lost: {error}")),
        }
    }

    fn closed(&mut self, frame: Option<CloseFrame>) -> End {
        let (code, reason) = frame.map_or((1005, String::new()), |f| (u16::from(f.code), f.reason.to_string()));
        // The answer to the Close; it matters to nobody whether it gets through.
        let _ = self.socket.flush();
        match code {
            CLOSE_POLICY => End::Refused(self.complaint.take().unwrap_or(reason)),
            CLOSE_REPLACED => End::Replaced,
            CLOSE_AGAIN if reason == "resend" => End::Resend,
            CLOSE_FOR_GOOD.. => End::Unwanted(format!("{code} {reason}")),
            _ => End::Failed(format!("the hub closed the connection: {code} {reason}")),
        }
    }

    fn told(&mut self, text: &[u8]) -> Result<(), End> {
        let told = match client::parse(text) {
            Ok(told) => told,
            Err(fault) => return self.misunderstood(text, &fault.to_string()),
        };
        match (told, &self.stage) {
            (Told::Proof { proof }, Stage::Proof { nonce, .. }) => {
                if !proof::is_good(&proof, &self.link.digest, nonce, self.link.key_id()) {
                    return Err(End::Impostor);
                }
                self.show_key()
            }
            (Told::Welcome { server_id }, Stage::Welcome { .. }) => {
                self.welcome(&server_id, &client::positions(text));
                Ok(())
            }
            (Told::Error { message, detail }, stage) => {
                let said = detail.map_or(message.clone(), |detail| format!("{message}: {detail}"));
                if matches!(stage, Stage::Ready) {
                    // Once, and not told the hub: it would find fault with that too.
                    let level = if self.complained { log::Level::Debug } else { log::Level::Warn };
                    log::log!(target: super::feed::TARGET, level, "the hub says: {said}");
                    self.complained = true;
                } else {
                    self.complaint = Some(said);
                }
                Ok(())
            }
            // Nothing else counts before the hub has shown who it is, and let us in.
            (_, Stage::Proof { .. } | Stage::Welcome { .. }) => Ok(()),
            (told, Stage::Ready) => self.told_when_ready(told, text),
        }
    }

    fn told_when_ready(&mut self, told: Told, text: &[u8]) -> Result<(), End> {
        match told {
            Told::Received => {
                let acknowledged = self.in_flight.pop_front();
                if let (Some((stream, seq, _)), HubProtocol::Chatops) = (acknowledged, self.link.config.protocol) {
                    // ChatOps says no more than that.
                    self.link.shared.spool().stored(&stream, seq);
                }
            }
            Told::Stored { stream, seq } => {
                self.in_flight.retain(|(own, sent, _)| **own != *stream || *sent > seq);
                self.link.shared.spool().stored(&stream, seq);
            }
            Told::Order { id, protocol, order } => {
                let terms = client::terms(text);
                self.link.take_order(id, protocol, order, terms);
            }
            Told::Action { id, request } if self.obeys() => {
                let issuer = client::terms(text).issuer;
                let answer = self.actions.answer(request.as_bytes(), issuer.as_ref());
                let mut out = Vec::new();
                client::action_result(&mut out, &id, &String::from_utf8_lossy(&answer));
                self.link.shared.say(out);
            }
            _ => {}
        }
        Ok(())
    }

    fn obeys(&self) -> bool {
        self.link.config.protocol == HubProtocol::Pinwire
    }

    /// An order that makes no sense is answered; anything else is not worth more than a line in the log.
    fn misunderstood(&mut self, text: &[u8], fault: &str) -> Result<(), End> {
        log::debug!("the hub said something that makes no sense: {fault}");
        if let (Some(id), Stage::Ready) = (client::order_id(text), &self.stage) {
            let order = Order::Command { command: String::new() };
            let mut out = Vec::new();
            client::outcome(&mut out, FORM, &id, &order, &Outcome::Failed { message: fault.to_owned() });
            self.link.shared.say(out);
        }
        Ok(())
    }

    fn show_key(&mut self) -> Result<(), End> {
        let own = self.socket.get_ref().tcp().local_addr().ok().map(|address| address.ip());
        let mut auth = Vec::new();
        client::auth_with(&mut auth, &self.link.config.key, FORM, &self.link.info(own));
        self.stage = Stage::Welcome { by: clock::now() + ANSWER_DEADLINE };
        self.send(auth)
    }

    fn welcome(&mut self, server_id: &str, positions: &[(String, u64)]) {
        self.stage = Stage::Ready;
        self.welcomed = Some(clock::now());
        self.link.shared.spool().rewind(positions);
        self.link.shared.set_connected(true);
        self.link.notify.tell(Fact::Hub, || format!("connected to hub {}", self.link.name()));
        log::info!("connected to hub {} as server {server_id}", self.link.name());
    }

    /// What is in the spool goes out as far as the socket takes it soon; the rest is sent after the next start.
    fn last_words(&mut self) {
        let until = clock::now() + LAST_WORDS;
        let _ = self.say_what_waits();
        while self.blocked && clock::now() < until {
            let left = until.saturating_duration_since(clock::now());
            let done = self.wait(left).and_then(|_| self.flush());
            if done.is_err() {
                return;
            }
        }
        let frame = CloseFrame { code: CloseCode::Away, reason: "the agent ends".into() };
        let _ = self.socket.close(Some(frame));
        let _ = self.socket.flush();
    }
}
