//! ChatOps' agents, `/api/v1/agents/ws`: who they are, what they hand over, and what they are asked to do.
//!
//! The first message is the key; before it an agent of this program may ask for the hub's proof that it knows that key.
//! From then on every message counts as a sign of life. One that makes no sense is told so and costs nothing more, until
//! they come too often. What the hub asks of the agent goes out from whatever thread asks, in the form this agent speaks.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Conversation, End, Host, Line};
use crate::auth::{Badge, Refused};
use crate::conn::{CLOSE_AGAIN, CLOSE_POLICY, CLOSE_REPLACED, Conn};
use crate::fleet::{AgentLink, Seat, Taken};
use crate::rt::clock;
use crate::types::fleet::{DeviceEvent, Issuer, Order, Protocol, Record};
use crate::wire::chatops::agent::{self, Message, Opening, Said};
use crate::wire::chatops::{INVALID_KEY, Speech, server};
use crate::wire::frame;

/// Over which time messages that make no sense are counted.
const FAULTS_PERIOD: Duration = Duration::from_secs(60);

pub struct Agent {
    host: Arc<Host>,
    conn: Arc<Conn>,
    speech: Speech,
    /// `None` once the key was shown.
    auth_by: Option<Instant>,
    /// It has asked for the proof; once is enough.
    proven: bool,
    place: Option<Place>,
    /// Messages that made no sense, since this moment.
    faults: (usize, Instant),
}

/// Where it sits.
struct Place {
    server_id: Arc<str>,
    link: Arc<Link>,
    seat: Seat,
}

/// The way to it, for everyone.
struct Link {
    conn: Arc<Conn>,
    /// It is of this program, and is told more.
    own_program: bool,
    out: Mutex<Out>,
}

struct Out {
    speech: Speech,
    /// What waits for the welcome to go out first.
    held: Option<Vec<u8>>,
}

impl Agent {
    pub fn new(host: &Arc<Host>, conn: &Arc<Conn>, user_agent: Option<&str>) -> Agent {
        let now = clock::now();
        Agent {
            host: Arc::clone(host),
            conn: Arc::clone(conn),
            speech: Speech::new(user_agent),
            auth_by: Some(now + host.fleet.limits().auth_deadline),
            proven: false,
            place: None,
            faults: (0, now),
        }
    }

    fn open(&mut self, line: &mut Line, payload: &[u8]) -> Result<(), End> {
        match agent::first(payload) {
            Ok(Opening::Hello(hello)) if !self.proven => {
                self.proven = true;
                let proof = self.host.gate.prove(&hello.key_id, &hello.nonce);
                let proof = proof.map_err(|error| refuse(line, &format!("Authentication failed: {error}")))?;
                frame::text_with(&mut line.replies, |out| server::proof(out, &proof));
                Ok(())
            }
            Ok(Opening::Hello(_)) => Err(refuse(line, "Authentication failed: the proof was given already")),
            Ok(Opening::Auth(auth)) => {
                let (gate, peer) = (&self.host.gate, self.conn.peer().ip());
                let badge = match gate.attempt(peer, gate.agent(&auth.api_key.0)) {
                    Ok(badge) => badge,
                    Err(Refused::Wrong) => return Err(refuse(line, INVALID_KEY)),
                    Err(Refused::Slowed(wait)) => {
                        return Err(refuse(line, &format!("{INVALID_KEY}: {}", Refused::wait_text(wait))));
                    }
                };
                self.speech.asked(auth.protocol);
                self.sit_down(line, Badge::Stored(badge.key), badge.server_id, auth.info)
            }
            Err(refusal) => Err(refuse(line, &agent::auth_reason(&refusal))),
        }
    }

    fn sit_down(
        &mut self,
        line: &mut Line,
        badge: Badge,
        server_id: Arc<str>,
        info: crate::types::fleet::AgentInfo,
    ) -> Result<(), End> {
        let fleet = &self.host.fleet;
        line.admit(&self.host.gate, badge);
        let own_program = info.version.is_some();
        let streams = own_program.then(|| fleet.positions(&server_id, &info.streams));
        let out = Mutex::new(Out { speech: self.speech, held: Some(Vec::new()) });
        let link = Arc::new(Link { conn: Arc::clone(&self.conn), own_program, out });
        let Some(seat) = fleet.connect(&server_id, info, Arc::clone(&link) as Arc<dyn AgentLink>) else {
            return Err(refuse(line, INVALID_KEY));
        };
        self.auth_by = None;
        frame::text_with(&mut line.replies, |out| server::auth_success(out, &server_id, streams.as_deref()));
        line.settle().map_err(|_| End::gone("connection lost"))?;
        link.welcomed();
        self.place = Some(Place { server_id, link, seat });
        Ok(())
    }

    fn heard(&mut self, line: &mut Line, message: Message) -> Result<(), End> {
        let Some(place) = &self.place else { return Ok(()) };
        let fleet = &self.host.fleet;
        self.speech.shown(message.shows);
        place.link.lock().speech = self.speech;
        let id = &*place.server_id;
        let seq = message.stamp.as_ref().map(|stamp| stamp.seq);
        let record = match message.said {
            Said::Metrics(sample) => {
                // At once, whatever becomes of it: an agent that waits in vain reconnects.
                frame::text_with(&mut line.replies, |out| server::metrics_received(out, seq));
                Some(Record::Sample(sample))
            }
            Said::Log(line) => Some(Record::Log(line)),
            Said::Event { topic, at, data } => {
                Some(Record::Event(DeviceEvent { topic, at: at.unwrap_or_else(clock::wall), data }))
            }
            other => {
                fleet.seen(id);
                match other {
                    Said::Outcome { id: Some(order), outcome } => fleet.outcome(id, &order, outcome),
                    Said::Response { id: order, json } => fleet.response(id, &order, &json),
                    Said::Output { id: order, offset, chunk } => {
                        let data = agent::output_event(&order, offset, &chunk);
                        fleet.publish(id, DeviceEvent { topic: agent::OUTPUT_TOPIC.into(), at: clock::wall(), data });
                    }
                    Said::Ping => frame::text_with(&mut line.replies, server::pong),
                    _ => {}
                }
                None
            }
        };
        match record.map(|record| place.seat.record(record, message.stamp)) {
            Some(Taken::NoServer) => Err(removed()),
            _ => Ok(()),
        }
    }

    /// Counts a message that made no sense.
    fn fault(&mut self) -> Result<(), End> {
        let now = clock::now();
        if now.duration_since(self.faults.1) > FAULTS_PERIOD {
            self.faults = (0, now);
        }
        self.faults.0 += 1;
        match self.faults.0 > self.host.fleet.limits().invalid_messages {
            true => Err(End::close(CLOSE_POLICY, "hub.invalid_messages: too many messages that make no sense")),
            false => Ok(()),
        }
    }
}

impl Conversation for Agent {
    fn begin(&mut self, _line: &mut Line) -> Result<(), End> {
        Ok(())
    }

    fn message(&mut self, line: &mut Line, payload: &[u8], _text: bool) -> Result<(), End> {
        if self.place.is_none() {
            return self.open(line, payload);
        }
        match agent::parse(payload) {
            Ok(message) => self.heard(line, message),
            Err(fault) => {
                if let Some(place) = &self.place {
                    self.host.fleet.seen(&place.server_id);
                }
                frame::text_with(&mut line.replies, |out| server::invalid(out, &fault));
                // ChatOps' agent waits for this and for nothing else; in vain, it would come back with the same.
                let waits = self.speech.now() == Protocol::Code
                    && self.place.as_ref().is_some_and(|place| !place.link.own_program);
                if waits && agent::is_metrics(payload) {
                    frame::text_with(&mut line.replies, |out| server::metrics_received(out, None));
                }
                self.fault()
            }
        }
    }

    fn message_bytes(&self) -> Option<usize> {
        // Who has shown no key is read no further than anybody else.
        self.place.as_ref().map(|_| self.host.fleet.limits().message_bytes)
    }

    fn next_tick(&self) -> Option<Instant> {
        self.auth_by
    }

    fn tick(&mut self, line: &mut Line, _now: Instant) -> Result<(), End> {
        Err(refuse(line, "Authentication required: no key was shown within hub.auth_deadline"))
    }

    fn leave(&mut self) {
        self.place = None;
    }
}

/// The documented error frame, and then the Close with the same words.
fn refuse(line: &mut Line, why: &str) -> End {
    frame::text_with(&mut line.replies, |out| server::error(out, why));
    End::close(CLOSE_POLICY, why.to_owned())
}

fn removed() -> End {
    End::close(CLOSE_POLICY, "the server was removed")
}

impl Link {
    fn lock(&self) -> std::sync::MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a frame, behind the welcome; never waits.
    fn say(&self, write: impl FnOnce(&mut Vec<u8>, &Speech)) -> bool {
        let mut out = self.lock();
        let mut bytes = Vec::new();
        frame::text_with(&mut bytes, |frame| write(frame, &out.speech));
        match &mut out.held {
            Some(held) => {
                held.extend_from_slice(&bytes);
                true
            }
            None => self.conn.send(&bytes).is_ok(),
        }
    }

    /// The welcome is out: so is now what waited for it.
    fn welcomed(&self) {
        if let Some(held) = self.lock().held.take().filter(|held| !held.is_empty()) {
            let _ = self.conn.send(&held);
        }
    }
}

impl AgentLink for Link {
    fn order(&self, id: &str, order: &Order, issuer: &Issuer, timeout: Duration) -> bool {
        let terms = self.own_program.then_some(server::Terms { issuer, timeout });
        self.say(|out, speech| server::order(out, speech.now(), id, order, terms))
    }

    fn action(&self, id: &str, request: &str, issuer: &Issuer, timeout: Duration) -> bool {
        self.say(|out, _| server::action(out, id, request, server::Terms { issuer, timeout }))
    }

    fn stored(&self, stream: &str, seq: u64) {
        self.say(|out, _| server::stored(out, stream, seq));
    }

    fn replaced(&self) {
        self.conn.close(CLOSE_REPLACED, "replaced");
    }

    fn removed(&self) {
        self.conn.close(CLOSE_POLICY, "the server was removed");
    }

    fn resend(&self) {
        self.conn.close(CLOSE_AGAIN, "resend");
    }
}
